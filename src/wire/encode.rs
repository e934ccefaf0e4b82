//! Events written as the stream of a server: the reverse of [`StreamDecoder`](super::StreamDecoder).

#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::Value;

use super::{Wire, chat::ChatEncoder, encoding::EncoderOptions, responses::ResponsesEncoder};
use crate::protocol::{
    ResponseEvent,
    error::{ApiError, ErrorKind},
};

enum AnyEncoder {
    Responses(Box<ResponsesEncoder>),
    Chat(Box<ChatEncoder>),
}

/// Writes events, whichever wire they came over, as the SSE blocks of one dialect.
///
/// Each call adds whole blocks, or none. On the Responses wire that is every event that the API would send for the answer, with
/// contiguous sequence numbers; on the Chat wire its chunks. After the end nothing is written any more.
///
/// ```
/// use actix_responses::{protocol::{Completed, TextDelta, ResponseEvent}, wire::{EncoderOptions, StreamEncoder, Wire}};
///
/// let options = EncoderOptions::default().with_id("chatcmpl-1").with_model("m");
/// let mut encoder = StreamEncoder::new(Wire::Chat, options);
/// let mut stream = Vec::new();
/// encoder.push(&ResponseEvent::OutputTextDelta(TextDelta::new("hi")), &mut stream);
/// encoder.push(&ResponseEvent::Completed(Completed::default().into()), &mut stream);
/// assert!(stream.ends_with(b"data: [DONE]\n\n"));
/// assert_eq!(encoder.object()["choices"][0]["message"]["content"], "hi");
/// ```
pub struct StreamEncoder(AnyEncoder);

impl StreamEncoder {
    /// An encoder for one answer.
    pub fn new(wire: Wire, options: EncoderOptions) -> Self {
        Self(match wire {
            Wire::Responses => AnyEncoder::Responses(Box::new(ResponsesEncoder::new(options))),
            Wire::Chat => AnyEncoder::Chat(Box::new(ChatEncoder::new(options))),
        })
    }

    /// Writes what an event means. An event that ends the answer writes its end.
    pub fn push(&mut self, event: &ResponseEvent, out: &mut Vec<u8>) {
        let (kind, message) = match event {
            ResponseEvent::Failed(error) => return self.fail(error, out),
            ResponseEvent::Cancelled => (ErrorKind::Cancelled, "the request was cancelled"),
            // What has been said can't be taken back.
            ResponseEvent::Restarted(_) => (
                ErrorKind::Truncated,
                "the server's answer broke off, and another one began",
            ),
            _ if self.is_ended() => return,
            event => match &mut self.0 {
                AnyEncoder::Responses(encoder) => return encoder.push(event, out),
                AnyEncoder::Chat(encoder) => return encoder.push(event, out),
            },
        };
        self.fail(&ApiError::new(kind, message), out);
    }

    /// Ends the answer with an error: `response.failed` on the Responses wire, an error object without `[DONE]` on the Chat wire.
    pub fn fail(&mut self, error: &ApiError, out: &mut Vec<u8>) {
        match &mut self.0 {
            AnyEncoder::Responses(encoder) => encoder.fail(error, out),
            AnyEncoder::Chat(encoder) => encoder.fail(error, out),
        }
    }

    /// The response object or the `chat.completion` as it stands.
    pub fn object(&self) -> Value {
        match &self.0 {
            AnyEncoder::Responses(encoder) => encoder.object(),
            AnyEncoder::Chat(encoder) => encoder.object(),
        }
    }

    /// Whether the end has been written.
    pub fn is_ended(&self) -> bool {
        match &self.0 {
            AnyEncoder::Responses(encoder) => encoder.is_ended(),
            AnyEncoder::Chat(encoder) => encoder.is_ended(),
        }
    }
}

/// Where it stands; nothing of the answer.
impl fmt::Debug for StreamEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamEncoder")
            .field("is_ended", &self.is_ended())
            .finish_non_exhaustive()
    }
}
