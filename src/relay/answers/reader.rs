//! Who reads an answer.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;

use super::log::{Batch, Log, ReadError};

/// Reads the blocks of an answer, from a position on to the end. A dropped one has left.
///
/// After an error and at the end it says `None`.
pub(in crate::relay) struct Reader {
    log: Arc<Log>,
    /// `None` after the end.
    seat: Option<usize>,
}

impl Reader {
    pub(super) fn new(log: Arc<Log>, position: u64) -> Self {
        let seat = Some(log.sit_down(position));
        Self { log, seat }
    }

    fn leave(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.log.stand_up(seat);
        }
    }
}

impl Stream for Reader {
    type Item = Result<Batch, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(seat) = self.seat else {
            return Poll::Ready(None);
        };
        let read = self.log.poll_read(seat, cx);
        if matches!(read, Poll::Ready(None | Some(Err(_)))) {
            self.leave();
        }
        read
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.leave();
    }
}
