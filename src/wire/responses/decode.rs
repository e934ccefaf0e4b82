//! SSE events of the Responses API to response events.

use std::{borrow::Cow, sync::Arc};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    envelope::{Envelope, ResponseObject},
    template::Template,
};
use crate::{
    error::{ApiError, ErrorKind, Phase},
    protocol::{
        Completed, Created, Id, Incomplete, OtherEvent, OutputItem, OutputTextDelta,
        RateLimitSnapshot, RawJson, ReasoningContentDelta, ReasoningSummaryDelta,
        ReasoningSummaryPartAdded, RefusalDelta, ResponseEvent, StreamAnomalies, Text, TokenUsage,
        ToolCallInput, ToolCallInputDelta,
    },
    sse::SseEvent,
    wire::{
        Dialect, Step, StreamLimits, Terminal, escapes::without_lone_surrogates,
        server_error::ServerError,
    },
};

/// How much of an unreadable event its report quotes.
const EXCERPT_CHARS: usize = 80;

/// Reads the stream of one response.
///
/// Servers differ from the letter of the API, so: an absent JSON `type` is replaced by the SSE `event:` name; a terminal
/// event without `response` is read as the response object itself; `[DONE]`, which the API does not send, ends a stream whose
/// items are all done. A terminal event counts once and first: what a server sends after it, another terminal event
/// included, is not read.
pub(crate) struct ResponsesDialect {
    response_id: Option<Id>,
    item_id: Option<Id>,
    sequence_number: Option<u64>,
    items_added: u64,
    items_done: u64,
    anomalies: StreamAnomalies,
    template: Template,
}

impl Dialect for ResponsesDialect {
    const READS_BLOCKS: bool = true;

    #[inline]
    fn read_block(&mut self, bytes: &[u8], out: &mut Vec<ResponseEvent>) -> Option<usize> {
        let repeated = self.template.read_block(bytes, out)?;
        self.note_sequence_number(repeated.sequence_number);
        Some(repeated.bytes)
    }

    fn learn_block(&mut self, block: &[u8], event: &ResponseEvent) {
        self.template.learn(block, event);
    }

    fn on_event(&mut self, event: SseEvent<'_>, out: &mut Vec<ResponseEvent>) -> Step {
        if let Some(repeated) = self.template.read_data(event.data, out) {
            self.note_sequence_number(repeated.sequence_number);
            return Step::Continue;
        }
        match serde_json::from_str::<Envelope<'_>>(event.data) {
            Ok(envelope) => self.on_envelope(&event, event.data, envelope, out),
            Err(error) => {
                let data = event.data.trim();
                if data.is_empty() {
                    return Step::Continue;
                }
                if data == "[DONE]" {
                    return self.on_done_sentinel();
                }
                if let Cow::Owned(repaired) = without_lone_surrogates(data)
                    && let Ok(envelope) = serde_json::from_str(&repaired)
                {
                    return self.on_envelope(&event, &repaired, envelope, out);
                }
                self.anomalies
                    .malformed(|| format!("{error}: {}", excerpt(data)));
                Step::Continue
            }
        }
    }

    fn finish(&mut self, _out: &mut Vec<ResponseEvent>) -> Terminal {
        self.failed(ApiError::new(
            ErrorKind::Truncated,
            "the stream ended before its terminal event",
        ))
    }

    fn anomalies(&self) -> &StreamAnomalies {
        &self.anomalies
    }
}

impl ResponsesDialect {
    pub(crate) fn new(limits: StreamLimits) -> Self {
        Self {
            response_id: None,
            item_id: None,
            sequence_number: None,
            items_added: 0,
            items_done: 0,
            anomalies: StreamAnomalies::default(),
            template: Template::new(limits.sse),
        }
    }

    fn on_envelope(
        &mut self,
        event: &SseEvent<'_>,
        data: &str,
        envelope: Envelope<'_>,
        out: &mut Vec<ResponseEvent>,
    ) -> Step {
        self.note_sequence_number(envelope.sequence_number.0);
        // "message" is what SSE calls an event that has no name.
        let name = event.event.filter(|name| *name != "message");
        let raw = event.data;
        let kind: &str = match (&envelope.kind.0, name) {
            (Some(kind), _) => kind,
            (None, Some(name)) => name,
            (None, None) if envelope.error.is_some() => "error",
            (None, None) => {
                self.anomalies
                    .malformed(|| format!("neither a type nor an event name: {}", excerpt(data)));
                return Step::Continue;
            }
        };
        let event = match kind {
            "response.output_text.delta" => match &envelope.delta.0 {
                Some(delta) => ResponseEvent::OutputTextDelta(OutputTextDelta {
                    delta: Text::from(&**delta),
                    item_id: self.intern_item_id(&envelope),
                    output_index: envelope.output_index.index(),
                    content_index: envelope.content_index.index(),
                    logprobs: envelope
                        .logprobs
                        .filter(|raw| raw.get() != "[]")
                        .map(RawJson::from_raw),
                }),
                None => return self.missing(kind, "delta", data),
            },
            "response.reasoning_summary_text.delta" => match &envelope.delta.0 {
                Some(delta) => ResponseEvent::ReasoningSummaryDelta(ReasoningSummaryDelta {
                    delta: Text::from(&**delta),
                    item_id: self.intern_item_id(&envelope),
                    output_index: envelope.output_index.index(),
                    summary_index: envelope.summary_index.index().unwrap_or(0),
                }),
                None => return self.missing(kind, "delta", data),
            },
            "response.reasoning_text.delta" => match &envelope.delta.0 {
                Some(delta) => ResponseEvent::ReasoningContentDelta(ReasoningContentDelta {
                    delta: Text::from(&**delta),
                    item_id: self.intern_item_id(&envelope),
                    output_index: envelope.output_index.index(),
                    content_index: envelope.content_index.index().unwrap_or(0),
                }),
                None => return self.missing(kind, "delta", data),
            },
            "response.function_call_arguments.delta" => {
                return self.on_input_delta(
                    kind,
                    ToolCallInput::FunctionArguments,
                    &envelope,
                    data,
                    out,
                );
            }
            "response.custom_tool_call_input.delta" => {
                return self.on_input_delta(kind, ToolCallInput::CustomInput, &envelope, data, out);
            }
            "response.mcp_call_arguments.delta" => {
                return self.on_input_delta(
                    kind,
                    ToolCallInput::McpArguments,
                    &envelope,
                    data,
                    out,
                );
            }
            "response.refusal.delta" => match &envelope.delta.0 {
                Some(delta) => ResponseEvent::RefusalDelta(RefusalDelta {
                    delta: Text::from(&**delta),
                    item_id: self.intern_item_id(&envelope),
                    output_index: envelope.output_index.index(),
                    content_index: envelope.content_index.index(),
                }),
                None => return self.missing(kind, "delta", data),
            },
            "response.output_item.added" | "response.output_item.done" => {
                let Some(item) = envelope.item.filter(|item| item.get().starts_with('{')) else {
                    return self.missing(kind, "item", data);
                };
                let item = OutputItem::new(envelope.output_index.index(), RawJson::from_raw(item));
                if kind == "response.output_item.added" {
                    self.items_added += 1;
                    ResponseEvent::OutputItemAdded(item)
                } else {
                    self.items_done += 1;
                    ResponseEvent::OutputItemDone(item)
                }
            }
            "response.reasoning_summary_part.added" => {
                ResponseEvent::ReasoningSummaryPartAdded(ReasoningSummaryPartAdded {
                    item_id: self.intern_item_id(&envelope),
                    output_index: envelope.output_index.index(),
                    summary_index: envelope.summary_index.index().unwrap_or(0),
                })
            }
            "response.created" => {
                let nested = envelope.response.map(|raw| read_response(raw.get()));
                let id = nested.unwrap_or_default().id.0.or(envelope.id.0);
                self.response_id = id.as_deref().map(Id::from);
                ResponseEvent::Created(Created {
                    response_id: self.response_id.clone(),
                    response: envelope.response.map(RawJson::from_raw),
                })
            }
            "response.completed" => return self.on_terminal(Ending::Completed, &envelope, data),
            "response.incomplete" => {
                return self.on_terminal(Ending::Incomplete, &envelope, data);
            }
            "response.cancelled" => return self.on_terminal(Ending::Cancelled, &envelope, data),
            "response.failed" => return self.on_terminal(Ending::Failed, &envelope, data),
            "response.done" => return self.on_terminal(Ending::ByStatus, &envelope, data),
            "error" => {
                return Step::End(
                    self.server_error(data, "the server sent an error event without a message"),
                );
            }
            "codex.rate_limits" => {
                let snapshot = serde_json::from_str::<Value>(data)
                    .ok()
                    .and_then(|event| RateLimitSnapshot::from_event(&event));
                match snapshot {
                    Some(snapshot) => ResponseEvent::RateLimits(Arc::new(snapshot)),
                    None => other(kind, raw),
                }
            }
            _ => other(kind, raw),
        };
        out.push(event);
        Step::Continue
    }

    fn on_input_delta(
        &mut self,
        kind: &str,
        input: ToolCallInput,
        envelope: &Envelope<'_>,
        data: &str,
        out: &mut Vec<ResponseEvent>,
    ) -> Step {
        let Some(delta) = &envelope.delta.0 else {
            return self.missing(kind, "delta", data);
        };
        out.push(ResponseEvent::ToolCallInputDelta(ToolCallInputDelta {
            delta: Text::from(&**delta),
            item_id: self.intern_item_id(envelope),
            call_id: envelope.call_id.0.as_deref().map(Id::from),
            output_index: envelope.output_index.index(),
            input,
        }));
        Step::Continue
    }

    fn on_terminal(&mut self, ending: Ending, envelope: &Envelope<'_>, data: &str) -> Step {
        // A server that does not nest the response sends its fields beside the type.
        let response = read_response(envelope.response.map_or(data, RawValue::get));
        if let Some(id) = response.id.0.as_deref() {
            self.response_id = Some(id.into());
        }
        let token_usage = response
            .usage
            .and_then(|usage| serde_json::from_str(usage.get()).ok())
            .and_then(|usage: Value| TokenUsage::from_json(&usage));
        let response_id = self.response_id.clone();
        let raw_response = envelope.response.map(RawJson::from_raw);
        let ending = match (ending, response.status.0.as_deref()) {
            (Ending::ByStatus, Some("failed")) => Ending::Failed,
            (Ending::ByStatus, Some("incomplete")) => Ending::Incomplete,
            (Ending::ByStatus | Ending::Incomplete, Some("cancelled")) => Ending::Cancelled,
            (ending, _) => ending,
        };
        let terminal = match ending {
            Ending::Completed | Ending::ByStatus => Terminal::Completed(Arc::new(Completed {
                response_id,
                token_usage,
                end_turn: response.end_turn,
                response: raw_response,
                anomalies: self.anomalies.clone(),
            })),
            Ending::Incomplete | Ending::Cancelled => Terminal::Incomplete(Arc::new(Incomplete {
                reason: incomplete_reason(&response)
                    .unwrap_or(match ending {
                        Ending::Cancelled => "cancelled".into(),
                        _ => "unknown".into(),
                    })
                    .into(),
                response_id,
                token_usage,
                response: raw_response,
                anomalies: self.anomalies.clone(),
            })),
            Ending::Failed => {
                let error = response
                    .error
                    .or(envelope.error)
                    .map_or("{}", RawValue::get);
                self.server_error(
                    error,
                    "the server reports that the response failed, without a reason",
                )
            }
        };
        Step::End(terminal)
    }

    /// `[DONE]` is Chat's, but servers that speak both dialects send it here too. Before a terminal event it is a
    /// deliberate end all the same, if nothing was left open.
    fn on_done_sentinel(&mut self) -> Step {
        if self.items_done == 0 || self.items_done < self.items_added {
            return Step::Continue;
        }
        Step::End(Terminal::Completed(Arc::new(Completed {
            response_id: self.response_id.clone(),
            token_usage: None,
            end_turn: None,
            response: None,
            anomalies: self.anomalies.clone(),
        })))
    }

    fn server_error(&self, json: &str, without_message: &str) -> Terminal {
        let value = serde_json::from_str(&without_lone_surrogates(json)).unwrap_or(Value::Null);
        let error = match ServerError::from_json(&value) {
            Some(error) => error.into_api_error(None),
            None => ApiError::new(ErrorKind::ServerError, without_message),
        };
        self.failed(error)
    }

    fn failed(&self, mut error: ApiError) -> Terminal {
        let details = error.details_mut();
        details.phase = Some(Phase::Body);
        details.anomalies = self.anomalies.clone();
        Terminal::Failed(error)
    }

    fn missing(&mut self, kind: &str, field: &str, data: &str) -> Step {
        self.anomalies
            .malformed(|| format!("{kind} without a usable {field}: {}", excerpt(data)));
        Step::Continue
    }

    fn note_sequence_number(&mut self, number: Option<u64>) {
        let Some(number) = number else { return };
        match self.sequence_number {
            Some(last) if number <= last => self.anomalies.sequence_repeats += 1,
            Some(last) if number > last + 1 => self.anomalies.sequence_gaps += 1,
            _ => {}
        }
        self.sequence_number = Some(number);
    }

    /// The event's item id; a run of equal ones shares one allocation.
    fn intern_item_id(&mut self, envelope: &Envelope<'_>) -> Option<Id> {
        let id = envelope.item_id.0.as_deref()?;
        match &self.item_id {
            Some(last) if **last == *id => {}
            _ => self.item_id = Some(id.into()),
        }
        self.item_id.clone()
    }
}

/// Which end a terminal event's type names.
#[derive(Clone, Copy)]
enum Ending {
    Completed,
    Incomplete,
    Cancelled,
    Failed,
    /// None: the status of the response does (`response.done`, an older type).
    ByStatus,
}

fn other(kind: &str, data: &str) -> ResponseEvent {
    ResponseEvent::Other(OtherEvent {
        event: kind.into(),
        raw: RawJson::from_walked(data.trim()),
    })
}

fn read_response(json: &str) -> ResponseObject<'_> {
    serde_json::from_str(json).unwrap_or_default()
}

fn incomplete_reason(response: &ResponseObject<'_>) -> Option<String> {
    #[derive(Deserialize)]
    struct IncompleteDetails {
        reason: Option<String>,
    }
    let details: IncompleteDetails =
        serde_json::from_str(response.incomplete_details?.get()).ok()?;
    details.reason
}

fn excerpt(data: &str) -> String {
    let mut excerpt: String = data.chars().take(EXCERPT_CHARS).collect();
    if excerpt.len() < data.len() {
        excerpt.push_str("...");
    }
    excerpt
}

#[cfg(test)]
mod tests;
