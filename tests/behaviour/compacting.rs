//! One question, one answer.

use std::time::Duration;

use actix_responses::{
    ErrorKind,
    actors::CancelRequest,
    protocol::{CompactionInput, ResponseItem},
};
use tokio::time::Instant;

use crate::support::{
    assert_elapsed, provider, settle, start, start_with, steady_retry,
    transport::{Exchange, Misfortune},
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
        .with_header("content-type", "application/json")
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
    assert_eq!(
        request.url.as_str(),
        "http://scripted.test/v1/responses/compact"
    );
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
async fn an_answer_of_too_many_values_is_refused_and_no_part_of_it_is_taken() {
    let output = format!("[{}{ITEM}]", "{},".repeat(100_000));
    let streamed = Exchange::status(200)
        .with_header("content-type", "text/event-stream")
        .chunk(stream(&[], &output));
    for answer in [json(format!(r#"{{"output":{output}}}"#)), streamed] {
        let (runtime, _) = start([answer]);
        let error = runtime.compact(input()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
        assert!(
            error.message().contains("RawJson::MAX_TREE_BYTES"),
            "{error}"
        );
    }
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
            r#"{"object":"response","status":"completed","error":null,"output":[{"type":"message","role":"assistant"}]}"#,
            ErrorKind::Protocol,
        ),
        (
            r#"{"object":"response","status":"incomplete","output":[{"type":"compaction"}]}"#,
            ErrorKind::Protocol,
        ),
        (
            r#"{"error":{"code":"invalid_api_key"},"output":[{"type":"compaction"}]}"#,
            ErrorKind::Authentication,
        ),
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

/// Events of a response, with what its closing object holds in `output`.
fn stream(items: &[&str], output: &str) -> String {
    let mut text = ": a keepalive\n\n".to_owned();
    let mut event = |data: String| text += &format!("data: {data}\n\n");
    event(
        r#"{"type":"response.created","response":{"id":"resp_1","status":"in_progress"}}"#
            .to_owned(),
    );
    for item in items {
        event(format!(
            r#"{{"type":"response.output_item.done","item":{item}}}"#
        ));
    }
    event(format!(
        r#"{{"type":"response.completed","response":{{"id":"resp_1","object":"response","created_at":7,"status":"completed",
"output":{output},"usage":{{"input_tokens":5,"output_tokens":1,"total_tokens":6}}}}}}"#
    ).replace('\n', ""));
    text
}

const ITEM: &str = r#"{"type":"compaction_summary","encrypted_content":"abc"}"#;
const MESSAGE: &str = r#"{"type":"message","role":"assistant","content":[]}"#;

#[actix_rt::test]
async fn an_event_stream_with_a_compaction_is_an_answer_whatever_it_is_called() {
    let in_both = stream(&[MESSAGE, ITEM], &format!("[{MESSAGE},{ITEM}]"));
    let only_in_events = stream(&[MESSAGE, ITEM], "[]");
    let only_at_the_end = stream(&[], &format!("[{MESSAGE},{ITEM}]"));
    let no_object = format!(
        "event: response.output_item.done\ndata: {{\"item\":{MESSAGE}}}\n\n\
         event: response.output_item.done\ndata: {{\"item\":{ITEM}}}\n\n\
         event: response.completed\ndata: {{\"id\":\"resp_1\",\"created_at\":7,\"usage\":{{\"total_tokens\":6,\"input_tokens\":5,\"output_tokens\":1}}}}\n\n"
    );
    let crlf = only_in_events.replace('\n', "\r\n");
    let marked = format!("\u{feff}{in_both}");
    let late = format!("\n \n{only_in_events}");
    for body in [
        in_both,
        only_in_events,
        only_at_the_end,
        no_object,
        crlf,
        marked,
        late,
    ] {
        for content_type in ["text/event-stream", "application/json", "text/plain"] {
            for size in [usize::MAX, 7, 1] {
                let bytes = body.as_bytes();
                let exchange = Exchange::status(200)
                    .with_header("content-type", content_type)
                    .chunks(bytes, size.min(bytes.len()))
                    .held_open();
                let (runtime, transport) = start([exchange]);
                let before = Instant::now();
                let output = runtime.compact(input()).await.unwrap();
                assert_elapsed(before, Duration::ZERO);
                let types: Vec<_> = output.items.iter().map(ResponseItem::item_type).collect();
                let types: Vec<_> = types.iter().flatten().collect();
                assert_eq!(types, ["message", "compaction"], "{body}");
                assert_eq!(output.id.as_deref(), Some("resp_1"), "{body}");
                assert_eq!(
                    output.usage.map(|usage| usage.total_tokens),
                    Some(6),
                    "{body}"
                );
                assert_eq!(transport.requests().len(), 1);
            }
        }
    }
}

#[actix_rt::test]
async fn an_event_stream_without_a_compaction_is_refused_by_name() {
    let failed = r#"data: {"type":"response.failed","response":{"id":"r","status":"failed","error":{"code":"context_length_exceeded","message":"too long"}}}"#;
    let chat = r#"data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"}}]}"#;
    let wrapped = r#"data: {"object":"response","output":[{"type":"message","role":"assistant"}]}"#;
    let incomplete = r#"data: {"type":"response.incomplete","response":{"id":"r","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}}"#;
    for (body, kind, said) in [
        (
            stream(&[MESSAGE], "[]"),
            ErrorKind::Protocol,
            "without a compaction item, but with message",
        ),
        (
            stream(&[], &format!("[{MESSAGE}]")),
            ErrorKind::Protocol,
            "without a compaction item, but with message",
        ),
        (
            stream(&[], "[]"),
            ErrorKind::Protocol,
            "has an empty `output`",
        ),
        (
            format!("{failed}\n\n"),
            ErrorKind::ContextLengthExceeded,
            "too long",
        ),
        (
            "event: error\ndata: {\"message\":\"no such model\",\"code\":\"model_not_found\"}\n\n"
                .to_owned(),
            ErrorKind::NotFound,
            "no such model",
        ),
        (
            format!("{incomplete}\n\n"),
            ErrorKind::Protocol,
            "is incomplete (max_output_tokens)",
        ),
        (
            format!("{chat}\n\ndata: [DONE]\n\n"),
            ErrorKind::Protocol,
            "chat.completion",
        ),
        (
            format!("{wrapped}\n\n"),
            ErrorKind::Protocol,
            "without a compaction item",
        ),
    ] {
        for content_type in ["text/event-stream", "application/json"] {
            for size in [usize::MAX, 7, 1] {
                let bytes = body.as_bytes();
                let exchange = Exchange::status(200)
                    .with_header("content-type", content_type)
                    .with_header("x-request-id", "req_1")
                    .chunks(bytes, size.min(bytes.len()));
                let (runtime, transport) = start([exchange]);
                let error = runtime.compact(input()).await.unwrap_err();
                assert_eq!(error.kind(), kind, "{body}: {error}");
                assert!(error.message().contains(said), "{error}");
                assert_eq!(error.details().request_id.as_deref(), Some("req_1"));
                assert_eq!(transport.requests().len(), 1, "{body}");
            }
        }
    }
}

#[actix_rt::test]
async fn an_answer_in_one_event_is_read_and_a_stream_that_was_cut_is_asked_for_again() {
    let wrapped = format!("data: {}\n\n", ANSWER.replace('\n', ""));
    let whole = stream(&[MESSAGE, ITEM], "[]");
    let cuts = [&whole[..whole.len() - 40], "data", "ev", ": a keep", ""];
    for (first, requests) in cuts.map(|cut| (cut, 2)).into_iter().chain([(&*wrapped, 1)]) {
        let exchanges = [json(first.to_owned()), json(ANSWER)];
        let (runtime, transport) = start_with(exchanges, |c| c.retry = steady_retry(2));
        let output = runtime.compact(input()).await.unwrap();
        assert_eq!(output.items.len(), 2);
        assert_eq!(transport.requests().len(), requests, "{first}");
    }
}

#[actix_rt::test]
async fn words_in_place_of_an_answer_are_the_error() {
    for (body, said) in [
        ("upstream is out of order", "upstream is out of order"),
        ("<html><title>Gateway</title></html>", "Gateway"),
        (r#"{"detail":"no compaction here"}"#, "no compaction here"),
    ] {
        let (runtime, _) = start_with([json(body)], |c| c.retry.max_attempts = 1);
        let error = runtime.compact(input()).await.unwrap_err();
        assert!(error.message().contains(said), "{error}");
    }
}

#[actix_rt::test]
async fn an_error_that_came_whole_is_kept_however_its_connection_ends() {
    let said = r#"{"error":{"code":"context_length_exceeded","message":"too long"}}"#;
    for exchange in [json(said), json(said).broken(), json(said).held_open()] {
        let (runtime, transport) = start([exchange]);
        let error = runtime.compact(input()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ContextLengthExceeded, "{error}");
        assert_eq!(transport.requests().len(), 1);
    }
    for exchange in [json(&said[..30]).broken(), json(&said[..30]).held_open()] {
        let (runtime, _) = start_with([exchange], |c| c.retry.max_attempts = 1);
        let kind = runtime.compact(input()).await.unwrap_err().kind();
        let vague = [ErrorKind::Connection, ErrorKind::IdleTimeout];
        assert!(vague.contains(&kind), "{kind}");
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
    assert_eq!(transport.open_requests(), 0);
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
    assert_eq!(transport.open_requests(), 1);
    compacting.abort();
    settle().await;
    assert_eq!(transport.open_requests(), 0);
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
