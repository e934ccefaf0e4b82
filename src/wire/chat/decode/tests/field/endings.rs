use super::*;

#[test]
fn an_unknown_or_bad_reason_is_no_success_and_stands_in_the_end() {
    let body = |reason: &str, native: &str| {
        let end = json!({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": reason, "native_finish_reason": native}]});
        framed(&[text("a"), end.to_string(), DONE.to_owned()])
    };
    for (reason, native, end) in [
        ("sensitive", "", "incomplete content_filter"),
        ("MAX_TOKENS", "", "incomplete max_output_tokens"),
        ("brand_new", "", "incomplete brand_new"),
        ("network_error", "", "failed server_error"),
        ("stop", "RECITATION", "incomplete content_filter"),
        ("tool_calls", "STOP", "completed"),
    ] {
        let read = read(&body(reason, native));
        assert_eq!(read.end(), end, "{reason}");
        let words = match read.end.unwrap() {
            ResponseEvent::Completed(end) => {
                (end.finish_reason.clone(), end.native_finish_reason.clone())
            }
            ResponseEvent::Incomplete(end) => {
                (end.finish_reason.clone(), end.native_finish_reason.clone())
            }
            ResponseEvent::Failed(error) => {
                let details = error.details();
                (
                    details.finish_reason.clone(),
                    details.native_finish_reason.clone(),
                )
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(words.0.as_deref(), Some(reason));
        assert_eq!(
            words.1.as_deref(),
            Some(native).filter(|word| !word.is_empty())
        );
    }
}

#[test]
fn what_comes_behind_a_finish_reason_belongs_to_the_answer() {
    let stopped = |text: &str| choice(0, json!({"content": text}), Some("stop"));
    let call = |index: u32| {
        choice(
            0,
            json!({"tool_calls": [{"index": index, "id": format!("call_{index}"), "function": {"name": "f", "arguments": "{\"n\":1}"}}]}),
            Some("tool_calls"),
        )
    };
    // `stop` in every chunk.
    let every = read(&framed(&[
        stopped("a"),
        stopped("b"),
        stopped("c"),
        usage(),
        DONE.to_owned(),
    ]));
    assert_eq!((every.text.as_str(), every.items.len()), ("abc", 1));
    assert_eq!(every.end(), "completed");
    // A reason behind each call.
    let calls = read(&framed(&[call(0), call(1), call(2)]));
    assert_eq!(calls.calls.len(), 3);
    assert_eq!(calls.end(), "completed");
    // The worst of several counts, whichever comes first.
    for reasons in [["stop", "length"], ["length", "stop"]] {
        let read = read(&framed(&[
            text("a"),
            end(reasons[0]),
            end(reasons[1]),
            DONE.to_owned(),
        ]));
        assert_eq!(read.end(), "incomplete max_output_tokens", "{reasons:?}");
    }
    // An error behind an end that was none.
    let failed = read(&framed(&[
        stopped("a"),
        r#"{"error":{"message":"boom"}}"#.to_owned(),
    ]));
    assert_eq!(
        (failed.end().as_str(), failed.message()),
        ("failed server_error", "boom")
    );
}

#[test]
fn usage_behind_the_end_ends_the_stream_at_once() {
    let mut decoder = StreamDecoder::new(Wire::Chat, StreamLimits::default());
    let mut out = Vec::new();
    let body = framed(&[text("a"), end("stop")]);
    assert_eq!(decoder.feed(body.as_bytes(), &mut out), None);
    assert!(decoder.is_finishing());
    let went_on = decoder.went_on();
    assert_eq!(decoder.feed(b": ping\n\ndata: {}\n\n", &mut out), None);
    assert_eq!(decoder.went_on(), went_on);
    assert_eq!(
        decoder.feed(framed(&[text("b")]).as_bytes(), &mut out),
        None
    );
    assert!(decoder.went_on() > went_on);
    let terminal = decoder.feed(framed(&[usage()]).as_bytes(), &mut out);
    assert!(matches!(terminal, Some(Terminal::Completed(_))));
    // Usage in every chunk of an answer that names its end in every chunk ends nothing.
    let chunk = |text: &str| {
        json!({"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}})
            .to_string()
    };
    let read = read(&framed(&[chunk(""), chunk("a"), chunk(""), chunk("b")]));
    assert_eq!(
        (read.text.as_str(), read.end().as_str()),
        ("ab", "completed")
    );
}

#[test]
fn an_end_without_a_reason_says_what_is_known() {
    let whole = || {
        call(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{\"n\":1}"}}))
    };
    let open =
        || call(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{\"n\":"}}));
    let bare = || call(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}));
    let done = || DONE.to_owned();
    let broken = || r#"{"id":"c","choices":[{"index":0,"delta":{"content":"lo"#.to_owned();
    for (events, expected) in [
        (vec![done()], "failed truncated"),
        (vec![usage(), done()], "failed truncated"),
        (
            vec![delta(json!({"role": "assistant"})), done()],
            "failed truncated",
        ),
        (vec![text("a"), done()], "incomplete no_finish_reason"),
        (vec![whole(), done()], "incomplete no_finish_reason"),
        (vec![text("a"), open(), done()], "failed truncated"),
        (vec![text("a"), bare(), done()], "failed truncated"),
        (vec![text("a"), open(), usage(), done()], "failed truncated"),
        (
            vec![text("a"), usage(), done()],
            "completed without a reason",
        ),
        (vec![whole(), usage(), done()], "completed without a reason"),
        (
            vec![text("a"), broken(), usage(), done()],
            "failed truncated",
        ),
        (vec![text("a")], "failed truncated"),
        (vec![text("a"), usage()], "failed truncated"),
        // The server says that it is whole, and it is not.
        (
            vec![open(), end("tool_calls"), done()],
            "incomplete incomplete_tool_call",
        ),
        (vec![bare(), end("tool_calls"), done()], "completed"),
        (vec![end("stop"), done()], "completed"),
        (
            vec![
                choice(0, json!({"content": "a"}), Some("stop")),
                choice(1, json!({"content": "b"}), None),
                done(),
            ],
            "incomplete no_finish_reason",
        ),
    ] {
        let read = read(&framed(&events));
        assert_eq!(read.end(), expected, "{events:?}");
        let is_completed = expected.starts_with("completed");
        assert!(
            read.items.iter().all(|item| !item
                .get("status")
                .is_some_and(|status| status == "completed")
                || is_completed
                || expected.contains("no_finish_reason")),
            "{read:?}"
        );
    }
    let quirks = Quirks {
        omits_finish_reason: true,
        ..Quirks::default()
    };
    for (events, expected) in [
        (vec![text("a"), done()], "completed without a reason"),
        (vec![text("a"), open(), done()], "failed truncated"),
        (vec![text("a")], "failed truncated"),
        (vec![done()], "failed truncated"),
    ] {
        let read = read_with(&framed(&events), &quirks);
        assert_eq!(read.end(), expected, "{events:?}");
    }
}
