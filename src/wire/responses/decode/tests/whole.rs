//! A response object that is no event, and streams of the other wire.

use serde_json::{Value, json};

use super::*;

fn response(status: Value) -> Value {
    json!({"id": "r", "object": "response", "status": status, "model": "m", "usage": {"input_tokens": 1, "output_tokens": 2},
    "output": [
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "Hello", "annotations": []}]},
        {"type": "function_call", "id": "c", "call_id": "c", "name": "f", "arguments": "{}"},
    ]})
}

#[test]
fn a_whole_response_is_the_answer_however_it_is_framed() {
    let whole = response(json!("completed"));
    let wrapped = json!({"response": whole});
    for object in [&whole, &wrapped] {
        let pretty = serde_json::to_string_pretty(object).unwrap();
        for body in [
            object.to_string(),
            format!("{object}\n"),
            pretty.clone(),
            format!("data: {object}\n\n"),
            format!("data: {object}\n\ndata: [DONE]\n\n"),
            format!("data: {object}"),
            format!("event: response\ndata: {object}\n\n"),
            pretty
                .lines()
                .map(|line| format!("data: {line}\n"))
                .collect::<String>()
                + "\n",
            format!(": comment\n\n{object}\n\ndata: [DONE]\n\n"),
        ] {
            let found = Summary::of(&body);
            assert_eq!(
                (&*found.text, &*found.reasoning, &*found.input),
                ("Hello", "hm", "{}"),
                "{body}"
            );
            assert_eq!((found.items.len(), &*found.end), (3, "completed"), "{body}");
            assert_eq!(found.names[0], "created", "{body}");
            assert_eq!(
                found
                    .names
                    .iter()
                    .filter(|name| **name == "created")
                    .count(),
                1
            );
        }
    }
    let mut decoder = StreamDecoder::new(Wire::Responses, StreamLimits::default());
    let mut events = Vec::new();
    decoder.feed(whole.to_string().as_bytes(), &mut events);
    let Some(Terminal::Completed(completed)) = decoder.end_of_stream(&mut events) else {
        panic!("not completed")
    };
    assert_eq!(completed.response_id.as_deref(), Some("r"));
    assert_eq!(completed.token_usage.unwrap().total_tokens, 3);
    assert_eq!(completed.response.as_ref().unwrap().to_value(), whole);
}

#[test]
fn the_status_of_a_whole_response_is_its_end() {
    let with = |status: Value, more: Value| {
        let mut whole = response(status);
        whole
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        whole
    };
    for (whole, end) in [
        (
            with(
                json!("incomplete"),
                json!({"incomplete_details": {"reason": "max_output_tokens"}}),
            ),
            "incomplete max_output_tokens",
        ),
        (with(json!("cancelled"), json!({})), "incomplete cancelled"),
        (
            with(
                json!("failed"),
                json!({"error": {"code": "server_error", "message": "broken"}}),
            ),
            "failed server_error: broken",
        ),
        (
            with(json!("failed"), json!({"error": null})),
            "failed server_error: the server reports that the response failed, without a reason",
        ),
        (with(Value::Null, json!({})), "incomplete no_finish_reason"),
        (
            with(Value::Null, json!({"error": {"message": "broken"}})),
            "failed server_error: broken",
        ),
    ] {
        let found = Summary::of(&whole.to_string());
        assert_eq!((&*found.end, found.items.len()), (end, 3), "{whole}");
    }
    for status in ["queued", "in_progress"] {
        let mut whole = response(json!(status));
        whole["output"] = json!([]);
        let body = whole.to_string();
        let found = Summary::of(&body);
        assert_eq!(
            found.end,
            format!(
                "failed protocol: the response is still {status}: the server gave its state and no event of it"
            )
        );
        let mut decoder = StreamDecoder::new(Wire::Responses, StreamLimits::default());
        decoder.feed(body.as_bytes(), &mut Vec::new());
        let Some(Terminal::Failed(error)) = decoder.end_of_stream(&mut Vec::new()) else {
            panic!("not failed")
        };
        assert_eq!(error.details().response_id.as_deref(), Some("r"));
        // A stream may follow all the same.
        let stream = format!(
            "data: {whole}\n\n{}",
            framed(
                &json!({"type": "response.completed", "response": response(json!("completed"))})
                    .to_string()
            )
        );
        let found = Summary::of(&stream);
        assert_eq!((&*found.text, &*found.end), ("Hello", "completed"));
    }
}

#[test]
fn an_answer_of_the_chat_api_is_named() {
    for data in [
        json!({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "a"}}]}),
        json!({"id": "c", "object": "chat.completion", "choices": [{"index": 0, "message": {"content": "a"}}]}),
        json!({"choices": []}),
    ] {
        for body in [
            format!("data: {data}\n\n"),
            data.to_string(),
            format!("event: chunk\ndata: {data}\n\n"),
        ] {
            let found = Summary::of(&body);
            assert_eq!(
                found.end,
                "failed protocol: the server answers with objects of the Chat Completions API (`chat.completion`): the provider's wire is to be Chat"
            );
        }
    }
    let error = json!({"error": {"message": "m"}, "choices": []});
    assert_eq!(
        Summary::of(&format!("data: {error}\n\n")).end,
        "failed server_error: m"
    );
}

#[test]
fn the_model_that_an_event_names_is_told_once() {
    let event = |kind: &str, fields: Value| {
        let mut event = json!({"type": kind});
        event
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        event.to_string()
    };
    let decoded = decode(&[
        event(
            "response.headers",
            json!({"headers": {"OpenAI-Model": "a"}}),
        ),
        event(
            "response.metadata",
            json!({"headers": {"x-openai-model": ["a", "b"]}}),
        ),
        event(
            "response.metadata",
            json!({"metadata": {"openai-model": "b"}}),
        ),
        event("response.headers", json!({"headers": {"x-other": "c"}})),
        event("response.headers", json!({"headers": 7})),
    ]);
    let models: Vec<_> = decoded
        .events
        .iter()
        .filter_map(|event| match event {
            ResponseEvent::ServerModel(model) => Some(&**model),
            _ => None,
        })
        .collect();
    assert_eq!(models, ["a", "b"]);
    assert_eq!(decoded.events.len(), 7);
}

#[test]
fn the_last_sequence_number_can_be_asked_for() {
    let mut decoder = StreamDecoder::new(Wire::Responses, StreamLimits::default());
    assert_eq!(decoder.sequence_number(), None);
    for number in [3, 4, 9] {
        let data =
            json!({"type": "response.output_text.delta", "sequence_number": number, "delta": "a"});
        decoder.feed(framed(&data.to_string()).as_bytes(), &mut Vec::new());
        assert_eq!(decoder.sequence_number(), Some(number));
    }
}
