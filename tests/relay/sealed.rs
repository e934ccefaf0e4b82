//! Requests that go on from answers before: who is asked them, and what becomes of what only its maker can read.

use std::{sync::Arc, time::Duration};

use actix_responses::{
    Runtime,
    actors::SupervisorConfig,
    loopback::{Loopback, LoopbackOptions, RecordedRequest, Reply, Script},
    provider::{BearerAuth, Provider},
    relay::{Relay, RelayConfig, Route, RouteTable, Target},
    store::StoreLimits,
    testing::FaultyStore,
    wire::Wire,
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
async fn a_previous_response_is_told_to_a_fallback_as_its_items() {
    let one = server([answer("resp_1", &[sealed("seal"), said("msg_1")]), down()]);
    let two = server([answer("resp_2", &[said("msg_2")])]);
    let route = one_then_two(&one, &two);
    let relay = relay_of(one, vec![route]);
    asked(&relay, &json!({"model": "m", "input": "a"})).await;
    let next = json!({"model": "m", "input": "b", "previous_response_id": "resp_1"});
    let (_, head, body) = asked(&relay, &next).await;
    assert_eq!(body["id"], "resp_2");
    assert_eq!(
        header(&head, "x-relay-dropped"),
        Some("reasoning.encrypted_content")
    );
    let sent = last(&two).json().unwrap();
    assert_eq!(sent.get("previous_response_id"), None);
    let sent = sent["input"].as_array().unwrap();
    let told: Vec<_> = sent
        .iter()
        .map(|item| item["role"].as_str().unwrap())
        .collect();
    assert_eq!(told, ["user", "assistant", "user"]);
    assert!(sent.iter().all(|item| item.get("id").is_none()), "{sent:?}");
}

#[actix_rt::test]
async fn with_the_relays_key_a_previous_response_that_it_does_not_know_is_a_400_and_not_passed_on()
{
    let upstream = server([answer("resp_1", &[]), answer("resp_2", &[])]);
    let provider = keyed("p", &upstream, "sk-of-the-relay");
    let relay = relay_of(upstream, vec![Route::new("*", Target::new(provider))]);
    // Two clients.
    let (ada, bob) = (
        "authorization: Bearer ada\r\n",
        "authorization: Bearer bob\r\n",
    );
    let ask = async |who: &str, body: Value| {
        let (status, _, answer) = post(&relay, "/v1/responses", who, &body.to_string()).await;
        (status, answer)
    };
    assert_eq!(ask(ada, json!({"model": "m", "input": "a"})).await.0, 200);
    let next = json!({"model": "m", "input": "a", "previous_response_id": "resp_1"});
    let (status, body) = ask(bob, next.clone()).await;
    assert_eq!(status, 400, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["error"]["code"], "previous_response_not_found");
    assert_eq!(
        body["error"]["message"],
        "Previous response with id 'resp_1' not found."
    );
    assert_eq!(relay.upstream.request_count(), 1);
    assert_eq!(ask(ada, next).await.0, 200);
    assert_eq!(relay.upstream.request_count(), 2);
}

#[actix_rt::test]
async fn with_the_clients_own_key_an_unknown_previous_response_is_the_servers_to_know() {
    let upstream = server([answer("resp_1", &[])]);
    let provider = provider("p", &upstream);
    let relay = relay_of(upstream, vec![Route::new("*", Target::new(provider))]);
    let next = json!({"model": "m", "input": "a", "previous_response_id": "resp_old"}).to_string();
    let (status, ..) = post(
        &relay,
        "/v1/responses",
        "authorization: Bearer mine\r\n",
        &next,
    )
    .await;
    assert_eq!(status, 200);
    let sent = last(&relay.upstream);
    assert_eq!(sent.json().unwrap()["previous_response_id"], "resp_old");
    assert_eq!(sent.headers["authorization"], "Bearer mine");
}

#[actix_rt::test]
async fn a_reference_over_a_chat_server_is_the_item_of_an_answer_before_and_an_unknown_one_a_404() {
    let function = json!({"name": "f", "arguments": "{}"});
    let call = json!({"role": "assistant", "reasoning_content": "because",
        "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]});
    let upstream = server([
        chat_answer(&call, "tool_calls"),
        chat_answer(&json!({"content": "done"}), "stop"),
    ]);
    let provider = provider("p", &upstream).with_wire(Wire::Chat);
    let relay = relay_of(upstream, vec![Route::new("*", Target::new(provider))]);
    let tools = json!([{"type": "function", "name": "f", "parameters": {"type": "object"}}]);
    let user = json!({"role": "user", "content": "go"});
    let (_, _, first) = asked(
        &relay,
        &json!({"model": "m", "input": [user], "tools": tools}),
    )
    .await;
    let ids: Vec<_> = first["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].clone())
        .collect();
    assert_eq!(ids.len(), 2, "{first}");
    // As the AI SDK of Vercel does with `store: true`.
    let next = json!({"model": "m", "tools": tools, "input": [
        user,
        {"type": "item_reference", "id": ids[0]},
        {"type": "item_reference", "id": ids[1]},
        {"type": "function_call_output", "call_id": "call_1", "output": "ok"},
    ]});
    let (status, _, second) = asked(&relay, &next).await;
    assert_eq!(status, 200, "{second}");
    let sent = last(&relay.upstream).json().unwrap();
    let messages = sent["messages"].as_array().unwrap();
    assert_eq!(messages[1]["tool_calls"][0]["id"], "call_1", "{sent}");
    assert_eq!(
        (&messages[2]["role"], &messages[2]["content"]),
        (&json!("tool"), &json!("ok"))
    );
    let unknown = json!({"model": "m", "input": [{"type": "item_reference", "id": "rs_none"}]});
    let (status, _, error) = asked(&relay, &unknown).await;
    assert_eq!(status, 404);
    assert_eq!(
        error["error"]["message"],
        "Item with id 'rs_none' not found."
    );
    assert_eq!(
        (&error["error"]["type"], &error["error"]["param"]),
        (&json!("invalid_request_error"), &json!("input"))
    );
    assert_eq!(relay.upstream.request_count(), 2);
}

#[actix_rt::test]
async fn an_answer_in_the_background_is_passed_on_to_a_server_that_has_them_and_a_400_over_chat() {
    let begun = json!({"id": "resp_1", "object": "response", "status": "queued", "background": true, "output": []});
    let created = json!({"type": "response.created", "sequence_number": 0, "response": begun});
    let done = json!({"type": "response.completed", "sequence_number": 1, "response": {"id": "resp_1", "status": "completed", "output": []}});
    let upstream = server([Reply::sse(format!("data: {created}\n\ndata: {done}\n\n"))]);
    let other = server([]);
    let table = vec![
        Route::new("m", Target::new(provider("p", &upstream))),
        Route::new(
            "chat",
            Target::new(provider("c", &other).with_wire(Wire::Chat)),
        ),
    ];
    let relay = relay_of(upstream, table);
    let body = json!({"model": "m", "input": "a", "background": true});
    let (status, _, answer) = asked(&relay, &body).await;
    assert_eq!((status, answer), (200, begun));
    let sent = last(&relay.upstream).json().unwrap();
    assert_eq!(
        (&sent["background"], &sent["stream"]),
        (&json!(true), &json!(true))
    );
    let body = json!({"model": "chat", "input": "a", "background": true});
    let (status, _, error) = asked(&relay, &body).await;
    assert_eq!(
        (status, &error["error"]["param"]),
        (400, &json!("background"))
    );
    assert_eq!(other.request_count(), 0);
}

/// What a client asks of an id.
async fn about(
    relay: &RunningRelay,
    method: &str,
    path: &str,
    more: &str,
) -> (u16, String, String) {
    let address = relay.address;
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n{more}connection: close\r\n\r\n");
    relay.exchange(&request).await
}

#[actix_rt::test]
async fn an_unknown_id_is_passed_on_with_the_clients_own_key_to_the_one_server_that_could_know_it()
{
    let object = json!({"id": "resp_old", "object": "response", "status": "completed"});
    let no = json!({"error": {"message": "no", "type": "invalid_request_error"}});
    let replies = [
        Reply::json(object.clone()).with_header("x-request-id", "req_1"),
        Reply::json(object.clone()),
        Reply::json(json!({"deleted": true})),
        Reply::json(json!({"object": "list", "data": []})),
        Reply::sse("data: {\"type\":\"response.completed\",\"sequence_number\":4}\n\n"),
        Reply::json(no.clone()).with_status(StatusCode::NOT_FOUND),
    ];
    let upstream = server(replies.map(|reply| reply.with_path("/responses/")));
    let relay = relay_of(
        upstream,
        vec![
            Route::new(
                "chat",
                Target::new(
                    Provider::new("chat", "http://127.0.0.1:9")
                        .unwrap()
                        .with_wire(Wire::Chat),
                ),
            ),
            Route::new(
                "*",
                Target::new(Provider::new("p", "http://127.0.0.1:9").unwrap()),
            ),
        ],
    );
    // The address is known now.
    let provider = provider("p", &relay.upstream);
    relay.relay.set_routes(RouteTable::single(provider));
    let mine = "authorization: Bearer mine\r\ncookie: c\r\n";
    for (method, path, asked) in [
        (
            "GET",
            "/v1/responses/resp_old?include[]=a%20b",
            "/v1/responses/resp_old?include%5B%5D=a%20b",
        ),
        (
            "POST",
            "/responses/resp_old/cancel/",
            "/v1/responses/resp_old/cancel",
        ),
        ("DELETE", "/v1/responses/resp_old", "/v1/responses/resp_old"),
        (
            "GET",
            "/v1/responses/resp_old/input_items?limit=2",
            "/v1/responses/resp_old/input_items?limit=2",
        ),
        (
            "GET",
            "/v1/responses/resp_old?stream=true&starting_after=3",
            "/v1/responses/resp_old?stream=true&starting_after=3",
        ),
    ] {
        let (status, head, body) = about(&relay, method, path, mine).await;
        assert_eq!(status, 200, "{path}: {body}");
        let sent = last(&relay.upstream);
        let query = sent
            .query
            .as_ref()
            .map_or(String::new(), |query| format!("?{query}"));
        assert_eq!(
            (sent.method.as_str(), format!("{}{query}", sent.path)),
            (method, asked.to_owned())
        );
        assert_eq!(sent.headers["authorization"], "Bearer mine");
        assert!(!sent.headers.contains_key("cookie"));
        if path.contains("include") {
            assert_eq!(header(&head, "x-request-id"), Some("req_1"));
            assert!(body.contains(&object.to_string()), "{body}");
        }
        if path.contains("stream") {
            assert!(
                head.contains("text/event-stream") && body.contains("response.completed"),
                "{body}"
            );
        }
    }
    let (status, _, body) = about(&relay, "GET", "/v1/responses/resp_no", mine).await;
    assert!(status == 404 && body.contains(&no.to_string()), "{body}");
    let asked = relay.upstream.request_count();
    // Without a key of its own a client has none that says whose an id is. What is no id goes nowhere.
    for (path, more) in [
        ("/v1/responses/resp_old", ""),
        ("/v1/responses/a%2fb", mine),
        ("/v1/responses/%2e%2e", mine),
    ] {
        let (status, ..) = about(&relay, "GET", path, more).await;
        assert_eq!(status, 404, "{path}");
    }
    // Of two servers either could know it.
    let other = Provider::new("other", "http://127.0.0.1:9").unwrap();
    let both = Route::new("*", Target::new(self::provider("p", &relay.upstream)))
        .with_fallback(Target::new(other));
    relay.relay.set_routes(RouteTable::new(vec![both]));
    let (status, ..) = about(&relay, "GET", "/v1/responses/resp_old", mine).await;
    assert_eq!((status, relay.upstream.request_count()), (404, asked));
}

#[actix_rt::test]
async fn with_the_relays_key_an_unknown_id_is_a_404_and_never_passed_on() {
    let upstream = server([answer("resp_1", &[])]);
    let provider = keyed("p", &upstream, "sk-of-the-relay");
    let relay = relay_of(upstream, vec![Route::new("*", Target::new(provider))]);
    let body = json!({"model": "m", "input": "a"}).to_string();
    post(
        &relay,
        "/v1/responses",
        "authorization: Bearer ada\r\n",
        &body,
    )
    .await;
    let bob = "authorization: Bearer bob\r\n";
    for (method, below) in [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("GET", "/input_items"),
    ] {
        let path = format!("/v1/responses/resp_1{below}");
        let (status, _, body) = about(&relay, method, &path, bob).await;
        assert!(
            status == 404 && body.contains("Response with id 'resp_1' not found."),
            "{path}: {body}"
        );
    }
    assert_eq!(relay.upstream.request_count(), 1);
}

#[actix_rt::test]
async fn a_compaction_over_a_chat_server_is_one_item_that_its_next_request_can_read() {
    let upstream = server([
        chat_answer(&json!({"content": "All so far."}), "stop"),
        chat_answer(&json!({"content": "On it."}), "stop"),
        chat_answer(&json!({"content": "Half of"}), "length"),
    ]);
    let provider = provider("p", &upstream).with_wire(Wire::Chat);
    let refusing = Route::new("off", Target::new(provider.clone())).with_refuses_compaction(true);
    let relay = relay_of(
        upstream,
        vec![refusing, Route::new("*", Target::new(provider))],
    );
    let compact = async |body: &Value| {
        let (status, _, body) = post(&relay, "/v1/responses/compact", "", &body.to_string()).await;
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let body = json!({"model": "m", "instructions": "Be kind.", "input": [{"role": "user", "content": "a"}, said("msg_1")]});
    let (status, compacted) = compact(&body).await;
    assert_eq!(
        (status, &compacted["object"]),
        (200, &json!("response.compaction")),
        "{compacted}"
    );
    assert!(
        compacted["id"].is_string() && compacted["usage"].is_object(),
        "{compacted}"
    );
    let output = compacted["output"].as_array().unwrap();
    assert_eq!(
        (output.len(), &output[0]["type"]),
        (1, &json!("compaction"))
    );
    let sent = last(&relay.upstream).json().unwrap();
    let roles = |sent: &Value| -> Vec<String> {
        let messages = sent["messages"].as_array().unwrap().iter();
        messages
            .map(|message| message["role"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(roles(&sent), ["system", "user", "assistant", "user"]);
    let next = json!({"model": "m", "input": [output[0], {"role": "user", "content": "b"}]});
    let (status, ..) = asked(&relay, &next).await;
    assert_eq!(status, 200);
    let sent = last(&relay.upstream).json().unwrap();
    assert!(
        sent["messages"][0]["content"]
            .as_str()
            .unwrap()
            .contains("All so far."),
        "{sent}"
    );
    // One that was cut is none.
    let (status, error) = compact(&body).await;
    assert_eq!(status, 502, "{error}");
    let count = relay.upstream.request_count();
    let (status, error) = compact(&json!({"model": "off", "input": "a"})).await;
    let message = error["error"]["message"].as_str().unwrap();
    assert!(status == 400 && message.contains("switched off"), "{error}");
    let (status, _, error) = asked(
        &relay,
        &json!({"model": "off", "input": [{"type": "compaction_trigger"}]}),
    )
    .await;
    let message = error["error"]["message"].as_str().unwrap();
    assert!(status == 400 && message.contains("switched off"), "{error}");
    assert_eq!(relay.upstream.request_count(), count);
}

#[actix_rt::test]
async fn a_compaction_goes_to_the_key_that_made_what_is_compacted() {
    let compacted = json!({"id": "cmp", "object": "response.compaction", "output": [{"type": "compaction", "encrypted_content": "c"}]});
    let limited = Reply::error(StatusCode::TOO_MANY_REQUESTS).with_header("retry-after", "3600");
    let upstream = server([
        limited,
        answer("resp_1", &[sealed("seal")]),
        Reply::json(compacted.clone()),
        Reply::json(compacted),
    ]);
    let others = vec![keyed("p", &upstream, "sk-1").into()];
    let target = Target::with_keys(keyed("p", &upstream, "sk-0").into(), others);
    let relay = relay_of(upstream, vec![Route::new("*", target.clone())]);
    let body = json!({"model": "m", "input": "a"});
    assert_eq!(asked(&relay, &body).await.0, 429);
    asked(&relay, &body).await;
    // The first key does not rest in these.
    let fresh = Target::with_keys(
        target.provider.clone(),
        vec![keyed("p", &relay.upstream, "sk-1").into()],
    );
    relay
        .relay
        .set_routes(RouteTable::new(vec![Route::new("*", fresh)]));
    let body = json!({"model": "m", "input": [sealed("seal")]}).to_string();
    let (status, ..) = post(&relay, "/v1/responses/compact", "", &body).await;
    assert_eq!(status, 200);
    assert_eq!(
        last(&relay.upstream).headers["authorization"],
        "Bearer sk-1"
    );
    assert_eq!(last(&relay.upstream).body, body);
    let body = json!({"model": "m", "input": "a", "previous_response_id": "resp_none"}).to_string();
    let (status, _, error) = post(&relay, "/v1/responses/compact", "", &body).await;
    assert!(
        status == 400 && error.contains("previous_response_not_found"),
        "{error}"
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

#[actix_rt::test]
async fn what_is_deleted_or_cancelled_here_is_so_at_the_server_that_keeps_it() {
    let slow = LoopbackOptions::default().with_pace(Duration::from_millis(50));
    let relay = RunningRelay::with(slow, RelayConfig::default()).await;
    let mine = "authorization: Bearer mine\r\n";
    let (_, _, object) = post(
        &relay,
        "/v1/responses",
        mine,
        &json!({"model": "m", "input": "a"}).to_string(),
    )
    .await;
    let object: Value = serde_json::from_str(&object).unwrap();
    let path = format!("/v1/responses/{}", object["id"].as_str().unwrap());
    let (status, _, body) = about(&relay, "DELETE", &path, mine).await;
    assert_eq!(status, 200, "{body}");
    let sent = last(&relay.upstream);
    assert_eq!((sent.method.as_str(), &*sent.path), ("DELETE", &*path));
    assert_eq!(about(&relay, "GET", &path, mine).await.0, 404);

    let body = json!({"model": "m", "input": "a", "background": true});
    let (_, _, object) = post(&relay, "/v1/responses", mine, &body.to_string()).await;
    let object: Value = serde_json::from_str(&object).unwrap();
    let path = format!("/v1/responses/{}/cancel", object["id"].as_str().unwrap());
    let (status, _, body) = about(&relay, "POST", &path, mine).await;
    assert_eq!(status, 200, "{body}");
    let sent = last(&relay.upstream);
    assert_eq!((sent.method.as_str(), &*sent.path), ("POST", &*path));
}

#[actix_rt::test]
async fn what_the_relays_key_made_is_deleted_with_it() {
    let upstream = server([
        answer("resp_1", &[said("msg_1")]),
        Reply::json(json!({"deleted": true})).with_path("/responses/resp_1"),
    ]);
    let target = Target::new(keyed("p", &upstream, "ours"));
    let relay = relay_of(upstream, vec![Route::new("*", target)]);
    let body = json!({"model": "m", "input": "a"}).to_string();
    let theirs = "authorization: Bearer theirs\r\n";
    assert_eq!(post(&relay, "/v1/responses", theirs, &body).await.0, 200);
    let path = "/v1/responses/resp_1";
    assert_eq!(about(&relay, "DELETE", path, theirs).await.0, 200);
    let sent = last(&relay.upstream);
    assert_eq!((sent.method.as_str(), &*sent.path), ("DELETE", path));
    assert_eq!(sent.headers["authorization"], "Bearer ours");
    assert_eq!(about(&relay, "GET", path, theirs).await.0, 404);
}

#[actix_rt::test]
async fn an_answer_that_its_server_does_not_delete_stays() {
    let upstream = server([
        answer("resp_1", &[said("msg_1")]),
        down().with_path("/responses/resp_1"),
    ]);
    let routes = vec![Route::new("*", Target::new(provider("p", &upstream)))];
    let relay = relay_of(upstream, routes);
    let mine = "authorization: Bearer mine\r\n";
    let body = json!({"model": "m", "input": "a"}).to_string();
    assert_eq!(post(&relay, "/v1/responses", mine, &body).await.0, 200);
    let path = "/v1/responses/resp_1";
    assert_eq!(about(&relay, "DELETE", path, mine).await.0, 502);
    assert_eq!(about(&relay, "GET", path, mine).await.0, 200);
}
