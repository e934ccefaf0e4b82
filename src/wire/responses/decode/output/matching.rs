//! Which item an event, or an element of the final output, is about.

use std::cell::{Cell, OnceCell};

use super::{Item, Key, Output, State, hashes::hash_of_said};
use crate::wire::responses::decode::item::{ItemText, ItemView};

/// How many pairs of items are compared by what they say.
const MAX_COMPARED: usize = 1 << 16;

impl Output {
    /// The item that an event belongs to.
    ///
    /// Its place in the output and its id together tell most. Some servers change an item's id from event to event, so a place
    /// alone will do; others give every item the same place, so not with the id of another. Others leave out the one or
    /// the other, or both.
    pub(super) fn find(&mut self, key: Key<'_>, kind: &str) -> Option<usize> {
        let is_open = |item: &Item| matches!(item.state, State::Open);
        let has_place =
            |item: &Item| key.output_index.is_some() && item.output_index == key.output_index;
        // Bridges name a call's item by the id of the call.
        let has_id = |item: &Item| {
            key.id.is_some() && (item.id.as_deref() == key.id || item.call_id.as_deref() == key.id)
        };
        let has_call_id =
            |item: &Item| key.call_id.is_some() && item.call_id.as_deref() == key.call_id;
        let may_have_place = |item: &Item| {
            key.output_index.is_none()
                || item.output_index.is_none()
                || item.output_index == key.output_index
        };
        let steps = Cell::new(0);
        let find = |is_it: &dyn Fn(&Item) -> bool| {
            let is_same_call = |item: &Item| {
                let are_calls = item.kind.ends_with("call") && kind.ends_with("call");
                are_calls && (has_id(item) || has_call_id(item))
            };
            let fits = |item: &Item| (item.may_be(kind) || is_same_call(item)) && is_it(item);
            let found = self.items.iter().rposition(fits);
            steps.set(steps.get() + self.items.len() - found.unwrap_or(0));
            found
        };
        // What the key does not have is not looked for.
        let of =
            |is_known: bool, is_it: &dyn Fn(&Item) -> bool| is_known.then(|| find(is_it)).flatten();
        let is_placed = key.output_index.is_some();
        let [is_named, is_call] = [key.id, key.call_id].map(|id| id.is_some());
        let found = of(is_placed && is_named, &|item| {
            has_place(item) && has_id(item)
        })
        .or_else(|| {
            of(is_placed, &|item| {
                let may_have_id = key.id.is_none() || item.id.is_none() || item.is_renamed;
                has_place(item) && (is_open(item) || may_have_id)
            })
        })
        .or_else(|| of(is_named, &|item| has_id(item) && may_have_place(item)))
        .or_else(|| of(is_call, &|item| has_call_id(item) && may_have_place(item)))
        // At another place than it was announced at.
        .or_else(|| {
            of(is_named || is_call, &|item| {
                let is_announced = is_open(item) && item.seen[0].is_some();
                is_announced && (has_id(item) || has_call_id(item))
            })
        })
        .or_else(|| match key.is_empty() {
            true => find(&is_open),
            // Announced under an id that nothing else is named by.
            false => find(&|item| {
                let is_nameless = item.added.is_some() && !item.is_named;
                is_open(item) && is_nameless && key.output_index.is_none()
            }),
        });
        self.searched.add(steps.get());
        found
    }

    /// The item that has come to its end.
    pub(super) fn find_done(&mut self, key: Key<'_>, view: &ItemView<'_>) -> Option<usize> {
        if let Some(found) = self.find(key, &view.kind) {
            return Some(found);
        }
        let fits = |at: &usize| {
            let item = &self.items[*at];
            let is_open = matches!(item.state, State::Open);
            is_open && item.may_be(&view.kind) && item.may_be_call(key.call_id)
        };
        // Deltas that said of no item where it is: they were this one's, under whatever names.
        let is_nowhere = |at: &usize| {
            let item = &self.items[*at];
            item.seen == [None; 2] && item.output_index.is_none()
        };
        // Else those that had as much to say.
        let bytes: usize = view.texts.iter().map(|text| text.text.len()).sum();
        let is_as_long = |at: &usize| {
            let parts = self.parts.iter().filter(|part| part.item == *at);
            bytes > 0 && parts.map(|part| part.streamed.bytes).sum::<usize>() == bytes
        };
        let open: Vec<_> = (0..self.items.len()).filter(fits).collect();
        let mut strays: Vec<_> = open.iter().copied().filter(is_nowhere).collect();
        if strays.is_empty() {
            strays.extend(open.into_iter().find(is_as_long));
        }
        let (first, others) = strays.split_first()?;
        for other in others {
            self.settle(*other);
            for part in 0..self.parts.len() {
                if self.parts[part].item == *other {
                    let streamed = std::mem::take(&mut self.parts[part].streamed);
                    let (kind, index) = (self.parts[part].kind, self.parts[part].index);
                    let moved = self.part_of(*first, kind, index);
                    moved.into_iter().for_each(|moved| {
                        self.parts[moved].streamed.append(&streamed);
                    });
                }
            }
        }
        Some(*first)
    }

    /// Which known item each of the final output is: by the id of the call, by id, by place, then the next of its type, and last
    /// a call of the same with the same input, for servers give calls new ids at the end.
    pub(super) fn matches(&self, views: &[(&str, ItemView<'_>)]) -> Vec<Option<usize>> {
        let mut found = vec![None; views.len()];
        let mut taken = vec![false; self.items.len()];
        let hashes = vec![OnceCell::new(); views.len()];
        let may_be_call =
            |item: &Item, view: &ItemView<'_>| item.may_be_call(view.call_id.as_deref());
        type IsIt<'a> = &'a dyn Fn(usize, &str, &ItemView<'_>, u32) -> bool;
        let ways: [IsIt<'_>; 5] = [
            &|at, _, view, _| {
                let item = &self.items[at];
                let has_it =
                    view.call_id.is_some() && item.call_id.as_deref() == view.call_id.as_deref();
                has_it && item.may_be_kind_of_call(&view.kind)
            },
            &|at, _, view, _| {
                let item = &self.items[at];
                let has_it = view.id.is_some() && item.id.as_deref() == view.id.as_deref();
                has_it && item.may_be_kind_of_call(&view.kind)
            },
            &|at, _, view, position| {
                let item = &self.items[at];
                let is_there = item.output_index == Some(position) && may_be_call(item, view);
                is_there && item.may_be(&view.kind)
            },
            &|at, _, view, _| {
                let item = &self.items[at];
                may_be_call(item, view) && item.may_be(&view.kind)
            },
            &|at, json, view, position| {
                let item = &self.items[at];
                item.may_be(&view.kind)
                    && match item.state {
                        State::Delivered => {
                            let hash = || hash_of_said(json, view);
                            item.said == Some(*hashes[position as usize].get_or_init(hash))
                        }
                        State::Open | State::Waiting(_) => self.may_become(at, view),
                    }
            },
        ];
        // The last of them compares inputs, each with each.
        let last = match views.len() * self.items.len() > MAX_COMPARED {
            true => ways.len() - 1,
            false => ways.len(),
        };
        for is_it in &ways[..last] {
            for (((json, view), found), position) in views.iter().zip(&mut found).zip(0u32..) {
                if found.is_some() {
                    continue;
                }
                let fits = |at: &usize| !taken[*at] && is_it(*at, json, view, position);
                *found = (0..self.items.len()).find(fits);
                if let Some(at) = *found {
                    taken[at] = true;
                }
            }
        }
        found
    }

    /// Whether a call that was announced has the same name as another, and all of its input that is known.
    fn may_become(&self, at: usize, view: &ItemView<'_>) -> bool {
        let item = &self.items[at];
        let known = match &item.state {
            State::Waiting(known) => Some(known),
            State::Open | State::Delivered => item.added.as_ref(),
        };
        let name = known.and_then(|known| ItemView::read(known.raw().get()).name);
        let begins_alike = |text: &ItemText<'_>| {
            let mut parts = self.parts.iter().filter(|part| part.item == at);
            parts.all(|part| text.text.starts_with(&part.streamed.input))
        };
        name.is_some() && name == view.name && view.texts.iter().all(begins_alike)
    }
}
