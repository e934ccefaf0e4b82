//! What the encoders of all dialects have in common.

pub(super) mod block;
mod failure;

use serde_json::{Map, Value, json};

pub(super) use self::failure::{error_object, response_error};
use crate::protocol::{Id, OutputItem, RawJson, TokenUsage};

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
    /// On the Chat wire: whether a call is told in its first form (`function_call`), which clients understand that send `functions`. A message
    /// has room for one: where the server makes another, the answer fails.
    pub function_call: bool,
}

with_fields!(EncoderOptions {
    with_id(id: impl Into<String> => id.into()),
    with_model(model: impl Into<String> => model.into()),
    with_created_at(created_at: u64),
    with_request(request: Map<String, Value>),
    with_include_usage(include_usage: bool),
    with_function_call(function_call: bool),
});

impl EncoderOptions {
    /// Takes the id that an event says, where none was given.
    pub(super) fn note_id(&mut self, id: Option<&Id>) {
        if let Some(id) = id.filter(|_| self.id.is_empty()) {
            self.id = id.to_string();
        }
    }
}

/// The items of a response object, each with its place.
pub(super) fn output_of(response: Option<&RawJson>) -> Option<Vec<OutputItem>> {
    let Some(Value::Array(items)) = response?.to_value().get_mut("output").map(Value::take) else {
        return None;
    };
    let items = (0..).zip(items);
    Some(
        items
            .map(|(index, item)| OutputItem::new(Some(index), item.into()))
            .collect(),
    )
}

/// `usage` with every detail, by the words that a dialect has for input and output.
pub(super) fn usage_object(usage: TokenUsage, input: &str, output: &str) -> Value {
    let mut details = json!({"cached_tokens": usage.cached_input_tokens});
    if usage.cache_write_tokens > 0 {
        details["cache_write_tokens"] = usage.cache_write_tokens.into();
    }
    json!({
        format!("{input}_tokens"): usage.input_tokens,
        format!("{input}_tokens_details"): details,
        format!("{output}_tokens"): usage.output_tokens,
        format!("{output}_tokens_details"): {"reasoning_tokens": usage.reasoning_output_tokens},
        "total_tokens": usage.total_tokens,
    })
}
