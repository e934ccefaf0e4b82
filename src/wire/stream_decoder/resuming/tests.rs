use serde_json::{Value, json};

use super::*;
use crate::{
    protocol::error::ErrorKind,
    wire::{StreamLimits, Wire},
};

fn text(number: u64, kind: &str, name: &str, text: &str) -> Value {
    json!({"type": format!("response.output_text.{kind}"), "sequence_number": number, "item_id": "m", "output_index": 0,
        "content_index": 0, name: text})
}

fn message(text: &str) -> Value {
    json!({"id": "m", "type": "message", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}]})
}

/// Half characters, repeated texts, an escape: what a decoder keeps from one event to the next.
fn events() -> Vec<Value> {
    let response = |status: &str, output: Value| json!({"id": "resp_1", "object": "response", "status": status, "output": output});
    let whole = "aaaa\n!";
    vec![
        json!({"type": "response.created", "sequence_number": 0, "response": response("queued", json!([]))}),
        json!({"type": "response.in_progress", "sequence_number": 1, "response": response("in_progress", json!([]))}),
        json!({"type": "response.output_item.added", "sequence_number": 2, "output_index": 0,
            "item": {"id": "m", "type": "message", "role": "assistant", "content": []}}),
        text(3, "delta", "delta", "aa"),
        text(4, "delta", "delta", "aa"),
        text(5, "delta", "delta", "\n!"),
        text(6, "done", "text", whole),
        json!({"type": "response.output_item.done", "sequence_number": 7, "output_index": 0, "item": message(whole)}),
        json!({"type": "response.completed", "sequence_number": 8, "response": response("completed", json!([message(whole)]))}),
    ]
}

fn body(events: &[Value]) -> String {
    let blocks = events.iter().map(|event| format!("data: {event}\n\n"));
    blocks.collect()
}

fn decoder() -> StreamDecoder {
    let mut decoder = StreamDecoder::new(Wire::Responses, StreamLimits::default());
    decoder.set_resumable();
    decoder
}

fn read(decoder: &mut StreamDecoder, body: &str, out: &mut Vec<ResponseEvent>) -> Terminal {
    let end = decoder.feed(body.as_bytes(), out);
    let end = end.or_else(|| decoder.end_of_stream(out));
    end.expect("an end")
}

fn whole() -> (Vec<ResponseEvent>, Terminal) {
    let mut out = Vec::new();
    let end = read(&mut decoder(), &body(&events()), &mut out);
    (out, end)
}

#[test]
fn a_body_cut_at_any_byte_is_gone_on_with_as_if_it_had_not_been() {
    let (expected, expected_end) = whole();
    let all = body(&events());
    // From the first event on there is a response to go on with.
    let first = body(&events()[..1]).len();
    for cut in first..all.len() - 2 {
        let (mut decoder, mut out) = (decoder(), Vec::new());
        let broken = read(&mut decoder, &all[..cut], &mut out);
        let Terminal::Failed(error) = broken else {
            // All but the empty line was there.
            assert!(cut >= all.len() - 3, "cut at {cut}: {broken:?}");
            continue;
        };
        assert_eq!(error.kind(), ErrorKind::Truncated);
        let point = decoder.resume_point().expect("a place to go on from");
        decoder.resume(SseLimits::default());
        let rest = &events()[point.sequence_number as usize + 1..];
        let end = read(&mut decoder, &body(rest), &mut out);
        assert_eq!((&out, &end), (&expected, &expected_end), "cut at {cut}");
    }
}

#[test]
fn what_a_body_repeats_is_dropped_and_what_it_skips_is_an_error() {
    let (expected, expected_end) = whole();
    let events = events();
    for cut in 1..events.len() {
        for first in 0..=events.len() {
            let (mut decoder, mut out) = (decoder(), Vec::new());
            read(&mut decoder, &body(&events[..cut]), &mut out);
            let before = out.len();
            decoder.resume(SseLimits::default());
            let keepalive = "data: {\"type\":\"keepalive\"}\n\n";
            let end = read(
                &mut decoder,
                &format!("{keepalive}{}", body(&events[first..])),
                &mut out,
            );
            out.retain(|event| {
                event.name() != "other" || !format!("{event:?}").contains("keepalive")
            });
            let name = format!("cut at {cut}, goes on at {first}");
            if first <= cut || first == events.len() - 1 {
                // The end alone says the whole answer.
                let is_text =
                    |event: &&ResponseEvent| matches!(event, ResponseEvent::OutputTextDelta(_));
                let said = |out: &[ResponseEvent]| -> String {
                    let deltas = out.iter().filter(is_text);
                    deltas
                        .map(|event| match event {
                            ResponseEvent::OutputTextDelta(text) => text.delta.to_string(),
                            _ => String::new(),
                        })
                        .collect()
                };
                assert_eq!(said(&out), said(&expected), "{name}");
                assert_eq!(end, expected_end, "{name}");
                if first <= cut {
                    assert_eq!(out, expected, "{name}");
                }
            } else {
                let Terminal::Failed(error) = end else {
                    panic!("{name}: {end:?}");
                };
                assert_eq!(error.kind(), ErrorKind::Truncated, "{name}");
                assert_eq!(out.len(), before, "{name}");
                assert_eq!(
                    decoder.resume_point().is_some(),
                    first == events.len(),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn another_response_or_one_without_numbers_is_none_to_go_on_with() {
    let mut other = events();
    other[0]["response"]["id"] = "resp_2".into();
    let mut bare = events();
    for event in &mut bare {
        event.as_object_mut().unwrap().remove("sequence_number");
    }
    for (kind, rest) in [(ErrorKind::Protocol, other), (ErrorKind::Truncated, bare)] {
        let (mut decoder, mut out) = (decoder(), Vec::new());
        read(&mut decoder, &body(&events()[..5]), &mut out);
        decoder.resume(SseLimits::default());
        let before = out.len();
        let Terminal::Failed(error) = read(&mut decoder, &body(&rest), &mut out) else {
            panic!("{kind}");
        };
        assert_eq!((error.kind(), out.len()), (kind, before));
    }
}

#[test]
fn a_response_object_in_place_of_events_is_its_end_or_its_state() {
    let (_, expected_end) = whole();
    let object = &events()[8]["response"];
    for written in [
        object.to_string(),
        serde_json::to_string_pretty(object).unwrap(),
    ] {
        let (mut decoder, mut out) = (decoder(), Vec::new());
        read(&mut decoder, &body(&events()[..5]), &mut out);
        // As long as it goes on, it is asked for again.
        for _ in 0..2 {
            decoder.resume(SseLimits::default());
            let state = events()[1]["response"].to_string();
            let Terminal::Failed(error) = read(&mut decoder, &state, &mut out) else {
                panic!("it is not over");
            };
            assert_eq!(error.kind(), ErrorKind::Truncated);
            assert!(error.message().contains("still in_progress"), "{error}");
            assert!(decoder.resume_point().is_some());
        }
        decoder.resume(SseLimits::default());
        let end = read(&mut decoder, &written, &mut out);
        let (Terminal::Completed(end), Terminal::Completed(expected)) = (end, &expected_end) else {
            panic!("no end");
        };
        assert_eq!(end.response_id, expected.response_id);
        let names: Vec<_> = out.iter().map(ResponseEvent::name).collect();
        assert_eq!(
            names[names.len() - 2..],
            ["output_text_delta", "output_item_done"]
        );
    }
}

#[test]
fn the_words_of_a_server_that_broke_off_are_the_error() {
    let (mut decoder, mut out) = (decoder(), Vec::new());
    let body = format!("{}upstream connect error\n\n", body(&events()[..5]));
    let Terminal::Failed(error) = read(&mut decoder, &body, &mut out) else {
        panic!("it broke off");
    };
    assert!(
        error.message().contains("upstream connect error"),
        "{error}"
    );
    assert!(decoder.resume_point().is_some());
}

/// Who begins in the middle sees what comes behind it, and nothing twice: also of a text that repeats itself.
#[test]
fn a_response_is_read_from_the_middle() {
    let events = events();
    for after in 0..events.len() - 1 {
        let (mut decoder, mut out) = (decoder(), Vec::new());
        decoder.begin_after("resp_1".into(), Some(after as u64));
        let end = read(&mut decoder, &body(&events[after + 1..]), &mut out);
        assert!(
            matches!(end, Terminal::Completed(_)),
            "after {after}: {end:?}"
        );
        let deltas: Vec<_> = out
            .iter()
            .filter_map(|event| match event {
                ResponseEvent::OutputTextDelta(text) => Some(text.delta.to_string()),
                _ => None,
            })
            .collect();
        let expected: Vec<_> = events[after + 1..]
            .iter()
            .filter_map(|event| event["delta"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(deltas, expected, "after {after}");
        let items = out
            .iter()
            .filter(|event| event.name() == "output_item_done");
        assert_eq!(items.count(), usize::from(after < 7), "after {after}");
    }
}
