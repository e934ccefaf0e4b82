//! Who listens to a request, what they have seen, and the log that latecomers read.
//!
//! Plain state with one owner at any time: the supervisor, or the stream actor of the running attempt. The owner polls it.

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use smallvec::{SmallVec, smallvec};
use tokio::time::Instant;
use url::Url;

use self::{
    link::{Arrival, Link},
    log::EventLog,
    recording::{Held, Last, Recording},
    resumption::Resumption,
    subscription::Subscription,
};
use super::{RequestId, SubscribeError, SubscriptionId, WhenDeserted, observing::Watch};
use crate::{
    protocol::{Id, ResponseEvent, TokenUsage, error::ApiError},
    wire::blocks::Blocks,
};

mod blocks;
mod counts;
mod delivery;
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
    fn conclude(&mut self, last: Last, now: Instant) {
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
    }

    /// Keeps what the answer has cost so far, for an end that says nothing of it.
    pub(crate) fn note_usage(&mut self, usage: Option<TokenUsage>) {
        self.usage = usage.map(Box::new);
    }

    /// Another server answers, which may have another model.
    pub(crate) fn forget_model(&mut self) {
        self.model = None;
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

    /// Whether a [`ResponseStream`](crate::ResponseStream) listens.
    pub(crate) fn has_streams(&self) -> bool {
        self.subscriptions
            .iter()
            .any(|subscription| matches!(subscription.link, Link::Channel { .. }))
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

    fn note_preamble(&mut self, events: &mut Vec<ResponseEvent>) {
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

    /// Sends everybody what they can take.
    fn deliver(&mut self, now: Instant) {
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
    fn trim(&mut self) {
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
