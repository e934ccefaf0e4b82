//! One answer.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::{runtime::Handle, time::Instant};

use super::super::{access::Client, routing::Maker};
use super::{
    limits::Bounds,
    log::{End, Ledger, Log, ReadError},
    piece::Piece,
    reader::Reader,
};
use crate::{
    protocol::TokenUsage,
    store::{Append, StoreError, StreamKey, StreamStore},
    wire::Wire,
};

/// What is known of an answer when it begins.
#[derive(Clone)]
pub(in crate::relay) struct About {
    /// The dialect that the client speaks: what its blocks are.
    pub(in crate::relay) wire: Wire,
    /// As the client named it.
    pub(in crate::relay) model: String,
    /// Who is asked first. [`Answer::set_attempt`] says who answers.
    pub(in crate::relay) provider: String,
    /// `x-relay-detach: true`, or a response in the background: it runs on without readers.
    pub(in crate::relay) detached: bool,
    /// Not asked for with `store: false`.
    pub(in crate::relay) stored: bool,
    /// The body of the request, unpacked: its input is what `input_items` and `previous_response_id` need.
    pub(in crate::relay) request: Bytes,
}

impl About {
    /// Whether it is kept for the retention time after its end.
    pub(in crate::relay) fn is_kept(&self) -> bool {
        self.detached || self.stored
    }
}

/// One answer: its log, and what the list shows of it.
pub(in crate::relay) struct Answer {
    id: Arc<str>,
    client: Client,
    about: About,
    log: Arc<Log>,
    began: Instant,
    began_at: SystemTime,
    /// Milliseconds from the beginning to the first block, plus one.
    first_block: AtomicU64,
    attempt: AtomicU32,
    maker: OnceLock<Maker>,
    server_id: OnceLock<String>,
    ended: OnceLock<Instant>,
    usage: OnceLock<TokenUsage>,
    failure: OnceLock<String>,
    store: Arc<dyn StreamStore>,
    /// The store has the whole of it, and the log lets it go.
    is_in_store: Arc<AtomicBool>,
}

impl Answer {
    pub(super) fn new(
        id: Arc<str>,
        client: Client,
        about: About,
        bounds: Bounds,
        store: Arc<dyn StreamStore>,
        ledgers: [Arc<Ledger>; 2],
    ) -> Self {
        Self {
            id,
            client,
            about,
            log: Arc::new(Log::new(bounds, ledgers)),
            began: Instant::now(),
            began_at: SystemTime::now(),
            first_block: AtomicU64::new(0),
            attempt: AtomicU32::new(1),
            maker: OnceLock::new(),
            server_id: OnceLock::new(),
            ended: OnceLock::new(),
            usage: OnceLock::new(),
            failure: OnceLock::new(),
            store,
            is_in_store: Arc::default(),
        }
    }

    /// Ours: `relay_` and random digits.
    pub(in crate::relay) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn id_shared(&self) -> Arc<str> {
        self.id.clone()
    }

    pub(in crate::relay) fn client(&self) -> &Client {
        &self.client
    }

    pub(in crate::relay) fn about(&self) -> &About {
        &self.about
    }

    // What the pump does.

    /// Whole blocks for the clients, in order. After the end it does nothing.
    pub(in crate::relay) fn push(&self, pieces: impl IntoIterator<Item = impl Into<Piece>>) {
        if self.first_block.load(Ordering::Relaxed) == 0 {
            let waited = self.began.elapsed().as_millis() as u64 + 1;
            self.first_block.store(waited, Ordering::Relaxed);
        }
        self.log.push(pieces.into_iter().map(Into::into));
    }

    /// The end: all blocks were pushed, the last of which says how it ended. The first end is the end.
    pub(in crate::relay) fn end(&self, end: End) {
        let blocks = self.log.whole();
        let kept = blocks.filter(|_| self.about.is_kept() && self.log.is_resumable());
        // It lies in the store before anybody is told, where the store does that at once.
        let unfinished = kept
            .filter(|_| self.end_so_far().is_none())
            .and_then(|blocks| {
                let mut kept = Box::pin(self.keep(blocks, end));
                kept.as_mut().now_or_never().is_none().then_some(kept)
            });
        if self.log.end(end) {
            let _ = self.ended.set(Instant::now());
        }
        if self.is_in_store.load(Ordering::Acquire) {
            self.log.forget();
        }
        if let (Some(kept), Ok(runtime)) = (unfinished, Handle::try_current()) {
            runtime.spawn(kept);
        }
    }

    /// Brings all blocks to the store.
    fn keep(&self, blocks: Vec<Bytes>, end: End) -> impl Future<Output = ()> + Send + use<> {
        let (store, stream) = (self.store.clone(), self.key());
        let (log, is_in_store) = (self.log.clone(), self.is_in_store.clone());
        let alias = self.server_id.get().cloned();
        async move {
            let kept = async {
                let claim = store.claim(&stream, "relay", 1, Duration::ZERO).await?;
                let append = Append {
                    blocks,
                    end: Some(end),
                    aliases: alias.into_iter().collect(),
                    ..Append::default()
                };
                store.append(&claim, append).await
            };
            match kept.await {
                Ok(_) => is_in_store.store(true, Ordering::Release),
                Err(StoreError::TooLarge) => {}
                Err(error) => {
                    tracing::warn!(id = stream.id, %error, "an answer is not in the store")
                }
            }
            if log.end_so_far().is_some() && is_in_store.load(Ordering::Acquire) {
                log.forget();
            }
        }
    }

    pub(super) fn key(&self) -> StreamKey {
        StreamKey {
            client: self.client.in_store(),
            id: self.id.to_string(),
        }
    }

    /// Waits while the slowest reader is too far behind; one that is so for longer than `slow_client` is left behind.
    pub(in crate::relay) async fn room(&self) {
        self.log.room().await;
    }

    /// Resolves when the last reader has left; of a detached answer never.
    pub(in crate::relay) async fn deserted(&self) {
        if self.about.detached {
            std::future::pending::<()>().await;
        }
        self.log.deserted().await;
    }

    /// Resolves when somebody wants it to stop: the pump cancels, pushes the end of the dialect and says [`End::Cancelled`].
    pub(in crate::relay) async fn cancelled(&self) {
        self.log.cancelled().await;
    }

    /// Which attempt answers: when its first block comes. Whose it is, when no other can follow.
    pub(in crate::relay) fn set_attempt(&self, attempt: u32, maker: Option<Maker>) {
        self.attempt.store(attempt, Ordering::Relaxed);
        if let Some(maker) = maker {
            let _ = self.maker.set(maker);
        }
    }

    /// What it cost, which is told before the end.
    pub(in crate::relay) fn set_usage(&self, usage: TokenUsage) {
        let _ = self.usage.set(usage);
    }

    /// The code of what it fails by, which is told before the end.
    pub(in crate::relay) fn set_failure(&self, code: &str) {
        let _ = self.failure.set(code.to_owned());
    }

    pub(super) fn set_server_id(&self, server_id: &str) {
        let _ = self.server_id.set(server_id.to_owned());
    }

    // What readers and routes do.

    /// Reads from the block behind `position` on: 0 is the first.
    pub(in crate::relay) fn read(&self, position: u64) -> Reader {
        // It sits down first: the log lets nothing go of what a reader has still to read.
        let reader = Reader::new(self.log.clone(), position);
        match self.is_in_store.load(Ordering::Acquire) {
            true => Reader::of_store(self.store.tail(&self.key(), position + 1)),
            false => reader,
        }
    }

    /// Asks the pump to stop, and waits for the end, for as long.
    pub(in crate::relay) async fn cancel(&self, patience: Duration) -> Option<End> {
        self.log.cancel();
        self.log.ended_within(patience).await
    }

    pub(in crate::relay) fn end_so_far(&self) -> Option<End> {
        self.log.end_so_far()
    }

    pub(super) fn ended_at(&self) -> Option<Instant> {
        self.ended.get().copied()
    }

    pub(super) fn forget(&self) {
        self.log.forget();
    }

    pub(in crate::relay) fn is_resumable(&self) -> bool {
        self.is_in_store.load(Ordering::Acquire) || self.log.is_resumable()
    }

    /// All blocks so far, if none is gone.
    pub(in crate::relay) async fn blocks(&self) -> Result<Vec<Bytes>, ReadError> {
        if let Some(blocks) = self.log.whole().filter(|_| self.log.is_resumable()) {
            return Ok(blocks);
        }
        // The log lets it go when the store has it.
        if !self.is_in_store.load(Ordering::Acquire) {
            return Err(ReadError::NotResumable);
        }
        let stream = self.key();
        let mut blocks = Vec::new();
        loop {
            let more = self.store.read(&stream, blocks.len() as u64 + 1).await?;
            let is_last = more.end.is_some() || more.blocks.is_empty();
            blocks.extend(more.blocks);
            if is_last {
                return Ok(blocks);
            }
        }
    }

    /// What it cost, if the server said so.
    pub(in crate::relay) fn usage(&self) -> Option<&TokenUsage> {
        self.usage.get()
    }

    /// The code of what it failed by.
    pub(in crate::relay) fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// How many blocks came.
    pub(in crate::relay) fn count(&self) -> u64 {
        self.log.len()
    }

    pub(in crate::relay) fn readers(&self) -> usize {
        self.log.readers()
    }

    pub(in crate::relay) fn attempt(&self) -> u32 {
        self.attempt.load(Ordering::Relaxed)
    }

    /// Who answers, or is asked first.
    pub(in crate::relay) fn provider(&self) -> &str {
        let maker = self.maker.get();
        maker.map_or(&self.about.provider, |maker| &maker.provider)
    }

    /// Who answers, once that is known.
    pub(in crate::relay) fn maker(&self) -> Option<&Maker> {
        self.maker.get()
    }

    /// The id that the server gave it.
    pub(in crate::relay) fn server_id(&self) -> Option<&str> {
        self.server_id.get().map(String::as_str)
    }

    pub(in crate::relay) fn began_at(&self) -> SystemTime {
        self.began_at
    }

    /// How long it has run, or ran.
    pub(in crate::relay) fn age(&self) -> Duration {
        let until = self.ended_at().unwrap_or_else(Instant::now);
        until - self.began
    }

    pub(in crate::relay) fn time_to_first_block(&self) -> Option<Duration> {
        let waited = self.first_block.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(waited))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the request nor the blocks: they are the client's.
        f.debug_struct("Answer")
            .field("id", &self.id)
            .field("model", &self.about.model)
            .field("end", &self.end_so_far())
            .finish_non_exhaustive()
    }
}
