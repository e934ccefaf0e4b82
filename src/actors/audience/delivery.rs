//! What a subscriber's mailbox receives.

use std::{fmt, sync::Arc};

use actix::Message;
use smallvec::SmallVec;

use crate::{actors::RequestId, protocol::ResponseEvent, wire::blocks::Blocks};

/// One or more consecutive events of a request.
///
/// Events that were ready together travel together, so the cost of a message is shared. The events are shared between all
/// subscribers; a clone costs a reference count.
///
/// ```
/// use actix_responses::{actors::Delivery, protocol::ResponseEvent};
///
/// let delivery = Delivery::of(7.into(), 3, vec![ResponseEvent::Cancelled]);
/// assert_eq!(delivery.next_sequence(), 4);
/// assert!(delivery.is_final());
/// ```
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub struct Delivery {
    // Two words, for every message to every subscriber holds it.
    pub(super) batch: Arc<Batch>,
    pub(super) start: usize,
}

/// From how many bytes on a delivery waits until its subscriber has taken what is before it, if the policy is to wait. A mailbox of 16
/// then holds 4 MiB at most, and one larger delivery. As much is read from a body before what it held is delivered.
const LARGE_BYTES: usize = 256 * 1024;

/// The counts of what is shared, and what the allocator adds.
pub(super) const ALLOCATION_BYTES: usize = 32;

/// Consecutive events, as they were published or put together again.
pub(crate) struct Batch {
    request: RequestId,
    pub(super) first: u64,
    pub(super) bytes: usize,
    /// Of a slow stream each event comes alone.
    pub(super) events: SmallVec<[ResponseEvent; 1]>,
    /// Where that was asked for.
    pub(super) blocks: Option<Box<Blocks>>,
}

impl Batch {
    pub(super) fn new(
        request: RequestId,
        first: u64,
        events: SmallVec<[ResponseEvent; 1]>,
        blocks: Option<Box<Blocks>>,
    ) -> Arc<Self> {
        let held = blocks.as_ref().map_or(0, |blocks| blocks.weight());
        Arc::new(Self {
            request,
            first,
            bytes: held + events.iter().map(ResponseEvent::weight).sum::<usize>(),
            events,
            blocks,
        })
    }

    pub(super) fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// What it holds, itself included.
    pub(super) fn held_bytes(&self) -> usize {
        let inline = match self.events.spilled() {
            true => 0,
            false => size_of_val(&self.events[..]),
        };
        size_of::<Self>() + ALLOCATION_BYTES + self.bytes - inline
    }
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
            batch: Batch::new(request, first_sequence, events, None),
            start: 0,
        }
    }

    /// A delivery such as a subscriber gets, for the test of one: events with consecutive numbers.
    ///
    /// # Panics
    /// Without an event.
    pub fn of(request: RequestId, first_sequence: u64, events: Vec<ResponseEvent>) -> Self {
        assert!(!events.is_empty(), "a delivery holds an event");
        Self::new(request, first_sequence, events.into())
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

    /// Whether a mailbox should hold no more than one such.
    pub(super) fn is_large(&self) -> bool {
        self.batch.bytes >= LARGE_BYTES
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
