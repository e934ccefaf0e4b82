//! One item of a stream, as far as it has come.

use std::{borrow::Cow, collections::BTreeMap};

use crate::protocol::{Id, OutputItem, ResponseItem};

/// What kind of item something belongs to; deltas of one never belong to an item of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Message,
    Reasoning,
    /// Of a tool, whoever runs it.
    Call,
}

/// Which item something belongs to, as far as an event says it.
#[derive(Clone, Copy, Default)]
pub(super) struct Place<'a> {
    /// Absent for an item without a typed form.
    pub(super) kind: Option<Kind>,
    pub(super) output_index: Option<u32>,
    pub(super) item_id: Option<&'a str>,
    pub(super) call_id: Option<&'a str>,
}

/// The parts of an item that come in deltas.
pub(super) const PARTS: [&str; 5] = ["text", "refusal", "summary", "reasoning", "input"];

/// One output item in the making, or what came after one that was done.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    pub(super) kind: Option<Kind>,
    pub(super) output_index: Option<u32>,
    /// The id of the last event.
    pub(super) item_id: Option<Id>,
    /// How many deltas have come under that id.
    pub(super) deltas_of_id: u64,
    pub(super) call_id: Option<Id>,
    pub(super) added: Option<OutputItem>,
    pub(super) done: Option<OutputItem>,
    pub(super) text: BTreeMap<u32, String>,
    pub(super) refusal: BTreeMap<u32, String>,
    pub(super) summary: BTreeMap<u32, String>,
    pub(super) reasoning: BTreeMap<u32, String>,
    pub(super) input: String,
}

/// A tool call that the caller is to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccumulatedToolCall<'a> {
    /// The server's id of the item.
    pub item_id: Option<&'a str>,
    /// The id that the output must carry.
    pub call_id: Option<&'a str>,
    /// The function's or tool's name.
    pub name: Option<&'a str>,
    /// Its input so far: of a function the beginning of a JSON object, of a custom tool free text.
    pub input: Cow<'a, str>,
    /// Whether the call is whole. A call that is not must not be carried out.
    pub is_done: bool,
}

impl<'a> Place<'a> {
    pub(super) fn of(item: &'a OutputItem) -> Self {
        let typed = item.item();
        let kind = match typed {
            ResponseItem::Message(_) => Some(Kind::Message),
            ResponseItem::Reasoning(_) => Some(Kind::Reasoning),
            ResponseItem::Unknown(_) => None,
            _ => Some(Kind::Call),
        };
        Self {
            kind,
            output_index: item.output_index(),
            item_id: typed.id(),
            call_id: call_id(typed),
        }
    }
}

impl Slot {
    pub(super) fn may_be(&self, kind: Option<Kind>) -> bool {
        self.kind.is_none() || kind.is_none() || self.kind == kind
    }

    pub(super) fn may_stand_at(&self, output_index: Option<u32>) -> bool {
        self.output_index.is_none() || output_index.is_none()
    }

    /// Whether it was done under the id.
    pub(super) fn has_id_of(&self, place: &Place<'_>) -> bool {
        let done = self.done.as_ref();
        place.item_id.is_some() && done.and_then(|done| done.item().id()) == place.item_id
    }

    /// Whether it has the id, or had it where its item was announced or done.
    pub(super) fn is_named(&self, place: &Place<'_>) -> bool {
        let is_id = |id: Option<&str>| id.is_some() && id == place.item_id;
        let is_call = |id: Option<&str>| id.is_some() && id == place.call_id;
        let mut items = [&self.added, &self.done].into_iter().flatten();
        is_id(self.item_id.as_deref())
            || is_call(self.call_id.as_deref())
            || items.any(|item| is_id(item.item().id()) || is_call(call_id(item.item())))
    }

    /// Whether a done item that nothing here names is this one's final form.
    pub(super) fn ends_as(&self, item: &OutputItem, place: &Place<'_>) -> bool {
        if self.done.is_some() || !self.may_be(place.kind) {
            return false;
        }
        // Under another place only what is said can tell.
        if !self.may_stand_at(place.output_index) {
            return self.has_text() && self.is_said_by(item);
        }
        let is_begun = |part: &str| {
            let done = part_of(item.item(), part).unwrap_or_default();
            done.starts_with(&*self.streamed(part))
        };
        self.deltas_of_id < 2 || PARTS.into_iter().all(is_begun)
    }

    /// Whether the item says what is here.
    pub(super) fn is_said_by(&self, item: &OutputItem) -> bool {
        PARTS.into_iter().all(|part| {
            let said = part_of(item.item(), part).unwrap_or_default();
            said == self.part(part)
        })
    }

    pub(super) fn has_text(&self) -> bool {
        PARTS.into_iter().any(|part| !self.part(part).is_empty())
    }

    pub(super) fn has_content(&self) -> bool {
        self.done.is_some() || self.has_text()
    }

    /// The item as far as it is known.
    pub(super) fn item(&self) -> Option<&ResponseItem> {
        self.done
            .as_ref()
            .or(self.added.as_ref())
            .map(OutputItem::item)
    }

    /// What the deltas of a part add up to.
    fn streamed(&self, part: &str) -> Cow<'_, str> {
        let pieces = match part {
            "text" => &self.text,
            "refusal" => &self.refusal,
            "summary" => &self.summary,
            "reasoning" => &self.reasoning,
            _ => return Cow::Borrowed(&self.input),
        };
        match pieces.len() {
            0 => Cow::Borrowed(""),
            1 => Cow::Borrowed(pieces.values().next().map_or("", String::as_str)),
            _ => Cow::Owned(pieces.values().map(String::as_str).collect()),
        }
    }

    /// A part as the final form has it; where that has none of it, as it was streamed.
    pub(super) fn part(&self, part: &str) -> Cow<'_, str> {
        let done = |part| part_of(self.done.as_ref()?.item(), part);
        match done(part) {
            Some(text) if !text.is_empty() => return Cow::Owned(text),
            _ => {}
        }
        let streamed = self.streamed(part);
        // What was streamed as the one kind of reasoning may be done as the other.
        let elsewhere = match part {
            "summary" => done("reasoning"),
            "reasoning" => done("summary"),
            _ => None,
        };
        match elsewhere {
            Some(text) if text == streamed => Cow::Borrowed(""),
            _ => streamed,
        }
    }

    pub(super) fn tool_call(&self) -> Option<AccumulatedToolCall<'_>> {
        let (name, status) = match self.item()? {
            ResponseItem::FunctionCall(call) => (&call.name, &call.status),
            ResponseItem::CustomToolCall(call) => (&call.name, &call.status),
            _ => return None,
        };
        Some(AccumulatedToolCall {
            item_id: self.item_id.as_deref(),
            call_id: self.item()?.call_id().or(self.call_id.as_deref()),
            name: Some(name),
            input: self.part("input"),
            is_done: self.done.is_some() && status.as_deref() != Some("incomplete"),
        })
    }
}

/// The id of a call whose input comes in deltas.
fn call_id(item: &ResponseItem) -> Option<&str> {
    match item {
        ResponseItem::FunctionCall(_) | ResponseItem::CustomToolCall(_) => item.call_id(),
        _ => None,
    }
}

/// A part of an item in its final form; absent where its type has none.
pub(super) fn part_of(item: &ResponseItem, part: &str) -> Option<String> {
    Some(match (part, item) {
        ("text", ResponseItem::Message(message)) => message.text(),
        ("refusal", ResponseItem::Message(message)) => message.refusal(),
        ("summary", ResponseItem::Reasoning(reasoning)) => reasoning.summary_text(),
        ("reasoning", ResponseItem::Reasoning(reasoning)) => reasoning.content_text(),
        ("input", ResponseItem::FunctionCall(call)) => call.arguments.clone(),
        ("input", ResponseItem::CustomToolCall(call)) => call.input.clone(),
        _ => return None,
    })
}

pub(super) fn append(pieces: &mut BTreeMap<u32, String>, index: Option<u32>, delta: &str) {
    pieces
        .entry(index.unwrap_or(0))
        .or_default()
        .push_str(delta);
}
