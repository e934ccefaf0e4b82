//! From deliveries to the blocks that clients are sent, byte for byte but for a model's name and what a preamble that went out demands.

use bytes::Bytes;

use super::{
    block,
    ending::{self, SoFar},
    preamble::{DoesNotFit, Origin, Preamble},
};
use crate::{actors::Delivery, protocol::ResponseEvent, wire::Wire};

/// What one answer was made of so far.
pub(super) struct Rendering {
    wire: Wire,
    /// The id of a response that its server gave none.
    id: String,
    model: String,
    /// The model as JSON, where a client must not see another name.
    name: Option<String>,
    target: usize,
    preamble: Preamble,
    first: Option<Bytes>,
    last: Option<Bytes>,
    sent: u64,
}

impl Rendering {
    pub(super) fn new(wire: Wire, id: String, model: String) -> Self {
        Self {
            wire,
            id,
            model,
            name: None,
            target: 0,
            preamble: Preamble::new(wire),
            first: None,
            last: None,
            sent: 0,
        }
    }

    /// What follows comes from this target.
    pub(super) fn set_target(&mut self, target: usize, renames: bool) {
        self.target = target;
        self.name = renames.then(|| serde_json::Value::from(&*self.model).to_string());
    }

    /// Whether output went out, so that no other attempt can follow.
    pub(super) fn is_open(&self) -> bool {
        self.preamble.is_open()
    }

    /// Whether blocks are held back.
    pub(super) fn holds(&self) -> bool {
        self.preamble.holds()
    }

    /// Whether a failure of this attempt is one behind a head: it had begun to answer.
    pub(super) fn had_begun(&self, attempt: u32) -> bool {
        self.first.is_some() || self.preamble.holds_of((self.target, attempt))
    }

    /// Adds the blocks of a delivery that may go out now.
    pub(super) fn push(
        &mut self,
        delivery: &Delivery,
        out: &mut Vec<Bytes>,
    ) -> Result<(), DoesNotFit> {
        for block in delivery.blocks() {
            let bytes = match &self.name {
                Some(name) => block::renamed(&block.bytes, name),
                None => block.bytes,
            };
            let origin: Origin = (self.target, block.attempt);
            self.preamble.push(origin, bytes, out)?;
        }
        Ok(())
    }

    /// Output begins.
    pub(super) fn open(&mut self, out: &mut Vec<Bytes>) {
        self.preamble.open(out);
    }

    /// What is held goes out, though there is no output yet.
    pub(super) fn release(&mut self, out: &mut Vec<Bytes>) {
        self.preamble.release(out);
    }

    /// Whether what clients were told of an attempt that failed came again.
    pub(super) fn fits(&self) -> Result<(), DoesNotFit> {
        self.preamble.fits()
    }

    /// What went out.
    pub(super) fn note(&mut self, out: &[Bytes]) {
        if let Some(last) = out.last() {
            self.first.get_or_insert_with(|| out[0].clone());
            self.last = Some(last.clone());
            self.sent += out.len() as u64;
        }
    }

    /// Adds what a client needs to see the end, where the server did not say it.
    pub(super) fn end(&mut self, event: &ResponseEvent, out: &mut Vec<Bytes>) {
        self.note(out);
        let so_far = SoFar {
            first: self.first.as_ref(),
            last: self.last.as_ref(),
            sent: self.sent,
            id: &self.id,
            model: &self.model,
        };
        ending::end(self.wire, &so_far, event, out);
    }
}
