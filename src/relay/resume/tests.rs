//! The routes, with answers that are filled by hand.

use std::{sync::Arc, time::Duration};

use actix_web::{
    App, HttpResponse,
    body::{MessageBody, to_bytes},
    dev::{Service, ServiceResponse},
    http::StatusCode,
    test::{TestRequest, call_service, init_service, read_body},
};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};

use super::{
    super::{
        Relay, RelayConfig, RouteTable,
        access::Client,
        answers::{About, Answer, End, Reader},
        connection,
        pump::Form,
        whole,
    },
    cursor::Numbers,
    place,
};
use crate::{
    Runtime,
    provider::Provider,
    store::{StreamInfo, StreamKey},
    wire::Wire,
};

fn relay() -> Relay {
    relay_with(RelayConfig::default())
}

fn relay_with(config: RelayConfig) -> Relay {
    let provider = Provider::new("nobody", "http://127.0.0.1:9/v1").expect("a provider");
    let runtime = Runtime::start(provider.clone()).expect("a runtime");
    Relay::new(runtime, RouteTable::single(Arc::new(provider)), config)
}

fn begin(relay: &Relay, client: &Client, request: &Value, is_detached: bool) -> Arc<Answer> {
    let about = About {
        wire: Wire::Responses,
        model: "m".to_owned(),
        provider: "nobody".to_owned(),
        detached: is_detached,
        stored: true,
        background: false,
        request: request.to_string().into(),
    };
    relay.shared.answers.begin(client, about)
}

fn block(event: &Value) -> Bytes {
    let kind = event["type"].as_str().unwrap_or_default();
    format!("event: {kind}\ndata: {event}\n\n").into()
}

fn delta(number: u64) -> Bytes {
    block(
        &json!({"type": "response.output_text.delta", "sequence_number": number, "output_index": 0,
        "content_index": 0, "item_id": "msg_1", "delta": format!("{number} ")}),
    )
}

fn beginning() -> [Bytes; 2] {
    [
        block(&json!({"type": "response.created", "sequence_number": 0,
            "response": {"id": "resp_1", "object": "response", "status": "in_progress", "output": []}})),
        block(
            &json!({"type": "response.output_item.added", "sequence_number": 1, "output_index": 0,
            "item": {"type": "message", "id": "msg_1", "role": "assistant", "content": []}}),
        ),
    ]
}

fn closing(number: u64) -> Bytes {
    block(
        &json!({"type": "response.completed", "sequence_number": number, "response": {
        "id": "resp_1", "object": "response", "status": "completed",
        "output": [{"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "2 3 "}]}],
        "usage": {"input_tokens": 3, "output_tokens": 5}}}),
    )
}

async fn ask<S, B>(app: &S, request: TestRequest) -> (StatusCode, String)
where
    S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    let response = call_service(
        app,
        request.insert_header(("host", "localhost")).to_request(),
    )
    .await;
    let status = response.status();
    let body = read_body(response).await;
    (status, String::from_utf8(body.to_vec()).expect("text"))
}

/// The `sequence_number`s of a body, which stand in its ids, too.
fn numbers(body: &str) -> Vec<u64> {
    let ids = body.lines().filter_map(|line| line.strip_prefix("id: "));
    let ids: Vec<u64> = ids.map(|id| id.parse().expect("a number")).collect();
    let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
    let data = data.map(|data| serde_json::from_str::<Value>(data).expect("JSON"));
    let numbers: Vec<u64> = data
        .filter_map(|data| data["sequence_number"].as_u64())
        .collect();
    assert_eq!(ids, numbers);
    numbers
}

macro_rules! app {
    ($relay:expr) => {
        init_service(App::new().configure(|app| $relay.configure(app))).await
    };
}

#[actix_rt::test]
async fn a_replay_goes_live_without_a_gap_or_a_repeat_and_its_cursor_is_the_servers_number() {
    let relay = relay();
    let app = app!(relay);
    let answer = begin(&relay, &Client::Anonymous, &json!({}), false);
    relay.shared.answers.set_alias(&answer, "resp_1");
    answer.push(beginning());
    answer.push((2..10).map(delta));
    let filling = async {
        for number in 10..30 {
            answer.push([delta(number)]);
            tokio::task::yield_now().await;
        }
        answer.push([closing(30)]);
        answer.end(End::Completed);
    };
    let by = |id: &str, query: &str| {
        TestRequest::get().uri(&format!("/v1/responses/{id}?stream=true{query}"))
    };
    let last_seen = TestRequest::get()
        .uri("/responses/resp_1/")
        .insert_header(("last-event-id", "7"));
    let (all, some, last, ()) = tokio::join!(
        ask(&app, by(answer.id(), "")),
        ask(&app, by("resp_1", "&starting_after=4")),
        ask(&app, last_seen),
        filling
    );
    assert_eq!(numbers(&all.1), (0..=30).collect::<Vec<_>>());
    assert_eq!(numbers(&some.1), (5..=30).collect::<Vec<_>>());
    assert_eq!(numbers(&last.1), (8..=30).collect::<Vec<_>>());
    // The end lies in the store, and is read from there.
    let (_, again) = ask(&app, by("resp_1", "&starting_after=28")).await;
    assert_eq!(numbers(&again), [29, 30]);
    let (_, nothing) = ask(&app, by("resp_1", "&starting_after=30")).await;
    assert_eq!(nothing, "");
    for beyond in ["31", "x"] {
        let (status, _) = ask(&app, by("resp_1", &format!("&starting_after={beyond}"))).await;
        assert_eq!(status, 400);
    }
}

#[actix_rt::test]
async fn a_client_that_leaves_frees_the_server_and_one_that_comes_back_has_a_whole_sequence_200_times()
 {
    let relay = relay();
    let app = app!(relay);
    let streams = (0..200_u64).map(|turn| {
        let (relay, app) = (&relay, &app);
        async move {
            let is_detached = turn % 4 != 0;
            let answer = begin(relay, &Client::Anonymous, &json!({}), is_detached);
            let pump = async {
                for number in 0..100 {
                    tokio::select! {
                        biased;
                        () = answer.deserted() => {
                            answer.push([closing(number)]);
                            answer.end(End::Cancelled);
                            return number;
                        }
                        () = answer.room() => answer.push([delta(number)]),
                    }
                    tokio::task::yield_now().await;
                }
                answer.push([closing(100)]);
                answer.end(End::Completed);
                100
            };
            let client = async {
                let mut reader = answer.read(0);
                let mut seen = 0;
                while seen <= turn % 40 {
                    let batch = reader.next().await.expect("blocks").expect("blocks");
                    seen += batch.count() as u64;
                }
                drop(reader);
                seen
            };
            let (last, seen) = tokio::join!(pump, client);
            assert!(is_detached && last == 100 || !is_detached && last < 100);
            let back = format!(
                "/v1/responses/{}?stream=true&starting_after={}",
                answer.id(),
                seen - 1
            );
            let (status, body) = ask(app, TestRequest::get().uri(&back)).await;
            assert_eq!(status, 200);
            assert_eq!(numbers(&body), (seen..=last).collect::<Vec<_>>());
        }
    });
    futures_util::future::join_all(streams).await;
}

#[actix_rt::test]
async fn what_is_known_of_a_running_answer_is_its_object_so_far() {
    let relay = relay();
    let app = app!(relay);
    let answer = begin(&relay, &Client::Anonymous, &json!({}), false);
    let get = || TestRequest::get().uri(&format!("/v1/responses/{}", answer.id()));
    let object = async || serde_json::from_str::<Value>(&ask(&app, get()).await.1).expect("JSON");
    assert_eq!(object().await["status"], "in_progress");
    answer.push(beginning());
    answer.push([delta(2), delta(3)]);
    let so_far = object().await;
    assert_eq!(so_far["status"], "in_progress");
    // Also of a server that does not announce its parts.
    assert_eq!(
        so_far["output"][0]["content"],
        json!([{"type": "output_text", "text": "2 3 "}])
    );
    answer.push([closing(4)]);
    answer.end(End::Completed);
    let whole = object().await;
    assert_eq!(
        (&whole["status"], &whole["usage"]["output_tokens"]),
        (&json!("completed"), &json!(5))
    );
}

#[actix_rt::test]
async fn an_answer_is_cancelled_and_deleted() {
    let relay = relay();
    let app = app!(relay);
    let answer = begin(&relay, &Client::Anonymous, &json!({}), true);
    let path = format!("/v1/responses/{}", answer.id());
    let pump = async {
        answer.cancelled().await;
        let failed = json!({"type": "response.failed", "sequence_number": 1, "response": {
            "id": "resp_1", "status": "failed", "error": {"code": "cancelled", "message": "stopped"}}});
        answer.push([delta(0), block(&failed)]);
        answer.end(End::Cancelled);
    };
    let cancel = || TestRequest::post().uri(&format!("{path}/cancel"));
    let ((status, body), ()) = tokio::join!(ask(&app, cancel()), pump);
    let body: Value = serde_json::from_str(&body).expect("JSON");
    // Though its stream ended with `response.failed`.
    assert_eq!(
        (status.as_u16(), &body["status"], &body["error"]),
        (200, &json!("cancelled"), &Value::Null)
    );
    let (status, _) = ask(&app, cancel()).await;
    assert_eq!(status, 200, "a second time");
    let (_, body) = ask(&app, TestRequest::delete().uri(&path)).await;
    let body: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        body,
        json!({"id": answer.id(), "object": "response", "deleted": true})
    );
    for gone in [
        TestRequest::get().uri(&path),
        TestRequest::delete().uri(&path),
        cancel(),
    ] {
        assert_eq!(ask(&app, gone).await.0, 404);
    }
}

#[actix_rt::test]
async fn the_items_of_a_request_are_listed_and_those_of_a_chain_of_answers_gone_on_from() {
    let relay = relay();
    let app = app!(relay);
    let (me, other) = (Client::Anonymous, Client::Keyed([1; 32]));
    let first = begin(&relay, &me, &json!({"input": "hello"}), false);
    relay.shared.answers.set_alias(&first, "resp_1");
    first.push([closing(0)]);
    first.end(End::Completed);
    let input = json!([{"role": "user", "content": "a"}, {"type": "function_call_output", "call_id": "c", "output": "b"}]);
    let second = begin(
        &relay,
        &me,
        &json!({"previous_response_id": "resp_1", "input": input}),
        false,
    );
    let items = async |client, id: &str| {
        let items = relay.shared.answers.items(client, id).await;
        items.expect("a store that answers")
    };
    assert_eq!(items(&me, second.id()).await, None, "before its end");
    second.push([closing(0)]);
    second.end(End::Completed);
    let all = items(&me, second.id()).await.expect("items");
    let kinds: Vec<_> = all
        .iter()
        .map(|item| item["role"].as_str().unwrap_or("-"))
        .collect();
    assert_eq!(kinds, ["user", "assistant", "user", "-", "assistant"]);
    assert_eq!(items(&other, "resp_1").await, None);

    let page = async |query: &str| {
        let uri = format!("/v1/responses/{}/input_items{query}", second.id());
        let (_, body) = ask(&app, TestRequest::get().uri(&uri)).await;
        serde_json::from_str::<Value>(&body).expect("JSON")
    };
    let newest = page("?limit=1").await;
    assert_eq!(newest["data"][0]["type"], "function_call_output");
    assert_eq!(newest["has_more"], true);
    let next = page(&format!("?after={}", newest["last_id"].as_str().unwrap())).await;
    assert_eq!(
        next["data"][0]["content"],
        json!([{"type": "input_text", "text": "a"}])
    );
    assert_eq!(
        (&next["object"], &next["has_more"]),
        (&json!("list"), &json!(false))
    );
}

#[actix_rt::test]
async fn a_client_sees_only_the_streams_that_it_started() {
    let relay = relay();
    let app = app!(relay);
    let theirs = begin(
        &relay,
        &Client::Keyed([1; 32]),
        &json!({"input": "secret"}),
        false,
    );
    theirs.push(beginning());
    relay.shared.answers.set_alias(&theirs, "resp_1");
    for id in [theirs.id(), "resp_1", "resp_unknown"] {
        let at = |below: &str| format!("/v1/responses/{id}{below}");
        for request in [
            TestRequest::get().uri(&at("")),
            TestRequest::get().uri(&at("?stream=true")),
            TestRequest::post().uri(&at("/cancel")),
            TestRequest::delete().uri(&at("")),
            TestRequest::get().uri(&at("/input_items")),
        ] {
            assert_eq!(ask(&app, request).await.0, 404);
        }
    }
    assert!(theirs.cancelled().now_or_never().is_none());
    let (status, list) = ask(&app, TestRequest::get().uri("/streams")).await;
    let list: Value = serde_json::from_str(&list).expect("JSON");
    assert_eq!((status.as_u16(), &list["total"]), (200, &json!(0)));
    begin(&relay, &Client::Anonymous, &json!({}), false);
    let (_, list) = ask(&app, TestRequest::get().uri("/streams")).await;
    assert!(list.contains("\"waiting\"") && !list.contains("secret"));
}

#[actix_rt::test]
async fn a_resumed_stream_that_is_silent_is_sent_signs_of_life_between_blocks() {
    tokio::time::pause();
    let relay = relay();
    let app = app!(relay);
    let answer = begin(&relay, &Client::Anonymous, &json!({}), false);
    answer.push(beginning());
    let filling = async {
        tokio::time::sleep(Duration::from_secs(40)).await;
        answer.push([closing(2)]);
        answer.end(End::Completed);
    };
    let uri = format!("/v1/responses/{}?stream=true", answer.id());
    let ((_, body), ()) = tokio::join!(ask(&app, TestRequest::get().uri(&uri)), filling);
    assert_eq!(numbers(&body), [0, 1, 2]);
    assert_eq!(
        body.matches("data: {\"type\":\"keepalive\"}\n\n").count(),
        2
    );
}

#[actix_rt::test]
async fn a_client_that_is_ahead_is_sent_signs_of_life_while_it_has_what_comes() {
    tokio::time::pause();
    let relay = relay();
    let answer = begin(&relay, &Client::Anonymous, &json!({}), false);
    let body = connection::body(answer.clone(), answer.read(0), Duration::from_secs(15))
        .with_ids(Numbers::default())
        .ahead_by(Some(11));
    let filling = async {
        for number in 0..12 {
            answer.push([delta(number)]);
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        answer.push([closing(12)]);
        answer.end(End::Completed);
    };
    let body = body.map(|piece| piece.expect("bytes")).collect::<Vec<_>>();
    let (body, ()) = tokio::join!(body, filling);
    let body = String::from_utf8(body.concat()).expect("text");
    assert_eq!(numbers(&body), [12]);
    let signs = body.matches("data: {\"type\":\"keepalive\"}\n\n").count();
    assert!((7..=8).contains(&signs), "{signs}");
}

#[actix_rt::test]
async fn an_answer_over_its_bound_and_one_that_is_not_kept_any_longer_say_so() {
    let relay = relay_with(RelayConfig::default().with_retention_bytes(4000));
    let app = app!(relay);
    let long = begin(&relay, &Client::Anonymous, &json!({}), false);
    let reader = long.read(0);
    long.push((0..20).map(delta));
    let uri = format!("/v1/responses/{}?stream=true&starting_after=3", long.id());
    let (status, body) = ask(&app, TestRequest::get().uri(&uri)).await;
    assert_eq!(status, 409);
    assert!(body.contains("stream_not_resumable"), "{body}");
    // Who reads it reads it to its end.
    long.push([closing(20)]);
    long.end(End::Completed);
    assert_eq!(rest(&long, reader).await.matches("data: ").count(), 21);

    let gone = begin(&relay, &Client::Anonymous, &json!({}), false);
    gone.push([delta(0)]);
    gone.end(End::Completed);
    let (reader, whole) = (gone.read(0), gone.read(0));
    relay.shared.answers.remove(&gone).await.expect("a store");
    let told = rest(&gone, reader).await;
    assert!(
        told.contains("response.failed") && told.contains("stream_expired"),
        "{told}"
    );
    // Who asked for it in one piece, too.
    let response = HttpResponse::Ok();
    let response = whole::respond(whole, Wire::Responses, Form::Whole, response).await;
    assert_eq!(response.status(), 502);
    let body = to_bytes(response.into_body()).await.expect("a body");
    let error: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(error["error"]["code"], "stream_expired");
}

/// What the store says of a stream of this many blocks.
fn info(end: Option<End>, epoch: u64, blocks: u64) -> StreamInfo {
    let stream = StreamKey {
        client: "anonymous".to_owned(),
        id: "relay_1".to_owned(),
    };
    StreamInfo {
        stream,
        blocks,
        end,
        about: Bytes::new(),
        epoch,
        claimed_for: None,
        is_released: false,
    }
}

/// The blocks, its end and its epoch, the number that the client has: where it goes on.
type Case = (
    Vec<Bytes>,
    Option<End>,
    u64,
    u64,
    Option<(u64, Option<u64>)>,
);

#[test]
fn who_comes_back_goes_on_behind_what_it_has_and_never_without_the_end() {
    const KEEPALIVE: &[u8] = b"data: {\"type\":\"keepalive\"}\n\n";
    let failed = |number: u64| {
        block(
            &json!({"type": "response.failed", "sequence_number": number,
            "response": {"id": "resp_1", "status": "failed", "error": {"code": "cancelled"}}}),
        )
    };
    let numbered = |count: u64| (0..count).map(delta).collect::<Vec<_>>();
    let with = |mut blocks: Vec<Bytes>, last: Bytes| {
        blocks.push(last);
        blocks
    };
    let keepalive = vec![Bytes::from_static(KEEPALIVE)];
    let chunk = |text: &str| {
        Bytes::from(format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"
        ))
    };
    let chunks = vec![chunk("a"), chunk("b")];
    let error =
        Bytes::from_static(b"data: {\"error\":{\"message\":\"m\",\"code\":\"cancelled\"}}\n\n");
    let (open, completed, ended) = (None, Some(End::Completed), Some(End::Failed));
    let cases: Vec<Case> = vec![
        // It runs.
        (numbered(3), open, 1, 1, Some((2, None))),
        (numbered(3), open, 1, 2, Some((3, None))),
        (numbered(3), open, 1, 7, Some((3, Some(7)))),
        // It is written again, from its beginning.
        (vec![], open, 1, 0, Some((0, Some(0)))),
        (vec![], open, 1, 7, Some((0, Some(7)))),
        (keepalive.clone(), open, 1, 0, Some((0, Some(0)))),
        (keepalive, open, 1, 7, Some((1, Some(7)))),
        // Its own node ended it: what is not there is not there.
        (
            with(numbered(3), closing(3)),
            completed,
            1,
            2,
            Some((3, None)),
        ),
        (
            with(numbered(3), closing(3)),
            completed,
            1,
            3,
            Some((4, None)),
        ),
        (with(numbered(3), closing(3)), completed, 1, 4, None),
        (with(numbered(3), failed(3)), ended, 1, 3, Some((4, None))),
        (with(numbered(3), failed(3)), ended, 1, 4, None),
        // Another one did, which knew less of it: a cancel, or a failure of its own.
        (with(numbered(3), failed(3)), ended, 2, 1, Some((2, None))),
        (with(numbered(3), failed(3)), ended, 2, 2, Some((3, None))),
        (
            with(numbered(3), failed(3)),
            ended,
            2,
            3,
            Some((3, Some(3))),
        ),
        (
            with(numbered(3), failed(3)),
            ended,
            2,
            9,
            Some((3, Some(9))),
        ),
        // It had nothing of it.
        (with(numbered(1), failed(1)), ended, 2, 0, Some((1, None))),
        (
            with(numbered(1), failed(1)),
            ended,
            2,
            1,
            Some((1, Some(1))),
        ),
        (vec![failed(0)], ended, 2, 0, Some((0, Some(0)))),
        // It went on with it to the server's own end.
        (
            with(numbered(3), closing(3)),
            completed,
            2,
            3,
            Some((4, None)),
        ),
        (with(numbered(3), closing(3)), completed, 2, 9, None),
        // Chat: the numbers are our count from 1.
        (chunks.clone(), open, 1, 0, Some((0, Some(0)))),
        (chunks.clone(), open, 1, 2, Some((2, None))),
        (chunks.clone(), open, 1, 5, Some((2, Some(5)))),
        (
            with(chunks.clone(), error.clone()),
            ended,
            1,
            3,
            Some((3, None)),
        ),
        (with(chunks.clone(), error.clone()), ended, 1, 4, None),
        (
            with(chunks.clone(), error.clone()),
            ended,
            2,
            2,
            Some((2, None)),
        ),
        (
            with(chunks.clone(), error.clone()),
            ended,
            2,
            3,
            Some((2, Some(3))),
        ),
    ];
    for (row, (blocks, end, epoch, number, expected)) in cases.into_iter().enumerate() {
        let info = info(end, epoch, blocks.len() as u64);
        let place = place(Some(&info), &blocks, number);
        assert_eq!(place, expected, "row {row}: {number} of {blocks:?}");
    }
    // Of its own answers a node has all that clients were sent.
    let ended = with(numbered(3), failed(3));
    assert_eq!(place(None, &ended, 3), Some((4, None)));
    assert_eq!(place(None, &ended, 4), None);
    assert_eq!(place(None, &numbered(3), 3), None);
}

async fn rest(answer: &Arc<Answer>, reader: Reader) -> String {
    let body = connection::body(answer.clone(), reader, Duration::from_secs(15));
    let pieces: Vec<_> = body.map(|piece| piece.expect("bytes")).collect().await;
    String::from_utf8(pieces.concat()).expect("text")
}
