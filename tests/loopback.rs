//! The loopback provider, seen from the other end of the socket.

#![expect(
    clippy::disallowed_methods,
    reason = "the server's record and its clients run in real time"
)]

mod support;

use std::{
    error::Error,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use actix_responses::loopback::{
    Action, Chunks, CloseKind, ConnectionId, DefaultAnswer, Loopback, LoopbackError,
    LoopbackOptions, Position, Reply, Script, ScriptError, Side, sse_text,
};
use http::StatusCode;
use serde_json::{Value, json};
use support::{FIRST, Folder, PATIENCE, closed, provider};

const STREAM: &str =
    "event: one\ndata: {\"n\":1}\n\nevent: two\ndata: {\"n\":2}\n\n: a comment\n\ndata: [DONE]\n\n";

/// How a client sees the server close the connection.
#[derive(Debug, PartialEq)]
enum End {
    Fin,
    Reset,
}

struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

impl Client {
    fn connect(loopback: &Loopback) -> Self {
        Self::to(loopback.address())
    }

    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    fn posting(loopback: &Loopback, path: &str, body: &Value) -> Self {
        let mut client = Self::connect(loopback);
        client.post(path, body);
        client
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("sent");
    }

    fn get(&mut self, target: &str) {
        self.send(format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n"));
    }

    fn post(&mut self, path: &str, body: &Value) {
        let body = body.to_string();
        let length = body.len();
        self.send(format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
    }

    fn read_more(&mut self) -> Result<usize, ErrorKind> {
        let mut piece = [0; 4096];
        let length = self.stream.read(&mut piece).map_err(|error| error.kind())?;
        self.unread.extend_from_slice(&piece[..length]);
        Ok(length)
    }

    fn take(&mut self, length: usize) -> String {
        while self.unread.len() < length {
            assert_ne!(
                self.read_more().expect("bytes"),
                0,
                "closed inside of an answer"
            );
        }
        let taken: Vec<u8> = self.unread.drain(..length).collect();
        String::from_utf8(taken).expect("text")
    }

    fn take_until(&mut self, end: &str) -> String {
        loop {
            let found = self
                .unread
                .windows(end.len())
                .position(|window| window == end.as_bytes());
            if let Some(at) = found {
                return self.take(at + end.len());
            }
            assert_ne!(self.read_more().expect("bytes"), 0, "closed before {end:?}");
        }
    }

    /// Reads one answer, by its own framing, and leaves what follows.
    fn answer(&mut self) -> Answer {
        let head = self.take_until("\r\n\r\n").to_lowercase();
        let status = head[9..12].parse().expect("a status");
        let mut body = String::new();
        if let Some((_, rest)) = head.split_once("content-length: ") {
            let length = rest
                .split("\r\n")
                .next()
                .unwrap()
                .parse()
                .expect("a length");
            body = self.take(length);
        } else if head.contains("transfer-encoding: chunked") {
            loop {
                let size = self.take_until("\r\n");
                let size = usize::from_str_radix(size.trim_end(), 16).expect("a size");
                body += &self.take(size);
                assert_eq!(self.take(2), "\r\n");
                if size == 0 {
                    break;
                }
            }
        }
        Answer { status, head, body }
    }

    /// Reads until the server closes the connection.
    fn rest(&mut self) -> (String, End) {
        let end = loop {
            match self.read_more() {
                Ok(0) => break End::Fin,
                Ok(_) => {}
                Err(ErrorKind::ConnectionReset) => break End::Reset,
                Err(other) => panic!("reading the rest: {other}"),
            }
        };
        let rest = String::from_utf8_lossy(&self.unread).into_owned();
        self.unread.clear();
        (rest, end)
    }

    /// Asserts that nothing comes for a while.
    fn hears_nothing(&mut self) {
        assert_eq!(self.unread, b"");
        self.stream
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let heard = self.read_more();
        assert!(
            matches!(heard, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)),
            "{heard:?}"
        );
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[test]
fn a_prompt_to_responses_gets_a_whole_and_well_formed_stream() {
    let loopback = provider(Script::default());
    let request = json!({"model": "some-model", "input": "hello", "stream": true});
    let answer = Client::posting(&loopback, "/v1/responses", &request).answer();
    assert_eq!(answer.status, 200);
    assert!(
        answer.head.contains("\r\ncontent-type: text/event-stream"),
        "{}",
        answer.head
    );
    assert!(
        answer.head.contains("\r\nx-request-id: req_loopback_1\r\n"),
        "{}",
        answer.head
    );
    assert!(
        answer.head.contains("\r\nopenai-processing-ms: "),
        "{}",
        answer.head
    );

    let blocks: Vec<_> = answer.body.split_terminator("\n\n").collect();
    for (number, block) in blocks.iter().enumerate() {
        let (event, data) = block
            .split_once("\ndata: ")
            .expect("an event line and a data line");
        let data: Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(data["type"], event.strip_prefix("event: ").unwrap());
        assert_eq!(data["sequence_number"], number);
    }
    assert!(blocks[0].contains(r#""model":"some-model""#));
    assert!(
        blocks
            .last()
            .unwrap()
            .starts_with("event: response.completed\n")
    );
    assert_eq!(
        answer.body,
        sse_text(&DefaultAnswer::to_request(&request, 1).responses_events())
    );
}

#[test]
fn a_prompt_to_chat_gets_chunks_up_to_done() {
    let loopback = provider(Script::default());
    let request =
        json!({"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": true});
    let body = Client::posting(&loopback, "/v1/chat/completions", &request)
        .answer()
        .body;
    let chunks: Vec<_> = body
        .split_terminator("\n\n")
        .map(|block| block.strip_prefix("data: ").expect("a data line"))
        .collect();
    let (done, chunks) = chunks.split_last().unwrap();
    assert_eq!(*done, "[DONE]");
    let text: String = chunks
        .iter()
        .map(|chunk| serde_json::from_str::<Value>(chunk).expect("JSON"))
        .filter_map(|chunk| {
            chunk["choices"][0]["delta"]["content"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert!(text.starts_with("You said: “hello”."), "{text}");
}

#[test]
fn the_same_request_gets_the_same_words() {
    let request = json!({"model": "m", "input": "hello", "stream": true});
    let [first, second] = [(), ()].map(|()| {
        let loopback = provider(Script::default());
        let answer = Client::posting(&loopback, "/v1/responses", &request).answer();
        answer.head + &answer.body
    });
    assert_eq!(first, second);
}

#[test]
fn ids_differ_from_server_to_server_and_times_are_true() {
    let started = unix_time();
    let [first, second] = [(), ()].map(|()| {
        let loopback = Loopback::start(LoopbackOptions::default()).unwrap();
        let request = json!({"model": "m", "input": "hello"});
        let answer = Client::posting(&loopback, "/v1/responses", &request).answer();
        answer.json()
    });
    assert_ne!(first["id"], second["id"]);
    assert_ne!(first["output"][0]["id"], second["output"][0]["id"]);
    let created = first["created_at"].as_u64().unwrap();
    assert!((started..=unix_time()).contains(&created), "{created}");
}

fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

#[test]
fn an_answer_is_read_again_behind_an_event() {
    let cut = Reply::default().cut_after_events(4);
    let loopback = provider(Script::new([cut]));
    let request = json!({"model": "m", "input": "hello", "stream": true, "background": true});
    let mut client = Client::posting(&loopback, "/v1/responses", &request);
    client.take_until("\"sequence_number\":3");
    client.rest();

    let whole = DefaultAnswer::to_request(&request, 1);
    let id = whole.response()["id"].as_str().unwrap().to_owned();
    let mut client = Client::connect(&loopback);
    client.get(&format!("/v1/responses/{id}?stream=true&starting_after=3"));
    let events = whole.responses_events();
    assert_eq!(client.answer().body, sse_text(&events[4..]));
    client.get(&format!("/v1/responses/{id}"));
    assert_eq!(client.answer().json(), whole.response());
    // The next turn may name it, until it is deleted.
    let next = json!({"model": "m", "input": "and?", "previous_response_id": id});
    client.post("/v1/responses", &next);
    assert_eq!(client.answer().json()["previous_response_id"], id);
    client.send(format!("DELETE /v1/responses/{id} HTTP/1.1\r\n\r\n"));
    assert_eq!(client.answer().json()["deleted"], true);
    client.get(&format!("/v1/responses/{id}"));
    assert_eq!(client.answer().status, 404);
    client.post("/v1/responses", &next);
    let refused = client.answer();
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.json()["error"]["code"],
        "previous_response_not_found"
    );
}

#[test]
fn an_answer_in_the_background_is_cancelled() {
    let slow = Reply::default().with_pace(PATIENCE * 10);
    let loopback = provider(Script::new([slow]));
    let request = json!({"model": "m", "input": "hello", "background": true});
    let mut client = Client::posting(&loopback, "/v1/responses", &request);
    let taken_up = client.answer().json();
    assert_eq!(taken_up["status"], "in_progress");
    let path = format!("/v1/responses/{}", taken_up["id"].as_str().unwrap());
    for (cancels, status) in [
        (false, "in_progress"),
        (true, "cancelled"),
        (false, "cancelled"),
    ] {
        match cancels {
            true => client.post(&format!("{path}/cancel"), &json!({})),
            false => client.get(&path),
        }
        assert_eq!(client.answer().json()["status"], status);
    }
    client.get(&format!("{path}?stream=true"));
    let body = client.answer().body;
    assert!(body.starts_with("event: response.cancelled\n"), "{body}");

    client.post("/v1/responses", &json!({"model": "m", "input": "hello"}));
    let path = format!(
        "/v1/responses/{}/cancel",
        client.answer().json()["id"].as_str().unwrap()
    );
    client.post(&path, &json!({}));
    assert_eq!(client.answer().status, 400);
}

#[test]
fn a_stream_ends_with_the_answer_that_is_cancelled() {
    let paced = Reply::default().with_pace(Duration::from_millis(200));
    let loopback = provider(Script::new([paced]));
    let request = json!({"model": "m", "input": "hello", "background": true, "stream": true});
    let mut client = Client::posting(&loopback, "/v1/responses", &request);
    client.take_until("\"sequence_number\":1");
    let mut other = Client::connect(&loopback);
    other.post("/v1/responses/resp_loopback_1/cancel", &json!({}));
    assert_eq!(other.answer().json()["status"], "cancelled");
    let (rest, end) = client.rest();
    assert!(!rest.contains("response.completed"), "{rest}");
    assert_eq!(end, End::Fin);
}

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
fn both_addresses_of_the_machine_are_served() {
    let addresses = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        // A machine without IPv6.
        return;
    }
    let options = LoopbackOptions::default().with_addresses(addresses.to_vec());
    let loopback = Loopback::start(options).unwrap();
    let port = loopback.address().port();
    for address in addresses {
        let mut client = Client::to(SocketAddr::new(address, port));
        client.get("/v1/models");
        assert_eq!(client.answer().status, 200, "{address}");
    }
    let elsewhere = LoopbackOptions::default().with_addresses(vec![Ipv4Addr::UNSPECIFIED.into()]);
    let error = with_causes(&Loopback::start(elsewhere).expect_err("not on loopback"));
    assert!(
        error.contains("0.0.0.0:0: this is no address of"),
        "{error}"
    );
}

#[test]
fn what_is_not_there_gets_an_error_object() {
    let loopback = provider(Script::default());
    let mut client = Client::connect(&loopback);
    client.send("GET /healthz HTTP/1.1\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 404);
    assert_eq!(
        serde_json::from_str::<Value>(&answer.body).unwrap()["error"]["code"],
        "unknown_url"
    );
}

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

#[test]
fn a_stopped_server_closes_its_connections_and_frees_its_port() {
    let loopback = provider(Script::always(Reply::sse(STREAM).hold_open()));
    let port = loopback.address().port();
    let mut client = Client::posting(&loopback, "/", &json!({}));
    client.take_until("[DONE]\n\n\r\n");
    loopback.stop();
    assert_eq!(client.rest(), (String::new(), End::Fin));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());

    let mut again = LoopbackOptions::default();
    again.port = port;
    let loopback = Loopback::start(again.clone()).expect("the same port");
    assert_eq!(loopback.base_url(), format!("http://127.0.0.1:{port}/v1"));
    let error = Loopback::start(again).expect_err("the port is taken");
    assert!(matches!(error, LoopbackError::Listen { .. }));
    assert_eq!(error.to_string(), format!("listening on 127.0.0.1:{port}"));
}

#[test]
fn stopping_does_not_wait_for_clients_that_stay() {
    let loopback = provider(Script::new([Reply::default().close_before_head()]));
    let mut told = Client::posting(&loopback, "/", &json!({}));
    assert_eq!(told.rest(), (String::new(), End::Fin));
    let _idle = Client::connect(&loopback);
    let started = Instant::now();
    loopback.stop();
    // It reads on for a second behind its FIN when it is not told to stop.
    assert!(
        started.elapsed() < Duration::from_millis(500),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn a_killed_server_resets_its_connections() {
    let loopback = provider(Script::always(Reply::sse(STREAM).hold_open()));
    let mut idle = Client::connect(&loopback);
    let mut client = Client::posting(&loopback, "/", &json!({}));
    client.take_until("[DONE]\n\n\r\n");
    loopback.kill();
    assert_eq!(client.rest(), (String::new(), End::Reset));
    assert_eq!(idle.rest(), (String::new(), End::Reset));
}

#[test]
fn a_connection_over_the_limit_takes_the_room_of_an_idle_one_or_is_refused() {
    let mut options = LoopbackOptions::default();
    options.max_connections = 2;
    options.script = Script::new([
        Reply::sse(STREAM).hold_open(),
        Reply::text("one"),
        Reply::sse(STREAM).hold_open(),
    ]);
    let loopback = Loopback::start(options).unwrap();
    let mut busy = Client::posting(&loopback, "/", &json!({}));
    busy.take_until("[DONE]\n\n\r\n");
    let mut idle = Client::posting(&loopback, "/", &json!({}));
    assert_eq!(idle.answer().body, "one");
    let mut third = Client::posting(&loopback, "/", &json!({}));
    third.take_until("[DONE]\n\n\r\n");
    assert_eq!(idle.rest(), (String::new(), End::Fin));

    let mut refused = Client::connect(&loopback);
    let answer = refused.answer();
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("2 connections"), "{}", answer.body);
    assert_eq!(refused.rest(), (String::new(), End::Fin));
    drop(third);
    assert!(loopback.wait_until(PATIENCE, |loopback| loopback.open_connections() == 1));
    let mut next = Client::posting(&loopback, "/v1/responses", &json!({"model": "m"}));
    assert_eq!(next.answer().status, 200);
}

#[test]
fn a_client_that_does_not_read_makes_room_in_the_end() {
    let mut options = LoopbackOptions::default();
    options.max_connections = 1;
    options.request_timeout = Duration::from_millis(50);
    options.script = Script::new([Reply::text("long ".repeat(8 << 20))]);
    let loopback = Loopback::start(options).unwrap();
    let mut deaf = Client::posting(&loopback, "/v1/responses", &json!({}));
    let writes = |loopback: &Loopback| {
        let connection = loopback.connection(FIRST);
        connection.is_some_and(|connection| connection.bytes_written > 0)
    };
    assert!(loopback.wait_until(PATIENCE, writes));
    // One that comes early is refused, and the last one is not.
    let started = Instant::now();
    loop {
        let mut client = Client::connect(&loopback);
        // Who is refused may be so before this.
        let request = "POST /v1/responses HTTP/1.1\r\ncontent-length: 13\r\n\r\n{\"model\":\"m\"}";
        let _ = client.stream.write_all(request.as_bytes());
        let answer = client.answer();
        if answer.status == 200 {
            break;
        }
        assert_eq!(answer.status, 503);
        assert!(started.elapsed() < PATIENCE);
    }
    assert_eq!(deaf.rest().1, End::Reset);
}

#[test]
fn a_request_that_does_not_move_is_refused_and_an_idle_connection_is_not() {
    let mut options = LoopbackOptions::default();
    options.request_timeout = Duration::from_millis(50);
    let loopback = Loopback::start(options).unwrap();
    let mut idle = Client::connect(&loopback);
    let head = "POST /v1/responses HTTP/1.1\r\ncontent-length: 2\r\n";
    for (sent, said) in [(head.to_owned(), "head"), (format!("{head}\r\n{{"), "body")] {
        let mut client = Client::connect(&loopback);
        client.send(sent);
        let answer = client.answer();
        assert_eq!(answer.status, 408);
        for named in [said, "50ms", "request_timeout"] {
            assert!(answer.body.contains(named), "{}", answer.body);
        }
        assert_eq!(client.rest(), (String::new(), End::Fin));
    }
    idle.post("/v1/responses", &json!({"model": "m"}));
    assert_eq!(idle.answer().status, 200);
}

#[test]
fn closing_can_be_awaited_without_blocking() {
    let loopback = provider(Script::default());
    let waiting = async {
        let client = Client::connect(&loopback);
        loopback
            .until(|loopback| loopback.open_connections() == 1)
            .await;
        drop(client);
        loopback.connection_closed(FIRST).await
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let close = runtime.block_on(async { tokio::time::timeout(PATIENCE, waiting).await });
    assert_eq!(close.expect("in time").expect("on record").by, Side::Client);
}

#[test]
fn a_script_file_finds_recorded_streams_beside_it() {
    let folder = Folder::new();
    folder.write("recorded.sse", STREAM);
    let script = r#"{"replies": [{"body": {"sse_file": "recorded.sse"}, "chunks": {"bytes": 7}}], "after": "repeat_last"}"#;
    let script = Script::from_file(folder.write("script.json", script).as_ref()).unwrap();
    let loopback = provider(script);
    drop(folder);
    let mut client = Client::connect(&loopback);
    for _ in 0..2 {
        client.post("/v1/responses", &json!({}));
        assert_eq!(client.answer().body, STREAM);
    }
}

#[test]
fn an_error_in_a_script_file_names_the_file_and_the_place() {
    let folder = Folder::new();
    for (name, text, named) in [
        (
            "field.json",
            r#"{"replies": [{"paces": "1s"}]}"#,
            "unknown field `paces`",
        ),
        (
            "duration.json",
            r#"{"replies": [{"pace": "soon"}]}"#,
            "\"soon\" does not start with a number",
        ),
        ("syntax.json", "{", "line 1"),
    ] {
        let path = folder.write(name, text);
        let text = with_causes(&Script::from_file(path.as_ref()).expect_err(name));
        assert!(
            text.contains(&format!("{path}: ")) && text.contains(named),
            "{text}"
        );
    }
}

#[test]
fn a_missing_file_is_named() {
    let folder = Folder::new();
    let recorded = folder.path("nowhere.sse");
    let script = folder.write(
        "script.json",
        r#"{"replies": [{"body": {"sse_file": "nowhere.sse"}}]}"#,
    );
    for (path, missing) in [(&*script, &*recorded), ("/nowhere.json", "/nowhere.json")] {
        let error = Script::from_file(path.as_ref()).expect_err("a missing file");
        assert_eq!(error.to_string(), format!("reading {missing}"));
        assert!(
            matches!(error, ScriptError::Read { source, .. } if source.kind() == ErrorKind::NotFound)
        );
    }

    let mut options = LoopbackOptions::default();
    options.script = Script::always(Reply::sse_file(&recorded));
    let error = Loopback::start(options).expect_err("a missing file");
    let text = with_causes(&error);
    assert!(
        text.starts_with("loading the script of the loopback server: reading "),
        "{text}"
    );
    assert!(text.contains("nowhere.sse"), "{text}");
}
