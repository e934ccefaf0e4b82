//! A stream outlives the process that asked for it.

mod going_on;
mod process;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_responses::{
    ApiError, ErrorKind, ResponseStream,
    actors::{Cursor, Milestone, RequestNotice, SubmitRequest},
    protocol::{Prompt, ResponseEvent},
    retry::RetryAfterOutput,
    store::{MemoryStore, StoreError, StoreLimits, StreamEnd, StreamInfo, StreamKey, StreamStore},
    testing::Recorder,
    wire::Wire,
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use self::process::Process;
use crate::support::{
    events::{self, event},
    failure, is_head, names, provider, settle, text,
    transport::Exchange,
};

type Events = Vec<Result<ResponseEvent, ApiError>>;

fn key() -> StreamKey {
    StreamKey {
        client: "somebody".to_owned(),
        id: "stream_1".to_owned(),
    }
}

fn memory() -> MemoryStore {
    MemoryStore::new(StoreLimits::default())
}

fn stored(prompt: Prompt) -> SubmitRequest {
    SubmitRequest::new(prompt).with_stored_as(key())
}

fn prompt() -> Prompt {
    Prompt::user("hello").with_model("m")
}

fn background() -> Prompt {
    prompt()
        .with_background(true)
        .with_include(["reasoning.encrypted_content"])
}

fn as_deltas(number: usize) -> Vec<Value> {
    let response = |status: &str, output: Value| json!({"id": "resp_1", "object": "response", "status": status, "output": output});
    let message = |content: Value| json!({"id": "msg_1", "type": "message", "role": "assistant", "content": content});
    let text = "x".repeat(number);
    let whole = message(json!([{"type": "output_text", "text": text, "annotations": []}]));
    let delta = json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "x"});
    let mut events = vec![
        json!({"type": "response.created", "response": response("queued", json!([]))}),
        json!({"type": "response.in_progress", "response": response("in_progress", json!([]))}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": message(json!([]))}),
    ];
    events.extend((0..number).map(|_| delta.clone()));
    events.extend([
        json!({"type": "response.output_text.done", "item_id": "msg_1", "output_index": 0, "content_index": 0, "text": text}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": whole}),
        json!({"type": "response.completed", "response": response("completed", json!([whole]))}),
    ]);
    for (number, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = number.into();
    }
    events
}

/// Of an answer of three deltas.
const EVENTS: usize = 9;

fn part(range: std::ops::Range<usize>) -> Exchange {
    let events = as_deltas(3).drain(range).map(event).collect::<String>();
    Exchange::stream(events).with_header("x-request-id", "req_1")
}

fn chat(texts: &[&str]) -> Vec<String> {
    let chunk = |delta: Value, end: Value| {
        let choice = json!({"index": 0, "delta": delta, "finish_reason": end});
        format!(
            "data: {}\n\n",
            json!({"id": "chat_1", "model": "m", "choices": [choice]})
        )
    };
    let texts = texts
        .iter()
        .map(|text| chunk(json!({"content": text}), Value::Null));
    let ends = [
        chunk(json!({}), json!("stop")),
        "data: [DONE]\n\n".to_owned(),
    ];
    texts.chain(ends).collect()
}

/// A chunk of text with a value that each has anew.
fn timed(number: usize) -> String {
    let choice = json!({"index": 0, "delta": {"content": "x"}, "finish_reason": null});
    let chunk =
        json!({"id": "chat_1", "model": "m", "choices": [choice], "timings": {"n": number}});
    format!("data: {chunk}\n\n")
}

async fn read(process: &Process, cursor: Cursor) -> Events {
    let stream = process.runtime.read_stored(key(), cursor).await;
    stream.expect("an accepted request").collect().await
}

async fn info(store: &MemoryStore) -> StreamInfo {
    let key = key();
    store.find(&key.client, &key.id).await.expect("a stream")
}

fn without_heads(events: Events) -> Events {
    let events = events.into_iter();
    events
        .filter(|event| !event.as_ref().is_ok_and(is_head))
        .collect()
}

/// What is written of an event: for those that are read from no block it is what is kept.
fn written(events: &Events) -> Vec<Value> {
    let events = events.iter().map(|event| match event {
        Ok(event) => serde_json::to_value(event).expect("JSON"),
        Err(error) => serde_json::to_value(error).expect("JSON"),
    });
    events.collect()
}

/// So many events, heads not counted.
async fn take(stream: &mut ResponseStream, count: usize) -> Events {
    let mut events = Vec::new();
    while events.len() < count {
        let event = stream.next().await.expect("an event");
        if !event.as_ref().is_ok_and(is_head) {
            events.push(event);
        }
    }
    events
}

#[actix_rt::test]
async fn every_answer_is_read_again_with_the_events_and_the_end_that_it_had() {
    let limited = Exchange::status(429)
        .with_header("retry-after", "1")
        .with_header("x-ratelimit-limit-requests", "10")
        .with_header("x-ratelimit-remaining-requests", "0");
    let whole = || part(0..EVENTS);
    let failed = [
        events::created(),
        events::delta("Hel"),
        events::failed("server_error", "oops"),
    ];
    let incomplete = [
        events::created(),
        events::delta("Hel"),
        events::incomplete("max_output_tokens"),
    ];
    let json_answer = json!({"id": "resp_1", "object": "response", "status": "completed", "output": [
        {"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello", "annotations": []}]}]});
    let chat_json = json!({"id": "c", "object": "chat.completion", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}]});
    let crlf = events::answer().replace('\n', "\r\n");
    let answers: Vec<(&str, Wire, Vec<Exchange>, StreamEnd)> = vec![
        (
            "whole",
            Wire::Responses,
            vec![whole()],
            StreamEnd::Completed,
        ),
        (
            "chat",
            Wire::Chat,
            vec![Exchange::stream(chat(&["Hel", "lo"]).concat())],
            StreamEnd::Completed,
        ),
        (
            "chat without a mark",
            Wire::Chat,
            vec![Exchange::stream(chat(&["Hel", "lo"])[..3].concat())],
            StreamEnd::Completed,
        ),
        (
            "chat that hangs",
            Wire::Chat,
            vec![Exchange::stream(chat(&["Hel", "lo"])[..3].concat()).held_open()],
            StreamEnd::Completed,
        ),
        (
            "chat that is cut",
            Wire::Chat,
            vec![Exchange::stream(chat(&["Hel", "lo"])[..2].concat())],
            StreamEnd::Failed,
        ),
        (
            "chat that is cut, with a last word",
            Wire::Chat,
            vec![Exchange::stream((0..20).map(timed).collect::<String>())],
            StreamEnd::Failed,
        ),
        (
            "chat that is cut in silence",
            Wire::Chat,
            vec![
                Exchange::stream((0..19).map(timed).collect::<String>())
                    .wait(Duration::from_secs(1))
                    .chunk("data: {\"timings\":{\"n\":19}}\n\n"),
            ],
            StreamEnd::Failed,
        ),
        (
            "in one piece",
            Wire::Responses,
            vec![
                Exchange::status(200)
                    .with_header("content-type", "application/json")
                    .chunk(json_answer.to_string()),
            ],
            StreamEnd::Completed,
        ),
        (
            "a Chat answer in one piece",
            Wire::Chat,
            vec![
                Exchange::status(200)
                    .with_header("content-type", "application/json")
                    .chunk(chat_json.to_string()),
            ],
            StreamEnd::Completed,
        ),
        (
            "a Chat answer in one piece, in a line",
            Wire::Chat,
            vec![
                Exchange::status(200)
                    .with_header("content-type", "application/json")
                    .chunk(format!("{chat_json}\n")),
            ],
            StreamEnd::Completed,
        ),
        (
            "other line ends",
            Wire::Responses,
            vec![Exchange::stream(crlf)],
            StreamEnd::Completed,
        ),
        (
            "bytes alone",
            Wire::Responses,
            vec![Exchange::stream("").chunks(events::answer().as_bytes(), 7)],
            StreamEnd::Completed,
        ),
        (
            "incomplete",
            Wire::Responses,
            vec![Exchange::stream(incomplete.concat())],
            StreamEnd::Incomplete,
        ),
        (
            "failed",
            Wire::Responses,
            vec![Exchange::stream(failed.concat())],
            StreamEnd::Failed,
        ),
        (
            "refused",
            Wire::Responses,
            vec![Exchange::status(400).chunk(r#"{"error":{"message":"no"}}"#)],
            StreamEnd::Failed,
        ),
        (
            "truncated",
            Wire::Responses,
            vec![part(0..5)],
            StreamEnd::Failed,
        ),
        (
            "limited first",
            Wire::Responses,
            vec![limited, whole()],
            StreamEnd::Completed,
        ),
        (
            "again before output",
            Wire::Responses,
            vec![part(0..2), whole()],
            StreamEnd::Completed,
        ),
    ];
    for (name, wire, exchanges, end) in answers {
        for restarts in [false, true] {
            let store = memory();
            let exchanges = match restarts {
                false => exchanges.clone(),
                true if wire == Wire::Chat => break,
                true => [vec![part(0..4)], exchanges.clone()].concat(),
            };
            let change = |config: &mut actix_responses::actors::SupervisorConfig| {
                provider(config, |provider| provider.wire = wire);
                config.retry.after_output = match restarts {
                    true => RetryAfterOutput::Restart,
                    false => RetryAfterOutput::Fail,
                };
                config.retry.max_attempts = 2 + u32::from(restarts);
            };
            let first = Process::start_with(&store, exchanges, change);
            let stream = first.runtime.submit(stored(prompt())).await.unwrap();
            let mut live: Events = stream.collect().await;
            assert_eq!(info(&store).await.end, Some(end), "{name}");
            let second = Process::start_with(&store, [], change);
            let mut again = read(&second, Cursor::Start).await;
            if end == StreamEnd::Failed {
                let last = |events: &mut Events| events.split_off(events.len() - 1);
                let (theirs, ours) = (last(&mut live), last(&mut again));
                assert_eq!(written(&ours), written(&theirs), "{name}");
            }
            assert_eq!(written(&again), written(&live), "{name}");
            // The response object of an answer that is no stream is not in its events' JSON.
            if !restarts && !name.contains("in one piece") {
                assert_eq!(again, live, "{name}");
            }
            assert_eq!(second.asked(), [""; 0]);
        }
    }
}

#[actix_rt::test]
async fn a_process_that_dies_anywhere_is_followed_by_one_that_goes_on_at_the_server() {
    let plain = Process::start(&memory(), [part(0..EVENTS)]);
    let stream = plain.runtime.stream(background()).await.unwrap();
    let uncut = without_heads(stream.collect().await);
    for cut in 1..EVENTS {
        for seen in 0..=cut.min(6) {
            let store = memory();
            let first = Process::start(&store, [part(0..cut).held_open()]);
            let mut stream = first.runtime.submit(stored(background())).await.unwrap();
            let mut events = take(&mut stream, seen.min(cut)).await;
            sleep(Duration::from_millis(50)).await;
            let cursor = Cursor::From(stream.next_sequence());
            first.kill();
            drop(stream);

            let second = Process::start(&store, [part(0..EVENTS)]);
            events.extend(read(&second, cursor).await);
            assert_eq!(without_heads(events), uncut, "cut at {cut}, seen {seen}");
            let last = cut - 1;
            let go_on = format!(
                "GET responses/resp_1 stream=true&include%5B%5D=reasoning.encrypted_content&starting_after={last}"
            );
            assert_eq!(second.asked(), [go_on]);

            let third = Process::start(&store, []);
            let again = read(&third, Cursor::Start).await;
            assert_eq!(without_heads(again), uncut, "cut at {cut}");
            assert_eq!(third.asked(), [""; 0]);
        }
    }
}

#[actix_rt::test]
async fn an_answer_that_can_not_be_gone_on_with_has_one_end_for_all() {
    let last = "is gone";
    let cases: Vec<(&str, SubmitRequest, Wire, Exchange)> = vec![
        (
            "not background",
            stored(prompt()),
            Wire::Responses,
            part(0..5),
        ),
        (
            "not kept",
            stored(background().with_store(false)),
            Wire::Responses,
            part(0..5),
        ),
        (
            "chat",
            stored(prompt()),
            Wire::Chat,
            Exchange::stream(chat(&["Hel", "lo"])[..2].concat()),
        ),
        (
            "no answer yet",
            stored(background()),
            Wire::Responses,
            Exchange::silence(),
        ),
        (
            "no event yet",
            stored(background()),
            Wire::Responses,
            Exchange::stream(""),
        ),
    ];
    for (name, request, wire, exchange) in cases {
        let store = memory();
        let change = |config: &mut actix_responses::actors::SupervisorConfig| {
            provider(config, |provider| provider.wire = wire);
        };
        let first = Process::start_with(&store, [exchange.held_open()], change);
        let stream = first.runtime.submit(request).await.unwrap();
        sleep(Duration::from_millis(50)).await;
        first.kill();
        drop(stream);
        let before = Instant::now();
        let [second, third] = [(); 2].map(|()| Process::start_with(&store, [], change));
        let (one, other) = tokio::join!(read(&second, Cursor::Start), read(&third, Cursor::Start));
        assert_eq!(failure(&one).kind(), ErrorKind::NodeLost, "{name}: {one:?}");
        assert!(failure(&one).message().contains(last), "{one:?}");
        assert_eq!(written(&one), written(&other), "{name}");
        assert!(before.elapsed() <= Duration::from_secs(12), "{name}");
        assert_eq!(info(&store).await.end, Some(StreamEnd::Failed), "{name}");
        let again = read(&third, Cursor::Start).await;
        assert_eq!(written(&one), written(&again), "{name}");
        assert_eq!((second.asked(), third.asked()), (vec![], vec![]));
    }
}

#[actix_rt::test]
async fn who_reads_while_it_is_written_is_live() {
    let texts: Vec<_> = (0..40).map(|number| format!("{number} ")).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    let mut exchange = Exchange::stream("");
    for chunk in chat(&texts) {
        exchange = exchange.chunk(chunk).wait(Duration::from_millis(100));
    }
    let store = memory();
    let change = |config: &mut actix_responses::actors::SupervisorConfig| {
        provider(config, |provider| provider.wire = Wire::Chat);
    };
    let writer = Process::start_with(&store, [exchange], change);
    let reader = Process::start_with(&store, [], change);
    let mut live = writer.runtime.submit(stored(prompt())).await.unwrap();
    sleep(Duration::from_millis(1_050)).await;
    let mut other = reader
        .runtime
        .read_stored(key(), Cursor::Start)
        .await
        .unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let first = async {
        while let Some(event) = live.next().await {
            ours.push((event, Instant::now()));
        }
    };
    let second = async {
        while let Some(event) = other.next().await {
            theirs.push((event, Instant::now()));
        }
    };
    tokio::join!(first, second);
    assert_eq!(ours.len(), theirs.len());
    let joined = theirs[0].1;
    for ((own, at), (other, other_at)) in ours.iter().zip(&theirs) {
        assert_eq!(own, other);
        let late = other_at.saturating_duration_since((*at).max(joined));
        assert!(late <= Duration::from_millis(50), "{late:?}");
    }
    assert_eq!(reader.asked(), [""; 0]);
}

#[actix_rt::test]
async fn a_reader_that_cancels_stops_the_writer_and_one_that_leaves_does_not() {
    let store = memory();
    let writer = Process::start(&store, [part(0..5).held_open()]);
    let reader = Process::start(&store, []);
    let mut live = writer.runtime.submit(stored(prompt())).await.unwrap();
    take(&mut live, 5).await;
    let mut leaves = reader
        .runtime
        .read_stored(key(), Cursor::Start)
        .await
        .unwrap();
    take(&mut leaves, 5).await;
    drop(leaves);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(info(&store).await.end, None);

    let mut cancels = reader
        .runtime
        .read_stored(key(), Cursor::Start)
        .await
        .unwrap();
    take(&mut cancels, 5).await;
    assert!(reader.runtime.cancel(cancels.request()).await);
    assert_eq!(cancels.next().await, Some(Ok(ResponseEvent::Cancelled)));
    let before = Instant::now();
    assert_eq!(live.next().await, Some(Ok(ResponseEvent::Cancelled)));
    assert!(before.elapsed() <= Duration::from_secs(1));
    assert_eq!(info(&store).await.end, Some(StreamEnd::Cancelled));
    let again = read(&reader, Cursor::Start).await;
    assert_eq!(again.last(), Some(&Ok(ResponseEvent::Cancelled)));
    assert_eq!(text(&again), "xx");
}

/// What observers are told of a store.
type Told = Arc<Mutex<Vec<(bool, Option<StoreError>)>>>;

fn told() -> (Told, impl Fn(&RequestNotice) + Send + Sync + 'static) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let observer = {
        let told = told.clone();
        move |notice: &RequestNotice| {
            if let Milestone::NotStored { is_over, error } = &notice.milestone {
                told.lock().unwrap().push((*is_over, error.clone()));
            }
        }
    };
    (told, observer)
}

#[actix_rt::test]
async fn a_store_that_is_away_holds_nobody_up_and_gets_what_it_misses() {
    for vanishes in [false, true] {
        let store = memory();
        let (told, observer) = told();
        let mut exchange = Exchange::stream("");
        for data in as_deltas(3) {
            exchange = exchange.event(data).wait(Duration::from_secs(1));
        }
        let process = Process::start(&store, [exchange]);
        let started = Instant::now();
        let request = stored(prompt()).with_observer(observer);
        let mut stream = process.runtime.submit(request).await.unwrap();
        let mut live = take(&mut stream, 3).await;
        match vanishes {
            true => process.way.vanish(),
            false => process.way.shut(),
        }
        while let Some(event) = stream.next().await {
            live.push(event);
        }
        let late = started.elapsed() - Duration::from_secs(8);
        assert!(late <= Duration::from_millis(110), "{late:?}");
        assert_eq!(live.len(), EVENTS);
        assert_eq!(info(&store).await.end, None);
        assert_eq!(*told.lock().unwrap(), [(false, None)], "{vanishes}");
        process.way.open();
        sleep(Duration::from_secs(3)).await;
        assert_eq!(info(&store).await.end, Some(StreamEnd::Completed));
        let second = Process::start(&store, []);
        assert_eq!(without_heads(read(&second, Cursor::Start).await), live);
    }
}

#[actix_rt::test]
async fn the_end_is_stored_before_anybody_sees_it() {
    let store = memory();
    let process = Process::start(&store, [part(0..EVENTS)]);
    process.way.slow();
    let recorder = Recorder::start();
    let request = stored(prompt()).with_subscriber(recorder.subscriber());
    let mut stream = process.runtime.submit(request).await.unwrap();
    while let Some(event) = stream.next().await {
        if event.unwrap().is_final() {
            assert_eq!(info(&store).await.end, Some(StreamEnd::Completed));
        }
    }
    settle().await;
    assert_eq!(recorder.names().last(), Some(&"completed"));
    // By the id that the server gave it, too.
    let found = store.find(&key().client, "resp_1").await.unwrap();
    assert_eq!(found.stream, key());
    let asked: Value = serde_json::from_slice(&store.request(&key()).await.unwrap()).unwrap();
    assert_eq!(asked["model"], "m");
}

#[actix_rt::test]
async fn a_name_that_is_taken_is_not_written_to_again() {
    let store = memory();
    let (told, observer) = told();
    let process = Process::start(&store, [part(0..EVENTS), part(0..EVENTS)]);
    let stream = process.runtime.submit(stored(prompt())).await.unwrap();
    let first: Events = stream.collect().await;
    let before = info(&store).await;
    let request = stored(prompt()).with_observer(observer);
    let stream = process.runtime.submit(request).await.unwrap();
    let second: Events = stream.collect().await;
    assert_eq!(second, first);
    assert_eq!(info(&store).await, before);
    let told = told.lock().unwrap();
    assert!(matches!(told[..], [(true, _)]), "{told:?}");
}

#[actix_rt::test]
async fn a_shutdown_hands_over_what_another_process_can_go_on_with() {
    for (prompt, goes_on) in [(background(), true), (prompt(), false)] {
        let store = memory();
        let first = Process::start(&store, [part(0..5).held_open()]);
        let mut stream = first.runtime.submit(stored(prompt)).await.unwrap();
        let mut events = take(&mut stream, 5).await;
        let cursor = Cursor::From(stream.next_sequence());
        first.runtime.shutdown(Duration::ZERO).await;
        let ended = stream.next().await.unwrap().unwrap_err();
        assert_eq!(ended.kind(), ErrorKind::ShutDown);
        let left = info(&store).await;
        assert!(!goes_on || left.claimed_for.is_none());
        assert_eq!(left.end, (!goes_on).then_some(StreamEnd::Failed));

        let before = Instant::now();
        let second = Process::start(&store, [part(5..EVENTS)]);
        events.extend(read(&second, cursor).await);
        assert_eq!(second.asked().len(), usize::from(goes_on));
        assert!(before.elapsed() <= Duration::from_secs(5));
        match goes_on {
            true => assert_eq!(text(&events), "xxx"),
            false => assert_eq!(failure(&events).kind(), ErrorKind::ShutDown),
        }
    }
}

#[actix_rt::test]
async fn what_can_not_be_is_said() {
    let store = memory();
    let process = Process::start(&store, []);
    let unknown = read(&process, Cursor::Start).await;
    assert_eq!(names(&unknown), ["not_found"]);
    let refused = |request: SubmitRequest| {
        let runtime = process.runtime.clone();
        async move { runtime.submit(request).await.unwrap_err() }
    };
    let both = SubmitRequest::stored(key()).with_stored_as(key());
    assert_eq!(refused(both).await.kind(), ErrorKind::InvalidConfiguration);
    let (without, _) = crate::support::start([]);
    for request in [stored(prompt()), SubmitRequest::stored(key())] {
        let error = without.submit(request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        assert!(
            error.message().contains("SupervisorConfig::store"),
            "{error}"
        );
    }
    process.way.shut();
    let before = Instant::now();
    let away = read(&process, Cursor::Start).await;
    assert_eq!(names(&away), ["store_unavailable"]);
    assert!(before.elapsed() >= Duration::from_secs(30));
}

#[actix_rt::test]
async fn blocks_are_read_again_as_they_came_and_are_delivered_to_those_alone_who_ask() {
    async fn blocks(mut stream: ResponseStream) -> Vec<(Vec<u8>, u32)> {
        let mut blocks = Vec::new();
        while let Some(delivery) = stream.next_delivery().await {
            blocks.extend(delivery.blocks().map(|it| (it.bytes.to_vec(), it.attempt)));
        }
        blocks
    }
    let store = memory();
    // The first attempt comes to no output.
    let first = Process::start(&store, [part(0..2), part(0..5).held_open()]);
    let mut stream = first.runtime.submit(stored(background())).await.unwrap();
    take(&mut stream, 5).await;
    sleep(Duration::from_millis(50)).await;
    first.kill();
    drop(stream);
    let second = Process::start(&store, [part(0..EVENTS)]);
    let reading = SubmitRequest::stored(key()).with_blocks();
    let read = blocks(second.runtime.submit(reading).await.unwrap()).await;
    let body = |attempt: u32, range: std::ops::Range<usize>| {
        let answer = as_deltas(3).into_iter().map(event);
        let answer = answer.skip(range.start).take(range.len());
        answer.map(move |block| (block.into_bytes(), attempt))
    };
    // It goes on at once where the stream broke, within one attempt.
    let expected: Vec<_> = body(1, 0..EVENTS).collect();
    assert_eq!(read, expected);
    let plain = second.runtime.read_stored(key(), Cursor::Start).await;
    assert_eq!(blocks(plain.unwrap()).await, []);
}

#[test]
fn a_runtime_with_a_thread_of_its_own_hands_over_before_that_ends() {
    let store = memory();
    let way = process::Way::to(&store);
    way.slow();
    let exchanges = [part(0..5).held_open()];
    let transport = crate::support::transport::ScriptedTransport::new(exchanges);
    let config = actix_responses::testing::config().with_store(way);
    let runtime = actix_responses::Runtime::spawn_with_transport(config, transport).unwrap();
    let tokio = tokio::runtime::Builder::new_current_thread();
    let tokio = { tokio }.enable_all().build().unwrap();
    let left = tokio.block_on(async {
        let mut stream = runtime.submit(stored(background())).await.unwrap();
        take(&mut stream, 5).await;
        runtime.shutdown(Duration::ZERO).await;
        let ended = stream.next().await.unwrap().unwrap_err();
        assert_eq!(ended.kind(), ErrorKind::ShutDown);
        info(&store).await
    });
    assert_eq!((left.claimed_for, left.end), (None, None));
    assert!(left.blocks >= 5, "{left:?}");
}
