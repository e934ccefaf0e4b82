use std::{sync::Arc, time::Duration};

use super::*;
use crate::protocol::{
    Completed, Created, Credits, Id, Incomplete, IndividualLimit, OtherEvent, OutputItem,
    RateLimitBudget, RateLimitWindow, RawJson, ReasoningDelta, ReasoningSummaryPartAdded,
    ResponseHead, Restarted, StreamAnomalies, TextDelta, TokenUsage, ToolCallInput,
    ToolCallInputDelta,
    error::{ApiError, ErrorKind},
};

fn raw(text: &str) -> RawJson {
    RawJson::parse(text).unwrap()
}

fn id(text: &str) -> Option<Id> {
    Some(text.into())
}

fn error() -> Arc<ApiError> {
    Arc::new(ApiError::new(ErrorKind::Truncated, "cut"))
}

fn odd() -> StreamAnomalies {
    StreamAnomalies {
        sequence_gaps: 1,
        ..StreamAnomalies::default()
    }
}

#[test]
fn every_event_is_one_object_with_its_type_first() {
    let usage = TokenUsage {
        input_tokens: 5,
        cached_input_tokens: 1,
        cache_write_tokens: 3,
        output_tokens: 4,
        reasoning_output_tokens: 2,
        total_tokens: 9,
    };
    let failure = r#"{"kind":"truncated","message":"cut","output_delivered":false,"advice":"try again; if it repeats, look for a proxy that cuts long answers"}"#;
    let window = RateLimitWindow {
        used_percent: 12.5,
        window_minutes: Some(300),
        resets_at: Some(7),
    };
    for (event, json) in [
        (
            ResponseEvent::Created(Created {
                response_id: id("r"),
                response: Some(raw("{}")),
                request_id: id("q"),
            }),
            r#"{"type":"created","response_id":"r","request_id":"q"}"#.to_owned(),
        ),
        (
            ResponseEvent::Created(Created::default()),
            r#"{"type":"created","response_id":null}"#.to_owned(),
        ),
        (
            ResponseEvent::OutputItemAdded(OutputItem::new(
                Some(2),
                raw(r#"{"b": 1.0, "a":"\n"}"#),
            )),
            r#"{"type":"output_item_added","item":{"b": 1.0, "a":"\n"},"output_index":2}"#
                .to_owned(),
        ),
        (
            ResponseEvent::OutputItemDone(OutputItem::new(None, raw("{}"))),
            r#"{"type":"output_item_done","item":{}}"#.to_owned(),
        ),
        (
            ResponseEvent::OutputTextDelta(TextDelta {
                delta: "a\n\u{1F600}".into(),
                item_id: id("m"),
                output_index: Some(1),
                content_index: Some(0),
                logprobs: Some(raw("[1]")),
            }),
            "{\"type\":\"output_text_delta\",\"delta\":\"a\\n\u{1F600}\",\"item_id\":\"m\",\"output_index\":1,\"content_index\":0,\"logprobs\":[1]}"
                .to_owned(),
        ),
        (
            ResponseEvent::OutputTextDelta(TextDelta {
                delta: "a".into(),
                item_id: None,
                output_index: None,
                content_index: None,
                logprobs: None,
            }),
            r#"{"type":"output_text_delta","delta":"a"}"#.to_owned(),
        ),
        (
            ResponseEvent::RefusalDelta(TextDelta {
                delta: "no".into(),
                item_id: id("m"),
                output_index: Some(0),
                content_index: Some(1),
                logprobs: None,
            }),
            r#"{"type":"refusal_delta","delta":"no","item_id":"m","output_index":0,"content_index":1}"#
                .to_owned(),
        ),
        (
            ResponseEvent::ReasoningSummaryDelta(ReasoningDelta {
                delta: "hm".into(),
                item_id: id("rs"),
                output_index: Some(0),
                part_index: 3,
            }),
            r#"{"type":"reasoning_summary_delta","delta":"hm","item_id":"rs","output_index":0,"summary_index":3}"#
                .to_owned(),
        ),
        (
            ResponseEvent::ReasoningContentDelta(ReasoningDelta {
                delta: "hm".into(),
                item_id: None,
                output_index: None,
                part_index: 0,
            }),
            r#"{"type":"reasoning_content_delta","delta":"hm","content_index":0}"#.to_owned(),
        ),
        (
            ResponseEvent::ReasoningSummaryPartAdded(ReasoningSummaryPartAdded {
                item_id: id("rs"),
                output_index: None,
                summary_index: 1,
            }),
            r#"{"type":"reasoning_summary_part_added","item_id":"rs","summary_index":1}"#
                .to_owned(),
        ),
        (
            ResponseEvent::ToolCallInputDelta(ToolCallInputDelta {
                delta: "{\"a".into(),
                item_id: id("fc"),
                call_id: id("call"),
                output_index: Some(1),
                input: ToolCallInput::FunctionArguments,
            }),
            r#"{"type":"tool_call_input_delta","delta":"{\"a","item_id":"fc","call_id":"call","output_index":1,"input":"function_arguments"}"#
                .to_owned(),
        ),
        (
            ResponseEvent::RateLimits(Arc::new(RateLimitSnapshot {
                limit_id: Some("codex".into()),
                primary: Some(window),
                ..RateLimitSnapshot::default()
            })),
            r#"{"type":"rate_limits","limit_id":"codex","primary":{"used_percent":12.5,"window_minutes":300,"resets_at":7}}"#
                .to_owned(),
        ),
        (
            ResponseEvent::ModelsEtag("e".into()),
            r#"{"type":"models_etag","etag":"e"}"#.to_owned(),
        ),
        (
            ResponseEvent::Head(Arc::new(head())),
            r#"{"type":"head","status":201,"request_id":"req_1","headers":{"x-a":["1","2"],"cf-ray":"r"}}"#.to_owned(),
        ),
        (
            ResponseEvent::ServerModel("m".into()),
            r#"{"type":"server_model","model":"m"}"#.to_owned(),
        ),
        (
            ResponseEvent::ServerReasoningIncluded,
            r#"{"type":"server_reasoning_included"}"#.to_owned(),
        ),
        (
            ResponseEvent::Other(OtherEvent {
                event: "note".into(),
                raw: raw(r#"{"type":"note", "x":[1 ,2]}"#),
            }),
            r#"{"type":"other","event":"note","raw":{"type":"note", "x":[1 ,2]}}"#.to_owned(),
        ),
        (
            ResponseEvent::Restarted(Arc::new(Restarted {
                attempt: 2,
                delay: Duration::from_millis(1500),
                error: error(),
            })),
            format!(r#"{{"type":"restarted","attempt":2,"delay_ms":1500,"error":{failure}}}"#),
        ),
        (
            ResponseEvent::Completed(Arc::new(Completed {
                response_id: id("r"),
                token_usage: Some(usage),
                usage: Some(raw("{\"cost\":\n0.5}")),
                finish_reason: Some("stop".into()),
                native_finish_reason: Some("STOP".into()),
                sequence_number: Some(7),
                request_id: id("q"),
                end_turn: Some(true),
                response: Some(raw("{}")),
                anomalies: StreamAnomalies::default(),
            })),
            r#"{"type":"completed","response_id":"r","token_usage":{"input_tokens":5,"cached_input_tokens":1,"cache_write_tokens":3,"output_tokens":4,"reasoning_output_tokens":2,"total_tokens":9},"usage":{"cost": 0.5},"finish_reason":"stop","native_finish_reason":"STOP","sequence_number":7,"request_id":"q","end_turn":true}"#
                .to_owned(),
        ),
        (
            ResponseEvent::Completed(Arc::new(Completed {
                anomalies: odd(),
                ..Completed::default()
            })),
            r#"{"type":"completed","response_id":null,"token_usage":null,"anomalies":{"malformed_events":0,"sequence_gaps":1,"sequence_repeats":0}}"#
                .to_owned(),
        ),
        (
            ResponseEvent::Incomplete(Arc::new(Incomplete {
                reason: "max_output_tokens".into(),
                ..Incomplete::default()
            })),
            r#"{"type":"incomplete","reason":"max_output_tokens","response_id":null,"token_usage":null}"#
                .to_owned(),
        ),
        (
            ResponseEvent::Failed(error()),
            format!(r#"{{"type":"failed","error":{failure}}}"#),
        ),
        (
            ResponseEvent::Cancelled,
            r#"{"type":"cancelled"}"#.to_owned(),
        ),
    ] {
        assert_eq!(serde_json::to_string(&event).unwrap(), json, "{event:?}");
        let read: ResponseEvent = serde_json::from_str(&json).unwrap();
        assert_eq!(read.name(), event.name());
        assert_eq!(serde_json::to_string(&read).unwrap(), json, "{event:?}");
    }
}

#[test]
fn limits_are_written_as_the_snapshot_alone_is() {
    let text = |text: &str| Some(text.to_owned());
    let budget = Some(RateLimitBudget {
        limit: Some(3),
        remaining: Some(2),
        reset: Some(Duration::from_millis(5)),
    });
    let window = Some(RateLimitWindow {
        used_percent: 1.5,
        window_minutes: Some(2),
        resets_at: Some(3),
    });
    // Without `..`, so that a new field is not forgotten.
    let limits = RateLimitSnapshot {
        limit_id: text("codex"),
        limit_name: text("Codex"),
        plan_type: text("team"),
        primary: window.clone(),
        secondary: window,
        credits: Some(Credits {
            has_credits: true,
            unlimited: false,
            balance: text("5"),
        }),
        rate_limit_reached_type: text("rate_limit_reached"),
        individual_limit: Some(IndividualLimit {
            limit: text("9"),
            used: text("8"),
            remaining_percent: Some(11.0),
            resets_at: Some(4),
        }),
        spend_control_reached: Some(false),
        promo_message: text("more"),
        requests: budget,
        tokens: budget,
    };
    let alone = serde_json::to_string(&limits).unwrap();
    let event = ResponseEvent::RateLimits(Arc::new(limits));
    assert_eq!(
        serde_json::to_string(&event).unwrap(),
        format!(r#"{{"type":"rate_limits",{}"#, &alone[1..])
    );
}

#[test]
fn line_breaks_between_tokens_become_spaces() {
    let item = OutputItem::new(None, raw("{\n\"a\":\r\n\"b\\n\"}"));
    assert_eq!(
        serde_json::to_string(&ResponseEvent::OutputItemDone(item)).unwrap(),
        r#"{"type":"output_item_done","item":{ "a":  "b\n"}}"#
    );
}

#[test]
fn json_of_any_depth_is_embedded() {
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let other = OtherEvent {
        event: "deep".into(),
        raw: raw(&deep),
    };
    let json = serde_json::to_string(&ResponseEvent::Other(other)).unwrap();
    assert_eq!(
        json,
        format!(r#"{{"type":"other","event":"deep","raw":{deep}}}"#)
    );
}

mod reading;

fn head() -> ResponseHead {
    let mut head = ResponseHead::new(http::StatusCode::CREATED);
    head.request_id = Some("req_1".into());
    for (name, value) in [("x-a", "1"), ("x-a", "2"), ("cf-ray", "r")] {
        head.headers
            .append(name, http::HeaderValue::from_static(value));
    }
    head
}
