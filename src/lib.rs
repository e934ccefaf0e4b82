//! An actor-based streaming runtime for the OpenAI Responses, Chat Completions and Compact APIs.

mod error;
pub mod protocol;
pub mod provider;
pub mod retry;
pub mod sse;
pub mod wire;

pub use error::{ApiError, AttemptFailure, Details as ErrorDetails, ErrorKind, Phase};
