//! What a stream's writer has, and how much of it the store has.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use super::settings::{Held, Load, RecorderSettings};
use crate::store::{Append, StreamEnd};

/// The bytes of one append, but for a block that is longer: what a store works on at once.
const APPEND_BYTES: usize = 256 << 10;

/// What a writer begins with.
#[derive(Clone, Debug)]
pub struct Begin {
    /// Of its claim: 1 for a new stream. One that was taken over has that of [`Followed::Orphan`](crate::store::follow::Followed::Orphan).
    pub epoch: u64,
    /// How many blocks are there already, by others.
    pub blocks: u64,
    /// [`Append::about`](crate::store::Append::about), if there is something to say.
    pub about: Option<Bytes>,
    /// [`Append::request`](crate::store::Append::request), if it is not there.
    pub request: Option<Bytes>,
    /// [`Append::aliases`](crate::store::Append::aliases).
    pub aliases: Vec<String>,
}

impl Default for Begin {
    fn default() -> Self {
        Self {
            epoch: 1,
            blocks: 0,
            about: None,
            request: None,
            aliases: Vec::new(),
        }
    }
}

/// What is written beside the blocks, and is not in the store yet.
#[derive(Clone, Copy, Debug, Default)]
struct Beside {
    about: bool,
    request: bool,
    /// From which alias on.
    aliases: usize,
}

#[derive(Debug)]
pub(super) struct Log {
    /// How many blocks are not here: others wrote them, or the store has them and they are too long to be kept.
    gone: u64,
    blocks: VecDeque<Bytes>,
    /// The bytes of those that are here.
    bytes: usize,
    /// Of them, those that the store does not have.
    missing: usize,
    /// How many blocks the store has.
    acked: u64,
    end: Option<StreamEnd>,
    about: Option<Bytes>,
    request: Option<Bytes>,
    aliases: Vec<String>,
    /// What was not sent, and what it was before the last append.
    unsent: Beside,
    before: Beside,
    is_released: bool,
    /// More is missing in the store than is kept.
    is_over: bool,
    /// The store may have lost the stream.
    pub(super) is_doubted: bool,
    /// The store has acknowledged something.
    pub(super) is_there: bool,
    /// The writer looks at it at the next tick anyhow, and is not to be woken for what can wait until then.
    pub(super) is_looked_at: bool,
    missing_bytes: usize,
    held: Arc<Held>,
    /// What `held` knows of this one.
    told: Load,
}

impl Log {
    pub(super) fn new(begin: Begin, settings: &RecorderSettings) -> Self {
        let unsent = Beside {
            about: begin.about.is_some(),
            request: begin.request.is_some(),
            aliases: 0,
        };
        let mut log = Self {
            gone: begin.blocks,
            blocks: VecDeque::new(),
            bytes: 0,
            missing: 0,
            acked: begin.blocks,
            end: None,
            about: begin.about,
            request: begin.request,
            aliases: begin.aliases,
            unsent,
            before: Beside::default(),
            is_released: false,
            is_over: false,
            is_doubted: false,
            // What was taken over is.
            is_there: begin.epoch > 1,
            is_looked_at: false,
            missing_bytes: settings.missing_bytes,
            held: settings.held.clone(),
            told: Load::default(),
        };
        log.bound();
        log
    }

    fn is_closed(&self) -> bool {
        self.end.is_some() || self.is_released || self.is_over
    }

    pub(super) fn push(&mut self, blocks: impl IntoIterator<Item = Bytes>) {
        if self.is_closed() {
            return;
        }
        for block in blocks {
            self.bytes += block.len();
            self.missing += block.len();
            self.blocks.push_back(block);
        }
        self.bound();
    }

    /// It has grown: gives up where too much is missing in the store.
    fn bound(&mut self) {
        self.tell();
        let misses_too_much = self.missing > self.missing_bytes || self.held.misses_too_much();
        if misses_too_much && self.told.missing > 0 {
            self.clear();
            self.is_over = true;
        }
        self.shed();
    }

    /// Lets go of what the store has, while too much is held: it is only to write again what the store loses.
    fn shed(&mut self) {
        while self.told.bytes > self.missing_bytes || self.held.is_over() {
            if self.request.is_some() && !self.is_missing().request {
                // A stream that is written again without it can be read to its end, though no other node can go on with it.
                self.request = None;
            } else if self.gone < self.acked
                && let Some(block) = self.blocks.pop_front()
            {
                self.gone += 1;
                self.bytes -= block.len();
            } else {
                return;
            }
            self.tell();
        }
    }

    /// What of what is beside the blocks the store does not have, as far as is known.
    fn is_missing(&self) -> Beside {
        Beside {
            about: self.unsent.about || self.before.about,
            request: self.unsent.request || self.before.request,
            aliases: 0,
        }
    }

    fn load(&self) -> Load {
        let [about, request] =
            [&self.about, &self.request].map(|beside| beside.as_ref().map_or(0, Bytes::len));
        let is_missing = self.is_missing();
        Load {
            bytes: self.bytes + about + request,
            missing: self.missing
                + if is_missing.about { about } else { 0 }
                + if is_missing.request { request } else { 0 },
        }
    }

    fn tell(&mut self) {
        let load = self.load();
        if load == self.told {
            return;
        }
        self.held.change(self.told, load);
        self.told = load;
    }

    /// Nothing more is written.
    pub(super) fn clear(&mut self) {
        self.gone = self.len();
        self.blocks = VecDeque::new();
        (self.bytes, self.missing) = (0, 0);
        (self.about, self.request) = (None, None);
        self.is_released = true;
        self.tell();
    }

    pub(super) fn set_about(&mut self, about: Bytes) {
        if !self.is_closed() {
            self.about = Some(about);
            self.unsent.about = true;
            self.bound();
        }
    }

    pub(super) fn add_alias(&mut self, alias: String) {
        if !self.is_closed() && !self.aliases.contains(&alias) {
            self.aliases.push(alias);
        }
    }

    pub(super) fn end(&mut self, end: StreamEnd) {
        if !self.is_closed() {
            self.end = Some(end);
        }
    }

    pub(super) fn release(&mut self) {
        self.is_released |= self.end.is_none();
    }

    pub(super) fn is_released(&self) -> bool {
        self.is_released
    }

    pub(super) fn has_end(&self) -> bool {
        self.end.is_some()
    }

    /// Whether it is written at once.
    pub(super) fn is_urgent(&self) -> bool {
        self.has_end() || self.is_released || self.is_over
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether the store misses something.
    pub(super) fn is_behind(&self) -> bool {
        let Beside {
            about,
            request,
            aliases,
        } = self.unsent;
        self.acked < self.len()
            || self.end.is_some()
            || about
            || request
            || aliases < self.aliases.len()
    }

    /// What is written next, and whether that is all.
    pub(super) fn take(&mut self) -> (Append, bool) {
        let mut bytes = 0;
        let missing = self.acked.saturating_sub(self.gone) as usize;
        let missing = self.blocks.range(missing.min(self.blocks.len())..);
        let blocks = missing.take_while(|block| {
            let fits = bytes == 0 || bytes + block.len() <= APPEND_BYTES;
            bytes += block.len();
            fits
        });
        let blocks: Vec<_> = blocks.cloned().collect();
        let is_last = self.acked + blocks.len() as u64 == self.len();
        self.before = self.unsent;
        let unsent = std::mem::take(&mut self.unsent);
        self.unsent.aliases = self.aliases.len();
        let append = Append {
            expected: self.acked,
            blocks,
            end: self.end.filter(|_| is_last),
            about: self.about.clone().filter(|_| unsent.about),
            request: self.request.clone().filter(|_| unsent.request),
            aliases: self.aliases[unsent.aliases..].to_vec(),
        };
        (append, is_last)
    }

    pub(super) fn is_stored(&mut self, blocks: u64) {
        self.nothing_is_sent();
        self.is_there = true;
        self.has(blocks);
    }

    /// The store has so many blocks.
    fn has(&mut self, blocks: u64) {
        self.acked = blocks;
        let here = self.acked.saturating_sub(self.gone) as usize;
        let missing = self.blocks.range(here.min(self.blocks.len())..);
        self.missing = missing.map(Bytes::len).sum();
        self.tell();
        self.shed();
    }

    /// It is not known whether the last append was done: it is repeated, and what was not a repeat is refused.
    pub(super) fn is_unsure(&mut self) {
        self.unsent.about |= self.before.about;
        self.unsent.request |= self.before.request;
        self.unsent.aliases = self.unsent.aliases.min(self.before.aliases);
        self.nothing_is_sent();
    }

    /// Of the last append all is known.
    fn nothing_is_sent(&mut self) {
        self.before = Beside {
            aliases: self.unsent.aliases,
            ..Beside::default()
        };
    }

    /// The store has so many blocks, and not what was believed. Whether all that follows is here.
    pub(super) fn goes_on_from(&mut self, blocks: u64) -> bool {
        if blocks < self.acked {
            self.repeat_beside();
        }
        self.has(blocks);
        self.gone <= blocks && blocks <= self.len()
    }

    /// The store lost the stream. Whether all of it is here.
    pub(super) fn repeats_all(&mut self) -> bool {
        self.repeat_beside();
        self.has(0);
        self.gone == 0
    }

    fn repeat_beside(&mut self) {
        self.unsent = Beside {
            about: self.about.is_some(),
            request: self.request.is_some(),
            aliases: 0,
        };
        self.nothing_is_sent();
    }

    pub(super) fn len(&self) -> u64 {
        self.gone + self.blocks.len() as u64
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.held.change(self.told, Load::default());
    }
}
