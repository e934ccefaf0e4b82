//! The body of an answer as one client gets it: the answer's blocks, and signs of life between them.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    answers::{Batch, ReadError, Reader},
    ending::{self, SoFar},
};
use crate::{ApiError, ErrorKind, protocol::ResponseEvent, wire::Wire};

/// A sign of life. Codex counts only data as one.
const KEEPALIVE: &[u8] = b"data: {\"type\":\"keepalive\"}\n\n";
/// The same where data would be taken for a chunk.
const COMMENT: &[u8] = b": keepalive\n\n";

/// What a client reads: whole blocks in order, and where none came for so long a sign of life.
///
/// It is pulled: what the socket does not take is not read from the answer, and so the server's stream waits.
pub(super) fn body(reader: Reader, wire: Wire, keepalive: Duration) -> Body {
    Body {
        reader,
        wire,
        keepalive,
        batch: None,
        last: None,
        spoke_at: Instant::now(),
        alarm: Box::pin(sleep_until(Instant::now() + keepalive)),
        ended: false,
    }
}

/// See [`body`].
pub(super) struct Body {
    reader: Reader,
    wire: Wire,
    keepalive: Duration,
    batch: Option<(Batch, usize)>,
    last: Option<Bytes>,
    spoke_at: Instant,
    alarm: Pin<Box<Sleep>>,
    ended: bool,
}

impl Body {
    /// The end of a client that is not waited for, for it was too slow, or of whom the answer is kept no longer.
    fn left_behind(&self, error: ReadError) -> Option<Bytes> {
        let (kind, message) = match error {
            ReadError::TooSlow => (
                ErrorKind::Lagged,
                "the client did not read its stream in time; the answer itself may go on",
            ),
            ReadError::NotResumable => (
                ErrorKind::TooLarge,
                "the answer is over the bytes that are kept of one",
            ),
            _ => (ErrorKind::NotFound, "the answer is not kept any longer"),
        };
        let error = ResponseEvent::Failed(ApiError::new(kind, message).into());
        let so_far = SoFar {
            first: self.last.as_ref(),
            last: self.last.as_ref(),
            sent: 0,
            id: "",
            model: "",
        };
        let mut out = Vec::new();
        ending::end(self.wire, &so_far, &error, &mut out);
        let joined = out.concat();
        (!joined.is_empty()).then(|| joined.into())
    }
}

impl Stream for Body {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some((batch, next)) = &mut this.batch {
                if let Some(block) = batch.blocks.get(*next) {
                    *next += 1;
                    return Poll::Ready(Some(Ok(block.clone())));
                }
                this.batch = None;
            }
            if this.ended {
                return Poll::Ready(None);
            }
            match Pin::new(&mut this.reader).poll_next(cx) {
                Poll::Ready(Some(Ok(batch))) => {
                    this.spoke_at = Instant::now();
                    this.last = batch.blocks.last().cloned();
                    this.batch = Some((batch, 0));
                }
                Poll::Ready(Some(Err(error))) => {
                    this.ended = true;
                    if let Some(end) = this.left_behind(error) {
                        return Poll::Ready(Some(Ok(end)));
                    }
                }
                Poll::Ready(None) => this.ended = true,
                // The alarm is set anew when it goes off, so that blocks do not touch it.
                Poll::Pending => {
                    if this.alarm.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    let due = this.spoke_at + this.keepalive;
                    let now = Instant::now();
                    let is_due = due <= now;
                    if is_due {
                        this.spoke_at = now;
                    }
                    let next = this.spoke_at + this.keepalive;
                    this.alarm.as_mut().reset(next);
                    if is_due {
                        let sign = match this.wire {
                            Wire::Responses => KEEPALIVE,
                            _ => COMMENT,
                        };
                        return Poll::Ready(Some(Ok(Bytes::from_static(sign))));
                    }
                }
            }
        }
    }
}
