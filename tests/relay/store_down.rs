//! A store that nodes share and that is down, slow or full, and one where an answer was lost to another node.

use std::{sync::Arc, time::Duration};

use actix_responses::{
    Runtime,
    loopback::{Loopback, LoopbackOptions, Reply, Script},
    provider::Provider,
    relay::{Relay, RelayConfig, RouteTable},
    store::{
        Append, Claim, Entries, StoreError, StoreFuture, StoreLimits, StoreTail, StreamEnd,
        StreamInfo, StreamKey, StreamStore,
    },
    testing::FaultyStore,
    wire::Wire,
};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    nodes::{Client, Nodes, ask, data, endless, object, stream, until},
    resuming::{answer, blocks},
    support::{RunningRelay, header, post},
};

fn asks() -> Value {
    json!({"model": "m", "input": "hi", "stream": true})
}

/// Answers of 40 blocks, one every so often.
fn paced(pace: Duration) -> Script {
    Script::always(Reply::sse(answer(Wire::Responses).concat()).with_pace(pace))
}

#[actix_rt::test]
async fn while_the_store_is_down_relaying_goes_on_and_what_is_missing_comes_when_it_is_back() {
    let nodes = Nodes::start(paced(Duration::from_millis(10)), Wire::Responses);
    let [here, there] = &nodes.nodes;
    let (status, head, _) = post(here, "/v1/responses", "", &asks().to_string()).await;
    assert_eq!(status, 200);
    let before = header(&head, "x-relay-stream").expect("an id").to_owned();
    for store in &nodes.stores {
        store.set_down(true);
    }
    let began = Instant::now();
    let (mut client, id, _) = stream(here, "", &asks(), 1).await;
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    // Who reads it here needs no store: neither in its stream nor by its id.
    assert_eq!(object(here, &id).await["status"], "in_progress");
    for (path, node) in [
        (format!("/v1/responses/{id}"), there),
        (format!("/v1/responses/{id}?stream=true"), there),
        (format!("/v1/responses/{id}/input_items"), there),
        // It has ended, and lies in the store alone.
        (format!("/v1/responses/{before}"), here),
    ] {
        let (status, body) = ask(node, "GET", &path).await;
        assert_eq!(status, 503, "{path}: {body}");
        assert!(body.contains("store_unavailable"), "{body}");
    }
    for (method, path) in [
        ("POST", format!("/v1/responses/{id}/cancel")),
        ("DELETE", format!("/v1/responses/{id}")),
    ] {
        let (status, body) = ask(there, method, &path).await;
        assert_eq!(status, 503, "{body}");
        assert!(body.contains("store_unavailable"), "{body}");
    }
    let (status, body) = ask(there, "GET", "/readyz").await;
    assert_eq!((status, &*body), (503, "store unavailable\n"));
    assert_eq!(ask(there, "GET", "/healthz").await.0, 200);
    let (_, list) = ask(here, "GET", "/streams").await;
    let list: Value = serde_json::from_str(&list).expect("JSON");
    assert_eq!(list["store"], "unavailable");
    assert!(
        list["data"]
            .as_array()
            .is_some_and(|rows| rows.iter().any(|row| row["id"] == *id))
    );
    assert_eq!(blocks(&client.whole().await).count(), 40);
    for store in &nodes.stores {
        store.set_down(false);
    }
    until(async || ask(there, "GET", &format!("/v1/responses/{id}")).await.0 == 200).await;
    until(async || object(there, &id).await["status"] == "completed").await;
    let (_, all) = ask(there, "GET", &format!("/v1/responses/{id}?stream=true")).await;
    assert_eq!(blocks(&all).count(), 40);
    assert_eq!(
        ask(there, "GET", "/readyz").await,
        (200, "ready\n".to_owned())
    );
}

#[actix_rt::test]
async fn a_reader_elsewhere_waits_for_a_store_that_is_away_with_signs_of_life() {
    let config = RelayConfig::default().with_keepalive(Duration::from_millis(50));
    let script = paced(Duration::from_millis(10));
    let nodes = Nodes::with(script, Wire::Responses, config);
    let [here, there] = &nodes.nodes;
    let (_client, id, _) = stream(here, "x-relay-detach: true\r\n", &asks(), 1).await;
    let path = format!("/v1/responses/{id}?stream=true");
    let mut reader = Client::get(there, &path).await;
    let (begun, is_all) = reader.body(1).await;
    assert!(!is_all);
    nodes.stores[1].set_down(true);
    let mut so_far = begun;
    while so_far.matches("keepalive").count() < 3 {
        let is_all;
        (so_far, is_all) = reader.body(so_far.len() + 1).await;
        assert!(!is_all);
    }
    nodes.stores[1].set_down(false);
    let all = reader.whole().await;
    let numbers: Vec<_> = blocks(&all)
        .map(|block| data(block)["sequence_number"].clone())
        .collect();
    assert_eq!(numbers, (0..40).map(Value::from).collect::<Vec<_>>());
}

#[actix_rt::test]
async fn a_slow_store_holds_an_end_up_for_a_moment_and_nothing_else() {
    let nodes = Nodes::start(
        Script::always(Reply::sse(answer(Wire::Responses).concat())),
        Wire::Responses,
    );
    nodes.stores[0].set_delays([Duration::from_millis(700)]);
    let began = Instant::now();
    let (status, _, body) = post(&nodes.nodes[0], "/v1/responses", "", &asks().to_string()).await;
    assert_eq!(status, 200);
    assert!(body.contains("response.completed"));
    assert!(
        began.elapsed() < Duration::from_millis(600),
        "{:?}",
        began.elapsed()
    );
}

#[actix_rt::test]
async fn the_end_lies_in_the_store_before_it_is_told() {
    let nodes = Nodes::start(paced(Duration::from_millis(5)), Wire::Responses);
    let [here, there] = &nodes.nodes;
    nodes.stores[0].set_delays([Duration::from_millis(30)]);
    let mut at_once = 0;
    for _ in 0..10 {
        let (_client, id, body) = stream(here, "", &asks(), usize::MAX).await;
        assert_eq!(blocks(&body).count(), 40);
        at_once += usize::from(object(there, &id).await["status"] == "completed");
    }
    // On a machine that is busy it may have taken longer than an end is held up.
    assert!(at_once >= 7, "{at_once}");
}

/// Where another node has taken an answer over, which is still running here.
#[actix_rt::test]
async fn of_an_answer_that_is_lost_to_another_node_readers_here_have_one_end_and_the_server_is_free()
 {
    let config = RelayConfig::default().with_claim_time(Duration::from_millis(1250));
    for is_behind in [false, true] {
        let nodes = Nodes::with(endless(3), Wire::Responses, config.clone());
        let [here, _] = &nodes.nodes;
        let enough = answer(Wire::Responses)[..3].concat().len();
        let (mut client, id, begun) = stream(here, "", &asks(), enough).await;
        assert_eq!(blocks(&begun).count(), 3);
        let (owner, other) = (&nodes.stores[0], &nodes.stores[1]);
        let info = async || other.find("anonymous", &id).await.expect("a stream");
        until(async || info().await.blocks == 3).await;
        // The node hangs, as far as the store sees.
        owner.set_down(true);
        until(async || info().await.claimed_for.is_none()).await;
        let stream = info().await.stream;
        let claim = other
            .claim(&stream, "another", 2, Duration::from_secs(10))
            .await
            .expect("a claim");
        let last = json!({"type": "response.failed", "sequence_number": 3, "response":
            {"id": "resp_1", "status": "failed", "error": {"code": "node_lost", "message": "lost"}}});
        let last = Bytes::from(format!("event: response.failed\ndata: {last}\n\n"));
        let mut append = Append {
            expected: 3,
            end: Some(StreamEnd::Failed),
            ..Append::default()
        };
        append.blocks = match is_behind {
            // It goes on first.
            false => vec![answer(Wire::Responses)[3].clone().into(), last],
            true => vec![last],
        };
        let count = append.blocks.len();
        other.append(&claim, append).await.expect("an end");
        owner.set_down(false);
        let all = client.whole().await;
        let rest: Vec<_> = blocks(&all).skip(3).map(data).collect();
        assert_eq!(rest.len(), count, "{rest:?}");
        assert_eq!(rest[count - 1]["response"]["error"]["code"], "node_lost");
        let connection = nodes.upstream().requests()[0].connection;
        let closed = nodes.upstream().connection_closed(connection);
        timeout(Duration::from_secs(2), closed)
            .await
            .expect("the server is free");
        // Here, too, it is what the store has.
        assert_eq!(object(here, &id).await["status"], "failed");
        assert_eq!(info().await.blocks, 3 + count as u64);
    }
}

/// A reader that had more than the store, of which another node wrote another end.
#[actix_rt::test]
async fn who_read_more_than_was_stored_has_the_end_alone() {
    let config = RelayConfig::default().with_claim_time(Duration::from_millis(1250));
    let nodes = Nodes::with(paced(Duration::from_millis(100)), Wire::Responses, config);
    let [here, there] = &nodes.nodes;
    let (owner, other) = (&nodes.stores[0], &nodes.stores[1]);
    let (mut client, id, _) = stream(here, "", &asks(), 1).await;
    let info = async || other.find("anonymous", &id).await.expect("a stream");
    until(async || info().await.blocks > 0).await;
    owner.set_down(true);
    until(async || info().await.claimed_for.is_none()).await;
    let left = info().await;
    let claim = other
        .claim(&left.stream, "another", 2, Duration::from_secs(10))
        .await
        .expect("a claim");
    let last = json!({"type": "response.failed", "sequence_number": left.blocks, "response":
        {"id": "resp_1", "status": "failed", "error": {"code": "node_lost", "message": "lost"}}});
    let append = Append {
        expected: left.blocks,
        blocks: vec![format!("event: response.failed\ndata: {last}\n\n").into()],
        end: Some(StreamEnd::Failed),
        about: Some(r#"{"failure":"node_lost","model":"m"}"#.into()),
        ..Append::default()
    };
    other.append(&claim, append).await.expect("an end");
    owner.set_down(false);
    let all = client.whole().await;
    let (last, before) = blocks(&all)
        .map(data)
        .collect::<Vec<_>>()
        .split_last()
        .map(|(last, before)| (last.clone(), before.to_vec()))
        .expect("an end");
    assert!(before.len() as u64 > left.blocks, "{}", before.len());
    assert_eq!(last["response"]["error"]["code"], "node_lost");
    for (number, block) in before.iter().enumerate() {
        assert_eq!(block["sequence_number"], number);
    }
    // Who comes back to the other node has it, too, and nothing twice.
    for after in [left.blocks - 1, left.blocks, before.len() as u64 - 1] {
        let path = format!("/v1/responses/{id}?stream=true&starting_after={after}");
        let (status, body) = ask(there, "GET", &path).await;
        let told: Vec<_> = blocks(&body).map(data).collect();
        assert_eq!((status, told.len()), (200, 1), "{after}: {body}");
        assert_eq!(told[0]["response"]["error"]["code"], "node_lost");
    }
}

/// It was told where it was written, which waits for a store that is away no longer than a moment.
#[actix_rt::test]
async fn an_end_that_was_told_before_the_store_had_it_is_not_told_again_elsewhere() {
    let nodes = Nodes::start(paced(Duration::from_millis(20)), Wire::Responses);
    let [here, there] = &nodes.nodes;
    let (owner, other) = (&nodes.stores[0], &nodes.stores[1]);
    let detach = "x-relay-detach: true\r\n";
    let (mut client, id, _) = stream(here, detach, &asks(), 1).await;
    let info = async || other.find("anonymous", &id).await.expect("a stream");
    until(async || info().await.blocks > 0).await;
    owner.set_down(true);
    let cancel = format!("/v1/responses/{id}/cancel");
    let (all, _) = tokio::join!(client.whole(), ask(here, "POST", &cancel));
    let last = blocks(&all).last().map(data).expect("an end");
    assert_eq!(last["response"]["error"]["code"], "cancelled");
    assert_eq!(info().await.end, None);
    let path = format!(
        "/v1/responses/{id}?stream=true&starting_after={}",
        last["sequence_number"]
    );
    let up = async {
        sleep(Duration::from_millis(60)).await;
        owner.set_down(false);
    };
    let ((status, body), ()) = tokio::join!(ask(there, "GET", &path), up);
    assert_eq!((status, blocks(&body).count()), (200, 0), "{body}");
    assert_eq!(info().await.end, Some(StreamEnd::Cancelled));
}

/// One that came back with what its disk had.
#[actix_rt::test]
async fn an_answer_of_which_the_store_lost_the_end_is_not_over_where_it_was_written() {
    let config = RelayConfig::default().with_claim_time(Duration::from_millis(1250));
    let nodes = Nodes::with(paced(Duration::from_millis(10)), Wire::Responses, config);
    let [here, _] = &nodes.nodes;
    let detach = "x-relay-detach: true\r\n";
    let (mut client, id, _) = stream(here, detach, &asks(), 1).await;
    let info = async || {
        let info = nodes.stores[1].find("anonymous", &id).await;
        info.expect("a stream")
    };
    until(async || info().await.blocks > 0).await;
    nodes.stores[0].remember();
    client.whole().await;
    until(async || info().await.end.is_some()).await;
    // Its writer has looked whether it stays.
    sleep(Duration::from_secs(3)).await;
    nodes.stores[0].go_back();
    assert_eq!(info().await.end, None);
    let path = format!("/v1/responses/{id}?stream=true&starting_after=38");
    let (status, body) = ask(here, "GET", &path).await;
    assert_eq!(status, 200, "{body}");
    let last = blocks(&body).last().map(data).expect("an end");
    assert_eq!(last["response"]["error"]["code"], "node_lost");
}

#[actix_rt::test]
async fn a_request_waits_once_for_a_store_that_hangs_whatever_it_goes_on_from() {
    let nodes = Nodes::start(Script::always(Reply::default()), Wire::Responses);
    let [here, _] = &nodes.nodes;
    nodes.stores[0].set_delays([Duration::from_secs(20)]);
    let sealed = |number: usize| json!({"type": "reasoning", "id": format!("rs_{number}"), "summary": [], "encrypted_content": format!("sealed {number}")});
    let mut input: Vec<Value> = (0..16).map(sealed).collect();
    input.push(json!({"role": "user", "content": "hi"}));
    let body = json!({"model": "m", "input": input, "store": false}).to_string();
    let began = Instant::now();
    let (status, _, body) = post(here, "/v1/responses", "", &body).await;
    assert_eq!(status, 200, "{body}");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    // It is not asked for all that a request can name.
    nodes.stores[0].set_delays([]);
    let reference =
        |number: usize| json!({"type": "item_reference", "id": format!("msg_{number}")});
    let input: Vec<_> = (0..5000).map(reference).collect();
    let before = nodes.stores[0].calls("find");
    let body = json!({"model": "m", "input": input}).to_string();
    post(here, "/v1/responses", "", &body).await;
    let asked = nodes.stores[0].calls("find") - before;
    assert!((1..=1000).contains(&asked), "{asked}");
}

#[actix_rt::test]
async fn a_reader_of_an_answer_that_is_deleted_elsewhere_is_told_that_it_expired() {
    let config = RelayConfig::default().with_claim_time(Duration::from_millis(1250));
    let nodes = Nodes::with(endless(3), Wire::Responses, config);
    let [here, there] = &nodes.nodes;
    let (_client, id, _) = stream(here, "", &asks(), 1).await;
    let path = format!("/v1/responses/{id}?stream=true");
    let mut reader = Client::get(there, &path).await;
    reader.body(1).await;
    let stream = nodes.stores[1]
        .find("anonymous", &id)
        .await
        .expect("a stream")
        .stream;
    nodes.stores[1].remove(&stream).await.expect("a store");
    let all = reader.whole().await;
    let last = blocks(&all).last().map(data).expect("an end");
    assert_eq!(last["response"]["error"]["code"], "stream_expired");
}

/// One that takes nothing new.
#[derive(Debug)]
struct Full(FaultyStore);

impl StreamStore for Full {
    fn is_shared(&self) -> bool {
        true
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        Box::pin(async { Err(StoreError::Full) })
    }

    fn claim<'a>(
        &'a self,
        _: &'a StreamKey,
        _: &'a str,
        _: u64,
        _: Duration,
    ) -> StoreFuture<'a, Claim> {
        Box::pin(async { Err(StoreError::Full) })
    }

    fn append<'a>(&'a self, claim: &'a Claim, append: Append) -> StoreFuture<'a, u64> {
        self.0.append(claim, append)
    }

    fn read<'a>(&'a self, stream: &'a StreamKey, from: u64) -> StoreFuture<'a, Entries> {
        self.0.read(stream, from)
    }

    fn tail(&self, stream: &StreamKey, from: u64) -> StoreTail {
        self.0.tail(stream, from)
    }

    fn cancel<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, ()> {
        self.0.cancel(stream)
    }

    fn cancelled<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ()> {
        self.0.cancelled(claim)
    }

    fn find<'a>(&'a self, client: &'a str, id: &'a str) -> StoreFuture<'a, StreamInfo> {
        self.0.find(client, id)
    }

    fn request<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, Bytes> {
        self.0.request(stream)
    }

    fn list<'a>(&'a self, client: &'a str) -> StoreFuture<'a, Vec<StreamInfo>> {
        self.0.list(client)
    }

    fn remove<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, ()> {
        self.0.remove(stream)
    }
}

#[actix_rt::test]
async fn what_a_full_store_does_not_take_is_relayed_and_says_no_id() {
    let upstream = Loopback::start(LoopbackOptions::default()).expect("an upstream");
    let provider = Provider::new("server", &upstream.base_url()).expect("a provider");
    let runtime = Runtime::start(provider.clone()).expect("a runtime");
    let store = Arc::new(Full(FaultyStore::new(StoreLimits::default())));
    let config = RelayConfig::default().with_store(store);
    let relay = Relay::new(runtime, RouteTable::single(provider), config);
    let relay = RunningRelay::serving(upstream, relay);
    let (status, head, body) = post(&relay, "/v1/responses", "", &asks().to_string()).await;
    assert_eq!(status, 200);
    assert!(body.contains("response.completed"));
    assert_eq!(header(&head, "x-relay-stream"), None);
    let (status, text) = ask(&relay, "GET", "/readyz").await;
    assert_eq!((status, &*text), (200, "ready, but the store is full\n"));
}
