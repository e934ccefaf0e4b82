use std::{env, fs, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::*;
use crate::{
    protocol::{Completed, Created, OutputItem, ResponseAccumulator, TextDelta, error::ErrorKind},
    wire::{StreamDecoder, StreamLimits},
};

fn options() -> EncoderOptions {
    EncoderOptions::default()
        .with_id("resp_1")
        .with_model("m")
        .with_created_at(7)
        .with_include_usage(true)
}

fn decoded(wire: Wire, stream: &[u8]) -> Vec<ResponseEvent> {
    let mut decoder = StreamDecoder::new(wire, StreamLimits::default());
    let mut events = Vec::new();
    let end = decoder.feed(stream, &mut events);
    let end = end.or_else(|| decoder.end_of_stream(&mut events));
    assert_eq!(decoder.anomalies().malformed_events, 0);
    events.extend(end.map(ResponseEvent::from));
    events
}

fn encoded(wire: Wire, events: &[ResponseEvent]) -> (Vec<u8>, Value) {
    let mut encoder = StreamEncoder::new(wire, options());
    let mut stream = Vec::new();
    events
        .iter()
        .for_each(|event| encoder.push(event, &mut stream));
    assert!(encoder.is_ended());
    (stream, encoder.object())
}

fn blocks(stream: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(stream).unwrap();
    let mut found = Vec::new();
    for block in text.split_terminator("\n\n") {
        let (kind, data) = block.split_once("\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(kind.strip_prefix("event: "), data["type"].as_str());
        found.push(data);
    }
    for (number, event) in found.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    found
}

/// What an answer amounts to: text, refusal, reasoning, the calls, and how it ended with which usage.
fn answer(events: &[ResponseEvent]) -> (String, String, String, Vec<[String; 3]>, String) {
    let mut gathered = ResponseAccumulator::default();
    events
        .iter()
        .for_each(|event| gathered.push(event).unwrap());
    let calls = gathered.tool_calls().into_iter().map(|call| {
        let [id, name] = [call.call_id, call.name].map(|text| text.unwrap_or_default().to_owned());
        [id, name, call.input.to_string()]
    });
    let calls = calls.collect();
    let end = match gathered.end() {
        Some(ResponseEvent::Completed(_)) => "completed".to_owned(),
        Some(ResponseEvent::Incomplete(end)) => end.reason.to_string(),
        _ => "failed".to_owned(),
    };
    let usage = gathered.token_usage().unwrap_or_default();
    let end = match &*end {
        "failed" => end,
        end => format!("{end} {usage:?}"),
    };
    let reasoning = gathered.reasoning().replace("\n\n", "");
    (gathered.text(), gathered.refusal(), reasoning, calls, end)
}

/// Whether a final form takes back what deltas said: Chat has no final form.
fn takes_back(events: &[ResponseEvent]) -> bool {
    let mut gathered = ResponseAccumulator::default();
    events
        .iter()
        .for_each(|event| gathered.push(event).unwrap());
    !gathered.mismatches().is_empty()
}

fn recordings(name: &str) -> Vec<(String, Vec<u8>)> {
    let Some(folder) = env::var_os("RESPONSES_RECORDINGS") else {
        println!("SKIPPED: RESPONSES_RECORDINGS names no folder of recorded streams");
        return Vec::new();
    };
    let folder = std::path::Path::new(&folder).join(name);
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = files.filter(|file| file.extension().is_some_and(|extension| extension == "sse"));
    files
        .map(|file| (file.display().to_string(), fs::read(&file).unwrap()))
        .collect()
}

#[test]
fn the_bridge_over_every_recorded_stream_gives_the_same_answer_on_both_wires_and_across() {
    for (wire, folder) in [(Wire::Responses, "responses"), (Wire::Chat, "chat")] {
        for (name, stream) in recordings(folder) {
            let events = decoded(wire, &stream);
            for target in [Wire::Responses, Wire::Chat] {
                let (stream, _) = encoded(target, &events);
                if target == Wire::Responses {
                    blocks(&stream);
                }
                let again = decoded(target, &stream);
                if target == Wire::Chat && takes_back(&events) {
                    continue;
                }
                assert_eq!(answer(&again), answer(&events), "{name} to {target:?}");
                let (back, _) = encoded(wire, &again);
                assert_eq!(
                    answer(&decoded(wire, &back)),
                    answer(&events),
                    "{name} by {target:?} and back"
                );
            }
        }
    }
}

fn chat_stream() -> Vec<ResponseEvent> {
    let chunks = [
        json!({"id": "c1", "choices": [{"index": 0, "delta": {"role": "assistant", "reasoning_content": "hm"}}]}),
        json!({"choices": [{"index": 0, "delta": {"content": "Hello"}}]}),
        json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}}]}),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
        json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}),
    ];
    let chunks = chunks.map(|chunk| format!("data: {chunk}\n\n")).concat();
    decoded(Wire::Chat, format!("{chunks}data: [DONE]\n\n").as_bytes())
}

#[test]
fn responses_has_the_whole_ladder() {
    let (stream, _) = encoded(Wire::Responses, &chat_stream());
    let events = blocks(&stream);
    let kinds: Vec<_> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.reasoning_text.delta",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_item.added",
            "response.reasoning_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
}

#[test]
fn the_response_object_has_every_field_of_the_openresponses_schema_and_usage_every_detail() {
    let request = json!({"temperature": 0.5, "tools": [{"type": "function", "name": "f"}], "text": {"verbosity": "low"}});
    let Value::Object(request) = request else {
        panic!()
    };
    let mut encoder = StreamEncoder::new(Wire::Responses, options().with_request(request));
    let mut out = Vec::new();
    for event in chat_stream() {
        encoder.push(&event, &mut out);
        let object = encoder.object();
        for field in [
            "id",
            "object",
            "created_at",
            "completed_at",
            "status",
            "incomplete_details",
            "model",
            "previous_response_id",
            "instructions",
            "output",
            "error",
            "tools",
            "tool_choice",
            "truncation",
            "parallel_tool_calls",
            "text",
            "top_p",
            "presence_penalty",
            "frequency_penalty",
            "top_logprobs",
            "temperature",
            "reasoning",
            "user",
            "usage",
            "max_output_tokens",
            "max_tool_calls",
            "store",
            "background",
            "service_tier",
            "metadata",
            "safety_identifier",
            "prompt_cache_key",
        ] {
            assert!(object.get(field).is_some(), "{field}");
        }
    }
    let object = encoder.object();
    assert_eq!(object["temperature"], 0.5);
    let tool = json!({"type": "function", "name": "f", "description": null, "parameters": null, "strict": null});
    assert_eq!(object["tools"], json!([tool]));
    assert_eq!(
        object["text"],
        json!({"verbosity": "low", "format": {"type": "text"}})
    );
    assert_eq!(
        object["usage"]["output_tokens_details"]["reasoning_tokens"],
        0
    );
    assert_eq!(object["usage"]["input_tokens_details"]["cached_tokens"], 0);
    assert_eq!(object["output"].as_array().unwrap().len(), 3);
}

#[test]
fn an_empty_output_in_the_closing_object_is_rebuilt_from_the_items() {
    let item = json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]});
    let done = ResponseEvent::OutputItemDone(OutputItem::new(Some(0), item.clone().into()));
    let end = Completed {
        response: Some(json!({"output": []}).into()),
        ..Completed::default()
    };
    let (_, object) = encoded(
        Wire::Responses,
        &[done, ResponseEvent::Completed(end.into())],
    );
    assert_eq!(object["output"][0]["content"][0]["text"], "a");
    let end = Completed {
        response: Some(json!({"output": [item]}).into()),
        ..Completed::default()
    };
    let end = [ResponseEvent::Completed(end.into())];
    for wire in [Wire::Responses, Wire::Chat] {
        let (stream, _) = encoded(wire, &end);
        assert_eq!(answer(&decoded(wire, &stream)).0, "a");
    }
}

#[test]
fn a_failure_is_an_event_with_a_code_that_clients_act_on_and_the_next_sequence_number() {
    for (kind, code) in [
        (ErrorKind::RateLimited, "rate_limit_exceeded"),
        (ErrorKind::ContextLengthExceeded, "context_length_exceeded"),
        (ErrorKind::QuotaExceeded, "insufficient_quota"),
        (ErrorKind::Truncated, "server_error"),
    ] {
        let mut error = ApiError::new(kind, "too much");
        error.details_mut().retry_after = Some(Duration::from_millis(2_500));
        let mut encoder = StreamEncoder::new(Wire::Responses, options());
        let mut out = Vec::new();
        encoder.push(
            &ResponseEvent::OutputTextDelta(TextDelta::new("a")),
            &mut out,
        );
        encoder.fail(&error, &mut out);
        encoder.fail(&error, &mut out);
        let events = blocks(&out);
        let last = events.last().unwrap();
        assert_eq!(last["type"], "response.failed");
        assert_eq!(last["response"]["status"], "failed");
        assert_eq!(last["response"]["error"]["code"], code);
        let message = last["response"]["error"]["message"].as_str().unwrap();
        assert_eq!(
            message.contains("try again in 2.5s"),
            kind == ErrorKind::RateLimited
        );
        let mut encoder = StreamEncoder::new(Wire::Chat, options());
        let mut out = Vec::new();
        encoder.push(&ResponseEvent::Failed(Arc::new(error)), &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("data: {\"error\":{") && !text.contains("[DONE]"),
            "{text}"
        );
    }
}

#[test]
fn a_retry_before_output_has_one_created_and_the_ids_of_the_first() {
    let added = |id: &str| {
        let item = json!({"type": "message", "id": id, "role": "assistant", "content": []});
        ResponseEvent::OutputItemAdded(OutputItem::new(Some(0), item.into()))
    };
    let created = Created {
        response_id: Some("resp_a".into()),
        ..Created::default()
    };
    let mut text = TextDelta::new("a");
    text.output_index = Some(0);
    text.item_id = Some("msg_b".into());
    let events = [
        ResponseEvent::Created(created.clone()),
        added("msg_a"),
        ResponseEvent::Created(created),
        added("msg_b"),
        ResponseEvent::OutputTextDelta(text),
        ResponseEvent::Completed(Completed::default().into()),
    ];
    let (stream, object) = encoded(Wire::Responses, &events);
    let of_kind = |kind: &str| {
        blocks(&stream)
            .iter()
            .filter(|event| event["type"] == kind)
            .count()
    };
    assert_eq!(of_kind("response.created"), 1);
    assert_eq!(of_kind("response.output_item.added"), 1);
    assert_eq!(object["output"][0]["id"], "msg_a");
}

#[test]
fn annotations_and_pictures_are_told_to_clients_of_chat_once_each() {
    let [first, second] = ["a", "b"].map(|url| {
        json!({"type": "url_citation", "url": url, "title": "t", "start_index": 0, "end_index": 1})
    });
    let nested = [&first, &second].map(|flat| {
        let mut inner = flat.clone();
        inner.as_object_mut().unwrap().remove("type");
        json!({"type": "url_citation", "url_citation": inner})
    });
    let part = json!({"type": "output_text", "text": "A", "annotations": [first, second]});
    let message = json!({"type": "message", "id": "m", "role": "assistant", "content": [part]});
    let image = json!({"type": "image_generation_call", "id": "i", "result": "QUE=", "output_format": "webp"});
    let added = json!({"type": "response.output_text.annotation.added", "item_id": "m", "output_index": 0,
        "content_index": 0, "annotation_index": 0, "annotation": first});
    let done = |index: u32, item: &Value| json!({"type": "response.output_item.done", "output_index": index, "item": item});
    let delta = json!({"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": "A"});
    let (done_message, done_image) = (done(0, &message), done(1, &image));
    let end = json!({"type": "response.completed", "response": {"id": "r", "status": "completed", "output": []}});
    let image = json!([{"type": "image_url", "image_url": {"url": "data:image/webp;base64,QUE="}}]);
    for (events, annotations) in [
        (
            vec![&delta, &added, &done_message, &done_image, &end],
            &nested[..],
        ),
        (vec![&delta, &done_message, &done_image, &end], &nested[..]),
        // Of a server that ends without it.
        (vec![&delta, &added, &done_image, &end], &nested[..1]),
    ] {
        let framed = |event: &&Value| format!("data: {event}\n\n");
        let stream: String = events.iter().map(framed).collect();
        let (_, object) = encoded(Wire::Chat, &decoded(Wire::Responses, stream.as_bytes()));
        let message = &object["choices"][0]["message"];
        assert_eq!(message["annotations"], json!(annotations));
        assert_eq!(
            (&message["content"], &message["images"]),
            (&json!("A"), &image)
        );
    }
}
