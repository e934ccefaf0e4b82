//! What belongs to a turn, and how requests of one are sent.

use actix_responses::{
    actors::{Compact, SubmitRequest},
    protocol::{CompactionInput, ResponseItem},
    provider::TurnState,
};
use futures_util::StreamExt;
use serde_json::json;

use crate::support::{
    events::{self, answer, completed, created, delta},
    prompt, provider, start, start_with, steady_retry,
    transport::Exchange,
};

fn sticky(value: &'static str) -> Exchange {
    Exchange::stream(answer()).with_header("x-codex-turn-state", value)
}

fn submit(turn_state: &TurnState) -> SubmitRequest {
    SubmitRequest::new(prompt()).with_turn_state(turn_state.clone())
}

#[actix_rt::test]
async fn turn_state_may_come_as_an_event_of_the_stream() {
    for (kind, event) in [
        (
            "response.metadata",
            json!({"headers": {"X-Codex-Turn-State": ["state", "other"]}}),
        ),
        (
            "response.headers",
            json!({"headers": {"x-codex-turn-state": "state"}}),
        ),
    ] {
        let mut event = event;
        event["type"] = json!(kind);
        let stream = created() + &events::event(event) + &delta("hi") + &completed();
        let (runtime, transport) = start([Exchange::stream(stream), Exchange::stream(answer())]);
        let turn = TurnState::new();
        for _ in 0..2 {
            let stream = runtime.submit(submit(&turn)).await.unwrap();
            stream.collect::<Vec<_>>().await;
        }
        let sent = transport.requests()[1]
            .headers
            .get("x-codex-turn-state")
            .cloned();
        assert_eq!(sent.unwrap(), "state", "{kind}");
    }
}

#[actix_rt::test]
async fn turn_state_is_set_once_and_sent_within_its_turn_alone() {
    let compacted = Exchange::status(200)
        .chunk(r#"{"output":[{"type":"compaction","encrypted_content":"abc"}]}"#);
    let (runtime, transport) = start([
        Exchange::stream(answer()),
        sticky("first"),
        sticky("second"),
        compacted,
        sticky("of another turn"),
        Exchange::stream(answer()),
        Exchange::stream(answer()),
    ]);
    let (turn, next_turn) = (TurnState::new(), TurnState::new());
    for _ in 0..3 {
        runtime
            .submit(submit(&turn))
            .await
            .unwrap()
            .collect::<Vec<_>>()
            .await;
    }
    let input = CompactionInput::new("test-model", vec![ResponseItem::user_text("hi")]);
    let compact = Compact::new(input).with_turn_state(turn.clone());
    runtime.compact(compact).await.unwrap();
    for _ in 0..2 {
        runtime
            .submit(submit(&next_turn))
            .await
            .unwrap()
            .collect::<Vec<_>>()
            .await;
    }
    // A request of no turn.
    runtime
        .stream(prompt())
        .await
        .unwrap()
        .collect::<Vec<_>>()
        .await;

    assert!(turn.is_set());
    let requests = transport.requests();
    let sent = requests.iter().map(|request| {
        let value = request.headers.get("x-codex-turn-state");
        value.map(|value| value.to_str().unwrap())
    });
    assert_eq!(
        sent.collect::<Vec<_>>(),
        [
            None,
            None,
            Some("first"),
            Some("first"),
            None,
            Some("of another turn"),
            None
        ]
    );
    let printed = format!("{turn:?} {:?}", requests[2].headers);
    assert!(!printed.contains("first"), "{printed}");
}

#[actix_rt::test]
async fn turn_state_of_a_failed_attempt_goes_with_the_next() {
    let failed = Exchange::status(503).with_header("x-codex-turn-state", "kept");
    let (runtime, transport) = start_with([failed, sticky("late")], |config| {
        config.retry = steady_retry(2);
    });
    let turn = TurnState::new();
    runtime
        .submit(submit(&turn))
        .await
        .unwrap()
        .collect::<Vec<_>>()
        .await;
    let requests = transport.requests();
    assert!(!requests[0].headers.contains_key("x-codex-turn-state"));
    assert_eq!(requests[1].headers["x-codex-turn-state"], "kept");
}

#[cfg(feature = "zstd")]
#[actix_rt::test]
async fn zstd_bodies_say_what_they_are_and_read_back_the_same() {
    use actix_responses::{provider::RequestCompression, wire::Wire};

    for wire in [Wire::Responses, Wire::Chat] {
        let exchanges = [Exchange::status(500), Exchange::stream(answer())];
        let (plain, uncompressed) = start_with([], |c| {
            provider(c, |p| p.wire = wire);
            c.retry = steady_retry(1);
        });
        crate::support::collect(&plain).await;
        let (runtime, transport) = start_with(exchanges, |config| {
            config.retry = steady_retry(2);
            provider(config, |p| {
                p.wire = wire;
                p.request_compression = RequestCompression::ZSTD;
            });
        });
        crate::support::collect(&runtime).await;
        let requests = transport.requests();
        assert_eq!(requests.len(), 2);
        for request in requests {
            assert_eq!(request.headers["content-encoding"], "zstd");
            assert_eq!(request.headers["content-type"], "application/json");
            let body = zstd::decode_all(&*request.body).unwrap();
            assert_eq!(body, uncompressed.requests()[0].body);
        }
        assert!(
            !uncompressed.requests()[0]
                .headers
                .contains_key("content-encoding")
        );
    }
}

#[cfg(feature = "zstd")]
#[actix_rt::test]
async fn content_encoding_of_the_callers_is_refused_where_bodies_are_compressed() {
    use actix_responses::{ErrorKind, provider::RequestCompression};

    let (runtime, transport) = start_with([], |config| {
        provider(config, |p| p.request_compression = RequestCompression::ZSTD);
    });
    let mut request = SubmitRequest::new(prompt());
    request
        .headers
        .insert("content-encoding", "gzip".parse().unwrap());
    let refused = runtime.submit(request).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::InvalidConfiguration);
    assert!(refused.message().contains("content-encoding"), "{refused}");

    let (of_provider, also_unused) = start_with([], |config| {
        provider(config, |p| {
            p.request_compression = RequestCompression::ZSTD;
            *p = p.clone().with_header("Content-Encoding", "br").unwrap();
        });
    });
    let refused = of_provider.stream(prompt()).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::InvalidConfiguration);
    assert!(transport.requests().is_empty() && also_unused.requests().is_empty());
}

#[actix_rt::test]
async fn provider_may_have_its_own_number_of_attempts() {
    let fails = || (0..9).map(|_| Exchange::status(500));
    let (runtime, transport) = start_with(fails(), |config| {
        config.retry = steady_retry(5);
        provider(config, |p| p.max_attempts = Some(2));
    });
    let events = crate::support::collect(&runtime).await;
    assert_eq!(crate::support::failure(&events).details().max_attempts, 2);
    assert_eq!(transport.requests().len(), 2);
    // The request's own policy goes before.
    let request = SubmitRequest::new(prompt()).with_retry(steady_retry(3));
    runtime
        .submit(request)
        .await
        .unwrap()
        .collect::<Vec<_>>()
        .await;
    assert_eq!(transport.requests().len(), 5);
}
