//! An event as one JSON object: the line that the command prints for it.

mod read;

use serde::{Serialize, Serializer};

use super::{OneLine, RateLimitSnapshot, ResponseEvent, fields::Fields, head::AsObject};

/// The event as one JSON object, with serde_json's serializers only.
///
/// `type` comes first and is the event's [`name`](ResponseEvent::name). What the server left out is left out, except for
/// `response_id` and `token_usage`, which are null then. JSON of the server's (`item`, `raw`, `logprobs`) is embedded as it
/// came; only line breaks between its tokens become spaces, so that the object is one line.
///
/// | `type` | further fields |
/// |---|---|
/// | `head` | `status`, `request_id`, `headers`: see [`ResponseHead`](super::ResponseHead) |
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
///
/// What was written is read back by the `Deserialize` of the event, and is equal but for those response objects, line breaks between
/// tokens, what a head keeps to itself, times under a millisecond, and the causes behind the first of an error.
impl Serialize for ResponseEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Self::RateLimits(limits) = self {
            return Limits::RateLimits(limits).serialize(serializer);
        }
        let mut fields = Fields::begin(serializer)?;
        fields.put("type", self.name())?;
        match self {
            Self::Head(head) => {
                fields.put("status", &head.status.as_u16())?;
                fields.put_some("request_id", head.request_id.as_deref())?;
                fields.put("headers", &AsObject(&head.headers))?;
            }
            Self::Created(created) => {
                fields.put("response_id", &created.response_id.as_deref())?;
                fields.put_some("request_id", created.request_id.as_deref())?;
            }
            Self::OutputItemAdded(item) | Self::OutputItemDone(item) => {
                fields.put("item", &OneLine(item.raw()))?;
                fields.put_some("output_index", item.output_index())?;
            }
            Self::OutputTextDelta(text) | Self::RefusalDelta(text) => {
                fields.put("delta", &text.delta)?;
                fields.put_place(text.item_id.as_deref(), text.output_index)?;
                fields.put_some("content_index", text.content_index)?;
                fields.put_some("logprobs", text.logprobs.as_ref().map(OneLine))?;
            }
            Self::ReasoningSummaryDelta(text) => {
                fields.put("delta", &text.delta)?;
                fields.put_place(text.item_id.as_deref(), text.output_index)?;
                fields.put("summary_index", &text.part_index)?;
            }
            Self::ReasoningContentDelta(text) => {
                fields.put("delta", &text.delta)?;
                fields.put_place(text.item_id.as_deref(), text.output_index)?;
                fields.put("content_index", &text.part_index)?;
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
            Self::ModelsEtag(etag) => fields.put("etag", &**etag)?,
            Self::ServerModel(model) => fields.put("model", &**model)?,
            Self::RateLimits(_) | Self::ServerReasoningIncluded | Self::Cancelled => {}
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
        fields.end()
    }
}

/// The limits with the event's name before them.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Limits<'a> {
    RateLimits(&'a RateLimitSnapshot),
}

#[cfg(test)]
mod tests;
