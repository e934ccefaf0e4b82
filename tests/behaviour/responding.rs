//! Whole answers, for those who want no loop.

use std::time::Duration;

use actix_responses::{ErrorKind, protocol::ResponseItem};
use futures_util::StreamExt;
use serde_json::json;

use crate::support::{events::*, prompt, start, start_with, steady_retry, transport::Exchange};

/// Two calls, and a text that is JSON.
fn answer_with_calls() -> String {
    let call = |place: u32, id: &str, arguments: &str| {
        event(
            json!({"type": "response.output_item.done", "output_index": place, "item":
            {"type": "function_call", "id": id, "call_id": format!("call_{id}"), "name": "weather", "arguments": arguments}}),
        )
    };
    let text = json!({"type": "response.output_item.done", "output_index": 2, "item": {"type": "message", "id": "msg_1",
        "role": "assistant", "content": [{"type": "output_text", "text": "{\"degrees\":21}"}]}});
    [
        created(),
        call(0, "a", r#"{"city":"Bern"}"#),
        call(1, "b", "{}"),
        event(text),
        completed(),
    ]
    .concat()
}

#[derive(Debug, PartialEq, serde::Deserialize)]
struct Weather {
    degrees: i32,
}

#[actix_rt::test]
async fn an_answer_is_waited_for_and_taken_apart() {
    let exchange = Exchange::stream(answer_with_calls())
        .with_header("x-request-id", "req_7")
        .with_header("openai-model", "gpt-test")
        .with_header("x-ratelimit-remaining-requests", "9");
    let (runtime, _) = start([exchange]);
    let response = runtime.respond(prompt()).await.unwrap();
    assert!(response.is_complete());
    assert_eq!(response.incomplete_reason(), None);
    assert_eq!(response.parse::<Weather>(), Ok(Weather { degrees: 21 }));
    assert_eq!(response.token_usage().unwrap().total_tokens, 5);
    assert_eq!(response.response_id(), Some("resp_1"));
    assert_eq!(response.request_id(), Some("req_7"));
    assert_eq!(response.model(), Some("gpt-test"));
    let requests = response.rate_limits().unwrap().requests.as_ref().unwrap();
    assert_eq!(requests.remaining, Some(9));
    let calls = response.function_calls();
    let ids: Vec<_> = calls.iter().map(|call| &*call.call_id).collect();
    assert_eq!(ids, ["call_a", "call_b"]);
    let items = response.items();
    assert_eq!(items.len(), 3);
    assert!(matches!(items[2], ResponseItem::Message(_)));
    let error = response.parse::<Vec<u8>>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOutput);
    let said = error.partial_response().map(|partial| partial.text());
    assert_eq!(said.as_deref(), Some(r#"{"degrees":21}"#));
    assert_eq!(error.details().request_id.as_deref(), Some("req_7"));
}

#[actix_rt::test]
async fn half_an_answer_is_an_answer_but_no_whole_one() {
    let half = || {
        Exchange::stream(
            created() + &item_added() + &delta("ha") + &incomplete("max_output_tokens"),
        )
    };
    let (runtime, _) = start([half(), half()]);
    let response = runtime.respond(prompt()).await.unwrap();
    assert_eq!(response.text(), "ha");
    assert_eq!(response.incomplete_reason(), Some("max_output_tokens"));
    let mut texts = Vec::new();
    for error in [
        response.parse::<Weather>().unwrap_err(),
        response.completed().unwrap_err(),
        runtime
            .stream(prompt())
            .await
            .unwrap()
            .text()
            .await
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Incomplete);
        assert!(error.message().contains("max_output_tokens"), "{error}");
        texts.push(error.partial_response().map(|partial| partial.text()));
    }
    let half = Some("ha".to_owned());
    assert_eq!(texts, [half.clone(), half.clone(), half]);
}

#[actix_rt::test]
async fn what_ends_badly_is_an_error_of_its_kind() {
    let refusal = json!({"type": "response.output_item.done", "item": {"type": "message", "id": "m", "role": "assistant",
        "content": [{"type": "refusal", "refusal": "I can't"}]}});
    let exchanges = [
        Exchange::status(400),
        Exchange::stream(created() + &item_added() + &delta("a")),
        Exchange::stream(created() + &event(refusal) + &completed()),
        Exchange::stream(created()).held_open(),
    ];
    let (runtime, transport) = start_with(exchanges, |config| config.retry = steady_retry(1));
    let error = runtime.respond(prompt()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    let error = runtime.respond(prompt()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated);
    let partial = error.partial_response().expect("what had come");
    assert_eq!(
        (partial.text().as_str(), partial.open_items().len()),
        ("a", 1)
    );
    assert!(partial.head().is_some() && partial.end().is_some());
    let refused = runtime.respond(prompt()).await.unwrap();
    let error = refused.parse::<Weather>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContentPolicy);
    assert!(error.message().contains("I can't"), "{error}");
    // Whoever waits no longer cancels it.
    let waiting = tokio::time::timeout(Duration::from_secs(1), runtime.respond(prompt()));
    waiting.await.unwrap_err();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(transport.open_requests(), 0);
}

#[actix_rt::test]
async fn a_cancelled_request_has_no_answer() {
    let (runtime, _) =
        start([Exchange::stream(created() + &item_added() + &delta("a")).held_open()]);
    let mut stream = runtime.stream(prompt()).await.unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    let request = stream.request();
    assert!(format!("{stream:?} {runtime:?}").contains(&format!("{request:?}")));
    let (error, cancelled) = tokio::join!(stream.text(), runtime.cancel(request));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(cancelled);
}

#[actix_rt::test]
async fn an_answer_that_fails_halfway_keeps_its_part_and_its_usage() {
    let failed = event(
        json!({"type": "response.failed", "response": {"id": "resp_1", "status": "failed",
        "error": {"code": "invalid_prompt", "message": "no"}, "usage": {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4}}}),
    );
    let (runtime, _) = start([Exchange::stream(
        created() + &item_added() + &delta("half") + &failed,
    )]);
    let error = runtime.respond(prompt()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    // A clone shares it.
    let error = error.clone();
    let partial = error.partial_response().expect("what had come");
    assert_eq!(partial.text(), "half");
    let usage = partial.token_usage().expect("a usage");
    assert_eq!(
        (usage.total_tokens, Some(usage)),
        (4, error.details().token_usage)
    );
    assert!(!serde_json::to_string(&error).unwrap().contains("half"));
    let (runtime, _) =
        start([Exchange::stream(created() + &item_added() + &delta("a")).held_open()]);
    let stream = runtime.stream(prompt()).await.unwrap();
    let request = stream.request();
    let (error, _) = tokio::join!(stream.accumulate(), runtime.cancel(request));
    assert!(error.unwrap_err().partial_response().is_some());
}
