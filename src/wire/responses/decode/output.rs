//! What of an answer's output has been delivered, and what is owed still.
//!
//! A server says each text several times: in deltas, in an event with the whole of it, in its item when that is done, and in the
//! response object at the end. Some leave out one or the other. Whatever comes last and was not delivered by then is.

use std::ptr;

use self::hashes::{hash, hash_of_said};
use super::{
    delta::{DeltaKind, Streamed},
    item::{Cut, ItemView, is_hosted},
};
use crate::{
    json::walk::elements_knowing,
    protocol::{Id, OutputItem, RawJson, ResponseEvent, Searched, Text},
    wire::{StreamLimits, responses::known_text::KnownText},
};

mod hashes;
mod made;
mod matching;
mod parts;

/// The items of one response, in the order in which they were first heard of.
///
/// It holds no more than [`StreamLimits`] says: items and parts, and bytes of what is kept of them until they are done. What
/// comes beyond that is delivered as it comes, and nothing of it is put right.
#[derive(Default)]
pub(super) struct Output {
    items: Vec<Item>,
    parts: Vec<Part>,
    /// Of items and texts that are kept.
    bytes: usize,
    is_full: bool,
    searched: Searched,
    /// What of the items that were delivered says that it is not whole.
    cut: Option<Cut>,
    /// Events came before the first that was read.
    is_partial: bool,
    limits: StreamLimits,
}

#[derive(Default)]
struct Item {
    output_index: Option<u32>,
    id: Option<Id>,
    call_id: Option<Id>,
    /// Its `type`; empty while it is not known.
    kind: Box<str>,
    /// As it was announced, until it is done.
    added: Option<OutputItem>,
    /// The hashes of what it was announced as, and of what it was done as, and then of its texts and its name alone.
    seen: [Option<u64>; 2],
    said: Option<u64>,
    state: State,
    /// It was done, but without its text or its input, which no event had the whole of either.
    is_hollow: bool,
    /// A part of it was named by the item's own id.
    is_named: bool,
    /// Its id changes from event to event.
    is_renamed: bool,
    /// It was announced before the first event that was read: how its texts begin is not known.
    is_older: bool,
}

#[derive(Default)]
enum State {
    #[default]
    Open,
    /// It is done, but says nothing, or its input is not that of one call, which the end of the response may put right. A
    /// message waits for that until the next item comes, a call to the end.
    Waiting(OutputItem),
    Delivered,
}

/// An item as it can be delivered.
enum PutRight<'a> {
    Known(RawJson),
    /// It says nothing, or has the input of no call or of several: what comes later may say better. This makes the items to
    /// deliver when nothing does.
    Doubtful(Box<dyn FnOnce() -> Vec<RawJson> + 'a>),
}

/// A text of an item.
struct Part {
    item: usize,
    kind: DeltaKind,
    index: u32,
    streamed: Streamed,
    /// The beginning of what was streamed.
    first: Text,
    /// The text, from an event that had the whole of it, until the item is done.
    whole: Option<String>,
    /// Such an event came.
    is_closed: bool,
}

/// What an event says of the item that it belongs to.
#[derive(Clone, Copy, Default)]
pub(super) struct Key<'a> {
    output_index: Option<u32>,
    id: Option<&'a str>,
    call_id: Option<&'a str>,
}

impl<'a> Key<'a> {
    /// An empty id is none.
    pub(super) fn new(
        output_index: Option<u32>,
        id: Option<&'a str>,
        call_id: Option<&'a str>,
    ) -> Self {
        Self {
            output_index,
            id: id.filter(|id| !id.is_empty()),
            call_id: call_id.filter(|id| !id.is_empty()),
        }
    }

    fn of(item: &'a OutputItem, view: &'a ItemView<'_>) -> Self {
        Self::new(
            item.output_index(),
            view.id.as_deref(),
            view.call_id.as_deref(),
        )
    }

    fn is_empty(&self) -> bool {
        self.output_index.is_none() && self.id.is_none() && self.call_id.is_none()
    }
}

impl Output {
    pub(super) fn new(limits: StreamLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// What is read are not the first events of the response.
    pub(super) fn begin_in_the_middle(&mut self) {
        self.is_partial = true;
    }

    /// Takes the announcement of an item. Whether it is a new one.
    pub(super) fn added(&mut self, item: &OutputItem) -> bool {
        self.on_event();
        self.searched.add(self.items.len() + self.parts.len());
        let view = ItemView::read(item.raw().get());
        let key = Key::of(item, &view);
        let hash = hash(item.raw().get());
        let is_again = |at: &usize| {
            let known = &self.items[*at];
            let is_open = matches!(known.state, State::Open) && known.seen[0].is_some();
            let is_there = is_open && known.has_place_of(key) && known.may_be_call(key.call_id);
            let is_equal = known.seen[0] == Some(hash);
            known.is_call(key, &view.kind)
                || (is_there && !key.is_empty() && is_equal)
                || (is_there && key.id.is_some() && known.may_be(&view.kind) && self.is_bare(*at))
        };
        // Some announce an item again when more is known of it, or after it was done.
        if let Some(at) = (0..self.items.len()).rfind(is_again) {
            if self.items[at].added.is_some() && self.hold(item.raw().get().len()) {
                let before = self.items[at].added.replace(item.clone());
                self.release(before.map_or(0, |item| item.raw().get().len()));
            }
            return false;
        }
        // Its deltas may have come before it.
        let begun = self.find(key, &view.kind).filter(|at| {
            let begun = &self.items[*at];
            let is_other = begun.id.is_some() && key.id.is_some() && begun.id.as_deref() != key.id;
            begun.seen == [None; 2] && !is_other && !key.is_empty()
        });
        let Some(at) = begun.or_else(|| self.add_item(&view.kind)) else {
            return true;
        };
        let known = &mut self.items[at];
        known.take(key, &view.kind);
        known.is_older = false;
        known.seen[0] = Some(hash);
        if self.hold(item.raw().get().len()) {
            self.items[at].added = Some(item.clone());
        }
        true
    }

    /// Takes an item that is done, and delivers it with what was never streamed of it.
    pub(super) fn done(
        &mut self,
        item: OutputItem,
        known_text: &KnownText,
        is_sound: bool,
        out: &mut Vec<ResponseEvent>,
    ) {
        self.on_event();
        self.searched.add(self.items.len() + self.parts.len());
        let view = ItemView::read_knowing(item.raw().get(), known_text);
        let key = Key::of(&item, &view);
        let hash = hash(item.raw().get());
        let found = self.find_done(key, &view);
        let is_known = found.is_some_and(|at| {
            let known = &self.items[at];
            let is_it = known.seen[1] == Some(hash) || known.is_renamed;
            !key.is_empty() && matches!(known.state, State::Delivered) && is_it
        });
        let is_delivered_call = |known: &Item| {
            matches!(known.state, State::Delivered) && known.is_call(key, &view.kind)
        };
        let is_found_open =
            found.is_some_and(|at| !matches!(self.items[at].state, State::Delivered));
        let is_known_otherwise = |known: &Item| {
            let is_there = key.output_index.is_some() && known.output_index == key.output_index;
            let has_id = key.id.is_some() && known.id.as_deref() == key.id;
            matches!(known.state, State::Delivered)
                && (is_there || has_id)
                && known.may_be(&view.kind)
                && known.may_be_call(key.call_id)
                && known.said == Some(hash_of_said(item.raw().get(), &view))
        };
        if is_known
            || self.items.iter().any(is_delivered_call)
            || (!is_found_open && self.items.iter().any(is_known_otherwise))
        {
            return;
        }
        // Announced again, and done again.
        let is_done_again = |known: &Item| {
            let is_delivered = matches!(known.state, State::Delivered);
            is_delivered && known.seen[1] == Some(hash) && known.has_place_of(key)
        };
        if let Some(at) = found
            && !key.is_empty()
            && (key.id.is_some() || self.is_bare(at))
            && matches!(self.items[at].state, State::Open)
            && self.items.iter().any(is_done_again)
        {
            self.settle(at);
            return;
        }
        let open = found.filter(|at| {
            let known = &self.items[*at];
            match known.state {
                State::Open => true,
                State::Waiting(_) => !key.is_empty() && known.may_be_call(key.call_id),
                State::Delivered => false,
            }
        });
        let Some(at) = open.or_else(|| self.add_item(&view.kind)) else {
            out.push(ResponseEvent::OutputItemDone(item));
            return;
        };
        self.items[at].take(key, &view.kind);
        self.items[at].seen[1] = Some(hash);
        self.deliver(at, &item, view, is_sound, out);
    }

    /// Delivers what of the response's final output was not, and what else is owed. With a `status` that includes items of which
    /// no more came than each of their texts: it is theirs.
    pub(super) fn close(
        &mut self,
        output: Option<&str>,
        known_text: &KnownText,
        is_sound: bool,
        status: Option<&str>,
        out: &mut Vec<ResponseEvent>,
    ) {
        let mut items: Vec<_> = output
            .into_iter()
            .flat_map(|json| elements_knowing(json, known_text.inside()))
            .take(self.limits.max_answer_parts)
            .filter(|json| json.starts_with('{'))
            .collect();
        if self.are_delivered(&items) {
            items.clear();
        }
        let views: Vec<_> = items
            .into_iter()
            .map(|json| (json, ItemView::read(json)))
            .collect();
        let matches = self.matches(&views);
        for (((json, view), found), position) in views.into_iter().zip(matches).zip(0u32..) {
            match found {
                Some(at) if matches!(self.items[at].state, State::Delivered) => {
                    self.stream_missing(at, &view, false, out);
                }
                // It came before the first event that was read.
                None if self.is_partial => {}
                found => {
                    let Some(at) = found.or_else(|| self.add_item(&view.kind)) else {
                        continue;
                    };
                    let place = self.items[at].output_index.or(Some(position));
                    let item = OutputItem::new(place, RawJson::from_walked(json.trim()));
                    self.items[at].take(Key::of(&item, &view), &view.kind);
                    self.deliver(at, &item, view, is_sound, out);
                    self.let_go(at, is_sound, out);
                }
            }
        }
        for at in 0..self.items.len() {
            self.let_go(at, is_sound, out);
            if let Some(status) = status
                && let State::Open = self.items[at].state
                && !self.items[at].is_older
                && let Some(made) = self.made_of_parts(at, status)
            {
                let item = OutputItem::new(self.items[at].output_index, made);
                let view = ItemView::read(item.raw().get());
                self.deliver(at, &item, view, is_sound, out);
                self.let_go(at, is_sound, out);
            }
        }
    }

    /// Whether each of these items was delivered as it is written there, as servers mostly have it.
    fn are_delivered(&self, items: &[&str]) -> bool {
        let mut taken = vec![false; self.items.len()];
        items.iter().all(|json| {
            let hash = Some(hash(json));
            let is_it = |(item, taken): &(&Item, &mut bool)| {
                !**taken && matches!(item.state, State::Delivered) && item.seen[1] == hash
            };
            let found = self.items.iter().zip(&mut taken).find(is_it);
            found.map(|(_, taken)| *taken = true).is_some()
        })
    }

    /// Whether anything of the answer came.
    pub(super) fn is_begun(&self) -> bool {
        let is_delivered = |item: &Item| matches!(item.state, State::Delivered);
        self.is_full
            || self.items.iter().any(is_delivered)
            || self.parts.iter().any(|part| part.streamed.bytes > 0)
    }

    /// Whether a call that the caller is to answer was announced, or begun, and never done.
    pub(super) fn has_open_call(&self) -> bool {
        let is_delivered = |item: &Item| {
            let is_it = |known: &Item| {
                let has_id = item.id.is_some() && (known.id == item.id || known.call_id == item.id);
                let has_call_id = item.call_id.is_some() && known.call_id == item.call_id;
                matches!(known.state, State::Delivered)
                    && (has_call_id || (has_id && known.may_be_call(item.call_id.as_deref())))
            };
            self.items.iter().any(is_it)
        };
        let is_open_call = |item: &Item| {
            let is_call = item.kind.ends_with("call") && !is_hosted(&item.kind);
            is_call && matches!(item.state, State::Open) && !is_delivered(item)
        };
        self.items.iter().any(is_open_call)
    }

    /// What came without its end.
    pub(super) fn cut(&self) -> Option<Cut> {
        self.cut
    }

    /// Whether an item was done without its text or its input, and nothing else had it whole.
    pub(super) fn has_hollow(&self) -> bool {
        self.items.iter().any(|item| item.is_hollow)
    }

    /// Whether all that has begun is held whole by something that came later: its item, or the text that an event had the whole
    /// of.
    pub(super) fn is_whole(&self) -> bool {
        let is_done = |at: usize| {
            let item = &self.items[at];
            !matches!(item.state, State::Open) && !item.is_hollow
        };
        (0..self.items.len()).all(|at| {
            let mut parts = self.parts.iter().filter(|part| part.item == at).peekable();
            is_done(at) || (parts.peek().is_some() && parts.all(|part| part.whole.is_some()))
        })
    }

    /// Delivers an item, with what was never streamed of it before it.
    fn deliver(
        &mut self,
        at: usize,
        item: &OutputItem,
        mut view: ItemView<'_>,
        is_sound: bool,
        out: &mut Vec<ResponseEvent>,
    ) {
        // Messages keep their order. A call without its input is of no use, so it waits.
        for before in 0..self.items.len() {
            if before != at && *self.items[before].kind == *"message" {
                self.let_go(before, is_sound, out);
            }
        }
        let inputs = self.stream_missing(at, &view, is_sound, out);
        let is_open = !matches!(self.items[at].state, State::Delivered);
        let make = match self.put_right(at, &view, item.raw(), is_sound) {
            PutRight::Known(raw) => return self.push_item(at, item, &view, vec![raw], out),
            PutRight::Doubtful(make) => make,
        };
        let kept: usize = inputs.iter().map(|input| input.bytes(&view)).sum();
        if !is_open || !self.hold(kept) || !self.hold(item.raw().get().len()) {
            let raws = make();
            return self.push_item(at, item, &view, raws, out);
        }
        drop(make);
        self.keep_inputs(inputs, &mut view);
        let state = &mut self.items[at].state;
        if let State::Waiting(before) = std::mem::replace(state, State::Waiting(item.clone())) {
            self.release(before.raw().get().len());
        }
    }

    /// Delivers an item that nothing has put right, as it came, or as more than one.
    fn let_go(&mut self, at: usize, is_sound: bool, out: &mut Vec<ResponseEvent>) {
        if let State::Waiting(item) = &self.items[at].state {
            let item = item.clone();
            let view = ItemView::read(item.raw().get());
            let raws = match self.put_right(at, &view, item.raw(), is_sound) {
                PutRight::Known(raw) => vec![raw],
                PutRight::Doubtful(make) => make(),
            };
            self.push_item(at, &item, &view, raws, out);
        }
    }

    fn push_item(
        &mut self,
        at: usize,
        item: &OutputItem,
        view: &ItemView<'_>,
        raws: Vec<RawJson>,
        out: &mut Vec<ResponseEvent>,
    ) {
        let mut parts = self.parts.iter().filter(|part| part.item == at).peekable();
        let has_whole = parts.peek().is_some() && parts.all(|part| part.whole.is_some());
        for raw in raws {
            let made = (!ptr::eq(raw.get(), item.raw().get())).then(|| ItemView::read(raw.get()));
            let view = made.as_ref().unwrap_or(view);
            self.cut = self.cut.max(view.cut());
            self.items[at].said = Some(hash_of_said(raw.get(), view));
            out.push(ResponseEvent::OutputItemDone(OutputItem::new(
                item.output_index(),
                raw,
            )));
        }
        self.items[at].is_hollow &= !has_whole;
        self.settle(at);
    }

    fn add_item(&mut self, kind: &str) -> Option<usize> {
        self.make_room()?;
        self.items.push(Item {
            kind: kind.into(),
            is_older: self.is_partial,
            ..Item::default()
        });
        Some(self.items.len() - 1)
    }

    fn make_room(&mut self) -> Option<()> {
        self.is_full |= self.items.len() + self.parts.len() >= self.limits.max_answer_parts;
        (!self.is_full).then_some(())
    }

    /// Whether so many bytes more may be kept. Where not, nothing is from then on.
    fn hold(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limits.max_answer_bytes && !self.is_full {
            self.is_full = true;
            for part in &mut self.parts {
                part.whole = None;
                part.streamed.input = String::new();
            }
        }
        !self.is_full
    }

    /// Counts an event. Lets go of everything once finding what they are about has cost too much.
    fn on_event(&mut self) {
        if !self.searched.on_event() {
            self.is_full = true;
            self.items.clear();
            self.parts.clear();
        }
    }

    fn release(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Lets go of what was kept of an item until it was done.
    fn settle(&mut self, at: usize) {
        let item = &mut self.items[at];
        let hollow = match std::mem::replace(&mut item.state, State::Delivered) {
            State::Waiting(hollow) => Some(hollow),
            State::Open | State::Delivered => None,
        };
        let kept = item.added.take().into_iter().chain(hollow);
        let mut bytes: usize = kept.map(|item| item.raw().get().len()).sum();
        for part in self.parts.iter_mut().filter(|part| part.item == at) {
            bytes += part.whole.take().map_or(0, |text| text.len());
            bytes += std::mem::take(&mut part.streamed.input).len();
        }
        self.release(bytes);
    }
}

impl Item {
    /// Takes what an event says of it.
    fn take(&mut self, key: Key<'_>, kind: &str) {
        let id = key.id.filter(|id| self.call_id.as_deref() != Some(id));
        match (&self.id, id) {
            (Some(own), Some(id)) => {
                self.is_named |= **own == *id;
                self.is_renamed |= **own != *id;
            }
            (None, Some(id)) => self.id = Some(id.into()),
            (_, None) => {}
        }
        self.output_index = self.output_index.or(key.output_index);
        if self.call_id.is_none() {
            self.call_id = key.call_id.map(Id::from);
        }
        if self.kind.is_empty() {
            self.kind = kind.into();
        }
    }

    fn may_be(&self, kind: &str) -> bool {
        self.kind.is_empty() || kind.is_empty() || *self.kind == *kind
    }

    /// The same, where it is known otherwise that it is the same call: bridges turn a custom tool's into a function's.
    fn may_be_kind_of_call(&self, kind: &str) -> bool {
        self.may_be(kind) || (self.kind.ends_with("call") && kind.ends_with("call"))
    }

    /// Whether it is the call with that id.
    fn is_call(&self, key: Key<'_>, kind: &str) -> bool {
        let has_it = key.call_id.is_some() && self.call_id.as_deref() == key.call_id;
        has_it && self.may_be_kind_of_call(kind) && self.seen != [None; 2]
    }

    fn may_be_call(&self, call_id: Option<&str>) -> bool {
        match (self.call_id.as_deref(), call_id) {
            (Some(own), Some(other)) => own == other,
            _ => true,
        }
    }

    fn has_place_of(&self, key: Key<'_>) -> bool {
        self.output_index == key.output_index && self.id.as_deref() == key.id
    }
}

#[cfg(test)]
mod tests;
