use super::*;

fn answer(request: &Value) -> DefaultAnswer {
    DefaultAnswer::to_request(request, 1)
}

fn calling() -> Value {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    json!({"model": "m", "input": "hi", "tool_choice": "required",
        "tools": [{"type": "function", "name": "f", "parameters": parameters}]})
}

fn parsed(events: &[OutgoingEvent]) -> Vec<Value> {
    let parse = |event: &OutgoingEvent| {
        let data: Value = serde_json::from_str(&event.data).expect("data is JSON");
        assert_eq!(data["type"].as_str(), event.event.as_deref());
        data
    };
    events.iter().map(parse).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<_> = events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    kinds.dedup();
    kinds
}

fn chunks(answer: &DefaultAnswer) -> Vec<Value> {
    let mut events = answer.chat_events();
    assert_eq!(events.pop(), Some(OutgoingEvent::data("[DONE]")));
    parsed(&events)
}

fn joined(events: &[Value], pointer: &str) -> String {
    events
        .iter()
        .filter_map(|event| event.pointer(pointer)?.as_str())
        .collect()
}

#[test]
fn the_answer_repeats_the_last_words_of_the_user() {
    let part = json!([{"type": "input_text", "text": "second"}, {"type": "input_image"}]);
    let result = json!({"type": "function_call_output", "output": "21 C"});
    for (request, said) in [
        (json!({"input": "only"}), "You said: “only”."),
        (
            json!({"input": [{"role": "user", "content": "first"}, {"role": "user", "content": part}]}),
            "You said: “second”.",
        ),
        (
            json!({"messages": [{"role": "user", "content": "chat"}]}),
            "You said: “chat”.",
        ),
        (
            json!({"messages": [{"role": "user", "content": "chat"}, {"role": "tool", "content": "21 C"}]}),
            "The tool answered: “21 C”.",
        ),
        (json!({"input": [result]}), "The tool answered: “21 C”."),
        (
            json!({"input": [result, {"role": "assistant", "content": "wait"}]}),
            "The tool answered: “21 C”.",
        ),
        (
            json!({"input": [result, {"role": "user", "content": "and now?"}]}),
            "You said: “and now?”.",
        ),
        (
            json!({"input": [{"role": "user", "content": []}]}),
            "You sent no text.",
        ),
        (json!("no request"), "You sent no text."),
    ] {
        let text = answer(&request).text.concat();
        assert!(text.starts_with(&format!("{said} This answer")), "{text}");
    }
}

#[test]
fn a_long_prompt_is_repeated_in_part() {
    let prompt = "wörds and\n spaces ".repeat(1_000);
    let answer = answer(&json!({"input": prompt}));
    assert!(
        answer.text.concat().starts_with(
            "You said: “wörds and spaces wörds and spaces wörds and spaces wörds and…”."
        )
    );
    let deltas = answer.text.len();
    assert!((10..=20).contains(&deltas), "{deltas} deltas");
}

#[test]
fn a_function_is_called_when_it_is_offered_and_asked_for() {
    let flat = json!([{"type": "web_search"}, {"type": "function", "name": "f"}, {"type": "function", "name": "g"}]);
    let nested = json!([{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "g"}}]);
    for (choice, asked, by_option) in [
        (json!(null), None, Some("f")),
        (json!("auto"), None, Some("f")),
        (json!("none"), None, None),
        (json!("required"), Some("f"), Some("f")),
        (
            json!({"type": "function", "name": "g"}),
            Some("g"),
            Some("g"),
        ),
        (
            json!({"type": "function", "function": {"name": "g"}}),
            Some("g"),
            Some("g"),
        ),
        (json!({"type": "function", "name": "h"}), None, None),
        (json!({"type": "web_search"}), None, None),
        (
            json!({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "g"}]}),
            None,
            Some("g"),
        ),
        (
            json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}}),
            Some("g"),
            Some("g"),
        ),
    ] {
        for tools in [&flat, &nested] {
            let request = json!({"input": "hi", "tools": tools, "tool_choice": choice});
            for (calls, expected) in [(false, asked), (true, by_option)] {
                let call = DefaultAnswer::calling(&request, 1, calls).tool_call;
                assert_eq!(call.as_ref().map(|call| &*call.name), expected, "{request}");
            }
        }
    }
    for request in [json!({"input": "hi", "tool_choice": "required"}), json!({})] {
        assert_eq!(DefaultAnswer::calling(&request, 1, true).tool_call, None);
    }
}

#[test]
fn a_loop_of_calls_ends_with_the_first_result() {
    let mut request = calling();
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let user = json!({"role": "user", "content": "hi"});
    let result = json!({"type": "function_call_output", "call_id": "c", "output": "21"});
    let message = json!({"type": "message", "role": "assistant", "content": "one moment"});
    for (input, calls) in [
        (json!([user]), true),
        (json!([user, call, result]), false),
        (json!([user, call, result, message]), false),
        (
            json!([user, call, result, {"type": "message", "role": "developer", "content": "x"}]),
            false,
        ),
        (
            json!([user, {"type": "compaction", "encrypted_content": "x"}]),
            false,
        ),
        (json!([user, call, result, user]), true),
        (json!([result]), false),
    ] {
        request["input"] = input;
        let answer = DefaultAnswer::calling(&request, 1, true);
        assert_eq!(answer.tool_call.is_some(), calls, "{}", request["input"]);
    }
}

#[test]
fn text_is_json_where_that_is_asked_for() {
    let schema = json!({"type": "object", "properties": {"title": {"type": "string"}}});
    for request in [
        json!({"text": {"format": {"type": "json_schema", "name": "n", "schema": schema}}}),
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}),
    ] {
        assert_eq!(answer(&request).text.concat(), r#"{"title":"example"}"#);
    }
    for mut request in [
        json!({"text": {"format": {"type": "json_object"}}}),
        json!({"response_format": {"type": "json_object"}}),
    ] {
        request["input"] = "hi".into();
        let text = answer(&request).text.concat();
        assert_eq!(text, r#"{"answer":"You said: “hi”."}"#);
    }
    let request = json!({"text": {"format": {"type": "text"}}, "response_format": null});
    assert!(answer(&request).text.concat().starts_with("You sent"));
}

#[test]
fn the_response_has_the_items_and_repeats_the_request() {
    let mut request = calling();
    request["include"] = json!(["reasoning.encrypted_content"]);
    request["store"] = false.into();
    let answer = DefaultAnswer::to_request(&request, 7);
    let response = answer.response();
    let [reasoning, message, call] = response["output"].as_array().unwrap().as_slice() else {
        panic!("{response}")
    };
    let summary = &reasoning["summary"][0]["text"];
    assert_eq!(*summary, answer.reasoning.concat());
    assert_eq!(reasoning["encrypted_content"], "loopback-reasoning-7");
    assert_eq!(message["content"][0]["text"], answer.text.concat());
    let arguments = answer.tool_call.as_ref().unwrap().arguments.concat();
    assert_eq!(call["arguments"], arguments);
    assert_eq!(
        (&response["model"], &response["store"]),
        (&json!("m"), &json!(false))
    );
    let usage = &response["usage"];
    let sum = usage["input_tokens"].as_u64().unwrap() + usage["output_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"], sum);
    let last = parsed(&answer.responses_events()).pop().unwrap();
    assert_eq!(last["response"], response);
}

#[test]
fn events_come_in_the_order_of_the_api() {
    let events = parsed(&answer(&calling()).responses_events());
    assert_eq!(
        kinds(&events),
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.done",
            "response.reasoning_summary_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
}

#[test]
fn deltas_items_and_response_say_the_same() {
    let mut request = calling();
    request["include"] = json!(["reasoning.encrypted_content"]);
    request["store"] = false.into();
    let answer = DefaultAnswer::to_request(&request, 7);
    let events = parsed(&answer.responses_events());
    let deltas = |kind: &str| {
        let of_kind = events.iter().filter(|event| event["type"] == kind);
        joined(&of_kind.cloned().collect::<Vec<_>>(), "/delta")
    };
    let done: Vec<_> = events
        .iter()
        .filter(|event| event["type"] == "response.output_item.done")
        .map(|event| event["item"].clone())
        .collect();
    let [reasoning, message, call] = &*done else {
        panic!("{done:?}")
    };
    assert_eq!(
        reasoning["summary"][0]["text"],
        deltas("response.reasoning_summary_text.delta")
    );
    assert_eq!(reasoning["encrypted_content"], "loopback-reasoning-7");
    assert_eq!(
        message["content"][0]["text"],
        deltas("response.output_text.delta")
    );
    assert_eq!(
        call["arguments"],
        deltas("response.function_call_arguments.delta")
    );
    let response = &events.last().unwrap()["response"];
    assert_eq!(response["output"], json!(done));
    assert_eq!(response, &answer.response());
}

#[test]
fn chunks_say_what_the_whole_completion_says() {
    let answer = answer(&calling());
    let chunks = chunks(&answer);
    let whole = answer.chat_completion();
    let message = &whole["choices"][0]["message"];
    for field in ["content", "reasoning_content"] {
        let streamed = joined(&chunks, &format!("/choices/0/delta/{field}"));
        assert_eq!(streamed, message[field]);
    }
    let call = &message["tool_calls"][0];
    for field in ["/id", "/type", "/function/name", "/function/arguments"] {
        let streamed = joined(&chunks, &format!("/choices/0/delta/tool_calls/0{field}"));
        assert_eq!(streamed, *call.pointer(field).unwrap(), "{field}");
    }
    assert_eq!(joined(&chunks, "/choices/0/finish_reason"), "tool_calls");
    let is_plain = |chunk: &Value| chunk.get("usage").is_none() && chunk["model"] == "m";
    assert!(chunks.iter().all(is_plain));
}

#[test]
fn usage_comes_last_and_only_when_asked_for() {
    let chunks = chunks(&answer(&json!({"stream_options": {"include_usage": true}})));
    let (last, others) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert!(last["usage"]["total_tokens"].as_u64() > Some(0));
    assert!(others.iter().all(|chunk| chunk["usage"].is_null()));
    assert_eq!(joined(&chunks, "/choices/0/finish_reason"), "stop");
}

#[test]
fn the_limit_of_tokens_cuts_the_answer() {
    let whole = answer(&json!({}));
    let deltas = (whole.reasoning.len() + whole.text.len()) as u64;
    for (limit, is_cut) in [(deltas, false), (deltas - 1, true), (2, true), (0, true)] {
        let cut = answer(&json!({"max_output_tokens": limit}));
        let response = cut.response();
        let (status, reason) = match is_cut {
            true => ("incomplete", json!("max_output_tokens")),
            false => ("completed", Value::Null),
        };
        assert_eq!(response["status"], status, "{limit}");
        assert_eq!(response["incomplete_details"]["reason"], reason);
        assert_eq!(response["usage"]["output_tokens"], limit);
        let last = cut.responses_events().pop().unwrap();
        assert_eq!(last.event, Some(format!("response.{status}")));
        for name in ["max_tokens", "max_completion_tokens"] {
            let chunks = chunks(&answer(&json!({ name: limit })));
            let reason = if is_cut { "length" } else { "stop" };
            assert_eq!(joined(&chunks, "/choices/0/finish_reason"), reason);
        }
    }
}

#[test]
fn a_compaction_trigger_gets_a_compaction_item_only() {
    let request =
        json!({"input": [{"role": "user", "content": "hi"}, {"type": "compaction_trigger"}]});
    let events = parsed(&answer(&request).responses_events());
    assert_eq!(
        kinds(&events),
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.output_item.done",
            "response.completed",
        ]
    );
    assert_eq!(events[3]["item"]["type"], "compaction");
}

#[test]
fn groups_of_words_lose_nothing() {
    for text in [
        "",
        " ",
        "one",
        " one  two\n\nthree ",
        "one two three four five",
    ] {
        assert_eq!(groups_of_words(text, 2).concat(), text);
    }
}
