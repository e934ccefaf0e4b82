//! Chat chunks to response events.
//!
//! What servers leave open is decided here:
//! - A choice is whole when its `finish_reason` has come, the answer when every choice is. More may follow all the same: usage,
//!   `[DONE]`, and from gateways that write `stop` into every chunk the rest of the answer, which belongs to the same items. So
//!   items are done when the stream is: at `[DONE]`, at the usage chunk that follows the whole answer, at the body's end, or when
//!   the wait for what may follow is over.
//! - What a `finish_reason` means, `finish` says. One choice that was cut makes the response incomplete, one that failed makes
//!   it fail.
//! - An end without a `finish_reason` is none that says that the answer is whole. `[DONE]` behind a usage chunk, or from a provider
//!   whose quirk it is, counts as one, with an anomaly, if nothing is open; other text ends as incomplete, a call that is
//!   open, a lost piece or no output at all as failed. A body that just ends is truncated.
//! - Items are numbered in the order in which they begin, over all choices, and get ids that the chunks' id makes stable.
//! - An error ends the stream, unless the answer was whole already; then it is counted as an anomaly.

use std::{borrow::Cow, collections::HashMap};

use serde_json::{Value, value::RawValue};

use super::{
    choice::Choice,
    chunk::{Chunk, ChunkChoice, may_report},
    error_chunk::{error_beside_choices, error_in, words_of_failure},
    extras::Extras,
    finish::Finish,
    item::{Output, OutputNumbers},
    lenient,
    object::Object,
};
use crate::{
    json::{
        escapes::{with_marked_surrogates, without_lone_surrogates},
        excerpt::excerpt,
        tree::tree,
    },
    protocol::{
        Created, Id, OtherEvent, RawJson, ResponseEvent,
        error::{ApiError, ErrorKind},
    },
    sse::SseEvent,
    wire::{
        Dialect, Step, StreamLimits, Terminal, TextPlace,
        answer::Answer,
        pieces::is_done,
        quirks::Quirks,
        server_error::ServerError,
        template::{Form, Template, Words},
        unread::{Kind, Lost, Unread},
    },
};

mod conclusion;

/// What a chunk without choices is called that does not name its own object.
const CHUNK_OBJECT: &str = "chat.completion.chunk";

/// Reads the stream of one Chat completion.
#[derive(Default)]
pub(crate) struct ChatDialect {
    is_created: bool,
    choices: Choices,
    numbers: OutputNumbers,
    answer: Answer,
    extras: Extras,
    unread: Unread,
    /// Whether a usage chunk has come, which servers send last.
    has_usage_chunk: bool,
    /// Whether the answer went on behind a `finish_reason`, or came with it: then that is no sure end.
    is_finish_unsure: bool,
    /// The provider's quirk.
    omits_finish_reason: bool,
    has_model: bool,
    /// What the server said of a failure that its `finish_reason` names.
    failure: Option<ServerError>,
    template: Template<Target>,
    words: Words,
}

/// Where the text of chunks that repeat one another goes.
#[derive(Clone, Copy, Default)]
struct Target {
    choice_index: u32,
    is_reasoning: bool,
}

impl Dialect for ChatDialect {
    #[inline]
    fn read_block(&mut self, bytes: &[u8], out: &mut Vec<ResponseEvent>) -> Option<usize> {
        self.repeat(bytes, Form::Block, out)
    }

    fn note_block(&mut self, block: &[u8]) {
        self.template.frame(block);
    }

    fn on_event(&mut self, event: SseEvent<'_>, out: &mut Vec<ResponseEvent>) -> Step {
        let is_error = event.event == Some("error");
        if !is_error
            && self
                .repeat(event.data.as_bytes(), Form::Data, out)
                .is_some()
        {
            return self.step(true);
        }
        let data = event.data.trim();
        if is_error {
            return self.on_error_event(data, out);
        }
        if data.is_empty() {
            return self.step(false);
        }
        if is_done(data) {
            return Step::End(self.end(true, out));
        }
        let marked = with_marked_surrogates(data);
        self.numbers.is_marked = matches!(marked, Cow::Owned(_));
        let step = match Chunk::parse(&marked) {
            Some(chunk) => {
                let step = self.on_chunk(&chunk, data, out);
                if !self.numbers.is_marked
                    && let Some((choice_index, member)) = chunk.only_text()
                {
                    let target = Target {
                        choice_index,
                        is_reasoning: member != "content",
                    };
                    let names = ["choices", "delta", member];
                    self.template.learn(event.data, &names, None, target);
                }
                step
            }
            None => self.on_unusual(event.event, data, &marked, out),
        };
        self.numbers.is_marked = false;
        step
    }

    fn on_text(&mut self, text: &str, place: TextPlace, out: &mut Vec<ResponseEvent>) -> Step {
        if place == TextPlace::Error {
            return self.on_error_event(text, out);
        }
        let is_answering = self.has_output() && !self.is_whole();
        if self.unread.push(text, place, is_answering) == Kind::Malformed {
            // The next piece is read with care: nothing may begin behind one that is lost.
            self.template.forget();
            self.answer
                .anomalies
                .malformed(|| format!("not JSON: {}", excerpt(text)));
        }
        self.step(false)
    }

    fn set_request_id(&mut self, request_id: Id) {
        self.answer.request_id = Some(request_id);
    }

    fn answer(&self) -> &Answer {
        &self.answer
    }

    fn is_finish_sure(&self) -> bool {
        !self.is_finish_unsure
    }

    fn finish(&mut self, out: &mut Vec<ResponseEvent>) -> Terminal {
        self.end(false, out)
    }
}

impl ChatDialect {
    pub(crate) fn new(limits: StreamLimits) -> Self {
        Self {
            numbers: OutputNumbers::new(limits),
            template: Template::new(limits.sse),
            ..Self::default()
        }
    }

    pub(crate) fn set_quirks(&mut self, quirks: &Quirks) {
        self.omits_finish_reason = quirks.omits_finish_reason;
    }

    /// Reads a chunk that repeats the template, and gives how many bytes it takes. The text changes no choice's end, so the stream
    /// goes on as it was.
    #[inline]
    fn repeat(&mut self, bytes: &[u8], form: Form, out: &mut Vec<ResponseEvent>) -> Option<usize> {
        let repeated = self.template.read(bytes, form, &mut self.words)?;
        let text = repeated.text;
        // Where this text is empty, another field may count in its place. What has no room ends the stream.
        let is_text = !text.is_empty() && self.numbers.size.has_room_for(text.len());
        is_text.then_some(())?;
        let Target {
            choice_index,
            is_reasoning,
        } = *repeated.target;
        let choice = self.choices.at(choice_index, &mut self.numbers);
        let mut to = Output {
            numbers: &mut self.numbers,
            out,
            anomalies: &mut self.answer.anomalies,
        };
        match is_reasoning {
            true => choice.reason(text, &mut to),
            false => choice.say_alone(text, &mut to),
        }
        self.is_finish_unsure |= choice.finish.is_some();
        self.has_usage_chunk = false;
        self.unread.on_answer();
        Some(repeated.bytes)
    }

    /// Reads a chunk, whose text is `data`.
    fn on_chunk(&mut self, chunk: &Chunk<'_>, data: &str, out: &mut Vec<ResponseEvent>) -> Step {
        let was_whole = self.is_whole();
        let is_begun = self.unread.lost(true).is_none() || self.has_output();
        self.on_start(chunk, out);
        let before = out.len();
        let has_news = chunk.has_more() && self.extras.are_new_in(data);
        if has_news
            && may_report(data)
            && let Some(error) = error_beside_choices(data)
        {
            return self.on_error(error, out);
        }
        if has_news || chunk.has_unread_parts() {
            out.push(ResponseEvent::Other(OtherEvent {
                event: CHUNK_OBJECT.into(),
                raw: RawJson::from_walked(data),
            }));
        }
        let mut says_more = false;
        for choice in chunk.choices() {
            says_more |= self.on_choice(chunk, choice, data, out);
            if self.numbers.size.is_exceeded() {
                break;
            }
        }
        if !is_begun && self.has_output() {
            // No answer that begins behind a lost piece is whole. Before anything of it is delivered it can be asked for again.
            if let Some(lost) = self.unread.lost(false).filter(|lost| !lost.is_json) {
                out.truncate(before);
                return Step::End(self.answer.failed(lost_piece(lost)));
            }
        }
        let has_usage = self.on_usage(chunk.usage);
        self.has_usage_chunk |= has_usage && chunk.choices().is_empty();
        // A gateway that names an end in every chunk may have its usage in every chunk, too.
        let is_alone = chunk.choices().is_empty() || !self.is_finish_unsure;
        if has_usage && !says_more && is_alone && was_whole && self.is_whole() {
            return Step::End(self.end(true, out));
        }
        self.step(has_usage || says_more)
    }

    /// Takes what a chunk holds for a choice. Whether it says something of the answer.
    fn on_choice(
        &mut self,
        chunk: &Chunk<'_>,
        chunk_choice: &ChunkChoice<'_>,
        data: &str,
        out: &mut Vec<ResponseEvent>,
    ) -> bool {
        let choice = self.choices.at(chunk_choice.index, &mut self.numbers);
        let had_finish = choice.finish.is_some();
        let events = out.len();
        let mut to = Output {
            numbers: &mut self.numbers,
            out,
            anomalies: &mut self.answer.anomalies,
        };
        choice.grow(chunk_choice, &mut to);
        if self.numbers.size.is_exceeded() {
            return false;
        }
        let has_grown = out.len() > events || chunk_choice.delta.tool_calls.is_some();
        let finish = finish_of(chunk_choice);
        let is_finish = finish.is_some();
        if has_grown || (is_finish && !had_finish) {
            self.unread.on_answer();
        }
        if has_grown {
            self.has_usage_chunk = false;
        }
        if chunk.has_more() && finish.as_ref().is_some_and(Finish::is_failure) {
            self.failure = words_of_failure(data);
        }
        if has_grown || is_finish {
            self.is_finish_unsure = has_grown && (had_finish || is_finish);
        }
        if let Some(finish) = finish
            && choice
                .finish
                .as_ref()
                .is_none_or(|before| finish.is_worse_than(before))
        {
            choice.finish = Some(finish);
            self.choices.finished += usize::from(!had_finish);
        }
        self.on_usage(chunk_choice.usage);
        has_grown || is_finish
    }

    /// Announces the response at its first chunk, and the model. Azure's report on the prompt, which comes before it, has neither
    /// id nor choices.
    fn on_start(&mut self, chunk: &Chunk<'_>, out: &mut Vec<ResponseEvent>) {
        let text = |text: &Option<super::chunk::Str<'_>>| {
            let text = text.as_deref().filter(|text| !text.is_empty());
            text.map(Id::from)
        };
        if self.numbers.response_id.is_none() {
            self.numbers.response_id = text(&chunk.id);
            self.answer.response_id = self.numbers.response_id.clone();
        }
        let is_start = self.numbers.response_id.is_some() || !chunk.choices().is_empty();
        if !self.is_created && is_start {
            self.is_created = true;
            out.push(ResponseEvent::Created(Created {
                response_id: self.numbers.response_id.clone(),
                response: None,
                request_id: self.answer.request_id.clone(),
            }));
        }
        if self.is_created
            && !self.has_model
            && let Some(model) = text(&chunk.model)
        {
            self.has_model = true;
            out.push(ResponseEvent::ServerModel(model));
        }
    }

    /// Keeps a usage; of several the last counts. Whether it says what the answer cost.
    fn on_usage(&mut self, usage: Option<&RawValue>) -> bool {
        usage.is_some_and(|usage| self.answer.note_usage(usage.get()))
    }

    /// Reads what is no chunk of the documented shape: `data` as it came, `marked` with its lone surrogates marked.
    fn on_unusual(
        &mut self,
        event: Option<&str>,
        data: &str,
        marked: &str,
        out: &mut Vec<ResponseEvent>,
    ) -> Step {
        let Some(value) = tree(&without_lone_surrogates(data)) else {
            return Step::Unread;
        };
        if let Some(error) = error_in(event, &value) {
            self.note_usage_of(&value);
            return self.on_error(error, out);
        }
        let Some(fields) = Object::read(marked) else {
            return self.on_list(event, marked, out);
        };
        if let Some(error) = self.other_wire(&fields) {
            return Step::End(self.answer.failed(error));
        }
        // A whole completion in an envelope.
        let inner = ["data", "result", "response"].into_iter().find_map(|name| {
            let inner = fields.object(name)?;
            inner.get("choices").and(fields.get(name))
        });
        if fields.get("choices").is_none()
            && let Some(inner) = inner
        {
            return self.on_unusual(event, inner.get(), inner.get(), out);
        }
        let (chunk, wrong) = lenient::read_chunk(&fields);
        if fields.get("choices").is_none() && chunk.usage.is_none() {
            if !self.has_output()
                && let Some(words) = WORDS.into_iter().find_map(|name| fields.text(name))
            {
                self.unread.push_words(&words);
            }
            out.push(ResponseEvent::Other(other_event(event, data, &fields)));
            return self.step(false);
        }
        if let Some(wrong) = wrong.filter(|_| !chunk.says_something()) {
            self.answer.anomalies.malformed(|| wrong.to_owned());
            self.unread.lose(data);
            out.push(ResponseEvent::Other(other_event(event, data, &fields)));
        }
        self.on_chunk(&chunk, data, out)
    }

    /// Reads a list of chunks in one event.
    fn on_list(&mut self, event: Option<&str>, json: &str, out: &mut Vec<ResponseEvent>) -> Step {
        let chunks: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
        let are_objects = chunks.iter().all(|chunk| chunk.get().starts_with('{'));
        if chunks.is_empty() || !are_objects {
            return Step::Unread;
        }
        let mut step = self.step(false);
        for chunk in chunks {
            step = self.on_unusual(event, chunk.get(), chunk.get(), out);
            if let Step::End(_) = step {
                break;
            }
        }
        step
    }

    fn note_usage_of(&mut self, chunk: &Value) {
        let of_choice = || {
            chunk
                .get("choices")?
                .as_array()?
                .iter()
                .find_map(|choice| choice.get("usage"))
        };
        let of_groq = || chunk.get("x_groq")?.get("usage");
        let usage = chunk.get("usage").or_else(of_choice).or_else(of_groq);
        if let Some(usage) = usage {
            self.answer.note_usage(&usage.to_string());
        }
    }

    /// The error of an answer of the Responses API, at its beginning.
    fn other_wire(&self, fields: &Object<'_>) -> Option<ApiError> {
        let kind = fields.text("type").unwrap_or_default();
        let is_response = kind.starts_with("response.")
            || fields
                .text("object")
                .is_some_and(|object| object == "response");
        (self.choices.list.is_empty() && is_response && fields.get("choices").is_none()).then(|| {
            ApiError::new(
                ErrorKind::Protocol,
                "this is an answer of the Responses API, and the provider's wire is set to Chat Completions",
            )
        })
    }

    /// Reads the data of an event that is named `error`, which is one whatever it says.
    fn on_error_event(&mut self, data: &str, out: &mut Vec<ResponseEvent>) -> Step {
        let json = without_lone_surrogates(data);
        let value = tree(&json).unwrap_or_else(|| Value::from(data));
        self.note_usage_of(&value);
        let error = error_in(Some("error"), &value).unwrap_or_default();
        self.on_error(error, out)
    }

    fn on_error(&mut self, error: ServerError, out: &mut Vec<ResponseEvent>) -> Step {
        let has_failed = |choice: &Choice| choice.finish.as_ref().is_some_and(Finish::is_failure);
        let is_undone = self.is_finish_unsure || self.choices.list.iter().any(has_failed);
        if self.is_whole() && !is_undone {
            self.answer.anomalies.malformed(|| {
                let message = error.message.as_deref().unwrap_or("no message");
                format!("an error after the whole answer: {message}")
            });
            return Step::End(self.end(true, out));
        }
        self.note_finish();
        Step::End(self.answer.failed(error.into_api_error(None)))
    }

    fn is_whole(&self) -> bool {
        !self.choices.list.is_empty() && self.choices.finished == self.choices.list.len()
    }

    fn has_output(&self) -> bool {
        self.choices.list.iter().any(Choice::has_output)
    }

    fn step(&self, goes_on: bool) -> Step {
        if let Some(excess) = self.numbers.size.excess() {
            Step::End(self.answer.failed(excess))
        } else if self.is_whole() {
            Step::Finishing { goes_on }
        } else {
            Step::Continue
        }
    }
}

/// Where an event without a form of its own may have words for people.
const WORDS: [&str; 5] = ["message", "msg", "title", "detail", "error_description"];

fn finish_of(choice: &ChunkChoice<'_>) -> Option<Finish> {
    Finish::read(
        choice.finish_reason.as_deref(),
        choice.native_finish_reason.as_deref(),
    )
}

fn lost_piece(lost: &Lost) -> ApiError {
    let kind = match lost.is_json {
        true => ErrorKind::Protocol,
        false => ErrorKind::Truncated,
    };
    let piece = &lost.piece;
    ApiError::new(
        kind,
        format!("a part of the answer could not be read, so it is not whole: {piece}"),
    )
}

/// The choices, in the order in which they began.
#[derive(Default)]
struct Choices {
    list: Vec<Choice>,
    /// Where those are whose place is not their index.
    elsewhere: HashMap<u32, usize>,
    /// How many have a `finish_reason`.
    finished: usize,
}

impl Choices {
    fn at(&mut self, index: u32, numbers: &mut OutputNumbers) -> &mut Choice {
        // As mostly: in their order.
        let here = usize::try_from(index).ok();
        let is_here = |at: &usize| {
            let choice = self.list.get(*at);
            choice.is_some_and(|choice| choice.index == index)
        };
        let known = here.filter(is_here);
        let position = known
            .or_else(|| self.elsewhere.get(&index).copied())
            .unwrap_or_else(|| {
                numbers.size.add_part();
                let new = self.list.len();
                if here != Some(new) {
                    self.elsewhere.insert(index, new);
                }
                self.list.push(Choice::new(index));
                new
            });
        &mut self.list[position]
    }
}

fn other_event(event: Option<&str>, data: &str, fields: &Object<'_>) -> OtherEvent {
    let name = ["object", "type"].iter().find_map(|name| fields.text(name));
    let name = name.as_deref().or(event).unwrap_or(CHUNK_OBJECT);
    // The text itself, which is JSON also where half a surrogate pair had to be replaced to read it.
    let raw = RawJson::parse(data).unwrap_or_else(|_| RawJson::from(Value::from(data)));
    OtherEvent {
        event: name.into(),
        raw,
    }
}

#[cfg(test)]
mod block_tests;
#[cfg(test)]
mod tests;
