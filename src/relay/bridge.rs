//! A request of one dialect for a server of the other, and the answer back.
//!
//! [`Bridge::for_request`] takes what the client asks, writes what the server's dialect has no form for in one that it has, and remembers how:
//! a [`Renderer`] gives the client its own tools back.

mod functions;
mod history;
pub(super) mod refusal;
pub(super) mod sealed;
#[cfg(test)]
mod tests;
mod tools;

use std::sync::Arc;

use serde_json::{Map, Value};

use self::{refusal::invalid, tools::Table};
use crate::{
    ApiError, ErrorKind,
    protocol::{OutputItem, Prompt, ResponseEvent, ResponseItem, Role, ToolCallInput},
    wire::{EncoderOptions, Quirks, StreamEncoder, Wire},
};

/// What a compaction over Chat asks the model for.
const COMPACTION: &str = "Summarize the conversation so far for whoever goes on with it: the task, what was decided and done, \
    what is open, and every name, path and value that is still needed. Answer with the summary alone.";

/// What bridges.
pub(crate) struct Bridge;

/// What a bridge is told besides the body.
#[derive(Clone, Debug, Default)]
pub(crate) struct BridgeOptions {
    /// The id of the answer, where the relay gives one.
    pub(crate) id: String,
    pub(crate) created_at: u64,
    /// The provider's name: what it sealed goes to it alone.
    pub(crate) provider: String,
    /// The route lowers custom and namespace tools to functions on the same wire too (`tools = "functions"`).
    pub(crate) lowers_tools: bool,
    /// Compaction over Chat is switched off.
    pub(crate) refuses_compaction: bool,
}

/// A request that was carried over.
#[derive(Debug)]
pub(crate) struct Bridged {
    pub(crate) prompt: Prompt,
    pub(crate) back: WayBack,
    /// What was left out, for the header `x-relay-dropped`; sorted.
    pub(crate) dropped: Vec<String>,
}

impl Bridge {
    /// Carries a request over: `prompt` is what it says, `request` its body as the client wrote it, which a response object repeats.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] for what can't be carried over: it is a 400.
    pub(crate) fn for_request(
        client: Wire,
        mut prompt: Prompt,
        request: Map<String, Value>,
        server: Wire,
        quirks: &Quirks,
        options: BridgeOptions,
    ) -> Result<Bridged, ApiError> {
        let include_usage = request
            .get("stream_options")
            .is_some_and(|options| options["include_usage"] == true);
        let model = prompt.options.model.clone().unwrap_or_default();
        let (mut table, mut dropped) = (Table::default(), Vec::new());
        let (mut is_compaction, mut has_functions) = (false, false);
        if server == Wire::Chat && client == Wire::Responses {
            if prompt.options.background == Some(true) {
                return Err(invalid(
                    "this model's server speaks Chat Completions, which has no answers in the background",
                    Some("background"),
                ));
            }
            is_compaction = take_compaction(&mut prompt, &options)?;
            sealed::unpack(&mut prompt.input, &options.provider, &mut dropped);
            table = Table::lower(&mut prompt, true, &mut dropped)?;
            table.lower_history(&mut prompt.input);
            history::arrange(&mut prompt, &mut dropped);
            leave_out(&mut prompt, &mut dropped);
        } else if server == Wire::Responses && client == Wire::Responses && options.lowers_tools {
            table = Table::lower(&mut prompt, false, &mut dropped)?;
            table.lower_history(&mut prompt.input);
        } else if server == Wire::Responses && client == Wire::Chat {
            has_functions = functions::lift(&mut prompt)?;
            for_responses(&mut prompt, &mut dropped);
        }
        // Whether it can be written is known now, when it is a 400 yet.
        server
            .request_body(&prompt, quirks)
            .map_err(|error| invalid(error.message(), error.details().param.as_deref()))?;
        dropped.sort();
        dropped.dedup();
        let seals = server == Wire::Chat && client == Wire::Responses;
        Ok(Bridged {
            prompt,
            back: WayBack {
                client,
                encoder: EncoderOptions::default()
                    .with_id(options.id)
                    .with_model(model)
                    .with_created_at(options.created_at)
                    .with_request(request)
                    .with_include_usage(include_usage)
                    .with_function_call(has_functions),
                table: table.into(),
                provider: seals.then_some(options.provider),
                is_compaction,
            },
            dropped,
        })
    }
}

/// How an answer comes back.
#[derive(Clone, Debug)]
pub(crate) struct WayBack {
    client: Wire,
    encoder: EncoderOptions,
    table: Arc<Table>,
    /// Who seals reasoning, where the client has to bring it back.
    provider: Option<String>,
    is_compaction: bool,
}

impl WayBack {
    /// What writes an answer: a new one for each attempt.
    pub(crate) fn renderer(&self) -> Renderer {
        Renderer {
            encoder: StreamEncoder::new(self.client, self.encoder.clone()),
            table: self.table.clone(),
            provider: self.provider.clone(),
            calls: Vec::new(),
            compaction: self.is_compaction.then(String::new),
        }
    }
}

/// Makes a summary request of one that wishes for a compaction; what was compacted before is a text again.
fn take_compaction(prompt: &mut Prompt, options: &BridgeOptions) -> Result<bool, ApiError> {
    let is_trigger = |item: &ResponseItem| matches!(item, ResponseItem::CompactionTrigger(_));
    let is_wanted = prompt.input.iter().any(is_trigger);
    prompt.input.retain(|item| !is_trigger(item));
    for item in &mut prompt.input {
        if let ResponseItem::Compaction(compaction) | ResponseItem::ContextCompaction(compaction) =
            item
        {
            let sealed = compaction.encrypted_content.as_deref().unwrap_or_default();
            let summary = sealed::open_summary(sealed).ok_or_else(|| {
                invalid(
                    "a `compaction` item of another server can't be read over Chat Completions",
                    Some("input"),
                )
            })?;
            *item = sealed::told(summary);
        }
    }
    if is_wanted {
        if options.refuses_compaction {
            return Err(invalid(
                "compaction is switched off for this model's server, which speaks Chat Completions",
                Some("input"),
            ));
        }
        prompt.input.push(ResponseItem::user_text(COMPACTION));
        prompt.tools.clear();
        prompt.output_format = None;
        prompt.options.tool_choice = None;
    }
    Ok(is_wanted)
}

/// What Chat has no form for, and nothing is lost by.
fn leave_out(prompt: &mut Prompt, dropped: &mut Vec<String>) {
    let options = &mut prompt.options;
    let mut leave = |is_there: bool, name: &str| {
        if is_there {
            dropped.push(name.to_owned());
        }
    };
    leave(!options.text_extra.is_empty(), "text");
    options.text_extra.clear();
    leave(options.max_tool_calls.take().is_some(), "max_tool_calls");
    leave(
        options.truncation.take().is_some_and(|it| it != "disabled"),
        "truncation",
    );
    if let Some(reasoning) = &mut options.reasoning {
        leave(!reasoning.extra.is_empty(), "reasoning");
        reasoning.extra.clear();
    }
    // The client's own, which Chat servers refuse.
    for name in [
        "client_metadata",
        "prompt_cache_options",
        "context_management",
        "moderation",
    ] {
        leave(options.extra.remove(name).is_some(), name);
    }
    // Nothing is stored there that anybody could ask for.
    options.store = None;
    options.stream_options = None;
    if prompt.tools.is_empty() {
        options.tool_choice = None;
    }
}

/// What the Responses API has under another name, or not at all.
fn for_responses(prompt: &mut Prompt, dropped: &mut Vec<String>) {
    let extra = &mut prompt.options.extra;
    for name in [
        "audio",
        "frequency_penalty",
        "logit_bias",
        "modalities",
        "n",
        "prediction",
        "presence_penalty",
        "seed",
        "stop",
        "web_search_options",
    ] {
        if extra
            .remove(name)
            // One answer is what there is without `n` too.
            .is_some_and(|value| !(value.is_null() || name == "n" && value == 1))
        {
            dropped.push(name.to_owned());
        }
    }
    for item in &mut prompt.input {
        // A picture that the model made stands in its answer there, and is an item of the server's own here.
        if let ResponseItem::Message(message) = item
            && message.role == Role::Assistant
            && message.extra.remove("images").is_some()
        {
            dropped.push("images".to_owned());
        }
    }
    // A client of Chat sends its conversation whole each time.
    prompt.options.store.get_or_insert(false);
}

/// Writes the server's events for the client.
#[derive(Debug)]
pub(crate) struct Renderer {
    encoder: StreamEncoder,
    table: Arc<Table>,
    /// Who seals reasoning, where the client has to bring it back.
    provider: Option<String>,
    /// The calls whose tool is lowered, by their place: whether their input is held until it is whole.
    calls: Vec<(Option<u32>, Option<String>)>,
    /// The summary so far, where that is what was asked for.
    compaction: Option<String>,
}

impl Renderer {
    /// Adds the blocks of an event.
    pub(crate) fn push(&mut self, event: &ResponseEvent, out: &mut Vec<u8>) {
        if self.compaction.is_some() {
            return self.push_summary(event, out);
        }
        match event {
            ResponseEvent::OutputItemAdded(item) => {
                if self.table.holds_input(item.item()) {
                    let id = item.item().id().map(str::to_owned);
                    self.calls.push((item.output_index(), id));
                }
                let restored = self.restored(item);
                self.encoder
                    .push(&ResponseEvent::OutputItemAdded(restored), out);
            }
            ResponseEvent::OutputItemDone(item) => {
                let restored = self.restored(item);
                self.encoder
                    .push(&ResponseEvent::OutputItemDone(restored), out);
            }
            // The free text is in JSON, and is told when that is whole.
            ResponseEvent::ToolCallInputDelta(input)
                if input.input == ToolCallInput::FunctionArguments
                    && self
                        .calls
                        .iter()
                        .any(|(index, id)| match input.output_index {
                            Some(_) => *index == input.output_index,
                            None => id.is_some() && id.as_deref() == input.item_id.as_deref(),
                        }) => {}
            other => self.encoder.push(other, out),
        }
    }

    fn restored(&self, item: &OutputItem) -> OutputItem {
        let mut typed = self.table.restored(item.item());
        if let Some(provider) = &self.provider {
            typed = sealed::pack(typed.as_ref().unwrap_or(item.item()), provider).or(typed);
        }
        match typed.and_then(|typed| serde_json::to_value(typed).ok()) {
            Some(value) => OutputItem::new(item.output_index(), value.into()),
            None => item.clone(),
        }
    }

    /// The summary is one `compaction` item, and nothing else is.
    fn push_summary(&mut self, event: &ResponseEvent, out: &mut Vec<u8>) {
        let summary = self.compaction.get_or_insert_default();
        match event {
            ResponseEvent::OutputTextDelta(text) => summary.push_str(&text.delta),
            ResponseEvent::Completed(_) if summary.is_empty() => {
                let message = "the model wrote no summary";
                self.encoder
                    .fail(&ApiError::new(ErrorKind::ServerError, message), out);
            }
            ResponseEvent::Completed(_) => {
                let item = sealed::seal_summary(summary);
                let item = OutputItem::new(Some(0), item.into());
                self.encoder
                    .push(&ResponseEvent::OutputItemAdded(item.clone()), out);
                self.encoder.push(&ResponseEvent::OutputItemDone(item), out);
                self.encoder.push(event, out);
            }
            // A summary that was cut would lose what it stands for.
            ResponseEvent::Incomplete(end) => {
                let message = format!(
                    "the summary of the conversation is incomplete ({})",
                    end.reason
                );
                let error = ApiError::new(ErrorKind::ServerError, message);
                self.encoder
                    .push(&ResponseEvent::Failed(Arc::new(error)), out);
            }
            ResponseEvent::Created(_)
            | ResponseEvent::Failed(_)
            | ResponseEvent::Cancelled
            | ResponseEvent::Restarted(_) => {
                self.encoder.push(event, out);
            }
            _ => {}
        }
    }
}
