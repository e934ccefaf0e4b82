//! Where no WebSocket is, or none may be.

use std::{io::Write, net::TcpListener, time::Duration};

use actix_responses::{
    ErrorKind, Runtime,
    actors::{SupervisorConfig, Workers},
    protocol::ResponseEvent,
    provider::{Provider, StreamTransport},
    wire::Wire,
};
use futures_util::StreamExt;

use super::{delta, over_socket, start};
use crate::{
    asking::start_with,
    support::{
        HEAD, accept, chunk, collect, end_of, failure_of, last_answer, prompt, read_head,
        read_request, serve, until_closed, url, whole_answer, within,
    },
};

/// What a server says to a handshake.
#[derive(Clone, Copy, Debug)]
pub(super) enum Handshake {
    Status(u16),
    Closed,
    Unanswered,
}

impl Handshake {
    pub(super) fn answer(self, listener: &TcpListener) {
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
                    .write_all(last_answer().as_bytes())
                    .expect("a reader");
            }
        });
        let runtime = start_with(&url(address), |provider, _| {
            provider.stream_transport = StreamTransport::Auto;
            provider.timeouts.connect = Duration::from_millis(300);
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
