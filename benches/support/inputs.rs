//! The streams that everybody decodes: made up from a seed, in the shapes that servers send.
//!
//! Field order, identifiers, escapes, empty `logprobs` and the random `obfuscation` padding are as OpenAI's servers send
//! them. The Responses streams have `event:` lines and, at both ends, response objects with long instructions and tools.

use std::ops::Range;

use actix_responses::wire::Wire;
use bytes::Bytes;
use serde_json::{Value, json};

/// One stream.
pub struct Input {
    pub name: &'static str,
    pub wire: Wire,
    pub bytes: Bytes,
    /// Where each SSE event lies in `bytes`, its blank line included.
    pub events: Vec<Range<usize>>,
    /// All deltas of text, reasoning and arguments, joined.
    pub text: String,
    /// How many deltas there are.
    pub deltas: usize,
}

/// How the bytes arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Whole,
    /// A chunk for each event.
    Event,
    /// Chunks of this many bytes.
    Pieces(usize),
}

impl Delivery {
    pub const PACKETS: Self = Self::Pieces(1_460);
    pub const READS: Self = Self::Pieces(8 * 1024);
    pub const BYTES: Self = Self::Pieces(1);

    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Event => "event",
            Self::READS => "8k",
            Self::PACKETS => "1460",
            Self::BYTES => "1byte",
            Self::Pieces(_) => "pieces",
        }
    }
}

impl Input {
    /// An answer of 2,000 text deltas on the Responses wire.
    pub fn resp_text() -> Self {
        Self::responses_text("resp_text", 2_000, 100)
    }

    /// A short answer: 20 deltas and response objects without tools.
    pub fn small() -> Self {
        Self::responses_of("small", 20)
    }

    /// An answer of so many text deltas and response objects without tools.
    pub fn responses_of(name: &'static str, deltas: usize) -> Self {
        Self::responses_text(name, deltas, 0)
    }

    fn responses_text(name: &'static str, deltas: usize, tools: usize) -> Self {
        let mut maker = Maker::new(name, Wire::Responses);
        let response = maker.response_object(tools);
        let item = maker.id("msg");
        maker.begin(&response);
        maker.responses("response.output_item.added", json!({"output_index": 0, "item": {
            "id": item, "type": "message", "status": "in_progress", "content": [], "role": "assistant",
        }}));
        let empty = json!({"type": "output_text", "annotations": [], "logprobs": [], "text": ""});
        maker.responses(
            "response.content_part.added",
            json!({
                "item_id": item, "output_index": 0, "content_index": 0, "part": empty,
            }),
        );
        for _ in 0..deltas {
            let delta = maker.word();
            maker.delta(&delta, |maker, delta| {
                let obfuscation = maker.obfuscation(delta);
                let fields = format!(
                    r#""item_id":"{item}","output_index":0,"content_index":0,"delta":{},"logprobs":[],"obfuscation":"{obfuscation}""#,
                    json!(delta),
                );
                maker.responses_text("response.output_text.delta", &fields);
            });
        }
        let text = maker.text.clone();
        let part = json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text});
        maker.responses("response.output_text.done", json!({
            "item_id": item, "output_index": 0, "content_index": 0, "text": text, "logprobs": [],
        }));
        maker.responses(
            "response.content_part.done",
            json!({
                "item_id": item, "output_index": 0, "content_index": 0, "part": part,
            }),
        );
        let item = json!({
            "id": item, "type": "message", "status": "completed", "content": [part], "role": "assistant",
        });
        maker.responses(
            "response.output_item.done",
            json!({"output_index": 0, "item": item}),
        );
        maker.complete(response, vec![item]);
        maker.finish()
    }

    /// An answer of 1,000 deltas of a reasoning summary and 1,000 of a function call's arguments.
    pub fn resp_reason_fn() -> Self {
        let mut maker = Maker::new("resp_reason_fn", Wire::Responses);
        let response = maker.response_object(100);
        let (reasoning, call, call_id) = (maker.id("rs"), maker.id("fc"), maker.id("call"));
        maker.begin(&response);
        maker.responses(
            "response.output_item.added",
            json!({"output_index": 0, "item": {
                "id": reasoning, "type": "reasoning", "summary": [],
            }}),
        );
        maker.responses(
            "response.reasoning_summary_part.added",
            json!({
                "item_id": reasoning, "output_index": 0, "summary_index": 0,
                "part": {"type": "summary_text", "text": ""},
            }),
        );
        for _ in 0..1_000 {
            let delta = maker.word();
            maker.delta(&delta, |maker, delta| {
                let obfuscation = maker.obfuscation(delta);
                let fields = format!(
                    r#""item_id":"{reasoning}","output_index":0,"summary_index":0,"delta":{},"obfuscation":"{obfuscation}""#,
                    json!(delta),
                );
                maker.responses_text("response.reasoning_summary_text.delta", &fields);
            });
        }
        let summary = maker.text.clone();
        let part = json!({"type": "summary_text", "text": summary});
        maker.responses(
            "response.reasoning_summary_text.done",
            json!({
                "item_id": reasoning, "output_index": 0, "summary_index": 0, "text": summary,
            }),
        );
        maker.responses(
            "response.reasoning_summary_part.done",
            json!({
                "item_id": reasoning, "output_index": 0, "summary_index": 0, "part": part,
            }),
        );
        let reasoning = json!({"id": reasoning, "type": "reasoning", "summary": [part]});
        maker.responses(
            "response.output_item.done",
            json!({"output_index": 0, "item": reasoning}),
        );
        maker.responses(
            "response.output_item.added",
            json!({"output_index": 1, "item": {
                "id": call, "type": "function_call", "status": "in_progress", "arguments": "",
                "call_id": call_id, "name": "apply_changes",
            }}),
        );
        for index in 0..1_000 {
            let delta = match index {
                0 => r#"{"patch":""#.to_owned(),
                999 => r#""}"#.to_owned(),
                // As it stands inside of a JSON string.
                _ => json!(maker.word())
                    .as_str()
                    .unwrap_or_default()
                    .replace(['"', '\\', '\n'], " "),
            };
            maker.delta(&delta, |maker, delta| {
                let obfuscation = maker.obfuscation(delta);
                let fields = format!(
                    r#""item_id":"{call}","output_index":1,"delta":{},"obfuscation":"{obfuscation}""#,
                    json!(delta),
                );
                maker.responses_text("response.function_call_arguments.delta", &fields);
            });
        }
        let arguments = maker.text[summary.len()..].to_owned();
        maker.responses(
            "response.function_call_arguments.done",
            json!({
                "item_id": call, "output_index": 1, "name": "apply_changes", "arguments": arguments,
            }),
        );
        let call = json!({
            "id": call, "type": "function_call", "status": "completed", "arguments": arguments,
            "call_id": call_id, "name": "apply_changes",
        });
        maker.responses(
            "response.output_item.done",
            json!({"output_index": 1, "item": call}),
        );
        maker.complete(response, vec![reasoning, call]);
        maker.finish()
    }

    /// An answer of 2,000 chunks with content on the Chat wire.
    pub fn chat() -> Self {
        let mut maker = Maker::new("chat", Wire::Chat);
        let id = maker.id("chatcmpl");
        let head = format!(
            r#""id":"{id}","object":"chat.completion.chunk","created":1770933892,"model":"gpt-4.1-2025-04-14","service_tier":"default","system_fingerprint":"fp_de604bd877""#
        );
        let chunk = |maker: &mut Maker, choices: &str, usage: &str, delta: &str| {
            let obfuscation = maker.obfuscation(delta);
            maker.event(&format!(
                "data: {{{head},\"choices\":{choices},\"usage\":{usage},\"obfuscation\":\"{obfuscation}\"}}\n\n"
            ));
        };
        let choice = |delta: &str, reason: &str| {
            format!(r#"[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{reason}}}]"#)
        };
        let role = choice(
            r#"{"role":"assistant","content":"","refusal":null}"#,
            "null",
        );
        chunk(&mut maker, &role, "null", "");
        for _ in 0..2_000 {
            let delta = maker.word();
            maker.delta(&delta, |maker, delta| {
                let content = format!(r#"{{"content":{}}}"#, json!(delta));
                chunk(maker, &choice(&content, "null"), "null", delta);
            });
        }
        chunk(&mut maker, &choice("{}", r#""stop""#), "null", "");
        let usage = json!({
            "prompt_tokens": 4_096, "completion_tokens": 2_000, "total_tokens": 6_096,
            "prompt_tokens_details": {"cached_tokens": 1_024, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0,
                "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
        });
        chunk(&mut maker, "[]", &usage.to_string(), "");
        maker.event("data: [DONE]\n\n");
        maker.finish()
    }

    /// The bytes as they arrive.
    pub fn chunks(&self, delivery: Delivery) -> Vec<Bytes> {
        match delivery {
            Delivery::Whole => vec![self.bytes.clone()],
            Delivery::Event => {
                let chunks = self
                    .events
                    .iter()
                    .map(|range| self.bytes.slice(range.clone()));
                chunks.collect()
            }
            Delivery::Pieces(size) => {
                let starts = (0..self.bytes.len()).step_by(size);
                let ends = starts
                    .clone()
                    .map(|start| (start + size).min(self.bytes.len()));
                starts
                    .zip(ends)
                    .map(|(start, end)| self.bytes.slice(start..end))
                    .collect()
            }
        }
    }
}

struct Maker {
    name: &'static str,
    wire: Wire,
    random: Random,
    sequence_number: u64,
    bytes: String,
    events: Vec<Range<usize>>,
    text: String,
    deltas: usize,
}

impl Maker {
    fn new(name: &'static str, wire: Wire) -> Self {
        Self {
            name,
            wire,
            random: Random(0x5EED_0000_0000_0006),
            sequence_number: 0,
            bytes: String::new(),
            events: Vec::new(),
            text: String::new(),
            deltas: 0,
        }
    }

    fn finish(self) -> Input {
        Input {
            name: self.name,
            wire: self.wire,
            bytes: Bytes::from(self.bytes),
            events: self.events,
            text: self.text,
            deltas: self.deltas,
        }
    }

    fn event(&mut self, text: &str) {
        let start = self.bytes.len();
        self.bytes.push_str(text);
        self.events.push(start..self.bytes.len());
    }

    fn delta(&mut self, delta: &str, write: impl FnOnce(&mut Self, &str)) {
        write(self, delta);
        self.text.push_str(delta);
        self.deltas += 1;
    }

    /// An event of the Responses wire from its other fields, written already.
    fn responses_text(&mut self, kind: &str, fields: &str) {
        let number = self.sequence_number;
        self.sequence_number += 1;
        self.event(&format!(
            "event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{number},{fields}}}\n\n"
        ));
    }

    fn responses(&mut self, kind: &str, fields: Value) {
        let fields = fields.to_string();
        self.responses_text(kind, &fields[1..fields.len() - 1]);
    }

    fn begin(&mut self, response: &Value) {
        for kind in ["response.created", "response.in_progress"] {
            self.responses(kind, json!({ "response": response }));
        }
    }

    fn complete(&mut self, mut response: Value, output: Vec<Value>) {
        response["status"] = json!("completed");
        response["output"] = output.into();
        response["usage"] = json!({
            "input_tokens": 4_096, "input_tokens_details": {"cached_tokens": 1_024},
            "output_tokens": 2_000, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 6_096,
        });
        self.responses("response.completed", json!({ "response": response }));
    }

    fn response_object(&mut self, tools: usize) -> Value {
        let tools: Vec<_> = (0..tools)
            .map(|index| {
                json!({
                    "type": "function", "name": format!("tool_{index}"), "strict": true,
                    "description": "Does one thing with one file of the workspace.",
                    "parameters": {"type": "object", "properties": {"path": {"type": "string"}},
                        "required": ["path"], "additionalProperties": false},
                })
            })
            .collect();
        json!({
            "id": self.id("resp"), "object": "response", "created_at": 1_764_180_467,
            "status": "in_progress", "background": false, "error": null,
            "incomplete_details": null, "instructions": "Answer briefly and to the point.",
            "max_output_tokens": null, "max_tool_calls": null, "model": "gpt-5.1-2025-11-13",
            "output": [], "parallel_tool_calls": true, "previous_response_id": null,
            "prompt_cache_key": null, "reasoning": {"effort": "medium", "summary": "detailed"},
            "safety_identifier": null, "service_tier": "default", "store": true, "temperature": 1.0,
            "text": {"format": {"type": "text"}, "verbosity": "medium"}, "tool_choice": "auto",
            "tools": tools, "top_logprobs": 0, "top_p": 1.0, "truncation": "disabled",
            "usage": null, "user": null, "metadata": {},
        })
    }

    fn id(&mut self, prefix: &str) -> String {
        let digits = [(); 3].map(|()| format!("{:016x}", self.random.next()));
        format!("{prefix}_{}", digits.concat())
    }

    /// What a tokenizer makes a token of: mostly a short word after a space; now and then a line end, a quote or a letter
    /// beyond ASCII, which JSON escapes or UTF-8 makes longer.
    fn word(&mut self) -> String {
        const SYLLABLES: [&str; 12] = [
            "ta", "ri", "on", "ment", "str", "ing", "ab", "le", "co", "de", "pre", "s",
        ];
        const ODD: [&str; 8] = [
            "\n\n",
            "\"",
            ".",
            ",",
            " caf\u{e9}",
            "\u{4f60}\u{597d}",
            " \u{1f600}",
            "\\",
        ];
        if self.random.below(12) == 0 {
            return ODD[self.random.below(ODD.len())].to_owned();
        }
        let mut word = String::from(" ");
        for _ in 0..1 + self.random.below(3) {
            word.push_str(SYLLABLES[self.random.below(SYLLABLES.len())]);
        }
        word
    }

    /// Padding that hides the length of a delta.
    fn obfuscation(&mut self, delta: &str) -> String {
        const DIGITS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let length = 16usize.saturating_sub(delta.len()).max(1);
        (0..length)
            .map(|_| char::from(DIGITS[self.random.below(DIGITS.len())]))
            .collect()
    }
}

/// SplitMix64: the same numbers everywhere and for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
