//! The texts of items: what was streamed of them, and what is owed.

use super::{Output, Part, State};
use crate::{
    protocol::{ResponseEvent, Text},
    wire::responses::decode::{
        delta::{Address, DeltaKind, Streamed},
        item::{ItemText, ItemView},
        output::Key,
    },
};

/// How much of the beginning of a text is kept.
const FIRST_BYTES: usize = 24;

impl Output {
    /// The part that a delta belongs to, or the `whole` of a text, which may be the first that is heard of it. `None` where no
    /// more is kept.
    pub(in crate::wire::responses::decode) fn part(
        &mut self,
        key: Key<'_>,
        kind: DeltaKind,
        index: Option<u32>,
        whole: Option<&str>,
    ) -> Option<usize> {
        self.on_event();
        let found = self.find(key, kind.item_type());
        // What is streamed of a message after that was done is the next one's.
        let is_next = |at: &usize| {
            let is_delivered = matches!(self.items[*at].state, State::Delivered);
            is_delivered && whole.is_none() && kind.item_type() == "message"
        };
        let item = match found.filter(|at| !is_next(at)) {
            Some(item) => item,
            None => self.add_item(kind.item_type())?,
        };
        self.items[item].take(key, kind.item_type());
        let index = index.unwrap_or_else(|| self.next_index(item, kind, whole));
        self.part_of(item, kind, index)
    }

    /// The place of a text of which no event says it: behind one that is whole.
    fn next_index(&mut self, item: usize, kind: DeltaKind, whole: Option<&str>) -> u32 {
        let is_it = |part: &&Part| part.item == item && part.kind == kind;
        let last = self.parts.iter().rposition(|part| is_it(&part));
        self.searched.add(self.parts.len() - last.unwrap_or(0));
        let Some(last) = last.map(|at| &self.parts[at]) else {
            return 0;
        };
        let is_same = whole.is_some_and(|text| {
            text.is_empty() || last.whole.as_ref().is_none_or(|last| last == text)
        });
        match last.is_closed && !is_same {
            true => last.index.saturating_add(1),
            false => last.index,
        }
    }

    /// The place of a part among those of its item.
    pub(in crate::wire::responses::decode) fn index_of(&self, part: usize) -> Option<u32> {
        self.parts.get(part).map(|part| part.index)
    }

    /// Counts what was streamed of a part, and keeps it of an input.
    pub(in crate::wire::responses::decode) fn add(&mut self, at: usize, text: &str) {
        if let Some(part) = self.parts.get_mut(at) {
            part.count(text);
            if let DeltaKind::Input(_) = part.kind
                && self.hold(text.len())
            {
                self.parts[at].streamed.input.push_str(text);
            }
        }
    }

    /// Keeps the inputs of an item that waits for something better, as far as its item was the first to say them. So large may one be
    /// that it is there once and not twice.
    pub(super) fn keep_inputs(&mut self, inputs: Vec<Unkept>, view: &mut ItemView<'_>) {
        for Unkept { part, text, start } in inputs {
            let text = std::mem::take(&mut view.texts[text].text);
            let input = &mut self.parts[part].streamed.input;
            match start {
                0 => *input = text.into_owned(),
                _ => input.push_str(&text[start..]),
            }
        }
    }

    /// The same of what repeated a template.
    pub(in crate::wire::responses::decode) fn add_streamed(
        &mut self,
        at: usize,
        mut streamed: Streamed,
    ) {
        if !self.hold(streamed.input.len()) {
            streamed.input.clear();
        }
        if let Some(part) = self.parts.get_mut(at) {
            part.streamed.append(&streamed);
        }
    }

    /// Takes the whole text of a part. Gives what of it has not been streamed; with `is_sound` that can be its end.
    pub(in crate::wire::responses::decode) fn whole<'t>(
        &mut self,
        at: usize,
        text: &'t str,
        is_sound: bool,
    ) -> &'t str {
        let Some(part) = self.parts.get_mut(at) else {
            return "";
        };
        let is_older = self.items[part.item].is_older;
        let rest = part.rest_of(text, is_sound, is_older);
        part.is_closed |= !text.is_empty();
        self.add(at, rest);
        let part = &mut self.parts[at];
        part.streamed.reach(text);
        let is_owed = !text.is_empty() && !matches!(self.items[part.item].state, State::Delivered);
        if is_owed && self.hold(text.len()) {
            let before = self.parts[at].whole.replace(text.to_owned());
            self.release(before.map_or(0, |text| text.len()));
        }
        rest
    }

    /// Whether nothing was streamed of an item.
    pub(super) fn is_bare(&self, at: usize) -> bool {
        let is_streamed = |part: &Part| part.item == at && part.streamed.bytes > 0;
        !self.parts.iter().any(is_streamed)
    }

    /// Makes deltas of an item's texts that have had none, and with `is_sound` of ends that are missing. Gives those of inputs, which are
    /// not kept.
    pub(super) fn stream_missing(
        &mut self,
        at: usize,
        view: &ItemView<'_>,
        is_sound: bool,
        out: &mut Vec<ResponseEvent>,
    ) -> Vec<Unkept> {
        let mut inputs = Vec::new();
        let is_in_item = |part: &Part| {
            let is_it = |text: &ItemText<'_>| text.kind == part.kind && text.index == part.index;
            view.texts.iter().any(is_it)
        };
        let is_spare =
            |part: &usize| self.parts[*part].item == at && !is_in_item(&self.parts[*part]);
        let spare: Vec<_> = (0..self.parts.len()).filter(is_spare).collect();
        let texts = view.texts.iter().enumerate();
        for (place, text) in texts.filter(|(_, text)| !text.text.is_empty()) {
            let Some(at_part) = self.part_for(at, text, &spare) else {
                continue;
            };
            let is_older = self.items[at].is_older;
            let part = &mut self.parts[at_part];
            let rest = part.rest_of(&text.text, is_sound, is_older);
            part.count(rest);
            part.streamed.reach(&text.text);
            if !rest.is_empty() {
                if let DeltaKind::Input(_) = part.kind {
                    inputs.push(Unkept {
                        part: at_part,
                        text: place,
                        start: text.text.len() - rest.len(),
                    });
                }
                let item = &self.items[at];
                let address = Address {
                    item_id: item.id.clone(),
                    call_id: item.call_id.clone(),
                    output_index: item.output_index,
                    index: Some(text.index),
                };
                out.push(text.kind.event(Text::from(rest), &address, None));
            }
        }
        inputs
    }

    /// The part that a text of an item was streamed as: the one of its kind and place, or one that has a place which the item
    /// has no text in. `None` when it was streamed as something else, or no more is kept.
    fn part_for(&mut self, at: usize, text: &ItemText<'_>, spare: &[usize]) -> Option<usize> {
        let is_own =
            |part: &Part| part.item == at && part.kind == text.kind && part.index == text.index;
        let own = self.parts.iter().position(is_own);
        self.searched.add(own.unwrap_or(self.parts.len()));
        let is_alike = |part: &&usize| self.parts[**part].kind == text.kind;
        if let Some(found) = own.or_else(|| spare.iter().find(is_alike).copied()) {
            return Some(found);
        }
        // A custom tool's call, streamed as that of a function.
        let is_input = |part: &&usize| matches!(self.parts[**part].kind, DeltaKind::Input(_));
        if let DeltaKind::Input(_) = text.kind
            && let Some(found) = spare.iter().find(is_input)
        {
            return Some(*found);
        }
        // Servers stream as reasoning what they then call its summary, and the other way round.
        let is_as_long = |part: &usize| {
            let part = &self.parts[*part];
            part.kind.item_type() == "reasoning" && part.streamed.bytes == text.text.len()
        };
        if text.kind.item_type() == "reasoning" && spare.iter().any(is_as_long) {
            return None;
        }
        self.part_of(at, text.kind, text.index)
    }

    pub(super) fn part_of(&mut self, item: usize, kind: DeltaKind, index: u32) -> Option<usize> {
        let is_it = |part: &Part| part.item == item && part.kind == kind && part.index == index;
        let known = self.parts.iter().rposition(is_it);
        self.searched.add(self.parts.len() - known.unwrap_or(0));
        if known.is_some() {
            return known;
        }
        self.make_room()?;
        self.parts.push(Part {
            item,
            kind,
            index,
            streamed: Streamed::default(),
            first: Text::default(),
            whole: None,
            is_closed: false,
        });
        Some(self.parts.len() - 1)
    }
}

/// What was streamed of an input and is not kept: a text of the item that is looked at, from there on.
pub(super) struct Unkept {
    part: usize,
    text: usize,
    start: usize,
}

impl Unkept {
    pub(super) fn bytes(&self, view: &ItemView<'_>) -> usize {
        view.texts[self.text].text.len() - self.start
    }
}

impl Part {
    /// Counts what was streamed.
    fn count(&mut self, text: &str) {
        if self.streamed.bytes == 0 {
            let end = (0..=FIRST_BYTES.min(text.len())).rev();
            let end = end.into_iter().find(|end| text.is_char_boundary(*end));
            self.first = Text::from(&text[..end.unwrap_or(0)]);
        }
        self.streamed.note(text);
    }

    /// What of the whole text has not been streamed. With `is_sound` no event is missing that could have had it, so this may be
    /// its end; else it is all of a text that has not begun, or nothing. Of an item that `is_older` than what was read it is nothing.
    fn rest_of<'t>(&self, text: &'t str, is_sound: bool, is_older: bool) -> &'t str {
        let Streamed { bytes, last, .. } = self.streamed;
        if is_older {
            return "";
        }
        if bytes == 0 {
            return text;
        }
        let begins_alike = text.len() > bytes
            && text.is_char_boundary(bytes)
            && text.as_bytes()[bytes - 1] == last
            && text.starts_with(self.first.as_str())
            && text.starts_with(self.streamed.input.as_str());
        match is_sound && begins_alike {
            true => &text[bytes..],
            false => "",
        }
    }
}
