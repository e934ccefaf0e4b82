//! What a person must know who takes up an answer later that goes on without the command.

use actix_responses::{
    actors::Delivery,
    protocol::{Id, ResponseEvent},
};
use serde::Deserialize;

/// An answer that its server keeps, as far as it was shown.
pub(super) struct KeptAnswer {
    id: Option<Id>,
    /// The sequence_number of the last event.
    last: Option<u64>,
}

impl KeptAnswer {
    /// One that is gone on with, or whose id is still to come.
    pub(super) fn new(id: Option<&str>, after: Option<u64>) -> Self {
        Self {
            id: id.map(Id::from),
            last: after,
        }
    }

    /// Notes how far a delivery comes. What is to be said before it, once: the id.
    pub(super) fn on_delivery(&mut self, delivery: &Delivery) -> Option<String> {
        let numbers = delivery.blocks().filter_map(|block| number(&block.bytes));
        self.last = numbers.last().or(self.last);
        if self.id.is_some() {
            return None;
        }
        self.id = delivery.events().iter().find_map(|event| match event {
            ResponseEvent::Created(created) => created.response_id.clone(),
            _ => None,
        });
        let id = self.id.as_ref()?;
        Some(format!(
            "the answer is {id}; `ask --resume {id}` goes on with it"
        ))
    }

    /// What to say where it was left.
    pub(super) fn left(&self) -> Option<String> {
        let id = self.id.as_ref()?;
        let after = self.last.map(|last| format!(" --after {last}"));
        let after = after.unwrap_or_default();
        Some(format!("`ask --resume {id}{after}` goes on from here"))
    }
}

#[derive(Deserialize)]
struct Numbered {
    sequence_number: u64,
}

/// The number of the event in a block, where it has one.
fn number(block: &[u8]) -> Option<u64> {
    let mut lines = block.split(|byte| matches!(byte, b'\n' | b'\r'));
    let data = lines.find_map(|line| line.strip_prefix(b"data:"))?;
    let event: Numbered = serde_json::from_slice(data).ok()?;
    Some(event.sequence_number)
}
