//! How requests and answers lie on a connection.

use std::time::{Duration, Instant};

use actix_responses::loopback::{CloseKind, Loopback, LoopbackOptions, Reply, Script, Side};
use serde_json::{Value, json};

use super::{
    STREAM,
    client::{Client, End},
    support::{FIRST, closed, provider},
};

#[test]
fn chunks_of_any_size_carry_the_same_bytes() {
    let sizes = [1, 7, 64, usize::MAX];
    let replies = sizes.map(|bytes| Reply::sse(STREAM).with_chunk_bytes(bytes));
    let loopback = provider(Script::new(replies.into_iter().chain([Reply::sse(STREAM)])));
    let mut client = Client::connect(&loopback);
    for _ in 0..=sizes.len() {
        client.post("/v1/responses", &json!({}));
        assert_eq!(client.answer().body, STREAM);
    }
    assert_eq!(loopback.request_count(), 5);
}

#[test]
fn a_pace_keeps_the_pieces_apart() {
    let pace = Duration::from_millis(10);
    let mut options = LoopbackOptions::default();
    options.script = Script::always(Reply::sse(STREAM));
    options.pace = pace;
    let loopback = Loopback::start(options).unwrap();
    let started = Instant::now();
    assert_eq!(
        Client::posting(&loopback, "/", &json!({})).answer().body,
        STREAM
    );
    assert!(
        started.elapsed() >= pace * 3,
        "four events have three pauses between them"
    );
}

#[test]
fn a_body_without_length_ends_with_the_connection() {
    let loopback = provider(Script::always(Reply::sse(STREAM).no_length()));
    let (rest, end) = Client::posting(&loopback, "/v1/responses", &json!({})).rest();
    let (head, body) = rest.split_once("\r\n\r\n").unwrap();
    assert!(
        !head.contains("content-length") && !head.contains("transfer-encoding"),
        "{head}"
    );
    assert_eq!((body, end), (STREAM, End::Fin));
}

#[test]
fn several_requests_share_a_connection() {
    let loopback = provider(Script::default());
    let mut client = Client::connect(&loopback);
    for number in 1..=3 {
        client.post(
            "/v1/responses",
            &json!({"model": "m", "stream": number % 2 == 0}),
        );
        let answer = client.answer();
        assert_eq!(answer.status, 200);
        assert!(
            answer.head.contains(&format!("req_loopback_{number}\r\n")),
            "{}",
            answer.head
        );
    }
    assert_eq!(loopback.connection(FIRST).unwrap().requests, 3);
    assert_eq!(
        (loopback.connections().len(), loopback.open_connections()),
        (1, 1)
    );
}

#[test]
fn requests_sent_ahead_are_answered_in_order() {
    let replies = ["one", "two", "three"].map(Reply::text);
    let loopback = provider(Script::new(replies));
    let mut client = Client::connect(&loopback);
    client.send("POST /1 HTTP/1.1\r\ncontent-length: 0\r\n\r\n".repeat(3));
    assert_eq!(
        [(), (), ()].map(|()| client.answer().body),
        ["one", "two", "three"]
    );
}

#[test]
fn connection_close_is_honoured() {
    let loopback = provider(Script::default());
    let mut client = Client::connect(&loopback);
    client.send("GET /v1/models HTTP/1.1\r\nconnection: close\r\n\r\n");
    let answer = client.answer();
    assert!(
        answer.head.contains("\r\nconnection: close\r\n") && answer.head.contains("\r\netag: ")
    );
    assert_eq!(client.rest(), (String::new(), End::Fin));
    let close = closed(&loopback, FIRST);
    assert_eq!((close.by, close.kind), (Side::Server, CloseKind::Fin));
}

#[test]
fn a_client_that_waits_for_leave_to_send_the_body_gets_it() {
    let loopback = provider(Script::default());
    let mut client = Client::connect(&loopback);
    client.send(
        "POST /v1/responses HTTP/1.1\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    assert_eq!(
        client.take_until("\r\n\r\n"),
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    client.send("2\r\n{\"\r\ne\r\nmodel\": \"mmm\"}\r\n0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert_eq!(
        loopback.requests()[0].json().unwrap(),
        json!({"model": "mmm"})
    );
}

#[test]
fn what_is_no_request_is_refused_and_the_connection_closed() {
    let loopback = provider(Script::default());
    let huge = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(100_000));
    for (bytes, status) in [
        ("hello\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n",
            413,
        ),
        (huge.as_str(), 431),
    ] {
        let mut client = Client::connect(&loopback);
        client.send(bytes);
        let answer = client.answer();
        assert_eq!(answer.status, status);
        assert!(
            serde_json::from_str::<Value>(&answer.body).unwrap()["error"]["message"].is_string()
        );
        assert_eq!(client.rest(), (String::new(), End::Fin));
    }
    assert_eq!(loopback.request_count(), 0);
}

#[test]
fn a_request_is_on_record_as_it_was_sent() {
    let loopback = provider(Script::default());
    let mut client = Client::connect(&loopback);
    client.send("POST /v1/responses?a=b HTTP/1.1\r\nAuthorization: Bearer hush\r\ncontent-length: 2\r\n\r\n{}");
    client.answer();
    let requests = loopback.requests();
    let [request] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    assert_eq!((request.number, request.connection), (1, FIRST));
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("POST", "/v1/responses")
    );
    assert_eq!(request.query.as_deref(), Some("a=b"));
    assert_eq!(request.headers["authorization"], "Bearer hush");
    assert_eq!(request.body, "{}");
    assert!(!format!("{request:?}").contains("hush"));
}
