//! A store in this process's memory.

use std::{
    collections::{HashMap, VecDeque},
    fmt, future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use tokio::{sync::Notify, time::Instant};

use super::{
    Append, Claim, Entries, StoreError, StoreFuture, StoreTail, StreamEnd, StreamInfo, StreamKey,
    StreamStore,
};

/// How many bytes a read gives at once, but for one block that is longer.
const READ_BYTES: usize = 256 << 10;

/// How often it is looked for what is out of date, at most.
const SWEEP: Duration = Duration::from_secs(1);

/// How many streams that were removed are known: a writer of one of them asks within seconds.
const MAX_REMOVED: usize = 1024;

/// How much a store keeps, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreLimits {
    /// How long a stream is kept after what came last.
    pub retention: Duration,
    /// The bytes of one stream.
    pub stream_bytes: usize,
    /// The bytes of one client's streams. The oldest ended ones go first; where none is left, what grows is over its bound.
    pub client_bytes: usize,
    /// The same of all streams.
    pub bytes: usize,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(600),
            stream_bytes: 8 << 20,
            client_bytes: 64 << 20,
            bytes: 256 << 20,
        }
    }
}

with_fields!(StoreLimits {
    with_retention(retention: Duration),
    with_stream_bytes(stream_bytes: usize),
    with_client_bytes(client_bytes: usize),
    with_bytes(bytes: usize),
});

/// Keeps streams as long as the process lives. A clone is the same store.
#[derive(Clone)]
pub struct MemoryStore {
    limits: StoreLimits,
    state: Arc<Mutex<State>>,
    /// Told of every change, for tails.
    changed: Arc<Notify>,
}

#[derive(Clone, Default)]
struct State {
    clients: HashMap<String, Room>,
    bytes: usize,
    /// Those that ended, the oldest first; some may be gone.
    ended: VecDeque<StreamKey>,
    /// Those that somebody removed, the oldest first, and when.
    removed: VecDeque<(StreamKey, Instant)>,
    swept: Option<Instant>,
}

#[derive(Clone, Default)]
struct Room {
    streams: HashMap<String, Kept>,
    aliases: HashMap<String, String>,
    /// Those that ended, the oldest first; some may be gone.
    ended: VecDeque<String>,
    bytes: usize,
}

#[derive(Clone)]
struct Kept {
    blocks: Vec<Bytes>,
    about: Bytes,
    request: Bytes,
    aliases: Vec<String>,
    bytes: usize,
    end: Option<StreamEnd>,
    cancel: bool,
    too_large: bool,
    node: String,
    epoch: u64,
    claimed_until: Instant,
    is_released: bool,
    touched: Instant,
}

impl State {
    fn kept(&mut self, stream: &StreamKey) -> Result<&mut Kept, StoreError> {
        let room = self.clients.get_mut(&stream.client);
        let kept = room.and_then(|room| room.streams.get_mut(&stream.id));
        kept.ok_or(StoreError::Unknown)
    }

    fn remove(&mut self, stream: &StreamKey) -> Result<(), StoreError> {
        let room = self.clients.get_mut(&stream.client);
        let room = room.ok_or(StoreError::Unknown)?;
        let gone = room.streams.remove(&stream.id).ok_or(StoreError::Unknown)?;
        for alias in gone.aliases {
            // It may be that of a newer stream by now.
            if room.aliases.get(&alias) == Some(&stream.id) {
                room.aliases.remove(&alias);
            }
        }
        room.bytes -= gone.bytes;
        self.bytes -= gone.bytes;
        if room.streams.is_empty() {
            self.clients.remove(&stream.client);
        }
        Ok(())
    }

    fn add(&mut self, stream: &StreamKey, bytes: isize) {
        self.bytes = self.bytes.saturating_add_signed(bytes);
        if let Some(room) = self.clients.get_mut(&stream.client) {
            room.bytes = room.bytes.saturating_add_signed(bytes);
        }
    }

    fn client_bytes(&self, client: &str) -> usize {
        self.clients.get(client).map_or(0, |room| room.bytes)
    }

    /// Removes the oldest ended stream of this client, or of anybody.
    fn remove_oldest(&mut self, client: Option<&str>) -> bool {
        while let Some(oldest) = self.oldest(client) {
            if self.remove(&oldest).is_ok() {
                return true;
            }
        }
        false
    }

    /// Takes it out of its queue; it may be gone.
    fn oldest(&mut self, client: Option<&str>) -> Option<StreamKey> {
        let Some(client) = client else {
            return self.ended.pop_front();
        };
        let id = self.clients.get_mut(client)?.ended.pop_front()?;
        let client = client.to_owned();
        Some(StreamKey { client, id })
    }

    fn sweep(&mut self, retention: Duration) {
        let now = Instant::now();
        if self.swept.is_some_and(|swept| now < swept + SWEEP) {
            return;
        }
        self.swept = Some(now);
        let mut old = Vec::new();
        for (client, room) in &self.clients {
            for (id, kept) in &room.streams {
                if now.duration_since(kept.touched) >= retention {
                    let (client, id) = (client.clone(), id.clone());
                    old.push(StreamKey { client, id });
                }
            }
        }
        for stream in &old {
            // It was found right before.
            let _ = self.remove(stream);
        }
        for room in self.clients.values_mut() {
            let streams = &room.streams;
            room.ended.retain(|id| streams.contains_key(id));
        }
        let clients = &self.clients;
        self.ended.retain(|stream| {
            let room = clients.get(&stream.client);
            room.is_some_and(|room| room.streams.contains_key(&stream.id))
        });
        self.removed
            .retain(|(_, at)| now.duration_since(*at) < retention);
    }
}

impl MemoryStore {
    /// An empty one.
    pub fn new(limits: StoreLimits) -> Self {
        Self {
            limits,
            state: Arc::default(),
            changed: Arc::default(),
        }
    }

    /// Another store that has the same now.
    #[cfg(feature = "test-util")]
    pub(crate) fn copy(&self) -> Self {
        Self {
            limits: self.limits.clone(),
            state: Arc::new(Mutex::new(self.state().clone())),
            changed: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sweep(self.limits.retention);
        state
    }

    fn claim_now(
        &self,
        stream: &StreamKey,
        node: &str,
        epoch: u64,
        ttl: Duration,
    ) -> Result<Claim, StoreError> {
        let mut state = self.state();
        let now = Instant::now();
        let is_removed = state.removed.iter().any(|(removed, _)| removed == stream);
        match state.kept(stream) {
            Ok(kept) => {
                let is_own = kept.node == node && kept.epoch == epoch;
                if kept.end.is_some() && !is_own {
                    return Err(StoreError::Ended);
                }
                let is_free = now >= kept.claimed_until && epoch > kept.epoch;
                if !is_own && !is_free {
                    return Err(StoreError::Claimed { epoch: kept.epoch });
                }
                (kept.node, kept.epoch) = (node.to_owned(), epoch);
                kept.claimed_until = now + ttl;
                kept.is_released = ttl.is_zero();
                if kept.end.is_none() {
                    kept.touched = now;
                }
            }
            Err(_) if is_removed => return Err(StoreError::Expired),
            Err(_) => {
                let room = state.clients.entry(stream.client.clone()).or_default();
                let kept = Kept {
                    blocks: Vec::new(),
                    about: Bytes::new(),
                    request: Bytes::new(),
                    aliases: Vec::new(),
                    bytes: 0,
                    end: None,
                    cancel: false,
                    too_large: false,
                    node: node.to_owned(),
                    epoch,
                    claimed_until: now + ttl,
                    is_released: ttl.is_zero(),
                    touched: now,
                };
                room.streams.insert(stream.id.clone(), kept);
            }
        }
        Ok(Claim {
            stream: stream.clone(),
            node: node.to_owned(),
            epoch,
            ttl,
        })
    }

    fn append_now(&self, claim: &Claim, append: Append) -> Result<u64, StoreError> {
        let mut state = self.state();
        let stream = &claim.stream;
        let kept = state.kept(stream)?;
        if kept.epoch != claim.epoch || kept.node != claim.node {
            return Err(StoreError::Claimed { epoch: kept.epoch });
        }
        if kept.too_large {
            return Err(StoreError::TooLarge);
        }
        let blocks = kept.blocks.len() as u64;
        if append.expected != blocks {
            return Err(StoreError::Conflict { blocks });
        }
        if kept.end.is_some() {
            return Err(StoreError::Ended);
        }
        // What was there of it before is gone then.
        let replaced = [
            (&append.about, &kept.about),
            (&append.request, &kept.request),
        ];
        let replaced = replaced.map(|(new, old)| new.as_ref().map_or(0, |_| old.len()));
        let more = append.bytes() as isize - replaced.iter().sum::<usize>() as isize;
        let fits_alone = kept.bytes.saturating_add_signed(more) <= self.limits.stream_bytes;
        let room = usize::try_from(more).unwrap_or_default();
        if !fits_alone || !self.make_room(&mut state, &stream.client, room) {
            let kept = state.kept(stream)?;
            kept.too_large = true;
            kept.blocks = Vec::new();
            (kept.about, kept.request) = Default::default();
            let freed = std::mem::take(&mut kept.bytes);
            state.add(stream, -(freed as isize));
            self.changed.notify_waiters();
            return Err(StoreError::TooLarge);
        }
        state.add(stream, more);
        let kept = state.kept(stream)?;
        kept.bytes = kept.bytes.saturating_add_signed(more);
        kept.blocks.extend(append.blocks);
        if let Some(about) = append.about {
            kept.about = about;
        }
        if let Some(request) = append.request {
            kept.request = request;
        }
        kept.touched = Instant::now();
        kept.claimed_until = kept.touched + claim.ttl;
        kept.is_released = claim.ttl.is_zero();
        kept.end = append.end;
        let blocks = kept.blocks.len() as u64;
        for alias in &append.aliases {
            if !kept.aliases.contains(alias) {
                kept.aliases.push(alias.clone());
            }
        }
        if let Some(room) = state.clients.get_mut(&stream.client) {
            for alias in append.aliases {
                room.aliases.insert(alias, stream.id.clone());
            }
            if append.end.is_some() {
                room.ended.push_back(stream.id.clone());
            }
        }
        if append.end.is_some() {
            state.ended.push_back(stream.clone());
        }
        self.changed.notify_waiters();
        Ok(blocks)
    }

    /// Lets the oldest ended streams go until so many bytes more are within the bounds.
    fn make_room(&self, state: &mut State, client: &str, more: usize) -> bool {
        while state.client_bytes(client) + more > self.limits.client_bytes {
            if !state.remove_oldest(Some(client)) {
                return false;
            }
        }
        while state.bytes + more > self.limits.bytes {
            if !state.remove_oldest(None) {
                return false;
            }
        }
        true
    }

    fn read_now(&self, stream: &StreamKey, from: u64) -> Result<Entries, StoreError> {
        let mut state = self.state();
        let kept = state.kept(stream)?;
        if kept.too_large {
            return Err(StoreError::TooLarge);
        }
        let len = kept.blocks.len();
        let skip = usize::try_from(from.saturating_sub(1)).map_or(len, |skip| skip.min(len));
        let mut bytes = 0;
        let blocks = kept.blocks[skip..].iter().take_while(|block| {
            let fits = bytes == 0 || bytes + block.len() <= READ_BYTES;
            bytes += block.len();
            fits
        });
        let blocks: Vec<_> = blocks.cloned().collect();
        let is_last = skip + blocks.len() == len;
        Ok(Entries {
            first: skip as u64 + 1,
            end: kept.end.filter(|_| is_last),
            blocks,
        })
    }

    fn info(stream: StreamKey, kept: &Kept) -> StreamInfo {
        StreamInfo {
            stream,
            blocks: kept.blocks.len() as u64,
            end: kept.end,
            about: kept.about.clone(),
            epoch: kept.epoch,
            claimed_for: kept
                .claimed_until
                .checked_duration_since(Instant::now())
                .filter(|left| !left.is_zero()),
            is_released: kept.is_released,
        }
    }

    fn find_now(&self, client: &str, id: &str) -> Result<StreamInfo, StoreError> {
        let state = self.state();
        let room = state.clients.get(client).ok_or(StoreError::Unknown)?;
        let id = room.aliases.get(id).map_or(id, |id| id);
        let kept = room.streams.get(id).ok_or(StoreError::Unknown)?;
        let (client, id) = (client.to_owned(), id.to_owned());
        Ok(Self::info(StreamKey { client, id }, kept))
    }

    fn list_now(&self, client: &str) -> Vec<StreamInfo> {
        let state = self.state();
        let streams = state.clients.get(client).into_iter();
        let streams = streams.flat_map(|room| &room.streams);
        let infos = streams.map(|(id, kept)| {
            let (client, id) = (client.to_owned(), id.clone());
            Self::info(StreamKey { client, id }, kept)
        });
        infos.collect()
    }
}

fn done<'a, T: Send + 'a>(result: Result<T, StoreError>) -> StoreFuture<'a, T> {
    Box::pin(future::ready(result))
}

impl StreamStore for MemoryStore {
    fn claim<'a>(
        &'a self,
        stream: &'a StreamKey,
        node: &'a str,
        epoch: u64,
        ttl: Duration,
    ) -> StoreFuture<'a, Claim> {
        done(self.claim_now(stream, node, epoch, ttl))
    }

    fn append<'a>(&'a self, claim: &'a Claim, append: Append) -> StoreFuture<'a, u64> {
        done(self.append_now(claim, append))
    }

    fn read<'a>(&'a self, stream: &'a StreamKey, from: u64) -> StoreFuture<'a, Entries> {
        done(self.read_now(stream, from))
    }

    fn tail(&self, stream: &StreamKey, from: u64) -> StoreTail {
        struct Tail {
            store: MemoryStore,
            stream: StreamKey,
            from: u64,
            /// A tail that was never there is unknown, and not expired.
            was_there: bool,
            over: bool,
        }
        let tail = Tail {
            store: self.clone(),
            stream: stream.clone(),
            from: from.max(1),
            was_there: false,
            over: false,
        };
        Box::pin(stream::unfold(tail, async |mut tail| {
            if tail.over {
                return None;
            }
            let entries = loop {
                let changed = tail.store.changed.clone();
                let changed = changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                match tail.store.read_now(&tail.stream, tail.from) {
                    Err(StoreError::Unknown) if tail.was_there => break Err(StoreError::Expired),
                    Err(error) => break Err(error),
                    Ok(entries) => {
                        tail.was_there = true;
                        if entries.end.is_some() || !entries.blocks.is_empty() {
                            break Ok(entries);
                        }
                    }
                }
                changed.await;
            };
            match &entries {
                Ok(entries) => {
                    tail.from += entries.blocks.len() as u64;
                    tail.over = entries.end.is_some();
                }
                Err(_) => tail.over = true,
            }
            Some((entries, tail))
        }))
    }

    fn cancel<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, ()> {
        let cancelled = self.state().kept(stream).map(|kept| kept.cancel = true);
        self.changed.notify_waiters();
        done(cancelled)
    }

    fn cancelled<'a>(&'a self, claim: &'a Claim) -> StoreFuture<'a, ()> {
        Box::pin(async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.state().kept(&claim.stream)?.cancel {
                    return Ok(());
                }
                changed.await;
            }
        })
    }

    fn find<'a>(&'a self, client: &'a str, id: &'a str) -> StoreFuture<'a, StreamInfo> {
        done(self.find_now(client, id))
    }

    fn request<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, Bytes> {
        let request = self.state().kept(stream).map(|kept| kept.request.clone());
        done(request)
    }

    fn list<'a>(&'a self, client: &'a str) -> StoreFuture<'a, Vec<StreamInfo>> {
        done(Ok(self.list_now(client)))
    }

    fn remove<'a>(&'a self, stream: &'a StreamKey) -> StoreFuture<'a, ()> {
        let mut state = self.state();
        let removed = state.remove(stream);
        if removed.is_ok() {
            state.removed.push_back((stream.clone(), Instant::now()));
            if state.removed.len() > MAX_REMOVED {
                state.removed.pop_front();
            }
        }
        drop(state);
        self.changed.notify_waiters();
        done(removed)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("limits", &self.limits)
            .field("bytes", &self.state().bytes)
            .finish_non_exhaustive()
    }
}
