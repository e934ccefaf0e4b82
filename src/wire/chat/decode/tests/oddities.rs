//! What servers get wrong in a chunk, and what they add.

use super::*;

#[test]
fn choices_are_kept_apart() {
    check(
        &[
            choice(1, json!({"content": "b"}), None),
            choice(0, json!({"content": "a"}), None),
            choice(
                1,
                json!({"tool_calls": [{"index": 0, "id": "x", "function": {"name": "f", "arguments": "{}"}}]}),
                None,
            ),
            choice(
                0,
                json!({"tool_calls": [{"index": 0, "id": "y", "function": {"name": "g", "arguments": "[]"}}]}),
                None,
            ),
            choice(0, json!({}), Some("stop")),
            choice(1, json!({"content": "B"}), Some("length")),
            done(),
        ],
        &[
            "created c",
            r#"added {"type":"message","id":"msg_c_0","role":"assistant","status":"in_progress","content":[]}"#,
            "text 0.0 b",
            r#"added {"type":"message","id":"msg_c_1","role":"assistant","status":"in_progress","content":[]}"#,
            "text 1.0 a",
            r#"added {"type":"function_call","id":"fc_c_2","call_id":"x","name":"f","arguments":"","status":"in_progress"}"#,
            r#"added {"type":"function_call","id":"fc_c_3","call_id":"y","name":"g","arguments":"","status":"in_progress"}"#,
            "text 0.0 B",
            "finishing",
            r#"done {"type":"message","id":"msg_c_0","role":"assistant","status":"incomplete","content":[{"type":"output_text","text":"bB","annotations":[]}]}"#,
            "arguments 2 x {}",
            r#"done {"type":"function_call","id":"fc_c_2","call_id":"x","name":"f","arguments":"{}","status":"incomplete"}"#,
            r#"done {"type":"message","id":"msg_c_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"a","annotations":[]}]}"#,
            "arguments 3 y []",
            r#"done {"type":"function_call","id":"fc_c_3","call_id":"y","name":"g","arguments":"[]","status":"completed"}"#,
            "incomplete max_output_tokens",
        ],
    );
}

#[test]
fn created_names_the_first_chunk_that_has_an_id_or_a_choice() {
    let azure =
        json!({"id": "", "object": "", "model": "", "choices": [], "prompt_filter_results": []});
    let lines = decode(&[azure.to_string(), delta(json!({"content": "a"})), done()]);
    assert_eq!(lines[0], "created c");
    let lines = decode(&[
        r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#,
        "[DONE]",
    ]);
    assert_eq!(lines[0], "created -");
    assert!(lines[1].contains(r#""id":"msg_0""#), "{}", lines[1]);
    let lines = decode(&[
        delta(json!({"content": "a"})),
        delta(json!({"content": "b"})),
        done(),
    ]);
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.starts_with("created"))
            .count(),
        1
    );
}

#[test]
fn json_without_choices_passes_through_and_other_data_is_counted() {
    check(
        &[
            r#"{"type":"keepalive"}"#,
            r#"{ "object": "chat.something", "x": 1.0 }"#,
            r#"{"id":"c","x":"\ud83d"}"#,
            "progress\n{\"percent\":1}",
            "",
            "  ",
            "[1]",
            "null",
            r#"{"choices":{}}"#,
            r#"{"id":"c","choices":[7]}"#,
            "[DONE]",
        ],
        &[
            r#"other keepalive {"type":"keepalive"}"#,
            r#"other chat.something { "object": "chat.something", "x": 1.0 }"#,
            r#"other chat.completion.chunk {"id":"c","x":"\ud83d"}"#,
            "other progress {\"percent\":1}",
            "created -",
            r#"other chat.completion.chunk {"id":"c","choices":[7]}"#,
            r#"failed protocol: a part of the answer could not be read, so it is not whole: {"id":"c","choices":[7]} [3 malformed: not JSON: [1]]"#,
        ],
    );
}

#[test]
fn fields_of_the_wrong_kind_do_not_hide_the_others() {
    let cases = [
        r#"{"id":7,"choices":[{"index":"0","delta":{"content":"a","refusal":{},"tool_calls":"x"}}]}"#,
        r#"{"id":[],"choices":[{"delta":{"content":"a","role":7},"finish_reason":{}}],"usage":"none"}"#,
        r#"{"choices":[null,{"index":null,"delta":{"content":"a"},"logprobs":3}],"obfuscation":5}"#,
        r#"{"choices":[{"index":-1,"delta":{"content":"b","content":"a"}}],"created":"now"}"#,
    ];
    for case in cases {
        let end = end("stop");
        let lines = decode(&[case, &end, "[DONE]"]);
        assert!(lines.contains(&"text 0.0 a".to_owned()), "{lines:?}");
        assert_eq!(lines.last().unwrap(), "completed", "{case}");
    }
    let lines = decode(&[delta(json!({"content": 5})), end("stop"), done()]);
    // A number is a text without quotes.
    assert!(lines.contains(&"text 0.0 5".to_owned()), "{lines:?}");
    assert_eq!(lines.last().unwrap(), "completed");
}

#[test]
fn half_a_surrogate_pair_does_not_lose_the_delta() {
    let chunk = |text: &str| {
        format!(r#"{{"id":"c","choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#)
    };
    let lines = decode(&[
        chunk("plain"),
        chunk(r"a\ud83d"),
        chunk(r"\ude00b"),
        chunk(r"\ud83d\ude00"),
        done(),
    ]);
    assert_eq!(
        lines[2..6],
        [
            "text 0.0 plain",
            "text 0.0 a",
            "text 0.0 😀b",
            "text 0.0 😀"
        ]
    );
    let arguments = r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"\ud83d!"}}]}}]}"#;
    assert_eq!(decode(&[arguments])[2], "arguments 0 a \u{fffd}!");
}

#[test]
fn deep_json_and_long_text_are_read() {
    let deep = format!(
        r#"{{"id":"c","x":{}1{},"choices":[{{"index":0,"delta":{{"content":"a"}}}}]}}"#,
        "[".repeat(100),
        "]".repeat(100)
    );
    assert!(decode(&[deep]).contains(&"text 0.0 a".to_owned()));
    let long = "ö".repeat(100_000);
    assert_eq!(
        decode(&[delta(json!({"content": long}))])[2],
        format!("text 0.0 {long}")
    );
}
