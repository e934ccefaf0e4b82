//! SSE events of the Responses API to response events.

use std::{borrow::Cow, sync::Arc};

use serde_json::Value;

use self::{delta::DeltaKind, ending::Ending};
use super::{envelope::Envelope, first_response::FirstResponse, template::Template};
use crate::{
    error::{ApiError, ErrorKind},
    protocol::{
        Created, Id, OtherEvent, OutputItem, RateLimitSnapshot, RawJson, ReasoningSummaryPartAdded,
        ResponseEvent, StreamAnomalies, Text,
    },
    sse::SseEvent,
    wire::{
        Dialect, Step, StreamLimits, Terminal, TextPlace,
        answer::Answer,
        escapes::without_lone_surrogates,
        pieces::{excerpt, is_done},
    },
};

mod delta;
mod ending;

/// Reads the stream of one response.
///
/// Servers differ from the letter of the API, so: an absent JSON `type` is replaced by the SSE `event:` name; a terminal
/// event without `response` is read as the response object itself; `[DONE]`, which the API does not send, ends a stream whose
/// items are all done. A terminal event counts once and first: what a server sends after it, another terminal event
/// included, is not read.
pub(crate) struct ResponsesDialect {
    answer: Answer,
    item_id: Option<Id>,
    items_added: u64,
    items_done: u64,
    template: Template,
    first_response: FirstResponse,
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
        match Envelope::read(event.data, &mut self.first_response) {
            Ok(envelope) => self.on_envelope(&event, event.data, envelope, out),
            Err(_) => {
                let data = event.data.trim();
                if data.is_empty() {
                    return Step::Continue;
                }
                if is_done(data) {
                    return self.on_done_sentinel();
                }
                if let Cow::Owned(repaired) = without_lone_surrogates(data)
                    && let Ok(envelope) = Envelope::read(&repaired, &mut self.first_response)
                {
                    return self.on_envelope(&event, &repaired, envelope, out);
                }
                Step::Unread
            }
        }
    }

    fn on_text(&mut self, text: &str, place: TextPlace, _out: &mut Vec<ResponseEvent>) -> Step {
        match place {
            TextPlace::Stray => {}
            TextPlace::Data | TextPlace::Error => self
                .answer
                .anomalies
                .malformed(|| format!("not JSON: {}", excerpt(text))),
        }
        Step::Continue
    }

    fn set_request_id(&mut self, request_id: Id) {
        self.answer.request_id = Some(request_id);
    }

    fn answer(&self) -> &Answer {
        &self.answer
    }

    fn finish(&mut self, _out: &mut Vec<ResponseEvent>) -> Terminal {
        self.answer.failed(ApiError::new(
            ErrorKind::Truncated,
            "the stream ended before its terminal event",
        ))
    }

    fn anomalies(&self) -> &StreamAnomalies {
        &self.answer.anomalies
    }
}

impl ResponsesDialect {
    pub(crate) fn new(limits: StreamLimits) -> Self {
        Self {
            answer: Answer::default(),
            item_id: None,
            items_added: 0,
            items_done: 0,
            template: Template::new(limits.sse),
            first_response: FirstResponse::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn forget_response(&mut self) {
        self.first_response = FirstResponse::default();
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
                self.answer
                    .anomalies
                    .malformed(|| format!("neither a type nor an event name: {}", excerpt(data)));
                return Step::Continue;
            }
        };
        if let Some(delta_kind) = DeltaKind::of(kind) {
            let Some(delta) = &envelope.delta.0 else {
                return self.missing(kind, "delta", data);
            };
            let item_id = self.intern_item_id(&envelope);
            out.push(delta_kind.event(Text::from(&**delta), item_id, &envelope));
            return Step::Continue;
        }
        if let Some(ending) = Ending::of(kind) {
            return Step::End(self.end(ending, envelope, data));
        }
        let event = match kind {
            "response.output_item.added" | "response.output_item.done" => {
                let Some(item) = envelope.item.filter(|item| item.starts_with('{')) else {
                    return self.missing(kind, "item", data);
                };
                let item =
                    OutputItem::new(envelope.output_index.index(), RawJson::from_walked(item));
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
                let (id, text) = envelope
                    .response
                    .map(|response| (response.id, response.text))
                    .unzip();
                let id = id.flatten().or(envelope.id.0);
                self.answer.response_id = id.as_deref().map(Id::from);
                let response = text.map(RawJson::from_walked);
                if let Some(response) = &response {
                    self.first_response.keep(response);
                }
                ResponseEvent::Created(Created {
                    response_id: self.answer.response_id.clone(),
                    response,
                    request_id: self.answer.request_id.clone(),
                })
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

    fn missing(&mut self, kind: &str, field: &str, data: &str) -> Step {
        self.answer
            .anomalies
            .malformed(|| format!("{kind} without a usable {field}: {}", excerpt(data)));
        Step::Continue
    }

    fn note_sequence_number(&mut self, number: Option<u64>) {
        let Some(number) = number else { return };
        match self.answer.sequence_number {
            Some(last) if number <= last => self.answer.anomalies.sequence_repeats += 1,
            Some(last) if number > last + 1 => self.answer.anomalies.sequence_gaps += 1,
            _ => {}
        }
        self.answer.sequence_number = Some(number);
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

fn other(kind: &str, data: &str) -> ResponseEvent {
    ResponseEvent::Other(OtherEvent {
        event: kind.into(),
        raw: RawJson::from_walked(data.trim()),
    })
}

#[cfg(test)]
mod tests;
