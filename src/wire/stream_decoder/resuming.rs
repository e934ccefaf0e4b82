//! A stream that another response body goes on with.

use super::{AnyDialect, StreamDecoder};
use crate::{
    protocol::{Id, ResponseEvent},
    sse::SseLimits,
    wire::{
        ResumePoint, Terminal,
        sse_stream::{SseStream, State},
    },
};

impl StreamDecoder {
    /// From now on the end of a body is not that of the answer, where another body can go on with it: see
    /// [`resume_point`](Self::resume_point). Nothing changes on the Chat wire.
    pub(crate) fn set_resumable(&mut self) {
        self.is_resumable = matches!(self.dialect, AnyDialect::Responses(_));
    }

    /// Somebody else has read this response up to an event, or only knows its id. What the events behind it do not say whole is not
    /// put together: texts that had begun before are delivered as their deltas come, and once more in their items.
    pub(crate) fn begin_after(&mut self, response_id: Id, sequence_number: Option<u64>) {
        if let AnyDialect::Responses(dialect) = &mut self.dialect {
            dialect.begin_after(response_id, sequence_number);
        }
    }

    /// Where another body can go on with what this one has said, if it can: the answer is neither over nor about to be, its server
    /// has named it, and counts its events.
    pub(crate) fn resume_point(&self) -> Option<ResumePoint> {
        let AnyDialect::Responses(dialect) = &self.dialect else {
            return None;
        };
        let is_open = self.is_resumable && self.stream.progress.state == State::Reading;
        is_open.then(|| dialect.resume_point()).flatten()
    }

    /// Goes on with another body. What that repeats of the events that were read is dropped; that it leaves some out is an error.
    pub(crate) fn resume(&mut self, limits: SseLimits) {
        if let AnyDialect::Responses(dialect) = &mut self.dialect {
            self.stream = SseStream::new(limits);
            dialect.resume();
        }
    }

    /// Whether nothing but what was read before has come of the body that goes on.
    pub(crate) fn is_catching_up(&self) -> bool {
        match &self.dialect {
            AnyDialect::Responses(dialect) => dialect.is_catching_up(),
            AnyDialect::Chat(_) => false,
        }
    }

    /// Whether a body held the state of a response, in place of its events, that goes on.
    pub(crate) fn has_said_state(&self) -> bool {
        self.events() > 0 && self.resume_point().is_some()
    }

    /// The body has ended, and another may go on with it: nothing is made of a half event, and nothing is owed yet.
    pub(super) fn end_of_part(&mut self, out: &mut Vec<ResponseEvent>) -> Option<Terminal> {
        let AnyDialect::Responses(dialect) = &mut self.dialect else {
            return None;
        };
        let terminal = self.stream.read_residue(&mut **dialect, true, out);
        if terminal.is_some() || self.stream.progress.state != State::Reading {
            return terminal.or_else(|| self.finish(out));
        }
        Some(dialect.break_off())
    }
}

#[cfg(test)]
mod tests;
