//! When a connection serves another request, and when it is replaced.

use std::time::Duration;

use actix_responses::{
    actors::SubmitRequest,
    protocol::ResponseEvent,
    provider::{BearerAuth, Provider, StreamTransport},
};
use futures_util::StreamExt;
use serde_json::json;

use super::{COMPLETED, delta, over_socket};
use crate::{
    asking::start_with,
    support::{end_of, prompt, serve, url, websocket::Peer, within},
};

#[actix_rt::test]
async fn a_connection_serves_one_request_after_the_other() {
    let (address, asked) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        let mut count = 0;
        while let Some(message) = peer.message() {
            assert_eq!(message["type"], "response.create");
            count += 1;
            // What comes behind the end is the next answer's.
            peer.send(COMPLETED);
            peer.send(r#"{"type":"responsesapi.websocket_timing"}"#);
        }
        count
    });
    let runtime = over_socket(address);
    for _ in 0..3 {
        let end = end_of(&runtime, prompt()).await;
        assert!(matches!(end, Ok(ResponseEvent::Completed(_))), "{end:?}");
    }
    drop(runtime);
    assert_eq!(within(asked).await, Ok(3));
}

#[actix_rt::test]
async fn requests_at_the_same_time_and_other_keys_have_connections_of_their_own() {
    let (address, asked) = serve(|listener| {
        let mut peers = [(); 2].map(|()| Peer::accept(&listener));
        let mut messages = peers
            .each_mut()
            .map(|peer| peer.message().expect("a request"));
        for peer in peers.each_mut() {
            peer.send(COMPLETED);
        }
        let other = Peer::accept(&listener).head;
        messages.sort_by_key(ToString::to_string);
        (messages.map(|message| message["model"].clone()), other)
    });
    let runtime = over_socket(address);
    let [first, second] = ["a", "b"].map(|model| end_of(&runtime, prompt().with_model(model)));
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    let provider = Provider::new("other", &url(address)).expect("a URL");
    let provider = provider
        .with_auth(BearerAuth::new("other").expect("a key"))
        .with_stream_transport(StreamTransport::WebSocket);
    let request = SubmitRequest::new(prompt()).with_provider(provider.into());
    let submitted = within(runtime.submit(request)).await;
    assert!(submitted.is_ok());
    let (models, other) = within(asked).await.expect("a script");
    assert_eq!(models, ["a", "b"]);
    assert!(other.contains("authorization: Bearer other"), "{other}");
}

#[actix_rt::test]
async fn a_connection_of_age_is_replaced_without_an_attempt() {
    let (address, asked) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        peer.message().expect("a request");
        peer.send(COMPLETED);
        peer.message().expect("a request");
        peer.send(r#"{"type":"error","status":400,"error":{"code":"websocket_connection_limit_reached","type":"invalid_request_error","message":"60 minutes"}}"#);
        let mut peer = Peer::accept(&listener);
        peer.message().expect("a request");
        // In the middle, before any output.
        peer.send(r#"{"type":"response.created","response":{"id":"r"}}"#);
        peer.send(r#"{"type":"error","status":400,"error":{"code":"websocket_connection_limit_reached","type":"invalid_request_error","message":"60 minutes"}}"#);
        let mut peer = Peer::accept(&listener);
        peer.message().expect("a request");
        peer.send(COMPLETED);
    });
    let runtime = start_with(&url(address), |provider, attempts| {
        provider.stream_transport = StreamTransport::WebSocket;
        *attempts = 2;
    });
    for _ in 0..2 {
        let end = end_of(&runtime, prompt()).await;
        assert!(matches!(end, Ok(ResponseEvent::Completed(_))), "{end:?}");
    }
    assert!(within(asked).await.is_ok());
}

#[actix_rt::test]
async fn a_dead_connection_is_replaced_where_that_is_safe() {
    for (attempts, is_replaced) in [(2, true), (1, false)] {
        let (address, _) = serve(move |listener| {
            let mut peer = Peer::accept(&listener);
            peer.message().expect("a request");
            peer.send(COMPLETED);
            peer.message().expect("a request");
            drop(peer);
            let mut peer = Peer::accept(&listener);
            peer.message().expect("a request");
            peer.send(COMPLETED);
        });
        let runtime = start_with(&url(address), |provider, max_attempts| {
            provider.stream_transport = StreamTransport::WebSocket;
            *max_attempts = attempts;
        });
        assert!(end_of(&runtime, prompt()).await.is_ok());
        let end = end_of(&runtime, prompt()).await;
        assert_eq!(end.is_ok(), is_replaced, "{end:?}");
    }
}

#[actix_rt::test]
async fn cancelling_is_told_and_keeps_the_connection_if_the_answer_ends() {
    for obeys in [true, false] {
        let (address, asked) = serve(move |listener| {
            let mut peer = Peer::accept(&listener);
            peer.message().expect("a request");
            peer.send(&delta("some"));
            assert_eq!(peer.message(), Some(json!({"type": "response.cancel"})));
            peer.send(&delta("more"));
            if obeys {
                peer.send(r#"{"type":"response.incomplete","response":{"id":"r"}}"#);
                peer.message().expect("a request");
                peer.send(COMPLETED);
            } else {
                assert_eq!(peer.message(), None);
            }
        });
        let runtime = over_socket(address);
        let mut stream = within(runtime.stream(prompt())).await.expect("a request");
        while !matches!(
            within(stream.next()).await,
            Some(Ok(ResponseEvent::OutputTextDelta(_)))
        ) {}
        drop(stream);
        if obeys {
            // The cancelling takes a moment, in which another request would open a connection of its own.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let end = end_of(&runtime, prompt()).await;
            assert!(matches!(end, Ok(ResponseEvent::Completed(_))), "{end:?}");
        }
        assert!(within(asked).await.is_ok());
    }
}
