//! A background response whose stream breaks is gone on with where it broke.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::{Actor, Context, Handler};
use actix_responses::{
    ApiError, ErrorKind, Runtime,
    actors::{Delivery, Milestone, RequestNotice, SubmitRequest, Subscriber},
    protocol::{Prompt, ResponseEvent},
    retry::RetryAfterOutput,
    testing::Recorder,
    transport::TransportErrorKind,
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::supervising::Rotating;
use crate::support::{
    assert_elapsed,
    events::event,
    failure, is_head, names, provider, settle, start_with, steady_retry, text,
    transport::{Exchange, ScriptedTransport},
};

type Events = Vec<Result<ResponseEvent, ApiError>>;

const END: usize = 8;

fn answer() -> Vec<Value> {
    let response = |status: &str, output: Value| json!({"id": "resp_1", "object": "response", "status": status, "output": output});
    let message = |content: Value| json!({"id": "msg_1", "type": "message", "role": "assistant", "content": content});
    let whole = message(json!([{"type": "output_text", "text": "Hello", "annotations": []}]));
    let delta = |text: &str| json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": text});
    let mut events = vec![
        json!({"type": "response.created", "response": response("queued", json!([]))}),
        json!({"type": "response.in_progress", "response": response("in_progress", json!([]))}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": message(json!([]))}),
        delta("Hel"),
        delta("l"),
        delta("o"),
        json!({"type": "response.output_text.done", "item_id": "msg_1", "output_index": 0, "content_index": 0, "text": "Hello"}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": whole}),
        json!({"type": "response.completed", "response": response("completed", json!([whole]))}),
    ];
    for (number, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = number.into();
    }
    events
}

/// A part of the stream.
fn part(range: std::ops::Range<usize>) -> Exchange {
    let answer = answer();
    let events = answer[range].iter().cloned().map(event);
    Exchange::stream(events.collect::<String>())
}

fn from(first: usize) -> Exchange {
    part(first..END + 1)
}

fn background() -> Prompt {
    Prompt::user("hello")
        .with_model("m")
        .with_background(true)
        .with_include(["reasoning.encrypted_content"])
}

async fn run(runtime: &Runtime) -> Events {
    let stream = runtime.stream(background()).await.unwrap();
    stream
        .filter(|event| std::future::ready(!event.as_ref().is_ok_and(is_head)))
        .collect()
        .await
}

fn started(exchanges: impl IntoIterator<Item = Exchange>) -> (Runtime, ScriptedTransport) {
    start_with(exchanges, |config| {
        config.retry = steady_retry(5);
        // The idle timeout is as long as the window.
        config.retry.resume_window = None;
    })
}

/// The methods and queries of what was asked for behind the first.
fn asked(transport: &ScriptedTransport) -> Vec<String> {
    let requests = transport.requests();
    let shown = requests.iter().skip(1).map(|request| {
        let path = request.url.path().trim_start_matches("/v1/");
        let query = request.url.query().unwrap_or_default();
        let query = query.replace("stream=true&include%5B%5D=reasoning.encrypted_content&", "");
        format!("{} {path} {query}", request.method)
    });
    shown.collect()
}

fn go_on(after: usize) -> String {
    format!("GET responses/resp_1 starting_after={after}")
}

#[actix_rt::test]
async fn a_stream_that_breaks_anywhere_is_gone_on_with_without_gap_or_repeat() {
    let (runtime, _) = started([from(0)]);
    let expected = run(&runtime).await;
    for cut in 1..=END {
        for first in [
            part(0..cut),
            part(0..cut).broken(),
            part(0..cut).held_open(),
            part(0..cut).chunk("event: response.output_text.delta\ndata: {\"ty"),
        ] {
            // What the server repeats is dropped.
            for second in [from(cut), from(cut.saturating_sub(2)), from(0)] {
                let (runtime, transport) = started([first.clone(), second]);
                let events = run(&runtime).await;
                assert_eq!(events, expected, "cut at {cut}");
                assert_eq!(asked(&transport), [go_on(cut - 1)]);
            }
        }
    }
}

#[actix_rt::test]
async fn what_goes_on_is_asked_for_as_the_answer_was() {
    let (runtime, transport) = start_with([part(0..4), from(4)], |config| {
        config.retry = steady_retry(5);
        provider(config, |provider| {
            *provider = provider.clone().with_header("x-own", "1").unwrap();
        });
    });
    let request = SubmitRequest::new(background())
        .with_header("x-mine", "2")
        .unwrap();
    let stream = runtime.submit(request).await.unwrap();
    stream.collect::<Vec<_>>().await;
    let requests = transport.requests();
    let second = &requests[1];
    assert!(second.body.is_empty());
    assert_eq!((requests[0].attempt, second.attempt), (1, 2));
    for (name, value) in [
        ("x-own", Some("1")),
        ("x-mine", Some("2")),
        ("accept", Some("text/event-stream")),
        ("content-type", None),
    ] {
        let sent = second.headers.get(name).map(|it| it.to_str().unwrap());
        assert_eq!(sent, value, "{name}");
    }
}

#[actix_rt::test]
async fn it_is_gone_on_with_as_often_as_there_are_attempts_and_as_soon_as_the_policy_says() {
    let refused = || Exchange::error(TransportErrorKind::Connect, "refused");
    let later = Exchange::status(503).with_header("retry-after", "7");
    let exchanges = [part(0..4), refused(), later, part(4..6), from(6)];
    let (runtime, transport) = started(exchanges);
    let before = Instant::now();
    let events = run(&runtime).await;
    assert_eq!(text(&events), "Hello");
    assert!(events.last().is_some_and(Result::is_ok), "{events:?}");
    assert_elapsed(before, Duration::from_millis(100 + 200 + 7_000 + 800));
    let again = [go_on(3), go_on(3), go_on(3), go_on(5)];
    assert_eq!(asked(&transport), again);

    // An attempt that loses none of the budget is none.
    let (runtime, transport) = started((0..6).map(|_| part(0..4)));
    let events = run(&runtime).await;
    let error = failure(&events);
    assert_eq!(error.kind(), ErrorKind::Truncated);
    let details = error.details();
    assert_eq!((details.attempt, details.output_delivered), (5, true));
    assert_eq!(details.response_id.as_deref(), Some("resp_1"));
    assert_eq!(details.sequence_number, Some(3));
    assert_eq!(transport.requests().len(), 5);
    assert_eq!(text(&events), "Hel");
}

#[actix_rt::test]
async fn a_server_that_does_not_go_on_is_met_as_the_policy_says() {
    let old = r#"{"error":{"message":"This response can no longer be streamed because it is more than 5 minutes old"}}"#;
    let refusals = [
        (Exchange::status(400).chunk(old), Some(400)),
        (Exchange::status(404), Some(404)),
        (Exchange::status(405), Some(405)),
        (Exchange::status(410), Some(410)),
        // It skips an event.
        (from(5), None),
    ];
    for (refusal, status) in refusals {
        for cut in [2, 4] {
            let refusal = if status.is_none() && cut == 2 {
                from(3)
            } else {
                refusal.clone()
            };
            let (runtime, transport) = started([part(0..cut), refusal.clone()]);
            let events = run(&runtime).await;
            let error = failure(&events);
            assert_eq!(error.details().status, status);
            assert_eq!(error.details().attempts.len(), 2, "{error}");
            assert_eq!(error.details().output_delivered, cut > 3);
            if status == Some(400) {
                assert!(error.message().contains("5 minutes"), "{error}");
            }
            assert_eq!(asked(&transport), [go_on(cut - 1)]);

            let told = Arc::new(Mutex::new(Vec::new()));
            let (runtime, transport) = start_with([part(0..cut), refusal, from(0)], |config| {
                config.retry = steady_retry(5);
                config.retry.after_output = RetryAfterOutput::Restart;
                let told = told.clone();
                config.observer = Some(Arc::new(move |notice: &RequestNotice| {
                    if let Milestone::Failed { resumes, .. } = notice.milestone {
                        told.lock().unwrap().push((notice.attempt, resumes));
                    }
                }));
            });
            let events = run(&runtime).await;
            assert_eq!(text(&events), "Hello", "{status:?}");
            assert_eq!(
                asked(&transport),
                [go_on(cut - 1), "POST responses ".into()]
            );
            assert_eq!(*told.lock().unwrap(), [(1, true), (2, false)]);
            let restarted = events.iter().find_map(|event| match event {
                Ok(ResponseEvent::Restarted(restarted)) => Some(restarted),
                _ => None,
            });
            assert_eq!(restarted.is_some(), cut > 3, "nothing was void");
            if let Some(restarted) = restarted {
                assert_eq!(
                    (restarted.attempt, restarted.error.details().status),
                    (3, status)
                );
            }
        }
    }
}

#[actix_rt::test]
async fn a_key_that_is_refused_says_nothing_of_the_response() {
    for status in [401, 403, 429] {
        let (runtime, transport) =
            start_with([part(0..4), Exchange::status(status), from(4)], |config| {
                config.retry = steady_retry(5);
                config.retry.after_output = RetryAfterOutput::Restart;
            });
        let events = run(&runtime).await;
        let all = asked(&transport);
        assert!(all.iter().all(|asked| *asked == go_on(3)), "{all:?}");
        assert_eq!(events.last().unwrap().is_ok(), status == 429, "{status}");
    }
}

#[actix_rt::test]
async fn a_new_key_and_a_redirect_are_for_what_goes_on_too() {
    let elsewhere = "/v2/responses/resp_1?stream=true&starting_after=3";
    let redirect = Exchange::status(307).with_header("location", elsewhere);
    let exchanges = [part(0..4), Exchange::status(401), redirect, from(4)];
    let (runtime, transport) = start_with(exchanges, |config| {
        config.retry = steady_retry(5);
        provider(config, |provider| {
            *provider = provider.clone().with_auth(Rotating::default());
        });
    });
    let events = run(&runtime).await;
    assert_eq!(text(&events), "Hello");
    assert_eq!(names(&events).last(), Some(&"completed"));
    let requests = transport.requests();
    let asked = requests.iter().map(|request| {
        let key = request.headers["authorization"].to_str().unwrap();
        (request.method.as_str(), request.url.path(), key)
    });
    assert_eq!(
        asked.collect::<Vec<_>>(),
        [
            ("POST", "/v1/responses", "Bearer old"),
            ("GET", "/v1/responses/resp_1", "Bearer old"),
            ("GET", "/v1/responses/resp_1", "Bearer new"),
            ("GET", "/v2/responses/resp_1", "Bearer new"),
        ]
    );
}

#[actix_rt::test]
async fn behind_the_window_the_server_is_not_asked_for_more() {
    let slow = || {
        let begun = part(0..4);
        let minutes = |exchange: Exchange| {
            exchange
                .wait(Duration::from_secs(150))
                .chunk(": still here\n\n")
        };
        minutes(minutes(begun)).broken()
    };
    for (window, resumes) in [
        (Some(Duration::from_secs(300)), false),
        (Some(Duration::from_secs(301)), true),
        (None, true),
    ] {
        let (runtime, transport) = start_with([slow(), from(4)], |config| {
            config.retry = steady_retry(5);
            config.retry.resume_window = window;
        });
        let events = run(&runtime).await;
        assert_eq!(
            transport.requests().len(),
            1 + usize::from(resumes),
            "{window:?}"
        );
        match resumes {
            true => assert_eq!(text(&events), "Hello"),
            false => assert_eq!(failure(&events).kind(), ErrorKind::Connection),
        }
    }
}

#[actix_rt::test]
async fn a_response_that_is_over_ends_as_its_object_says() {
    let objects = answer();
    let object = |index: usize| Exchange::status(200).chunk(objects[index]["response"].to_string());
    let (runtime, _) = started([from(0)]);
    let expected = run(&runtime).await;
    for cut in 1..=END {
        let (runtime, transport) = started([part(0..cut), object(1), object(END)]);
        let events = run(&runtime).await;
        assert_eq!(text(&events), "Hello", "cut at {cut}");
        let items = |events: &Events| {
            names(events)
                .into_iter()
                .filter(|name| *name == "output_item_done")
                .count()
        };
        assert_eq!(items(&events), items(&expected), "cut at {cut}");
        assert!(
            matches!(events.last(), Some(Ok(ResponseEvent::Completed(_)))),
            "{events:?}"
        );
        assert_eq!(asked(&transport), [go_on(cut - 1), go_on(cut - 1)]);
    }
}

#[actix_rt::test]
async fn what_ends_with_its_stream_is_not_gone_on_with() {
    let stored = |store| background().with_store(store);
    for (prompt, gets) in [
        (stored(true), 1),
        (stored(false), 0),
        (background().with_background(false), 0),
    ] {
        let (runtime, transport) = started([part(0..4), from(4)]);
        let stream = runtime.stream(prompt).await.unwrap();
        let events: Vec<_> = stream.collect().await;
        assert_eq!(transport.requests().len(), 1 + gets);
        assert_eq!(events.last().unwrap().is_ok(), gets > 0);
    }
}

#[actix_rt::test]
async fn a_failure_that_the_server_reports_is_the_end_of_its_response() {
    let failed = json!({"type": "response.failed", "sequence_number": 4,
        "response": {"id": "resp_1", "status": "failed", "error": {"code": "server_error", "message": "no"}}});
    let (runtime, transport) = started([part(0..4).event(failed), from(4)]);
    assert_eq!(failure(&run(&runtime).await).kind(), ErrorKind::ServerError);
    assert_eq!(transport.requests().len(), 1);
}

#[actix_rt::test]
async fn it_is_cancelled_and_shut_down_in_every_state() {
    for (second, wait) in [
        // Between two attempts, before the head, in the body.
        (from(4), Duration::from_millis(50)),
        (Exchange::silence(), Duration::from_secs(1)),
        (part(4..5).held_open(), Duration::from_secs(1)),
    ] {
        for is_cancel in [true, false] {
            let (runtime, transport) = started([part(0..4), second.clone()]);
            let recorder = Recorder::start();
            let subscriber = recorder.subscriber();
            let request = SubmitRequest::new(background()).with_subscriber(subscriber);
            let submitted = runtime.supervisor().send(request).await.unwrap().unwrap();
            tokio::time::sleep(wait).await;
            match is_cancel {
                true => assert!(runtime.cancel(submitted.request).await),
                false => runtime.shutdown(Duration::ZERO).await,
            }
            settle().await;
            let events = recorder.events();
            let ends = events.iter().filter(|event| event.is_final());
            assert_eq!(ends.count(), 1, "{events:?}");
            let is_cancelled = matches!(events.last(), Some(ResponseEvent::Cancelled));
            assert_eq!(is_cancelled, is_cancel, "{events:?}");
            assert_eq!(transport.open_requests(), 0);
        }
    }
}

/// Keeps what it is delivered.
struct Keeper(Arc<Mutex<Vec<Delivery>>>);

impl Actor for Keeper {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Keeper {
    type Result = ();

    fn handle(&mut self, delivery: Delivery, _: &mut Self::Context) {
        self.0.lock().unwrap().push(delivery);
    }
}

#[actix_rt::test]
async fn its_blocks_are_those_of_one_body() {
    for repeats in [0, 2] {
        let cut = |cut: usize| part(0..cut).chunk("data: {\"half");
        let (runtime, _) = started([cut(2), part(2 - repeats..4), from(4 - repeats)]);
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keeper = Keeper(kept.clone()).start();
        let request = SubmitRequest::new(background())
            .with_blocks()
            .with_subscriber(Subscriber::deliveries(keeper.recipient()));
        runtime.supervisor().send(request).await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
        let deliveries = kept.lock().unwrap();
        let blocks: Vec<_> = deliveries.iter().flat_map(|it| it.blocks()).collect();
        let bytes: Vec<u8> = blocks
            .iter()
            .flat_map(|block| block.bytes.to_vec())
            .collect();
        let whole: String = answer().into_iter().map(event).collect();
        assert_eq!(String::from_utf8(bytes).unwrap(), whole, "{repeats}");
        assert!(blocks.iter().all(|block| block.attempt == 1), "{blocks:?}");
    }
}

#[actix_rt::test]
async fn a_response_is_taken_up_by_its_id_and_gone_on_with() {
    for (after, first) in [(None, 0), (Some(0), 1), (Some(4), 5), (Some(6), 7)] {
        let (runtime, transport) = started([part(first..first + 1), from(first + 1)]);
        let stream = runtime.resume("resp_1", after).await.unwrap();
        let events: Events = stream.collect().await;
        assert!(
            matches!(events.last(), Some(Ok(ResponseEvent::Completed(_)))),
            "{events:?}"
        );
        assert_eq!(
            text(&events),
            ["Hel", "l", "o"][first.saturating_sub(3).min(3)..].concat()
        );
        let requests = transport.requests();
        let shown = |index: usize| {
            let asked: &actix_responses::transport::TransportRequest = &requests[index];
            format!("{} {}", asked.method, asked.url.query().unwrap())
        };
        let expected = match after {
            Some(after) => format!("GET stream=true&starting_after={after}"),
            None => "GET stream=true".to_owned(),
        };
        assert_eq!(shown(0), expected);
        assert_eq!(shown(1), format!("GET stream=true&starting_after={first}"));
    }
}

/// There is nothing to post: another answer is never asked for.
#[actix_rt::test]
async fn a_response_that_is_not_there_any_more_is_an_error() {
    for (exchanges, requests) in [
        (vec![Exchange::status(404)], 1),
        (vec![part(1..4), Exchange::status(404)], 2),
        (vec![Exchange::status(503), Exchange::status(404)], 2),
    ] {
        let (runtime, transport) = start_with(exchanges, |config| {
            config.retry = steady_retry(5);
            config.retry.after_output = RetryAfterOutput::Restart;
        });
        let stream = runtime.resume("resp_1", Some(0)).await.unwrap();
        let events: Events = stream.collect().await;
        assert_eq!(failure(&events).details().status, Some(404));
        assert_eq!(transport.requests().len(), requests);
        let requests = transport.requests();
        assert!(requests.iter().all(|request| request.method == "GET"));
    }
    let (runtime, transport) = started([]);
    for id in ["", ".."] {
        let error = runtime.resume(id, None).await.expect_err("no id");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
    assert!(transport.requests().is_empty());
}
