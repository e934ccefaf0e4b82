//! Request bodies of Chat Completions.

mod conversation;
mod extra;
mod message;
mod tools;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use self::{
    conversation::messages,
    tools::{chat_tool, chat_tool_choice},
};
use super::quirks::{ChatQuirks, MaxTokensField};
use crate::{
    protocol::{
        OutputFormat, OutputSchema, Prompt, ReasoningOptions, RequestOptions, error::ApiError,
    },
    wire::body::{invalid, refuse_infinite, required_model, write_object},
};

/// What the Responses API is asked for where Chat has `logprobs`.
const INCLUDE_LOGPROBS: &str = "message.output_text.logprobs";

/// Writes the body of `POST chat/completions`. It always asks for a stream, and for usage unless
/// [`ChatQuirks::no_usage_request`] is set; what the prompt leaves open is not in it.
///
/// Items become messages:
/// - The instructions are the first message, of the system.
/// - Consecutive items of the model become one assistant message as soon as a call is among them: its text, and its calls in
///   their order. Text alone stays a message of its own.
/// - Outputs follow the message that holds their call, wherever they stand in the input, because servers insist on it.
/// - One text is a string, which every server takes. Several are a list of parts, but for those of an answer, which are one
///   text, and those of a tool's output, which are lines of one: there some servers insist on a string. A text with `extra`
///   is always a part.
/// - The fields in `extra` go out where Chat has them: those of a part on the part, those of a call on the call, those of a
///   message or an output on the message, those of reasoning on the message that it led to. Nulls and what only the
///   Responses API means by its items (`caller`, `created_by`, ...) do not; nor does `extra` of what is itself left out. Where
///   several items give one message the same field, lists are joined, and else the last counts.
/// - The sound of an answer goes back by its id and its annotations in Chat's form; see [`ChatQuirks::no_answer_extras`].
/// - The text of reasoning is left out, or replayed: see [`ReasoningReplay`](super::ReasoningReplay). Left out are records of what a server's own
///   tools did (searches of the web and of files, code, images, MCP calls and lists) and ghost snapshots: the answer that
///   followed says what they found.
///
/// Functions, custom tools and `tool_choice` are written in Chat's nested form; other tools as they are, for the server to
/// judge. Not sent, because Chat has no place for them and nothing is lost: `reasoning.summary`, `reasoning.context`,
/// `include` (but for log probabilities, which Chat asks for by `logprobs`), `max_tool_calls` and `truncation`. `extra` may hold any field that is not already written.
///
/// # Errors
/// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when no model is named; when a number is not finite; when `extra` repeats a field; when
/// the prompt needs what Chat does not have: stored responses, conversations and templates, background, and items and parts
/// of a message that have no Chat form; when `extra` of an item or a part holds a field that its Chat form writes itself.
pub fn request_body(prompt: &Prompt, quirks: &ChatQuirks) -> Result<Bytes, ApiError> {
    let options = &prompt.options;
    refuse_what_chat_has_not(options)?;
    let model = required_model(&options.model)?;
    refuse_infinite(options)?;
    let messages = messages(prompt, quirks)?;
    write_object(|fields| {
        fields.put("model", model)?;
        fields.put("stream", &true)?;
        fields.put_some("stream_options", &stream_options(options, quirks))?;
        fields.put("messages", &messages)?;
        if !prompt.tools.is_empty() {
            let tools: Vec<_> = prompt
                .tools
                .iter()
                .map(|tool| chat_tool(tool.raw()))
                .collect();
            fields.put("tools", &tools)?;
            fields.put_some("parallel_tool_calls", &prompt.parallel_tool_calls)?;
        }
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
        let max_tokens = match quirks.max_tokens_field {
            MaxTokensField::MaxCompletionTokens => "max_completion_tokens",
            MaxTokensField::MaxTokens => "max_tokens",
        };
        fields.put_some(max_tokens, &options.max_output_tokens)?;
        fields.put_some("temperature", &options.temperature)?;
        fields.put_some("top_p", &options.top_p)?;
        let includes_logprobs =
            |include: &Vec<String>| include.iter().any(|name| name == INCLUDE_LOGPROBS);
        if options.top_logprobs.is_some() || options.include.as_ref().is_some_and(includes_logprobs)
        {
            fields.put("logprobs", &true)?;
        }
        fields.put_some("top_logprobs", &options.top_logprobs)?;
        fields.put_some("store", &options.store)?;
        fields.put_some("prompt_cache_key", &options.prompt_cache_key)?;
        fields.put_some("prompt_cache_retention", &options.prompt_cache_retention)?;
        fields.put_some("service_tier", &options.service_tier)?;
        fields.put_some("metadata", &options.metadata)?;
        fields.put_some("safety_identifier", &options.safety_identifier)?;
        fields.put_some("user", &options.user)?;
        fields.put_extra(&options.extra, &[])
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
        ("template", options.template.is_some()),
    ];
    if let Some((name, _)) = refused.into_iter().find(|(_, is_set)| *is_set) {
        return Err(invalid(format!(
            "`{name}` has no form in Chat Completions, which keeps nothing: send the whole conversation, written out"
        )));
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
#[serde(tag = "type", rename_all = "snake_case")]
enum ResponseFormat<'a> {
    JsonObject,
    JsonSchema { json_schema: &'a OutputSchema },
}

impl<'a> ResponseFormat<'a> {
    fn new(format: &'a OutputFormat) -> Self {
        match format {
            OutputFormat::JsonObject => Self::JsonObject,
            OutputFormat::JsonSchema(json_schema) => Self::JsonSchema { json_schema },
        }
    }
}

#[cfg(test)]
mod tests;
