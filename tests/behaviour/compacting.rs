//! One question, one answer.

use std::time::Duration;

use actix_responses::{
    ErrorKind,
    actors::CancelRequest,
    protocol::{CompactionInput, ResponseItem},
};
use tokio::time::Instant;

use crate::support::{
    assert_elapsed, provider, settle, start, start_with, steady_retry, transport::Exchange,
};

const ANSWER: &str = r#"{"id":"cmp_1","object":"response.compaction","created_at":1,"output":[
    {"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]},
    {"type":"compaction","encrypted_content":"abc"}],
    "usage":{"input_tokens":5,"output_tokens":1,"total_tokens":6}}"#;

fn input() -> CompactionInput {
    CompactionInput::new("test-model", vec![ResponseItem::user_text("hi")])
}

fn json(body: impl Into<bytes::Bytes>) -> Exchange {
    Exchange::status(200)
        .header("content-type", "application/json")
        .chunk(body)
}

#[actix_rt::test]
async fn a_compaction_is_posted_and_its_items_come_back() {
    let (runtime, transport) = start([json(ANSWER)]);
    let output = runtime.compact(input()).await.unwrap();
    assert_eq!(output.id.as_deref(), Some("cmp_1"));
    assert_eq!(output.items.len(), 2);
    assert_eq!(output.usage.unwrap().total_tokens, 6);
    let request = &transport.requests()[0];
    assert_eq!(request.url, "http://scripted.test/v1/responses/compact");
    assert_eq!(request.headers["accept"], "application/json");
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["model"], "test-model");
    assert!(body.get("stream").is_none());
}

#[actix_rt::test]
async fn a_large_answer_arrives_whole_and_one_over_the_limit_is_refused() {
    let text = "x".repeat(5 * 1024 * 1024);
    let body = format!(r#"{{"output":[{{"type":"compaction","encrypted_content":"{text}"}}]}}"#);
    let (runtime, _) = start([json(body.clone())]);
    let output = runtime.compact(input()).await.unwrap();
    assert!(output.raw.get().len() > text.len());
    let (runtime, _) = start_with([json(body)], |c| c.max_compaction_bytes = 1024 * 1024);
    let error = runtime.compact(input()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.message().contains("max_compaction_bytes"), "{error}");
}

#[actix_rt::test]
async fn failures_that_may_pass_are_retried_within_one_budget() {
    for first in [
        Exchange::status(500),
        json(&ANSWER[..60]),
        Exchange::status(429),
        json(ANSWER).broken(),
    ] {
        let broken = first.clone();
        let (runtime, transport) = start_with([first, json(ANSWER)], |c| c.retry = steady_retry(3));
        let before = Instant::now();
        let result = runtime.compact(input()).await;
        drop(broken);
        assert!(result.is_ok(), "{result:?}");
        assert_elapsed(before, Duration::from_millis(100));
        assert_eq!(transport.requests().len(), 2);
    }
    let (runtime, transport) = start_with((0..9).map(|_| Exchange::status(500)), |c| {
        c.retry = steady_retry(3)
    });
    let error = runtime.compact(input()).await.unwrap_err();
    assert_eq!(
        (error.details().attempt, error.details().max_attempts),
        (3, 3)
    );
    assert_eq!(error.details().attempts.len(), 3);
    assert_eq!(transport.requests().len(), 3);
}

#[actix_rt::test]
async fn an_answer_that_is_no_compaction_is_an_error_and_never_an_empty_one() {
    for (body, kind) in [
        ("{}", ErrorKind::Protocol),
        (r#"{"output":[]}"#, ErrorKind::Protocol),
        (r#"{"output":"x"}"#, ErrorKind::Protocol),
        ("<html><title>Gateway</title></html>", ErrorKind::Protocol),
        (
            r#"{"error":{"code":"context_length_exceeded","message":"too long"}}"#,
            ErrorKind::ContextLengthExceeded,
        ),
    ] {
        let (runtime, transport) = start([json(body)]);
        let error = runtime.compact(input()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{body}: {error}");
        assert_eq!(transport.requests().len(), 1, "{body}");
    }
}

#[actix_rt::test]
async fn a_compaction_has_timers_of_its_own() {
    let slow = || {
        Exchange::status(200)
            .chunk(ANSWER)
            .head_after(Duration::from_secs(599))
    };
    let (runtime, _) = start([slow()]);
    assert!(runtime.compact(input()).await.is_ok());
    let (runtime, transport) = start_with([slow()], |config| {
        config.retry.max_attempts = 1;
        provider(config, |p| {
            p.timeouts.compaction_head = Duration::from_secs(9)
        });
    });
    let before = Instant::now();
    let error = runtime.compact(input()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResponseHeadTimeout);
    assert_elapsed(before, Duration::from_secs(9));
    assert_eq!(transport.open(), 0);
    let stalled = Exchange::status(200).chunk(&ANSWER[..50]).held_open();
    let (runtime, _) = start_with([stalled], |c| c.retry.max_attempts = 1);
    let error = runtime.compact(input()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IdleTimeout);
}

#[actix_rt::test]
async fn dropping_the_future_closes_the_connection() {
    let (runtime, transport) = start([Exchange::silence()]);
    let compacting = {
        let runtime = runtime.clone();
        actix_rt::spawn(async move { runtime.compact(input()).await })
    };
    settle().await;
    assert_eq!(transport.open(), 1);
    compacting.abort();
    settle().await;
    assert_eq!(transport.open(), 0);
    let known = runtime
        .supervisor()
        .send(CancelRequest {
            request: unknown(&runtime).await,
        })
        .await;
    assert!(!known.unwrap());
}

/// The id of a request that has ended.
async fn unknown(runtime: &actix_responses::Runtime) -> actix_responses::actors::RequestId {
    let stream = runtime.stream(crate::support::prompt()).await.unwrap();
    let id = stream.request();
    drop(stream);
    settle().await;
    id
}

#[actix_rt::test]
async fn a_panic_in_a_compaction_is_an_error_to_its_caller() {
    let (runtime, _) = start_with([json("").panicking()], |c| c.retry.max_attempts = 1);
    assert_eq!(
        runtime.compact(input()).await.unwrap_err().kind(),
        ErrorKind::AttemptLost
    );
}

#[actix_rt::test]
async fn the_chat_wire_has_no_compaction() {
    let (runtime, transport) = start_with([json(ANSWER)], |config| {
        provider(config, |p| p.wire = actix_responses::wire::Wire::Chat);
    });
    let error = runtime.compact(input()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(transport.requests().is_empty());
}
