//! Secrets that were planted, looked for in all that a relay writes.

use std::{
    io::{self, Write},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use actix_responses::{
    Runtime,
    actors::SupervisorConfig,
    loopback::{Loopback, LoopbackOptions, Reply, Script},
    provider::{BearerAuth, Provider},
    relay::{Relay, RelayConfig, Route, RouteTable, Target},
};
use http::StatusCode;
use serde_json::{Value, json};
use tracing_subscriber::{
    Layer as _,
    filter::dynamic_filter_fn,
    fmt::{format::FmtSpan, layer},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::{
    owners::tokens,
    support::{RunningRelay, post},
};

const TOKEN: &str = "hush-token-0123456789";
/// That of the token.
const HASH: &str = "616387664f80c4aaf88bd77a63096d5ce98d05f266f93a80ad9a788f4efeb67a";
const PROVIDER_KEY: &str = "hush-provider-key-0123456789";
const OTHER_KEY: &str = "hush-other-key-0123456789";
const URL_KEY: &str = "hush-url-key-0123456789";
const HEADER: &str = "hush-header-0123456789";
const AUTHORIZATION: &str = "hush-authorization-0123456789";

/// All that is traced while it is on, at every level, dependencies included.
#[derive(Clone, Default)]
struct Traced(Arc<Mutex<Vec<u8>>>);

static IS_ON: AtomicBool = AtomicBool::new(false);

impl Traced {
    /// One for the process, because a relay answers on threads of its own.
    fn start() -> Self {
        static TRACED: OnceLock<Traced> = OnceLock::new();
        let start = || {
            let traced = Self::default();
            let writer = traced.clone();
            let lines = layer()
                .with_span_events(FmtSpan::FULL)
                .with_writer(move || writer.clone())
                .with_ansi(false);
            let is_on = dynamic_filter_fn(|_, _| IS_ON.load(Ordering::Acquire));
            tracing_subscriber::registry()
                .with(lines.with_filter(is_on))
                .init();
            traced
        };
        let traced = TRACED.get_or_init(start).clone();
        IS_ON.store(true, Ordering::Release);
        traced
    }

    /// Without what the embedded provider says of what it was asked.
    fn stop(&self) -> Vec<String> {
        IS_ON.store(false, Ordering::Release);
        let text = String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned();
        let lines = text.lines();
        let lines = lines.filter(|line| !line.contains("actix_responses::loopback"));
        lines.map(str::to_owned).collect()
    }
}

impl Write for Traced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn none_of(secrets: &[&str], text: &str, place: &str) {
    for secret in secrets {
        let at = text.find(secret);
        let around = at.map(|at| &text[at.saturating_sub(200).min(at)..]);
        let around = around.map(|text| text.chars().take(400).collect::<String>());
        assert_eq!(around, None, "{secret} in {place}");
    }
}

/// Servers quote the key that they refuse, and what they were sent.
fn quoting(secrets: &[&str]) -> Script {
    let quoted = format!("no: {}", secrets.join(" "));
    let error = json!({"message": quoted, "type": "invalid_request_error", "code": "invalid_api_key", "param": null});
    let refusal = |status| {
        Reply::json(json!({"error": error.clone()}))
            .with_status(status)
            .with_header("x-quoted", quoted.clone())
            .with_header("x-request-id", quoted.clone())
    };
    let event = |event: Value| format!("data: {event}\n\n");
    let created =
        event(json!({"type": "response.created", "sequence_number": 0, "response": {"id": "r"}}));
    let delta = event(
        json!({"type": "response.output_text.delta", "sequence_number": 1, "output_index": 0, "item_id": "m",
        "content_index": 0, "delta": "hush-answer"}),
    );
    let failed = event(json!({"type": "response.failed", "sequence_number": 2,
        "response": {"id": "r", "status": "failed", "error": {"code": "server_error", "message": quoted}}}));
    let said = event(json!({"type": "error", "sequence_number": 2, "error": error.clone()}));
    Script::new([
        refusal(StatusCode::UNAUTHORIZED),
        refusal(StatusCode::BAD_REQUEST),
        refusal(StatusCode::FORBIDDEN),
        Reply::sse(format!("{created}{delta}{failed}")),
        Reply::sse(format!("{created}{delta}{said}{failed}")),
        Reply::sse(format!("{created}{failed}")),
        Reply::json(json!({"error": error.clone()})),
    ])
}

#[actix_rt::test]
async fn no_token_key_query_or_body_reaches_a_log_a_metric_the_page_an_error_or_a_debug() {
    let traced = Traced::start();
    let options = LoopbackOptions::default().with_script(quoting(&[PROVIDER_KEY, URL_KEY, HEADER]));
    let upstream = Loopback::start(options).expect("an upstream");
    let base_url = format!("{}?api_key={URL_KEY}", upstream.base_url());
    let keyed = |key: &str| {
        let provider = Provider::new("keyed-of-secrets", &base_url).expect("a provider");
        let provider = provider.with_header("x-own-key", HEADER).expect("a header");
        provider
            .with_auth(BearerAuth::new(key).expect("a key"))
            .with_max_attempts(1)
    };
    let target = Target::with_keys(keyed(PROVIDER_KEY).into(), vec![keyed(OTHER_KEY).into()]);
    let routes = RouteTable::new(vec![Route::new("*", target)]);
    let config = RelayConfig::default().with_max_body_bytes(1 << 20);
    let runtime =
        Runtime::with_config(SupervisorConfig::new(keyed(PROVIDER_KEY))).expect("a runtime");
    let relay = Relay::new(runtime, routes.clone(), config.clone());
    let tokens = tokens("secrets", &format!("ada {HASH}\n"));
    relay.set_tokens(Some(tokens.clone()));
    let relay = RunningRelay::serving(upstream, relay);
    let more = format!(
        "authorization: Bearer {TOKEN}\r\ncookie: a=hush-cookie\r\nx-client-secret: hush-client-header\r\n\
         chatgpt-account-id: hush-account\r\n"
    );
    let body = |stream: bool| {
        json!({"model": "demo", "input": "hush-body", "stream": stream, "instructions": "hush-instructions",
            "metadata": {"a": "hush-metadata"}})
        .to_string()
    };
    let chat = json!({"model": "demo", "messages": [{"role": "user", "content": "hush-body"}], "stream": true}).to_string();
    let mut answers = Vec::new();
    for stream in [true, false, true, true, true, false, true, true, false] {
        answers.push(post(&relay, "/v1/responses?key=hush-query", &more, &body(stream)).await);
    }
    answers.push(post(&relay, "/v1/chat/completions?key=hush-query", &more, &chat).await);
    answers.push(
        post(
            &relay,
            "/v1/responses/compact?key=hush-query",
            &more,
            &body(false),
        )
        .await,
    );
    // What is refused.
    let guess = "authorization: Bearer hush-guess\r\n";
    for (path, more, body) in [
        ("/v1/responses?key=hush-query", guess, &*body(true)),
        ("/v1/responses?key=hush-query", &*more, "{\"hush-body"),
        (
            "/v1/responses?key=hush-query",
            &*more,
            &*format!(
                "{{\"model\": 1, \"a\": \"hush-body{}\"}}",
                " ".repeat(2 << 20)
            ),
        ),
        ("/v1/responses/hush-id/cancel?key=hush-query", &*more, ""),
        ("/v1/nothing?key=hush-query", &*more, "hush-body"),
    ] {
        let refused = post(&relay, path, more, body).await;
        assert!(refused.0 >= 400, "{refused:?}");
        answers.push(refused);
    }
    let get = async |path: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\n{more}connection: close\r\n\r\n",
            relay.address
        );
        let (status, _, body) = relay.exchange(&request).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    };
    let outputs = [
        ("the metrics", get("/metrics?key=hush-query").await),
        ("the page", get("/").await + &get("/page.js").await),
        ("the list", get("/streams?key=hush-query").await),
        (
            "a Debug",
            format!(
                "{:?} {routes:?} {:?} {config:?} {tokens:?}",
                relay.relay,
                routes.routes()
            ),
        ),
    ];
    // A client's own key goes through, and is quoted by nobody.
    let options = LoopbackOptions::default().with_script(quoting(&[AUTHORIZATION]));
    let passing = RunningRelay::with(options, RelayConfig::default()).await;
    let own = format!("authorization: Bearer {AUTHORIZATION}\r\n");
    let mut passed = Vec::new();
    for stream in [true, false, true, true, true, true] {
        passed.push(
            post(
                &passing,
                "/v1/responses?key=hush-query",
                &own,
                &body(stream),
            )
            .await,
        );
    }
    assert_eq!(
        passing.upstream.requests()[0].headers["authorization"],
        format!("Bearer {AUTHORIZATION}")
    );
    let (_, _, metrics) = passing.get("/metrics").await;
    let log = traced.stop();

    let of_the_operator = [TOKEN, HASH, PROVIDER_KEY, OTHER_KEY, URL_KEY, HEADER];
    for (status, head, body) in &answers {
        none_of(&of_the_operator, head, &format!("a head of {status}"));
        none_of(&of_the_operator, body, &format!("a body of {status}"));
        none_of(
            &["hush-query", "hush-cookie", "hush-guess"],
            body,
            &format!("a body of {status}"),
        );
    }
    for (status, head, body) in &passed {
        none_of(&[AUTHORIZATION], head, &format!("a head of {status}"));
        none_of(&[AUTHORIZATION], body, &format!("a body of {status}"));
    }
    for (place, text) in &outputs {
        none_of(&["hush-", HASH], text, place);
    }
    none_of(
        &["hush-", HASH],
        &format!("{metrics} {:?}", passing.relay),
        "what is passed",
    );
    none_of(&["hush-", HASH], &log.join("\n"), "the log");

    // It was on: each request has its line.
    let lines: Vec<_> = log
        .iter()
        .filter(|line| line.contains("relay::access") && line.contains("keyed-of-secrets"))
        .collect();
    let line = lines
        .iter()
        .find(|line| line.contains("status=200"))
        .expect("a line");
    for field in [
        "method=POST",
        "route=\"/v1/responses\"",
        "wire=\"responses\"",
        "model=\"demo\"",
        "provider=\"keyed-of-secrets\"",
        "client=\"ada\"",
        "attempt=1",
        "ms=",
        "bytes=",
    ] {
        assert!(line.contains(field), "{field}: {line}");
    }
    for status in [200, 400, 401, 403] {
        assert!(
            lines
                .iter()
                .any(|line| line.contains(&format!("status={status} "))),
            "{status}: {lines:?}"
        );
    }
}
