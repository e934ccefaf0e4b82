//! What a client sends: bodies, paths, methods, keys and models.

use std::io::Write as _;

use actix_responses::{
    Runtime,
    loopback::{Loopback, LoopbackOptions, Reply, Script},
    provider::{BearerAuth, Provider},
    relay::{Relay, RelayConfig, Route, RouteTable, Target},
    wire::Wire,
};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{RunningRelay, asks, header, post, post_bytes, upstream};

#[actix_rt::test]
async fn bodies_are_unpacked_in_every_coding() {
    let relay = RunningRelay::start().await;
    let body = asks(false);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body.as_bytes()).unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(body.as_bytes()).unwrap();
    let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    raw.write_all(body.as_bytes()).unwrap();
    let packed = [
        ("zstd", zstd::encode_all(body.as_bytes(), 3).unwrap()),
        ("gzip", gzip.finish().unwrap()),
        ("deflate", zlib.finish().unwrap()),
        ("deflate", raw.finish().unwrap()),
        ("identity", body.clone().into_bytes()),
        ("br", brotli_of(body.as_bytes())),
    ];
    for (coding, packed) in packed {
        let more = format!("content-encoding: {coding}\r\n");
        let (status, _, answer) = post_bytes(&relay, "/v1/responses", &more, &packed).await;
        assert_eq!(status, 200, "{coding}: {answer}");
        let sent = relay.upstream.requests();
        let sent = sent.last().unwrap();
        assert_eq!(sent.json().unwrap()["input"], "hello", "{coding}");
        assert!(!sent.headers.contains_key("content-encoding"));
    }
    for coding in ["lzma", "gzip, zstd", "\u{7f}"] {
        let more = format!("content-encoding: {coding}\r\n");
        let (status, _, answer) = post(&relay, "/v1/responses", &more, &body).await;
        assert!([400, 415].contains(&status), "{coding}: {status} {answer}");
    }
    let more = "content-encoding: gzip\r\n";
    let (status, _, answer) = post(&relay, "/v1/responses", more, "no gzip at all").await;
    assert_eq!(status, 400, "{answer}");
    assert!(answer.contains("invalid_body"), "{answer}");
}

/// Brotli without compression: a block that says its bytes.
fn brotli_of(bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() <= 1 << 16);
    // WBITS 16 (one bit 0); then ISLAST 0, MNIBBLES 4 (00), MLEN - 1 (16 bits), ISUNCOMPRESSED 1.
    let length = (bytes.len() - 1) as u32;
    let bits = (length << 4) | (1 << 20);
    let mut packed = bits.to_le_bytes()[..3].to_vec();
    packed.extend_from_slice(bytes);
    // ISLAST and ISLASTEMPTY.
    packed.push(0b11);
    packed
}

#[actix_rt::test]
async fn a_bomb_is_413_and_so_is_a_body_of_a_gibibyte_before_it_is_read() {
    let config = RelayConfig::default().with_max_body_bytes(1 << 20);
    let relay = RunningRelay::with(LoopbackOptions::default(), config).await;
    let bomb = zstd::encode_all(&vec![b' '; 64 << 20][..], 3).unwrap();
    assert!(bomb.len() < 64 << 10);
    let (status, _, answer) =
        post_bytes(&relay, "/v1/responses", "content-encoding: zstd\r\n", &bomb).await;
    assert_eq!(status, 413, "{answer}");
    assert!(answer.contains("request_too_large"), "{answer}");
    let head = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: {}\r\ncontent-length: 1073741824\r\nconnection: close\r\n\r\n",
        relay.address
    );
    let (status, _, _) = relay.exchange(&head).await;
    assert_eq!(status, 413);
    assert_eq!(relay.upstream.request_count(), 0);
}

#[actix_rt::test]
async fn bad_json_is_400_in_the_envelope_and_names_the_member() {
    let relay = RunningRelay::start().await;
    for (body, param) in [
        ("{", Value::Null),
        ("[]", Value::Null),
        (r#"{"model":"m","input":7}"#, json!("input")),
        (
            r#"{"model":"m","input":"x","temperature":"hot"}"#,
            json!("temperature"),
        ),
        (r#"{"input":"x"}"#, json!("model")),
        (r#"{"model":"m","messages":[]}"#, json!("messages")),
    ] {
        let (status, head, answer) = post(&relay, "/v1/responses", "", body).await;
        assert_eq!(status, 400, "{body}: {answer}");
        let error: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(error["error"]["type"], "invalid_request_error");
        assert_eq!(error["error"]["param"], param, "{body}: {answer}");
        assert_eq!(header(&head, "x-should-retry"), Some("false"));
    }
    assert_eq!(relay.upstream.request_count(), 0);
}

#[actix_rt::test]
async fn paths_with_v1_and_bare_with_a_slash_and_without_are_one() {
    let relay = RunningRelay::start().await;
    for path in [
        "/v1/responses",
        "/v1/responses/",
        "/responses",
        "/responses/",
    ] {
        let (status, _, answer) = post(&relay, path, "", &asks(false)).await;
        assert_eq!(status, 200, "{path}: {answer}");
    }
    for path in ["/v1/models", "/v1/models/", "/models", "/models/"] {
        let (status, _, answer) = relay.get(path).await;
        assert_eq!(status, 200, "{path}: {answer}");
        let list: Value = serde_json::from_str(&answer).unwrap();
        assert!(
            list["data"][0]["id"].is_string() && list["models"][0]["slug"].is_string(),
            "{answer}"
        );
    }
}

#[actix_rt::test]
async fn methods_and_paths_that_are_none_are_said_so() {
    let relay = RunningRelay::start().await;
    let asked = |method: &str, path: &str, more: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{more}connection: close\r\n\r\n",
            relay.address
        )
    };
    let (status, head, _) = relay
        .exchange(&asked("DELETE", "/v1/chat/completions", ""))
        .await;
    assert_eq!(
        (status, header(&head, "allow")),
        (405, Some("POST, OPTIONS"))
    );
    let (status, head, _) = relay.exchange(&asked("OPTIONS", "/v1/responses", "")).await;
    assert_eq!(
        (status, header(&head, "allow")),
        (204, Some("POST, OPTIONS"))
    );
    let (status, _, _) = relay
        .exchange(&asked("HEAD", "/v1/chat/completions", ""))
        .await;
    assert_eq!(status, 200);
    let (status, _, body) = relay.exchange(&asked("GET", "/v1/nothing", "")).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["error"]["code"]), (404, &json!("not_found")));
    let upgrade = "upgrade: websocket\r\nsec-websocket-version: 13\r\n";
    let upgrade = asked("GET", "/v1/responses", upgrade);
    let (status, _, _) = relay.exchange(&upgrade).await;
    assert_eq!(status, 426);
}

#[actix_rt::test]
async fn the_providers_key_replaces_the_clients() {
    let upstream = Loopback::start(LoopbackOptions::default()).unwrap();
    let provider = Provider::new("keyed", &upstream.base_url())
        .unwrap()
        .with_auth(BearerAuth::new("sk-of-the-relay").unwrap());
    let runtime = Runtime::start(provider.clone()).unwrap();
    let relay = Relay::new(
        runtime,
        RouteTable::single(provider),
        RelayConfig::default(),
    );
    let relay = RunningRelay::serving(upstream, relay);
    let more = "authorization: Bearer of-the-client\r\nx-api-key: of-the-client\r\n";
    post(&relay, "/v1/responses", more, &asks(false)).await;
    let sent = relay.upstream.requests();
    let sent = &sent.last().unwrap().headers;
    assert_eq!(sent["authorization"], "Bearer sk-of-the-relay");
    assert!(!sent.contains_key("x-api-key"), "{sent:?}");
}

#[actix_rt::test]
async fn a_key_that_was_refused_rests_and_the_next_one_asks() {
    let limited = Reply::error(StatusCode::TOO_MANY_REQUESTS).with_header("retry-after", "3600");
    let mut options = LoopbackOptions::default();
    options.script = Script::new(vec![limited]);
    let upstream = Loopback::start(options).unwrap();
    let keyed = |key: &str| {
        let provider = Provider::new("keyed", &upstream.base_url()).unwrap();
        provider.with_auth(BearerAuth::new(key).unwrap())
    };
    let runtime = Runtime::start(keyed("sk-first")).unwrap();
    let target = Target::with_keys(keyed("sk-first").into(), vec![keyed("sk-second").into()]);
    let table = RouteTable::new(vec![Route::new("*", target)]);
    let relay = Relay::new(runtime, table, RelayConfig::default());
    let relay = RunningRelay::serving(upstream, relay);
    for (status, key) in [(429, "sk-first"), (200, "sk-second"), (200, "sk-second")] {
        let (answered, _, answer) = post(&relay, "/v1/responses", "", &asks(false)).await;
        assert_eq!(answered, status, "{answer}");
        let sent = relay.upstream.requests();
        let sent = &sent.last().unwrap().headers["authorization"];
        assert_eq!(sent, &format!("Bearer {key}"));
    }
}

#[actix_rt::test]
async fn a_renamed_model_carries_the_clients_name_in_head_and_body() {
    let object = json!({"id": "r", "object": "response", "model": "theirs", "status": "completed", "output": []});
    let sse = format!(
        "data: {{\"type\":\"response.created\",\"response\":{object}}}\n\ndata: {{\"type\":\"response.completed\",\"response\":{object}}}\n\n"
    );
    let reply = Reply::sse(sse).with_header("openai-model", "theirs");
    let upstream = Loopback::start(upstream(reply)).unwrap();
    let provider = Provider::new("renaming", &upstream.base_url()).unwrap();
    let runtime = Runtime::start(provider.clone()).unwrap();
    let table = RouteTable::new(vec![Route::new(
        "demo",
        Target::new(provider).with_model("theirs"),
    )]);
    let relay = Relay::new(runtime, table, RelayConfig::default());
    let relay = RunningRelay::serving(upstream, relay);
    for stream in [true, false] {
        let (status, head, body) = post(&relay, "/v1/responses", "", &asks(stream)).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(header(&head, "openai-model"), Some("demo"), "{head}");
        assert!(
            body.contains("\"demo\"") && !body.contains("theirs"),
            "{body}"
        );
    }
    assert_eq!(
        relay.upstream.requests()[0].json().unwrap()["model"],
        "theirs"
    );
    let (status, _, body) = relay.get("/v1/models").await;
    assert_eq!(status, 200);
    let list: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&list["data"][0]["id"], &list["models"][0]["slug"]),
        (&json!("demo"), &json!("demo"))
    );
    let unknown = asks(false).replace("demo", "nobodys");
    let (status, _, body) = post(&relay, "/v1/responses", "", &unknown).await;
    assert_eq!(status, 404);
    assert!(body.contains("model_not_found"), "{body}");
}

#[actix_rt::test]
async fn compaction_and_the_etag_of_models_are_passed_on() {
    let relay = RunningRelay::start().await;
    let body = r#"{"model": "demo", "input": "hello", "unknown": [1e2]}"#;
    let (status, _, answer) = post(&relay, "/v1/responses/compact", "", body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(relay.upstream.requests()[0].body, body);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert!(answer["output"].is_array(), "{answer}");
    let (_, _, list) = relay.get("/v1/models").await;
    let list: Value = serde_json::from_str(&list).unwrap();
    let id = list["data"][0]["id"].as_str().unwrap();
    let (status, _, model) = relay.get(&format!("/v1/models/{id}")).await;
    assert_eq!(status, 200);
    assert!(model.contains(id));
    let (status, _, _) = relay.get("/v1/models/none-of-that-name").await;
    assert_eq!(status, 404);
    let unchanged = Reply::text("")
        .with_path("/models")
        .with_status(StatusCode::NOT_MODIFIED)
        .with_header("etag", "\"v7\"");
    let relay = RunningRelay::with(upstream(unchanged), RelayConfig::default()).await;
    let (status, head, _) = relay
        .exchange(&format!(
            "GET /v1/models HTTP/1.1\r\nhost: {}\r\nif-none-match: \"v7\"\r\nconnection: close\r\n\r\n",
            relay.address
        ))
        .await;
    assert_eq!((status, header(&head, "etag")), (304, Some("\"v7\"")));
}

/// JavaScript sends half of an emoji where it cuts a text within one.
#[actix_rt::test]
async fn half_a_character_passes_as_it_came_and_is_a_sign_over_the_bridge() {
    const USAGE: &str = r#""stream_options":{"include_usage":true}"#;
    let of_responses = [
        r#"{"model":"m","stream":true,"input":"cut \ud83d"}"#.to_owned(),
        r#"{"model":"m","stream":true,"instructions":"cut \uD83D","input":"x","user":"\ude00"}"#
            .to_owned(),
        r#"{"model":"m","stream":true,"input":[{"role":"user","content":"cut \ud83d"}]}"#
            .to_owned(),
    ];
    let of_chat = [
        r#""messages":[{"role":"user","content":"cut \ud83d"}]"#,
        r#""zz":["cut \ud83d"],"messages":[{"role":"user","content":"x"}]"#,
    ]
    .map(|said| format!(r#"{{"model":"m","stream":true,{USAGE},{said}}}"#));
    for server in [Wire::Responses, Wire::Chat] {
        let upstream = Loopback::start(LoopbackOptions::default()).unwrap();
        let provider = Provider::new("p", &upstream.base_url()).unwrap();
        let provider = provider.with_wire(server);
        let runtime = Runtime::start(provider.clone()).unwrap();
        let routes = RouteTable::single(provider);
        let relay = Relay::new(runtime, routes, RelayConfig::default());
        let relay = RunningRelay::serving(upstream, relay);
        let responses = of_responses.iter().map(|body| (Wire::Responses, body));
        for (client, body) in responses.chain(of_chat.iter().map(|body| (Wire::Chat, body))) {
            let path = match client {
                Wire::Chat => "/v1/chat/completions",
                _ => "/v1/responses",
            };
            let (status, _, answer) = post(&relay, path, "", body).await;
            let sent = relay.upstream.requests();
            let sent = std::str::from_utf8(&sent.last().unwrap().body).unwrap();
            if client == server {
                // What the server makes of it is its own affair; this one can't read it.
                assert_eq!(sent, body);
                continue;
            }
            assert_eq!(status, 200, "{body}: {answer}");
            assert!(sent.contains("cut \u{fffd}"), "{sent}");
            // What else the client said is read all the same.
            if client == Wire::Chat {
                assert!(answer.contains("\"prompt_tokens\""), "{answer}");
            }
        }
    }
}

#[actix_rt::test]
async fn who_asks_by_http_1_0_gets_no_chunks_and_reads_until_the_connection_ends() {
    let relay = RunningRelay::start().await;
    for (path, body) in [
        ("/v1/responses", asks(true)),
        (
            "/v1/chat/completions",
            json!({"model": "demo", "messages": [{"role": "user", "content": "hello"}], "stream": true}).to_string(),
        ),
    ] {
        let request = format!(
            "POST {path} HTTP/1.0\r\nhost: {}\r\nconnection: keep-alive\r\ncontent-length: {}\r\n\r\n{body}",
            relay.address,
            body.len()
        );
        let (status, head, answer) = relay.exchange(&request).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(header(&head, "transfer-encoding"), None, "{head}");
        assert!(
            answer.starts_with("event: ") || answer.starts_with("data: "),
            "{answer}"
        );
        assert!(answer.ends_with("\n\n"), "{answer}");
        assert!(
            answer.contains("response.completed") || answer.contains("[DONE]"),
            "{answer}"
        );
    }
}
