//! What a client sends and what it gets: bodies, paths, methods, answers in one piece and headers both ways.

use std::io::Write as _;

use actix_responses::{
    Runtime,
    actors::SupervisorConfig,
    loopback::{Action, Loopback, LoopbackOptions, Position, Reply, Script},
    provider::{BearerAuth, Provider},
    relay::{Relay, RelayConfig, Route, RouteTable, Target},
};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{RunningRelay, header, post, post_bytes};

fn asks(stream: bool) -> String {
    json!({"model": "demo", "input": "hello", "stream": stream}).to_string()
}

fn upstream(reply: Reply) -> LoopbackOptions {
    LoopbackOptions::default().with_script(Script::always(reply))
}

#[actix_rt::test]
async fn a_stream_is_the_servers_bytes() {
    let relay = RunningRelay::start().await;
    let (status, head, body) = post(&relay, "/v1/responses", "", &asks(true)).await;
    assert_eq!(status, 200, "{head}");
    assert_eq!(
        header(&head, "content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    assert_eq!(header(&head, "cache-control"), Some("no-cache"));
    assert_eq!(header(&head, "x-accel-buffering"), Some("no"));
    assert!(header(&head, "x-relay-stream").is_some(), "{head}");
    assert!(header(&head, "server-timing").is_some(), "{head}");
    assert_eq!(header(&head, "x-relay-attempt"), Some("1"));
    assert!(body.contains("event: response.completed"), "{body}");
    assert!(body.trim_end().ends_with("0"), "a last chunk: {body}");
}

#[actix_rt::test]
async fn ids_stand_in_a_stream_where_they_are_asked_for_and_never_else() {
    let relay = RunningRelay::start().await;
    let ids = |body: &str| -> Vec<u64> {
        let ids = body.lines().filter_map(|line| line.strip_prefix("id: "));
        ids.map(|id| id.parse().unwrap()).collect()
    };
    for more in ["", "x-relay-ids: false\r\n"] {
        let (_, _, body) = post(&relay, "/v1/responses", more, &asks(true)).await;
        assert!(!body.contains("\nid:"), "{body}");
    }
    let more = "x-relay-ids: true\r\n";
    let (_, head, body) = post(&relay, "/v1/responses", more, &asks(true)).await;
    let told = ids(&body);
    assert_eq!(
        told,
        (0..told.len() as u64).collect::<Vec<_>>(),
        "the server's own"
    );
    assert_eq!(told.len(), body.matches("\ndata: ").count(), "{body}");
    // They are the cursors of a replay.
    let id = header(&head, "x-relay-stream").unwrap();
    let path = format!("/v1/responses/{id}?stream=true&starting_after=3");
    let (_, _, rest) = relay.get(&path).await;
    assert_eq!(ids(&rest), told[4..]);
    // On Chat they are our own count of the chunks.
    let chat =
        json!({"model": "demo", "messages": [{"role": "user", "content": "hi"}], "stream": true});
    let (_, _, body) = post(&relay, "/v1/chat/completions", more, &chat.to_string()).await;
    let told = ids(&body);
    assert_eq!(told, (1..=told.len() as u64).collect::<Vec<_>>());
    assert!(body.contains("data: [DONE]\nid: "), "{body}");
}

#[actix_rt::test]
async fn without_stream_the_closing_object_comes_byte_for_byte() {
    let object = r#"{"id":"resp_1", "object":"response","z":1.0,"status":"completed","model":"demo","a":{"unknown":[1e2]},"output":[{"type":"message","id":"m","role":"assistant","status":"completed","content":[{"type":"output_text","text":"hi","annotations":[]}]}]}"#;
    let sse = format!(
        "event: response.created\ndata: {{\"type\":\"response.created\",\"sequence_number\":0,\"response\":{{\"id\":\"resp_1\"}}}}\n\n\
         event: response.completed\ndata: {{\"type\":\"response.completed\",\"sequence_number\":1,\"response\":{object}}}\n\n"
    );
    let reply = Reply::sse(sse)
        .with_header("x-request-id", "req_7")
        .with_header("set-cookie", "a=b");
    let relay = RunningRelay::with(upstream(reply), RelayConfig::default()).await;
    for body in [
        asks(false),
        json!({"model": "demo", "input": "hello"}).to_string(),
    ] {
        let (status, head, body) = post(&relay, "/v1/responses", "", &body).await;
        assert_eq!((status, &*body), (200, object), "{head}");
        assert_eq!(header(&head, "x-request-id"), Some("req_7"));
        assert_eq!(header(&head, "content-type"), Some("application/json"));
        assert_eq!(header(&head, "set-cookie"), None);
    }
}

#[actix_rt::test]
async fn a_server_that_resets_right_after_the_terminal_event_is_asked_once_and_its_answer_ends_well()
 {
    const CLIENTS: usize = 50;
    let (wanted, _) = {
        let relay = RunningRelay::start().await;
        whole_body(&post(&relay, "/v1/responses", "", &asks(true)).await)
    };
    let reset = Reply::default().with_fault(Position::BodyEnd, Action::Reset);
    let relay = RunningRelay::with(upstream(reset), RelayConfig::default()).await;
    let asks = asks(true);
    let asking = (0..CLIENTS).map(|_| post(&relay, "/v1/responses", "", &asks));
    for answer in futures_util::future::join_all(asking).await {
        let (kinds, last) = whole_body(&answer);
        assert_eq!((kinds, &*last), (wanted.clone(), "response.completed"));
    }
    assert_eq!(relay.upstream.request_count(), CLIENTS as u64);
}

/// The kinds of the events of a body that has a proper end, and the last of them.
fn whole_body((status, head, body): &(u16, String, String)) -> (Vec<String>, String) {
    assert_eq!(*status, 200, "{head}");
    assert!(body.ends_with("\r\n0\r\n\r\n"), "no last chunk: {body}");
    let kinds = body.lines().filter_map(|line| line.strip_prefix("event: "));
    let kinds: Vec<_> = kinds.map(str::to_owned).collect();
    let last = kinds.last().expect("an event").clone();
    (kinds, last)
}

/// The relay asks the server for the usage in any case.
#[actix_rt::test]
async fn a_chat_client_that_did_not_ask_for_the_usage_gets_no_chunk_without_choices() {
    let relay = RunningRelay::start().await;
    let asks = |options: Value, stream: bool| {
        json!({"model": "demo", "messages": [{"role": "user", "content": "hi"}], "stream": stream, "stream_options": options})
            .to_string()
    };
    for (options, told) in [
        (Value::Null, false),
        (json!({"include_usage": false}), false),
        (json!({"include_usage": true}), true),
    ] {
        let (_, _, body) = post(
            &relay,
            "/v1/chat/completions",
            "",
            &asks(options.clone(), true),
        )
        .await;
        assert_eq!(body.contains("\"choices\":[]"), told, "{options}: {body}");
        assert!(body.contains("data: [DONE]"), "{body}");
    }
    let (_, _, body) = post(
        &relay,
        "/v1/chat/completions",
        "",
        &asks(Value::Null, false),
    )
    .await;
    assert!(
        body.contains("\"completion_tokens\":"),
        "an answer in one piece has it: {body}"
    );
}

/// However late they come: nothing is sent before.
#[actix_rt::test]
async fn an_answer_in_one_piece_has_the_servers_headers_and_status_though_the_head_is_late() {
    let late = |reply: Reply| {
        let reply = reply.with_header("x-request-id", "req_7");
        upstream(reply.delay_head(std::time::Duration::from_millis(20)))
    };
    let config = RelayConfig::default()
        .with_head_patience(std::time::Duration::ZERO)
        .with_preamble_patience(std::time::Duration::ZERO);
    let object = json!({"id": "r", "status": "completed", "output": []});
    let sse = format!(
        "data: {}\n\n",
        json!({"type": "response.completed", "response": object})
    );
    let relay = RunningRelay::with(late(Reply::sse(sse)), config.clone()).await;
    let (status, head, _) = post(&relay, "/v1/responses", "", &asks(false)).await;
    assert_eq!(
        (status, header(&head, "x-request-id")),
        (200, Some("req_7"))
    );
    let refused = json!({"error": {"message": "no", "type": "invalid_request_error"}});
    let reply = Reply::json(refused.clone()).with_status(StatusCode::BAD_REQUEST);
    let relay = RunningRelay::with(late(reply), config).await;
    let (status, head, body) = post(&relay, "/v1/responses", "", &asks(false)).await;
    assert_eq!((status, body), (400, refused.to_string()));
    assert_eq!(header(&head, "x-request-id"), Some("req_7"));
    // A stream is kept alive.
    let (status, _, body) = post(&relay, "/v1/responses", "", &asks(true)).await;
    assert!(
        status == 200 && body.contains("response.failed"),
        "{status} {body}"
    );
}

#[actix_rt::test]
async fn an_empty_output_of_the_closing_object_is_rebuilt_from_the_items() {
    let sse = "data: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n\
         data: {\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":\"message\",\"id\":\"m\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"hi\"}]}}\n\n\
         data: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"output\":[]}}\n\n";
    let relay = RunningRelay::with(upstream(Reply::sse(sse)), RelayConfig::default()).await;
    let (_, _, body) = post(&relay, "/v1/responses", "", &asks(false)).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["output"][0]["content"][0]["text"], "hi");
}

#[actix_rt::test]
async fn chat_without_stream_is_a_completion_of_its_chunks() {
    let sse = concat!(
        "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":5,\"model\":\"demo\",\"x_own\":1,\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"th\"}}]}\n\n",
        "data: {\"id\":\"c1\",\"created\":5,\"model\":\"demo\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"he\",\"reasoning_content\":\"ink\"}}]}\n\n",
        "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"llo\",\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\"\"}}]}}]}\n\n",
        "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}},{\"index\":0,\"function\":{\"arguments\":\":1}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\n",
        "data: {\"id\":\"c1\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}\n\n",
        "data: [DONE]\n\n",
    );
    let relay = chat_relay(Reply::sse(sse)).await;
    let body = json!({"model": "demo", "messages": [{"role": "user", "content": "hi"}]});
    let (status, head, body) = post(&relay, "/v1/chat/completions", "", &body.to_string()).await;
    assert_eq!(status, 200, "{head} {body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(
        (&body["id"], &body["created"], &body["x_own"]),
        (&json!("c1"), &json!(5), &json!(1))
    );
    let choice = &body["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let message = &choice["message"];
    assert_eq!(
        (&message["role"], &message["content"]),
        (&json!("assistant"), &json!("hello"))
    );
    assert_eq!(message["reasoning_content"], "think");
    assert_eq!(
        message["tool_calls"],
        json!([
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ])
    );
    assert_eq!(body["usage"]["total_tokens"], 3);
}

#[actix_rt::test]
async fn the_choices_of_a_completion_in_one_piece_are_kept_apart() {
    let mut sse = String::new();
    for (index, text) in [(0, "a"), (1, "x"), (0, "b"), (1, "y")] {
        let choice = json!({"index": index, "delta": {"content": text}});
        sse += &format!("data: {}\n\n", json!({"id": "c1", "choices": [choice]}));
    }
    for index in [0, 1] {
        let choice = json!({"index": index, "delta": {}, "finish_reason": "stop"});
        sse += &format!("data: {}\n\n", json!({"id": "c1", "choices": [choice]}));
    }
    let relay = chat_relay(Reply::sse(sse + "data: [DONE]\n\n")).await;
    let body = json!({"model": "demo", "messages": [{"role": "user", "content": "hi"}], "n": 2});
    let (_, _, body) = post(&relay, "/v1/chat/completions", "", &body.to_string()).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    let choices = body["choices"].as_array().unwrap();
    let texts: Vec<_> = choices
        .iter()
        .map(|choice| &choice["message"]["content"])
        .collect();
    assert_eq!(texts, ["ab", "xy"]);
    assert_eq!((&choices[1]["index"], body.get("usage")), (&json!(1), None));
}

/// To a client of Responses it is zeros, because Codex stops at a usage without every detail.
#[actix_rt::test]
async fn a_usage_that_the_server_did_not_tell_is_absent_on_chat_and_zeros_on_responses() {
    let object = json!({"id": "r", "status": "completed", "output": []});
    let completed = json!({"type": "response.completed", "response": object});
    let sse = format!(
        "data: {{\"type\":\"response.created\",\"response\":{{\"id\":\"r\"}}}}\n\ndata: {completed}\n\n"
    );
    let relay = RunningRelay::with(upstream(Reply::sse(sse)), RelayConfig::default()).await;
    for stream in [true, false] {
        let body = json!({"model": "demo", "messages": [{"role": "user", "content": "hi"}], "stream": stream,
            "stream_options": {"include_usage": true}});
        let (status, _, body) = post(&relay, "/v1/chat/completions", "", &body.to_string()).await;
        assert_eq!(status, 200, "{body}");
        assert!(
            !body.contains("prompt_tokens") && !body.contains("\"choices\":[]"),
            "{body}"
        );
    }
    let sse = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let relay = chat_relay(Reply::sse(sse)).await;
    let (_, _, body) = post(&relay, "/v1/responses", "", &asks(false)).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        body["usage"]["output_tokens_details"]["reasoning_tokens"], 0,
        "{body}"
    );
}

async fn chat_relay(reply: Reply) -> RunningRelay {
    let upstream = Loopback::start(upstream(reply)).unwrap();
    let provider = Provider::new("chat", &upstream.base_url())
        .unwrap()
        .with_wire(actix_responses::wire::Wire::Chat);
    let runtime = Runtime::start(provider.clone()).unwrap();
    let relay = Relay::new(
        runtime,
        RouteTable::single(provider),
        RelayConfig::default(),
    );
    RunningRelay::serving(upstream, relay)
}

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
async fn a_refusal_is_the_servers_own_status_headers_and_body() {
    let body = json!({"error": {"message": "no", "type": "invalid_request_error", "code": "bad", "param": "x", "own": [1.0]}});
    let reply = Reply::json(body.clone())
        .with_status(StatusCode::BAD_REQUEST)
        .with_header("x-request-id", "req_9")
        .with_header("x-codex-primary-used-percent", "5")
        .with_header("set-cookie", "a=b");
    let relay = RunningRelay::with(upstream(reply), RelayConfig::default()).await;
    let (status, head, answer) = post(
        &relay,
        "/v1/responses",
        "originator: codex_cli_rs\r\n",
        &asks(true),
    )
    .await;
    assert_eq!((status, answer), (400, body.to_string()), "{head}");
    assert_eq!(header(&head, "x-request-id"), Some("req_9"));
    assert_eq!(header(&head, "x-codex-primary-used-percent"), Some("5"));
    assert_eq!(header(&head, "set-cookie"), None);
    assert_eq!(relay.upstream.request_count(), 1);
}

/// A relay whose runtime asks once.
async fn once(reply: Reply) -> RunningRelay {
    let upstream = Loopback::start(upstream(reply)).unwrap();
    let provider = Provider::new("once", &upstream.base_url())
        .unwrap()
        .with_max_attempts(1);
    let routes = RouteTable::single(provider.clone());
    let runtime = Runtime::with_config(SupervisorConfig::new(provider)).unwrap();
    RunningRelay::serving(
        upstream,
        Relay::new(runtime, routes, RelayConfig::default()),
    )
}

#[actix_rt::test]
async fn retries_do_not_multiply_and_codex_is_told_in_the_stream() {
    let body =
        json!({"error": {"message": "down", "type": "server_error", "code": "server_error"}});
    let reply = Reply::json(body.clone()).with_status(StatusCode::INTERNAL_SERVER_ERROR);
    let relay = once(reply).await;
    let (status, head, answer) = post(&relay, "/v1/responses", "", &asks(true)).await;
    assert_eq!((status, answer), (500, body.to_string()));
    assert_eq!(header(&head, "x-should-retry"), Some("false"));
    assert_eq!(relay.upstream.request_count(), 1, "as the provider says");
    let (status, _, answer) = post(
        &relay,
        "/v1/responses",
        "originator: codex_cli_rs\r\n",
        &asks(true),
    )
    .await;
    assert_eq!(status, 200);
    let created = answer.find("response.created").expect("a beginning");
    let failed = answer.find("response.failed").expect("an end");
    assert!(
        created < failed && answer.contains("server_error"),
        "{answer}"
    );
}

#[actix_rt::test]
async fn a_429_goes_out_with_retry_after_in_whole_seconds_wherever_it_was_said() {
    let limited = |message: &str| {
        let error = json!({"message": message, "type": "tokens", "code": "rate_limit_exceeded"});
        Reply::json(json!({"error": error})).with_status(StatusCode::TOO_MANY_REQUESTS)
    };
    for (reply, expected) in [
        (
            limited("Rate limit reached. Please try again in 2.5s."),
            "3",
        ),
        (limited("slow").with_header("retry-after-ms", "1200"), "2"),
        (
            limited("slow").with_header("llm_provider-retry-after", "7"),
            "7",
        ),
        (limited("slow").with_header("retry-after", "4"), "4"),
    ] {
        let relay = once(reply).await;
        let more = "originator: codex_cli_rs\r\n";
        let (status, head, answer) = post(&relay, "/v1/responses", more, &asks(true)).await;
        assert_eq!(status, 429, "{answer}");
        assert_eq!(header(&head, "retry-after"), Some(expected), "{head}");
    }
}

#[actix_rt::test]
async fn our_own_failures_are_502_and_503_in_the_envelope() {
    let relay = once(Reply::default().close_before_head()).await;
    let (status, _, answer) = post(&relay, "/v1/responses", "", &asks(false)).await;
    assert_eq!(status, 502, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert!(answer["error"]["message"].is_string());
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

#[actix_rt::test]
async fn a_client_of_responses_is_answered_by_a_chat_server_with_its_tools_kinds() {
    let sse = concat!(
        "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"apply_patch\",\"arguments\":\"{\\\"input\\\":\\\"patch\\\"}\"}}]},\"finish_reason\":\"tool_calls\"}]}\n\n",
        "data: {\"id\":\"c1\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}\n\n",
        "data: [DONE]\n\n",
    );
    let relay = chat_relay(Reply::sse(sse)).await;
    let tools = json!([{"type": "custom", "name": "apply_patch", "description": "d"}]);
    for stream in [true, false] {
        let body = json!({"model": "demo", "input": "hello", "tools": tools, "stream": stream});
        let (status, head, body) = post(&relay, "/v1/responses", "", &body.to_string()).await;
        assert_eq!(status, 200, "{head} {body}");
        assert!(body.contains("custom_tool_call"), "{body}");
        assert!(body.contains("\"input\":\"patch\""), "{body}");
        assert_eq!(body.contains("response.completed"), stream, "{body}");
    }
    assert_eq!(relay.upstream.requests()[0].path, "/v1/chat/completions");
    let body = json!({"model": "demo", "input": "hello", "previous_response_id": "resp_none"});
    let (status, _, body) = post(&relay, "/v1/responses", "", &body.to_string()).await;
    assert_eq!(status, 400, "{body}");
    assert!(body.contains("previous_response_not_found"), "{body}");
}

#[actix_rt::test]
async fn a_client_of_chat_is_answered_by_a_server_of_responses() {
    let relay = RunningRelay::start().await;
    let body = json!({"model": "demo", "messages": [{"role": "user", "content": "hello"}], "stream": true});
    let (status, _, body) = post(&relay, "/v1/chat/completions", "", &body.to_string()).await;
    assert_eq!(status, 200, "{body}");
    assert!(
        body.contains("chat.completion.chunk") && body.contains("data: [DONE]"),
        "{body}"
    );
    let tools = json!([{"type": "function", "function": {"name": "weather"}}]);
    let body = json!({"model": "demo", "messages": [{"role": "user", "content": "hello"}], "tools": tools,
        "tool_choice": "required"});
    let (status, _, body) = post(&relay, "/v1/chat/completions", "", &body.to_string()).await;
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["choices"][0]["finish_reason"], "tool_calls", "{body}");
    assert!(body["usage"]["total_tokens"].is_u64(), "{body}");
}
