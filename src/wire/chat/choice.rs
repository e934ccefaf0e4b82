//! One choice of a response: its reasoning, its message and its tool calls.

use std::{collections::HashSet, hash::BuildHasher};

use foldhash::fast::FixedState;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    chunk::{ChunkChoice, Delta},
    details,
    finish::Finish,
    item::{Extra, Grown, Item, Output, OutputPlace, Part},
    tool_calls::{ToolCalls, merge},
};
use crate::protocol::{OutputItem, RawJson, ReasoningDelta, ResponseEvent, TextDelta};

/// A choice as far as it has come. Choices are kept apart: each has its own items.
#[derive(Default)]
pub(super) struct Choice {
    pub(super) index: u32,
    /// How it ended, once its `finish_reason` has come. What comes after that still belongs to it.
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
    attachments: bool,
    /// Pieces, not whole messages.
    deltas: bool,
}

impl HasHad {
    /// What of a text is new. A whole message repeats what came before it, as it grows or behind the deltas; where it begins
    /// otherwise, it is a piece under another name, unless there were pieces before.
    fn news<'a>(&self, text: &'a str, before: Option<&Grown>, is_whole: bool) -> &'a str {
        let before = before.map_or("", |before| &before.text);
        match () {
            () if !is_whole || before.is_empty() => text,
            () if text.starts_with(before) => &text[before.len()..],
            () if self.deltas || before.starts_with(text) => "",
            () => text,
        }
    }
}

struct Reasoning {
    place: OutputPlace,
    text: Grown,
    /// `reasoning_details` and `thinking_blocks`, as they came.
    lists: [(&'static str, Vec<Value>); 2],
    /// Its pieces, as the text of one element.
    signature: Vec<Value>,
    opaque: Option<Value>,
}

struct Message {
    place: OutputPlace,
    text: Option<Content>,
    refusal: Option<Content>,
    is_refusal_first: bool,
    annotations: Vec<Value>,
    /// Their hashes.
    annotated: HashSet<u64>,
    extra: Extra,
}

/// A part of a message; content has at most one of each kind.
#[derive(Default)]
struct Content {
    text: Grown,
    /// The elements of the lists that came, as they are written.
    logprobs: String,
}

impl Content {
    fn add_logprobs(&mut self, list: &str) {
        let inside = list
            .strip_prefix('[')
            .and_then(|list| list.strip_suffix(']'));
        let elements = inside.unwrap_or_default().trim();
        if !elements.is_empty() {
            let comma = if self.logprobs.is_empty() { "" } else { "," };
            self.logprobs += comma;
            self.logprobs += elements;
        }
    }

    fn take_logprobs(&mut self) -> Option<Box<RawValue>> {
        let elements = std::mem::take(&mut self.logprobs);
        let list = (!elements.is_empty()).then(|| format!("[{elements}]"));
        RawValue::from_string(list?).ok()
    }
}

impl Message {
    fn content_index(&self, is_refusal: bool) -> u32 {
        let has_both = self.text.is_some() && self.refusal.is_some();
        u32::from(has_both && is_refusal != self.is_refusal_first)
    }

    fn part(&mut self, is_refusal: bool) -> &mut Content {
        if is_refusal && self.text.is_none() {
            self.is_refusal_first = true;
        }
        let part = match is_refusal {
            true => &mut self.refusal,
            false => &mut self.text,
        };
        part.get_or_insert_default()
    }

    fn item(&self, parts: &[Part], status: &'static str) -> OutputItem {
        let item = Item::Message {
            id: &self.place.item_id,
            role: "assistant",
            status,
            content: parts,
            extra: &self.extra,
        };
        item.into_output(self.place.output_index)
    }

    /// What ends the message. A part that half a surrogate pair was waited for in is ended first.
    fn finish(mut self, status: &'static str, out: &mut Vec<ResponseEvent>) {
        for is_refusal in [false, true] {
            let content_index = self.content_index(is_refusal);
            let part = match is_refusal {
                true => &mut self.refusal,
                false => &mut self.text,
            };
            let rest = part.as_mut().map_or("", |part| part.text.finish());
            if !rest.is_empty() {
                out.push(self.place.delta(rest, is_refusal, content_index, None));
            }
        }
        let text = self.text.take().map(|mut part| Part::OutputText {
            logprobs: part.take_logprobs(),
            text: part.text.text,
            annotations: std::mem::take(&mut self.annotations),
        });
        let refusal = self.refusal.take().map(|mut part| Part::Refusal {
            logprobs: part.take_logprobs(),
            refusal: part.text.text,
        });
        let mut parts: Vec<_> = [text, refusal].into_iter().flatten().collect();
        if self.is_refusal_first {
            parts.reverse();
        }
        out.push(ResponseEvent::OutputItemDone(self.item(&parts, status)));
    }
}

impl OutputPlace {
    fn delta(
        &self,
        delta: &str,
        is_refusal: bool,
        content_index: u32,
        logprobs: Option<RawJson>,
    ) -> ResponseEvent {
        let text = TextDelta {
            delta: delta.into(),
            item_id: Some(self.item_id.clone()),
            output_index: Some(self.output_index),
            content_index: Some(content_index),
            logprobs,
        };
        match is_refusal {
            false => ResponseEvent::OutputTextDelta(text),
            true => ResponseEvent::RefusalDelta(text),
        }
    }

    fn reasoning_delta(&self, delta: &str) -> ResponseEvent {
        ResponseEvent::ReasoningContentDelta(ReasoningDelta {
            delta: delta.into(),
            item_id: Some(self.item_id.clone()),
            output_index: Some(self.output_index),
            part_index: 0,
        })
    }
}

impl Choice {
    pub(super) fn new(index: u32) -> Self {
        Self {
            index,
            ..Self::default()
        }
    }

    /// Whether anything of an answer has come.
    pub(super) fn has_output(&self) -> bool {
        self.has_answer() || self.has_had.reasoning || self.has_had.attachments
    }

    /// Whether a part of an answer has come, and not reasoning alone.
    pub(super) fn has_answer(&self) -> bool {
        self.has_had.message || self.has_had.calls
    }

    /// Whether a call's arguments end in the middle.
    pub(super) fn has_cut_call(&self) -> bool {
        self.calls.has_cut()
    }

    /// Whether a call may go on.
    pub(super) fn has_open_call(&self) -> bool {
        self.calls.has_open()
    }

    /// Takes what a chunk holds for this choice, its finish reason apart.
    pub(super) fn grow(&mut self, chunk: &ChunkChoice<'_>, to: &mut Output<'_>) {
        let delta = &chunk.delta;
        let is_whole = chunk.is_whole_message;
        self.has_had.deltas |= !is_whole && !delta.is_empty();
        let has_attachments = delta.has_attachments() && !(is_whole && self.has_had.attachments);
        let (logprobs, refusal_logprobs) = chunk.logprobs.map(token_logprobs).unwrap_or_default();
        if let Some(text) = delta.reasoning() {
            let before = self.reasoning.as_ref().map(|reasoning| &reasoning.text);
            // Some gateways repeat all of it beside its signature.
            let is_repeated =
                delta.is_signed() && before.is_some_and(|before| before.text == **text);
            let text = match is_repeated {
                true => "",
                false => self.has_had.news(text, before, is_whole),
            };
            self.reason(text, to);
        }
        if has_attachments {
            self.has_had.attachments = true;
            self.attach_to_reasoning(delta, to);
        }
        if let Some(text) = &delta.content {
            let before = self.said(false);
            let text = self.has_had.news(text, before, is_whole);
            self.add_text(text, false, logprobs, to);
        }
        if let Some(text) = &delta.refusal {
            let before = self.said(true);
            let text = self.has_had.news(text, before, is_whole);
            self.add_text(text, true, refusal_logprobs, to);
        }
        if has_attachments {
            self.attach_to_message(delta, to);
        }
        if let Some(pieces) = &delta.tool_calls {
            for (position, piece) in pieces.iter().enumerate() {
                if to.numbers.size.is_exceeded() {
                    return;
                }
                self.has_had.calls = true;
                self.calls.add(piece, position, to);
            }
        }
    }

    /// What has come of the message's text, or of its refusal.
    fn said(&self, is_refusal: bool) -> Option<&Grown> {
        let message = self.message.as_ref()?;
        let part = match is_refusal {
            true => &message.refusal,
            false => &message.text,
        };
        Some(&part.as_ref()?.text)
    }

    /// Appends text of the answer that came alone. Nearly all of an answer comes this way, so that what nearly always holds is
    /// looked at first: the message has text, and its last piece did not end in half a character.
    #[inline]
    pub(super) fn say_alone(&mut self, text: &str, to: &mut Output<'_>) {
        if let Some(message) = &mut self.message
            && let Some(part) = &mut message.text
            && !text.is_empty()
            && part.text.push_whole(text, to.numbers.is_marked)
        {
            to.numbers.size.add_bytes(text.len());
            let is_behind = message.refusal.is_some() && message.is_refusal_first;
            let place = &message.place;
            // Made in its place: there is room for it before there is an event.
            to.out.extend(std::iter::once_with(|| {
                ResponseEvent::OutputTextDelta(TextDelta {
                    delta: text.into(),
                    item_id: Some(place.item_id.clone()),
                    output_index: Some(place.output_index),
                    content_index: Some(u32::from(is_behind)),
                    logprobs: None,
                })
            }));
            return;
        }
        self.add_text(text, false, None, to);
    }

    /// Appends text of the answer, or of a refusal.
    fn add_text(
        &mut self,
        text: &str,
        is_refusal: bool,
        logprobs: Option<&RawValue>,
        to: &mut Output<'_>,
    ) {
        if text.is_empty() {
            return;
        }
        to.numbers.size.add_bytes(text.len());
        let list = logprobs.map_or("", RawValue::get);
        to.numbers.size.add_bytes(list.len());
        let message = self.message(to);
        let part = message.part(is_refusal);
        part.add_logprobs(list);
        let added = part.text.push(text, to.numbers.is_marked);
        let content_index = message.content_index(is_refusal);
        if !added.is_empty() {
            let logprobs = logprobs.map(RawJson::from_raw);
            let delta = message
                .place
                .delta(&added, is_refusal, content_index, logprobs);
            to.out.push(delta);
        }
    }

    /// Appends text of the reasoning.
    pub(super) fn reason(&mut self, text: &str, to: &mut Output<'_>) {
        if text.is_empty() {
            return;
        }
        to.numbers.size.add_bytes(text.len());
        let reasoning = self.reasoning(to);
        let added = reasoning.text.push(text, to.numbers.is_marked);
        if !added.is_empty() {
            to.out.push(reasoning.place.reasoning_delta(&added));
        }
    }

    fn reasoning(&mut self, to: &mut Output<'_>) -> &mut Reasoning {
        self.has_had.reasoning = true;
        self.reasoning.get_or_insert_with(|| {
            to.numbers.size.add_part();
            let place = to.numbers.begin("rs");
            let item = Item::Reasoning {
                id: &place.item_id,
                summary: [],
                content: Vec::new(),
                extra: &Extra::new(),
            };
            to.out.push(ResponseEvent::OutputItemAdded(
                item.into_output(place.output_index),
            ));
            Reasoning {
                place,
                text: Grown::default(),
                lists: [
                    ("reasoning_details", Vec::new()),
                    ("thinking_blocks", Vec::new()),
                ],
                signature: Vec::new(),
                opaque: None,
            }
        })
    }

    fn message(&mut self, to: &mut Output<'_>) -> &mut Message {
        self.has_had.message = true;
        self.message.get_or_insert_with(|| {
            to.numbers.size.add_part();
            let message = Message {
                place: to.numbers.begin("msg"),
                text: None,
                refusal: None,
                is_refusal_first: false,
                annotations: Vec::new(),
                annotated: HashSet::new(),
                extra: Extra::new(),
            };
            to.out.push(ResponseEvent::OutputItemAdded(
                message.item(&[], "in_progress"),
            ));
            message
        })
    }

    fn attach_to_reasoning(&mut self, delta: &Delta<'_>, to: &mut Output<'_>) {
        let lists = [delta.reasoning_details, delta.thinking_blocks];
        for (at, json) in lists.into_iter().enumerate() {
            if let Some(json) = json.filter(|json| json.get() != "[]") {
                let pieces = to.numbers.value(json.get());
                details::grow(&mut self.reasoning(to).lists[at].1, pieces);
            }
        }
        if let Some(json) = delta.signature {
            let piece = json!({"text": to.numbers.value(json.get())});
            details::grow(&mut self.reasoning(to).signature, piece);
        }
        if let Some(json) = delta.reasoning_opaque {
            let opaque = to.numbers.value(json.get());
            self.reasoning(to).opaque = Some(opaque);
        }
    }

    fn attach_to_message(&mut self, delta: &Delta<'_>, to: &mut Output<'_>) {
        let some = |json: Option<&RawValue>, to: &mut Output<'_>| {
            let json = json.filter(|json| !matches!(json.get(), "[]" | "{}"))?;
            Some(to.numbers.value(json.get()))
        };
        if let Some(Value::Array(annotations)) = some(delta.annotations, to) {
            let annotations = annotations.into_iter().map(details::flat_annotation);
            let message = self.message(to);
            message.part(false);
            for annotation in annotations {
                // Some servers repeat the list in every chunk.
                let hash = FixedState::default().hash_one(&annotation);
                if message.annotated.insert(hash) {
                    message.annotations.push(annotation);
                }
            }
        }
        let images = match some(delta.images, to) {
            Some(Value::Array(images)) => images,
            _ => Vec::new(),
        };
        let parts = delta.parts.images.iter();
        let parts: Vec<_> = parts.map(|image| to.numbers.value(image.get())).collect();
        if !images.is_empty() || !parts.is_empty() {
            let extra = &mut self.message(to).extra;
            let list = extra.entry("images").or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.extend(images.into_iter().chain(parts));
            }
        }
        if let Some(Value::Object(piece)) = some(delta.audio, to) {
            let extra = &mut self.message(to).extra;
            let audio = extra.entry("audio").or_insert_with(|| json!({}));
            if let Value::Object(audio) = audio {
                details::add(audio, piece);
            }
        }
        if let Some(value) = some(delta.extra_content, to) {
            let extra = &mut self.message(to).extra;
            merge(extra, "extra_content", value);
        }
    }

    /// Ends the items: the reasoning, then the message, then the calls in the order in which they began. Their status is that
    /// of the finish reason, unless one is given.
    pub(super) fn finish_items(&mut self, status: Option<&'static str>, to: &mut Output<'_>) {
        let said = self.finish.as_ref().map(Finish::item_status);
        let status = status.or(said).unwrap_or("incomplete");
        if let Some(Reasoning {
            place,
            mut text,
            lists,
            signature,
            opaque,
        }) = self.reasoning.take()
        {
            let rest = text.finish();
            if !rest.is_empty() {
                to.out.push(place.reasoning_delta(rest));
            }
            let mut extra = Extra::new();
            for (name, list) in lists {
                if !list.is_empty() {
                    extra.insert(name.to_owned(), list.into());
                }
            }
            let signature = signature.first().and_then(|element| element.get("text"));
            for (name, value) in [
                ("signature", signature),
                ("reasoning_opaque", opaque.as_ref()),
            ] {
                extra.extend(value.map(|value| (name.to_owned(), value.clone())));
            }
            let text = Some(text.text).filter(|text| !text.is_empty());
            let item = Item::Reasoning {
                id: &place.item_id,
                summary: [],
                content: text
                    .into_iter()
                    .map(|text| Part::ReasoningText { text })
                    .collect(),
                extra: &extra,
            };
            to.out.push(ResponseEvent::OutputItemDone(
                item.into_output(place.output_index),
            ));
        }
        if let Some(message) = self.message.take() {
            message.finish(status, to.out);
        }
        self.calls.finish(status, to);
    }
}

/// The lists of tokens in a Chat `logprobs` object, of the text and of a refusal: what the Responses API calls `logprobs`.
fn token_logprobs(logprobs: &RawValue) -> (Option<&RawValue>, Option<&RawValue>) {
    #[derive(Default, Deserialize)]
    struct Logprobs<'a> {
        #[serde(borrow)]
        content: Option<&'a RawValue>,
        #[serde(borrow)]
        refusal: Option<&'a RawValue>,
    }

    let found: Logprobs<'_> = serde_json::from_str(logprobs.get()).unwrap_or_default();
    let is_list = |list: &&RawValue| list.get().starts_with('[');
    (found.content.filter(is_list), found.refusal.filter(is_list))
}
