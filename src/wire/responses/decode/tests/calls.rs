//! Calls: each is delivered once, with the input of one call.

use serde_json::{Value, json};

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
fn a_call_that_was_cut_within_a_character_is_one_that_can_be_read() {
    let item = r#"{"id":"i","type":"function_call","name":"f","call_id":"c","arguments":"{\"a\":\"x\ud83d"}"#;
    let done = format!(r#"{{"type":"response.output_item.done","output_index":0,"item":{item}}}"#);
    let (calls, _) = calls_of(&[done, ended("incomplete", &[])]);
    assert_eq!(calls, ["{\"a\":\"x\u{fffd} incomplete"]);
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

#[test]
fn a_call_is_delivered_once_whatever_repeats_it() {
    let input = r#"{"a":1}"#;
    let call = || function("c", input);
    let with = |name: &str, value: Value| {
        let mut item = call();
        item[name] = value;
        item
    };
    let begun = || added(&function("c", ""));
    let renamed = |id: &str| {
        let mut item = call();
        item["id"] = json!(id);
        item["call_id"] = json!(format!("other_{id}"));
        item
    };
    let streamed = || vec![begun(), delta("c", r#"{"a":"#), delta("c", "1}")];
    let silent = || ended("completed", &[]);
    let closing = |item: Value| ended("completed", &[item]);
    let bridged = |place: u32| event("added", Some(place), &function("c", ""));
    let by_call_id = || vec![begun(), delta("call_c", input), whole("call_c", input)];
    for events in [
        // The closing object has new ids.
        [streamed(), vec![done(&call()), closing(renamed("x"))]].concat(),
        [streamed(), vec![closing(renamed("x"))]].concat(),
        vec![begun(), whole("c", input), closing(renamed("x"))],
        vec![begun(), closing(renamed("x"))],
        [
            streamed(),
            vec![done(&call()), closing(with("id", Value::Null))],
        ]
        .concat(),
        [streamed(), vec![done(&call()), closing(custom("c", "x"))]].concat(),
        // The name came at the beginning only.
        [
            streamed(),
            vec![done(&with("name", json!(""))), closing(call())],
        ]
        .concat(),
        [streamed(), vec![done(&with("name", Value::Null)), silent()]].concat(),
        // Done twice.
        vec![done(&call()), done(&call()), silent()],
        vec![
            done(&with("status", json!("in_progress"))),
            done(&call()),
            silent(),
        ],
        vec![
            done(&call()),
            done(&with("namespace", json!("n"))),
            closing(call()),
        ],
        vec![
            done(&call()),
            done(&with("id", json!("x"))),
            closing(call()),
        ],
        vec![
            event("done", None, &call()),
            event("done", None, &with("status", Value::Null)),
            silent(),
        ],
        vec![done(&call()), event("done", Some(1), &call()), silent()],
        vec![begun(), done(&function("c", "")), done(&call()), silent()],
        vec![done(&function("c", r#"{"a":"#)), done(&call()), silent()],
        // Announced twice, or late.
        vec![
            begun(),
            added(&with("arguments", json!(""))),
            done(&call()),
            silent(),
        ],
        [
            vec![added(&with("name", json!("")))],
            streamed(),
            vec![done(&call()), silent()],
        ]
        .concat(),
        vec![done(&call()), begun(), silent()],
        vec![begun(), done(&call()), begun(), closing(call())],
        vec![begun(), done(&call()), begun(), done(&call()), silent()],
        // Named by another place, or by another id.
        vec![
            bridged(1),
            delta("c", input),
            event("done", Some(1), &call()),
            silent(),
        ],
        vec![bridged(1), delta("c", input), done(&call()), silent()],
        [by_call_id(), vec![silent()]].concat(),
        [by_call_id(), vec![done(&call()), silent()]].concat(),
    ] {
        let found = Summary::of_events(&events);
        let inputs: Vec<_> = found.items.iter().map(|item| &item["arguments"]).collect();
        assert_eq!(
            (inputs, &*found.end),
            (vec![&json!(input)], "completed"),
            "{events:#?}"
        );
        assert_eq!(found.items[0]["name"], "f");
        assert_eq!(found.input, input, "{events:#?}");
        let is_added = |name: &&&str| **name == "output_item_added";
        assert!(
            found.names.iter().filter(is_added).count() <= 1,
            "{events:#?}"
        );
    }
    // A custom tool's, streamed as a function's.
    let events = [
        added(&custom("c", "")),
        delta("c", r#"{"input":"x"}"#),
        whole("c", r#"{"input":"x"}"#),
        done(&custom("c", "x")),
        silent(),
    ];
    assert_eq!(
        calls_of(&events),
        (vec!["x".to_owned()], "completed".to_owned())
    );
}

#[test]
fn two_calls_stay_two_whatever_they_share() {
    let [first, second] = [r#"{"x":1}"#, r#"{"y":2}"#];
    let call = |id: Value, call_id: &str, arguments: &str| json!({"type": "function_call", "id": id, "call_id": call_id, "name": "f", "arguments": arguments});
    for (ids, place, inputs) in [
        ([json!("a"), json!("a")], Some(0), [first, second]),
        ([json!("a"), json!("a")], Some(0), [first, first]),
        ([json!("a"), json!("b")], None, [first, second]),
        ([json!("a"), json!("b")], Some(0), [first, first]),
        ([Value::Null, Value::Null], None, [first, second]),
        ([json!(""), json!("")], Some(0), [first, second]),
    ] {
        let mut events = Vec::new();
        let mut output = Vec::new();
        for (at, call_id) in ["one", "two"].into_iter().enumerate() {
            let item = call(ids[at].clone(), call_id, inputs[at]);
            events.push(event("added", place, &call(ids[at].clone(), call_id, "")));
            let (head, tail) = inputs[at].split_at(3);
            for delta in [head, tail] {
                events.push(
                    json!({"type": "response.function_call_arguments.delta", "item_id": ids[at], "output_index": place, "delta": delta})
                        .to_string(),
                );
            }
            events.push(event("done", place, &item));
            output.push(item);
        }
        let renamed = [("q", "x1"), ("r", "x2")].iter().zip(inputs);
        let renamed: Vec<_> = renamed
            .map(|((id, call_id), input)| call(json!(id), call_id, input))
            .collect();
        for closing in [vec![], output, renamed] {
            let events = [events.clone(), vec![ended("completed", &closing)]].concat();
            let found = calls_of(&events);
            assert_eq!(
                found,
                (inputs.map(str::to_owned).to_vec(), "completed".to_owned()),
                "{events:#?}"
            );
            assert_eq!(
                Summary::of_events(&events).input,
                inputs.concat(),
                "{events:#?}"
            );
        }
    }
}

#[test]
fn messages_of_one_name_stay_two() {
    let message = |id: Value, text: &str| {
        let content = match text {
            "" => json!([]),
            text => json!([{"type": "output_text", "text": text}]),
        };
        json!({"type": "message", "id": id, "content": content})
    };
    for (id, place) in [
        (Value::Null, None),
        (json!("m"), Some(0)),
        (json!("m"), None),
        (Value::Null, Some(0)),
    ] {
        for texts in [[["A", "B"], ["C", "D"]], [["One ", "two"], ["Three", "!"]]] {
            for with_added in [true, false] {
                let mut events = Vec::new();
                for text in texts {
                    if with_added {
                        events.push(event("added", place, &message(id.clone(), "")));
                    }
                    for delta in text {
                        events.push(json!({"type": "response.output_text.delta", "item_id": id, "output_index": place, "delta": delta}).to_string());
                    }
                    events.push(event("done", place, &message(id.clone(), &text.concat())));
                }
                events.push(ended("completed", &[]));
                let found = Summary::of_events(&events);
                assert_eq!(
                    (found.text, found.items.len()),
                    (texts.concat().concat(), 2),
                    "{events:#?}"
                );
            }
        }
    }
}

#[test]
fn items_without_a_text_are_told_apart_by_what_else_they_hold() {
    let search = |id: &str, query: &str| json!({"type": "web_search_call", "id": id, "action": {"type": "search", "query": query}});
    let sealed = |id: &str, content: &str| json!({"type": "reasoning", "id": id, "summary": [], "encrypted_content": content});
    for [first, second] in [
        [search("a", "x"), search("b", "y")],
        [sealed("a", "x"), sealed("b", "y")],
        [sealed("a", "x"), sealed("a", "y")],
        [search("a", "x"), sealed("a", "x")],
    ] {
        let events = [done(&first), done(&second), ended("completed", &[])];
        assert_eq!(Summary::of_events(&events).items, [first, second]);
    }
}

#[test]
fn a_call_that_the_server_answers_need_not_be_done() {
    for (kind, end) in [
        ("web_search_call", "completed"),
        ("file_search_call", "completed"),
        ("code_interpreter_call", "completed"),
        ("image_generation_call", "completed"),
        ("mcp_call", "completed"),
        ("function_call", "failed"),
        ("custom_tool_call", "failed"),
        ("local_shell_call", "failed"),
        ("shell_call", "failed"),
        ("apply_patch_call", "failed"),
        ("computer_call", "failed"),
    ] {
        let events = [
            added(&json!({"type": kind, "id": "c"})),
            ended("completed", &[]),
        ];
        assert!(Summary::of_events(&events).end.starts_with(end), "{kind}");
    }
}

#[test]
fn a_call_that_is_written_anew_at_the_end_is_the_same() {
    for (first, last) in [
        ("", ""),
        ("{}", ""),
        ("", "{}"),
        (r#"{"a": 1}"#, r#"{"a":1}"#),
        (r#"{"a":"\u00e9"}"#, r#"{"a":"é"}"#),
    ] {
        for begun in [vec![], vec![added(&function("c", ""))]] {
            let end = [
                done(&function("c", first)),
                ended("completed", &[function("x", last)]),
            ];
            let (calls, end) = calls_of(&[&begun[..], &end].concat());
            assert_eq!((calls.len(), &*end), (1, "completed"), "{first} {last}");
        }
    }
    let other = [
        done(&function("c", r#"{"a":1}"#)),
        ended("completed", &[function("x", r#"{"a":2}"#)]),
    ];
    assert_eq!(calls_of(&other).0.len(), 2);
}
