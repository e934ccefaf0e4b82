//! Each type of event and the form it takes.

use super::*;
use crate::{
    protocol::RawJson,
    wire::responses::{EVENT_TYPES, EventForm},
};

/// The variant that a type arrives as; `None` for those that pass through.
fn variant(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "response.created" => "created",
        "response.output_item.added" => "output_item_added",
        "response.output_item.done" => "output_item_done",
        "response.output_text.delta" => "output_text_delta",
        "response.refusal.delta" => "refusal_delta",
        "response.reasoning_summary_text.delta" => "reasoning_summary_delta",
        "response.reasoning_text.delta" => "reasoning_content_delta",
        "response.reasoning_summary_part.added" => "reasoning_summary_part_added",
        "response.function_call_arguments.delta"
        | "response.custom_tool_call_input.delta"
        | "response.mcp_call_arguments.delta" => "tool_call_input_delta",
        "response.completed" => "completed",
        "response.incomplete" => "incomplete",
        "response.failed" | "error" => "failed",
        _ => return None,
    })
}

/// An event of any type: it has every field that one of them has, and JSON that a rewriting would change.
fn event_of(kind: &str) -> String {
    format!(
        r#"{{ "item":{{"type":"x","id":"i"}},"sequence_number":3,"item_id":"i","output_index":1,"content_index":2,"summary_index":4,"delta":"\u0064","response":{{"id":"r"}},"odd" : [1.0, 1e2,"\/"],"message":"m","type":"{kind}"}}"#
    )
}

#[test]
fn every_type_of_the_api_has_the_form_that_the_table_says() {
    for &(kind, form) in EVENT_TYPES {
        let data = event_of(kind);
        let decoded = decode(&[&data]);
        assert_eq!(decoded.anomalies, StreamAnomalies::default(), "{kind}");
        assert_eq!(
            decoded.names(),
            [variant(kind).unwrap_or("other")],
            "{kind}"
        );
        assert_eq!(
            decoded.terminal.is_some(),
            form == EventForm::Terminal,
            "{kind}"
        );
        assert_eq!(
            variant(kind).is_none(),
            form == EventForm::PassThrough,
            "{kind}"
        );
        if let Some(ResponseEvent::Other(other)) = decoded.events.first() {
            assert_eq!((&*other.event, other.raw.get()), (kind, &*data));
        }
    }
}

#[test]
fn types_that_are_not_in_the_table_pass_through() {
    for kind in [
        "keepalive",
        "response.apply_patch_call_operation_diff.delta",
        "response.reasoning_part.added",
        "codex.rate_limits",
        "",
        "öäü",
    ] {
        let data = event_of(kind);
        match decode(&[&data]).only_event() {
            ResponseEvent::Other(other) => {
                assert_eq!((&*other.event, other.raw.get()), (kind, &*data));
            }
            other => panic!("{other:?}"),
        }
    }
}

fn output_text(delta: &str) -> TextDelta {
    TextDelta {
        delta: delta.into(),
        item_id: Some("i".into()),
        output_index: Some(1),
        content_index: Some(2),
        logprobs: None,
    }
}

#[test]
fn typed_events_carry_their_fields() {
    let input = |call_id: Option<&str>, input| {
        ResponseEvent::ToolCallInputDelta(ToolCallInputDelta {
            delta: "d".into(),
            item_id: Some("i".into()),
            call_id: call_id.map(Into::into),
            output_index: Some(1),
            input,
        })
    };
    let item = r#"{"type":"novelty", "n":1.0}"#;
    let cases: &[(&str, &str, ResponseEvent)] = &[
        (
            "response.output_text.delta",
            r#""content_index":2,"delta":"d","logprobs":[]"#,
            ResponseEvent::OutputTextDelta(output_text("d")),
        ),
        (
            "response.output_text.delta",
            r#""content_index":2,"delta":"d","logprobs":[{"token":"d" }]"#,
            ResponseEvent::OutputTextDelta(TextDelta {
                logprobs: Some(RawJson::parse(r#"[{"token":"d" }]"#).unwrap()),
                ..output_text("d")
            }),
        ),
        (
            "response.refusal.delta",
            r#""content_index":2,"delta":"d""#,
            ResponseEvent::RefusalDelta(TextDelta {
                delta: "d".into(),
                item_id: Some("i".into()),
                output_index: Some(1),
                content_index: Some(2),
                logprobs: None,
            }),
        ),
        (
            "response.reasoning_summary_text.delta",
            r#""summary_index":4,"delta":"d""#,
            ResponseEvent::ReasoningSummaryDelta(ReasoningDelta {
                delta: "d".into(),
                item_id: Some("i".into()),
                output_index: Some(1),
                part_index: 4,
            }),
        ),
        (
            "response.reasoning_text.delta",
            r#""content_index":2,"delta":"d""#,
            ResponseEvent::ReasoningContentDelta(ReasoningDelta {
                delta: "d".into(),
                item_id: Some("i".into()),
                output_index: Some(1),
                part_index: 2,
            }),
        ),
        (
            "response.reasoning_summary_part.added",
            r#""summary_index":4"#,
            ResponseEvent::ReasoningSummaryPartAdded(ReasoningSummaryPartAdded {
                item_id: Some("i".into()),
                output_index: Some(1),
                summary_index: 4,
            }),
        ),
        (
            "response.function_call_arguments.delta",
            r#""delta":"d""#,
            input(None, ToolCallInput::FunctionArguments),
        ),
        (
            "response.custom_tool_call_input.delta",
            r#""delta":"d","call_id":"c""#,
            input(Some("c"), ToolCallInput::CustomInput),
        ),
        (
            "response.mcp_call_arguments.delta",
            r#""delta":"d""#,
            input(None, ToolCallInput::McpArguments),
        ),
        (
            "response.output_item.added",
            &format!(r#""item": {item} "#),
            ResponseEvent::OutputItemAdded(OutputItem::new(Some(1), RawJson::parse(item).unwrap())),
        ),
        (
            "response.output_item.done",
            &format!(r#""item":{item}"#),
            ResponseEvent::OutputItemDone(OutputItem::new(Some(1), RawJson::parse(item).unwrap())),
        ),
        (
            "response.created",
            r#""response":{"object":"response","id":"r"}"#,
            ResponseEvent::Created(Created {
                response_id: Some("r".into()),
                response: Some(RawJson::parse(r#"{"object":"response","id":"r"}"#).unwrap()),
                request_id: None,
            }),
        ),
    ];
    for (kind, fields, expected) in cases {
        let data = format!(r#"{{"type":"{kind}","item_id":"i","output_index":1,{fields}}}"#);
        assert_eq!(&decode(&[&data]).only_event(), expected, "{data}");
    }
}

#[test]
fn rate_limits_in_the_stream_are_read() {
    let data = r#"{"type":"codex.rate_limits","rate_limits":{"primary":{"used_percent":42}}}"#;
    match decode(&[data]).only_event() {
        ResponseEvent::RateLimits(snapshot) => {
            assert_eq!(snapshot.primary.as_ref().unwrap().used_percent, 42.0);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_event_line_names_an_event_that_has_no_type() {
    for (lines, name) in [
        (
            "event: response.output_text.delta\ndata: {\"delta\":\"d\"}",
            "output_text_delta",
        ),
        (
            "event: response.output_text.delta\ndata: {\"delta\":\"d\",\"type\":null}",
            "output_text_delta",
        ),
        (
            "event: response.output_text.delta\ndata: {\"delta\":\"d\",\"type\":7}",
            "output_text_delta",
        ),
        (
            "event: response.refusal.delta\ndata: {\"delta\":\"d\",\"type\":\"response.output_text.delta\"}",
            "output_text_delta",
        ),
        ("event: keepalive\ndata: {}", "other"),
        ("event: response.completed\ndata: {}", "completed"),
        ("event: error\ndata: {\"message\":\"m\"}", "failed"),
        (
            "event: message\ndata: {\"error\":{\"message\":\"m\"}}",
            "failed",
        ),
        ("data: {\"error\":{\"message\":\"m\"}}", "failed"),
    ] {
        let decoded = decode_body(&format!("{lines}\n\n"));
        assert_eq!(decoded.names(), [name], "{lines}");
        assert!(decoded.anomalies.is_empty(), "{lines}");
    }
}

#[test]
fn an_event_without_type_and_name_is_counted() {
    let decoded = decode(&[r#"{"delta":"d"}"#]);
    assert_eq!(decoded.events, []);
    assert_eq!(
        decoded.anomalies.first_malformed.as_deref(),
        Some(r#"neither a type nor an event name: {"delta":"d"}"#)
    );
}

#[test]
fn items_with_odd_content_are_kept_byte_for_byte() {
    for item in [
        r#"{"type":"message","content":[{"type":"output_text","text":"\ud83d lone"}]}"#,
        r#"{"type":"new_kind", "n": 1.50e+03 ,"deep":[[[[{}]]]],"s":"\u00e9\/é"}"#,
        r#"{"type":"function_call","arguments":"{\"a\":\"\\ud83d\"}","name":null,"name":"f"}"#,
        "{}",
    ] {
        let done =
            format!(r#"{{"type":"response.output_item.done","item":{item},"output_index":null}}"#);
        match decode(&[done]).events.last() {
            Some(ResponseEvent::OutputItemDone(done)) => {
                assert_eq!((done.raw().get(), done.output_index()), (item, None));
            }
            other => panic!("{other:?}"),
        }
    }
}
