//! What clients of these APIs have fallen into, and the test that holds each of it.
//!
//! | trap | tests |
//! |---|---|
//! | 1. `completed`, and the connection stays open | `every_terminal_event_ends_at_once_though_the_connection_stays_open`, `a_connection_that_is_held_open_after_the_end_is_closed_soon` |
//! | 2. `failed`, and it stays open | `every_terminal_event_ends_at_once_though_the_connection_stays_open` |
//! | 3. `incomplete`, and it stays open | `every_terminal_event_ends_at_once_though_the_connection_stays_open` |
//! | 4. an `error` event | `every_terminal_event_ends_at_once_though_the_connection_stays_open` |
//! | 5. `failed`, then `completed` | `the_first_terminal_event_counts` |
//! | 6. `completed` twice, and data after it | `what_follows_the_terminal_event_is_not_read` |
//! | 7. `completed` without id, with half its usage or without a total | `completed_without_id_or_whole_usage_is_completed` |
//! | 8. a timeout after an error that is known | `timeout_never_takes_the_place_of_an_error_that_is_known` |
//! | 9. nothing but comments for longer than the idle timeout | `comments_alone_keep_a_stream_alive` |
//! | 10. no head of the response | `each_other_timer_ends_what_it_watches` |
//! | 11. the receiver is dropped while the server is silent | `dropping_the_stream_cancels_though_the_server_is_silent`, `dropping_the_stream_closes_the_connection` |
//! | 12. a slow consumer, and a false idle timeout | `consumer_slower_than_the_idle_timeout_gets_everything` |
//! | 13. UTF-8 and CRLF split, data in lines, BOM, no blank line at the end | `fixtures_decode_alike_at_every_split`, `cases_of_the_web_platform_tests_hold`, `a_cut_at_any_byte_is_a_failure_and_loses_or_repeats_nothing` |
//! | 14. Chat: `tool_calls`, and no `[DONE]` | `chat_tool_calls_end_the_stream_without_a_done` |
//! | 15. Chat: cut before a finish reason | `chat_cut_before_its_finish_reason_is_truncated` |
//! | 16. Chat: a chunk that is an error | `errors_end_the_stream`, `groq_error_in_the_stream_ends_it_without_a_done` |
//! | 17. Chat: `length` | `finish_reasons_have_their_meanings` |
//! | 18. Chat: interleaved calls, several choices | `interleaved_calls_are_merged_by_index`, `choices_are_kept_apart` |
//! | 19. 429, with and without Retry-After | `too_many_requests_are_waited_out_with_and_without_a_time` |
//! | 20. 404 | `what_can_not_help_is_not_retried` |
//! | 21. how many attempts, how long between them | `the_budget_includes_the_first_attempt_and_the_error_names_them_all`, `default_delays_double_within_a_tenth`, `no_delay_is_above_the_cap` |
//! | 22. a query's encoding, a base URL with a query | `query_is_encoded_merged_and_in_order` |
//! | 23. which header wins, and one that can't be sent | `header_of_a_later_kind_replaces_an_earlier_one`, `invalid_header_is_reported_by_name` |
//! | 24. `content: null` of reasoning | `reasoning_without_content_is_sent_back_without_a_null` |
//! | 25. items of unknown type | `what_has_no_typed_form_keeps_its_bytes`, `unknown_items_schemas_and_tools_are_sent_byte_for_byte` |
//! | 26. zstd, and a Content-Encoding of the caller's | `content_encoding_of_the_callers_is_refused_where_bodies_are_compressed` |
//! | 27. the state of a turn, in another turn | `turn_state_is_set_once_and_sent_within_its_turn_alone` |
//! | 28. rate limits where no header has any | `headers_become_events_before_the_first_of_the_stream`, `headers_without_limits_give_no_snapshot` |
//! | 29. WebSocket: an error frame without a status | not applicable: there is no WebSocket transport |
//! | 30. WebSocket: falling back to HTTP | not applicable: there is no WebSocket transport |

#[path = "support/scripted/mod.rs"]
#[allow(dead_code, reason = "a part of it is needed here")]
mod support;

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use actix_responses::{
    ErrorKind,
    actors::{DeliveryPolicy, SubmitRequest},
    protocol::{Prompt, ResponseEvent, ResponseItem},
    testing::Recorder,
    wire::Wire,
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use support::{
    assert_elapsed, collect, events, failure, names, prompt, provider,
    recorder::Seen,
    start, start_with, steady_retry,
    transport::{Exchange, ScriptedTransport},
};
use tokio::time::Instant;

fn chat(exchange: Exchange) -> (actix_responses::Runtime, ScriptedTransport) {
    start_with([exchange], |config| {
        config.retry = steady_retry(1);
        provider(config, |p| p.wire = Wire::Chat);
    })
}

fn data(value: Value) -> String {
    format!("data: {value}\n\n")
}

#[actix_rt::test]
async fn completed_without_id_or_whole_usage_is_completed() {
    for (response, id, usage) in [
        (json!({}), None, None),
        (json!({"id": null, "usage": null}), None, None),
        (json!({"id": "r"}), Some("r"), None),
        (
            json!({"id": "r", "usage": {"input_tokens": 3, "output_tokens": 2}}),
            Some("r"),
            Some((3, 2, 5)),
        ),
        (
            json!({"id": "r", "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 6,
                "input_tokens_details": {}, "output_tokens_details": null}}),
            Some("r"),
            Some((3, 2, 6)),
        ),
        (
            json!({"id": "r", "usage": {"input_tokens": 3}}),
            Some("r"),
            Some((3, 0, 3)),
        ),
    ] {
        let end = events::event(json!({"type": "response.completed", "response": response}));
        let (runtime, _) = start([Exchange::stream(end)]);
        let seen = collect(&runtime).await;
        let Some(Ok(ResponseEvent::Completed(completed))) = seen.last() else {
            panic!("{response}: {seen:?}");
        };
        assert_eq!(completed.response_id.as_deref(), id, "{response}");
        let read = completed.token_usage.as_ref();
        let read = read.map(|u| (u.input_tokens, u.output_tokens, u.total_tokens));
        assert_eq!(read, usage, "{response}");
    }
}

#[actix_rt::test]
async fn timeout_never_takes_the_place_of_an_error_that_is_known() {
    let body = events::created() + &events::failed("server_error", "known");
    let (runtime, _) = start_with([Exchange::stream(body).held_open()], |config| {
        config.retry = steady_retry(1);
        provider(config, |p| p.timeouts.total = Some(Duration::from_secs(1)));
    });
    let before = Instant::now();
    let seen = collect(&runtime).await;
    assert_elapsed(before, Duration::ZERO);
    assert_eq!(failure(&seen).message(), "known");

    // Nor when the attempt after it finds only silence: both are told.
    let failed = Exchange::status(500).chunk(r#"{"error":{"message":"known"}}"#);
    let (runtime, _) = start_with([failed, Exchange::silence()], |config| {
        config.retry = steady_retry(2);
    });
    let seen = collect(&runtime).await;
    let attempts = &failure(&seen).details().attempts;
    assert_eq!(attempts[0].message, "known");
    assert_eq!(attempts[1].kind, ErrorKind::ResponseHeadTimeout);
}

#[actix_rt::test]
async fn comments_alone_keep_a_stream_alive() {
    for comment in [": ping\n\n", ":\n\n", "data: {\"type\":\"keepalive\"}\n\n"] {
        let mut exchange = Exchange::stream(events::created());
        for _ in 0..20 {
            exchange = exchange.wait(Duration::from_secs(100)).chunk(comment);
        }
        let (runtime, _) = start([exchange.chunk(events::delta("late") + &events::completed())]);
        let before = Instant::now();
        let seen = collect(&runtime).await;
        assert_eq!(before.elapsed().as_secs(), 2000);
        assert_eq!(names(&seen).last(), Some(&"completed"), "{comment}");
    }
}

#[actix_rt::test]
async fn consumer_slower_than_the_idle_timeout_gets_everything() {
    let deltas: String = (0..3000).map(|n| events::delta(&format!("{n},"))).collect();
    let body = events::created() + &events::item_added() + &deltas + &events::completed();
    let exchange = Exchange::status(200)
        .with_header("content-type", "text/event-stream")
        .chunks(body.as_bytes(), 4096);
    let (runtime, transport) = start_with([exchange], |config| {
        config.audience.lag_events = 16;
        provider(config, |p| p.timeouts.idle = Duration::from_secs(60));
    });
    let seen = Recorder::slow(Duration::from_secs(90));
    let subscriber = seen.subscriber().with_policy(DeliveryPolicy::Wait {
        max_wait: Duration::from_secs(3600),
    });
    let request = SubmitRequest::new(prompt()).with_subscriber(subscriber);
    runtime.supervisor().send(request).await.unwrap().unwrap();
    let before = Instant::now();
    while seen.ends() == 0 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(
            before.elapsed() < Duration::from_secs(1_000_000),
            "it never ends"
        );
    }
    assert!(
        before.elapsed() > Duration::from_secs(120),
        "{:?}",
        before.elapsed()
    );
    assert_eq!(seen.names().last(), Some(&"completed"));
    let expected: String = (0..3000).map(|n| format!("{n},")).collect();
    assert_eq!(seen.text(), expected);
    assert_eq!(transport.requests().len(), 1);
}

#[actix_rt::test]
async fn chat_tool_calls_end_the_stream_without_a_done() {
    let call = json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}});
    let body = data(
        json!({"id": "1", "choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": [call]}}]}),
    ) + &data(
        json!({"id": "1", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
    );
    let (runtime, transport) = chat(Exchange::stream(body).held_open());
    let before = Instant::now();
    let seen = collect(&runtime).await;
    // The wait for usage and `[DONE]`, and nothing more.
    assert_elapsed(before, Duration::from_secs(5));
    assert_eq!(names(&seen).last(), Some(&"completed"));
    let calls = seen.iter().filter(|event| match event {
        Ok(ResponseEvent::OutputItemDone(output)) => {
            matches!(output.item(), ResponseItem::FunctionCall(_))
        }
        _ => false,
    });
    assert_eq!(calls.count(), 1, "{seen:?}");
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(transport.open_requests(), 0);
}

#[actix_rt::test]
async fn chat_cut_before_its_finish_reason_is_truncated() {
    let body = data(
        json!({"id": "1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "hel"}}]}),
    );
    let (runtime, _) = chat(Exchange::stream(body));
    let seen = collect(&runtime).await;
    assert_eq!(failure(&seen).kind(), ErrorKind::Truncated);
    assert!(failure(&seen).details().output_delivered);
}

#[actix_rt::test]
async fn too_many_requests_are_waited_out_with_and_without_a_time() {
    for (exchange, millis) in [
        (Exchange::status(429).with_header("retry-after", "3"), 3000),
        (Exchange::status(429), 100),
    ] {
        let (runtime, transport) =
            start_with([exchange, Exchange::stream(events::answer())], |config| {
                config.retry = steady_retry(2);
            });
        let before = Instant::now();
        let seen = collect(&runtime).await;
        assert_elapsed(before, Duration::from_millis(millis));
        assert_eq!(names(&seen).last(), Some(&"completed"));
        assert_eq!(transport.requests().len(), 2);
    }
    // And when they go on, that is what the error says, with the attempts that were made.
    let (runtime, _) = start_with([Exchange::status(429), Exchange::status(429)], |config| {
        config.retry = steady_retry(2);
    });
    let seen = collect(&runtime).await;
    let error = failure(&seen);
    assert_eq!(
        (error.kind(), error.details().attempt),
        (ErrorKind::RateLimited, 2)
    );
}

#[actix_rt::test]
async fn reasoning_without_content_is_sent_back_without_a_null() {
    let item = json!({"id": "rs_1", "type": "reasoning", "summary": [], "content": null, "encrypted_content": "gA"});
    let done = events::event(
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
    );
    let (runtime, transport) = start([
        Exchange::stream(events::created() + &done + &events::completed()),
        Exchange::stream(events::answer()),
    ]);
    let mut next = Prompt::user("again")
        .with_model("test-model")
        .with_store(false);
    for event in collect(&runtime).await {
        if let Ok(ResponseEvent::OutputItemDone(output)) = event {
            next = next.with_item(output.item().clone());
        }
    }
    runtime
        .stream(next)
        .await
        .unwrap()
        .collect::<Vec<_>>()
        .await;
    let body: Value = serde_json::from_slice(&transport.requests()[1].body).unwrap();
    let sent = &body["input"][1];
    assert_eq!(sent["encrypted_content"], "gA", "{body}");
    assert!(sent.get("content").is_none(), "{sent}");
}

/// The folder of the manifest: named by the build where its tests run elsewhere.
fn root() -> PathBuf {
    match env::var_os("TRAPS_ROOT") {
        Some(root) => root.into(),
        None => env!("CARGO_MANIFEST_DIR").into(),
    }
}

/// The text of every Rust file in a folder and those below it. Links to folders are not followed: Bazel leaves some that lead
/// in a circle.
fn texts(folder: &Path, texts: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let path = entry.path();
        if entry.file_type().expect("a kind").is_dir() {
            self::texts(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.push_str(&fs::read_to_string(path).expect("a text"));
        }
    }
}

/// All sources of the library, the command and the tests.
fn sources() -> String {
    let mut sources = String::new();
    for folder in ["src", "tests"] {
        texts(&root().join(folder), &mut sources);
    }
    sources
}

/// The names in a row.
fn names_in(row: &str) -> impl Iterator<Item = &str> {
    row.split('`').skip(1).step_by(2)
}

fn is_there(sources: &str, test: &str) -> bool {
    sources.contains(&format!("fn {test}("))
}

#[test]
fn each_trap_has_a_test_of_the_name_that_the_table_says() {
    let sources = sources();
    let rows = include_str!("traps.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! | "));
    let mut numbers = Vec::new();
    for row in rows {
        let Some((number, _)) = row.split_once(". ") else {
            continue;
        };
        numbers.push(number.parse::<u32>().expect("a number"));
        let (_, tests) = row.split_once(" | ").expect("two columns");
        let tests: Vec<_> = names_in(tests).collect();
        assert_eq!(tests.is_empty(), row.contains("not applicable"), "{row}");
        for test in tests {
            assert!(is_there(&sources, test), "{row}");
        }
    }
    assert_eq!(numbers, (1..=30).collect::<Vec<_>>());
}

#[test]
fn each_promise_of_the_relay_has_a_test_of_the_name_that_its_table_says() {
    let sources = sources();
    let table = fs::read_to_string(root().join("tests/relay/promises.rs")).expect("the table");
    let rows = table.lines().filter_map(|line| line.strip_prefix("//! | "));
    let rows = rows.filter(|row| !row.starts_with("promise |"));
    let (mut held, mut missing) = (0, Vec::new());
    for row in rows {
        let (_, tests) = row.rsplit_once(" | ").expect("two columns");
        let tests: Vec<_> = names_in(tests).filter(|name| is_a_name(name)).collect();
        if row.contains("not a test") || row.contains("not here") {
            println!("{row}");
        } else {
            assert!(!tests.is_empty(), "{row}");
        }
        held += 1;
        missing.extend(tests.into_iter().filter(|test| !is_there(&sources, test)));
    }
    assert_eq!(missing, [""; 0], "no test has this name");
    assert!(held > 80, "{held} rows");
    assert!(!is_there(&sources, &"of_this_name_is_none".repeat(2)));
}

/// Tests are named by sentences; the rest in a row is code.
fn is_a_name(name: &str) -> bool {
    name.matches('_').count() > 1 && !name.contains(['/', '.', ' '])
}
