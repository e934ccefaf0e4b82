//! How a stream ends.

use super::*;

const USAGE: &str = r#"{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":2},"total_tokens":14}"#;

fn usage(counts: [u64; 5]) -> Option<TokenUsage> {
    let [
        input_tokens,
        cached_input_tokens,
        output_tokens,
        reasoning_output_tokens,
        total_tokens,
    ] = counts;
    Some(TokenUsage {
        input_tokens,
        cached_input_tokens,
        output_tokens,
        reasoning_output_tokens,
        total_tokens,
        ..TokenUsage::default()
    })
}

#[test]
fn a_completed_response_names_its_id_and_usage_and_keeps_its_object() {
    let response =
        format!(r#"{{"id":"r","status":"completed","usage":{USAGE},"end_turn":true, "n":1.0}}"#);
    let decoded = decode(&[format!(
        r#"{{"type":"response.completed","response":{response}}}"#
    )]);
    let completed = decoded.completed();
    assert_eq!(completed.response_id.as_deref(), Some("r"));
    assert_eq!(completed.token_usage, usage([9, 4, 5, 2, 14]));
    assert_eq!(completed.end_turn, Some(true));
    assert_eq!(completed.response.as_ref().unwrap().get(), response);
}

#[test]
fn what_a_completed_response_leaves_out_does_not_undo_it() {
    let created = r#"{"type":"response.created","response":{"id":"first"}}"#;
    for (event, id, token_usage) in [
        (r#"{"type":"response.completed"}"#, "first", None),
        (
            r#"{"type":"response.completed","response":null}"#,
            "first",
            None,
        ),
        (
            r#"{"type":"response.completed","response":{}}"#,
            "first",
            None,
        ),
        (
            r#"{"type":"response.completed","response":"r"}"#,
            "first",
            None,
        ),
        (
            r#"{"type":"response.completed","response":{"id":7,"usage":[]}}"#,
            "first",
            None,
        ),
        (
            r#"{"type":"response.completed","response":{"id":"r","usage":null}}"#,
            "r",
            None,
        ),
        (
            r#"{"type":"response.completed","response":{"id":"r","usage":{}}}"#,
            "r",
            None,
        ),
        (
            r#"{"type":"response.completed","response":{"usage":{"input_tokens":3,"output_tokens":"4"}}}"#,
            "first",
            usage([3, 0, 4, 0, 7]),
        ),
        // Not nested.
        (
            r#"{"type":"response.completed","id":"r","usage":{"input_tokens":1,"output_tokens":2.0,"total_tokens":3}}"#,
            "r",
            usage([1, 0, 2, 0, 3]),
        ),
        (r#"{"type":"response.done","id":"r"}"#, "r", None),
        (r#"{"type":"response.done"}"#, "first", None),
    ] {
        let decoded = decode(&[created, event]);
        let completed = decoded.completed();
        assert_eq!(completed.response_id.as_deref(), Some(id), "{event}");
        assert_eq!(completed.token_usage, token_usage, "{event}");
        assert!(completed.anomalies.is_empty(), "{event}");
    }
    let alone = decode(&[r#"{"type":"response.completed"}"#]);
    assert_eq!(alone.completed().response_id, None);
}

#[test]
fn an_incomplete_response_says_why() {
    for (event, reason) in [
        (
            r#"{"type":"response.incomplete","response":{"id":"r","incomplete_details":{"reason":"max_output_tokens"}}}"#,
            "max_output_tokens",
        ),
        (
            r#"{"type":"response.incomplete","id":"r","incomplete_details":{"reason":"content_filter"}}"#,
            "content_filter",
        ),
        (
            r#"{"type":"response.done","response":{"id":"r","status":"incomplete","incomplete_details":{"reason":"x"}}}"#,
            "x",
        ),
        (
            r#"{"type":"response.done","id":"r","status":"incomplete","incomplete_details":{"reason":"x"}}"#,
            "x",
        ),
        (
            r#"{"type":"response.incomplete","response":{"id":"r"}}"#,
            "unknown",
        ),
        (
            r#"{"type":"response.incomplete","response":{"id":"r","incomplete_details":{"reason":null}}}"#,
            "unknown",
        ),
        (
            r#"{"type":"response.incomplete","response":{"id":"r","incomplete_details":"full"}}"#,
            "full",
        ),
        (
            r#"{"type":"response.cancelled","response":{"id":"r","status":"cancelled"}}"#,
            "cancelled",
        ),
        (
            r#"{"type":"response.cancelled","response":{"id":"r"}}"#,
            "cancelled",
        ),
        (r#"{"type":"response.cancelled","id":"r"}"#, "cancelled"),
        (
            r#"{"type":"response.done","response":{"id":"r","status":"cancelled"}}"#,
            "cancelled",
        ),
    ] {
        let decoded = decode(&[event]);
        let incomplete = decoded.incomplete();
        assert_eq!(incomplete.reason, reason, "{event}");
        assert_eq!(incomplete.response_id.as_deref(), Some("r"), "{event}");
    }
    let cut = format!(r#"{{"type":"response.incomplete","response":{{"usage":{USAGE}}}}}"#);
    assert_eq!(
        decode(&[cut]).incomplete().token_usage,
        usage([9, 4, 5, 2, 14])
    );
}

#[test]
fn errors_are_read_wherever_they_lie() {
    for (event, kind, message) in [
        (
            r#"{"type":"response.failed","response":{"id":"r","error":{"code":"rate_limit_exceeded","message":"slow"}}}"#,
            ErrorKind::RateLimited,
            "slow",
        ),
        (
            r#"{"type":"response.failed","error":{"code":"context_length_exceeded","message":"long"}}"#,
            ErrorKind::ContextLengthExceeded,
            "long",
        ),
        (
            r#"{"type":"response.done","response":{"status":"failed","error":{"code":"server_is_overloaded","message":"later"}}}"#,
            ErrorKind::Overloaded,
            "later",
        ),
        (
            r#"{"type":"response.done","status":"failed","error":{"code":"server_is_overloaded","message":"later"}}"#,
            ErrorKind::Overloaded,
            "later",
        ),
        (
            r#"{"type":"error","code":"insufficient_quota","message":"pay","param":null}"#,
            ErrorKind::QuotaExceeded,
            "pay",
        ),
        (
            r#"{"type":"error","error":{"type":"invalid_request_error","code":null,"message":"no"}}"#,
            ErrorKind::InvalidRequest,
            "no",
        ),
        (
            r#"{"type":"error","error":"all in a sentence"}"#,
            ErrorKind::ServerError,
            "all in a sentence",
        ),
        (
            r#"{"type":"error","message":"half \ud83d"}"#,
            ErrorKind::ServerError,
            "half \u{fffd}",
        ),
        (
            r#"{"type":"response.failed","response":{"error":{"message":"half \ud83d"}}}"#,
            ErrorKind::ServerError,
            "half \u{fffd}",
        ),
    ] {
        let decoded = decode(&[event]);
        let error = decoded.error();
        assert_eq!((error.kind(), error.message()), (kind, message), "{event}");
        assert_eq!(error.details().phase, Some(Phase::Body), "{event}");
    }
}

#[test]
fn nothing_after_the_terminal_event_is_read() {
    let created = framed(r#"{"type":"response.created","response":{"id":"r"}}"#);
    for end in [
        r#"{"type":"response.completed","response":{"id":"r"}}"#,
        r#"{"type":"response.failed","response":{"error":{"message":"m"}}}"#,
        r#"{"type":"response.incomplete"}"#,
        r#"{"type":"error","message":"m"}"#,
    ] {
        let body = format!("{created}{}", framed(end));
        let alone = decode_body(&body);
        for more in [
            framed(end),
            framed("[DONE]"),
            framed(r#"{"type":"response.output_text.delta","delta":"late"}"#),
            framed(r#"{"type":"response.completed","response":{"id":"other"}}"#),
            "garbage".to_owned(),
        ] {
            assert_eq!(decode_body(&format!("{body}{more}")), alone, "{end} {more}");
        }
    }
}

#[test]
fn done_ends_a_stream_that_does_not_say_how() {
    let created = r#"{"type":"response.created","response":{"id":"r"}}"#;
    let delta = r#"{"type":"response.output_text.delta","item_id":"m","delta":"a"}"#;
    let added = r#"{"type":"response.output_item.added","item":{"type":"message","id":"m"}}"#;
    let done =
        r#"{"type":"response.output_item.done","item":{"type":"message","id":"m","content":"a"}}"#;
    let call = r#"{"type":"response.output_item.added","item":{"type":"function_call","id":"c","call_id":"c","name":"f","arguments":""}}"#;
    let called = r#"{"type":"response.output_item.done","item":{"type":"function_call","id":"c","call_id":"c","name":"f","arguments":"{}"}}"#;
    let cut = r#"{"type":"response.output_text.delta","item_id":"m","del"#;
    for (events, end) in [
        (
            vec![created, added, done, "[DONE]"],
            "incomplete no_finish_reason",
        ),
        (
            vec![created, done, " [DONE] "],
            "incomplete no_finish_reason",
        ),
        (
            vec![created, delta, "[DONE]"],
            "incomplete no_finish_reason",
        ),
        (
            vec![created, call, called, "[DONE]"],
            "incomplete no_finish_reason",
        ),
        (
            vec![created, delta, cut, done, "[DONE]"],
            "incomplete no_finish_reason",
        ),
        (vec![created, done, call, "[DONE]"], "failed truncated"),
        (vec![created, added, "[DONE]"], "failed truncated"),
        (vec![created, "[DONE]"], "failed truncated"),
        (vec!["[DONE]"], "failed truncated"),
        (vec![created, delta, cut, "[DONE]"], "failed truncated"),
        (vec![created, cut, "[DONE]"], "failed truncated"),
    ] {
        let decoded = decode(&events);
        let found = match decoded.terminal.as_ref() {
            Some(Terminal::Incomplete(incomplete)) => format!("incomplete {}", incomplete.reason),
            Some(Terminal::Failed(error)) => format!("failed {}", error.kind()),
            other => format!("{other:?}"),
        };
        assert_eq!(found, end, "{events:?}");
    }
}

const TEXT: &str = r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message","content":[{"type":"output_text","text":"a"}]}}"#;

/// The end of an answer of which `begun` came, as far as the server's words go.
fn end_as(begun: &[&str], kind: &str, response: &str) -> String {
    let end = format!(r#"{{"type":"response.{kind}","response":{{"id":"r",{response}}}}}"#);
    let end = Summary::of_events(&[begun, &[&end]].concat()).end;
    match end.split_once(": ") {
        Some((end, _)) => end.to_owned(),
        None => end,
    }
}

#[test]
fn the_status_of_the_response_counts_in_any_spelling() {
    for (status, end) in [
        (r#""status":"completed""#, "completed"),
        (r#""status":"COMPLETED""#, "completed"),
        (r#""status":"complete""#, "completed"),
        (r#""status":"succeeded""#, "completed"),
        (r#""status":"""#, "completed"),
        (r#""status":null"#, "completed"),
        // The output is there.
        (r#""status":"in_progress""#, "completed"),
        (r#""status":"failed""#, "failed server_error"),
        (r#""status":"FAILED""#, "failed server_error"),
        (r#""status":"Failed""#, "failed server_error"),
        (r#""status":"error""#, "failed server_error"),
        (r#""status":"aborted""#, "failed server_error"),
        (r#""status":"Cancelled""#, "incomplete cancelled"),
        (r#""status":"Incomplete""#, "incomplete unknown"),
        (r#""status":"expired""#, "incomplete expired"),
        (r#""status":"paused""#, "incomplete paused"),
        (r#""status":"length""#, "incomplete max_output_tokens"),
        (
            r#""status":"incomplete","incomplete_details":"max_output_tokens""#,
            "incomplete max_output_tokens",
        ),
        (
            r#""status":"completed","incomplete_details":"content_filter""#,
            "incomplete content_filter",
        ),
        (
            r#""status":"completed","incomplete_details":{"reason":"content_filter"}"#,
            "incomplete content_filter",
        ),
        (
            r#""status":"completed","incomplete_details":"""#,
            "completed",
        ),
        (
            r#""status":"completed","incomplete_details":{}"#,
            "completed",
        ),
        (
            r#""status":"completed","finish_reason":"length""#,
            "incomplete max_output_tokens",
        ),
        (
            r#""status":"completed","finish_reason":"stop""#,
            "completed",
        ),
        (
            r#""status":"completed","finish_reason":"error""#,
            "failed server_error",
        ),
    ] {
        for kind in ["completed", "done"] {
            assert_eq!(end_as(&[TEXT], kind, status), end, "{kind} {status}");
        }
        let is_worse = end.starts_with("failed") || end.ends_with("cancelled");
        if is_worse && !status.contains("finish_reason") {
            assert_eq!(end_as(&[TEXT], "incomplete", status), end, "{status}");
        }
        assert!(
            end_as(&[TEXT], "failed", status).starts_with("failed"),
            "{status}"
        );
    }
    for status in [
        r#""status":"queued""#,
        r#""status":"in_progress","output":[]"#,
    ] {
        assert_eq!(
            end_as(&[], "completed", status),
            "failed protocol",
            "{status}"
        );
    }
}

#[test]
fn a_text_beside_an_empty_output_is_the_answer() {
    for (begun, response, text, items) in [
        (&[][..], r#""output":[],"output_text":"Four""#, "Four", 1),
        (&[], r#""output_text":"Four""#, "Four", 1),
        (&[], r#""output_text":"""#, "", 0),
        (&[], r#""output_text":null"#, "", 0),
        (&[TEXT], r#""output":[],"output_text":"a""#, "a", 1),
        (
            &[],
            r#""output":[{"type":"message","content":"b"}],"output_text":"b""#,
            "b",
            1,
        ),
    ] {
        let end = format!(
            r#"{{"type":"response.completed","response":{{"id":"r","status":"completed",{response}}}}}"#
        );
        let found = Summary::of_events(&[begun, &[&end]].concat());
        assert_eq!(
            (&*found.text, found.items.len(), &*found.end),
            (text, items, "completed"),
            "{response}"
        );
    }
}

#[test]
fn an_item_that_says_that_it_is_cut_makes_no_whole_answer() {
    let item = TEXT.replacen(r#""message","#, r#""message","status":"incomplete","#, 1);
    assert_eq!(
        end_as(&[&item], "completed", r#""status":"completed""#),
        "incomplete unknown"
    );
}

#[test]
fn the_words_of_an_error_are_in_an_end_that_is_none() {
    for (kind, reason) in [("incomplete", "unknown"), ("cancelled", "cancelled")] {
        let end = format!(
            r#"{{"type":"response.{kind}","response":{{"error":{{"message":"engine died"}}}}}}"#
        );
        let Some(Terminal::Incomplete(incomplete)) = decode(&[TEXT, &end]).terminal else {
            panic!("{kind}");
        };
        assert_eq!(incomplete.reason, reason);
        assert_eq!(incomplete.finish_reason.as_deref(), Some("engine died"));
    }
}

#[test]
fn usage_counts_wherever_it_stands() {
    let usage = r#"{"input_tokens":1,"output_tokens":2}"#;
    for end in [
        format!(r#"{{"type":"response.completed","response":{{"usage":{usage}}}}}"#),
        format!(r#"{{"type":"response.completed","response":{{"usage":null}},"usage":{usage}}}"#),
        format!(r#"{{"type":"error","message":"m","usage":{usage}}}"#),
        format!(r#"{{"type":"error","message":"m","response":{{"usage":{usage}}}}}"#),
    ] {
        let tokens = match decode(&[TEXT, &end]).terminal {
            Some(Terminal::Completed(completed)) => completed.token_usage,
            Some(Terminal::Failed(error)) => error.details().token_usage,
            other => panic!("{other:?}"),
        };
        assert_eq!(tokens.map(|usage| usage.total_tokens), Some(3), "{end}");
    }
}
