//! The Chat Completions dialect.
//!
//! A Chat stream has no items: its chunks carry pieces of text, reasoning and tool calls. `decode` makes of them the items
//! and events that the Responses API would have sent; `body_of` makes messages of items.

mod body;
mod call_index;
mod choice;
mod chunk;
mod completion;
mod decode;
mod details;
mod encode;
mod error_chunk;
mod extras;
pub(super) mod finish;
mod from_body;
mod item;
mod lenient;
mod object;
mod tool_calls;

pub(crate) use body::body_of;
pub use completion::ChatCompletion;
pub(crate) use decode::ChatDialect;
pub(in crate::wire) use encode::ChatEncoder;
pub(crate) use from_body::prompt_of;
