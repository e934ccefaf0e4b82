//! The runtime over real sockets, against the embedded provider.

mod support;

use std::{cell::RefCell, rc::Rc, time::Duration};

use actix_responses::{
    ErrorKind, Runtime,
    actors::{AboutResponse, ListInputItems, SubmitRequest, SupervisorConfig, Workers},
    loopback::{CloseKind, ConnectionClose, Loopback, Reply, Script, Side},
    protocol::{Prompt, ResponseEvent},
    provider::Provider,
    retry::{LimiterPolicy, RetryAfterOutput},
    wire::Wire,
};
use futures_util::StreamExt;
use http::StatusCode;
use serde_json::json;
use support::{Events, Nobody, always, failure, prompt, provider, sse, url, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};

fn start_with(loopback: &Loopback, change: impl FnOnce(&mut SupervisorConfig)) -> Runtime {
    let provider = Provider::new("loopback", &loopback.base_url()).expect("a URL");
    let mut config = SupervisorConfig::new(provider);
    change(&mut config);
    Runtime::with_config(config).expect("a valid configuration")
}

fn start(loopback: &Loopback) -> Runtime {
    start_with(loopback, |_| {})
}

async fn collect(runtime: &Runtime) -> Events {
    support::collect(runtime, prompt()).await
}

fn text(events: &Events) -> String {
    let mut text = String::new();
    for event in events {
        match event {
            Ok(ResponseEvent::OutputTextDelta(delta)) => text.push_str(&delta.delta),
            Ok(ResponseEvent::Restarted(_)) => text.clear(),
            _ => {}
        }
    }
    text
}

fn is_completed(events: &Events) -> bool {
    matches!(events.last(), Some(Ok(ResponseEvent::Completed(_))))
}

/// The close of a connection, and how long after the last byte that was written to it.
async fn close_of(loopback: &Loopback, connection: usize) -> (ConnectionClose, Duration) {
    let id = loopback.connections()[connection].id;
    let closed = within(loopback.connection_closed(id)).await;
    let close = closed.expect("a known connection");
    let last_byte = loopback
        .connection(id)
        .unwrap()
        .last_byte_written_at
        .expect("a byte");
    (close, close.at.saturating_duration_since(last_byte))
}

#[actix_rt::test]
async fn both_wires_stream_an_answer_in_any_chunking() {
    for wire in [Wire::Responses, Wire::Chat] {
        for chunk in [None, Some(7), Some(1)] {
            let mut reply = Reply::default();
            if let Some(bytes) = chunk {
                reply = reply.with_chunk_bytes(bytes);
            }
            let loopback = always(reply);
            let runtime = start_with(&loopback, |c| {
                let provider = (*c.provider).clone().with_wire(wire);
                *c = SupervisorConfig::new(provider);
            });
            let events = collect(&runtime).await;
            assert!(is_completed(&events), "{wire:?} {chunk:?}: {events:?}");
            assert!(text(&events).contains("hello"), "{wire:?} {chunk:?}");
        }
    }
}

#[actix_rt::test]
async fn requests_in_a_row_share_one_connection() {
    for wire in [Wire::Responses, Wire::Chat] {
        let loopback = provider(Script::default());
        let runtime = start_with(&loopback, |c| {
            *c = SupervisorConfig::new((*c.provider).clone().with_wire(wire));
            c.workers = Workers::Threads(4);
        });
        for _ in 0..30 {
            assert!(is_completed(&collect(&runtime).await));
        }
        assert_eq!(loopback.connections().len(), 1, "{wire:?}");
    }
}

#[actix_rt::test]
async fn a_connection_that_is_held_open_after_the_end_is_closed_soon() {
    let created = json!({"type": "response.created", "response": {"id": "resp_1"}});
    for terminal in [
        json!({"type": "response.completed", "response": {"id": "resp_1", "status": "completed"}}),
        json!({"type": "response.failed", "response": {"error": {"code": "invalid_prompt", "message": "no"}}}),
        json!({"type": "response.incomplete", "response": {"incomplete_details": {"reason": "content_filter"}}}),
        json!({"type": "error", "code": "invalid_prompt", "message": "no"}),
    ] {
        let body = sse(&[created.clone(), terminal.clone()]);
        // A busy machine may hold up one close; the quickest of a few shows how long ours takes.
        let mut quickest = Duration::MAX;
        for _ in 0..5 {
            let loopback = always(Reply::sse(body.clone()).hold_open());
            let runtime = start(&loopback);
            let begun = tokio::time::Instant::now();
            let events = collect(&runtime).await;
            assert_eq!(events.len(), 3, "{terminal}");
            assert!(
                begun.elapsed() < Duration::from_secs(5),
                "{terminal} waited for a timeout"
            );
            let (close, after) = close_of(&loopback, 0).await;
            assert_eq!(close.by, Side::Client, "{terminal}");
            quickest = quickest.min(after);
            if quickest < Duration::from_millis(100) {
                break;
            }
        }
        assert!(
            quickest < Duration::from_millis(100),
            "{terminal}: {quickest:?}"
        );
    }
}

#[actix_rt::test]
async fn dropping_the_stream_closes_the_connection() {
    let loopback = always(Reply::default().stall_after_events(3));
    let runtime = start(&loopback);
    let mut stream = runtime.stream(prompt()).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    drop(stream);
    let (close, _) = close_of(&loopback, 0).await;
    assert_eq!(close.by, Side::Client);
}

#[actix_rt::test]
async fn a_stream_cut_or_reset_anywhere_is_a_failure_and_a_restart_mends_it() {
    let loopback = provider(Script::default());
    let whole_text = text(&collect(&start(&loopback)).await);
    for position in (0..9000).step_by(611) {
        for reply in [
            Reply::default().cut_after_bytes(position),
            Reply::default().reset_after_bytes(position),
            Reply::default()
                .with_chunk_bytes(100)
                .cut_after_bytes(position),
        ] {
            let loopback = provider(Script::new([reply]));
            let runtime = start_with(&loopback, |c| {
                c.retry.after_output = RetryAfterOutput::Restart;
                c.retry.backoff.base = Duration::from_millis(1);
                c.retry.backoff.cap = Duration::from_millis(1);
                c.workers = Workers::Current;
            });
            let events = collect(&runtime).await;
            assert!(is_completed(&events), "{position}: {:?}", events.last());
            assert_eq!(text(&events), whole_text, "{position}");
            assert_eq!(loopback.request_count(), 2, "{position}");
        }
    }
}

#[actix_rt::test]
async fn a_server_that_is_killed_is_reported_at_once() {
    let loopback = always(Reply::default().stall_after_events(4));
    let runtime = start_with(&loopback, |c| c.retry.max_attempts = 1);
    let mut stream = runtime.stream(prompt()).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    loopback.kill();
    let events: Events = stream.collect().await;
    let error = failure(&events);
    assert!(
        matches!(error.kind(), ErrorKind::Connection | ErrorKind::Truncated),
        "{error}"
    );
}

#[actix_rt::test]
async fn statuses_and_delays_are_followed() {
    let limited = Reply::error(StatusCode::TOO_MANY_REQUESTS).with_header("retry-after-ms", "30");
    let loopback = provider(Script::new([
        limited,
        Reply::error(StatusCode::SERVICE_UNAVAILABLE),
    ]));
    let events = collect(&start(&loopback)).await;
    assert!(is_completed(&events), "{events:?}");
    assert_eq!(loopback.request_count(), 3);
}

#[actix_rt::test]
async fn nobody_listening_is_named_with_its_attempts() {
    let nobody = Nobody::new();
    let mut config = SupervisorConfig::new(Provider::new("gone", &url(nobody.address)).unwrap());
    config.retry.max_attempts = 2;
    let events = collect(&Runtime::with_config(config).unwrap()).await;
    let error = failure(&events);
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert_eq!(error.details().attempts.len(), 2);
    assert!(
        error.report().contains("attempt 2 of 2"),
        "{}",
        error.report()
    );
}

#[actix_rt::test]
async fn an_event_of_ten_megabytes_passes() {
    let big = "x".repeat(10 * 1024 * 1024);
    let body = sse(&[
        json!({"type": "response.created", "response": {"id": "resp_1"}}),
        json!({"type": "response.output_text.delta", "delta": big}),
        json!({"type": "response.completed", "response": {"id": "resp_1"}}),
    ]);
    let loopback = always(Reply::sse(body));
    let events = collect(&start(&loopback)).await;
    assert!(is_completed(&events));
    assert_eq!(text(&events).len(), big.len());
}

#[actix_rt::test]
async fn many_streams_run_at_once() {
    let loopback = always(Reply::default().with_pace(Duration::from_millis(1)));
    let runtime = start(&loopback);
    let all = futures_util::future::join_all((0..150).map(|_| collect(&runtime))).await;
    assert!(all.iter().all(is_completed));
    runtime.shutdown(Duration::from_secs(5)).await;
    within(loopback.until(|l| l.open_connections() == 0)).await;
}

#[actix_rt::test]
async fn a_compaction_of_five_megabytes_comes_back_whole() {
    let text = "y".repeat(5 * 1024 * 1024);
    let answer =
        json!({"id": "cmp_1", "output": [{"type": "compaction", "encrypted_content": text}]});
    let replies = [
        Reply::error(StatusCode::INTERNAL_SERVER_ERROR),
        Reply::json(answer),
    ];
    let loopback = provider(Script::new(replies));
    let input = actix_responses::protocol::CompactionInput::new("test-model", Vec::new());
    let output = start(&loopback).compact(input).await.unwrap();
    assert!(output.raw.get().len() > text.len());
    assert_eq!(loopback.request_count(), 2);
}

#[actix_rt::test]
async fn the_close_that_a_test_waits_for_is_the_clients() {
    // Guards the tests above: a close by the server would pass for one by the client.
    let loopback = always(Reply::default().cut_after_events(3));
    let runtime = start_with(&loopback, |c| c.retry.max_attempts = 1);
    collect(&runtime).await;
    let (close, _) = close_of(&loopback, 0).await;
    assert_eq!((close.by, close.kind), (Side::Server, CloseKind::Fin));
}

#[actix_rt::test]
async fn a_server_of_either_dialect_answers_in_place_of_one_that_fails() {
    let at = |name: &str, base_url: &str, wire| {
        let provider = Provider::new(name, base_url).expect("a URL");
        provider.with_wire(wire)
    };
    let created = json!({"type": "response.created", "response": {"id": "resp_1"}});
    let role = json!({"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant"}}]});
    for (first, begun, second, path) in [
        (Wire::Responses, created, Wire::Chat, "/v1/chat/completions"),
        (Wire::Chat, role, Wire::Responses, "/v1/responses"),
    ] {
        let works = provider(Script::default());
        let nobody = Nobody::new();
        let overloaded = always(Reply::error(StatusCode::SERVICE_UNAVAILABLE));
        let cut = always(Reply::sse(sse(std::slice::from_ref(&begun))));
        for (broken, kind) in [
            (overloaded.base_url(), ErrorKind::Overloaded),
            (cut.base_url(), ErrorKind::Truncated),
            (url(nobody.address), ErrorKind::Connect),
        ] {
            let mut config = SupervisorConfig::new(at("broken", &broken, first));
            config.retry.max_attempts = 2;
            config.retry.backoff.base = Duration::from_millis(1);
            let runtime = Runtime::with_config(config).expect("a valid configuration");
            let before = works.request_count();
            let request = SubmitRequest::new(prompt())
                .with_fallback(at("also broken", &url(nobody.address), second))
                .with_fallback(at("works", &works.base_url(), second));
            let stream = within(runtime.submit(request)).await.expect("a request");
            let id = stream.request();
            let events: Events = within(stream.collect()).await;
            assert!(is_completed(&events), "{kind} over {first:?}: {events:?}");
            assert!(text(&events).contains("hello"), "{kind} over {first:?}");
            let ends = events.iter().flatten().filter(|event| event.is_final());
            assert_eq!(ends.count(), 1);
            assert_eq!(works.request_count(), before + 1);
            let asked = works.requests().pop().expect("a request");
            assert_eq!(asked.path, path);
            let status = runtime.status(id).await.expect("a known request");
            assert_eq!((status.attempt, &*status.request.provider), (5, "works"));
        }
        // Of the request's own faults nobody else hears.
        let refuses = always(Reply::error(StatusCode::BAD_REQUEST));
        let config = SupervisorConfig::new(at("refuses", &refuses.base_url(), first));
        let runtime = Runtime::with_config(config).expect("a valid configuration");
        let before = works.request_count();
        let request = SubmitRequest::new(prompt());
        let request = request.with_fallback(at("works", &works.base_url(), second));
        let stream = within(runtime.submit(request)).await.expect("a request");
        let error = within(stream.accumulate()).await.expect_err("a refusal");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert_eq!(works.request_count(), before);
    }
}

fn background() -> Prompt {
    prompt().with_background(true)
}

fn without_heads(events: Events) -> Vec<ResponseEvent> {
    let events = events.into_iter().map(|event| event.expect("no failure"));
    let mut events: Vec<_> = events
        .filter(|event| !matches!(event, ResponseEvent::Head(_)))
        .collect();
    // It is that of the last request.
    if let Some(ResponseEvent::Completed(end)) = events.last_mut() {
        let mut other = (**end).clone();
        other.request_id = None;
        *end = other.into();
    }
    events
}

/// How often each method was asked with.
fn methods(loopback: &Loopback) -> (usize, usize) {
    let requests = loopback.requests();
    let count = |method| requests.iter().filter(|it| it.method == method).count();
    (count("POST"), count("GET"))
}

#[actix_rt::test]
async fn a_background_answer_cut_three_times_is_gone_on_with_three_times() {
    let whole = provider(Script::default());
    let expected = without_heads(support::collect(&start(&whole), background()).await);

    let kept = |reply: Reply| reply.with_path("/responses/");
    let loopback = provider(Script::new([
        Reply::default().cut_after_events(4),
        kept(Reply::default().reset_after_events(3)),
        kept(Reply::default().end_after_events(0)),
        kept(Reply::default().stall_after_events(2)),
    ]));
    let runtime = start_with(&loopback, |config| {
        config.retry.backoff.base = Duration::from_millis(1);
        let mut provider = (*config.provider).clone();
        provider.timeouts.idle = Duration::from_millis(100);
        config.provider = provider.into();
    });
    let events = support::collect(&runtime, background()).await;
    assert_eq!(without_heads(events), expected);
    assert_eq!(methods(&loopback), (1, 4));
}

#[actix_rt::test]
async fn behind_the_window_of_its_server_the_policy_decides_of_a_background_answer() {
    for (after_output, posts) in [(RetryAfterOutput::Fail, 1), (RetryAfterOutput::Restart, 2)] {
        let gone = Reply::error(StatusCode::NOT_FOUND).with_path("/responses/");
        for window in [Some(Duration::ZERO), None] {
            let cut = Reply::default().cut_after_events(6);
            let loopback = provider(Script::new([cut, gone.clone()]));
            let runtime = start_with(&loopback, |config| {
                config.retry.after_output = after_output;
                config.retry.resume_window = window;
            });
            let events = support::collect(&runtime, background()).await;
            let is_asked = usize::from(window.is_none());
            assert_eq!(methods(&loopback), (posts, is_asked));
            let is_told = |event: &Result<_, _>| matches!(event, Ok(ResponseEvent::Restarted(_)));
            assert_eq!(events.iter().any(is_told), posts == 2);
            assert_eq!(is_completed(&events), posts == 2);
            if posts == 1 {
                let status = window.is_none().then_some(404);
                assert_eq!(failure(&events).details().status, status);
            }
        }
    }
}

#[actix_rt::test]
async fn a_response_that_is_kept_is_retrieved_and_taken_up_and_cancelled_and_deleted() {
    let loopback = provider(Script::new([Reply::default().stall_after_events(6)]));
    let runtime = start(&loopback);
    let mut stream = runtime.stream(background()).await.unwrap();
    let id = loop {
        match within(stream.next()).await {
            Some(Ok(ResponseEvent::Created(created))) => break created.response_id.unwrap(),
            event => assert!(event.is_some_and(|event| event.is_ok())),
        }
    };
    // The program ends here, and another begins.
    drop(stream);
    let runtime = start(&loopback);
    let stored = within(runtime.retrieve(&*id)).await.unwrap();
    assert_eq!(stored.id, id);
    assert!(stored.head.is_some());
    let page = within(runtime.input_items(&*id)).await.unwrap();
    assert_eq!((page.items.len(), page.has_more), (1, false));
    let list = ListInputItems::new()
        .with_limit(1)
        .with_order("asc")
        .with_after("a/b");
    within(runtime.input_items(AboutResponse::new(id.clone(), list)))
        .await
        .unwrap();
    let asked = loopback.requests().pop().unwrap();
    assert_eq!(
        asked.query.as_deref(),
        Some("after=a%2Fb&order=asc&limit=1")
    );

    let stream = runtime.resume(&*id, None).await.unwrap();
    let whole: Events = within(stream.collect()).await;
    assert!(is_completed(&whole) && !text(&whole).is_empty());
    for after in [2, 5, 7] {
        let stream = runtime.resume(&*id, Some(after)).await.unwrap();
        let rest: Events = within(stream.collect()).await;
        assert!(is_completed(&rest), "{rest:?}");
        assert!(text(&whole).ends_with(&text(&rest)));
    }

    let cancelled = within(runtime.cancel_response(&*id)).await.unwrap();
    assert_eq!(cancelled.id, id);
    let deleted = within(runtime.delete_response(&*id)).await.unwrap();
    assert!(deleted.is_deleted);
    let gone = within(runtime.retrieve(&*id)).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    let gone = within(
        runtime
            .resume(&*id, Some(1))
            .await
            .unwrap()
            .collect::<Vec<_>>(),
    )
    .await;
    assert_eq!(failure(&gone).kind(), ErrorKind::NotFound);
    assert_eq!(methods(&loopback).0, 2, "one answer, and one cancel");
    for id in ["", ".."] {
        let refused = runtime.delete_response(id).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidRequest);
    }
}

/// Ten requests in each second get an answer, and one more a 429. It is asked over connections that are kept.
async fn ten_a_second(
    mut connection: TcpStream,
    counts: Rc<RefCell<Vec<(u64, u64)>>>,
    began: Instant,
) {
    let mut read = Vec::new();
    while connection
        .read_buf(&mut read)
        .await
        .is_ok_and(|count| count > 0)
    {
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if body.len() < length.map_or(0, |length| length.parse().expect("a length")) {
            continue;
        }
        read.clear();
        let elapsed = began.elapsed().as_millis() as u64;
        let second = (elapsed / 1000) as usize;
        let (answered, reset) = {
            let mut counts = counts.borrow_mut();
            counts.resize(second + 1, (0, 0));
            let (answered, refused) = &mut counts[second];
            match *answered < 10 {
                true => *answered += 1,
                false => *refused += 1,
            }
            (*answered, 1000 - elapsed % 1000)
        };
        let is_refused = counts.borrow()[second].1 > 0;
        let (status, body) = match is_refused {
            true => ("429 Too Many Requests\r\nretry-after: 1", String::new()),
            false => ("200 OK", sse(&[support::completed()])),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/event-stream\r\nx-ratelimit-limit-requests: 10\r\n\
             x-ratelimit-remaining-requests: {}\r\nx-ratelimit-reset-requests: {reset}ms\r\ncontent-length: {}\r\n\r\n{body}",
            10 - answered,
            body.len()
        );
        if connection.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[actix_rt::test]
async fn a_burst_of_a_thousand_at_ten_a_second_sees_no_refusal() {
    // Both ends are on this thread: time passes when neither has anything to do.
    tokio::time::pause();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let counts = Rc::new(RefCell::new(Vec::new()));
    let (counting, began) = (counts.clone(), Instant::now());
    actix_rt::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            actix_rt::spawn(ten_a_second(connection, counting.clone(), began));
        }
    });
    let mut config = SupervisorConfig::new(Provider::new("paced", &url(address)).expect("a URL"));
    config.workers = Workers::Current;
    config.limiter = Some(LimiterPolicy::default());
    config.retry.max_attempts = 1;
    let runtime = Runtime::with_config(config).expect("a valid configuration");
    let requests = (0..1000).map(|_| runtime.respond(prompt()));
    let answers = futures_util::future::join_all(requests).await;
    for answer in answers {
        answer.expect("an answer").completed().expect("a whole one");
    }
    let counts = counts.borrow();
    let answered: u64 = counts.iter().map(|(answered, _)| answered).sum();
    let refused: u64 = counts.iter().map(|(_, refused)| refused).sum();
    assert_eq!((answered, refused), (1000, 0));
    assert!((100..115).contains(&counts.len()), "{} s", counts.len());
}
