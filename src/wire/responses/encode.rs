//! Events as the stream of a Responses server.

mod object;
mod slot;

use serde_json::{Map, Value, json};

#[cfg(feature = "loopback")]
pub(crate) use self::object::repeated_fields;
use self::{
    object::{response_object, usage_object},
    slot::{Kind, Slot, final_parts},
};
use crate::{
    protocol::{
        OutputItem, RawJson, ReasoningDelta, ResponseEvent, TextDelta, TokenUsage, ToolCallInput,
        error::ApiError,
    },
    wire::encoding::{EncoderOptions, block::Block, output_of, response_error},
};

/// The events that this encoder makes itself, of what the typed ones say.
const MADE: [&str; 14] = [
    "response.content_part.added",
    "response.content_part.done",
    "response.custom_tool_call_input.done",
    "response.function_call_arguments.done",
    "response.in_progress",
    "response.mcp_call_arguments.done",
    "response.output_text.annotation.added",
    "response.output_text.done",
    "response.queued",
    "response.reasoning_summary_part.done",
    "response.reasoning_summary_text.done",
    "response.reasoning_text.done",
    "response.refusal.done",
    "response.metadata",
];

/// One answer on its way to a client.
pub(in crate::wire) struct ResponsesEncoder {
    options: EncoderOptions,
    sequence_number: u64,
    is_started: bool,
    status: &'static str,
    slots: Vec<Slot>,
    usage: Option<TokenUsage>,
    error: Option<Value>,
    incomplete_reason: Option<String>,
}

/// Where in the events an item is spoken of.
struct Place<'a> {
    kind: Kind,
    output_index: Option<u32>,
    id: Option<&'a str>,
}

impl ResponsesEncoder {
    pub(in crate::wire) fn new(options: EncoderOptions) -> Self {
        Self {
            options,
            sequence_number: 0,
            is_started: false,
            status: "in_progress",
            slots: Vec::new(),
            usage: None,
            error: None,
            incomplete_reason: None,
        }
    }

    pub(in crate::wire) fn is_ended(&self) -> bool {
        self.status != "in_progress"
    }

    pub(in crate::wire) fn object(&self) -> Value {
        let mut items: Vec<_> = self.slots.iter().map(Slot::item).collect();
        if self.is_ended() {
            items.retain(|item| !item.is_null());
        }
        response_object(
            &self.options,
            self.status,
            items,
            usage_object(self.usage, self.status),
            self.error.clone(),
            self.incomplete_reason.as_deref(),
        )
    }

    pub(in crate::wire) fn push(&mut self, event: &ResponseEvent, out: &mut Vec<u8>) {
        match event {
            ResponseEvent::Created(created) => {
                self.options.note_id(created.response_id.as_ref());
                // Another attempt: what the one before only announced is taken up by what this one announces.
                self.slots.iter_mut().for_each(Slot::loosen);
                self.start(out);
            }
            ResponseEvent::OutputItemAdded(item) => {
                self.start(out);
                self.open(item, out);
            }
            ResponseEvent::OutputItemDone(item) => {
                self.start(out);
                self.finish_item(item, out);
            }
            ResponseEvent::OutputTextDelta(text) => {
                self.add_said("output_text", text, text.logprobs.as_ref(), out);
            }
            ResponseEvent::RefusalDelta(text) => self.add_said("refusal", text, None, out),
            ResponseEvent::ReasoningSummaryDelta(text) => {
                self.add_thought("summary_text", text, out);
            }
            ResponseEvent::ReasoningContentDelta(text) => {
                self.add_thought("reasoning_text", text, out);
            }
            ResponseEvent::ReasoningSummaryPartAdded(part) => {
                let place = Place::new(Kind::Reasoning, part.output_index, part.item_id.as_deref());
                let at = self.slot_for(place, out);
                self.add_text(at, "summary_text", part.summary_index, "", None, out);
            }
            ResponseEvent::ToolCallInputDelta(input) => {
                let kind = match input.input {
                    ToolCallInput::CustomInput => Kind::Custom,
                    ToolCallInput::McpArguments => Kind::Mcp,
                    ToolCallInput::FunctionArguments => Kind::Function,
                };
                let place = Place::new(kind, input.output_index, input.item_id.as_deref());
                let at = self.slot_for(place, out);
                self.add_input(at, &input.delta, out);
            }
            ResponseEvent::Other(other)
                if other.event.starts_with("response.") && !MADE.contains(&&*other.event) =>
            {
                self.start(out);
                self.pass_on(&other.event, &other.raw, out);
            }
            ResponseEvent::Completed(end) => {
                self.usage = end.token_usage;
                self.take_output(end.response.as_ref(), out);
                self.end("completed", out);
            }
            ResponseEvent::Incomplete(end) => {
                self.usage = end.token_usage;
                self.incomplete_reason = Some(end.reason.to_string());
                self.take_output(end.response.as_ref(), out);
                self.end("incomplete", out);
            }
            _ => {}
        }
    }

    /// More text of a message's part of this type.
    fn add_said(
        &mut self,
        part: &'static str,
        text: &TextDelta,
        logprobs: Option<&RawJson>,
        out: &mut Vec<u8>,
    ) {
        let place = Place::new(Kind::Message, text.output_index, text.item_id.as_deref());
        let index = text.content_index.unwrap_or(0);
        let at = self.slot_for(place, out);
        self.add_text(at, part, index, &text.delta, logprobs, out);
    }

    /// More text of a reasoning item's part of this type.
    fn add_thought(&mut self, part: &'static str, text: &ReasoningDelta, out: &mut Vec<u8>) {
        let place = Place::new(Kind::Reasoning, text.output_index, text.item_id.as_deref());
        let at = self.slot_for(place, out);
        self.add_text(at, part, text.part_index, &text.delta, None, out);
    }

    pub(in crate::wire) fn fail(&mut self, error: &ApiError, out: &mut Vec<u8>) {
        if self.is_ended() {
            return;
        }
        self.start(out);
        self.usage = error.details().token_usage;
        self.error = Some(response_error(error));
        self.status = "failed";
        self.write_object("response.failed", out);
    }

    /// The numbered event of this type.
    fn event<'a>(&mut self, kind: &str, out: &'a mut Vec<u8>) -> Block<'a> {
        let block = Block::event(out, kind, self.sequence_number);
        self.sequence_number += 1;
        block
    }

    fn write_object(&mut self, kind: &str, out: &mut Vec<u8>) {
        let object = self.object();
        self.event(kind, out).field("response", &object).end();
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if !self.is_started {
            self.is_started = true;
            self.write_object("response.created", out);
            self.write_object("response.in_progress", out);
        }
    }

    /// What is open is closed as far as it came, and then the answer is.
    fn end(&mut self, status: &'static str, out: &mut Vec<u8>) {
        self.start(out);
        for at in 0..self.slots.len() {
            if !self.slots[at].is_done {
                let item = self.slots[at].as_far_as_it_came();
                self.close(at, item, out);
            }
        }
        self.status = status;
        self.write_object(&format!("response.{status}"), out);
    }

    /// Items that only the closing object has.
    fn take_output(&mut self, response: Option<&RawJson>, out: &mut Vec<u8>) {
        let response = response.filter(|_| self.slots.is_empty());
        if let Some(items) = output_of(response) {
            self.start(out);
            items.iter().for_each(|item| self.finish_item(item, out));
        }
    }

    fn position(&self, place: &Place<'_>) -> Option<usize> {
        let mut slots = self.slots.iter().enumerate();
        let found = match (place.output_index, place.id) {
            (Some(index), _) => slots.rfind(|(_, slot)| slot.output_index == Some(index)),
            (None, Some(id)) => slots.rfind(|(_, slot)| slot.is_called(id)),
            (None, None) => slots.rfind(|(_, slot)| !slot.is_done && slot.kind == place.kind),
        };
        found.map(|(at, _)| at)
    }

    fn open(&mut self, item: &OutputItem, out: &mut Vec<u8>) {
        let Value::Object(fields) = item.raw().to_value() else {
            return;
        };
        self.open_fields(item.output_index(), fields, out);
    }

    fn open_fields(
        &mut self,
        output_index: Option<u32>,
        fields: Map<String, Value>,
        out: &mut Vec<u8>,
    ) -> usize {
        let kind = Kind::of(&fields);
        let id = fields.get("id").and_then(Value::as_str).map(str::to_owned);
        let place = Place::new(kind, output_index, id.as_deref());
        if (output_index.is_some() || id.is_some())
            && let Some(at) = self.position(&place)
        {
            return at;
        }
        let loose = self
            .slots
            .iter()
            .position(|slot| slot.is_loose && slot.kind == kind);
        if let Some(at) = loose
            .filter(|_| kind.is_made_of_text() && kind != Kind::Function && kind != Kind::Custom)
        {
            self.slots[at].take_up(output_index, id);
            return at;
        }
        let at = self.slots.len();
        let made = || format!("{}_{}_{at}", kind.prefix(), self.options.id);
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(made);
        let slot = Slot::new(kind, output_index, id, fields);
        let item = slot.announced();
        self.slots.push(slot);
        self.event("response.output_item.added", out)
            .field("output_index", &at)
            .field("item", &item)
            .end();
        at
    }

    /// The slot of a delta; an item that nobody announced begins with it.
    fn slot_for(&mut self, place: Place<'_>, out: &mut Vec<u8>) -> usize {
        self.start(out);
        match self.position(&place) {
            Some(at) => at,
            None => {
                let mut fields = place.kind.empty_fields();
                if let Some(id) = place.id {
                    fields.insert("id".to_owned(), id.into());
                }
                self.open_fields(place.output_index, fields, out)
            }
        }
    }

    fn add_text(
        &mut self,
        at: usize,
        part: &'static str,
        index: u32,
        delta: &str,
        logprobs: Option<&RawJson>,
        out: &mut Vec<u8>,
    ) {
        if self.slots[at].is_done {
            return;
        }
        let (index, is_new) = self.slots[at].part_index(part, index);
        let id = self.slots[at].id.clone();
        let (place, kind) = match part {
            "summary_text" => ("summary_index", "response.reasoning_summary_part.added"),
            _ => ("content_index", "response.content_part.added"),
        };
        if is_new {
            self.event(kind, out)
                .field("item_id", &id)
                .field("output_index", &at)
                .field(place, &index)
                .field("part", &slot::part(part, ""))
                .end();
        }
        if delta.is_empty() {
            return;
        }
        self.slots[at].parts[index].text.push_str(delta);
        let kind = match part {
            "output_text" => "response.output_text.delta",
            "refusal" => "response.refusal.delta",
            "summary_text" => "response.reasoning_summary_text.delta",
            _ => "response.reasoning_text.delta",
        };
        let index = self.slots[at].own_index(index);
        let mut block = self
            .event(kind, out)
            .field("item_id", &id)
            .field("output_index", &at)
            .field(place, &index)
            .field("delta", delta);
        if part == "output_text" {
            let logprobs = logprobs.map_or_else(|| json!([]), RawJson::to_value);
            block = block.field("logprobs", &logprobs);
        }
        block.end();
    }

    fn add_input(&mut self, at: usize, delta: &str, out: &mut Vec<u8>) {
        let slot = &mut self.slots[at];
        if delta.is_empty() || slot.is_done {
            return;
        }
        slot.input.push_str(delta);
        let (id, kind) = (slot.id.clone(), slot.kind.input_event());
        self.event(&format!("{kind}.delta"), out)
            .field("item_id", &id)
            .field("output_index", &at)
            .field("delta", delta)
            .end();
    }

    fn finish_item(&mut self, item: &OutputItem, out: &mut Vec<u8>) {
        let Value::Object(fields) = item.raw().to_value() else {
            return;
        };
        let kind = Kind::of(&fields);
        let id = fields.get("id").and_then(Value::as_str);
        let place = Place::new(kind, item.output_index(), id);
        let at = match self.position(&place) {
            Some(at) if self.slots[at].is_done => return,
            Some(at) => at,
            None => self.open_fields(item.output_index(), fields.clone(), out),
        };
        self.close(at, fields, out);
    }

    /// Ends an item in its final form: what of it no delta said is said first.
    fn close(&mut self, at: usize, mut item: Map<String, Value>, out: &mut Vec<u8>) {
        let id = self.slots[at].id.clone();
        item.insert("id".to_owned(), id.clone().into());
        for (part, index, text) in final_parts(&item) {
            let said = self.slots[at].said(part, index);
            let rest = text.strip_prefix(&*said).unwrap_or_default().to_owned();
            self.add_text(at, part, index, &rest, None, out);
        }
        self.slots[at].complete(&mut item);
        let parts = std::mem::take(&mut self.slots[at].parts);
        for (index, part) in parts.iter().enumerate() {
            self.slots[at].parts = Vec::new();
            self.close_part(at, &parts, index, part, &item, out);
        }
        self.slots[at].parts = parts;
        if let Some(field) = self.slots[at].kind.input_field() {
            let whole = item
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            let rest = whole
                .strip_prefix(&*self.slots[at].input)
                .unwrap_or_default()
                .to_owned();
            self.add_input(at, &rest, out);
            let kind = self.slots[at].kind.input_event();
            let name = item.get("name").cloned().unwrap_or_default();
            let mut block = self
                .event(&format!("{kind}.done"), out)
                .field("item_id", &id)
                .field("output_index", &at)
                .field(field, &whole);
            if field == "arguments" {
                block = block.field("name", &name);
            }
            block.end();
        }
        let slot = &mut self.slots[at];
        slot.is_done = true;
        slot.fields = item;
        let item = slot.item();
        self.event("response.output_item.done", out)
            .field("output_index", &at)
            .field("item", &item)
            .end();
    }

    fn close_part(
        &mut self,
        at: usize,
        parts: &[slot::SlotPart],
        index: usize,
        part: &slot::SlotPart,
        item: &Map<String, Value>,
        out: &mut Vec<u8>,
    ) {
        let id = self.slots[at].id.clone();
        let before = parts[..index].iter();
        let own = before.filter(|other| other.list() == part.list()).count();
        let whole = item
            .get(part.list())
            .and_then(|list| list.get(own))
            .cloned()
            .unwrap_or_else(|| slot::part(part.kind, &part.text));
        let field = slot::field(part.kind);
        let text = whole[field].as_str().unwrap_or(&part.text).to_owned();
        let annotations = whole["annotations"].as_array().into_iter().flatten();
        for (number, annotation) in annotations.enumerate() {
            self.event("response.output_text.annotation.added", out)
                .field("item_id", &id)
                .field("output_index", &at)
                .field("content_index", &own)
                .field("annotation_index", &number)
                .field("annotation", annotation)
                .end();
        }
        let (place, part_done) = match part.kind {
            "summary_text" => ("summary_index", "response.reasoning_summary_part.done"),
            _ => ("content_index", "response.content_part.done"),
        };
        let done = match part.kind {
            "output_text" => "response.output_text.done",
            "refusal" => "response.refusal.done",
            "summary_text" => "response.reasoning_summary_text.done",
            _ => "response.reasoning_text.done",
        };
        let mut block = self
            .event(done, out)
            .field("item_id", &id)
            .field("output_index", &at)
            .field(place, &own)
            .field(field, &text);
        if part.kind == "output_text" {
            block = block.field("logprobs", whole.get("logprobs").unwrap_or(&json!([])));
        }
        block.end();
        self.event(part_done, out)
            .field("item_id", &id)
            .field("output_index", &at)
            .field(place, &own)
            .field("part", &whole)
            .end();
    }

    /// An event of a tool of the server's, under our numbers.
    fn pass_on(&mut self, kind: &str, raw: &RawJson, out: &mut Vec<u8>) {
        let Value::Object(mut fields) = raw.to_value() else {
            return;
        };
        let index = fields.get("output_index").and_then(Value::as_u64);
        let index = index.and_then(|index| u32::try_from(index).ok());
        let id = fields.get("item_id").and_then(Value::as_str);
        if let Some(at) = self.position(&Place::new(Kind::Other, index, id))
            && (index.is_some() || id.is_some())
        {
            fields.insert("output_index".to_owned(), at.into());
            fields.insert("item_id".to_owned(), self.slots[at].id.clone().into());
        }
        let mut block = self.event(kind, out);
        for (name, value) in &fields {
            let is_plain = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if is_plain && !matches!(&**name, "type" | "sequence_number") {
                block = block.field(name, value);
            }
        }
        block.end();
    }
}

impl<'a> Place<'a> {
    fn new(kind: Kind, output_index: Option<u32>, id: Option<&'a str>) -> Self {
        Self {
            kind,
            output_index,
            id,
        }
    }
}
