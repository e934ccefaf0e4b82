//! Compactions: who makes them, and who reads them again.

use actix_responses::{
    loopback::Reply,
    relay::{Route, RouteTable, Target},
    wire::Wire,
};
use http::StatusCode;
use serde_json::{Value, json};

use super::{answer, asked, chat_answer, keyed, last, provider, relay_of, said, sealed, server};
use crate::support::post;

#[actix_rt::test]
async fn a_compaction_over_a_chat_server_is_one_item_that_its_next_request_can_read() {
    let upstream = server([
        chat_answer(&json!({"content": "All so far."}), "stop"),
        chat_answer(&json!({"content": "On it."}), "stop"),
        chat_answer(&json!({"content": "Half of"}), "length"),
    ]);
    let provider = provider("p", &upstream).with_wire(Wire::Chat);
    let refusing = Route::new("off", Target::new(provider.clone())).with_refuses_compaction(true);
    let relay = relay_of(
        upstream,
        vec![refusing, Route::new("*", Target::new(provider))],
    );
    let compact = async |body: &Value| {
        let (status, _, body) = post(&relay, "/v1/responses/compact", "", &body.to_string()).await;
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let body = json!({"model": "m", "instructions": "Be kind.", "input": [{"role": "user", "content": "a"}, said("msg_1")]});
    let (status, compacted) = compact(&body).await;
    assert_eq!(
        (status, &compacted["object"]),
        (200, &json!("response.compaction")),
        "{compacted}"
    );
    assert!(
        compacted["id"].is_string() && compacted["usage"].is_object(),
        "{compacted}"
    );
    let output = compacted["output"].as_array().unwrap();
    assert_eq!(
        (output.len(), &output[0]["type"]),
        (1, &json!("compaction"))
    );
    let sent = last(&relay.upstream).json().unwrap();
    let roles = |sent: &Value| -> Vec<String> {
        let messages = sent["messages"].as_array().unwrap().iter();
        messages
            .map(|message| message["role"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(roles(&sent), ["system", "user", "assistant", "user"]);
    let next = json!({"model": "m", "input": [output[0], {"role": "user", "content": "b"}]});
    let (status, ..) = asked(&relay, &next).await;
    assert_eq!(status, 200);
    let sent = last(&relay.upstream).json().unwrap();
    assert!(
        sent["messages"][0]["content"]
            .as_str()
            .unwrap()
            .contains("All so far."),
        "{sent}"
    );
    // One that was cut is none.
    let (status, error) = compact(&body).await;
    assert_eq!(status, 502, "{error}");
    let count = relay.upstream.request_count();
    let (status, error) = compact(&json!({"model": "off", "input": "a"})).await;
    let message = error["error"]["message"].as_str().unwrap();
    assert!(status == 400 && message.contains("switched off"), "{error}");
    let (status, _, error) = asked(
        &relay,
        &json!({"model": "off", "input": [{"type": "compaction_trigger"}]}),
    )
    .await;
    let message = error["error"]["message"].as_str().unwrap();
    assert!(status == 400 && message.contains("switched off"), "{error}");
    assert_eq!(relay.upstream.request_count(), count);
}

#[actix_rt::test]
async fn a_compaction_goes_to_the_key_that_made_what_is_compacted() {
    let compacted = json!({"id": "cmp", "object": "response.compaction", "output": [{"type": "compaction", "encrypted_content": "c"}]});
    let limited = Reply::error(StatusCode::TOO_MANY_REQUESTS).with_header("retry-after", "3600");
    let upstream = server([
        limited,
        answer("resp_1", &[sealed("seal")]),
        Reply::json(compacted.clone()),
        Reply::json(compacted),
    ]);
    let others = vec![keyed("p", &upstream, "sk-1").into()];
    let target = Target::with_keys(keyed("p", &upstream, "sk-0").into(), others);
    let relay = relay_of(upstream, vec![Route::new("*", target.clone())]);
    let body = json!({"model": "m", "input": "a"});
    assert_eq!(asked(&relay, &body).await.0, 429);
    asked(&relay, &body).await;
    // The first key does not rest in these.
    let fresh = Target::with_keys(
        target.provider.clone(),
        vec![keyed("p", &relay.upstream, "sk-1").into()],
    );
    relay
        .relay
        .set_routes(RouteTable::new(vec![Route::new("*", fresh)]));
    let body = json!({"model": "m", "input": [sealed("seal")]}).to_string();
    let (status, ..) = post(&relay, "/v1/responses/compact", "", &body).await;
    assert_eq!(status, 200);
    assert_eq!(
        last(&relay.upstream).headers["authorization"],
        "Bearer sk-1"
    );
    assert_eq!(last(&relay.upstream).body, body);
    let body = json!({"model": "m", "input": "a", "previous_response_id": "resp_none"}).to_string();
    let (status, _, error) = post(&relay, "/v1/responses/compact", "", &body).await;
    assert!(
        status == 400 && error.contains("previous_response_not_found"),
        "{error}"
    );
}
