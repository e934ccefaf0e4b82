//! One client's answers are nobody else's: neither to read, nor to go on with, nor to stop.

use std::fs;

use actix_responses::{
    Runtime,
    loopback::{Loopback, LoopbackOptions, Reply, Script},
    provider::Provider,
    relay::{Relay, RelayConfig, RouteTable, Tokens},
    wire::Wire,
};
use serde_json::{Value, json};

use crate::support::{RunningRelay, header, post};

/// Two clients: hunter2 and hunter3.
const TOKENS: &str = "ada f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7\n\
                      bob fb8c2e2b85ca81eb4350199faddd983cb26af3064614e737ea9f479621cfa57a\n";

const ADA: &str = "authorization: Bearer hunter2\r\n";
const BOB: &str = "authorization: Bearer hunter3\r\n";

pub(crate) fn tokens(name: &str, text: &str) -> Tokens {
    let name = format!("actix-responses-{name}-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    fs::write(&path, text).expect("a file");
    let tokens = Tokens::from_file(&path).expect("tokens");
    fs::remove_file(&path).expect("the file");
    tokens
}

async fn relay(script: Script, wire: Wire) -> RunningRelay {
    let options = LoopbackOptions::default().with_script(script);
    let upstream = Loopback::start(options).expect("an upstream");
    let provider = Provider::new("server", &upstream.base_url()).expect("a provider");
    let provider = provider.with_wire(wire);
    let runtime = Runtime::start(provider.clone()).expect("a runtime");
    let routes = RouteTable::single(provider);
    let relay = Relay::new(runtime, routes, RelayConfig::default());
    RunningRelay::serving(upstream, relay)
}

/// An answer that goes on, and then default ones.
fn running() -> Script {
    let event = |event: Value| format!("data: {event}\n\n");
    let created = event(
        json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_running", "status": "in_progress"}}),
    );
    let delta = event(
        json!({"type": "response.output_text.delta", "sequence_number": 1, "output_index": 0, "item_id": "m",
        "content_index": 0, "delta": "of-ada"}),
    );
    Script::new([Reply::sse(created + &delta).stall_after_events(2)])
}

async fn ask(relay: &RunningRelay, method: &str, path: &str, who: &str) -> (u16, String) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {}\r\n{who}content-length: 0\r\nconnection: close\r\n\r\n",
        relay.address
    );
    let (status, _, body) = relay.exchange(&request).await;
    (status, body)
}

#[actix_rt::test]
async fn another_client_can_not_read_go_on_with_or_stop_an_answer() {
    for has_tokens in [true, false] {
        let relay = relay(running(), Wire::Responses).await;
        if has_tokens {
            relay.relay.set_tokens(Some(tokens("owners", TOKENS)));
        }
        // One that runs, and one that has ended.
        let background =
            json!({"model": "demo", "input": "of-ada", "background": true}).to_string();
        let (status, head, body) = post(&relay, "/v1/responses", ADA, &background).await;
        assert_eq!(status, 200, "{body}");
        let running = header(&head, "x-relay-stream").expect("an id").to_owned();
        let whole = json!({"model": "demo", "input": "of-ada"}).to_string();
        let (status, head, body) = post(&relay, "/v1/responses", ADA, &whole).await;
        assert_eq!(status, 200, "{body}");
        let ended = header(&head, "x-relay-stream").expect("an id").to_owned();
        let object: Value = serde_json::from_str(&body).expect("an object");
        let ended_there = object["id"].as_str().expect("an id").to_owned();
        let asked = relay.upstream.request_count();
        for id in [&*running, "resp_running", &*ended, &*ended_there] {
            for (method, path) in [
                ("GET", format!("/v1/responses/{id}")),
                ("HEAD", format!("/v1/responses/{id}")),
                ("GET", format!("/v1/responses/{id}?stream=true")),
                (
                    "GET",
                    format!("/v1/responses/{id}?stream=true&starting_after=0"),
                ),
                ("GET", format!("/v1/responses/{id}/input_items")),
                // As the page stops one.
                ("POST", format!("/v1/responses/{id}/cancel")),
                ("DELETE", format!("/v1/responses/{id}")),
            ] {
                let nobody = if has_tokens { 401 } else { 404 };
                for (who, status) in [(BOB, 404), ("", nobody), ("x-api-key: hunter4\r\n", nobody)]
                {
                    let (got, body) = ask(&relay, method, &path, who).await;
                    assert_eq!(got, status, "{method} {path} {who}: {body}");
                    assert!(!body.contains("of-ada"), "{body}");
                }
            }
        }
        let (_, list) = ask(&relay, "GET", "/streams", BOB).await;
        let list: Value = serde_json::from_str(&list).expect("JSON");
        assert_eq!((&list["total"], &list["data"]), (&json!(0), &json!([])));
        // A server may know more of a client that shows it its own key, and nobody asks it with another's.
        let passed = relay.upstream.requests().split_off(asked as usize);
        assert!(!has_tokens || passed.is_empty(), "{passed:?}");
        let keys = passed
            .iter()
            .map(|request| request.headers.get("authorization"));
        assert!(keys.flatten().all(|key| key == "Bearer hunter3"));
        let asked = relay.upstream.request_count();
        // A token says nothing to the server, which would go on with anybody's; a key of the server's own does.
        let previous =
            json!({"model": "demo", "input": "more", "previous_response_id": ended_there})
                .to_string();
        let id = &object["output"][0]["id"];
        let refers = |item: &str| {
            format!(
                r#"{{"model":"demo","input":[{}]}}"#,
                item.replace("ID", &id.to_string())
            )
        };
        let item = refers(r#"{"type":"item_reference","id":ID}"#);
        // What OpenAI's API takes for the same.
        let (untyped, null, twice, late) = (
            refers(r#"{"id":ID}"#),
            refers(r#"{"type":null,"id":ID}"#),
            refers(r#"{"type":"item_reference","id":"other","id":ID}"#),
            refers(
                r#"{"type":"message","role":"user","content":"a","type":"item_reference","id":ID}"#,
            ),
        );
        let conversation = |form: Value| {
            json!({"model": "demo", "input": "more", "conversation": form}).to_string()
        };
        let (text, inner) = (
            conversation(json!("conv_1")),
            conversation(json!({"id": "conv_1"})),
        );
        for (body, refused, word) in [
            (&previous, 400, "previous_response_not_found"),
            (&item, 404, "Item with id"),
            (&untyped, 404, "Item with id"),
            (&null, 404, "Item with id"),
            (&twice, 404, "Item with id"),
            (&late, 404, "Item with id"),
            (&text, 404, "Conversation with id 'conv_1' not found."),
            (&inner, 404, "Conversation with id 'conv_1' not found."),
        ] {
            let (status, _, answer) = post(&relay, "/v1/responses", BOB, body).await;
            let passed = relay.upstream.requests();
            match has_tokens {
                true => {
                    assert_eq!(status, refused, "{answer}");
                    assert!(answer.contains(word), "{answer}");
                    assert_eq!(passed.len() as u64, asked);
                }
                false => {
                    let last = passed.last().expect("a request");
                    assert_eq!(last.headers["authorization"], "Bearer hunter3");
                }
            }
        }
        // All of it is there for its owner.
        let (status, body) = ask(
            &relay,
            "GET",
            &format!("/v1/responses/{running}/input_items"),
            ADA,
        )
        .await;
        assert!(status == 200 && body.contains("of-ada"), "{status} {body}");
        let (_, list) = ask(&relay, "GET", "/streams", ADA).await;
        let list: Value = serde_json::from_str(&list).expect("JSON");
        assert_eq!(list["total"], 2, "{list}");
        assert_eq!(post(&relay, "/v1/responses", ADA, &previous).await.0, 200);
        for own in [&item, &untyped] {
            assert_eq!(post(&relay, "/v1/responses", ADA, own).await.0, 200);
        }
        let stop = format!("/v1/responses/{running}/cancel");
        assert_eq!(ask(&relay, "POST", &stop, ADA).await.0, 200);
        let removed = format!("/v1/responses/{ended}");
        assert_eq!(ask(&relay, "DELETE", &removed, ADA).await.0, 200);
    }
}

/// What the relay itself keeps for a server that keeps nothing.
#[actix_rt::test]
async fn a_conversation_over_a_chat_server_is_its_clients_alone() {
    for has_tokens in [true, false] {
        let relay = relay(Script::default(), Wire::Chat).await;
        if has_tokens {
            relay
                .relay
                .set_tokens(Some(tokens("conversations", TOKENS)));
        }
        let whole = json!({"model": "demo", "input": "of-ada"}).to_string();
        let (status, _, body) = post(&relay, "/v1/responses", ADA, &whole).await;
        assert_eq!(status, 200, "{body}");
        let object: Value = serde_json::from_str(&body).expect("an object");
        let previous =
            json!({"model": "demo", "input": "more", "previous_response_id": object["id"]})
                .to_string();
        let (status, _, body) = post(&relay, "/v1/responses", BOB, &previous).await;
        assert_eq!(status, 400, "{body}");
        assert!(body.contains("previous_response_not_found"), "{body}");
        assert_eq!(relay.upstream.request_count(), 1);
        let (status, _, body) = post(&relay, "/v1/responses", ADA, &previous).await;
        assert_eq!(status, 200, "{body}");
        let sent = relay.upstream.requests();
        let last = sent.last().expect("a request");
        assert!(String::from_utf8_lossy(&last.body).contains("of-ada"));
    }
}
