//! Events as the stream of a Chat Completions server.

use serde_json::{Map, Value, json};

use super::{body::chat_annotation, completion::ChatCompletion};
use crate::{
    protocol::{
        OutputItem, RawJson, ResponseEvent, TokenUsage, ToolCallInput,
        error::{ApiError, ErrorKind},
    },
    wire::encoding::{EncoderOptions, block, error_object, output_of, usage_object},
};

/// What items carry of what a vendor signs, which goes to the client as it came.
const SIGNED: [&str; 5] = [
    "reasoning_details",
    "thinking_blocks",
    "extra_content",
    "audio",
    "images",
];

/// What tells an annotation before its item is done.
const ANNOTATION: &str = "response.output_text.annotation.added";

/// One answer on its way to a client.
#[derive(Default)]
pub(in crate::wire) struct ChatEncoder {
    options: EncoderOptions,
    is_started: bool,
    slots: Vec<Slot>,
    calls: Vec<Value>,
    /// What was written, in one piece.
    completion: ChatCompletion,
    usage: Option<TokenUsage>,
    is_ended: bool,
}

/// An item, and what has been written of it.
#[derive(Default)]
struct Slot {
    output_index: Option<u32>,
    id: Option<String>,
    /// Which call it is.
    call: Option<usize>,
    said: [String; 3],
    is_done: bool,
    /// The part of the summary that was written last.
    summary_index: Option<u32>,
    /// How many of its annotations were told before it was done.
    annotated: usize,
}

const TEXT: usize = 0;
const REFUSAL: usize = 1;
const REASONING: usize = 2;

impl ChatEncoder {
    pub(in crate::wire) fn new(options: EncoderOptions) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    pub(in crate::wire) fn is_ended(&self) -> bool {
        self.is_ended
    }

    pub(in crate::wire) fn object(&self) -> Value {
        let mut object = self.completion.object();
        for (name, value) in self.members() {
            object[name] = value;
        }
        if let Some(usage) = self.usage {
            object["usage"] = usage_object(usage, "prompt", "completion");
        }
        object
    }

    /// What every chunk says.
    fn members(&self) -> [(&'static str, Value); 4] {
        [
            ("id", self.options.id.as_str().into()),
            ("created", self.options.created_at.into()),
            ("model", self.options.model.as_str().into()),
            ("system_fingerprint", Value::Null),
        ]
    }

    pub(in crate::wire) fn push(&mut self, event: &ResponseEvent, out: &mut Vec<u8>) {
        match event {
            ResponseEvent::Created(created) => {
                self.options.note_id(created.response_id.as_ref());
                for slot in &mut self.slots {
                    // Another attempt, of which no item is one of those before.
                    slot.output_index = None;
                    slot.id = None;
                }
                self.start(out);
            }
            ResponseEvent::OutputItemAdded(item) => self.open(item, out),
            ResponseEvent::OutputItemDone(item) => self.finish_item(item, out),
            ResponseEvent::OutputTextDelta(text) => {
                let at = self.slot(text.output_index, text.item_id.as_deref());
                self.say(at, TEXT, &text.delta, text.logprobs.as_ref(), out);
            }
            ResponseEvent::RefusalDelta(text) => {
                let at = self.slot(text.output_index, text.item_id.as_deref());
                self.say(at, REFUSAL, &text.delta, None, out);
            }
            ResponseEvent::ReasoningContentDelta(text) => {
                let at = self.slot(text.output_index, text.item_id.as_deref());
                self.say(at, REASONING, &text.delta, None, out);
            }
            ResponseEvent::ReasoningSummaryDelta(text) => {
                let at = self.slot(text.output_index, text.item_id.as_deref());
                let before = self.slots[at].summary_index.replace(text.part_index);
                if before.is_some_and(|before| before != text.part_index) {
                    self.say(at, REASONING, "\n\n", None, out);
                }
                self.say(at, REASONING, &text.delta, None, out);
            }
            ResponseEvent::ToolCallInputDelta(input)
                if input.input != ToolCallInput::McpArguments =>
            {
                let at = self.slot(input.output_index, input.item_id.as_deref());
                self.add_input(at, &input.delta, out);
            }
            ResponseEvent::Other(other) if &*other.event == ANNOTATION => {
                self.annotate(&other.raw.to_value(), out);
            }
            ResponseEvent::Completed(end) => {
                self.usage = end.token_usage;
                self.take_output(end.response.as_ref(), out);
                let reason = match (self.calls.is_empty(), self.options.function_call) {
                    (true, _) => "stop",
                    (false, true) => "function_call",
                    (false, false) => "tool_calls",
                };
                self.end(reason, out);
            }
            ResponseEvent::Incomplete(end) => {
                self.usage = end.token_usage;
                self.take_output(end.response.as_ref(), out);
                // Chat has no other word for an answer that was cut.
                let finish_reason = match &*end.reason {
                    "content_filter" => "content_filter",
                    _ => "length",
                };
                self.end(finish_reason, out);
            }
            _ => {}
        }
    }

    pub(in crate::wire) fn fail(&mut self, error: &ApiError, out: &mut Vec<u8>) {
        if !self.is_ended {
            self.is_ended = true;
            block::data(out, &json!({"error": error_object(error)}));
        }
    }

    fn write(&mut self, choices: Value, usage: Value, out: &mut Vec<u8>) {
        let mut chunk = json!({"object": "chat.completion.chunk", "choices": choices});
        for (name, value) in self.members() {
            chunk[name] = value;
        }
        if self.options.include_usage {
            chunk["usage"] = usage;
        }
        block::data(out, &chunk);
        self.completion.push(chunk);
    }

    fn write_delta(&mut self, delta: &Value, logprobs: Value, out: &mut Vec<u8>) {
        if self.is_ended {
            return;
        }
        self.start(out);
        let choice =
            json!({"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": null});
        self.write(json!([choice]), Value::Null, out);
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if !self.is_started {
            self.is_started = true;
            self.write_delta(
                &json!({"role": "assistant", "content": ""}),
                Value::Null,
                out,
            );
        }
    }

    fn end(&mut self, finish_reason: &'static str, out: &mut Vec<u8>) {
        if self.is_ended {
            return;
        }
        self.start(out);
        self.is_ended = true;
        let choice =
            json!({"index": 0, "delta": {}, "logprobs": null, "finish_reason": finish_reason});
        self.write(json!([choice]), Value::Null, out);
        // One that the server did not tell is not made up.
        if let Some(usage) = self.usage.filter(|_| self.options.include_usage) {
            let usage = usage_object(usage, "prompt", "completion");
            self.write(json!([]), usage, out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn slot(&mut self, output_index: Option<u32>, id: Option<&str>) -> usize {
        let found = self.slots.iter().rposition(|slot| match output_index {
            Some(_) => slot.output_index == output_index,
            None => id.is_some() && slot.id.as_deref() == id,
        });
        if let Some(at) = found {
            return at;
        }
        self.slots.push(Slot {
            output_index,
            id: id.map(str::to_owned),
            ..Slot::default()
        });
        self.slots.len() - 1
    }

    fn say(
        &mut self,
        at: usize,
        what: usize,
        text: &str,
        logprobs: Option<&RawJson>,
        out: &mut Vec<u8>,
    ) {
        if text.is_empty() {
            return;
        }
        self.slots[at].said[what].push_str(text);
        let name = ["content", "refusal", "reasoning_content"][what];
        let logprobs = logprobs.map(|list| json!({"content": list.to_value(), "refusal": null}));
        self.write_delta(&json!({ name: text }), logprobs.unwrap_or_default(), out);
    }

    fn open(&mut self, item: &OutputItem, out: &mut Vec<u8>) {
        let fields = item.raw().to_value();
        let at = self.slot(item.output_index(), fields["id"].as_str());
        self.start(out);
        let (kind, input) = match fields["type"].as_str() {
            Some("function_call") => ("function", "arguments"),
            Some("custom_tool_call") => ("custom", "input"),
            _ => return,
        };
        if self.slots[at].call.is_some() {
            return;
        }
        let index = self.calls.len();
        self.slots[at].call = Some(index);
        let mut call = json!({
            "id": fields["call_id"],
            "type": kind,
            kind: {"name": fields["name"], input: ""},
        });
        if let Some(signed) = fields.get("extra_content") {
            call["extra_content"] = signed.clone();
        }
        self.calls.push(call.clone());
        if self.options.function_call {
            if index > 0 || kind != "function" {
                let message = "the server made a call that a message with one `function_call` has no room for";
                self.fail(&ApiError::new(ErrorKind::ServerError, message), out);
                return;
            }
            let delta = json!({"function_call": call["function"]});
            return self.write_delta(&delta, Value::Null, out);
        }
        call["index"] = index.into();
        self.write_delta(&json!({"tool_calls": [call]}), Value::Null, out);
    }

    fn add_input(&mut self, at: usize, delta: &str, out: &mut Vec<u8>) {
        let Some(index) = self.slots[at].call.filter(|_| !delta.is_empty()) else {
            return;
        };
        let call = &mut self.calls[index];
        let (kind, input) = match call["type"] == "custom" {
            true => ("custom", "input"),
            false => ("function", "arguments"),
        };
        if let Value::String(whole) = &mut call[kind][input] {
            whole.push_str(delta);
        }
        if self.options.function_call {
            let delta = json!({"function_call": {"arguments": delta}});
            return self.write_delta(&delta, Value::Null, out);
        }
        let piece = json!({"index": index, kind: {input: delta}});
        self.write_delta(&json!({"tool_calls": [piece]}), Value::Null, out);
    }

    /// Tells an annotation that comes by itself.
    fn annotate(&mut self, event: &Value, out: &mut Vec<u8>) {
        let Some(annotation) = event.get("annotation").filter(|it| it.is_object()) else {
            return;
        };
        let index = event["output_index"].as_u64();
        let index = index.and_then(|index| u32::try_from(index).ok());
        let id = event["item_id"].as_str();
        // Of an item that is not named it can't be known later that this was told.
        if index.or(id.map(|_| 0)).is_none() {
            return;
        }
        let at = self.slot(index, id);
        self.slots[at].annotated += 1;
        let annotations = json!([chat_annotation(annotation.clone())]);
        self.write_delta(&json!({"annotations": annotations}), Value::Null, out);
    }

    /// Says what of an item no delta said.
    fn finish_item(&mut self, item: &OutputItem, out: &mut Vec<u8>) {
        self.open(item, out);
        let fields = item.raw().to_value();
        let at = self.slot(item.output_index(), fields["id"].as_str());
        if std::mem::replace(&mut self.slots[at].is_done, true) {
            return;
        }
        if let Some(index) = self.slots[at].call {
            let whole = fields["arguments"].as_str().or(fields["input"].as_str());
            let call = &self.calls[index];
            let function = call["function"]["arguments"].as_str();
            let said = function.or(call["custom"]["input"].as_str());
            let rest = whole.and_then(|whole| whole.strip_prefix(said.unwrap_or_default()));
            let rest = rest.unwrap_or_default().to_owned();
            self.add_input(at, &rest, out);
            let signed = fields
                .get("extra_content")
                .filter(|_| self.calls[index].get("extra_content").is_none())
                .filter(|_| !self.options.function_call);
            if let Some(signed) = signed {
                self.calls[index]["extra_content"] = signed.clone();
                let piece =
                    json!({"index": index, "function": {"arguments": ""}, "extra_content": signed});
                self.write_delta(&json!({"tool_calls": [piece]}), Value::Null, out);
            }
            return;
        }
        let joined = |list: &str, kinds: &[&str], field: &str| -> String {
            let parts = fields[list].as_array().into_iter().flatten();
            let is_of = |part: &&Value| kinds.iter().any(|kind| part["type"] == *kind);
            let texts = parts.filter(is_of).map(|part| part[field].as_str());
            texts.flatten().collect()
        };
        let is_reasoning = fields["type"] == "reasoning";
        let texts = match is_reasoning {
            true => {
                let mut text = joined("content", &["reasoning_text", "text"], "text");
                if text.is_empty() {
                    text = joined("summary", &["summary_text"], "text");
                }
                [String::new(), String::new(), text]
            }
            false => [
                joined("content", &["output_text"], "text"),
                joined("content", &["refusal"], "refusal"),
                String::new(),
            ],
        };
        for (what, text) in texts.into_iter().enumerate() {
            let rest = text
                .strip_prefix(&*self.slots[at].said[what])
                .unwrap_or_default();
            self.say(at, what, rest, None, out);
        }
        self.attach(at, &fields, is_reasoning, out);
    }

    /// What an item has beside its text.
    fn attach(&mut self, at: usize, fields: &Value, is_reasoning: bool, out: &mut Vec<u8>) {
        let mut beside = Map::new();
        for name in SIGNED {
            if let Some(value) = fields.get(name) {
                beside.insert(name.to_owned(), value.clone());
            }
        }
        if let Some(sealed) = fields["encrypted_content"]
            .as_str()
            .filter(|_| is_reasoning)
        {
            let mut detail = json!({"type": "reasoning.encrypted", "data": sealed, "format": "openai-responses-v1"});
            detail["id"] = fields["id"].clone();
            beside.entry("reasoning_details").or_insert(json!([detail]));
        }
        let parts = fields["content"].as_array().into_iter().flatten();
        let annotations: Vec<_> = parts
            .filter_map(|part| part["annotations"].as_array())
            .flatten()
            .skip(self.slots[at].annotated)
            .cloned()
            .map(chat_annotation)
            .collect();
        if !annotations.is_empty() {
            beside.insert("annotations".to_owned(), annotations.into());
        }
        if fields["type"] == "image_generation_call"
            && let Some(image) = fields["result"].as_str().filter(|image| !image.is_empty())
        {
            let format = fields["output_format"].as_str().unwrap_or("png");
            let url = format!("data:image/{format};base64,{image}");
            let image = json!({"type": "image_url", "image_url": {"url": url}});
            beside.insert("images".to_owned(), json!([image]));
        }
        if !beside.is_empty() {
            self.write_delta(&beside.into(), Value::Null, out);
        }
    }

    /// Items that only the closing object has.
    fn take_output(&mut self, response: Option<&RawJson>, out: &mut Vec<u8>) {
        let response = response.filter(|_| self.slots.is_empty());
        for item in output_of(response).unwrap_or_default() {
            self.finish_item(&item, out);
        }
    }
}
