//! The answer before: who has it, and who is told it.

use actix_responses::{
    relay::{Route, Target},
    wire::Wire,
};
use serde_json::{Value, json};

use super::{
    answer, asked, chat_answer, down, keyed, last, one_then_two, provider, relay_of, said, sealed,
    server,
};
use crate::support::{header, post};

#[actix_rt::test]
async fn a_previous_response_is_told_to_a_fallback_as_its_items() {
    let one = server([answer("resp_1", &[sealed("seal"), said("msg_1")]), down()]);
    let two = server([answer("resp_2", &[said("msg_2")])]);
    let route = one_then_two(&one, &two);
    let relay = relay_of(one, vec![route]);
    asked(&relay, &json!({"model": "m", "input": "a"})).await;
    let next = json!({"model": "m", "input": "b", "previous_response_id": "resp_1"});
    let (_, head, body) = asked(&relay, &next).await;
    assert_eq!(body["id"], "resp_2");
    assert_eq!(
        header(&head, "x-relay-dropped"),
        Some("reasoning.encrypted_content")
    );
    let sent = last(&two).json().unwrap();
    assert_eq!(sent.get("previous_response_id"), None);
    let sent = sent["input"].as_array().unwrap();
    let told: Vec<_> = sent
        .iter()
        .map(|item| item["role"].as_str().unwrap())
        .collect();
    assert_eq!(told, ["user", "assistant", "user"]);
    assert!(sent.iter().all(|item| item.get("id").is_none()), "{sent:?}");
}

#[actix_rt::test]
async fn with_the_relays_key_a_previous_response_that_it_does_not_know_is_a_400_and_not_passed_on()
{
    let upstream = server([answer("resp_1", &[]), answer("resp_2", &[])]);
    let provider = keyed("p", &upstream, "sk-of-the-relay");
    let relay = relay_of(upstream, vec![Route::new("*", Target::new(provider))]);
    // Two clients.
    let (ada, bob) = (
        "authorization: Bearer ada\r\n",
        "authorization: Bearer bob\r\n",
    );
    let ask = async |who: &str, body: Value| {
        let (status, _, answer) = post(&relay, "/v1/responses", who, &body.to_string()).await;
        (status, answer)
    };
    assert_eq!(ask(ada, json!({"model": "m", "input": "a"})).await.0, 200);
    let next = json!({"model": "m", "input": "a", "previous_response_id": "resp_1"});
    let (status, body) = ask(bob, next.clone()).await;
    assert_eq!(status, 400, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["error"]["code"], "previous_response_not_found");
    assert_eq!(
        body["error"]["message"],
        "Previous response with id 'resp_1' not found."
    );
    assert_eq!(relay.upstream.request_count(), 1);
    assert_eq!(ask(ada, next).await.0, 200);
    assert_eq!(relay.upstream.request_count(), 2);
}

#[actix_rt::test]
async fn with_the_clients_own_key_an_unknown_previous_response_is_the_servers_to_know() {
    let upstream = server([answer("resp_1", &[])]);
    let provider = provider("p", &upstream);
    let relay = relay_of(upstream, vec![Route::new("*", Target::new(provider))]);
    let next = json!({"model": "m", "input": "a", "previous_response_id": "resp_old"}).to_string();
    let (status, ..) = post(
        &relay,
        "/v1/responses",
        "authorization: Bearer mine\r\n",
        &next,
    )
    .await;
    assert_eq!(status, 200);
    let sent = last(&relay.upstream);
    assert_eq!(sent.json().unwrap()["previous_response_id"], "resp_old");
    assert_eq!(sent.headers["authorization"], "Bearer mine");
}

#[actix_rt::test]
async fn a_reference_over_a_chat_server_is_the_item_of_an_answer_before_and_an_unknown_one_a_404() {
    let function = json!({"name": "f", "arguments": "{}"});
    let call = json!({"role": "assistant", "reasoning_content": "because",
        "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]});
    let upstream = server([
        chat_answer(&call, "tool_calls"),
        chat_answer(&json!({"content": "done"}), "stop"),
    ]);
    let provider = provider("p", &upstream).with_wire(Wire::Chat);
    let relay = relay_of(upstream, vec![Route::new("*", Target::new(provider))]);
    let tools = json!([{"type": "function", "name": "f", "parameters": {"type": "object"}}]);
    let user = json!({"role": "user", "content": "go"});
    let (_, _, first) = asked(
        &relay,
        &json!({"model": "m", "input": [user], "tools": tools}),
    )
    .await;
    let ids: Vec<_> = first["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].clone())
        .collect();
    assert_eq!(ids.len(), 2, "{first}");
    // As the AI SDK of Vercel does with `store: true`.
    let next = json!({"model": "m", "tools": tools, "input": [
        user,
        {"type": "item_reference", "id": ids[0]},
        {"type": "item_reference", "id": ids[1]},
        {"type": "function_call_output", "call_id": "call_1", "output": "ok"},
    ]});
    let (status, _, second) = asked(&relay, &next).await;
    assert_eq!(status, 200, "{second}");
    let sent = last(&relay.upstream).json().unwrap();
    let messages = sent["messages"].as_array().unwrap();
    assert_eq!(messages[1]["tool_calls"][0]["id"], "call_1", "{sent}");
    assert_eq!(
        (&messages[2]["role"], &messages[2]["content"]),
        (&json!("tool"), &json!("ok"))
    );
    let unknown = json!({"model": "m", "input": [{"type": "item_reference", "id": "rs_none"}]});
    let (status, _, error) = asked(&relay, &unknown).await;
    assert_eq!(status, 404);
    assert_eq!(
        error["error"]["message"],
        "Item with id 'rs_none' not found."
    );
    assert_eq!(
        (&error["error"]["type"], &error["error"]["param"]),
        (&json!("invalid_request_error"), &json!("input"))
    );
    assert_eq!(relay.upstream.request_count(), 2);
}
