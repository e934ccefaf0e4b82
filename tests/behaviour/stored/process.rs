//! A process with a store that outlives it.

use std::{
    future::{Future, pending, ready},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use actix_responses::{
    Runtime,
    actors::SupervisorConfig,
    bytes::Bytes,
    store::{
        Append, Claim, Entries, MemoryStore, StoreError, StoreFuture, StoreTail, StreamInfo,
        StreamKey, StreamStore,
    },
};
use futures_util::StreamExt;

use crate::support::{
    start_with, steady_retry,
    transport::{Exchange, ScriptedTransport},
};

/// The way of one process to a store.
#[derive(Clone, Debug)]
pub(super) struct Way {
    store: MemoryStore,
    state: Arc<AtomicU8>,
}

const OPEN: u8 = 0;
/// The store refuses.
const DOWN: u8 = 1;
/// The store says nothing, or the process does not exist any more.
const GONE: u8 = 2;
/// The store takes its time.
const SLOW: u8 = 3;

/// What is written comes late to who follows it.
const LATE: u8 = 4;
/// The store has a defect.
const PANICS: u8 = 5;

/// Longer than a claim and what is waited behind it.
const LAG: Duration = Duration::from_secs(15);

const DELAY: Duration = Duration::from_millis(20);

impl Way {
    pub(super) fn to(store: &MemoryStore) -> Self {
        Self {
            store: store.clone(),
            state: Arc::new(AtomicU8::new(OPEN)),
        }
    }

    pub(super) fn open(&self) {
        self.state.store(OPEN, Ordering::SeqCst);
    }

    pub(super) fn shut(&self) {
        self.state.store(DOWN, Ordering::SeqCst);
    }

    pub(super) fn slow(&self) {
        self.state.store(SLOW, Ordering::SeqCst);
    }

    pub(super) fn lag(&self) {
        self.state.store(LATE, Ordering::SeqCst);
    }

    pub(super) fn panic(&self) {
        self.state.store(PANICS, Ordering::SeqCst);
    }

    pub(super) fn vanish(&self) {
        self.state.store(GONE, Ordering::SeqCst);
    }

    fn on<'a, T: Send + 'a>(
        &self,
        ask: impl Future<Output = Result<T, StoreError>> + Send + 'a,
    ) -> StoreFuture<'a, T> {
        match self.state.load(Ordering::SeqCst) {
            OPEN | LATE => Box::pin(ask),
            PANICS => panic!("a scripted panic of a store"),
            SLOW => Box::pin(async {
                tokio::time::sleep(DELAY).await;
                ask.await
            }),
            DOWN => Box::pin(ready(Err(StoreError::Unavailable("refused".into())))),
            _ => Box::pin(pending()),
        }
    }
}

impl StreamStore for Way {
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
        self.on(self.store.claim(stream, node, epoch, ttl))
    }

    fn append<'a>(&'a self, claim: &'a Claim, append: Append) -> StoreFuture<'a, u64> {
        match self.state.load(Ordering::SeqCst) {
            OPEN | SLOW | LATE => self.on(async { self.store.append(claim, append).await }),
            _ => self.on(pending()),
        }
    }

    fn read<'a>(&'a self, stream: &'a StreamKey, from: u64) -> StoreFuture<'a, Entries> {
        self.on(self.store.read(stream, from))
    }

    fn tail(&self, stream: &StreamKey, from: u64) -> StoreTail {
        let state = self.state.clone();
        assert_ne!(state.load(Ordering::SeqCst), PANICS, "a scripted panic");
        let is_late = state.load(Ordering::SeqCst) == LATE;
        let tail = self
            .store
            .tail(stream, from)
            .then(move |entries| async move {
                if is_late {
                    tokio::time::sleep(LAG).await;
                }
                entries
            });
        let is_open = move || matches!(state.load(Ordering::SeqCst), OPEN | LATE);
        Box::pin(tail.take_while(move |_| ready(is_open())))
    }

    fn cancel<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, ()> {
        self.on(self.store.cancel(stream))
    }

    fn cancelled<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ()> {
        self.on(self.store.cancelled(claim))
    }

    fn find<'a>(&'a self, client: &'a str, id: &'a str) -> StoreFuture<'a, StreamInfo> {
        self.on(self.store.find(client, id))
    }

    fn request<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, Bytes> {
        self.on(self.store.request(stream))
    }

    fn list<'a>(&'a self, client: &'a str) -> StoreFuture<'a, Vec<StreamInfo>> {
        self.on(self.store.list(client))
    }

    fn remove<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, ()> {
        self.on(self.store.remove(stream))
    }
}

/// A runtime with its way to the store.
pub(super) struct Process {
    pub(super) runtime: Runtime,
    pub(super) transport: ScriptedTransport,
    pub(super) way: Way,
}

impl Process {
    pub(super) fn start(
        store: &MemoryStore,
        exchanges: impl IntoIterator<Item = Exchange>,
    ) -> Self {
        Self::start_with(store, exchanges, |_| {})
    }

    pub(super) fn start_with(
        store: &MemoryStore,
        exchanges: impl IntoIterator<Item = Exchange>,
        change: impl FnOnce(&mut SupervisorConfig),
    ) -> Self {
        let way = Way::to(store);
        let (runtime, transport) = start_with(exchanges, |config| {
            config.retry = steady_retry(5);
            config.store = Some(Arc::new(way.clone()));
            change(config);
        });
        Self {
            runtime,
            transport,
            way,
        }
    }

    /// As by a signal that nobody hears.
    pub(super) fn kill(self) {
        self.way.vanish();
    }

    /// What was asked of servers.
    pub(super) fn asked(&self) -> Vec<String> {
        let requests = self.transport.requests();
        let shown = requests.iter().map(|request| {
            let path = request.url.path().trim_start_matches("/v1/");
            let query = request.url.query().unwrap_or_default();
            format!("{} {path} {query}", request.method)
        });
        shown.collect()
    }
}
