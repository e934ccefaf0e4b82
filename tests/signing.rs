//! An `AuthProvider` that signs what is sent, against a server that checks the signature of what it received.

#![cfg(feature = "zstd")]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

use actix_responses::{
    Runtime,
    actors::SupervisorConfig,
    provider::{AuthError, AuthProvider, AuthRequest, Provider, RequestCompression},
};
use futures_core::future::BoxFuture;
use http::HeaderMap;
use support::{accept, collect, prompt, read_head, serve, url, whole_answer, within};

const KEY: &[u8] = b"a key that both know";

fn sha256(bytes: &[u8]) -> Vec<u8> {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let suite = suite.tls13().expect("a suite of TLS 1.3");
    suite.common.hash_provider.hash(bytes).as_ref().to_vec()
}

/// HMAC with SHA-256 (RFC 2104) of all that a request says: method, path, signed headers and body.
fn signature(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
    let mut text = format!("{method}\n{path}\n").into_bytes();
    for (name, value) in headers {
        text.extend(format!("{name}:{value}\n").bytes());
    }
    text.extend(sha256(body));
    let padded = |pad: u8| {
        let mut block = [pad; 64];
        block
            .iter_mut()
            .zip(KEY)
            .for_each(|(byte, key)| *byte ^= key);
        block.to_vec()
    };
    let inner = sha256(&[padded(0x36), text].concat());
    let outer = sha256(&[padded(0x5c), inner].concat());
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is signed of the headers, where it is there.
const SIGNED: [&str; 4] = ["accept", "content-encoding", "content-type", "x-of-request"];

#[derive(Debug)]
struct Signer;

impl AuthProvider for Signer {
    fn headers<'a>(
        &'a self,
        request: &'a AuthRequest,
    ) -> BoxFuture<'a, Result<HeaderMap, AuthError>> {
        let value = |name| Some((name, request.headers.get(name)?.to_str().ok()?));
        let signed: Vec<_> = SIGNED.into_iter().filter_map(value).collect();
        let (method, path) = (request.method.as_str(), request.url.path());
        let signature = signature(method, path, &signed, &request.body);
        let mut headers = HeaderMap::new();
        headers.insert(
            "authorization",
            format!("HMAC {signature}").parse().expect("hex"),
        );
        // In place of what the provider says.
        headers.insert("x-team", request.attempt.into());
        Box::pin(async { Ok(headers) })
    }
}

/// Takes a request, answers it, and gives what it signed, its body and its `x-team`.
fn take(listener: &TcpListener, answer: &str) -> (bool, Vec<u8>, String) {
    let mut stream = accept(listener);
    let (mut read, left) = read_head(&mut stream);
    (&mut stream)
        .take(left as u64)
        .read_to_end(&mut read)
        .expect("a body");
    stream.write_all(answer.as_bytes()).expect("an answer");
    let end = read
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    let (head, body) = (String::from_utf8_lossy(&read[..end]), &read[end + 4..]);
    let value = |name: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let signed: Vec<_> = SIGNED
        .into_iter()
        .filter_map(|name| Some((name, value(name)?)))
        .collect();
    let mut line = head.split(' ');
    let (method, path) = (line.next().expect("a method"), line.next().expect("a path"));
    let expected = signature(method, path, &signed, body);
    let is_signed = value("authorization") == Some(&format!("HMAC {expected}"));
    assert!(signed.len() >= 3, "{head}");
    (
        is_signed,
        body.to_vec(),
        value("x-team").unwrap_or_default().to_owned(),
    )
}

#[actix_rt::test]
async fn what_is_signed_is_what_the_server_receives_in_each_attempt_and_after_a_redirect() {
    const CLOSE: &str = "content-length: 0\r\nconnection: close\r\n\r\n";
    for compression in [RequestCompression::None, RequestCompression::ZSTD] {
        let (address, received) = serve(|listener| {
            let answers = [
                format!("HTTP/1.1 503 Busy\r\nretry-after-ms: 1\r\n{CLOSE}"),
                format!("HTTP/1.1 307 There\r\nlocation: /v2/responses\r\n{CLOSE}"),
                whole_answer(),
            ];
            answers.map(|answer| take(&listener, &answer))
        });
        let provider = Provider::new("signed", &url(address))
            .and_then(|provider| provider.with_header("x-of-request", "1"))
            .and_then(|provider| provider.with_header("x-team", "none"))
            .expect("a provider")
            .with_auth(Signer)
            .with_request_compression(compression);
        let runtime = Runtime::with_config(SupervisorConfig::new(provider)).expect("a runtime");
        let events = collect(&runtime, prompt()).await;
        assert!(
            matches!(events.last(), Some(Ok(end)) if end.is_final()),
            "{events:?}"
        );
        let received = within(received).await.expect("three requests");
        assert!(received.iter().all(|(is_signed, ..)| *is_signed));
        assert_eq!(
            received.each_ref().map(|(.., attempt)| attempt.as_str()),
            ["1", "2", "2"]
        );
        let body = &received[0].1;
        let plain = match compression {
            RequestCompression::None => body.clone(),
            _ => zstd::decode_all(&body[..]).expect("zstd"),
        };
        let plain: serde_json::Value = serde_json::from_slice(&plain).expect("JSON");
        assert_eq!(plain["model"], "m");
    }
}
