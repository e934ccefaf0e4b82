//! The end of an answer: at once, whatever the connection does.

use std::time::Duration;

use actix_responses::loopback::{Loopback, Reply, Side};
use serde_json::{Value, json};

use crate::support::{FIRST, Ran, always, ask, closed, sse, text_delta};

/// How soon after its last byte a server sees the connection closed.
const PROMPTLY: Duration = Duration::from_millis(100);
/// A busy machine may be late once, but not each time.
const TRIES: usize = 5;

/// Asks a provider that leaves the connection open behind the answer.
fn ask_and_close(end: &Value) -> (Ran, Duration) {
    let stream = sse(&[text_delta("text"), end.clone()]);
    let provider: Loopback = always(Reply::sse(stream).hold_open());
    let ran = ask(&provider, &["--json", "--max-attempts=1"]);
    let close = closed(&provider, FIRST);
    assert_eq!(close.by, Side::Client);
    let record = provider.connection(FIRST).expect("a record");
    let last_byte = record.last_byte_written_at.expect("bytes");
    (ran, close.at.saturating_duration_since(last_byte))
}

#[test]
fn open_connection_behind_the_end_is_closed_at_once() {
    for (end, name, status) in [
        (
            json!({"type": "response.completed", "response": {"id": "r"}}),
            "completed",
            0,
        ),
        (
            json!({"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}}}),
            "incomplete",
            1,
        ),
        (
            json!({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "broken"}}}),
            "failed",
            1,
        ),
        (
            json!({"type": "error", "code": "server_error", "message": "broken"}),
            "failed",
            1,
        ),
    ] {
        let mut soonest = Duration::MAX;
        for _ in 0..TRIES {
            let (ran, after) = ask_and_close(&end);
            assert_eq!(
                (&ran.end()["type"], ran.status),
                (&json!(name), Some(status)),
                "{ran:?}"
            );
            soonest = soonest.min(after);
            if soonest <= PROMPTLY {
                break;
            }
        }
        assert!(soonest <= PROMPTLY, "{name}: {soonest:?}");
    }
}

#[test]
fn incomplete_answer_is_printed_and_the_reason_said() {
    let incomplete = json!({"type": "response.incomplete", "response": {"incomplete_details": {"reason": "content_filter"}}});
    let provider = always(Reply::sse(sse(&[text_delta("half"), incomplete])));
    let ran = ask(&provider, &[]);
    assert_eq!((ran.stdout.as_str(), ran.status), ("half\n", Some(1)));
    assert!(ran.stderr.contains("content_filter"), "{ran:?}");
}

#[test]
fn a_tool_call_alone_is_told_on_stderr() {
    let call = json!({"type": "response.output_item.done", "output_index": 0,
        "item": {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c"}});
    let provider = always(Reply::sse(sse(&[call, crate::support::completed()])));
    let ran = ask(&provider, &[]);
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str(), ran.status),
        ("", "-- tool call: f({}) --\n", Some(0))
    );
}
