//! What a person must know who takes up an answer later that goes on without the command.

use actix_responses::{
    actors::Delivery,
    protocol::{Id, ResponseEvent},
};
use serde::Deserialize;

/// An answer that its server keeps, as far as it was shown.
pub(super) struct KeptAnswer {
    id: Option<Id>,
    /// It is gone on with: each attempt is at this one. Else one that begins anew is at another.
    is_given: bool,
    /// The sequence_number behind which it is asked for.
    after: Option<u64>,
    /// That of the last event.
    last: Option<u64>,
}

impl KeptAnswer {
    /// One that is gone on with, or whose id is still to come.
    pub(super) fn new(id: Option<&str>, after: Option<u64>) -> Self {
        Self {
            id: id.map(Id::from),
            is_given: id.is_some(),
            after,
            last: after,
        }
    }

    /// Notes how far a delivery comes. What is to be said before it, once for each answer: the id.
    pub(super) fn on_delivery(&mut self, delivery: &Delivery) -> Option<String> {
        let mut is_new = false;
        // What stands before it is of an answer that is void.
        let mut first = 0;
        for (at, event) in delivery.events().iter().enumerate() {
            match event {
                ResponseEvent::Restarted(_) => {
                    if !self.is_given {
                        self.id = None;
                        is_new = false;
                    }
                    self.last = self.after;
                    first = at + 1;
                }
                ResponseEvent::Created(created)
                    if !self.is_given
                        && created.response_id.is_some()
                        && created.response_id != self.id =>
                {
                    self.id.clone_from(&created.response_id);
                    is_new = true;
                    self.last = None;
                    first = at;
                }
                _ => {}
            }
        }
        let shown = delivery.blocks().filter(|block| block.event >= first);
        let numbers = shown.filter_map(|block| number(&block.bytes));
        self.last = numbers.last().or(self.last);
        let id = self.id.as_ref().filter(|_| is_new)?;
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
