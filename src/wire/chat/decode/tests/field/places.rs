use super::*;

#[test]
fn what_has_a_place_in_an_item_is_kept_there() {
    let signed = call(
        json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "SIG"}}}),
    );
    let read = read(&framed(&[
        delta(
            json!({"reasoning": "h", "reasoning_details": [{"type": "reasoning.text", "text": "h", "index": 0}]}),
        ),
        delta(
            json!({"reasoning": "m", "reasoning_details": [{"type": "reasoning.text", "text": "m", "index": 0, "signature": "R"}]}),
        ),
        delta(json!({"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "T"}]})),
        choice_with(
            json!({"content": "Hi"}),
            json!({"content": [{"token": "Hi", "logprob": -1}], "refusal": null}),
        ),
        choice_with(
            json!({"refusal": "No"}),
            json!({"content": null, "refusal": [{"token": "No", "logprob": -2}]}),
        ),
        delta(
            json!({"annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}]}),
        ),
        delta(json!({"audio": {"id": "au", "data": "QQ"}})),
        delta(json!({"audio": {"data": "==", "transcript": "x"}})),
        delta(json!({"images": [{"type": "image_url", "image_url": {"url": "data:"}}]})),
        signed,
        end("tool_calls"),
        DONE.to_owned(),
    ]));
    let [reasoning, message, call] = &*read.items else {
        panic!("{:?}", read.items)
    };
    assert_eq!(
        reasoning["reasoning_details"],
        json!([{"type": "reasoning.text", "text": "hm", "index": 0, "signature": "R"}])
    );
    assert_eq!(
        reasoning["thinking_blocks"],
        json!([{"type": "thinking", "thinking": "", "signature": "T"}])
    );
    assert_eq!(
        message["content"][0]["annotations"],
        json!([{"type": "url_citation", "url": "u", "title": "t"}])
    );
    assert_eq!(
        message["content"][0]["logprobs"],
        json!([{"token": "Hi", "logprob": -1}])
    );
    assert_eq!(
        message["content"][1]["logprobs"],
        json!([{"token": "No", "logprob": -2}])
    );
    assert_eq!(
        message["audio"],
        json!({"id": "au", "data": "QQ==", "transcript": "x"})
    );
    assert_eq!(message["images"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        call["extra_content"],
        json!({"google": {"thought_signature": "SIG"}})
    );
    // Sound and pictures come as they are, too.
    assert_eq!(read.others.len(), 3);
    assert_eq!(read.end(), "completed");
}

fn choice_with(delta: Value, logprobs: Value) -> String {
    json!({"id": "c", "choices": [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": null}]}).to_string()
}

#[test]
fn text_is_read_in_every_place_that_servers_have_for_it() {
    let choice = |choice: Value| json!({"id": "c", "choices": [choice]}).to_string();
    let message = |text: &str| choice(json!({"index": 0, "message": {"content": text}}));
    for events in [
        vec![message("Hel"), message("lo")],
        vec![message("Hel"), message("Hello")],
        vec![text("Hel"), message("Hello")],
        vec![text("Hello"), message("Hello")],
        vec![
            choice(json!({"index": 0, "text": "Hel"})),
            choice(json!({"index": 0, "text": "lo"})),
        ],
        vec![choice(json!({"index": 0, "delta": "Hello"}))],
        vec![
            json!({"id": "c", "choices": {"index": 0, "delta": {"content": "Hello"}}}).to_string(),
        ],
        vec![format!("[{},{}]", text("Hel"), text("lo"))],
        vec![delta(
            json!({"content": [{"type": "text", "text": {"value": "Hello"}}]}),
        )],
    ] {
        let body = framed(&[&events[..], &[end("stop"), DONE.to_owned()]].concat());
        let read = read(&body);
        assert_eq!(
            (read.text.as_str(), read.end().as_str()),
            ("Hello", "completed"),
            "{events:?}"
        );
    }
    let numbers = read(&framed(&[
        text("It is "),
        delta(json!({"content": 42})),
        text("."),
        end("stop"),
    ]));
    assert_eq!(numbers.text, "It is 42.");
    // What a part holds beside its text is in the chunk as it came.
    for part in [
        json!({"type": "text", "text": "a", "annotations": [{"url": "u"}]}),
        json!({"type": "reference", "reference_ids": ["src-77"], "text": "a"}),
        json!({"type": "image_url", "image_url": {"url": "u"}}),
        json!({"type": "redacted_thinking", "data": "d"}),
    ] {
        let read = read(&framed(&[
            text("x"),
            delta(json!({"content": [part]})),
            end("stop"),
        ]));
        assert_eq!(read.others.len(), 1, "{part}");
        // A picture is one wherever it lies.
        let images = read.items[0].get("images").cloned();
        let is_image = part["type"] == "image_url";
        assert_eq!(images, is_image.then(|| json!([part])));
    }
}

#[test]
fn what_has_no_form_arrives_once() {
    let chunk = |text: &str, extra: Value| {
        let mut chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]});
        chunk
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        chunk.to_string()
    };
    for extra in [
        json!({"service_tier": "default"}),
        json!({"system_fingerprint": "fp"}),
        json!({"provider": "P"}),
        json!({"citations": ["https://a"], "search_results": [{"url": "https://a"}]}),
        json!({"prompt_filter_results": [{"prompt_index": 0}]}),
    ] {
        let body = framed(&[
            chunk("a", extra.clone()),
            chunk("b", extra.clone()),
            chunk("c", extra.clone()),
            end("stop"),
            DONE.to_owned(),
        ]);
        let read = read(&body);
        assert_eq!(
            (read.others.len(), read.text.as_str()),
            (1, "abc"),
            "{extra}"
        );
        let other: Value = serde_json::from_str(&read.others[0]).unwrap();
        for (name, value) in extra.as_object().unwrap() {
            assert_eq!(&other[name], value);
        }
        assert_eq!(read.models, ["m"]);
    }
    // What changes in every chunk comes a few times, and its last value at the end.
    let events: Vec<_> = (0..50)
        .map(|n| chunk("x", json!({"timings": {"n": n}})))
        .chain([end("stop")])
        .collect();
    let read = read(&framed(&events));
    assert!(read.others.len() < 12, "{}", read.others.len());
    assert!(read.others.last().unwrap().contains("\"n\":49"));
}

#[test]
fn usage_keeps_what_has_no_field() {
    let usage =
        r#"{"prompt_tokens":1,"completion_tokens":2,"cost":0.25,"cost_details":{"x":1e-7}}"#;
    let body = framed(&[
        text("a"),
        end("stop"),
        format!(r#"{{"id":"c","choices":[],"usage":{usage}}}"#),
    ]);
    let Some(ResponseEvent::Completed(end)) = read(&body).end else {
        panic!()
    };
    assert_eq!(end.usage.as_ref().map(RawJson::get), Some(usage));
}

#[test]
fn the_other_wire_is_named() {
    for body in [
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n",
        "{\"id\":\"r\",\"object\":\"response\",\"status\":\"completed\",\"output\":[]}",
    ] {
        let read = read(body);
        assert_eq!(read.end(), "failed protocol");
        assert!(
            read.message().contains("Responses API"),
            "{}",
            read.message()
        );
    }
}

#[test]
fn halves_of_a_character_in_two_deltas_are_one() {
    let content = |field: &str, text: &str| {
        format!(r#"{{"id":"c","choices":[{{"index":0,"delta":{{"{field}":"{text}"}}}}]}}"#)
    };
    let input = |text: &str| {
        format!(
            r#"{{"id":"c","choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":0,"id":"a","function":{{"name":"f","arguments":"{text}"}}}}]}}}}]}}"#
        )
    };
    for (first, second, expected) in [
        (r"ok \ud83d", r"\ude00 up", "ok 😀 up"),
        (r"\ud83d", r"x", "\u{fffd}x"),
        (r"a\ud83d", "", "a\u{fffd}"),
    ] {
        let read = read(&framed(&[
            content("content", "-"),
            content("content", first),
            content("content", second),
            end("stop"),
        ]));
        assert_eq!(read.text, format!("-{expected}"));
        assert_eq!(read.items[0]["content"][0]["text"], format!("-{expected}"));
    }
    let read = read(&framed(&[
        input(r#"{\"a\":\"\ud83d"#),
        input(r#"\ude00\"}"#),
        end("tool_calls"),
    ]));
    assert_eq!(read.names_and_arguments(), [("f", r#"{"a":"😀"}"#)]);
}
