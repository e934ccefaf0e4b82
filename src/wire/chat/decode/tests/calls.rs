//! Tool calls, whose pieces servers number and name in many ways.

use super::*;

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
fn a_hundred_calls_at_once_are_told_apart() {
    const COUNT: usize = 100;
    let piece = |index: Value, id: Value, name: &str, arguments: String| json!({"index": index, "id": id, "function": {"name": name, "arguments": arguments}});
    let ids: Vec<_> = (0..COUNT).map(|at| format!("call_{at}")).collect();
    // By index, by id, and by an id under another index, in an order of their own.
    let begin = |at: usize| piece(json!(at), json!(ids[at]), "f", String::new());
    let mut pieces: Vec<_> = (0..COUNT).map(begin).collect();
    for at in (0..COUNT).rev() {
        pieces.push(piece(json!(at), Value::Null, "", format!("{{\"a\": [{at}")));
    }
    for at in (0..COUNT).map(|at| at * 7 % COUNT) {
        pieces.push(piece(Value::Null, json!(ids[at]), "", format!(", {at}")));
    }
    for (at, id) in ids.iter().enumerate() {
        let moved = json!(at + COUNT);
        pieces.push(piece(moved, json!(id), "", "]}".to_owned()));
    }
    let arguments: Vec<_> = (0..COUNT)
        .map(|at| format!("{{\"a\": [{at}, {at}]}}"))
        .collect();
    let expected: Vec<_> = (0..COUNT)
        .map(|at| (&*ids[at], "f", &*arguments[at]))
        .collect();
    check_calls(&pieces, &expected);
}

#[test]
fn choices_in_any_order_are_told_apart() {
    let chunk = |index: u32, text: &str, end: Value| {
        json!({"id": "c", "choices": [{"index": index, "delta": {"content": text}, "finish_reason": end}]}).to_string()
    };
    let mut chunks = Vec::new();
    for (text, end) in [("a", Value::Null), ("b", Value::Null), ("", json!("stop"))] {
        chunks
            .extend([7, 2, 1, 0].map(|index| chunk(index, &format!("{text}{index}"), end.clone())));
    }
    let lines = decode(&chunks);
    let texts: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("done "))
        .collect();
    assert_eq!(texts.len(), 4, "{lines:?}");
    for (line, index) in texts.iter().zip([7, 2, 1, 0]) {
        let text = format!("\"text\":\"a{index}b{index}{index}\"");
        assert!(line.contains(&text), "{line}");
    }
    assert_eq!(lines.iter().filter(|line| *line == "finishing").count(), 1);
}
