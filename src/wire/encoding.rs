//! What the encoders of all dialects have in common.

pub(super) mod block;
mod failure;

use serde_json::{Map, Value};

pub(super) use self::failure::{error_object, response_error};

/// What an encoder has to be told, because no event says it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct EncoderOptions {
    /// The id of the response or the completion. Where it is empty, that of the events is taken.
    pub id: String,
    /// The model by the name that the client asked for.
    pub model: String,
    /// When the answer began, in seconds of Unix time.
    pub created_at: u64,
    /// The request's body. A response object repeats what it says: instructions, tools, temperature, ...
    pub request: Map<String, Value>,
    /// On the Chat wire: whether a chunk with the usage was asked for (`stream_options.include_usage`).
    pub include_usage: bool,
}

with_fields!(EncoderOptions {
    with_id(id: impl Into<String> => id.into()),
    with_model(model: impl Into<String> => model.into()),
    with_created_at(created_at: u64),
    with_request(request: Map<String, Value>),
    with_include_usage(include_usage: bool),
});
