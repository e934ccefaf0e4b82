//! One answer.

use std::{
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use smallvec::SmallVec;
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

use super::super::{access::Client, routing::Maker};
use super::{
    about::About,
    limits::Bounds,
    log::{End, Ledger, Log, ReadError},
    piece::Piece,
    reader::Reader,
    recording::Recording,
    storage::{Rescue, Storage, Way},
    told::{self, GoesOn, Told, since_1970},
};
use crate::{
    protocol::TokenUsage,
    store::{
        Append, Claim, StoreError, StreamInfo, StreamKey,
        recorder::{Begin, Recorder},
    },
    wire::Wire,
};

/// One answer: its log, and what the list shows of it. Of one that another node writes it is what that said last.
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
    goes_on: Mutex<Option<GoesOn>>,
    usage: OnceLock<TokenUsage>,
    failure: OnceLock<String>,
    storage: Arc<Storage>,
    /// The store has the whole of it, and the log lets it go.
    is_in_store: Arc<AtomicBool>,
    /// Writes it to a store that nodes share.
    recording: Option<Recording>,
    /// What the store had of it when it was looked for, if it is none of this node's.
    elsewhere: Option<(StreamInfo, Told)>,
    /// How that ended, as was read since.
    ended_there: OnceLock<End>,
}

impl Answer {
    pub(super) fn new(
        id: Arc<str>,
        client: Client,
        about: About,
        bounds: Bounds,
        storage: Arc<Storage>,
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
            goes_on: Mutex::default(),
            usage: OnceLock::new(),
            failure: OnceLock::new(),
            storage,
            is_in_store: Arc::default(),
            recording: None,
            elsewhere: None,
            ended_there: OnceLock::new(),
        }
    }

    /// Writes it to the store while it runs, where other nodes are to see it.
    pub(super) fn recorded(mut self) -> Self {
        if self.storage.is_shared && self.about.is_kept() {
            let begin = Begin {
                about: Some(self.told().written()),
                request: Some(self.about.request.clone()),
                ..Begin::default()
            };
            self.record(begin, self.storage.node.clone());
        }
        self
    }

    fn record(&mut self, begin: Begin, node: String) {
        let (store, settings) = (self.storage.store.clone(), self.storage.settings.clone());
        let recorder = Recorder::start(store, self.key(), &node, begin, settings);
        self.recording = Some(Recording::new(recorder));
    }

    /// One of another node that this one goes on with. Nobody here reads it but by the store.
    pub(super) fn taken_over(mut self, claim: &Claim, ledgers: [Arc<Ledger>; 2]) -> Self {
        let Some((info, told)) = self.elsewhere.take() else {
            return self;
        };
        self.about.detached = true;
        self.began = self.began.checked_sub(told.age()).unwrap_or(self.began);
        self.log = Arc::new(Log::new(self.log.limits().clone(), ledgers).after(info.blocks));
        let begin = Begin {
            epoch: claim.epoch,
            blocks: info.blocks,
            ..Begin::default()
        };
        self.record(begin, claim.node.clone());
        self
    }

    /// One that another node writes, or wrote, or this one before it began anew.
    pub(super) fn elsewhere(
        info: StreamInfo,
        client: Client,
        bounds: Bounds,
        storage: Arc<Storage>,
    ) -> Self {
        let told = Told::read(&info.about);
        let id = info.stream.id.as_str().into();
        let mut answer = Self::new(
            id,
            client,
            told.about(),
            bounds,
            storage,
            Default::default(),
        );
        answer.began_at = told.began_at();
        answer.attempt = told.attempt.into();
        answer.first_block = told.first_block.map_or(0, |waited| waited + 1).into();
        let set = |known: &OnceLock<String>, said: &Option<String>| {
            if let Some(said) = said {
                let _ = known.set(said.clone());
            }
        };
        set(&answer.server_id, &told.server_id);
        set(&answer.failure, &told.failure);
        answer.goes_on = Mutex::new(told.goes_on.clone());
        answer.usage = told.usage.map(OnceLock::from).unwrap_or_default();
        answer.maker = told.maker().map(OnceLock::from).unwrap_or_default();
        answer.ended_there = info.end.map(OnceLock::from).unwrap_or_default();
        answer.elsewhere = Some((info, told));
        answer
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
        self.note_first();
        let pieces = pieces.into_iter().map(Into::into);
        let Some(recording) = &self.recording else {
            return self.log.push(pieces);
        };
        if !recording.is_closed() {
            let pieces: SmallVec<[Piece; 2]> = pieces.collect();
            recording.push(&pieces);
            self.log.push(pieces);
        }
    }

    fn note_first(&self) {
        if self.first_block.load(Ordering::Relaxed) == 0 {
            let waited = self.began.elapsed().as_millis() as u64 + 1;
            self.first_block.store(waited, Ordering::Relaxed);
        }
    }

    /// The last blocks, which say how it ended. In a store that nodes share they lie before anybody reads them, unless that takes too long.
    pub(in crate::relay) fn close(
        &self,
        pieces: impl IntoIterator<Item = impl Into<Piece>>,
        end: End,
    ) {
        let pieces: Vec<Piece> = pieces.into_iter().map(Into::into).collect();
        if !pieces.is_empty() {
            self.note_first();
        }
        let Some(recording) = &self.recording else {
            self.log.push(pieces);
            return self.end_here(end);
        };
        let told = Told {
            ran: u64::try_from(self.age().as_millis()).ok(),
            ..self.told()
        };
        recording.close(told.written(), pieces, end, &self.log, &self.is_in_store);
    }

    /// The end: all blocks were pushed, the last of which says how it ended. The first end is the end.
    pub(in crate::relay) fn end(&self, end: End) {
        self.close(std::iter::empty::<Piece>(), end);
    }

    /// Whether it has one, though readers may be told of it later, or goes on elsewhere: nobody else may end it here.
    pub(in crate::relay) fn has_end(&self) -> bool {
        let is_closed = self.recording.as_ref().is_some_and(Recording::is_closed);
        is_closed || self.end_so_far().is_some() || self.log.gone().is_some()
    }

    fn end_here(&self, end: End) {
        let blocks = self.log.whole();
        let is_kept = self.about.is_kept() && !self.storage.is_shared;
        let kept = blocks.filter(|_| is_kept && self.log.is_resumable());
        // It lies in the store before anybody is told, where the store does that at once.
        let unfinished = kept
            .filter(|_| self.end_so_far().is_none())
            .and_then(|blocks| {
                let mut kept = Box::pin(self.keep(blocks, end));
                kept.as_mut().now_or_never().is_none().then_some(kept)
            });
        self.log.end(end);
        if self.is_in_store.load(Ordering::Acquire) {
            self.log.forget();
        }
        if let (Some(kept), Ok(runtime)) = (unfinished, Handle::try_current()) {
            runtime.spawn(kept);
        }
    }

    /// Brings all blocks to the store.
    fn keep(&self, blocks: Vec<Bytes>, end: End) -> impl Future<Output = ()> + Send + use<> {
        let (store, stream) = (self.storage.store.clone(), self.key());
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
            self.tell_others();
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

    /// The server that goes on with it though nobody listens, and by which id: then another node can. Until output begins it may be another.
    pub(in crate::relay) fn set_goes_on(&self, goes_on: Option<(&str, &Maker)>) {
        let goes_on = goes_on.map(|(id, maker)| GoesOn::new(id, maker));
        let before = mem::replace(&mut *self.known_to_go_on(), goes_on.clone());
        if before != goes_on {
            self.tell_others();
        }
    }

    fn known_to_go_on(&self) -> MutexGuard<'_, Option<GoesOn>> {
        self.goes_on.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Self::set_goes_on`].
    pub(in crate::relay) fn goes_on(&self) -> Option<(String, Maker)> {
        self.known_to_go_on().as_ref().map(GoesOn::parts)
    }

    pub(super) fn set_server_id(&self, server_id: &str) {
        let _ = self.server_id.set(server_id.to_owned());
        if let Some(recording) = &self.recording {
            recording.add_alias(server_id.to_owned());
            self.tell_others();
        }
    }

    /// Something was made in it that a client may bring back.
    pub(super) fn add_made(&self, text: &str) {
        if let Some(recording) = &self.recording {
            recording.add_alias(told::made(text));
        }
    }

    /// Other nodes are to know of it what is known now.
    pub(in crate::relay) fn tell_others(&self) {
        if let Some(recording) = &self.recording {
            recording.set_about(self.told().written());
        }
    }

    pub(super) fn recording(&self) -> Option<&Recording> {
        self.recording.as_ref()
    }

    /// Whether a client that comes back with its id finds it, on any node that can be asked.
    pub(in crate::relay) async fn can_be_found(&self) -> bool {
        match &self.recording {
            Some(recording) => recording.can_be_found().await,
            None => true,
        }
    }

    /// Resolves when another node has it: the pump stops, and says no end.
    pub(in crate::relay) async fn lost(&self) {
        if self.log.left().await != ReadError::Lost {
            std::future::pending::<()>().await;
        }
    }

    /// Gives it to whichever node wants to go on with it, if others can see it; readers here are to ask again.
    pub(in crate::relay) fn hand_over(&self) -> bool {
        let is_released = self.recording.as_ref().is_some_and(Recording::release);
        if is_released {
            self.leave(ReadError::HandedOn);
        }
        is_released
    }

    pub(super) fn leave(&self, why: ReadError) {
        self.log.leave(why);
    }

    pub(super) fn stop(&self) {
        self.log.cancel();
    }

    // What readers and routes do.

    /// Reads from the block behind `position` on: 0 is the first.
    #[cfg(test)]
    pub(in crate::relay) fn read(&self, position: u64) -> Reader {
        self.read_by(position, None)
    }

    /// The same by a reader that can do something for an answer whose node is gone.
    pub(in crate::relay) fn read_by(
        &self,
        position: u64,
        rescue: Option<Box<dyn Rescue>>,
    ) -> Reader {
        let way = || Way {
            storage: self.storage.clone(),
            stream: self.key(),
        };
        if self.elsewhere.is_some() {
            return Reader::following(way().follow(position + 1, rescue));
        }
        // It sits down first: the log lets nothing go of what a reader has still to read.
        let reader = Reader::new(self.log.clone(), position);
        match (self.is_in_store(), self.storage.is_shared) {
            (false, false) => reader,
            (false, true) => reader.with_way(way(), rescue),
            (true, false) => Reader::of_store(self.storage.store.tail(&self.key(), position + 1)),
            (true, true) => Reader::following(way().follow(position + 1, rescue)),
        }
    }

    /// Asks the pump to stop, wherever it is, and waits for the end, for as long.
    pub(in crate::relay) async fn cancel(
        &self,
        patience: Duration,
    ) -> Result<Option<End>, ReadError> {
        match &self.elsewhere {
            None => {
                self.log.cancel();
                let end = self.log.ended_within(patience).await;
                // Nobody here stops what went elsewhere.
                match self.log.gone() {
                    Some(why) if end.is_none() => Err(why),
                    _ => Ok(end),
                }
            }
            Some((StreamInfo { end: Some(end), .. }, _)) => Ok(Some(*end)),
            Some((info, _)) => self.cancel_there(info, patience).await,
        }
    }

    async fn cancel_there(
        &self,
        info: &StreamInfo,
        patience: Duration,
    ) -> Result<Option<End>, ReadError> {
        let store = &self.storage.store;
        let ended = async {
            store.cancel(&info.stream).await?;
            let mut tail = store.tail(&info.stream, info.blocks + 1);
            loop {
                match tail.next().await {
                    Some(entries) => {
                        if let Some(end) = entries?.end {
                            return Ok(Some(*self.ended_there.get_or_init(|| end)));
                        }
                    }
                    None => return Ok(None),
                }
            }
        };
        let ended = timeout(patience, ended).await;
        ended.unwrap_or(Ok(None))
    }

    /// How it ended; of one of another node, as far as was read.
    pub(in crate::relay) fn end_so_far(&self) -> Option<End> {
        match &self.elsewhere {
            Some(_) => self.ended_there.get().copied(),
            None => self.log.end_so_far(),
        }
    }

    pub(super) fn ended_at(&self) -> Option<Instant> {
        self.log.ended_at()
    }

    pub(super) fn forget(&self) {
        self.log.forget();
    }

    /// Whether nothing more comes here though it did not end: it goes on elsewhere.
    pub(super) fn is_gone(&self) -> bool {
        self.log.gone().is_some()
    }

    pub(super) fn is_in_store(&self) -> bool {
        self.is_in_store.load(Ordering::Acquire)
    }

    /// What the store said of it, if it is none of this node's.
    pub(in crate::relay) fn info(&self) -> Option<&StreamInfo> {
        self.elsewhere.as_ref().map(|(info, _)| info)
    }

    pub(in crate::relay) fn is_resumable(&self) -> bool {
        self.elsewhere.is_some() || self.is_in_store() || self.log.is_resumable()
    }

    /// All blocks so far, if none is gone.
    pub(in crate::relay) async fn blocks(&self) -> Result<Vec<Bytes>, ReadError> {
        if self.elsewhere.is_none() {
            if let Some(blocks) = self.log.whole().filter(|_| self.log.is_resumable()) {
                return Ok(blocks);
            }
            // The log lets it go when the store has it.
            if !self.is_in_store() {
                return Err(ReadError::NotResumable);
            }
        }
        let (stream, longest) = (self.key(), self.log.limits().stream_bytes);
        let mut blocks = Vec::new();
        loop {
            let more = self.storage.store.read(&stream, blocks.len() as u64 + 1);
            let more = self.storage.asked_for(longest, more).await?;
            let is_last = more.end.is_some() || more.blocks.is_empty();
            if let (Some(end), Some(_)) = (more.end, &self.elsewhere) {
                let _ = self.ended_there.set(end);
            }
            blocks.extend(more.blocks);
            if is_last {
                return Ok(blocks);
            }
        }
    }

    /// The body of its request.
    pub(in crate::relay) async fn request(&self) -> Result<Bytes, ReadError> {
        // Of one that was taken over it is not here either.
        let is_there = self.recording.is_some() && self.about.request.is_empty();
        if self.elsewhere.is_none() && !is_there {
            return Ok(self.about.request.clone());
        }
        let stream = self.key();
        let request = self.storage.store.request(&stream);
        let longest = self.log.limits().stream_bytes;
        Ok(self.storage.asked_for(longest, request).await?)
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
        self.info()
            .map_or_else(|| self.log.len(), |info| info.blocks)
    }

    /// How many read it here.
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
        if let Some((_, told)) = &self.elsewhere {
            return told.age();
        }
        let until = self.ended_at().unwrap_or_else(Instant::now);
        until - self.began
    }

    pub(in crate::relay) fn time_to_first_block(&self) -> Option<Duration> {
        let waited = self.first_block.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(waited))
    }
}

impl Answer {
    /// What other nodes are to know of it.
    fn told(&self) -> Told {
        Told {
            is_chat: self.about.wire == Wire::Chat,
            model: self.about.model.clone(),
            provider: self.provider().to_owned(),
            key: self.maker().map(|maker| maker.key),
            attempt: self.attempt(),
            detached: self.about.detached,
            stored: self.about.stored,
            background: self.about.background,
            began_at: since_1970(self.began_at),
            first_block: self
                .time_to_first_block()
                .map(|time| time.as_millis() as u64),
            ran: None,
            server_id: self.server_id.get().cloned(),
            goes_on: self.known_to_go_on().clone(),
            usage: self.usage.get().copied(),
            failure: self.failure.get().cloned(),
        }
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
