//! An answer that is written to a store that nodes share while it runs.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::{
    log::{End, Log},
    piece::Piece,
};
use crate::store::{
    StoreError,
    recorder::{Recorder, RecorderState},
};

/// The writer of an answer, and whether all was given to it.
pub(super) struct Recording {
    recorder: Recorder,
    is_closed: AtomicBool,
}

impl Recording {
    pub(super) fn new(recorder: Recorder) -> Self {
        Self {
            recorder,
            is_closed: AtomicBool::new(false),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    pub(super) fn push(&self, pieces: &[Piece]) {
        self.recorder.push(pieces.iter().flat_map(Piece::blocks));
    }

    pub(super) fn set_about(&self, about: Bytes) {
        self.recorder.set_about(about);
    }

    pub(super) fn add_alias(&self, alias: String) {
        self.recorder.add_alias(alias);
    }

    /// Another node may write it, unless the store has no part of it that could be gone on with: of what it never had nobody else knows.
    pub(super) fn release(&self) -> bool {
        let is_writing = !self.recorder.state().is_over() && self.recorder.is_there();
        if !is_writing || self.is_closed.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.recorder.release();
        true
    }

    /// Whether other nodes find it, as far as is known within a moment. One that the store does not take is this node's alone; one that the store
    /// does not answer for is written when it does.
    pub(super) async fn can_be_found(&self) -> bool {
        let claimed = self.recorder.claimed().await;
        matches!(claimed, Ok(()) | Err(StoreError::Unavailable(_)))
    }

    pub(super) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The last blocks and the end: the store has them before any reader, unless it takes too long. `log` and `is_in_store` are told then.
    pub(super) fn close(
        &self,
        about: Bytes,
        pieces: Vec<Piece>,
        end: End,
        log: &Arc<Log>,
        is_in_store: &Arc<AtomicBool>,
    ) {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.recorder.set_about(about);
        let blocks = pieces.iter().flat_map(Piece::blocks);
        self.recorder.end_with(blocks, end);
        let held = Held {
            recorder: self.recorder.clone(),
            log: log.clone(),
            last: Some((pieces, end)),
        };
        let is_in_store = is_in_store.clone();
        let told = async move {
            held.recorder.ended().await;
            let recorder = held.recorder.clone();
            let log = held.log.clone();
            drop(held);
            recorder.finished().await;
            if recorder.state() == RecorderState::Done {
                is_in_store.store(true, Ordering::Release);
                log.forget();
            }
        };
        // Without a runtime nobody waits, and readers are told at once.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(told);
        }
    }
}

/// An end that the store is to have first. When it is let go, readers have it, though a thread ended meanwhile.
struct Held {
    recorder: Recorder,
    log: Arc<Log>,
    last: Option<(Vec<Piece>, End)>,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Where another node writes it, that says the end.
        let is_lost = self.recorder.state() == RecorderState::Lost;
        if let Some((pieces, end)) = self.last.take().filter(|_| !is_lost) {
            self.log.push(pieces);
            self.log.end(end);
        }
    }
}
