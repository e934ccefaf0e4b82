//! What a subscriber's mailbox receives, and the bounded log that it is read from.

use std::{collections::VecDeque, fmt, sync::Arc};

use actix::Message;
use smallvec::SmallVec;

use crate::{actors::RequestId, protocol::ResponseEvent};

/// One or more consecutive events of a request.
///
/// Events that were ready together travel together, so the cost of a message is shared. The events are shared between all
/// subscribers; a clone costs a reference count.
#[derive(Clone)]
pub struct Delivery {
    // Two words, for every message to every subscriber holds it.
    batch: Arc<Batch>,
    start: usize,
}

/// Consecutive events, as they were published or put together again.
pub(crate) struct Batch {
    request: RequestId,
    first: u64,
    bytes: usize,
    /// Of a slow stream each event comes alone.
    events: SmallVec<[ResponseEvent; 1]>,
}

impl Batch {
    fn new(request: RequestId, first: u64, events: SmallVec<[ResponseEvent; 1]>) -> Arc<Self> {
        Arc::new(Self {
            request,
            first,
            bytes: events.iter().map(ResponseEvent::weight).sum(),
            events,
        })
    }

    fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }
}

impl Message for Delivery {
    type Result = ();
}

/// A single event, for subscribers that want one message each.
impl Message for ResponseEvent {
    type Result = ();
}

impl Delivery {
    pub(crate) fn new(
        request: RequestId,
        first_sequence: u64,
        events: SmallVec<[ResponseEvent; 1]>,
    ) -> Self {
        Self {
            batch: Batch::new(request, first_sequence, events),
            start: 0,
        }
    }

    /// The request that the events belong to.
    pub fn request(&self) -> RequestId {
        self.batch.request
    }

    /// The sequence number of the first event. A request's first event has 0, each further one the next number, whichever
    /// attempt it came from.
    pub fn first_sequence(&self) -> u64 {
        self.batch.first + self.start as u64
    }

    /// The sequence number after the last event: the [`Cursor`](super::Cursor) of somebody who has seen this delivery.
    pub fn next_sequence(&self) -> u64 {
        self.batch.end()
    }

    /// The events, at least one, in order.
    #[inline]
    pub fn events(&self) -> &[ResponseEvent] {
        &self.batch.events[self.start..]
    }

    /// The events with their sequence numbers.
    pub fn sequenced(&self) -> impl Iterator<Item = (u64, &ResponseEvent)> {
        (self.first_sequence()..).zip(self.events())
    }

    /// Whether nothing follows: the last event is the request's end.
    #[inline]
    pub fn is_final(&self) -> bool {
        self.events().last().is_some_and(ResponseEvent::is_final)
    }

    /// The same without the first `count` events.
    pub(crate) fn without_first(mut self, count: usize) -> Self {
        self.start += count;
        self
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("request", &self.request())
            .field("first_sequence", &self.first_sequence())
            .field("events", &self.events())
            .finish()
    }
}

/// The newest events of a request, for those who come late or lag behind.
pub(crate) struct EventLog {
    request: RequestId,
    batches: VecDeque<Arc<Batch>>,
    next: u64,
    events: usize,
    bytes: usize,
}

/// Up to how many events of small batches are joined into one delivery for somebody who is behind: enough that catching up
/// costs few messages, few enough that one message is soon handled.
const CATCH_UP_EVENTS: usize = 256;

impl EventLog {
    pub(crate) fn new(request: RequestId) -> Self {
        Self {
            request,
            batches: VecDeque::new(),
            next: 0,
            events: 0,
            bytes: 0,
        }
    }

    /// The sequence number of the next event to come.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The oldest sequence number that can still be read.
    pub(crate) fn oldest(&self) -> u64 {
        self.batches.front().map_or(self.next, |batch| batch.first)
    }

    /// What the events hold, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, events: SmallVec<[ResponseEvent; 1]>) {
        let batch = Batch::new(self.request, self.next, events);
        self.events += batch.events.len();
        self.bytes += batch.bytes;
        self.next = batch.end();
        self.batches.push_back(batch);
    }

    /// The batch that came last.
    pub(crate) fn newest(&self) -> Option<Delivery> {
        let batch = self.batches.back()?.clone();
        Some(Delivery { batch, start: 0 })
    }

    /// The oldest batch, if it must go for the log to be within its limits. The newest batch stays, whatever its size.
    pub(crate) fn excess(
        &self,
        max_events: usize,
        max_bytes: usize,
    ) -> Option<(u64, &[ResponseEvent])> {
        let over = self.events > max_events || self.bytes > max_bytes;
        let front = self
            .batches
            .front()
            .filter(|_| over && self.batches.len() > 1)?;
        Some((front.first, &front.events))
    }

    pub(crate) fn forget_oldest(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.events -= batch.events.len();
            self.bytes -= batch.bytes;
        }
    }

    /// What to send to somebody whose next event is `sequence`; `None` when there is nothing newer. `sequence` is not older
    /// than [`oldest`](Self::oldest).
    pub(crate) fn read(&self, sequence: u64) -> Option<Delivery> {
        if sequence >= self.next {
            return None;
        }
        let at = self
            .batches
            .partition_point(|batch| batch.end() <= sequence);
        let batch = &self.batches[at];
        let start = (sequence - batch.first) as usize;
        let is_newest = at == self.batches.len() - 1;
        if is_newest || batch.events.len() - start >= CATCH_UP_EVENTS {
            return Some(Delivery {
                batch: batch.clone(),
                start,
            });
        }
        let events = self
            .batches
            .range(at..)
            .flat_map(|batch| batch.events.iter());
        let joined = events.skip(start).take(CATCH_UP_EVENTS).cloned().collect();
        Some(Delivery::new(self.request, sequence, joined))
    }
}
