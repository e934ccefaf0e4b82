//! Who is slow, big, many or curious: what is bounded, and what they are told.

use std::{io::Write as _, time::Duration};

use actix_responses::{
    Runtime,
    actors::{ListModels, SupervisorConfig},
    loopback::{Loopback, LoopbackOptions, Reply, Script},
    provider::Provider,
    relay::{Relay, RelayConfig, RouteTable},
};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{RunningRelay, header, post, post_bytes};

/// How long a test waits for what comes soon.
const PATIENCE: Duration = Duration::from_secs(60);

/// More than anything here takes.
const LONG: Duration = Duration::from_secs(600);

fn asks(stream: bool) -> String {
    json!({"model": "demo", "input": "hello", "stream": stream, "store": false}).to_string()
}

fn delta(text: &str) -> String {
    let event = json!({"type": "response.output_text.delta", "sequence_number": 1, "output_index": 0, "item_id": "m",
        "content_index": 0, "delta": text});
    format!("data: {event}\n\n")
}

/// An answer that has begun.
fn begun(deltas: &str) -> Reply {
    let created =
        json!({"type": "response.created", "sequence_number": 0, "response": {"id": "r"}});
    Reply::sse(format!("data: {created}\n\n{deltas}"))
}

fn always(reply: Reply) -> LoopbackOptions {
    LoopbackOptions::default().with_script(Script::always(reply))
}

async fn with(config: RelayConfig) -> RunningRelay {
    RunningRelay::with(LoopbackOptions::default(), config).await
}

/// A connection on which this was sent.
async fn open(relay: &RunningRelay, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(relay.address)
        .await
        .expect("a connection");
    stream.write_all(text.as_bytes()).await.expect("a reader");
    stream
}

/// What comes on it until it is closed, or reset.
async fn rest(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    let reading = async {
        while stream
            .read_buf(&mut read)
            .await
            .is_ok_and(|count| count > 0)
        {}
    };
    timeout(PATIENCE, reading).await.expect("an end");
    String::from_utf8_lossy(&read).into_owned()
}

fn head(relay: &RunningRelay, more: &str) -> String {
    format!(
        "POST /v1/responses HTTP/1.1\r\nhost: {}\r\n{more}\r\n",
        relay.address
    )
}

fn error_of(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or(("", answer));
    let error: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
    error["error"].clone()
}

#[actix_rt::test]
async fn slow_heads_are_408_and_connections_over_the_limit_wait_for_them() {
    let config = RelayConfig::default()
        .with_max_connections(4)
        .with_head_time(Duration::from_secs(2));
    let relay = with(config).await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        slow.push(open(&relay, "POST /v1/resp").await);
    }
    // It is the fifth, so it is taken when one of them is gone.
    let (status, _, body) = post(&relay, "/v1/responses", "", &asks(true)).await;
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("response.completed"), "{body}");
    for stream in &mut slow {
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains(r#""code":"request_timeout""#), "{answer}");
    }
}

#[actix_rt::test]
async fn every_time_may_be_without_end_or_zero() {
    type Set = fn(RelayConfig, Duration) -> RelayConfig;
    let times: [(&str, Set); 10] = [
        ("head_time", RelayConfig::with_head_time),
        ("body_time", RelayConfig::with_body_time),
        ("keepalive", RelayConfig::with_keepalive),
        ("head_patience", RelayConfig::with_head_patience),
        ("preamble_patience", RelayConfig::with_preamble_patience),
        ("slow_client", RelayConfig::with_slow_client),
        ("retention", RelayConfig::with_retention),
        ("grace", RelayConfig::with_grace),
        ("drain_notice", RelayConfig::with_drain_notice),
        ("claim_time", RelayConfig::with_claim_time),
    ];
    let body = json!({"model": "demo", "input": "hello", "stream": true}).to_string();
    for (name, set) in times {
        for time in [Duration::MAX, Duration::ZERO, LONG * 150_000] {
            let relay = with(set(RelayConfig::default(), time)).await;
            // The second looks for what the first has left.
            for _ in 0..2 {
                let (status, _, answer) = post(&relay, "/v1/responses", "", &body).await;
                // No time at all to send a request in may be too short for one.
                if time.is_zero() && status == 408 && ["head_time", "body_time"].contains(&name) {
                    continue;
                }
                assert_eq!(status, 200, "{name} {time:?}: {answer}");
                let is_whole = answer.contains("response.completed");
                assert!(is_whole, "{name} {time:?}: {answer}");
            }
            // The longest that a drain may be said to take.
            timeout(PATIENCE, relay.relay.drain(time))
                .await
                .expect(name);
        }
    }
}

#[actix_rt::test]
async fn a_later_head_of_a_connection_has_a_time_too() {
    let relay = with(RelayConfig::default().with_head_time(Duration::from_millis(1500))).await;
    let request = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", relay.address);
    let mut stream = open(&relay, &request).await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        let read = timeout(PATIENCE, stream.read_buf(&mut answer)).await;
        assert!(read.expect("an answer").expect("an answer") > 0);
    }
    // A whole one that comes later has all the time that a connection may lie still.
    stream
        .write_all(request.as_bytes())
        .await
        .expect("a reader");
    stream.write_all(b"GET /hea").await.expect("a reader");
    stream.write_all(b"l").await.expect("a reader");
    let answers = rest(&mut stream).await;
    assert!(answers.starts_with("HTTP/1.1 200 "), "{answers}");
    assert!(answers.contains("HTTP/1.1 408 "), "{answers}");
    assert!(answers.contains(r#""code":"request_timeout""#), "{answers}");
}

#[actix_rt::test]
async fn what_is_no_request_is_400_and_what_stands_behind_a_wrong_one_takes_no_word_from_it() {
    let relay = with(RelayConfig::default()).await;
    let answer = rest(&mut open(&relay, "GARBAGE\r\n\r\n").await).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(error_of(&answer)["code"], "invalid_request");
    // Its length is that of its characters: the rest is no request.
    let body = "{\"model\": \"m\", \"input\": \"\u{e9} \u{e9} \u{e9}\"}";
    let request = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        relay.address,
        body.chars().count()
    );
    let answer = rest(&mut open(&relay, &request).await).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("it is not UTF-8"), "{answer}");
}

#[actix_rt::test]
async fn a_slow_body_is_408_after_its_time_and_asks_nobody() {
    let relay = with(RelayConfig::default().with_body_time(Duration::from_millis(300))).await;
    let head = head(&relay, "content-length: 100\r\n");
    let mut stream = open(&relay, &format!("{head}{{\"model\"")).await;
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let error = error_of(&answer);
    assert_eq!(error["code"], "request_timeout");
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains("300ms (`body_time`)"), "{message}");
    assert_eq!(relay.upstream.request_count(), 0);
}

#[actix_rt::test]
async fn bodies_of_all_clients_together_have_a_limit_which_those_that_go_give_back() {
    let relay = with(RelayConfig::default().with_max_running_body_bytes(150)).await;
    let head = head(&relay, "content-length: 1000\r\n");
    let slow = open(&relay, &format!("{head}{}", " ".repeat(140))).await;
    let until = async |wanted: u16| loop {
        let (status, head, body) = post(&relay, "/v1/responses", "", &asks(false)).await;
        if status == wanted {
            return (head, body);
        }
    };
    let refused = timeout(PATIENCE, until(503)).await;
    let (head, body) = refused.expect("a refusal");
    assert_eq!(header(&head, "retry-after"), Some("1"));
    assert!(body.contains("`max_running_body_bytes`"), "{body}");
    drop(slow);
    timeout(PATIENCE, until(200)).await.expect("room");
}

#[actix_rt::test]
async fn a_body_without_end_is_413_by_its_limit_however_it_comes() {
    let relay = with(RelayConfig::default().with_max_body_bytes(1 << 20)).await;
    let too_large = |answer: &str| {
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        let error = error_of(answer);
        assert_eq!(error["code"], "request_too_large");
        let message = error["message"].as_str().unwrap_or_default().to_owned();
        assert!(
            message.contains("1048576 bytes, unpacked (`max_body_bytes`)"),
            "{message}"
        );
    };
    // By its length: nothing of it is sent.
    let gibibyte = head(&relay, "content-length: 1073741824\r\n");
    too_large(&rest(&mut open(&relay, &gibibyte).await).await);
    // In chunks, for as long as somebody takes them.
    let stream = open(&relay, &head(&relay, "transfer-encoding: chunked\r\n")).await;
    let (mut reading, mut writing) = stream.into_split();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(1 << 16));
    let flood = async {
        let mut sent = 0_u64;
        while sent < 1 << 30 && writing.write_all(chunk.as_bytes()).await.is_ok() {
            sent += 1 << 16;
        }
        sent
    };
    let mut answer = Vec::new();
    let told = async {
        while !answer.ends_with(b"}}") {
            if !reading
                .read_buf(&mut answer)
                .await
                .is_ok_and(|count| count > 0)
            {
                break;
            }
        }
    };
    let sent = timeout(PATIENCE, async {
        tokio::select! {
            sent = flood => sent,
            () = told => 0,
        }
    })
    .await
    .expect("an end");
    assert!(sent < 1 << 30, "all of it was taken");
    too_large(&String::from_utf8_lossy(&answer));
    // Packed.
    let spaces = vec![b' '; 64 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&spaces).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let zstd = zstd::encode_all(&spaces[..], 1).expect("memory");
    for (coding, bomb) in [("gzip", gzip), ("zstd", zstd)] {
        assert!(bomb.len() < 1 << 20, "{coding}");
        let more = format!("content-encoding: {coding}\r\n");
        let (status, head, body) = post_bytes(&relay, "/v1/responses", &more, &bomb).await;
        assert_eq!(status, 413);
        too_large(&format!("{head}\r\n\r\n{body}"));
    }
    assert_eq!(relay.upstream.request_count(), 0);
}

/// actix-http answers what is no request yet, without a word: 96 fields, 128 KiB.
#[actix_rt::test]
async fn header_floods_are_431_and_what_is_below_their_limits_is_answered() {
    let relay = with(RelayConfig::default()).await;
    let fields = |count: usize| -> String { (0..count).map(|n| format!("x-{n}: a\r\n")).collect() };
    let request = |path: &str, more: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{more}\r\n",
            relay.address
        )
    };
    let long = "a".repeat(200 << 10);
    for (request, status) in [
        (request("/healthz", &fields(94)), 200),
        (request("/healthz", &fields(95)), 431),
        (request("/healthz", &fields(20_000)), 431),
        (request("/healthz", &format!("x: {long}\r\n")), 431),
        (request(&format!("/{long}"), ""), 431),
        (
            request("/healthz", &format!("x: {}\r\n", &long[..100 << 10])),
            200,
        ),
        // At a longer name actix-http panics.
        (
            request("/healthz", &format!("{}: x\r\n", &long[..65_535])),
            200,
        ),
        (
            request("/healthz", &format!("{}: x\r\n", &long[..65_536])),
            400,
        ),
    ] {
        let mut stream = TcpStream::connect(relay.address)
            .await
            .expect("a connection");
        // It may be refused before all of it is sent.
        let _ = stream.write_all(request.as_bytes()).await;
        let answer = rest(&mut stream).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{} bytes: {answer:?}",
            request.len()
        );
        let is_told = answer.contains(r#""code":"request_too_large""#);
        assert_eq!(is_told, status == 431, "{answer}");
    }
}

/// Of many deltas nothing is read, so that the system's buffers are full.
#[cfg(target_os = "linux")]
#[actix_rt::test]
async fn a_client_that_reads_nothing_is_gone_after_its_time_and_so_is_its_answer() {
    let deltas = delta(&"a".repeat(64 << 10)).repeat(512);
    let config = RelayConfig::default().with_slow_client(Duration::from_millis(300));
    let relay = RunningRelay::with(always(begun(&deltas).hold_open()), config).await;
    let body = asks(true);
    let head = head(&relay, &format!("content-length: {}\r\n", body.len()));
    let mut client = open(&relay, &format!("{head}{body}")).await;
    timeout(
        PATIENCE,
        relay
            .upstream
            .until(|upstream| upstream.request_count() > 0),
    )
    .await
    .expect("a request");
    // It runs for as long as its connection is there.
    timeout(PATIENCE, relay.relay.drain(LONG))
        .await
        .expect("an end");
    timeout(
        PATIENCE,
        relay
            .upstream
            .until(|upstream| upstream.open_connections() == 0),
    )
    .await
    .expect("upstream is cancelled");
    assert!(!rest(&mut client).await.contains("completed"));
}

#[actix_rt::test]
async fn an_answer_that_goes_on_without_its_client_is_one_of_its_streams() {
    let config = RelayConfig::default().with_max_streams(2);
    let reply = begun(&delta("hi")).stall_after_events(2);
    let relay = RunningRelay::with(always(reply), config).await;
    let body = json!({"model": "demo", "input": "hello", "background": true}).to_string();
    let ask = async || post(&relay, "/v1/responses", "", &body).await;
    let (status, first, answer) = ask().await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(ask().await.0, 200);
    assert_eq!(relay.relay.running(), 2);
    let (status, head, answer) = ask().await;
    assert_eq!(status, 429, "{answer}");
    assert_eq!(error_of(&answer)["code"], "too_many_streams");
    assert_eq!(header(&head, "retry-after"), Some("1"));
    let id = header(&first, "x-relay-stream").expect("an id");
    let cancel = format!("/v1/responses/{id}/cancel");
    assert_eq!(post(&relay, &cancel, "", "").await.0, 200);
    assert_eq!(ask().await.0, 200);
}

#[actix_rt::test]
async fn a_drain_ends_the_relays_own_answers_and_not_the_runtime_of_its_program() {
    let stalls = begun(&delta("hi")).stall_after_events(2);
    let options = LoopbackOptions::default().with_script(Script::new([stalls]));
    let upstream = Loopback::start(options).expect("an upstream");
    let provider = Provider::new("shared", &upstream.base_url()).expect("a provider");
    let runtime = Runtime::start(provider.clone()).expect("a runtime");
    let routes = RouteTable::single(provider);
    let relay = Relay::new(runtime.clone(), routes, RelayConfig::default());
    let relay = RunningRelay::serving(upstream, relay);
    // Its client has its whole answer already, and the relay counts it all the same.
    let body = json!({"model": "demo", "input": "hello", "background": true}).to_string();
    let (_, head, _) = post(&relay, "/v1/responses", "", &body).await;
    relay.relay.drain(Duration::ZERO).await;
    assert_eq!(relay.relay.running(), 0);
    let id = header(&head, "x-relay-stream").expect("an id");
    let (_, _, kept) = relay.get(&format!("/v1/responses/{id}")).await;
    let kept: Value = serde_json::from_str(&kept).expect("JSON");
    assert_eq!(kept["status"], "failed", "{kept}");
    assert_eq!(kept["error"]["code"], "server_shutting_down", "{kept}");
    let models = runtime.list_models(ListModels::new()).await;
    assert!(models.is_ok(), "{models:?}");
}

#[actix_rt::test]
async fn invented_models_share_one_label() {
    let relay = with(RelayConfig::default()).await;
    let long = "m".repeat(1 << 16);
    for model in (0..110).map(|n| format!("invented-{n}")).chain([long]) {
        let body = json!({"model": model, "input": "hello", "store": false}).to_string();
        assert_eq!(post(&relay, "/v1/responses", "", &body).await.0, 200);
    }
    let (_, _, text) = relay.get("/metrics").await;
    let named = |name: &str| text.contains(&format!("gen_ai_request_model=\"{name}\""));
    assert!(named("invented-0") && named("other"), "{text}");
    assert!(!named("invented-109") && !text.contains("mmmm"), "{text}");
    let series = text
        .lines()
        .filter(|line| line.starts_with("actix_responses_attempts{"));
    assert!(series.count() <= 101);
}

/// A server that has no time for us, and a runtime that has no room.
#[actix_rt::test]
async fn what_takes_too_long_is_504_and_what_has_no_room_is_503() {
    let upstream = Loopback::start(always(Reply::default().never_head())).expect("an upstream");
    let mut provider = Provider::new("slow", &upstream.base_url())
        .expect("a provider")
        .with_max_attempts(1);
    provider.timeouts.response_head = Duration::from_millis(100);
    let mut config = SupervisorConfig::new(provider.clone());
    config.max_requests = 1;
    let runtime = Runtime::with_config(config).expect("a runtime");
    let routes = RouteTable::single(provider);
    let relay = Relay::new(runtime, routes.clone(), RelayConfig::default());
    let relay = RunningRelay::serving(upstream, relay);
    for stream in [true, false] {
        let (status, _, body) = post(&relay, "/v1/responses", "", &asks(stream)).await;
        assert_eq!(status, 504, "{body}");
        assert_eq!(error_of(&body)["code"], "response_head_timeout", "{body}");
    }
    let mut patient = routes.routes()[0].targets[0].provider.as_ref().clone();
    patient.timeouts.response_head = LONG;
    relay.relay.set_routes(RouteTable::single(patient));
    let body = asks(false);
    let head = head(&relay, &format!("content-length: {}\r\n", body.len()));
    let held = open(&relay, &format!("{head}{body}")).await;
    timeout(
        PATIENCE,
        relay
            .upstream
            .until(|upstream| upstream.request_count() == 3),
    )
    .await
    .expect("a request");
    let (status, head, body) = post(&relay, "/v1/responses", "", &asks(true)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE.as_u16(), "{body}");
    assert!(header(&head, "retry-after").is_some(), "{head}");
    drop(held);
}
