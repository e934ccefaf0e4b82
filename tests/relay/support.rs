//! A relay in front of the embedded provider, and a client that sees every byte.

use std::net::{SocketAddr, TcpListener};

use actix_responses::{
    Runtime,
    loopback::{Loopback, LoopbackOptions, Reply, Script},
    provider::Provider,
    relay::{Relay, RelayConfig, RouteTable, Serving, serve},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A relay that listens on loopback until it is dropped.
pub(crate) struct RunningRelay {
    pub(crate) address: SocketAddr,
    pub(crate) upstream: Loopback,
    pub(crate) relay: Relay,
    server: Serving,
}

impl RunningRelay {
    pub(crate) async fn start() -> Self {
        Self::with(LoopbackOptions::default(), RelayConfig::default()).await
    }

    pub(crate) async fn with(upstream: LoopbackOptions, config: RelayConfig) -> Self {
        let upstream = Loopback::start(upstream).expect("an upstream");
        let provider = Provider::new("loopback", &upstream.base_url()).expect("a provider");
        let routes = RouteTable::single(provider.clone());
        let runtime = Runtime::start(provider).expect("a runtime");
        let relay = Relay::new(runtime, routes, config);
        Self::serving(upstream, relay)
    }

    /// A relay of the caller's in front of this server.
    pub(crate) fn serving(upstream: Loopback, relay: Relay) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let server = serve(vec![listener], &relay, 1).expect("a server");
        Self {
            address,
            upstream,
            relay,
            server,
        }
    }

    /// The status, the head and the body of an answer.
    pub(crate) async fn get(&self, path: &str) -> (u16, String, String) {
        self.exchange(&format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.address
        ))
        .await
    }

    /// Sends a request as it is, and reads until the relay closes.
    pub(crate) async fn exchange(&self, request: &str) -> (u16, String, String) {
        self.exchange_bytes(request.as_bytes()).await
    }

    async fn exchange_bytes(&self, request: &[u8]) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        stream.write_all(request).await.expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        (status.expect("a status"), head.to_owned(), body.to_owned())
    }
}

/// What a client asks.
pub(crate) fn asks(stream: bool) -> String {
    json!({"model": "demo", "input": "hello", "stream": stream}).to_string()
}

/// A server that always answers so.
pub(crate) fn upstream(reply: Reply) -> LoopbackOptions {
    LoopbackOptions::default().with_script(Script::always(reply))
}

/// Posts JSON, with more headers in front, on a connection that the relay then closes.
pub(crate) async fn post(
    relay: &RunningRelay,
    path: &str,
    more: &str,
    body: &str,
) -> (u16, String, String) {
    post_bytes(relay, path, more, body.as_bytes()).await
}

/// The same for a body that is packed.
pub(crate) async fn post_bytes(
    relay: &RunningRelay,
    path: &str,
    more: &str,
    body: &[u8],
) -> (u16, String, String) {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\n{more}content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        relay.address,
        body.len(),
    )
    .into_bytes();
    request.extend_from_slice(body);
    relay.exchange_bytes(&request).await
}

/// A header in a head, by its lowercase name.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value))
}

/// The text of a body that came in chunks, if its last chunk came and nothing behind it.
pub(crate) fn unchunked(body: &str) -> Option<String> {
    let (whole, rest) = chunks(body.as_bytes());
    (rest == Some(b"")).then(|| String::from_utf8(whole).expect("text"))
}

/// What came of a body in chunks, in whole chunks, and what stands behind the last one, if that came.
pub(crate) fn chunks(mut body: &[u8]) -> (Vec<u8>, Option<&[u8]>) {
    let mut whole = Vec::new();
    while let Some(size) = body.windows(2).position(|two| two == b"\r\n") {
        let digits = std::str::from_utf8(&body[..size]).expect("a size");
        let count = usize::from_str_radix(digits, 16).expect("a size");
        let Some((chunk, rest)) = body[size + 2..].split_at_checked(count) else {
            break;
        };
        let Some(rest) = rest.strip_prefix(b"\r\n") else {
            break;
        };
        if count == 0 {
            return (whole, Some(rest));
        }
        whole.extend_from_slice(chunk);
        body = rest;
    }
    (whole, None)
}

impl Drop for RunningRelay {
    fn drop(&mut self) {
        // The server goes with the test's system, too.
        drop(self.server.stop());
    }
}
