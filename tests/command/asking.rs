//! Questions that are answered.

use actix_responses::{
    loopback::{DefaultAnswer, Loopback, Reply, Script},
    testing::events_from_json,
};
use serde_json::{Value, json};

use crate::support::{
    Folder, Running, always, ask, asking, completed, program, provider, run, run_with_stdin, sse,
    text_delta,
};

/// The text that the provider made up for its first request.
fn made_up_text(provider: &Loopback) -> String {
    let request = provider.requests()[0].json().expect("a JSON body");
    DefaultAnswer::to_request(&request, 1).text.concat()
}

#[test]
fn text_of_the_answer_goes_to_stdout() {
    for wire in ["responses", "chat"] {
        let provider = provider(Script::default());
        let ran = ask(&provider, &["--wire", wire]);
        assert_eq!(ran.stdout, made_up_text(&provider) + "\n", "{wire}");
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{wire}");
    }
}

#[test]
fn text_comes_while_the_answer_goes_on() {
    let stream = sse(&[text_delta("first"), completed()]);
    let provider = always(Reply::sse(stream).stall_after_events(1));
    let mut running = Running::start(&mut program(&asking(&provider.base_url(), &[])));
    assert_eq!(running.until_stdout(|text| text == "first"), "first");
}

#[test]
fn json_lines_are_objects_and_the_last_is_the_end() {
    let provider = provider(Script::default());
    let ran = ask(&provider, &["--json"]);
    let events = ran.events();
    assert_eq!(
        (&events[0]["type"], &events[0]["status"]),
        (&json!("head"), &json!(200))
    );
    let created = &events[1];
    assert_eq!(created["type"], "created");
    for line in ran.stdout.lines() {
        assert!(line.starts_with(r#"{"type":""#), "{line}");
    }
    let text: String = events
        .iter()
        .filter(|event| event["type"] == "output_text_delta")
        .map(|event| event["delta"].as_str().expect("a text"))
        .collect();
    assert_eq!(text, made_up_text(&provider));
    let read = events_from_json(&ran.stdout).expect("events");
    let written = read.iter().map(|event| json!(event));
    assert_eq!(written.collect::<Vec<_>>(), events);
    let end = ran.end();
    assert_eq!(end["type"], "completed");
    assert_eq!(end["response_id"], created["response_id"]);
    let names = [
        "input_tokens",
        "cached_input_tokens",
        "cache_write_tokens",
        "output_tokens",
        "reasoning_output_tokens",
        "total_tokens",
    ];
    assert!(
        names.iter().all(|name| end["token_usage"][name].is_u64()),
        "{end}"
    );
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
}

#[test]
fn without_key_and_base_url_the_embedded_provider_answers_and_says_so() {
    let ran = run(&["ask", "hello"]);
    assert!(ran.stdout.starts_with("You said: “hello”."), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    assert!(ran.stderr.contains("embedded provider"), "{ran:?}");
    assert_eq!(ran.status, Some(0));
}

#[test]
fn the_embedded_provider_is_asked_on_the_wire_that_was_named() {
    for (wire, id) in [("chat", "chatcmpl"), ("responses", "resp")] {
        let ran = run(&["ask", "--wire", wire, "--json", "hello"]);
        let created = format!(r#"{{"type":"created","response_id":"{id}_"#);
        let second = ran.stdout.lines().nth(1).unwrap_or_default();
        assert!(second.starts_with(&created), "{ran:?}");
        assert_eq!(ran.status, Some(0));
    }
}

#[test]
fn prompt_comes_from_stdin_when_it_is_piped() {
    for arguments in [&["ask", "-"][..], &["ask"]] {
        let ran = run_with_stdin(arguments, "from\nstdin\n");
        assert!(ran.stdout.starts_with("You said: “from stdin”."), "{ran:?}");
    }
}

#[test]
fn environment_says_where_to_ask_whom_and_with_what() {
    let provider = provider(Script::default());
    let mut command = program(&["ask", "hello"]);
    command
        .env("OPENAI_BASE_URL", provider.base_url())
        .env("OPENAI_API_KEY", "sk-from-environment")
        .env("OPENAI_MODEL", "model-from-environment");
    let ran = Running::start(&mut command).finish();
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    let request = &provider.requests()[0];
    assert_eq!(
        request.headers["authorization"],
        "Bearer sk-from-environment"
    );
    assert_eq!(request.json().unwrap()["model"], "model-from-environment");
}

#[test]
fn options_reach_the_request() {
    let folder = Folder::new();
    let input = json!([{"type": "message", "role": "user", "content": "earlier"}, {"type": "new_item", "x": 1}]);
    let tools = json!([{"type": "function", "name": "f", "parameters": {"type": "object"}}]);
    let schema = r#"{"type": "object", "properties": {"z": {}, "a": {}}}"#;
    let provider = always(Reply::sse(sse(&[text_delta("hi"), completed()])));
    let ran = ask(
        &provider,
        &[
            "--model=m",
            "--instructions=be brief",
            "--input",
            &folder.write("input.json", input.to_string()),
            "--tools",
            &folder.write("tools.json", tools.to_string()),
            "--output-schema",
            &folder.write("schema.json", schema),
            "--reasoning-effort=low",
            "--max-output-tokens=100",
            "--temperature=0.5",
            "--store=false",
            "--previous-response-id=resp_1",
            "--header=X-Team: a: b",
            "--query=region=e u",
        ],
    );
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    let request = &provider.requests()[0];
    assert_eq!(request.headers["x-team"], "a: b");
    assert_eq!(request.headers.get("authorization"), None);
    assert_eq!(request.query.as_deref(), Some("region=e%20u"));
    let body = request.json().unwrap();
    for (field, value) in [
        ("/model", json!("m")),
        ("/instructions", json!("be brief")),
        ("/input/1", input[1].clone()),
        ("/input/2/content/0/text", json!("hello")),
        ("/tools", tools),
        ("/reasoning/effort", json!("low")),
        ("/max_output_tokens", json!(100)),
        ("/temperature", json!(0.5)),
        ("/store", json!(false)),
        ("/previous_response_id", json!("resp_1")),
    ] {
        assert_eq!(body.pointer(field), Some(&value), "{field} in {body}");
    }
    assert_eq!(
        body.pointer("/input")
            .and_then(Value::as_array)
            .map(Vec::len),
        Some(3)
    );
    let sent = String::from_utf8_lossy(&request.body);
    assert!(sent.contains(schema), "the schema keeps its order: {sent}");
}

#[test]
fn without_a_prompt_the_input_is_asked_and_stdin_left_alone() {
    let folder = Folder::new();
    let input = folder.write(
        "input.json",
        r#"[{"role": "user", "content": "from a file"}]"#,
    );
    let provider = provider(Script::default());
    // Stdin stays open: waiting for its end would be for ever.
    let base_url = provider.base_url();
    let mut command = program(&["ask", "--base-url", &base_url, "--input", &input]);
    let mut running = Running::start(&mut command);
    running.until_stdout(|text| text.contains("“from a file”") && text.ends_with('\n'));
    assert_eq!(provider.request_count(), 1);
    assert_eq!(running.finish().status, Some(0));
}

#[test]
fn whole_messages_and_further_messages_are_text_too() {
    let done = |index: u32, text: &str| {
        json!({"type": "response.output_item.done", "output_index": index, "item": {"type": "message", "role": "assistant",
            "id": format!("m{index}"), "content": [{"type": "output_text", "text": text}]}})
    };
    let provider = always(Reply::sse(sse(&[
        done(0, "one"),
        done(1, "two"),
        completed(),
    ])));
    assert_eq!(ask(&provider, &[]).stdout, "one\ntwo\n");
}

#[test]
fn ids_that_change_on_the_way_break_no_line_and_a_lost_piece_is_told() {
    let delta = |index: u32, id: &str, text: &str| json!({"type": "response.output_text.delta", "item_id": id, "output_index": index, "delta": text});
    let done = |index: u32, id: &str, text: &str| {
        json!({"type": "response.output_item.done", "output_index": index, "item":
        {"type": "message", "id": id, "role": "assistant", "content": [{"type": "output_text", "text": text}]}})
    };
    for (text, stderr) in [
        ("one two", ""),
        (
            "one and two",
            "actix-responses: a part of the answer was lost on its way: the text above has a hole\n",
        ),
    ] {
        let stream = sse(&[
            delta(0, "a", "one "),
            delta(0, "b", "two"),
            done(0, "c", text),
            delta(1, "d", "three"),
            done(1, "e", "three four"),
            completed(),
        ]);
        let ran = ask(&always(Reply::sse(stream)), &[]);
        assert_eq!(ran.stdout, "one two\nthree four\n");
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), stderr));
    }
}

#[test]
fn usage_is_told_under_the_same_names_whatever_the_server_calls_it() {
    let chunk = json!({"id": "c", "choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]});
    let usage = json!({"id": "c", "choices": [], "usage": {"prompt_tokens": 100, "prompt_cache_hit_tokens": 80,
        "completion_tokens": 50, "reasoning_tokens": 30, "total_tokens": 180, "cost": 0.5}});
    let stream = sse(&[chunk, usage]) + "data: [DONE]\n\n";
    let ran = ask(&always(Reply::sse(stream)), &["--wire=chat", "--json"]);
    let expected = json!({"input_tokens": 100, "cached_input_tokens": 80, "cache_write_tokens": 0, "output_tokens": 80,
        "reasoning_output_tokens": 30, "total_tokens": 180});
    let end = ran.end();
    assert_eq!(end["token_usage"], expected, "{end}");
    assert_eq!(end["usage"]["cost"], 0.5, "{end}");
}
