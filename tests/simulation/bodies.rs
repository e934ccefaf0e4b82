//! Answers of random shape on both wires, with what they say known beforehand.

use std::fmt::Write;

use actix_responses::{ErrorKind, wire::Wire};
use serde_json::{Value, json};

use crate::rng::Rng;

/// A whole body, and what a subscriber must make of it.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    /// Where the event begins that ends the answer: who cuts at or before this place has cut the answer.
    pub(crate) terminal_at: usize,
    /// Where the bytes end without which the answer is not whole; what follows is for the connection.
    pub(crate) terminal_end: usize,
    /// The text of all messages.
    pub(crate) text: String,
    /// How many items are done in it.
    pub(crate) items_done: usize,
    pub(crate) ending: Ending,
}

/// What the server says at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Completed,
    Incomplete,
    /// An error in the stream, with its code and what that is.
    Failed(&'static str, ErrorKind),
}

pub(crate) const IN_BAND_ERRORS: [Ending; 5] = [
    Ending::Failed("server_error", ErrorKind::ServerError),
    Ending::Failed("rate_limit_exceeded", ErrorKind::RateLimited),
    Ending::Failed("server_is_overloaded", ErrorKind::Overloaded),
    Ending::Failed("context_length_exceeded", ErrorKind::ContextLengthExceeded),
    Ending::Failed("insufficient_quota", ErrorKind::QuotaExceeded),
];

pub(crate) struct Shape {
    pub(crate) wire: Wire,
    /// Makes every text and every id of this answer its own.
    pub(crate) tag: String,
    pub(crate) deltas: u64,
    pub(crate) ending: Ending,
}

struct Writer<'a> {
    rng: &'a mut Rng,
    tag: String,
    pieces: u64,
    out: String,
    body_text: String,
    items_done: usize,
    line_end: &'static str,
}

pub(crate) fn body(rng: &mut Rng, shape: Shape) -> Body {
    let line_end = rng.weighted(&[(8, "\n"), (1, "\r\n"), (1, "\r")]);
    let mut writer = Writer {
        rng,
        tag: shape.tag,
        pieces: 0,
        out: String::new(),
        body_text: String::new(),
        items_done: 0,
        line_end,
    };
    let (terminal_at, terminal_end) = match shape.wire {
        Wire::Chat => writer.chat(shape.deltas, shape.ending),
        _ => writer.responses(shape.deltas, shape.ending),
    };
    Body {
        bytes: writer.out.into_bytes(),
        terminal_at,
        terminal_end,
        text: writer.body_text,
        items_done: writer.items_done,
        ending: shape.ending,
    }
}

impl Writer<'_> {
    fn event(&mut self, data: &Value) {
        let end = self.line_end;
        if self.rng.chance(5) {
            let _ = write!(self.out, ": still here{end}{end}");
        }
        if let Some(kind) = data["type"].as_str().filter(|_| self.rng.chance(70)) {
            let _ = write!(self.out, "event: {kind}{end}");
        }
        let _ = write!(self.out, "data: {data}{end}{end}");
    }

    /// A piece of text that occurs once in a seed.
    fn piece(&mut self) -> String {
        self.pieces += 1;
        let filler = self
            .rng
            .pick(&["", " word", "é€", "😀", "\n", "\"\\", " \u{7f}"]);
        format!("<{}.{}>{filler}", self.tag, self.pieces)
    }

    fn responses(&mut self, deltas: u64, ending: Ending) -> (usize, usize) {
        let id = format!("resp_{}", self.tag);
        self.event(
            &json!({"type": "response.created", "response": {"id": id, "status": "in_progress"}}),
        );
        if self.rng.chance(50) {
            self.event(&json!({"type": "response.in_progress", "response": {"id": id}}));
        }
        let mut left = deltas;
        let mut index = 0;
        while left > 0 {
            let count = self.rng.between(1, left);
            left -= count;
            self.item(index, count);
            index += 1;
        }
        if self.rng.chance(20) {
            self.event(&json!({"type": "response.novelty", "tag": self.tag}));
        }
        let at = self.out.len();
        match ending {
            Ending::Completed => self.event(&json!({"type": "response.completed", "response": {"id": id,
                "status": "completed", "usage": {"input_tokens": 1, "output_tokens": deltas, "total_tokens": deltas + 1}}})),
            Ending::Incomplete => self.event(&json!({"type": "response.incomplete", "response": {"id": id,
                "incomplete_details": {"reason": "max_output_tokens"}}})),
            Ending::Failed(code, _) => {
                let error = json!({"code": code, "message": "a scripted failure"});
                let data = match self.rng.chance(50) {
                    true => json!({"type": "response.failed", "response": {"id": id, "error": error}}),
                    false => json!({"type": "error", "error": error}),
                };
                self.event(&data);
            }
        }
        (at, self.out.len())
    }

    fn item(&mut self, index: u64, deltas: u64) {
        let tag = self.tag.clone();
        let is_call = self.rng.chance(25);
        let id = format!("item_{tag}_{index}");
        let added = match is_call {
            true => {
                json!({"id": id, "type": "function_call", "call_id": id, "name": "f", "arguments": ""})
            }
            false => json!({"id": id, "type": "message", "role": "assistant", "content": []}),
        };
        self.event(
            &json!({"type": "response.output_item.added", "output_index": index, "item": added}),
        );
        let mut whole = String::new();
        for _ in 0..deltas {
            let piece = self.piece();
            whole.push_str(&piece);
            let kind = match is_call {
                true => "response.function_call_arguments.delta",
                false => "response.output_text.delta",
            };
            self.event(&json!({"type": kind, "item_id": id, "output_index": index, "content_index": 0, "delta": piece}));
        }
        let done = match is_call {
            true => {
                json!({"id": id, "type": "function_call", "call_id": id, "name": "f", "arguments": whole})
            }
            false => {
                self.body_text.push_str(&whole);
                json!({"id": id, "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": whole}]})
            }
        };
        self.event(
            &json!({"type": "response.output_item.done", "output_index": index, "item": done}),
        );
        self.items_done += 1;
    }

    fn chunk(&mut self, delta: Value, finish: Value) {
        let id = format!("chatcmpl-{}", self.tag);
        self.event(
            &json!({"id": id, "object": "chat.completion.chunk", "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}),
        );
    }

    fn chat(&mut self, deltas: u64, ending: Ending) -> (usize, usize) {
        self.chunk(json!({"role": "assistant", "content": ""}), Value::Null);
        let calls = match deltas {
            0 => 0,
            _ => self.rng.below(deltas.min(3)),
        };
        for _ in calls..deltas {
            let piece = self.piece();
            self.body_text.push_str(&piece);
            self.chunk(json!({"content": piece}), Value::Null);
        }
        for call in 0..calls {
            let id = format!("call_{}_{call}", self.tag);
            let piece = self.piece();
            let call = json!({"index": call, "id": id, "type": "function", "function": {"name": "f", "arguments": piece}});
            self.chunk(json!({"tool_calls": [call]}), Value::Null);
        }
        // The items that the chunks add up to.
        self.items_done = calls as usize + usize::from(deltas > calls);
        let at = self.out.len();
        let end = self.line_end;
        match ending {
            Ending::Failed(code, _) => {
                self.event(&json!({"error": {"code": code, "message": "a scripted failure"}}));
                return (at, self.out.len());
            }
            Ending::Completed => self.chunk(json!({}), json!("stop")),
            Ending::Incomplete => self.chunk(json!({}), json!("length")),
        }
        let finished = self.out.len();
        if self.rng.chance(60) {
            self.event(&json!({"id": format!("chatcmpl-{}", self.tag), "choices": [],
                "usage": {"prompt_tokens": 1, "completion_tokens": deltas, "total_tokens": deltas + 1}}));
        }
        if self.rng.chance(70) {
            let _ = write!(self.out, "data: [DONE]{end}{end}");
        }
        (at, finished)
    }
}

/// The answer to a compaction, whole or as a stream, or a list of models. It has the tag in it once, and nothing else counts.
pub(crate) fn question_body(compacts: bool, is_stream: bool, tag: &str, ending: Ending) -> Body {
    let item = json!({"type": "compaction", "encrypted_content": tag});
    let answer = match (compacts, ending) {
        (_, Ending::Failed(code, _)) => {
            json!({"error": {"code": code, "message": "a scripted failure"}})
        }
        (true, _) => json!({"id": "cmp", "object": "response.compaction", "output": [item]}),
        (false, _) => json!({"object": "list", "data": [{"id": tag}]}),
    };
    let events = match (is_stream, ending) {
        (false, _) => vec![answer],
        (true, Ending::Failed(..)) => vec![json!({"type": "error", "error": answer["error"]})],
        (true, _) => vec![
            json!({"type": "response.created", "response": {"id": "resp"}}),
            json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
            json!({"type": "response.completed", "response": {"id": "resp", "output": []}}),
        ],
    };
    let mut bytes = Vec::new();
    let mut terminal_at = 0;
    for event in events {
        terminal_at = bytes.len();
        match is_stream {
            true => bytes.extend_from_slice(format!("data: {event}\n\n").as_bytes()),
            false => bytes.extend_from_slice(event.to_string().as_bytes()),
        }
    }
    Body {
        // JSON that lacks its last byte is cut.
        terminal_at: if is_stream {
            terminal_at
        } else {
            bytes.len() - 1
        },
        terminal_end: bytes.len(),
        bytes,
        text: tag.to_owned(),
        items_done: 1,
        ending,
    }
}
