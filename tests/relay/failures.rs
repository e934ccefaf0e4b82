//! Refusals, and failures of our own.

use actix_responses::{
    Runtime,
    actors::SupervisorConfig,
    loopback::{Loopback, Reply},
    provider::Provider,
    relay::{Relay, RelayConfig, RouteTable},
};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{RunningRelay, asks, header, post, upstream};

#[actix_rt::test]
async fn a_refusal_is_the_servers_own_status_headers_and_body() {
    let body = json!({"error": {"message": "no", "type": "invalid_request_error", "code": "bad", "param": "x", "own": [1.0]}});
    let reply = Reply::json(body.clone())
        .with_status(StatusCode::BAD_REQUEST)
        .with_header("x-request-id", "req_9")
        .with_header("x-codex-primary-used-percent", "5")
        .with_header("set-cookie", "a=b");
    let relay = RunningRelay::with(upstream(reply), RelayConfig::default()).await;
    let (status, head, answer) = post(
        &relay,
        "/v1/responses",
        "originator: codex_cli_rs\r\n",
        &asks(true),
    )
    .await;
    assert_eq!((status, answer), (400, body.to_string()), "{head}");
    assert_eq!(header(&head, "x-request-id"), Some("req_9"));
    assert_eq!(header(&head, "x-codex-primary-used-percent"), Some("5"));
    assert_eq!(header(&head, "set-cookie"), None);
    assert_eq!(relay.upstream.request_count(), 1);
}

#[actix_rt::test]
async fn a_refusal_without_a_body_gets_one_and_keeps_its_headers() {
    for status in [400, 403, 404, 413, 422] {
        let status = StatusCode::from_u16(status).expect("a status");
        let reply = Reply::text("")
            .with_status(status)
            .with_header("x-request-id", "req_9");
        let relay = RunningRelay::with(upstream(reply), RelayConfig::default()).await;
        let (code, head, answer) = post(&relay, "/v1/responses", "", &asks(true)).await;
        assert_eq!(code, status.as_u16(), "{head}");
        assert_eq!(header(&head, "x-request-id"), Some("req_9"), "{head}");
        let answer: Value = serde_json::from_str(&answer).expect("an object");
        assert!(answer["error"]["message"].is_string(), "{answer}");
    }
}

/// A relay whose runtime asks once.
async fn once(reply: Reply) -> RunningRelay {
    let upstream = Loopback::start(upstream(reply)).unwrap();
    let provider = Provider::new("once", &upstream.base_url())
        .unwrap()
        .with_max_attempts(1);
    let routes = RouteTable::single(provider.clone());
    let runtime = Runtime::with_config(SupervisorConfig::new(provider)).unwrap();
    RunningRelay::serving(
        upstream,
        Relay::new(runtime, routes, RelayConfig::default()),
    )
}

#[actix_rt::test]
async fn retries_do_not_multiply_and_codex_is_told_in_the_stream() {
    let body =
        json!({"error": {"message": "down", "type": "server_error", "code": "server_error"}});
    let reply = Reply::json(body.clone()).with_status(StatusCode::INTERNAL_SERVER_ERROR);
    let relay = once(reply).await;
    let (status, head, answer) = post(&relay, "/v1/responses", "", &asks(true)).await;
    assert_eq!((status, answer), (500, body.to_string()));
    assert_eq!(header(&head, "x-should-retry"), Some("false"));
    assert_eq!(relay.upstream.request_count(), 1, "as the provider says");
    let (status, _, answer) = post(
        &relay,
        "/v1/responses",
        "originator: codex_cli_rs\r\n",
        &asks(true),
    )
    .await;
    assert_eq!(status, 200);
    let created = answer.find("response.created").expect("a beginning");
    let failed = answer.find("response.failed").expect("an end");
    assert!(
        created < failed && answer.contains("server_error"),
        "{answer}"
    );
}

#[actix_rt::test]
async fn a_429_goes_out_with_retry_after_in_whole_seconds_wherever_it_was_said() {
    let limited = |message: &str| {
        let error = json!({"message": message, "type": "tokens", "code": "rate_limit_exceeded"});
        Reply::json(json!({"error": error})).with_status(StatusCode::TOO_MANY_REQUESTS)
    };
    for (reply, expected) in [
        (
            limited("Rate limit reached. Please try again in 2.5s."),
            "3",
        ),
        (limited("slow").with_header("retry-after-ms", "1200"), "2"),
        (
            limited("slow").with_header("llm_provider-retry-after", "7"),
            "7",
        ),
        (limited("slow").with_header("retry-after", "4"), "4"),
    ] {
        let relay = once(reply).await;
        let more = "originator: codex_cli_rs\r\n";
        let (status, head, answer) = post(&relay, "/v1/responses", more, &asks(true)).await;
        assert_eq!(status, 429, "{answer}");
        assert_eq!(header(&head, "retry-after"), Some(expected), "{head}");
    }
}

#[actix_rt::test]
async fn our_own_failures_are_502_and_503_in_the_envelope() {
    let relay = once(Reply::default().close_before_head()).await;
    let (status, _, answer) = post(&relay, "/v1/responses", "", &asks(false)).await;
    assert_eq!(status, 502, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert!(answer["error"]["message"].is_string());
}

#[actix_rt::test]
async fn what_fails_with_its_first_event_and_is_told_anew_has_the_status_of_its_code() {
    for (code, wanted) in [
        ("context_length_exceeded", 400),
        ("invalid_prompt", 400),
        ("insufficient_quota", 429),
        ("their_own", 502),
    ] {
        let event = json!({"type": "error", "code": code, "message": "no", "param": null});
        let reply = Reply::sse(format!("event: error\ndata: {event}\n\n"));
        let relay = once(reply).await;
        let messages = json!([{"role": "user", "content": "hello"}]);
        let chat = json!({"model": "demo", "messages": messages, "stream": true}).to_string();
        for (path, body) in [
            ("/v1/responses", asks(false)),
            ("/v1/chat/completions", chat),
        ] {
            let (status, _, answer) = post(&relay, path, "", &body).await;
            assert_eq!(status, wanted, "{path} {code}: {answer}");
            let answer: Value = serde_json::from_str(&answer).expect("an object");
            assert_eq!(answer["error"]["message"], "no");
        }
    }
}
