//! A scripted transport, a recording subscriber, and the events that they exchange.

pub(crate) mod events;
pub(crate) mod recorder;
pub(crate) mod transport;

use std::{cell::Cell, sync::Arc, time::Duration};

use actix_responses::{
    ApiError, ResponseStream, Runtime,
    actors::SupervisorConfig,
    protocol::{Prompt, ResponseEvent},
    provider::Provider,
    retry::RetryPolicy,
    testing,
};
use futures_util::StreamExt;
use tokio::time::Instant;

use self::transport::{Exchange, ScriptedTransport};

/// A runtime on this thread whose requests meet the given exchanges, in order.
pub(crate) fn start(exchanges: impl IntoIterator<Item = Exchange>) -> (Runtime, ScriptedTransport) {
    start_with(exchanges, |_| {})
}

/// The same with changes to the configuration.
pub(crate) fn start_with(
    exchanges: impl IntoIterator<Item = Exchange>,
    change: impl FnOnce(&mut SupervisorConfig),
) -> (Runtime, ScriptedTransport) {
    pause();
    let mut config = testing::config();
    change(&mut config);
    let transport = ScriptedTransport::new(exchanges);
    let runtime =
        Runtime::with_transport(config, transport.clone()).expect("a valid configuration");
    (runtime, transport)
}

/// Stops the clock of this test's runtime; it then moves only when everything waits for it.
pub(crate) fn pause() {
    thread_local!(static PAUSED: Cell<bool> = const { Cell::new(false) });
    if !PAUSED.replace(true) {
        tokio::time::pause();
    }
}

/// Checks a time on the paused clock. Tokio's timers go off up to a millisecond late.
#[track_caller]
pub(crate) fn assert_elapsed(since: Instant, expected: Duration) {
    let elapsed = since.elapsed();
    let late = elapsed.checked_sub(expected);
    assert!(
        late.is_some_and(|late| late <= Duration::from_millis(5)),
        "{elapsed:?} in place of {expected:?}"
    );
}

/// Changes the configured provider.
pub(crate) fn provider(config: &mut SupervisorConfig, change: impl FnOnce(&mut Provider)) {
    change(Arc::make_mut(&mut config.provider));
}

/// A policy whose delays are 100 ms, 200 ms, 400 ms, ... to the millisecond.
pub(crate) fn steady_retry(max_attempts: u32) -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    policy.max_attempts = max_attempts;
    policy.backoff.base = Duration::from_millis(100);
    policy.backoff.jitter = 0.0;
    policy
}

pub(crate) fn prompt() -> Prompt {
    Prompt::user("hello").with_model("test-model")
}

/// Everything that a request's stream yields.
pub(crate) async fn collect(runtime: &Runtime) -> Vec<Result<ResponseEvent, ApiError>> {
    let stream = runtime.stream(prompt()).await.expect("an accepted request");
    stream.collect().await
}

/// Whether it is the head of a response, which comes before what most tests are about.
pub(crate) fn is_head(event: &ResponseEvent) -> bool {
    matches!(event, ResponseEvent::Head(_))
}

/// The next thing that a stream yields but for heads.
pub(crate) async fn next(stream: &mut ResponseStream) -> Option<Result<ResponseEvent, ApiError>> {
    loop {
        match stream.next().await {
            Some(Ok(ResponseEvent::Head(_))) => {}
            next => return next,
        }
    }
}

/// The names of events but for heads, and of an error its kind.
pub(crate) fn names(events: &[Result<ResponseEvent, ApiError>]) -> Vec<&'static str> {
    let name = |event: &Result<ResponseEvent, ApiError>| match event {
        Ok(event) => event.name(),
        Err(error) => error.kind().as_str(),
    };
    let names = events.iter().map(name);
    names.filter(|name| *name != "head").collect()
}

/// The text of all deltas since the last restart.
pub(crate) fn text(events: &[Result<ResponseEvent, ApiError>]) -> String {
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

/// The error that a request ended with.
pub(crate) fn failure(events: &[Result<ResponseEvent, ApiError>]) -> &ApiError {
    match events.last() {
        Some(Err(error)) => error,
        other => panic!("no failure: {other:?}"),
    }
}

/// Lets everything happen that is ready, without time passing.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
