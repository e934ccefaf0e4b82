//! An event as one JSON object: the line that the command prints for it.

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{OneLine, RateLimitSnapshot, ResponseEvent, StreamAnomalies};

/// The event as one JSON object, with serde_json's serializers only.
///
/// `type` comes first and is the event's [`name`](ResponseEvent::name). What the server left out is left out, except for
/// `response_id` and `token_usage`, which are null then. JSON of the server's (`item`, `raw`, `logprobs`) is embedded as it
/// came; only line breaks between its tokens become spaces, so that the object is one line.
///
/// | `type` | further fields |
/// |---|---|
/// | `created` | `response_id`, `request_id` |
/// | `output_item_added`, `output_item_done` | `item`, `output_index` |
/// | `output_text_delta`, `refusal_delta` | `delta`, `item_id`, `output_index`, `content_index`, `logprobs` |
/// | `reasoning_content_delta` | `delta`, `item_id`, `output_index`, `content_index` |
/// | `reasoning_summary_delta` | `delta`, `item_id`, `output_index`, `summary_index` |
/// | `reasoning_summary_part_added` | `item_id`, `output_index`, `summary_index` |
/// | `tool_call_input_delta` | `delta`, `item_id`, `call_id`, `output_index`, `input` (`function_arguments`, `custom_input`, `mcp_arguments`) |
/// | `rate_limits` | those of [`RateLimitSnapshot`] |
/// | `models_etag` | `etag` |
/// | `server_model` | `model` |
/// | `server_reasoning_included` | |
/// | `other` | `event`, `raw` |
/// | `restarted` | `attempt`, `delay_ms`, `error` |
/// | `completed` | `response_id`, `token_usage`, those below, `end_turn`, `anomalies` |
/// | `incomplete` | `reason`, `response_id`, `token_usage`, those below, `anomalies` |
/// | `failed` | `error` |
/// | `cancelled` | |
///
/// Both ends name `usage`, `finish_reason`, `native_finish_reason`, `sequence_number` and `request_id` where they are known.
///
/// `error` is an [`ApiError`](crate::ApiError), `token_usage` a [`TokenUsage`](super::TokenUsage); `anomalies` is there when
/// something was odd. The response objects that some events carry are not repeated: their items have been events.
impl Serialize for ResponseEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = Fields(serializer.serialize_map(None)?);
        fields.put("type", self.name())?;
        match self {
            Self::Created(created) => {
                fields.put("response_id", &created.response_id.as_deref())?;
                fields.put_some("request_id", created.request_id.as_deref())?;
            }
            Self::OutputItemAdded(item) | Self::OutputItemDone(item) => {
                fields.put("item", &OneLine(item.raw()))?;
                fields.put_some("output_index", item.output_index())?;
            }
            Self::OutputTextDelta(text) => {
                fields.put("delta", &text.delta)?;
                fields.put_place(text.item_id.as_deref(), text.output_index)?;
                fields.put_some("content_index", text.content_index)?;
                fields.put_some("logprobs", text.logprobs.as_ref().map(OneLine))?;
            }
            Self::RefusalDelta(text) => {
                fields.put("delta", &text.delta)?;
                fields.put_place(text.item_id.as_deref(), text.output_index)?;
                fields.put_some("content_index", text.content_index)?;
                fields.put_some("logprobs", text.logprobs.as_ref().map(OneLine))?;
            }
            Self::ReasoningSummaryDelta(text) => {
                fields.put("delta", &text.delta)?;
                fields.put_place(text.item_id.as_deref(), text.output_index)?;
                fields.put("summary_index", &text.summary_index)?;
            }
            Self::ReasoningContentDelta(text) => {
                fields.put("delta", &text.delta)?;
                fields.put_place(text.item_id.as_deref(), text.output_index)?;
                fields.put("content_index", &text.content_index)?;
            }
            Self::ReasoningSummaryPartAdded(part) => {
                fields.put_place(part.item_id.as_deref(), part.output_index)?;
                fields.put("summary_index", &part.summary_index)?;
            }
            Self::ToolCallInputDelta(input) => {
                fields.put("delta", &input.delta)?;
                fields.put_some("item_id", input.item_id.as_deref())?;
                fields.put_some("call_id", input.call_id.as_deref())?;
                fields.put_some("output_index", input.output_index)?;
                fields.put("input", &input.input)?;
            }
            Self::RateLimits(limits) => fields.put_limits(limits)?,
            Self::ModelsEtag(etag) => fields.put("etag", &**etag)?,
            Self::ServerModel(model) => fields.put("model", &**model)?,
            Self::ServerReasoningIncluded | Self::Cancelled => {}
            Self::Other(other) => {
                fields.put("event", &*other.event)?;
                fields.put("raw", &OneLine(&other.raw))?;
            }
            Self::Restarted(restarted) => {
                fields.put("attempt", &restarted.attempt)?;
                let millis = u64::try_from(restarted.delay.as_millis()).unwrap_or(u64::MAX);
                fields.put("delay_ms", &millis)?;
                fields.put("error", &*restarted.error)?;
            }
            Self::Completed(completed) => {
                fields.put("response_id", &completed.response_id.as_deref())?;
                fields.put("token_usage", &completed.token_usage)?;
                fields.put_some("usage", completed.usage.as_ref().map(OneLine))?;
                fields.put_some("finish_reason", completed.finish_reason.as_ref())?;
                fields.put_some(
                    "native_finish_reason",
                    completed.native_finish_reason.as_ref(),
                )?;
                fields.put_some("sequence_number", completed.sequence_number)?;
                fields.put_some("request_id", completed.request_id.as_deref())?;
                fields.put_some("end_turn", completed.end_turn)?;
                fields.put_anomalies(&completed.anomalies)?;
            }
            Self::Incomplete(incomplete) => {
                fields.put("reason", &incomplete.reason)?;
                fields.put("response_id", &incomplete.response_id.as_deref())?;
                fields.put("token_usage", &incomplete.token_usage)?;
                fields.put_some("usage", incomplete.usage.as_ref().map(OneLine))?;
                fields.put_some("finish_reason", incomplete.finish_reason.as_ref())?;
                fields.put_some(
                    "native_finish_reason",
                    incomplete.native_finish_reason.as_ref(),
                )?;
                fields.put_some("sequence_number", incomplete.sequence_number)?;
                fields.put_some("request_id", incomplete.request_id.as_deref())?;
                fields.put_anomalies(&incomplete.anomalies)?;
            }
            Self::Failed(error) => fields.put("error", &**error)?,
        }
        fields.0.end()
    }
}

/// The fields of an object, one after another.
struct Fields<M>(M);

impl<M: SerializeMap> Fields<M> {
    fn put<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), M::Error> {
        self.0.serialize_entry(name, value)
    }

    fn put_some<T: Serialize>(
        &mut self,
        name: &'static str,
        value: Option<T>,
    ) -> Result<(), M::Error> {
        match value {
            Some(value) => self.put(name, &value),
            None => Ok(()),
        }
    }

    /// Which item something belongs to.
    fn put_place(
        &mut self,
        item_id: Option<&str>,
        output_index: Option<u32>,
    ) -> Result<(), M::Error> {
        self.put_some("item_id", item_id)?;
        self.put_some("output_index", output_index)
    }

    fn put_limits(&mut self, limits: &RateLimitSnapshot) -> Result<(), M::Error> {
        self.put_some("limit_id", limits.limit_id.as_ref())?;
        self.put_some("limit_name", limits.limit_name.as_ref())?;
        self.put_some("plan_type", limits.plan_type.as_ref())?;
        self.put_some("primary", limits.primary.as_ref())?;
        self.put_some("secondary", limits.secondary.as_ref())?;
        self.put_some("credits", limits.credits.as_ref())?;
        self.put_some(
            "rate_limit_reached_type",
            limits.rate_limit_reached_type.as_ref(),
        )?;
        self.put_some("individual_limit", limits.individual_limit.as_ref())?;
        self.put_some("spend_control_reached", limits.spend_control_reached)?;
        self.put_some("promo_message", limits.promo_message.as_ref())?;
        self.put_some("requests", limits.requests)?;
        self.put_some("tokens", limits.tokens)
    }

    fn put_anomalies(&mut self, anomalies: &StreamAnomalies) -> Result<(), M::Error> {
        self.put_some("anomalies", (!anomalies.is_empty()).then_some(anomalies))
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::protocol::{
        Completed, Created, Credits, Id, Incomplete, IndividualLimit, OtherEvent, OutputItem,
        OutputTextDelta, RateLimitBudget, RateLimitWindow, RawJson, ReasoningContentDelta,
        ReasoningSummaryDelta, ReasoningSummaryPartAdded, RefusalDelta, Restarted, TokenUsage,
        ToolCallInput, ToolCallInputDelta,
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
                ResponseEvent::OutputTextDelta(OutputTextDelta {
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
                ResponseEvent::OutputTextDelta(OutputTextDelta {
                    delta: "a".into(),
                    item_id: None,
                    output_index: None,
                    content_index: None,
                    logprobs: None,
                }),
                r#"{"type":"output_text_delta","delta":"a"}"#.to_owned(),
            ),
            (
                ResponseEvent::RefusalDelta(RefusalDelta {
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
                ResponseEvent::ReasoningSummaryDelta(ReasoningSummaryDelta {
                    delta: "hm".into(),
                    item_id: id("rs"),
                    output_index: Some(0),
                    summary_index: 3,
                }),
                r#"{"type":"reasoning_summary_delta","delta":"hm","item_id":"rs","output_index":0,"summary_index":3}"#
                    .to_owned(),
            ),
            (
                ResponseEvent::ReasoningContentDelta(ReasoningContentDelta {
                    delta: "hm".into(),
                    item_id: None,
                    output_index: None,
                    content_index: 0,
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
}
