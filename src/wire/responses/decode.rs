//! SSE events of the Responses API to response events.

use std::{borrow::Cow, sync::Arc};

use self::{
    delta::{Address, DeltaKind, Repeats, Streamed, Target},
    ending::Ending,
    error_words::{is_error_name, is_error_type, reported_in},
    loss::Loss,
    output::Output,
};
use super::{
    envelope::Envelope, event_types::EVENT_TYPES, first_response::FirstResponse,
    known_text::KnownText,
};
use crate::{
    json::{
        escapes::{JoinedText, without_lone_surrogates},
        excerpt::excerpt,
        tree::tree,
    },
    protocol::{
        Created, Id, OtherEvent, OutputItem, RateLimitSnapshot, RawJson, ReasoningSummaryPartAdded,
        ResponseEvent, Text, error::ApiError,
    },
    sse::SseEvent,
    wire::{
        Dialect, Step, StreamLimits, Terminal, TextPlace,
        answer::{Answer, truncated},
        joining::delta_of,
        pieces::is_done,
        template::{Form, Template, Words},
        unread::Unread,
    },
};

mod conclusion;
mod delta;
mod ending;
mod error_words;
mod item;
mod loss;
mod output;
mod resuming;
mod texts;
mod troubles;
mod untyped;

/// Reads the stream of one response.
///
/// Servers differ from the letter of the API, so: an absent JSON `type` is replaced by the SSE `event:` name, but the name
/// `error` counts before any type; a terminal event without `response` is read as the response object itself; a response object
/// that is no event is the whole answer. What came only in the events that repeat a text, in items or in the response object
/// at the end is delivered as deltas and items before the end ([`Output`]). A terminal event counts once and first: what a
/// server sends after it, another terminal event included, is not read. Only after a failure without words the next error is
/// waited for.
#[derive(Default)]
pub(crate) struct ResponsesDialect {
    answer: Answer,
    item_id: Option<Id>,
    output: Output,
    /// The part that the last delta belonged to.
    part: Option<usize>,
    /// What the last delta ended with, if that is half a character.
    half: Option<Half>,
    template: Template<Target>,
    words: Words,
    /// What has repeated the template since it was counted last.
    streamed: Streamed,
    max_input_bytes: usize,
    first_response: FirstResponse,
    is_created: bool,
    /// The model that answers, as an event said last.
    model: Option<Id>,
    loss: Loss,
    /// A delta that could not be read, ahead of all output.
    lost_start: Option<String>,
    unread: Unread,
    /// The response failed, and the server has not said why yet.
    failure: Option<ApiError>,
    /// What an event said of an error beside something else.
    trouble: Option<ApiError>,
    /// The status of a response that was given as it stands, without an end.
    unfinished: Option<Text>,
    known_text: Arc<KnownText>,
    /// The last event that was read before the body that goes on, as long as nothing new has come of that.
    catching_up: Option<u64>,
}

/// A delta that ended in the first half of a character, which the next may have the second of.
struct Half {
    kind: DeltaKind,
    part: Option<usize>,
    address: Address,
    joined: JoinedText,
}

impl Dialect for ResponsesDialect {
    #[inline]
    fn read_block(&mut self, bytes: &[u8], out: &mut Vec<ResponseEvent>) -> Option<usize> {
        self.repeat(bytes, Form::Block, out)
    }

    #[inline]
    fn join_block(&mut self, bytes: &[u8], out: &mut Vec<ResponseEvent>) -> Option<(usize, bool)> {
        let mut is_joined = false;
        let taken = self.repeat_with(bytes, Form::Block, |event| {
            // What repeats the template goes where the event before went.
            match out.last_mut().and_then(delta_of) {
                Some(delta) => {
                    delta.push_str(event.text);
                    is_joined = true;
                }
                None => event.push_to(out),
            }
        })?;
        Some((taken, is_joined))
    }

    fn note_block(&mut self, block: &[u8]) {
        self.template.frame(block);
    }

    fn on_event(&mut self, event: SseEvent<'_>, out: &mut Vec<ResponseEvent>) -> Step {
        let is_error = event.event.is_some_and(is_error_name);
        if !is_error
            && self
                .repeat(event.data.as_bytes(), Form::Data, out)
                .is_some()
        {
            return Step::Continue;
        }
        self.settle();
        let known = Arc::clone(&self.known_text);
        if let Some(envelope) = Envelope::read(event.data, &mut self.first_response, &known) {
            return self.on_envelope(&event, event.data, envelope, out);
        }
        let data = event.data.trim();
        if is_error && (data.is_empty() || is_done(data)) {
            return self.error_text("", out);
        }
        if data.is_empty() {
            return self.step();
        }
        if is_done(data) {
            return Step::End(self.on_done_sentinel(out));
        }
        if let Cow::Owned(repaired) = without_lone_surrogates(data)
            && let Some(envelope) = Envelope::read(&repaired, &mut self.first_response, &known)
        {
            return self.on_envelope(&event, &repaired, envelope, out);
        }
        // The data of an event named just `error` may be glued of more than one.
        let is_named = event.event.is_some_and(is_error_type) && !is_error;
        if is_named && !data.starts_with(['{', '[']) {
            return self.error_text(data, out);
        }
        Step::Unread
    }

    fn on_text(&mut self, text: &str, place: TextPlace, out: &mut Vec<ResponseEvent>) -> Step {
        self.settle();
        match place {
            TextPlace::Error => self.error_text(text, out),
            TextPlace::Data | TextPlace::Stray => self.on_words(text, place, out),
        }
    }

    fn set_request_id(&mut self, request_id: Id) {
        self.answer.request_id = Some(request_id);
    }

    fn answer(&self) -> &Answer {
        &self.answer
    }

    fn finish(&mut self, out: &mut Vec<ResponseEvent>) -> Terminal {
        self.settle();
        self.close(None, None, out);
        let error = self.failure_without_words();
        self.answer
            .failed(error.unwrap_or_else(|| truncated(NO_END)))
    }
}

/// What is said of a body that just ends.
const NO_END: &str = "the stream ended before its terminal event";

impl ResponsesDialect {
    pub(crate) fn new(limits: StreamLimits) -> Self {
        Self {
            output: Output::new(limits),
            template: Template::new(limits.sse),
            max_input_bytes: limits.max_answer_bytes,
            ..Self::default()
        }
    }

    #[cfg(test)]
    pub(super) fn forget(&mut self) {
        self.first_response = FirstResponse::default();
        self.template.forget();
    }

    /// Reads a delta that repeats the template, and gives how many bytes it takes.
    #[inline(always)] // As `Template::read`.
    fn repeat(&mut self, bytes: &[u8], form: Form, out: &mut Vec<ResponseEvent>) -> Option<usize> {
        self.repeat_with(bytes, form, |event| event.push_to(out))
    }

    #[inline(always)]
    fn repeat_with(
        &mut self,
        bytes: &[u8],
        form: Form,
        take: impl FnOnce(Repeats<'_>),
    ) -> Option<usize> {
        let repeated = self.template.read(bytes, form, &mut self.words)?;
        let text = repeated.text;
        let Target { kind, address, .. } = repeated.target;
        self.streamed.note(text);
        // Who asks for more than that lets go of it.
        if matches!(kind, DeltaKind::Input(_)) && self.streamed.input.len() <= self.max_input_bytes
        {
            self.streamed.input.push_str(text);
        }
        take(Repeats {
            text,
            kind: *kind,
            address,
        });
        let (number, bytes) = (repeated.sequence_number, repeated.bytes);
        self.note_sequence_number(number);
        Some(bytes)
    }

    /// Counts what has repeated the template as streamed of its part.
    fn settle(&mut self) {
        if self.streamed.bytes > 0 {
            let streamed = std::mem::take(&mut self.streamed);
            if let Some(part) = self.template.target.part {
                self.output.add_streamed(part, streamed);
            }
        }
    }

    fn step(&self) -> Step {
        match self.failure {
            Some(_) => Step::Finishing { goes_on: false },
            None => Step::Continue,
        }
    }

    /// Whether no event is known to be missing.
    fn is_sound(&self) -> bool {
        let anomalies = &self.answer.anomalies;
        anomalies.malformed_events == 0 && anomalies.sequence_gaps == 0
    }

    fn on_envelope(
        &mut self,
        event: &SseEvent<'_>,
        data: &str,
        envelope: Envelope<'_>,
        out: &mut Vec<ResponseEvent>,
    ) -> Step {
        // "message" is what SSE calls an event that has no name.
        let name = event.event.filter(|name| *name != "message");
        if let Some(last) = self.catching_up
            && let Some(step) = self.catch_up(last, name, &envelope, out)
        {
            return step;
        }
        self.note_sequence_number(envelope.sequence_number);
        if self.failure.is_some() {
            return self.after_failure(name, &envelope, data);
        }
        if name.is_some_and(is_error_name) {
            return self.error_event(&envelope, data, out);
        }
        let raw = event.data;
        let kind: &str = match (&envelope.kind, name) {
            (Some(kind), _) => kind,
            (None, Some(name)) => name,
            (None, None) => {
                return self
                    .on_untyped(&envelope, data, out)
                    .unwrap_or_else(|| self.on_nothing(&envelope, data));
            }
        };
        if envelope.error.is_some() || envelope.response.is_some() {
            self.note_trouble(kind, &envelope);
        }
        if let Some(delta_kind) = DeltaKind::of(kind) {
            return self.on_delta(delta_kind, kind, raw, data, &envelope, out);
        }
        if let Some(ending) = Ending::of(kind) {
            return self.end(ending, envelope, data, out);
        }
        if let Some((whole_kind, name)) = DeltaKind::of_whole(kind) {
            self.on_whole_text(whole_kind, name, &envelope, out);
        }
        let event = match kind {
            "response.output_item.added" | "response.output_item.done" => {
                return self.on_item(kind, &envelope, data, out);
            }
            "response.reasoning_summary_part.added" => {
                ResponseEvent::ReasoningSummaryPartAdded(ReasoningSummaryPartAdded {
                    item_id: self.intern_item_id(&envelope),
                    output_index: envelope.output_index,
                    summary_index: envelope.summary_index.unwrap_or(0),
                })
            }
            "response.created" => {
                let (id, text) = envelope
                    .response
                    .map(|response| (response.id, response.text))
                    .unzip();
                let id = id.flatten().or(envelope.id);
                self.answer.response_id = id.as_deref().map(Id::from);
                let response = text.map(RawJson::from_walked);
                if let Some(response) = &response {
                    self.first_response.keep(response);
                }
                self.created(response)
            }
            "codex.rate_limits" => {
                let snapshot = tree(data).and_then(|event| RateLimitSnapshot::from_event(&event));
                let limits = snapshot.map(|it| ResponseEvent::RateLimits(Arc::new(it)));
                limits.unwrap_or_else(|| other(kind, raw))
            }
            _ => {
                if let Some(step) = self.on_unlisted(kind, &envelope, data, out) {
                    return step;
                }
                other(kind, raw)
            }
        };
        out.push(event);
        Step::Continue
    }

    /// Takes an item that begins or is done.
    fn on_item(
        &mut self,
        kind: &str,
        envelope: &Envelope<'_>,
        data: &str,
        out: &mut Vec<ResponseEvent>,
    ) -> Step {
        let is_done = kind == "response.output_item.done";
        let Some(item) = envelope.item.filter(|item| item.starts_with('{')) else {
            self.lose(if is_done { Loss::Item } else { Loss::Piece });
            return self.missing(kind, "item", data);
        };
        // A delta of the next item may have the same bytes as one of the last.
        self.template.forget();
        let item = OutputItem::new(envelope.output_index, RawJson::from_walked(item));
        if is_done {
            self.flush_half(out);
            let is_sound = self.is_sound();
            self.output.done(item, &self.known_text, is_sound, out);
        } else if self.output.added(&item) {
            out.push(ResponseEvent::OutputItemAdded(item));
        }
        Step::Continue
    }

    /// Says that the response has begun, with the object as it stands.
    fn created(&mut self, response: Option<RawJson>) -> ResponseEvent {
        self.is_created = true;
        ResponseEvent::Created(Created {
            response_id: self.answer.response_id.clone(),
            response,
            request_id: self.answer.request_id.clone(),
        })
    }

    /// Reads an event of a type that is not among those above.
    fn on_unlisted(
        &mut self,
        kind: &str,
        envelope: &Envelope<'_>,
        data: &str,
        out: &mut Vec<ResponseEvent>,
    ) -> Option<Step> {
        if EVENT_TYPES.iter().any(|(known, _)| *known == kind) {
            return None;
        }
        if envelope.kind.is_none() {
            // Named by SSE alone, after anything.
            if let Some(step) = self.on_untyped(envelope, data, out) {
                return Some(step);
            }
        } else if let Some(error) = reported_in(kind, envelope) {
            return Some(Step::End(self.fail(error, out)));
        }
        if let Some(model) = model_in(kind, data)
            && self.model.as_deref() != Some(&*model)
        {
            self.model = Some(model.clone());
            out.push(ResponseEvent::ServerModel(model));
        }
        None
    }

    fn missing(&mut self, kind: &str, field: &str, data: &str) -> Step {
        self.answer
            .anomalies
            .malformed(|| format!("{kind} without a usable {field}: {}", excerpt(data)));
        Step::Continue
    }

    fn lose(&mut self, loss: Loss) {
        self.loss = self.loss.max(loss);
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
        let id = envelope.item_id.as_deref()?;
        match &self.item_id {
            Some(last) if **last == *id => {}
            _ => self.item_id = Some(id.into()),
        }
        self.item_id.clone()
    }
}

/// The model that `response.headers` and its like name, in their `headers` or their `metadata`.
fn model_in(kind: &str, data: &str) -> Option<Id> {
    if !matches!(kind.rsplit('.').next(), Some("headers" | "metadata")) {
        return None;
    }
    let event = tree(data)?;
    let holders = ["/headers", "/response/headers", "/metadata"];
    let named = holders
        .iter()
        .filter_map(|holder| event.pointer(holder)?.as_object())
        .flatten()
        .find(|(name, _)| {
            let names = ["openai-model", "x-openai-model", "openai_model"];
            names.iter().any(|known| name.eq_ignore_ascii_case(known))
        });
    let value = named?.1;
    let model = value.as_str().or_else(|| value.get(0)?.as_str())?.trim();
    (!model.is_empty()).then(|| model.into())
}

fn other(kind: &str, data: &str) -> ResponseEvent {
    ResponseEvent::Other(OtherEvent {
        event: kind.into(),
        raw: RawJson::from_walked(data.trim()),
    })
}

#[cfg(test)]
mod block_tests;
#[cfg(test)]
mod tests;
