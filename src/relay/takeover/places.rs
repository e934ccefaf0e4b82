//! How much is taken over at a time.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::store::StreamKey;

/// How many answers of other nodes are gone on with at a time; further ones wait, with their claims held.
const MAX_RUNNING: usize = 1000;

/// How many streams without a writer are watched at a time, of those that requests found; others are when they are found again.
const MAX_WATCHED: usize = 256;

/// What is taken over, and what may be soon.
pub(in crate::relay) struct Takeovers {
    watched: Mutex<HashSet<StreamKey>>,
    places: Arc<Semaphore>,
}

impl Default for Takeovers {
    fn default() -> Self {
        Self {
            watched: Mutex::default(),
            places: Arc::new(Semaphore::new(MAX_RUNNING)),
        }
    }
}

impl Takeovers {
    fn all_watched(&self) -> MutexGuard<'_, HashSet<StreamKey>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a stream is to be watched, which it is then until [`Self::watched`].
    pub(super) fn watch(&self, stream: &StreamKey) -> bool {
        let mut watched = self.all_watched();
        watched.len() < MAX_WATCHED && watched.insert(stream.clone())
    }

    pub(super) fn watched(&self, stream: &StreamKey) {
        self.all_watched().remove(stream);
    }

    /// Waits for a place, which is taken until what this gives is dropped.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        self.places.clone().acquire_owned().await.ok()
    }
}
