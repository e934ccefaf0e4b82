use super::*;

#[test]
fn a_piece_of_the_answer_that_cannot_be_read_is_missed() {
    let broken = |data: &str| data.to_owned();
    let done = || DONE.to_owned();
    for (events, expected) in [
        (
            vec![
                text("a"),
                broken(r#"{"choices":[{"delta":{"content":"b"#),
                text("c"),
                end("stop"),
                done(),
            ],
            "failed truncated",
        ),
        (
            vec![
                text("a"),
                broken(r#"tent":"b"},"finish_reason":null}]}"#),
                text("c"),
                end("stop"),
                done(),
            ],
            "failed truncated",
        ),
        (
            vec![
                broken(r#"{"choices":[{"delta":{"content":"b"#),
                text("c"),
                end("stop"),
                done(),
            ],
            "failed truncated",
        ),
        (
            vec![text("a"), broken("garbage"), text("c"), end("stop"), done()],
            "failed truncated",
        ),
        (
            vec![
                text("a"),
                broken(r#"{"choices":[{"delta"#),
                end("stop"),
                done(),
            ],
            "failed truncated",
        ),
        (
            vec![
                text("a"),
                end("stop"),
                broken(r#"{"choices":[],"usage":{"#),
                done(),
            ],
            "completed",
        ),
        (
            vec![
                text("a"),
                end("stop"),
                broken(r#"{"choices":[{"delta"#),
                text("b"),
                done(),
            ],
            "failed truncated",
        ),
        (
            vec![text("a"), broken("ping"), text("b"), end("stop"), done()],
            "completed",
        ),
        (
            vec![broken("connected"), text("b"), end("stop"), done()],
            "completed",
        ),
    ] {
        let read = read(&framed(&events));
        assert_eq!(read.end(), expected, "{events:?}");
    }
    // Behind a lost beginning nothing is delivered: the answer can be asked for again.
    let cut = broken(r#"{"choices":[{"delta":{"content":"b"#);
    let role = delta(json!({"role": "assistant", "content": ""}));
    let read_cut = read(&framed(&[
        role,
        cut,
        text("c"),
        text("d"),
        end("stop"),
        done(),
    ]));
    assert_eq!(
        (&*read_cut.end(), &*read_cut.text),
        ("failed truncated", "")
    );
    // Arguments that would change their meaning and still be JSON.
    let piece = |text: &str| call(json!({"index": 0, "function": {"arguments": text}}));
    let first = call(
        json!({"index": 0, "id": "a", "function": {"name": "rm", "arguments": "{\"path\":\"/tmp"}}),
    );
    let read = read(&framed(&[
        first,
        broken(r#"{"id":"c","choices":[{"index":0,"delta":{"tool_ca"#),
        piece("\"}"),
        end("tool_calls"),
        done(),
    ]));
    assert_eq!(read.end(), "failed truncated");
    assert_eq!(read.calls, [[""; 4]; 0]);
}

#[test]
fn errors_are_read_wherever_they_stand() {
    let one = r#"{"error":{"message":"out of memory","type":"server_error"}}"#;
    let pretty =
        "{\n  \"error\": {\n    \"message\": \"out of memory\",\n    \"code\": 500\n  }\n}";
    let first = framed(&[text("a")]);
    for body in [
        one.to_owned(),
        format!("{one}\n"),
        format!("{one}\n\ndata: [DONE]\n\n"),
        format!("{one}data: [DONE]\n\n"),
        pretty.to_owned(),
        format!("{pretty}\n\ndata: [DONE]\n\n"),
        format!("{first}{one}\n\n"),
        format!("{first}{pretty}\ndata: [DONE]\n\n"),
        format!("{first}{one}\ndata: [DONE]\n\n"),
        format!("data: {}\n{one}\n\n", text("a")),
        format!("error: {one}\n\ndata: [DONE]\n\n"),
        format!("error: out of memory\n\n{first}"),
        format!("{first}error: out of memory\n"),
        format!("event: error\ndata: {one}\n\n"),
        "event: error\ndata: out of memory\n\n".to_owned(),
        "event: error\ndata: \"out of memory\"\n\n".to_owned(),
        format!(
            "{first}event: error\ndata: {{\"object\":\"chat.completion.chunk\",\"message\":\"out of memory\"}}\n\n"
        ),
        format!("data: {}{one}\n\n", text("a")),
        format!("data: {}\ndata: {one}\n\n", text("a")),
        format!(
            "event: a\ndata: {}\nevent: error\ndata: {one}\n\n",
            text("a")
        ),
        format!("data: data: {one}\n\n"),
        "data: out of memory\n\ndata: [DONE]\n\n".to_owned(),
        "out of memory\n".to_owned(),
        "upstream: out of memory\n\n".to_owned(),
        format!("{first}data: out of memory\n\ndata: [DONE]\n\n"),
        "[{\"error\":{\"message\":\"out of memory\"}}]".to_owned(),
        // Beside choices, or with none of them.
        "data: {\"choices\":[],\"code\":1301,\"msg\":\"out of memory\"}\n\n".to_owned(),
        "data: {\"object\":\"error\",\"choices\":[],\"message\":\"out of memory\",\"code\":500}\n\n".to_owned(),
        "data: {\"choices\":[{\"delta\":{\"error\":{\"message\":\"out of memory\"}}}]}\n\n".to_owned(),
        format!("{first}data: {{\"choices\":[{{\"delta\":{{}}}}],\"error_message\":\"out of memory\"}}\n\n"),
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"error\"}],\"message\":\"out of memory\"}\n\ndata: [DONE]\n\n".to_owned(),
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":{\"type\":\"abort\",\"message\":\"out of memory\"}}]}\n\ndata: [DONE]\n\n".to_owned(),
        // Words alone, in an answer that does not come.
        "data: {\"message\":\"out of memory\"}\n\n".to_owned(),
        "{\"message\":\"out of memory\",\"request_id\":\"r\"}".to_owned(),
        "data: {\"type\":\"about:blank\",\"title\":\"out of memory\",\"status\":502}\n\n".to_owned(),
        "data: out of memory\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n".to_owned(),
        // Pretty-printed behind one field.
        format!("data: {pretty}\n\n"),
        format!("{first}data: {pretty}\n\ndata: [DONE]\n\n"),
        format!("  data: {one}\n\n"),
    ] {
        let read = read(&body);
        assert!(read.end().starts_with("failed"), "{body}: {}", read.end());
        assert!(
            read.message().contains("out of memory"),
            "{body}: {}",
            read.message()
        );
    }
    for body in [
        "event: error\ndata: null\n\n",
        "event: error\ndata: 42\n\n",
        "event: error\ndata:\n\n",
        "event: error\ndata: {}\n\n",
    ] {
        assert_eq!(read(body).end(), "failed server_error", "{body}");
    }
}

#[test]
fn an_error_keeps_what_was_known() {
    let body = framed(&[
        text("a"),
        r#"{"id":"c","error":{"message":"m"},"usage":{"prompt_tokens":3,"completion_tokens":4}}"#
            .to_owned(),
    ]);
    let Some(ResponseEvent::Failed(error)) = read(&body).end else {
        panic!()
    };
    let details = error.details();
    assert_eq!(details.response_id.as_deref(), Some("c"));
    assert_eq!(details.token_usage.map(|usage| usage.total_tokens), Some(7));
    assert!(details.usage.is_some());
}
