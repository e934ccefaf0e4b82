//! What came only in the events that repeat a text, in items, or in the response object at the end.

use serde_json::{Value, json};

use super::*;

fn event(kind: &str, fields: Value) -> String {
    let mut event = json!({"type": format!("response.{kind}")});
    let members = event.as_object_mut().unwrap();
    members.extend(fields.as_object().unwrap().clone());
    event.to_string()
}

fn delta(text: &str) -> String {
    event(
        "output_text.delta",
        json!({"item_id": "m", "output_index": 0, "content_index": 0, "delta": text}),
    )
}

fn message(text: &str) -> Value {
    json!({"type": "message", "id": "m", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}]})
}

fn call(arguments: &str) -> Value {
    json!({"type": "function_call", "id": "c", "call_id": "call_1", "name": "f", "status": "completed", "arguments": arguments})
}

fn added(item: Value) -> String {
    event(
        "output_item.added",
        json!({"output_index": 0, "item": item}),
    )
}

fn done(item: Value) -> String {
    event("output_item.done", json!({"output_index": 0, "item": item}))
}

fn completed(output: Value) -> String {
    event(
        "completed",
        json!({"response": {"id": "r", "status": "completed", "output": output}}),
    )
}

fn text_done(text: &str) -> String {
    event(
        "output_text.done",
        json!({"item_id": "m", "output_index": 0, "content_index": 0, "text": text}),
    )
}

fn part_done(text: &str) -> String {
    event(
        "content_part.done",
        json!({"item_id": "m", "output_index": 0, "content_index": 0, "part": {"type": "output_text", "text": text}}),
    )
}

fn arguments_done(arguments: &str) -> String {
    event(
        "function_call_arguments.done",
        json!({"item_id": "c", "output_index": 0, "arguments": arguments}),
    )
}

fn arguments_delta(delta: &str) -> String {
    event(
        "function_call_arguments.delta",
        json!({"item_id": "c", "output_index": 0, "delta": delta}),
    )
}

#[test]
fn a_text_is_delivered_once_as_deltas_and_as_an_item_wherever_it_came() {
    let end = || completed(json!([message("Hello")]));
    let bare = || completed(json!([]));
    let silent = || event("completed", json!({"response": {"id": "r"}}));
    let begun = || added(json!({"type": "message", "id": "m", "role": "assistant", "content": []}));
    for events in [
        vec![end()],
        vec![text_done("Hello"), end()],
        vec![text_done("Hello"), bare()],
        vec![text_done("Hello"), silent()],
        vec![part_done("Hello"), silent()],
        vec![begun(), text_done("Hello"), silent()],
        vec![
            begun(),
            text_done("Hello"),
            part_done("Hello"),
            done(message("Hello")),
            end(),
        ],
        vec![done(message("Hello")), end()],
        vec![done(message("Hello")), silent()],
        vec![
            begun(),
            done(message("Hello")),
            done(message("Hello")),
            end(),
        ],
        vec![
            begun(),
            begun(),
            delta("Hel"),
            delta("lo"),
            done(message("Hello")),
            end(),
        ],
        vec![delta("Hel"), delta("lo"), end()],
        vec![delta("Hel"), delta("lo"), text_done("Hello"), silent()],
        vec![
            delta("Hel"),
            delta("lo"),
            begun(),
            done(message("Hello")),
            end(),
        ],
        // The end of the text came only in what repeats it.
        vec![
            delta("H"),
            delta("el"),
            text_done("Hello"),
            done(message("Hello")),
            end(),
        ],
        vec![begun(), delta("Hel"), done(message("Hello")), end()],
        vec![begun(), delta("Hel"), end()],
        // An item that says nothing.
        vec![begun(), done(message("")), end()],
        vec![
            text_done("Hello"),
            done(json!({"type": "message", "id": "m", "role": "assistant", "content": []})),
            silent(),
        ],
        vec![event(
            "done",
            json!({"response": {"id": "r", "status": "completed", "output": [message("Hello")]}}),
        )],
    ] {
        let found = Summary::of_events(&events);
        assert_eq!(
            (&*found.text, &*found.end),
            ("Hello", "completed"),
            "{events:#?}"
        );
        let texts: Vec<_> = found
            .items
            .iter()
            .map(|item| &item["content"][0]["text"])
            .collect();
        assert_eq!(texts, ["Hello"], "{events:#?}");
        assert_eq!(
            (&found.items[0]["type"], &found.items[0]["id"]),
            (&json!("message"), &json!("m"))
        );
        let is_added = found
            .names
            .iter()
            .filter(|name| **name == "output_item_added")
            .count();
        assert!(is_added <= 1, "{events:#?}");
    }
}

#[test]
fn what_was_streamed_otherwise_is_left_alone() {
    let gap = |number: u64, delta: &str| {
        event(
            "output_text.delta",
            json!({"item_id": "m", "output_index": 0, "content_index": 0, "delta": delta, "sequence_number": number}),
        )
    };
    for (events, text) in [
        // Longer than the item, other than the item, in another place, after a gap, after what could not be read.
        (vec![delta("Hello!"), done(message("Hello"))], "Hello!"),
        (
            vec![delta("Hxl"), delta("."), done(message("Hello"))],
            "Hxl.",
        ),
        (vec![delta("grü"), done(message("grüße"))], "grüße"),
        (
            vec![delta("gr\u{fffd}"), done(message("grüße"))],
            "gr\u{fffd}",
        ),
        (
            vec![gap(1, "Hel"), gap(3, "x"), done(message("Hello"))],
            "Helx",
        ),
        (
            vec![delta("Hel"), "{cut".to_owned(), done(message("Hello"))],
            "Hel",
        ),
    ] {
        let found = Summary::of_events(&[events.clone(), vec![completed(json!([]))]].concat());
        assert_eq!(found.text, text, "{events:?}");
        assert_eq!(found.items.len(), 1, "{events:?}");
    }
}

#[test]
fn arguments_are_delivered_once_as_deltas_and_in_their_item() {
    let whole = r#"{"id":1}"#;
    let begun = || added(call(""));
    let end = |arguments: &str| completed(json!([call(arguments)]));
    let object = json!({"type": "function_call", "id": "c", "call_id": "call_1", "name": "f", "arguments": {"id": 1}});
    for events in [
        vec![end(whole)],
        vec![begun(), arguments_done(whole), done(call("")), end("")],
        vec![
            begun(),
            arguments_done(whole),
            done(call(whole)),
            end(whole),
        ],
        vec![begun(), arguments_done(whole), end("")],
        vec![begun(), arguments_done(whole), completed(json!([]))],
        vec![begun(), done(call("")), end(whole)],
        vec![begun(), done(call("")), done(call("")), end(whole)],
        vec![begun(), done(call(whole)), completed(json!([]))],
        vec![
            begun(),
            arguments_delta("{\"id\""),
            arguments_delta(":1}"),
            done(call("")),
            end(""),
        ],
        vec![
            begun(),
            arguments_delta("{\"id\""),
            done(call(whole)),
            end(whole),
        ],
        vec![begun(), arguments_delta("{\"id\""), end(whole)],
        vec![
            begun(),
            arguments_delta(whole),
            arguments_done(whole),
            done(call(whole)),
            end(whole),
        ],
        vec![begun(), done(object.clone()), completed(json!([]))],
        vec![
            begun(),
            event(
                "function_call_arguments.done",
                json!({"item_id": "c", "output_index": 0, "arguments": {"id": 1}}),
            ),
            done(call("")),
            end(""),
        ],
    ] {
        let found = Summary::of_events(&events);
        assert_eq!(
            (&*found.input, &*found.end),
            (whole, "completed"),
            "{events:#?}"
        );
        let inputs: Vec<_> = found.items.iter().map(|item| &item["arguments"]).collect();
        assert_eq!(inputs, [whole], "{events:#?}");
        assert_eq!(found.items[0]["call_id"], "call_1");
        assert_eq!(
            found.items[0].get("status").unwrap_or(&json!("completed")),
            "completed"
        );
    }
}

#[test]
fn every_kind_of_text_is_made_good() {
    let place = |fields: Value| {
        let mut all = json!({"item_id": "i", "output_index": 3});
        all.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        all
    };
    for (kind, fields, item) in [
        (
            "refusal.done",
            json!({"content_index": 0, "refusal": "T"}),
            json!({"type": "message", "content": [{"type": "refusal", "refusal": "T"}]}),
        ),
        (
            "reasoning_text.done",
            json!({"content_index": 0, "text": "T"}),
            json!({"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "T"}]}),
        ),
        (
            "reasoning_part.done",
            json!({"content_index": 0, "part": {"type": "reasoning_text", "text": "T"}}),
            json!({"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "T"}]}),
        ),
        (
            "reasoning_summary_text.done",
            json!({"summary_index": 0, "text": "T"}),
            json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "T"}]}),
        ),
        (
            "reasoning_summary_part.done",
            json!({"summary_index": 0, "part": {"type": "summary_text", "text": "T"}}),
            json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": "T"}]}),
        ),
        (
            "custom_tool_call_input.done",
            json!({"input": "T"}),
            json!({"type": "custom_tool_call", "call_id": "c", "name": "n", "input": "T"}),
        ),
        (
            "mcp_call_arguments.done",
            json!({"arguments": "T"}),
            json!({"type": "mcp_call", "server_label": "s", "name": "n", "arguments": "T"}),
        ),
    ] {
        let mut item = item;
        item["id"] = json!("i");
        let whole = event(kind, place(fields));
        let item_done = event("output_item.done", json!({"output_index": 3, "item": item}));
        let end = completed(json!([item]));
        let bare = completed(json!([]));
        let mut cases = vec![
            vec![whole.clone(), item_done.clone(), end.clone()],
            vec![whole.clone(), end.clone()],
            vec![item_done, bare.clone()],
            vec![end],
        ];
        if !item["type"].as_str().unwrap().ends_with("call") {
            cases.push(vec![whole, bare]);
        }
        for events in cases {
            let found = Summary::of_events(&events);
            let texts = [found.text, found.refusal, found.reasoning, found.input].concat();
            assert_eq!((&*texts, &*found.end), ("T", "completed"), "{events:#?}");
            assert_eq!(found.items.len(), 1, "{events:#?}");
            assert!(found.items[0].to_string().contains("\"T\""), "{events:#?}");
        }
    }
}

/// Two messages of two deltas each, whose events name their places and ids as the function says.
fn two_messages(name: impl Fn(usize, usize) -> (Value, Value), with_added: bool) -> Vec<String> {
    let mut events = Vec::new();
    let mut step = 0;
    for item in 0..2 {
        let texts = [["He", "llo"], ["Wor", "ld"]][item];
        let mut next = |kind: &str, fields: Value| {
            let (index, id) = name(item, step);
            step += 1;
            let mut fields = fields;
            match fields.get_mut("item") {
                Some(item) => item["id"] = id,
                None => fields["item_id"] = id,
            }
            fields["output_index"] = index;
            events.push(event(kind, fields));
        };
        if with_added {
            next(
                "output_item.added",
                json!({"item": {"type": "message", "role": "assistant", "content": []}}),
            );
        }
        for delta in texts {
            next(
                "output_text.delta",
                json!({"content_index": 0, "delta": delta}),
            );
        }
        let whole = texts.concat();
        next(
            "output_text.done",
            json!({"content_index": 0, "text": whole}),
        );
        next(
            "output_item.done",
            json!({"item": {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": whole}]}}),
        );
    }
    events
}

#[test]
fn items_are_told_apart_whatever_servers_call_them() {
    type Name = fn(usize, usize) -> (Value, Value);
    let names: [(&str, Name); 6] = [
        ("both", |item, _| (json!(item), json!(format!("m{item}")))),
        ("only places", |item, _| (json!(item), Value::Null)),
        ("only ids", |item, _| {
            (Value::Null, json!(format!("m{item}")))
        }),
        ("empty ids", |item, _| (json!(item), json!(""))),
        ("ids that change", |item, step| {
            (json!(item), json!(format!("x{step}")))
        }),
        ("one place for all", |item, _| {
            (json!(0), json!(format!("m{item}")))
        }),
    ];
    for (what, name) in names {
        for with_added in [true, false] {
            let mut events = two_messages(name, with_added);
            for output in [
                json!([]),
                json!([
                    {"type": "message", "id": "m0", "content": [{"type": "output_text", "text": "Hello"}]},
                    {"type": "message", "id": "m1", "content": [{"type": "output_text", "text": "World"}]},
                ]),
            ] {
                events.push(completed(output));
                let found = Summary::of_events(&events);
                assert_eq!(
                    (&*found.text, found.items.len(), &*found.end),
                    ("HelloWorld", 2, "completed"),
                    "{what}, {with_added}: {events:#?}"
                );
                events.pop();
            }
        }
    }
    // Nothing that two events have in common: their text is not told twice.
    let mut events = two_messages(|_, step| (Value::Null, json!(format!("x{step}"))), false);
    events.retain(|event| !event.contains("output_text.done"));
    events.push(completed(json!([])));
    assert_eq!(Summary::of_events(&events).text, "HelloWorld");
}

#[test]
fn calls_in_one_place_stay_two() {
    let mut events = Vec::new();
    for id in ["a", "b"] {
        events.push(added(
            json!({"type": "function_call", "id": id, "call_id": id, "name": "f", "arguments": ""}),
        ));
    }
    for id in ["a", "b"] {
        let arguments = format!("{{\"{id}\":1}}");
        events.push(event(
            "function_call_arguments.delta",
            json!({"item_id": id, "output_index": 0, "delta": arguments}),
        ));
        events.push(done(json!({"type": "function_call", "id": id, "call_id": id, "name": "f", "arguments": arguments})));
    }
    events.push(completed(json!([])));
    let found = Summary::of_events(&events);
    assert_eq!((&*found.input, found.items.len()), (r#"{"a":1}{"b":1}"#, 2));
    assert_eq!(found.end, "completed");
}

#[test]
fn the_final_output_is_matched_with_what_was_delivered() {
    let item = |kind: &str, id: &str| match kind {
        "message" => {
            json!({"type": kind, "id": id, "content": [{"type": "output_text", "text": id}]})
        }
        _ => json!({"type": kind, "id": id, "call_id": id, "name": "f", "arguments": "{}"}),
    };
    let done = |index: u32, item: Value| {
        event(
            "output_item.done",
            json!({"output_index": index, "item": item}),
        )
    };
    for (delivered, output, items) in [
        (
            vec![(0, item("message", "a"))],
            json!([item("message", "a"), item("message", "b")]),
            2,
        ),
        (
            vec![(0, item("message", "a")), (2, item("message", "b"))],
            json!([item("message", "a"), item("message", "b")]),
            2,
        ),
        (
            vec![(1, item("message", "b"))],
            json!([item("message", "a"), item("message", "b")]),
            2,
        ),
        (
            vec![(0, item("message", "a"))],
            json!([item("message", "renamed")]),
            1,
        ),
        (
            vec![
                (0, item("function_call", "a")),
                (1, item("function_call", "b")),
            ],
            json!([item("function_call", "b")]),
            2,
        ),
        (
            vec![(0, item("function_call", "a"))],
            json!([item("function_call", "b"), item("function_call", "a")]),
            2,
        ),
        (
            vec![(0, item("function_call", "a"))],
            json!([item("message", "b"), item("function_call", "a")]),
            2,
        ),
        (vec![], json!([item("message", "a"), "odd", null]), 1),
    ] {
        let mut events: Vec<_> = delivered
            .into_iter()
            .map(|(index, item)| done(index, item))
            .collect();
        events.push(completed(output));
        let found = Summary::of_events(&events);
        assert_eq!(found.items.len(), items, "{events:#?}");
        let mut ids: Vec<_> = found
            .items
            .iter()
            .map(|item| item["id"].to_string())
            .collect();
        ids.dedup();
        assert_eq!(ids.len(), items, "{events:#?}");
    }
}

#[test]
fn messages_that_say_nothing_keep_their_places() {
    let item = |id: &str, content: Value| json!({"type": "message", "id": id, "content": content});
    let events = [
        done(item("a", json!([]))),
        event(
            "output_item.done",
            json!({"output_index": 1, "item": {"type": "novelty", "id": "b"}}),
        ),
        event(
            "output_item.done",
            json!({"output_index": 2, "item": item("c", json!([]))}),
        ),
        completed(json!([])),
    ];
    let found = Summary::of_events(&events);
    let ids: Vec<_> = found
        .items
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    assert_eq!((&*ids, &*found.end), (&["a", "b", "c"][..], "completed"));
}

#[test]
fn a_failed_or_cut_response_gives_what_it_has() {
    for (kind, status, end) in [
        (
            "failed",
            json!({"status": "failed", "error": {"code": "server_error", "message": "broken"}}),
            "failed server_error: broken",
        ),
        (
            "incomplete",
            json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}),
            "incomplete max_output_tokens",
        ),
        (
            "completed",
            json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}),
            "incomplete max_output_tokens",
        ),
        (
            "cancelled",
            json!({"status": "cancelled"}),
            "incomplete cancelled",
        ),
    ] {
        let mut response = json!({"id": "r", "output": [message("Hel")], "usage": {"input_tokens": 1, "output_tokens": 2}});
        response
            .as_object_mut()
            .unwrap()
            .extend(status.as_object().unwrap().clone());
        let events = [delta("H"), event(kind, json!({"response": response}))];
        let found = Summary::of_events(&events);
        assert_eq!(
            (&*found.text, found.items.len(), &*found.end),
            ("Hel", 1, end),
            "{kind}"
        );
        if let Some(Terminal::Failed(error)) = decode(&events).terminal {
            let details = error.details();
            assert_eq!(details.response_id.as_deref(), Some("r"));
            assert_eq!(details.token_usage.map(|usage| usage.total_tokens), Some(3));
            assert_eq!(details.response.as_ref().unwrap().to_value(), response);
        }
    }
}

#[test]
fn what_is_kept_has_a_bound_and_above_it_events_are_as_they_came() {
    let limits = StreamLimits {
        max_answer_parts: 4,
        max_answer_bytes: 100,
        ..StreamLimits::default()
    };
    let long = "x".repeat(1_000);
    let many: Vec<_> = (0..50)
        .map(|n| {
            event(
                "output_text.delta",
                json!({"output_index": n, "item_id": format!("m{n}"), "delta": "a"}),
            )
        })
        .collect();
    for events in [
        many,
        vec![text_done(&long), arguments_delta(&long), done(call("{}"))],
    ] {
        let mut decoder = StreamDecoder::new(Wire::Responses, limits);
        let mut out = Vec::new();
        let body: String = events.iter().map(|data| framed(data)).collect();
        assert_eq!(decoder.feed(body.as_bytes(), &mut out), None);
        assert!(out.len() >= events.len());
        let end = decoder.feed(framed(&completed(json!([]))).as_bytes(), &mut out);
        assert!(end.is_some(), "{end:?}");
    }
}

#[test]
fn texts_without_an_index_follow_one_another() {
    let part = |kind: &str, fields: Value| {
        let mut fields = fields;
        fields["item_id"] = json!("i");
        event(kind, fields)
    };
    for (name, part_done, list, item_type) in [
        ("output_text", "content_part.done", "content", "message"),
        (
            "reasoning_summary_text",
            "reasoning_summary_part.done",
            "summary",
            "reasoning",
        ),
        (
            "reasoning_text",
            "reasoning_part.done",
            "content",
            "reasoning",
        ),
    ] {
        let part_type = match name {
            "reasoning_summary_text" => "summary_text",
            name => name,
        };
        for pieces in [
            [vec!["A", "1"], vec!["B22"]],
            [vec!["A"], vec!["A"]],
            [vec![], vec!["B"]],
        ] {
            let texts = pieces.each_ref().map(|pieces| match pieces.is_empty() {
                true => "only whole".to_owned(),
                false => pieces.concat(),
            });
            let mut events = Vec::new();
            for (pieces, text) in pieces.iter().zip(&texts) {
                for delta in pieces {
                    events.push(part(&format!("{name}.delta"), json!({"delta": delta})));
                }
                events.push(part(&format!("{name}.done"), json!({"text": text})));
                events.push(part(
                    part_done,
                    json!({"part": {"type": part_type, "text": text}}),
                ));
            }
            let contents = texts
                .each_ref()
                .map(|text| json!({"type": part_type, "text": text}));
            let item = json!({"type": item_type, "id": "i", list: contents});
            events.push(event("output_item.done", json!({"item": item})));
            events.push(completed(json!([])));
            let found = Summary::of_events(&events);
            assert_eq!(
                [found.text, found.reasoning].concat(),
                texts.concat(),
                "{events:#?}"
            );
            assert_eq!(found.items, [item]);
        }
    }
}
