//! What is on the wire: the types of requests, items and events.
//!
//! Data only. Nothing here opens a socket, waits or knows an actor.

mod accumulator;
mod anomalies;
mod compaction;
pub(crate) mod duration_notation;
pub(crate) mod error;
mod event;
mod event_json;
mod fields;
mod head;
pub mod item;
mod model_list;
mod prompt;
mod rate_limit;
mod raw;
mod received;
mod response;
mod said;
mod saying;
mod searched;
mod stored;
mod text;
mod tool;
mod usage;
mod whole;

pub use accumulator::{AccumulatedToolCall, Mismatch, ResponseAccumulator};
pub use anomalies::StreamAnomalies;
pub use compaction::{CompactionInput, CompactionOutput};
pub use event::{
    Completed, Created, Incomplete, OtherEvent, OutputItem, ReasoningDelta,
    ReasoningSummaryPartAdded, ResponseEvent, Restarted, TextDelta, ToolCallInput,
    ToolCallInputDelta,
};
pub use head::ResponseHead;
pub use item::{
    ArgumentsError, Content, ContentPart, FunctionCallItem, MessageItem, ReasoningItem,
    ResponseItem, Role, ToolCallOutputItem,
};
pub use model_list::{Model, ModelList};
pub use prompt::{
    OutputFormat, OutputSchema, Prompt, PromptTemplate, ReasoningOptions, RequestOptions,
};
pub use rate_limit::{
    Credits, IndividualLimit, RateLimitBudget, RateLimitSnapshot, RateLimitWindow,
};
pub(crate) use raw::OneLine;
pub use raw::RawJson;
pub(crate) use received::{AsItCame, Places, ReceivedBody};
pub use response::Response;
pub(crate) use searched::Searched;
pub use stored::{DeletedResponse, InputItemList, StoredResponse};
pub use text::{Id, Text};
pub use tool::Tool;
pub use usage::TokenUsage;
pub use whole::{WholeAnswer, WholeBody};
