//! What compactions and lists of models have in common: retries, shutdowns, cancels and the breaker.

use std::time::Duration;

use actix_responses::{
    ApiError, ErrorKind, Runtime,
    actors::{CancelRequest, ListModels, Submit},
    protocol::{CompactionInput, ResponseItem},
    transport::TransportErrorKind,
};
use tokio::{task::JoinHandle, time::Instant};

use crate::support::{assert_elapsed, settle, start_with, steady_retry, transport::Exchange};

/// Asks, and keeps the error.
type Ask = fn(Runtime) -> JoinHandle<Result<(), ApiError>>;

const QUESTIONS: [Ask; 2] = [compact, list];

fn compact(runtime: Runtime) -> JoinHandle<Result<(), ApiError>> {
    let input = CompactionInput::new("test-model", vec![ResponseItem::user_text("hi")]);
    actix_rt::spawn(async move { runtime.compact(input).await.map(drop) })
}

fn list(runtime: Runtime) -> JoinHandle<Result<(), ApiError>> {
    actix_rt::spawn(async move { runtime.models().await.map(drop) })
}

/// What either question takes for an answer.
fn answer() -> Exchange {
    Exchange::status(200)
        .with_header("content-type", "application/json")
        .chunk(
            r#"{"output":[{"type":"compaction","encrypted_content":"abc"}],"data":[{"id":"m"}]}"#,
        )
}

async fn kind(asked: JoinHandle<Result<(), ApiError>>) -> Option<ErrorKind> {
    asked.await.unwrap().err().map(|error| error.kind())
}

#[actix_rt::test]
async fn a_question_that_waits_for_its_retry_ends_with_its_error_when_a_shutdown_begins() {
    for ask in QUESTIONS {
        for grace in [Duration::ZERO, Duration::from_secs(9)] {
            let exchanges = [Exchange::status(503), answer()];
            let (runtime, transport) = start_with(exchanges, |c| c.retry = steady_retry(3));
            let asked = ask(runtime.clone());
            settle().await;
            let before = Instant::now();
            runtime.shutdown(grace).await;
            let error = asked.await.unwrap().unwrap_err();
            assert_elapsed(before, Duration::ZERO);
            assert_eq!(error.kind(), ErrorKind::Overloaded, "{error}");
            assert_eq!(error.details().attempts.len(), 1);
            assert_eq!(transport.requests().len(), 1, "it was not asked again");
        }
    }
}

#[actix_rt::test]
async fn a_question_that_fails_while_a_shutdown_waits_is_not_asked_again() {
    for ask in QUESTIONS {
        let slow = Exchange::status(503).head_after(Duration::from_secs(2));
        let (runtime, transport) = start_with([slow, answer()], |c| c.retry = steady_retry(3));
        let asked = ask(runtime.clone());
        settle().await;
        let before = Instant::now();
        runtime.shutdown(Duration::from_secs(9)).await;
        assert_elapsed(before, Duration::from_secs(2));
        assert_eq!(kind(asked).await, Some(ErrorKind::Overloaded));
        assert_eq!(transport.requests().len(), 1);
    }
}

#[actix_rt::test]
async fn a_question_that_runs_has_the_grace_of_a_shutdown() {
    for ask in QUESTIONS {
        for (head_after, expected) in [(2, None), (20, Some(ErrorKind::ShutDown))] {
            let slow = answer().head_after(Duration::from_secs(head_after));
            let (runtime, transport) = start_with([slow], |_| {});
            let asked = ask(runtime.clone());
            settle().await;
            let before = Instant::now();
            runtime.shutdown(Duration::from_secs(9)).await;
            assert_elapsed(before, Duration::from_secs(head_after.min(9)));
            assert_eq!(kind(asked).await, expected);
            assert_eq!(transport.open_requests(), 0);
        }
    }
}

#[actix_rt::test]
async fn a_cancelled_question_that_was_the_probe_lets_another_through() {
    let refused = || Exchange::error(TransportErrorKind::Connect, "connection refused");
    for ask in QUESTIONS {
        let silence = Exchange::silence;
        let exchanges = [
            refused(),
            refused(),
            silence(),
            silence(),
            silence(),
            answer(),
        ];
        let pause = Duration::from_secs(31);
        let (runtime, transport) = start_with(exchanges, |config| {
            config.retry.max_attempts = 1;
            config.breaker.failures = 2;
            // Nobody waits for so long.
            config.breaker.pause = pause;
            config.breaker.max_pause = pause;
        });
        for _ in 0..2 {
            assert_eq!(kind(ask(runtime.clone())).await, Some(ErrorKind::Connect));
        }
        let spared = ask(runtime.clone());
        assert_eq!(kind(spared).await, Some(ErrorKind::Unavailable));
        tokio::time::sleep(pause + Duration::from_millis(1)).await;
        let probes = [0; 3].map(|_| ask(runtime.clone()));
        settle().await;
        assert_eq!(transport.requests().len(), 5, "the probes");
        let held_back = ask(runtime.clone());
        assert_eq!(kind(held_back).await, Some(ErrorKind::Unavailable));
        probes.iter().for_each(|probe| probe.abort());
        settle().await;
        assert_eq!(transport.open_requests(), 0);
        assert_eq!(kind(ask(runtime.clone())).await, None, "another probe");
    }
}

#[actix_rt::test]
async fn a_question_can_be_cancelled_by_its_id() {
    for exchange in [Exchange::silence(), Exchange::status(503)] {
        let (runtime, transport) = start_with([exchange], |c| c.retry = steady_retry(3));
        let supervisor = runtime.supervisor();
        let asked = supervisor.send(Submit(ListModels::new())).await;
        let asked = asked.unwrap().unwrap();
        let cancel = CancelRequest {
            request: asked.request(),
        };
        // It runs, or waits for its next attempt.
        settle().await;
        assert!(supervisor.send(cancel).await.unwrap());
        let error = asked.await.unwrap_err();
        assert_eq!(error.message(), "the request was cancelled");
        assert!(!supervisor.send(cancel).await.unwrap());
        assert_eq!(
            (transport.requests().len(), transport.open_requests()),
            (1, 0)
        );
    }
}

#[actix_rt::test]
async fn a_question_that_nobody_waits_for_is_not_asked_again() {
    let exchanges = [Exchange::status(503), answer()];
    let (runtime, transport) = start_with(exchanges, |c| c.retry = steady_retry(3));
    let asked = runtime.supervisor().send(Submit(ListModels::new())).await;
    drop(asked.unwrap().unwrap());
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(transport.requests().len(), 1);
}
