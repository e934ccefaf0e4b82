//! Several nodes with one store, of which some go away: over sockets.

use std::{
    net::{SocketAddr, TcpListener},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use actix_responses::{
    Runtime,
    loopback::{Loopback, LoopbackOptions, Reply, Script},
    provider::Provider,
    relay::{Relay, RelayConfig, RouteTable, Serving, serve},
    store::{Append, StoreLimits, StreamEnd, StreamKey, StreamStore as _},
    testing::FaultyStore,
};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt as _,
    time::{Instant, sleep, timeout},
};

use crate::{
    nodes::{Client, data, until},
    resuming::{asked, blocks},
    support::header,
};

/// Short, for the time is a real one.
const CLAIM_TIME: Duration = Duration::from_millis(800);

/// Within it everybody knows: the claim's time, what a follower waits beside it, and what a machine with much to do needs.
const KNOWN_WITHIN: Duration = Duration::from_secs(4);

struct Node {
    address: SocketAddr,
    relay: Relay,
    store: FaultyStore,
    server: Serving,
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.server.stop());
    }
}

struct Nodes {
    upstream: Loopback,
    store: FaultyStore,
}

impl Nodes {
    /// A server, and a store.
    fn before(options: LoopbackOptions) -> Self {
        Self {
            upstream: Loopback::start(options).unwrap(),
            store: FaultyStore::new(StoreLimits::default()),
        }
    }

    /// A server whose answers take about two seconds.
    fn slow() -> Self {
        Self::before(LoopbackOptions::default().with_pace(Duration::from_millis(150)))
    }

    fn node(&self) -> Node {
        let provider = Provider::new("loopback", &self.upstream.base_url()).unwrap();
        let runtime = Runtime::start(provider.clone()).unwrap();
        let store = self.store.other_node();
        let config = RelayConfig::default()
            .with_store(Arc::new(store.clone()))
            .with_claim_time(CLAIM_TIME);
        let relay = Relay::new(runtime, RouteTable::single(provider), config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = serve(vec![listener], &relay, 1).unwrap();
        Node {
            address,
            relay,
            store,
            server,
        }
    }

    /// How often the server was asked for a new answer.
    fn posts(&self) -> usize {
        let requests = self.upstream.requests();
        let posts = requests
            .iter()
            .filter(|one| one.method == "POST" && one.path.ends_with("/responses"));
        posts.count()
    }

    fn queries(&self) -> Vec<String> {
        let requests = self.upstream.requests();
        requests.into_iter().filter_map(|one| one.query).collect()
    }

    /// How often it was asked to go on.
    fn resumed(&self) -> usize {
        let queries = self.queries();
        let goes_on = queries
            .iter()
            .filter(|query| query.contains("starting_after="));
        goes_on.count()
    }
}

impl Node {
    /// It writes for a moment more, then the others hear nothing of it.
    async fn vanish(&self) {
        sleep(Duration::from_millis(200)).await;
        self.store.set_down(true);
    }

    /// A request for an answer, and its first blocks.
    async fn ask(&self, more: Value, head: &str, enough: usize) -> (Client, String, String) {
        let mut body = json!({"model": "m", "input": "hi", "stream": true});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let body = body.to_string();
        let request = format!(
            "POST /v1/responses HTTP/1.1\r\nhost: {}\r\n{head}content-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut client = Client::asked(self.address, &request).await;
        let (head, body, _) = client.read(enough).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}\n{body}");
        let id = header(&head, "x-relay-stream").expect("an id").to_owned();
        (client, id, body)
    }

    /// All that follows of an answer, without the ids; `None` where the body was cut.
    async fn rest(&self, id: &str, after: Option<usize>) -> Option<Vec<String>> {
        let after = after.map_or(String::new(), |after| format!("&starting_after={after}"));
        let path = format!("/v1/responses/{id}?stream=true{after}");
        let mut client = Client::get_at(self.address, &path).await;
        let (head, body, is_whole) = client.read(usize::MAX).await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}\n{body}");
        is_whole.then(|| {
            let all = blocks(&body).map(|block| {
                let (fields, _) = block.trim_end().rsplit_once("\nid: ").expect("an id");
                format!("{fields}\n\n")
            });
            all.collect()
        })
    }

    async fn exchange(&self, method: &str, path: &str) -> (u16, Value) {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            self.address
        );
        let mut client = asked(self.address, &request).await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    /// The response as it is once it has ended.
    async fn ended(&self, path: &str) -> Value {
        let ended = async {
            loop {
                let (_, object) = self.exchange("GET", path).await;
                if object["status"] != "in_progress" {
                    return object;
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(Duration::from_secs(15), ended)
            .await
            .expect("an end")
    }
}

/// That a whole answer is there: its events are numbered without a gap, and the last one is the end.
#[track_caller]
fn assert_whole(blocks: &[String]) {
    for (number, block) in blocks.iter().enumerate() {
        assert_eq!(data(block)["sequence_number"], number, "{blocks:?}");
    }
    let last = data(blocks.last().expect("a block"));
    assert_eq!(last["type"], "response.completed", "{last}");
}

/// That an answer has one end, which says so.
#[track_caller]
fn assert_ended_by(blocks: &[String], code: &str) {
    let ends = blocks
        .iter()
        .filter(|block| data(block)["type"] == "response.failed");
    assert_eq!(ends.count(), 1, "{blocks:?}");
    let last = data(blocks.last().unwrap());
    assert_eq!(last["response"]["error"]["code"], code, "{last}");
    assert_eq!(last["sequence_number"], blocks.len() - 1);
}

/// What it has of what came when a client was asked, and what comes elsewhere.
fn joined(body: &str, rest: Vec<String>) -> Vec<String> {
    blocks(body).map(str::to_owned).chain(rest).collect()
}

fn in_background() -> Value {
    json!({"background": true})
}

/// An event of an answer that a script says.
fn said(number: u64, kind: &str) -> String {
    let data = json!({"type": kind, "sequence_number": number, "item_id": "m", "output_index": 0, "content_index": 0, "delta": "a",
        "response": {"id": "resp_1", "status": kind.trim_start_matches("response."), "output": []}});
    format!("event: {kind}\ndata: {data}\n\n")
}

fn deltas(numbers: Range<u64>) -> String {
    let said = numbers.map(|number| said(number, "response.output_text.delta"));
    said.collect()
}

#[actix_rt::test]
async fn an_answer_in_the_background_goes_on_at_another_node_with_one_post() {
    let nodes = Nodes::slow();
    let (first, second) = (nodes.node(), nodes.node());
    let include = json!({"background": true, "include": ["message.output_text.logprobs"]});
    let (client, id, body) = first.ask(include, "", 200).await;
    let seen = blocks(&body).count();
    first.vanish().await;
    drop(client);
    let rest = second
        .rest(&id, Some(seen - 1))
        .await
        .expect("a whole body");
    assert_whole(&joined(&body, rest));
    assert_eq!((nodes.posts(), nodes.resumed()), (1, 1));
    // It is to tell what was asked for.
    let asked = "include%5B%5D=message.output_text.logprobs";
    assert!(nodes.queries().iter().any(|query| query.contains(asked)));
    // From its beginning, on a node that never had to do with it, byte for byte as the server has it.
    let all = nodes.node().rest(&id, None).await.unwrap();
    assert_whole(&all);
    let response = data(&all[0])["response"]["id"].as_str().unwrap().to_owned();
    let (_, object) = second
        .exchange("GET", &format!("/v1/responses/{response}"))
        .await;
    assert_eq!(object["status"], "completed", "{object}");
}

#[actix_rt::test]
async fn what_its_server_does_not_keep_is_lost_for_every_reader_within_the_claims_time() {
    let nodes = Nodes::slow();
    let (first, others) = (nodes.node(), [nodes.node(), nodes.node()]);
    let (_client, id, _) = first.ask(json!({}), "x-relay-detach: true\r\n", 200).await;
    first.vanish().await;
    let since = Instant::now();
    let [one, other] = others.each_ref().map(|node| node.rest(&id, None));
    let (one, other) = tokio::join!(one, other);
    assert!(since.elapsed() < KNOWN_WITHIN, "{:?}", since.elapsed());
    let one = one.expect("a whole body");
    assert_ended_by(&one, "node_lost");
    assert_eq!(Some(one), other);
    assert_eq!((nodes.posts(), nodes.resumed()), (1, 0));
}

#[actix_rt::test]
async fn of_nodes_that_find_it_at_once_one_goes_on() {
    let nodes = Nodes::slow();
    let first = nodes.node();
    let others: Vec<_> = (0..4).map(|_| nodes.node()).collect();
    let (_client, id, _) = first.ask(in_background(), "", 200).await;
    first.vanish().await;
    let readers = others
        .iter()
        .flat_map(|node| [node.rest(&id, None), node.rest(&id, None)]);
    let all = futures_util::future::join_all(readers).await;
    for blocks in &all {
        let blocks = blocks.as_ref().expect("a whole body");
        assert_whole(blocks);
        assert_eq!(Some(blocks), all[0].as_ref());
    }
    assert_eq!((nodes.posts(), nodes.resumed()), (1, 1));
}

#[actix_rt::test]
async fn what_the_server_does_not_know_any_more_is_lost_and_says_so() {
    let text = said(0, "response.created") + &deltas(1..100);
    let script = Script::new([
        Reply::sse(text).with_pace(Duration::from_millis(50)),
        Reply::error(StatusCode::NOT_FOUND),
    ]);
    let nodes = Nodes::before(LoopbackOptions::default().with_script(script));
    let (first, second) = (nodes.node(), nodes.node());
    let (_client, id, _) = first.ask(in_background(), "", 400).await;
    first.vanish().await;
    let blocks = second.rest(&id, None).await.unwrap();
    assert_ended_by(&blocks, "node_lost");
    let last = data(blocks.last().unwrap());
    let message = last["response"]["error"]["message"].as_str().unwrap();
    assert!(message.contains("not found"), "{message}");
    assert_eq!(nodes.resumed(), 1);
}

#[actix_rt::test]
async fn behind_signs_of_life_an_answer_goes_on_after_its_last_event() {
    let signs = |count| "data: {\"type\":\"keepalive\"}\n\n".repeat(count);
    let rest = deltas(4..6) + &said(6, "response.completed");
    for (goes_on, behind, rest) in [
        (true, 2, Reply::sse(rest.clone())),
        // The last event is not among the blocks that are looked at first.
        (true, 20, Reply::sse(rest)),
        (false, 2, Reply::error(StatusCode::NOT_FOUND)),
    ] {
        let begun = signs(2) + &said(0, "response.created") + &deltas(1..4) + &signs(behind);
        let count = 6 + behind;
        let script = Script::new([
            Reply::sse(begun).stall_after_events(count),
            rest.with_path("/responses/resp_1"),
        ]);
        let nodes = Nodes::before(LoopbackOptions::default().with_script(script));
        let (first, second) = (nodes.node(), nodes.node());
        let (_client, id, _) = first.ask(in_background(), "", 600).await;
        while nodes.store.find("anonymous", &id).await.unwrap().blocks < count as u64 {
            sleep(Duration::from_millis(10)).await;
        }
        first.store.set_down(true);
        let path = format!("/v1/responses/{id}?stream=true");
        let mut client = Client::get_at(second.address, &path).await;
        let (body, is_whole) = client.body(usize::MAX).await;
        assert!(is_whole, "{body}");
        let all = joined(&body, Vec::new());
        if goes_on {
            assert_whole(&all);
        } else {
            assert_ended_by(&all, "node_lost");
            let last = data(all.last().unwrap());
            assert_eq!(last["response"]["id"], "resp_1");
        }
        let queries = nodes.queries();
        assert!(queries.iter().any(|it| it.contains("starting_after=3")));
    }
}

impl Nodes {
    /// An answer whose node is gone, and that is read where its store fails by this method, which was asked twice.
    async fn left_where_fails(&self, what: &str) -> (Node, Client, String) {
        let (first, second) = (self.node(), self.node());
        let (_client, id, _) = first.ask(in_background(), "", 200).await;
        let path = format!("/v1/responses/{id}?stream=true");
        let mut client = Client::get_at(second.address, &path).await;
        client.read(200).await;
        let before = second.store.calls(what);
        second.store.set_failing(what, true);
        first.vanish().await;
        until(async || second.store.calls(what) >= before + 2).await;
        (second, client, id)
    }
}

#[actix_rt::test]
async fn a_store_that_can_not_be_read_for_a_moment_is_asked_again() {
    for what in ["read", "request"] {
        let nodes = Nodes::slow();
        let (second, mut client, _) = nodes.left_where_fails(what).await;
        second.store.set_failing(what, false);
        assert_whole(&joined(&client.whole().await, Vec::new()));
        assert_eq!((nodes.posts(), nodes.resumed()), (1, 1), "{what}");
    }
}

/// Whoever stops it meanwhile reads that it was stopped.
#[actix_rt::test]
async fn an_answer_that_can_not_be_read_has_an_end() {
    for (what, is_stopped) in [("read", false), ("request", false), ("request", true)] {
        let nodes = Nodes::slow();
        let (second, mut client, id) = nodes.left_where_fails(what).await;
        if is_stopped {
            let _ = second
                .exchange("POST", &format!("/v1/responses/{id}/cancel"))
                .await;
        }
        let all = client.whole().await;
        let last = blocks(&all).last().map(data).expect("an end");
        let code = if is_stopped { "cancelled" } else { "node_lost" };
        assert_eq!(last["response"]["error"]["code"], code, "{what}: {last}");
        assert_eq!((nodes.posts(), nodes.resumed()), (1, 0), "{what}");
    }
}

#[actix_rt::test]
async fn without_what_was_asked_an_answer_does_not_go_on() {
    let nodes = Nodes::slow();
    let (first, second) = (nodes.node(), nodes.node());
    let (_client, id, _) = first.ask(in_background(), "", 600).await;
    sleep(Duration::from_millis(200)).await;
    let info = nodes.store.find("anonymous", &id).await.unwrap();
    let begun = nodes.store.read(&info.stream, 1).await.unwrap();
    // The same answer of a node that is gone, and what was asked is gone, too.
    let stream = StreamKey {
        id: format!("{id}1"),
        ..info.stream
    };
    let claim = nodes.store.claim(&stream, "gone", 1, CLAIM_TIME).await;
    let append = Append {
        blocks: begun.blocks,
        about: Some(info.about),
        ..Append::default()
    };
    nodes.store.append(&claim.unwrap(), append).await.unwrap();
    let blocks = second.rest(&stream.id, None).await.unwrap();
    assert_ended_by(&blocks, "node_lost");
    let last = data(blocks.last().unwrap());
    let message = last["response"]["error"]["message"].as_str().unwrap();
    assert!(message.contains("what was asked"), "{message}");
    assert_eq!(nodes.resumed(), 0);
}

#[actix_rt::test]
async fn one_that_only_asks_how_it_stands_takes_it_over_too() {
    let nodes = Nodes::slow();
    let (first, second) = (nodes.node(), nodes.node());
    let (_client, id, _) = first.ask(in_background(), "", 200).await;
    first.vanish().await;
    let object = second.ended(&format!("/v1/responses/{id}")).await;
    assert_eq!(object["status"], "completed", "{object}");
    assert_eq!((nodes.posts(), nodes.resumed()), (1, 1));
}

#[actix_rt::test]
async fn one_that_is_stopped_after_its_node_went_away_is_stopped_at_its_server_too() {
    let nodes = Nodes::slow();
    let (first, second) = (nodes.node(), nodes.node());
    let (_client, id, _) = first.ask(in_background(), "", 200).await;
    first.vanish().await;
    let path = format!("/v1/responses/{id}/cancel");
    let cancelled = async {
        loop {
            let (status, object) = second.exchange("POST", &path).await;
            match status {
                200 => return object,
                503 => assert_eq!(object["error"]["code"], "cancel_pending"),
                other => panic!("{other} {object}"),
            }
        }
    };
    let object = timeout(Duration::from_secs(15), cancelled)
        .await
        .expect("an end");
    assert_eq!(object["status"], "cancelled", "{object}");
    let requests = nodes.upstream.requests();
    let told = |path: &str| path.ends_with("/cancel");
    assert!(requests.iter().any(|one| told(&one.path)), "{requests:?}");
}

#[actix_rt::test]
async fn a_node_that_is_shut_down_hands_on_what_can_go_on_and_ends_the_rest() {
    let nodes = Nodes::slow();
    let (first, second) = (nodes.node(), nodes.node());
    let (mut client, id, _) = first.ask(in_background(), "", 200).await;
    let detach = "x-relay-detach: true\r\n";
    let (mut other, other_id, _) = first.ask(json!({}), detach, 200).await;
    let drained = first.relay.drain(Duration::ZERO);
    let (drained, cut, ended) = tokio::join!(
        timeout(Duration::from_secs(10), drained),
        client.body(usize::MAX),
        other.body(usize::MAX)
    );
    drained.expect("it ends");
    // Its client is told of no end.
    assert!(!cut.1, "{cut:?}");
    assert!(!cut.0.contains("response.failed"), "{cut:?}");
    let had = blocks(&cut.0).count();
    let rest = second.rest(&id, Some(had - 1)).await.unwrap();
    assert_whole(&joined(&cut.0, rest));
    assert_eq!((nodes.posts(), nodes.resumed()), (2, 1));
    // The node that had it lists what became of it.
    let (_, list) = first.exchange("GET", "/streams").await;
    let rows = list["data"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["id"] == *id).expect("it");
    assert_eq!(row["state"], "completed", "{row}");
    // The other one has the same end for its client and in the store, which has it before the process may go.
    assert!(ended.1, "{ended:?}");
    first.store.set_down(true);
    let there = second.rest(&other_id, None).await.unwrap();
    assert_ended_by(&there, "server_shutting_down");
    assert_eq!(joined(&ended.0, Vec::new()), there);
}

#[actix_rt::test]
async fn of_a_node_that_is_shut_down_while_the_store_is_away_that_goes_on_which_the_store_has() {
    let nodes = Nodes::slow();
    let (first, second) = (nodes.node(), nodes.node());
    let (mut known, id, _) = first.ask(in_background(), "", 200).await;
    first.vanish().await;
    let (mut unknown, _, _) = first.ask(in_background(), "", 200).await;
    let drained = first.relay.drain(Duration::ZERO);
    let (drained, cut, ended) = tokio::join!(
        timeout(Duration::from_secs(15), drained),
        known.body(usize::MAX),
        unknown.body(usize::MAX)
    );
    drained.expect("it ends");
    assert!(!cut.1 && !cut.0.contains("response.failed"), "{cut:?}");
    // It may have more than the store.
    let had = blocks(&cut.0).count();
    let rest = second.rest(&id, Some(had - 1)).await.unwrap();
    assert_whole(&joined(&cut.0, rest));
    // Nobody else can go on with the other one, and its client is told.
    assert!(ended.1, "{ended:?}");
    assert_ended_by(&joined(&ended.0, Vec::new()), "server_shutting_down");
}

#[actix_rt::test]
async fn what_was_handed_over_is_stopped_by_way_of_the_store() {
    let nodes = Nodes::slow();
    let (first, second) = (nodes.node(), nodes.node());
    let (_client, id, _) = first.ask(in_background(), "", 200).await;
    sleep(Duration::from_millis(200)).await;
    first.relay.drain(Duration::ZERO).await;
    let path = format!("/v1/responses/{id}");
    let (status, refusal) = first.exchange("POST", &format!("{path}/cancel")).await;
    let told = (status, &refusal["error"]["code"]);
    assert_eq!(told, (503, &json!("cancel_pending")), "{refusal}");
    let object = second.ended(&path).await;
    assert_eq!(object["status"], "cancelled", "{object}");
}

#[actix_rt::test]
async fn a_node_that_has_drained_goes_on_with_nothing() {
    let nodes = Nodes::slow();
    let (first, second) = (nodes.node(), nodes.node());
    let (_client, id, _) = first.ask(in_background(), "", 200).await;
    sleep(Duration::from_millis(200)).await;
    second.relay.drain(Duration::from_secs(5)).await;
    first.store.set_down(true);
    let path = format!("/v1/responses/{id}?stream=true");
    let reader = Client::get_at(second.address, &path).await;
    let found = async {
        while nodes.store.find("anonymous", &id).await.unwrap().epoch < 2 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(KNOWN_WITHIN, found).await.expect("it finds it");
    sleep(Duration::from_millis(200)).await;
    drop(reader);
    assert_eq!(nodes.resumed(), 0);
    let all = nodes.node().rest(&id, None).await.unwrap();
    assert_whole(&all);
    assert_eq!((nodes.posts(), nodes.resumed()), (1, 1));
}

#[actix_rt::test]
async fn a_node_that_was_away_for_too_long_stops_and_its_readers_go_on() {
    for (more, head) in [
        (in_background(), ""),
        (json!({}), "x-relay-detach: true\r\n"),
    ] {
        let goes_on = more["background"] == true;
        let nodes = Nodes::slow();
        let (first, second) = (nodes.node(), nodes.node());
        let (mut client, id, _) = first.ask(more, head, 200).await;
        sleep(Duration::from_millis(200)).await;
        first.store.set_down(true);
        let reader = actix_rt::spawn(async move { client.body(usize::MAX).await });
        let elsewhere = async {
            sleep(Duration::from_millis(1100)).await;
            second.rest(&id, None).await.expect("a whole body")
        };
        let back = async {
            // When another node has it.
            let store = nodes.store.clone();
            while store.find("anonymous", &id).await.unwrap().epoch < 2 {
                sleep(Duration::from_millis(10)).await;
            }
            first.store.set_down(false);
        };
        // What it asked the server for is let go, long before the server would have said all.
        let freed = async {
            let asked = nodes.upstream.requests()[0].connection;
            let is_open = || {
                nodes
                    .upstream
                    .connection(asked)
                    .is_some_and(|one| one.closed.is_none())
            };
            while is_open() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let back = async {
            back.await;
            let freed = timeout(Duration::from_secs(1), freed).await;
            freed.expect("it stops");
        };
        let (elsewhere, ()) = tokio::join!(elsewhere, back);
        let (body, is_whole) = reader.await.unwrap();
        assert!(is_whole, "{body}");
        let here = joined(&body, Vec::new());
        if goes_on {
            assert_whole(&elsewhere);
            assert_eq!(here, elsewhere);
        } else {
            assert_ended_by(&elsewhere, "node_lost");
            // It may have had more than the store.
            let ends = here.iter().filter(|block| block.contains("node_lost"));
            assert_eq!(ends.count(), 1, "{here:?}");
            assert_eq!(here.last(), elsewhere.last());
        }
        let info = nodes.store.find("anonymous", &id).await.unwrap();
        let end = if goes_on {
            StreamEnd::Completed
        } else {
            StreamEnd::Failed
        };
        assert_eq!((info.end, info.blocks), (Some(end), elsewhere.len() as u64));
        assert_eq!(nodes.posts(), 1);
    }
}
