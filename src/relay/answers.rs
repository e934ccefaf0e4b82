//! Answers: what becomes of a `POST`. A pump fills one, and its readers are the clients.

mod about;
mod answer;
mod items;
mod limits;
mod list;
mod listing;
mod log;
mod piece;
mod reader;
mod recording;
mod storage;
#[cfg(test)]
mod tests;
mod told;
mod watching;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_core::Stream;
use tokio::time::Instant;

pub(in crate::relay) use self::{
    about::About,
    answer::Answer,
    items::MAX_REFERENCES,
    limits::Bounds,
    log::{Batch, End, ReadError},
    piece::Piece,
    reader::Reader,
    storage::Rescue,
};
use self::{
    list::Lists,
    log::Ledger,
    storage::{Storage, random_digits},
};
use super::{access::Client, config::RelayConfig, makers::Makers};
use crate::store::{
    Claim, MemoryStore, StoreError, StoreLimits, StreamInfo, StreamKey, StreamStore,
    follow::Followed,
};

/// How often it is looked for answers whose time has passed, at most.
const SWEEP: Duration = Duration::from_secs(1);

/// The answers of a relay: those that run, and those that ended a while ago. A clone is the same.
#[derive(Clone)]
pub(in crate::relay) struct Answers {
    inner: Arc<Inner>,
}

struct Inner {
    bounds: Bounds,
    retention: Duration,
    ledger: Arc<Ledger>,
    storage: Arc<Storage>,
    known: Mutex<Known>,
    makers: Makers,
    lists: Lists,
}

#[derive(Default)]
struct Known {
    rooms: HashMap<Client, Room>,
    /// All that are known, the oldest first.
    order: VecDeque<Arc<Answer>>,
    /// The bytes of their requests.
    request_bytes: usize,
    /// When it was last looked for those whose time has passed.
    swept: Option<Instant>,
    /// Up to how many answers, and bytes of requests, nothing has to go before the next look.
    room: (usize, usize),
}

/// The answers of one client.
#[derive(Default)]
struct Room {
    answers: HashMap<Arc<str>, Named>,
    /// The ids that servers gave them, and ours.
    aliases: HashMap<Arc<str>, Arc<str>>,
    ledger: Arc<Ledger>,
}

/// An answer, and the ids that servers gave it.
struct Named {
    answer: Arc<Answer>,
    aliases: Vec<Arc<str>>,
}

impl Answers {
    pub(in crate::relay) fn new(config: &RelayConfig) -> Self {
        let bounds = Bounds::of(config);
        let store = config.store.clone().unwrap_or_else(|| {
            let limits = StoreLimits::default()
                .with_retention(config.retention)
                .with_stream_bytes(bounds.stream_bytes)
                .with_client_bytes(bounds.client_bytes)
                .with_bytes(bounds.bytes);
            Arc::new(MemoryStore::new(limits))
        });
        Self::with(bounds, config, store)
    }

    fn with(bounds: Bounds, config: &RelayConfig, store: Arc<dyn StreamStore>) -> Self {
        Self {
            inner: Arc::new(Inner {
                bounds,
                retention: config.retention,
                ledger: Arc::default(),
                storage: Arc::new(Storage::new(store, config)),
                known: Mutex::default(),
                makers: Makers::default(),
                lists: Lists::default(),
            }),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.inner
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A new answer for this client. It has no reader yet, and is not deserted before it had one.
    pub(in crate::relay) fn begin(&self, client: &Client, about: About) -> Arc<Answer> {
        let mut known = self.known();
        self.let_go(&mut known);
        let room = known.rooms.entry(client.clone()).or_default();
        let ledgers = [room.ledger.clone(), self.inner.ledger.clone()];
        let bounds = self.inner.bounds.clone();
        let storage = self.inner.storage.clone();
        let answer = Arc::new(
            Answer::new(new_id(), client.clone(), about, bounds, storage, ledgers).recorded(),
        );
        let named = Named {
            answer: answer.clone(),
            aliases: Vec::new(),
        };
        room.answers.insert(answer.id_shared(), named);
        known.request_bytes += answer.about().request.len();
        known.order.push_back(answer.clone());
        drop(known);
        self.watch(&answer);
        answer
    }

    /// Goes on with an answer that its node has left, by the claim to it. It is found in the store, and not here.
    pub(in crate::relay) fn take_over(
        &self,
        client: &Client,
        claim: &Claim,
        info: StreamInfo,
    ) -> Arc<Answer> {
        let (bounds, storage) = (self.inner.bounds.clone(), self.inner.storage.clone());
        let ledgers = [Arc::default(), self.inner.ledger.clone()];
        let answer = Answer::elsewhere(info, client.clone(), bounds, storage);
        let answer = Arc::new(answer.taken_over(claim, ledgers));
        self.watch(&answer);
        answer
    }

    pub(in crate::relay) fn store(&self) -> &Arc<dyn StreamStore> {
        &self.inner.storage.store
    }

    /// Reads a stream of the store that may be written anywhere, from the block with this number on.
    pub(in crate::relay) fn follow(
        &self,
        stream: &StreamKey,
        from: u64,
    ) -> impl Stream<Item = Result<Followed, StoreError>> + Send + 'static {
        self.inner.storage.follow(stream.clone(), from)
    }

    /// Whether a store that nodes share answers, and takes new streams.
    pub(in crate::relay) async fn check(&self) -> Result<(), StoreError> {
        let storage = &self.inner.storage;
        match storage.is_shared {
            true => storage.asked(storage.store.check()).await,
            false => Ok(()),
        }
    }

    /// Whether the store says anything of an answer, be it that there is none: short questions it can answer.
    pub(in crate::relay) async fn knows(&self, answer: &Answer) -> bool {
        let (storage, stream) = (&self.inner.storage, answer.key());
        let found = storage.store.find(&stream.client, &stream.id);
        !matches!(storage.asked(found).await, Err(StoreError::Unavailable(_)))
    }

    /// Whether the store has all that it was to have, after so long at the latest.
    pub(in crate::relay) async fn written_within(&self, time: Duration) -> bool {
        self.inner.storage.written_within(time).await
    }

    /// The answer of this client with this id, of ours or of a server's; of the latter the newest. It may be one of another node's.
    pub(in crate::relay) async fn find(
        &self,
        client: &Client,
        id: &str,
    ) -> Result<Option<Arc<Answer>>, ReadError> {
        let here = self.find_here(client, id);
        let storage = &self.inner.storage;
        let is_whole = |answer: &Arc<Answer>| !answer.is_in_store() && !answer.is_gone();
        let is_here = here.as_ref().is_some_and(is_whole);
        if is_here || !storage.is_shared {
            return Ok(here);
        }
        let client_there = client.in_store();
        match storage.find(&client_there, id).await {
            Ok(info) => Ok(Some(match here {
                // A store may have gone back behind the end that it had: then it is no node's.
                Some(here)
                    if here.id() == info.stream.id && info.end.is_some() && !here.is_gone() =>
                {
                    here
                }
                _ => self.elsewhere(client, info),
            })),
            Err(StoreError::Unknown) => {
                // Another node deleted it.
                if let Some(gone) = here {
                    self.forget(&gone);
                }
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn find_here(&self, client: &Client, id: &str) -> Option<Arc<Answer>> {
        let mut known = self.known();
        self.let_go(&mut known);
        let room = known.rooms.get(client)?;
        let id = room.aliases.get(id).map_or(id, |ours| ours);
        room.answers.get(id).map(|named| named.answer.clone())
    }

    /// One that this node does not write. Nobody keeps it but whom it is given to.
    fn elsewhere(&self, client: &Client, info: StreamInfo) -> Arc<Answer> {
        let (bounds, storage) = (self.inner.bounds.clone(), self.inner.storage.clone());
        Arc::new(Answer::elsewhere(info, client.clone(), bounds, storage))
    }

    /// Those of this client that are here, the newest first.
    fn list_here(&self, client: &Client) -> Vec<Arc<Answer>> {
        let mut known = self.known();
        self.let_go(&mut known);
        let of_client = known.order.iter().rev();
        // What went to another node is there.
        let of_client = of_client.filter(|answer| answer.client() == client && !answer.is_gone());
        of_client.cloned().collect()
    }

    /// The id that the server gave this answer. An older answer of this client with the same one is found by ours alone.
    pub(in crate::relay) fn set_alias(&self, answer: &Answer, server_id: &str) {
        self.remember(answer, server_id);
        if let Some(room) = self.known().rooms.get_mut(answer.client())
            && let Some(named) = room.answers.get_mut(answer.id())
        {
            let alias: Arc<str> = server_id.into();
            if !named.aliases.contains(&alias) {
                named.aliases.push(alias.clone());
            }
            room.aliases.insert(alias, answer.id_shared());
            answer.set_server_id(server_id);
        }
    }

    /// Forgets an answer, here and in the store. It runs on for those who read it here; readers at other nodes are told that it expired.
    pub(in crate::relay) async fn remove(&self, answer: &Answer) -> Result<(), ReadError> {
        self.forget(answer);
        let storage = &self.inner.storage;
        match storage.asked(storage.store.remove(&answer.key())).await {
            Err(StoreError::Unavailable(_)) if storage.is_shared => Err(ReadError::Unavailable),
            // One that the store never had is gone all the same.
            _ => Ok(()),
        }
    }

    fn forget(&self, answer: &Answer) {
        let mut known = self.known();
        let before = known.order.len();
        known.order.retain(|other| other.id() != answer.id());
        if known.order.len() < before {
            known.forget(answer);
        }
    }

    /// Lets go of those whose time has passed, and of the oldest of too many, or whose requests are too long together: an eighth more than
    /// has to go, so that most requests look through none. Those that run may be more than that; then it is looked again when they are an
    /// eighth more, or a moment has passed.
    fn let_go(&self, known: &mut Known) {
        let now = Instant::now();
        let bounds = &self.inner.bounds;
        let recently = known.swept.is_some_and(|at| now < at + SWEEP);
        let (many, long) = known.room;
        let has_room = known.order.len() <= many && known.request_bytes <= long;
        if recently && has_room {
            return;
        }
        known.swept = Some(now);
        let over = |is: usize, most: usize| match is > most {
            true => is - (most - most / 8),
            false => 0,
        };
        let mut too_many = over(known.order.len(), bounds.ended);
        let mut too_long = over(known.request_bytes, bounds.bytes);
        let passed = |answer: &Answer| {
            let time = if answer.about().is_kept() {
                self.inner.retention
            } else {
                self.inner.bounds.unstored
            };
            answer.ended_at().map(|ended| now >= ended + time)
        };
        let mut gone = Vec::new();
        known.order.retain(|answer| {
            // One that runs stays.
            let goes = passed(answer).is_some_and(|passed| passed || too_many > 0 || too_long > 0);
            if goes {
                too_long = too_long.saturating_sub(answer.about().request.len());
                too_many = too_many.saturating_sub(1);
                gone.push(answer.clone());
            }
            !goes
        });
        for answer in gone {
            known.forget(&answer);
        }
        let room = |left: usize, most: usize| match left > most {
            true => left + left / 8,
            false => most,
        };
        known.room = (
            room(known.order.len(), bounds.ended),
            room(known.request_bytes, bounds.bytes),
        );
    }
}

impl Known {
    fn forget(&mut self, answer: &Answer) {
        self.request_bytes -= answer.about().request.len();
        if let Some(room) = self.rooms.get_mut(answer.client()) {
            let gone = room.answers.remove(answer.id());
            for alias in gone.map(|named| named.aliases).unwrap_or_default() {
                // It may be that of a newer answer by now.
                if room
                    .aliases
                    .get(&alias)
                    .is_some_and(|ours| **ours == *answer.id())
                {
                    room.aliases.remove(&alias);
                }
            }
            if room.answers.is_empty() {
                self.rooms.remove(answer.client());
            }
        }
        answer.forget();
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers = self.known().order.len();
        f.debug_struct("Answers")
            .field("answers", &answers)
            .finish()
    }
}

/// An id that nobody guesses and that never comes again.
fn new_id() -> Arc<str> {
    format!("relay_{}", random_digits()).into()
}
