//! The body of a response to its events, whatever the dialect.

use std::fmt;

use super::{
    Dialect, StreamLimits, Terminal, Wire,
    chat::ChatDialect,
    quirks::Quirks,
    responses::ResponsesDialect,
    sse_stream::{SseStream, State},
};
use crate::protocol::{Id, ResponseEvent, StreamAnomalies, TokenUsage, error::ApiError};

mod resuming;

enum AnyDialect {
    Responses(Box<ResponsesDialect>),
    Chat(Box<ChatDialect>),
}

impl AnyDialect {
    /// For what is not asked of each event.
    fn get(&self) -> &dyn Dialect {
        match self {
            Self::Responses(dialect) => &**dialect,
            Self::Chat(dialect) => &**dialect,
        }
    }

    fn get_mut(&mut self) -> &mut dyn Dialect {
        match self {
            Self::Responses(dialect) => &mut **dialect,
            Self::Chat(dialect) => &mut **dialect,
        }
    }
}

/// Decodes one response body into events.
///
/// Synchronous and free of clocks and sockets: feed it what arrives, in pieces of any size; the events are the same.
///
/// ```
/// use actix_responses::{protocol::ResponseEvent, wire::{StreamDecoder, StreamLimits, Terminal, Wire}};
///
/// let body = [
///     r#"data: {"type":"response.output_text.delta","item_id":"msg_1","delta":"Hel"#,
///     "lo\"}\n\n",
///     r#"data: {"type":"response.completed","response":{"id":"resp_1","status":"completed"}}"#,
///     "\n\n",
/// ];
/// let mut decoder = StreamDecoder::new(Wire::Responses, StreamLimits::default());
/// let (mut events, mut end) = (Vec::new(), None);
/// for chunk in body {
///     end = end.or_else(|| decoder.feed(chunk.as_bytes(), &mut events));
/// }
/// // A body that ended before its terminal event is an error.
/// let end = end.or_else(|| decoder.end_of_stream(&mut events));
/// assert!(matches!(end, Some(Terminal::Completed(_))));
/// assert!(events.iter().any(|event| matches!(event, ResponseEvent::OutputTextDelta(text) if &*text.delta == "Hello")));
/// ```
pub struct StreamDecoder {
    stream: SseStream,
    dialect: AnyDialect,
    is_resumable: bool,
}

impl StreamDecoder {
    /// A decoder for one response on the given wire.
    pub fn new(wire: Wire, limits: StreamLimits) -> Self {
        let dialect = match wire {
            Wire::Responses => AnyDialect::Responses(Box::new(ResponsesDialect::new(limits))),
            Wire::Chat => AnyDialect::Chat(Box::new(ChatDialect::new(limits))),
        };
        Self {
            stream: SseStream::new(limits.sse),
            dialect,
            is_resumable: false,
        }
    }

    /// Names the request that the response answers, by its headers: its start and its end then say it.
    pub fn set_request_id(&mut self, request_id: Id) {
        self.dialect.get_mut().set_request_id(request_id);
    }

    /// Decodes the next bytes. Events are appended to `out`; the terminal one is returned instead, once. What follows it,
    /// in this chunk or a later one, is ignored.
    pub fn feed(&mut self, chunk: &[u8], out: &mut Vec<ResponseEvent>) -> Option<Terminal> {
        match &mut self.dialect {
            AnyDialect::Responses(dialect) => self.stream.feed(&mut **dialect, chunk, out),
            AnyDialect::Chat(dialect) => self.stream.feed(&mut **dialect, chunk, out),
        }
    }

    /// Decodes whole blocks off the front of the next bytes, as many as repeat the one before but for their text, which most do, and
    /// says where each ends and with which event it goes: the one that it gave, or the next. With `joins` that of the block before takes
    /// its text where both go to the same. Returns how many bytes that is.
    pub(crate) fn feed_blocks(
        &mut self,
        bytes: &[u8],
        joins: bool,
        out: &mut Vec<ResponseEvent>,
        on_block: impl FnMut(usize, usize),
    ) -> usize {
        let stream = &mut self.stream;
        match &mut self.dialect {
            AnyDialect::Responses(dialect) => {
                stream.read_blocks(&mut **dialect, bytes, joins, out, on_block)
            }
            AnyDialect::Chat(dialect) => {
                stream.read_blocks(&mut **dialect, bytes, joins, out, on_block)
            }
        }
    }

    /// The body has ended. A last event without its blank line is still read, because servers send such; then the stream is
    /// over: with the end that is known, or as truncated. `None` when it was over already.
    pub fn end_of_stream(&mut self, out: &mut Vec<ResponseEvent>) -> Option<Terminal> {
        if self.resume_point().is_some() {
            return self.end_of_part(out);
        }
        let dialect = self.dialect.get_mut();
        let terminal = self.stream.read_residue(dialect, false, out);
        terminal.or_else(|| self.finish(out))
    }

    /// Ends the stream with what is known, as when the grace after [`is_finishing`](Self::is_finishing) has passed. `None`
    /// when it was over already.
    pub fn finish(&mut self, out: &mut Vec<ResponseEvent>) -> Option<Terminal> {
        if self.stream.progress.state == State::Ended {
            return None;
        }
        self.stream.progress.state = State::Ended;
        Some(self.dialect.get_mut().finish(out))
    }

    /// Whether the answer is whole and only what may follow it is waited for.
    pub fn is_finishing(&self) -> bool {
        self.stream.progress.state == State::Finishing
    }

    /// The same, and nothing speaks against it: servers exist that name an end in every chunk.
    pub(crate) fn is_finishing_surely(&self) -> bool {
        self.is_finishing() && self.dialect.get().is_finish_sure()
    }

    /// Whether the terminal event has been read.
    pub fn is_ended(&self) -> bool {
        self.stream.progress.state == State::Ended
    }

    /// How often more of the answer, or its usage, has come while [`is_finishing`](Self::is_finishing).
    pub(crate) fn went_on(&self) -> u64 {
        self.stream.progress.went_on
    }

    /// Minds what is different in a server's streams: [`Quirks::omits_finish_reason`].
    #[must_use]
    pub fn with_quirks(mut self, quirks: &Quirks) -> Self {
        if let AnyDialect::Chat(dialect) = &mut self.dialect {
            dialect.set_quirks(quirks);
        }
        self
    }

    /// How many SSE events have been read; comments are not among them.
    pub fn events(&self) -> u64 {
        self.stream.progress.events
    }

    /// Adds what is known of the answer to an error that did not come of its bytes, as when the connection broke.
    pub(crate) fn complete(&self, error: &mut ApiError) {
        self.dialect.get().answer().complete(error);
    }

    /// The `sequence_number` of the last event on the Responses wire: where a stored response is resumed. `None` on the Chat wire,
    /// and of servers that do not count.
    pub fn sequence_number(&self) -> Option<u64> {
        self.dialect.get().answer().sequence_number
    }

    /// What the answer has cost so far, as the server said last; `None` while it has said nothing. Few servers say it before the end.
    pub fn token_usage(&self) -> Option<TokenUsage> {
        self.dialect.get().answer().token_usage
    }

    /// What was odd so far.
    pub fn anomalies(&self) -> &StreamAnomalies {
        self.dialect.get().anomalies()
    }
}

/// Where it stands; nothing of the answer.
impl fmt::Debug for StreamDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wire = match self.dialect {
            AnyDialect::Responses(_) => Wire::Responses,
            AnyDialect::Chat(_) => Wire::Chat,
        };
        f.debug_struct("StreamDecoder")
            .field("wire", &wire)
            .field("events", &self.events())
            .field("is_finishing", &self.is_finishing())
            .field("is_ended", &self.is_ended())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
