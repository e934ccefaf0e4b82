//! A prompt from the body of a request to the Responses API, and back.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;

use super::body::prompt_as_data;
use crate::{
    protocol::{
        OutputFormat, Prompt, RawJson, RequestOptions, ResponseItem, Tool, error::ApiError,
    },
    wire::reading::{Body, elements, read, read_option, with_whole_characters},
};

/// The body of a request without `stream`, with serde_json's serializers only. What the runtime adds when it sends a prompt is not in
/// there.
impl Serialize for Prompt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let body = self.received.is_read().and_then(|()| prompt_as_data(self));
        let body = body.map_err(|error| ser::Error::custom(error.message()))?;
        let raw: &RawValue = serde_json::from_slice(&body).map_err(ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// Reads the body of a request to the Responses API; only from serde_json's deserializers. `stream` is not kept, and a null counts as
/// absent. The values of `input`, of `tools` and of all else are bounded by
/// [`RawJson::MAX_TREE_BYTES`](crate::protocol::RawJson::MAX_TREE_BYTES) each.
impl<'de> Deserialize<'de> for Prompt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = RawJson::deserialize(deserializer)?;
        let json = with_whole_characters(json.get());
        let prompt = Body::of(&json).and_then(|body| {
            let prompt = prompt_of(&body)?;
            prompt.received.is_read().map(|()| prompt)
        });
        prompt.map_err(|error| de::Error::custom(error.message()))
    }
}

/// Reads a body.
pub(crate) fn prompt_of(body: &Body<'_>) -> Result<Prompt, ApiError> {
    let mut prompt = Prompt::default();
    let options = &mut prompt.options;
    for (name, json) in body.members() {
        match name {
            "input" => prompt.input = items(name, json)?,
            "tools" => prompt.tools = tools(name, json)?,
            "instructions" => prompt.instructions = read(name, json)?,
            "parallel_tool_calls" => prompt.parallel_tool_calls = read(name, json)?,
            "text" => {
                prompt.output_format = None;
                read_text(json, options, &mut prompt.output_format)?;
            }
            // The runtime streams whatever is said.
            "stream" => _ = read::<bool>(name, json)?,
            "prompt" => options.template = read(name, json)?,
            "reasoning" => options.reasoning = read(name, json)?,
            "include" => options.include = read(name, json)?,
            "previous_response_id" => options.previous_response_id = read(name, json)?,
            "conversation" => {
                options.conversation = read(name, json)?.map(|conversation| match conversation {
                    Conversation::Id(id) | Conversation::Object { id } => id,
                });
            }
            "max_output_tokens" => options.max_output_tokens = read(name, json)?,
            "max_tool_calls" => options.max_tool_calls = read(name, json)?,
            "tool_choice" => options.tool_choice = read(name, json)?,
            "background" => options.background = read(name, json)?,
            "truncation" => options.truncation = read(name, json)?,
            _ => read_option(options, &mut prompt.received, name, json)?,
        }
    }
    Ok(prompt)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Conversation {
    Id(String),
    Object { id: String },
}

/// `input`: items, or a text of the user.
fn items(name: &str, json: &str) -> Result<Vec<ResponseItem>, ApiError> {
    if json.starts_with('"') {
        let text: Option<String> = read(name, json)?;
        return Ok(text.map(ResponseItem::user_text).into_iter().collect());
    }
    let items = elements(name, json)?.into_iter();
    Ok(items.map(ResponseItem::from_walked).collect())
}

fn tools(name: &str, json: &str) -> Result<Vec<Tool>, ApiError> {
    let tools = elements(name, json)?.into_iter();
    Ok(tools
        .map(|tool| Tool::from_raw(RawJson::from_walked(tool)))
        .collect())
}

fn read_text(
    json: &str,
    options: &mut RequestOptions,
    format: &mut Option<OutputFormat>,
) -> Result<(), ApiError> {
    options.verbosity = None;
    options.text_extra.clear();
    if json == "null" {
        return Ok(());
    }
    for (name, json) in Body::within("text", json)?.members() {
        let place = format!("text.{name}");
        match name {
            "verbosity" => options.verbosity = read(&place, json)?,
            "format" => *format = read(&place, json)?,
            _ => {
                let value = read(&place, json)?.unwrap_or_default();
                options.text_extra.insert(name.to_owned(), value);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
