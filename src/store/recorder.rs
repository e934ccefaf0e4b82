//! Writes a stream to a store while it runs.

mod log;
mod settings;
mod shared;
mod writer;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use tokio::time::{Instant, timeout, timeout_at};

pub(super) use self::settings::{Waits, answered};
pub use self::{
    log::Begin,
    settings::{Held, RecorderSettings},
    shared::RecorderState,
};
use self::{
    log::Log,
    shared::{Shared, Told},
    writer::Writer,
};
use super::{StoreError, StreamEnd, StreamKey, StreamStore};

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
        let shared = Arc::new(Shared::new(Log::new(begin, &settings)));
        let writer = Writer::new(store, stream, node, epoch, settings.clone(), shared.clone());
        let handle = Arc::new(Handle { shared, settings });
        (Self { handle }, writer.run())
    }

    fn change(&self, change: impl FnOnce(&mut Log)) {
        let wakes = {
            let mut log = self.handle.shared.log();
            let is_awake = log.is_behind() || log.is_looked_at;
            change(&mut log);
            // Else it is awake, or will be at the next tick.
            !is_awake || log.is_urgent()
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

    /// The last blocks with the end, so that nobody sees the ones without the other.
    pub fn end_with(&self, blocks: impl IntoIterator<Item = Bytes>, end: StreamEnd) {
        self.handle.shared.say_now();
        self.change(|log| {
            log.push(blocks);
            log.end(end);
        });
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

    /// Whether the store has, or had, something of it, and not its claim alone: another node finds what was asked, or what came.
    pub fn is_there(&self) -> bool {
        self.handle.shared.log().is_there
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
