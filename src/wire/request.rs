//! The request body of either wire.

use bytes::Bytes;

use super::{Wire, body::invalid, chat, quirks::Quirks, received, responses};
use crate::protocol::{CompactionInput, Prompt, error::ApiError};

impl Wire {
    /// Writes the body of a request. It always asks for a stream; what the prompt leaves open is not in it, and no null is. A prompt of
    /// [`Prompt::from_body`] that was not changed is sent as it came, over the wire that it came for.
    ///
    /// # On the Responses wire
    /// - Without tools, of the prompt's or of a template's, `parallel_tool_calls` is left out too: the API refuses it alone.
    /// - `include` becomes `["reasoning.encrypted_content"]` when the prompt leaves it open, sets `reasoning` and `store` is
    ///   false: nothing else would bring the reasoning back. Models that do not reason refuse it, hence the second condition.
    /// - Ids of items: see [`ItemIds`](super::ItemIds).
    ///
    /// # On the Chat wire
    /// It asks for usage unless [`Quirks::no_usage_request`] is set.
    ///
    /// Items become messages:
    /// - The instructions are the first message, of the system.
    /// - Consecutive items of the model become one assistant message as soon as a call is among them: its text, and its calls in
    ///   their order. Text alone stays a message of its own.
    /// - Outputs follow the message that holds their call, wherever they stand in the input, because servers insist on it.
    /// - One text is a string, which every server takes. Several are a list of parts, but for those of an answer, which are one
    ///   text, and those of a tool's output, which are lines of one: there some servers insist on a string. A text with `extra`
    ///   is always a part.
    /// - The fields in `extra` go out where Chat has them: those of a part on the part, those of a call on the call, those of a
    ///   message or an output on the message, those of reasoning on the message that it led to. Nulls and what only the
    ///   Responses API means by its items (`caller`, `created_by`, ...) do not; nor does `extra` of what is itself left out. Where
    ///   several items give one message the same field, lists are joined, and else the last counts.
    /// - The sound of an answer goes back by its id and its annotations in Chat's form; see [`Quirks::no_answer_extras`].
    /// - The text of reasoning is left out, or replayed: see [`Quirks::reasoning_field`]. Left out are records of what a server's own
    ///   tools did (searches of the web and of files, code, images, MCP calls and lists) and ghost snapshots: the answer that
    ///   followed says what they found.
    ///
    /// Functions, custom tools and `tool_choice` are written in Chat's nested form; other tools as they are, for the server to
    /// judge. Not sent, because Chat has no place for them and nothing is lost: `reasoning.summary`, `reasoning.context`,
    /// `include` (but for log probabilities, which Chat asks for by `logprobs`), `max_tool_calls` and `truncation`.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when neither a model nor a template, which names one, is given; when a
    /// number is not finite; or when `extra` holds what a field of the
    /// prompt says on this wire. On the Chat wire also when the prompt needs
    /// what Chat does not have: stored responses, conversations and templates, background, and items and parts of a message that
    /// have no Chat form; and when `extra` of an item or a part holds a field that its Chat form writes itself.
    pub fn request_body(self, prompt: &Prompt, quirks: &Quirks) -> Result<Bytes, ApiError> {
        self.body_of(prompt, quirks, true)
    }

    /// The same without `stream`, and without a word of what only streams have: for an answer in one piece.
    #[cfg(feature = "runtime")]
    pub(crate) fn one_piece_body(
        self,
        prompt: &Prompt,
        quirks: &Quirks,
    ) -> Result<Bytes, ApiError> {
        self.body_of(prompt, quirks, false)
    }

    fn body_of(self, prompt: &Prompt, quirks: &Quirks, is_stream: bool) -> Result<Bytes, ApiError> {
        if let Some(body) = received::as_it_came(self, prompt, quirks, is_stream) {
            return Ok(body);
        }
        prompt.received.is_read()?;
        match self {
            Self::Responses => responses::body_of(prompt, quirks, is_stream),
            Self::Chat => chat::body_of(prompt, quirks, is_stream),
        }
    }

    /// Writes the body of a compaction (`POST responses/compact`), which only the Responses API has. What the input leaves open is
    /// not in it, and no null is. Ids of items: see [`ItemIds`](super::ItemIds).
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) on another wire, when no model is named, or `extra` holds what a field
    /// of the input says.
    pub fn compaction_body(
        self,
        input: &CompactionInput,
        quirks: &Quirks,
    ) -> Result<Bytes, ApiError> {
        match self {
            Self::Responses => match received::compaction_as_it_came(input) {
                Some(body) => Ok(body),
                None => {
                    input.received.is_read()?;
                    responses::compaction_body(input, quirks)
                }
            },
            Self::Chat => Err(invalid(
                "compaction is part of the Responses API, and this provider speaks another wire",
            )),
        }
    }
}
