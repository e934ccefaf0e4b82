//! The bounded log of a request's events.

use std::{collections::VecDeque, sync::Arc};

use smallvec::SmallVec;

use super::delivery::{ALLOCATION_BYTES, Batch, Delivery};
use crate::{actors::RequestId, protocol::ResponseEvent, wire::blocks::Blocks};

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

    /// The same with what each batch is besides, and with what holds the text of each event: of a slow stream as much as half of it again.
    pub(crate) fn held_bytes(&self) -> usize {
        let places = self.batches.capacity() * size_of::<Arc<Batch>>();
        let batches = self.batches.iter().map(|batch| batch.held_bytes());
        places + batches.sum::<usize>() + self.events * ALLOCATION_BYTES
    }

    pub(crate) fn push(
        &mut self,
        events: SmallVec<[ResponseEvent; 1]>,
        blocks: Option<Box<Blocks>>,
    ) {
        let batch = Batch::new(self.request, self.next, events, blocks);
        self.events += batch.events.len();
        self.bytes += batch.bytes;
        self.next = batch.end();
        self.batches.push_back(batch);
    }

    /// All that are kept, oldest first.
    pub(crate) fn events(&self) -> impl Iterator<Item = &ResponseEvent> + Clone {
        self.batches.iter().flat_map(|batch| batch.events.iter())
    }

    /// The batch that came last.
    pub(crate) fn newest(&self) -> Option<Delivery> {
        let batch = self.batches.back()?.clone();
        Some(Delivery { batch, start: 0 })
    }

    /// The event that came last.
    pub(crate) fn last(&self) -> Option<Delivery> {
        self.read(self.next.checked_sub(1)?)
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

    /// Where the newest batch is all that is kept, its blocks are copied out of the chunks that they came in: those are larger, and held as
    /// long.
    pub(crate) fn let_chunks_go(&mut self) {
        if self.batches.len() == 1
            && let Some(newest) = self.batches.front_mut()
            && let Some(blocks) = &newest.blocks
        {
            let blocks = Box::new(blocks.copied());
            *newest = Batch::new(
                self.request,
                newest.first,
                newest.events.clone(),
                Some(blocks),
            );
        }
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
        let joined: SmallVec<_> = events.skip(start).take(CATCH_UP_EVENTS).cloned().collect();
        let blocks = joined_blocks(self.batches.range(at..), sequence, joined.len());
        let batch = Batch::new(self.request, sequence, joined, blocks);
        Some(Delivery { batch, start: 0 })
    }
}

/// The blocks of the events that several batches hold, from this sequence number on.
fn joined_blocks<'a>(
    batches: impl Iterator<Item = &'a Arc<Batch>>,
    sequence: u64,
    count: usize,
) -> Option<Box<Blocks>> {
    let mut joined = Blocks::default();
    for batch in batches {
        let Some(blocks) = &batch.blocks else {
            continue;
        };
        let start = sequence.saturating_sub(batch.first) as usize;
        let before = batch.first.saturating_sub(sequence) as usize;
        if before >= count {
            break;
        }
        let mut part = blocks.of_events(start..start + count - before);
        part.renumber(|event| event + before);
        joined.runs.append(&mut part.runs);
    }
    (!joined.is_empty()).then(|| Box::new(joined))
}
