use super::*;
use crate::{
    ErrorKind,
    protocol::ReceivedBody,
    wire::{Quirks, Wire},
};

fn read_body(body: &Value) -> Prompt {
    Prompt::from_body(body.to_string()).unwrap()
}

/// The body that the fields of a prompt give.
fn written(mut prompt: Prompt, quirks: &Quirks) -> Value {
    prompt.received = ReceivedBody::default();
    let body = Wire::Chat.request_body(&prompt, quirks).unwrap();
    serde_json::from_slice(&body).unwrap()
}

/// A body in which all that Chat has stands in the form that the fields are written in.
fn full() -> Value {
    json!({
        "model": "m", "stream": true, "stream_options": {"include_usage": true},
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "u", "detail": "low"}},
                {"type": "file", "file": {"file_id": "f"}}, {"type": "input_audio", "input_audio": {"data": "d", "format": "wav"}}]},
            {"role": "assistant", "content": "I see", "reasoning_content": "hm", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"s": 1}},
                {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "i"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "one"},
            {"role": "tool", "tool_call_id": "c2", "content": "two", "cache_control": {"type": "ephemeral"}},
            {"role": "assistant", "content": null, "refusal": "no"},
            {"role": "user", "content": "go on", "name": "ann"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true}},
            {"type": "custom", "custom": {"name": "g", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "s"}}}},
            {"type": "web_search"},
        ],
        "parallel_tool_calls": false, "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": true}},
        "reasoning_effort": "low", "verbosity": "high", "max_completion_tokens": 9, "temperature": 0.5, "top_p": 0.25,
        "logprobs": true, "top_logprobs": 2, "store": false, "prompt_cache_key": "k", "prompt_cache_retention": "24h",
        "service_tier": "flex", "metadata": {"a": "b"}, "safety_identifier": "s", "user": "u",
        "seed": 7, "stop": ["x"], "logit_bias": {"1": -100},
    })
}

#[test]
fn what_chat_says_is_read_and_written_again() {
    let prompt = read_body(&full());
    let quirks = Quirks {
        reasoning_field: Some("reasoning_content".into()),
        ..Quirks::default()
    };
    let mut expected = full();
    // Reasoning goes back only while tools are being called.
    expected["messages"][2]
        .as_object_mut()
        .unwrap()
        .remove("reasoning_content");
    assert_eq!(written(prompt.clone(), &quirks), expected);
    assert_eq!(prompt.input.len(), 10);
    assert_eq!(
        prompt.options.extra.keys().collect::<Vec<_>>(),
        ["logit_bias", "seed", "stop"]
    );
    assert_eq!(prompt.tools[0].name().as_deref(), Some("f"));
    // And as the Responses API has it.
    let body = serde_json::to_value(&prompt).unwrap();
    assert_eq!(body["text"]["format"]["name"], "n");
    assert_eq!(
        body["tool_choice"],
        json!({"type": "function", "name": "f"})
    );
    assert_eq!(
        body["input"][1]["content"][1],
        json!({"type": "input_image", "image_url": "u", "detail": "low"})
    );
    assert_eq!(body["input"][2]["content"][0]["text"], "hm");
    assert_eq!(body["input"][7]["output"], "two");
    let text = serde_json::to_string(&prompt).unwrap();
    assert_eq!(serde_json::from_str::<Prompt>(&text).unwrap(), prompt);
}

#[test]
fn older_and_other_forms_are_read() {
    let prompt = read_body(
        &json!({"model": "m", "max_tokens": 5, "response_format": {"type": "json_object"}, "tools": null,
        "messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": ""}}]},
            {"role": "critic", "content": "x"}], "tool_choice": "auto", "logprobs": false, "n": null}),
    );
    assert_eq!(prompt.options.max_output_tokens, Some(5));
    assert_eq!(prompt.output_format, Some(OutputFormat::JsonObject));
    assert_eq!(prompt.input.len(), 2);
    assert_eq!(prompt.options.extra["n"], Value::Null);
    assert_eq!(prompt.options.include, None);
    let format = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "x": 1}});
    let prompt = read_body(&json!({"model": "m", "messages": [], "response_format": format}));
    assert_eq!(
        written(prompt, &Quirks::default())["response_format"],
        format
    );
}

#[test]
fn the_member_that_is_wrong_is_named() {
    for (messages, param) in [
        (json!(1), "messages"),
        (json!([1]), "messages[0]"),
        (json!([{"content": "a"}]), "messages[0].role"),
        (
            json!([{"role": "user", "content": 1}]),
            "messages[0].content",
        ),
        (
            json!([{"role": "tool", "content": "a"}]),
            "messages[0].tool_call_id",
        ),
        (
            json!([{"role": "assistant", "tool_calls": {}}]),
            "messages[0].tool_calls",
        ),
        (
            json!([{"role": "assistant", "tool_calls": [{"id": "a", "type": "x"}]}]),
            "messages[0].tool_calls[0].type",
        ),
        (
            json!([{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f"}}]}]),
            "messages[0].tool_calls[0].function.arguments",
        ),
    ] {
        let body = json!({"model": "m", "messages": messages}).to_string();
        let error = Prompt::from_body(body).unwrap_err();
        assert_eq!(
            (error.kind(), error.details().param.as_deref()),
            (ErrorKind::InvalidRequest, Some(param))
        );
        assert!(error.message().contains("leave it out"), "{error}");
    }
}

#[test]
fn what_an_answer_refers_to_goes_with_its_text_and_stays_where_there_is_none() {
    let given = json!([{"type": "file", "id": "f"}]);
    let text = json!([{"type": "output_text", "text": "a"}]);
    let known = json!([{"type": "output_text", "text": "a", "annotations": [1]}]);
    let with = |annotations: Value| json!([{"type": "output_text", "text": "a", "annotations": annotations}]);
    let refusal = json!([{"type": "refusal", "refusal": "no"}]);
    for (mut content, annotations, becomes, left) in [
        (json!("a"), given.clone(), with(given.clone()), None),
        (text.clone(), json!([]), text, None),
        (known, given.clone(), with(json!([1, given[0]])), None),
        (Value::Null, given.clone(), Value::Null, Some(given.clone())),
        (refusal.clone(), given.clone(), refusal, Some(given)),
        (json!("a"), json!({}), json!("a"), Some(json!({}))),
    ] {
        assert_eq!(annotate(&mut content, annotations), left);
        assert_eq!(content, becomes);
    }
}
