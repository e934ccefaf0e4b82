//! The Responses API over WebSockets: the same events as over SSE, and the same errors.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_responses::{
    ErrorKind, Runtime,
    actors::{SubmitRequest, SupervisorConfig, Workers},
    protocol::{Prompt, ResponseEvent},
    provider::{BearerAuth, Provider, StreamTransport},
    wire::Wire,
};
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::{
    asking::start_with,
    support::{
        HEAD, accept, chunk, collect, end_of, failure, failure_of, prompt, read_head, read_request,
        serve, until_closed, url,
        websocket::{BINARY, CLOSE, PING, PONG, Peer, TEXT},
        whole_answer, within,
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
async fn a_connection_serves_one_request_after_the_other() {
    let (address, asked) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        let mut count = 0;
        while let Some(message) = peer.message() {
            assert_eq!(message["type"], "response.create");
            count += 1;
            // What comes behind the end is the next answer's.
            peer.send(COMPLETED);
            peer.send(r#"{"type":"responsesapi.websocket_timing"}"#);
        }
        count
    });
    let runtime = over_socket(address);
    for _ in 0..3 {
        let end = end_of(&runtime, prompt()).await;
        assert!(matches!(end, Ok(ResponseEvent::Completed(_))), "{end:?}");
    }
    drop(runtime);
    assert_eq!(within(asked).await, Ok(3));
}

#[actix_rt::test]
async fn requests_at_the_same_time_and_other_keys_have_connections_of_their_own() {
    let (address, asked) = serve(|listener| {
        let mut peers = [(); 2].map(|()| Peer::accept(&listener));
        let mut messages = peers
            .each_mut()
            .map(|peer| peer.message().expect("a request"));
        for peer in peers.each_mut() {
            peer.send(COMPLETED);
        }
        let other = Peer::accept(&listener).head;
        messages.sort_by_key(ToString::to_string);
        (messages.map(|message| message["model"].clone()), other)
    });
    let runtime = over_socket(address);
    let [first, second] = ["a", "b"].map(|model| end_of(&runtime, prompt().with_model(model)));
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    let provider = Provider::new("other", &url(address)).expect("a URL");
    let provider = provider
        .with_auth(BearerAuth::new("other").expect("a key"))
        .with_stream_transport(StreamTransport::WebSocket);
    let request = SubmitRequest::new(prompt()).with_provider(provider.into());
    let submitted = within(runtime.submit(request)).await;
    assert!(submitted.is_ok());
    let (models, other) = within(asked).await.expect("a script");
    assert_eq!(models, ["a", "b"]);
    assert!(other.contains("authorization: Bearer other"), "{other}");
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

#[actix_rt::test]
async fn a_connection_of_age_is_replaced_without_an_attempt() {
    let (address, asked) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.message().expect("a request");
        peer.send(COMPLETED);
        peer.message().expect("a request");
        peer.send(r#"{"type":"error","status":400,"error":{"code":"websocket_connection_limit_reached","type":"invalid_request_error","message":"60 minutes"}}"#);
        let mut peer = Peer::accept(&listener);
        peer.message().expect("a request");
        // In the middle, before any output.
        peer.send(r#"{"type":"response.created","response":{"id":"r"}}"#);
        peer.send(r#"{"type":"error","status":400,"error":{"code":"websocket_connection_limit_reached","type":"invalid_request_error","message":"60 minutes"}}"#);
        let mut peer = Peer::accept(&listener);
        peer.message().expect("a request");
        peer.send(COMPLETED);
    });
    let runtime = start_with(&url(address), |provider, attempts| {
        provider.stream_transport = StreamTransport::WebSocket;
        *attempts = 2;
    });
    for _ in 0..2 {
        let end = end_of(&runtime, prompt()).await;
        assert!(matches!(end, Ok(ResponseEvent::Completed(_))), "{end:?}");
    }
    assert!(within(asked).await.is_ok());
}

#[actix_rt::test]
async fn a_dead_connection_is_replaced_where_that_is_safe() {
    for (attempts, is_replaced) in [(2, true), (1, false)] {
        let (address, _) = serve(move |listener| {
            let mut peer = Peer::accept(&listener);
            peer.message().expect("a request");
            peer.send(COMPLETED);
            peer.message().expect("a request");
            drop(peer);
            let mut peer = Peer::accept(&listener);
            peer.message().expect("a request");
            peer.send(COMPLETED);
        });
        let runtime = start_with(&url(address), |provider, max_attempts| {
            provider.stream_transport = StreamTransport::WebSocket;
            *max_attempts = attempts;
        });
        assert!(end_of(&runtime, prompt()).await.is_ok());
        let end = end_of(&runtime, prompt()).await;
        assert_eq!(end.is_ok(), is_replaced, "{end:?}");
    }
}

#[actix_rt::test]
async fn cancelling_is_told_and_keeps_the_connection_if_the_answer_ends() {
    for obeys in [true, false] {
        let (address, asked) = serve(move |listener| {
            let mut peer = Peer::accept(&listener);
            peer.message().expect("a request");
            peer.send(&delta("some"));
            assert_eq!(peer.message(), Some(json!({"type": "response.cancel"})));
            peer.send(&delta("more"));
            if obeys {
                peer.send(r#"{"type":"response.incomplete","response":{"id":"r"}}"#);
                peer.message().expect("a request");
                peer.send(COMPLETED);
            } else {
                assert_eq!(peer.message(), None);
            }
        });
        let runtime = over_socket(address);
        let mut stream = within(runtime.stream(prompt())).await.expect("a request");
        while !matches!(
            within(stream.next()).await,
            Some(Ok(ResponseEvent::OutputTextDelta(_)))
        ) {}
        drop(stream);
        if obeys {
            // The cancelling takes a moment, in which another request would open a connection of its own.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let end = end_of(&runtime, prompt()).await;
            assert!(matches!(end, Ok(ResponseEvent::Completed(_))), "{end:?}");
        }
        assert!(within(asked).await.is_ok());
    }
}

/// What a server says to a handshake.
#[derive(Clone, Copy, Debug)]
enum Handshake {
    Status(u16),
    Closed,
    Unanswered,
}

impl Handshake {
    fn answer(self, listener: &TcpListener) {
        let mut stream = accept(listener);
        let (head, _) = read_head(&mut stream);
        assert!(head.starts_with(b"GET "), "{head:?}");
        match self {
            Self::Status(status) => {
                let answer =
                    format!("HTTP/1.1 {status} _\r\ncontent-length: 0\r\nretry-after: 3\r\n\r\n");
                stream.write_all(answer.as_bytes()).expect("a reader");
                until_closed(&mut stream);
            }
            Self::Closed => {}
            Self::Unanswered => until_closed(&mut stream),
        }
    }
}

#[actix_rt::test]
async fn without_a_websocket_requests_go_by_sse_at_once_and_stay_there() {
    use Handshake::{Closed, Status, Unanswered};
    for handshake in [
        Status(426),
        Status(404),
        Status(405),
        Status(401),
        Status(200),
        Status(503),
        Closed,
        Unanswered,
    ] {
        let (address, asked) = serve(move |listener| {
            handshake.answer(&listener);
            for _ in 0..2 {
                let mut stream = accept(&listener);
                assert!(read_request(&mut stream).starts_with("POST "));
                stream
                    .write_all(whole_answer().as_bytes())
                    .expect("a reader");
            }
        });
        let runtime = start_with(&url(address), |provider, _| {
            provider.stream_transport = StreamTransport::Auto;
            provider.timeouts.connect = Duration::from_millis(300);
            provider.drain.time = Duration::ZERO;
            provider.drain.bytes = 0;
        });
        for _ in 0..2 {
            let end = end_of(&runtime, prompt()).await;
            assert!(end.is_ok(), "{handshake:?}: {end:?}");
        }
        assert!(within(asked).await.is_ok(), "{handshake:?}");
    }
}

/// Each of the two runs on a worker of its own, for the first has not ended.
#[actix_rt::test]
async fn what_one_worker_was_refused_no_other_asks_for() {
    let (address, asked) = serve(|listener| {
        Handshake::Status(426).answer(&listener);
        let open: Vec<_> = (0..2)
            .map(|_| {
                let mut stream = accept(&listener);
                assert!(read_request(&mut stream).starts_with("POST "));
                let answer = format!("{HEAD}{}", chunk(&format!("data: {}\n\n", delta("a"))));
                stream.write_all(answer.as_bytes()).expect("a reader");
                stream
            })
            .collect();
        open.len()
    });
    let mut provider = Provider::new("test", &url(address)).expect("a URL");
    provider.stream_transport = StreamTransport::Auto;
    let mut config = SupervisorConfig::new(provider);
    config.workers = Workers::Threads(2);
    let runtime = Runtime::with_config(config).expect("a configuration");
    let mut running = Vec::new();
    for _ in 0..2 {
        let mut stream = runtime.stream(prompt()).await.expect("a stream");
        let is_output = |event: &Result<ResponseEvent, _>| {
            matches!(event, Ok(ResponseEvent::OutputTextDelta(_)))
        };
        while !is_output(&within(stream.next()).await.expect("an event")) {}
        running.push(stream);
    }
    assert_eq!(within(asked).await.expect("a script"), 2);
}

#[actix_rt::test]
async fn who_wants_a_websocket_alone_hears_why_there_is_none() {
    use Handshake::{Closed, Status, Unanswered};
    for (handshake, kind) in [
        (Status(426), ErrorKind::UnexpectedStatus),
        (Status(404), ErrorKind::NotFound),
        (Status(401), ErrorKind::Authentication),
        (Status(429), ErrorKind::RateLimited),
        (Status(200), ErrorKind::Protocol),
        (Closed, ErrorKind::Connection),
        (Unanswered, ErrorKind::ConnectTimeout),
    ] {
        let (address, _) = serve(move |listener| handshake.answer(&listener));
        let runtime = start_with(&url(address), |provider, _| {
            provider.stream_transport = StreamTransport::WebSocket;
            provider.timeouts.connect = Duration::from_millis(300);
        });
        let error = failure_of(&runtime, prompt()).await;
        assert_eq!(error.kind(), kind, "{handshake:?}: {error}");
        let is_hinted = error.message().contains("with the transport `auto`");
        assert_eq!(is_hinted, matches!(handshake, Status(426)), "{error}");
        assert!(!error.report().contains("hunter2"));
    }
}

#[actix_rt::test]
async fn limits_and_refusals_of_the_request_itself_are_its_answer() {
    // The handshake says how long to wait: no POST follows.
    let (address, _) = serve(|listener| Handshake::Status(429).answer(&listener));
    let error = failure_of(&start(address, StreamTransport::Auto), prompt()).await;
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert_eq!(error.details().retry_after, Some(Duration::from_secs(3)));
    // A key that is refused is refused by SSE as well, in words.
    let (address, _) = serve(|listener| {
        Handshake::Status(401).answer(&listener);
        let mut stream = accept(&listener);
        read_request(&mut stream);
        let body = r#"{"error":{"message":"no such key","code":"invalid_api_key"}}"#;
        let answer = format!(
            "HTTP/1.1 401 _\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).expect("a reader");
    });
    let error = failure_of(&start(address, StreamTransport::Auto), prompt()).await;
    assert_eq!(error.kind(), ErrorKind::Authentication);
    assert!(error.message().contains("no such key"), "{error}");
}

#[actix_rt::test]
async fn what_a_websocket_can_not_carry_goes_by_post() {
    let (address, _) = serve(|listener| {
        for path in ["POST /v1/responses ", "POST /v1/chat/completions "] {
            let mut stream = accept(&listener);
            let request = read_request(&mut stream);
            assert!(request.starts_with(path), "{request}");
            stream
                .write_all(whole_answer().as_bytes())
                .expect("a reader");
        }
    });
    let mut background = prompt();
    background.options.background = Some(true);
    let runtime = over_socket(address);
    assert!(end_of(&runtime, background).await.is_ok());
    let runtime = start_with(&url(address), |provider, _| {
        provider.stream_transport = StreamTransport::Auto;
        provider.wire = Wire::Chat;
    });
    collect(&runtime, prompt()).await;
    let runtime = start_with(&url(address), |provider, _| {
        provider.stream_transport = StreamTransport::WebSocket;
        provider.wire = Wire::Chat;
    });
    let Err(error) = within(runtime.stream(prompt())).await else {
        panic!("Chat has no WebSocket")
    };
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
}

/// A completed answer of one message.
fn said(id: &str, text: &str) -> [String; 2] {
    let item = json!({
        "type": "message", "id": format!("msg_{id}"), "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    });
    let done = json!({"type": "response.output_item.done", "output_index": 0, "item": item});
    let completed = json!({"type": "response.completed", "response": {"id": id, "status": "completed", "output": [item]}});
    [done.to_string(), completed.to_string()]
}

/// The conversation goes on: what was answered, and something new.
async fn ask(runtime: &Runtime, conversation: &mut Prompt, new: &str) {
    let mut asked = conversation.clone();
    asked.input.extend(Prompt::user(new).input);
    let events = collect(runtime, asked.clone()).await;
    assert!(
        matches!(events.last(), Some(Ok(ResponseEvent::Completed(_)))),
        "{events:?}"
    );
    for event in events {
        if let Ok(ResponseEvent::OutputItemDone(done)) = event {
            asked.input.push(done.item().clone());
        }
    }
    *conversation = asked;
}

#[actix_rt::test]
async fn a_turn_sends_its_new_input_alone_and_all_where_the_server_lost_the_rest() {
    let (address, asked) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        let mut messages = Vec::new();
        let mut answers = ["r1", "r2", "", "r3", "r4", "", "r5"].into_iter();
        while let Some(message) = peer.message() {
            let input = message["input"].as_array().map(Vec::len);
            messages.push((message["previous_response_id"].clone(), input));
            match answers.next() {
                Some("") if messages.len() == 3 => peer.send(
                    r#"{"type":"error","error":{"code":"previous_response_not_found","message":"gone"}}"#,
                ),
                Some("") => peer.send(
                    r#"{"type":"error","status":400,"error":{"code":"odd","message":"no such call"}}"#,
                ),
                Some(id) => said(id, "yes").iter().for_each(|event| peer.send(event)),
                None => break,
            }
        }
        messages
    });
    let runtime = over_socket(address);
    let mut conversation = prompt();
    conversation.input.clear();
    for new in ["one", "two", "three", "four", "five"] {
        ask(&runtime, &mut conversation, new).await;
    }
    drop(runtime);
    let messages = within(asked).await.expect("a script");
    let whole = |items| (Value::Null, Some(items));
    let short = |id: &str| (Value::from(id), Some(1));
    let expected = [
        whole(1),
        short("r1"),
        short("r2"),
        whole(5),
        short("r3"),
        short("r4"),
        whole(9),
    ];
    assert_eq!(messages, expected);
}

#[actix_rt::test]
async fn what_is_another_conversation_is_sent_whole() {
    let (address, asked) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        let mut messages = Vec::new();
        while let Some(message) = peer.message() {
            messages.push(message["previous_response_id"].clone());
            said("r", "yes").iter().for_each(|event| peer.send(event));
        }
        messages
    });
    let runtime = over_socket(address);
    let mut first = prompt();
    ask(&runtime, &mut first, "one").await;
    // The same again, another model, another tool choice, and a parent of the caller's own.
    collect(&runtime, prompt()).await;
    ask(&runtime, &mut first.clone().with_model("other"), "two").await;
    ask(&runtime, &mut first.clone(), "two").await;
    let mut own = first.clone();
    own.options.previous_response_id = Some("mine".into());
    ask(&runtime, &mut own, "two").await;
    drop(runtime);
    let messages = within(asked).await.expect("a script");
    assert_eq!(
        messages,
        [
            json!(null),
            json!(null),
            json!(null),
            json!(null),
            json!("mine")
        ]
    );
}

#[actix_rt::test]
async fn a_warm_up_generates_nothing_and_the_same_prompt_goes_on_from_it() {
    let (address, asked) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        let messages = ["warm", "r"].map(|id| {
            let message = peer.message().expect("a request");
            peer.send(&format!(r#"{{"type":"response.created","response":{{"id":"{id}"}}}}"#));
            peer.send(&format!(
                r#"{{"type":"response.completed","response":{{"id":"{id}","status":"completed","output":[]}}}}"#
            ));
            message
        });
        drop(peer);
        // Then there is no WebSocket any more, and nothing else may come.
        Handshake::Status(426).answer(&listener);
        listener.set_nonblocking(true).expect("a listener");
        (messages, listener.accept().is_err())
    });
    let runtime = start(address, StreamTransport::Auto);
    let warm_up = || SubmitRequest::new(prompt()).with_warm_up(true);
    let events: Vec<_> = within(async {
        let stream = runtime.submit(warm_up()).await.expect("a request");
        stream.collect().await
    })
    .await;
    assert!(
        matches!(events.last(), Some(Ok(ResponseEvent::Completed(_)))),
        "{events:?}"
    );
    assert!(end_of(&runtime, prompt()).await.is_ok());
    let other = start(address, StreamTransport::Auto);
    let events: Vec<_> = within(async {
        let stream = other.submit(warm_up()).await.expect("a request");
        stream.collect().await
    })
    .await;
    assert_eq!(failure(&events).kind(), ErrorKind::InvalidConfiguration);
    drop(other);
    let ([first, second], is_quiet) = within(asked).await.expect("a script");
    assert!(is_quiet);
    assert_eq!(first["generate"], false);
    assert_eq!(first["input"].as_array().map(Vec::len), Some(1));
    assert_eq!(second["generate"], Value::Null);
    assert_eq!(
        (&second["previous_response_id"], &second["input"]),
        (&json!("warm"), &json!([]))
    );

    let by_sse = start(address, StreamTransport::Sse);
    let Err(error) = within(by_sse.submit(warm_up())).await else {
        panic!("SSE knows no warm-up")
    };
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
}
