use proptest::{collection, option, prelude::*};
use serde_json::{Value, json};

use super::*;
use crate::wire::{StreamDecoder, StreamLimits, Wire};

fn accumulate(wire: Wire, data: &[Value]) -> ResponseAccumulator {
    let mut accumulator = ResponseAccumulator::default();
    for event in events(wire, data) {
        accumulator.push(&event).unwrap();
    }
    accumulator
}

fn events(wire: Wire, data: &[Value]) -> Vec<ResponseEvent> {
    let body: String = data
        .iter()
        .map(|data| format!("data: {data}\n\n"))
        .collect();
    let mut events = Vec::new();
    let mut decoder = StreamDecoder::new(wire, StreamLimits::default());
    let end = decoder.feed(body.as_bytes(), &mut events);
    events.extend(end.map(ResponseEvent::from));
    events
}

fn delta(index: u32, text: &str) -> Value {
    json!({"type": "response.output_text.delta", "item_id": "m", "output_index": index, "content_index": 0, "delta": text})
}

#[test]
fn a_running_stream_can_be_read_at_any_time() {
    let call = json!({"type": "response.output_item.added", "output_index": 1,
        "item": {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": ""}});
    let arguments = json!({"type": "response.function_call_arguments.delta", "item_id": "fc", "output_index": 1, "delta": "{\"a\":"});
    let answer = accumulate(
        Wire::Responses,
        &[delta(0, "Hel"), delta(0, "lo"), call, arguments],
    );
    assert_eq!(answer.text(), "Hello");
    assert_eq!(
        answer.tool_calls(),
        [AccumulatedToolCall {
            item_id: Some("fc"),
            call_id: Some("c"),
            name: Some("f"),
            input: "{\"a\":".into(),
            is_done: false
        }]
    );
    assert!(answer.items().is_empty() && answer.end().is_none());
}

#[test]
fn the_final_form_counts_and_a_difference_is_told() {
    let done = json!({"type": "response.output_item.done", "output_index": 0, "item": {"type": "message", "id": "m",
        "role": "assistant", "content": [{"type": "output_text", "text": "Hello!", "annotations": []}]}});
    let end = json!({"type": "response.completed", "response": {"id": "r", "usage": {"input_tokens": 1, "output_tokens": 2}}});
    let answer = accumulate(Wire::Responses, &[delta(0, "Hallo"), done, end]);
    assert_eq!(answer.text(), "Hello!");
    assert_eq!(answer.items().len(), 1);
    assert_eq!(answer.response_id(), Some("r"));
    assert_eq!(answer.token_usage().unwrap().total_tokens, 3);
    let [mismatch] = answer.mismatches() else {
        panic!("{:?}", answer.mismatches())
    };
    assert_eq!(
        (mismatch.part, &*mismatch.streamed, &*mismatch.done),
        ("text", "Hallo", "Hello!")
    );
}

#[test]
fn ids_that_change_on_the_way_do_not_split_an_item() {
    let rotated = |id: &str, text: &str| json!({"type": "response.output_text.delta", "item_id": id, "output_index": 0, "delta": text});
    let answer = accumulate(
        Wire::Responses,
        &[rotated("a", "1"), rotated("b", "2"), rotated("c", "3")],
    );
    assert_eq!(answer.text(), "123");
}

#[test]
fn items_come_in_the_order_of_the_output_and_without_places_as_they_came() {
    let answer = accumulate(
        Wire::Responses,
        &[delta(2, "b"), delta(0, "a"), delta(2, "c")],
    );
    assert_eq!(answer.text(), "abc");
    let answer = accumulate(
        Wire::Responses,
        &[
            bare("x", "1"),
            bare("x", "2"),
            bare("y", "4"),
            bare("x", "3"),
        ],
    );
    assert_eq!(answer.text(), "1234");
}

/// A delta of a message without its place.
fn bare(id: &str, text: &str) -> Value {
    json!({"type": "response.output_text.delta", "item_id": id, "delta": text})
}

fn message(id: &str, text: &str) -> Value {
    json!({"type": "message", "id": id, "role": "assistant",
        "content": [{"type": "output_text", "text": text, "annotations": []}]})
}

fn done(index: Option<u32>, item: Value) -> Value {
    json!({"type": "response.output_item.done", "output_index": index, "item": item})
}

fn added(index: Option<u32>, item: Value) -> Value {
    json!({"type": "response.output_item.added", "output_index": index, "item": item})
}

#[test]
fn an_item_is_one_whatever_its_ids_and_places() {
    let at_0 = |id: &str, text: &str| json!({"type": "response.output_text.delta", "item_id": id, "output_index": 0, "delta": text});
    for (of, data) in [
        (
            "another id in each event, no places",
            vec![
                added(None, message("a", "")),
                bare("b", "Hel"),
                bare("c", "lo"),
                done(None, message("d", "Hello")),
            ],
        ),
        (
            "the same, never announced",
            vec![
                bare("b", "Hel"),
                bare("c", "lo"),
                done(None, message("d", "Hello")),
            ],
        ),
        (
            "the first id again at the end",
            vec![
                added(None, message("a", "")),
                bare("b", "Hel"),
                bare("c", "lo"),
                done(None, message("a", "Hello")),
            ],
        ),
        (
            "another id in each event",
            vec![
                added(Some(0), message("a", "")),
                at_0("b", "Hel"),
                at_0("c", "lo"),
                done(Some(0), message("d", "Hello")),
            ],
        ),
        (
            "a place at the end alone",
            vec![
                bare("a", "Hel"),
                bare("a", "lo"),
                done(Some(1), message("a", "Hello")),
            ],
        ),
        (
            "a place of the deltas alone",
            vec![
                at_0("a", "Hel"),
                at_0("a", "lo"),
                done(None, message("b", "Hello")),
            ],
        ),
        (
            "another place at the end",
            vec![
                at_0("a", "Hel"),
                at_0("a", "lo"),
                done(Some(3), message("b", "Hello")),
            ],
        ),
        (
            "done twice",
            vec![
                at_0("a", "Hello"),
                done(Some(0), message("a", "Hello")),
                done(Some(0), message("b", "Hello")),
            ],
        ),
        (
            "more after it was done",
            vec![
                at_0("a", "Hel"),
                done(Some(0), message("a", "Hel")),
                at_0("a", "l"),
                at_0("b", "o"),
            ],
        ),
        (
            "more after it was done, and done again as a whole",
            vec![
                at_0("a", "Hel"),
                done(Some(0), message("a", "Hel")),
                at_0("b", "lo"),
                done(Some(0), message("c", "Hello")),
            ],
        ),
        (
            "more after it was done, and done again as it was",
            vec![
                at_0("a", "Hel"),
                done(Some(0), message("a", "Hel")),
                at_0("a", "lo"),
                done(Some(0), message("a", "Hel")),
            ],
        ),
        (
            "more after it was done, without places or ids",
            vec![
                json!({"type": "response.output_text.delta", "delta": "Hel"}),
                done(None, message("a", "Hel")),
                json!({"type": "response.output_text.delta", "delta": "lo"}),
            ],
        ),
        (
            "a final form without the text",
            vec![
                at_0("a", "Hello"),
                done(
                    Some(0),
                    json!({"type": "message", "id": "a", "role": "assistant", "content": []}),
                ),
            ],
        ),
    ] {
        let answer = accumulate(Wire::Responses, &data);
        assert_eq!(answer.text(), "Hello", "{of}");
        assert_eq!(answer.mismatches(), [], "{of}");
        assert!(
            answer.items().len() < 2 && answer.open_items().is_empty(),
            "{of}"
        );
    }
}

#[test]
fn items_that_are_two_stay_two() {
    let at_0 = |id: &str, text: &str| json!({"type": "response.output_text.delta", "item_id": id, "output_index": 0, "delta": text});
    let reasoning = json!({"type": "reasoning", "id": "r", "summary": []});
    let thought = json!({"type": "response.reasoning_text.delta", "item_id": "r", "output_index": 0, "content_index": 0, "delta": "hm"});
    for (of, data, items) in [
        (
            "whole messages without places",
            vec![
                done(None, message("a", "one")),
                done(None, message("b", "two")),
            ],
            2,
        ),
        (
            "one place for all",
            vec![
                added(Some(0), message("a", "")),
                at_0("a", "one"),
                done(Some(0), message("a", "one")),
                added(Some(0), message("b", "")),
                at_0("b", "two"),
                done(Some(0), message("b", "two")),
            ],
            2,
        ),
        (
            "one place for kinds that differ",
            vec![
                added(Some(0), reasoning.clone()),
                thought,
                at_0("a", "onetwo"),
                done(Some(0), reasoning),
                done(Some(0), message("a", "onetwo")),
            ],
            2,
        ),
        (
            "pieces by turns",
            vec![
                added(None, message("a", "")),
                added(None, message("b", "")),
                bare("b", "tw"),
                bare("a", "one"),
                bare("b", "o"),
                done(None, message("b", "two")),
                done(None, message("a", "one")),
            ],
            2,
        ),
    ] {
        let answer = accumulate(Wire::Responses, &data);
        assert_eq!(answer.text(), "onetwo", "{of}");
        assert_eq!(answer.items().len(), items, "{of}");
        assert_eq!(answer.mismatches(), [], "{of}");
    }
}

#[test]
fn a_call_is_one_whatever_its_ids_and_is_whole_only_when_it_is_said_to_be() {
    let call = |id: &str, arguments: &str, status: &str| {
        json!({"type": "function_call", "id": id, "call_id": "c",
        "name": "f", "arguments": arguments, "status": status})
    };
    let piece = |id: &str, delta: &str| json!({"type": "response.function_call_arguments.delta", "item_id": id, "delta": delta});
    for status in ["completed", "incomplete"] {
        let data = [
            added(None, call("a", "", "in_progress")),
            piece("b", "{\"x\""),
            piece("c", ":1}"),
            done(None, call("d", "{\"x\":1}", status)),
            piece("d", "{\"x\":1}"),
        ];
        let answer = accumulate(Wire::Responses, &data);
        let calls = answer.tool_calls();
        let [call] = &calls[..] else {
            panic!("{calls:?}")
        };
        assert_eq!(&*call.input, "{\"x\":1}");
        assert_eq!(call.is_done, status == "completed");
    }
    let answer = accumulate(
        Wire::Responses,
        &[added(None, call("a", "", "in_progress"))],
    );
    assert_eq!(answer.open_items().len(), 1);
    assert!(answer.items().is_empty());
}

#[test]
fn reasoning_is_told_once() {
    let summary = json!({"type": "response.reasoning_summary_text.delta", "item_id": "r", "output_index": 0,
        "summary_index": 0, "delta": "hm"});
    let content = json!({"type": "response.reasoning_text.delta", "item_id": "r", "output_index": 0,
        "content_index": 0, "delta": "hm"});
    let item = |id: &str, summary: &str, content: &str| {
        let parts = |kind: &str, text: &str| match text {
            "" => json!([]),
            text => json!([{"type": kind, "text": text}]),
        };
        json!({"type": "reasoning", "id": id, "summary": parts("summary_text", summary),
            "content": parts("reasoning_text", content)})
    };
    for (of, data, summary_and_content) in [
        (
            "both streamed",
            vec![summary.clone(), content.clone()],
            ["hm", "hm"],
        ),
        (
            "both streamed and done",
            vec![
                summary.clone(),
                content.clone(),
                done(Some(0), item("r", "hm", "hm")),
            ],
            ["hm", "hm"],
        ),
        (
            "streamed as content, done as summary",
            vec![content.clone(), done(Some(0), item("r", "hm", ""))],
            ["hm", ""],
        ),
        (
            "streamed as summary, done as content",
            vec![summary.clone(), done(Some(0), item("r", "", "hm"))],
            ["", "hm"],
        ),
        (
            "streamed, and sealed at the end",
            vec![
                content.clone(),
                done(
                    Some(0),
                    json!({"type": "reasoning", "id": "r", "encrypted_content": "x"}),
                ),
            ],
            ["", "hm"],
        ),
        (
            "done under another place and id",
            vec![content.clone(), done(Some(4), item("x", "", "hm"))],
            ["", "hm"],
        ),
        (
            "done twice under two places and ids",
            vec![
                content,
                done(Some(0), item("r", "", "hm")),
                done(Some(1), item("x", "", "hm")),
            ],
            ["", "hm"],
        ),
    ] {
        let answer = accumulate(Wire::Responses, &data);
        assert_eq!(answer.reasoning(), "hm", "{of}");
        let told = [answer.reasoning_summary(), answer.reasoning_content()];
        assert_eq!(told, summary_and_content, "{of}");
        assert_eq!(answer.mismatches(), [], "{of}");
    }
    let answer = accumulate(
        Wire::Responses,
        &[done(Some(0), item("r", "short", "long"))],
    );
    assert_eq!(answer.reasoning(), "long");
}

#[test]
fn another_response_takes_the_place_of_what_was_only_announced() {
    let created = |id: &str| json!({"type": "response.created", "response": {"id": id}});
    let mut answer = ResponseAccumulator::default();
    for data in [
        vec![
            created("r1"),
            added(Some(0), message("m1", "")),
            delta(1, "kept"),
        ],
        vec![created("r2"), added(Some(2), message("m2", ""))],
    ] {
        for event in events(Wire::Responses, &data) {
            answer.push(&event).unwrap();
        }
    }
    let open: Vec<_> = answer
        .open_items()
        .into_iter()
        .map(|item| item.item().id())
        .collect();
    assert_eq!(open, [Some("m2")]);
    assert_eq!(
        (answer.response_id(), &*answer.text()),
        (Some("r2"), "kept")
    );
}

#[test]
fn a_failed_answer_has_its_id_and_its_cost() {
    let mut error = ApiError::new(ErrorKind::Truncated, "cut");
    error.details_mut().response_id = Some("r".into());
    error.details_mut().token_usage = TokenUsage::from_json(&json!({"total_tokens": 4}));
    let mut answer = ResponseAccumulator::default();
    answer.push(&ResponseEvent::Failed(error.into())).unwrap();
    assert_eq!(answer.response_id(), Some("r"));
    assert_eq!(
        answer.token_usage().map(|usage| usage.total_tokens),
        Some(4)
    );
}

proptest! {
    #[test]
    fn no_text_is_lost_whatever_the_ids_and_places(
        steps in collection::vec((0..4_u8, option::of(0..2_u32), 0..3_u8), 0..40),
    ) {
        let mut pieces = 0;
        let data: Vec<_> = steps
            .iter()
            .map(|(step, index, id)| {
                let id = id.to_string();
                match step {
                    0 => added(*index, message(&id, "")),
                    1 => done(*index, message(&id, "")),
                    _ => {
                        pieces += 1;
                        json!({"type": "response.output_text.delta", "item_id": id, "output_index": index, "delta": "x"})
                    }
                }
            })
            .collect();
        let answer = accumulate(Wire::Responses, &data);
        prop_assert_eq!(answer.text(), "x".repeat(pieces));
        prop_assert_eq!(answer.mismatches(), []);
    }
}

#[test]
fn both_wires_add_up_alike() {
    let chunk = |delta: Value, reason: Value| json!({"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
    let call = |arguments: &str| json!({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": arguments}}]});
    let answer = accumulate(
        Wire::Chat,
        &[
            chunk(json!({"reasoning_content": "hm"}), Value::Null),
            chunk(json!({"content": "Hel"}), Value::Null),
            chunk(json!({"content": "lo"}), Value::Null),
            chunk(call("{}"), Value::Null),
            chunk(json!({}), json!("tool_calls")),
            json!({"id": "c", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}),
        ],
    );
    assert_eq!(answer.text(), "Hello");
    assert_eq!(answer.reasoning_content(), "hm");
    let calls = answer.tool_calls();
    assert_eq!(
        (
            calls[0].name,
            calls[0].call_id,
            &*calls[0].input,
            calls[0].is_done
        ),
        (Some("f"), Some("call_1"), "{}", true)
    );
    assert_eq!(answer.items().len(), 3);
    assert!(answer.mismatches().is_empty());
    assert_eq!(answer.token_usage().unwrap().total_tokens, 3);
}

#[test]
fn a_restart_clears_everything() {
    let mut answer = accumulate(Wire::Responses, &[delta(0, "void")]);
    let restarted = super::super::Restarted {
        attempt: 2,
        delay: std::time::Duration::ZERO,
        error: std::sync::Arc::new(ApiError::new(ErrorKind::Truncated, "cut")),
    };
    answer
        .push(&ResponseEvent::Restarted(restarted.into()))
        .unwrap();
    assert_eq!(answer.text(), "");
}

#[test]
fn what_is_held_is_bounded() {
    let mut answer = ResponseAccumulator::with_max_bytes(10);
    let mut events = Vec::new();
    let body = format!(
        "data: {}\n\ndata: {}\n\n",
        delta(0, "12345678"),
        delta(0, "9ab")
    );
    StreamDecoder::new(Wire::Responses, StreamLimits::default()).feed(body.as_bytes(), &mut events);
    answer.push(&events[0]).unwrap();
    let error = answer.push(&events[1]).unwrap_err();
    assert!(error.message().contains("10 bytes"), "{error}");
    assert_eq!(answer.text(), "12345678");
}
