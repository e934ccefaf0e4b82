//! Answers: what becomes of a `POST`. A pump fills one, and its readers are the clients.

mod answer;
mod limits;
mod log;
mod piece;
mod reader;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tokio::time::Instant;

use self::log::Ledger;
pub(in crate::relay) use self::{
    answer::{About, Answer},
    limits::Bounds,
    log::{Batch, End, ReadError},
    piece::Piece,
    reader::Reader,
};
use super::{
    access::Client,
    block::{self, Event},
    config::RelayConfig,
    makers::{Made, Makers},
    resume::object,
    routing::Maker,
};
use crate::store::{MemoryStore, StoreLimits, StreamStore};

/// How many turns a conversation may have that goes on by ids.
const MAX_TURNS: usize = 1000;

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
    store: Arc<dyn StreamStore>,
    known: Mutex<Known>,
    makers: Makers,
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
}

/// The answers of one client.
#[derive(Default)]
struct Room {
    answers: HashMap<Arc<str>, Arc<Answer>>,
    /// The ids that servers gave them, and ours.
    aliases: HashMap<Arc<str>, Arc<str>>,
    ledger: Arc<Ledger>,
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
        Self::with(bounds, config.retention, store)
    }

    fn with(bounds: Bounds, retention: Duration, store: Arc<dyn StreamStore>) -> Self {
        Self {
            inner: Arc::new(Inner {
                bounds,
                retention,
                ledger: Arc::default(),
                store,
                known: Mutex::default(),
                makers: Makers::default(),
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
        let store = self.inner.store.clone();
        let answer = Arc::new(Answer::new(
            new_id(),
            client.clone(),
            about,
            bounds,
            store,
            ledgers,
        ));
        room.answers.insert(answer.id_shared(), answer.clone());
        known.request_bytes += answer.about().request.len();
        known.order.push_back(answer.clone());
        answer
    }

    /// The answer of this client with this id, of ours or of a server's; of the latter the newest.
    pub(in crate::relay) fn find(&self, client: &Client, id: &str) -> Option<Arc<Answer>> {
        let mut known = self.known();
        self.let_go(&mut known);
        let room = known.rooms.get(client)?;
        let id = room.aliases.get(id).map_or(id, |ours| ours);
        room.answers.get(id).cloned()
    }

    /// All answers of this client, the newest first.
    pub(in crate::relay) fn list(&self, client: &Client) -> Vec<Arc<Answer>> {
        let mut known = self.known();
        self.let_go(&mut known);
        let of_client = known.order.iter().rev();
        let of_client = of_client.filter(|answer| answer.client() == client);
        of_client.cloned().collect()
    }

    /// The id that the server gave this answer. An older answer of this client with the same one is found by ours alone.
    pub(in crate::relay) fn set_alias(&self, answer: &Answer, server_id: &str) {
        self.remember(answer, server_id);
        if let Some(room) = self.known().rooms.get_mut(answer.client())
            && room.answers.contains_key(answer.id())
        {
            room.aliases.insert(server_id.into(), answer.id_shared());
            answer.set_server_id(server_id);
        }
    }

    fn remember(&self, answer: &Answer, text: &str) {
        if let Some(maker) = answer.maker().cloned() {
            let answer_id = answer.id_shared();
            let made = Made {
                maker,
                answer: answer_id,
            };
            self.inner.makers.remember(answer.client(), text, made);
        }
    }

    /// Remembers who made the items that are done in these blocks: by their ids, and by what is sealed in them.
    pub(in crate::relay) fn remember_items(
        &self,
        answer: &Answer,
        blocks: impl Iterator<Item = Bytes>,
    ) {
        // One delivery may have all of an answer: its deltas are not read for this.
        let with_items = blocks.filter(|block| memchr::memmem::find(block, b"\"item\"").is_some());
        for block in with_items {
            let data = block::data(&block);
            let event = Event::read(&data);
            let Some(item) = event
                .item
                .filter(|_| event.kind() == "response.output_item.done")
            else {
                continue;
            };
            self.remember_item(answer, item);
        }
    }

    fn remember_item(&self, answer: &Answer, item: &RawValue) {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Item<'a> {
            #[serde(borrow)]
            id: Option<Cow<'a, str>>,
            #[serde(borrow)]
            encrypted_content: Option<Cow<'a, str>>,
        }
        let item: Item<'_> = serde_json::from_str(item.get()).unwrap_or_default();
        let texts = [item.id, item.encrypted_content];
        self.remember_texts(answer, texts.into_iter().flatten());
    }

    /// Remembers who made what these texts stand for: ids of items, and what is sealed in them.
    pub(in crate::relay) fn remember_texts<'a>(
        &self,
        answer: &Answer,
        texts: impl Iterator<Item = Cow<'a, str>>,
    ) {
        for text in texts {
            self.remember(answer, &text);
        }
    }

    /// Who gave this client an answer or an item with this id, or what is sealed so.
    pub(in crate::relay) fn maker(&self, client: &Client, text: &str) -> Option<Maker> {
        let made = self.inner.makers.find(client, text);
        made.map(|made| made.maker).or_else(|| {
            let answer = self.find(client, text)?;
            answer.maker().cloned()
        })
    }

    /// Of these items those that stand in answers which this client was given and which are stored.
    pub(in crate::relay) async fn items_by_id(
        &self,
        client: &Client,
        ids: &[&str],
    ) -> HashMap<String, Value> {
        let mut found = HashMap::new();
        for id in ids {
            if found.contains_key(*id) {
                continue;
            }
            let made = self.inner.makers.find(client, id);
            let answer = made.and_then(|made| self.find(client, &made.answer));
            let Some(answer) = answer.filter(|answer| answer.about().stored) else {
                continue;
            };
            // One that can't be read any more is as one that was never there.
            let blocks = answer.blocks().await.unwrap_or_default();
            let output = object::object_of(&answer, &blocks)["output"].take();
            let Value::Array(output) = output else {
                continue;
            };
            for item in output {
                if let Some(id) = item["id"].as_str() {
                    found.insert(id.to_owned(), item);
                }
            }
        }
        found
    }

    /// Forgets an answer. It runs on for those who read it.
    pub(in crate::relay) async fn remove(&self, answer: &Answer) {
        {
            let mut known = self.known();
            let before = known.order.len();
            known.order.retain(|other| other.id() != answer.id());
            if known.order.len() < before {
                known.forget(answer);
            }
        }
        // One that the store never had, or does not give back, is gone all the same.
        let _ = self.inner.store.remove(&answer.key()).await;
    }

    /// All items that came before a request which goes on from this answer: of each answer in the chain its input, then its output.
    /// `None` where one of them is not known, or has no end yet.
    pub(in crate::relay) async fn items(&self, client: &Client, id: &str) -> Option<Vec<Value>> {
        let mut id = id.to_owned();
        let mut turns = Vec::new();
        loop {
            let answer = self.find(client, &id)?;
            if !answer.about().stored || answer.end_so_far().is_none() || turns.len() > MAX_TURNS {
                return None;
            }
            let blocks = answer.blocks().await.ok()?;
            let mut turn = object::input_items(&answer);
            if let Some(Value::Array(output)) =
                object::object_of(&answer, &blocks).get_mut("output")
            {
                turn.append(output);
            }
            turns.push(turn);
            let request: Value = serde_json::from_slice(&answer.about().request).ok()?;
            match &request["previous_response_id"] {
                Value::String(previous) => id = previous.clone(),
                _ => break,
            }
        }
        Some(turns.into_iter().rev().flatten().collect())
    }

    /// Lets go of those whose time has passed, and of the oldest of too many, or whose requests are too long together.
    fn let_go(&self, known: &mut Known) {
        let now = Instant::now();
        let mut too_many = known.order.len().saturating_sub(self.inner.bounds.ended);
        let mut too_long = known.request_bytes.saturating_sub(self.inner.bounds.bytes);
        let recently = known.swept.is_some_and(|at| now < at + SWEEP);
        if recently && too_many == 0 && too_long == 0 {
            return;
        }
        known.swept = Some(now);
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
    }
}

impl Known {
    fn forget(&mut self, answer: &Answer) {
        self.request_bytes -= answer.about().request.len();
        if let Some(room) = self.rooms.get_mut(answer.client()) {
            room.answers.remove(answer.id());
            room.aliases.retain(|_, ours| **ours != *answer.id());
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

/// An id that nobody guesses and that never comes again: 128 random bits.
fn new_id() -> Arc<str> {
    let mut random = [0; 16];
    // It fails where the system has no randomness at all; an id that can be guessed is none.
    SystemRandom::new()
        .fill(&mut random)
        .expect("the system's randomness");
    let mut id = String::with_capacity(38);
    id.push_str("relay_");
    for byte in random {
        use fmt::Write as _;
        let _ = write!(id, "{byte:02x}");
    }
    id.into()
}
