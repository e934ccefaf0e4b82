//! Request bodies of the Responses API.

mod input;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use self::input::Input;
use crate::{
    protocol::{CompactionInput, OutputFormat, Prompt, Tool, error::ApiError},
    wire::{
        body::{named_model, refuse_infinite, required_model, room_for, write_object},
        quirks::Quirks,
    },
};

/// What the server is asked for so that reasoning can go on without anything stored.
const ENCRYPTED_REASONING: &str = "reasoning.encrypted_content";

/// The body of `POST responses`; see [`Wire::request_body`](crate::wire::Wire::request_body).
pub(crate) fn body_of(
    prompt: &Prompt,
    quirks: &Quirks,
    is_stream: bool,
) -> Result<Bytes, ApiError> {
    let options = &prompt.options;
    let has_template = options.template.is_some();
    let model = match has_template {
        true => named_model(&options.model),
        false => Some(required_model(&options.model)?),
    };
    let store = options.store.or(quirks.default_store);
    let encrypted_reasoning = || {
        (options.reasoning.is_some() && store == Some(false))
            .then(|| vec![ENCRYPTED_REASONING.to_owned()])
    };
    let is_sent = !prompt.tools.is_empty() || has_template;
    write_prompt(
        prompt,
        &Written {
            model,
            is_stream,
            instructions: text(&prompt.instructions),
            with_ids: quirks.item_ids.are_sent(store),
            parallel_tool_calls: prompt.parallel_tool_calls.filter(|_| is_sent),
            store,
            include: options.include.clone().or_else(encrypted_reasoning),
            stream_options: stream_options(options).filter(|_| is_stream),
        },
    )
}

/// A prompt as data: what it says and no more.
pub(super) fn prompt_as_data(prompt: &Prompt) -> Result<Bytes, ApiError> {
    let options = &prompt.options;
    write_prompt(
        prompt,
        &Written {
            model: options.model.as_deref(),
            is_stream: false,
            instructions: prompt.instructions.as_deref(),
            with_ids: true,
            parallel_tool_calls: prompt.parallel_tool_calls,
            store: options.store,
            include: options.include.clone(),
            stream_options: options.stream_options.clone(),
        },
    )
}

/// The fields of a body that are not always as the prompt has them.
struct Written<'a> {
    model: Option<&'a str>,
    is_stream: bool,
    instructions: Option<&'a str>,
    with_ids: bool,
    parallel_tool_calls: Option<bool>,
    store: Option<bool>,
    include: Option<Vec<String>>,
    stream_options: Option<Value>,
}

/// The caller's, but for what asks for usage: only Chat has to be asked, and this API refuses the word.
fn stream_options(options: &crate::protocol::RequestOptions) -> Option<Value> {
    let mut given = options.stream_options.clone()?;
    if let Some(fields) = given.as_object_mut()
        && fields.remove("include_usage").is_some()
        && fields.is_empty()
    {
        return None;
    }
    Some(given)
}

fn write_prompt(prompt: &Prompt, written: &Written<'_>) -> Result<Bytes, ApiError> {
    let options = &prompt.options;
    refuse_infinite(options)?;
    let room = room_for(&prompt.input, &prompt.tools, &prompt.instructions);
    write_object(room, &options.extra, |fields| {
        fields.put_some("model", &written.model)?;
        fields.put_some("stream", &written.is_stream.then_some(true))?;
        fields.put_some("prompt", &options.template)?;
        fields.put_some("instructions", &written.instructions)?;
        fields.put(
            "input",
            &Input {
                items: &prompt.input,
                with_ids: written.with_ids,
            },
        )?;
        fields.put_some("tools", &some(&prompt.tools))?;
        fields.put_some("tool_choice", &options.tool_choice)?;
        fields.put_some("parallel_tool_calls", &written.parallel_tool_calls)?;
        fields.put_some("reasoning", &options.reasoning)?;
        let extra = &options.text_extra;
        fields.put_some(
            "text",
            &TextOptions::new(&options.verbosity, &prompt.output_format, Some(extra)),
        )?;
        fields.put_some("store", &written.store)?;
        fields.put_some("include", &written.include)?;
        fields.put_some("previous_response_id", &options.previous_response_id)?;
        fields.put_some("conversation", &options.conversation)?;
        fields.put_some("prompt_cache_key", &options.prompt_cache_key)?;
        fields.put_some("prompt_cache_retention", &options.prompt_cache_retention)?;
        fields.put_some("service_tier", &options.service_tier)?;
        fields.put_some("max_output_tokens", &options.max_output_tokens)?;
        fields.put_some("max_tool_calls", &options.max_tool_calls)?;
        fields.put_some("temperature", &options.temperature)?;
        fields.put_some("top_p", &options.top_p)?;
        fields.put_some("top_logprobs", &options.top_logprobs)?;
        fields.put_some("background", &options.background)?;
        fields.put_some("truncation", &options.truncation)?;
        fields.put_some("stream_options", &written.stream_options)?;
        fields.put_some("metadata", &options.metadata)?;
        fields.put_some("safety_identifier", &options.safety_identifier)?;
        fields.put_some("user", &options.user)
    })
}

/// The body of `POST responses/compact`; see [`Wire::compaction_body`](crate::wire::Wire::compaction_body).
pub(crate) fn compaction_body(input: &CompactionInput, quirks: &Quirks) -> Result<Bytes, ApiError> {
    let model = required_model(&input.model)?;
    let store = input.store.or(quirks.default_store);
    let room = room_for(&input.input, &input.tools, &input.instructions);
    write_object(room, &input.extra, |fields| {
        fields.put("model", model)?;
        fields.put_some("instructions", &text(&input.instructions))?;
        fields.put(
            "input",
            &Input {
                items: &input.input,
                with_ids: quirks.item_ids.are_sent(store),
            },
        )?;
        let tools = some(&input.tools);
        fields.put_some("tools", &tools)?;
        let parallel_tool_calls = input.parallel_tool_calls.filter(|_| tools.is_some());
        fields.put_some("parallel_tool_calls", &parallel_tool_calls)?;
        fields.put_some("reasoning", &input.reasoning)?;
        fields.put_some(
            "text",
            &TextOptions::new(&input.verbosity, &input.output_format, None),
        )?;
        fields.put_some("previous_response_id", &input.previous_response_id)?;
        fields.put_some("prompt_cache_key", &input.prompt_cache_key)?;
        fields.put_some("prompt_cache_retention", &input.prompt_cache_retention)?;
        fields.put_some("service_tier", &input.service_tier)
    })
}

fn some(tools: &[Tool]) -> Option<&[Tool]> {
    Some(tools).filter(|tools| !tools.is_empty())
}

fn text(instructions: &Option<String>) -> Option<&str> {
    instructions.as_deref().filter(|text| !text.is_empty())
}

/// `text`: how to write the answer.
#[derive(Serialize)]
struct TextOptions<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    verbosity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'a OutputFormat>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    extra: Option<&'a Map<String, Value>>,
}

impl<'a> TextOptions<'a> {
    fn new(
        verbosity: &'a Option<String>,
        format: &'a Option<OutputFormat>,
        extra: Option<&'a Map<String, Value>>,
    ) -> Option<Self> {
        let extra = extra.filter(|extra| !extra.is_empty());
        (verbosity.is_some() || format.is_some() || extra.is_some()).then_some(Self {
            verbosity: verbosity.as_deref(),
            format: format.as_ref(),
            extra,
        })
    }
}

#[cfg(test)]
mod tests;
