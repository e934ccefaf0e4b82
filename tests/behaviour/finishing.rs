//! What follows Chat's `finish_reason`: how long it is waited for, and what ends the wait.

use std::time::Duration;

use actix_responses::{Runtime, wire::Wire};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{
    assert_elapsed, collect, failure, names, provider, start_with, text,
    transport::{Exchange, ScriptedTransport},
};

/// The longest that anything is waited for behind a `finish_reason`.
const MAX_TRAILER: Duration = Duration::from_secs(30);

fn chunk(delta: Value, finish_reason: Option<&str>) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish_reason});
    format!("data: {}\n\n", json!({"id": "c", "choices": [choice]}))
}

fn stopped(text: &str) -> String {
    chunk(json!({"content": text}), Some("stop"))
}

fn usage() -> String {
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 2});
    format!(
        "data: {}\n\n",
        json!({"id": "c", "choices": [], "usage": usage})
    )
}

fn chat(exchange: Exchange) -> (Runtime, ScriptedTransport) {
    start_with([exchange], |config| {
        provider(config, |provider| provider.wire = Wire::Chat);
    })
}

const SECOND: Duration = Duration::from_secs(1);

#[actix_rt::test]
async fn the_wait_begins_anew_with_what_is_a_part_of_the_answer() {
    // Each piece comes four seconds after the one before, which is longer than no piece may stay away.
    let mut exchange = Exchange::stream(stopped("a"));
    for piece in ["b", "c", "d"] {
        exchange = exchange.wait(4 * SECOND).chunk(stopped(piece));
    }
    let (runtime, _) = chat(exchange.wait(4 * SECOND).chunk(usage()).held_open());
    let before = Instant::now();
    let seen = collect(&runtime).await;
    assert_elapsed(before, 16 * SECOND);
    assert_eq!(
        (text(&seen).as_str(), names(&seen).last()),
        ("abcd", Some(&"completed"))
    );
}

#[actix_rt::test]
async fn what_is_none_does_not_prolong_the_wait() {
    let mut exchange = Exchange::stream(stopped("a"));
    for noise in [
        ": ping\n\n",
        "data: {}\n\n",
        "data: {\"type\":\"keepalive\"}\n\n",
    ] {
        exchange = exchange.wait(SECOND).chunk(noise);
    }
    let (runtime, _) = chat(exchange.held_open());
    let before = Instant::now();
    let seen = collect(&runtime).await;
    assert_elapsed(before, 5 * SECOND);
    assert_eq!(names(&seen).last(), Some(&"completed"));
}

#[actix_rt::test]
async fn the_wait_has_an_end_though_more_comes() {
    let mut exchange = Exchange::stream(stopped("x"));
    for _ in 0..60 {
        exchange = exchange.wait(SECOND).chunk(stopped("x"));
    }
    let (runtime, transport) = chat(exchange);
    let before = Instant::now();
    let seen = collect(&runtime).await;
    assert_elapsed(before, MAX_TRAILER);
    assert_eq!(names(&seen).last(), Some(&"completed"));
    assert!(text(&seen).len() >= 29);
    tokio::time::sleep(SECOND).await;
    assert_eq!(transport.open_requests(), 0);
}

#[actix_rt::test]
async fn usage_behind_the_end_ends_the_wait_at_once() {
    let exchange =
        Exchange::stream(chunk(json!({"content": "a"}), None) + &chunk(json!({}), Some("stop")));
    let (runtime, _) = chat(exchange.wait(SECOND / 2).chunk(usage()).held_open());
    let before = Instant::now();
    let seen = collect(&runtime).await;
    assert_elapsed(before, SECOND / 2);
    assert_eq!(names(&seen).last(), Some(&"completed"));
}

#[actix_rt::test]
async fn the_wait_is_a_knob() {
    for trailer in [Duration::ZERO, 7 * SECOND, Duration::MAX] {
        let exchange = Exchange::stream(stopped("a")).held_open();
        let (runtime, _) = start_with([exchange], |config| {
            provider(config, |provider| {
                provider.wire = Wire::Chat;
                provider.timeouts.trailer = trailer;
            });
        });
        let before = Instant::now();
        let seen = collect(&runtime).await;
        assert_elapsed(before, trailer.min(MAX_TRAILER));
        assert_eq!(names(&seen).last(), Some(&"completed"));
    }
}

#[actix_rt::test]
async fn a_break_behind_an_end_that_may_be_none_is_an_error() {
    let sure = chunk(json!({"content": "a"}), None) + &chunk(json!({}), Some("stop"));
    let (runtime, _) = chat(Exchange::stream(sure).broken());
    assert_eq!(names(&collect(&runtime).await).last(), Some(&"completed"));
    let (runtime, _) = chat(Exchange::stream(stopped("a") + &stopped("b")).broken());
    let seen = collect(&runtime).await;
    assert_eq!(failure(&seen).kind().as_str(), "connection");
}
