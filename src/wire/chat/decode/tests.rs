use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::protocol::{TokenUsage, ToolCallInput};

mod field;

/// What a run of events decodes to, one line an event; the last line says how it ended, or that it did not.
fn decode<T: AsRef<str>>(events: &[T]) -> Vec<String> {
    let mut dialect = ChatDialect::default();
    let mut lines = Vec::new();
    for data in events {
        let (event, data) = match data.as_ref().split_once('\n') {
            Some((event, data)) => (Some(event), data),
            None => (None, data.as_ref()),
        };
        let event = SseEvent {
            event,
            data,
            last_event_id: "",
        };
        let mut out = Vec::new();
        let place = match event.event {
            Some("error") => TextPlace::Error,
            _ => TextPlace::Data,
        };
        let step = match dialect.on_event(event, &mut out) {
            Step::Unread => dialect.on_text(data, place, &mut out),
            step => step,
        };
        lines.extend(out.iter().map(line));
        match step {
            Step::Continue | Step::Unread => {}
            Step::Finishing { .. } => lines.push("finishing".to_owned()),
            Step::End(terminal) => {
                lines.push(line(&terminal.into()));
                return lines;
            }
        }
    }
    let mut out = Vec::new();
    let terminal = dialect.finish(&mut out);
    lines.extend(out.iter().map(line));
    lines.push(format!("at the end: {}", line(&terminal.into())));
    lines
}

fn line(event: &ResponseEvent) -> String {
    let item = |index: Option<u32>, id: &Option<crate::protocol::Id>| {
        let id = id.as_deref().expect("Chat deltas name their item");
        let index = index.expect("Chat deltas have a place");
        assert!(id.ends_with(&format!("_{index}")), "{id} at {index}");
        index
    };
    let usage = |usage: &Option<TokenUsage>| {
        usage.map_or(String::new(), |usage| {
            format!(" {}+{}", usage.input_tokens, usage.output_tokens)
        })
    };
    let odd = |anomalies: &StreamAnomalies| match &anomalies.first_malformed {
        Some(why) => format!(" [{} malformed: {why}]", anomalies.malformed_events),
        None => String::new(),
    };
    match event {
        ResponseEvent::Created(created) => {
            format!("created {}", created.response_id.as_deref().unwrap_or("-"))
        }
        ResponseEvent::OutputItemAdded(added) => format!("added {}", added.raw()),
        ResponseEvent::OutputItemDone(done) => format!("done {}", done.raw()),
        ResponseEvent::OutputTextDelta(text) => {
            let index = item(text.output_index, &text.item_id);
            let logprobs = text.logprobs.as_ref();
            let logprobs = logprobs.map_or(String::new(), |raw| format!(" {raw}"));
            format!(
                "text {index}.{} {}{logprobs}",
                text.content_index.unwrap_or(99),
                text.delta
            )
        }
        ResponseEvent::RefusalDelta(text) => format!(
            "refusal {}.{} {}",
            item(text.output_index, &text.item_id),
            text.content_index.unwrap_or(99),
            text.delta
        ),
        ResponseEvent::ReasoningContentDelta(text) => format!(
            "reasoning {}.{} {}",
            item(text.output_index, &text.item_id),
            text.content_index,
            text.delta
        ),
        ResponseEvent::ToolCallInputDelta(input) => format!(
            "{} {} {} {}",
            match input.input {
                ToolCallInput::CustomInput => "custom",
                _ => "arguments",
            },
            item(input.output_index, &input.item_id),
            input.call_id.as_deref().unwrap_or("-"),
            input.delta
        ),
        ResponseEvent::Other(other) => format!("other {} {}", other.event, other.raw),
        ResponseEvent::Completed(end) => {
            format!(
                "completed{}{}",
                usage(&end.token_usage),
                odd(&end.anomalies)
            )
        }
        ResponseEvent::Incomplete(end) => format!(
            "incomplete {}{}{}",
            end.reason,
            usage(&end.token_usage),
            odd(&end.anomalies)
        ),
        ResponseEvent::Failed(error) => format!(
            "failed {}: {}{}",
            error.kind(),
            error.message(),
            odd(&error.details().anomalies)
        ),
        other => format!("{other:?}"),
    }
}

fn check<T: AsRef<str>>(events: &[T], expected: &[&str]) {
    let lines = decode(events);
    assert_eq!(lines, expected, "\n{}\n", lines.join("\n"));
}

/// A chunk `c` with one choice.
fn choice(index: u32, delta: Value, finish_reason: Option<&str>) -> String {
    json!({"id": "c", "object": "chat.completion.chunk",
        "choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]})
    .to_string()
}

fn delta(delta: Value) -> String {
    choice(0, delta, None)
}

fn end(reason: &str) -> String {
    choice(0, json!({}), Some(reason))
}

fn done() -> String {
    "[DONE]".to_owned()
}

/// The calls that a stream of `tool_calls` pieces makes: call id, name, input.
fn calls(pieces: &[Value]) -> Vec<(String, String, String)> {
    let mut events: Vec<_> = pieces
        .iter()
        .map(|piece| delta(json!({"tool_calls": [piece]})))
        .collect();
    events.push(end("tool_calls"));
    let lines = decode(&events);
    lines
        .iter()
        .filter_map(|line| line.strip_prefix("done "))
        .map(|item| {
            let item: Value = serde_json::from_str(item).unwrap();
            let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
            (text("call_id"), text("name"), text("arguments"))
        })
        .collect()
}

fn check_calls(pieces: &[Value], expected: &[(&str, &str, &str)]) {
    let calls = calls(pieces);
    let calls: Vec<_> = calls
        .iter()
        .map(|(id, name, input)| (&**id, &**name, &**input))
        .collect();
    assert_eq!(calls, expected, "{pieces:?}");
}

#[test]
fn text_is_announced_streamed_and_done() {
    check(
        &[
            delta(json!({"role": "assistant", "content": ""})),
            delta(json!({"content": null})),
            delta(json!({"content": "Hel"})),
            delta(json!({"content": "lo\n\"é😀\""})),
            end("stop"),
            json!({"id": "c", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}).to_string(),
            done(),
        ],
        &[
            "created c",
            r#"added {"type":"message","id":"msg_c_0","role":"assistant","status":"in_progress","content":[]}"#,
            "text 0.0 Hel",
            "text 0.0 lo\n\"é😀\"",
            "finishing",
            r#"done {"type":"message","id":"msg_c_0","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hello\n\"é😀\"","annotations":[]}]}"#,
            "completed 3+2",
        ],
    );
}

#[test]
fn content_may_be_parts() {
    check(
        &[
            delta(
                json!({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, "c"]}),
            ),
            delta(
                json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "refusal", "refusal": "no"}]}),
            ),
            delta(json!({"content": []})),
            end("stop"),
            done(),
        ],
        &[
            "created c",
            r#"added {"type":"message","id":"msg_c_0","role":"assistant","status":"in_progress","content":[]}"#,
            "text 0.0 abc",
            r#"added {"type":"reasoning","id":"rs_c_1","summary":[],"content":[]}"#,
            "reasoning 1.0 hm",
            "refusal 0.1 no",
            "finishing",
            r#"done {"type":"reasoning","id":"rs_c_1","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]}"#,
            r#"done {"type":"message","id":"msg_c_0","role":"assistant","status":"completed","content":[{"type":"output_text","text":"abc","annotations":[]},{"type":"refusal","refusal":"no"}]}"#,
            "completed",
        ],
    );
}

#[test]
fn a_refusal_is_a_part_of_the_message() {
    check(
        &[
            delta(json!({"role": "assistant", "content": null, "refusal": ""})),
            delta(json!({"refusal": "I "})),
            delta(json!({"refusal": "won't"})),
            end("stop"),
        ],
        &[
            "created c",
            r#"added {"type":"message","id":"msg_c_0","role":"assistant","status":"in_progress","content":[]}"#,
            "refusal 0.0 I ",
            "refusal 0.0 won't",
            "finishing",
            r#"done {"type":"message","id":"msg_c_0","role":"assistant","status":"completed","content":[{"type":"refusal","refusal":"I won't"}]}"#,
            "at the end: completed",
        ],
    );
}

#[test]
fn reasoning_is_read_under_each_of_its_names_once() {
    let cases = [
        json!({"reasoning_content": "hm"}),
        json!({"reasoning": "hm"}),
        json!({"reasoning_text": "hm"}),
        json!({"thinking": "hm"}),
        json!({"reasoning": {"text": "hm"}}),
        json!({"reasoning": {"content": "hm"}}),
        json!({"reasoning": {"content": [{"type": "text", "text": "h"}, {"text": "m"}]}}),
        json!({"reasoning_details": [{"type": "reasoning.text", "text": "hm", "format": "x", "index": 0}]}),
        json!({"reasoning_details": [{"type": "reasoning.summary", "summary": "hm"}, {"type": "reasoning.encrypted", "data": "x"}]}),
        json!({"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}),
        json!({"reasoning": "hm", "reasoning_content": "hm", "content": ""}),
        json!({"reasoning": null, "reasoning_content": "hm", "content": null}),
        json!({"content": [{"type": "thinking", "thinking": "hm"}]}),
    ];
    for case in cases {
        let mut lines = decode(&[delta(case.clone()), end("stop")]);
        if let Some(details) = case.get("reasoning_details") {
            let extra = format!(r#","reasoning_details":{details}"#);
            assert!(lines[4].contains(&extra), "{}", lines[4]);
            lines[4] = lines[4].replace(&extra, "");
        }
        assert_eq!(
            lines,
            [
                "created c",
                r#"added {"type":"reasoning","id":"rs_c_0","summary":[],"content":[]}"#,
                "reasoning 0.0 hm",
                "finishing",
                r#"done {"type":"reasoning","id":"rs_c_0","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]}"#,
                "at the end: completed",
            ],
            "{case}"
        );
    }
}

#[test]
fn reasoning_that_says_nothing_begins_no_item() {
    for case in [
        json!({"reasoning_content": "", "reasoning": null}),
        json!({"reasoning_details": []}),
        json!({"reasoning": {}}),
    ] {
        let lines = decode(&[delta(case.clone()), end("stop"), done()]);
        assert_eq!(lines, ["created c", "finishing", "completed"], "{case}");
    }
}

#[test]
fn items_are_done_as_reasoning_message_calls_whatever_came_first() {
    let call = json!({"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}});
    let lines = decode(&[
        delta(json!({"tool_calls": [call]})),
        delta(json!({"content": "Hi"})),
        delta(json!({"reasoning": "hm"})),
        end("stop"),
        done(),
    ]);
    let done: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("done"))
        .collect();
    assert!(done[0].contains(r#""id":"rs_c_2""#), "{}", done[0]);
    assert!(done[1].contains(r#""id":"msg_c_1""#), "{}", done[1]);
    assert!(done[2].contains(r#""id":"fc_c_0""#), "{}", done[2]);
    assert_eq!(done.len(), 3);
    assert_eq!(lines.last().unwrap(), "completed");
}

#[test]
fn a_tool_call_is_announced_streamed_and_done() {
    check(
        &[
            delta(json!({"role": "assistant", "content": null, "tool_calls": [
                {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}]})),
            delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"city\": "}}]})),
            delta(
                json!({"tool_calls": [{"index": 0, "id": "", "function": {"name": "", "arguments": "\"Rome\"}"}}]}),
            ),
            end("tool_calls"),
        ],
        &[
            "created c",
            r#"added {"type":"function_call","id":"fc_c_0","call_id":"call_1","name":"weather","arguments":"","status":"in_progress"}"#,
            r#"arguments 0 call_1 {"city": "#,
            r#"arguments 0 call_1 "Rome"}"#,
            "finishing",
            r#"done {"type":"function_call","id":"fc_c_0","call_id":"call_1","name":"weather","arguments":"{\"city\": \"Rome\"}","status":"completed"}"#,
            "at the end: completed",
        ],
    );
}

#[test]
fn interleaved_calls_are_merged_by_index() {
    check_calls(
        &[
            json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{\"x\""}}),
            json!({"index": 1, "id": "b", "function": {"name": "g", "arguments": "{\"y\""}}),
            json!({"index": 0, "function": {"arguments": ":1}"}}),
            json!({"index": 1, "function": {"arguments": ":2}"}}),
        ],
        &[("a", "f", "{\"x\":1}"), ("b", "g", "{\"y\":2}")],
    );
}

#[test]
fn calls_without_an_index_are_merged_by_id_and_else_belong_to_the_last() {
    check_calls(
        &[
            json!({"id": "a", "function": {"name": "f", "arguments": "1"}}),
            json!({"id": "b", "function": {"name": "g", "arguments": "2"}}),
            json!({"id": "a", "function": {"arguments": "3"}}),
            json!({"function": {"arguments": "4"}}),
        ],
        &[("a", "f", "13"), ("b", "g", "24")],
    );
    check_calls(
        &[
            json!({"function": {"name": "f", "arguments": "{\"x\":"}}),
            json!({"function": {"arguments": "1}"}}),
            json!({"function": {"name": "f", "arguments": "{}"}}),
            json!({"function": {"name": "g", "arguments": {}}}),
        ],
        &[
            ("call_c_0", "f", "{\"x\":1}"),
            ("call_c_1", "f", "{}"),
            ("call_c_2", "g", "{}"),
        ],
    );
}

#[test]
fn another_id_with_a_name_at_the_same_index_is_another_call() {
    check_calls(
        &[
            json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}),
            json!({"index": 0, "id": "b", "function": {"name": "f", "arguments": "{\"x\":"}}),
            json!({"index": 0, "function": {"arguments": "1}"}}),
            json!({"index": 0, "id": "a", "function": {"arguments": " "}}),
        ],
        &[("a", "f", "{} "), ("b", "f", "{\"x\":1}")],
    );
}

#[test]
fn another_id_without_a_name_at_the_same_index_is_the_same_call() {
    check_calls(
        &[
            json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}),
            json!({"index": 0, "id": "x1", "function": {"arguments": "\"x\":"}}),
            json!({"index": 0, "id": "x2", "function": {"name": "", "arguments": "1}"}}),
        ],
        &[("a", "f", "{\"x\":1}")],
    );
}

#[test]
fn another_name_after_whole_arguments_is_another_call_also_without_ids() {
    check_calls(
        &[
            json!({"index": 0, "function": {"name": "f", "arguments": "{}"}}),
            json!({"index": 0, "function": {"name": "g", "arguments": "{}"}}),
            json!({"index": 0, "function": {"name": "g", "arguments": ""}}),
        ],
        &[("call_c_0", "f", "{}"), ("call_c_1", "g", "{}")],
    );
}

#[test]
fn the_first_id_and_name_that_say_something_count() {
    check_calls(
        &[
            json!({"index": 0, "id": "", "function": {"name": "", "arguments": "{"}}),
            json!({"index": 0, "id": null, "function": {"name": "f", "arguments": null}}),
            json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "}"}}),
        ],
        &[("a", "f", "{}")],
    );
}

#[test]
fn arguments_are_kept_as_they_were_written() {
    // An object in place of a string, with the spaces, order and numbers of the server.
    let arguments = r#"{"z": 1.0, "a":12345678901234567890123}"#;
    let chunk = |arguments: &str| {
        format!(
            r#"{{"id":"c","choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":0,"id":"a","function":{{"name":"f","arguments":{arguments}}}}}]}}}}]}}"#
        )
    };
    for written in [arguments.to_owned(), json!(arguments).to_string()] {
        let lines = decode(&[chunk(&written), end("tool_calls")]);
        assert!(lines.contains(&format!("arguments 0 a {arguments}")));
        let done = lines.iter().find_map(|line| line.strip_prefix("done "));
        let done: Value = serde_json::from_str(done.unwrap()).unwrap();
        assert_eq!(done["arguments"], arguments);
    }
}

#[test]
fn a_call_without_a_name_is_reported() {
    check(
        &[
            delta(
                json!({"tool_calls": [{"index": 0, "id": "a", "function": {"arguments": "{}"}}]}),
            ),
            end("tool_calls"),
        ],
        &[
            "created c",
            "finishing",
            r#"at the end: incomplete incomplete_tool_call [1 malformed: a tool call without a name (input "{}")]"#,
        ],
    );
}

#[test]
fn custom_tools_and_the_legacy_function_call_are_calls_too() {
    check(
        &[
            delta(
                json!({"tool_calls": [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "patch", "input": "*** "}}]}),
            ),
            delta(json!({"tool_calls": [{"index": 0, "custom": {"input": "Begin"}}]})),
            end("tool_calls"),
        ],
        &[
            "created c",
            r#"added {"type":"custom_tool_call","id":"ctc_c_0","call_id":"a","name":"patch","input":"","status":"in_progress"}"#,
            "custom 0 a *** ",
            "custom 0 a Begin",
            "finishing",
            r#"done {"type":"custom_tool_call","id":"ctc_c_0","call_id":"a","name":"patch","input":"*** Begin","status":"completed"}"#,
            "at the end: completed",
        ],
    );
    check(
        &[
            delta(json!({"content": null, "function_call": {"name": "f", "arguments": "{"}})),
            delta(json!({"function_call": {"arguments": "}"}})),
            end("function_call"),
        ],
        &[
            "created c",
            r#"added {"type":"function_call","id":"fc_c_0","call_id":"call_c_0","name":"f","arguments":"","status":"in_progress"}"#,
            "arguments 0 call_c_0 {",
            "arguments 0 call_c_0 }",
            "finishing",
            r#"done {"type":"function_call","id":"fc_c_0","call_id":"call_c_0","name":"f","arguments":"{}","status":"completed"}"#,
            "at the end: completed",
        ],
    );
}

#[test]
fn calls_pending_at_stop_are_kept() {
    let call = json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]});
    let lines = decode(&[delta(call), end("stop"), done()]);
    assert!(lines[4].starts_with("done"), "{lines:?}");
    assert_eq!(lines.last().unwrap(), "completed");
}

#[test]
fn choices_are_kept_apart() {
    check(
        &[
            choice(1, json!({"content": "b"}), None),
            choice(0, json!({"content": "a"}), None),
            choice(
                1,
                json!({"tool_calls": [{"index": 0, "id": "x", "function": {"name": "f", "arguments": "{}"}}]}),
                None,
            ),
            choice(
                0,
                json!({"tool_calls": [{"index": 0, "id": "y", "function": {"name": "g", "arguments": "[]"}}]}),
                None,
            ),
            choice(0, json!({}), Some("stop")),
            choice(1, json!({"content": "B"}), Some("length")),
            done(),
        ],
        &[
            "created c",
            r#"added {"type":"message","id":"msg_c_0","role":"assistant","status":"in_progress","content":[]}"#,
            "text 0.0 b",
            r#"added {"type":"message","id":"msg_c_1","role":"assistant","status":"in_progress","content":[]}"#,
            "text 1.0 a",
            r#"added {"type":"function_call","id":"fc_c_2","call_id":"x","name":"f","arguments":"","status":"in_progress"}"#,
            r#"added {"type":"function_call","id":"fc_c_3","call_id":"y","name":"g","arguments":"","status":"in_progress"}"#,
            "text 0.0 B",
            "finishing",
            r#"done {"type":"message","id":"msg_c_0","role":"assistant","status":"incomplete","content":[{"type":"output_text","text":"bB","annotations":[]}]}"#,
            "arguments 2 x {}",
            r#"done {"type":"function_call","id":"fc_c_2","call_id":"x","name":"f","arguments":"{}","status":"incomplete"}"#,
            r#"done {"type":"message","id":"msg_c_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"a","annotations":[]}]}"#,
            "arguments 3 y []",
            r#"done {"type":"function_call","id":"fc_c_3","call_id":"y","name":"g","arguments":"[]","status":"completed"}"#,
            "incomplete max_output_tokens",
        ],
    );
}

#[test]
fn finish_reasons_have_their_meanings() {
    let cases = [
        ("stop", "completed"),
        // No call came.
        ("tool_calls", "incomplete incomplete_tool_call"),
        ("function_call", "incomplete incomplete_tool_call"),
        ("eos_token", "completed"),
        ("length", "incomplete max_output_tokens"),
        ("content_filter", "incomplete content_filter"),
        (
            "insufficient_system_resource",
            "failed server_error: the server ended the answer with the finish_reason `insufficient_system_resource`",
        ),
        ("pause_turn", "incomplete pause_turn"),
    ];
    for (reason, expected) in cases {
        let lines = decode(&[end(reason)]);
        assert_eq!(
            lines[1..],
            ["finishing", &format!("at the end: {expected}")],
            "{reason}"
        );
        assert_eq!(
            decode(&[end(reason), done()])[2..],
            [expected],
            "{reason} and [DONE]"
        );
    }
    for reason in ["", "null"] {
        let lines = decode(&[end(reason)]);
        assert!(
            lines[1].starts_with("at the end: failed truncated"),
            "{reason}"
        );
    }
    check(
        &[delta(json!({"content": "a"})), end("error"), done()],
        &[
            "created c",
            r#"added {"type":"message","id":"msg_c_0","role":"assistant","status":"in_progress","content":[]}"#,
            "text 0.0 a",
            "finishing",
            "failed server_error: the server ended the answer with the finish_reason `error`",
        ],
    );
}

#[test]
fn the_first_finish_reason_of_a_choice_counts() {
    let lines = decode(&[end("length"), end("stop"), done()]);
    assert_eq!(lines.last().unwrap(), "incomplete max_output_tokens");
}

#[test]
fn done_ends_the_stream_however_it_is_written() {
    for sentinel in ["[DONE]", " [DONE] ", "DONE", "[done]"] {
        check(
            &[sentinel],
            &["failed truncated: the stream ended before the answer began"],
        );
        let text = delta(json!({"content": "a"}));
        let lines = decode(&[&text, sentinel]);
        assert!(lines[3].starts_with("done"), "{lines:?}");
        assert_eq!(lines[4], "incomplete no_finish_reason");
        let lines = decode(&[&text, &end("stop"), sentinel]);
        assert_eq!(lines.last().unwrap(), "completed");
    }
}

#[test]
fn a_stream_that_just_ends_is_truncated_and_its_items_are_not_done() {
    check(
        &[delta(json!({"content": "a"})), "{oops".to_owned()],
        &[
            "created c",
            r#"added {"type":"message","id":"msg_c_0","role":"assistant","status":"in_progress","content":[]}"#,
            "text 0.0 a",
            "at the end: failed truncated: the stream ended within the answer: no finish_reason and no [DONE] came \
             [1 malformed: not JSON: {oops]",
        ],
    );
    check::<&str>(
        &[],
        &["at the end: failed truncated: the stream ended before the answer began"],
    );
    // One of two choices is still open.
    let lines = decode(&[
        choice(1, json!({"content": "b"}), None),
        choice(0, json!({"content": "a"}), Some("stop")),
    ]);
    assert!(lines.last().unwrap().contains("truncated"), "{lines:?}");
}

#[test]
fn usage_is_read_wherever_it_stands_and_the_last_counts() {
    let usage = |n: u32| json!({"prompt_tokens": n, "completion_tokens": n, "total_tokens": 2 * n});
    let chunk = |chunk: Value| chunk.to_string();
    let finish = |extra: Value| {
        let mut chunk =
            json!({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
        chunk
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        chunk.to_string()
    };
    let cases = [
        vec![
            end("stop"),
            chunk(json!({"id": "c", "choices": [], "usage": usage(7)})),
        ],
        vec![end("stop"), chunk(json!({"id": "c", "usage": usage(7)}))],
        vec![
            end("stop"),
            chunk(json!({"id": "c", "choices": null, "usage": usage(7)})),
        ],
        vec![finish(json!({"usage": usage(7)})), done()],
        vec![
            finish(json!({"x_groq": {"id": "r", "usage": usage(7)}})),
            done(),
        ],
        vec![
            chunk(
                json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": usage(7)}]}),
            ),
            done(),
        ],
        vec![
            chunk(
                json!({"id": "c", "choices": [{"index": 0, "delta": {"content": "a"}}], "usage": usage(1)}),
            ),
            chunk(
                json!({"id": "c", "choices": [{"index": 0, "delta": {"content": "b"}}], "usage": usage(2)}),
            ),
            finish(json!({"usage": usage(7)})),
            done(),
        ],
        vec![
            finish(json!({"usage": usage(7)})),
            finish(json!({"usage": null})),
            done(),
        ],
        vec![
            chunk(json!({"id": "c", "choices": [], "usage": usage(7)})),
            end("stop"),
            done(),
        ],
    ];
    for case in cases {
        let lines = decode(&case);
        assert_eq!(lines.last().unwrap(), "completed 7+7", "{case:?}");
    }
}

#[test]
fn errors_end_the_stream() {
    let cases = [
        (
            r#"{"error":{"message":"Rate limit","type":"tokens","code":"rate_limit_exceeded"}}"#,
            "failed rate_limited: Rate limit",
        ),
        (
            r#"{"error":"overloaded"}"#,
            "failed server_error: overloaded",
        ),
        (
            r#"{"id":"c","choices":[{"index":0,"delta":{"content":""},"finish_reason":"error","error":{"code":502,"message":"Provider"}}]}"#,
            "failed server_error: Provider",
        ),
        (
            r#"{"id":"c","error":{"code":429,"message":"slow"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}"#,
            "failed rate_limited: slow",
        ),
        (
            "error\n{\"message\":\"too long\",\"code\":\"context_length_exceeded\"}",
            "failed context_length_exceeded: too long",
        ),
        (
            "error\nupstream is gone",
            "failed server_error: upstream is gone",
        ),
        (
            "error\n{}",
            "failed server_error: the server reports an error and does not say which",
        ),
        (
            r#"{"object":"error","message":"no such model","type":"NotFoundError","code":404}"#,
            "failed not_found: no such model",
        ),
        (
            r#"{"detail":"unknown field"}"#,
            "failed server_error: unknown field",
        ),
        (
            r#"{"error":{"message":"half \ud83d of it"}}"#,
            "failed server_error: half \u{fffd} of it",
        ),
    ];
    for (event, expected) in cases {
        check(&[event, "[DONE]"], &[expected]);
        let text = delta(json!({"content": "a"}));
        let lines = decode(&[text.as_str(), event, "[DONE]"]);
        assert_eq!(lines[3..], [expected]);
    }
}

#[test]
fn an_error_after_the_whole_answer_does_not_undo_it() {
    check(
        &[end("stop"), r#"{"error":"no usage today"}"#.to_owned()],
        &[
            "created c",
            "finishing",
            "completed [1 malformed: an error after the whole answer: no usage today]",
        ],
    );
}

#[test]
fn a_whole_message_in_one_chunk_is_read_like_its_deltas() {
    let message = json!({"role": "assistant", "content": "Hi", "reasoning_content": "hm", "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    for delta in [None, Some(json!(null)), Some(json!({}))] {
        let mut choice = json!({"index": 0, "message": message, "finish_reason": "tool_calls"});
        if let Some(delta) = delta {
            choice["delta"] = delta;
        }
        let chunk = json!({"id": "c", "object": "chat.completion", "choices": [choice],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2}});
        check(
            &[chunk.to_string()],
            &[
                "created c",
                r#"added {"type":"reasoning","id":"rs_c_0","summary":[],"content":[]}"#,
                "reasoning 0.0 hm",
                r#"added {"type":"message","id":"msg_c_1","role":"assistant","status":"in_progress","content":[]}"#,
                "text 1.0 Hi",
                r#"added {"type":"function_call","id":"fc_c_2","call_id":"a","name":"f","arguments":"","status":"in_progress"}"#,
                r#"added {"type":"function_call","id":"fc_c_3","call_id":"b","name":"f","arguments":"","status":"in_progress"}"#,
                "finishing",
                r#"done {"type":"reasoning","id":"rs_c_0","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]}"#,
                r#"done {"type":"message","id":"msg_c_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hi","annotations":[]}]}"#,
                "arguments 2 a {}",
                r#"done {"type":"function_call","id":"fc_c_2","call_id":"a","name":"f","arguments":"{}","status":"completed"}"#,
                "arguments 3 b {}",
                r#"done {"type":"function_call","id":"fc_c_3","call_id":"b","name":"f","arguments":"{}","status":"completed"}"#,
                "at the end: completed 1+2",
            ],
        );
    }
}

#[test]
fn a_message_that_repeats_the_deltas_is_not_read_again() {
    let chunk = |delta: &str, message: &str, reason: Option<&str>| {
        json!({"id": "c", "choices": [{"index": 0, "delta": {"content": delta},
            "message": {"role": "assistant", "content": message}, "finish_reason": reason}]})
        .to_string()
    };
    let lines = decode(&[
        chunk("a", "a", None),
        chunk("b", "ab", None),
        chunk("", "ab", Some("stop")),
        chunk("", "ab", Some("stop")),
        done(),
    ]);
    let text: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("text"))
        .collect();
    assert_eq!(text, ["text 0.0 a", "text 0.0 b"]);
    let items = lines.iter().filter(|line| line.starts_with("done"));
    assert_eq!(items.count(), 1);
}

#[test]
fn what_comes_for_a_choice_after_its_end_goes_on_with_its_items() {
    let lines = decode(&[
        choice(0, json!({"content": "a"}), Some("stop")),
        delta(json!({"content": "b"})),
        done(),
    ]);
    assert_eq!(
        lines[2..],
        [
            "text 0.0 a",
            "finishing",
            "text 0.0 b",
            "finishing",
            r#"done {"type":"message","id":"msg_c_0","role":"assistant","status":"completed","content":[{"type":"output_text","text":"ab","annotations":[]}]}"#,
            "completed",
        ]
    );
}

#[test]
fn created_names_the_first_chunk_that_has_an_id_or_a_choice() {
    let azure =
        json!({"id": "", "object": "", "model": "", "choices": [], "prompt_filter_results": []});
    let lines = decode(&[azure.to_string(), delta(json!({"content": "a"})), done()]);
    assert_eq!(lines[0], "created c");
    let lines = decode(&[
        r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#,
        "[DONE]",
    ]);
    assert_eq!(lines[0], "created -");
    assert!(lines[1].contains(r#""id":"msg_0""#), "{}", lines[1]);
    let lines = decode(&[
        delta(json!({"content": "a"})),
        delta(json!({"content": "b"})),
        done(),
    ]);
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.starts_with("created"))
            .count(),
        1
    );
}

#[test]
fn json_without_choices_passes_through_and_other_data_is_counted() {
    check(
        &[
            r#"{"type":"keepalive"}"#,
            r#"{ "object": "chat.something", "x": 1.0 }"#,
            r#"{"id":"c","x":"\ud83d"}"#,
            "progress\n{\"percent\":1}",
            "",
            "  ",
            "[1]",
            "null",
            r#"{"choices":{}}"#,
            r#"{"id":"c","choices":[7]}"#,
            "[DONE]",
        ],
        &[
            r#"other keepalive {"type":"keepalive"}"#,
            r#"other chat.something { "object": "chat.something", "x": 1.0 }"#,
            r#"other chat.completion.chunk {"id":"c","x":"\ud83d"}"#,
            "other progress {\"percent\":1}",
            "created -",
            r#"other chat.completion.chunk {"id":"c","choices":[7]}"#,
            r#"failed protocol: a part of the answer could not be read, so it is not whole: {"id":"c","choices":[7]} [3 malformed: not JSON: [1]]"#,
        ],
    );
}

#[test]
fn fields_of_the_wrong_kind_do_not_hide_the_others() {
    let cases = [
        r#"{"id":7,"choices":[{"index":"0","delta":{"content":"a","refusal":{},"tool_calls":"x"}}]}"#,
        r#"{"id":[],"choices":[{"delta":{"content":"a","role":7},"finish_reason":{}}],"usage":"none"}"#,
        r#"{"choices":[null,{"index":null,"delta":{"content":"a"},"logprobs":3}],"obfuscation":5}"#,
        r#"{"choices":[{"index":-1,"delta":{"content":"b","content":"a"}}],"created":"now"}"#,
    ];
    for case in cases {
        let end = end("stop");
        let lines = decode(&[case, &end, "[DONE]"]);
        assert!(lines.contains(&"text 0.0 a".to_owned()), "{lines:?}");
        assert_eq!(lines.last().unwrap(), "completed", "{case}");
    }
    let lines = decode(&[delta(json!({"content": 5})), end("stop"), done()]);
    // A number is a text without quotes.
    assert!(lines.contains(&"text 0.0 5".to_owned()), "{lines:?}");
    assert_eq!(lines.last().unwrap(), "completed");
}

#[test]
fn half_a_surrogate_pair_does_not_lose_the_delta() {
    let chunk = |text: &str| {
        format!(r#"{{"id":"c","choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#)
    };
    let lines = decode(&[
        chunk("plain"),
        chunk(r"a\ud83d"),
        chunk(r"\ude00b"),
        chunk(r"\ud83d\ude00"),
        done(),
    ]);
    assert_eq!(
        lines[2..6],
        [
            "text 0.0 plain",
            "text 0.0 a",
            "text 0.0 😀b",
            "text 0.0 😀"
        ]
    );
    let arguments = r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"\ud83d!"}}]}}]}"#;
    assert_eq!(decode(&[arguments])[2], "arguments 0 a \u{fffd}!");
}

#[test]
fn log_probabilities_come_with_their_text() {
    let chunk = json!({"id": "c", "choices": [{"index": 0, "delta": {"content": "a"},
        "logprobs": {"content": [{"token": "a", "logprob": -0.5}], "refusal": null}}]});
    let lines = decode(&[chunk.to_string()]);
    assert_eq!(lines[2], r#"text 0.0 a [{"logprob":-0.5,"token":"a"}]"#);
}

#[test]
fn deep_json_and_long_text_are_read() {
    let deep = format!(
        r#"{{"id":"c","x":{}1{},"choices":[{{"index":0,"delta":{{"content":"a"}}}}]}}"#,
        "[".repeat(100),
        "]".repeat(100)
    );
    assert!(decode(&[deep]).contains(&"text 0.0 a".to_owned()));
    let long = "ö".repeat(100_000);
    assert_eq!(
        decode(&[delta(json!({"content": long}))])[2],
        format!("text 0.0 {long}")
    );
}

#[test]
fn a_chunk_that_repeats_the_one_before_decodes_as_if_it_came_first() {
    // Every field a template may be learned from, then every change that the next chunk may show.
    let chunk = |id: &str, index: u32, field: &str, text: &str, reason: &str, rest: &str| {
        format!(
            r#"{{"id":"{id}","choices":[{{"index":{index},"delta":{{"role":"assistant","{field}":{text}}},"finish_reason":{reason}}}],"usage":null{rest}}}"#
        )
    };
    let mut chunks = Vec::new();
    for field in ["content", "reasoning_content", "reasoning", "refusal"] {
        for text in [
            r#""a""#,
            r#""""#,
            "null",
            r#""b \" \\ \n\u00e9""#,
            r#""c\ud83d""#,
            r#""d","x":"y""#,
            r#""e","content":"f""#,
            r#""\"","content":"","#,
            "\"tab\t\"",
            r#""\q""#,
            "5",
        ] {
            for rest in [
                "",
                r#","obfuscation":"xyz""#,
                r#","obfuscation":"q\"r""#,
                r#","error":"e""#,
            ] {
                chunks.push(chunk("c", 0, field, text, "null", rest));
            }
        }
        chunks.push(chunk("c", 1, field, r#""a""#, "null", ""));
        chunks.push(chunk("d", 0, field, r#""a""#, "null", ""));
        chunks.push(chunk("c", 0, field, r#""a""#, r#""stop""#, ""));
    }
    let mut pairs = 0;
    for first in &chunks {
        for second in &chunks {
            let after = |is_template_used: bool| {
                let mut dialect = ChatDialect::default();
                let mut out = Vec::new();
                let mut ends = Vec::new();
                for data in [first, second] {
                    let event = SseEvent {
                        event: None,
                        data,
                        last_event_id: "",
                    };
                    match dialect.on_event(event, &mut out) {
                        Step::End(terminal) => ends.push(line(&terminal.into())),
                        Step::Finishing { .. } => ends.push("finishing".to_owned()),
                        Step::Continue | Step::Unread => {}
                    }
                    if !is_template_used {
                        dialect.template = Template::default();
                    }
                }
                (
                    out.iter().map(line).collect::<Vec<_>>(),
                    ends,
                    dialect.answer.anomalies,
                )
            };
            assert_eq!(after(true), after(false), "{first}\n{second}");
            pairs += 1;
        }
    }
    assert!(pairs > 30_000, "{pairs}");
}

proptest! {
    #[test]
    fn any_text_arrives_whole_in_any_pieces(pieces in proptest::collection::vec(".{0,12}", 0..20), is_reasoning: bool) {
        let mut dialect = ChatDialect::default();
        let mut out = Vec::new();
        let field = if is_reasoning { "reasoning_content" } else { "content" };
        let chunks = pieces.iter().map(|piece| delta(json!({field: piece}))).chain([end("stop")]);
        for data in chunks {
            dialect.on_event(SseEvent { event: None, data: &data, last_event_id: "" }, &mut out);
        }
        let end = dialect.finish(&mut out);
        prop_assert!(matches!(end, Terminal::Completed(_)));
        let whole = pieces.concat();
        let deltas: String = out
            .iter()
            .map(|event| match event {
                ResponseEvent::OutputTextDelta(text) => text.delta.as_str(),
                ResponseEvent::ReasoningContentDelta(text) => text.delta.as_str(),
                _ => "",
            })
            .collect();
        prop_assert_eq!(&deltas, &whole);
        if let Some(ResponseEvent::OutputItemDone(done)) = out.last() {
            let item = done.raw().to_value();
            prop_assert_eq!(item["content"][0]["text"].as_str(), Some(&*whole));
        } else {
            prop_assert_eq!(whole, "");
        }
        prop_assert!(dialect.anomalies().is_empty());
    }

    #[test]
    fn no_data_is_too_odd(events in proptest::collection::vec(odd_data(), 0..8)) {
        let lines = decode(&events);
        let ends = lines.iter().filter(|line| ["completed", "incomplete", "failed", "at the end"].iter().any(|end| line.starts_with(end)));
        prop_assert_eq!(ends.count(), 1);
    }
}

/// Chunks with one part replaced by any JSON, chunks cut short, and any text.
fn odd_data() -> impl Strategy<Value = String> {
    let json = prop_oneof![
        Just(json!(null)),
        any::<i64>().prop_map(Value::from),
        "[a-z\"\\\\]{0,6}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{"text": "x"}, 1])),
        Just(json!({"name": "f", "arguments": {}, "text": "x"})),
    ];
    let path = proptest::sample::select(vec![
        "",
        "/id",
        "/choices",
        "/choices/0",
        "/choices/0/index",
        "/choices/0/delta",
        "/choices/0/finish_reason",
        "/choices/0/delta/content",
        "/choices/0/delta/reasoning",
        "/choices/0/delta/tool_calls",
        "/choices/0/delta/tool_calls/0",
        "/choices/0/delta/tool_calls/0/index",
        "/choices/0/delta/tool_calls/0/function",
        "/choices/0/delta/tool_calls/0/function/arguments",
        "/usage",
        "/error",
    ]);
    let chunk = (path, json).prop_map(|(path, json)| {
        let mut chunk = json!({"id": "c", "choices": [{"index": 0, "finish_reason": null, "delta": {"content": "a", "reasoning": "b",
            "tool_calls": [{"index": 0, "id": "d", "function": {"name": "f", "arguments": "{}"}}]}}], "usage": null, "error": null});
        *chunk.pointer_mut(path).expect("a path in the chunk") = json;
        chunk.to_string()
    });
    prop_oneof![
        4 => chunk.clone(),
        1 => (chunk, 0..200usize).prop_map(|(chunk, at)| chunk.chars().take(at).collect()),
        1 => ".{0,20}",
    ]
    // The helper reads what stands before a line feed as the event's name.
    .prop_map(|data: String| data.replace('\n', " "))
}
