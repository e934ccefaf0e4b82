//! What is on the wire: the types of requests, items and events.
//!
//! Data only. Nothing here opens a socket, waits or knows an actor.

mod event;
mod item;
mod rate_limit;
mod raw;
mod text;
mod usage;

pub use event::{
    Completed, Created, Incomplete, OtherEvent, OutputItem, OutputTextDelta, ReasoningContentDelta,
    ReasoningSummaryDelta, ReasoningSummaryPartAdded, RefusalDelta, ResponseEvent, Restarted,
    StreamAnomalies, ToolCallInput, ToolCallInputDelta,
};
pub use item::ResponseItem;
pub use rate_limit::{Credits, RateLimitBudget, RateLimitSnapshot, RateLimitWindow};
pub use raw::RawJson;
pub use text::{Id, Text};
pub use usage::TokenUsage;
