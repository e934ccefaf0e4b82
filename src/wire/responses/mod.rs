//! The Responses dialect.

mod body;
mod compaction;
mod decode;
mod encode;
mod envelope;
mod event_types;
mod first_response;
mod from_body;
mod known_text;
mod response_object;

pub(crate) use body::{body_of, compaction_body};
pub(crate) use compaction::CompactionStream;
pub(crate) use decode::ResponsesDialect;
pub(in crate::wire) use encode::ResponsesEncoder;
#[cfg(feature = "loopback")]
pub(crate) use encode::repeated_fields;
#[cfg(fuzzing)]
pub(crate) use envelope::check_walk;
#[cfg(test)]
pub(crate) use event_types::{EVENT_TYPES, EventForm};
pub(crate) use from_body::prompt_of;
