//! A transport that plays exchanges and remembers what it was asked.

use std::{
    collections::VecDeque,
    fmt,
    future::pending,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    vec,
};

use bytes::Bytes;
use futures_core::future::LocalBoxFuture;

use super::exchange::{Answer, Exchange, Step};
use crate::transport::{
    Transport, TransportError, TransportErrorKind, TransportFactory, TransportRequest,
    TransportResponse,
};

/// Plays its exchanges in order, one for each request that is sent; a request beyond them fails, and is not tried again.
///
/// A clone is another handle to the same script: one goes to [`Runtime::with_transport`](crate::Runtime::with_transport), the other stays
/// with the test.
#[derive(Clone, Default)]
pub struct ScriptedTransport {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    exchanges: Mutex<VecDeque<Exchange>>,
    requests: Mutex<Vec<Arc<TransportRequest>>>,
    open: AtomicUsize,
}

/// What is only locked to push, pop or copy.
const WHOLE: &str = "nothing panics while it holds this";

impl ScriptedTransport {
    /// A transport that plays these.
    pub fn new(exchanges: impl IntoIterator<Item = Exchange>) -> Self {
        let transport = Self::default();
        let mut script = transport.shared.exchanges.lock().expect(WHOLE);
        script.extend(exchanges);
        drop(script);
        transport
    }

    /// The requests that were sent, in order.
    pub fn requests(&self) -> Vec<Arc<TransportRequest>> {
        self.shared.requests.lock().expect(WHOLE).clone()
    }

    /// How many of them are open: they wait for their response, or its body was neither read to its end nor let go.
    pub fn open_requests(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for ScriptedTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedTransport")
            .field("requests", &self.requests())
            .field("open_requests", &self.open_requests())
            .finish_non_exhaustive()
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
        let request = Arc::new(request);
        shared.requests.lock().expect(WHOLE).push(request);
        let exchange = shared.exchanges.lock().expect(WHOLE).pop_front();
        Box::pin(play(exchange, OpenGuard::new(shared)))
    }
}

async fn play(
    exchange: Option<Exchange>,
    open: OpenGuard,
) -> Result<TransportResponse, TransportError> {
    let kind = TransportErrorKind::InvalidRequest;
    let Exchange { head_after, answer } = exchange
        .ok_or_else(|| TransportError::new(kind, "the script has no exchange left for this"))?;
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
        } => Ok(TransportResponse {
            status,
            headers,
            body: Box::pin(futures_util::stream::unfold(
                (body.into_iter(), open),
                next_chunk,
            )),
        }),
    }
}

type Body = (vec::IntoIter<Step>, OpenGuard);

async fn next_chunk((mut steps, open): Body) -> Option<(Result<Bytes, TransportError>, Body)> {
    loop {
        match steps.next()? {
            Step::Chunk(bytes) => return Some((Ok(bytes), (steps, open))),
            Step::Wait(time) => tokio::time::sleep(time).await,
            Step::Hang => pending().await,
            Step::Do(action) => action(),
            Step::Break => {
                let error = TransportError::new(TransportErrorKind::Body, "connection reset");
                return Some((Err(error), (Vec::new().into_iter(), open)));
            }
        }
    }
}

/// Counts a request for as long as it is open.
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
