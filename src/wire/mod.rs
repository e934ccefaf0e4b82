//! The API's dialects: request body out, [`ResponseEvent`]s in.
//!
//! One folder a dialect. [`StreamDecoder`] is what they share: bytes in any chunking go in, events come out, and the first
//! terminal event ends it.

use std::sync::Arc;

use self::{
    answer::Answer,
    sse_stream::{SseStream, State},
};
use crate::{
    protocol::{Completed, Id, Incomplete, ResponseEvent, StreamAnomalies, error::ApiError},
    sse::SseEvent,
};

mod answer;
mod body;
pub mod chat;
#[cfg(test)]
pub(crate) mod equivalence;
mod limits;
mod pieces;
pub mod responses;
pub(crate) mod server_error;
mod sse_stream;
mod strays;
mod template;
mod unread;

pub use limits::StreamLimits;

/// Which dialect an endpoint speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Wire {
    /// The Responses API (`POST responses`).
    #[default]
    Responses,
    /// The Chat Completions API (`POST chat/completions`).
    Chat,
}

impl Wire {
    /// The path of its streaming endpoint, relative to the provider's base URL.
    pub fn path(self) -> &'static str {
        match self {
            Self::Responses => "responses",
            Self::Chat => "chat/completions",
        }
    }
}

/// How a stream ended, as its decoder tells it.
#[derive(Clone, Debug, PartialEq)]
pub enum Terminal {
    /// The answer is whole.
    Completed(Arc<Completed>),
    /// The server stopped early and said why.
    Incomplete(Arc<Incomplete>),
    /// The server reported an error, or the stream ended or broke before its terminal event.
    Failed(ApiError),
}

impl From<Terminal> for ResponseEvent {
    fn from(terminal: Terminal) -> Self {
        match terminal {
            Terminal::Completed(completed) => Self::Completed(completed),
            Terminal::Incomplete(incomplete) => Self::Incomplete(incomplete),
            Terminal::Failed(error) => Self::Failed(Arc::new(error)),
        }
    }
}

/// What one SSE event meant for the stream.
pub(crate) enum Step {
    /// More is to come.
    Continue,
    /// The answer is whole, but what belongs to it may still follow (Chat's usage chunk after the finish reason, or more of the
    /// answer): the next events are read for a while, then [`Dialect::finish`] is called. `goes_on` says that this event was
    /// a part of it, so that the while begins anew.
    Finishing { goes_on: bool },
    /// The data is not one JSON text. It is taken apart, and each piece is read as an event or as a text.
    Unread,
    /// The stream is over; nothing after this is read.
    End(Terminal),
}

/// Where a text stood that is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextPlace {
    /// In an event that is named `error`, or a field of that name: the text says what went wrong.
    Error,
    /// In the data of another event.
    Data,
    /// Between the events, in a line that is no SSE field.
    Stray,
}

/// What a dialect knows: SSE events in, response events out.
pub(crate) trait Dialect {
    /// Reads one event. Response events go to `out` in order; the terminal one does not, it is returned.
    fn on_event(&mut self, event: SseEvent<'_>, out: &mut Vec<ResponseEvent>) -> Step;

    /// Reads a text that is no JSON object.
    fn on_text(&mut self, text: &str, place: TextPlace, out: &mut Vec<ResponseEvent>) -> Step;

    /// Whether the end that [`Step::Finishing`] told is one for sure.
    fn is_finish_sure(&self) -> bool {
        true
    }

    /// Takes the server's id of the request, which the response's head named.
    fn set_request_id(&mut self, request_id: Id);

    /// What is known of the answer so far.
    fn answer(&self) -> &Answer;

    /// Reads the SSE block that `bytes` begin with, if its bytes alone say what it means: one event that
    /// [`on_event`](Self::on_event) would have read with the same effects, and nothing that the SSE decoder has to know. Gives
    /// how many bytes it took.
    fn read_block(&mut self, bytes: &[u8], out: &mut Vec<ResponseEvent>) -> Option<usize>;

    /// Takes note of the whole block of the event that was read last.
    fn note_block(&mut self, block: &[u8]);

    /// Ends the stream where no more events are to come: at the end of the body, or when the grace after
    /// [`Step::Finishing`] has passed. Without a known end this is
    /// [`ErrorKind::Truncated`](crate::ErrorKind::Truncated).
    fn finish(&mut self, out: &mut Vec<ResponseEvent>) -> Terminal;

    /// What was odd so far.
    fn anomalies(&self) -> &StreamAnomalies;
}

enum AnyDialect {
    Responses(Box<responses::ResponsesDialect>),
    Chat(Box<chat::ChatDialect>),
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
}

impl StreamDecoder {
    /// A decoder for one response on the given wire.
    pub fn new(wire: Wire, limits: StreamLimits) -> Self {
        let dialect = match wire {
            Wire::Responses => {
                AnyDialect::Responses(Box::new(responses::ResponsesDialect::new(limits)))
            }
            Wire::Chat => AnyDialect::Chat(Box::new(chat::ChatDialect::new(limits))),
        };
        Self {
            stream: SseStream::new(limits.sse),
            dialect,
        }
    }

    /// Names the request that the response answers, by its headers: its start and its end then say it.
    pub fn set_request_id(&mut self, request_id: Id) {
        match &mut self.dialect {
            AnyDialect::Responses(dialect) => dialect.set_request_id(request_id),
            AnyDialect::Chat(dialect) => dialect.set_request_id(request_id),
        }
    }

    /// Decodes the next bytes. Events are appended to `out`; the terminal one is returned instead, once. What follows it,
    /// in this chunk or a later one, is ignored.
    pub fn feed(&mut self, chunk: &[u8], out: &mut Vec<ResponseEvent>) -> Option<Terminal> {
        match &mut self.dialect {
            AnyDialect::Responses(dialect) => self.stream.feed(&mut **dialect, chunk, out),
            AnyDialect::Chat(dialect) => self.stream.feed(&mut **dialect, chunk, out),
        }
    }

    /// The body has ended. A last event without its blank line is still read, because servers send such; then the stream is
    /// over: with the end that is known, or as truncated. `None` when it was over already.
    pub fn end_of_stream(&mut self, out: &mut Vec<ResponseEvent>) -> Option<Terminal> {
        let terminal = match &mut self.dialect {
            AnyDialect::Responses(dialect) => self.stream.read_residue(&mut **dialect, out),
            AnyDialect::Chat(dialect) => self.stream.read_residue(&mut **dialect, out),
        };
        terminal.or_else(|| self.finish(out))
    }

    /// Ends the stream with what is known, as when the grace after [`is_finishing`](Self::is_finishing) has passed. `None`
    /// when it was over already.
    pub fn finish(&mut self, out: &mut Vec<ResponseEvent>) -> Option<Terminal> {
        if self.stream.progress.state == State::Ended {
            return None;
        }
        self.stream.progress.state = State::Ended;
        Some(match &mut self.dialect {
            AnyDialect::Responses(dialect) => dialect.finish(out),
            AnyDialect::Chat(dialect) => dialect.finish(out),
        })
    }

    /// Whether the answer is whole and only what may follow it is waited for.
    pub fn is_finishing(&self) -> bool {
        self.stream.progress.state == State::Finishing
    }

    /// The same, and nothing speaks against it: servers exist that name an end in every chunk.
    pub(crate) fn is_finishing_surely(&self) -> bool {
        let is_sure = match &self.dialect {
            AnyDialect::Responses(dialect) => dialect.is_finish_sure(),
            AnyDialect::Chat(dialect) => dialect.is_finish_sure(),
        };
        self.is_finishing() && is_sure
    }

    /// Whether the terminal event has been read.
    pub fn is_ended(&self) -> bool {
        self.stream.progress.state == State::Ended
    }

    /// How often more of the answer, or its usage, has come while [`is_finishing`](Self::is_finishing).
    pub(crate) fn went_on(&self) -> u64 {
        self.stream.progress.went_on
    }

    /// Minds what a server wants differently on the Chat wire. The other has no such quirks.
    #[must_use]
    pub fn with_chat_quirks(mut self, quirks: &chat::ChatQuirks) -> Self {
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
        match &self.dialect {
            AnyDialect::Responses(dialect) => dialect.answer().complete(error),
            AnyDialect::Chat(dialect) => dialect.answer().complete(error),
        }
    }

    /// The `sequence_number` of the last event on the Responses wire: where a stored response is resumed. `None` on the Chat wire,
    /// and of servers that do not count.
    pub fn sequence_number(&self) -> Option<u64> {
        match &self.dialect {
            AnyDialect::Responses(dialect) => dialect.answer().sequence_number,
            AnyDialect::Chat(dialect) => dialect.answer().sequence_number,
        }
    }

    /// What was odd so far.
    pub fn anomalies(&mut self) -> &StreamAnomalies {
        match &self.dialect {
            AnyDialect::Responses(dialect) => dialect.anomalies(),
            AnyDialect::Chat(dialect) => dialect.anomalies(),
        }
    }
}

#[cfg(test)]
mod tests;
