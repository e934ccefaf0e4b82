//! Calls: each is delivered once, with the input of one call.

use serde_json::json;

use super::*;

fn function(id: &str, arguments: &str) -> Value {
    json!({"type": "function_call", "id": id, "call_id": format!("call_{id}"), "name": "f", "arguments": arguments,
        "status": "completed"})
}

fn custom(id: &str, input: &str) -> Value {
    json!({"type": "custom_tool_call", "id": id, "call_id": format!("call_{id}"), "name": "f", "input": input})
}

fn event(kind: &str, index: Option<u32>, item: &Value) -> String {
    json!({"type": format!("response.output_item.{kind}"), "output_index": index, "item": item})
        .to_string()
}

fn added(item: &Value) -> String {
    event("added", Some(0), item)
}

fn done(item: &Value) -> String {
    event("done", Some(0), item)
}

fn delta(id: &str, delta: &str) -> String {
    json!({"type": "response.function_call_arguments.delta", "output_index": 0, "item_id": id, "delta": delta}).to_string()
}

fn whole(id: &str, arguments: &str) -> String {
    json!({"type": "response.function_call_arguments.done", "output_index": 0, "item_id": id, "arguments": arguments})
        .to_string()
}

fn ended(status: &str, output: &[Value]) -> String {
    json!({"type": format!("response.{status}"), "response": {"id": "r", "status": status, "output": output}}).to_string()
}

/// The name and the input of each call that was delivered, and the end.
fn calls_of(events: &[String]) -> (Vec<String>, String) {
    let found = Summary::of_events(events);
    let calls = found.items.iter().filter(|item| item["type"] != "message");
    let call = |item: &Value| {
        let input = item.get("arguments").or(item.get("input"));
        let input = input.and_then(Value::as_str).unwrap_or("no string");
        let mark = if item["status"] == "incomplete" {
            " incomplete"
        } else {
            ""
        };
        format!("{}{mark}", input)
    };
    (calls.map(call).collect(), found.end)
}

#[test]
fn a_calls_input_is_never_two_values_and_never_half_of_one() {
    let silent = || ended("completed", &[]);
    let cut = "incomplete incomplete_tool_call";
    let glued = r#"{"a":1}{"b":2}"#;
    for (input, calls, end) in [
        (r#"{"a":1}{"a":1}"#, vec![r#"{"a":1}"#], "completed"),
        (r#"{"a":1} {"a": 1}"#, vec![r#"{"a":1}"#], "completed"),
        (r#"{}{"a":1}"#, vec![r#"{"a":1}"#], "completed"),
        (r#"{"a":1}{}"#, vec![r#"{"a":1}"#], "completed"),
        (r#"null{"a":1}"#, vec![r#"{"a":1}"#], "completed"),
        ("{}{}", vec!["{}"], "completed"),
        (glued, vec![r#"{"a":1}"#, r#"{"b":2}"#], "completed"),
        (r#"{"a":"#, vec![r#"{"a": incomplete"#], cut),
        (r#"{"a":1}{"b""#, vec![r#"{"a":1}{"b" incomplete"#], cut),
        // What else is wrong with it is the model's own mistake.
        (r#"{"a":}"#, vec![r#"{"a":}"#], "completed"),
        (r#"{'a':1}"#, vec![r#"{'a':1}"#], "completed"),
        (r#"{"a":1}}"#, vec![r#"{"a":1}}"#], "completed"),
        ("7", vec!["7"], "completed"),
        ("", vec![""], "completed"),
    ] {
        let item = function("c", input);
        for events in [
            vec![done(&item), silent()],
            vec![done(&item), ended("completed", std::slice::from_ref(&item))],
            vec![ended("completed", std::slice::from_ref(&item))],
            vec![
                added(&function("c", "")),
                whole("c", input),
                done(&item),
                silent(),
            ],
            vec![
                added(&function("c", "")),
                delta("c", input),
                done(&item),
                silent(),
            ],
            // Only the deltas have it.
            vec![
                added(&function("c", "")),
                delta("c", input),
                done(&function("c", "")),
                silent(),
            ],
        ] {
            let found = calls_of(&events);
            assert_eq!(
                (found.0.iter().map(|c| &**c).collect(), &*found.1),
                (calls.clone(), end),
                "{events:#?}"
            );
        }
    }
    // The closing object knows better.
    let [first, second] = [function("c", r#"{"a":1}"#), function("d", r#"{"b":2}"#)];
    for (output, expected) in [
        (
            vec![first.clone(), second],
            vec![r#"{"a":1}"#, r#"{"b":2}"#],
        ),
        (vec![first], vec![r#"{"a":1}"#]),
    ] {
        for input in [glued, r#"{"a":"#] {
            let events = [done(&function("c", input)), ended("completed", &output)];
            assert_eq!(
                calls_of(&events),
                (
                    expected.iter().map(|c| c.to_string()).collect(),
                    "completed".to_owned()
                )
            );
        }
    }
    // As JSON, not as a string of it.
    for json in [json!({"a": 1}), json!(["ls", "-l"])] {
        let mut item = function("c", "");
        item["arguments"] = json.clone();
        let found = calls_of(&[done(&item), silent()]);
        assert_eq!(found, (vec![json.to_string()], "completed".to_owned()));
    }
    // The ids of the calls that were one differ.
    let found = Summary::of_events(&[done(&function("c", glued)), silent()]);
    assert_ne!(found.items[0]["call_id"], found.items[1]["call_id"]);
    // Free text is whole as it is.
    let found = calls_of(&[done(&custom("c", glued)), silent()]);
    assert_eq!(found, (vec![glued.to_owned()], "completed".to_owned()));
    // The server says that the call is not whole.
    let mut item = function("c", "{}");
    item["status"] = json!("incomplete");
    assert_eq!(calls_of(&[done(&item), silent()]).1, cut);
}

#[test]
fn arguments_that_only_deltas_had_are_joined() {
    for (pieces, expected) in [
        (vec!["{}", r#"{"q":1}"#], r#"{"q":1}"#),
        (vec![r#"{"q":1}"#, r#"{"q":1}"#], r#"{"q":1}"#),
        (vec![r#"{"q""#, r#"{"q":1"#, r#"{"q":1}"#], r#"{"q":1}"#),
        (vec![r#"{"q""#, r#"{"q""#, r#"{"q":1}"#], r#"{"q":1}"#),
        (vec![r#"{"q""#, r#":{"q":1}"#, "}"], r#"{"q":{"q":1}}"#),
    ] {
        let mut events = vec![added(&function("c", ""))];
        events.extend(pieces.iter().map(|piece| delta("c", piece)));
        for closing in [vec![], vec![function("c", "")]] {
            let end = [done(&function("c", "")), ended("completed", &closing)];
            let found = calls_of(&[&events[..], &end].concat());
            assert_eq!(
                found,
                (vec![expected.to_owned()], "completed".to_owned()),
                "{pieces:?}"
            );
        }
    }
    // The whole of it came after the item.
    let events = [
        added(&function("c", "")),
        done(&function("c", "")),
        whole("c", "{}"),
        ended("completed", &[]),
    ];
    assert_eq!(
        calls_of(&events),
        (vec!["{}".to_owned()], "completed".to_owned())
    );
}

#[test]
fn what_is_made_of_a_cut_answer_is_not_whole() {
    for end in [
        ended("incomplete", &[]),
        ended("cancelled", &[]),
        "[DONE]".to_owned(),
    ] {
        let text = json!({"type": "response.output_text.done", "output_index": 1, "item_id": "m", "text": "Hel"});
        for events in [
            vec![
                added(&function("c", "")),
                whole("c", r#"{"a":"#),
                end.clone(),
            ],
            vec![added(&function("c", "")), whole("c", "{}"), end.clone()],
            vec![text.to_string(), end.clone()],
        ] {
            let found = Summary::of_events(&events);
            assert_eq!(found.items.len(), 1, "{events:#?}");
            assert_eq!(found.items[0]["status"], "incomplete", "{events:#?}");
        }
    }
    // The item says that it is whole.
    let item = function("c", r#"{"a":"#);
    let events = [done(&item), ended("incomplete", &[item])];
    assert_eq!(calls_of(&events).0, [r#"{"a": incomplete"#]);
}
