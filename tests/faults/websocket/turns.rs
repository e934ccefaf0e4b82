//! What a connection knows of the turn before.

use actix_responses::{
    ErrorKind, Runtime,
    actors::SubmitRequest,
    protocol::{Prompt, ResponseEvent},
    provider::StreamTransport,
};
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::{handshakes::Handshake, over_socket, start};
use crate::support::{collect, end_of, failure, prompt, serve, websocket::Peer, within};

/// A completed answer of one message.
fn said(id: &str, text: &str) -> [String; 2] {
    let item = json!({
        "type": "message", "id": format!("msg_{id}"), "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    });
    let done = json!({"type": "response.output_item.done", "output_index": 0, "item": item});
    let completed = json!({"type": "response.completed", "response": {"id": id, "status": "completed", "output": [item]}});
    [done.to_string(), completed.to_string()]
}

/// The conversation goes on: what was answered, and something new.
async fn ask(runtime: &Runtime, conversation: &mut Prompt, new: &str) {
    let mut asked = conversation.clone();
    asked.input.extend(Prompt::user(new).input);
    let events = collect(runtime, asked.clone()).await;
    assert!(
        matches!(events.last(), Some(Ok(ResponseEvent::Completed(_)))),
        "{events:?}"
    );
    for event in events {
        if let Ok(ResponseEvent::OutputItemDone(done)) = event {
            asked.input.push(done.item().clone());
        }
    }
    *conversation = asked;
}

#[actix_rt::test]
async fn a_turn_sends_its_new_input_alone_and_all_where_the_server_lost_the_rest() {
    let (address, asked) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        let mut messages = Vec::new();
        let mut answers = ["r1", "r2", "", "r3", "r4", "", "r5"].into_iter();
        while let Some(message) = peer.message() {
            let input = message["input"].as_array().map(Vec::len);
            messages.push((message["previous_response_id"].clone(), input));
            match answers.next() {
                Some("") if messages.len() == 3 => peer.send(
                    r#"{"type":"error","error":{"code":"previous_response_not_found","message":"gone"}}"#,
                ),
                Some("") => peer.send(
                    r#"{"type":"error","status":400,"error":{"code":"odd","message":"no such call"}}"#,
                ),
                Some(id) => said(id, "yes").iter().for_each(|event| peer.send(event)),
                None => break,
            }
        }
        messages
    });
    let runtime = over_socket(address);
    let mut conversation = prompt();
    conversation.input.clear();
    for new in ["one", "two", "three", "four", "five"] {
        ask(&runtime, &mut conversation, new).await;
    }
    drop(runtime);
    let messages = within(asked).await.expect("a script");
    let whole = |items| (Value::Null, Some(items));
    let short = |id: &str| (Value::from(id), Some(1));
    let expected = [
        whole(1),
        short("r1"),
        short("r2"),
        whole(5),
        short("r3"),
        short("r4"),
        whole(9),
    ];
    assert_eq!(messages, expected);
}

#[actix_rt::test]
async fn what_is_another_conversation_is_sent_whole() {
    let (address, asked) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        let mut messages = Vec::new();
        while let Some(message) = peer.message() {
            messages.push(message["previous_response_id"].clone());
            said("r", "yes").iter().for_each(|event| peer.send(event));
        }
        messages
    });
    let runtime = over_socket(address);
    let mut first = prompt();
    ask(&runtime, &mut first, "one").await;
    // The same again, another model, another tool choice, and a parent of the caller's own.
    collect(&runtime, prompt()).await;
    ask(&runtime, &mut first.clone().with_model("other"), "two").await;
    ask(&runtime, &mut first.clone(), "two").await;
    let mut own = first.clone();
    own.options.previous_response_id = Some("mine".into());
    ask(&runtime, &mut own, "two").await;
    drop(runtime);
    let messages = within(asked).await.expect("a script");
    assert_eq!(
        messages,
        [
            json!(null),
            json!(null),
            json!(null),
            json!(null),
            json!("mine")
        ]
    );
}

#[actix_rt::test]
async fn a_warm_up_generates_nothing_and_the_same_prompt_goes_on_from_it() {
    let (address, asked) = serve(|listener| {
        let mut peer = Peer::accept(&listener);
        let messages = ["warm", "r"].map(|id| {
            let message = peer.message().expect("a request");
            peer.send(&format!(r#"{{"type":"response.created","response":{{"id":"{id}"}}}}"#));
            peer.send(&format!(
                r#"{{"type":"response.completed","response":{{"id":"{id}","status":"completed","output":[]}}}}"#
            ));
            message
        });
        drop(peer);
        // Then there is no WebSocket any more, and nothing else may come.
        Handshake::Status(426).answer(&listener);
        listener.set_nonblocking(true).expect("a listener");
        (messages, listener.accept().is_err())
    });
    let runtime = start(address, StreamTransport::Auto);
    let warm_up = || SubmitRequest::new(prompt()).with_warm_up(true);
    let events: Vec<_> = within(async {
        let stream = runtime.submit(warm_up()).await.expect("a request");
        stream.collect().await
    })
    .await;
    assert!(
        matches!(events.last(), Some(Ok(ResponseEvent::Completed(_)))),
        "{events:?}"
    );
    assert!(end_of(&runtime, prompt()).await.is_ok());
    let other = start(address, StreamTransport::Auto);
    let events: Vec<_> = within(async {
        let stream = other.submit(warm_up()).await.expect("a request");
        stream.collect().await
    })
    .await;
    assert_eq!(failure(&events).kind(), ErrorKind::InvalidConfiguration);
    drop(other);
    let ([first, second], is_quiet) = within(asked).await.expect("a script");
    assert!(is_quiet);
    assert_eq!(first["generate"], false);
    assert_eq!(first["input"].as_array().map(Vec::len), Some(1));
    assert_eq!(second["generate"], Value::Null);
    assert_eq!(
        (&second["previous_response_id"], &second["input"]),
        (&json!("warm"), &json!([]))
    );

    let by_sse = start(address, StreamTransport::Sse);
    let Err(error) = within(by_sse.submit(warm_up())).await else {
        panic!("SSE knows no warm-up")
    };
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
}
