//! How a choice ends, and how a stream does.

use super::*;

#[test]
fn finish_reasons_have_their_meanings() {
    let cases = [
        ("stop", "completed"),
        // No call came.
        ("tool_calls", "incomplete incomplete_tool_call"),
        ("function_call", "incomplete incomplete_tool_call"),
        ("eos_token", "completed"),
        ("length", "incomplete max_output_tokens"),
        ("content_filter", "incomplete content_filter"),
        (
            "insufficient_system_resource",
            "failed server_error: the server ended the answer with the finish_reason `insufficient_system_resource`",
        ),
        ("pause_turn", "incomplete pause_turn"),
    ];
    for (reason, expected) in cases {
        let lines = decode(&[end(reason)]);
        assert_eq!(
            lines[1..],
            ["finishing", &format!("at the end: {expected}")],
            "{reason}"
        );
        assert_eq!(
            decode(&[end(reason), done()])[2..],
            [expected],
            "{reason} and [DONE]"
        );
    }
    for reason in ["", "null"] {
        let lines = decode(&[end(reason)]);
        assert!(
            lines[1].starts_with("at the end: failed truncated"),
            "{reason}"
        );
    }
    check(
        &[delta(json!({"content": "a"})), end("error"), done()],
        &[
            "created c",
            r#"added {"type":"message","id":"msg_c_0","role":"assistant","status":"in_progress","content":[]}"#,
            "text 0.0 a",
            "finishing",
            "failed server_error: the server ended the answer with the finish_reason `error`",
        ],
    );
}

#[test]
fn the_first_finish_reason_of_a_choice_counts() {
    let lines = decode(&[end("length"), end("stop"), done()]);
    assert_eq!(lines.last().unwrap(), "incomplete max_output_tokens");
}

#[test]
fn done_ends_the_stream_however_it_is_written() {
    for sentinel in ["[DONE]", " [DONE] ", "DONE", "[done]"] {
        check(
            &[sentinel],
            &["failed truncated: the stream ended before the answer began"],
        );
        let text = delta(json!({"content": "a"}));
        let lines = decode(&[&text, sentinel]);
        assert!(lines[3].starts_with("done"), "{lines:?}");
        assert_eq!(lines[4], "incomplete no_finish_reason");
        let lines = decode(&[&text, &end("stop"), sentinel]);
        assert_eq!(lines.last().unwrap(), "completed");
    }
}

#[test]
fn a_stream_that_just_ends_is_truncated_and_its_items_are_not_done() {
    check(
        &[delta(json!({"content": "a"})), "{oops".to_owned()],
        &[
            "created c",
            r#"added {"type":"message","id":"msg_c_0","role":"assistant","status":"in_progress","content":[]}"#,
            "text 0.0 a",
            "at the end: failed truncated: the stream ended within the answer: no finish_reason and no [DONE] came \
             [1 malformed: not JSON: {oops]",
        ],
    );
    check::<&str>(
        &[],
        &["at the end: failed truncated: the stream ended before the answer began"],
    );
    // One of two choices is still open.
    let lines = decode(&[
        choice(1, json!({"content": "b"}), None),
        choice(0, json!({"content": "a"}), Some("stop")),
    ]);
    assert!(lines.last().unwrap().contains("truncated"), "{lines:?}");
}

#[test]
fn usage_is_read_wherever_it_stands_and_the_last_counts() {
    let usage = |n: u32| json!({"prompt_tokens": n, "completion_tokens": n, "total_tokens": 2 * n});
    let chunk = |chunk: Value| chunk.to_string();
    let finish = |extra: Value| {
        let mut chunk =
            json!({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
        chunk
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        chunk.to_string()
    };
    let cases = [
        vec![
            end("stop"),
            chunk(json!({"id": "c", "choices": [], "usage": usage(7)})),
        ],
        vec![end("stop"), chunk(json!({"id": "c", "usage": usage(7)}))],
        vec![
            end("stop"),
            chunk(json!({"id": "c", "choices": null, "usage": usage(7)})),
        ],
        vec![finish(json!({"usage": usage(7)})), done()],
        vec![
            finish(json!({"x_groq": {"id": "r", "usage": usage(7)}})),
            done(),
        ],
        vec![
            chunk(
                json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": usage(7)}]}),
            ),
            done(),
        ],
        vec![
            chunk(
                json!({"id": "c", "choices": [{"index": 0, "delta": {"content": "a"}}], "usage": usage(1)}),
            ),
            chunk(
                json!({"id": "c", "choices": [{"index": 0, "delta": {"content": "b"}}], "usage": usage(2)}),
            ),
            finish(json!({"usage": usage(7)})),
            done(),
        ],
        vec![
            finish(json!({"usage": usage(7)})),
            finish(json!({"usage": null})),
            done(),
        ],
        vec![
            chunk(json!({"id": "c", "choices": [], "usage": usage(7)})),
            end("stop"),
            done(),
        ],
    ];
    for case in cases {
        let lines = decode(&case);
        assert_eq!(lines.last().unwrap(), "completed 7+7", "{case:?}");
    }
}

#[test]
fn what_comes_for_a_choice_after_its_end_goes_on_with_its_items() {
    let lines = decode(&[
        choice(0, json!({"content": "a"}), Some("stop")),
        delta(json!({"content": "b"})),
        done(),
    ]);
    assert_eq!(
        lines[2..],
        [
            "text 0.0 a",
            "finishing",
            "text 0.0 b",
            "finishing",
            r#"done {"type":"message","id":"msg_c_0","role":"assistant","status":"completed","content":[{"type":"output_text","text":"ab","annotations":[]}]}"#,
            "completed",
        ]
    );
}
