//! Requests that fail, or nearly.

use actix_responses::loopback::{Reply, Script};
use http::StatusCode;
use serde_json::json;

use crate::support::{
    Nobody, Running, always, ask, asking, completed, program, provider, run, sse, text_delta, url,
};

const KEY: &str = "sk-never-to-be-seen";

#[test]
fn cut_answer_fails_as_truncated_and_says_that_output_was_delivered() {
    let stream = sse(&[text_delta("half"), completed()]);
    let provider = always(Reply::sse(stream).cut_after_events(1));
    let ran = ask(&provider, &["--json"]);
    let error = &ran.end()["error"];
    assert_eq!(error["kind"], "truncated");
    assert_eq!(error["output_delivered"], true);
    assert_eq!((error["attempt"].clone(), ran.status), (json!(1), Some(1)));

    let ran = ask(&provider, &[]);
    assert_eq!((ran.stdout.as_str(), ran.status), ("half\n", Some(1)));
    assert!(
        ran.stderr.starts_with("actix-responses: truncated"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("request id"), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
}

#[test]
fn restart_is_announced_and_keeps_the_texts_apart() {
    let stream = sse(&[text_delta("one"), completed()]);
    let replies = [
        Reply::sse(stream.clone()).cut_after_events(1),
        Reply::sse(stream),
    ];
    let restart = "--retry-after-output=restart";
    let ran = ask(&provider(Script::new(replies.clone())), &[restart]);
    assert_eq!((ran.stdout.as_str(), ran.status), ("one\none\n", Some(0)));
    assert!(ran.stderr.starts_with("-- restarted: truncated"), "{ran:?}");

    let ran = ask(&provider(Script::new(replies)), &[restart, "--json"]);
    let events = ran.events();
    let types: Vec<_> = events.iter().map(|event| event["type"].clone()).collect();
    let restarted = events.iter().find(|event| event["type"] == "restarted");
    let restarted = restarted.unwrap_or_else(|| panic!("{types:?}"));
    assert_eq!(restarted["attempt"], 2);
    assert_eq!(restarted["error"]["kind"], "truncated");
    assert!(restarted["delay_ms"].is_u64(), "{restarted}");
    assert_eq!(ran.end()["type"], "completed");
}

#[test]
fn refusal_for_now_is_retried_in_silence() {
    let busy = Reply::error(StatusCode::TOO_MANY_REQUESTS).with_header("retry-after-ms", "1");
    let provider = provider(Script::new([busy.clone(), busy]));
    let ran = ask(&provider, &["--json"]);
    assert_eq!(ran.end()["type"], "completed");
    let types = ran.events().into_iter().map(|event| event["type"].clone());
    assert_eq!(types.take(2).collect::<Vec<_>>(), ["head", "created"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(provider.request_count(), 3);
}

#[test]
fn max_attempts_counts_the_first() {
    let provider = always(Reply::error(StatusCode::SERVICE_UNAVAILABLE));
    let ran = ask(&provider, &["--max-attempts=2"]);
    assert_eq!((ran.status, provider.request_count()), (Some(1), 2));
    assert!(ran.stderr.contains("attempt 2 of 2"), "{ran:?}");
}

#[test]
fn refused_connection_names_the_host_and_what_to_try() {
    let nobody = Nobody::new();
    let address = nobody.address;
    let ran = run(&asking(&url(address), &["--max-attempts=1"]));
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(1), ""));
    assert!(ran.stderr.contains(&address.to_string()), "{ran:?}");
    assert!(ran.stderr.contains("To try:"), "{ran:?}");
}

#[test]
fn key_is_never_printed() {
    let refusal = json!({"error": {"message": format!("Incorrect API key provided: {KEY}"), "code": "invalid_api_key"}});
    let echo = Reply::json(refusal).with_status(StatusCode::UNAUTHORIZED);
    for reply in [Reply::error(StatusCode::UNAUTHORIZED), echo] {
        let provider = always(reply);
        let base_url = provider.base_url();
        let header = format!("--header=x-api-key: {KEY}");
        for arguments in [&["-vv"][..], &["--json", "-vv"], &[], &[&header]] {
            let mut command = program(&asking(&base_url, arguments));
            if !arguments.contains(&header.as_str()) {
                command.env("MY_KEY", KEY).args(["--api-key-env", "MY_KEY"]);
            }
            let ran = Running::start(&mut command).finish();
            assert_eq!(ran.status, Some(1), "{ran:?}");
            assert!(ran.stderr.contains("401"), "{ran:?}");
            assert!(
                !ran.stderr.contains(KEY) && !ran.stdout.contains(KEY),
                "{ran:?}"
            );
        }
        assert_eq!(
            provider.request_count(),
            4,
            "a wrong key is not tried again"
        );
    }
}

#[test]
fn silence_ends_at_the_timeout_that_was_set() {
    let stream = sse(&[text_delta("half"), completed()]);
    for (flag, reply, kind) in [
        (
            "--idle-timeout=50ms",
            Reply::sse(stream.clone()).stall_after_events(1),
            "idle_timeout",
        ),
        (
            "--first-event-timeout=50ms",
            Reply::sse(stream).stall_after_events(0),
            "first_event_timeout",
        ),
        (
            "--response-head-timeout=50ms",
            Reply::default().never_head(),
            "response_head_timeout",
        ),
    ] {
        let ran = ask(&always(reply), &["--json", "--max-attempts=1", flag]);
        assert_eq!(ran.end()["error"]["kind"], kind, "{ran:?}");
        assert_eq!(ran.status, Some(1));
    }
}

#[test]
fn page_in_place_of_an_api_is_a_clear_error() {
    let provider = always(Reply::text("<html>hi</html>"));
    let ran = ask(&provider, &[]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.stderr.contains("text/plain"), "{ran:?}");
}

#[test]
fn a_base_url_without_a_path_is_told_what_was_asked() {
    let refusing = || always(Reply::error(StatusCode::NOT_FOUND));
    let page = || always(Reply::text("<html>hi</html>"));
    for (provider, wire, path) in [
        (refusing(), "responses", "responses"),
        (page(), "chat", "chat/completions"),
    ] {
        let base_url = provider.base_url();
        let bare = base_url.strip_suffix("/v1").expect("a path");
        let ran = run(&asking(bare, &["--wire", wire]));
        let asked = format!("asked is {bare}/{path}:");
        assert!(ran.stderr.contains(&asked), "{ran:?}");
        assert!(ran.stderr.contains(&base_url), "{ran:?}");
        let ran = run(&asking(&base_url, &["--wire", wire]));
        assert!(!ran.stderr.contains("asked is"), "{ran:?}");
    }
    let provider = always(Reply::error(StatusCode::NOT_FOUND).with_path("/models"));
    let base_url = provider.base_url();
    let bare = base_url.strip_suffix("/v1").expect("a path");
    let ran = run(&["models", "--base-url", bare]);
    assert!(
        ran.stderr.contains(&format!("asked is {bare}/models:")),
        "{ran:?}"
    );
}
