//! Who listens to a request, what they have seen, and the log that latecomers read.
//!
//! Plain state with one owner at any time: the supervisor, or the stream actor of the running attempt. The owner polls it.

use std::{mem, sync::Arc};

use smallvec::{SmallVec, smallvec};
use tokio::time::Instant;
use url::Url;

use self::{
    link::Link,
    log::EventLog,
    recording::{Held, Recording},
    resumption::Resumption,
    subscription::Subscription,
};
use super::{RequestId, SubscribeError, SubscriptionId, WhenDeserted, observing::Watch};
use crate::{
    protocol::{Id, ResponseEvent, TokenUsage},
    wire::blocks::Blocks,
};

mod blocks;
mod counts;
mod delivery;
mod ending;
mod keeping_up;
mod link;
pub(crate) mod listener;
mod log;
pub(crate) mod note;
pub(crate) mod recording;
pub(crate) mod resumption;
mod storing;
mod subscription;

pub use blocks::Block;
pub use delivery::Delivery;
pub use subscription::{Cursor, DeliveryPolicy, Subscriber};

/// Bounds of what a request keeps for its subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AudienceLimits {
    /// How many events the log keeps. Default 8,192: a long answer of some thousand deltas, whole.
    pub log_events: usize,
    /// How many bytes the log keeps, roughly; its newest batch stays whatever its size. Default 2 MiB: a long answer with
    /// its response objects.
    pub log_bytes: usize,
    /// By how many events a subscriber that is waited for may lag before the stream is not read any further. Default 1,024:
    /// a short stall does not reach the socket.
    pub lag_events: usize,
}

with_fields!(AudienceLimits {
    with_log_events(log_events: usize),
    with_log_bytes(log_bytes: usize),
    with_lag_events(lag_events: usize),
});

impl Default for AudienceLimits {
    fn default() -> Self {
        Self {
            log_events: 8_192,
            log_bytes: 2 * 1024 * 1024,
            lag_events: 1_024,
        }
    }
}

/// How many events that are no output are remembered so that a silent retry does not repeat them. Servers send two or three
/// before the output begins.
const PREAMBLE_EVENTS: usize = 16;

pub(crate) struct Audience {
    request: RequestId,
    limits: AudienceLimits,
    log: EventLog,
    subscriptions: Vec<Subscription>,
    /// Since when there have been several.
    shared_since: Option<Instant>,
    /// Whether a subscription may be blocked. Nearly always none is, and none needs to be looked at.
    may_be_blocked: bool,
    next_id: u64,
    had_subscribers: bool,
    /// Since when there is nobody left, as far as was looked.
    deserted_since: Option<Instant>,
    output_delivered: bool,
    /// When the server said last that it accepted the request.
    accepted: Option<Instant>,
    preamble: Vec<ResponseEvent>,
    /// Blocks of the attempt that runs, or has just failed, which go with the events that are published next.
    blocks: Option<Box<Blocks>>,
    /// The model that answers, as said before the output.
    model: Option<Id>,
    /// Who observes the request, until its end.
    pub(crate) watch: Option<Box<Watch>>,
    /// How the next attempt goes on with the answer, until the end.
    pub(crate) resumption: Option<Box<Resumption>>,
    /// What writes to a store what is delivered.
    recording: Option<Box<Recording>>,
    /// The end, while the store has yet to have it.
    held: Option<Box<Held>>,
    /// Whether a cursor may be ahead of what there is: the events are those of a stream that ran before, with their numbers.
    is_read_again: bool,
    ended: bool,
    /// What the answer had cost, as far as that was known, when it was stopped.
    usage: Option<Box<TokenUsage>>,
}

impl Audience {
    pub(crate) fn new(request: RequestId, limits: AudienceLimits) -> Self {
        Self {
            request,
            limits,
            log: EventLog::new(request),
            // Most requests have one subscriber.
            subscriptions: Vec::with_capacity(1),
            shared_since: None,
            may_be_blocked: false,
            next_id: 1,
            had_subscribers: false,
            deserted_since: None,
            output_delivered: false,
            accepted: None,
            preamble: Vec::new(),
            blocks: None,
            model: None,
            watch: None,
            resumption: None,
            recording: None,
            held: None,
            is_read_again: false,
            ended: false,
            usage: None,
        }
    }

    /// Its events come from a store.
    pub(crate) fn set_read_again(&mut self) {
        self.is_read_again = true;
    }

    /// Adds a subscriber and sends it what it has missed.
    pub(crate) fn subscribe(
        &mut self,
        subscriber: Subscriber,
        now: Instant,
    ) -> Result<SubscriptionId, SubscribeError> {
        let (oldest, end) = (self.log.oldest(), self.log.next());
        let next = match subscriber.cursor {
            Cursor::Start => 0,
            Cursor::From(sequence) => sequence,
            Cursor::Live if self.ended => end.saturating_sub(1),
            Cursor::Live => end,
        };
        if next < oldest {
            return Err(SubscribeError::CursorExpired {
                request: self.request,
                wanted: next,
                oldest,
            });
        }
        let is_ahead = next > end && !self.is_read_again;
        if is_ahead || (self.ended && next >= end) {
            return Err(SubscribeError::CursorAhead {
                request: self.request,
                wanted: next,
                next: end,
            });
        }
        let id = SubscriptionId(self.next_id);
        self.next_id += 1;
        self.had_subscribers = true;
        self.deserted_since = None;
        let mut subscription = Subscription {
            id,
            link: subscriber.link,
            policy: subscriber.policy,
            rest: subscriber.rest,
            next,
            blocked: None,
            kept: Vec::new(),
            resumed: false,
            over: false,
        };
        // The others have what there is.
        subscription.catch_up(self.request, &self.log, self.ended, now);
        if !subscription.over {
            self.may_be_blocked |= subscription.blocked.is_some();
            if self.subscriptions.len() == 1 {
                self.shared_since = Some(now);
            }
            self.subscriptions.push(subscription);
        }
        Ok(id)
    }

    /// Ends a subscription without a final delivery: its owner asked for that. Whether there was one.
    pub(crate) fn unsubscribe(&mut self, id: SubscriptionId) -> bool {
        let before = self.subscriptions.len();
        self.subscriptions
            .retain(|subscription| subscription.id != id);
        self.subscriptions.len() < before
    }

    /// Publishes what is ready and empties `events`.
    ///
    /// In a retried attempt, events before the output that are equal to what was delivered already are left out.
    pub(crate) fn publish(&mut self, events: &mut Vec<ResponseEvent>, now: Instant) {
        if !self.output_delivered {
            self.note_preamble(events);
        }
        if events.is_empty() {
            if let Some(blocks) = &mut self.blocks {
                blocks.renumber(|_| 0);
            }
            return;
        }
        self.append(taken(events), now);
    }

    /// Begins anew after output had been delivered, with a notice of it.
    pub(crate) fn restart(&mut self, notice: ResponseEvent, now: Instant) {
        self.output_delivered = false;
        self.preamble.clear();
        self.append(smallvec![notice], now);
    }

    /// Another server answers, which may have another model.
    pub(crate) fn forget_model(&mut self) {
        self.model = None;
    }

    /// Whether a [`ResponseStream`](crate::ResponseStream) listens.
    pub(crate) fn has_streams(&self) -> bool {
        self.subscriptions
            .iter()
            .any(|subscription| matches!(subscription.link, Link::Channel { .. }))
    }

    /// When a request whose subscribers have all left is to end, if nobody comes until then.
    pub(crate) fn abandoned_at(&mut self, policy: WhenDeserted, now: Instant) -> Option<Instant> {
        let is_over = self.ended || self.held.is_some();
        if !self.had_subscribers || !self.subscriptions.is_empty() || is_over {
            return None;
        }
        // Others may read it, for whom it was taken over.
        if self.recording.as_ref().is_some_and(|it| it.is_taken_over) {
            return None;
        }
        let since = *self.deserted_since.get_or_insert(now);
        match policy {
            WhenDeserted::KeepGoing => None,
            WhenDeserted::Cancel => Some(since),
            WhenDeserted::Linger(time) => since.checked_add(time),
        }
    }

    /// Another attempt begins. Where it goes on with the answer that there is.
    pub(crate) fn next_attempt(&mut self) -> Option<Arc<Url>> {
        let resumes = self.resumption.as_ref().map(|it| it.url.clone());
        if resumes.is_none() {
            self.forget_blocks();
        }
        resumes
    }

    pub(crate) fn output_delivered(&self) -> bool {
        self.output_delivered
    }

    pub(crate) fn accepted_at(&self) -> Option<Instant> {
        self.accepted
    }

    /// The events that are kept, oldest first.
    pub(crate) fn logged(&self) -> impl Iterator<Item = &ResponseEvent> + Clone {
        self.log.events()
    }

    /// The model that answers, as said before the output.
    pub(crate) fn model(&self) -> Option<&Id> {
        self.model.as_ref()
    }

    /// What it keeps of the answer, with an end that is yet to be published.
    pub(crate) fn bytes(&self) -> usize {
        let held = self.held.as_ref().map_or(0, |held| held.last.bytes());
        self.log.held_bytes() + held
    }

    pub(super) fn note_preamble(&mut self, events: &mut Vec<ResponseEvent>) {
        let (before, mut left_out) = (events.len(), SmallVec::<[usize; 4]>::new());
        let mut numbers = 0..before;
        let Self {
            preamble,
            output_delivered,
            accepted,
            model,
            ..
        } = self;
        events.retain(|event| {
            let number = numbers.next();
            match event {
                ResponseEvent::Created(_) => *accepted = Some(Instant::now()),
                ResponseEvent::ServerModel(name) => *model = Some(name.clone()),
                _ => {}
            }
            if *output_delivered || event.is_final() {
                return true;
            }
            if event.is_output() {
                *output_delivered = true;
                preamble.clear();
                return true;
            }
            if preamble.contains(event) {
                left_out.extend(number);
                return false;
            }
            if preamble.len() < PREAMBLE_EVENTS {
                // The first is the head, and nothing else may come for long.
                preamble.reserve_exact(usize::from(preamble.is_empty()));
                preamble.push(event.clone());
            }
            true
        });
        self.number_blocks_anew(&left_out);
    }

    fn append(&mut self, events: SmallVec<[ResponseEvent; 1]>, now: Instant) {
        let blocks = self.take_blocks(events.len());
        let blocks = self.write(&events, blocks);
        self.log.push(events, blocks);
        self.deliver(now);
        self.trim();
    }
}

/// Takes the events out. More than one go where they lie, and leave room for as many to come. They keep no room to spare,
/// for the log holds them for long.
fn taken(events: &mut Vec<ResponseEvent>) -> SmallVec<[ResponseEvent; 1]> {
    if events.len() == 1 {
        return events.pop().into_iter().collect();
    }
    let room = Vec::with_capacity(events.len());
    without_spare_room(mem::replace(events, room))
}

fn without_spare_room(mut batch: Vec<ResponseEvent>) -> SmallVec<[ResponseEvent; 1]> {
    batch.shrink_to_fit();
    SmallVec::from_vec(batch)
}
