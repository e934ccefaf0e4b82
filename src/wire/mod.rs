//! The API's dialects: request body out, [`ResponseEvent`](crate::protocol::ResponseEvent)s in.
//!
//! One folder a dialect. [`StreamDecoder`] is what they share: bytes in any chunking go in, events come out, and the first
//! terminal event ends it.

mod answer;
#[cfg(feature = "runtime")]
pub(crate) mod blocks;
mod body;
mod chat;
mod dialect;
mod encode;
mod encoding;
#[cfg(test)]
pub(crate) mod equivalence;
mod joining;
mod limits;
mod pieces;
mod quirks;
mod reading;
mod received;
mod request;
pub(crate) mod responses;
pub(crate) mod server_error;
mod sse_stream;
mod strays;
mod stream_decoder;
mod template;
mod unread;
#[cfg(feature = "runtime")]
pub(crate) mod whole;

pub(crate) use answer::ResumePoint;
pub use answer::Terminal;
pub use chat::ChatCompletion;
pub use dialect::Wire;
pub(crate) use dialect::{Dialect, Step, TextPlace};
pub use encode::StreamEncoder;
pub use encoding::EncoderOptions;
pub use limits::StreamLimits;
pub use quirks::{ItemIds, Quirks};
pub use stream_decoder::StreamDecoder;
