//! Request bodies of Chat Completions.

mod conversation;
mod message;
mod tools;

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{
    Map, Value, json,
    value::{RawValue, to_raw_value},
};

use self::{
    conversation::messages,
    tools::{chat_tool, chat_tool_choice},
};
use crate::{
    error::{ApiError, ErrorKind, Phase},
    protocol::{OutputSchema, Prompt, RawJson, ReasoningOptions, RequestOptions},
};

/// What the Responses API is asked for where Chat has `logprobs`.
const INCLUDE_LOGPROBS: &str = "message.output_text.logprobs";

/// What a server wants differently in a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChatQuirks {
    /// Whether the model's reasoning goes back to it.
    pub reasoning_replay: ReasoningReplay,
    /// What the limit of an answer is called.
    pub max_tokens_field: MaxTokensField,
    /// What becomes of `developer` messages.
    pub developer_role: DeveloperRole,
    /// Whether to leave out `stream_options`, for servers that refuse it. They then report usage as they see fit.
    pub no_usage_request: bool,
}

/// Whether the model's reasoning goes back to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReasoningReplay {
    /// It does not.
    #[default]
    None,
    /// It does, in this field of the assistant's message, such as `reasoning_content`. Only what came after the last message
    /// of the user: servers that want it want it while tools are being called, and some refuse older reasoning.
    Field(Cow<'static, str>),
}

/// What the limit of an answer's length is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MaxTokensField {
    /// `max_completion_tokens`, the name of today.
    #[default]
    MaxCompletionTokens,
    /// `max_tokens`, the name before, which many servers know alone.
    MaxTokens,
}

/// What becomes of messages whose role is `developer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeveloperRole {
    /// They are sent as `system`, which every server knows and OpenAI takes for the same.
    #[default]
    AsSystem,
    /// They are sent as they are.
    Kept,
}

/// Writes the body of `POST chat/completions`. It always asks for a stream, and for usage unless
/// [`ChatQuirks::no_usage_request`] is set; what the prompt leaves open is not in it.
///
/// Items become messages:
/// - The instructions are the first message, of the system.
/// - Consecutive items of the model become one assistant message as soon as a call is among them: its text, and its calls in
///   their order. Text alone stays a message of its own.
/// - Outputs follow the message that holds their call, wherever they stand in the input, because servers insist on it.
/// - Reasoning is left out, or replayed: see [`ReasoningReplay`]. So are records of what a server's own tools did (searches of
///   the web and of files, code, images, MCP calls and lists) and ghost snapshots: the answer that followed says what they
///   found.
///
/// Functions, custom tools and `tool_choice` are written in Chat's nested form; other tools as they are, for the server to
/// judge. Not sent, because Chat has no place for them and nothing is lost: `reasoning.summary`, `reasoning.context`,
/// `include` (but for log probabilities, which Chat asks for by `logprobs`), `max_tool_calls` and `truncation`. `extra` may hold any field that is not already written.
///
/// # Errors
/// [`ErrorKind::InvalidConfiguration`] when no model is named; when a number is not finite; when `extra` repeats a field; when
/// the prompt needs what Chat does not have: stored responses and conversations, background, and items and parts of a
/// message that have no Chat form.
pub fn request_body(prompt: &Prompt, quirks: &ChatQuirks) -> Result<Bytes, ApiError> {
    let options = &prompt.options;
    let model = options.model.as_deref().unwrap_or_default();
    if model.trim().is_empty() {
        return Err(invalid("no model is named"));
    }
    refuse_what_chat_has_not(options)?;
    let mut body = Body::default();
    body.put("model", model)?;
    body.put("stream", &true)?;
    body.put_some("stream_options", &stream_options(options, quirks))?;
    body.put("messages", &messages(prompt, quirks)?)?;
    if !prompt.tools.is_empty() {
        let tools: Vec<_> = prompt
            .tools
            .iter()
            .map(|tool| chat_tool(tool.raw()))
            .collect();
        body.put("tools", &tools)?;
        let tool_choice = options.tool_choice.as_ref().map(chat_tool_choice);
        body.put_some("tool_choice", &tool_choice)?;
        body.put_some("parallel_tool_calls", &prompt.parallel_tool_calls)?;
    }
    let response_format = prompt.output_schema.as_ref().map(ResponseFormat::new);
    body.put_some("response_format", &response_format)?;
    let effort = options
        .reasoning
        .as_ref()
        .and_then(|reasoning| reasoning.effort.as_ref());
    body.put_some("reasoning_effort", &effort)?;
    body.put_some("verbosity", &options.verbosity)?;
    let max_tokens = match quirks.max_tokens_field {
        MaxTokensField::MaxCompletionTokens => "max_completion_tokens",
        MaxTokensField::MaxTokens => "max_tokens",
    };
    body.put_some(max_tokens, &options.max_output_tokens)?;
    body.put_some("temperature", &options.temperature)?;
    body.put_some("top_p", &options.top_p)?;
    let includes_logprobs =
        |include: &Vec<String>| include.iter().any(|name| name == INCLUDE_LOGPROBS);
    if options.top_logprobs.is_some() || options.include.as_ref().is_some_and(includes_logprobs) {
        body.put("logprobs", &true)?;
    }
    body.put_some("top_logprobs", &options.top_logprobs)?;
    body.put_some("store", &options.store)?;
    body.put_some("prompt_cache_key", &options.prompt_cache_key)?;
    body.put_some("prompt_cache_retention", &options.prompt_cache_retention)?;
    body.put_some("service_tier", &options.service_tier)?;
    body.put_some("metadata", &options.metadata)?;
    body.put_some("safety_identifier", &options.safety_identifier)?;
    body.put_some("user", &options.user)?;
    body.finish(&options.extra)
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::InvalidConfiguration, message).with_phase(Phase::Prepare)
}

fn refuse_what_chat_has_not(options: &RequestOptions) -> Result<(), ApiError> {
    let refused = [
        (
            "previous_response_id",
            options.previous_response_id.is_some(),
        ),
        ("conversation", options.conversation.is_some()),
        ("background", options.background == Some(true)),
    ];
    if let Some((name, _)) = refused.into_iter().find(|(_, is_set)| *is_set) {
        return Err(invalid(format!(
            "`{name}` has no form in Chat Completions, which keeps nothing: send the whole conversation"
        )));
    }
    let ReasoningOptions { extra, .. } = &options.reasoning.clone().unwrap_or_default();
    if let Some(name) = extra.keys().next() {
        return Err(invalid(format!(
            "`reasoning.{name}` has no form in Chat Completions: put what the server knows into `extra`"
        )));
    }
    for (name, number) in [
        ("temperature", options.temperature),
        ("top_p", options.top_p),
    ] {
        if number.is_some_and(|number| !number.is_finite()) {
            return Err(invalid(format!("`{name}` is not a finite number")));
        }
    }
    Ok(())
}

/// The caller's options, with a request for usage among them.
fn stream_options(options: &RequestOptions, quirks: &ChatQuirks) -> Option<Value> {
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
struct ResponseFormat<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    json_schema: JsonSchema<'a>,
}

#[derive(Serialize)]
struct JsonSchema<'a> {
    name: &'a str,
    schema: &'a RawJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

impl<'a> ResponseFormat<'a> {
    fn new(schema: &'a OutputSchema) -> Self {
        Self {
            kind: "json_schema",
            json_schema: JsonSchema {
                name: &schema.name,
                schema: &schema.schema,
                strict: schema.strict,
            },
        }
    }
}

/// A JSON object, field by field in the order of the calls.
#[derive(Default)]
struct Body {
    fields: Vec<(&'static str, Box<RawValue>)>,
}

impl Body {
    fn put<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), ApiError> {
        let value = to_raw_value(value).map_err(unwritable)?;
        self.fields.push((name, value));
        Ok(())
    }

    fn put_some<T: Serialize>(
        &mut self,
        name: &'static str,
        value: &Option<T>,
    ) -> Result<(), ApiError> {
        value.as_ref().map_or(Ok(()), |value| self.put(name, value))
    }

    fn finish(self, extra: &Map<String, Value>) -> Result<Bytes, ApiError> {
        let is_written = |name: &str| self.fields.iter().any(|(written, _)| *written == name);
        if let Some(name) = extra.keys().find(|name| is_written(name)) {
            return Err(invalid(format!(
                "`extra` holds `{name}`, which the prompt sets already"
            )));
        }
        let mut body = Vec::new();
        for (name, value) in &self.fields {
            write_field(&mut body, name, value)?;
        }
        for (name, value) in extra {
            write_field(&mut body, name, value)?;
        }
        body.push(b'}');
        Ok(body.into())
    }
}

fn write_field(
    body: &mut Vec<u8>,
    name: &str,
    value: &(impl Serialize + ?Sized),
) -> Result<(), ApiError> {
    body.push(if body.is_empty() { b'{' } else { b',' });
    serde_json::to_writer(&mut *body, name).map_err(unwritable)?;
    body.push(b':');
    serde_json::to_writer(body, value).map_err(unwritable)
}

fn unwritable(error: serde_json::Error) -> ApiError {
    invalid("the request can't be written as JSON").with_source(error)
}

#[cfg(test)]
mod tests;
