//! Server-sent events as the API sends them.

use serde_json::{Value, json};

/// One event as bytes, with its `event:` line.
pub(crate) fn event(data: Value) -> String {
    let kind = data["type"].as_str().unwrap_or("message");
    format!("event: {kind}\ndata: {data}\n\n")
}

pub(crate) fn created() -> String {
    event(json!({"type": "response.created", "sequence_number": 0,
        "response": {"id": "resp_1", "object": "response", "status": "in_progress"}}))
}

pub(crate) fn in_progress() -> String {
    event(json!({"type": "response.in_progress", "sequence_number": 1,
        "response": {"id": "resp_1", "status": "in_progress"}}))
}

pub(crate) fn item_added() -> String {
    event(
        json!({"type": "response.output_item.added", "output_index": 0,
        "item": {"id": "msg_1", "type": "message", "role": "assistant", "content": []}}),
    )
}

pub(crate) fn delta(text: &str) -> String {
    event(
        json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0,
        "content_index": 0, "delta": text, "logprobs": []}),
    )
}

pub(crate) fn item_done(text: &str) -> String {
    event(
        json!({"type": "response.output_item.done", "output_index": 0,
        "item": {"id": "msg_1", "type": "message", "role": "assistant",
            "content": [{"type": "output_text", "text": text, "annotations": []}]}}),
    )
}

pub(crate) fn completed() -> String {
    event(json!({"type": "response.completed",
        "response": {"id": "resp_1", "status": "completed",
            "usage": {"input_tokens": 3, "input_tokens_details": {"cached_tokens": 1},
                "output_tokens": 2, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 5}}}))
}

pub(crate) fn incomplete(reason: &str) -> String {
    event(json!({"type": "response.incomplete",
        "response": {"id": "resp_1", "status": "incomplete", "incomplete_details": {"reason": reason}}}))
}

pub(crate) fn failed(code: &str, message: &str) -> String {
    event(json!({"type": "response.failed",
        "response": {"id": "resp_1", "status": "failed", "error": {"code": code, "message": message}}}))
}

/// A whole answer of two deltas.
pub(crate) fn answer() -> String {
    [
        created(),
        item_added(),
        delta("Hel"),
        delta("lo"),
        item_done("Hello"),
        completed(),
    ]
    .concat()
}

/// The names of what [`answer`] becomes.
pub(crate) const ANSWER: [&str; 6] = [
    "created",
    "output_item_added",
    "output_text_delta",
    "output_text_delta",
    "output_item_done",
    "completed",
];
