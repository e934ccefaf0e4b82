//! Who is given what when, and what becomes of those who are slow.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::{Audience, AudienceLimits, link::Arrival};
use crate::protocol::error::ApiError;

impl Audience {
    /// Goes on with subscribers that were waited for. The task is woken when there is more to do.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, now: Instant) {
        if let Some(held) = &mut self.held
            && held.poll(cx).is_ready()
            && let Some(held) = self.held.take()
        {
            self.tell_of_store_at_the_end();
            self.conclude(held.last, now);
        }
        // Each time something moved, deliveries may have blocked anew, and those have no waker yet.
        while self.poll_blocked(cx, now) {
            self.deliver(now);
            self.trim();
        }
    }

    /// Whether a subscriber that was waited for has moved, or is waited for no longer.
    fn poll_blocked(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut moved = false;
        if !self.may_be_blocked {
            return moved;
        }
        let shared_since = self.shared_since();
        for subscription in &mut self.subscriptions {
            let Some(blocked) = &mut subscription.blocked else {
                continue;
            };
            match blocked.poll(cx) {
                Poll::Ready(arrival) => {
                    subscription.blocked = None;
                    subscription.resumed = true;
                    moved = true;
                    match arrival {
                        Arrival::Arrived => {}
                        Arrival::Gone => subscription.over = true,
                        Arrival::Lost => subscription.fail(self.request, ApiError::attempt_lost()),
                    }
                }
                Poll::Pending => {
                    let gives_up_at = subscription.gives_up_at(shared_since);
                    if gives_up_at.is_some_and(|at| now >= at) {
                        subscription.lag(self.request);
                        moved = true;
                    }
                }
            }
        }
        moved
    }

    /// Removes subscribers whose actors have stopped.
    pub(crate) fn sweep(&mut self) {
        self.subscriptions
            .retain(|subscription| subscription.link.is_connected());
    }

    /// When [`poll`](Self::poll) has something to do even if no subscriber moves.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if !self.may_be_blocked {
            return None;
        }
        let shared_since = self.shared_since();
        let subscriptions = self.subscriptions.iter();
        subscriptions
            .filter_map(|subscription| subscription.gives_up_at(shared_since))
            .min()
    }

    fn shared_since(&self) -> Option<Instant> {
        self.shared_since.filter(|_| self.subscriptions.len() > 1)
    }

    /// Whether the stream should not be read any further for now.
    pub(crate) fn is_congested(&self) -> bool {
        self.may_be_blocked
            && self.subscriptions.iter().any(|subscription| {
                subscription.is_waited_for()
                    && (self.log.next().saturating_sub(subscription.next)
                        >= self.limits.lag_events as u64
                        || self.log.bytes() > self.limits.log_bytes)
            })
    }

    /// Ends the subscriptions that are waited for without a deadline, for nothing else would.
    pub(crate) fn give_up_on_the_stuck(&mut self) {
        for subscription in &mut self.subscriptions {
            if subscription.blocked.is_some() && !subscription.is_waited_for() {
                subscription.lag(self.request);
            }
        }
        self.subscriptions.retain(|subscription| !subscription.over);
    }

    /// Whether a subscriber has yet to take something.
    pub(crate) fn is_waiting(&self) -> bool {
        self.held.is_some()
            || self.may_be_blocked
                && self
                    .subscriptions
                    .iter()
                    .any(|subscription| subscription.blocked.is_some())
    }

    /// Sends everybody what they can take.
    pub(super) fn deliver(&mut self, now: Instant) {
        let newest = self.log.newest();
        let (mut over, mut blocked) = (false, false);
        for subscription in &mut self.subscriptions {
            match &newest {
                // All that keep up get the same.
                Some(newest) if subscription.expects(newest) => {
                    subscription.next = newest.next_sequence();
                    subscription.send(self.request, newest.clone(), now);
                    subscription.over |= self.ended && subscription.blocked.is_none();
                }
                _ => subscription.catch_up(self.request, &self.log, self.ended, now),
            }
            over |= subscription.over;
            blocked |= subscription.blocked.is_some();
        }
        self.may_be_blocked = blocked;
        if over {
            self.subscriptions.retain(|subscription| !subscription.over);
        }
    }

    /// Brings the log within its limits, but not past what a subscriber is being waited with.
    pub(super) fn trim(&mut self) {
        let AudienceLimits {
            log_events,
            log_bytes,
            ..
        } = self.limits;
        while let Some((first, events)) = self.log.excess(log_events, log_bytes) {
            let end = first + events.len() as u64;
            if self
                .subscriptions
                .iter()
                .any(|s| s.is_waited_for() && s.next < end)
            {
                return;
            }
            for subscription in &mut self.subscriptions {
                if subscription.next >= end {
                    continue;
                }
                let unseen = (first..)
                    .zip(events)
                    .filter(|(sequence, _)| *sequence >= subscription.next);
                let kept = unseen.filter(|(_, event)| !event.is_delta());
                subscription
                    .kept
                    .extend(kept.map(|(sequence, event)| (sequence, event.clone())));
                subscription.next = end;
                let bytes: usize = subscription
                    .kept
                    .iter()
                    .map(|(_, event)| event.weight())
                    .sum();
                if subscription.kept.len() > log_events || bytes > log_bytes {
                    subscription.lag(self.request);
                }
            }
            self.subscriptions.retain(|subscription| !subscription.over);
            self.log.forget_oldest();
        }
    }
}
