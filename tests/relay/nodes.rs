//! Two nodes on one store: what one answers the other one knows.

use std::{future::Future, net::SocketAddr, time::Duration};

use actix_responses::{
    Runtime,
    loopback::{Loopback, LoopbackOptions, Reply, Script},
    provider::Provider,
    relay::{Relay, RelayConfig, RouteTable},
    store::{StoreLimits, StreamStore as _},
    testing::FaultyStore,
    wire::Wire,
};
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt as _,
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{
    resuming::{all_cut_twice, answer, asked, blocks},
    support::{RunningRelay, chunks, header, post, unchunked},
};

/// Two nodes in front of one server, the first's.
pub(crate) struct Nodes {
    pub(crate) nodes: [RunningRelay; 2],
    /// The store as each of them sees it.
    pub(crate) stores: [FaultyStore; 2],
}

impl Nodes {
    pub(crate) fn start(script: Script, wire: Wire) -> Self {
        Self::with(script, wire, RelayConfig::default())
    }

    pub(crate) fn with(script: Script, wire: Wire, config: RelayConfig) -> Self {
        let upstream = Loopback::start(LoopbackOptions::default().with_script(script));
        let upstream = upstream.expect("an upstream");
        let base_url = upstream.base_url();
        let first = FaultyStore::new(StoreLimits::default());
        let second = first.other_node();
        let node = |upstream, store: &FaultyStore| {
            let provider = Provider::new("server", &base_url).expect("a provider");
            let provider = provider.with_wire(wire);
            let runtime = Runtime::start(provider.clone()).expect("a runtime");
            let config = config
                .clone()
                .with_store(std::sync::Arc::new(store.clone()));
            let relay = Relay::new(runtime, RouteTable::single(provider), config);
            RunningRelay::serving(upstream, relay)
        };
        let idle = Loopback::start(LoopbackOptions::default()).expect("an upstream");
        Self {
            nodes: [node(upstream, &first), node(idle, &second)],
            stores: [first, second],
        }
    }

    pub(crate) fn upstream(&self) -> &Loopback {
        &self.nodes[0].upstream
    }
}

/// An answer of this many blocks that then goes on for ever.
pub(crate) fn endless(blocks: usize) -> Script {
    let begun = answer(Wire::Responses)[..blocks].concat();
    Script::always(Reply::sse(begun).stall_after_events(blocks))
}

pub(crate) async fn ask(relay: &RunningRelay, method: &str, path: &str) -> (u16, String) {
    ask_as(relay, method, path, "").await
}

async fn ask_as(relay: &RunningRelay, method: &str, path: &str, who: &str) -> (u16, String) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {}\r\n{who}content-length: 0\r\nconnection: close\r\n\r\n",
        relay.address
    );
    let (status, head, body) = relay.exchange(&request).await;
    let is_chunked = header(&head, "transfer-encoding").is_some();
    let body = match is_chunked {
        true => unchunked(&body).expect("a whole body"),
        false => body,
    };
    (status, body)
}

pub(crate) async fn object(relay: &RunningRelay, id: &str) -> Value {
    let (status, body) = ask(relay, "GET", &format!("/v1/responses/{id}")).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("an object")
}

/// A connection, and what came on it.
pub(crate) struct Client {
    socket: TcpStream,
    raw: Vec<u8>,
}

impl Client {
    pub(crate) async fn get(relay: &RunningRelay, path: &str) -> Self {
        Self::get_at(relay.address, path).await
    }

    pub(crate) async fn get_at(address: SocketAddr, path: &str) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
        Self::asked(address, &request).await
    }

    pub(crate) async fn asked(address: SocketAddr, request: &str) -> Self {
        Self {
            socket: asked(address, request).await,
            raw: Vec::new(),
        }
    }

    /// The head, and the body so far when that has so many bytes, is whole or was cut, and whether it is whole.
    pub(crate) async fn read(&mut self, enough: usize) -> (String, String, bool) {
        let mut is_cut = false;
        loop {
            let head = self.raw.windows(4).position(|four| four == b"\r\n\r\n");
            let (body, rest) = chunks(&self.raw[head.map_or(self.raw.len(), |head| head + 4)..]);
            if let Some(head) = head
                && (rest.is_some() || body.len() >= enough || is_cut)
            {
                let is_all = rest.is_some();
                let head = String::from_utf8_lossy(&self.raw[..head]).into_owned();
                return (head, String::from_utf8(body).expect("text"), is_all);
            }
            assert!(!is_cut, "{}", String::from_utf8_lossy(&self.raw));
            is_cut = self.socket.read_buf(&mut self.raw).await.unwrap_or(0) == 0;
        }
    }

    /// The body so far, when it has so many bytes, is whole or was cut, and whether it is whole.
    pub(crate) async fn body(&mut self, enough: usize) -> (String, bool) {
        let (_, body, is_all) = self.read(enough).await;
        (body, is_all)
    }

    pub(crate) async fn whole(&mut self) -> String {
        let whole = timeout(Duration::from_secs(20), self.body(usize::MAX)).await;
        let (body, is_all) = whole.expect("an end");
        assert!(is_all, "{body}");
        body
    }
}

/// A stream that was asked for at this node, its id, and what came of it first.
pub(crate) async fn stream(
    relay: &RunningRelay,
    more: &str,
    body: &Value,
    enough: usize,
) -> (Client, String, String) {
    let body = body.to_string();
    let request = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: {}\r\n{more}content-length: {}\r\n\r\n{body}",
        relay.address,
        body.len()
    );
    let mut client = Client::asked(relay.address, &request).await;
    let (head, body, _) = client.read(enough).await;
    let id = header(&head, "x-relay-stream").expect("an id").to_owned();
    (client, id, body)
}

/// Waits until it is so.
pub(crate) async fn until<F: Future<Output = bool>>(mut is_so: impl FnMut() -> F) {
    let waited = timeout(Duration::from_secs(20), async {
        while !is_so().await {
            sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.expect("what was waited for");
}

/// The data of a block of a body that has ids.
pub(crate) fn data(block: &str) -> Value {
    let data = block.lines().find_map(|line| line.strip_prefix("data: "));
    serde_json::from_str(data.expect("data")).expect("JSON")
}

#[actix_rt::test]
async fn one_that_is_cut_and_comes_back_to_any_node_has_the_whole_and_one_end_100_times() {
    for wire in [Wire::Responses, Wire::Chat] {
        let reply = Reply::sse(answer(wire).concat()).with_pace(Duration::from_millis(2));
        let nodes = Nodes::start(Script::always(reply), wire);
        let addresses = nodes.nodes.each_ref().map(|node| node.address);
        all_cut_twice(&addresses, wire, 100).await;
        assert_eq!(
            nodes.upstream().request_count(),
            100,
            "no run was begun again"
        );
    }
}

#[actix_rt::test]
async fn another_node_gives_an_answer_in_all_its_forms_while_it_runs_and_after_its_end() {
    let whole = answer(Wire::Responses);
    let long = Reply::sse(whole.concat()).with_pace(Duration::from_millis(25));
    let nodes = Nodes::start(Script::always(long), Wire::Responses);
    let [here, there] = &nodes.nodes;
    let body = json!({"model": "m", "input": "hello", "stream": true});
    let first = whole[..3].concat().len();
    let (mut client, id, begun) = stream(here, "", &body, first).await;
    let seen = blocks(&begun).count();
    let path = format!("/v1/responses/{id}");
    // It runs: what there is of it, and then the rest as it comes.
    let info = async || nodes.stores[1].find("anonymous", &id).await;
    until(async || info().await.expect("a stream").blocks >= seen as u64).await;
    assert_eq!(object(there, &id).await["status"], "in_progress");
    let rest = format!("{path}?stream=true&starting_after={}", seen - 1);
    let mut reader = Client::get(there, &rest).await;
    let (rest, own) = tokio::join!(reader.whole(), client.whole());
    assert_eq!(blocks(&own).count(), 40);
    let rest: Vec<_> = blocks(&rest).map(data).collect();
    let others = whole[seen..].iter().map(|block| data(block));
    assert_eq!(rest, others.collect::<Vec<_>>());
    // It has ended, and both know it by both ids.
    for node in [here, there] {
        for id in [&*id, "resp_1"] {
            assert_eq!(object(node, id).await["status"], "completed");
            let path = format!("/v1/responses/{id}");
            let (_, all) = ask(node, "GET", &format!("{path}?stream=true")).await;
            assert_eq!(blocks(&all).count(), 40);
            let (_, input) = ask(node, "GET", &format!("{path}/input_items")).await;
            let input: Value = serde_json::from_str(&input).expect("a list");
            assert_eq!(input["data"][0]["content"][0]["text"], "hello");
        }
        let beyond = format!("{path}?stream=true&starting_after=40");
        assert_eq!(ask(node, "GET", &beyond).await.0, 400);
    }
    let last_event = ask_as(there, "GET", &path, "last-event-id: 37\r\n").await.1;
    assert_eq!(blocks(&last_event).count(), 2);
    // Nobody else's.
    for (method, path) in [
        ("GET", path.clone()),
        ("GET", "/v1/responses/resp_1".to_owned()),
        ("GET", format!("{path}/input_items")),
        ("POST", format!("{path}/cancel")),
        ("DELETE", path.clone()),
    ] {
        let (status, body) = ask_as(there, method, &path, "x-api-key: other\r\n").await;
        assert!(
            status != 200 && !body.contains("hello"),
            "{method} {path}: {body}"
        );
    }
    assert_eq!(object(there, &id).await["status"], "completed");
}

#[actix_rt::test]
async fn an_answer_is_stopped_and_deleted_by_another_node() {
    let nodes = Nodes::start(endless(3), Wire::Responses);
    let [here, there] = &nodes.nodes;
    let body = json!({"model": "m", "input": "hi", "stream": true});
    let enough = answer(Wire::Responses)[..3].concat().len();
    let (mut client, id, _) = stream(here, "", &body, enough).await;
    let began = Instant::now();
    let (status, body) = ask(there, "POST", &format!("/v1/responses/{id}/cancel")).await;
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    let body: Value = serde_json::from_str(&body).expect("an object");
    assert_eq!((status, &body["status"]), (200, &json!("cancelled")));
    let rest = client.whole().await;
    let last = blocks(&rest).last().map(data).expect("an end");
    assert_eq!(last["response"]["error"]["code"], "cancelled");
    let closed = nodes.upstream().requests()[0].connection;
    let closed = nodes.upstream().connection_closed(closed);
    timeout(Duration::from_secs(1), closed)
        .await
        .expect("the server is free");
    // Once more, by the node where it was: it has ended.
    let cancel = format!("/v1/responses/{id}/cancel");
    assert_eq!(ask(here, "POST", &cancel).await.0, 200);
    let (status, body) = ask(there, "DELETE", &format!("/v1/responses/{id}")).await;
    assert_eq!(status, 200, "{body}");
    for node in [here, there] {
        for id in [&*id, "resp_1"] {
            assert_eq!(
                ask(node, "GET", &format!("/v1/responses/{id}")).await.0,
                404
            );
        }
    }
    // One that runs is stopped by that, too.
    let body = json!({"model": "m", "input": "hi", "stream": true});
    let (mut client, id, _) = stream(here, "", &body, enough).await;
    assert_eq!(
        ask(there, "DELETE", &format!("/v1/responses/{id}")).await.0,
        200
    );
    client.whole().await;
    assert_eq!(
        ask(here, "GET", &format!("/v1/responses/{id}")).await.0,
        404
    );
}

#[actix_rt::test]
async fn the_list_has_the_answers_of_all_nodes_once() {
    let nodes = Nodes::start(endless(3), Wire::Responses);
    let [here, there] = &nodes.nodes;
    let body = json!({"model": "m", "input": "hi", "stream": true});
    let enough = answer(Wire::Responses)[..3].concat().len();
    let (_one, first, _) = stream(here, "", &body, enough).await;
    let (_two, second, _) = stream(there, "", &body, enough).await;
    for node in [here, there] {
        let list = async || -> Value {
            let (_, list) = ask(node, "GET", "/streams").await;
            serde_json::from_str(&list).expect("JSON")
        };
        until(async || {
            let list = list().await;
            let rows = list["data"].as_array().expect("rows").clone();
            rows.len() == 2 && rows.iter().all(|row| row["server_id"] == "resp_1")
        })
        .await;
        let list = list().await;
        assert_eq!([&list["total"], &list["running"]], [2, 2]);
        let ids: Vec<_> = (0..2).map(|row| list["data"][row]["id"].clone()).collect();
        assert_eq!(ids, [json!(second), json!(first)]);
        for row in list["data"].as_array().expect("rows") {
            let told = [&row["model"], &row["provider"], &row["state"], &row["api"]];
            assert_eq!(told, ["m", "server", "streaming", "responses"]);
            assert_eq!([&row["attempt"], &row["events"]], [1, 3]);
        }
        let (_, other) = ask_as(node, "GET", "/streams", "x-api-key: other\r\n").await;
        assert!(other.contains("\"total\":0"), "{other}");
    }
    // Who watches costs the store one question a second.
    let before = nodes.stores[1].calls("list");
    let mut watchers = Vec::new();
    for _ in 0..5 {
        let request = format!(
            "GET /streams HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\n\r\n",
            there.address
        );
        watchers.push(asked(there.address, &request).await);
    }
    sleep(Duration::from_millis(2500)).await;
    let asked = nodes.stores[1].calls("list") - before;
    assert!((1..=4).contains(&asked), "{asked}");
}

#[actix_rt::test]
async fn a_conversation_goes_on_on_another_node() {
    let nodes = Nodes::start(Script::always(Reply::default()), Wire::Chat);
    let [here, there] = &nodes.nodes;
    let first = json!({"model": "m", "input": "one"}).to_string();
    let (status, _, body) = post(here, "/v1/responses", "", &first).await;
    assert_eq!(status, 200, "{body}");
    let first: Value = serde_json::from_str(&body).expect("an object");
    let item = &first["output"][0]["id"];
    let again = json!({"model": "m", "input": "x", "previous_response_id": first["id"]});
    let again = again.to_string();
    let second = json!({"model": "m", "input": "two", "previous_response_id": first["id"]});
    let (status, _, body) = post(there, "/v1/responses", "", &second.to_string()).await;
    assert_eq!(status, 200, "{body}");
    let second: Value = serde_json::from_str(&body).expect("an object");
    let reference = json!({"type": "item_reference", "id": item});
    let third = json!({"model": "m", "previous_response_id": second["id"], "input": [reference,
        {"role": "user", "content": "three"}]});
    let (status, _, body) = post(there, "/v1/responses", "", &third.to_string()).await;
    assert_eq!(status, 200, "{body}");
    let asked = nodes.upstream().requests();
    let messages: Vec<usize> = asked
        .iter()
        .map(|request| {
            let body: Value = serde_json::from_slice(&request.body).expect("JSON");
            body["messages"].as_array().map_or(0, Vec::len)
        })
        .collect();
    assert_eq!((messages[0], messages[1]), (1, 3));
    assert!(messages[2] >= 5, "{messages:?}");
    // What can't be looked up is not unknown.
    nodes.stores[1].set_down(true);
    let (status, _, body) = post(there, "/v1/responses", "", &again).await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("store_unavailable"), "{body}");
    nodes.stores[1].set_down(false);
    // Another client has none of it.
    let (status, _, body) = post(there, "/v1/responses", "x-api-key: other\r\n", &again).await;
    assert_eq!(status, 400, "{body}");
    assert!(body.contains("previous_response_not_found"), "{body}");
}
