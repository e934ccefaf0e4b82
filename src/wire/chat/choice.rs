//! One choice of a response: its reasoning, its message and its tool calls.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    chunk::{ChunkChoice, Delta},
    finish::Finish,
    item::{Item, OutputNumbers, OutputPlace, Part},
    tool_calls::ToolCalls,
};
use crate::protocol::{
    OutputTextDelta, RawJson, ReasoningContentDelta, RefusalDelta, ResponseEvent, StreamAnomalies,
};

/// A choice as far as it has come. Choices are kept apart: each has its own items.
pub(super) struct Choice {
    pub(super) index: u32,
    /// How it ended, once its `finish_reason` has come.
    pub(super) finish: Option<Finish>,
    reasoning: Option<Reasoning>,
    message: Option<Message>,
    calls: ToolCalls,
    has_had: HasHad,
}

/// What of a choice has been delivered: a whole message that comes later repeats it.
#[derive(Default)]
struct HasHad {
    reasoning: bool,
    message: bool,
    calls: bool,
}

struct Reasoning {
    place: OutputPlace,
    text: String,
}

struct Message {
    place: OutputPlace,
    parts: Vec<Part>,
}

impl Message {
    /// The part that `text` or a refusal goes on in; content has at most one of each, in the order in which they began.
    fn append(&mut self, piece: &str, is_refusal: bool) -> u32 {
        for (index, part) in self.parts.iter_mut().enumerate() {
            let whole = match part {
                Part::OutputText { text, .. } if !is_refusal => text,
                Part::Refusal { refusal } if is_refusal => refusal,
                _ => continue,
            };
            whole.push_str(piece);
            return index as u32;
        }
        self.parts.push(if is_refusal {
            Part::Refusal {
                refusal: piece.to_owned(),
            }
        } else {
            Part::OutputText {
                text: piece.to_owned(),
                annotations: [],
            }
        });
        self.parts.len() as u32 - 1
    }

    fn item(&self, status: &'static str) -> Item<'_> {
        Item::Message {
            id: &self.place.item_id,
            role: "assistant",
            status,
            content: &self.parts,
        }
    }
}

impl Choice {
    pub(super) fn new(index: u32) -> Self {
        Self {
            index,
            finish: None,
            reasoning: None,
            message: None,
            calls: ToolCalls::default(),
            has_had: HasHad::default(),
        }
    }

    /// Whether anything of an answer has come.
    pub(super) fn has_output(&self) -> bool {
        self.has_had.reasoning || self.has_had.message || self.has_had.calls
    }

    /// Takes what a chunk holds for this choice, its finish reason apart.
    pub(super) fn grow(
        &mut self,
        chunk: &ChunkChoice<'_>,
        numbers: &mut OutputNumbers,
        out: &mut Vec<ResponseEvent>,
    ) {
        let Delta {
            content,
            refusal,
            tool_calls,
            ..
        } = &chunk.delta;
        let is_new = |had: bool| !(had && chunk.is_whole_message);
        let HasHad {
            reasoning,
            message,
            calls,
        } = self.has_had;
        if let Some(text) = chunk.delta.reasoning()
            && is_new(reasoning)
        {
            self.reason(text, numbers, out);
        }
        if let Some(text) = content
            && is_new(message)
        {
            self.say(text, chunk.logprobs, numbers, out);
        }
        if let Some(text) = refusal
            && is_new(message)
        {
            self.refuse(text, numbers, out);
        }
        if let Some(pieces) = tool_calls
            && is_new(calls)
        {
            for piece in pieces.iter() {
                if numbers.size.is_exceeded() {
                    return;
                }
                self.has_had.calls = true;
                self.calls.add(piece, numbers, out);
            }
        }
    }

    /// Appends text of the answer.
    pub(super) fn say(
        &mut self,
        text: &str,
        logprobs: Option<&RawValue>,
        numbers: &mut OutputNumbers,
        out: &mut Vec<ResponseEvent>,
    ) {
        if text.is_empty() {
            return;
        }
        numbers.size.add_bytes(text.len());
        let message = self.message(numbers, out);
        let content_index = message.append(text, false);
        out.push(ResponseEvent::OutputTextDelta(OutputTextDelta {
            delta: text.into(),
            item_id: Some(message.place.item_id.clone()),
            output_index: Some(message.place.output_index),
            content_index: Some(content_index),
            logprobs: logprobs.and_then(token_logprobs),
        }));
    }

    /// Appends text of the reasoning.
    pub(super) fn reason(
        &mut self,
        text: &str,
        numbers: &mut OutputNumbers,
        out: &mut Vec<ResponseEvent>,
    ) {
        if text.is_empty() {
            return;
        }
        self.has_had.reasoning = true;
        numbers.size.add_bytes(text.len());
        let reasoning = self.reasoning.get_or_insert_with(|| {
            numbers.size.add_part();
            let place = numbers.begin("rs");
            let item = Item::Reasoning {
                id: &place.item_id,
                summary: [],
                content: Vec::new(),
            };
            out.push(ResponseEvent::OutputItemAdded(
                item.into_output(place.output_index),
            ));
            Reasoning {
                place,
                text: String::new(),
            }
        });
        reasoning.text.push_str(text);
        out.push(ResponseEvent::ReasoningContentDelta(
            ReasoningContentDelta {
                delta: text.into(),
                item_id: Some(reasoning.place.item_id.clone()),
                output_index: Some(reasoning.place.output_index),
                content_index: 0,
            },
        ));
    }

    fn refuse(&mut self, text: &str, numbers: &mut OutputNumbers, out: &mut Vec<ResponseEvent>) {
        if text.is_empty() {
            return;
        }
        numbers.size.add_bytes(text.len());
        let message = self.message(numbers, out);
        let content_index = message.append(text, true);
        out.push(ResponseEvent::RefusalDelta(RefusalDelta {
            delta: text.into(),
            item_id: Some(message.place.item_id.clone()),
            output_index: Some(message.place.output_index),
            content_index: Some(content_index),
        }));
    }

    fn message(
        &mut self,
        numbers: &mut OutputNumbers,
        out: &mut Vec<ResponseEvent>,
    ) -> &mut Message {
        self.has_had.message = true;
        self.message.get_or_insert_with(|| {
            numbers.size.add_part();
            let message = Message {
                place: numbers.begin("msg"),
                parts: Vec::new(),
            };
            let item = message.item("in_progress");
            out.push(ResponseEvent::OutputItemAdded(
                item.into_output(message.place.output_index),
            ));
            message
        })
    }

    /// Ends the items that are open: the reasoning, then the message, then the calls in the order in which they began. What
    /// comes for the choice after that begins new items.
    pub(super) fn finish_items(
        &mut self,
        out: &mut Vec<ResponseEvent>,
        anomalies: &mut StreamAnomalies,
    ) {
        let status = self.finish.as_ref().unwrap_or(&Finish::Whole).item_status();
        if let Some(Reasoning { place, text }) = self.reasoning.take() {
            let item = Item::Reasoning {
                id: &place.item_id,
                summary: [],
                content: vec![Part::ReasoningText { text }],
            };
            out.push(ResponseEvent::OutputItemDone(
                item.into_output(place.output_index),
            ));
        }
        if let Some(message) = self.message.take() {
            out.push(ResponseEvent::OutputItemDone(
                message.item(status).into_output(message.place.output_index),
            ));
        }
        self.calls.finish(status, out, anomalies);
    }
}

/// The list of tokens in a Chat `logprobs` object: what the Responses API calls `logprobs`.
fn token_logprobs(logprobs: &RawValue) -> Option<RawJson> {
    #[derive(Deserialize)]
    struct Logprobs<'a> {
        #[serde(borrow)]
        content: Option<&'a RawValue>,
    }

    let logprobs: Logprobs<'_> = serde_json::from_str(logprobs.get()).ok()?;
    logprobs
        .content
        .filter(|content| content.get().starts_with('['))
        .map(RawJson::from_raw)
}
