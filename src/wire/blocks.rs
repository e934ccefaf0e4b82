//! The blocks of an event stream beside the events that are read from them.

use std::{iter, mem, ops::Range};

use bytes::Bytes;
use smallvec::SmallVec;

use super::{StreamDecoder, Terminal, Wire};
use crate::{
    protocol::{
        ResponseEvent,
        error::{ApiError, ErrorKind, Phase},
    },
    sse::{BlockSplitter, DecodeError, SplitEnd, SseDecoder, SseLimits},
};

/// Blocks that lie behind each other in memory, of one attempt.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) bytes: Bytes,
    pub(crate) attempt: u32,
    /// Whether they came out of a store that has them.
    pub(crate) is_stored: bool,
    pub(crate) blocks: SmallVec<[BlockEnd; 1]>,
}

/// Where a block ends in its run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockEnd {
    pub(crate) at: usize,
    /// With which event it goes, of those that are read beside it: with the last that it gave; or, of one that gave none, with the
    /// next.
    pub(crate) event: usize,
}

impl Run {
    /// Its blocks, and with which event each goes.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Range<usize>, usize)> {
        let starts = iter::once(0).chain(self.blocks.iter().map(|block| block.at));
        let ends = self.blocks.iter();
        starts
            .zip(ends)
            .map(|(start, end)| (start..end.at, end.event))
    }

    /// The blocks that go with these events, counted from the first of them.
    pub(crate) fn of_events(&self, events: &Range<usize>) -> Option<Self> {
        let mut part = Self {
            bytes: Bytes::new(),
            attempt: self.attempt,
            is_stored: self.is_stored,
            blocks: SmallVec::new(),
        };
        let mut bytes = None;
        for (range, event) in self.parts().filter(|(_, event)| events.contains(event)) {
            let start = bytes.get_or_insert(range.clone()).start;
            bytes = Some(start..range.end);
            part.blocks.push(BlockEnd {
                at: range.end - start,
                event: event - events.start,
            });
        }
        part.bytes = self.bytes.slice(bytes?);
        Some(part)
    }
}

/// Runs of blocks, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks {
    pub(crate) runs: SmallVec<[Run; 1]>,
}

impl Blocks {
    /// What they hold, roughly: of chunks of which nothing else is held, as nearly all are.
    pub(crate) fn weight(&self) -> usize {
        let runs = self.runs.iter();
        runs.map(|run| {
            size_of::<Run>() + run.bytes.len() + run.blocks.len() * size_of::<BlockEnd>()
        })
        .sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Those that go with these events, counted from the first of them.
    pub(crate) fn of_events(&self, events: Range<usize>) -> Self {
        let runs = self.runs.iter();
        Self {
            runs: runs.filter_map(|run| run.of_events(&events)).collect(),
        }
    }

    /// The same in memory of their own.
    pub(crate) fn copied(&self) -> Self {
        let runs = self.runs.iter().map(|run| Run {
            bytes: Bytes::copy_from_slice(&run.bytes),
            ..run.clone()
        });
        Self {
            runs: runs.collect(),
        }
    }

    /// Lets them go with other events.
    pub(crate) fn renumber(&mut self, number: impl Fn(usize) -> usize) {
        let runs = self.runs.iter_mut();
        for block in runs.flat_map(|run| &mut run.blocks) {
            block.event = number(block.event);
        }
    }
}

/// Reads a body with a decoder, and keeps its blocks.
pub(crate) struct BlockReader {
    splitter: BlockSplitter,
    limits: SseLimits,
    attempt: u32,
    /// Whether deltas that are read together are one event.
    joins: bool,
    blocks: Blocks,
    /// How many bytes they have.
    bytes: usize,
    /// How many of the events beside them were read from blocks: none of those that the end made.
    read: usize,
    /// Whether there was a block: an answer that was none of blocks has no mark of its end.
    has_begun: bool,
}

/// No block of use is shorter; for how many there is room.
const MIN_BLOCK: usize = 64;

/// Whether a block says something of a body that repeats what another said, which was handed on before: an event, or how it ends, without a number.
/// One that shows that others are missing does not.
fn is_news(terminal: &Option<Terminal>, has_events: bool) -> bool {
    match terminal {
        None => has_events,
        Some(Terminal::Completed(_) | Terminal::Incomplete(_)) => true,
        Some(Terminal::Failed(_)) => false,
    }
}

impl BlockReader {
    pub(crate) fn new(limits: SseLimits, attempt: u32) -> Self {
        // A block has more lines than those of its data.
        let most = limits.max_event_bytes.saturating_add(limits.max_line_bytes);
        Self {
            splitter: BlockSplitter::new(most),
            limits,
            attempt,
            joins: false,
            blocks: Blocks::default(),
            bytes: 0,
            read: 0,
            has_begun: false,
        }
    }

    /// Sets whether deltas of one text that are read together are one event.
    pub(crate) fn joining(mut self, joins: bool) -> Self {
        self.joins = joins;
        self
    }

    /// As [`StreamDecoder::feed`].
    pub(crate) fn feed(
        &mut self,
        decoder: &mut StreamDecoder,
        chunk: &Bytes,
        out: &mut Vec<ResponseEvent>,
    ) -> Option<Terminal> {
        let (mut at, mut terminal) = (0, None);
        // Of the blocks that lie behind each other here.
        let mut run = 0..0;
        let mut blocks = SmallVec::new();
        while at < chunk.len() && terminal.is_none() {
            if self.splitter.is_between_blocks() {
                // What the decoder knows at sight is a whole block, and nobody has to look for its end.
                if at != run.end || blocks.is_empty() {
                    self.push(chunk.slice(run), mem::take(&mut blocks));
                    run = at..at;
                }
                at += decoder.feed_blocks(&chunk[at..], self.joins, out, |end, event| {
                    if blocks.len() == 1 {
                        // Those that follow are about as long.
                        let more = (chunk.len() - run.end) / (run.end - run.start).max(MIN_BLOCK);
                        blocks.reserve(more);
                    }
                    run.end = at + end;
                    let at = run.end - run.start;
                    blocks.push(BlockEnd { at, event });
                });
                if at == chunk.len() {
                    break;
                }
            }
            let split = match self.splitter.read(chunk, at) {
                Ok(split) => split,
                Err(error) => return Some(too_large(error)),
            };
            let before = out.len();
            let was_catching_up = decoder.is_catching_up();
            let bytes = &chunk[at..at + split.taken];
            terminal = decoder.feed(bytes, out);
            let is_news = is_news(&terminal, out.len() > before);
            if was_catching_up && decoder.is_catching_up() && !is_news {
                at += split.taken;
                continue;
            }
            let gave = out.len() > before && terminal.is_none();
            let event = out.len() - usize::from(gave);
            match split.end {
                SplitEnd::Whole(range) => {
                    if range.start != run.end || blocks.is_empty() {
                        self.push(chunk.slice(run), mem::take(&mut blocks));
                        run = range.clone();
                    }
                    run.end = range.end;
                    let at = run.end - run.start;
                    blocks.push(BlockEnd { at, event });
                }
                SplitEnd::Joined(bytes) => {
                    self.push(chunk.slice(mem::take(&mut run)), mem::take(&mut blocks));
                    self.push_one(bytes, event);
                }
                SplitEnd::Open | SplitEnd::Nothing => {}
            }
            at += split.taken;
        }
        self.push(chunk.slice(run), blocks);
        self.read = out.len();
        let limit = self.limits.max_event_bytes;
        if terminal.is_none() && out.is_empty() && self.bytes > limit {
            // They wait for an event, and for how many of them is nobody's to say.
            return Some(too_large(DecodeError::EventTooLarge { limit }));
        }
        terminal
    }

    /// Lets go of the first block that is so, and of those behind it.
    pub(crate) fn cut_at(&mut self, is_so: impl Fn(&[u8]) -> bool) {
        let runs = &mut self.blocks.runs;
        let found = runs.iter().enumerate().find_map(|(index, run)| {
            let mut parts = run.parts().enumerate();
            let found = parts.find(|(_, (range, _))| is_so(&run.bytes[range.clone()]));
            found.map(|(count, (range, event))| (index, count, range.start, event))
        });
        let Some((index, count, start, event)) = found else {
            return;
        };
        runs.truncate(index + usize::from(count > 0));
        if let Some(run) = runs.get_mut(index) {
            run.blocks.truncate(count);
            run.bytes.truncate(start);
        }
        let last = runs.last().and_then(|run| run.blocks.last());
        let before = last.map_or(0, |block| block.event + 1);
        self.read = self.read.min(before).min(event);
    }

    /// As [`StreamDecoder::end_of_stream`]. A last block without its empty line gets one if its data is whole.
    pub(crate) fn end_of_stream(
        &mut self,
        decoder: &mut StreamDecoder,
        out: &mut Vec<ResponseEvent>,
    ) -> Option<Terminal> {
        let before = out.len();
        let was_catching_up = decoder.is_catching_up();
        let terminal = decoder.end_of_stream(out);
        if was_catching_up && decoder.is_catching_up() && !is_news(&terminal, out.len() > before) {
            return terminal;
        }
        if let Some(block) = self.splitter.finish()
            && has_whole_data(&block, self.limits)
        {
            let mut event = out.len();
            if event > before && decoder.resume_point().is_some() {
                // Where another body goes on, the end made none.
                self.read = event;
                event -= 1;
            }
            self.push_one(block, event);
        }
        terminal
    }

    /// The stream is over, and its answer is whole. That of Chat is, before `[DONE]` has come, which is not waited for: clients are.
    pub(crate) fn complete(&mut self, wire: Wire, events: usize) {
        let last = self.blocks.runs.last().map_or(&[][..], |run| &run.bytes);
        let is_marked = last.trim_ascii_end().ends_with(b"[DONE]");
        if wire == Wire::Chat && !is_marked && self.has_begun {
            let mark: &[u8] = match last.ends_with(b"\r\n") {
                true => b"data: [DONE]\r\n\r\n",
                false => b"data: [DONE]\n\n",
            };
            self.push_one(Bytes::from_static(mark), events);
        }
    }

    /// How many of the events that were read since the last time were read from blocks.
    pub(crate) fn read_events(&self) -> usize {
        self.read
    }

    /// Takes out what there is.
    pub(crate) fn take(&mut self) -> Blocks {
        (self.bytes, self.read) = (0, 0);
        mem::take(&mut self.blocks)
    }

    fn push_one(&mut self, bytes: Bytes, event: usize) {
        let at = bytes.len();
        self.push(bytes, SmallVec::from_buf([BlockEnd { at, event }]));
    }

    fn push(&mut self, bytes: Bytes, blocks: SmallVec<[BlockEnd; 1]>) {
        if blocks.is_empty() {
            return;
        }
        self.has_begun = true;
        self.bytes += bytes.len();
        self.blocks.runs.push(Run {
            bytes,
            attempt: self.attempt,
            is_stored: false,
            blocks,
        });
    }
}

fn too_large(error: DecodeError) -> Terminal {
    let error = ApiError::new(ErrorKind::TooLarge, error.to_string());
    Terminal::Failed(error.with_phase(Phase::Body))
}

/// Whether the data of a block was not cut: it is JSON, or the mark of an end.
#[cold]
fn has_whole_data(block: &[u8], limits: SseLimits) -> bool {
    let mut is_whole = false;
    let fed = SseDecoder::new(limits).feed(block, |event| {
        let data = event.data.trim();
        is_whole = data.eq_ignore_ascii_case("[DONE]")
            || serde_json::from_str::<serde::de::IgnoredAny>(data).is_ok();
        std::ops::ControlFlow::Continue(())
    });
    fed.is_ok() && is_whole
}

#[cfg(test)]
mod tests;
