//! Requests, and how they end.

use actix_responses::{
    ApiError, Runtime,
    protocol::{Prompt, ResponseEvent},
};
use futures_util::StreamExt;

use super::within;

/// All that a stream yields.
pub(crate) type Events = Vec<Result<ResponseEvent, ApiError>>;

pub(crate) fn prompt() -> Prompt {
    Prompt::user("hello").with_model("m")
}

/// Asks, and gives everything that comes.
pub(crate) async fn collect(runtime: &Runtime, prompt: Prompt) -> Events {
    let stream = within(runtime.stream(prompt)).await.expect("a request");
    within(stream.collect()).await
}

/// Asks, and gives the end.
pub(crate) async fn end_of(runtime: &Runtime, prompt: Prompt) -> Result<ResponseEvent, ApiError> {
    collect(runtime, prompt).await.pop().expect("an end")
}

/// Asks, and gives the failure that must be the end.
pub(crate) async fn failure_of(runtime: &Runtime, prompt: Prompt) -> ApiError {
    failure(&collect(runtime, prompt).await).clone()
}

/// The failure that must be the end.
pub(crate) fn failure(events: &Events) -> &ApiError {
    match events.last() {
        Some(Err(error)) => error,
        other => panic!("no failure: {other:?}"),
    }
}
