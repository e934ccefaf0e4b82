//! Who reads an answer.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;

use super::{
    log::{Batch, Log, ReadError},
    piece::Piece,
};
use crate::store::StoreTail;

/// Reads the blocks of an answer, from a position on to the end. A dropped one has left.
///
/// After an error and at the end it says `None`.
pub(in crate::relay) struct Reader {
    source: Source,
}

enum Source {
    Log {
        log: Arc<Log>,
        seat: usize,
    },
    Store(StoreTail),
    /// It has read the end, or cannot go on.
    Nothing,
}

impl Reader {
    pub(super) fn new(log: Arc<Log>, position: u64) -> Self {
        let seat = log.sit_down(position);
        Self {
            source: Source::Log { log, seat },
        }
    }

    pub(super) fn of_store(tail: StoreTail) -> Self {
        Self {
            source: Source::Store(tail),
        }
    }

    /// Whoever polled it before is not woken.
    pub(in crate::relay) fn forget_waker(&self) {
        if let Source::Log { log, seat } = &self.source {
            log.forget_waker(*seat);
        }
    }

    fn leave(&mut self) {
        if let Source::Log { log, seat } = std::mem::replace(&mut self.source, Source::Nothing) {
            log.stand_up(seat);
        }
    }
}

impl Stream for Reader {
    type Item = Result<Batch, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let read = match &mut self.source {
            Source::Log { log, seat } => log.poll_read(*seat, cx),
            Source::Store(tail) => loop {
                match ready!(tail.as_mut().poll_next(cx)) {
                    None => break Poll::Ready(None),
                    Some(Err(error)) => break Poll::Ready(Some(Err(error.into()))),
                    Some(Ok(entries)) if entries.blocks.is_empty() => {}
                    Some(Ok(entries)) => {
                        let pieces = entries.blocks.into_iter().map(Piece::from).collect();
                        let first = entries.first;
                        break Poll::Ready(Some(Ok(Batch { first, pieces })));
                    }
                }
            },
            Source::Nothing => Poll::Ready(None),
        };
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
