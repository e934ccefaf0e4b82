//! `growth`: CPU time and memory of one thing more: a stream, a byte of history, a subscriber, an event. Without a network.

use std::sync::Arc;

use actix::Actor;
use actix_responses::{
    Runtime,
    actors::{SubmitRequest, Subscriber, SupervisorConfig, Workers},
    protocol::{Prompt, ResponseItem},
    provider::Provider,
};
use bytes::Bytes;
use futures_util::{StreamExt, future::join_all};
use serde_json::{Value, json};

use super::{
    Nobody,
    held::{forget_peak, peak_bytes, resident_bytes},
    scripted::Scripted,
    support::{
        clock,
        inputs::{Delivery, Input},
    },
};

/// What grows, and how far.
pub const CASES: [(&str, &[usize]); 4] = [
    ("streams", &[1, 10, 100, 1_000, 10_000]),
    ("history", &[1_000, 10_000, 100_000, 1_000_000, 20_000_000]),
    ("subscribers", &[1, 10, 100, 1_000]),
    ("events", &[1, 10, 100, 1_000, 10_000, 100_000, 1_000_000]),
];

const TEXT: &str =
    "Some words of a conversation, and a line of code:\n    total += row[\"count\"];\n";

/// CPU time and the peak for each, with what one request costs anyway in the row of 1.
pub async fn run(case: &str) -> Value {
    let (what, count) = case.split_once('_').expect("a case");
    let count: usize = count.parse().expect("a number");
    let events = if what == "events" { count } else { 20 };
    let runtime = runtime(&Input::responses_of("growing", events));
    let prompt = prompt(if what == "history" { count } else { TEXT.len() });
    // What is made once.
    end(&runtime, SubmitRequest::new(prompt.clone())).await;
    let (before, began) = (resident_bytes(), clock::process_cpu());
    forget_peak();
    match what {
        "streams" => {
            join_all((0..count).map(|_| end(&runtime, SubmitRequest::new(prompt.clone())))).await;
        }
        "subscribers" => {
            let mut request = SubmitRequest::new(prompt);
            for _ in 1..count {
                let subscriber = Subscriber::deliveries(Nobody.start().recipient());
                request = request.with_subscriber(subscriber);
            }
            end(&runtime, request).await;
        }
        _ => end(&runtime, SubmitRequest::new(prompt)).await,
    }
    let spent = clock::process_cpu() - began;
    let peak = peak_bytes().saturating_sub(before);
    json!({
        "cpu_us_each": spent.as_secs_f64() * 1e6 / count as f64,
        "peak_bytes_each": peak as f64 / count as f64,
    })
}

fn runtime(input: &Input) -> Runtime {
    let chunks: Arc<[Bytes]> = input.chunks(Delivery::Event).into();
    let provider = Provider::new("none", "http://localhost").expect("a provider");
    let mut config = SupervisorConfig::new(provider);
    config.workers = Workers::Current;
    Runtime::with_transport(config, Scripted { chunks, burst: 4 }).expect("a runtime")
}

fn prompt(bytes: usize) -> Prompt {
    let mut prompt = Prompt::user("hello").with_model("bench");
    prompt.input = vec![ResponseItem::user_text(TEXT); bytes.div_ceil(TEXT.len())];
    prompt
}

async fn end(runtime: &Runtime, request: SubmitRequest) {
    let mut events = runtime.submit(request).await.expect("an accepted request");
    while let Some(event) = events.next().await {
        event.expect("an event");
    }
}
