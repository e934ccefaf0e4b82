//! A transport that plays exchanges and remembers what it was asked.

use std::{
    collections::VecDeque,
    future::pending,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_responses::transport::{
    Transport, TransportError, TransportErrorKind, TransportFactory, TransportRequest,
    TransportResponse,
};
use bytes::Bytes;
use futures_core::future::LocalBoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

/// What meets one request.
#[derive(Clone)]
pub(crate) struct Exchange {
    head_after: Option<Duration>,
    answer: Answer,
}

#[derive(Clone)]
enum Answer {
    Error(TransportErrorKind, &'static str),
    Response {
        status: StatusCode,
        headers: HeaderMap,
        body: Vec<Step>,
    },
}

#[derive(Clone)]
enum Step {
    Chunk(Bytes),
    Wait(Duration),
    Break,
    Hang,
    Panic,
    StopArbiter,
    Do(Arc<dyn Fn() + Send + Sync>),
}

impl Exchange {
    /// A response with a status and no body yet, which then ends.
    pub(crate) fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("a status");
        let answer = Answer::Response {
            status,
            headers: HeaderMap::new(),
            body: Vec::new(),
        };
        Self {
            head_after: Some(Duration::ZERO),
            answer,
        }
    }

    /// An event stream with these bytes, which then ends.
    pub(crate) fn stream(bytes: impl Into<Bytes>) -> Self {
        Self::status(200)
            .header("content-type", "text/event-stream")
            .chunk(bytes)
    }

    /// No response but an error.
    pub(crate) fn error(kind: TransportErrorKind, message: &'static str) -> Self {
        Self {
            head_after: Some(Duration::ZERO),
            answer: Answer::Error(kind, message),
        }
    }

    /// No answer at all, ever.
    pub(crate) fn silence() -> Self {
        Self {
            head_after: None,
            ..Self::status(200)
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        if let Answer::Response { headers, .. } = &mut self.answer {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        self
    }

    pub(crate) fn chunk(self, bytes: impl Into<Bytes>) -> Self {
        self.step(Step::Chunk(bytes.into()))
    }

    /// All the bytes in pieces of one size.
    pub(crate) fn chunks(mut self, bytes: &[u8], size: usize) -> Self {
        for chunk in bytes.chunks(size) {
            self = self.chunk(Bytes::copy_from_slice(chunk));
        }
        self
    }

    pub(crate) fn head_after(mut self, time: Duration) -> Self {
        self.head_after = Some(time);
        self
    }

    pub(crate) fn wait(self, time: Duration) -> Self {
        self.step(Step::Wait(time))
    }

    /// The connection breaks.
    pub(crate) fn broken(self) -> Self {
        self.step(Step::Break)
    }

    /// Nothing more comes, and the connection stays open.
    pub(crate) fn held_open(self) -> Self {
        self.step(Step::Hang)
    }

    /// The code that reads the body panics.
    pub(crate) fn panicking(self) -> Self {
        self.step(Step::Panic)
    }

    /// The arbiter that reads the body stops.
    pub(crate) fn stopping_the_arbiter(self) -> Self {
        self.step(Step::StopArbiter)
    }

    /// Something happens elsewhere, just before what follows is read.
    pub(crate) fn then(self, action: impl Fn() + Send + Sync + 'static) -> Self {
        self.step(Step::Do(Arc::new(action)))
    }

    fn step(mut self, step: Step) -> Self {
        if let Answer::Response { body, .. } = &mut self.answer {
            body.push(step);
        }
        self
    }
}

/// Plays its exchanges in order; a request beyond them is refused.
#[derive(Clone, Default)]
pub(crate) struct ScriptedTransport {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    exchanges: Mutex<VecDeque<Exchange>>,
    requests: Mutex<Vec<SeenRequest>>,
    open: AtomicUsize,
}

/// A request as it was sent.
#[derive(Clone)]
pub(crate) struct SeenRequest {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl ScriptedTransport {
    pub(crate) fn new(exchanges: impl IntoIterator<Item = Exchange>) -> Self {
        let transport = Self::default();
        transport.shared.exchanges.lock().unwrap().extend(exchanges);
        transport
    }

    pub(crate) fn requests(&self) -> Vec<SeenRequest> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Requests and bodies that are neither ended nor dropped.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

struct OpenGuard(Arc<Shared>);

impl OpenGuard {
    fn new(shared: Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl TransportFactory for ScriptedTransport {
    fn build(&self) -> Result<Rc<dyn Transport>, TransportError> {
        Ok(Rc::new(self.clone()))
    }
}

impl Transport for ScriptedTransport {
    fn send(
        &self,
        request: TransportRequest,
    ) -> LocalBoxFuture<'static, Result<TransportResponse, TransportError>> {
        let shared = self.shared.clone();
        shared.requests.lock().unwrap().push(SeenRequest {
            method: request.method,
            url: request.url.to_string(),
            headers: request.headers,
            body: request.body,
        });
        let exchange = shared.exchanges.lock().unwrap().pop_front();
        let guard = OpenGuard::new(shared);
        Box::pin(async move {
            let refused =
                || TransportError::new(TransportErrorKind::Connect, "no exchange is left");
            let Exchange { head_after, answer } = exchange.ok_or_else(refused)?;
            match head_after {
                Some(time) if time.is_zero() => {}
                Some(time) => tokio::time::sleep(time).await,
                None => pending().await,
            }
            match answer {
                Answer::Error(kind, message) => Err(TransportError::new(kind, message)),
                Answer::Response {
                    status,
                    headers,
                    body,
                } => {
                    let steps = futures_util::stream::unfold(
                        (body.into_iter(), guard),
                        |(mut steps, guard)| async move {
                            loop {
                                match steps.next()? {
                                    Step::Chunk(bytes) => return Some((Ok(bytes), (steps, guard))),
                                    Step::Wait(time) => tokio::time::sleep(time).await,
                                    Step::Break => {
                                        let kind = TransportErrorKind::Body;
                                        let error = TransportError::new(kind, "connection reset");
                                        return Some((Err(error), (Vec::new().into_iter(), guard)));
                                    }
                                    Step::Hang => pending().await,
                                    Step::Do(action) => action(),
                                    Step::Panic => panic!("a scripted panic"),
                                    Step::StopArbiter => {
                                        actix_rt::Arbiter::current().stop();
                                        pending::<()>().await;
                                    }
                                }
                            }
                        },
                    );
                    Ok(TransportResponse {
                        status,
                        headers,
                        body: Box::pin(steps),
                    })
                }
            }
        })
    }
}
