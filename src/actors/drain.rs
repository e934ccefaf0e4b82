//! What happens to a body after its terminal event.

use std::{
    future::poll_fn,
    task::{Context, Poll, Waker},
};

use crate::provider::{BodyStream, DrainLimits};

/// Reads a body to its end, within limits, so that its connection can serve the next request; otherwise drops it, which closes
/// the connection. It returns at once: a body that has not ended yet goes on in a task of its own.
pub(super) fn drain(mut body: BodyStream, limits: DrainLimits) {
    let mut left = limits.bytes;
    // The end mostly lies in what has arrived already.
    let mut cx = Context::from_waker(Waker::noop());
    if poll_drain(&mut body, &mut left, &mut cx).is_ready() || limits.time.is_zero() {
        return;
    }
    actix_rt::spawn(async move {
        let reading = poll_fn(|cx| poll_drain(&mut body, &mut left, cx));
        // Either way the body is dropped; only when it has ended its connection lives on.
        let _ = tokio::time::timeout(limits.time, reading).await;
    });
}

/// Ready when the body has ended, broken or passed the limit.
fn poll_drain(body: &mut BodyStream, left: &mut usize, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        match body.as_mut().poll_next(cx) {
            Poll::Ready(Some(Ok(chunk))) if chunk.len() <= *left => *left -= chunk.len(),
            Poll::Ready(_) => return Poll::Ready(()),
            Poll::Pending => return Poll::Pending,
        }
    }
}
