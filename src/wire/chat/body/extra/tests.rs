use proptest::{collection, prelude::*, sample};

use super::*;
use crate::{
    protocol::{Prompt, ResponseItem},
    wire::{Quirks, Wire},
};

fn prompt(items: Value) -> Prompt {
    let items: Vec<ResponseItem> = serde_json::from_value(items).unwrap();
    Prompt::new(items).with_model("m")
}

fn messages_with(items: Value, quirks: &Quirks) -> Value {
    let body = Wire::Chat.request_body(&prompt(items), quirks).unwrap();
    serde_json::from_slice::<Value>(&body).unwrap()["messages"].take()
}

fn messages_of(items: Value) -> Value {
    messages_with(items, &Quirks::default())
}

fn cache() -> Value {
    json!({"type": "ephemeral"})
}

#[test]
fn fields_go_out_where_chat_has_them() {
    let citation = json!({"start_index": 0, "end_index": 1, "url": "u", "title": "t"});
    let flat_citation =
        json!({"type": "url_citation", "start_index": 0, "end_index": 1, "url": "u", "title": "t"});
    let file =
        json!({"type": "file", "file": {"hash": "h", "content": [{"type": "text", "text": "x"}]}});
    let cases = [
        // Of a part, on the part; text that carries something is a part.
        (
            json!([{"role": "user", "content": [{"type": "input_text", "text": "a", "cache_control": cache()}]}]),
            json!([{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": cache()}]}]),
        ),
        (
            json!([{"role": "system", "content": [
                {"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b", "cache_control": cache()}]}]),
            json!([{"role": "system", "content": [
                {"type": "text", "text": "a"}, {"type": "text", "text": "b", "cache_control": cache()}]}]),
        ),
        (
            json!([{"role": "user", "content": [
                {"type": "input_image", "image_url": "u", "cache_control": cache()},
                {"type": "input_file", "file_id": "f", "prompt_cache_breakpoint": {"mode": "explicit"}},
                {"type": "input_audio", "input_audio": {"data": "AA=="}, "x": 1}]}]),
            json!([{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "u"}, "cache_control": cache()},
                {"type": "file", "file": {"file_id": "f"}, "prompt_cache_breakpoint": {"mode": "explicit"}},
                {"type": "input_audio", "input_audio": {"data": "AA=="}, "x": 1}]}]),
        ),
        (
            json!([{"role": "assistant", "content": [
                {"type": "output_text", "text": "a", "annotations": [], "cache_control": cache()},
                {"type": "refusal", "refusal": "no", "x": 1}]}]),
            json!([{"role": "assistant", "content": [
                {"type": "text", "text": "a", "cache_control": cache()}, {"type": "refusal", "refusal": "no", "x": 1}]}]),
        ),
        // Of a message, on the message.
        (
            json!([{"role": "user", "content": "a", "name": "Ada", "cache_control": cache()}]),
            json!([{"role": "user", "content": "a", "name": "Ada", "cache_control": cache()}]),
        ),
        (
            json!([{"role": "assistant", "content": "a", "extra_content": {"google": {"thought_signature": "s"}}}]),
            json!([{"role": "assistant", "content": "a", "extra_content": {"google": {"thought_signature": "s"}}}]),
        ),
        // A conversation that is Chat's already.
        (
            json!([{"role": "assistant", "tool_calls": [{"id": "c"}]}, {"role": "tool", "tool_call_id": "c", "content": "x"}]),
            json!([{"role": "assistant", "content": null, "tool_calls": [{"id": "c"}]},
                {"role": "tool", "tool_call_id": "c", "content": "x"}]),
        ),
        // Of a call and of its output.
        (
            json!([
                {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}",
                    "extra_content": {"google": {"thought_signature": "s"}}},
                {"type": "custom_tool_call", "call_id": "b", "name": "c", "input": "i", "x": 1},
                {"type": "function_call_output", "call_id": "a", "output": "o", "cache_control": cache()},
                {"type": "custom_tool_call_output", "call_id": "b", "output": [
                    {"type": "input_text", "text": "p", "cache_control": cache()}]},
            ]),
            json!([
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"},
                        "extra_content": {"google": {"thought_signature": "s"}}},
                    {"id": "b", "type": "custom", "custom": {"name": "c", "input": "i"}, "x": 1}]},
                {"role": "tool", "tool_call_id": "a", "content": "o", "cache_control": cache()},
                {"role": "tool", "tool_call_id": "b", "content": [
                    {"type": "text", "text": "p", "cache_control": cache()}]},
            ]),
        ),
        // Of reasoning, on the message that it led to, also of a turn before and without its text.
        (
            json!([
                {"role": "user", "content": "q1"},
                {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}],
                    "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s1"}],
                    "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s1"}], "signature": "s1"},
                {"role": "assistant", "content": "a1"},
                {"role": "user", "content": "q2"},
                {"type": "reasoning", "summary": [], "reasoning_details": [{"type": "reasoning.encrypted", "data": "d1"}]},
                {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
                {"type": "reasoning", "summary": [], "reasoning_details": [{"type": "reasoning.encrypted", "data": "d2"}]},
                {"type": "function_call", "call_id": "b", "name": "f", "arguments": "{}"},
            ]),
            json!([
                {"role": "user", "content": "q1"},
                {"role": "assistant", "content": "a1",
                    "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s1"}],
                    "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s1"}], "signature": "s1"},
                {"role": "user", "content": "q2"},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                    {"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                    "reasoning_details": [
                        {"type": "reasoning.encrypted", "data": "d1"}, {"type": "reasoning.encrypted", "data": "d2"}]},
            ]),
        ),
        // What an answer was made of.
        (
            json!([{"role": "assistant", "content": [], "audio": {"id": "audio_1", "data": "AA==", "transcript": "a"}}]),
            json!([{"role": "assistant", "content": null, "audio": {"id": "audio_1"}}]),
        ),
        (
            json!([{"role": "assistant", "content": "a", "audio": {"data": "AA=="}}]),
            json!([{"role": "assistant", "content": "a"}]),
        ),
        (
            json!([{"role": "assistant", "content": "a", "images": [{"type": "image_url", "image_url": {"url": "u"}}]}]),
            json!([{"role": "assistant", "content": "a", "images": [{"type": "image_url", "image_url": {"url": "u"}}]}]),
        ),
        (
            json!([{"role": "assistant", "content": [
                {"type": "output_text", "text": "a", "annotations": [flat_citation, file]},
                {"type": "output_text", "text": "b", "annotations": [{"type": "url_citation", "url_citation": citation}]}]}]),
            json!([{"role": "assistant", "content": "ab", "annotations": [
                {"type": "url_citation", "url_citation": citation}, file,
                {"type": "url_citation", "url_citation": citation}]}]),
        ),
        // Texts that become one message keep what each carries; of two values the last counts.
        (
            json!([
                {"role": "assistant", "content": "a", "x": 1},
                {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
                {"role": "assistant", "content": [{"type": "output_text", "text": "b", "cache_control": cache()}], "x": 2},
                {"role": "assistant", "content": "c"},
            ]),
            json!([{"role": "assistant",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b", "cache_control": cache()},
                    {"type": "text", "text": "c"}],
                "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}], "x": 2}]),
        ),
    ];
    for (items, expected) in cases {
        assert_eq!(messages_of(items.clone()), expected, "{items}");
    }
}

#[test]
fn what_chat_has_no_use_for_stays_behind() {
    assert_eq!(
        messages_of(json!([
            {"type": "message", "id": "msg_1", "status": "completed", "phase": "final_answer", "role": "assistant",
                "content": [{"type": "output_text", "text": "a", "annotations": [], "logprobs": [{"token": "a"}], "parsed": null}],
                "created_by": "x", "internal_chat_message_metadata_passthrough": {"turn_id": "t"}},
            {"type": "reasoning", "id": "rs_1", "status": "completed", "summary": [], "encrypted_content": "gA==", "signature": null},
            {"type": "function_call", "id": "fc_1", "status": "completed", "namespace": "n", "call_id": "a", "name": "f",
                "arguments": "{}", "caller": {"type": "direct"}, "async": false},
            {"type": "function_call_output", "id": "fco_1", "status": "completed", "call_id": "a", "output": "o",
                "caller": {"type": "direct"}, "created_by": "x"},
            {"type": "web_search_call", "id": "ws_1", "x": 1},
        ])),
        json!([
            {"role": "assistant", "content": "a", "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "a", "content": "o"},
        ])
    );
}

#[test]
fn a_server_that_refuses_other_servers_fields_gets_none_in_what_the_model_said() {
    let quirks = Quirks {
        no_answer_extras: true,
        reasoning_field: Some("reasoning".into()),
        ..Quirks::default()
    };
    assert_eq!(
        messages_with(
            json!([
                {"role": "user", "content": [{"type": "input_text", "text": "q", "cache_control": cache()}], "name": "Ada"},
                {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}], "reasoning_details": [1]},
                {"role": "assistant", "name": "Bot", "audio": {"id": "audio_1"}, "images": [1], "content": [
                    {"type": "output_text", "text": "a", "annotations": [{"type": "url_citation"}], "cache_control": cache()}]},
                {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}", "extra_content": {}},
            ]),
            &quirks
        ),
        json!([
            {"role": "user", "content": [{"type": "text", "text": "q", "cache_control": cache()}], "name": "Ada"},
            {"role": "assistant", "content": "a", "reasoning": "hm", "audio": {"id": "audio_1"}, "name": "Bot", "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        ])
    );
}

#[test]
fn a_field_that_is_written_anyway_is_refused_by_name() {
    let call = json!({"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"});
    let with = |mut item: Value, name: &str| {
        item[name] = json!(1);
        item
    };
    let quirks = Quirks {
        reasoning_field: Some("reasoning".into()),
        ..Quirks::default()
    };
    for (items, named) in [
        (json!([with(call.clone(), "function")]), "`function`"),
        (json!([with(call.clone(), "custom")]), "`custom`"),
        (
            json!([{"role": "assistant", "content": "a", "tool_calls": []}, call]),
            "`tool_calls`",
        ),
        (
            json!([{"type": "function_call_output", "call_id": "a", "output": "o", "content": "x"}]),
            "`content`",
        ),
        (
            json!([{"type": "function_call_output", "call_id": "a", "output": "o", "tool_call_id": "b"}]),
            "`tool_call_id`",
        ),
        (
            json!([{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "refusal": "never"}]),
            "`refusal`",
        ),
        (
            json!([{"type": "reasoning", "summary": [], "content": [{"type": "text", "text": "hm"}]},
                {"role": "assistant", "content": "a", "reasoning": "hm"}]),
            "`reasoning`",
        ),
        (
            json!([{"role": "user", "content": [{"type": "input_file", "file_id": "f", "file": 1}]}]),
            "`file`",
        ),
    ] {
        let error = Wire::Chat
            .request_body(&prompt(items), &quirks)
            .unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidConfiguration);
        assert!(error.message().contains(named), "{error}");
    }
}

/// An item that goes out, with places for fields at `extra` and, for each of its parts, in `parts`.
fn item(kind: &str, call_id: usize, extra: Map<String, Value>, parts: Vec<Value>) -> Value {
    let mut item = match kind {
        "call" => {
            json!({"type": "function_call", "call_id": call_id.to_string(), "name": "f", "arguments": "{}"})
        }
        "custom_call" => {
            json!({"type": "custom_tool_call", "call_id": call_id.to_string(), "name": "f", "input": ""})
        }
        "output" => {
            json!({"type": "function_call_output", "call_id": call_id.to_string(), "output": parts})
        }
        "reasoning" => json!({"type": "reasoning", "summary": []}),
        role => json!({"type": "message", "role": role, "content": parts}),
    };
    item.as_object_mut().unwrap().extend(extra);
    item
}

/// How often a field with this name and value is somewhere in the JSON.
fn count(json: &Value, name: &str, value: &Value) -> usize {
    let inner: usize = match json {
        Value::Array(list) => list.iter().map(|inner| count(inner, name, value)).sum(),
        Value::Object(fields) => fields.values().map(|inner| count(inner, name, value)).sum(),
        _ => 0,
    };
    inner + usize::from(json.get(name) == Some(value))
}

proptest! {
    #[test]
    fn every_field_of_an_item_or_part_that_goes_out_goes_out_once(
        shapes in collection::vec(
            (
                sample::select(vec!["user", "system", "developer", "assistant", "call", "custom_call", "output", "reasoning"]),
                any::<bool>(),
                collection::vec((sample::select(vec!["input_text", "output_text", "text", "refusal"]), any::<bool>()), 0..3),
            ),
            1..8,
        ),
        values in collection::vec(prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,4}".prop_map(Value::from),
            collection::vec(any::<u8>(), 0..3).prop_map(Value::from),
            "[a-z]{1,2}".prop_map(|key| json!({ key: [null, {"a": 1.5}] })),
        ], 32),
    ) {
        let mut values = values.into_iter();
        let mut given = Vec::new();
        let mut field = |has_one: bool| {
            let name = format!("x_{}", given.len());
            let value = values.next().filter(|_| has_one);
            given.extend(value.clone().map(|value| (name.clone(), value)));
            value.map(|value| (name, value)).into_iter().collect::<Map<_, _>>()
        };
        let mut items = Vec::new();
        for (index, (kind, has_extra, parts)) in shapes.into_iter().enumerate() {
            let extra = field(has_extra);
            let has_parts = !matches!(kind, "call" | "custom_call" | "reasoning");
            let parts = parts.into_iter().filter(|_| has_parts).map(|(part, has_extra)| {
                let mut part = match part {
                    "refusal" if kind == "assistant" => json!({"type": "refusal", "refusal": "no"}),
                    "refusal" => json!({"type": "input_image", "image_url": "u"}),
                    part => json!({"type": part, "text": "t"}),
                };
                part.as_object_mut().unwrap().extend(field(has_extra));
                part
            });
            let parts = parts.collect();
            items.push(item(kind, index, extra, parts));
            if kind == "reasoning" {
                // It is the answer that carries it.
                items.push(json!({"role": "assistant", "content": "a"}));
            }
        }
        let messages = messages_of(Value::from(items));
        for (name, value) in given {
            prop_assert_eq!(count(&messages, &name, &value), 1, "{} {} in {}", name, value, messages);
        }
    }
}
