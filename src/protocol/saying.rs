//! Whether JSON says something of an answer, or only announces it.

use super::RawJson;
use crate::json::{
    members::{Member, Members, unescaped, values},
    walk::elements,
};

/// The members of an event without a form of its own that can hold a part of an answer.
const CONTENTS: [&str; 22] = [
    "annotation",
    "arguments",
    "audio",
    "choices",
    "citations",
    "code",
    "command",
    "content",
    "delta",
    "diff",
    "image",
    "images",
    "input",
    "item",
    "output",
    "output_text",
    "part",
    "partial_image_b64",
    "refusal",
    "result",
    "search_results",
    "text",
];

/// What an item and its parts are called. It says nothing of what is in them.
const LABELS: [&str; 16] = [
    "call_id",
    "container_id",
    "created_by",
    "execution",
    "finish_reason",
    "id",
    "mode",
    "model",
    "name",
    "namespace",
    "native_finish_reason",
    "phase",
    "role",
    "server_label",
    "status",
    "type",
];

/// The members of an item that hold what it says, beside those of an event. What a server seals into an item when it announces
/// it, such as `encrypted_content`, says nothing yet.
const ITEM_CONTENTS: [&str; 10] = [
    "action",
    "error",
    "operation",
    "outputs",
    "patch",
    "queries",
    "query",
    "results",
    "summary",
    "tools",
];

/// Whether an item that is only announced holds a part of an answer already.
pub(super) fn item_says_something(item: &RawJson) -> bool {
    says_something(item, |name| {
        CONTENTS.contains(&name) || ITEM_CONTENTS.contains(&name)
    })
}

/// Whether an event does. Those that a server sends to its own client, and signs of life, hold no part of an answer.
pub(super) fn event_says_something(name: &str, event: &RawJson) -> bool {
    // These two come in every stream, with all of the request in them.
    let is_sign_of_life = matches!(name, "response.queued" | "response.in_progress");
    !is_sign_of_life
        && !name.starts_with("codex.")
        && says_something(event, |name| CONTENTS.contains(&name))
}

/// Whether an event says something, or how an item goes on that the server works at, such as a search.
pub(super) fn event_changes_answer(name: &str, event: &RawJson) -> bool {
    let names_item = || values(event.get(), ["item_id"]) != [None];
    event_says_something(name, event) || (name.starts_with("response.") && names_item())
}

/// How deep a text is looked for. Each level is walked over once more than the one around it; what is nested deeper may say anything.
const MAX_DEPTH: usize = 16;

/// Whether there is a text in a member that counts. What is no object may say anything.
fn says_something(json: &RawJson, counts: fn(&str) -> bool) -> bool {
    let json = json.get();
    !json.starts_with('{') || holds_text(json, counts, MAX_DEPTH)
}

/// Whether a value is a text or holds one. Numbers are places and counts.
fn holds_text(json: &str, counts: fn(&str) -> bool, depth: usize) -> bool {
    let inside = |json: &str| holds_text(json, |name| !LABELS.contains(&name), depth - 1);
    match json.as_bytes().first() {
        Some(b'{' | b'[') if depth == 0 => true,
        Some(b'{') => Members::of(json)
            .any(|Member { name, value }| counts(&unescaped(name)) && inside(&json[value])),
        Some(b'[') => elements(json).any(inside),
        Some(b'"') => json != "\"\"",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        protocol::ResponseEvent,
        wire::{StreamDecoder, StreamLimits, Wire},
    };

    fn is_output(event: &Value) -> bool {
        let mut events = Vec::new();
        let end = StreamDecoder::new(Wire::Responses, StreamLimits::default())
            .feed(format!("data: {event}\n\n").as_bytes(), &mut events);
        assert_eq!(end, None, "{event}");
        events.iter().any(ResponseEvent::is_output)
    }

    #[test]
    fn what_announces_an_answer_is_no_part_of_it() {
        let added = |item: Value| json!({"type": "response.output_item.added", "item": item});
        for event in [
            json!({"type": "ping"}),
            json!({"type": "keepalive", "sequence_number": 3}),
            json!({"type": "response.keep_alive"}),
            json!({"type": "response.heartbeat", "timestamp": "now"}),
            json!({"type": "response.created", "response": {"id": "r"}}),
            json!({"type": "response.in_progress", "response": {"id": "r", "output": []}}),
            json!({"type": "response.queued", "response": {"id": "r"}}),
            json!({"type": "codex.rate_limits"}),
            json!({"type": "codex.novelty", "text": "a"}),
            json!({"type": "response.metadata", "metadata": {"a": "b"}}),
            json!({"type": "response.headers", "headers": {"openai-model": "m"}}),
            json!({"type": "vendor.novelty"}),
            json!({"type": "vendor.novelty", "delta": "", "part": {"type": "text", "text": ""}}),
            json!({"type": "response.web_search_call.searching", "item_id": "w", "output_index": 0}),
            json!({"type": "response.mcp_call.in_progress", "item_id": "w"}),
            json!({"type": "response.content_part.added", "part": {"type": "output_text", "text": "", "annotations": []}}),
            json!({"type": "response.reasoning_summary_part.added", "summary_index": 0}),
            json!({"type": "response.output_text.delta", "delta": ""}),
            json!({"type": "response.function_call_arguments.delta", "delta": ""}),
            added(
                json!({"type": "message", "id": "m", "role": "assistant", "status": "in_progress", "content": []}),
            ),
            added(
                json!({"type": "message", "content": [{"type": "output_text", "text": "", "annotations": []}], "phase": "final_answer"}),
            ),
            added(json!({"type": "reasoning", "id": "rs", "summary": []})),
            added(
                json!({"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": ""}),
            ),
            added(json!({"type": "custom_tool_call", "call_id": "c", "name": "f", "input": ""})),
            added(json!({"type": "web_search_call", "id": "w", "status": "in_progress"})),
            added(
                json!({"type": "code_interpreter_call", "container_id": "c", "code": "", "outputs": null}),
            ),
            added(json!({"type": "mcp_list_tools", "server_label": "s", "tools": []})),
            added(
                json!({"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "gA"}),
            ),
            added(
                json!({"type": "reasoning", "summary": [], "content": null, "signature": "s", "format": "f"}),
            ),
            added(json!({"type": "function_call", "name": "f", "arguments": "", "recipient": "r"})),
            added(json!({"type": "compaction", "id": "c", "encrypted_content": "gA"})),
            added(json!({"type": "novelty", "payload": "a"})),
            added(json!({"type": "novelty", "content": [[[[{"a": [1, true, null, {}]}]]]]})),
            added(json!({})),
        ] {
            assert!(!is_output(&event), "{event}");
        }
    }

    #[test]
    fn what_is_nested_too_deep_to_be_looked_at_may_say_anything() {
        for (depth, expected) in [(10, false), (20, true), (100_000, true)] {
            let nested = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
            let json = RawJson::parse(&format!("{{\"content\":{nested}}}")).unwrap();
            assert_eq!(item_says_something(&json), expected, "{depth}");
        }
    }

    #[test]
    fn what_holds_a_part_of_it_is_output() {
        let added = |item: Value| json!({"type": "response.output_item.added", "item": item});
        for event in [
            json!({"type": "response.output_text.delta", "delta": "a"}),
            json!({"type": "response.refusal.delta", "delta": "a"}),
            json!({"type": "response.reasoning_text.delta", "delta": "a"}),
            json!({"type": "response.reasoning_summary_text.delta", "delta": " "}),
            json!({"type": "response.custom_tool_call_input.delta", "delta": "a"}),
            json!({"type": "response.output_text.done", "text": "a"}),
            json!({"type": "response.code_interpreter_call_code.delta", "delta": "a"}),
            json!({"type": "response.image_generation_call.partial_image", "partial_image_b64": "AA=="}),
            json!({"type": "response.audio.delta", "delta": "AA=="}),
            json!({"type": "response.content_part.added", "part": {"type": "output_text", "text": "a"}}),
            json!({"type": "vendor.novelty", "content": [{"deep": {"text": "a"}}]}),
            json!({"type": "response.output_item.done", "item": {"type": "reasoning", "summary": []}}),
            added(json!({"type": "message", "content": [{"type": "output_text", "text": "a"}]})),
            added(json!({"type": "message", "content": "a"})),
            added(json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}]})),
            added(
                json!({"type": "reasoning", "content": [{"type": "reasoning_text", "text": "a"}]}),
            ),
            added(json!({"type": "function_call", "name": "f", "arguments": "{"})),
            added(json!({"type": "function_call", "name": "f", "arguments": {"a": "b"}})),
            added(json!({"type": "custom_tool_call", "name": "f", "input": "a"})),
            added(json!({"type": "code_interpreter_call", "code": "a"})),
            added(json!({"type": "image_generation_call", "result": "AA=="})),
            added(json!({"type": "file_search_call", "queries": ["a"]})),
            added(
                json!({"type": "local_shell_call", "action": {"type": "exec", "command": ["ls"]}}),
            ),
            json!({"type": "response.output_item.done", "item": {"type": "reasoning", "encrypted_content": "gA"}}),
        ] {
            assert!(is_output(&event), "{event}");
        }
    }
}
