//! Bytes to server-sent events: synchronous, without I/O, and without knowing what an event means.
//!
//! [`SseDecoder`] takes chunks as they come from a body and hands over each [`SseEvent`] as soon as
//! its last byte is there. It follows the WHATWG HTML Living Standard, section 9.2.6
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>), with one deliberate
//! deviation: what [`SseDecoder::finish`] finds at the end of the stream is handed over, not
//! discarded.

#[cfg(feature = "runtime")]
mod blocks;
mod decoder;
mod error;
mod field;
mod lines;

#[cfg(feature = "runtime")]
pub(crate) use blocks::{BlockSplitter, SplitEnd};
pub(crate) use decoder::Frame;
pub use decoder::{SseDecoder, SseEvent};
pub use error::{DecodeError, SseLimits};
