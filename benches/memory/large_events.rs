//! `large_event`: one event of 30 MB, of each shape that costs something else: what is held at its peak, and how the time grows.

use actix_responses::wire::{StreamDecoder, StreamLimits, Wire};
use serde_json::{Value, json};

use super::{
    held::{forget_peak, peak_bytes, resident_bytes},
    support::clock,
};

/// The largest is within `max_event_bytes`.
pub const SIZES: [usize; 2] = [7_500_000, 30_000_000];

/// As a socket is read.
const CHUNK: usize = 16 * 1024;

/// The wire, and what stands before, in the middle again and again, and behind.
pub const SHAPES: [(&str, Wire, [&str; 3]); 30] = {
    use Wire::{Chat, Responses};
    const CREATED: &str = r#"{"type":"response.created","response":{"id":"r","tools":["#;
    const DONE: &str = r#"{"type":"response.completed","response":{"id":"r","output":["#;
    const ITEM: &str = r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message","role":"assistant","content":["#;
    const DELTA: &str = r#"{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":""#;
    const CHUNK: &str = r#"{"id":"c","choices":[{"index":0,"delta":{"content":""#;
    [
        ("text", Responses, [DELTA, "some words ", r#""}"#]),
        ("escapes", Responses, [DELTA, r"\u00e9\n", r#""}"#]),
        ("no_ascii", Responses, [DELTA, "\u{1F600}\u{e9}", r#""}"#]),
        (
            "logprobs",
            Responses,
            [
                r#"{"type":"response.output_text.delta","item_id":"m","output_index":0,"content_index":0,"delta":"a","logprobs":["#,
                r#"{"token":"a","logprob":-0.5,"bytes":[97]},"#,
                "0]}",
            ],
        ),
        (
            "created_objects",
            Responses,
            [CREATED, r#"{"a":{}},"#, "0]}}"],
        ),
        ("created_numbers", Responses, [CREATED, "0,", "0]}}"]),
        (
            "created_deep",
            Responses,
            [
                r#"{"type":"response.created","response":{"id":"r","a":"#,
                r#"[[[[[[[[[[]]]]]]]]]]"#,
                "}}",
            ],
        ),
        (
            "completed_items",
            Responses,
            [
                DONE,
                r#"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"a"}]},"#,
                "{}]}}",
            ],
        ),
        ("completed_empty", Responses, [DONE, "{},", "{}]}}"]),
        (
            "item_parts",
            Responses,
            [
                ITEM,
                r#"{"type":"output_text","text":"a"},"#,
                r#"{"type":"output_text","text":"a"}]}}"#,
            ],
        ),
        (
            "item_text",
            Responses,
            [
                r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message","role":"assistant","content":[{"type":"output_text","text":""#,
                "some words ",
                r#""}]}}"#,
            ],
        ),
        (
            "arguments",
            Responses,
            [
                r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","call_id":"c","name":"f","arguments":""#,
                r#"{\"a\":1}"#,
                r#""}}"#,
            ],
        ),
        (
            "arguments_of_text",
            Responses,
            [
                r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":\""#,
                "some words ",
                r#"\"}"}}"#,
            ],
        ),
        (
            "arguments_cut",
            Responses,
            [
                r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":\""#,
                "some words ",
                r#""}}"#,
            ],
        ),
        (
            "arguments_done",
            Responses,
            [
                r#"{"type":"response.function_call_arguments.done","item_id":"i","output_index":0,"arguments":"{\"a\":\""#,
                "some words ",
                r#"\"}"}"#,
            ],
        ),
        (
            "item_escapes",
            Responses,
            [
                r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message","role":"assistant","content":[{"type":"output_text","text":""#,
                "some words\\n",
                r#""}]}}"#,
            ],
        ),
        (
            "text_done",
            Responses,
            [
                r#"{"type":"response.output_text.done","item_id":"m","output_index":0,"content_index":0,"text":""#,
                "some words\\n",
                r#""}"#,
            ],
        ),
        (
            "completed_text",
            Responses,
            [
                r#"{"type":"response.completed","response":{"id":"r","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":""#,
                "some words\\n",
                r#""}]}]}}"#,
            ],
        ),
        (
            "whole_response",
            Responses,
            [
                r#"{"object":"response","id":"r","status":"completed","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":""#,
                "some words\\n",
                r#""}]}]}"#,
            ],
        ),
        (
            "custom_input",
            Responses,
            [
                r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"custom_tool_call","call_id":"c","name":"f","input":""#,
                "some words\\n",
                r#""}}"#,
            ],
        ),
        (
            "summary",
            Responses,
            [
                r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"reasoning","id":"i","summary":[{"type":"summary_text","text":""#,
                "some words\\n",
                r#""}]}}"#,
            ],
        ),
        (
            "completed_arguments",
            Responses,
            [
                r#"{"type":"response.completed","response":{"id":"r","output":[{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":\""#,
                "some words ",
                r#"\"}"}]}}"#,
            ],
        ),
        (
            "other_item",
            Responses,
            [
                r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"image_generation_call","id":"i","result":""#,
                "some words\\n",
                r#""}}"#,
            ],
        ),
        (
            "failed_escapes",
            Responses,
            [
                r#"{"type":"response.failed","response":{"id":"r","error":{"code":"server_error","message":""#,
                "some words\\n",
                r#""}}}"#,
            ],
        ),
        (
            "unknown",
            Responses,
            [
                r#"{"type":"response.of_tomorrow","x":["#,
                r#"{"a":0},"#,
                "0]}",
            ],
        ),
        (
            "failed",
            Responses,
            [
                r#"{"type":"response.failed","response":{"id":"r","error":{"code":"server_error","message":""#,
                "some words ",
                r#""}}}"#,
            ],
        ),
        ("chat_text", Chat, [CHUNK, "some words ", r#""}}]}"#]),
        ("chat_escapes", Chat, [CHUNK, "some words\\n", r#""}}]}"#]),
        (
            "chat_arguments",
            Chat,
            [
                r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{\"a\":\""#,
                "some words ",
                r#"\"}"}}]}}]}"#,
            ],
        ),
        (
            "chat_values",
            Chat,
            [
                r#"{"id":"c","choices":[{"index":0,"delta":{"content":"a","annotations":["#,
                r#"{"a":0},"#,
                "0]}}]}",
            ],
        ),
    ]
};

pub fn run(shape: &str) -> Value {
    let (_, wire, parts) = SHAPES
        .into_iter()
        .find(|(name, ..)| *name == shape)
        .expect("a shape");
    let [small, large] = SIZES.map(|size| read(wire, parts, size));
    json!({
        "bytes": SIZES[1],
        "peak_over_bytes": large.0 as f64 / SIZES[1] as f64,
        "ns_a_byte_of_7_5_mb": small.1 / SIZES[0] as f64,
        "ns_a_byte": large.1 / SIZES[1] as f64,
        "events": large.2,
    })
}

/// The peak beyond what is held before, its events included; nanoseconds of CPU time; events.
fn read(wire: Wire, [head, middle, tail]: [&str; 3], size: usize) -> (usize, f64, usize) {
    let mut decoder = StreamDecoder::new(wire, StreamLimits::default());
    let mut events = Vec::new();
    // What a reader reads into is there before.
    let mut chunk = "x".repeat(2 * CHUNK);
    let (before, began) = (resident_bytes(), clock::process_cpu());
    forget_peak();
    // The text is made as it is read, so that nobody else holds it.
    chunk.replace_range(.., "data: ");
    chunk += head;
    let mut left = size - head.len() - tail.len();
    while left >= middle.len() {
        chunk += middle;
        left -= middle.len();
        if chunk.len() >= CHUNK {
            decoder.feed(chunk.as_bytes(), &mut events);
            chunk.clear();
        }
    }
    chunk += tail;
    chunk += "\n\n";
    let end = decoder.feed(chunk.as_bytes(), &mut events);
    let spent = clock::process_cpu() - began;
    let peak = peak_bytes().saturating_sub(before);
    let count = events.len() + usize::from(end.is_some());
    (peak, spent.as_secs_f64() * 1e9, count)
}
