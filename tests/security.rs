//! Keys go to the server they are for and nowhere else, and what a server sends is taken within bounds.

mod support;

use std::{
    fmt,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use actix_responses::{
    ApiError, ErrorKind, Runtime,
    actors::{Compact, ListModels, SupervisorConfig, Workers},
    loopback::Reply,
    protocol::{CompactionInput, Prompt, ResponseEvent},
    provider::{AuthRequest, BearerAuth, HeaderAuth, Provider, ProviderSettings, TurnState},
    secret::Secret,
    sse::SseLimits,
    transport::{AwcTransportFactory, ProxyConfig, TlsConfig, TransportRequest},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::json;
use support::{
    Identity, PATIENCE, Running, accept, accept_request, always, asking, collect, end_of,
    failure_of, program, prompt, run, serve, within, write_until_refused,
};
use tokio::sync::oneshot;
use tracing_subscriber::fmt::format::FmtSpan;

/// In every place where a key can be. It is looked for in everything that is printed.
const KEY: &str = "sk-hunter2-0123456789";
const EVENTS: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n";

/// Writes `begin`, then `endless` as long as somebody takes it; gives how many bytes they took.
fn pour(listener: &TcpListener, begin: &str, endless: &str) -> usize {
    let mut stream = accept_request(listener);
    stream.write_all(begin.as_bytes()).expect("a reader");
    write_until_refused(&mut stream, endless)
}

fn config(base_url: &str) -> SupervisorConfig {
    config_of(Provider::new("test", base_url).expect("a URL"))
}

fn config_of(provider: Provider) -> SupervisorConfig {
    let mut config = SupervisorConfig::new(provider);
    config.retry.max_attempts = 1;
    config.workers = Workers::Current;
    // Answers repeat the key, and so would what is recorded of them.
    config.captured_content_bytes = 64 * 1024;
    config
}

async fn failure_with(config: SupervisorConfig) -> ApiError {
    let runtime = Runtime::with_config(config).expect("a configuration");
    failure_of(&runtime, prompt()).await
}

/// Serves so many connections; the receiver has how many bytes came in over TLS.
fn serve_over_tls(
    identity: &Identity,
    connections: usize,
) -> (SocketAddr, oneshot::Receiver<usize>) {
    let server = Arc::clone(&identity.server);
    serve(move |listener| {
        let mut received = 0;
        for _ in 0..connections {
            let mut stream = Identity::over_tls(&server, accept(&listener));
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                received += count;
            }
        }
        received
    })
}

#[actix_rt::test]
async fn certificate_that_is_untrusted_expired_or_of_another_host_is_refused_with_the_reason() {
    let good = Identity::new("127.0.0.1");
    let expired = Identity::expired("127.0.0.1");
    let elsewhere = Identity::new("api.example");
    for (server, trusted, reasons) in [
        // Another authority is trusted than the one that signed.
        (&good, &elsewhere, ["UnknownIssuer", "UnknownIssuer"]),
        (&expired, &expired, ["expired", "Expired"]),
        (
            &elsewhere,
            &elsewhere,
            ["not valid for name", "NotValidForName"],
        ),
    ] {
        let (address, received) = serve_over_tls(server, 2);
        let base_url = format!("https://{address}/v1");
        let provider = Provider::new("test", &base_url)
            .expect("a URL")
            .with_auth(BearerAuth::new(KEY).expect("a key"));
        let factory =
            AwcTransportFactory::new(&trusted.trusted(), &ProxyConfig::None).expect("TLS");
        let runtime = Runtime::with_transport(config_of(provider), factory).expect("a runtime");
        let error = failure_of(&runtime, prompt()).await;
        assert_eq!(error.kind(), ErrorKind::Certificate, "{error}");
        let names_the_reason = |text: &str| reasons.iter().any(|reason| text.contains(reason));
        assert!(names_the_reason(&error.report()), "{}", error.report());

        let ca_file = trusted.ca_file.to_str().expect("a path in Unicode");
        let arguments = ["--max-attempts=1", "--ca-file", ca_file];
        let ran = run(&asking(&base_url, &arguments));
        let said = &ran.stderr;
        assert_eq!(ran.status, Some(1), "{ran:?}");
        assert!(said.starts_with("actix-responses: certificate"), "{said}");
        assert!(names_the_reason(said), "{said}");
        assert_eq!(
            within(received).await,
            Ok(0),
            "a byte of a request was sent"
        );
    }
}

#[actix_rt::test]
async fn redirect_carries_the_key_nowhere() {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let location = format!("http://{}/v1", elsewhere.local_addr().expect("an address"));
        let (address, _) = serve(move |listener| {
            for _ in 0..4 {
                let mut stream = accept_request(&listener);
                let head = format!(
                    "HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).expect("a reader");
            }
        });
        let base_url = format!("http://{address}/v1");
        let mut config = config(&base_url);
        let provider = (*config.provider).clone();
        config.provider = Arc::new(provider.with_auth(BearerAuth::new(KEY).expect("a key")));
        let runtime = Runtime::with_config(config).expect("a configuration");
        let error = failure_of(&runtime, prompt()).await;
        assert_eq!(error.details().status, Some(status), "{error}");
        let compacting = Compact::new(CompactionInput::new("m", Vec::new()));
        let error = within(runtime.compact(compacting)).await.err();
        assert_eq!(error.expect("a failure").details().status, Some(status));
        let error = within(runtime.list_models(ListModels::new())).await.err();
        assert_eq!(error.expect("a failure").details().status, Some(status));
        let mut command = program(&asking(&base_url, &["--max-attempts=1"]));
        let ran = Running::start(command.env("OPENAI_API_KEY", KEY)).finish();
        assert_eq!(ran.status, Some(1), "{ran:?}");

        elsewhere.set_nonblocking(true).expect("an option");
        let nobody = elsewhere.accept().expect_err("no connection");
        assert_eq!(nobody.kind(), io::ErrorKind::WouldBlock);
    }
}

#[test]
fn what_would_inject_a_header_is_refused_without_being_shown() {
    let provider = || Provider::new("test", "http://127.0.0.1:9/v1").expect("a URL");
    for end in ["\r\n", "\n", "\r", "\0"] {
        let value = format!("{KEY}{end}x-evil: 1");
        let name = format!("x-name{end}x-evil");
        let refused: [Result<(), String>; 6] = [
            provider()
                .with_header("x-own", &value)
                .map(drop)
                .map_err(all_of),
            provider().with_header(&name, "1").map(drop).map_err(all_of),
            BearerAuth::new(&*value).map(drop).map_err(all_of),
            HeaderAuth::new("x-api-key", &*value)
                .map(drop)
                .map_err(all_of),
            HeaderAuth::new(&name, KEY).map(drop).map_err(all_of),
            BearerAuth::new(KEY)
                .and_then(|auth| auth.with_account_id(&*value))
                .map(drop)
                .map_err(all_of),
        ];
        for (index, refused) in refused.into_iter().enumerate() {
            let said = refused.expect_err("a refusal");
            assert!(!said.contains(KEY), "{index}: {said}");
        }
    }
    for base_url in [
        "http://user:sk-hunter2-0123456789@127.0.0.1/v1",
        "http://sk-hunter2-0123456789@127.0.0.1/v1",
        "file:///etc/passwd",
        "javascript:alert(1)",
    ] {
        let said = Provider::new("test", base_url).map(drop).map_err(all_of);
        let said = said.expect_err("a refusal");
        assert!(!said.contains(KEY), "{said}");
    }
}

/// Everything that an error prints of itself and of its causes.
fn all_of<E: std::error::Error>(error: E) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    text
}

#[actix_rt::test]
async fn line_breaks_in_what_is_asked_stay_inside_of_the_request() {
    const EVIL: &str = "x HTTP/1.1\r\nx-evil: 1\r\n\r\nPOST /evil HTTP/1.1\r\n\r\n";
    let loopback = always(Reply::default());
    // In a path and in a query they are escaped.
    let base_url = format!("{}/a%0d%0ax-evil:%201?b=%0d%0ac", loopback.base_url());
    let provider = Provider::new("test", &base_url)
        .expect("a URL")
        .with_query("q\r\nx-evil: 1", EVIL);
    let runtime = Runtime::with_config(config_of(provider)).expect("a configuration");
    collect(&runtime, Prompt::user(EVIL).with_model(EVIL)).await;

    let requests = loopback.requests();
    assert_eq!(requests.len(), 1, "one request was asked for");
    let request = format!("{:?}", requests[0].headers);
    assert!(!request.contains("x-evil"), "{request}");
    let body = String::from_utf8(requests[0].body.to_vec()).expect("text");
    assert!(!body.contains('\r') && !body.contains('\n'), "{body}");
    let sent: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(sent["model"], EVIL);
}

#[actix_rt::test]
async fn compressed_answer_that_is_none_is_refused() {
    // The first bytes of gzip, and no more.
    let bomb = "\u{1f}\u{8b}\u{8}".repeat(1000);
    for encoding in ["gzip", "br", "zstd", "deflate", "GZIP, gzip", "compress"] {
        let begin = format!("{EVENTS}content-encoding: {encoding}\r\n\r\n");
        let endless = format!("{:x}\r\n{bomb}\r\n", bomb.len());
        let (address, taken) = serve(move |listener| pour(&listener, &begin, &endless));
        let error = failure_with(config(&format!("http://{address}/v1"))).await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        assert!(error.message().contains("compress") || error.message().contains(encoding));
        assert!(within(taken).await.expect("a script") < 16 << 20);
    }
}

#[actix_rt::test]
async fn endless_answers_end_in_bounded_memory() {
    let line = "x".repeat(10_000);
    let chunked = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let mut limits = SseLimits::default();
    limits.max_line_bytes = 1 << 20;
    limits.max_event_bytes = 1 << 20;
    for (begin, endless, kind) in [
        (
            "HTTP/1.1 500 Oops\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
            chunked(&line),
            ErrorKind::ServerError,
        ),
        ("HTTP/1.1 200 OK\r\nx-long: ".to_owned(), line.clone(), ErrorKind::TooLarge),
        ("HTTP/1.1 200 OK\r\n".to_owned(), "a: b\r\n".to_owned(), ErrorKind::TooLarge),
        // A line, an event of many lines, and a name that never end.
        (format!("{EVENTS}\r\n{}", chunked("data: ")), chunked(&line), ErrorKind::TooLarge),
        (format!("{EVENTS}\r\n"), chunked(&format!("data: {line}\n")), ErrorKind::TooLarge),
        (format!("{EVENTS}\r\n"), chunked(&line), ErrorKind::TooLarge),
    ] {
        let said = format!("{begin:?} {}", &endless[..6]);
        let (address, taken) = serve(move |listener| pour(&listener, &begin, &endless));
        let mut config = config(&format!("http://{address}/v1"));
        config.limits = limits.into();
        let error = failure_with(config).await;
        assert_eq!(error.kind(), kind, "{said}: {error}");
        assert!(error.report().len() < 4096, "{said}: {}", error.report().len());
        // What the sockets hold, and what the limits allow.
        let taken = within(taken).await.expect("a script");
        assert!(taken < 32 << 20, "{said}: {taken} bytes were taken");
    }
}

#[actix_rt::test]
async fn endless_answer_to_a_compaction_ends_at_its_limit() {
    let begin =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let (address, taken) = serve(move |listener| pour(&listener, begin, "5\r\n[0,0,\r\n"));
    let mut config = config(&format!("http://{address}/v1"));
    config.max_compaction_bytes = 1 << 20;
    let runtime = Runtime::with_config(config).expect("a configuration");
    let error = within(runtime.compact(CompactionInput::new("m", Vec::new()))).await;
    assert_eq!(error.expect_err("a failure").kind(), ErrorKind::TooLarge);
    assert!(within(taken).await.expect("a script") < 32 << 20);
}

/// All that is traced in this process, at every level, dependencies included.
#[derive(Clone, Default)]
struct Traced(Arc<Mutex<Vec<u8>>>);

impl Traced {
    /// One for the process, because awc logs on whatever thread it runs.
    fn start() -> Self {
        static TRACED: OnceLock<Traced> = OnceLock::new();
        let start = || {
            let traced = Self::default();
            let writer = traced.clone();
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                // What is recorded in a span is printed with its end.
                .with_span_events(FmtSpan::FULL)
                .with_writer(move || writer.clone())
                .with_ansi(false)
                .init();
            traced
        };
        TRACED.get_or_init(start).clone()
    }

    /// Without what the embedded provider says of what it was asked.
    fn lines(&self) -> Vec<String> {
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

/// Providers that hold the key in each place where it can be.
fn keyed(base_url: &str) -> Vec<(&'static str, Provider)> {
    let provider = || Provider::new("test", base_url).expect("a URL");
    let bearer = BearerAuth::new(KEY).expect("a key");
    let account = bearer.clone().with_account_id(KEY).expect("an id");
    let header = HeaderAuth::new("x-mine", KEY).expect("a key");
    let in_base = Provider::new("test", &format!("{base_url}?api_key={KEY}")).expect("a URL");
    let in_path = Provider::new("test", &format!("{base_url}/{KEY}/")).expect("a URL");
    let own = |name, value: &str| provider().with_header(name, value).expect("a header");
    vec![
        ("bearer", provider().with_auth(bearer)),
        ("account", provider().with_auth(account)),
        ("header auth", provider().with_auth(header)),
        ("header", own("x-api-key", KEY)),
        (
            "bearer header",
            own("authorization", &format!("Bearer {KEY}")),
        ),
        ("cookie", own("cookie", &format!("session={KEY}; other=1"))),
        ("query", provider().with_query("api-key", KEY)),
        ("query of the base URL", in_base),
        ("path of the base URL", in_path),
    ]
}

/// Answers that repeat the key wherever something of an answer ends up in an error.
fn echoes() -> Vec<Reply> {
    let error = |status: StatusCode| {
        let body = json!({"error": {"message": format!("no {KEY} here"), "code": KEY, "type": KEY, "param": KEY,
            "plan_type": KEY}});
        let reply = Reply::json(body).with_status(status);
        reply.with_header("x-request-id", KEY)
    };
    let event = |value: serde_json::Value| Reply::sse(format!("data: {value}\n\n"));
    let failed = json!({"type": "response.failed", "response": {"id": "r",
        "error": {"code": KEY, "message": format!("no {KEY}")}}});
    vec![
        error(StatusCode::UNAUTHORIZED),
        error(StatusCode::TOO_MANY_REQUESTS),
        Reply::text(format!("<html>{KEY}</html>")).with_status(StatusCode::BAD_GATEWAY),
        Reply::text(format!("<html>{KEY}</html>")),
        Reply::error(StatusCode::TEMPORARY_REDIRECT).with_header(
            "location",
            format!("https://elsewhere.example/?api-key={KEY}"),
        ),
        event(json!({"type": "error", "code": KEY, "message": format!("no {KEY}"), "param": KEY})),
        event(failed),
        // What is not what it should be, and is quoted.
        Reply::sse(format!(
            "data: {{{KEY}\n\ndata: {{\"type\":\"response.created\",\"response\":\"{KEY}\"}}\n\n"
        ))
        .with_header("x-request-id", KEY),
    ]
}

fn check(place: &str, what: impl fmt::Display) {
    let text = what.to_string();
    // A piece of a key may be enough of it.
    for start in 0..=KEY.len() - 12 {
        let piece = &KEY[start..start + 12];
        assert!(!text.contains(piece), "{place}: {text}");
    }
}

/// Answers that repeat the key outside of what a server means to say, byte for byte.
fn raw_echoes() -> Vec<String> {
    let answer = |status: &str, headers: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
    };
    let event = |event: serde_json::Value| {
        let headers = format!("content-type: text/event-stream\r\nx-request-id: {KEY}\r\n");
        answer("200 OK", &headers, &format!("data: {event}\n\n"))
    };
    let cut = "x".repeat(190);
    vec![
        answer(&format!("401 no {KEY}"), "", ""),
        answer(
            &format!("200 {KEY}"),
            &format!("content-encoding: {KEY}\r\n"),
            "{}",
        ),
        answer("200 OK", &format!("content-type: {KEY}/{KEY}\r\n"), "words"),
        answer("307 Moved", &format!("location: /{KEY}/x\r\n"), ""),
        answer(
            "301 Moved",
            &format!("location: http://{KEY}@elsewhere.example/{KEY}\r\n"),
            "",
        ),
        answer(
            "400 Bad",
            &format!("x-error-json: {{\"error\":{{\"message\":\"{KEY}\"}}}}\r\n"),
            "",
        ),
        answer(
            "500 Oops",
            "content-type: text/plain\r\n",
            &format!("{cut} {KEY}"),
        ),
        format!("HTTP/1.1 {KEY}\r\n\r\n"),
        format!("{KEY} HTTP\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{KEY}\r\n\r\n"),
        event(
            json!({"type": "response.completed", "response": {"id": KEY, "status": "completed", "output": []}}),
        ),
        event(
            json!({"type": "response.incomplete", "response": {"id": KEY, "status": "incomplete",
            "incomplete_details": {"reason": KEY}}}),
        ),
        event(
            json!({"type": "response.failed", "response": {"id": KEY, "error": {"code": KEY, "message": KEY}}}),
        ),
    ]
}

#[actix_rt::test]
async fn key_in_any_part_of_an_answer_is_in_no_error_and_no_trace() {
    let traced = Traced::start();
    for (number, echo) in raw_echoes().into_iter().enumerate() {
        let providers = keyed("http://127.0.0.1:9/v1").len();
        let (address, _) = serve(move |listener| {
            for _ in 0..2 * providers {
                let mut stream = accept_request(&listener);
                // Who has read enough closes it.
                let _ = stream.write_all(echo.as_bytes());
            }
        });
        for (place, provider) in keyed(&format!("http://{address}/v1")) {
            let place = format!("{place}, raw echo {number}");
            let runtime = Runtime::with_config(config_of(provider)).expect("a configuration");
            if let Err(error) = end_of(&runtime, prompt()).await {
                check(&place, all_of(error.clone()));
                check(&place, error.report());
                check(&place, serde_json::to_string(&error).expect("JSON"));
            }
            let compacting = Compact::new(CompactionInput::new("m", Vec::new()));
            if let Err(error) = within(runtime.compact(compacting)).await {
                check(&place, all_of(error));
            }
        }
    }
    let lines = traced.lines();
    assert!(lines.iter().any(|line| line.contains("gen_ai.response.id")));
    for line in lines {
        check("trace", line);
    }
}

#[actix_rt::test]
async fn key_that_a_server_repeats_is_in_no_error_and_no_trace() {
    let traced = Traced::start();
    for (number, echo) in echoes().into_iter().enumerate() {
        let loopback = always(echo);
        for (place, provider) in keyed(&loopback.base_url()) {
            let place = format!("{place}, echo {number}");
            let mut config = config_of(provider);
            config.retry.max_attempts = 2;
            config.retry.max_requested_delay = Duration::from_millis(1);
            check(&place, format!("{config:?}"));
            let error = failure_with(config).await;
            check(&place, all_of(error.clone()));
            check(&place, error.report());
            check(&place, serde_json::to_string(&error).expect("JSON"));
            let failed = ResponseEvent::Failed(Arc::new(error));
            check(&place, format!("{failed:?}"));
        }
    }
    let lines = traced.lines();
    let is_traced = lines.iter().any(|line| line.contains("TRACE"));
    assert!(is_traced, "nothing is traced at that level");
    for line in lines {
        check("trace", line);
    }
}

#[test]
fn nothing_public_that_holds_a_key_prints_it() {
    let provider = Provider::new("test", &format!("http://127.0.0.1:9/v1/{KEY}"))
        .and_then(|provider| provider.with_header("x-api-key", KEY))
        .expect("a provider")
        .with_query("key", KEY)
        .with_auth(BearerAuth::new(KEY).expect("a key"));
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", HeaderValue::from_static(KEY));
    let url = format!("http://user:{KEY}@127.0.0.1/{KEY}/?token={KEY}");
    let url = url::Url::parse(&url).expect("a URL");
    let request = TransportRequest {
        request: String::new(),
        attempt: 1,
        method: Method::POST,
        url: url.clone(),
        headers,
        body: KEY.into(),
        connect_timeout: PATIENCE,
        may_be_repeated: false,
    };
    let proxy = ProxyConfig::Url(format!("http://user:{KEY}@127.0.0.1:9").into());
    let factory = AwcTransportFactory::new(&TlsConfig::default(), &proxy).expect("TLS");
    let mut settings = ProviderSettings::default();
    settings.base_url = Some(format!("http://127.0.0.1:9/{KEY}"));
    settings
        .headers
        .push(("x-api-key".to_owned(), KEY.to_owned()));
    settings.query.push(("key".to_owned(), KEY.to_owned()));
    let printed = [
        ("Provider", format!("{provider:?} {provider:#?}")),
        (
            "SupervisorConfig",
            format!("{:?}", SupervisorConfig::new(provider)),
        ),
        ("Secret", format!("{0:?} {0}", Secret::new(KEY))),
        (
            "BearerAuth",
            format!(
                "{:?}",
                BearerAuth::new(KEY).expect("a key").with_account_id(KEY)
            ),
        ),
        (
            "HeaderAuth",
            format!("{:?}", HeaderAuth::new("x-mine", KEY).expect("a key")),
        ),
        ("AuthRequest", format!("{:?}", AuthRequest::new(url))),
        ("TransportRequest", format!("{request:?}")),
        ("ProxyConfig", format!("{proxy:?}")),
        ("AwcTransportFactory", format!("{factory:?}")),
        ("ProviderSettings", format!("{settings:?}")),
        ("TurnState", format!("{:?}", TurnState::default())),
    ];
    for (place, text) in printed {
        check(place, text);
    }
}

#[test]
fn command_never_prints_a_key() {
    for echo in echoes() {
        let loopback = always(echo);
        let base_url = loopback.base_url();
        let header = format!("x-api-key: {KEY}");
        let cookie = format!("cookie: session={KEY}; other=1");
        let query = format!("api-key={KEY}");
        let with_query = format!("{base_url}?api_key={KEY}");
        for arguments in [
            &["--api-key-env=MY_KEY", "--base-url", &base_url][..],
            &["--header", &header, "--base-url", &base_url],
            &["--header", &cookie, "--base-url", &base_url],
            &["--query", &query, "--base-url", &base_url],
            &["--base-url", &with_query],
        ] {
            // Its logs at the level of its own, and all there are.
            for (more, log) in [(&["--json", "-vv"], ""), (&["-v", "-v"], "trace")] {
                let mut command = program(&["ask", "--max-attempts=2", "hello"]);
                command.args(arguments).args(more);
                command.env("MY_KEY", KEY).env("RUST_LOG", log);
                let ran = Running::start(&mut command).finish();
                let place = format!("{} {more:?} {log}", arguments[0]);
                assert_eq!(ran.status, Some(1), "{place}: {ran:?}");
                check(&place, &ran.stdout);
                check(&place, &ran.stderr);
            }
        }
    }
}
