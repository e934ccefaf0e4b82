//! What was written is read back.

use std::io;

use proptest::{collection, option, prelude::*, sample::select};

use super::*;
use crate::protocol::{
    Text,
    error::{AttemptFailure, Phase},
};

fn some_id() -> impl Strategy<Value = Option<Id>> {
    option::of("[^\r\n]{0,12}".prop_map(Id::from))
}

fn some_string() -> impl Strategy<Value = Option<String>> {
    option::of(any::<String>())
}

fn some_text() -> impl Strategy<Value = Option<Text>> {
    option::of(any::<String>().prop_map(Text::from))
}

fn any_text() -> impl Strategy<Value = Text> {
    any::<String>().prop_map(Text::from)
}

fn any_raw() -> impl Strategy<Value = RawJson> {
    let texts = [
        "null",
        "{}",
        "1.0",
        r#""a\u0062""#,
        r#"{"b" : 1e2, "a":[null,{"type":"x"}], "b":12345678901234567890123}"#,
        r#"{"type":"message","role":"assistant","content":[]}"#,
    ];
    select(texts.to_vec()).prop_map(raw)
}

fn some_raw() -> impl Strategy<Value = Option<RawJson>> {
    option::of(any_raw())
}

fn some_usage() -> impl Strategy<Value = Option<TokenUsage>> {
    option::of(any::<[u64; 6]>().prop_map(|counts| TokenUsage {
        input_tokens: counts[0],
        cached_input_tokens: counts[1],
        cache_write_tokens: counts[2],
        output_tokens: counts[3],
        reasoning_output_tokens: counts[4],
        total_tokens: counts[5],
    }))
}

fn any_anomalies() -> impl Strategy<Value = StreamAnomalies> {
    let counts = (0..3_u64, 0..3_u64, 0..3_u64);
    (counts, some_string(), any::<bool>()).prop_map(|(counts, first, no_reason)| StreamAnomalies {
        malformed_events: counts.0,
        first_malformed: first,
        sequence_gaps: counts.1,
        sequence_repeats: counts.2,
        no_finish_reason: no_reason,
    })
}

fn some_percent() -> impl Strategy<Value = Option<f64>> {
    option::of(-1e300..1e300_f64)
}

fn some_millis() -> impl Strategy<Value = Option<Duration>> {
    option::of(any::<u64>().prop_map(Duration::from_millis))
}

fn some_window() -> impl Strategy<Value = Option<RateLimitWindow>> {
    let of = any::<(Option<i64>, Option<i64>)>();
    let window = (-1e300..1e300_f64, of).prop_map(|(used_percent, of)| RateLimitWindow {
        used_percent,
        window_minutes: of.0,
        resets_at: of.1,
    });
    option::of(window)
}

fn some_budget() -> impl Strategy<Value = Option<RateLimitBudget>> {
    let budget = (any::<(Option<u64>, Option<u64>)>(), some_millis());
    option::of(
        budget.prop_map(|((limit, remaining), reset)| RateLimitBudget {
            limit,
            remaining,
            reset,
        }),
    )
}

fn any_limits() -> impl Strategy<Value = RateLimitSnapshot> {
    let texts = (
        (some_string(), some_string(), some_string()),
        (some_string(), some_string(), some_string()),
    );
    let credits = option::of((any::<(bool, bool)>(), some_string()).prop_map(
        |((has_credits, unlimited), balance)| Credits {
            has_credits,
            unlimited,
            balance,
        },
    ));
    let individual = option::of(
        (some_string(), some_percent(), any::<Option<i64>>()).prop_map(
            |(limit, remaining_percent, resets_at)| IndividualLimit {
                used: limit.clone(),
                limit,
                remaining_percent,
                resets_at,
            },
        ),
    );
    let windows = (some_window(), some_window(), some_budget(), some_budget());
    let rest = (credits, individual, any::<Option<bool>>());
    (texts, windows, rest).prop_map(|(texts, windows, rest)| RateLimitSnapshot {
        limit_id: texts.0.0,
        limit_name: texts.0.1,
        plan_type: texts.0.2,
        primary: windows.0,
        secondary: windows.1,
        credits: rest.0,
        rate_limit_reached_type: texts.1.0,
        individual_limit: rest.1,
        spend_control_reached: rest.2,
        promo_message: texts.1.1,
        requests: windows.2,
        tokens: windows.3,
    })
}

fn any_error() -> impl Strategy<Value = Arc<ApiError>> {
    let phases = [
        Phase::Prepare,
        Phase::Authorize,
        Phase::Connect,
        Phase::ResponseHead,
        Phase::Body,
        Phase::Deliver,
    ];
    let what = (
        select(ErrorKind::ALL),
        any::<String>(),
        option::of(select(phases.to_vec())),
        some_string(),
    );
    let server = (
        any::<Option<u16>>(),
        collection::vec(some_string(), 7),
        some_millis(),
        any::<(Option<bool>, Option<i64>)>(),
        option::of(any_limits()),
    );
    let end = (
        some_id(),
        some_usage(),
        some_raw(),
        some_text(),
        some_text(),
        any::<Option<u64>>(),
        any_anomalies(),
    );
    let attempts = (any::<bool>(), 0..4_u32, some_string());
    (what, server, end, attempts).prop_map(|(what, server, end, (delivered, attempts, id))| {
        let (kind, message, phase, cause) = what;
        let mut error = ApiError::new(kind, message);
        if let Some(cause) = cause {
            error = error.with_source(io::Error::other(cause));
        }
        let details = error.details_mut();
        details.phase = phase;
        let (status, mut texts, retry_after, (should_retry, resets_at), limits) = server;
        details.status = status;
        let fields = [
            &mut details.provider,
            &mut details.host,
            &mut details.code,
            &mut details.error_type,
            &mut details.param,
            &mut details.request_id,
            &mut details.plan_type,
        ];
        for field in fields {
            *field = texts.pop().flatten();
        }
        details.retry_after = retry_after;
        details.should_retry = should_retry;
        details.resets_at = resets_at;
        details.rate_limits = limits;
        (
            details.response_id,
            details.token_usage,
            details.usage,
            details.finish_reason,
            details.native_finish_reason,
            details.sequence_number,
            details.anomalies,
        ) = end;
        details.output_delivered = delivered;
        if attempts > 0 {
            details.attempt = attempts;
            details.max_attempts = 9;
            let failure = |attempt| AttemptFailure {
                attempt,
                kind,
                message: "cut".to_owned(),
                request_id: id.clone(),
                provider: id.clone(),
            };
            details.attempts = (1..=attempts).map(failure).collect();
        }
        Arc::new(error)
    })
}

fn any_delta() -> impl Strategy<Value = ResponseEvent> {
    let place = (some_id(), any::<Option<u32>>());
    let more = (some_id(), any::<Option<u32>>(), any::<u32>(), some_raw());
    let inputs = [
        ToolCallInput::FunctionArguments,
        ToolCallInput::CustomInput,
        ToolCallInput::McpArguments,
    ];
    (0..6_u8, any_text(), place, more, select(inputs.to_vec())).prop_map(
        |(
            which,
            delta,
            (item_id, output_index),
            (call_id, content_index, index, logprobs),
            input,
        )| {
            match which {
                0 => ResponseEvent::OutputTextDelta(TextDelta {
                    delta,
                    item_id,
                    output_index,
                    content_index,
                    logprobs,
                }),
                1 => ResponseEvent::RefusalDelta(TextDelta {
                    delta,
                    item_id,
                    output_index,
                    content_index,
                    logprobs,
                }),
                2 => ResponseEvent::ReasoningSummaryDelta(ReasoningDelta {
                    delta,
                    item_id,
                    output_index,
                    part_index: index,
                }),
                3 => ResponseEvent::ReasoningContentDelta(ReasoningDelta {
                    delta,
                    item_id,
                    output_index,
                    part_index: index,
                }),
                4 => ResponseEvent::ReasoningSummaryPartAdded(ReasoningSummaryPartAdded {
                    item_id,
                    output_index,
                    summary_index: index,
                }),
                _ => ResponseEvent::ToolCallInputDelta(ToolCallInputDelta {
                    delta,
                    item_id,
                    call_id,
                    output_index,
                    input,
                }),
            }
        },
    )
}

fn any_end() -> impl Strategy<Value = ResponseEvent> {
    let ids = (some_id(), some_id(), some_text(), some_text());
    let rest = (
        some_usage(),
        some_raw(),
        any::<(Option<u64>, Option<bool>)>(),
    );
    (any::<bool>(), any_text(), ids, rest, any_anomalies()).prop_map(
        |(is_whole, reason, ids, rest, anomalies)| {
            let (response_id, request_id, finish_reason, native_finish_reason) = ids;
            let (token_usage, usage, (sequence_number, end_turn)) = rest;
            match is_whole {
                true => ResponseEvent::Completed(Arc::new(Completed {
                    response_id,
                    token_usage,
                    usage,
                    finish_reason,
                    native_finish_reason,
                    sequence_number,
                    request_id,
                    end_turn,
                    response: None,
                    anomalies,
                })),
                false => ResponseEvent::Incomplete(Arc::new(Incomplete {
                    reason,
                    response_id,
                    token_usage,
                    usage,
                    finish_reason,
                    native_finish_reason,
                    sequence_number,
                    request_id,
                    response: None,
                    anomalies,
                })),
            }
        },
    )
}

fn any_event() -> impl Strategy<Value = ResponseEvent> {
    let item = || {
        let item = (any::<Option<u32>>(), any_raw());
        item.prop_map(|(index, raw)| OutputItem::new(index, raw))
    };
    let id = || any::<String>().prop_map(Id::from);
    let created = (some_id(), some_id()).prop_map(|(response_id, request_id)| Created {
        response_id,
        response: None,
        request_id,
    });
    let restarted = (any::<u32>(), any::<u64>(), any_error());
    let head = (
        100..1000_u16,
        some_id(),
        collection::vec((select(vec!["a", "x-b"]), "[ -~]{0,9}"), 0..4),
    );
    let head = head.prop_map(|(status, request_id, headers)| {
        let mut head = ResponseHead::new(http::StatusCode::from_u16(status).unwrap());
        head.request_id = request_id;
        for (name, value) in headers {
            head.headers.append(name, value.parse().unwrap());
        }
        ResponseEvent::Head(Arc::new(head))
    });
    prop_oneof![
        head,
        created.prop_map(ResponseEvent::Created),
        item().prop_map(ResponseEvent::OutputItemAdded),
        item().prop_map(ResponseEvent::OutputItemDone),
        any_delta(),
        any_limits().prop_map(|limits| ResponseEvent::RateLimits(Arc::new(limits))),
        id().prop_map(ResponseEvent::ModelsEtag),
        id().prop_map(ResponseEvent::ServerModel),
        Just(ResponseEvent::ServerReasoningIncluded),
        (id(), any_raw()).prop_map(|(event, raw)| ResponseEvent::Other(OtherEvent { event, raw })),
        restarted.prop_map(|(attempt, millis, error)| {
            let delay = Duration::from_millis(millis);
            ResponseEvent::Restarted(Arc::new(Restarted::new(attempt, delay, error)))
        }),
        any_end(),
        any_error().prop_map(ResponseEvent::Failed),
        Just(ResponseEvent::Cancelled),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_equal(event in any_event()) {
        let json = serde_json::to_string(&event).unwrap();
        let read: ResponseEvent = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), json);
        prop_assert_eq!(read, event);
    }

    #[test]
    fn limits_alone_are_read_back_equal(limits in any_limits()) {
        let json = serde_json::to_string(&limits).unwrap();
        prop_assert_eq!(serde_json::from_str::<RateLimitSnapshot>(&json).unwrap(), limits);
    }
}

#[test]
fn json_of_any_depth_is_read_back() {
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let event = ResponseEvent::Other(OtherEvent::new("deep", raw(&deep)));
    let json = serde_json::to_string(&event).unwrap();
    assert_eq!(serde_json::from_str::<ResponseEvent>(&json).unwrap(), event);
}

#[test]
fn events_are_read_in_a_list_and_from_a_value_and_with_fields_more() {
    let text = r#"[{"delta":"a","x":[1],"type":"output_text_delta"},{"type":"cancelled"}]"#;
    let expected = vec![
        ResponseEvent::OutputTextDelta(TextDelta::new("a")),
        ResponseEvent::Cancelled,
    ];
    let events: Vec<ResponseEvent> = serde_json::from_str(text).unwrap();
    assert_eq!(events, expected);
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    let events: Vec<ResponseEvent> = serde_json::from_value(value).unwrap();
    assert_eq!(events, expected);
}

#[test]
fn what_is_no_event_is_an_error() {
    for (text, said) in [
        ("1", "invalid type"),
        ("{}", "missing field `type`"),
        (r#"{"type":"new"}"#, r#"no event has the type "new""#),
        (r#"{"type":"output_text_delta"}"#, "missing field `delta`"),
        (
            r#"{"type":"failed","error":{"kind":"new","message":"a"}}"#,
            "unknown variant `new`",
        ),
    ] {
        let error = serde_json::from_str::<ResponseEvent>(text).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}
