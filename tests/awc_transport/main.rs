//! The real transport over real sockets, all on loopback. A server is a script that a thread runs, line by line.

mod answers;
mod connections;
mod dialing;
mod requests;
#[path = "../support/mod.rs"]
mod support;
mod tls;

use std::{
    error::Error as _,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_responses::transport::{
    AwcTransportFactory, BodyStream, ProxyConfig, TlsConfig, Transport, TransportError,
    TransportErrorKind, TransportFactory as _, TransportRequest, TransportResponse,
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, Method};
use support::{Identity, OK, accept_request, read_request, serve, within};
use url::Url;

/// A server that reads one request, writes `answer` and closes.
fn answer(answer: impl Into<String>) -> SocketAddr {
    let answer = answer.into();
    let (address, _) = serve(move |listener| {
        let mut stream = accept_request(&listener);
        stream.write_all(answer.as_bytes()).unwrap();
    });
    address
}

fn transport_with(tls: &TlsConfig, proxy: &ProxyConfig) -> Rc<dyn Transport> {
    AwcTransportFactory::new(tls, proxy)
        .unwrap()
        .build()
        .unwrap()
}

fn transport() -> Rc<dyn Transport> {
    transport_with(&TlsConfig::default(), &ProxyConfig::None)
}

fn request(url: impl AsRef<str>) -> TransportRequest {
    TransportRequest {
        request: String::new(),
        attempt: 1,
        method: Method::POST,
        url: Url::parse(url.as_ref()).unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"{}"),
        connect_timeout: Duration::from_secs(5),
        may_be_repeated: false,
    }
}

async fn send(
    transport: &Rc<dyn Transport>,
    url: impl AsRef<str>,
) -> Result<TransportResponse, TransportError> {
    within(transport.send(request(url))).await
}

/// Sends a request that must fail, and checks where and what is said of it.
async fn check_error(url: &str, kind: TransportErrorKind, said: &[&str]) -> TransportError {
    let Err(error) = send(&transport(), url).await else {
        panic!("there is a response");
    };
    check(&error, kind, said);
    error
}

fn check(error: &TransportError, kind: TransportErrorKind, said: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}: {:?}", error.source());
    for part in said {
        assert!(error.to_string().contains(part), "{error}");
    }
}

async fn read_to_end(mut body: BodyStream) -> Result<String, TransportError> {
    let mut text = Vec::new();
    while let Some(chunk) = within(body.next()).await {
        text.extend_from_slice(&chunk?);
    }
    assert!(within(body.next()).await.is_none(), "a body ends once");
    Ok(String::from_utf8(text).unwrap())
}

/// Accepts one TLS connection, answers requests on it, and tells how many came before the client closed.
fn answer_all(server: &Arc<rustls::ServerConfig>, stream: TcpStream) -> usize {
    let mut stream = Identity::over_tls(server, stream);
    let mut requests = 0;
    loop {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => {}
            Ok(_) | Err(_) => return requests,
        }
        read_request(&mut (&byte[..]).chain(&mut stream));
        stream.write_all(OK.as_bytes()).unwrap();
        requests += 1;
    }
}
