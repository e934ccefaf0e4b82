//! What ties a subscriber to a request.

use std::{mem, sync::Arc, time::Duration};

use actix::Recipient;
use smallvec::smallvec;
use tokio::{sync::mpsc, time::Instant};

use super::{
    delivery::Delivery,
    link::{Blocked, Link, Sent},
    log::EventLog,
};
use crate::{
    actors::{RequestId, SubscriptionId},
    protocol::{
        ResponseEvent,
        error::{ApiError, ErrorKind, Phase},
    },
};

/// Who listens to a request, from where on, and what happens when it does not keep up.
#[derive(Clone, Debug)]
pub struct Subscriber {
    pub(crate) link: Link,
    pub(crate) policy: DeliveryPolicy,
    /// How long it is waited for while nobody else listens, in place of what the policy says.
    pub(crate) rest: Option<Duration>,
    pub(crate) cursor: Cursor,
}

/// How long a stream that nobody else shares may rest: longer than a person is away from a prompt, and not for ever, for its socket is
/// held.
pub(crate) const REST: Duration = Duration::from_secs(60 * 60);

impl Subscriber {
    /// A subscriber that takes [`Delivery`] messages: the events that were ready together, with their sequence numbers. From
    /// the start, unless [`with_cursor`](Self::with_cursor) says otherwise.
    pub fn deliveries(recipient: Recipient<Delivery>) -> Self {
        Self::new(Link::Deliveries(recipient))
    }

    /// A subscriber that takes one message for each event, the end included, from the start, unless
    /// [`with_cursor`](Self::with_cursor) says otherwise.
    pub fn events(recipient: Recipient<ResponseEvent>) -> Self {
        Self::new(Link::Events(recipient))
    }

    pub(crate) fn channel(
        queue: mpsc::Sender<Delivery>,
        urgent: mpsc::UnboundedSender<Delivery>,
    ) -> Self {
        Self {
            rest: Some(REST),
            ..Self::new(Link::Channel { queue, urgent })
        }
    }

    fn new(link: Link) -> Self {
        Self {
            link,
            policy: DeliveryPolicy::default(),
            rest: None,
            cursor: Cursor::default(),
        }
    }

    /// Sets what happens when the subscriber does not keep up.
    #[must_use]
    pub fn with_policy(mut self, policy: DeliveryPolicy) -> Self {
        self.policy = policy;
        self.rest = None;
        self
    }

    /// Sets where to begin.
    #[must_use]
    pub fn with_cursor(mut self, cursor: Cursor) -> Self {
        self.cursor = cursor;
        self
    }
}

/// Where in a request's sequence of events a subscription begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cursor {
    /// At the first event. An error when the log does not reach back so far.
    #[default]
    Start,
    /// At this sequence number, as [`Delivery::next_sequence`] gave it. An error when the log does not reach back so far.
    From(u64),
    /// At the next event to come.
    Live,
}

/// What happens when a subscriber's mailbox is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryPolicy {
    /// Nothing is lost: events wait in the log, and when the subscriber lags by more than
    /// [`AudienceLimits::lag_events`](super::AudienceLimits), the stream is not read any further until it has caught up.
    /// When the delivery that found the mailbox full has not been handled after `max_wait`, the subscription ends with
    /// [`ErrorKind::Lagged`](crate::ErrorKind): with a mailbox of 16, a subscriber may take a sixteenth of it for each. A delivery of
    /// 256 KiB or more finds it full unless it is empty, so that not many of them are held at a time.
    Wait {
        /// How long a delivery that found the mailbox full is waited for.
        max_wait: Duration,
    },
    /// Deltas that come while the mailbox is full are left out, and their sequence numbers missing; items and the end are
    /// not. The stream is never held up. When as many such events wait as the log may hold, the subscription ends with
    /// [`ErrorKind::Lagged`](crate::ErrorKind).
    DropDeltas,
    /// The subscription ends with [`ErrorKind::Lagged`](crate::ErrorKind) as soon as the mailbox is full. A mailbox holds 16
    /// messages unless its actor says otherwise.
    Disconnect,
}

/// Waits for 30 s: longer than a busy actor needs, shorter than the idle timeouts of servers and proxies.
impl Default for DeliveryPolicy {
    fn default() -> Self {
        Self::Wait {
            max_wait: Duration::from_secs(30),
        }
    }
}

/// One subscriber of an audience.
pub(super) struct Subscription {
    pub(super) id: SubscriptionId,
    pub(super) link: Link,
    pub(super) policy: DeliveryPolicy,
    pub(super) rest: Option<Duration>,
    /// The sequence number that it gets next.
    pub(super) next: u64,
    pub(super) blocked: Option<Box<Blocked>>,
    /// Events that the log has let go before this subscription, whose policy drops only deltas, could take them.
    pub(super) kept: Vec<(u64, ResponseEvent)>,
    /// Whether a full mailbox has just taken something again.
    pub(super) resumed: bool,
    pub(super) over: bool,
}

impl Subscription {
    pub(super) fn is_waited_for(&self) -> bool {
        self.blocked.is_some() && matches!(self.policy, DeliveryPolicy::Wait { .. })
    }

    /// When it is waited for no longer. Others have shared the request since then, if they do.
    pub(super) fn gives_up_at(&self, shared_since: Option<Instant>) -> Option<Instant> {
        let (Some(blocked), DeliveryPolicy::Wait { max_wait }) = (&self.blocked, self.policy)
        else {
            return None;
        };
        match (self.rest, shared_since) {
            (None, _) => blocked.since.checked_add(max_wait),
            (Some(rest), None) => blocked.since.checked_add(rest),
            (Some(_), Some(shared)) => blocked.since.max(shared).checked_add(max_wait),
        }
    }

    /// Whether a batch is what comes next, as it is.
    pub(super) fn expects(&self, batch: &Delivery) -> bool {
        self.next == batch.first_sequence()
            && self.blocked.is_none()
            && self.kept.is_empty()
            && !self.resumed
            && !self.over
    }

    pub(super) fn send(&mut self, request: RequestId, delivery: Delivery, now: Instant) {
        let can_wait = matches!(self.policy, DeliveryPolicy::Wait { .. });
        match self.link.deliver(delivery, can_wait, now) {
            Sent::Done => {}
            Sent::Blocked(_) if self.policy == DeliveryPolicy::Disconnect => self.lag(request),
            Sent::Blocked(blocked) => self.blocked = Some(blocked),
            Sent::Gone => self.over = true,
        }
    }

    /// Sends what the log holds until the mailbox is full.
    pub(super) fn catch_up(
        &mut self,
        request: RequestId,
        log: &EventLog,
        ended: bool,
        now: Instant,
    ) {
        // After a full mailbox, a policy that drops deltas sends only the rest of what had piled up.
        let skip_deltas = mem::take(&mut self.resumed) && self.policy == DeliveryPolicy::DropDeltas;
        while !self.over && self.blocked.is_none() {
            let delivery = if self.kept.is_empty() {
                let Some(delivery) = log.read(self.next) else {
                    break;
                };
                self.next = delivery.next_sequence();
                if skip_deltas {
                    let rest = delivery.sequenced().filter(|(_, event)| !event.is_delta());
                    self.kept
                        .extend(rest.map(|(sequence, event)| (sequence, event.clone())));
                    continue;
                }
                delivery
            } else {
                let run = self
                    .kept
                    .iter()
                    .zip(self.kept[0].0..)
                    .take_while(|(kept, n)| kept.0 == *n)
                    .count();
                let first = self.kept[0].0;
                let events = self.kept.drain(..run).map(|(_, event)| event).collect();
                Delivery::new(request, first, events)
            };
            self.send(request, delivery, now);
        }
        if ended && self.blocked.is_none() && self.kept.is_empty() && self.next == log.next() {
            self.over = true;
        }
    }

    /// How many events of the log it has not been sent.
    pub(super) fn lag_in(&self, log: &EventLog) -> u64 {
        log.next().saturating_sub(self.next) + self.kept.len() as u64
    }

    /// Ends the subscription because it did not keep up.
    pub(super) fn lag(&mut self, request: RequestId) {
        let error = ApiError::new(
            ErrorKind::Lagged,
            "the subscriber did not take its events in time; the request itself may go on",
        );
        self.fail(request, error);
    }

    /// Ends the subscription, though not the request, with an error.
    pub(super) fn fail(&mut self, request: RequestId, error: ApiError) {
        self.over = true;
        if !self.blocked.take().is_none_or(|blocked| blocked.withdraw()) {
            return;
        }
        let error = Arc::new(error.with_phase(Phase::Deliver));
        let end = smallvec![ResponseEvent::Failed(error)];
        self.link
            .deliver_end(Delivery::new(request, self.next, end));
    }
}
