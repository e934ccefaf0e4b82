//! Ends that the caller wants.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use actix_responses::{
    Runtime,
    actors::{CancelRequest, RequestId, SubmitRequest, Unsubscribe, WhenDeserted},
    protocol::ResponseEvent,
    testing::Recorder,
};
use tokio::{sync::mpsc, time::Instant};

use crate::support::{
    assert_elapsed, events::*, next, prompt, recorder::Seen, settle, start, start_with,
    steady_retry, transport::Exchange,
};

#[actix_rt::test]
async fn cancelling_closes_the_connection_and_tells_every_subscriber() {
    let (runtime, transport) = start([Exchange::stream(created() + &delta("a")).held_open()]);
    let seen = Recorder::start();
    let subscriber = seen.subscriber();
    let mut stream = runtime
        .submit(SubmitRequest::new(prompt()).with_subscriber(subscriber))
        .await
        .unwrap();
    assert_eq!(next(&mut stream).await.unwrap().unwrap().name(), "created");
    assert!(runtime.cancel(stream.request()).await);
    assert!(
        !runtime.cancel(stream.request()).await,
        "it is over already"
    );
    assert_eq!(
        next(&mut stream).await,
        Some(Ok(ResponseEvent::Cancelled)),
        "the end overtakes the delta"
    );
    assert_eq!(next(&mut stream).await, None);
    settle().await;
    assert_eq!(
        seen.names(),
        ["head", "created", "output_text_delta", "cancelled"]
    );
    assert_eq!(transport.open_requests(), 0);
}

#[actix_rt::test]
async fn a_cancel_that_came_too_late_says_so() {
    // Whom to ask; then, when the end is about to be read, the answer.
    let running: Arc<OnceLock<(Runtime, RequestId)>> = Arc::default();
    let (told, mut answers) = mpsc::unbounded_channel();
    let asked = running.clone();
    let exchange = Exchange::stream(created())
        .wait(Duration::from_secs(1))
        .then(move || {
            let (runtime, request) = asked.get().expect("it runs");
            let request = *request;
            for _ in 0..2 {
                let cancelled = runtime.supervisor().send(CancelRequest { request });
                let told = told.clone();
                actix_rt::spawn(async move { told.send(cancelled.await).expect("a listener") });
            }
        })
        .chunk(completed());
    let (runtime, _) = start([exchange]);
    let mut stream = runtime.stream(prompt()).await.unwrap();
    let is_first = running.set((runtime.clone(), stream.request())).is_ok();
    assert!(is_first);
    assert_eq!(next(&mut stream).await.unwrap().unwrap().name(), "created");
    assert_eq!(
        next(&mut stream).await.unwrap().unwrap().name(),
        "completed"
    );
    for _ in 0..2 {
        assert_eq!(answers.recv().await, Some(Ok(false)));
    }
}

#[actix_rt::test]
async fn dropping_the_stream_cancels_though_the_server_is_silent() {
    for exchange in [Exchange::silence(), Exchange::stream(created()).held_open()] {
        let (runtime, transport) = start([exchange]);
        let stream = runtime.stream(prompt()).await.unwrap();
        settle().await;
        assert_eq!(transport.open_requests(), 1);
        drop(stream);
        settle().await;
        assert_eq!(transport.open_requests(), 0);
    }
}

#[actix_rt::test]
async fn cancelling_ends_a_wait_for_the_next_attempt() {
    let (runtime, transport) = start([Exchange::status(503), Exchange::stream(answer())]);
    let mut stream = runtime.stream(prompt()).await.unwrap();
    settle().await;
    let before = Instant::now();
    assert!(runtime.cancel(stream.request()).await);
    assert_eq!(next(&mut stream).await, Some(Ok(ResponseEvent::Cancelled)));
    assert_elapsed(before, Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(transport.requests().len(), 1);
}

#[actix_rt::test]
async fn the_last_subscriber_to_leave_ends_the_request_as_its_policy_says() {
    for (policy, open_after) in [
        (WhenDeserted::Cancel, [0, 0]),
        (WhenDeserted::Linger(Duration::from_secs(10)), [1, 0]),
        (WhenDeserted::KeepGoing, [1, 1]),
    ] {
        let (runtime, transport) = start([Exchange::stream(created()).held_open()]);
        let request = SubmitRequest::new(prompt())
            .with_when_deserted(policy)
            .with_subscriber(Recorder::start().subscriber());
        let submitted = runtime.supervisor().send(request).await.unwrap().unwrap();
        settle().await;
        let leave = Unsubscribe {
            request: submitted.request,
            subscription: submitted.subscriptions[0],
        };
        assert!(runtime.supervisor().send(leave).await.unwrap());
        assert!(!runtime.supervisor().send(leave).await.unwrap());
        settle().await;
        let at_once = transport.open_requests();
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(
            [at_once, transport.open_requests()],
            open_after,
            "{policy:?}"
        );
        let live = runtime
            .supervisor()
            .send(CancelRequest {
                request: submitted.request,
            })
            .await
            .unwrap();
        assert_eq!(live, policy == WhenDeserted::KeepGoing);
    }
}

#[actix_rt::test]
async fn a_subscriber_whose_actor_stopped_counts_as_gone() {
    let (runtime, transport) = start([Exchange::stream(created()).held_open()]);
    let recorder = Recorder::start();
    let subscriber = recorder.subscriber();
    runtime
        .supervisor()
        .send(SubmitRequest::new(prompt()).with_subscriber(subscriber))
        .await
        .unwrap()
        .unwrap();
    settle().await;
    assert_eq!(transport.open_requests(), 1);
    recorder.stop().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(transport.open_requests(), 0);
}

#[actix_rt::test]
async fn dropping_the_runtime_ends_its_requests() {
    let (runtime, transport) = start([Exchange::stream(created()).held_open()]);
    let seen = Recorder::start();
    let subscriber = seen.subscriber();
    runtime
        .supervisor()
        .send(SubmitRequest::new(prompt()).with_subscriber(subscriber))
        .await
        .unwrap()
        .unwrap();
    settle().await;
    drop(runtime);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(seen.names(), ["head", "created", "failed"]);
    assert_eq!(transport.open_requests(), 0);
}

#[actix_rt::test]
async fn a_shutdown_lets_running_requests_end_and_refuses_new_ones() {
    let slow = Exchange::stream(created())
        .wait(Duration::from_secs(5))
        .chunk(completed());
    let (runtime, _) = start_with([slow, Exchange::silence()], |c| c.retry = steady_retry(2));
    let mut ending = runtime.stream(prompt()).await.unwrap();
    let mut hanging = runtime.stream(prompt()).await.unwrap();
    settle().await;
    let before = Instant::now();
    let closing = runtime.clone();
    let closed = actix_rt::spawn(async move { closing.shutdown(Duration::from_secs(8)).await });
    settle().await;
    let refused = runtime.stream(prompt()).await.expect_err("no new requests");
    assert_eq!(refused.kind().as_str(), "shut_down");
    assert_eq!(next(&mut ending).await.unwrap().unwrap().name(), "created");
    assert_eq!(
        next(&mut ending).await.unwrap().unwrap().name(),
        "completed"
    );
    assert_elapsed(before, Duration::from_secs(5));
    let error = next(&mut hanging).await.unwrap().unwrap_err();
    assert_eq!(error.kind().as_str(), "shut_down");
    assert_elapsed(before, Duration::from_secs(8));
    closed.await.unwrap();
}

#[actix_rt::test]
async fn a_shutdown_gives_a_subscriber_that_lags_its_end_all_the_same() {
    let deltas: String = (0..500).map(|n| delta(&n.to_string())).collect();
    let body = created() + &deltas + &completed();
    let (runtime, _) = start([Exchange::status(200).chunks(body.as_bytes(), 300)]);
    let seen = Recorder::slow(Duration::from_secs(3));
    let subscriber = seen.event_subscriber();
    let slow_seen = Recorder::slow(Duration::from_secs(3));
    let request = SubmitRequest::new(prompt())
        .with_subscriber(subscriber)
        .with_subscriber(slow_seen.subscriber());
    runtime.supervisor().send(request).await.unwrap().unwrap();
    settle().await;
    runtime.shutdown(Duration::from_secs(1)).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    for seen in [seen, slow_seen] {
        assert_eq!(seen.ends(), 1);
        assert_eq!(seen.names().last(), Some(&"completed"));
    }
}

#[actix_rt::test]
async fn a_shutdown_keeps_the_error_of_a_request_that_waits_for_its_next_attempt() {
    let (runtime, _) = start([Exchange::status(503).with_header("retry-after", "60")]);
    let mut stream = runtime.stream(prompt()).await.unwrap();
    settle().await;
    runtime.shutdown(Duration::ZERO).await;
    let error = next(&mut stream).await.unwrap().unwrap_err();
    assert_eq!(error.details().status, Some(503));
}

#[actix_rt::test]
async fn the_id_of_another_runtimes_request_names_none() {
    let (one, _) = start([Exchange::silence()]);
    let (two, _) = start([Exchange::silence()]);
    let (stream, other) = (
        one.stream(prompt()).await.unwrap(),
        two.stream(prompt()).await.unwrap(),
    );
    assert_ne!(stream.request(), other.request());
    assert!(!two.cancel(stream.request()).await);
    let text = other.request().to_string();
    assert_eq!(text.parse(), Ok(other.request()));
    for wrong in [
        "",
        "request-1",
        "request--1",
        "7",
        "request-0-1",
        &text[1..],
    ] {
        let error = wrong.parse::<RequestId>().unwrap_err();
        assert!(error.message().contains("no id of a request"), "{error}");
    }
    assert!(two.cancel(other.request()).await);
}
