//! What the handles and the task of a recorder have in common.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::log::Log;
use crate::store::StoreError;

/// How a writer fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecorderState {
    /// The store has not answered yet.
    Claiming,
    /// The store has all, or will within a moment.
    Storing,
    /// The store has not answered since then. All is kept, and written when it does.
    Behind(Instant),
    /// The store has the end.
    Done,
    /// The claim is given back: another node may take it.
    Released,
    /// Another node has the claim: it writes what follows.
    Lost,
    /// It is not recorded, or not any longer. Nobody else writes it once the store has let it go; until then a reader may take it over. [`StoreError::Expired`]: somebody removed it, or the store lost what is not
    /// here any more either. [`StoreError::TooLarge`]: also for what was missing in the store for too long.
    GivenUp(StoreError),
}

impl RecorderState {
    /// Whether nothing more is written.
    pub fn is_over(&self) -> bool {
        !matches!(self, Self::Claiming | Self::Storing | Self::Behind(_))
    }
}

pub(super) struct Shared {
    log: Mutex<Log>,
    /// There is something to do for the task.
    pub(super) work: Notify,
    pub(super) told: watch::Sender<Told>,
}

#[derive(Clone)]
pub(super) struct Told {
    pub(super) state: RecorderState,
    pub(super) is_cancelled: bool,
    /// When the end was said, or the release.
    pub(super) said_at: Option<Instant>,
}

impl Shared {
    pub(super) fn new(log: Log) -> Self {
        let told = Told {
            state: RecorderState::Claiming,
            is_cancelled: false,
            said_at: None,
        };
        Self {
            log: Mutex::new(log),
            work: Notify::new(),
            told: watch::Sender::new(told),
        }
    }

    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self, state: RecorderState) {
        self.told.send_if_modified(|told| {
            let is_new = told.state != state && !told.state.is_over();
            if is_new {
                told.state = state;
            }
            is_new
        });
    }

    /// The store does not answer.
    pub(super) fn is_behind(&self) {
        if !matches!(self.told.borrow().state, RecorderState::Behind(_)) {
            self.tell(RecorderState::Behind(Instant::now()));
        }
    }

    pub(super) fn say_now(&self) {
        self.told.send_if_modified(|told| {
            let is_first = told.said_at.is_none();
            told.said_at.get_or_insert_with(Instant::now);
            is_first
        });
    }
}
