//! Items put together from what is known of them.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::{Output, Part};
use crate::{
    protocol::{RawJson, ToolCallInput},
    wire::responses::decode::{
        delta::DeltaKind,
        item::{ItemView, member, with_member},
    },
};

impl Output {
    /// The item with the input, or the content, that came without it. `None` when nothing is missing or nothing is known.
    pub(super) fn put_right(&self, at: usize, view: &ItemView<'_>, raw: &str) -> Option<RawJson> {
        if let Some(name) = view.input_member() {
            let text = match view.is_hollow() {
                true => self.input_of(at)?,
                // Written as an object.
                false => {
                    let is_string = member(raw, name)?.starts_with('"');
                    (!is_string).then(|| view.texts[0].text.to_string())?
                }
            };
            return Some(with_member(raw, name, &Value::from(text).to_string()));
        }
        if !view.is_hollow() {
            return None;
        }
        let content = self.contents(at, DeltaKind::OutputText)?;
        Some(with_member(raw, "content", &content.to_string()))
    }

    /// The input of a call, as an event had the whole of it, or as it was streamed when it is whole by itself.
    fn input_of(&self, at: usize) -> Option<String> {
        let mut parts = self.parts.iter().filter(|_| !self.is_full);
        let part = parts.find(|part| part.item == at)?;
        let streamed = &part.streamed.input;
        let is_whole = || match part.kind {
            DeltaKind::Input(ToolCallInput::CustomInput) => !streamed.is_empty(),
            _ => RawJson::parse(streamed).is_ok(),
        };
        part.whole
            .clone()
            .or_else(|| is_whole().then(|| streamed.clone()))
    }

    /// The parts of an item that a list of it holds, if each of them is known whole.
    fn contents(&self, at: usize, list: DeltaKind) -> Option<Value> {
        let is_listed = |part: &&Part| {
            let is_summary = |kind| kind == DeltaKind::ReasoningSummary;
            part.item == at && is_summary(part.kind) == is_summary(list)
        };
        let mut parts: Vec<_> = self.parts.iter().filter(is_listed).collect();
        parts.sort_by_key(|part| part.index);
        let content = |part: &Part| {
            let text = part.whole.as_deref()?;
            Some(match part.kind {
                DeltaKind::Refusal => json!({"type": "refusal", "refusal": text}),
                DeltaKind::ReasoningSummary => json!({"type": "summary_text", "text": text}),
                DeltaKind::ReasoningContent => json!({"type": "reasoning_text", "text": text}),
                _ => json!({"type": "output_text", "text": text, "annotations": []}),
            })
        };
        let contents: Option<Vec<_>> = parts.into_iter().map(content).collect();
        contents
            .filter(|contents| !contents.is_empty())
            .map(Value::from)
    }

    /// An item of which no more came than its texts, each of them whole.
    pub(super) fn made_of_parts(&self, at: usize) -> Option<RawJson> {
        let item = &self.items[at];
        let added = item.added.as_ref().map(|added| added.raw().get());
        let begun = match (&*item.kind, added) {
            (_, Some(added)) => Cow::Borrowed(added),
            ("message", None) => Cow::Borrowed(r#"{"type":"message","role":"assistant"}"#),
            ("reasoning", None) => Cow::Borrowed(r#"{"type":"reasoning","summary":[]}"#),
            // Nobody knows what was called.
            _ => return None,
        };
        let begun = match (&item.id, added) {
            (Some(id), None) => with_member(&begun, "id", &Value::from(&**id).to_string()),
            _ => RawJson::from_walked(&begun),
        };
        let made = match (&*item.kind, ItemView::read(begun.get()).input_member()) {
            ("message", _) => {
                let content = self.contents(at, DeltaKind::OutputText)?.to_string();
                with_member(begun.get(), "content", &content)
            }
            ("reasoning", _) => {
                let lists = [
                    ("summary", self.contents(at, DeltaKind::ReasoningSummary)),
                    ("content", self.contents(at, DeltaKind::ReasoningContent)),
                ];
                let mut known = lists
                    .into_iter()
                    .filter_map(|(name, list)| Some((name, list?)));
                let (name, list) = known.next()?;
                let made = with_member(begun.get(), name, &list.to_string());
                known.fold(made, |made, (name, list)| {
                    with_member(made.get(), name, &list.to_string())
                })
            }
            (_, Some(name)) => {
                let part = self.parts.iter().find(|part| part.item == at)?;
                let text = Value::from(part.whole.as_deref()?).to_string();
                with_member(begun.get(), name, &text)
            }
            _ => return None,
        };
        Some(with_member(made.get(), "status", "\"completed\""))
    }
}
