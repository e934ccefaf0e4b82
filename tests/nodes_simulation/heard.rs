//! The store as a process sees it: what was answered is written down, and some answers are spoilt on purpose.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_responses::{
    bytes::Bytes,
    store::{
        Append, Claim, Entries, StoreError, StoreFuture, StoreTail, StreamEnd, StreamInfo,
        StreamKey, StreamStore,
    },
    testing::FaultyStore,
};
use tokio::time::Instant;

use crate::sabotage::Sabotage;

/// What the store said, or what became of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    Claimed {
        stream: usize,
        node: String,
        epoch: u64,
        is_release: bool,
    },
    Appended {
        stream: usize,
        epoch: u64,
        blocks: u64,
        end: Option<StreamEnd>,
    },
    Cancelled {
        stream: usize,
    },
    /// Somebody wants it, whatever comes of that.
    ToBeRemoved {
        stream: usize,
    },
    Removed {
        stream: usize,
    },
    Remembered,
    WentBack,
    LostAll,
}

#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// When it was asked.
    pub(crate) asked: Duration,
    /// When it was answered.
    pub(crate) at: Duration,
    pub(crate) event: Event,
}

/// What was heard in one run, by all.
#[derive(Debug)]
pub(crate) struct Log {
    began: Instant,
    heard: Mutex<Vec<Heard>>,
    /// For the sabotage: the last claim of each stream.
    claims: Mutex<HashMap<StreamKey, Claim>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            heard: Mutex::default(),
            claims: Mutex::default(),
        })
    }

    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn hear(&self, asked: Duration, event: Event) {
        let at = self.now();
        locked(&self.heard).push(Heard { asked, at, event });
    }

    pub(crate) fn all(&self) -> Vec<Heard> {
        locked(&self.heard).clone()
    }
}

pub(crate) fn key(stream: usize) -> StreamKey {
    StreamKey {
        client: "client".to_owned(),
        id: stream.to_string(),
    }
}

fn number(stream: &StreamKey) -> usize {
    stream.id.parse().expect("an id of `key`")
}

#[derive(Clone)]
pub(crate) struct Link {
    store: FaultyStore,
    log: Arc<Log>,
    sabotage: Option<Sabotage>,
}

impl Link {
    pub(crate) fn new(store: FaultyStore, log: Arc<Log>, sabotage: Option<Sabotage>) -> Self {
        Self {
            store,
            log,
            sabotage,
        }
    }

    fn is(&self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage)
    }

    /// Of the one who claimed last, whoever asks.
    fn last_claim(&self, claim: &Claim) -> Claim {
        let claims = locked(&self.log.claims);
        claims.get(&claim.stream).unwrap_or(claim).clone()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

impl StreamStore for Link {
    fn is_shared(&self) -> bool {
        true
    }

    fn claim<'a>(
        &'a self,
        stream: &'a StreamKey,
        node: &'a str,
        epoch: u64,
        ttl: Duration,
    ) -> StoreFuture<'a, Claim> {
        Box::pin(async move {
            let asked = self.log.now();
            let node = match node.split_once('/') {
                Some((process, _)) if self.is(Sabotage::ReadersShareAName) => process,
                _ => node,
            };
            if self.is(Sabotage::ClaimsAreTakenBeforeTheirTime) {
                let last = locked(&self.log.claims).get(stream).cloned();
                if let Some(last) = last.filter(|last| last.epoch < epoch) {
                    let free = Duration::ZERO;
                    let _ = self.store.claim(stream, &last.node, last.epoch, free).await;
                }
            }
            let claim = self.store.claim(stream, node, epoch, ttl).await?;
            locked(&self.log.claims).insert(stream.clone(), claim.clone());
            let (stream, node) = (number(stream), node.to_owned());
            let is_release = ttl.is_zero();
            let claimed = Event::Claimed {
                stream,
                node,
                epoch,
                is_release,
            };
            self.log.hear(asked, claimed);
            Ok(claim)
        })
    }

    fn append<'a>(&'a self, claim: &'a Claim, append: Append) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            let asked = self.log.now();
            let end = append.end;
            let mut append = append;
            let mut by = claim.clone();
            if self.is(Sabotage::AnyoneWrites) {
                by = self.last_claim(claim);
                let info = self.store.find(&claim.stream.client, &claim.stream.id);
                append.expected = info.await?.blocks;
            }
            if self.is(Sabotage::RepeatsAreTaken) {
                let info = self.store.find(&claim.stream.client, &claim.stream.id);
                append.expected = info.await?.blocks;
            }
            if self.is(Sabotage::EndsAreForgotten) {
                append.end = None;
            }
            let lost = self.is(Sabotage::ABlockIsLost) && append.blocks.len() > 2;
            if lost {
                append.blocks.remove(1);
            }
            let appended = self.store.append(&by, append).await;
            if self.is(Sabotage::LossIsNotTold)
                && let Err(StoreError::Claimed { .. }) = appended
            {
                return Err(StoreError::Unavailable("spoilt".to_owned()));
            }
            let blocks = appended? + u64::from(lost);
            let appended = Event::Appended {
                stream: number(&claim.stream),
                epoch: claim.epoch,
                blocks,
                end,
            };
            self.log.hear(asked, appended);
            Ok(blocks)
        })
    }

    fn read<'a>(&'a self, stream: &'a StreamKey, from: u64) -> StoreFuture<'a, Entries> {
        self.store.read(stream, from)
    }

    fn tail(&self, stream: &StreamKey, from: u64) -> StoreTail {
        self.store.tail(stream, from)
    }

    fn cancel<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let asked = self.log.now();
            if !self.is(Sabotage::CancelsGetLost) {
                self.store.cancel(stream).await?;
            }
            let stream = number(stream);
            self.log.hear(asked, Event::Cancelled { stream });
            Ok(())
        })
    }

    fn cancelled<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ()> {
        self.store.cancelled(claim)
    }

    fn find<'a>(&'a self, client: &'a str, id: &'a str) -> StoreFuture<'a, StreamInfo> {
        Box::pin(async move {
            let mut info = self.store.find(client, id).await?;
            match self.sabotage {
                Some(Sabotage::ClaimsAreTakenBeforeTheirTime) => info.claimed_for = None,
                Some(Sabotage::NobodyTakesOver) => info.claimed_for = Some(Duration::from_secs(8)),
                _ => {}
            }
            Ok(info)
        })
    }

    fn request<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, Bytes> {
        self.store.request(stream)
    }

    fn list<'a>(&'a self, client: &'a str) -> StoreFuture<'a, Vec<StreamInfo>> {
        self.store.list(client)
    }

    fn remove<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let asked = self.log.now();
            if self.is(Sabotage::RemovedIsLost) {
                self.store.lose_all();
            } else {
                self.store.remove(stream).await?;
            }
            let stream = number(stream);
            self.log.hear(asked, Event::Removed { stream });
            Ok(())
        })
    }
}
