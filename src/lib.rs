//! An actor-based streaming runtime for the OpenAI Responses, Chat Completions and Compact APIs.

pub mod actors;
pub mod duration;
mod error;
pub mod protocol;
pub mod provider;
pub mod retry;
mod runtime;
pub mod sse;
mod telemetry;
pub mod wire;

pub use error::{ApiError, AttemptFailure, Details as ErrorDetails, ErrorKind, Phase};
pub use runtime::{ResponseStream, Runtime};
