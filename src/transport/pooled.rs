//! A transport whose connections serve one request after the other, though nobody waits for a body's last bytes.

use std::{
    cell::RefCell,
    collections::HashMap,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    BodyStream, Transport, TransportError, TransportErrorKind as Kind, TransportRequest,
    TransportResponse,
    websocket::{RefusedOrigins, Turn, WebSockets},
};

/// How much of a body is still read after its terminal event, so that the connection can serve the next request.
///
/// Subscribers do not wait for it. Where a limit is reached first the connection is closed. Zero closes it at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainLimits {
    /// How long. 50 ms: the end of the body is mostly in the same packet as the terminal event, or one behind.
    pub time: Duration,
    /// How many bytes. 64 KiB: more would cost more than a new connection.
    pub bytes: usize,
}

with_fields!(DrainLimits {
    with_time(time: Duration),
    with_bytes(bytes: usize),
});

impl Default for DrainLimits {
    fn default() -> Self {
        Self {
            time: Duration::from_millis(50),
            bytes: 64 * 1024,
        }
    }
}

/// How many origins are remembered. Beyond it those are forgotten of which nothing is being drained, which costs a request to one
/// of them at most a new connection.
const MAX_ORIGINS: usize = 256;

/// A transport, and which of its connections are about to be free, by origin.
///
/// A subscriber hears of an answer's end before the connection is free again, because it does not wait for the socket. A
/// request that follows at once would open another connection, which costs it several round trips; so it waits a moment for
/// one that is being drained, unless the origin is known not to end its bodies.
pub(crate) struct Pooled {
    transport: Rc<dyn Transport>,
    origins: RefCell<HashMap<String, Origin>>,
    moved: Notify,
    sockets: WebSockets,
}

#[derive(Default)]
struct Origin {
    /// Bodies that are being read to their end.
    draining: usize,
    /// Connections that came free and were not asked for since; the transport may have closed some.
    free: usize,
    /// Whether the last body of this origin did not end in time.
    holds_open: bool,
}

impl Pooled {
    pub(crate) fn new(transport: Rc<dyn Transport>, refused: RefusedOrigins) -> Self {
        Self {
            transport,
            origins: RefCell::default(),
            moved: Notify::default(),
            sockets: WebSockets::new(refused),
        }
    }

    /// Sends a request over a connection that is about to be free, if there is one and draining it takes no longer than it may.
    pub(crate) async fn send(
        &self,
        origin: &str,
        limits: DrainLimits,
        request: TransportRequest,
    ) -> Result<TransportResponse, TransportError> {
        self.wait_for_connection(origin, limits.time).await;
        self.transport.send(request).await
    }

    /// Sends a request over a WebSocket, or where there is none, and the request may go by SSE, as [`send`](Self::send) does.
    pub(crate) async fn send_over_socket(
        &self,
        origin: &str,
        limits: DrainLimits,
        request: TransportRequest,
        turn: &Turn,
    ) -> Result<TransportResponse, TransportError> {
        let sent = self.sockets.send(&self.transport, origin, &request, turn);
        match sent.await? {
            Some(response) => Ok(response),
            // A POST would have an answer generated.
            None if turn.is_warm_up => Err(TransportError::new(
                Kind::InvalidRequest,
                format!("a warm-up needs a WebSocket, and {origin} has none"),
            )),
            None => self.send(origin, limits, request).await,
        }
    }

    /// Reads a body to its end, within limits, so that its connection can serve the next request; otherwise drops it, which
    /// closes the connection. It returns at once: a body that has not ended yet goes on in a task of its own.
    pub(crate) fn drain(self: &Rc<Self>, origin: &str, mut body: BodyStream, limits: DrainLimits) {
        let mut left = limits.bytes;
        // The end mostly lies in what has arrived already.
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(ended) = poll_drain(&mut body, &mut left, &mut cx) {
            return self.settle(origin, 0, ended);
        }
        if limits.time.is_zero() {
            return self.settle(origin, 0, false);
        }
        self.with(origin, |origin| origin.draining += 1);
        let draining = Draining {
            pooled: self.clone(),
            origin: origin.to_owned(),
            ended: false,
        };
        actix_rt::spawn(async move {
            // All of it, so that its drop comes last.
            let mut draining = draining;
            let reading = poll_fn(|cx| poll_drain(&mut body, &mut left, cx));
            let ended = tokio::time::timeout(limits.time, reading).await;
            // Only when it has ended does its connection live on.
            drop(body);
            draining.ended = ended.unwrap_or(false);
        });
    }

    /// Waits for a connection that is about to be free, at most for the time that draining may take.
    async fn wait_for_connection(&self, origin: &str, patience: Duration) {
        let is_free = || self.with(origin, Origin::take_free);
        if is_free() {
            return;
        }
        let waiting = async {
            loop {
                self.moved.notified().await;
                if is_free() {
                    return;
                }
            }
        };
        // In vain: then the request opens a connection.
        let _ = tokio::time::timeout(patience, waiting).await;
    }

    fn settle(&self, origin: &str, drained: usize, ended: bool) {
        self.with(origin, |origin| {
            origin.draining -= drained;
            origin.free += usize::from(ended);
            origin.holds_open = !ended;
        });
        self.moved.notify_waiters();
    }

    fn with<T>(&self, origin: &str, change: impl FnOnce(&mut Origin) -> T) -> T {
        let mut origins = self.origins.borrow_mut();
        if let Some(known) = origins.get_mut(origin) {
            return change(known);
        }
        if origins.len() >= MAX_ORIGINS {
            origins.retain(|_, origin| origin.draining > 0);
        }
        change(origins.entry(origin.to_owned()).or_default())
    }
}

/// A body that is being read to its end. The drop settles it, however the reading ended.
struct Draining {
    pooled: Rc<Pooled>,
    origin: String,
    ended: bool,
}

impl Drop for Draining {
    fn drop(&mut self) {
        self.pooled.settle(&self.origin, 1, self.ended);
    }
}

impl Origin {
    /// Whether there is nothing to wait for: a connection is free and taken now, or none is about to be.
    fn take_free(&mut self) -> bool {
        if self.free > 0 {
            self.free -= 1;
            return true;
        }
        self.draining == 0 || self.holds_open
    }
}

/// Ready when the body has ended (true), or has broken or passed the limit (false).
fn poll_drain(body: &mut BodyStream, left: &mut usize, cx: &mut Context<'_>) -> Poll<bool> {
    loop {
        match body.as_mut().poll_next(cx) {
            Poll::Ready(Some(Ok(chunk))) if chunk.len() <= *left => *left -= chunk.len(),
            Poll::Ready(last) => return Poll::Ready(last.is_none()),
            Poll::Pending => return Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_core::future::LocalBoxFuture;
    use futures_util::stream;
    use tokio::time::Instant;

    use super::*;

    const LIMITS: DrainLimits = DrainLimits {
        time: Duration::from_millis(50),
        bytes: 100,
    };

    /// Over a transport that is not asked.
    struct Unused;

    impl Transport for Unused {
        fn send(
            &self,
            _: TransportRequest,
        ) -> LocalBoxFuture<'static, Result<TransportResponse, TransportError>> {
            Box::pin(std::future::pending())
        }
    }

    fn pooled() -> Rc<Pooled> {
        Rc::new(Pooled::new(Rc::new(Unused), RefusedOrigins::default()))
    }

    fn body(chunks: Vec<usize>, ends_after: Option<Duration>) -> BodyStream {
        let chunks = stream::iter(chunks.into_iter().map(|n| Ok(Bytes::from(vec![0; n]))));
        let end = stream::once(async move {
            match ends_after {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
            Ok(Bytes::new())
        });
        Box::pin(futures_util::StreamExt::chain(chunks, end))
    }

    /// How long the next request waits after these bodies.
    async fn wait_after(bodies: Vec<BodyStream>) -> Duration {
        let pooled = pooled();
        for body in bodies {
            pooled.drain("http://a", body, LIMITS);
        }
        let before = Instant::now();
        pooled.wait_for_connection("http://a", LIMITS.time).await;
        before.elapsed()
    }

    #[actix_rt::test]
    async fn a_request_waits_for_the_connection_that_is_about_to_be_free() {
        tokio::time::pause();
        let ms = Duration::from_millis;
        assert_eq!(wait_after(vec![]).await, ms(0));
        assert!((ms(5)..ms(8)).contains(&wait_after(vec![body(vec![10], Some(ms(5)))]).await));
        // Over the limit of bytes: closed at once.
        assert_eq!(wait_after(vec![body(vec![60, 60], None)]).await, ms(0));
        // One is free already.
        let bodies = vec![
            Box::pin(stream::empty()) as BodyStream,
            body(vec![], Some(ms(9))),
        ];
        assert_eq!(wait_after(bodies).await, ms(0));
    }

    #[actix_rt::test]
    async fn an_origin_that_holds_connections_open_is_waited_for_once() {
        tokio::time::pause();
        let pooled = pooled();
        pooled.drain("http://a", body(vec![], None), LIMITS);
        let before = Instant::now();
        pooled
            .wait_for_connection("http://a", Duration::from_secs(9))
            .await;
        assert!(before.elapsed() < Duration::from_millis(60));
        pooled.drain("http://a", body(vec![], None), LIMITS);
        let before = Instant::now();
        pooled
            .wait_for_connection("http://a", Duration::from_secs(9))
            .await;
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[actix_rt::test]
    async fn origins_are_forgotten_but_those_that_are_being_drained() {
        let pooled = pooled();
        let busy = "http://busy";
        pooled.drain(busy, body(vec![], None), LIMITS);
        for number in 0..10 * MAX_ORIGINS {
            let origin = format!("http://{number}");
            pooled.wait_for_connection(&origin, LIMITS.time).await;
            assert!(pooled.origins.borrow().len() <= MAX_ORIGINS);
        }
        assert!(pooled.origins.borrow().contains_key(busy));
    }
}
