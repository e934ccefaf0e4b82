use serde_json::{Value, json};

use super::*;
use crate::{
    protocol::{Completed, Incomplete, TextDelta},
    wire::{StreamDecoder, StreamLimits},
};

fn carried(body: &Value) -> Result<(Value, Bridged), ApiError> {
    carried_by(body, &Quirks::default(), BridgeOptions::default())
}

fn carried_by(
    body: &Value,
    quirks: &Quirks,
    mut options: BridgeOptions,
) -> Result<(Value, Bridged), ApiError> {
    if options.provider.is_empty() {
        options.provider = "p".to_owned();
    }
    let bridged = bridged(Wire::Responses, body, Wire::Chat, quirks, options)?;
    let sent = Wire::Chat.request_body(&bridged.prompt, quirks).unwrap();
    Ok((serde_json::from_slice(&sent).unwrap(), bridged))
}

fn bridged(
    client: Wire,
    body: &Value,
    server: Wire,
    quirks: &Quirks,
    options: BridgeOptions,
) -> Result<Bridged, ApiError> {
    let prompt = Prompt::from_body(body.to_string())?;
    let request = body.as_object().unwrap().clone();
    Bridge::for_request(client, prompt, request, server, quirks, options)
}

/// The server's chunks as the client's events.
fn rendered(bridged: &Bridged, deltas: &[Value], finish: &str) -> Vec<Value> {
    let mut decoder = StreamDecoder::new(Wire::Chat, StreamLimits::default());
    let (mut events, mut stream) = (Vec::new(), Vec::new());
    let mut renderer = bridged.back.renderer();
    let mut end = None;
    for delta in deltas {
        let chunk = json!({"id": "c", "choices": [{"index": 0, "delta": delta}]});
        end = end.or(decoder.feed(format!("data: {chunk}\n\n").as_bytes(), &mut events));
    }
    let chunk = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]});
    end = end.or(decoder.feed(
        format!("data: {chunk}\n\ndata: [DONE]\n\n").as_bytes(),
        &mut events,
    ));
    events.push(end.unwrap().into());
    events
        .iter()
        .for_each(|event| renderer.push(event, &mut stream));
    let text = String::from_utf8(stream).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

fn call(name: &str, arguments: &Value) -> Value {
    let function = json!({"name": name, "arguments": arguments.to_string()});
    json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]})
}

fn done(events: &[Value]) -> Vec<Value> {
    let done = events
        .iter()
        .filter(|event| event["type"] == "response.output_item.done");
    done.map(|event| event["item"].clone()).collect()
}

#[test]
fn a_custom_tool_is_a_function_with_one_string_and_comes_back_with_its_own_events() {
    let format = json!({"type": "grammar", "syntax": "lark", "definition": "start: X"});
    let body = json!({"model": "m", "input": [
        {"role": "user", "content": "go"},
        {"type": "custom_tool_call", "call_id": "c0", "name": "apply_patch", "input": "a\nb"},
        {"type": "custom_tool_call_output", "call_id": "c0", "output": "ok"},
    ], "tools": [{"type": "custom", "name": "apply_patch", "description": "Patches.", "format": format}],
    "tool_choice": {"type": "custom", "name": "apply_patch"}});
    let (sent, bridged) = carried(&body).unwrap();
    let tool = &sent["tools"][0]["function"];
    assert_eq!(tool["name"], "apply_patch");
    assert_eq!(tool["parameters"]["required"], json!(["input"]));
    assert!(tool["description"].as_str().unwrap().contains("start: X"));
    assert_eq!(sent["tool_choice"]["function"]["name"], "apply_patch");
    let history = &sent["messages"][1]["tool_calls"][0]["function"];
    assert_eq!(history["arguments"], r#"{"input":"a\nb"}"#);
    assert_eq!(sent["messages"][2]["role"], "tool");
    let deltas = [call("apply_patch", &json!({"input": "*** \"x\"\n"}))];
    let events = rendered(&bridged, &deltas, "tool_calls");
    let kinds: Vec<_> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert!(kinds.contains(&"response.custom_tool_call_input.delta"));
    assert!(kinds.contains(&"response.custom_tool_call_input.done"));
    assert!(!kinds.iter().any(|kind| kind.contains("function_call")));
    let item = &done(&events)[0];
    assert_eq!(
        (&item["type"], &item["input"]),
        (&json!("custom_tool_call"), &json!("*** \"x\"\n"))
    );
    assert_eq!(
        (&item["call_id"], &item["name"]),
        (&json!("call_1"), &json!("apply_patch"))
    );
}

#[test]
fn a_namespace_is_restored_by_the_table_and_never_by_splitting() {
    let long = "x".repeat(70);
    let function =
        |name: &str| json!({"type": "function", "name": name, "parameters": {"type": "object"}});
    let body = json!({"model": "m", "input": "go", "tools": [
        {"type": "namespace", "name": "mcp__git", "tools": [function("a__b"), function(&long)]},
        function("plain__name"),
    ]});
    let (sent, _) = carried(&body).unwrap();
    let names: Vec<_> = sent["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["function"]["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((&*names[0], &*names[2]), ("mcp__git__a__b", "plain__name"));
    assert_eq!(names[1].len(), 64);
    for (name, restored, namespace) in [
        (&names[0], "a__b", json!("mcp__git")),
        (&names[1], &*long, json!("mcp__git")),
        (&names[2], "plain__name", Value::Null),
    ] {
        let (_, bridged) = carried(&body).unwrap();
        let events = rendered(&bridged, &[call(name, &json!({}))], "tool_calls");
        let item = &done(&events)[0];
        assert_eq!(
            (item["name"].as_str(), &item["namespace"]),
            (Some(restored), &namespace)
        );
    }
}

#[test]
fn a_collision_of_joined_names_is_a_400() {
    let function =
        |name: &str| json!({"type": "function", "name": name, "parameters": {"type": "object"}});
    let body = json!({"model": "m", "input": "go", "tools": [
        {"type": "namespace", "name": "a", "tools": [function("b")]}, function("a__b"),
    ]});
    let error = carried(&body).unwrap_err();
    assert_eq!(
        (error.kind(), error.details().status),
        (ErrorKind::InvalidRequest, Some(400))
    );
    assert!(error.message().contains("a__b"), "{error}");
}

#[test]
fn tool_search_goes_both_ways() {
    let body = json!({"model": "m", "input": [
        {"role": "user", "content": "go"},
        {"type": "tool_search_call", "call_id": "s0", "execution": "client", "arguments": {"query": "git"}},
        {"type": "tool_search_output", "call_id": "s0", "execution": "client", "tools": [
            {"type": "function", "name": "git_log", "parameters": {"type": "object"}}]},
    ], "tools": [{"type": "tool_search", "execution": "client"}]});
    let (sent, bridged) = carried(&body).unwrap();
    let names: Vec<_> = sent["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["function"]["name"])
        .collect();
    assert_eq!(names, ["tool_search", "git_log"]);
    assert!(
        sent["messages"][2]["content"]
            .as_str()
            .unwrap()
            .contains("git_log")
    );
    let events = rendered(
        &bridged,
        &[call("tool_search", &json!({"query": "x"}))],
        "tool_calls",
    );
    let item = &done(&events)[0];
    assert_eq!(
        (&item["type"], &item["arguments"]),
        (&json!("tool_search_call"), &json!({"query": "x"}))
    );
}

#[test]
fn a_route_lowers_tools_on_responses_to_responses_too() {
    let body = json!({"model": "m", "input": "go", "tools": [
        {"type": "custom", "name": "c"}, {"type": "web_search"},
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]},
    ]});
    let mut options = BridgeOptions::default();
    let carried = |options| {
        let (wire, quirks) = (Wire::Responses, Quirks::default());
        let bridged = bridged(wire, &body, wire, &quirks, options).unwrap();
        let sent = Wire::Responses
            .request_body(&bridged.prompt, &Quirks::default())
            .unwrap();
        serde_json::from_slice::<Value>(&sent).unwrap()["tools"].clone()
    };
    assert_eq!(carried(options.clone()), body["tools"]);
    options.lowers_tools = true;
    let tools = carried(options);
    let kinds: Vec<_> = tools
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| (&tool["type"], &tool["name"]))
        .collect();
    assert_eq!(kinds[0], (&json!("function"), &json!("c")));
    assert_eq!(kinds[1].0, "web_search");
    assert_eq!(kinds[2], (&json!("function"), &json!("n__f")));
}

#[test]
fn what_chat_can_not_say_is_left_out_and_named_or_a_400_when_tool_choice_needs_it() {
    let mut body = json!({"model": "m", "input": "go", "client_metadata": {"a": "b"}, "tools": [
        {"type": "web_search"}, {"type": "function", "name": "f", "parameters": {"type": "object"}}]});
    let (sent, bridged) = carried(&body).unwrap();
    assert_eq!(bridged.dropped, ["client_metadata", "web_search"]);
    assert_eq!(sent["tools"].as_array().unwrap().len(), 1);
    body["tool_choice"] = json!({"type": "web_search"});
    let error = carried(&body).unwrap_err();
    assert_eq!(error.details().param.as_deref(), Some("tool_choice"));
}

fn roles(sent: &Value) -> Vec<&str> {
    let messages = sent["messages"].as_array().unwrap();
    messages
        .iter()
        .map(|message| message["role"].as_str().unwrap())
        .collect()
}

#[test]
fn neighbouring_calls_make_one_message_and_their_results_follow_at_once() {
    let call =
        |id: &str| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"});
    let output = |id: &str| json!({"type": "function_call_output", "call_id": id, "output": id});
    let body = json!({"model": "m", "input": [
        {"role": "user", "content": "go"},
        call("a"),
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "between"}]},
        call("b"), call("c"),
        output("b"), output("a"),
        {"role": "user", "content": "on"},
    ]});
    let (sent, _) = carried(&body).unwrap();
    assert_eq!(
        roles(&sent),
        ["user", "assistant", "tool", "tool", "tool", "user"]
    );
    let answer = &sent["messages"][1];
    assert_eq!(answer["content"], "between");
    assert_eq!(answer["tool_calls"].as_array().unwrap().len(), 3);
    let results: Vec<_> = (2..5)
        .map(|at| {
            (
                &sent["messages"][at]["tool_call_id"],
                &sent["messages"][at]["content"],
            )
        })
        .collect();
    assert_eq!(results[0], (&json!("a"), &json!("a")));
    assert_eq!(results[1], (&json!("b"), &json!("b")));
    assert_eq!(results[2], (&json!("c"), &json!("aborted")));
    let once = Wire::Chat.request_body(&carried(&body).unwrap().1.prompt, &Quirks::default());
    let again = Wire::Chat.request_body(&carried(&body).unwrap().1.prompt, &Quirks::default());
    assert_eq!(
        once.unwrap(),
        again.unwrap(),
        "the same request is the same bytes"
    );
}

#[test]
fn images_in_tool_results_go_into_a_message_of_the_user_and_never_as_text() {
    let body = json!({"model": "m", "input": [
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "seen"}, {"type": "input_image", "image_url": "data:image/png;base64,AA"}]},
    ]});
    let (sent, _) = carried(&body).unwrap();
    assert_eq!(roles(&sent), ["assistant", "tool", "user"]);
    assert_eq!(sent["messages"][1]["content"], "seen");
    assert_eq!(sent["messages"][2]["content"][0]["type"], "image_url");
}

#[test]
fn length_is_incomplete_and_content_filter_too_with_reason_and_usage() {
    for (finish, reason) in [
        ("length", "max_output_tokens"),
        ("content_filter", "content_filter"),
    ] {
        let (_, bridged) = carried(&json!({"model": "m", "input": "go"})).unwrap();
        let events = rendered(&bridged, &[json!({"content": "a"})], finish);
        let last = events.last().unwrap();
        assert_eq!(last["type"], "response.incomplete");
        assert_eq!(last["response"]["incomplete_details"]["reason"], reason);
        assert!(last["response"]["usage"]["output_tokens_details"]["reasoning_tokens"].is_u64());
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "go"}]});
        let (quirks, options) = (Quirks::default(), BridgeOptions::default());
        let back =
            super::tests::bridged(Wire::Chat, &body, Wire::Responses, &quirks, options).unwrap();
        let end: Incomplete = serde_json::from_value(json!({"reason": reason})).unwrap();
        let mut stream = Vec::new();
        back.back
            .renderer()
            .push(&ResponseEvent::Incomplete(end.into()), &mut stream);
        assert!(
            String::from_utf8(stream)
                .unwrap()
                .contains(&format!("\"finish_reason\":\"{finish}\""))
        );
    }
}

#[test]
fn a_compaction_over_chat_is_one_compaction_item_or_a_400_where_it_is_switched_off() {
    let body = json!({"model": "m", "input": [{"role": "user", "content": "go"}, {"type": "compaction_trigger"}],
        "tools": [{"type": "custom", "name": "c"}]});
    let (sent, bridged) = carried(&body).unwrap();
    assert_eq!(roles(&sent), ["user", "user"]);
    assert!(sent.get("tools").is_none());
    let events = rendered(
        &bridged,
        &[
            json!({"reasoning_content": "hm"}),
            json!({"content": "All so far."}),
        ],
        "stop",
    );
    let items = done(&events);
    assert_eq!(items.len(), 1);
    assert_eq!(items[0]["type"], "compaction");
    let next = json!({"model": "m", "input": [items[0], {"role": "user", "content": "on"}]});
    let (sent, _) = carried(&next).unwrap();
    assert!(
        sent["messages"][0]["content"]
            .as_str()
            .unwrap()
            .contains("All so far.")
    );
    let options = BridgeOptions {
        refuses_compaction: true,
        ..BridgeOptions::default()
    };
    let error = carried_by(&body, &Quirks::default(), options).unwrap_err();
    assert_eq!(error.details().status, Some(400));
}

#[test]
fn what_models_are_told_is_mapped_row_by_row() {
    for (given, name, expected) in [
        (
            json!({"reasoning": {"effort": "high", "summary": "auto"}}),
            "reasoning_effort",
            json!("high"),
        ),
        (
            json!({"text": {"format": {"type": "json_object"}}}),
            "response_format",
            json!({"type": "json_object"}),
        ),
        (
            json!({"text": {"format": {"type": "json_schema", "name": "n", "schema": {}}}}),
            "response_format",
            json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}),
        ),
        (
            json!({"max_output_tokens": 5}),
            "max_completion_tokens",
            json!(5),
        ),
        (
            json!({"instructions": "be short"}),
            "messages",
            json!([{"role": "system", "content": "be short"}]),
        ),
        (
            json!({"input": [{"role": "developer", "content": "d"}]}),
            "messages",
            json!([{"role": "system", "content": "d"}]),
        ),
        (
            json!({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "u", "detail": "low"}]}]}),
            "messages",
            json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u", "detail": "low"}}]}]),
        ),
        (
            json!({"input": [{"role": "user", "content": [{"type": "input_file", "file_data": "d", "filename": "f"}]}]}),
            "messages",
            json!([{"role": "user", "content": [{"type": "file", "file": {"file_data": "d", "filename": "f"}}]}]),
        ),
        (
            json!({"parallel_tool_calls": false, "tools": [{"type": "function", "name": "f"}]}),
            "parallel_tool_calls",
            json!(false),
        ),
    ] {
        let mut body = json!({"model": "m", "input": []});
        body.as_object_mut()
            .unwrap()
            .extend(given.as_object().unwrap().clone());
        let (sent, _) = carried(&body).unwrap();
        assert_eq!(sent[name], expected, "{given}");
    }
    let quirks = Quirks::default()
        .with_has_max_tokens(true)
        .with_has_developer_role(true);
    let body = json!({"model": "m", "input": [{"role": "developer", "content": "d"}], "max_output_tokens": 5});
    let (sent, _) = carried_by(&body, &quirks, BridgeOptions::default()).unwrap();
    assert_eq!(
        (&sent["max_tokens"], &sent["messages"][0]["role"]),
        (&json!(5), &json!("developer"))
    );
}

#[test]
fn an_answer_in_the_background_is_a_400_over_chat() {
    let body = json!({"model": "m", "input": "go", "background": true});
    let error = carried(&body).unwrap_err();
    let details = error.details();
    assert_eq!(
        (details.status, details.param.as_deref()),
        (Some(400), Some("background"))
    );
}

#[test]
fn reasoning_travels_sealed_and_is_unpacked_for_its_provider_alone() {
    let body = json!({"model": "m", "store": false, "include": ["reasoning.encrypted_content"], "input": "go",
        "tools": [{"type": "function", "name": "f"}]});
    let (_, bridged) = carried(&body).unwrap();
    let details = json!([{"type": "reasoning.encrypted", "data": "DATA", "index": 0}]);
    let deltas = [
        json!({"reasoning_content": "because", "reasoning_details": details}),
        call("f", &json!({})),
    ];
    let mut items = done(&rendered(&bridged, &deltas, "tool_calls"));
    assert_eq!(items[0]["type"], "reasoning");
    // Codex sends no more of it back than this.
    items[0] = json!({"type": "reasoning", "summary": [], "encrypted_content": items[0]["encrypted_content"]});
    let mut input = vec![json!({"role": "user", "content": "go"})];
    input.append(&mut items);
    input.push(json!({"type": "function_call_output", "call_id": "call_1", "output": "ok"}));
    let next = json!({"model": "m", "store": false, "input": input});
    let quirks = Quirks::default().with_reasoning_field("reasoning_content");
    let (sent, back) = carried_by(&next, &quirks, BridgeOptions::default()).unwrap();
    assert_eq!(sent["messages"][1]["reasoning_content"], "because");
    assert_eq!(sent["messages"][1]["reasoning_details"][0]["data"], "DATA");
    assert!(back.dropped.is_empty());
    let other = BridgeOptions {
        provider: "other".to_owned(),
        ..BridgeOptions::default()
    };
    let (sent, back) = carried_by(&next, &quirks, other).unwrap();
    assert!(!sent.to_string().contains("DATA") && !sent.to_string().contains("because"));
    assert_eq!(back.dropped, ["reasoning.encrypted_content"]);
}

#[test]
fn the_clients_model_name_stands_in_every_object() {
    let (_, bridged) = carried(&json!({"model": "mine", "input": "go"})).unwrap();
    let mut stream = Vec::new();
    let mut renderer = bridged.back.renderer();
    renderer.push(&ResponseEvent::ServerModel("theirs".into()), &mut stream);
    renderer.push(
        &ResponseEvent::OutputTextDelta(TextDelta::new("a")),
        &mut stream,
    );
    renderer.push(
        &ResponseEvent::Completed(Completed::default().into()),
        &mut stream,
    );
    let text = String::from_utf8(stream).unwrap();
    assert!(text.contains("\"model\":\"mine\"") && !text.contains("theirs"));
}

#[test]
fn a_chat_client_over_a_responses_server_names_what_that_has_not() {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "go"}], "stop": ["x"], "n": 1, "seed": 3, "max_tokens": 4});
    let (quirks, options) = (Quirks::default(), BridgeOptions::default());
    let bridged = bridged(Wire::Chat, &body, Wire::Responses, &quirks, options).unwrap();
    assert_eq!(bridged.dropped, ["seed", "stop"]);
    let sent = Wire::Responses
        .request_body(&bridged.prompt, &Quirks::default())
        .unwrap();
    let sent: Value = serde_json::from_slice(&sent).unwrap();
    assert_eq!(
        (&sent["max_output_tokens"], &sent["store"]),
        (&json!(4), &json!(false))
    );
    assert!(sent.get("n").is_none());
}

#[test]
fn an_option_that_is_one_is_named_as_any_other_value_is() {
    for (name, value, dropped) in [
        ("frequency_penalty", json!(1), true),
        ("presence_penalty", json!(1), true),
        ("seed", json!(1), true),
        ("seed", json!(null), false),
        ("n", json!(1), false),
        ("n", json!(2), true),
    ] {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "go"}]});
        body[name] = value.clone();
        let (quirks, options) = (Quirks::default(), BridgeOptions::default());
        let bridged = bridged(Wire::Chat, &body, Wire::Responses, &quirks, options).unwrap();
        let expected: &[&str] = if dropped { &[name] } else { &[] };
        assert_eq!(bridged.dropped, expected, "{name} {value}");
    }
}

/// A Chat client's request for a Responses server.
fn lifted(body: &Value) -> Result<(Value, Bridged), ApiError> {
    let (wire, quirks) = (Wire::Responses, Quirks::default());
    let bridged = bridged(Wire::Chat, body, wire, &quirks, BridgeOptions::default())?;
    let sent = wire.request_body(&bridged.prompt, &quirks).unwrap();
    Ok((serde_json::from_slice(&sent).unwrap(), bridged))
}

#[test]
fn functions_are_tools_and_their_calls_come_back_as_function_calls() {
    let mut body = json!({"model": "m", "functions": [{"name": "f", "parameters": {"type": "object"}}], "function_call": {"name": "f"},
        "messages": [{"role": "user", "content": "go"},
            {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{\"a\":1}"}},
            {"role": "function", "name": "f", "content": "one"},
            {"role": "assistant", "content": "so", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "two"}]});
    let (sent, back) = lifted(&body).unwrap();
    let function = json!({"type": "function", "name": "f", "parameters": {"type": "object"}});
    assert_eq!(sent["tools"], json!([function]));
    assert_eq!(
        sent["tool_choice"],
        json!({"type": "function", "name": "f"})
    );
    assert_eq!(sent["parallel_tool_calls"], false);
    assert!(back.dropped.is_empty() && sent.get("functions").is_none());
    let input = sent["input"].as_array().unwrap();
    let pairs: Vec<_> = input
        .iter()
        .map(|item| {
            (
                item["type"].as_str().unwrap(),
                item["call_id"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(
        pairs,
        [
            ("message", ""),
            ("function_call", "call_of_function_0"),
            ("function_call_output", "call_of_function_0"),
            ("message", ""),
            ("function_call", "call_of_function_1"),
            ("function_call_output", "call_of_function_1")
        ]
    );
    assert_eq!(
        (&input[1]["arguments"], &input[5]["output"]),
        (&json!("{\"a\":1}"), &json!("two"))
    );

    let call = |index: u32| {
        let item = json!({"type": "function_call", "call_id": format!("c{index}"), "name": "f", "arguments": "{\"b\":2}"});
        ResponseEvent::OutputItemDone(OutputItem::new(Some(index), item.into()))
    };
    let end = ResponseEvent::Completed(Completed::default().into());
    let said = |events: &[ResponseEvent]| {
        let (mut renderer, mut stream) = (back.back.renderer(), Vec::new());
        events
            .iter()
            .for_each(|event| renderer.push(event, &mut stream));
        String::from_utf8(stream).unwrap()
    };
    let mut whole = crate::wire::ChatCompletion::default();
    let text = said(&[call(0), end.clone()]);
    for data in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
        whole.push(serde_json::from_str(data).unwrap_or_default());
    }
    let choice = &whole.object()["choices"][0];
    assert_eq!(
        choice["message"],
        json!({"role": "assistant", "content": null, "refusal": null,
            "function_call": {"name": "f", "arguments": "{\"b\":2}"}})
    );
    assert_eq!(choice["finish_reason"], "function_call");
    // What is no call goes on as it came.
    for odd in [json!("f"), json!([1]), json!(true)] {
        let mut body = json!({"model": "m", "messages": [{"role": "assistant", "content": "a"}]});
        body["messages"][0]["function_call"] = odd.clone();
        assert_eq!(lifted(&body).unwrap().0["input"][0]["function_call"], odd);
    }
    // There is no room for a second.
    let two = said(&[call(0), call(1), end]);
    assert!(two.contains("\"error\"") && !two.contains("[DONE]"));

    body["tools"] = json!([{"type": "function", "function": {"name": "g"}}]);
    let error = lifted(&body).unwrap_err();
    assert_eq!(error.details().param.as_deref(), Some("functions"));
    body["tools"] = Value::Null;
    body["function_call"] = json!({});
    let error = lifted(&body).unwrap_err();
    assert_eq!(error.details().param.as_deref(), Some("function_call"));
}

#[test]
fn an_answer_of_before_comes_without_what_the_responses_api_refuses() {
    let cited = json!({"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 1}});
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}});
    let body = json!({"model": "m", "messages": [
        {"role": "assistant", "content": "a", "refusal": null, "audio": null, "function_call": null, "annotations": [], "tool_calls": null},
        {"role": "assistant", "content": "b", "annotations": [cited], "images": [image]}]});
    let (sent, back) = lifted(&body).unwrap();
    assert_eq!(
        sent["input"][0],
        json!({"type": "message", "role": "assistant", "content": "a"})
    );
    let flat =
        json!({"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1});
    let part = json!({"type": "output_text", "text": "b", "annotations": [flat]});
    assert_eq!(
        sent["input"][1],
        json!({"type": "message", "role": "assistant", "content": [part]})
    );
    assert_eq!(back.dropped, ["images"]);
}

#[test]
fn an_item_that_can_not_be_read_is_a_400_and_not_left_out() {
    for (item, named) in [
        (json!({"role": "user"}), None),
        (
            json!({"role": "user", "content": {"a": 1}}),
            Some("`message`"),
        ),
        (
            json!({"role": "user", "content": [{"type": "input_text"}]}),
            Some("`input_text`"),
        ),
        (
            json!({"type": "function_call", "name": "f"}),
            Some("`function_call`"),
        ),
    ] {
        let answered = carried(&json!({"model": "m", "input": [item]}));
        let error = answered.err().map(|error| error.message().to_owned());
        let is_as_expected = match (&error, named) {
            (None, None) => true,
            (Some(message), Some(named)) => message.contains(named),
            _ => false,
        };
        assert!(is_as_expected, "{error:?} {named:?}");
    }
}

#[test]
fn codexs_body_comes_out_as_one_that_chat_takes() {
    let body = json!({"model": "gpt-5", "instructions": "You are Codex.", "store": false, "stream": true,
    "include": ["reasoning.encrypted_content"], "prompt_cache_key": "k", "client_metadata": {"x": "y"},
    "parallel_tool_calls": true, "tool_choice": "auto", "reasoning": {"effort": "medium", "summary": "auto"},
    "text": {"verbosity": "low"},
    "tools": [
        {"type": "function", "name": "exec_command", "description": "d", "strict": false, "parameters": {"type": "object", "properties": {}}},
        {"type": "custom", "name": "apply_patch", "description": "d", "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"}},
        {"type": "web_search", "external_web_access": false},
        {"type": "namespace", "name": "mcp__a", "description": "d", "tools": [{"type": "function", "name": "t", "parameters": {"type": "object"}}]},
    ],
    "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "rules"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
    ]});
    let (sent, bridged) = carried(&body).unwrap();
    assert_eq!(roles(&sent), ["system", "system", "user"]);
    let tools = sent["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 3);
    assert!(tools.iter().all(
        |tool| tool["type"] == "function" && tool["function"]["parameters"]["type"] == "object"
    ));
    assert_eq!(bridged.dropped, ["client_metadata", "web_search"]);
    for name in [
        "include",
        "input",
        "instructions",
        "client_metadata",
        "reasoning",
        "text",
        "store",
    ] {
        assert!(sent.get(name).is_none(), "{name}");
    }
}
