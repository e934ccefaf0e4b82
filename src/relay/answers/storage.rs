//! The store of a relay, as its answers use it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};

use super::super::config::RelayConfig;
use crate::store::{StoreError, StoreFuture, StreamStore};

/// How long a request waits for the store, for each thing that it asks: a client that is told that it does not answer comes back.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where answers are kept, and who this node is there.
pub(super) struct Storage {
    pub(super) store: Arc<dyn StreamStore>,
    /// Whether other nodes read and write there, too.
    pub(super) is_shared: bool,
    /// Another one for each process, whatever it is called.
    pub(super) node: String,
    pub(super) claim_time: Duration,
    /// How many answers are being written.
    writing: AtomicUsize,
    written: Notify,
}

/// An answer that is being written to a store.
pub(super) struct Writing(Arc<Storage>);

impl Storage {
    pub(super) fn new(store: Arc<dyn StreamStore>, config: &RelayConfig) -> Self {
        let name = config.node.as_deref().unwrap_or("relay");
        Self {
            is_shared: store.is_shared(),
            store,
            node: format!("{name}-{}", super::random_digits()),
            claim_time: config.claim_time,
            writing: AtomicUsize::new(0),
            written: Notify::new(),
        }
    }

    /// What the store says within the time that there is for it.
    pub(super) async fn asked<T>(&self, asked: StoreFuture<'_, T>) -> Result<T, StoreError> {
        let said = timeout(PATIENCE, asked).await;
        said.unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".to_owned())))
    }

    pub(super) fn begin_writing(self: &Arc<Self>) -> Writing {
        self.writing.fetch_add(1, Ordering::AcqRel);
        Writing(self.clone())
    }

    /// Whether all that was to be written is, after so long at the latest.
    pub(super) async fn written_within(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            let written = self.written.notified();
            tokio::pin!(written);
            written.as_mut().enable();
            if self.writing.load(Ordering::Acquire) == 0 {
                return true;
            }
            if timeout_at(deadline, written).await.is_err() {
                return false;
            }
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if self.0.writing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.written.notify_waiters();
        }
    }
}
