//! Prompts and answers in the shape that the conventions have for them, where a program asks for that.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value, json};
use tracing::{Span, field::display};

use crate::{
    protocol::{Prompt, ResponseEvent},
    secret::Secrets,
};

/// What a request's span is to say of the prompt and the answer. Each is bounded: of the input the oldest is left out, of a text that is too
/// long its end.
pub(crate) struct Content {
    limit: usize,
    /// Until it is recorded.
    sent: Mutex<Option<Sent>>,
}

struct Sent {
    instructions: Option<String>,
    messages: String,
}

impl Content {
    pub(crate) fn new(prompt: &Prompt, limit: usize) -> Self {
        let instructions = prompt.instructions.as_deref();
        let instructions = instructions.filter(|text| !text.is_empty());
        let messages = prompt.input.iter().rev();
        let messages = messages.map(|item| message(object_of(item)));
        let sent = Sent {
            instructions: instructions.map(|text| {
                let part = json!({"type": "text", "content": text});
                Value::Array(Room(limit).fill([part])).to_string()
            }),
            messages: Value::Array(newest(messages, limit)).to_string(),
        };
        Self {
            limit,
            sent: Mutex::new(Some(sent)),
        }
    }

    /// Records with the request's span what is sent, once.
    pub(crate) fn record_sent(&self, request: &Span, secrets: &Secrets) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sent) = sent.take() else {
            return;
        };
        if let Some(instructions) = &sent.instructions {
            let instructions = &*secrets.hide(instructions);
            request.record("gen_ai.system_instructions", instructions);
        }
        request.record("gen_ai.input.messages", &*secrets.hide(&sent.messages));
    }

    /// Records with the request's span what its events say of the answer: one message, made of the items that are whole.
    pub(super) fn record_answer<'a>(
        &self,
        request: &Span,
        events: impl Iterator<Item = &'a ResponseEvent>,
        reason: Option<&str>,
        secrets: &Secrets,
    ) {
        let mut parts = Vec::new();
        for event in events {
            match event {
                ResponseEvent::Restarted(_) => parts.clear(),
                ResponseEvent::OutputItemDone(item) => {
                    let item = serde_json::from_str(item.raw().get()).unwrap_or_default();
                    parts.extend(message(item).parts);
                }
                _ => {}
            }
        }
        let answer = json!([{
            "role": "assistant",
            "parts": Room(self.limit).fill(parts),
            "finish_reason": reason.unwrap_or_default(),
        }]);
        let answer = answer.to_string();
        request.record("gen_ai.output.messages", display(secrets.hide(&answer)));
    }
}

/// A message of the conventions.
struct Message {
    role: String,
    parts: Vec<Value>,
}

fn object_of(item: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(item) {
        Ok(Value::Object(item)) => item,
        _ => Map::new(),
    }
}

/// An item of a conversation as a message. What the conventions have no part for is a part as it is, which they allow.
fn message(mut item: Map<String, Value>) -> Message {
    let mut take = |name: &str| item.remove(name).unwrap_or_default();
    let of = |role: &str, part: Value| Message {
        role: role.to_owned(),
        parts: vec![part],
    };
    let kind = take("type");
    match kind.as_str() {
        None | Some("message") => Message {
            role: take("role").as_str().unwrap_or("assistant").to_owned(),
            parts: parts(take("content")),
        },
        Some("reasoning") => {
            let thoughts = parts(take("summary"))
                .into_iter()
                .chain(parts(take("content")));
            let thoughts = thoughts.map(|mut part| {
                part["type"] = "reasoning".into();
                part
            });
            Message {
                role: "assistant".to_owned(),
                parts: thoughts.collect(),
            }
        }
        Some("function_call" | "custom_tool_call") => {
            let arguments = match take("arguments") {
                Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
                _ => take("input"),
            };
            let (id, name) = (take("call_id"), take("name"));
            let call = json!({"type": "tool_call", "id": id, "name": name, "arguments": arguments});
            of("assistant", call)
        }
        Some("function_call_output" | "custom_tool_call_output") => {
            let (id, response) = (take("call_id"), take("output"));
            let response = json!({"type": "tool_call_response", "id": id, "response": response});
            of("tool", response)
        }
        Some(_) => {
            item.insert("type".to_owned(), kind);
            of("assistant", Value::Object(item))
        }
    }
}

/// The parts of a message's content.
fn parts(content: Value) -> Vec<Value> {
    let text = |text: Value| json!({"type": "text", "content": text});
    match content {
        Value::Null => Vec::new(),
        Value::Array(parts) => parts
            .into_iter()
            .map(|mut part| match part.get_mut("text") {
                Some(said) if said.is_string() => text(said.take()),
                _ => part,
            })
            .collect(),
        said => vec![text(said)],
    }
}

/// The newest messages that there is room for, oldest first.
fn newest(messages: impl Iterator<Item = Message>, limit: usize) -> Vec<Value> {
    let mut room = Room(limit.saturating_sub(2));
    let mut kept = Vec::new();
    for Message { role, parts } in messages {
        room.0 = room.0.saturating_sub(role.len() + FRAME_BYTES);
        let parts = room.fill(parts);
        if parts.is_empty() {
            break;
        }
        kept.push(json!({"role": role, "parts": parts}));
    }
    kept.reverse();
    kept
}

/// What a message is beside its role and its parts, and the comma behind it.
const FRAME_BYTES: usize = r#"{"parts":[],"role":""},"#.len();

/// How many bytes are left.
struct Room(usize);

impl Room {
    /// The parts that there is room for, the last of them cut where it is a text. There is none behind it.
    fn fill(&mut self, parts: impl IntoIterator<Item = Value>) -> Vec<Value> {
        let parts = parts.into_iter();
        let fitting = parts.map_while(|mut part| {
            let bytes = part.to_string().len() + 1;
            if bytes <= self.0 {
                self.0 -= bytes;
                return Some(part);
            }
            let left = std::mem::take(&mut self.0);
            let mut text = part.get("content")?.as_str()?.to_owned();
            let mut end = left;
            // What it is written as may be longer than it is.
            while end > 0 {
                while !text.is_char_boundary(end.min(text.len())) {
                    end -= 1;
                }
                text.truncate(end);
                part["content"] = format!("{text}…").into();
                if part.to_string().len() < left {
                    return Some(part);
                }
                end /= 2;
            }
            None
        });
        fitting.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ResponseItem;

    fn input(items: Vec<ResponseItem>, limit: usize) -> Value {
        let content = Content::new(&Prompt::new(items), limit);
        let sent = content.sent.lock().unwrap().take().unwrap();
        assert!(sent.messages.len() <= limit.max(2), "{}", sent.messages);
        serde_json::from_str(&sent.messages).unwrap()
    }

    #[test]
    fn items_are_messages_of_the_conventions() {
        let items = json!([
            {"role": "user", "content": "a"},
            {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "b"},
                {"type": "input_image", "image_url": "https://host/c.png"},
            ]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "d"}]},
            {"type": "function_call", "call_id": "1", "name": "e", "arguments": "{\"f\": 1}"},
            {"type": "custom_tool_call", "call_id": "2", "name": "g", "input": "h"},
            {"type": "function_call_output", "call_id": "1", "output": "i"},
            {"type": "web_search_call", "id": "j", "status": "completed"},
        ]);
        let items = serde_json::from_value(items).unwrap();
        let expected = json!([
            {"role": "user", "parts": [{"type": "text", "content": "a"}]},
            {"role": "user", "parts": [
                {"type": "text", "content": "b"},
                {"type": "input_image", "image_url": "https://host/c.png"},
            ]},
            {"role": "assistant", "parts": [{"type": "reasoning", "content": "d"}]},
            {"role": "assistant", "parts": [
                {"type": "tool_call", "id": "1", "name": "e", "arguments": {"f": 1}},
            ]},
            {"role": "assistant", "parts": [
                {"type": "tool_call", "id": "2", "name": "g", "arguments": "h"},
            ]},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": "i"}]},
            {"role": "assistant", "parts": [
                {"type": "web_search_call", "id": "j", "status": "completed"},
            ]},
        ]);
        assert_eq!(input(items, 10_000), expected);
    }

    #[test]
    fn what_is_captured_keeps_its_bound_and_is_json() {
        for text in ["old \u{1}\"ä\"".repeat(40), "x".repeat(300), String::new()] {
            let items = [&text, "new"].map(ResponseItem::user_text);
            for limit in 0..1_000 {
                let kept = input(items.to_vec(), limit);
                let last = kept.as_array().unwrap().last();
                let said = last.map(|last| &last["parts"][0]["content"]);
                assert!(
                    limit < 100 || said == Some(&"new".into()),
                    "{limit}: {kept}"
                );
            }
        }
        let image = json!([{"role": "user", "content": [{"type": "input_image", "image_url": "x".repeat(99)}]}]);
        let image = serde_json::from_value(image).unwrap();
        assert_eq!(input(image, 80), json!([]));
    }
}
