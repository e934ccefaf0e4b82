//! For how long and how much, of writers and readers.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout};

use crate::store::{StoreError, StoreFuture, time_to_send};

/// How a stream is written to a store that others read, and followed there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecorderSettings {
    /// For how long a claim holds without a renewal, which comes after a third of it. A reader elsewhere waits for a writer that is gone for this
    /// time and a quarter of it: ten seconds. A process that hangs for shorter keeps its streams.
    pub ttl: Duration,
    /// What comes within it is written at once: of two readers the one elsewhere sees it so much later.
    pub gather: Duration,
    /// Since when `gather` is counted: streams that have the same are written at the same moments, for one write to the store's socket.
    pub ticks_from: Instant,
    /// For how long an end waits for the store.
    pub hold_end: Duration,
    /// The bytes of one stream that are kept to write again what the store lost, and while it is away. One of which the
    /// store misses more blocks than that is given up.
    pub missing_bytes: usize,
    /// The same of all that have this one.
    pub held: Arc<Held>,
    /// After so long it is looked whether the store still has the end: stores write to their disk once a second.
    pub linger: Duration,
    /// For how long a reader waits for a store that is away.
    pub patience: Duration,
}

impl Default for RecorderSettings {
    fn default() -> Self {
        static FIRST: OnceLock<(Instant, Arc<Held>)> = OnceLock::new();
        let (ticks_from, held) = FIRST.get_or_init(|| (Instant::now(), Arc::default()));
        Self {
            ttl: Duration::from_secs(8),
            gather: Duration::from_millis(20),
            ticks_from: *ticks_from,
            hold_end: Duration::from_millis(100),
            missing_bytes: 8 << 20,
            held: held.clone(),
            linger: Duration::from_secs(2),
            patience: Duration::from_secs(30),
        }
    }
}

with_fields!(RecorderSettings {
    with_ttl(ttl: Duration),
    with_gather(gather: Duration),
    with_ticks_from(ticks_from: Instant),
    with_hold_end(hold_end: Duration),
    with_missing_bytes(missing_bytes: usize),
    with_held(held: Arc<Held>),
    with_linger(linger: Duration),
    with_patience(patience: Duration),
});

impl RecorderSettings {
    /// For how long a claim must have been free before a reader takes it. A writer whose store was away for long has this time to come back: it is
    /// above the longest wait between two of its tries, with the one of the store's own before it connects again.
    pub(in crate::store) fn grace(&self) -> Duration {
        self.ttl / 4
    }

    /// The longest wait between two tries of a writer or a reader.
    fn longest_wait(&self) -> Duration {
        self.ttl / 8
    }

    /// A command of so many bytes that the store has not answered by then is taken for lost.
    pub(super) fn answer_within(&self, bytes: usize) -> Duration {
        self.ttl / 8 + time_to_send(bytes)
    }
}

/// Longer and longer waits while the store does not answer.
#[derive(Debug)]
pub(in crate::store) struct Waits {
    next: Duration,
    longest: Duration,
}

/// The first of them: a store that only lost a connection is back by then.
const FIRST_WAIT: Duration = Duration::from_millis(25);

impl Waits {
    pub(in crate::store) fn new(settings: &RecorderSettings) -> Self {
        Self {
            next: FIRST_WAIT,
            longest: settings.longest_wait(),
        }
    }

    pub(in crate::store) fn next(&mut self) -> Duration {
        let wait = self.next.min(self.longest);
        self.next = wait * 2;
        wait
    }

    pub(in crate::store) fn reset(&mut self) {
        self.next = FIRST_WAIT;
    }
}

/// A store that does not answer in time is one that can not be reached.
pub(in crate::store) async fn answered<T>(
    settings: &RecorderSettings,
    answer: StoreFuture<'_, T>,
) -> Result<T, StoreError> {
    let answer = timeout(settings.answer_within(0), answer).await;
    answer.unwrap_or_else(|_| Err(no_answer()))
}

pub(super) fn no_answer() -> StoreError {
    StoreError::Unavailable("no answer in time".to_owned())
}

/// The bytes that all recorders of a process keep for the store.
#[derive(Debug)]
pub struct Held {
    bytes: AtomicUsize,
    missing: AtomicUsize,
    limit: usize,
}

/// What one recorder keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) bytes: usize,
    /// Of them, those that the store does not have.
    pub(super) missing: usize,
}

impl Held {
    /// With this limit: of what the store does not have, and of what it has, each. Who comes over the first is given up. Of what the store has
    /// nobody keeps anything for what it may lose while all together are over the limit.
    pub fn new(limit: usize) -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            missing: AtomicUsize::new(0),
            limit,
        }
    }

    /// How many they are.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// One keeps more or less than it did.
    pub(super) fn change(&self, before: Load, after: Load) {
        let change = |all: &AtomicUsize, before: usize, after: usize| {
            // All recorders add here: what is the same is left alone. What is added wraps around where it is less.
            if after != before {
                all.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
            }
        };
        change(&self.bytes, before.bytes, after.bytes);
        change(&self.missing, before.missing, after.missing);
    }

    pub(super) fn is_over(&self) -> bool {
        self.bytes() > self.limit
    }

    pub(super) fn misses_too_much(&self) -> bool {
        self.missing.load(Ordering::Relaxed) > self.limit
    }
}

impl Default for Held {
    /// Some hundreds of answers of usual length, twice: a store may be away for minutes.
    fn default() -> Self {
        Self::new(128 << 20)
    }
}
