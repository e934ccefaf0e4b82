//! Text, reasoning and refusals, as deltas and as whole messages.

use super::*;

#[test]
fn text_is_announced_streamed_and_done() {
    check(
        &[
            delta(json!({"role": "assistant", "content": ""})),
            delta(json!({"content": null})),
            delta(json!({"content": "Hel"})),
            delta(json!({"content": "lo\n\"é😀\""})),
            end("stop"),
            json!({"id": "c", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}).to_string(),
            done(),
        ],
        &[
            "created c",
            r#"added {"type":"message","id":"msg_c_0","role":"assistant","status":"in_progress","content":[]}"#,
            "text 0.0 Hel",
            "text 0.0 lo\n\"é😀\"",
            "finishing",
            r#"done {"type":"message","id":"msg_c_0","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hello\n\"é😀\"","annotations":[]}]}"#,
            "completed 3+2",
        ],
    );
}

#[test]
fn content_may_be_parts() {
    check(
        &[
            delta(
                json!({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, "c"]}),
            ),
            delta(
                json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "refusal", "refusal": "no"}]}),
            ),
            delta(json!({"content": []})),
            end("stop"),
            done(),
        ],
        &[
            "created c",
            r#"added {"type":"message","id":"msg_c_0","role":"assistant","status":"in_progress","content":[]}"#,
            "text 0.0 abc",
            r#"added {"type":"reasoning","id":"rs_c_1","summary":[],"content":[]}"#,
            "reasoning 1.0 hm",
            "refusal 0.1 no",
            "finishing",
            r#"done {"type":"reasoning","id":"rs_c_1","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]}"#,
            r#"done {"type":"message","id":"msg_c_0","role":"assistant","status":"completed","content":[{"type":"output_text","text":"abc","annotations":[]},{"type":"refusal","refusal":"no"}]}"#,
            "completed",
        ],
    );
}

#[test]
fn a_refusal_is_a_part_of_the_message() {
    check(
        &[
            delta(json!({"role": "assistant", "content": null, "refusal": ""})),
            delta(json!({"refusal": "I "})),
            delta(json!({"refusal": "won't"})),
            end("stop"),
        ],
        &[
            "created c",
            r#"added {"type":"message","id":"msg_c_0","role":"assistant","status":"in_progress","content":[]}"#,
            "refusal 0.0 I ",
            "refusal 0.0 won't",
            "finishing",
            r#"done {"type":"message","id":"msg_c_0","role":"assistant","status":"completed","content":[{"type":"refusal","refusal":"I won't"}]}"#,
            "at the end: completed",
        ],
    );
}

#[test]
fn reasoning_is_read_under_each_of_its_names_once() {
    let cases = [
        json!({"reasoning_content": "hm"}),
        json!({"reasoning": "hm"}),
        json!({"reasoning_text": "hm"}),
        json!({"thinking": "hm"}),
        json!({"reasoning": {"text": "hm"}}),
        json!({"reasoning": {"content": "hm"}}),
        json!({"reasoning": {"content": [{"type": "text", "text": "h"}, {"text": "m"}]}}),
        json!({"reasoning_details": [{"type": "reasoning.text", "text": "hm", "format": "x", "index": 0}]}),
        json!({"reasoning_details": [{"type": "reasoning.summary", "summary": "hm"}, {"type": "reasoning.encrypted", "data": "x"}]}),
        json!({"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}),
        json!({"reasoning": "hm", "reasoning_content": "hm", "content": ""}),
        json!({"reasoning": null, "reasoning_content": "hm", "content": null}),
        json!({"content": [{"type": "thinking", "thinking": "hm"}]}),
    ];
    for case in cases {
        let mut lines = decode(&[delta(case.clone()), end("stop")]);
        if let Some(details) = case.get("reasoning_details") {
            let extra = format!(r#","reasoning_details":{details}"#);
            assert!(lines[4].contains(&extra), "{}", lines[4]);
            lines[4] = lines[4].replace(&extra, "");
        }
        assert_eq!(
            lines,
            [
                "created c",
                r#"added {"type":"reasoning","id":"rs_c_0","summary":[],"content":[]}"#,
                "reasoning 0.0 hm",
                "finishing",
                r#"done {"type":"reasoning","id":"rs_c_0","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]}"#,
                "at the end: completed",
            ],
            "{case}"
        );
    }
}

#[test]
fn reasoning_that_says_nothing_begins_no_item() {
    for case in [
        json!({"reasoning_content": "", "reasoning": null}),
        json!({"reasoning_details": []}),
        json!({"reasoning": {}}),
    ] {
        let lines = decode(&[delta(case.clone()), end("stop"), done()]);
        assert_eq!(lines, ["created c", "finishing", "completed"], "{case}");
    }
}

#[test]
fn items_are_done_as_reasoning_message_calls_whatever_came_first() {
    let call = json!({"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}});
    let lines = decode(&[
        delta(json!({"tool_calls": [call]})),
        delta(json!({"content": "Hi"})),
        delta(json!({"reasoning": "hm"})),
        end("stop"),
        done(),
    ]);
    let done: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("done"))
        .collect();
    assert!(done[0].contains(r#""id":"rs_c_2""#), "{}", done[0]);
    assert!(done[1].contains(r#""id":"msg_c_1""#), "{}", done[1]);
    assert!(done[2].contains(r#""id":"fc_c_0""#), "{}", done[2]);
    assert_eq!(done.len(), 3);
    assert_eq!(lines.last().unwrap(), "completed");
}

#[test]
fn a_whole_message_in_one_chunk_is_read_like_its_deltas() {
    let message = json!({"role": "assistant", "content": "Hi", "reasoning_content": "hm", "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    for delta in [None, Some(json!(null)), Some(json!({}))] {
        let mut choice = json!({"index": 0, "message": message, "finish_reason": "tool_calls"});
        if let Some(delta) = delta {
            choice["delta"] = delta;
        }
        let chunk = json!({"id": "c", "object": "chat.completion", "choices": [choice],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2}});
        check(
            &[chunk.to_string()],
            &[
                "created c",
                r#"added {"type":"reasoning","id":"rs_c_0","summary":[],"content":[]}"#,
                "reasoning 0.0 hm",
                r#"added {"type":"message","id":"msg_c_1","role":"assistant","status":"in_progress","content":[]}"#,
                "text 1.0 Hi",
                r#"added {"type":"function_call","id":"fc_c_2","call_id":"a","name":"f","arguments":"","status":"in_progress"}"#,
                r#"added {"type":"function_call","id":"fc_c_3","call_id":"b","name":"f","arguments":"","status":"in_progress"}"#,
                "finishing",
                r#"done {"type":"reasoning","id":"rs_c_0","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]}"#,
                r#"done {"type":"message","id":"msg_c_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hi","annotations":[]}]}"#,
                "arguments 2 a {}",
                r#"done {"type":"function_call","id":"fc_c_2","call_id":"a","name":"f","arguments":"{}","status":"completed"}"#,
                "arguments 3 b {}",
                r#"done {"type":"function_call","id":"fc_c_3","call_id":"b","name":"f","arguments":"{}","status":"completed"}"#,
                "at the end: completed 1+2",
            ],
        );
    }
}

#[test]
fn a_message_that_repeats_the_deltas_is_not_read_again() {
    let chunk = |delta: &str, message: &str, reason: Option<&str>| {
        json!({"id": "c", "choices": [{"index": 0, "delta": {"content": delta},
            "message": {"role": "assistant", "content": message}, "finish_reason": reason}]})
        .to_string()
    };
    let lines = decode(&[
        chunk("a", "a", None),
        chunk("b", "ab", None),
        chunk("", "ab", Some("stop")),
        chunk("", "ab", Some("stop")),
        done(),
    ]);
    let text: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("text"))
        .collect();
    assert_eq!(text, ["text 0.0 a", "text 0.0 b"]);
    let items = lines.iter().filter(|line| line.starts_with("done"));
    assert_eq!(items.count(), 1);
}

#[test]
fn log_probabilities_come_with_their_text() {
    let chunk = json!({"id": "c", "choices": [{"index": 0, "delta": {"content": "a"},
        "logprobs": {"content": [{"token": "a", "logprob": -0.5}], "refusal": null}}]});
    let lines = decode(&[chunk.to_string()]);
    assert_eq!(lines[2], r#"text 0.0 a [{"logprob":-0.5,"token":"a"}]"#);
}
