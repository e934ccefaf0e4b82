//! What goes wrong when it is told to.

use std::time::{Duration, Instant};

use actix_responses::loopback::{
    Action, Chunks, CloseKind, ConnectionId, Loopback, Position, Reply, Script, Side,
};
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    STREAM,
    client::{Client, End},
    support::{FIRST, PATIENCE, closed, provider},
};

#[test]
fn a_stream_can_end_cleanly_before_its_end() {
    for chunks in [Chunks::Event, Chunks::Whole] {
        let reply = Reply::sse(STREAM).with_chunks(chunks).end_after_events(2);
        let loopback = provider(Script::new([reply, Reply::text("next")]));
        let mut client = Client::posting(&loopback, "/v1/responses", &json!({}));
        let body = client.answer().body;
        assert_eq!(
            body,
            STREAM.split_inclusive("\n\n").take(2).collect::<String>()
        );
        client.post("/v1/responses", &json!({}));
        assert_eq!(client.answer().body, "next");
    }
}

#[test]
fn a_stream_held_open_ends_when_the_client_goes() {
    let loopback = provider(Script::always(Reply::sse(STREAM).hold_open()));
    let mut client = Client::posting(&loopback, "/v1/responses", &json!({}));
    client.take_until("data: [DONE]\n\n\r\n");
    client.hears_nothing();
    assert_eq!(loopback.connection(FIRST).unwrap().closed, None);
    drop(client);
    let close = closed(&loopback, FIRST);
    assert_eq!((close.by, close.kind), (Side::Client, CloseKind::Fin));
    let last_byte = loopback
        .connection(FIRST)
        .unwrap()
        .last_byte_written_at
        .unwrap();
    assert!(close.at > last_byte);
    assert_eq!(loopback.open_connections(), 0);
}

#[test]
fn a_client_that_goes_without_reading_is_seen_to_reset() {
    let loopback = provider(Script::always(Reply::sse(STREAM).hold_open()));
    let client = Client::posting(&loopback, "/v1/responses", &json!({}));
    let whole = |loopback: &Loopback| {
        let written = loopback
            .connection(FIRST)
            .map_or(0, |connection| connection.bytes_written);
        written as usize > STREAM.len()
    };
    assert!(loopback.wait_until(PATIENCE, whole));
    drop(client);
    let close = closed(&loopback, FIRST);
    assert_eq!((close.by, close.kind), (Side::Client, CloseKind::Reset));
}

#[test]
fn a_stream_can_be_cut_after_every_byte() {
    let offsets = 0..=STREAM.len() + 1;
    let replies = offsets.clone().map(|bytes| {
        Reply::sse(STREAM)
            .with_chunk_bytes(7)
            .cut_after_bytes(bytes)
    });
    let loopback = provider(Script::new(replies));
    for bytes in offsets {
        let (rest, end) = Client::posting(&loopback, "/v1/responses", &json!({})).rest();
        let (_, framed) = rest.split_once("\r\n\r\n").expect("a head");
        // Chunks of seven bytes have frames of "7\r\n" before and "\r\n" behind them.
        let mut body = String::new();
        let mut left = framed;
        while let Some((_, chunk)) = left.split_once("\r\n") {
            let length = chunk.len().min(7);
            body += chunk[..length].trim_end_matches("\r\n");
            left = chunk[length..].strip_prefix("\r\n").unwrap_or_default();
        }
        assert_eq!(body, STREAM[..bytes.min(STREAM.len())], "{bytes} bytes");
        assert!(
            !framed.ends_with("0\r\n\r\n"),
            "{bytes} bytes: the body must not look ended"
        );
        assert_eq!(end, End::Fin);
    }
}

/// More small pieces than the system sends at once, and a client that looks when all is over.
#[test]
fn a_reset_comes_behind_all_that_was_written() {
    let pieces = (0..100).map(|n| format!("data: {{\"n\":{n}}}\n\n"));
    let stream: String = pieces.collect();
    let reset = Reply::sse(stream).with_fault(Position::BodyEnd, Action::Reset);
    let loopback = provider(Script::always(reset));
    for number in 1..=20 {
        let mut client = Client::posting(&loopback, "/v1/responses", &json!({}));
        closed(&loopback, ConnectionId(number));
        let (rest, end) = client.rest();
        assert!(rest.ends_with("data: {\"n\":99}\n\n\r\n"), "{rest}");
        assert_eq!(end, End::Reset);
    }
}

#[test]
fn a_reset_reaches_the_client_as_one() {
    let loopback = provider(Script::new([
        Reply::sse(STREAM).reset_after_events(1),
        Reply::sse(STREAM).with_fault(Position::Start, Action::Reset),
    ]));
    let (rest, end) = Client::posting(&loopback, "/v1/responses", &json!({})).rest();
    assert!(
        rest.ends_with("event: one\ndata: {\"n\":1}\n\n\r\n"),
        "{rest}"
    );
    assert_eq!(end, End::Reset);
    let close = closed(&loopback, FIRST);
    assert_eq!((close.by, close.kind), (Side::Server, CloseKind::Reset));

    let answer = Client::posting(&loopback, "/v1/responses", &json!({})).rest();
    assert_eq!(answer, (String::new(), End::Reset));
}

#[test]
fn a_stalled_stream_says_nothing_more() {
    let loopback = provider(Script::always(Reply::sse(STREAM).stall_after_bytes(20)));
    let mut client = Client::posting(&loopback, "/v1/responses", &json!({}));
    client.take_until(&STREAM[..20]);
    client.hears_nothing();
    assert_eq!(loopback.open_connections(), 1);
}

#[test]
fn comments_keep_a_silent_stream_alive() {
    let lasting = Some(Duration::from_millis(6));
    let every = Duration::from_millis(2);
    let comments =
        |at, lasting| Reply::sse(STREAM).with_fault(at, Action::Comments { every, lasting });
    let loopback = provider(Script::new([
        comments(Position::Events(1), lasting),
        comments(Position::BodyEnd, None),
    ]));
    let mut client = Client::posting(&loopback, "/v1/responses", &json!({}));
    let (first, others) = STREAM.split_at(26);
    let comment = ": keepalive\n\n";
    assert_eq!(
        client.answer().body,
        format!("{first}{}{others}", comment.repeat(3))
    );

    client.post("/v1/responses", &json!({}));
    client.take_until(comment);
    client.take_until(comment);
    drop(client);
    assert_eq!(closed(&loopback, FIRST).by, Side::Client);
}

#[test]
fn an_answer_can_fail_to_begin() {
    let delay = Duration::from_millis(20);
    let loopback = provider(Script::new([
        Reply::default().close_before_head(),
        Reply::default().garbage(&b"\xff\x00 no HTTP\r\n\r\n"[..]),
        Reply::text("late").delay_head(delay),
        Reply::default().never_head(),
    ]));
    assert_eq!(
        Client::posting(&loopback, "/", &json!({})).rest(),
        (String::new(), End::Fin)
    );

    let (garbage, end) = Client::posting(&loopback, "/", &json!({})).rest();
    assert_eq!(
        (garbage.as_str(), end),
        ("\u{fffd}\u{0} no HTTP\r\n\r\n", End::Fin)
    );

    let started = Instant::now();
    let mut client = Client::posting(&loopback, "/", &json!({}));
    assert_eq!(client.answer().body, "late");
    assert!(started.elapsed() >= delay);

    client.post("/", &json!({}));
    client.hears_nothing();
}

#[test]
fn a_head_can_stop_in_the_middle() {
    let reply = Reply::text("never").with_fault(Position::HeadBytes(12), Action::Cut);
    let loopback = provider(Script::always(reply));
    let answer = Client::posting(&loopback, "/", &json!({})).rest();
    assert_eq!(answer, ("HTTP/1.1 200".to_owned(), End::Fin));
}

#[test]
fn a_refusal_can_come_before_the_answer() {
    let loopback = provider(Script::new([
        Reply::error(StatusCode::TOO_MANY_REQUESTS).with_header("Retry-After", "1")
    ]));
    let mut client = Client::posting(
        &loopback,
        "/v1/responses",
        &json!({"model": "m", "stream": true}),
    );
    let refusal = client.answer();
    assert_eq!(refusal.status, 429);
    assert!(refusal.head.contains("\r\nretry-after: 1\r\n"));
    let error: Value = serde_json::from_str(&refusal.body).unwrap();
    assert_eq!(error["error"]["code"], "rate_limit_exceeded");
    client.post("/v1/responses", &json!({"model": "m", "stream": true}));
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    assert!(answer.body.starts_with("event: response.created\n"));
}
