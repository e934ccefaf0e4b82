//! Finding one of many tool calls.

use std::collections::HashMap;

use crate::protocol::Id;

/// How a piece of a call, or the first of one, says which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Index(u32),
    /// Its place in the list in which it came.
    Position(usize),
}

impl Place {
    pub(super) fn index(self) -> Option<u32> {
        match self {
            Self::Index(index) => Some(index),
            Self::Position(_) => None,
        }
    }
}

/// The last call of each place and of each id: what a search from the end finds, without one.
#[derive(Default)]
pub(super) struct CallIndex {
    places: HashMap<Place, usize>,
    named: HashMap<Id, Named>,
}

#[derive(Default)]
struct Named {
    last: usize,
    last_at: HashMap<Option<u32>, usize>,
}

impl CallIndex {
    /// Takes what is known of a call.
    pub(super) fn note(&mut self, at: usize, place: Place, id: Option<&Id>) {
        let last = self.places.entry(place).or_default();
        *last = at.max(*last);
        if let Some(id) = id {
            let named = self.named.entry(id.clone()).or_default();
            named.last = at.max(named.last);
            let last = named.last_at.entry(place.index()).or_default();
            *last = at.max(*last);
        }
    }

    pub(super) fn last_at(&self, place: Place) -> Option<usize> {
        self.places.get(&place).copied()
    }

    pub(super) fn last_named(&self, id: &str) -> Option<usize> {
        self.named.get(id).map(|named| named.last)
    }

    pub(super) fn last_named_at(&self, id: &str, index: Option<u32>) -> Option<usize> {
        self.named.get(id)?.last_at.get(&index).copied()
    }
}
