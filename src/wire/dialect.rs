//! What a dialect is to those who read its streams.

use super::{
    answer::{Answer, Terminal},
    joining::join_last,
};
use serde::{Deserialize, Serialize};

use crate::{
    protocol::{Id, ResponseEvent, StreamAnomalies},
    sse::SseEvent,
};

/// Which dialect an endpoint speaks. As JSON it is `responses` or `chat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

    /// The same behind a block that gave the last event of `out`, which takes the text where it can. Says whether it did.
    fn join_block(&mut self, bytes: &[u8], out: &mut Vec<ResponseEvent>) -> Option<(usize, bool)> {
        let before = out.len();
        let taken = self.read_block(bytes, out)?;
        let is_joined = out.len() == before + 1 && join_last(out);
        Some((taken, is_joined))
    }

    /// Takes note of the whole block of the event that was read last.
    fn note_block(&mut self, block: &[u8]);

    /// Ends the stream where no more events are to come: at the end of the body, or when the grace after
    /// [`Step::Finishing`] has passed. Without a known end this is
    /// [`ErrorKind::Truncated`](crate::ErrorKind::Truncated).
    fn finish(&mut self, out: &mut Vec<ResponseEvent>) -> Terminal;

    /// What was odd so far.
    fn anomalies(&self) -> &StreamAnomalies {
        &self.answer().anomalies
    }
}
