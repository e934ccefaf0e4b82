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
    storage::{Entered, Rescue, Way},
};
use crate::store::StoreTail;

/// Reads the blocks of an answer, from a position on to the end. A dropped one has left.
///
/// After an error and at the end it says `None`.
pub(in crate::relay) struct Reader {
    source: Source,
    /// How it goes on where another node has taken the answer over.
    way: Option<Box<WayOn>>,
}

/// Where it is followed, and who rescues it there.
type WayOn = (Way, Option<Box<dyn Rescue>>);

enum Source {
    Log {
        log: Arc<Log>,
        seat: usize,
    },
    Store(StoreTail),
    /// It is followed wherever it is written.
    Followed(Entered),
    /// It has read the end, or cannot go on.
    Nothing,
}

impl Reader {
    pub(super) fn new(log: Arc<Log>, position: u64) -> Self {
        let seat = log.sit_down(position);
        Self {
            source: Source::Log { log, seat },
            way: None,
        }
    }

    /// The same of an answer that another node may take over.
    pub(super) fn with_way(mut self, way: Way, rescue: Option<Box<dyn Rescue>>) -> Self {
        self.way = Some(Box::new((way, rescue)));
        self
    }

    pub(super) fn of_store(tail: StoreTail) -> Self {
        Self {
            source: Source::Store(tail),
            way: None,
        }
    }

    pub(super) fn following(followed: Entered) -> Self {
        Self {
            source: Source::Followed(followed),
            way: None,
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

    /// Another node writes the answer now: it is read there, behind what was read here. Whether it can be.
    fn go_over(&mut self) -> bool {
        let Some((way, rescue)) = self.way.take().map(|it| *it) else {
            return false;
        };
        let Source::Log { log, seat } = &self.source else {
            return false;
        };
        let (position, last) = log.last_read(*seat);
        let followed = way.go_on(position, last, rescue);
        self.leave();
        self.source = Source::Followed(followed);
        true
    }
}

impl Stream for Reader {
    type Item = Result<Batch, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let read = loop {
            let entries = match &mut self.source {
                Source::Log { log, seat } => match log.poll_read(*seat, cx) {
                    Poll::Ready(Some(Err(ReadError::Lost))) if self.go_over() => continue,
                    read => break read,
                },
                Source::Store(tail) => match ready!(tail.as_mut().poll_next(cx)) {
                    Some(Ok(entries)) => Ok(entries),
                    Some(Err(error)) => Err(error.into()),
                    None => break Poll::Ready(None),
                },
                Source::Followed(followed) => match ready!(followed.as_mut().poll_next(cx)) {
                    Some(entries) => entries,
                    None => break Poll::Ready(None),
                },
                Source::Nothing => break Poll::Ready(None),
            };
            match entries {
                Err(error) => break Poll::Ready(Some(Err(error))),
                Ok(entries) if entries.blocks.is_empty() => {}
                Ok(entries) => {
                    let pieces = entries.blocks.into_iter().map(Piece::from).collect();
                    let first = entries.first;
                    break Poll::Ready(Some(Ok(Batch { first, pieces })));
                }
            }
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
