//! Errors, wherever a server puts them.

use super::*;

const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n";
const DELTA: &str =
    "data: {\"type\":\"response.output_text.delta\",\"item_id\":\"m\",\"delta\":\"a\"}\n\n";

#[test]
fn the_name_error_counts_before_the_type_and_its_data_may_be_anything() {
    let silent = "the server sent an error event without a message";
    for (data, message) in [
        (r#"{"type":"response.created","message":"m"}"#, "m"),
        (
            r#"{"type":"response.completed","response":{"id":"r","error":{"message":"m"}}}"#,
            "m",
        ),
        (r#"{"type":"upstream_error","error":{"message":"m"}}"#, "m"),
        (r#"{"error":"m"}"#, "m"),
        (r#"{"detail":"m"}"#, "m"),
        (r#"{"errors":[{"message":"m"}]}"#, "m"),
        (r#"[{"error":{"message":"m"}}]"#, "m"),
        (r#"{"code":"c","message":"m"}"#, "m"),
        (r#""m""#, "m"),
        ("upstream connect error", "upstream connect error"),
        ("null", silent),
        ("", silent),
        ("{}", silent),
        ("[DONE]", silent),
        ("503", "the server reports error 503 and says no more"),
    ] {
        for before in ["", CREATED, DELTA] {
            for name in ["error", "Error"] {
                if name == "Error" && !data.starts_with('{') {
                    continue;
                }
                let body = format!("{before}event: {name}\ndata: {data}\n\n");
                let found = Summary::of(&body);
                let (kind, said) = found.end.split_once(": ").unwrap();
                assert!(
                    kind.starts_with("failed ") && kind != "failed truncated",
                    "{body}: {kind}"
                );
                assert_eq!(said, message, "{body}");
            }
        }
    }
    // A delta like the one before it, too.
    let delta = DELTA.replace("data:", "event: error\ndata:");
    assert!(
        Summary::of(&format!("{DELTA}{DELTA}{delta}"))
            .end
            .starts_with("failed")
    );
}

#[test]
fn an_object_that_reports_an_error_is_one_under_any_type() {
    for data in [
        r#"{"error":{"message":"m"}}"#,
        r#"{"error":"m"}"#,
        r#"{"error":["m"]}"#,
        r#"{"detail":"m"}"#,
        r#"{"errors":[{"message":"m"}]}"#,
        r#"{"code":"c","message":"m"}"#,
        r#"{"success":false,"message":"m"}"#,
        r#"{"type":"response.error","error":{"message":"m"}}"#,
        r#"{"type":"response.error","message":"m"}"#,
        r#"{"type":"stream.error","error":{"message":"m"}}"#,
        r#"{"type":"upstream_error","message":"m"}"#,
        r#"{"type":"vendor.trouble","error":{"message":"m"}}"#,
        r#"[{"error":{"message":"m"}}]"#,
    ] {
        for lines in [
            format!("data: {data}\n\n"),
            format!("event: vendor\ndata: {data}\n\n"),
            format!("{data}\n\n"),
        ] {
            if lines.starts_with("event") && data.contains("\"type\"") {
                continue;
            }
            let found = Summary::of(&format!("{CREATED}{DELTA}{lines}"));
            let (kind, said) = found.end.split_once(": ").unwrap();
            assert!(
                kind.starts_with("failed") && said == "m",
                "{lines}: {}",
                found.end
            );
        }
    }
}

#[test]
fn what_only_looks_like_an_error_passes() {
    let done = "data: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"message\",\"content\":\"a\"}}\n\ndata: {\"type\":\"response.completed\"}\n\n";
    for data in [
        r#"{"type":"vendor.state","error":null}"#,
        r#"{"type":"vendor.state","error":{}}"#,
        r#"{"type":"response.x_search_call.failed","error":{"message":"m"}}"#,
        r#"{"type":"response.mcp_call.failed","error":{"message":"m"}}"#,
        r#"{"type":"vendor.state","status":"failed"}"#,
        r#"{"type":"vendor.state","message":"m","code":7}"#,
        r#"{"status":"in_progress"}"#,
        "{}",
        r#"["m"]"#,
    ] {
        let found = Summary::of(&format!("{CREATED}data: {data}\n\n{done}"));
        assert_eq!(found.end, "completed", "{data}");
    }
}

#[test]
fn words_are_the_error_of_a_stream_that_just_ends_and_nothing_else() {
    let completed = "data: {\"type\":\"response.completed\",\"response\":{\"output\":[]}}\n\n";
    for (lines, message) in [
        (
            "data: upstream connect error\n\n",
            Some("upstream connect error"),
        ),
        (
            "data: \"upstream connect error\"\n\n",
            Some("upstream connect error"),
        ),
        ("upstream connect error\n", Some("upstream connect error")),
        ("data: ping\n\n", None),
        ("data: keepalive\n\n", None),
        ("x-id: 7\n", None),
        ("eve", None),
    ] {
        let cut = Summary::of(&format!("{CREATED}{lines}"));
        let expected = match message {
            Some(message) => format!("failed server_error: {message}"),
            None => "failed truncated: the stream ended before its terminal event".to_owned(),
        };
        assert_eq!(cut.end, expected, "{lines}");
        let ended = Summary::of(&format!("{CREATED}{lines}\n{completed}"));
        assert_eq!(ended.end, "completed", "{lines}");
    }
    let done = Summary::of(&format!("{CREATED}data: no model\n\ndata: [DONE]\n\n"));
    assert_eq!(done.end, "failed server_error: no model");
}

#[test]
fn a_failure_without_words_waits_for_an_error_that_has_some() {
    let silent = "the server reports that the response failed, without a reason";
    for failed in [
        r#"{"type":"response.failed"}"#,
        r#"{"type":"response.failed","response":{"id":"r","error":null}}"#,
        r#"{"type":"response.failed","response":{"id":"r","status":"failed","error":{}}}"#,
        r#"{"type":"response.failed","response":{"id":"r","error":{"message":""}}}"#,
        r#"{"type":"response.completed","response":{"id":"r","status":"failed"}}"#,
        r#"{"type":"response.done","response":{"id":"r","status":"failed"}}"#,
    ] {
        for (after, message) in [
            ("", silent),
            ("data: [DONE]\n\n", silent),
            ("data: {\"type\":\"keepalive\"}\n\n", silent),
            (DELTA, silent),
            (
                "data: {\"type\":\"response.completed\",\"response\":{}}\n\n",
                silent,
            ),
            ("data: {\"type\":\"error\",\"message\":\"why\"}\n\n", "why"),
            ("event: error\ndata: why\n\n", "why"),
            (
                "event: error\ndata: {\"type\":\"keepalive\",\"message\":\"why\"}\n\n",
                "why",
            ),
            ("event: error\ndata: null\n\n", silent),
            ("data: {\"error\":{\"message\":\"why\"}}\n\n", "why"),
            (
                "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"message\":\"why\"}}}\n\n",
                "why",
            ),
            (
                "data: {\"type\":\"keepalive\"}\n\ndata: {\"type\":\"error\",\"error\":{\"message\":\"why\"}}\n\n",
                "why",
            ),
            ("why\n", "why"),
        ] {
            let body = format!("{CREATED}{DELTA}{DELTA}{}{after}", framed(failed));
            let found = Summary::of(&body);
            assert_eq!(
                found.end,
                format!("failed server_error: {message}"),
                "{body}"
            );
            assert_eq!(found.text, "aa", "{body}");
        }
    }
    let mut decoder = StreamDecoder::new(Wire::Responses, StreamLimits::default());
    let mut out = Vec::new();
    let failed = framed(r#"{"type":"response.failed","response":{"id":"r"}}"#);
    assert_eq!(decoder.feed(failed.as_bytes(), &mut out), None);
    assert!(decoder.is_finishing());
    let Some(Terminal::Failed(error)) = decoder.finish(&mut out) else {
        panic!("not failed")
    };
    assert_eq!(error.details().response_id.as_deref(), Some("r"));
}

#[test]
fn a_failure_says_what_little_it_has() {
    let with_code = r#"{"type":"response.failed","response":{"error":{"code":"rate_limit_exceeded","message":null}}}"#;
    assert_eq!(
        Summary::of_events(&[with_code]).end,
        "failed rate_limited: the server reports rate_limit_exceeded and says no more"
    );
    for failed in [
        r#"{"type":"response.failed","response":{"id":"r"},"message":"m"}"#,
        r#"{"type":"response.failed","error":"m"}"#,
        r#"{"type":"response.done","response":{"status":"failed","status_details":{"type":"failed","error":{"message":"m"}}}}"#,
        r#"{"type":"response.completed","response":{"status":"completed","error":{"message":"m"}}}"#,
        r#"{"type":"response.incomplete","response":{"status":"failed","error":{"message":"m"}}}"#,
    ] {
        let found = decode(&[failed]);
        assert_eq!(found.error().message(), "m", "{failed}");
    }
}

#[test]
fn an_error_behind_a_terminal_event_that_broke_off_is_the_end() {
    let item = "data: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"message\",\"content\":\"a\"}}\n\n";
    for cut in [
        "data: {\"type\":\"response.completed\",\"response\":\ndata: {\"type\":\"error\",\"error\":{\"message\":\"m\"}}\n\n",
        "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":\nevent: error\ndata: {\"error\":{\"message\":\"m\"}}\n\n",
        "data: {\"type\":\"response.completed\",\"resp\n\ndata: {\"type\":\"error\",\"message\":\"m\"}\n\n",
        "data: {\"type\":\"response.completed\",\"resp\n\nevent: error\ndata: m\n\n",
    ] {
        let found = Summary::of(&format!("{CREATED}{item}{cut}"));
        assert_eq!(found.end, "failed server_error: m", "{cut}");
        assert_eq!(found.items.len(), 1);
    }
}

#[test]
fn several_events_in_one_are_each_read() {
    let events = [
        r#"{"type":"response.created","response":{"id":"r"}}"#,
        r#"{"type":"response.output_text.delta","item_id":"m","delta":"a"}"#,
        r#"{"type":"response.output_text.delta","item_id":"m","delta":"b"}"#,
        r#"{"type":"response.output_item.done","item":{"type":"message","id":"m","content":"ab"}}"#,
    ];
    let completed = r#"{"type":"response.completed","response":{"id":"r","output":[]}}"#;
    let error = r#"{"error":{"message":"m"}}"#;
    type Glue = fn(&[&str]) -> String;
    let glues: [Glue; 4] = [
        |events| format!("data: {}\n\n", events.concat()),
        |events| format!("data: {}\n\n", events.join("\ndata: ")),
        |events| {
            events
                .iter()
                .map(|data| format!("event: response.x\ndata: {data}\n"))
                .collect::<String>()
                + "\n"
        },
        |events| {
            events
                .iter()
                .map(|data| format!("data: {data}\n"))
                .collect::<String>()
                + "\n"
        },
    ];
    for glue in glues {
        let whole = Summary::of(&glue(&[&events[..], &[completed]].concat()));
        assert_eq!(
            (&*whole.text, whole.items.len(), &*whole.end),
            ("ab", 1, "completed")
        );
        let failed = Summary::of(&glue(&[&events[..2], &[error], &[completed]].concat()));
        assert_eq!(
            (&*failed.text, &*failed.end),
            ("a", "failed server_error: m")
        );
    }
}

#[test]
fn an_error_without_words_waits_for_those_that_follow() {
    let failed = framed(r#"{"type":"response.failed","response":{"error":{"message":"died"}}}"#);
    for error in [
        framed(r#"{"type":"error","sequence_number":2}"#),
        framed(r#"{"type":"error","code":"server_error","message":null}"#),
        framed(r#"{"type":"error","error":{}}"#),
        "event: error\ndata: {}\n\n".to_owned(),
        "event: error\ndata:\n\n".to_owned(),
        "event: error\ndata: null\n\n".to_owned(),
    ] {
        let end = Summary::of(&format!("{error}{failed}")).end;
        assert!(end.ends_with(": died"), "{error} {end}");
        for last in ["", "data: [DONE]\n\n"] {
            let end = Summary::of(&format!("{error}{last}")).end;
            assert!(end.starts_with("failed server_error"), "{error} {end}");
        }
    }
}

#[test]
fn words_beside_something_else_count_when_the_stream_ends_as_none_should() {
    let error = r#""error":{"message":"died"}"#;
    for event in [
        format!(r#"{{"type":"response.in_progress","response":{{"status":"failed",{error}}}}}"#),
        format!(r#"{{"type":"response.created","response":{{"status":"failed",{error}}}}}"#),
        format!(r#"{{"type":"response.queued","response":{{{error}}}}}"#),
        format!(r#"{{"type":"response.output_text.delta","delta":"a",{error}}}"#),
        format!(r#"{{"type":"response.content_part.added","part":{{}},{error}}}"#),
    ] {
        for last in [
            "",
            "[DONE]",
            r#"{"type":"response.failed"}"#,
            r#"{"type":"error"}"#,
        ] {
            let end = Summary::of(&format!(
                "{}{}",
                framed(&event),
                match last {
                    "" => String::new(),
                    last => framed(last),
                }
            ))
            .end;
            assert!(
                end.starts_with("failed") && end.ends_with(": died"),
                "{event} {last}: {end}"
            );
        }
        // The server went on.
        let whole = r#"{"type":"response.completed","response":{"status":"completed"}}"#;
        assert_eq!(
            Summary::of_events(&[&*event, whole]).end,
            "completed",
            "{event}"
        );
    }
    // What goes wrong with a tool is for the model to read.
    let tool = format!(r#"{{"type":"response.mcp_call.failed","item_id":"i",{error}}}"#);
    assert!(!Summary::of_events(&[tool]).end.contains("died"));
}

#[test]
fn a_list_of_events_is_read_as_its_events() {
    let events = [
        r#"{"type":"response.created","response":{"id":"r"}}"#,
        r#"{"type":"response.output_text.delta","delta":"He"}"#,
        r#"{"type":"response.output_text.delta","delta":"llo"}"#,
        r#"{"type":"response.completed","response":{"status":"completed"}}"#,
    ];
    let list = format!("[{}]", events.join(", "));
    for body in [
        list.clone(),
        framed(&list),
        format!(
            "{}{}",
            framed(&format!("[{}]", events[0])),
            framed(&format!("[{}]", events[1..].join(",")))
        ),
    ] {
        let found = Summary::of(&body);
        assert_eq!(
            (&*found.text, &*found.end),
            ("Hello", "completed"),
            "{body}"
        );
    }
}
