//! Chat chunks to response events.
//!
//! What servers leave open is decided here:
//! - The answer is whole when every choice seen has its `finish_reason`; the usage chunk and `[DONE]` may follow. The usage
//!   chunk (no choices) after that ends the stream, and so does `[DONE]` at any time: a server that says so is done, even if it
//!   gave no reason or no output at all. A body that ends with neither is truncated, and its open items are not done.
//! - `length` is incomplete for `max_output_tokens`, as on the Responses wire; `content_filter` keeps its name. One choice that
//!   was cut makes the response incomplete. Reasons that are not known count as `stop`.
//! - The items of a choice are done when its `finish_reason` comes: the reasoning, the message, then the calls, whatever the
//!   reason. What comes for the choice later begins new items.
//! - Items are numbered in the order in which they begin, over all choices, and get ids that the chunks' id makes stable.
//! - An error ends the stream, unless the answer was whole already; then it is counted as an anomaly.

use serde_json::{Value, value::RawValue};

use super::{
    choice::Choice, chunk::Chunk, error_chunk::error_in, finish::Finish, item::OutputNumbers,
    lenient, object::Object, template::Template,
};
use crate::{
    error::{ApiError, ErrorKind},
    protocol::{Created, Id, OtherEvent, RawJson, ResponseEvent, StreamAnomalies},
    sse::SseEvent,
    wire::{
        Dialect, Step, StreamLimits, Terminal, TextPlace,
        answer::Answer,
        escapes::without_lone_surrogates,
        pieces::{excerpt, is_done},
        server_error::ServerError,
    },
};

/// What a chunk without choices is called that does not name its own object.
const CHUNK_OBJECT: &str = "chat.completion.chunk";

/// Reads the stream of one Chat completion.
#[derive(Default)]
pub(crate) struct ChatDialect {
    is_created: bool,
    choices: Vec<Choice>,
    numbers: OutputNumbers,
    answer: Answer,
    template: Template,
    /// What is larger is for the SSE decoder to judge.
    max_block_bytes: usize,
}

impl Dialect for ChatDialect {
    const READS_BLOCKS: bool = true;

    #[inline]
    fn read_block(&mut self, bytes: &[u8], out: &mut Vec<ResponseEvent>) -> Option<usize> {
        let (text, block_bytes) = self.template.text_of_block(bytes)?;
        // Either would end the stream. The text itself changes no choice's end, so the stream goes on as it was.
        let is_within_limits =
            block_bytes <= self.max_block_bytes && self.numbers.size.has_room_for(text.len());
        is_within_limits.then(|| {
            self.add_text(&text, out);
            block_bytes
        })
    }

    fn on_event(&mut self, event: SseEvent<'_>, out: &mut Vec<ResponseEvent>) -> Step {
        let is_error = event.event == Some("error");
        if !is_error && let Some(text) = self.template.text_of(event.data) {
            self.add_text(&text, out);
            return self.step();
        }
        let data = event.data.trim();
        if data.is_empty() {
            return self.step();
        }
        if is_done(data) {
            return Step::End(self.complete(out));
        }
        if !is_error && let Some(chunk) = Chunk::parse(data) {
            let step = self.on_chunk(&chunk, out);
            self.template.learn(event.data, &chunk);
            return step;
        }
        self.on_unusual(event.event, data, out)
    }

    fn finish(&mut self, out: &mut Vec<ResponseEvent>) -> Terminal {
        if self.is_whole() {
            return self.complete(out);
        }
        let has_output = self.choices.iter().any(Choice::has_output);
        let message = match has_output {
            true => "the stream ended within the answer: no finish_reason and no [DONE] came",
            false => "the stream ended before the answer began",
        };
        self.fail(ApiError::new(ErrorKind::Truncated, message))
    }

    fn on_text(&mut self, text: &str, place: TextPlace, _out: &mut Vec<ResponseEvent>) -> Step {
        match place {
            TextPlace::Stray => {}
            TextPlace::Error => {
                let error = ServerError::from_json(&Value::from(text)).unwrap_or_default();
                return self.on_error(error, _out);
            }
            TextPlace::Data => self
                .answer
                .anomalies
                .malformed(|| format!("not JSON: {}", excerpt(text))),
        }
        self.step()
    }

    fn set_request_id(&mut self, request_id: Id) {
        self.answer.request_id = Some(request_id);
    }

    fn anomalies(&self) -> &StreamAnomalies {
        &self.answer.anomalies
    }
}

impl ChatDialect {
    pub(crate) fn new(limits: StreamLimits) -> Self {
        Self {
            numbers: OutputNumbers::new(limits),
            max_block_bytes: limits.sse.max_line_bytes.min(limits.sse.max_event_bytes),
            ..Self::default()
        }
    }

    /// Adds a text that came in a chunk like the last one.
    fn add_text(&mut self, text: &str, out: &mut Vec<ResponseEvent>) {
        let target = self.template.target;
        let choice = choice_at(&mut self.choices, target.choice_index, &mut self.numbers);
        if target.is_reasoning {
            choice.reason(text, &mut self.numbers, out);
        } else {
            choice.say(text, None, &mut self.numbers, out);
        }
    }

    fn on_chunk(&mut self, chunk: &Chunk<'_>, out: &mut Vec<ResponseEvent>) -> Step {
        self.on_id(chunk, out);
        for chunk_choice in chunk.choices.iter() {
            let choice = choice_at(&mut self.choices, chunk_choice.index, &mut self.numbers);
            choice.grow(chunk_choice, &mut self.numbers, out);
            if self.numbers.size.is_exceeded() {
                break;
            }
            let reason = chunk_choice.finish_reason.as_deref().unwrap_or_default();
            match Finish::from_reason(reason) {
                Some(Finish::Failed) => {
                    return self.on_error(
                        ServerError {
                            message: Some("the server ended the answer with an error".to_owned()),
                            ..ServerError::default()
                        },
                        out,
                    );
                }
                Some(finish) => {
                    // Some servers repeat the reason, some name a vaguer one the second time.
                    choice.finish.get_or_insert(finish);
                    choice.finish_items(out, &mut self.answer.anomalies);
                }
                None => {}
            }
            self.on_usage(chunk_choice.usage);
        }
        let has_usage = self.on_usage(chunk.usage);
        if has_usage && chunk.choices.is_empty() && self.is_whole() {
            return Step::End(self.complete(out));
        }
        self.step()
    }

    /// Announces the response at its first chunk. Azure's report on the prompt, which comes before it, has neither id nor
    /// choices.
    fn on_id(&mut self, chunk: &Chunk<'_>, out: &mut Vec<ResponseEvent>) {
        let id = chunk.id.as_deref().filter(|id| !id.is_empty());
        if self.numbers.response_id.is_none() {
            self.numbers.response_id = id.map(Into::into);
            self.answer.response_id = self.numbers.response_id.clone();
        }
        if !self.is_created && (id.is_some() || !chunk.choices.is_empty()) {
            self.is_created = true;
            out.push(ResponseEvent::Created(Created {
                response_id: self.numbers.response_id.clone(),
                response: None,
                request_id: self.answer.request_id.clone(),
            }));
        }
    }

    /// Keeps a usage; of several the last counts.
    fn on_usage(&mut self, usage: Option<&RawValue>) -> bool {
        usage.is_some_and(|usage| self.answer.note_usage(usage.get()))
    }

    fn on_unusual(
        &mut self,
        event: Option<&str>,
        data: &str,
        out: &mut Vec<ResponseEvent>,
    ) -> Step {
        let json = without_lone_surrogates(data);
        let value: Value = match serde_json::from_str(&json) {
            Ok(value) => value,
            Err(_) => return Step::Unread,
        };
        if let Some(error) = error_in(event, &value) {
            return self.on_error(error, out);
        }
        let Some(fields) = Object::read(&json) else {
            self.answer
                .anomalies
                .malformed(|| "not a JSON object".to_owned());
            return self.step();
        };
        let (chunk, wrong) = lenient::read_chunk(&fields);
        if fields.get("choices").is_none() && chunk.usage.is_none() {
            out.push(ResponseEvent::Other(other_event(event, data, &fields)));
            return self.step();
        }
        if let Some(wrong) = wrong.filter(|_| !chunk.says_something()) {
            self.answer.anomalies.malformed(|| wrong.to_owned());
        }
        self.on_chunk(&chunk, out)
    }

    fn on_error(&mut self, error: ServerError, out: &mut Vec<ResponseEvent>) -> Step {
        if self.is_whole() {
            self.answer.anomalies.malformed(|| {
                let message = error.message.as_deref().unwrap_or("no message");
                format!("an error after the whole answer: {message}")
            });
            return Step::End(self.complete(out));
        }
        Step::End(self.fail(error.into_api_error(None)))
    }

    fn fail(&self, error: ApiError) -> Terminal {
        self.answer.failed(error)
    }

    fn is_whole(&self) -> bool {
        !self.choices.is_empty() && self.choices.iter().all(|choice| choice.finish.is_some())
    }

    fn step(&self) -> Step {
        if let Some(excess) = self.numbers.size.excess() {
            Step::End(self.fail(excess))
        } else if self.is_whole() {
            Step::Finishing
        } else {
            Step::Continue
        }
    }

    /// Ends what is open, and the response.
    fn complete(&mut self, out: &mut Vec<ResponseEvent>) -> Terminal {
        for choice in &mut self.choices {
            choice.finish_items(out, &mut self.answer.anomalies);
        }
        let cut = self.choices.iter().find_map(|choice| match choice.finish {
            Some(Finish::Cut(reason)) => Some(reason),
            _ => None,
        });
        match cut {
            Some(reason) => self.answer.incomplete(reason),
            None => self.answer.completed(),
        }
    }
}

fn choice_at<'a>(
    choices: &'a mut Vec<Choice>,
    index: u32,
    numbers: &mut OutputNumbers,
) -> &'a mut Choice {
    let position = choices
        .iter()
        .position(|choice| choice.index == index)
        .unwrap_or_else(|| {
            numbers.size.add_part();
            choices.push(Choice::new(index));
            choices.len() - 1
        });
    &mut choices[position]
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
