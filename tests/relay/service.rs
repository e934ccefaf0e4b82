//! The service around the answers: clients that leave, the end of the relay, what is watched of it, and those who flood it.

use std::time::Duration;

use actix_responses::{
    loopback::{LoopbackOptions, Reply, Script},
    relay::RelayConfig,
};
use http::StatusCode;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{RunningRelay, header, post};

/// How long a test waits for what comes at once.
const PATIENCE: Duration = Duration::from_secs(60);

fn asks(stream: bool) -> String {
    json!({"model": "demo", "input": "hello", "stream": stream, "store": false}).to_string()
}

fn begun() -> Reply {
    Reply::sse(concat!(
        "data: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"r\"}}\n\n",
        "data: {\"type\":\"response.output_text.delta\",\"sequence_number\":1,\"output_index\":0,\"item_id\":\"m\",\"content_index\":0,\"delta\":\"hi\"}\n\n",
    ))
}

async fn in_front_of(reply: Reply) -> RunningRelay {
    let upstream = LoopbackOptions::default().with_script(Script::always(reply));
    RunningRelay::with(upstream, RelayConfig::default()).await
}

async fn ask(relay: &RunningRelay, stream: bool) -> TcpStream {
    let body = asks(stream);
    let request = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n{body}",
        relay.address,
        body.len(),
    );
    let mut client = TcpStream::connect(relay.address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it does not happen")
}

/// A client left, and nothing runs any more: nobody is answered for nobody. How soon is measured in paused time.
async fn is_left(relay: &RunningRelay) {
    in_time(relay.relay.drain(PATIENCE * 2)).await;
    assert_eq!(relay.relay.running(), 0);
}

/// The same where the server's connection is closed by it.
async fn leaves(relay: &RunningRelay, client: TcpStream) {
    in_time(relay.upstream.until(|server| server.request_count() > 0)).await;
    drop(client);
    in_time(
        relay
            .upstream
            .until(|server| server.open_connections() == 0),
    )
    .await;
    is_left(relay).await;
}

#[actix_rt::test]
async fn a_client_that_leaves_before_the_head_cancels_upstream() {
    let relay = in_front_of(begun().never_head()).await;
    let client = ask(&relay, true).await;
    leaves(&relay, client).await;
}

#[actix_rt::test]
async fn a_client_that_leaves_in_mid_stream_cancels_upstream() {
    let relay = in_front_of(begun().hold_open().stall_after_events(2)).await;
    let mut client = ask(&relay, true).await;
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains("\"hi\"") {
        let count = timeout(PATIENCE, client.read_buf(&mut read)).await;
        assert_ne!(count.unwrap().unwrap(), 0);
    }
    leaves(&relay, client).await;
}

#[actix_rt::test]
async fn a_client_that_leaves_without_stream_cancels_upstream() {
    let relay = in_front_of(begun().stall_after_events(2)).await;
    let client = ask(&relay, false).await;
    leaves(&relay, client).await;
}

#[actix_rt::test]
async fn a_client_that_leaves_in_a_retrys_wait_ends_the_request() {
    let error = json!({"error": {"message": "busy", "code": "server_is_overloaded"}});
    let reply = Reply::json(error)
        .with_status(StatusCode::SERVICE_UNAVAILABLE)
        .with_header("retry-after", "30");
    let relay = in_front_of(reply).await;
    let client = ask(&relay, true).await;
    in_time(relay.upstream.until(|server| server.request_count() > 0)).await;
    // The connection that brought the refusal stays in the pool.
    drop(client);
    is_left(&relay).await;
    assert_eq!(relay.upstream.request_count(), 1);
}

#[actix_rt::test]
async fn a_drain_says_503_refuses_what_is_new_and_ends_what_runs_with_server_shutting_down() {
    let relay = in_front_of(begun().stall_after_events(2)).await;
    assert_eq!(relay.get("/readyz").await.0, 200);
    let mut running = ask(&relay, true).await;
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains("\"hi\"") {
        let count = timeout(PATIENCE, running.read_buf(&mut read)).await;
        assert_ne!(count.unwrap().unwrap(), 0);
    }
    let (draining, ()) = tokio::join!(relay.relay.drain(Duration::from_millis(200)), async {
        assert_eq!(relay.get("/readyz").await.0, 503);
        assert_eq!(relay.get("/healthz").await.0, 200);
        let (status, head, body) = post(&relay, "/v1/responses", "", &asks(true)).await;
        assert_eq!(status, 503, "{body}");
        assert_eq!(header(&head, "retry-after"), Some("1"));
    });
    let () = draining;
    while !read.ends_with(b"0\r\n\r\n") {
        let count = timeout(PATIENCE, running.read_buf(&mut read)).await;
        assert_ne!(
            count.unwrap().unwrap(),
            0,
            "{}",
            String::from_utf8_lossy(&read)
        );
    }
    let read = String::from_utf8_lossy(&read).into_owned();
    assert!(read.contains("response.failed"), "{read}");
    assert!(read.contains("server_shutting_down"), "{read}");
}

#[actix_rt::test]
async fn metrics_tell_the_relays_own_overhead_and_tokens_by_client() {
    let relay = RunningRelay::start().await;
    let more = "authorization: Bearer planted-secret-0\r\n";
    assert_eq!(
        post(&relay, "/v1/responses", more, &asks(true)).await.0,
        200
    );
    assert_eq!(
        post(&relay, "/v1/responses", more, &asks(false)).await.0,
        200
    );
    let (status, head, text) = relay.get("/metrics").await;
    assert_eq!(status, 200, "{head}");
    for name in [
        "relay_request_overhead_seconds_bucket",
        "relay_first_event_seconds_bucket",
        "relay_client_tokens{client=",
        "relay_requests{route=\"/v1/responses\",status=\"200\"}",
        "gen_ai_client_operation_duration",
    ] {
        assert!(text.contains(name), "{name}: {text}");
    }
    assert!(!text.contains("planted-secret"), "{text}");
}

#[actix_rt::test]
async fn curls_expect_and_chunked_bodies_are_read() {
    let relay = RunningRelay::start().await;
    let body = asks(false);
    let (status, _, answer) =
        post(&relay, "/v1/responses", "expect: 100-continue\r\n", &body).await;
    assert!(status == 100 || status == 200, "{status} {answer}");
    assert!(answer.contains("completed"), "{answer}");
    let (one, two) = body.split_at(10);
    let request = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: {}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n",
        relay.address,
        one.len(),
        two.len(),
    );
    let (status, _, answer) = relay.exchange(&request).await;
    assert_eq!(status, 200, "{answer}");
}
