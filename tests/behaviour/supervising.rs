//! What the supervisor knows and tells.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    sync::Mutex,
    task::Poll,
    time::Duration,
};

use actix::{Actor, Context, Handler};
use actix_responses::{
    ErrorKind, Runtime,
    actors::{
        GetStatus, Milestone, RequestNotice, RequestPhase, SubmitRequest, SupervisorConfig, Workers,
    },
    provider::{AuthError, AuthProvider, AuthRequest, BearerAuth, Provider},
    transport::TransportErrorKind,
};
use futures_core::future::BoxFuture;
use futures_util::StreamExt;
use http::HeaderMap;
use tokio::sync::mpsc;

use crate::support::{
    assert_elapsed, collect,
    events::*,
    failure, names, prompt, provider, settle, start, start_with, steady_retry,
    transport::{Exchange, Misfortune, ScriptedTransport},
};

#[derive(Default)]
struct Observer {
    notices: std::sync::Arc<Mutex<Vec<String>>>,
}

impl Actor for Observer {
    type Context = Context<Self>;
}

impl Handler<RequestNotice> for Observer {
    type Result = ();

    fn handle(&mut self, notice: RequestNotice, _: &mut Self::Context) {
        let line = match notice.milestone {
            Milestone::Started => {
                format!("start {}/{}", notice.attempt, notice.request.max_attempts)
            }
            Milestone::Failed {
                error, retry_in, ..
            } => format!("failed {} {retry_in:?}", error.kind()),
            _ => return,
        };
        self.notices.lock().unwrap().push(line);
    }
}

#[actix_rt::test]
async fn observers_are_told_of_every_attempt() {
    let exchanges = [Exchange::status(503), Exchange::status(400)];
    let (runtime, _) = start_with(exchanges, |c| c.retry = steady_retry(4));
    let observer = Observer::default();
    let notices = observer.notices.clone();
    let request = SubmitRequest::new(prompt()).with_observer(observer.start().recipient());
    let stream = runtime.submit(request).await.unwrap();
    stream.collect::<Vec<_>>().await;
    settle().await;
    assert_eq!(
        *notices.lock().unwrap(),
        [
            "start 1/4",
            "failed overloaded Some(100ms)",
            "start 2/4",
            "failed invalid_request None"
        ]
    );
}

#[actix_rt::test]
async fn the_status_follows_the_request() {
    let exchanges = [
        Exchange::status(503),
        Exchange::stream(created())
            .wait(Duration::from_secs(9))
            .chunk(completed()),
    ];
    let (runtime, _) = start_with(exchanges, |c| c.retry = steady_retry(4));
    let stream = runtime.stream(prompt()).await.unwrap();
    let request = stream.request();
    let status = async || {
        let status = runtime
            .supervisor()
            .send(GetStatus { request })
            .await
            .unwrap()
            .unwrap();
        (
            status.phase,
            status.attempt,
            status.request.max_attempts,
            status.subscribers,
            status.events,
        )
    };
    settle().await;
    assert_eq!(status().await, (RequestPhase::Waiting, 1, 4, 1, 0));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(status().await, (RequestPhase::Running, 2, 4, 1, 2));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(status().await, (RequestPhase::Ended, 2, 4, 0, 3));
}

/// The stream actor was asked when it had just ended, and could not answer.
#[actix_rt::test]
async fn the_status_of_a_request_that_has_just_ended_is_not_an_empty_one() {
    let wait = Duration::from_millis(10);
    let exchange = Exchange::stream(created())
        .wait(wait)
        .wait(wait)
        .chunk(completed());
    let (runtime, _) = start_with([exchange], |_| {});
    let stream = runtime.stream(prompt()).await.unwrap();
    let request = stream.request();
    // They ask around the moment of its end, each in another turn.
    let asking = (0..100).map(|number| {
        let (late, turns) = (Duration::from_millis(number / 20), number % 20);
        let supervisor = runtime.supervisor().clone();
        actix_rt::spawn(async move {
            tokio::time::sleep(2 * wait + late).await;
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            let status = supervisor.send(GetStatus { request }).await;
            let status = status.unwrap().unwrap();
            (status.phase, status.subscribers, status.events)
        })
    });
    let asking: Vec<_> = asking.collect();
    stream.collect::<Vec<_>>().await;
    for asked in asking {
        let status = asked.await.unwrap();
        let is_known = [(RequestPhase::Running, 1, 2), (RequestPhase::Ended, 0, 3)];
        assert!(is_known.contains(&status), "{status:?}");
    }
}

/// A key that is another one when it is asked for anew.
#[derive(Debug, Default)]
pub(crate) struct Rotating {
    asked: Mutex<Vec<(u32, bool)>>,
}

impl AuthProvider for Rotating {
    fn headers<'a>(
        &'a self,
        request: &'a AuthRequest,
    ) -> BoxFuture<'a, Result<HeaderMap, AuthError>> {
        self.asked
            .lock()
            .unwrap()
            .push((request.attempt, request.refresh));
        let token = if request.refresh { "new" } else { "old" };
        Box::pin(async move { BearerAuth::new(token)?.headers(request).await })
    }

    fn can_refresh(&self) -> bool {
        true
    }
}

#[actix_rt::test]
async fn a_refused_key_is_refreshed_once_and_at_once() {
    let (runtime, transport) = start_with(
        [Exchange::status(401), Exchange::stream(answer())],
        |config| {
            provider(config, |p| *p = p.clone().with_auth(Rotating::default()));
        },
    );
    let before = tokio::time::Instant::now();
    assert_eq!(names(&collect(&runtime).await), ANSWER);
    assert_elapsed(before, Duration::ZERO);
    let keys: Vec<_> = transport
        .requests()
        .iter()
        .map(|r| r.headers["authorization"].to_str().unwrap().to_owned())
        .collect();
    assert_eq!(keys, ["Bearer old", "Bearer new"]);

    let (runtime, transport) =
        start_with([Exchange::status(401), Exchange::status(401)], |config| {
            provider(config, |p| *p = p.clone().with_auth(Rotating::default()));
        });
    assert_eq!(
        failure(&collect(&runtime).await).kind(),
        ErrorKind::Authentication
    );
    assert_eq!(transport.requests().len(), 2);
}

#[actix_rt::test]
async fn requests_carry_the_body_the_path_and_the_headers() {
    let (runtime, transport) = start([Exchange::stream(answer())]);
    collect(&runtime).await;
    let request = &transport.requests()[0];
    assert_eq!(request.url.as_str(), "http://scripted.test/v1/responses");
    assert_eq!(request.headers["accept"], "text/event-stream");
    assert_eq!(request.headers["content-type"], "application/json");
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        (&body["model"], &body["stream"]),
        (&"test-model".into(), &true.into())
    );
}

#[actix_rt::test]
async fn a_request_that_can_not_be_made_is_refused_before_anything_is_sent() {
    let (runtime, transport) = start([]);
    let error = runtime
        .stream(actix_responses::protocol::Prompt::user("no model"))
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(transport.requests().is_empty());
}

#[actix_rt::test]
async fn more_requests_than_the_limit_are_refused_by_name() {
    let (runtime, _) = start_with((0..3).map(|_| Exchange::silence()), |c| c.max_requests = 2);
    let _one = runtime.stream(prompt()).await.unwrap();
    let _two = runtime.stream(prompt()).await.unwrap();
    let error = runtime.stream(prompt()).await.err().unwrap();
    assert!(error.message().contains("max_requests"), "{error}");
    // No server is to be waited for, or told of it.
    assert_eq!(error.kind(), ErrorKind::LocalLimit);
    assert!(error.report().contains("raise the limit"), "{error}");
}

/// Real threads, so real time; nothing here waits for it.
#[actix_rt::test]
async fn streams_run_on_worker_threads() {
    let exchanges = (0..20).map(|_| Exchange::stream(answer()));
    let (runtime, _) = start_with(exchanges, |c| c.workers = Workers::Threads(3));
    tokio::time::resume();
    let streams = futures_util::future::join_all((0..20).map(|_| collect(&runtime))).await;
    for events in streams {
        assert_eq!(names(&events), ANSWER);
    }
    runtime.shutdown(Duration::from_secs(1)).await;
}

/// What was submitted elsewhere runs elsewhere, and so does what is submitted there once it has ended. Real threads, and nothing waits
/// for time.
#[actix_rt::test]
async fn streams_run_on_the_arbiter_that_was_lent_and_only_those_of_its_thread() {
    let (run, mut runs) = mpsc::unbounded_channel();
    let exchanges = (0..4).map(|_| {
        let run = run.clone();
        let begin = move || run.send(std::thread::current().id()).expect("the test");
        Exchange::stream("").then(begin).chunk(answer())
    });
    let (runtime, _) = start_with(exchanges, |_| ());
    tokio::time::resume();
    let here = std::thread::current().id();
    let arbiter = actix_rt::Arbiter::new();
    let (ask, asked) = tokio::sync::oneshot::channel();
    let there = runtime.clone();
    arbiter.spawn(async move {
        for _ in 0..2 {
            there.lend_arbiter();
            assert_eq!(names(&collect(&there).await), ANSWER);
        }
        let _ = ask.send(std::thread::current().id());
    });
    let there = asked.await.expect("answers");
    assert_ne!(here, there);
    assert_eq!(names(&collect(&runtime).await), ANSWER);
    assert!(arbiter.stop() && arbiter.join().is_ok());
    assert_eq!(names(&collect(&runtime).await), ANSWER);
    let ran: Vec<_> = (0..4).map(|_| runs.try_recv().expect("a run")).collect();
    assert_eq!(ran, [there, there, here, here]);
    runtime.shutdown(Duration::ZERO).await;
}

#[actix_rt::test]
async fn a_lost_worker_is_replaced_and_its_request_tried_again() {
    let lost = Exchange::stream(created()).stopping_the_arbiter();
    let exchanges = [lost, Exchange::stream(answer()), Exchange::stream(answer())];
    let (runtime, transport) = start_with(exchanges, |config| {
        config.workers = Workers::Threads(1);
        config.retry = steady_retry(2);
    });
    tokio::time::resume();
    assert_eq!(names(&collect(&runtime).await), ANSWER);
    assert_eq!(names(&collect(&runtime).await), ANSWER);
    assert_eq!(transport.requests().len(), 3);
    runtime.shutdown(Duration::ZERO).await;
}

/// Its thread has ended when this is dropped with its memory.
struct OnThread(mpsc::UnboundedSender<&'static str>);

impl Drop for OnThread {
    fn drop(&mut self) {
        let _ = self.0.send("a thread has ended");
    }
}

thread_local!(static ON_THREAD: RefCell<Option<OnThread>> = const { RefCell::new(None) });

/// Nobody stops it, and nobody waits for it: real threads, and no time that passes.
#[test]
fn threads_and_streams_end_with_a_system_that_is_dropped() {
    let (ended, mut ends) = mpsc::unbounded_channel();
    let watch = move || {
        let ended = ended.clone();
        ON_THREAD.with_borrow_mut(|guard| *guard = Some(OnThread(ended)));
    };
    let (began, begun) = std::sync::mpsc::channel();
    let exchanges = (0..2).map(|_| {
        let (watch, began) = (watch.clone(), began.clone());
        let begin = move || {
            watch();
            began.send(()).expect("the test");
        };
        Exchange::stream(created()).then(begin).held_open()
    });
    let system = actix::System::new();
    let (runtime, streams) = system.block_on(async {
        let provider = Provider::new("scripted", "http://scripted.test/v1").unwrap();
        let mut config = SupervisorConfig::new(provider);
        config.workers = Workers::Threads(2);
        let transport = ScriptedTransport::new(exchanges);
        let runtime = Runtime::with_transport(config, transport).unwrap();
        let streams = [
            runtime.stream(prompt()).await.unwrap(),
            runtime.stream(prompt()).await.unwrap(),
        ];
        (runtime, streams)
    });
    for _ in 0..2 {
        begun.recv().expect("a stream that runs");
    }
    drop(watch);
    drop(system);
    for stream in streams {
        let events: Vec<_> = block_on(stream.collect());
        assert_eq!(names(&events).last(), Some(&"shut_down"));
    }
    for _ in 0..2 {
        assert_eq!(ends.blocking_recv(), Some("a thread has ended"));
    }
    let refused = block_on(runtime.stream(prompt()));
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::ShutDown);
}

/// Its actors are started by the drop, where there are no timers.
#[test]
fn a_system_that_is_dropped_before_its_first_turn_panics_nowhere() {
    thread_local!(static PANICS: Cell<usize> = const { Cell::new(0) });
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.set(PANICS.get() + 1);
        print(info);
    }));
    for workers in [Workers::Current, Workers::Threads(2)] {
        let system = actix::System::new();
        let mut waiting = None;
        system.block_on(async {
            let provider = Provider::new("scripted", "http://scripted.test/v1").unwrap();
            let mut config = SupervisorConfig::new(provider);
            config.workers = workers;
            let transport = ScriptedTransport::new([Exchange::silence()]);
            let runtime = Runtime::with_transport(config, transport).unwrap();
            let mut submitted = Box::pin(async move { runtime.stream(prompt()).await });
            let sent = poll_fn(|cx| Poll::Ready(submitted.as_mut().poll(cx)));
            assert!(sent.await.is_pending());
            waiting = Some(submitted);
        });
        drop(system);
        let refused = block_on(waiting.unwrap()).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::ShutDown);
    }
    assert_eq!(PANICS.get(), 0);
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

#[actix_rt::test]
async fn a_dead_endpoint_is_spared_and_then_probed() {
    let refused = || Exchange::error(TransportErrorKind::Connect, "connection refused");
    let answers = (0..47).map(|_| Exchange::stream(answer()));
    let exchanges = (0..4 + PROBES).map(|_| refused()).chain(answers);
    let (runtime, transport) = start_with(exchanges, |config| {
        config.retry.max_attempts = 1;
        config.breaker.failures = 4;
    });
    for _ in 0..4 {
        assert_eq!(failure(&collect(&runtime).await).kind(), ErrorKind::Connect);
    }
    let collecting: Vec<_> = (0..50)
        .map(|_| {
            let runtime = runtime.clone();
            actix_rt::spawn(async move { collect(&runtime).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(transport.requests().len(), 4, "nothing was sent");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(transport.requests().len(), 4 + PROBES);
    let mut failed = 0;
    for collecting in collecting {
        let events = collecting.await.unwrap();
        match &*names(&events) {
            ["connect"] => failed += 1,
            answer => assert_eq!(answer, ANSWER),
        }
    }
    assert_eq!((failed, transport.requests().len()), (PROBES, 4 + 50));
}

/// How many attempts a half-open breaker lets through.
const PROBES: usize = 3;

#[actix_rt::test]
async fn a_good_head_closes_the_breaker_while_its_answer_still_comes() {
    let refused = || Exchange::error(TransportErrorKind::Connect, "connection refused");
    let exchanges = (0..2)
        .map(|_| refused())
        .chain((0..5).map(|_| Exchange::stream(created()).held_open()));
    let (runtime, transport) = start_with(exchanges, |config| {
        config.retry.max_attempts = 1;
        config.breaker.failures = 2;
    });
    for _ in 0..2 {
        assert_eq!(failure(&collect(&runtime).await).kind(), ErrorKind::Connect);
    }
    let reading: Vec<_> = (0..5)
        .map(|_| {
            let runtime = runtime.clone();
            actix_rt::spawn(async move { collect(&runtime).await })
        })
        .collect();
    // The pause, and one for those that the probes held back.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(transport.requests().len(), 2 + 5);
    reading.iter().for_each(|reading| reading.abort());
}

#[actix_rt::test]
async fn a_request_is_kept_from_a_dead_endpoint_for_so_long_and_then_it_counts() {
    let refused = || Exchange::error(TransportErrorKind::Connect, "connection refused");
    let (runtime, transport) = start_with([refused(), refused()], |config| {
        config.retry.max_attempts = 1;
        config.breaker.failures = 2;
        config.breaker.pause = Duration::from_secs(31);
        config.breaker.max_pause = Duration::from_secs(31);
    });
    for _ in 0..2 {
        assert_eq!(names(&collect(&runtime).await), ["connect"]);
    }
    let events = collect(&runtime).await;
    let error = failure(&events);
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("connection refused"), "{error}");
    assert_eq!(error.details().attempts.len(), 1);
    assert_eq!(transport.requests().len(), 2);
}

#[actix_rt::test]
async fn a_request_waits_for_an_endpoint_to_come_back() {
    let refused = || Exchange::error(TransportErrorKind::Connect, "connection refused");
    let exchanges = [refused(), refused(), Exchange::stream(answer())];
    let (runtime, transport) = start_with(exchanges, |config| {
        config.retry = steady_retry(4);
        config.breaker.failures = 2;
    });
    let before = tokio::time::Instant::now();
    assert_eq!(names(&collect(&runtime).await), ANSWER);
    // 100 ms and 200 ms of backoff, then what was left of the pause of 1 s since the second failure.
    assert_elapsed(before, Duration::from_millis(100 + 1000));
    assert_eq!(transport.requests().len(), 3);
}
