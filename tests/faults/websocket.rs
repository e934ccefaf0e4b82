//! The Responses API over WebSockets: the same events as over SSE, and the same errors.

mod connections;
mod handshakes;
mod turns;

use std::{
    io::Write,
    net::{SocketAddr, TcpListener},
};

use actix_responses::{
    ErrorKind, Runtime,
    protocol::ResponseEvent,
    provider::{BearerAuth, StreamTransport},
};
use serde_json::{Value, json};

use crate::{
    asking::start_with,
    support::{
        HEAD, accept, chunk, collect, failure, failure_of, prompt, read_request, serve, url,
        websocket::{BINARY, CLOSE, PING, PONG, Peer, TEXT},
        within,
    },
};

const COMPLETED: &str =
    r#"{"type":"response.completed","response":{"id":"r","status":"completed"}}"#;

fn start(address: SocketAddr, transport: StreamTransport) -> Runtime {
    start_with(&url(address), |provider, _| {
        provider.stream_transport = transport;
        provider.auth = std::sync::Arc::new(BearerAuth::new("hunter2").expect("a key"));
    })
}

fn over_socket(address: SocketAddr) -> Runtime {
    start(address, StreamTransport::WebSocket)
}

fn delta(text: &str) -> String {
    json!({
        "type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": text,
    })
    .to_string()
}

/// An answer as the API gives one; its middle is over awc's own limit of a frame.
fn answer() -> Vec<String> {
    let long = "long ".repeat(40_000);
    let item = json!({
        "type": "message", "id": "m", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": format!("Hello {long}"), "annotations": []}],
    });
    vec![
        json!({"type": "response.created", "response": {"id": "r", "status": "in_progress", "model": "m-1"}}).to_string(),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "id": "m", "role": "assistant", "content": []}}).to_string(),
        delta("Hello "),
        delta(&long),
        json!({"type": "response.steer.accepted", "new": [1]}).to_string(),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}).to_string(),
        json!({"type": "response.completed", "response": {
            "id": "r", "status": "completed", "output": [item],
            "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
        }}).to_string(),
    ]
}

/// Answers by SSE what is asked by POST.
fn answer_by_sse(listener: &TcpListener, events: &[String]) -> String {
    let mut stream = accept(listener);
    let request = read_request(&mut stream);
    let body: String = events
        .iter()
        .map(|event| chunk(&format!("data: {event}\n\n")))
        .collect();
    let head = HEAD.replacen("\r\n", "\r\nx-request-id: req_1\r\n", 1);
    let answer = format!("{head}{body}0\r\n\r\n");
    stream.write_all(answer.as_bytes()).expect("a reader");
    request
}

#[actix_rt::test]
async fn events_are_those_of_sse_however_they_are_framed() {
    let (address, asked) = serve(|listener| {
        let posted = answer_by_sse(&listener, &answer());
        let mut peer = Peer::accept(&listener);
        let message = peer.message().expect("a request");
        for (index, event) in answer().iter().enumerate() {
            match index {
                // In pieces, with a ping between them.
                1 | 3 => {
                    let (first, rest) = event.as_bytes().split_at(7);
                    let (middle, last) = rest.split_at(rest.len() / 2);
                    peer.send_frame(TEXT, false, first);
                    peer.send_frame(PING, true, b"still there?");
                    peer.send_frame(0, false, middle);
                    peer.send_frame(0, true, last);
                }
                2 => peer.send_frame(BINARY, true, event.as_bytes()),
                _ => peer.send(event),
            }
        }
        let pongs = [peer.frame(), peer.frame()];
        (posted, peer.head.clone(), message, pongs)
    });
    let by_sse = collect(&start(address, StreamTransport::Sse), prompt()).await;
    let runtime = over_socket(address);
    let by_socket = collect(&runtime, prompt()).await;
    let shown = |events: &crate::support::Events| {
        let events = events.iter().map(|event| format!("{event:?}"));
        events.skip(1).collect::<Vec<_>>()
    };
    assert_eq!(shown(&by_socket), shown(&by_sse));
    assert!(matches!(
        by_socket.last(),
        Some(Ok(ResponseEvent::Completed(_)))
    ));
    let Some(Ok(ResponseEvent::Head(head))) = by_socket.first() else {
        panic!("{by_socket:?}")
    };
    assert_eq!(head.status, 200);
    assert_eq!(head.request_id.as_deref(), Some("req_1"));
    assert!(!head.headers.contains_key("sec-websocket-accept"));

    let (posted, handshake, message, pongs) = within(asked).await.expect("a script");
    let line = "GET /v1/responses HTTP/1.1\r\n";
    assert!(handshake.starts_with(line), "{handshake}");
    for header in [
        "authorization: Bearer hunter2\r\n",
        "openai-beta: responses_websockets=2026-02-06\r\n",
    ] {
        assert!(handshake.contains(header), "{handshake}");
    }
    for absent in ["content-type", "extensions", "\r\ndate:", "\r\naccept"] {
        assert!(!handshake.contains(absent), "{handshake}");
    }
    let body = posted.split("\r\n\r\n").nth(1).expect("a body");
    let mut body: Value = serde_json::from_str(body).expect("JSON");
    let fields = body.as_object_mut().expect("an object");
    fields.remove("stream");
    fields.insert("type".to_owned(), "response.create".into());
    assert_eq!(message, body);
    for pong in pongs {
        assert_eq!(pong, Some((PONG, b"still there?".to_vec())));
    }
}

#[actix_rt::test]
async fn a_socket_that_ends_before_the_answer_has_cut_it() {
    for with_close_frame in [true, false] {
        let (address, _) = serve(move |listener| {
            let mut peer = Peer::accept(&listener);
            peer.message().expect("a request");
            peer.send(&delta("some"));
            if with_close_frame {
                peer.send_frame(CLOSE, true, &[&1011_u16.to_be_bytes()[..], b"bye"].concat());
                while peer.frame().is_some() {}
            }
        });
        let error = failure_of(&over_socket(address), prompt()).await;
        assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
    }
    // Before anything of an answer, the reason is all there is.
    let (address, _) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.message().expect("a request");
        peer.send_frame(
            CLOSE,
            true,
            &[&1008_u16.to_be_bytes()[..], b"policy"].concat(),
        );
        while peer.frame().is_some() {}
    });
    let error = failure_of(&over_socket(address), prompt()).await;
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(error.message().contains("code 1008, policy"), "{error}");
}

#[actix_rt::test]
async fn what_is_no_frame_or_too_large_ends_the_request() {
    let mut too_large = vec![0x81, 127];
    too_large.extend((64_u64 << 20).to_be_bytes());
    for (bytes, kind) in [
        (too_large, ErrorKind::TooLarge),
        (vec![0xf1, 1, b'x'], ErrorKind::Connection),
        (vec![0x83, 1, b'x'], ErrorKind::Connection),
        // Goes on with what has not begun.
        (vec![0x80, 1, b'x'], ErrorKind::Connection),
    ] {
        for begun in [false, true] {
            let bytes = bytes.clone();
            let (address, _) = serve(move |listener| {
                let mut peer = Peer::accept(&listener);
                peer.message().expect("a request");
                if begun {
                    peer.send(&delta("some"));
                }
                peer.write(&bytes);
                while peer.frame().is_some() {}
            });
            let error = failure_of(&over_socket(address), prompt()).await;
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}

/// What an error comes to that a server answers with.
async fn told(
    answer: impl FnOnce(&TcpListener) + Send + 'static,
    transport: StreamTransport,
) -> String {
    let (address, _) = serve(move |listener| answer(&listener));
    let events = collect(&start(address, transport), prompt()).await;
    let error = failure(&events);
    let details = error.details();
    let limits = events
        .iter()
        .find(|event| matches!(event, Ok(ResponseEvent::RateLimits(_))));
    format!(
        "{:?} {:?} {:?} {:?} {limits:?} {}",
        error.kind(),
        details.code,
        details.retry_after,
        details.status,
        error.message()
    )
}

#[actix_rt::test]
async fn errors_are_those_of_refused_posts() {
    let limit = json!({"code": "rate_limit_exceeded", "message": "slow down", "type": "requests"});
    let key = json!({"code": "invalid_api_key", "message": "no such key", "type": "invalid_request_error"});
    let headers = [
        ("retry-after", json!(7)),
        ("x-ratelimit-remaining-requests", json!("0")),
        ("x-ratelimit-limit-requests", json!(60)),
        ("x-flag", json!(true)),
    ];
    for (status, error) in [(429, limit.clone()), (401, key), (503, limit)] {
        for status_name in ["status", "status_code", ""] {
            let body = json!({"error": error}).to_string();
            let lines: String = headers
                .iter()
                .map(|(name, value)| format!("{name}: {}\r\n", value.to_string().trim_matches('"')))
                .collect();
            let refusal = format!(
                "HTTP/1.1 {status} _\r\ncontent-type: application/json\r\n{lines}content-length: {}\r\n\r\n{body}",
                body.len()
            );
            let by_post = told(
                move |listener| {
                    let mut stream = accept(listener);
                    read_request(&mut stream);
                    stream.write_all(refusal.as_bytes()).expect("a reader");
                },
                StreamTransport::Sse,
            )
            .await;
            let headers: serde_json::Map<_, _> = headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect();
            let mut message = json!({"type": "error", "error": error, "headers": headers});
            if !status_name.is_empty() {
                message[status_name] = status.into();
            }
            let by_socket = told(
                move |listener| {
                    let mut peer = Peer::accept(listener);
                    peer.message().expect("a request");
                    peer.send(&message.to_string());
                    while peer.frame().is_some() {}
                },
                StreamTransport::WebSocket,
            )
            .await;
            match status_name {
                // Nobody said a status, which is what tells an overloaded server from a limit.
                "" if status == 503 => {}
                "" => {
                    let by_post = by_post.replace(&format!("Some({status})"), "None");
                    assert_eq!(
                        by_socket,
                        by_post.replace(" (the limit on requests is used up)", "")
                    );
                }
                _ => assert_eq!(by_socket, by_post),
            }
            assert!(by_socket.contains("7s"), "{by_socket}");
        }
    }
}
