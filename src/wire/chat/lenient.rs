//! Chunks that are not quite of the documented shape, read as far as they can be.
//!
//! What is read here: a whole `message` in place of a delta; `content` as a list of parts; reasoning as `reasoning_text`,
//! `thinking`, an object, a list of parts, `reasoning_details` or `thinking_blocks`; the legacy `function_call`; tool calls whose parts lie one
//! level higher; numbers written as strings; fields of the wrong kind, which are passed over.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{
    chunk::{
        CallDelta, Chunk, ChunkChoice, ContentParts, CustomDelta, Delta, Few, FunctionDelta, Str,
        text_of,
    },
    object::Object,
};

/// Reads a chunk from its fields. The second value says which field was of the wrong kind, if any.
pub(super) fn read_chunk<'a>(fields: &Object<'a>) -> (Chunk<'a>, Option<&'static str>) {
    let mut reader = Reader { wrong: None };
    let choices = match (fields.list("choices"), fields.get("choices")) {
        (Some(choices), _) => choices
            .iter()
            .filter_map(|choice| reader.choice(choice))
            .collect(),
        (None, Some(choice)) if choice.get().starts_with('{') => {
            reader.choice(choice).into_iter().collect()
        }
        (None, _) => {
            reader.wrong = fields.get("choices").map(|_| "choices is no list");
            Few::default()
        }
    };
    let usage = fields
        .get("usage")
        .or_else(|| fields.object("x_groq")?.get("usage"));
    let chunk = Chunk {
        id: fields.text("id").map(Str),
        model: fields.text("model").map(Str),
        choices: fields.get("choices").map(|_| choices),
        usage,
        has_more: true,
        ..Chunk::default()
    };
    (chunk, reader.wrong)
}

struct Reader {
    wrong: Option<&'static str>,
}

impl Reader {
    fn is_wrong(&mut self, what: &'static str) {
        self.wrong.get_or_insert(what);
    }

    fn choice<'a>(&mut self, choice: &'a RawValue) -> Option<ChunkChoice<'a>> {
        let Some(fields) = Object::read(choice.get()) else {
            self.is_wrong("a choice is no object");
            return None;
        };
        let mut delta = self.delta(&fields, "delta");
        let mut is_whole_message = false;
        if delta.is_empty() && fields.get("message").is_some() {
            delta = self.delta(&fields, "message");
            is_whole_message = true;
        }
        // Completions of old have their text here, and some servers the calls.
        if delta.content.is_none() {
            delta.content = fields.text("text").map(Str);
        }
        if delta.tool_calls.is_none() {
            delta.tool_calls = self.calls(&fields);
        }
        Some(ChunkChoice {
            index: fields.number("index").unwrap_or(0),
            delta,
            finish_reason: fields
                .text("finish_reason")
                .or_else(|| fields.object("finish_reason")?.text("type"))
                .map(Str),
            native_finish_reason: fields.text("native_finish_reason").map(Str),
            logprobs: fields.get("logprobs"),
            usage: fields.get("usage"),
            is_whole_message,
            ..ChunkChoice::default()
        })
    }

    fn delta<'a>(&mut self, choice: &Object<'a>, name: &str) -> Delta<'a> {
        let Some(raw) = choice.get(name) else {
            return Delta::default();
        };
        let mut parts = Parts::default();
        let Some(fields) = Object::read(raw.get()) else {
            if !parts.read(raw) {
                self.is_wrong("a delta is no object");
            }
            return Delta {
                content: joined(parts.text),
                ..Delta::default()
            };
        };
        if let Some(content) = fields.get("content")
            && !parts.read(content)
        {
            self.is_wrong("content is neither a text nor a list of parts");
        }
        if let Some(thinking) = fields.object("thinking") {
            parts.signature = thinking.get("signature");
        }
        if let Some(refusal) = fields.text("refusal") {
            parts.refusal.push(refusal);
        }
        // The names of one text. Where several come, they repeat it, so the first that says something counts.
        let reasoning = [
            "reasoning_content",
            "reasoning",
            "reasoning_text",
            "thinking",
            "reasoning_details",
            "thinking_blocks",
        ]
        .into_iter()
        .filter_map(|name| fields.get(name))
        .map(reasoning_of)
        .find(|text| !text.is_empty());
        parts.reasoning.extend(reasoning);
        Delta {
            content: joined(parts.text),
            refusal: joined(parts.refusal),
            reasoning_content: joined(parts.reasoning),
            tool_calls: self.calls(&fields),
            reasoning_details: fields.get("reasoning_details"),
            thinking_blocks: fields.get("thinking_blocks"),
            annotations: fields.get("annotations"),
            audio: fields.get("audio"),
            images: fields.get("images"),
            extra_content: fields.get("extra_content"),
            signature: fields.get("signature").or(parts.signature),
            reasoning_opaque: fields.get("reasoning_opaque"),
            parts: parts.beside,
            ..Delta::default()
        }
    }

    fn calls<'a>(&mut self, delta: &Object<'a>) -> Option<Few<CallDelta<'a>>> {
        let calls = match (delta.list("tool_calls"), delta.get("tool_calls")) {
            (Some(calls), _) => calls,
            (None, Some(call)) if call.get().starts_with('{') => vec![call],
            (None, Some(_)) => {
                self.is_wrong("tool_calls is no list");
                Vec::new()
            }
            (None, None) => Vec::new(),
        };
        let calls: Few<_> = calls
            .into_iter()
            .filter(|call| call.get() != "null")
            .filter_map(|call| {
                let call = Object::read(call.get());
                if call.is_none() {
                    self.is_wrong("a tool call is no object");
                }
                Some(call_delta(&call?))
            })
            .collect();
        if !calls.is_empty() {
            return Some(calls);
        }
        // There was one call a message, before there were lists.
        let legacy = CallDelta {
            index: Some(0),
            function: Some(function_delta(&delta.object("function_call")?)),
            ..CallDelta::default()
        };
        Some([legacy].into_iter().collect())
    }
}

fn call_delta<'a>(call: &Object<'a>) -> CallDelta<'a> {
    let custom = call.object("custom").map(|custom| CustomDelta {
        name: custom.text("name").map(Str),
        input: custom.get("input"),
        has_more: false,
    });
    let function = match (call.object("function"), &custom) {
        (Some(function), _) => Some(function_delta(&function)),
        (None, None) => Some(function_delta(call)),
        (None, Some(_)) => None,
    };
    CallDelta {
        index: call.number("index"),
        id: call.text("id").map(Str),
        function,
        custom,
        extra_content: call.get("extra_content"),
        provider_specific_fields: call.get("provider_specific_fields"),
        thought_signature: call.get("thought_signature"),
        has_more: false,
    }
}

fn function_delta<'a>(function: &Object<'a>) -> FunctionDelta<'a> {
    FunctionDelta {
        name: function.text("name").map(Str),
        arguments: function.get("arguments"),
        provider_specific_fields: function.get("provider_specific_fields"),
        thought_signature: function.get("thought_signature"),
        has_more: false,
    }
}

/// The pieces of a `content`, by what they are.
#[derive(Default)]
struct Parts<'a> {
    text: Vec<Cow<'a, str>>,
    refusal: Vec<Cow<'a, str>>,
    reasoning: Vec<Cow<'a, str>>,
    signature: Option<&'a RawValue>,
    beside: ContentParts<'a>,
}

impl<'a> Parts<'a> {
    /// Takes a string, a part or a list of parts. False when it is none of them.
    fn read(&mut self, content: &'a RawValue) -> bool {
        let json = content.get();
        if json.starts_with('"') {
            self.text.push(text_of(content));
            return true;
        }
        if let Some(part) = Object::read(json) {
            self.part(&part, content);
            return true;
        }
        match serde_json::from_str::<Vec<&RawValue>>(json) {
            // Some servers write a number where it is the text.
            Err(_) => {
                self.text.push(Cow::Borrowed(json));
                true
            }
            Ok(parts) => {
                let mut is_right = true;
                for part in parts {
                    is_right &= self.read(part);
                }
                is_right
            }
        }
    }

    fn part(&mut self, part: &Object<'a>, raw: &'a RawValue) {
        match part.text("type").as_deref() {
            Some("refusal") => self.refusal.extend(part.text("refusal")),
            Some("redacted_thinking") => self.beside.are_unread = true,
            Some("image_url") if part.get("image_url").is_some() => {
                self.beside.images.push(raw);
                self.beside.are_unread = true;
            }
            Some("thinking" | "reasoning" | "reasoning_text") => {
                let text = ["thinking", "reasoning", "text", "content"]
                    .iter()
                    .find_map(|name| part.get(name));
                self.reasoning.extend(text.map(reasoning_of));
                self.signature = part.get("signature").or(self.signature);
            }
            _ => {
                let nested = || part.object("text")?.text("value");
                self.text.extend(part.text("text").or_else(nested));
                self.beside.are_unread |= !part.has_only(&["type", "text", "index"]);
            }
        }
    }
}

/// The text of a reasoning field: a string, an object that holds one, or a list of them. What is encrypted has none.
fn reasoning_of(raw: &RawValue) -> Cow<'_, str> {
    let json = raw.get();
    if json.starts_with('"') {
        return text_of(raw);
    }
    if let Some(object) = Object::read(json) {
        return ["text", "content", "thinking", "summary"]
            .iter()
            .find_map(|name| object.get(name))
            .map_or(Cow::Borrowed(""), reasoning_of);
    }
    let parts: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
    concat(parts.into_iter().map(reasoning_of))
}

fn joined(pieces: Vec<Cow<'_, str>>) -> Option<Str<'_>> {
    (!pieces.is_empty()).then(|| Str(concat(pieces)))
}

/// One text of several; borrowed when it is one.
fn concat<'a>(pieces: impl IntoIterator<Item = Cow<'a, str>>) -> Cow<'a, str> {
    pieces
        .into_iter()
        .fold(Cow::Borrowed(""), |text, piece| text + piece)
}
