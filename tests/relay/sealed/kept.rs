//! What a server keeps of an answer, asked for through the relay.

use std::time::Duration;

use actix_responses::{
    loopback::{LoopbackOptions, Reply},
    provider::Provider,
    relay::{RelayConfig, Route, RouteTable, Target},
    wire::Wire,
};
use http::StatusCode;
use serde_json::{Value, json};

use super::{answer, asked, down, keyed, last, provider, relay_of, said, server};
use crate::support::{RunningRelay, header, post};

#[actix_rt::test]
async fn an_answer_in_the_background_is_passed_on_to_a_server_that_has_them_and_a_400_over_chat() {
    let begun = json!({"id": "resp_1", "object": "response", "status": "queued", "background": true, "output": []});
    let created = json!({"type": "response.created", "sequence_number": 0, "response": begun});
    let done = json!({"type": "response.completed", "sequence_number": 1, "response": {"id": "resp_1", "status": "completed", "output": []}});
    let upstream = server([Reply::sse(format!("data: {created}\n\ndata: {done}\n\n"))]);
    let other = server([]);
    let table = vec![
        Route::new("m", Target::new(provider("p", &upstream))),
        Route::new(
            "chat",
            Target::new(provider("c", &other).with_wire(Wire::Chat)),
        ),
    ];
    let relay = relay_of(upstream, table);
    let body = json!({"model": "m", "input": "a", "background": true});
    let (status, _, answer) = asked(&relay, &body).await;
    assert_eq!((status, answer), (200, begun));
    let sent = last(&relay.upstream).json().unwrap();
    assert_eq!(
        (&sent["background"], &sent["stream"]),
        (&json!(true), &json!(true))
    );
    let body = json!({"model": "chat", "input": "a", "background": true});
    let (status, _, error) = asked(&relay, &body).await;
    assert_eq!(
        (status, &error["error"]["param"]),
        (400, &json!("background"))
    );
    assert_eq!(other.request_count(), 0);
}

/// What a client asks of an id.
async fn about(
    relay: &RunningRelay,
    method: &str,
    path: &str,
    more: &str,
) -> (u16, String, String) {
    let address = relay.address;
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n{more}connection: close\r\n\r\n");
    relay.exchange(&request).await
}

#[actix_rt::test]
async fn an_unknown_id_is_passed_on_with_the_clients_own_key_to_the_one_server_that_could_know_it()
{
    let object = json!({"id": "resp_old", "object": "response", "status": "completed"});
    let no = json!({"error": {"message": "no", "type": "invalid_request_error"}});
    let replies = [
        Reply::json(object.clone()).with_header("x-request-id", "req_1"),
        Reply::json(object.clone()),
        Reply::json(json!({"deleted": true})),
        Reply::json(json!({"object": "list", "data": []})),
        Reply::sse("data: {\"type\":\"response.completed\",\"sequence_number\":4}\n\n"),
        Reply::json(no.clone()).with_status(StatusCode::NOT_FOUND),
    ];
    let upstream = server(replies.map(|reply| reply.with_path("/responses/")));
    let relay = relay_of(
        upstream,
        vec![
            Route::new(
                "chat",
                Target::new(
                    Provider::new("chat", "http://127.0.0.1:9")
                        .unwrap()
                        .with_wire(Wire::Chat),
                ),
            ),
            Route::new(
                "*",
                Target::new(Provider::new("p", "http://127.0.0.1:9").unwrap()),
            ),
        ],
    );
    // The address is known now.
    let provider = provider("p", &relay.upstream);
    relay.relay.set_routes(RouteTable::single(provider));
    let mine = "authorization: Bearer mine\r\ncookie: c\r\n";
    for (method, path, asked) in [
        (
            "GET",
            "/v1/responses/resp_old?include[]=a%20b",
            "/v1/responses/resp_old?include%5B%5D=a%20b",
        ),
        (
            "POST",
            "/responses/resp_old/cancel/",
            "/v1/responses/resp_old/cancel",
        ),
        ("DELETE", "/v1/responses/resp_old", "/v1/responses/resp_old"),
        (
            "GET",
            "/v1/responses/resp_old/input_items?limit=2",
            "/v1/responses/resp_old/input_items?limit=2",
        ),
        (
            "GET",
            "/v1/responses/resp_old?stream=true&starting_after=3",
            "/v1/responses/resp_old?stream=true&starting_after=3",
        ),
    ] {
        let (status, head, body) = about(&relay, method, path, mine).await;
        assert_eq!(status, 200, "{path}: {body}");
        let sent = last(&relay.upstream);
        let query = sent
            .query
            .as_ref()
            .map_or(String::new(), |query| format!("?{query}"));
        assert_eq!(
            (sent.method.as_str(), format!("{}{query}", sent.path)),
            (method, asked.to_owned())
        );
        assert_eq!(sent.headers["authorization"], "Bearer mine");
        assert!(!sent.headers.contains_key("cookie"));
        if path.contains("include") {
            assert_eq!(header(&head, "x-request-id"), Some("req_1"));
            assert!(body.contains(&object.to_string()), "{body}");
        }
        if path.contains("stream") {
            assert!(
                head.contains("text/event-stream") && body.contains("response.completed"),
                "{body}"
            );
        }
    }
    let (status, _, body) = about(&relay, "GET", "/v1/responses/resp_no", mine).await;
    assert!(status == 404 && body.contains(&no.to_string()), "{body}");
    let asked = relay.upstream.request_count();
    // Without a key of its own a client has none that says whose an id is. What is no id goes nowhere.
    for (path, more) in [
        ("/v1/responses/resp_old", ""),
        ("/v1/responses/a%2fb", mine),
        ("/v1/responses/%2e%2e", mine),
    ] {
        let (status, ..) = about(&relay, "GET", path, more).await;
        assert_eq!(status, 404, "{path}");
    }
    // Of two servers either could know it.
    let other = Provider::new("other", "http://127.0.0.1:9").unwrap();
    let both = Route::new("*", Target::new(self::provider("p", &relay.upstream)))
        .with_fallback(Target::new(other));
    relay.relay.set_routes(RouteTable::new(vec![both]));
    let (status, ..) = about(&relay, "GET", "/v1/responses/resp_old", mine).await;
    assert_eq!((status, relay.upstream.request_count()), (404, asked));
}

#[actix_rt::test]
async fn with_the_relays_key_an_unknown_id_is_a_404_and_never_passed_on() {
    let upstream = server([answer("resp_1", &[])]);
    let provider = keyed("p", &upstream, "sk-of-the-relay");
    let relay = relay_of(upstream, vec![Route::new("*", Target::new(provider))]);
    let body = json!({"model": "m", "input": "a"}).to_string();
    post(
        &relay,
        "/v1/responses",
        "authorization: Bearer ada\r\n",
        &body,
    )
    .await;
    let bob = "authorization: Bearer bob\r\n";
    for (method, below) in [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("GET", "/input_items"),
    ] {
        let path = format!("/v1/responses/resp_1{below}");
        let (status, _, body) = about(&relay, method, &path, bob).await;
        assert!(
            status == 404 && body.contains("Response with id 'resp_1' not found."),
            "{path}: {body}"
        );
    }
    assert_eq!(relay.upstream.request_count(), 1);
}

#[actix_rt::test]
async fn what_is_deleted_or_cancelled_here_is_so_at_the_server_that_keeps_it() {
    let slow = LoopbackOptions::default().with_pace(Duration::from_millis(50));
    let relay = RunningRelay::with(slow, RelayConfig::default()).await;
    let mine = "authorization: Bearer mine\r\n";
    let (_, _, object) = post(
        &relay,
        "/v1/responses",
        mine,
        &json!({"model": "m", "input": "a"}).to_string(),
    )
    .await;
    let object: Value = serde_json::from_str(&object).unwrap();
    let path = format!("/v1/responses/{}", object["id"].as_str().unwrap());
    let (status, _, body) = about(&relay, "DELETE", &path, mine).await;
    assert_eq!(status, 200, "{body}");
    let sent = last(&relay.upstream);
    assert_eq!((sent.method.as_str(), &*sent.path), ("DELETE", &*path));
    assert_eq!(about(&relay, "GET", &path, mine).await.0, 404);

    let body = json!({"model": "m", "input": "a", "background": true});
    let (_, _, object) = post(&relay, "/v1/responses", mine, &body.to_string()).await;
    let object: Value = serde_json::from_str(&object).unwrap();
    let path = format!("/v1/responses/{}/cancel", object["id"].as_str().unwrap());
    let (status, _, body) = about(&relay, "POST", &path, mine).await;
    assert_eq!(status, 200, "{body}");
    let sent = last(&relay.upstream);
    assert_eq!((sent.method.as_str(), &*sent.path), ("POST", &*path));
}

#[actix_rt::test]
async fn what_the_relays_key_made_is_deleted_with_it() {
    let upstream = server([
        answer("resp_1", &[said("msg_1")]),
        Reply::json(json!({"deleted": true})).with_path("/responses/resp_1"),
    ]);
    let target = Target::new(keyed("p", &upstream, "ours"));
    let relay = relay_of(upstream, vec![Route::new("*", target)]);
    let body = json!({"model": "m", "input": "a"}).to_string();
    let theirs = "authorization: Bearer theirs\r\n";
    assert_eq!(post(&relay, "/v1/responses", theirs, &body).await.0, 200);
    let path = "/v1/responses/resp_1";
    assert_eq!(about(&relay, "DELETE", path, theirs).await.0, 200);
    let sent = last(&relay.upstream);
    assert_eq!((sent.method.as_str(), &*sent.path), ("DELETE", path));
    assert_eq!(sent.headers["authorization"], "Bearer ours");
    assert_eq!(about(&relay, "GET", path, theirs).await.0, 404);
}

#[actix_rt::test]
async fn an_answer_that_its_server_does_not_delete_stays() {
    let upstream = server([
        answer("resp_1", &[said("msg_1")]),
        down().with_path("/responses/resp_1"),
    ]);
    let routes = vec![Route::new("*", Target::new(provider("p", &upstream)))];
    let relay = relay_of(upstream, routes);
    let mine = "authorization: Bearer mine\r\n";
    let body = json!({"model": "m", "input": "a"}).to_string();
    assert_eq!(post(&relay, "/v1/responses", mine, &body).await.0, 200);
    let path = "/v1/responses/resp_1";
    assert_eq!(about(&relay, "DELETE", path, mine).await.0, 502);
    assert_eq!(about(&relay, "GET", path, mine).await.0, 200);
}
