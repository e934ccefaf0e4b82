//! Request bodies of Chat Completions.

mod conversation;
mod extra;
mod message;
mod tools;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

pub(super) use self::extra::chat_annotation;
use self::{
    conversation::messages,
    tools::{chat_tool, chat_tool_choice},
};
use crate::{
    protocol::{
        OutputFormat, OutputSchema, Prompt, RawJson, ReasoningOptions, RequestOptions,
        error::ApiError,
    },
    wire::{
        body::{invalid, refuse_infinite, required_model, room_for, write_object},
        quirks::Quirks,
    },
};

/// What the Responses API is asked for where Chat has `logprobs`.
pub(super) const INCLUDE_LOGPROBS: &str = "message.output_text.logprobs";

/// The body of `POST chat/completions`; see [`Wire::request_body`](crate::wire::Wire::request_body).
pub(crate) fn body_of(
    prompt: &Prompt,
    quirks: &Quirks,
    is_stream: bool,
) -> Result<Bytes, ApiError> {
    let options = &prompt.options;
    refuse_what_chat_has_not(options)?;
    let model = required_model(&options.model)?;
    refuse_infinite(options)?;
    let messages = messages(prompt, quirks)?;
    let room = room_for(&prompt.input, &prompt.tools, &prompt.instructions);
    write_object(room, &options.extra, |fields| {
        fields.put("model", model)?;
        fields.put_some("stream", &is_stream.then_some(true))?;
        let stream_options = stream_options(options, quirks).filter(|_| is_stream);
        fields.put_some("stream_options", &stream_options)?;
        fields.put("messages", &messages)?;
        let has_tools = !prompt.tools.is_empty();
        let tools = prompt.tools.iter().map(|tool| chat_tool(tool.raw()));
        fields.put_some("tools", &has_tools.then(|| tools.collect::<Vec<_>>()))?;
        let parallel_tool_calls = prompt.parallel_tool_calls.filter(|_| has_tools);
        fields.put_some("parallel_tool_calls", &parallel_tool_calls)?;
        let tool_choice = options.tool_choice.as_ref().map(chat_tool_choice);
        fields.put_some("tool_choice", &tool_choice)?;
        let response_format = prompt.output_format.as_ref().map(ResponseFormat::new);
        fields.put_some("response_format", &response_format)?;
        let effort = options
            .reasoning
            .as_ref()
            .and_then(|reasoning| reasoning.effort.as_ref());
        fields.put_some("reasoning_effort", &effort)?;
        fields.put_some("verbosity", &options.verbosity)?;
        let limit = |is_name: bool| options.max_output_tokens.filter(|_| is_name);
        fields.put_some("max_tokens", &limit(quirks.has_max_tokens))?;
        fields.put_some("max_completion_tokens", &limit(!quirks.has_max_tokens))?;
        fields.put_some("temperature", &options.temperature)?;
        fields.put_some("top_p", &options.top_p)?;
        let includes_logprobs =
            |include: &Vec<String>| include.iter().any(|name| name == INCLUDE_LOGPROBS);
        let has_logprobs = options.top_logprobs.is_some()
            || options.include.as_ref().is_some_and(includes_logprobs);
        fields.put_some("logprobs", &has_logprobs.then_some(true))?;
        fields.put_some("top_logprobs", &options.top_logprobs)?;
        fields.put_some("store", &options.store)?;
        fields.put_some("prompt_cache_key", &options.prompt_cache_key)?;
        fields.put_some("prompt_cache_retention", &options.prompt_cache_retention)?;
        fields.put_some("service_tier", &options.service_tier)?;
        fields.put_some("metadata", &options.metadata)?;
        fields.put_some("safety_identifier", &options.safety_identifier)?;
        fields.put_some("user", &options.user)
    })
}

fn refuse_what_chat_has_not(options: &RequestOptions) -> Result<(), ApiError> {
    let refused = [
        (
            "previous_response_id",
            options.previous_response_id.is_some(),
        ),
        ("conversation", options.conversation.is_some()),
        ("background", options.background == Some(true)),
        ("prompt", options.template.is_some()),
        ("text", !options.text_extra.is_empty()),
    ];
    if let Some((name, _)) = refused.into_iter().find(|(_, is_set)| *is_set) {
        let error = invalid(format!(
            "`{name}` has no form in Chat Completions, which keeps nothing: send the whole conversation, written out"
        ));
        return Err(error.with_details(|details| details.param = Some(name.to_owned())));
    }
    let ReasoningOptions { extra, .. } = &options.reasoning.clone().unwrap_or_default();
    if let Some(name) = extra.keys().next() {
        return Err(invalid(format!(
            "`reasoning.{name}` has no form in Chat Completions: put what the server knows into `extra`"
        )));
    }
    Ok(())
}

/// The caller's options, with a request for usage among them.
fn stream_options(options: &RequestOptions, quirks: &Quirks) -> Option<Value> {
    let given = options.stream_options.clone();
    if quirks.no_usage_request {
        return given;
    }
    let mut stream_options = given.unwrap_or_else(|| json!({}));
    if let Some(fields) = stream_options.as_object_mut() {
        fields.entry("include_usage").or_insert(json!(true));
    }
    Some(stream_options)
}

/// `response_format`: the shape of the answer.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ResponseFormat<'a> {
    JsonObject,
    JsonSchema {
        json_schema: &'a OutputSchema,
    },
    #[serde(untagged)]
    Other(&'a RawJson),
}

impl<'a> ResponseFormat<'a> {
    fn new(format: &'a OutputFormat) -> Self {
        match format {
            OutputFormat::JsonObject => Self::JsonObject,
            OutputFormat::JsonSchema(json_schema) => Self::JsonSchema { json_schema },
            OutputFormat::Other(raw) => Self::Other(raw),
        }
    }
}

#[cfg(test)]
mod tests;
