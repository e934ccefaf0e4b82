//! Which headers go which way, what a path is asked by, and that nothing but the configuration says which server is asked.

use actix_responses::{
    Runtime,
    loopback::{Loopback, LoopbackOptions, Reply, Script},
    provider::{BearerAuth, Provider},
    relay::{Relay, RelayConfig, RouteTable},
};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{RunningRelay, asks, header, post};

/// What a client sends and a server is to see.
const TO_SERVER: [(&str, &str); 24] = [
    ("authorization", "Bearer of-the-client"),
    ("x-codex-turn-state", "opaque"),
    ("x-codex-turn-metadata", "{}"),
    ("session-id", "s"),
    ("thread-id", "t"),
    ("openai-beta", "b"),
    ("x-client-request-id", "c"),
    ("originator", "codex_cli_rs"),
    ("user-agent", "codex/1"),
    ("version", "0.169"),
    ("openai-organization", "o"),
    ("openai-project", "p"),
    ("x-stainless-lang", "rust"),
    ("x-stainless-retry-count", "0"),
    ("idempotency-key", "i"),
    ("chatgpt-account-id", "a"),
    ("x-openai-subagent", "review"),
    ("x-oai-attestation", "z"),
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    ("tracestate", "a=b"),
    ("x-forwarded-for", "192.0.2.1"),
    ("accept-language", "de"),
    ("x-api-version", "1"),
    ("x-unknown", "1"),
];

/// What a client sends and no server is to see.
const NOT_TO_SERVER: [(&str, &str); 19] = [
    ("cookie", "secret=1"),
    ("date", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ("accept-encoding", "zstd"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "keep-alive"),
    ("te", "trailers"),
    ("trailer", "x-trailer"),
    ("upgrade", "h2c"),
    ("http2-settings", "AAMAAABkAAQAAP__"),
    ("x-hop", "1"),
    ("x-other-hop", "1"),
    ("x-relay-detach", "false"),
    ("x-relay-ids", "false"),
    ("proxy-authorization", "Basic eA=="),
    ("referer", "http://localhost/page"),
    ("sec-fetch-mode", "cors"),
    ("access-control-request-headers", "x-a"),
    ("expect", "100-continue"),
    ("content-encoding", "identity"),
];

#[actix_rt::test]
async fn headers_go_to_the_server_but_those_of_the_connection_and_cookies() {
    let relay = RunningRelay::start().await;
    let lines = TO_SERVER.iter().chain(&NOT_TO_SERVER);
    let lines = lines.map(|(name, value)| format!("{name}: {value}\r\n"));
    let more = lines.collect::<String>() + "connection: x-hop, X-Other-Hop\r\n";
    let (_, _, answer) = post(&relay, "/v1/responses", &more, &asks(false)).await;
    let requests = relay.upstream.requests();
    let sent = &requests
        .last()
        .unwrap_or_else(|| panic!("{answer}"))
        .headers;
    let values = |name: &str| -> Vec<String> {
        let values = sent.get_all(name).iter();
        values
            .map(|value| value.to_str().unwrap_or_default().to_owned())
            .collect()
    };
    for (name, value) in TO_SERVER {
        assert_eq!(values(name), [value], "{name}: {sent:?}");
    }
    for (name, value) in NOT_TO_SERVER {
        match name {
            // The transport says what it can read.
            "accept-encoding" => assert_eq!(values(name), ["identity"]),
            _ => assert!(values(name).is_empty(), "{name} {value}: {sent:?}"),
        }
    }
    let upstream = relay.upstream.base_url();
    assert_eq!(
        values("host"),
        [upstream
            .trim_start_matches("http://")
            .trim_end_matches("/v1")]
    );
    assert_eq!(values("content-type"), ["application/json"]);
    let length = requests
        .last()
        .map(|request| request.body.len().to_string());
    assert_eq!(values("content-length"), [length.unwrap_or_default()]);
}

/// What a server sends and a client is to see.
const TO_CLIENT: [(&str, &str); 20] = [
    ("x-request-id", "req_7"),
    ("openai-processing-ms", "12"),
    ("openai-version", "2020-10-01"),
    ("openai-organization", "o"),
    ("openai-model", "demo"),
    ("x-ratelimit-remaining-requests", "9"),
    ("x-ratelimit-reset-tokens", "1s"),
    ("x-codex-turn-state", "opaque"),
    ("x-codex-primary-used-percent", "5"),
    ("x-models-etag", "v7"),
    ("x-reasoning-included", "true"),
    ("x-openai-authorization-error", "e"),
    ("retry-after", "3"),
    ("retry-after-ms", "2500"),
    ("x-should-retry", "true"),
    ("cf-ray", "ray"),
    ("etag", "\"v7\""),
    ("strict-transport-security", "max-age=1"),
    ("x-unknown", "1"),
    ("server", "theirs"),
];

/// What a server sends and no client is to see.
const NOT_TO_CLIENT: [(&str, &str); 17] = [
    ("set-cookie", "a=b"),
    ("clear-site-data", "*"),
    ("location", "https://evil.example"),
    ("refresh", "0; https://evil.example"),
    ("x-accel-redirect", "/private"),
    ("x-sendfile", "/etc/passwd"),
    ("set-cookie2", "a=b"),
    ("x-hop", "1"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "keep-alive"),
    ("te", "trailers"),
    ("trailer", "x-trailer"),
    ("upgrade", "h2c"),
    ("access-control-allow-origin", "*"),
    ("access-control-expose-headers", "x-hop"),
    ("x-relay-dropped", "forged"),
    ("content-encoding", "identity"),
];

#[actix_rt::test]
async fn headers_come_to_the_client_but_those_of_the_connection_and_cookies() {
    let object = json!({"id": "r", "object": "response", "model": "demo", "status": "completed", "output": []});
    let sse = format!("data: {{\"type\":\"response.completed\",\"response\":{object}}}\n\n");
    let mut reply = Reply::sse(sse).with_header("connection", "x-hop");
    for (name, value) in TO_CLIENT.iter().chain(&NOT_TO_CLIENT) {
        reply = reply.with_header(*name, *value);
    }
    let options = LoopbackOptions::default().with_script(Script::always(reply));
    let relay = RunningRelay::with(options, RelayConfig::default()).await;
    for stream in [true, false] {
        let (status, head, body) = post(&relay, "/v1/responses", "", &asks(stream)).await;
        assert_eq!(status, 200, "{body}");
        for (name, value) in TO_CLIENT {
            assert_eq!(header(&head, name), Some(value), "{name}: {head}");
        }
        for (name, _) in NOT_TO_CLIENT {
            assert_eq!(header(&head, name), None, "{name}: {head}");
        }
    }
}

#[actix_rt::test]
async fn expect_is_answered_before_the_body_is_sent() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let relay = RunningRelay::start().await;
    let body = asks(false);
    let head = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: {}\r\nexpect: 100-continue\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        relay.address,
        body.len()
    );
    let mut stream = tokio::net::TcpStream::connect(relay.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(interim, *b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[actix_rt::test]
async fn each_path_says_by_what_it_is_asked() {
    let relay = RunningRelay::start().await;
    let asked = async |method: &str, path: &str, more: &str| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{more}connection: close\r\n\r\n",
            relay.address
        );
        relay.exchange(&request).await
    };
    for (path, allow, wrong) in [
        ("responses", "POST, OPTIONS", "DELETE"),
        ("chat/completions", "POST, OPTIONS", "GET"),
        ("responses/compact", "POST, OPTIONS", "GET"),
        ("models", "GET, HEAD, OPTIONS", "POST"),
        ("models/demo", "GET, HEAD, OPTIONS", "DELETE"),
        ("responses/resp_1", "GET, HEAD, DELETE, OPTIONS", "PUT"),
        ("responses/resp_1/cancel", "POST, OPTIONS", "GET"),
        ("responses/resp_1/input_items", "GET, OPTIONS", "POST"),
    ] {
        for path in [
            format!("/v1/{path}"),
            format!("/{path}"),
            format!("/v1/{path}/"),
            format!("/{path}/"),
        ] {
            let (status, head, body) = asked(wrong, &path, "").await;
            assert_eq!(
                (status, header(&head, "allow")),
                (405, Some(allow)),
                "{path}"
            );
            assert!(body.contains("method_not_allowed"), "{path}: {body}");
            let (status, head, _) = asked("OPTIONS", &path, "").await;
            assert_eq!(
                (status, header(&head, "allow")),
                (204, Some(allow)),
                "{path}"
            );
            let (status, _, body) = asked("HEAD", &path, "").await;
            let expected = if path.trim_end_matches('/').ends_with("resp_1") {
                404
            } else {
                200
            };
            assert_eq!((status, &*body), (expected, ""), "{path}");
        }
    }
    for path in ["/", "/page.js", "/page.css", "/streams"] {
        let (status, head, body) = asked("POST", path, "").await;
        let allow = header(&head, "allow");
        assert_eq!(
            (status, allow),
            (405, Some("GET, HEAD, OPTIONS")),
            "{path}: {body}"
        );
        assert_eq!(asked("HEAD", path, "").await.0, 200, "{path}");
        assert_eq!(asked("OPTIONS", path, "").await.0, 204, "{path}");
    }
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n";
    for path in ["/v1/responses", "/responses/"] {
        let (status, _, body) = asked("GET", path, upgrade).await;
        assert_eq!(status, 426, "{path}");
        assert!(body.contains("upgrade_required"), "{body}");
        // Its body has no end.
        let (status, ..) = asked("POST", path, upgrade).await;
        assert_eq!(status, 426, "{path}");
    }
}

/// A relay with a key of its own in front of the first of two servers.
async fn keyed(reply: Option<Reply>) -> (RunningRelay, Loopback) {
    let other = Loopback::start(LoopbackOptions::default()).expect("a server");
    let script = reply.map_or_else(Script::default, Script::always);
    let upstream =
        Loopback::start(LoopbackOptions::default().with_script(script)).expect("a server");
    let provider = Provider::new("keyed", &upstream.base_url()).expect("a provider");
    let provider = provider.with_auth(BearerAuth::new("sk-of-the-relay").expect("a key"));
    let runtime = Runtime::start(provider.clone()).expect("a runtime");
    let routes = RouteTable::single(provider);
    let relay = Relay::new(runtime, routes, RelayConfig::default());
    (RunningRelay::serving(upstream, relay), other)
}

#[actix_rt::test]
async fn no_body_header_or_query_chooses_the_server() {
    let (relay, other) = keyed(None).await;
    let url = other.base_url();
    let host = other.address().to_string();
    let headers: String = [
        "x-forwarded-host",
        "x-host",
        "forwarded",
        "x-original-url",
        "x-rewrite-url",
        "x-base-url",
        "x-provider",
    ]
    .iter()
    .map(|name| format!("{name}: {host}\r\n"))
    .collect();
    let mut body = json!({"model": "demo", "input": "hello"});
    for name in [
        "base_url",
        "api_base",
        "provider",
        "url",
        "endpoint",
        "model_provider",
        "api_key",
    ] {
        body[name] = url.clone().into();
    }
    for path in [
        "/v1/responses",
        "/v1/chat/completions",
        "/v1/responses/compact",
    ] {
        if path.ends_with("completions") {
            body["messages"] = json!([{"role": "user", "content": "hello"}]);
            body.as_object_mut().map(|members| members.remove("input"));
        } else {
            body["input"] = "hello".into();
            body.as_object_mut()
                .map(|members| members.remove("messages"));
        }
        let path = format!("{path}?base_url={url}&provider={url}&host={host}");
        let (status, _, answer) = post(&relay, &path, &headers, &body.to_string()).await;
        assert_eq!(status, 200, "{path}: {answer}");
    }
    // A proxy's form of a request names a host, which is not ours.
    let (status, _, _) = post(
        &relay,
        "http://evil.example/v1/responses",
        "",
        &body.to_string(),
    )
    .await;
    assert_eq!(status, 403);
    assert_eq!(relay.upstream.request_count(), 3);
    assert!(other.connections().is_empty());
    for request in relay.upstream.requests() {
        assert_eq!(request.headers["authorization"], "Bearer sk-of-the-relay");
        assert_eq!(request.query, None);
    }
}

#[actix_rt::test]
async fn a_redirect_is_an_error_and_the_key_goes_nowhere_else() {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = Loopback::start(LoopbackOptions::default()).expect("a server");
        let location = format!("{}/responses?key=hidden", elsewhere.base_url());
        let reply = Reply::text("moved")
            .with_path("/")
            .with_status(StatusCode::from_u16(status).expect("a status"))
            .with_header("location", location);
        let (relay, _) = keyed(Some(reply.clone())).await;
        let mut answers = vec![relay.get("/v1/models").await];
        // An id that is asked of the server with the client's own key.
        let options = LoopbackOptions::default().with_script(Script::always(reply));
        let passing = RunningRelay::with(options, RelayConfig::default()).await;
        let own = "authorization: Bearer of-the-client\r\n";
        let cancel = "/v1/responses/resp_unknown/cancel";
        answers.push(post(&passing, cancel, own, "").await);
        assert_eq!(passing.upstream.request_count(), 1);
        for stream in [true, false] {
            answers.push(post(&relay, "/v1/responses", "", &asks(stream)).await);
        }
        for (status, head, body) in answers {
            assert_eq!(status, 502, "{head} {body}");
            assert_eq!(header(&head, "location"), None, "{head}");
            let error: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{body}"));
            let message = error["error"]["message"].as_str().unwrap_or_default();
            assert!(message.contains("is not followed"), "{message}");
            assert!(
                !body.contains("sk-of-the-relay") && !body.contains("hidden"),
                "{body}"
            );
        }
        assert!(elsewhere.connections().is_empty(), "{status}");
    }
}
