//! Writes a stream to a store while it runs.

mod log;
mod writer;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout, timeout_at},
};

pub use self::log::Held;
use self::{log::Log, writer::Writer};
use super::{StoreError, StoreFuture, StreamEnd, StreamKey, StreamStore};

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
    /// The bytes of one stream that are kept to write again what the store lost, and while it is away. One that misses more is given up.
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
    /// above the longest wait between two of its tries.
    pub(super) fn grace(&self) -> Duration {
        self.ttl / 4
    }

    /// The longest wait between two tries of a writer or a reader.
    fn longest_wait(&self) -> Duration {
        self.ttl / 8
    }

    /// A command that the store has not answered by then is taken for lost.
    fn answer_within(&self) -> Duration {
        self.ttl / 8
    }
}

/// Longer and longer waits while the store does not answer.
#[derive(Debug)]
pub(super) struct Waits {
    next: Duration,
    longest: Duration,
}

/// The first of them: a store that only lost a connection is back by then.
const FIRST_WAIT: Duration = Duration::from_millis(25);

impl Waits {
    pub(super) fn new(settings: &RecorderSettings) -> Self {
        Self {
            next: FIRST_WAIT,
            longest: settings.longest_wait(),
        }
    }

    pub(super) fn next(&mut self) -> Duration {
        let wait = self.next.min(self.longest);
        self.next = wait * 2;
        wait
    }

    pub(super) fn reset(&mut self) {
        self.next = FIRST_WAIT;
    }
}

/// A store that does not answer in time is one that can not be reached.
pub(super) async fn answered<T>(
    settings: &RecorderSettings,
    answer: StoreFuture<'_, T>,
) -> Result<T, StoreError> {
    let answer = timeout(settings.answer_within(), answer).await;
    answer.unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".to_owned())))
}

/// What a writer begins with.
#[derive(Clone, Debug)]
pub struct Begin {
    /// Of its claim: 1 for a new stream. One that was taken over has that of [`Followed::Orphan`](super::follow::Followed::Orphan).
    pub epoch: u64,
    /// How many blocks are there already, by others.
    pub blocks: u64,
    /// [`Append::about`](super::Append::about), if there is something to say.
    pub about: Option<Bytes>,
    /// [`Append::request`](super::Append::request), if it is not there.
    pub request: Option<Bytes>,
    /// [`Append::aliases`](super::Append::aliases).
    pub aliases: Vec<String>,
}

impl Default for Begin {
    fn default() -> Self {
        Self {
            epoch: 1,
            blocks: 0,
            about: None,
            request: None,
            aliases: Vec::new(),
        }
    }
}

/// How a writer fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecorderState {
    /// The store has not answered yet.
    Claiming,
    /// The store has all, or will within a moment.
    Storing,
    /// The store has not answered since then. All is kept, and written when it does.
    Behind(Instant),
    /// The store has the end.
    Done,
    /// The claim is given back: another node may take it.
    Released,
    /// Another node has the claim: it writes what follows.
    Lost,
    /// It is not recorded, or not any longer; nobody else writes it. [`StoreError::Expired`]: somebody removed it, or the store lost what is not
    /// here any more either. [`StoreError::TooLarge`]: also for what was missing in the store for too long.
    GivenUp(StoreError),
}

impl RecorderState {
    /// Whether nothing more is written.
    pub fn is_over(&self) -> bool {
        !matches!(self, Self::Claiming | Self::Storing | Self::Behind(_))
    }
}

/// The writer of one stream, in a task of its own. A clone is the same. When the last one goes without an end, the claim is released, so that nobody
/// has to wait for it.
#[derive(Clone)]
pub struct Recorder {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    settings: RecorderSettings,
}

/// What the handles and the task have in common.
struct Shared {
    log: Mutex<Log>,
    /// There is something to do for the task.
    work: Notify,
    told: watch::Sender<Told>,
}

#[derive(Clone)]
struct Told {
    state: RecorderState,
    is_cancelled: bool,
    /// When the end was said, or the release.
    said_at: Option<Instant>,
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, state: RecorderState) {
        self.told.send_if_modified(|told| {
            let is_new = told.state != state && !told.state.is_over();
            if is_new {
                told.state = state;
            }
            is_new
        });
    }

    /// The store does not answer.
    fn is_behind(&self) {
        if !matches!(self.told.borrow().state, RecorderState::Behind(_)) {
            self.tell(RecorderState::Behind(Instant::now()));
        }
    }

    fn say_now(&self) {
        self.told.send_if_modified(|told| {
            let is_first = told.said_at.is_none();
            told.said_at.get_or_insert_with(Instant::now);
            is_first
        });
    }
}

impl Recorder {
    /// Begins, within a runtime of tokio. `node` names this process, and no other nor an earlier one: who has the same name and epoch is the same
    /// writer. Of a stream that was taken over it is the name in the claim.
    pub fn start(
        store: Arc<dyn StreamStore>,
        stream: StreamKey,
        node: &str,
        begin: Begin,
        settings: RecorderSettings,
    ) -> Self {
        let (recorder, task) = Self::new(store, stream, node, begin, settings);
        tokio::spawn(task);
        recorder
    }

    /// The same, and the task for the caller to run.
    pub fn new(
        store: Arc<dyn StreamStore>,
        stream: StreamKey,
        node: &str,
        begin: Begin,
        settings: RecorderSettings,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let epoch = begin.epoch;
        let told = Told {
            state: RecorderState::Claiming,
            is_cancelled: false,
            said_at: None,
        };
        let shared = Arc::new(Shared {
            log: Mutex::new(Log::new(begin, &settings)),
            work: Notify::new(),
            told: watch::Sender::new(told),
        });
        let writer = Writer::new(store, stream, node, epoch, settings.clone(), shared.clone());
        let handle = Arc::new(Handle { shared, settings });
        (Self { handle }, writer.run())
    }

    fn change(&self, change: impl FnOnce(&mut Log)) {
        let wakes = {
            let mut log = self.handle.shared.log();
            let was_behind = log.is_behind();
            change(&mut log);
            // Else it is awake, or will be at the next tick.
            !was_behind || log.is_urgent()
        };
        if wakes {
            self.handle.shared.work.notify_one();
        }
    }

    /// Blocks that follow. After an end, or a release, they are nothing.
    pub fn push(&self, blocks: impl IntoIterator<Item = Bytes>) {
        self.change(|log| log.push(blocks));
    }

    /// What is to be known of the stream beside its blocks, instead of what was.
    pub fn set_about(&self, about: Bytes) {
        self.change(|log| log.set_about(about));
    }

    /// Another id by which its client finds it.
    pub fn add_alias(&self, alias: String) {
        self.change(|log| log.add_alias(alias));
    }

    /// The end: all blocks were pushed. The first one is the end.
    pub fn end(&self, end: StreamEnd) {
        self.handle.shared.say_now();
        self.change(|log| log.end(end));
    }

    /// Hands the stream over: what was pushed is written, then the claim given back. [`ended`](Self::ended) waits for it.
    pub fn release(&self) {
        self.handle.shared.say_now();
        self.change(Log::release);
    }

    /// Resolves when the store has taken the claim: it can be found. An error is why not, or not yet, when it has failed once or has not answered for
    /// `hold_end`; it goes on all the same, but for [`RecorderState::GivenUp`].
    pub async fn claimed(&self) -> Result<(), StoreError> {
        let answered = self.until(|told| told.state != RecorderState::Claiming);
        let silent = || StoreError::Unavailable("no answer in time".to_owned());
        let answered = timeout(self.handle.settings.hold_end, answered).await;
        answered.map_err(|_| silent())?;
        match self.state() {
            RecorderState::GivenUp(error) => Err(error),
            RecorderState::Behind(_) => Err(silent()),
            _ => Ok(()),
        }
    }

    /// Resolves when the store has the end or the release, when it never will, or when `hold_end` has passed since it was said: nobody waits for
    /// longer.
    pub async fn ended(&self) -> RecorderState {
        self.until(|told| told.state.is_over() || told.said_at.is_some())
            .await;
        let said_at = self.handle.shared.told.borrow().said_at;
        let deadline = said_at.unwrap_or_else(Instant::now) + self.handle.settings.hold_end;
        // Where the time is over, that is the answer.
        let _ = timeout_at(deadline, self.finished()).await;
        self.state()
    }

    /// Resolves when nothing more is written: the same without a bound of time.
    pub fn finished(&self) -> impl Future<Output = ()> + Send + use<> {
        self.until(|told| told.state.is_over())
    }

    /// Resolves when another node has the claim, and only then.
    pub fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        self.until(|told| told.state == RecorderState::Lost)
    }

    /// Resolves when somebody asks the writer to stop, and only then.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + use<> {
        self.until(|told| told.is_cancelled)
    }

    /// It holds no handle: who waits does not keep the recorder alive.
    fn until<F>(&self, holds: F) -> impl Future<Output = ()> + Send + use<F>
    where
        F: FnMut(&Told) -> bool + Send,
    {
        let mut told = self.handle.shared.told.subscribe();
        async move {
            if told.wait_for(holds).await.is_err() {
                // All is gone, and it never came.
                std::future::pending::<()>().await;
            }
        }
    }

    /// How it fares.
    pub fn state(&self) -> RecorderState {
        self.handle.shared.told.borrow().state.clone()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.log().release();
        self.shared.work.notify_one();
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
