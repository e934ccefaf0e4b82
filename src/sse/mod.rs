//! Bytes to server-sent events: synchronous, without I/O, and without knowing what an event means.

mod error;

pub use error::{DecodeError, SseLimits};
