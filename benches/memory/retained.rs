//! `retained`: what ended requests hold, beside what the supervisor counts for them.

use std::sync::Arc;

use actix_responses::{
    Runtime,
    actors::{SubmitRequest, SupervisorConfig, Workers},
    protocol::Prompt,
    provider::Provider,
};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::{
    held::heap_bytes,
    scripted::Scripted,
    support::inputs::{Delivery, Input},
};

/// How many requests end, far within the time that they are kept.
pub const REQUESTS: usize = 10_000;

/// The heap that is held when all have ended, and the limit of it.
pub async fn run(input: &str) -> Value {
    let input = match input {
        "small" => Input::small(),
        _ => Input::resp_text(),
    };
    let chunks: Arc<[Bytes]> = input.chunks(Delivery::Event).into();
    let provider = Provider::new("none", "http://localhost").expect("a provider");
    let mut config = SupervisorConfig::new(provider);
    config.workers = Workers::Current;
    let limit = config.retain_bytes;
    let script = Scripted { chunks, burst: 1 };
    let runtime = Runtime::with_transport(config, script).expect("a runtime");
    // What is made once.
    ask(&runtime).await;
    let before = heap_bytes();
    for _ in 0..REQUESTS {
        ask(&runtime).await;
    }
    let held = heap_bytes() - before;
    json!({
        "held_bytes": held,
        "limit_bytes": limit,
        "held_over_limit": held as f64 / limit as f64,
        "bytes_a_request": held as f64 / REQUESTS as f64,
    })
}

async fn ask(runtime: &Runtime) {
    let request = SubmitRequest::new(Prompt::user("hello").with_model("bench"));
    let mut events = runtime.submit(request).await.expect("an accepted request");
    while let Some(event) = events.next().await {
        event.expect("an event");
    }
}
