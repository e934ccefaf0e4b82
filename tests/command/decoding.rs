//! Captured streams as JSON lines.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use actix_responses::loopback::{DefaultAnswer, sse_text};
use serde_json::{Value, json};

use crate::support::{
    Folder, Ran, Running, completed, program, run, run_with_stdin, sse, text_delta,
};

fn captured() -> (String, String) {
    let answer = DefaultAnswer::to_request(&json!({"model": "m", "input": "hellö"}), 1);
    (
        sse_text(&answer.responses_events()),
        sse_text(&answer.chat_events()),
    )
}

fn decode(body: &str) -> Ran {
    run_with_stdin(&["decode"], body)
}

#[test]
fn events_do_not_depend_on_the_chunking() {
    let folder = Folder::new();
    let (responses, chat) = captured();
    for (wire, body) in [("responses", responses), ("chat", chat)] {
        let file = folder.write("body.sse", &body);
        let whole = run(&["decode", "--wire", wire, &file]);
        assert_eq!(
            (whole.status, whole.stderr.as_str()),
            (Some(0), ""),
            "{wire}"
        );
        assert_eq!(whole.end()["type"], "completed");
        for chunk in ["1", "7", "1000000"] {
            let ran = run(&["decode", "--wire", wire, "--chunk", chunk, &file]);
            assert_eq!(
                (ran.stdout, ran.status),
                (whole.stdout.clone(), Some(0)),
                "{wire} {chunk}"
            );
        }
        let crlf = folder.write("crlf.sse", body.replace('\n', "\r\n"));
        assert_eq!(run(&["decode", "--wire", wire, &crlf]).stdout, whole.stdout);
        let piped = run_with_stdin(&["decode", "--wire", wire, "-"], &body);
        assert_eq!(piped.stdout, whole.stdout);
    }
}

#[test]
fn what_is_unknown_passes_as_it_came() {
    let unknown = r#"{"type":"response.novel", "n": 1.0,"text":"\u0041"}"#;
    let item = r#"{"type":"novel_item","b":2, "a":1}"#;
    let body = format!(
        ": comment\n\nevent: keepalive\ndata: {{\"type\":\"keepalive\"}}\n\ndata: {unknown}\n\n\
         data: {{\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{item}}}\n\n{}",
        sse(&[completed()])
    );
    let ran = decode(&body);
    assert_eq!(ran.status, Some(0));
    assert!(
        ran.stdout.contains(&format!(
            r#"{{"type":"other","event":"response.novel","raw":{unknown}}}"#
        )),
        "{ran:?}"
    );
    assert!(
        ran.stdout.contains(&format!(
            r#"{{"type":"output_item_done","item":{item},"output_index":0}}"#
        )),
        "{ran:?}"
    );
}

#[test]
fn json_over_several_data_lines_stays_one_line() {
    let body =
        "data: {\"type\":\"note\",\ndata: \"x\":\ndata: 1}\n\n".to_owned() + &sse(&[completed()]);
    let ran = decode(&body);
    assert_eq!(
        ran.events()[0],
        json!({"type": "other", "event": "note", "raw": {"type": "note", "x": 1}})
    );
}

#[test]
fn end_decides_the_status() {
    let incomplete = json!({"type": "response.incomplete", "response": {"id": "r", "incomplete_details": {"reason": "max_output_tokens"}}});
    let failed = json!({"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded", "message": "slow"}}});
    let error = json!({"type": "error", "error": {"type": "server_error", "message": "broken"}});
    for (end, status, expected) in [
        (
            completed(),
            0,
            json!({"type": "completed", "response_id": "r"}),
        ),
        (
            incomplete,
            1,
            json!({"type": "incomplete", "reason": "max_output_tokens", "response_id": "r", "token_usage": null}),
        ),
        (
            failed,
            1,
            json!({"type": "failed", "error": {"kind": "rate_limited"}}),
        ),
        (
            error,
            1,
            json!({"type": "failed", "error": {"kind": "server_error"}}),
        ),
    ] {
        let ran = decode(&sse(&[text_delta("a"), end, text_delta("late")]));
        assert_eq!(ran.status, Some(status), "{ran:?}");
        assert!(holds(&ran.end(), &expected), "{expected} in {ran:?}");
    }
}

/// Whether all fields of the second are in the first.
fn holds(value: &Value, part: &Value) -> bool {
    match part.as_object() {
        Some(fields) => fields
            .iter()
            .all(|(name, field)| holds(&value[name], field)),
        None => value == part,
    }
}

#[test]
fn body_that_is_cut_anywhere_is_truncated() {
    let body = sse(&[text_delta("a"), completed()]);
    // Without the empty line at the end the last event is whole all the same.
    let whole = body.trim_end().len();
    for cut in (0..whole - 1).step_by(7) {
        let ran = decode(&body[..cut]);
        assert_eq!(
            (ran.end()["error"]["kind"].clone(), ran.status),
            (json!("truncated"), Some(1)),
            "{cut}"
        );
    }
    assert_eq!(decode(&body[..whole]).status, Some(0));
    assert!(decode("").stderr.starts_with("actix-responses: truncated"));
}

#[test]
fn malformed_events_are_counted() {
    let item = json!({"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]});
    let done = json!({"type": "response.output_item.done", "output_index": 0, "item": item});
    let ran = decode(&format!(
        "data: {{nonsense\n\n{}",
        sse(&[done, completed()])
    ));
    assert_eq!(
        (
            ran.end()["anomalies"]["malformed_events"].clone(),
            ran.status
        ),
        (json!(1), Some(0))
    );
}

#[test]
fn large_event_comes_through() {
    let text = "x".repeat(10 << 20);
    let ran = decode(&sse(&[text_delta(&text), completed()]));
    assert_eq!(
        ran.events()[0]["delta"].as_str().map(str::len),
        Some(text.len())
    );
    assert_eq!(ran.status, Some(0));
}

#[test]
fn lines_of_a_live_stream_come_at_once() {
    let mut running = Running::start_with_stdin(&mut program(&["decode"]), Stdio::piped());
    running.type_in(&sse(&[text_delta("first")]));
    running.until_stdout(|lines| lines.contains("first"));
    running.type_in(&sse(&[completed()]));
    // The end does not wait for the end of the input.
    running.until_stdout(|lines| lines.contains("completed"));
    assert_eq!(running.finish().status, Some(0));
}

#[test]
fn closed_stdout_is_no_failure() {
    let folder = Folder::new();
    let file = folder.write(
        "body.sse",
        sse(&vec![text_delta(&"x".repeat(1_000)); 10_000]),
    );
    let mut running = Running::start_unread(&mut program(&["decode", &file]));
    let mut stdout = BufReader::new(running.take_stdout());
    assert!(!stdout.fill_buf().expect("output").is_empty());
    drop(stdout);
    let ran = running.finish();
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
}
