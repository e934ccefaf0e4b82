//! What a subscriber receives.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    Id, RateLimitSnapshot, RawJson, ResponseHead, ResponseItem, StreamAnomalies, Text, TokenUsage,
    duration_notation::of_millis,
    error::ApiError,
    raw::present,
    saying::{event_changes_answer, event_says_something, item_says_something},
};

/// One thing that happened to a request, in the order in which it happened.
///
/// Every request ends with exactly one of [`Completed`](Self::Completed), [`Incomplete`](Self::Incomplete),
/// [`Failed`](Self::Failed) and [`Cancelled`](Self::Cancelled), and nothing follows it ([`is_final`](Self::is_final)).
///
/// Both dialects arrive as these events. A clone is cheap: texts are short or shared.
///
/// The test of a subscriber makes them itself: each payload has a default, or is made of what it cannot be without, and its other
/// fields are set.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use actix_responses::{ApiError, ErrorKind, protocol::*};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut created = Created::default();
/// created.response_id = Some("resp_1".into());
/// let item = OutputItem::new(Some(0), RawJson::parse(r#"{"type":"message","role":"assistant"}"#)?);
/// let mut text = TextDelta::new("Hello");
/// text.item_id = Some("msg_1".into());
/// let error = Arc::new(ApiError::new(ErrorKind::Overloaded, "busy"));
/// let mut completed = Completed::default();
/// completed.token_usage = Some(TokenUsage { input_tokens: 3, ..TokenUsage::default() });
/// let mut incomplete = Incomplete::default();
/// incomplete.reason = "max_output_tokens".into();
/// let mut limits = RateLimitSnapshot::default();
/// limits.requests = Some(RateLimitBudget { remaining: Some(9), ..RateLimitBudget::default() });
/// let mut anomalies = StreamAnomalies::default();
/// anomalies.malformed_events = 1;
/// completed.anomalies = anomalies;
///
/// let events = [
///     ResponseEvent::Head(Arc::new(ResponseHead::new(http::StatusCode::OK))),
///     ResponseEvent::Created(created),
///     ResponseEvent::OutputItemAdded(item.clone()),
///     ResponseEvent::OutputItemDone(item),
///     ResponseEvent::OutputTextDelta(text),
///     ResponseEvent::RefusalDelta(TextDelta::new("I can't")),
///     ResponseEvent::ReasoningSummaryDelta(ReasoningDelta::new(0, "In short")),
///     ResponseEvent::ReasoningContentDelta(ReasoningDelta::new(0, "Let me see")),
///     ResponseEvent::ReasoningSummaryPartAdded(ReasoningSummaryPartAdded::new(0)),
///     ResponseEvent::ToolCallInputDelta(ToolCallInputDelta::new(ToolCallInput::FunctionArguments, "{")),
///     ResponseEvent::RateLimits(Arc::new(limits)),
///     ResponseEvent::ModelsEtag("1".into()),
///     ResponseEvent::ServerModel("gpt-5".into()),
///     ResponseEvent::ServerReasoningIncluded,
///     ResponseEvent::Other(OtherEvent::new("ping", RawJson::parse("{}")?)),
///     ResponseEvent::Restarted(Arc::new(Restarted::new(2, Duration::ZERO, error.clone()))),
///     ResponseEvent::Completed(Arc::new(completed)),
///     ResponseEvent::Incomplete(Arc::new(incomplete)),
///     ResponseEvent::Failed(error),
///     ResponseEvent::Cancelled,
/// ];
/// assert_eq!(events.iter().filter(|event| event.is_final()).count(), 4);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ResponseEvent {
    /// The head of a response has come, of an attempt that was not refused: before anything else that the attempt brings. It may come
    /// again with another attempt, unless it is equal; the last one counts. It is neither output nor progress. That of a
    /// refusal is in the error: [`ErrorDetails::head`](crate::ErrorDetails::head).
    Head(Arc<ResponseHead>),
    /// The server accepted the request. It may come again, with another id, when an attempt that had delivered no output
    /// was retried; the last one counts, and voids what the attempt before had only announced: items that were begun and
    /// stayed empty ([`is_output`](Self::is_output)).
    Created(Created),
    /// An output item begins. Its fields are what the server knows so far.
    OutputItemAdded(OutputItem),
    /// An output item is whole.
    OutputItemDone(OutputItem),
    /// More text of an answer: `response.output_text.delta`.
    OutputTextDelta(TextDelta),
    /// More text of a refusal: `response.refusal.delta`.
    RefusalDelta(TextDelta),
    /// More text of a reasoning summary: `response.reasoning_summary_text.delta`.
    ReasoningSummaryDelta(ReasoningDelta),
    /// More text of the reasoning itself: `response.reasoning_text.delta`, and the reasoning of a Chat stream under whichever name.
    ReasoningContentDelta(ReasoningDelta),
    /// A part of a reasoning summary begins.
    ReasoningSummaryPartAdded(ReasoningSummaryPartAdded),
    /// More of the input that a tool is called with.
    ToolCallInputDelta(ToolCallInputDelta),
    /// The limits that the server reported, in headers or in the stream.
    RateLimits(Arc<RateLimitSnapshot>),
    /// The version of the server's model list (header `x-models-etag`).
    ModelsEtag(Id),
    /// The model that answers (header `openai-model`), when the server says so.
    ServerModel(Id),
    /// The server counts reasoning of earlier turns itself (header `x-reasoning-included` was present).
    ServerReasoningIncluded,
    /// An event that has no form of its own here, known or not, as it came.
    Other(OtherEvent),
    /// The attempt before this one failed after it had delivered output, and another begins: everything since the start, or
    /// since the last `Restarted`, is void. Only with [`RetryAfterOutput::Restart`](crate::retry::RetryAfterOutput).
    Restarted(Arc<Restarted>),
    /// Final: the answer is whole.
    Completed(Arc<Completed>),
    /// Final: the server stopped early, for a reason that it names.
    Incomplete(Arc<Incomplete>),
    /// Final: the request failed, and no attempt is left or another would not help.
    Failed(Arc<ApiError>),
    /// Final: the caller cancelled the request, or its last subscriber left.
    Cancelled,
}

/// `response.created`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Created {
    /// The response's id, for `previous_response_id` and for cancelling.
    pub response_id: Option<Id>,
    /// The response object as it stood at the start; absent on the Chat wire.
    pub response: Option<RawJson>,
    /// The server's id of the request (header `x-request-id` and the like), for a report to whoever runs it.
    pub request_id: Option<Id>,
}

/// `response.output_item.added` and `.done`, or what is equal to them on the Chat wire.
#[derive(Clone)]
pub struct OutputItem {
    inner: Arc<OutputItemInner>,
}

struct OutputItemInner {
    output_index: Option<u32>,
    raw: RawJson,
    typed: OnceLock<ResponseItem>,
}

impl OutputItem {
    /// Makes an event part from an item's JSON.
    pub fn new(output_index: Option<u32>, raw: RawJson) -> Self {
        let inner = OutputItemInner {
            output_index,
            raw,
            typed: OnceLock::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The item's place in the response's `output`.
    pub fn output_index(&self) -> Option<u32> {
        self.inner.output_index
    }

    /// The item's JSON as it came, every field included.
    pub fn raw(&self) -> &RawJson {
        &self.inner.raw
    }

    /// The item in its typed form, parsed at the first call. What has no typed form is [`ResponseItem::Unknown`].
    pub fn item(&self) -> &ResponseItem {
        self.inner
            .typed
            .get_or_init(|| ResponseItem::from_raw(self.inner.raw.clone()))
    }
}

impl PartialEq for OutputItem {
    fn eq(&self, other: &Self) -> bool {
        self.inner.output_index == other.inner.output_index && self.inner.raw == other.inner.raw
    }
}

impl fmt::Debug for OutputItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputItem")
            .field("output_index", &self.inner.output_index)
            .field("item", &self.inner.raw)
            .finish()
    }
}

/// More of a text of a message.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct TextDelta {
    /// The text to append.
    pub delta: Text,
    /// The message it belongs to.
    pub item_id: Option<Id>,
    /// That message's place in the response's `output`.
    pub output_index: Option<u32>,
    /// The part of that message.
    pub content_index: Option<u32>,
    /// The log probabilities of the tokens, a JSON array, when the request asked for them.
    #[serde(default, deserialize_with = "present")]
    pub logprobs: Option<RawJson>,
}

impl TextDelta {
    /// More text.
    pub fn new(delta: impl Into<Text>) -> Self {
        Self {
            delta: delta.into(),
            item_id: None,
            output_index: None,
            content_index: None,
            logprobs: None,
        }
    }
}

/// More of a text of a reasoning item.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ReasoningDelta {
    /// The text to append.
    pub delta: Text,
    /// The reasoning item it belongs to.
    pub item_id: Option<Id>,
    /// That item's place in the response's `output`.
    pub output_index: Option<u32>,
    /// The part of the summary, or of the item's content.
    #[serde(alias = "summary_index", alias = "content_index")]
    pub part_index: u32,
}

impl ReasoningDelta {
    /// More text of the part with this index.
    pub fn new(part_index: u32, delta: impl Into<Text>) -> Self {
        Self {
            delta: delta.into(),
            item_id: None,
            output_index: None,
            part_index,
        }
    }
}

/// `response.reasoning_summary_part.added`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ReasoningSummaryPartAdded {
    /// The reasoning item it belongs to.
    pub item_id: Option<Id>,
    /// That item's place in the response's `output`.
    pub output_index: Option<u32>,
    /// The new part of the summary.
    pub summary_index: u32,
}

impl ReasoningSummaryPartAdded {
    /// The part with this index.
    pub fn new(summary_index: u32) -> Self {
        Self {
            item_id: None,
            output_index: None,
            summary_index,
        }
    }
}

/// Which kind of tool call an input delta belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ToolCallInput {
    /// `response.function_call_arguments.delta`: a piece of a JSON object.
    FunctionArguments,
    /// `response.custom_tool_call_input.delta`: a piece of free text.
    CustomInput,
    /// `response.mcp_call_arguments.delta`: a piece of a JSON object.
    McpArguments,
}

/// More of a tool call's input.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ToolCallInputDelta {
    /// The piece to append; a piece of JSON is not itself JSON.
    pub delta: Text,
    /// The call item it belongs to.
    pub item_id: Option<Id>,
    /// The id that the tool's output must carry, where the event names it.
    pub call_id: Option<Id>,
    /// The item's place in the response's `output`.
    pub output_index: Option<u32>,
    /// What is being streamed.
    pub input: ToolCallInput,
}

impl ToolCallInputDelta {
    /// More of what a tool of this kind is called with.
    pub fn new(input: ToolCallInput, delta: impl Into<Text>) -> Self {
        Self {
            delta: delta.into(),
            item_id: None,
            call_id: None,
            output_index: None,
            input,
        }
    }
}

/// An event without a form of its own.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct OtherEvent {
    /// Its type.
    pub event: Id,
    /// Its JSON, byte for byte.
    pub raw: RawJson,
}

impl OtherEvent {
    /// An event of this type.
    pub fn new(event: impl Into<Id>, raw: RawJson) -> Self {
        Self {
            event: event.into(),
            raw,
        }
    }
}

/// A new attempt after output had been delivered.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Restarted {
    /// The attempt that begins; the first of a request is 1.
    pub attempt: u32,
    /// How long the runtime waits before it.
    #[serde(rename = "delay_ms", deserialize_with = "of_millis")]
    pub delay: Duration,
    /// What ended the attempt before.
    pub error: Arc<ApiError>,
}

impl Restarted {
    /// What announces an attempt.
    pub fn new(attempt: u32, delay: Duration, error: Arc<ApiError>) -> Self {
        Self {
            attempt,
            delay,
            error,
        }
    }
}

/// How a whole answer ended.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Completed {
    /// The response's id; absent when the server sent none.
    pub response_id: Option<Id>,
    /// What it cost, when the server said so.
    pub token_usage: Option<TokenUsage>,
    /// The `usage` object as it came, for what [`TokenUsage`] has no field for, such as a cost.
    #[serde(default, deserialize_with = "present")]
    pub usage: Option<RawJson>,
    /// The server's own word for the end: `finish_reason` on the Chat wire. Absent on the Responses wire.
    pub finish_reason: Option<Text>,
    /// The word of the server behind the one that answered (`native_finish_reason`), where a gateway passes it on.
    pub native_finish_reason: Option<Text>,
    /// The `sequence_number` of the last event, on the Responses wire: where a stored response is resumed.
    pub sequence_number: Option<u64>,
    /// The server's id of the request (header `x-request-id` and the like).
    pub request_id: Option<Id>,
    /// Whether the model regards its turn as over (`end_turn`), where the server says so.
    pub end_turn: Option<bool>,
    /// The final response object; absent on the Chat wire.
    pub response: Option<RawJson>,
    /// What was odd about the stream.
    #[serde(default)]
    pub anomalies: StreamAnomalies,
}

/// How an answer that the server cut short ended.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Incomplete {
    /// Why: `max_output_tokens`, `content_filter`, `no_finish_reason` where the stream ended without saying how, or the server's
    /// own word; `unknown` when it says nothing.
    pub reason: Text,
    /// The response's id; absent when the server sent none.
    pub response_id: Option<Id>,
    /// What it cost, when the server said so.
    pub token_usage: Option<TokenUsage>,
    /// The `usage` object as it came, for what [`TokenUsage`] has no field for, such as a cost.
    #[serde(default, deserialize_with = "present")]
    pub usage: Option<RawJson>,
    /// The server's own word for the end: `finish_reason` on the Chat wire. On the Responses wire the words of the error in the
    /// response, where there are any.
    pub finish_reason: Option<Text>,
    /// The word of the server behind the one that answered (`native_finish_reason`), where a gateway passes it on.
    pub native_finish_reason: Option<Text>,
    /// The `sequence_number` of the last event, on the Responses wire: where a stored response is resumed.
    pub sequence_number: Option<u64>,
    /// The server's id of the request (header `x-request-id` and the like).
    pub request_id: Option<Id>,
    /// The final response object; absent on the Chat wire.
    pub response: Option<RawJson>,
    /// What was odd about the stream.
    #[serde(default)]
    pub anomalies: StreamAnomalies,
}

/// A copy of the typed form.
impl From<&OutputItem> for ResponseItem {
    fn from(item: &OutputItem) -> Self {
        item.item().clone()
    }
}

impl ResponseEvent {
    /// Whether nothing can follow this event.
    #[inline]
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Completed(_) | Self::Incomplete(_) | Self::Failed(_) | Self::Cancelled
        )
    }

    /// Whether this event is part of the answer: text, reasoning, a tool call's input, an item that is done. A retry after such an
    /// event would show a subscriber something twice, so it is never silent.
    ///
    /// What only announces the answer is none: an item that is begun and empty, a piece of no text, the progress of a tool that
    /// runs at the server, a sign of life. Neither is an event of an unknown type that holds no content.
    pub fn is_output(&self) -> bool {
        match self {
            Self::OutputItemDone(_) => true,
            Self::OutputItemAdded(item) => item_says_something(item.raw()),
            Self::OutputTextDelta(text) | Self::RefusalDelta(text) => !text.delta.is_empty(),
            Self::ReasoningSummaryDelta(text) | Self::ReasoningContentDelta(text) => {
                !text.delta.is_empty()
            }
            Self::ToolCallInputDelta(input) => !input.delta.is_empty(),
            Self::Other(other) => event_says_something(&other.event, &other.raw),
            _ => false,
        }
    }

    /// Whether it changes the answer: begins it, or an item, or adds to one. Signs of life do not.
    pub(crate) fn is_progress(&self) -> bool {
        match self {
            Self::Created(_) | Self::OutputItemAdded(_) => true,
            Self::Other(other) => event_changes_answer(&other.event, &other.raw),
            other => other.is_output() || other.is_final(),
        }
    }

    /// Whether a policy that sheds load may leave this event out: it is a piece of something that arrives whole later.
    pub fn is_delta(&self) -> bool {
        matches!(
            self,
            Self::OutputTextDelta(_)
                | Self::RefusalDelta(_)
                | Self::ReasoningSummaryDelta(_)
                | Self::ReasoningContentDelta(_)
                | Self::ToolCallInputDelta(_)
        )
    }

    /// The event's name in JSON lines, snake case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Head(_) => "head",
            Self::Created(_) => "created",
            Self::OutputItemAdded(_) => "output_item_added",
            Self::OutputItemDone(_) => "output_item_done",
            Self::OutputTextDelta(_) => "output_text_delta",
            Self::RefusalDelta(_) => "refusal_delta",
            Self::ReasoningSummaryDelta(_) => "reasoning_summary_delta",
            Self::ReasoningContentDelta(_) => "reasoning_content_delta",
            Self::ReasoningSummaryPartAdded(_) => "reasoning_summary_part_added",
            Self::ToolCallInputDelta(_) => "tool_call_input_delta",
            Self::RateLimits(_) => "rate_limits",
            Self::ModelsEtag(_) => "models_etag",
            Self::ServerModel(_) => "server_model",
            Self::ServerReasoningIncluded => "server_reasoning_included",
            Self::Other(_) => "other",
            Self::Restarted(_) => "restarted",
            Self::Completed(_) => "completed",
            Self::Incomplete(_) => "incomplete",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Bytes that the event holds, roughly: what a bounded log counts.
    pub(crate) fn weight(&self) -> usize {
        let len = |raw: &Option<RawJson>| raw.as_ref().map_or(0, |raw| raw.get().len());
        let held = match self {
            Self::Head(head) => head.weight(),
            Self::Created(created) => len(&created.response),
            Self::OutputItemAdded(item) | Self::OutputItemDone(item) => item.raw().get().len(),
            Self::OutputTextDelta(text) | Self::RefusalDelta(text) => {
                text.delta.len() + len(&text.logprobs)
            }
            Self::ReasoningSummaryDelta(text) | Self::ReasoningContentDelta(text) => {
                text.delta.len()
            }
            Self::ToolCallInputDelta(input) => input.delta.len(),
            Self::Other(other) => other.raw.get().len(),
            Self::Completed(completed) => len(&completed.response),
            Self::Incomplete(incomplete) => len(&incomplete.response),
            _ => 0,
        };
        size_of::<Self>() + held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_probabilities_count_whatever_is_said() {
        let plain = TextDelta::new("a");
        let mut full = plain.clone();
        full.logprobs = RawJson::parse("[1,2,3]").ok();
        for event in [ResponseEvent::OutputTextDelta, ResponseEvent::RefusalDelta] {
            let weights = [&plain, &full].map(|text| event(text.clone()).weight());
            assert_eq!(weights[1] - weights[0], "[1,2,3]".len());
        }
    }
}
