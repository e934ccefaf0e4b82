//! Items put together from what is known of them.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::{Output, Part, PutRight};
use crate::{
    json::{escapes::without_lone_surrogates, members::member},
    protocol::{RawJson, ToolCallInput},
    wire::responses::decode::{
        delta::DeltaKind,
        item::{Arguments, ItemView, with_member},
    },
};

impl Output {
    /// The item with the input, or the content, that came without it.
    pub(super) fn put_right<'a>(
        &mut self,
        at: usize,
        view: &'a ItemView<'_>,
        raw: &RawJson,
        is_sound: bool,
    ) -> PutRight<'a> {
        self.items[at].is_hollow = view.is_hollow();
        let is_sound = is_sound && !self.items[at].is_older;
        let raw = self.named(at, view, raw);
        let Some(name) = view.input_member() else {
            let contents = match view.is_hollow() {
                true => self.contents(at, DeltaKind::OutputText),
                false => return PutRight::Known(raw),
            };
            return match contents {
                Some(contents) => {
                    PutRight::Known(with_member(raw.get(), "content", &contents.to_string()))
                }
                None => PutRight::Doubtful(Box::new(|| vec![raw])),
            };
        };
        let input = match view.is_hollow() {
            true => match self.input_of(at, is_sound) {
                Some(input) => Cow::Owned(input),
                None => return PutRight::Doubtful(Box::new(|| vec![raw])),
            },
            // It may be all of an event of the largest size.
            false => Cow::Borrowed(&*view.texts[0].text),
        };
        let is_text =
            |raw: &RawJson| member(raw.get(), name).is_some_and(|json| json.starts_with('"'));
        let with_input = move |raw: &RawJson, input: &str| {
            // As it was written, unless that was no string.
            match view.texts[0].text == input && is_text(raw) {
                true => raw.clone(),
                false => with_member(raw.get(), name, &Value::from(input).to_string()),
            }
        };
        let arguments = match name {
            "arguments" => Arguments::of(&input),
            _ => Arguments::One(&input),
        };
        let several: Vec<_> = match arguments {
            Arguments::One(one) => return PutRight::Known(with_input(&raw, one)),
            Arguments::Cut => {
                return PutRight::Doubtful(Box::new(move || {
                    let json = member(raw.get(), name).unwrap_or_default();
                    // It may end within a character.
                    let call = match without_lone_surrogates(json) {
                        Cow::Owned(json) if json.starts_with('"') => {
                            with_member(raw.get(), name, &json)
                        }
                        _ => with_input(&raw, &input),
                    };
                    vec![with_member(call.get(), "status", "\"incomplete\"")]
                }));
            }
            Arguments::Several(several) => several.into_iter().map(str::to_owned).collect(),
        };
        PutRight::Doubtful(Box::new(move || {
            let call = |(number, arguments): (usize, &String)| {
                let call = with_input(&raw, arguments);
                let ids = [("id", &view.id), ("call_id", &view.call_id)];
                let ids = ids.into_iter().filter(|_| number > 0);
                ids.fold(call, |call, (member, id)| match id {
                    Some(id) => {
                        let id = Value::from(format!("{id}_{}", number + 1)).to_string();
                        with_member(call.get(), member, &id)
                    }
                    None => call,
                })
            };
            several.iter().enumerate().map(call).collect()
        }))
    }

    /// A call with the name that it was announced with, if it came without.
    fn named(&self, at: usize, view: &ItemView<'_>, raw: &RawJson) -> RawJson {
        let added = self.items[at].added.as_ref();
        let added = added.filter(|_| view.name.is_none() && view.input_member().is_some());
        let name = added.and_then(|added| ItemView::read(added.raw().get()).name);
        match name {
            Some(name) => with_member(raw.get(), "name", &Value::from(&*name).to_string()),
            None => raw.clone(),
        }
    }

    /// The input of a call, as an event had the whole of it, or as it was streamed if none of it is missing.
    fn input_of(&self, at: usize, is_sound: bool) -> Option<String> {
        let mut parts = self.parts.iter().filter(|_| !self.is_full);
        let part = parts.find(|part| part.item == at)?;
        let whole = part.whole.as_ref().filter(|whole| !whole.is_empty());
        let streamed = || {
            let streamed = &part.streamed.input;
            let is_cumulative = part.kind != DeltaKind::Input(ToolCallInput::CustomInput);
            let last = last_of_growing(streamed, &part.first).filter(|_| is_cumulative);
            last.unwrap_or(streamed).to_owned()
        };
        whole
            .cloned()
            .or_else(|| is_sound.then(streamed).filter(|text| !text.is_empty()))
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
    pub(super) fn made_of_parts(&self, at: usize, status: &str) -> Option<RawJson> {
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
        Some(with_member(
            made.get(),
            "status",
            &Value::from(status).to_string(),
        ))
    }
}

/// The last of pieces that each repeat all before and go on, if they do. `first` is what the first of them begins with.
fn last_of_growing<'t>(text: &'t str, first: &str) -> Option<&'t str> {
    if first.is_empty() || RawJson::parse(text).is_ok() {
        return None;
    }
    let mut starts = text.match_indices(first).map(|(at, _)| at).peekable();
    let mut last = "";
    while let Some(start) = starts.next() {
        let end = starts.peek().copied().unwrap_or(text.len());
        let piece = &text[start..end];
        piece.starts_with(last).then_some(())?;
        last = piece;
    }
    RawJson::parse(last).is_ok().then_some(last)
}
