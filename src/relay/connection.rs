//! The body of an answer as one client gets it: the answer's blocks, and signs of life between them.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    answers::{Answer, Batch, Piece, ReadError, Reader},
    ending::{self, SoFar},
    failure,
    pump::Driver,
    resume::cursor::{Numbers, with_id},
};
use crate::{protocol::ResponseEvent, wire::Wire};

/// A sign of life. Codex counts only data as one.
const KEEPALIVE: &[u8] = b"data: {\"type\":\"keepalive\"}\n\n";
/// The same where data would be taken for a chunk.
const COMMENT: &[u8] = b": keepalive\n\n";

/// What a client reads: whole blocks in order, and where none came for so long a sign of life.
///
/// It is pulled: what the socket does not take is not read from the answer, and so the server's stream waits.
pub(super) fn body(answer: Arc<Answer>, reader: Reader, keepalive: Duration) -> Body {
    Body {
        answer,
        reader,
        pump: None,
        keepalive,
        numbers: None,
        ahead: None,
        last: None,
        read: 0,
        spoke_at: Instant::now(),
        alarm: Box::pin(sleep_until(Instant::now() + keepalive)),
        alarm_wakes: None,
        ended: false,
    }
}

/// See [`body`].
pub(super) struct Body {
    answer: Arc<Answer>,
    reader: Reader,
    /// What fills the answer, where that is polled here.
    pump: Option<Driver>,
    keepalive: Duration,
    /// Of one that was asked for again: each block has its id.
    numbers: Option<Numbers>,
    /// The client has all up to this number, though the answer does not.
    ahead: Option<u64>,
    last: Option<Piece>,
    /// How many blocks of the answer came up to here.
    read: u64,
    spoke_at: Instant,
    alarm: Pin<Box<Sleep>>,
    /// Whom it wakes, since it was polled last.
    alarm_wakes: Option<Waker>,
    ended: bool,
}

impl Body {
    /// Gives each block its id. The numbers are those of the blocks before the first that is read.
    pub(super) fn with_ids(mut self, numbers: Numbers) -> Self {
        self.numbers = Some(numbers);
        self
    }

    /// Leaves out what the client has, up to this number; never that it failed, which a node says that knows less of it.
    pub(super) fn ahead_by(mut self, number: Option<u64>) -> Self {
        self.ahead = number;
        self
    }

    /// Whether the alarm has not gone off. It wakes who polled it, so that it need not be polled for each block.
    fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        let is_known = |waker: &Waker| waker.will_wake(cx.waker());
        if self.alarm_wakes.as_ref().is_some_and(is_known) && !self.alarm.is_elapsed() {
            return true;
        }
        let is_quiet = self.alarm.as_mut().poll(cx).is_pending();
        self.alarm_wakes = is_quiet.then(|| cx.waker().clone());
        is_quiet
    }

    /// Polls what fills the answer while it waits for that.
    pub(super) fn with_pump(mut self, pump: Driver) -> Self {
        self.pump = Some(pump);
        self
    }

    /// The end of a client that is not waited for, for it was too slow, or of whom the answer is kept no longer.
    fn left_behind(&self, error: ReadError) -> Option<Bytes> {
        let last = self.last.as_ref().map(Piece::last);
        let so_far = SoFar {
            first: last.as_ref(),
            last: last.as_ref(),
            sent: self.read,
            id: self.answer.server_id().unwrap_or(self.answer.id()),
            model: &self.answer.about().model,
        };
        let mut out = Vec::new();
        let error = ResponseEvent::Failed(failure::unread(error).into());
        ending::end(self.answer.about().wire, &so_far, &error, &mut out);
        let joined = out.concat();
        (!joined.is_empty()).then(|| joined.into())
    }
}

/// The blocks for one write, in one chunk of HTTP: a further chunk costs as much as copying some hundred bytes.
fn written(batch: &Batch, numbers: Option<&mut Numbers>, ahead: Option<u64>) -> Bytes {
    let Some(numbers) = numbers else {
        return match &*batch.pieces {
            [piece] => piece.bytes().clone(),
            pieces => {
                let bytes: Vec<_> = pieces.iter().map(|piece| &**piece.bytes()).collect();
                bytes.concat().into()
            }
        };
    };
    let mut written = Vec::new();
    for (count, block) in (batch.first..).zip(batch.blocks()) {
        match numbers.of(count, &block) {
            Some(number) if ahead.is_some_and(|it| number <= it) && !ending::is_failure(&block) => {
            }
            Some(number) => written.extend_from_slice(&with_id(&block, number)),
            None => written.extend_from_slice(&block),
        }
    }
    written.into()
}

impl Stream for Body {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if this.ended {
                return Poll::Ready(None);
            }
            if let Some(pump) = this.pump.as_ref().filter(|pump| pump.is_due()) {
                // What it brings is read at once: nobody has to be woken for it.
                this.reader.forget_waker();
                pump.poll();
            }
            match Pin::new(&mut this.reader).poll_next(cx) {
                Poll::Ready(Some(Ok(batch))) => {
                    this.read = batch.first + batch.count() as u64 - 1;
                    let written = written(&batch, this.numbers.as_mut(), this.ahead);
                    let mut pieces = batch.pieces;
                    this.last = pieces.pop();
                    if written.is_empty() {
                        continue;
                    }
                    this.spoke_at = Instant::now();
                    return Poll::Ready(Some(Ok(written)));
                }
                // It is cut, so that the client comes back, to another node.
                Poll::Ready(Some(Err(ReadError::HandedOn))) => {
                    this.ended = true;
                    let error = "another node goes on with the answer";
                    return Poll::Ready(Some(Err(io::Error::other(error))));
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
                    if this.is_quiet(cx) {
                        if let Some(pump) = &this.pump {
                            pump.wait(cx);
                        }
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
                        let sign = match this.answer.about().wire {
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
