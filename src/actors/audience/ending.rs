//! How a request ends for those who listen to it: once, whoever ends it.

use std::{mem, sync::Arc};

use smallvec::smallvec;
use tokio::time::Instant;

use super::{Audience, recording::Last, without_spare_room};
use crate::protocol::{ResponseEvent, TokenUsage, error::ApiError};

impl Audience {
    /// Publishes the end, after everything before it. It is delivered when a subscriber has taken what precedes it.
    pub(crate) fn end(&mut self, last: &mut Vec<ResponseEvent>, end: ResponseEvent, now: Instant) {
        debug_assert!(end.is_final());
        if self.ended || self.held.is_some() {
            return;
        }
        // Of what comes with the end it only matters whether it was delivered before.
        if !self.preamble.is_empty() {
            self.note_preamble(last);
        }
        last.push(end);
        let events = without_spare_room(mem::take(last));
        let last = Last {
            blocks: self.take_blocks(events.len()),
            events,
            overtakes: false,
        };
        if let Some(last) = self.hold(last) {
            self.conclude(last, now);
        }
    }

    /// Ends at once: what subscribers have not taken yet is skipped, and the end overtakes it.
    pub(crate) fn cut_short(&mut self, end: ResponseEvent) {
        debug_assert!(end.is_final());
        if self.ended || self.held.is_some() {
            return;
        }
        // What another process can go on with has not ended with this one.
        if self.resumption.is_some() && matches!(end, ResponseEvent::Failed(_)) {
            self.hand_over();
        }
        let last = Last {
            events: smallvec![end],
            blocks: None,
            overtakes: true,
        };
        if let Some(last) = self.hold(last) {
            self.conclude(last, Instant::now());
        }
    }

    /// Publishes the end.
    pub(super) fn conclude(&mut self, last: Last, now: Instant) {
        if let Some(end) = last.events.last() {
            self.tell_end(end);
        }
        // It writes on by itself, if it has to; the request that lies with it need not be kept for that.
        self.recording = None;
        if self.is_read_again {
            // Who asked for more than there is gets the end.
            let end = self.log.next() + (last.events.len() as u64).saturating_sub(1);
            for subscription in &mut self.subscriptions {
                subscription.next = subscription.next.min(end);
            }
        }
        self.log.push(last.events, last.blocks);
        match last.overtakes {
            true => self.hurry(),
            false => self.deliver(now),
        }
        self.trim();
        self.log.let_chunks_go();
        // It is kept for those who come late, and what is for its time alone would be kept with it.
        self.preamble = Vec::new();
        self.subscriptions.shrink_to_fit();
    }

    /// Keeps what the answer has cost so far, for an end that says nothing of it.
    pub(crate) fn note_usage(&mut self, usage: Option<TokenUsage>) {
        self.usage = usage.map(Box::new);
    }

    fn tell_end(&mut self, end: &ResponseEvent) {
        self.ended = true;
        self.resumption = None;
        if let Some(watch) = self.watch.take() {
            watch.end(end, self.model.take(), self.usage.as_deref().copied());
        }
    }

    /// Gives those who have yet to take the end nothing but it, without waiting for room.
    fn hurry(&mut self) {
        debug_assert!(self.ended);
        if self.subscriptions.is_empty() {
            return;
        }
        let Some(end) = self.log.last() else {
            return;
        };
        for subscription in mem::take(&mut self.subscriptions) {
            let blocked = subscription.blocked;
            if blocked.is_none_or(|blocked| blocked.withdraw()) {
                subscription.link.deliver_end(end.clone());
            }
        }
    }
}

/// Whoever loses an audience, its subscribers get an end.
impl Drop for Audience {
    fn drop(&mut self) {
        // It is not waited for any more.
        if let Some(held) = self.held.take() {
            let overtakes = true;
            self.conclude(
                Last {
                    overtakes,
                    ..held.last
                },
                Instant::now(),
            );
        }
        if self.ended {
            return self.hurry();
        }
        // Which is not that of a stored stream: another process goes on with it.
        self.recording = None;
        self.cut_short(ResponseEvent::Failed(Arc::new(ApiError::request_lost())));
    }
}
