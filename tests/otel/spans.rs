//! The spans of requests as an OpenTelemetry collector receives them: over tracing-opentelemetry, opentelemetry-otlp and a socket.
//!
//! `cargo test --package actix-responses-otel -- --nocapture --test-threads 1` prints the trees.

mod collector;
mod wiring;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use actix_responses::{
    ApiError, ErrorKind, Runtime,
    actors::{Compact, SubmitRequest, SupervisorConfig},
    http::StatusCode,
    loopback::{Loopback, LoopbackOptions, Reply, Script},
    protocol::{CompactionInput, Prompt},
    provider::Provider,
};
use serde_json::{Value, json};
use tracing::Instrument;

use self::{
    collector::{Collector, Span, Trace},
    wiring::TraceContext,
};

fn collector() -> &'static Collector {
    static COLLECTOR: OnceLock<Collector> = OnceLock::new();
    COLLECTOR.get_or_init(Collector::start)
}

/// A runtime that asks an embedded provider, at most twice.
fn start(script: Script) -> (Runtime, Loopback) {
    collector();
    let mut options = LoopbackOptions::default();
    options.script = script;
    let loopback = Loopback::start(options).expect("a free port");
    let provider = Provider::new("loopback", &loopback.base_url()).expect("a provider");
    let mut config = SupervisorConfig::new(provider);
    config.retry.max_attempts = 2;
    config.retry.backoff.base = Duration::from_millis(1);
    config.propagator = Some(Arc::new(TraceContext));
    config.captured_content_bytes = 1_000;
    let runtime = Runtime::spawn(config).expect("a runtime");
    (runtime, loopback)
}

fn prompt() -> Prompt {
    Prompt::user("Which day is it?")
        .with_model("demo")
        .with_temperature(0.5)
        .with_max_output_tokens(100)
}

/// The caller's span, the request's and those of its attempts, which are as many as the server has seen.
fn family<'a>(trace: &'a Trace, loopback: &Loopback) -> (&'a Span, &'a Span, Vec<&'a Span>) {
    println!("{}", trace.tree());
    let [caller] = trace.below(None)[..] else {
        panic!("not one root");
    };
    let [request] = trace.below(Some(caller))[..] else {
        panic!("not one request");
    };
    let attempts = trace.below(Some(request));
    let told = loopback.requests().into_iter().map(|seen| {
        let header = seen.headers.get("traceparent").expect("a traceparent");
        header.to_str().expect("a text").to_owned()
    });
    let told: Vec<_> = told.collect();
    let sent: Vec<_> = attempts
        .iter()
        .map(|attempt| attempt.traceparent())
        .collect();
    assert_eq!(told, sent, "what the server was told");
    for span in attempts.iter().chain([&request]) {
        assert_eq!(span.0["kind"], 3, "a client");
    }
    for pair in attempts.windows(2) {
        assert!(pair[1].follows(pair[0]), "not linked");
        let (end, start) = (
            pair[0].time("endTimeUnixNano"),
            pair[1].time("startTimeUnixNano"),
        );
        assert!(end <= start, "it ends when the next begins");
    }
    (caller, request, attempts)
}

#[track_caller]
fn check(span: &Span, expected: &[(&str, &str, Value)]) {
    for (name, kind, value) in expected {
        assert_eq!(span.attribute(name), Some((*kind, value)), "{name}");
    }
}

fn failed(kind: &str) -> [(&'static str, &'static str, Value); 1] {
    [("error.type", "stringValue", kind.into())]
}

#[tokio::test]
async fn a_request_that_is_retried_is_one_span_with_its_attempts_below() {
    let overloaded = Reply::error(StatusCode::SERVICE_UNAVAILABLE);
    let (runtime, loopback) = start(Script::new([overloaded]));
    let span = tracing::info_span!("a retried request");
    let response = runtime.respond(prompt()).instrument(span).await;
    let usage = response.expect("an answer").token_usage().expect("a usage");
    let trace = collector().trace("a retried request", 4);
    let (_, request, attempts) = family(&trace, &loopback);

    assert_eq!(request.name(), "chat demo");
    assert_ne!(request.0["status"]["code"], 2);
    let list = |texts: &[&str]| {
        let values = texts.iter().map(|text| json!({"stringValue": text}));
        json!({"values": values.collect::<Vec<_>>()})
    };
    let port = i64::from(loopback.address().port()).to_string();
    check(
        request,
        &[
            ("gen_ai.operation.name", "stringValue", "chat".into()),
            ("gen_ai.provider.name", "stringValue", "loopback".into()),
            ("gen_ai.request.model", "stringValue", "demo".into()),
            ("gen_ai.request.stream", "boolValue", true.into()),
            ("gen_ai.request.temperature", "doubleValue", 0.5.into()),
            ("gen_ai.request.max_tokens", "intValue", "100".into()),
            ("openai.api.type", "stringValue", "responses".into()),
            ("server.address", "stringValue", "127.0.0.1".into()),
            ("server.port", "intValue", port.clone().into()),
            ("gen_ai.response.model", "stringValue", "demo".into()),
            (
                "gen_ai.response.finish_reasons",
                "arrayValue",
                list(&["stop"]),
            ),
            (
                "gen_ai.usage.input_tokens",
                "intValue",
                usage.input_tokens.to_string().into(),
            ),
            (
                "gen_ai.usage.output_tokens",
                "intValue",
                usage.output_tokens.to_string().into(),
            ),
        ],
    );
    let (kind, _) = request
        .attribute("gen_ai.response.time_to_first_chunk")
        .expect("a time");
    assert_eq!(kind, "doubleValue");
    for (name, text) in [
        ("gen_ai.input.messages", "Which day is it?"),
        ("gen_ai.output.messages", "assistant"),
    ] {
        let (_, json) = request.attribute(name).expect("content");
        let messages: Vec<Value> =
            serde_json::from_str(json.as_str().expect("a text")).expect("JSON");
        assert!(messages[0].to_string().contains(text), "{messages:?}");
    }

    let [first, second] = attempts[..] else {
        panic!("not two attempts");
    };
    let codes = [(first, "503", 2), (second, "200", 0)];
    for (attempt, code, status) in codes {
        assert_eq!(attempt.name(), "POST");
        assert_eq!(
            attempt.0["status"]["code"].as_u64().unwrap_or_default(),
            status
        );
        check(
            attempt,
            &[
                ("http.request.method", "stringValue", "POST".into()),
                ("http.response.status_code", "intValue", code.into()),
                (
                    "url.full",
                    "stringValue",
                    format!("{}/responses", loopback.base_url()).into(),
                ),
                ("server.port", "intValue", port.clone().into()),
            ],
        );
        assert_eq!(
            attempt.attribute("gen_ai.operation.name"),
            None,
            "it would count twice"
        );
    }
    check(first, &failed("overloaded"));
    assert_eq!(first.attribute("http.request.resend_count"), None);
    check(
        second,
        &[("http.request.resend_count", "intValue", "1".into())],
    );
    runtime.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_request_that_fails_after_all_its_attempts_says_why() {
    let overloaded = Reply::error(StatusCode::SERVICE_UNAVAILABLE);
    let (runtime, loopback) = start(Script::always(overloaded));
    let span = tracing::info_span!("a failed request");
    let error = runtime.respond(prompt()).instrument(span).await;
    let error = error.map(|_| ()).expect_err("an error");
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    let trace = collector().trace("a failed request", 4);
    let (_, request, attempts) = family(&trace, &loopback);
    assert_eq!(attempts.len(), 2);
    for span in attempts.into_iter().chain([request]) {
        assert_eq!(span.0["status"]["code"], 2);
        check(span, &failed("overloaded"));
    }
    runtime.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_request_that_is_cancelled_says_so() -> Result<(), ApiError> {
    let (runtime, loopback) = start(Script::always(Reply::default().never_head()));
    // Made within the span, and sent elsewhere.
    let span = tracing::info_span!("a cancelled request");
    let request = span.in_scope(|| SubmitRequest::new(prompt()));
    drop(span);
    let stream = runtime.submit(request).await?;
    let is_sent = |loopback: &Loopback| loopback.request_count() == 1;
    assert!(loopback.wait_until(Duration::from_secs(20), is_sent));
    assert!(runtime.cancel(stream.request()).await);
    let trace = collector().trace("a cancelled request", 3);
    let (_, request, attempts) = family(&trace, &loopback);
    for span in attempts.into_iter().chain([request]) {
        assert_eq!(span.0["status"]["code"], 2);
        check(span, &failed("cancelled"));
    }
    runtime.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

#[tokio::test]
async fn questions_are_below_the_span_that_asks_them() {
    let (runtime, _loopback) = start(Script::default());
    let asking = async {
        let input = CompactionInput::new("demo", prompt().input);
        runtime
            .compact(Compact::new(input))
            .await
            .expect("a compaction");
        runtime.models().await.expect("a list");
    };
    asking
        .instrument(tracing::info_span!("two questions"))
        .await;
    let trace = collector().trace("two questions", 5);
    println!("{}", trace.tree());
    let asked = trace.below(trace.below(None).first().copied());
    let names: Vec<_> = asked.iter().map(|span| span.name()).collect();
    assert_eq!(names, ["compact demo", "list_models"]);
    let sent = asked.iter().flat_map(|asked| trace.below(Some(asked)));
    let sent: Vec<_> = sent.map(Span::name).collect();
    assert_eq!(sent, ["POST", "GET"]);
    runtime.shutdown(Duration::from_secs(5)).await;
}
