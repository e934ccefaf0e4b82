//! The blocks that a delivery's events were read from.

use std::mem;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Audience, delivery::Delivery};
use crate::{protocol::ResponseEvent, wire::blocks::Blocks};

/// A block of an event stream, byte for byte as the server sent it, with its closing empty line.
///
/// It is a slice of the chunk that it came in; one that was cut over chunks is joined. Its lines end as the server wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Block {
    /// Its bytes.
    pub bytes: Bytes,
    /// Which attempt it came from; the first is 1.
    pub attempt: u32,
    /// With which of the delivery's [`events`](Delivery::events) it comes: the last one that was read from it; or, of a block that gave
    /// none, the next.
    pub event: usize,
}

impl Block {
    /// A block for the test of somebody who takes some: of the first attempt, with the first event.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self {
            bytes: bytes.into(),
            attempt: 1,
            event: 0,
        }
    }
}

impl Delivery {
    /// The blocks that the events were read from, in the order in which they came; none unless
    /// [`SubmitRequest::with_blocks`](crate::actors::SubmitRequest::with_blocks) asked for them.
    ///
    /// All deliveries of an attempt that answers give its body byte for byte, up to and with the block of the terminal event, which comes
    /// with the final delivery, also where that is the server's own failure. What differs from the body:
    ///
    /// - A block without data, or whose data is empty, is left out, comments alone too: clients die of such. Lines that are no fields are
    ///   no data, as when a server answers with plain JSON: its events come without blocks.
    /// - An answer on the Chat wire that is whole ends in `[DONE]`, also where the server's was not waited for.
    /// - A byte order mark before the first block is left out.
    /// - Where a server forgot the empty line between two events, and after the last block, an empty line is added. A last block whose
    ///   data was cut is left out.
    ///
    /// Several JSON texts in one data stay one block. A block that gave no event (data that is no JSON, `[DONE]`, a chunk without news)
    /// comes with the next event or the end, and waits as long for it; when more than
    /// [`max_event_bytes`](crate::sse::SseLimits::max_event_bytes) wait, the attempt fails.
    ///
    /// Of an attempt that failed come those that stand before its last delivered event, and no others, unless its failure is the
    /// request's. Of one that follows in silence come all, also those whose events were delivered before and are left out here:
    /// [`Block::attempt`] tells. A cancel, and an end that this process makes, have none; nor has a failure of a
    /// [stored](crate::actors::SubmitRequest::stored) stream, whose error is stored without them. A delivery in which deltas were left out
    /// ([`DropDeltas`](crate::actors::DeliveryPolicy::DropDeltas)) has none either. The log's bound counts blocks as it does events.
    pub fn blocks(&self) -> impl Iterator<Item = Block> + '_ {
        let runs = self.batch.blocks.iter().flat_map(|blocks| &blocks.runs);
        runs.flat_map(|run| {
            let parts = run.parts().filter(|(_, event)| *event >= self.start);
            parts.map(|(range, event)| Block {
                bytes: run.bytes.slice(range),
                attempt: run.attempt,
                event: event - self.start,
            })
        })
    }

    /// The same, and blocks that stand behind each other in memory together: their bytes, their attempt, and where in the bytes each
    /// block ends.
    pub fn runs_of_blocks(
        &self,
    ) -> impl Iterator<Item = (Bytes, u32, impl ExactSizeIterator<Item = usize> + '_)> + '_ {
        let runs = self.batch.blocks.iter().flat_map(|blocks| &blocks.runs);
        runs.filter_map(|run| {
            // They are in the order of their events.
            let skipped = run.blocks.partition_point(|block| block.event < self.start);
            let ends = run.blocks.get(skipped..).filter(|ends| !ends.is_empty())?;
            let start = skipped
                .checked_sub(1)
                .map_or(0, |before| run.blocks[before].at);
            let bytes = run.bytes.slice(start..);
            Some((
                bytes,
                run.attempt,
                ends.iter().map(move |end| end.at - start),
            ))
        })
    }
}

impl Audience {
    /// Takes blocks that go with the events that are published next, and are numbered as those.
    pub(crate) fn add_blocks(&mut self, blocks: Blocks) {
        if blocks.is_empty() {
            return;
        }
        match &mut self.blocks {
            Some(waiting) => waiting.runs.extend(blocks.runs),
            none => *none = Some(Box::new(blocks)),
        }
    }

    /// Those that wait were read from a store.
    pub(crate) fn note_stored_blocks(&mut self) {
        for run in self.blocks.iter_mut().flat_map(|blocks| &mut blocks.runs) {
            run.is_stored = true;
        }
    }

    /// Another attempt begins: what the one before gave beside its events is not delivered any more.
    pub(crate) fn forget_blocks(&mut self) {
        self.blocks = None;
    }

    /// Publishes what came before a failure, of which so many events were read from blocks. The blocks behind it wait for what follows
    /// from that.
    pub(crate) fn publish_before_failure(
        &mut self,
        events: &mut Vec<ResponseEvent>,
        read: usize,
        now: Instant,
    ) {
        let mut made = match self.is_recorded() {
            true => events.split_off(read.min(events.len())),
            false => Vec::new(),
        };
        let held = self.split_blocks(events.len());
        self.publish(events, now);
        if let Some(held) = held {
            self.add_blocks(held);
        }
        if made.is_empty() {
            return;
        }
        let held = self.split_blocks(made.len());
        // Whoever reads the blocks again does not end them, and so makes no such events.
        self.publish_unread(&mut made, now);
        if let Some(held) = held {
            self.add_blocks(held);
        }
    }

    /// Takes out the blocks behind so many of the events that are published next.
    fn split_blocks(&mut self, count: usize) -> Option<Blocks> {
        let blocks = self.blocks.as_deref_mut()?;
        let held = blocks.of_events(count..usize::MAX);
        *blocks = blocks.of_events(0..count);
        Some(held)
    }

    /// Events were left out of those that are published next.
    pub(super) fn number_blocks_anew(&mut self, left_out: &[usize]) {
        if let Some(blocks) = &mut self.blocks {
            blocks.renumber(|event| event - left_out.iter().filter(|out| **out < event).count());
        }
    }

    /// The blocks that go with these events, of which there are so many.
    pub(super) fn take_blocks(&mut self, count: usize) -> Option<Box<Blocks>> {
        let mut blocks = mem::take(&mut self.blocks)?;
        blocks.renumber(|event| event.min(count.saturating_sub(1)));
        (!blocks.is_empty()).then_some(blocks)
    }
}
