//! A transport without a network: every request is answered with the same chunks.

use std::{
    future::ready,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use actix_responses::transport::{
    Transport, TransportError, TransportFactory, TransportRequest, TransportResponse,
};
use bytes::Bytes;
use futures_core::{Stream, future::LocalBoxFuture};

/// Answers with chunks of which so many are ready together; then it is somebody else's turn.
#[derive(Clone)]
pub struct Scripted {
    pub chunks: Arc<[Bytes]>,
    pub burst: usize,
}

impl TransportFactory for Scripted {
    fn build(&self) -> Result<Rc<dyn Transport>, TransportError> {
        Ok(Rc::new(self.clone()))
    }
}

impl Transport for Scripted {
    fn send(
        &self,
        _: TransportRequest,
    ) -> LocalBoxFuture<'static, Result<TransportResponse, TransportError>> {
        let body = Body {
            script: self.clone(),
            next: 0,
            left: self.burst,
        };
        // Status 200 without headers.
        let response = TransportResponse {
            status: Default::default(),
            headers: Default::default(),
            body: Box::pin(body),
        };
        Box::pin(ready(Ok(response)))
    }
}

struct Body {
    script: Scripted,
    next: usize,
    left: usize,
}

impl Stream for Body {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            self.left = self.script.burst;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.left -= 1;
        self.next += 1;
        Poll::Ready(self.script.chunks.get(self.next - 1).cloned().map(Ok))
    }
}
