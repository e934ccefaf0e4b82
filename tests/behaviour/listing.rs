//! Which models there are: one question, one answer.

use std::time::Duration;

use actix_responses::{ErrorKind, Runtime, actors::ListModels, loopback::Loopback, wire::Wire};
use http::Method;
use tokio::time::Instant;

use crate::support::{
    assert_elapsed, provider, settle, start, start_with, steady_retry, transport::Exchange,
};

const MODELS: &str = r#"{"object":"list","etag":"body","data":[
    {"id":"big","object":"model","created":1700000000,"owned_by":"us","context":8192},{"id":"small"}]}"#;

fn json(body: &'static str) -> Exchange {
    Exchange::status(200)
        .with_header("content-type", "application/json")
        .chunk(body)
}

#[actix_rt::test]
async fn models_are_asked_for_and_come_with_their_etag() {
    for wire in [Wire::Responses, Wire::Chat] {
        let answer = json(MODELS).with_header("etag", "\"7\"");
        let (runtime, transport) = start_with([answer, json(MODELS)], |config| {
            provider(config, |p| p.wire = wire);
        });
        let list = runtime.models().await.unwrap();
        assert_eq!(list.etag.as_deref(), Some("\"7\""));
        let [big, small] = &list.models[..] else {
            panic!("{list:?}");
        };
        assert_eq!((&*big.id, big.created), ("big", Some(1_700_000_000)));
        assert_eq!(big.owned_by.as_deref(), Some("us"));
        assert_eq!(big.raw.to_value()["context"], 8192);
        assert_eq!((&*small.id, small.created), ("small", None));
        let list = runtime.models().await.unwrap();
        assert_eq!(list.etag.as_deref(), Some("body"));

        let request = &transport.requests()[0];
        assert_eq!(request.method, Method::GET);
        assert_eq!(request.url.as_str(), "http://scripted.test/v1/models");
        assert_eq!(request.headers["accept"], "application/json");
        assert!(!request.headers.contains_key("content-type"));
        assert!(request.body.is_empty());
    }
}

#[actix_rt::test]
async fn listing_fails_and_is_retried_like_everything_else() {
    let (runtime, transport) = start_with(
        [Exchange::status(503), json(&MODELS[..30]), json(MODELS)],
        |c| {
            c.retry = steady_retry(5);
        },
    );
    let before = Instant::now();
    assert_eq!(runtime.models().await.unwrap().models.len(), 2);
    assert_elapsed(before, Duration::from_millis(300));
    assert_eq!(transport.requests().len(), 3);

    for (exchange, kind) in [
        (Exchange::status(404), ErrorKind::NotFound),
        (json("{}"), ErrorKind::Protocol),
        (json("<html>"), ErrorKind::Protocol),
        (
            json("data: {\"error\":{\"code\":\"invalid_api_key\"}}\n\n"),
            ErrorKind::Authentication,
        ),
        (
            json(r#"{"data":[],"error":{"code":"invalid_api_key"}}"#),
            ErrorKind::Authentication,
        ),
        (
            json(r#"{"error":{"code":"insufficient_quota","message":"no"}}"#),
            ErrorKind::QuotaExceeded,
        ),
    ] {
        let (runtime, transport) = start([exchange]);
        let error = runtime.models().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.details().attempt, 1);
        assert_eq!(transport.requests().len(), 1);
    }
}

#[actix_rt::test]
async fn dropping_the_future_of_a_listing_closes_the_connection() {
    let (runtime, transport) = start([Exchange::silence()]);
    let listing = {
        let runtime = runtime.clone();
        actix_rt::spawn(async move { runtime.list_models(ListModels::new()).await })
    };
    settle().await;
    assert_eq!(transport.open_requests(), 1);
    listing.abort();
    settle().await;
    assert_eq!(transport.open_requests(), 0);
}

#[actix_rt::test]
async fn shutdown_answers_a_listing_that_waits() {
    let (runtime, transport) = start([Exchange::silence()]);
    let listing = {
        let runtime = runtime.clone();
        actix_rt::spawn(async move { runtime.models().await })
    };
    settle().await;
    runtime.shutdown(Duration::from_secs(1)).await;
    let error = listing.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShutDown);
    assert_eq!(transport.open_requests(), 0);
}

#[actix_rt::test]
async fn a_list_that_has_not_changed_is_not_sent_again() {
    let unchanged = || Exchange::status(304).with_header("etag", "\"7\"");
    for (name, value) in [
        ("if-none-match", "\"7\""),
        ("if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT"),
    ] {
        let (runtime, transport) = start([unchanged()]);
        let mut list = ListModels::new();
        list.headers.insert(name, value.parse().unwrap());
        let list = runtime.list_models(list).await.unwrap();
        assert!(list.not_modified);
        assert_eq!(
            (list.models.len(), list.etag.as_deref()),
            (0, Some("\"7\""))
        );
        assert_eq!(transport.requests()[0].headers[name], value);
    }
    // It is no answer to those who have no list.
    let (runtime, transport) = start([unchanged()]);
    let error = runtime.models().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedStatus);
    assert!(error.message().contains("nothing has changed"), "{error}");
    assert_eq!(error.details().status, Some(304));
    assert_eq!(transport.requests().len(), 1);
}

#[actix_rt::test]
async fn embedded_provider_has_models() {
    let loopback = Loopback::start(Default::default()).unwrap();
    let provider = actix_responses::provider::Provider::new("l", &loopback.base_url()).unwrap();
    let runtime = Runtime::start(provider).unwrap();
    let list = runtime.models().await.unwrap();
    assert_eq!(list.models.len(), 2);
    assert!(!list.not_modified);
    let mut again = ListModels::new();
    let etag = list.etag.expect("an etag").parse().unwrap();
    again.headers.insert("if-none-match", etag);
    let list = runtime.list_models(again).await.unwrap();
    assert!(list.not_modified && list.etag.is_some());
}
