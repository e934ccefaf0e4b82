//! Which message a text belongs to, and what was printed of it.

use actix_responses::protocol::Id;

/// Which message a text belongs to, as far as its event says it.
#[derive(Clone, Copy)]
pub(super) struct MessageKey<'a> {
    pub(super) id: Option<&'a str>,
    pub(super) output_index: Option<u32>,
}

/// What kind of text.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Text,
    Refusal,
}

/// A message as far as it was printed.
#[derive(Default)]
pub(super) struct PrintedMessage {
    pub(super) id: Option<Id>,
    pub(super) output_index: Option<u32>,
    pub(super) text: String,
    pub(super) refusal: String,
    /// Not all that was printed of it is kept.
    pub(super) is_cut: bool,
}

impl PrintedMessage {
    /// Some servers change ids on the way, so the place counts first.
    pub(super) fn has(&self, key: MessageKey<'_>) -> bool {
        match (self.output_index, key.output_index) {
            (Some(own), Some(other)) => own == other,
            _ => self.id.is_some() && self.id.as_deref() == key.id,
        }
    }

    pub(super) fn has_another_id(&self, key: MessageKey<'_>) -> bool {
        self.id.is_some() && key.id.is_some() && self.id.as_deref() != key.id
    }

    pub(super) fn part(&mut self, part: Part) -> &mut String {
        match part {
            Part::Text => &mut self.text,
            Part::Refusal => &mut self.refusal,
        }
    }

    /// Whether a message that is done may be this one, by what it says.
    pub(super) fn is_begin_of(&self, text: &str, refusal: &str) -> bool {
        self.is_cut || (text.starts_with(&*self.text) && refusal.starts_with(&*self.refusal))
    }
}
