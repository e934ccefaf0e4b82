//! What it says by itself, and that it can be read again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_responses::loopback::{
    DefaultAnswer, Loopback, LoopbackOptions, Reply, Script, sse_text,
};
use serde_json::{Value, json};

use super::{
    client::{Client, End},
    support::{PATIENCE, provider},
};

#[test]
fn a_prompt_to_responses_gets_a_whole_and_well_formed_stream() {
    let loopback = provider(Script::default());
    let request = json!({"model": "some-model", "input": "hello", "stream": true});
    let answer = Client::posting(&loopback, "/v1/responses", &request).answer();
    assert_eq!(answer.status, 200);
    assert!(
        answer.head.contains("\r\ncontent-type: text/event-stream"),
        "{}",
        answer.head
    );
    assert!(
        answer.head.contains("\r\nx-request-id: req_loopback_1\r\n"),
        "{}",
        answer.head
    );
    assert!(
        answer.head.contains("\r\nopenai-processing-ms: "),
        "{}",
        answer.head
    );

    let blocks: Vec<_> = answer.body.split_terminator("\n\n").collect();
    for (number, block) in blocks.iter().enumerate() {
        let (event, data) = block
            .split_once("\ndata: ")
            .expect("an event line and a data line");
        let data: Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(data["type"], event.strip_prefix("event: ").unwrap());
        assert_eq!(data["sequence_number"], number);
    }
    assert!(blocks[0].contains(r#""model":"some-model""#));
    assert!(
        blocks
            .last()
            .unwrap()
            .starts_with("event: response.completed\n")
    );
    assert_eq!(
        answer.body,
        sse_text(&DefaultAnswer::to_request(&request, 1).responses_events())
    );
}

#[test]
fn a_prompt_to_chat_gets_chunks_up_to_done() {
    let loopback = provider(Script::default());
    let request =
        json!({"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": true});
    let body = Client::posting(&loopback, "/v1/chat/completions", &request)
        .answer()
        .body;
    let chunks: Vec<_> = body
        .split_terminator("\n\n")
        .map(|block| block.strip_prefix("data: ").expect("a data line"))
        .collect();
    let (done, chunks) = chunks.split_last().unwrap();
    assert_eq!(*done, "[DONE]");
    let text: String = chunks
        .iter()
        .map(|chunk| serde_json::from_str::<Value>(chunk).expect("JSON"))
        .filter_map(|chunk| {
            chunk["choices"][0]["delta"]["content"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert!(text.starts_with("You said: “hello”."), "{text}");
}

#[test]
fn the_same_request_gets_the_same_words() {
    let request = json!({"model": "m", "input": "hello", "stream": true});
    let [first, second] = [(), ()].map(|()| {
        let loopback = provider(Script::default());
        let answer = Client::posting(&loopback, "/v1/responses", &request).answer();
        answer.head + &answer.body
    });
    assert_eq!(first, second);
}

#[test]
fn ids_differ_from_server_to_server_and_times_are_true() {
    let started = unix_time();
    let [first, second] = [(), ()].map(|()| {
        let loopback = Loopback::start(LoopbackOptions::default()).unwrap();
        let request = json!({"model": "m", "input": "hello"});
        let answer = Client::posting(&loopback, "/v1/responses", &request).answer();
        answer.json()
    });
    assert_ne!(first["id"], second["id"]);
    assert_ne!(first["output"][0]["id"], second["output"][0]["id"]);
    let created = first["created_at"].as_u64().unwrap();
    assert!((started..=unix_time()).contains(&created), "{created}");
}

fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

#[test]
fn an_answer_is_read_again_behind_an_event() {
    let cut = Reply::default().cut_after_events(4);
    let loopback = provider(Script::new([cut]));
    let request = json!({"model": "m", "input": "hello", "stream": true, "background": true});
    let mut client = Client::posting(&loopback, "/v1/responses", &request);
    client.take_until("\"sequence_number\":3");
    client.rest();

    let whole = DefaultAnswer::to_request(&request, 1);
    let id = whole.response()["id"].as_str().unwrap().to_owned();
    let mut client = Client::connect(&loopback);
    client.get(&format!("/v1/responses/{id}?stream=true&starting_after=3"));
    let events = whole.responses_events();
    assert_eq!(client.answer().body, sse_text(&events[4..]));
    client.get(&format!("/v1/responses/{id}"));
    assert_eq!(client.answer().json(), whole.response());
    // The next turn may name it, until it is deleted.
    let next = json!({"model": "m", "input": "and?", "previous_response_id": id});
    client.post("/v1/responses", &next);
    assert_eq!(client.answer().json()["previous_response_id"], id);
    client.send(format!("DELETE /v1/responses/{id} HTTP/1.1\r\n\r\n"));
    assert_eq!(client.answer().json()["deleted"], true);
    client.get(&format!("/v1/responses/{id}"));
    assert_eq!(client.answer().status, 404);
    client.post("/v1/responses", &next);
    let refused = client.answer();
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.json()["error"]["code"],
        "previous_response_not_found"
    );
}

#[test]
fn an_answer_in_the_background_is_cancelled() {
    let slow = Reply::default().with_pace(PATIENCE * 10);
    let loopback = provider(Script::new([slow]));
    let request = json!({"model": "m", "input": "hello", "background": true});
    let mut client = Client::posting(&loopback, "/v1/responses", &request);
    let taken_up = client.answer().json();
    assert_eq!(taken_up["status"], "in_progress");
    let path = format!("/v1/responses/{}", taken_up["id"].as_str().unwrap());
    for (cancels, status) in [
        (false, "in_progress"),
        (true, "cancelled"),
        (false, "cancelled"),
    ] {
        match cancels {
            true => client.post(&format!("{path}/cancel"), &json!({})),
            false => client.get(&path),
        }
        assert_eq!(client.answer().json()["status"], status);
    }
    client.get(&format!("{path}?stream=true"));
    let body = client.answer().body;
    assert!(body.starts_with("event: response.cancelled\n"), "{body}");

    client.post("/v1/responses", &json!({"model": "m", "input": "hello"}));
    let path = format!(
        "/v1/responses/{}/cancel",
        client.answer().json()["id"].as_str().unwrap()
    );
    client.post(&path, &json!({}));
    assert_eq!(client.answer().status, 400);
}

#[test]
fn a_stream_ends_with_the_answer_that_is_cancelled() {
    let paced = Reply::default().with_pace(Duration::from_millis(200));
    let loopback = provider(Script::new([paced]));
    let request = json!({"model": "m", "input": "hello", "background": true, "stream": true});
    let mut client = Client::posting(&loopback, "/v1/responses", &request);
    client.take_until("\"sequence_number\":1");
    let mut other = Client::connect(&loopback);
    other.post("/v1/responses/resp_loopback_1/cancel", &json!({}));
    assert_eq!(other.answer().json()["status"], "cancelled");
    let (rest, end) = client.rest();
    assert!(!rest.contains("response.completed"), "{rest}");
    assert_eq!(end, End::Fin);
}
