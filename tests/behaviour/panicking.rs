//! Whatever a program hands over may panic, at any time: each request still has its one end, the others do not notice, and new ones
//! are served.

use std::{
    collections::BTreeMap,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use actix::{Actor, Context, Handler};
use actix_responses::{
    ApiError, ErrorKind, Runtime,
    actors::{
        GetStatus, ListModels, Milestone, RequestNotice, RequestOutcome, SubmitRequest,
        SupervisorConfig, Workers,
    },
    protocol::ResponseEvent,
    provider::{AuthError, AuthProvider, AuthRequest, Provider},
    testing::Recorder,
    transport::{Transport, TransportError, TransportFactory, TransportRequest, TransportResponse},
};
use futures_core::future::{BoxFuture, LocalBoxFuture};
use futures_util::{FutureExt, StreamExt, future, stream};
use http::HeaderMap;

use crate::support::{
    collect,
    events::*,
    names, pause, prompt,
    recorder::panicking_at,
    settle, steady_retry,
    transport::{Exchange, ScriptedTransport},
};

/// Where a program's code is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Factory,
    Send,
    Sending,
    Body,
    BodyDrop,
    Auth,
    Authenticating,
    CanRefresh,
    AuthDrop,
    Observer,
    Subscriber,
}

/// Panics at its place, once.
#[derive(Clone, Debug)]
struct Fuse {
    place: Place,
    is_lit: Arc<AtomicBool>,
}

impl Fuse {
    fn new(place: Place) -> Self {
        let is_lit = Arc::default();
        Self { place, is_lit }
    }

    fn light(&self) {
        self.is_lit.store(true, Ordering::SeqCst);
    }

    fn at(&self, place: Place) {
        if self.place == place && self.is_lit.swap(false, Ordering::SeqCst) {
            panic!("a scripted panic at {place:?}");
        }
    }
}

struct Fused {
    scripted: ScriptedTransport,
    fuse: Fuse,
}

impl TransportFactory for Fused {
    fn build(&self) -> Result<Rc<dyn Transport>, TransportError> {
        self.fuse.at(Place::Factory);
        Ok(Rc::new(Self {
            scripted: self.scripted.clone(),
            fuse: self.fuse.clone(),
        }))
    }
}

impl Transport for Fused {
    fn send(
        &self,
        request: TransportRequest,
    ) -> LocalBoxFuture<'static, Result<TransportResponse, TransportError>> {
        self.fuse.at(Place::Send);
        let sent = self.scripted.send(request);
        let fuse = self.fuse.clone();
        Box::pin(async move {
            fuse.at(Place::Sending);
            let mut response = sent.await?;
            let mut body = response.body;
            let guard = AtDrop(fuse.clone());
            response.body = Box::pin(stream::poll_fn(move |cx| {
                let _ = &guard;
                let next = body.as_mut().poll_next(cx);
                if matches!(next, Poll::Ready(Some(_))) {
                    fuse.at(Place::Body);
                }
                next
            }));
            Ok(response)
        })
    }
}

struct AtDrop(Fuse);

impl Drop for AtDrop {
    fn drop(&mut self) {
        self.0.at(Place::BodyDrop);
    }
}

#[derive(Debug)]
struct Auth(Fuse);

impl AuthProvider for Auth {
    fn headers<'a>(&'a self, _: &'a AuthRequest) -> BoxFuture<'a, Result<HeaderMap, AuthError>> {
        self.0.at(Place::Auth);
        Box::pin(async {
            self.0.at(Place::Authenticating);
            Ok(HeaderMap::new())
        })
    }

    fn can_refresh(&self) -> bool {
        self.0.at(Place::CanRefresh);
        false
    }
}

impl Drop for Auth {
    fn drop(&mut self) {
        self.0.at(Place::AuthDrop);
    }
}

struct Observer(Fuse);

impl Actor for Observer {
    type Context = Context<Self>;
}

impl Handler<RequestNotice> for Observer {
    type Result = ();

    fn handle(&mut self, _: RequestNotice, _: &mut Self::Context) {
        self.0.at(Place::Observer);
    }
}

fn start(fuse: &Fuse, exchanges: impl IntoIterator<Item = Exchange>) -> Runtime {
    start_with(fuse, exchanges, |_| {})
}

fn start_with(
    fuse: &Fuse,
    exchanges: impl IntoIterator<Item = Exchange>,
    change: impl FnOnce(&mut SupervisorConfig),
) -> Runtime {
    let provider = Provider::new("scripted", "http://scripted.test/v1").unwrap();
    let mut config = SupervisorConfig::new(provider);
    config.workers = Workers::Current;
    config.retry = steady_retry(1);
    change(&mut config);
    let transport = Fused {
        scripted: ScriptedTransport::new(exchanges),
        fuse: fuse.clone(),
    };
    Runtime::with_transport(config, transport).unwrap()
}

/// A request with a provider of its own, which nothing else holds.
fn request(fuse: &Fuse) -> SubmitRequest {
    let mut provider = Provider::new("own", "http://scripted.test/v1").unwrap();
    provider.auth = Arc::new(Auth(fuse.clone()));
    SubmitRequest::new(prompt()).with_provider(Arc::new(provider))
}

fn ends(events: &[Result<ResponseEvent, ApiError>]) -> usize {
    let is_end = |event: &&Result<ResponseEvent, ApiError>| {
        event.as_ref().map_or(true, ResponseEvent::is_final)
    };
    events.iter().filter(is_end).count()
}

#[actix_rt::test]
async fn a_panic_of_the_programs_code_is_felt_by_one_request_and_no_other() {
    pause();
    for place in [
        Place::Send,
        Place::Sending,
        Place::Body,
        Place::BodyDrop,
        Place::Auth,
        Place::Authenticating,
        Place::CanRefresh,
        Place::Observer,
        Place::Subscriber,
    ] {
        let fuse = Fuse::new(place);
        let running = Exchange::stream(created())
            .wait(Duration::from_secs(9))
            .chunk(completed());
        let struck = match place {
            Place::CanRefresh => Exchange::status(401),
            _ => Exchange::stream(answer()),
        };
        let answers = (0..3).map(|_| Exchange::stream(answer()));
        let runtime = start(&fuse, [running, struck].into_iter().chain(answers));
        let other = runtime.stream(prompt()).await.unwrap();
        settle().await;
        fuse.light();
        let subscriber = match place {
            Place::Subscriber => panicking_at(1),
            _ => Recorder::start().subscriber(),
        };
        let observer = Observer(fuse.clone()).start().recipient();
        let request = request(&fuse)
            .with_observer(observer)
            .with_subscriber(subscriber);
        let struck = runtime.submit(request).await.unwrap();
        let events: Vec<_> = struck.collect().await;
        assert_eq!(ends(&events), 1, "{place:?}: {:?}", names(&events));
        assert!(
            !fuse.is_lit.load(Ordering::SeqCst) || place == Place::Subscriber,
            "{place:?}"
        );
        assert_eq!(names(&collect(&runtime).await), ANSWER, "{place:?}");
        let events: Vec<_> = other.collect().await;
        assert_eq!(names(&events), ["created", "completed"], "{place:?}");
    }
}

/// The worker is gone with it, and another takes its place.
#[actix_rt::test]
async fn a_factory_that_panics_loses_one_attempt() {
    pause();
    let fuse = Fuse::new(Place::Factory);
    let runtime = start(&fuse, [Exchange::stream(answer())]);
    fuse.light();
    assert_eq!(names(&collect(&runtime).await), ["attempt_lost"]);
    assert_eq!(names(&collect(&runtime).await), ANSWER);
}

/// Its last owner is the supervisor, which forgets an ended request after a while. What runs has its end, and what comes next is served,
/// by the same address. An observer hears of each end once.
#[actix_rt::test]
async fn a_supervisor_that_panics_begins_anew() {
    pause();
    let fuse = Fuse::new(Place::AuthDrop);
    let (silence, refused) = (Exchange::silence, Exchange::status(503));
    let answers = (0..9).map(|_| Exchange::stream(answer()));
    let exchanges = [Exchange::stream(answer()), silence(), refused, silence()];
    let heard = Arc::new(Mutex::new(BTreeMap::<_, Vec<_>>::new()));
    let hearing = heard.clone();
    let hear = move |notice: &RequestNotice| {
        let mut heard = hearing.lock().unwrap();
        let of_request = heard.entry(notice.request.id).or_default();
        of_request.push(match &notice.milestone {
            Milestone::Ended { outcome, .. } => match outcome {
                RequestOutcome::Failed(error) => error.kind().as_str(),
                _ => "ended",
            },
            _ => "",
        });
    };
    let runtime = start_with(&fuse, exchanges.into_iter().chain(answers), |config| {
        config.observer = Some(Arc::new(hear));
    });
    for time in 1..=3 {
        let struck = runtime.submit(request(&fuse)).await.unwrap();
        let id = struck.request();
        let events: Vec<_> = struck.collect().await;
        assert_eq!(names(&events), ANSWER);
        if time == 1 {
            let stream = runtime.stream(prompt()).await.unwrap();
            let question = runtime.list_models(ListModels::new());
            let mut patient = steady_retry(2);
            patient.backoff.cap = Duration::from_secs(3600);
            patient.backoff.base = patient.backoff.cap;
            let waiting = SubmitRequest::new(prompt()).with_retry(patient);
            let waiting = runtime.submit(waiting).await.unwrap();
            fuse.light();
            let ends = future::join3(
                stream.collect::<Vec<_>>(),
                question,
                waiting.collect::<Vec<_>>(),
            );
            let (stream, question, waiting) = ends.await;
            assert_eq!(names(&stream), ["attempt_lost"]);
            assert_eq!(names(&waiting), ["attempt_lost"]);
            assert_eq!(question.unwrap_err().kind(), ErrorKind::AttemptLost);
        } else {
            fuse.light();
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        assert!(!fuse.is_lit.load(Ordering::SeqCst), "nothing panicked");
        let status = GetStatus { request: id };
        assert_eq!(runtime.supervisor().send(status).await.unwrap(), None);
    }
    assert_eq!(names(&collect(&runtime).await), ANSWER);
    let closed = runtime.shutdown(Duration::from_secs(1));
    assert!(closed.now_or_never().is_none(), "it takes a turn");
    runtime.shutdown(Duration::from_secs(1)).await;
    let heard = heard.lock().unwrap();
    let ends = heard.values().map(|heard| {
        let ends = heard.iter().filter(|what| !what.is_empty());
        assert_eq!(ends.count(), 1, "{heard:?}");
        *heard.last().unwrap()
    });
    let lost = ends.filter(|end| *end == "attempt_lost").count();
    assert_eq!((heard.len(), lost), (7, 3));
}
