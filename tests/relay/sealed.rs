//! Requests that go on from answers before: who is asked them, and what becomes of what only its maker can read.

mod compacting;
mod kept;
mod previous;

use std::sync::Arc;

use actix_responses::{
    Runtime,
    actors::SupervisorConfig,
    loopback::{Loopback, LoopbackOptions, RecordedRequest, Reply, Script},
    provider::{BearerAuth, Provider},
    relay::{Relay, RelayConfig, Route, RouteTable, Target},
    store::StoreLimits,
    testing::FaultyStore,
};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{RunningRelay, header, post};

/// A server that answers with these items, each time as another response.
fn server(replies: impl IntoIterator<Item = Reply>) -> Loopback {
    let options = LoopbackOptions::default().with_script(Script::new(replies));
    Loopback::start(options).unwrap()
}

/// An answer of a Responses server with these items.
fn answer(id: &str, items: &[Value]) -> Reply {
    let mut sse = format!(
        "event: response.created\ndata: {}\n\n",
        json!({"type": "response.created", "sequence_number": 0, "response": {"id": id, "status": "in_progress", "output": []}})
    );
    for (index, item) in items.iter().enumerate() {
        let event = json!({"type": "response.output_item.done", "sequence_number": index + 1, "output_index": index, "item": item});
        sse += &format!("event: response.output_item.done\ndata: {event}\n\n");
    }
    let object = json!({"id": id, "object": "response", "status": "completed", "model": "m", "output": items});
    let event = json!({"type": "response.completed", "sequence_number": items.len() + 1, "response": object});
    sse += &format!("event: response.completed\ndata: {event}\n\n");
    Reply::sse(sse)
}

/// The same of a Chat server.
fn chat_answer(message: &Value, finish: &str) -> Reply {
    let chunk =
        json!({"id": "c", "choices": [{"index": 0, "delta": message, "finish_reason": finish}]});
    Reply::sse(format!("data: {chunk}\n\ndata: [DONE]\n\n"))
}

fn said(id: &str) -> Value {
    json!({"type": "message", "id": id, "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "said", "annotations": []}]})
}

fn sealed(text: &str) -> Value {
    json!({"type": "reasoning", "id": format!("rs_{text}"), "summary": [], "encrypted_content": text})
}

fn down() -> Reply {
    Reply::error(StatusCode::INTERNAL_SERVER_ERROR)
}

fn provider(name: &str, server: &Loopback) -> Provider {
    let provider = Provider::new(name, &server.base_url()).unwrap();
    provider.with_max_attempts(1)
}

fn keyed(name: &str, server: &Loopback, key: &str) -> Provider {
    provider(name, server).with_auth(BearerAuth::new(key).unwrap())
}

fn relay_of(upstream: Loopback, routes: Vec<Route>) -> RunningRelay {
    relay_with(upstream, routes, RelayConfig::default())
}

fn relay_with(upstream: Loopback, routes: Vec<Route>, config: RelayConfig) -> RunningRelay {
    let runtime = SupervisorConfig::new(Provider::new("none", "http://127.0.0.1:9").unwrap());
    let runtime = Runtime::with_config(runtime).unwrap();
    let relay = Relay::new(runtime, RouteTable::new(routes), config);
    RunningRelay::serving(upstream, relay)
}

async fn asked(relay: &RunningRelay, body: &Value) -> (u16, String, Value) {
    let (status, head, body) = post(relay, "/v1/responses", "", &body.to_string()).await;
    let body = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{status} {body}"));
    (status, head, body)
}

fn last(server: &Loopback) -> RecordedRequest {
    server.requests().last().expect("a request").clone()
}

/// One server, and another for when it is down.
fn one_then_two(one: &Loopback, two: &Loopback) -> Route {
    let fallback = Target::new(provider("two", two));
    Route::new("m", Target::new(provider("one", one))).with_fallback(fallback)
}

/// An answer from the second of them, which the first is down for.
async fn asked_of_the_second(relay: &RunningRelay) -> Value {
    let first = json!({"model": "m", "store": false, "input": "a"});
    let (status, _, answer) = asked(relay, &first).await;
    assert_eq!((status, &answer["id"]), (200, &json!("resp_2")));
    answer
}

fn input(server: &Loopback) -> Value {
    last(server).json().unwrap()["input"].clone()
}

#[actix_rt::test]
async fn sealed_items_go_to_the_provider_that_made_them_and_elsewhere_without_their_reasoning() {
    let one = server([down(), answer("resp_1b", &[said("msg_1b")])]);
    let two = server([
        answer("resp_2", &[sealed("seal"), said("msg_2")]),
        answer("resp_3", &[said("msg_3")]),
        down(),
    ]);
    let route = one_then_two(&one, &two);
    let relay = relay_of(one, vec![route]);
    // The first server is down: the second one answers, and seals.
    let first = asked_of_the_second(&relay).await;
    let output = first["output"].as_array().unwrap();
    let next = json!({"model": "m", "store": false, "input": [output[0], output[1], {"role": "user", "content": "b"}]});
    let (_, head, second) = asked(&relay, &next).await;
    assert_eq!(second["id"], "resp_3");
    assert_eq!(
        last(&two).body,
        next.to_string()
            .replace("\"store\":false}", "\"store\":false,\"stream\":true}")
    );
    assert_eq!(header(&head, "x-relay-dropped"), None);
    // It is down now, and what it sealed is of no use to the first.
    let (_, head, third) = asked(&relay, &next).await;
    assert_eq!(third["id"], "resp_1b");
    assert_eq!(
        header(&head, "x-relay-dropped"),
        Some("reasoning.encrypted_content")
    );
    let sent = input(&relay.upstream);
    let kinds: Vec<_> = sent
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["type"])
        .collect();
    assert_eq!(kinds.len(), 2, "{sent}");
    assert!(
        !sent.to_string().contains("seal") && !sent.to_string().contains("msg_2"),
        "{sent}"
    );
}

#[actix_rt::test]
async fn who_sealed_an_item_is_known_where_it_came_from_though_the_store_is_away() {
    let one = server([down(), answer("resp_1b", &[said("msg_1b")])]);
    let two = server([
        answer("resp_2", &[sealed("seal"), said("msg_2")]),
        answer("resp_3", &[said("msg_3")]),
    ]);
    let route = one_then_two(&one, &two);
    let store = FaultyStore::new(StoreLimits::default());
    let config = RelayConfig::default().with_store(Arc::new(store.clone()));
    let relay = relay_with(one, vec![route], config);
    let first = asked_of_the_second(&relay).await;
    store.set_down(true);
    // Of the last one nothing is known here, and the store says nothing.
    let input = json!([first["output"][0], sealed("elsewhere"), {"role": "user", "content": "b"}]);
    let next = json!({"model": "m", "store": false, "input": input});
    let (_, _, second) = asked(&relay, &next).await;
    assert_eq!(second["id"], "resp_3");
}

#[actix_rt::test]
async fn sealed_items_and_a_previous_response_go_to_the_key_that_made_them() {
    let limited = Reply::error(StatusCode::TOO_MANY_REQUESTS).with_header("retry-after", "3600");
    let upstream = server([
        answer("resp_0", &[sealed("first")]),
        limited,
        answer("resp_1", &[sealed("second")]),
        answer("resp_2", &[]),
        answer("resp_3", &[]),
        answer("resp_4", &[]),
    ]);
    let target = Target::with_keys(
        keyed("p", &upstream, "sk-0").into(),
        vec![keyed("p", &upstream, "sk-1").into()],
    );
    let relay = relay_of(upstream, vec![Route::new("*", target)]);
    let key = || last(&relay.upstream).headers["authorization"].clone();
    let asks = |input: Value| json!({"model": "m", "input": input});
    asked(&relay, &asks(json!("a"))).await;
    assert_eq!(key(), "Bearer sk-0");
    // The first key rests now, and the second one is asked.
    assert_eq!(asked(&relay, &asks(json!("a"))).await.0, 429);
    asked(&relay, &asks(json!("a"))).await;
    assert_eq!(key(), "Bearer sk-1");
    let (_, head, _) = asked(&relay, &asks(json!([sealed("second")]))).await;
    assert_eq!(
        (key().to_str().unwrap(), header(&head, "x-relay-dropped")),
        ("Bearer sk-1", None)
    );
    // What the key that rests has sealed is left out for the other one; what is stored with it, it alone knows.
    let (_, head, _) = asked(
        &relay,
        &asks(json!([sealed("first"), {"role": "user", "content": "b"}])),
    )
    .await;
    assert_eq!(key(), "Bearer sk-1");
    assert_eq!(
        header(&head, "x-relay-dropped"),
        Some("reasoning.encrypted_content")
    );
    let previous = json!({"model": "m", "input": "b", "previous_response_id": "resp_0"});
    asked(&relay, &previous).await;
    assert_eq!(key(), "Bearer sk-0");
    assert_eq!(
        last(&relay.upstream).json().unwrap()["previous_response_id"],
        "resp_0"
    );
}

#[actix_rt::test]
async fn a_server_that_does_not_say_its_models_is_named_in_a_header() {
    let list =
        |id: &str| Reply::json(json!({"object": "list", "data": [{"id": id, "object": "model"}]}));
    let of_models = |replies: [Reply; 3]| server(replies.map(|reply| reply.with_path("/models")));
    let one = of_models([list("a-1"), down(), down()]);
    let two = of_models([down(), list("b-1"), down()]);
    let table = vec![
        Route::new("a-*", Target::new(provider("one", &one))),
        Route::new("b-*", Target::new(provider("two", &two))),
        Route::new("c-*", Target::new(provider("two", &two))),
    ];
    let relay = relay_of(one, table);
    for (missing, ids) in [("two", ["a-1"]), ("one", ["b-1"])] {
        let (status, head, body) = relay.get("/v1/models").await;
        let body: Value = serde_json::from_str(&body).unwrap();
        let data = body["data"].as_array().unwrap();
        let here: Vec<_> = data
            .iter()
            .map(|model| model["id"].as_str().unwrap())
            .collect();
        assert_eq!(
            (status, header(&head, "x-relay-missing"), &*here),
            (200, Some(missing), &ids[..])
        );
    }
    let (status, ..) = relay.get("/v1/models").await;
    assert_eq!(status, 500, "nobody said anything");
    assert_eq!(two.request_count(), 3, "each server is asked once");
}
