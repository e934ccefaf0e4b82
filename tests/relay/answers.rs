//! What comes back from a server that answers: streams, answers in one piece, and the other dialect.

use actix_responses::{
    Runtime,
    loopback::{Action, Loopback, Position, Reply},
    provider::Provider,
    relay::{Relay, RelayConfig, RouteTable},
};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{RunningRelay, asks, header, post, upstream};

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
