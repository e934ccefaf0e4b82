//! The store of a relay, as its answers use it.

use std::{
    fmt::Write as _,
    future::ready,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt as _;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    super::{config::RelayConfig, ending},
    log::ReadError,
};
use crate::store::{
    Claim, Entries, StoreError, StoreFuture, StreamInfo, StreamKey, StreamStore,
    follow::{Followed, follow, follow_lost},
    recorder::RecorderSettings,
};

/// How long a request waits for the store, for each thing that it asks: a client that is told that it does not answer comes back.
const PATIENCE: Duration = Duration::from_secs(2);

/// A writer brings an id that its client was told to the store a moment later. So long it is looked for once more, before it is unknown.
const A_MOMENT: Duration = Duration::from_millis(60);

/// How long what comes of an answer is gathered for a store that nodes share. An append costs half as much as it does to relay a block, whatever it
/// holds; and a reader at another node is to see a block within 50 ms, with some 10 ms of those for the way.
const GATHER: Duration = Duration::from_millis(30);

/// Where answers are kept, and who this node is there.
pub(super) struct Storage {
    pub(super) store: Arc<dyn StreamStore>,
    /// Whether other nodes read and write there, too.
    pub(super) is_shared: bool,
    /// Another one for each process, whatever it is called.
    pub(super) node: String,
    pub(super) settings: RecorderSettings,
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
            node: format!("{name}-{}", random_digits()),
            // A reader that waits for one that is gone waits a quarter longer.
            settings: RecorderSettings::default()
                .with_gather(GATHER)
                .with_ttl(config.claim_time() * 4 / 5),
            writing: AtomicUsize::new(0),
            written: Notify::new(),
        }
    }

    /// What the store says within the time that there is for it.
    pub(super) async fn asked<T>(&self, asked: StoreFuture<'_, T>) -> Result<T, StoreError> {
        self.asked_for(0, asked).await
    }

    /// The same of what may be so long: it has a second more for each MiB.
    pub(super) async fn asked_for<T>(
        &self,
        bytes: usize,
        asked: StoreFuture<'_, T>,
    ) -> Result<T, StoreError> {
        let said = timeout(PATIENCE + Duration::from_secs(bytes as u64 >> 20), asked).await;
        said.unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".to_owned())))
    }

    /// The stream with this id, or this alias.
    pub(super) async fn find(&self, client: &str, id: &str) -> Result<StreamInfo, StoreError> {
        match self.asked(self.store.find(client, id)).await {
            Err(StoreError::Unknown) => {
                sleep(A_MOMENT).await;
                self.asked(self.store.find(client, id)).await
            }
            found => found,
        }
    }

    /// Reads a stream that may be written anywhere, from the block with this number on.
    pub(super) fn follow(
        &self,
        stream: StreamKey,
        from: u64,
    ) -> impl Stream<Item = Result<Followed, StoreError>> + Send + 'static {
        let settings = self.settings.clone();
        follow(self.store.clone(), stream, from, &self.node, settings)
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

/// 128 random bits.
pub(super) fn random_digits() -> String {
    let mut random = [0; 16];
    // It fails where the system has no randomness at all; an id that can be guessed is none.
    SystemRandom::new()
        .fill(&mut random)
        .expect("the system's randomness");
    let mut digits = String::with_capacity(32);
    for byte in random {
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// What comes of an answer that is followed.
pub(super) type Entered = Pin<Box<dyn Stream<Item = Result<Entries, ReadError>> + Send>>;

/// Who can do something for an answer whose node is gone.
pub(in crate::relay) trait Rescue: Send {
    /// This node has become the writer of a stream, which is so far. It returns at once.
    fn orphan(&self, claim: Claim, info: StreamInfo);
}

/// How an answer is read wherever it is written.
pub(super) struct Way {
    pub(super) storage: Arc<Storage>,
    pub(super) stream: StreamKey,
}

impl Way {
    /// From the block with this number on.
    pub(super) fn follow(self, from: u64, rescue: Option<Box<dyn Rescue>>) -> Entered {
        entered(self.storage.follow(self.stream, from), rescue)
    }

    /// Behind the block with this number, which is `last`: where another one stands there, it is not the same answer any more. Of that only an end is
    /// given that says that it failed: no other may follow on what was read.
    pub(super) fn go_on(
        self,
        position: u64,
        last: Option<Bytes>,
        rescue: Option<Box<dyn Rescue>>,
    ) -> Entered {
        if position == 0 {
            return self.follow(1, rescue);
        }
        let Storage {
            store,
            node,
            settings,
            ..
        } = &*self.storage;
        let (store, settings) = (store.clone(), settings.clone());
        let followed = follow_lost(store, self.stream, position, node, settings);
        let mut last = Some(last);
        Box::pin(entered(followed, rescue).map(move |entries| {
            let mut entries = entries?;
            let Some(last) = last.take() else {
                return Ok(entries);
            };
            let is_same = entries.first == position && entries.blocks.first() == last.as_ref();
            if is_same {
                entries.blocks.remove(0);
                entries.first += 1;
            } else if let Some(ends) = entries.blocks.last()
                && entries.end.is_some()
                && ending::is_failure(ends)
            {
                let before = entries.blocks.len() - 1;
                entries.blocks.drain(..before);
                entries.first += before as u64;
            } else {
                return Err(ReadError::Lost);
            }
            Ok(entries)
        }))
    }
}

/// Who can do nothing for an answer that is left by its node reads it no further.
fn entered(
    followed: impl Stream<Item = Result<Followed, StoreError>> + Send + 'static,
    rescue: Option<Box<dyn Rescue>>,
) -> Entered {
    Box::pin(followed.filter_map(move |followed| {
        ready(match followed {
            Ok(Followed::Entries(entries)) => Some(Ok(entries)),
            Ok(Followed::Orphan { claim, info }) => match &rescue {
                Some(rescue) => {
                    rescue.orphan(claim, info);
                    None
                }
                None => Some(Err(ReadError::Lost)),
            },
            Err(error) => Some(Err(error.into())),
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, StoreLimits};

    #[test]
    fn a_claim_has_a_time_that_can_be_kept_and_waited_for() {
        for (time, ttl) in [(Duration::ZERO, 400), (Duration::MAX, 480_000)] {
            let store = Arc::new(MemoryStore::new(StoreLimits::default()));
            let storage = Storage::new(store, &RelayConfig::default().with_claim_time(time));
            assert_eq!(storage.settings.ttl, Duration::from_millis(ttl));
        }
    }
}
