//! Other providers for a request whose own has failed.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_responses::{
    ApiError, ErrorKind, Runtime,
    actors::{Fallback, Milestone, RequestNotice, RequestStatus, SubmitRequest},
    protocol::{Prompt, ResponseEvent, ResponseItem},
    provider::{BearerAuth, Provider},
    retry::RetryAfterOutput,
    transport::TransportErrorKind,
    wire::Wire,
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{
    assert_elapsed,
    events::*,
    failure, names, prompt, provider, settle, start, start_with, steady_retry, text,
    transport::{Exchange, ScriptedTransport},
};

fn other(name: &str) -> Provider {
    let url = format!("http://{name}.test/v1");
    Provider::new(name, &url).expect("a URL")
}

fn over_chat() -> Fallback {
    let provider = other("chatty").with_wire(Wire::Chat);
    Fallback::new(provider).with_model("qwen")
}

/// The same answer as [`answer`], of the other API.
fn chat_answer() -> Exchange {
    let chunk = |delta: Value, finish: Value| {
        let chunk = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "qwen",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        format!("data: {chunk}\n\n")
    };
    let usage = json!({"id": "chatcmpl-1", "choices": [],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}});
    let body = [
        chunk(json!({"role": "assistant", "content": ""}), Value::Null),
        chunk(json!({"content": "Hel"}), Value::Null),
        chunk(json!({"content": "lo"}), Value::Null),
        chunk(json!({}), json!("stop")),
        format!("data: {usage}\n\ndata: [DONE]\n\n"),
    ];
    Exchange::stream(body.concat())
}

fn refused() -> Exchange {
    Exchange::error(TransportErrorKind::Connect, "connection refused")
}

fn body(transport: &ScriptedTransport, request: usize) -> Value {
    serde_json::from_slice(&transport.requests()[request].body).expect("JSON")
}

fn hosts(transport: &ScriptedTransport) -> Vec<String> {
    let requests = transport.requests();
    let host = |url: &url::Url| url.host_str().expect("a host").replace(".test", "");
    requests.iter().map(|request| host(&request.url)).collect()
}

/// What observers are told, in short.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn hear(&self, notice: &RequestNotice) {
        let what = match &notice.milestone {
            Milestone::Accepted => "accepted".to_owned(),
            Milestone::Started => "started".to_owned(),
            Milestone::Failed {
                error, retry_in, ..
            } => {
                format!("{} {retry_in:?}", error.kind())
            }
            Milestone::FellBack { from } => format!("fell back from {}", from.provider),
            Milestone::Answered { usage, .. } => {
                let tokens = usage.map(|usage| usage.total_tokens);
                format!("answered {tokens:?}")
            }
            Milestone::Ended { .. } => "ended".to_owned(),
            _ => return,
        };
        let line = format!("{} {} {what}", notice.attempt, notice.request.provider);
        self.0.lock().unwrap().push(line);
    }
}

async fn ask(runtime: &Runtime, request: SubmitRequest) -> Vec<Result<ResponseEvent, ApiError>> {
    let stream = runtime.submit(request).await.expect("an accepted request");
    stream.collect().await
}

async fn refusal(runtime: &Runtime, request: SubmitRequest) -> ApiError {
    runtime.submit(request).await.expect_err("a refusal")
}

#[actix_rt::test]
async fn the_next_provider_answers_in_its_own_dialect_and_all_are_told() {
    let exchanges = [Exchange::status(503), Exchange::status(503), chat_answer()];
    let (runtime, transport) = start_with(exchanges, |config| {
        config.retry = steady_retry(2);
        provider(config, |it| {
            it.auth = Arc::new(BearerAuth::new("secret-key").expect("a key"));
        });
    });
    let heard = Heard::default();
    let hearing = heard.clone();
    let mut fallback = over_chat();
    fallback.headers.insert("x-own", "1".parse().unwrap());
    let request = SubmitRequest::new(prompt())
        .with_header("api-key", "another-key")
        .unwrap()
        .with_fallback(fallback)
        .with_observer(move |notice: &RequestNotice| hearing.hear(notice));
    assert!(!format!("{request:?}").contains("another-key"));
    let before = Instant::now();
    let stream = runtime.submit(request).await.unwrap();
    let id = stream.request();
    let events: Vec<_> = stream.collect().await;
    // The policy of the first is waited for, and nothing between the two.
    assert_elapsed(before, Duration::from_millis(100));
    let ends = events.iter().flatten().filter(|event| event.is_final());
    assert_eq!(ends.count(), 1);
    assert!(matches!(
        events.last(),
        Some(Ok(ResponseEvent::Completed(_)))
    ));
    assert_eq!(text(&events), "Hello");
    let created = names(&events)
        .iter()
        .filter(|name| **name == "created")
        .count();
    assert_eq!(created, 1);
    assert_eq!(hosts(&transport), ["scripted", "scripted", "chatty"]);
    let requests = transport.requests();
    assert_eq!(requests[2].url.path(), "/v1/chat/completions");
    let body = body(&transport, 2);
    assert_eq!(
        (&body["model"], &body["messages"][0]["content"]),
        (&json!("qwen"), &json!("hello"))
    );
    // Keys are for the server that they are meant for.
    assert!(requests[1].headers.contains_key("authorization"));
    for name in ["authorization", "api-key"] {
        assert!(!requests[2].headers.contains_key(name), "{name}");
    }
    assert_eq!(requests[2].headers["x-own"], "1");
    assert_eq!(
        *heard.0.lock().unwrap(),
        [
            "0 scripted accepted",
            "1 scripted started",
            "1 scripted overloaded Some(100ms)",
            "2 scripted started",
            "2 scripted overloaded Some(0ns)",
            "2 chatty fell back from scripted",
            "3 chatty started",
            "3 chatty answered Some(5)",
            "3 chatty ended",
        ]
    );
    let status: RequestStatus = runtime.status(id).await.unwrap();
    assert_eq!((status.attempt, status.request.max_attempts), (3, 4));
    assert_eq!(
        (
            &*status.request.provider,
            &*status.request.model,
            &*status.request.server_address
        ),
        ("chatty", "qwen", "chatty.test")
    );
    assert!(status.bytes > 0);
}

#[actix_rt::test]
async fn the_error_at_the_end_names_what_each_provider_said() {
    let exchanges = [refused(), Exchange::status(401), Exchange::status(429)];
    let (runtime, transport) = start_with(exchanges, |config| config.retry = steady_retry(1));
    let request = SubmitRequest::new(prompt())
        .with_fallback(other("second"))
        .with_fallback(over_chat());
    let events = ask(&runtime, request).await;
    assert_eq!(hosts(&transport), ["scripted", "second", "chatty"]);
    let error = failure(&events);
    let details = error.details();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert_eq!(details.provider.as_deref(), Some("chatty"));
    assert_eq!((details.attempt, details.max_attempts), (3, 3));
    let each = details.attempts.iter();
    let each: Vec<_> = each
        .map(|it| (it.provider.as_deref().unwrap(), it.kind))
        .collect();
    assert_eq!(
        each,
        [
            ("scripted", ErrorKind::Connect),
            ("second", ErrorKind::Authentication),
            ("chatty", ErrorKind::RateLimited),
        ]
    );
    let report = error.report();
    for name in ["1: scripted: ", "2: second: ", "3: chatty: "] {
        assert!(report.contains(name), "{report}");
    }
}

#[actix_rt::test]
async fn what_is_the_requests_own_fault_is_asked_of_nobody_else() {
    for (code, kind) in [
        ("invalid_prompt", ErrorKind::InvalidRequest),
        ("context_length_exceeded", ErrorKind::ContextLengthExceeded),
        ("cyber_policy", ErrorKind::ContentPolicy),
    ] {
        let (runtime, transport) = start([Exchange::stream(failed(code, "no"))]);
        let request = SubmitRequest::new(prompt()).with_fallback(over_chat());
        let events = ask(&runtime, request).await;
        assert_eq!(failure(&events).kind(), kind);
        assert_eq!(
            failure(&events).details().provider.as_deref(),
            Some("scripted")
        );
        assert_eq!(transport.requests().len(), 1, "{code}");
    }
    let (runtime, transport) = start([Exchange::status(422)]);
    let request = SubmitRequest::new(prompt()).with_fallback(over_chat());
    let events = ask(&runtime, request).await;
    assert_eq!(failure(&events).kind(), ErrorKind::InvalidRequest);
    assert_eq!(transport.requests().len(), 1);
}

#[actix_rt::test]
async fn nobody_else_is_asked_after_output() {
    let begun = || Exchange::stream(created() + &item_added() + &delta("Hel"));
    let (runtime, transport) = start([begun()]);
    let request = SubmitRequest::new(prompt()).with_fallback(over_chat());
    let events = ask(&runtime, request).await;
    assert_eq!(failure(&events).kind(), ErrorKind::Truncated);
    assert_eq!(transport.requests().len(), 1);
    // What a restart has voided stands in nobody's way.
    let exchanges = [begun(), begun(), Exchange::status(401), chat_answer()];
    let (runtime, transport) = start_with(exchanges, |config| {
        config.retry = steady_retry(2);
        config.retry.after_output = RetryAfterOutput::Restart;
    });
    let request = || SubmitRequest::new(prompt()).with_fallback(over_chat());
    let events = ask(&runtime, request()).await;
    assert_eq!(failure(&events).kind(), ErrorKind::Truncated);
    assert_eq!(hosts(&transport), ["scripted", "scripted"]);
    let exchanges = [begun(), Exchange::status(401), chat_answer()];
    let (runtime, transport) = start_with(exchanges, |config| {
        config.retry = steady_retry(2);
        config.retry.after_output = RetryAfterOutput::Restart;
    });
    let stream = runtime.submit(request()).await.unwrap();
    let response = stream.accumulate().await.unwrap();
    assert_eq!(response.text(), "Hello");
    assert_eq!(hosts(&transport), ["scripted", "scripted", "chatty"]);
}

#[actix_rt::test]
async fn what_came_before_output_is_that_of_the_provider_that_answered() {
    let first = Exchange::stream(created()).with_header("openai-model", "gpt");
    let (runtime, _) = start_with([first, chat_answer()], |config| {
        config.retry = steady_retry(1)
    });
    let request = SubmitRequest::new(prompt()).with_fallback(over_chat());
    let stream = runtime.submit(request).await.unwrap();
    let response = stream.accumulate().await.unwrap();
    assert_eq!(response.response_id(), Some("chatcmpl-1"));
    assert_eq!(response.model(), Some("qwen"));
    assert_eq!(response.text(), "Hello");
    // A background response that was accepted goes on at its server.
    let (runtime, transport) = start_with([Exchange::stream(created())], |config| {
        config.retry = steady_retry(1)
    });
    let asked = prompt().with_background(true).with_store(true);
    let request = SubmitRequest::new(asked).with_fallback(other("second"));
    let events = ask(&runtime, request).await;
    assert_eq!(failure(&events).kind(), ErrorKind::Truncated);
    assert_eq!(transport.requests().len(), 1);
}

#[actix_rt::test]
async fn an_endpoint_that_is_down_is_not_waited_for() {
    let exchanges = [refused(), refused(), chat_answer(), refused(), refused()];
    let (runtime, transport) = start_with(exchanges, |config| {
        config.retry = steady_retry(1);
        config.breaker.failures = 2;
        config.breaker.pause = Duration::from_secs(20);
    });
    for _ in 0..2 {
        let events = ask(&runtime, SubmitRequest::new(prompt())).await;
        assert_eq!(failure(&events).kind(), ErrorKind::Connect);
    }
    let before = Instant::now();
    let request = SubmitRequest::new(prompt())
        .with_retry(steady_retry(3))
        .with_fallback(over_chat());
    let events = ask(&runtime, request).await;
    assert_eq!(text(&events), "Hello");
    assert_elapsed(before, Duration::ZERO);
    assert_eq!(hosts(&transport), ["scripted", "scripted", "chatty"]);
    // Who has nobody else waits, as before.
    let events = ask(&runtime, SubmitRequest::new(prompt())).await;
    assert_eq!(failure(&events).kind(), ErrorKind::Connect);
    assert_elapsed(before, Duration::from_secs(20));
}

#[actix_rt::test]
async fn a_prompt_goes_to_others_without_what_is_its_servers_own() {
    let sealed =
        json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"});
    let said = json!({"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]});
    let asked = json!({"type": "message", "role": "user", "content": "and?"});
    let whole = json!({"model": "m", "input": [sealed, said, asked], "stream": true, "x": 1.50});
    let plain = r#"{"model": "m",  "input": "hello", "temperature": 1.0, "stream": true}"#;
    let (runtime, transport) = start_with(
        [
            refused(),
            refused(),
            chat_answer(),
            refused(),
            Exchange::stream(answer()),
            refused(),
            chat_answer(),
        ],
        |config| config.retry = steady_retry(1),
    );
    let request = |body: &str| SubmitRequest::new(Prompt::from_body(body.to_owned()).unwrap());
    let asked = request(&whole.to_string())
        .with_fallback(other("second"))
        .with_fallback(over_chat());
    assert_eq!(text(&ask(&runtime, asked).await), "Hello");
    assert_eq!(body(&transport, 0), whole);
    let second = body(&transport, 1);
    assert_eq!(
        second["input"].as_array().map(Vec::len),
        Some(2),
        "{second}"
    );
    assert_eq!(second["x"], 1.5);
    let third = body(&transport, 2);
    assert_eq!(
        third["messages"].as_array().map(Vec::len),
        Some(2),
        "{third}"
    );
    for body in [second, third] {
        let text = body.to_string();
        assert!(
            !text.contains("sealed") && !text.contains("msg_1"),
            "{text}"
        );
    }
    // Over its own wire it goes out as it came, and over the other it is written anew.
    ask(&runtime, request(plain).with_fallback(other("second"))).await;
    assert_eq!(transport.requests()[4].body, plain);
    ask(&runtime, request(plain).with_fallback(over_chat())).await;
    assert_eq!(body(&transport, 6)["messages"][0]["content"], "hello");
    assert_eq!(body(&transport, 6)["model"], "qwen");
}

#[actix_rt::test]
async fn what_no_other_provider_can_be_asked_is_refused_at_once() {
    let (runtime, transport) = start([]);
    let compaction: ResponseItem =
        serde_json::from_value(json!({"type": "compaction", "encrypted_content": "x"})).unwrap();
    let asked = |prompt: Prompt| SubmitRequest::new(prompt).with_fallback(over_chat());
    let many = (0..=Fallback::MAX).fold(SubmitRequest::new(prompt()), |request, _| {
        request.with_fallback(other("second"))
    });
    let often = SubmitRequest::new(prompt())
        .with_retry(steady_retry(60))
        .with_fallback(other("second"));
    for (request, part) in [
        (
            asked(prompt().with_previous_response_id("r")),
            "previous_response_id",
        ),
        (asked(prompt().with_item(compaction)), "compaction"),
        (
            asked(prompt().with_background(true)),
            "the fallback chatty: `background`",
        ),
        (asked(prompt()).with_blocks(), "two wires"),
        (many, "limit `Fallback::MAX`"),
        (often, "limit `RetryPolicy::MAX_ATTEMPTS`"),
    ] {
        let error = refusal(&runtime, request).await;
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        assert!(error.message().contains(part), "{error}");
    }
    let whole = runtime.in_one_piece(asked(prompt())).await.unwrap_err();
    assert_eq!(whole.kind(), ErrorKind::InvalidConfiguration);
    assert!(transport.requests().is_empty());
}

#[actix_rt::test]
async fn nobody_is_asked_once_a_request_is_to_end() {
    let slow = || Exchange::status(503).head_after(Duration::from_secs(5));
    let request = || SubmitRequest::new(prompt()).with_fallback(over_chat());
    let (runtime, transport) = start_with([slow()], |config| config.retry = steady_retry(1));
    let stream = runtime.submit(request()).await.unwrap();
    settle().await;
    let down = runtime.shutdown(Duration::from_secs(60));
    let (error, ()) = tokio::join!(stream.accumulate(), down);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Overloaded);
    assert_eq!(transport.requests().len(), 1);
    let (runtime, transport) = start_with([slow()], |config| config.retry = steady_retry(1));
    let stream = runtime.submit(request()).await.unwrap();
    settle().await;
    assert!(runtime.cancel(stream.request()).await);
    let error = stream.accumulate().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(transport.requests().len(), 1);
    // The time for all of it is over.
    let (runtime, transport) = start_with([slow()], |config| {
        config.retry = steady_retry(1);
        provider(config, |it| {
            it.timeouts.total = Some(Duration::from_secs(2))
        });
    });
    let events = ask(&runtime, request()).await;
    assert_eq!(failure(&events).kind(), ErrorKind::TotalTimeout);
    assert_eq!(transport.requests().len(), 1);
}
