//! Recordings read with `serde_json::Value` and as little else as will do.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What a stream amounts to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Summary {
    pub(crate) text: String,
    pub(crate) refusal: String,
    pub(crate) reasoning_summary: String,
    pub(crate) reasoning_content: String,
    pub(crate) items_added: Vec<Value>,
    pub(crate) items_done: Vec<Value>,
    /// The input of each call, by its item.
    pub(crate) tool_input: BTreeMap<String, String>,
    /// The JSON of the events without a form of their own.
    pub(crate) others: Vec<String>,
    pub(crate) end: String,
    pub(crate) response_id: Option<String>,
    /// Input, of it cached, output, of it reasoning, total.
    pub(crate) usage: Option<[u64; 5]>,
    /// Where the sequence number jumped forward, and where it did not rise.
    pub(crate) gaps_and_repeats: [u64; 2],
}

/// One event: its name and its data.
pub(crate) type Payload = (Option<String>, String);

/// Frames a stream by its blank lines.
pub(crate) fn payloads(stream: &str) -> Vec<Payload> {
    let stream = stream.replace("\r\n", "\n");
    let field = |line: &str, name: &str| {
        let value = line.strip_prefix(name)?.strip_prefix(':')?;
        Some(value.strip_prefix(' ').unwrap_or(value).to_owned())
    };
    let payload = |block: &str| {
        let event = block.lines().find_map(|line| field(line, "event"));
        let data: Vec<_> = block
            .lines()
            .filter_map(|line| field(line, "data"))
            .collect();
        (!data.is_empty()).then(|| (event, data.join("\n")))
    };
    stream.split("\n\n").filter_map(payload).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn usage(usage: &Value, [input, output]: [&str; 2]) -> Option<[u64; 5]> {
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    let detail = |of: &str, name: &str| count(&usage[format!("{of}_details")][name]);
    usage.is_object().then(|| {
        let (input_count, total) = (count(&usage[input]), count(&usage["total_tokens"]));
        let mut output_count = count(&usage[output]);
        let reasoning = detail(output, "reasoning_tokens");
        // xAI counts reasoning beside the output.
        if input_count + output_count + reasoning == total {
            output_count += reasoning;
        }
        [
            input_count,
            detail(input, "cached_tokens"),
            output_count,
            reasoning,
            total,
        ]
    })
}

pub(crate) fn read_responses(payloads: &[Payload]) -> Summary {
    let mut summary = Summary {
        end: "truncated".to_owned(),
        ..Summary::default()
    };
    let mut sequence_number = None;
    for (name, data) in payloads.iter().filter(|(_, data)| data != "[DONE]") {
        let event: Value = serde_json::from_str(data).unwrap();
        let kind = event["type"].as_str().or(name.as_deref()).unwrap();
        if let Some(number) = event["sequence_number"].as_u64() {
            let last = sequence_number.replace(number);
            let [gaps, repeats] = &mut summary.gaps_and_repeats;
            *gaps += u64::from(last.is_some_and(|last| number > last + 1));
            *repeats += u64::from(last.is_some_and(|last| number <= last));
        }
        let delta = text(&event["delta"]);
        match kind {
            "response.created" => summary.response_id = Some(text(&event["response"]["id"])),
            "response.output_text.delta" => summary.text += &delta,
            "response.refusal.delta" => summary.refusal += &delta,
            "response.reasoning_summary_text.delta" => summary.reasoning_summary += &delta,
            "response.reasoning_text.delta" => summary.reasoning_content += &delta,
            "response.reasoning_summary_part.added" => {}
            "response.output_item.added" => summary.items_added.push(event["item"].clone()),
            "response.output_item.done" => summary.items_done.push(event["item"].clone()),
            "response.function_call_arguments.delta"
            | "response.custom_tool_call_input.delta"
            | "response.mcp_call_arguments.delta" => {
                let item = text(&event["item_id"]);
                *summary.tool_input.entry(item).or_default() += &delta;
            }
            // LM Studio streams no arguments: all of them come at once, and are a delta all the same.
            "response.function_call_arguments.done" => {
                let item = text(&event["item_id"]);
                let whole = || text(&event["arguments"]);
                summary.tool_input.entry(item).or_insert_with(whole);
                summary.others.push(data.clone());
            }
            "response.completed" | "response.incomplete" | "response.failed" | "error" => {
                let response = &event["response"];
                if let Some(id) = response["id"].as_str() {
                    summary.response_id = Some(id.to_owned());
                }
                summary.usage = usage(&response["usage"], ["input_tokens", "output_tokens"]);
                let reason = &response["incomplete_details"]["reason"];
                let message = [&response["error"], &event["error"], &event]
                    .map(|error| text(&error["message"]))
                    .into_iter()
                    .find(|message| !message.is_empty());
                summary.end = match kind {
                    "response.completed" => "completed".to_owned(),
                    "response.incomplete" => format!("incomplete: {}", text(reason)),
                    _ => format!("failed: {}", message.unwrap_or_default()),
                };
                return summary;
            }
            _ => summary.others.push(data.clone()),
        }
    }
    summary
}

/// A choice of a Chat stream: its reasoning, its text, its refusal, and of each call the id, the name and the arguments.
#[derive(Default)]
struct PlainChoice {
    reasoning: String,
    text: String,
    refusal: String,
    calls: Vec<[String; 3]>,
    finish_reason: Option<String>,
}

impl PlainChoice {
    fn grow(&mut self, delta: &Value) {
        self.text += &text(&delta["content"]);
        self.refusal += &text(&delta["refusal"]);
        let reasoning = [&delta["reasoning_content"], &delta["reasoning"]].map(text);
        self.reasoning += reasoning
            .iter()
            .find(|text| !text.is_empty())
            .map_or("", |text| text);
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap() as usize;
            let calls = self.calls.len().max(index + 1);
            self.calls.resize(calls, Default::default());
            let function = &call["function"];
            let pieces = [&call["id"], &function["name"], &function["arguments"]];
            for (whole, piece) in self.calls[index].iter_mut().zip(pieces) {
                *whole += &text(piece);
            }
        }
    }

    /// The items that it amounts to, without their ids.
    fn items(&self) -> Vec<Value> {
        let status = match self.finish_reason.as_deref() {
            Some("length" | "content_filter") => "incomplete",
            _ => "completed",
        };
        let mut items = Vec::new();
        if !self.reasoning.is_empty() {
            let content = json!([{"type": "reasoning_text", "text": self.reasoning}]);
            items.push(json!({"type": "reasoning", "summary": [], "content": content}));
        }
        let mut content = Vec::new();
        if !self.text.is_empty() {
            content.push(json!({"type": "output_text", "text": self.text, "annotations": []}));
        }
        if !self.refusal.is_empty() {
            content.push(json!({"type": "refusal", "refusal": self.refusal}));
        }
        if !content.is_empty() {
            items.push(json!({"type": "message", "role": "assistant", "status": status, "content": content}));
        }
        for [call_id, name, arguments] in &self.calls {
            items.push(json!({"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, "status": status}));
        }
        items
    }
}

/// Removes an item's id, which is made up, and what it has beside its text, which the plain reading leaves out.
pub(crate) fn take_what_is_ours(item: &mut Value) {
    let fields = item.as_object_mut().expect("an item is an object");
    fields.remove("id").expect("an id");
    for name in [
        "reasoning_details",
        "thinking_blocks",
        "extra_content",
        "images",
        "audio",
    ] {
        fields.remove(name);
    }
    let content = fields.get_mut("content").and_then(Value::as_array_mut);
    for part in content.into_iter().flatten() {
        if let Some(part) = part.as_object_mut() {
            part.remove("logprobs");
            if let Some(annotations) = part.get_mut("annotations") {
                *annotations = json!([]);
            }
        }
    }
}

pub(crate) fn read_chat(payloads: &[Payload]) -> Summary {
    let mut summary = Summary::default();
    let mut choices = BTreeMap::<u64, PlainChoice>::new();
    for (_, data) in payloads.iter().filter(|(_, data)| data != "[DONE]") {
        let chunk: Value = serde_json::from_str(data).unwrap();
        let id = chunk["id"].as_str().filter(|id| !id.is_empty());
        summary.response_id = summary.response_id.or(id.map(str::to_owned));
        let counts = usage(&chunk["usage"], ["prompt_tokens", "completion_tokens"]);
        summary.usage = counts.or(summary.usage);
        for choice in chunk["choices"].as_array().into_iter().flatten() {
            let grown = choices
                .entry(choice["index"].as_u64().unwrap())
                .or_default();
            grown.grow(&choice["delta"]);
            let reason = choice["finish_reason"].as_str().map(str::to_owned);
            grown.finish_reason = grown.finish_reason.take().or(reason);
        }
    }
    let is_done = payloads.iter().any(|(_, data)| data == "[DONE]");
    let reasons = || {
        choices
            .values()
            .map(|choice| choice.finish_reason.as_deref())
    };
    let is_whole = is_done || (!choices.is_empty() && reasons().all(|reason| reason.is_some()));
    summary.end = if !is_whole {
        "truncated".to_owned()
    } else if reasons().any(|reason| reason == Some("length")) {
        "incomplete: max_output_tokens".to_owned()
    } else {
        "completed".to_owned()
    };
    for choice in choices.values() {
        summary.text += &choice.text;
        summary.refusal += &choice.refusal;
        summary.reasoning_content += &choice.reasoning;
        if is_whole || choice.finish_reason.is_some() {
            summary.items_done.extend(choice.items());
        }
        for [call_id, _, arguments] in &choice.calls {
            summary
                .tool_input
                .insert(call_id.clone(), arguments.clone());
        }
    }
    summary
}
