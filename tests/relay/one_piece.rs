//! Answers in one piece that the server writes itself (`one_piece = "server"`).

use std::time::Duration;

use actix_responses::{
    Runtime,
    actors::SupervisorConfig,
    loopback::{Loopback, LoopbackOptions, Reply, Script},
    provider::{BearerAuth, Provider},
    relay::{OnePiece, Relay, RelayConfig, Route, RouteTable, Target},
    wire::Wire,
};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::support::{RunningRelay, header, post};

/// As no serializer writes it.
const RESPONSE: &str = "{\"id\":\"resp_1\", \"object\":\"response\",\"z\":1.0,\"usage\":null,\n\"status\":\"completed\",\"model\":\"theirs\",\"a\":{\"model\":\"theirs\",\"n\":[1e2]},\"output\":\
    [{\"type\":\"message\",\"id\":\"msg_1\",\"role\":\"assistant\",\"status\":\"completed\",\"content\":[{\"type\":\"output_text\",\"text\":\"hi\",\"annotations\":[]}]}],\
    \"usage\":{\"input_tokens\":3,\"output_tokens\":4,\"total_tokens\":7}}";
const COMPLETION: &str = "{\"id\":\"c1\",\"object\":\"chat.completion\",\"created\":5, \"model\":\"theirs\",\"citations\":[\"u\"],\"usage\":null,\n\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\
    \"content\":\"hi\",\"tool_calls\":[{\"id\":\"t\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},\"logprobs\":{\"x\":1.0},\"finish_reason\":\"stop\"},\
    {\"index\":1,\"message\":{\"role\":\"assistant\",\"content\":\"ho\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}";

const BOTH: [(Wire, &str, &str); 2] = [
    (Wire::Responses, "/v1/responses", RESPONSE),
    (Wire::Chat, "/v1/chat/completions", COMPLETION),
];

fn body(wire: Wire) -> &'static str {
    match wire {
        Wire::Chat => {
            r#"{ "model":"demo", "messages":[{"role":"user","content":"hi"}], "n":2, "temperature":1.0, "stream":false}"#
        }
        _ => r#"{ "model":"demo", "input":"hi", "own":[1e2]}"#,
    }
}

/// JSON as it is written here.
fn text(json: &str) -> Reply {
    Reply::text(json).with_header("content-type", "application/json")
}

/// A relay in front of this, whose target the test makes of its provider.
async fn relay_of(
    wire: Wire,
    replies: impl IntoIterator<Item = Reply>,
    target: impl FnOnce(Provider) -> Target,
    config: RelayConfig,
) -> RunningRelay {
    let options = LoopbackOptions::default().with_script(Script::new(replies));
    let upstream = Loopback::start(options).expect("an upstream");
    let provider = Provider::new("server", &upstream.base_url()).expect("a provider");
    let provider = provider.with_wire(wire);
    let mut runtime = SupervisorConfig::new(provider.clone());
    runtime.retry.backoff.base = Duration::from_millis(1);
    runtime.limits.max_answer_bytes = 4 << 10;
    let runtime = Runtime::with_config(runtime).expect("a runtime");
    let routes = RouteTable::new(vec![Route::new("*", target(provider))]);
    RunningRelay::serving(upstream, Relay::new(runtime, routes, config))
}

async fn relay(wire: Wire, replies: impl IntoIterator<Item = Reply>) -> RunningRelay {
    let config = RelayConfig::default().with_one_piece(OnePiece::Server);
    relay_of(wire, replies, Target::new, config).await
}

async fn streams(relay: &RunningRelay) -> Vec<Value> {
    let (_, _, list) = relay.get("/streams").await;
    let list: Value = serde_json::from_str(&list).expect("a list");
    list["data"].as_array().expect("rows").clone()
}

#[actix_rt::test]
async fn the_request_goes_as_it_came_and_the_servers_object_comes_byte_for_byte() {
    for (wire, path, object) in BOTH {
        let reply = text(object)
            .with_header("x-request-id", "req_7")
            .with_header("set-cookie", "a=b");
        let relay = relay(wire, [reply]).await;
        let (status, head, got) = post(&relay, path, "", body(wire)).await;
        assert_eq!((status, &*got), (200, object), "{head}");
        assert_eq!(header(&head, "x-request-id"), Some("req_7"));
        assert_eq!(header(&head, "content-type"), Some("application/json"));
        assert_eq!(header(&head, "x-relay-attempt"), Some("1"));
        assert_eq!(header(&head, "set-cookie"), None);
        let sent = relay.upstream.requests().remove(0);
        assert_eq!(sent.body, body(wire));
        assert_eq!(sent.headers["accept"], "application/json");
        // What asks for a stream gets one.
        let asks = body(wire).replace("\"stream\":false", "\"x\":1");
        let asks = asks.replacen('{', "{\"stream\":true,", 1);
        let (_, head, _) = post(&relay, path, "", &asks).await;
        let kind = header(&head, "content-type");
        assert_eq!(kind, Some("text/event-stream; charset=utf-8"));
    }
}

#[actix_rt::test]
async fn a_model_that_the_route_renames_has_the_clients_name_in_the_object_and_nowhere_else() {
    for (wire, path, object) in BOTH {
        let reply = text(object).with_header("openai-model", "theirs");
        let target = |provider| Target::new(provider).with_model("theirs");
        let config = RelayConfig::default().with_one_piece(OnePiece::Server);
        let relay = relay_of(wire, [reply], target, config).await;
        let (_, head, got) = post(&relay, path, "", body(wire)).await;
        let expected = object.replacen("\"model\":\"theirs\"", "\"model\":\"demo\"", 1);
        assert_eq!(got, expected);
        assert_eq!(header(&head, "openai-model"), Some("demo"));
        let sent = relay.upstream.requests().remove(0);
        let asked = body(wire).replace("\"demo\"", "\"theirs\"");
        assert_eq!(sent.body, asked);
    }
}

#[actix_rt::test]
async fn what_is_cut_or_no_json_or_an_error_is_asked_again_and_is_never_an_answer() {
    for (wire, path, object) in BOTH {
        let faults = [
            text(object).cut_after_bytes(object.len() - 1),
            text(object).reset_after_bytes(20),
            // Whole to its transport.
            text(&object[..object.len() - 9]),
            text(r#"{"error":{"message":"busy","type":"server_error","code":"server_error"}}"#),
            Reply::error(StatusCode::INTERNAL_SERVER_ERROR),
        ];
        let count = faults.len();
        let replies = faults.into_iter().flat_map(|fault| [fault, text(object)]);
        let relay = relay(wire, replies).await;
        for _ in 0..count {
            let (status, head, got) = post(&relay, path, "", body(wire)).await;
            assert_eq!((status, &*got), (200, object), "{head}");
            assert_eq!(header(&head, "x-relay-attempt"), Some("2"));
            assert_eq!(streams(&relay).await[0]["attempt"], 2);
        }
        let faults = ["null", "[]", "<html>", "", r#"{"object":"list","data":[]}"#];
        let once = |provider: Provider| Target::new(provider.with_max_attempts(1));
        let config = RelayConfig::default().with_one_piece(OnePiece::Server);
        let relay = relay_of(wire, faults.map(text), once, config).await;
        for fault in faults {
            let (status, _, got) = post(&relay, path, "", body(wire)).await;
            assert_eq!(status, 502, "{fault}: {got}");
            assert!(got.contains("\"error\""), "{got}");
            assert_eq!(streams(&relay).await[0]["state"], "failed");
        }
    }
}

#[actix_rt::test]
async fn an_answer_without_an_end_comes_as_it_is_and_counts_as_incomplete() {
    let response = RESPONSE.replace("completed", "in_progress");
    let completion = COMPLETION.replace("\"finish_reason\":\"stop\"", "\"finish_reason\":null");
    for (wire, path, object) in [
        (Wire::Responses, "/v1/responses", response),
        (Wire::Chat, "/v1/chat/completions", completion),
    ] {
        let relay = relay(wire, [text(&object)]).await;
        let (status, _, got) = post(&relay, path, "", body(wire)).await;
        assert_eq!((status, got), (200, object));
        assert_eq!(streams(&relay).await[0]["state"], "incomplete");
        assert_eq!(relay.upstream.request_count(), 1);
    }
}

#[actix_rt::test]
async fn a_response_that_failed_is_asked_for_again_and_then_comes_as_it_is() {
    let failed = RESPONSE.replacen(
        "\"status\":\"completed\"",
        "\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"no\"}",
        1,
    );
    let reply = text(&failed).with_header("x-request-id", "req_9");
    let target = |provider: Provider| Target::new(provider.with_max_attempts(2));
    let config = RelayConfig::default().with_one_piece(OnePiece::Server);
    let relay = relay_of(Wire::Responses, vec![reply; 2], target, config).await;
    let (status, head, got) = post(&relay, "/v1/responses", "", body(Wire::Responses)).await;
    assert_eq!((status, got), (200, failed), "{head}");
    assert_eq!(header(&head, "x-request-id"), Some("req_9"));
    assert_eq!(relay.upstream.request_count(), 2);
    let row = streams(&relay).await.remove(0);
    assert_eq!(
        (&row["state"], &row["error"], &row["attempt"]),
        (&json!("failed"), &json!("server_error"), &json!(2))
    );
}

#[actix_rt::test]
async fn a_refusal_of_an_answer_in_one_piece_is_the_servers_own() {
    for (wire, path, _) in BOTH {
        let said = json!({"error": {"message": "no", "type": "tokens", "own": [1.0]}});
        let reply = |status| {
            let reply = Reply::json(said.clone()).with_status(status);
            reply.with_header("x-request-id", "req_9")
        };
        let limited = reply(StatusCode::TOO_MANY_REQUESTS).with_header("retry-after", "3600");
        let relay = relay(wire, [reply(StatusCode::BAD_REQUEST), limited]).await;
        for (expected, wait) in [(400, None), (429, Some("3600"))] {
            let (status, head, got) = post(&relay, path, "", body(wire)).await;
            assert_eq!((status, got), (expected, said.to_string()), "{head}");
            assert_eq!(header(&head, "x-request-id"), Some("req_9"));
            assert_eq!(header(&head, "retry-after"), wait);
        }
        assert_eq!(relay.upstream.request_count(), 2);
    }
}

#[actix_rt::test]
async fn an_answer_in_one_piece_has_a_time_and_a_size() {
    let config = RelayConfig::default().with_one_piece(OnePiece::Server);
    for late in [
        Reply::default().never_head(),
        text(RESPONSE).stall_after_bytes(20),
    ] {
        let hasty = |provider: Provider| {
            let mut provider = provider.with_max_attempts(1);
            provider.timeouts.whole_answer = Duration::from_millis(50);
            Target::new(provider)
        };
        let relay = relay_of(Wire::Responses, [late], hasty, config.clone()).await;
        let (status, _, got) = post(&relay, "/v1/responses", "", body(Wire::Responses)).await;
        assert_eq!(status, 504, "{got}");
    }
    let long = RESPONSE.replace("\"hi\"", &format!("\"{}\"", "a".repeat(4 << 10)));
    let relay = relay(Wire::Responses, [text(&long)]).await;
    let (status, _, got) = post(&relay, "/v1/responses", "", body(Wire::Responses)).await;
    assert_eq!(status, 502, "{got}");
    assert!(got.contains("StreamLimits::max_answer_bytes"), "{got}");
    assert_eq!(relay.upstream.request_count(), 1);
}

#[actix_rt::test]
async fn a_client_that_leaves_an_answer_in_one_piece_frees_the_server_and_its_place() {
    let late = [
        Reply::default().never_head(),
        text(RESPONSE).stall_after_bytes(20),
    ];
    for late in late {
        let config = RelayConfig::default().with_one_piece(OnePiece::Server);
        let config = config.with_max_streams(1);
        let relay = relay_of(Wire::Responses, [late, text(RESPONSE)], Target::new, config).await;
        let body = body(Wire::Responses);
        let mut client = TcpStream::connect(relay.address)
            .await
            .expect("a connection");
        let request = format!(
            "POST /v1/responses HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n{body}",
            relay.address,
            body.len()
        );
        client
            .write_all(request.as_bytes())
            .await
            .expect("a request");
        relay
            .upstream
            .until(|server| server.request_count() > 0)
            .await;
        let row = streams(&relay).await.remove(0);
        assert_eq!(
            (&row["state"], &row["readers"]),
            (&json!("waiting"), &json!(1))
        );
        let (status, _, got) = post(&relay, "/v1/responses", "", body).await;
        assert_eq!(status, 429, "its client has one stream: {got}");
        drop(client);
        let freed = relay
            .upstream
            .until(|server| server.open_connections() == 0);
        let freed = tokio::time::timeout(Duration::from_secs(1), freed).await;
        freed.expect("the server is free within a second");
        assert_eq!(streams(&relay).await[0]["state"], "cancelled");
        let (status, _, got) = post(&relay, "/v1/responses", "", body).await;
        assert_eq!((status, &*got), (200, RESPONSE));
    }
}

#[actix_rt::test]
async fn an_answer_in_one_piece_is_listed_counted_and_read_again_by_its_client_alone() {
    for (wire, path, object) in BOTH {
        let relay = relay(wire, [text(object)]).await;
        let who = "authorization: Bearer sk-ada\r\n";
        let (_, head, _) = post(&relay, path, who, body(wire)).await;
        let ours = header(&head, "x-relay-stream").expect("an id").to_owned();
        let get = async |path: &str, who: &str| {
            let address = relay.address;
            let request =
                format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{who}connection: close\r\n\r\n");
            relay.exchange(&request).await
        };
        let (_, _, list) = get("/streams", who).await;
        let list: Value = serde_json::from_str(&list).expect("a list");
        let row = &list["data"][0];
        assert_eq!(
            (&row["state"], &row["input_tokens"]),
            (&json!("completed"), &json!(3))
        );
        assert_eq!(
            (&row["output_tokens"], &row["resumable"]),
            (&json!(4), &json!(true))
        );
        let (_, _, metrics) = get("/metrics", "").await;
        for line in [
            "relay_client_tokens",
            "relay_request_overhead_seconds_count",
        ] {
            assert!(metrics.lines().any(|it| it.starts_with(line)), "{metrics}");
        }
        let theirs = row["server_id"].as_str().expect("an id").to_owned();
        for id in [&ours, &theirs] {
            let (status, _, _) = get(&format!("/v1/responses/{id}"), "").await;
            assert_eq!(status, 404);
            let (status, _, got) = get(&format!("/v1/responses/{id}?stream=true"), who).await;
            assert_eq!(status, 200, "{got}");
            if wire == Wire::Chat {
                assert!(
                    got.contains("\"delta\":{") && got.contains("\"citations\""),
                    "{got}"
                );
                assert!(
                    got.contains("\"index\":0") && got.contains("data: [DONE]"),
                    "{got}"
                );
                continue;
            }
            let created = got.find("event: response.created").expect("a beginning");
            assert!(created < got.find("event: response.completed").expect("an end"));
            let (status, _, got) = get(&format!("/v1/responses/{id}"), who).await;
            let [got, object]: [Value; 2] =
                [&*got, object].map(|text| serde_json::from_str(text).expect("JSON"));
            assert_eq!((status, got), (200, object));
        }
    }
}

#[actix_rt::test]
async fn what_goes_on_from_an_answer_in_one_piece_goes_to_the_key_that_made_it() {
    let sealed = r#"{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"seal"}"#;
    let sealed = |id: &str| {
        let object = RESPONSE.replace("resp_1", id);
        text(&object.replacen("\"output\":[", &format!("\"output\":[{sealed},"), 1))
    };
    let limited = Reply::error(StatusCode::TOO_MANY_REQUESTS).with_header("retry-after", "3600");
    let keyed = |provider: &Provider, key: &str| {
        provider
            .clone()
            .with_auth(BearerAuth::new(key).expect("a key"))
    };
    let target = |provider: Provider| {
        let [first, second] = ["sk-0", "sk-1"].map(|key| keyed(&provider, key).into());
        Target::with_keys(first, vec![second])
    };
    let config = RelayConfig::default().with_one_piece(OnePiece::Server);
    let replies = [
        sealed("resp_0"),
        limited,
        text(RESPONSE),
        text(RESPONSE),
        text(RESPONSE),
    ];
    let relay = relay_of(Wire::Responses, replies, target, config).await;
    let asks = |more: Value| {
        let mut asks = json!({"model": "demo", "input": "hi"});
        asks.as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().unwrap_or_default());
        asks.to_string()
    };
    for (more, status, key) in [
        (json!({}), 200, "sk-0"),
        (json!({}), 429, "sk-0"),
        (json!({}), 200, "sk-1"),
        (json!({"previous_response_id": "resp_0"}), 200, "sk-0"),
        (
            json!({"input": [{"type": "item_reference", "id": "rs_1"}]}),
            200,
            "sk-0",
        ),
    ] {
        let (got, _, answer) = post(&relay, "/v1/responses", "", &asks(more)).await;
        let sent = relay.upstream.requests().pop().expect("a request");
        let bearer = sent.headers["authorization"]
            .to_str()
            .expect("a key")
            .to_owned();
        assert_eq!((got, bearer), (status, format!("Bearer {key}")), "{answer}");
    }
}

#[actix_rt::test]
async fn a_server_that_streams_all_the_same_is_read_as_a_stream() {
    let chat = concat!(
        "data: {\"id\":\"c1\",\"model\":\"theirs\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"h\"}}]}\n\n",
        "data: {\"id\":\"c1\",\"model\":\"theirs\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"i\"},\"finish_reason\":\"stop\"}]}\n\n",
        "data: [DONE]\n\n"
    );
    let object = RESPONSE.replace('\n', "");
    let responses = format!(
        "event: response.created\ndata: {{\"type\":\"response.created\",\"response\":{{\"id\":\"resp_1\"}}}}\n\n\
         event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{object}}}\n\n"
    );
    for (wire, path, sse) in [
        (Wire::Responses, "/v1/responses", &*responses),
        (Wire::Chat, "/v1/chat/completions", chat),
    ] {
        // A stream that was cut is asked for again; one that has ended is not waited for.
        let cut = Reply::sse(sse.to_owned()).cut_after_bytes(sse.len() - 40);
        let held = Reply::sse(sse.to_owned()).hold_open();
        let relay = relay(wire, [cut, held]).await;
        let (status, head, got) = post(&relay, path, "", body(wire)).await;
        assert_eq!(status, 200, "{got}");
        assert_eq!(header(&head, "x-relay-attempt"), Some("2"));
        match wire {
            Wire::Chat => {
                let got: Value = serde_json::from_str(&got).expect("an object");
                assert_eq!(got["choices"][0]["message"]["content"], "hi", "{got}");
            }
            _ => assert_eq!(got, object),
        }
        assert_eq!(streams(&relay).await[0]["state"], "completed");
    }
}

#[actix_rt::test]
async fn what_needs_a_stream_is_asked_for_one_and_a_route_decides_for_itself() {
    let server = RelayConfig::default().with_one_piece(OnePiece::Server);
    let asked = async |wire: Wire, path: &str, route: Route, config: RelayConfig, more: &str| {
        let upstream = Loopback::start(LoopbackOptions::default()).expect("an upstream");
        let provider = Provider::new("server", &upstream.base_url()).expect("a provider");
        let provider = provider.with_wire(wire);
        let runtime = Runtime::start(provider.clone()).expect("a runtime");
        let mut route = route;
        route.targets = vec![Target::new(provider)];
        let relay = Relay::new(runtime, RouteTable::new(vec![route]), config);
        let relay = RunningRelay::serving(upstream, relay);
        let is_chat = path.ends_with("completions");
        let body = body(if is_chat { Wire::Chat } else { Wire::Responses });
        let body = body.replacen('{', &format!("{{{more}"), 1);
        let (status, _, got) = post(&relay, path, "", &body).await;
        assert_eq!(status, 200, "{got}");
        relay.upstream.requests()[0].json().expect("JSON")["stream"] == true
    };
    let nobody = || Target::new(Provider::new("nobody", "http://127.0.0.1:9/v1").expect("one"));
    let route = || Route::new("*", nobody());
    let responses = "/v1/responses";
    let chat = "/v1/chat/completions";
    for (wire, path, route, config, more, streams) in [
        (
            Wire::Responses,
            responses,
            route(),
            server.clone(),
            "",
            false,
        ),
        (Wire::Chat, chat, route(), server.clone(), "", false),
        (Wire::Responses, chat, route(), server.clone(), "", true),
        (
            Wire::Responses,
            responses,
            route(),
            server.clone(),
            "\"background\":true,",
            true,
        ),
        (
            Wire::Responses,
            responses,
            route().with_lowers_tools(true),
            server.clone(),
            "",
            true,
        ),
        (
            Wire::Responses,
            responses,
            route().with_one_piece(OnePiece::Stream),
            server,
            "",
            true,
        ),
        (
            Wire::Responses,
            responses,
            route(),
            RelayConfig::default(),
            "",
            true,
        ),
        (
            Wire::Responses,
            responses,
            route().with_one_piece(OnePiece::Server),
            RelayConfig::default(),
            "",
            false,
        ),
    ] {
        let got = asked(wire, path, route, config, more).await;
        assert_eq!(got, streams, "{wire:?} {path} {more}");
    }
}
