//! Reads a stream that another node writes, and notices when that node is gone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_core::Stream;
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    Claim, Entries, StoreError, StoreTail, StreamInfo, StreamKey, StreamStore,
    recorder::{RecorderSettings, Waits, answered},
};

/// A stream that has no writer is seen so soon by who begins to read it.
const FIRST_LOOK: Duration = Duration::from_millis(200);

/// What comes to a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Entries that follow on what came before, each once. The end comes with the last ones, and nothing behind it.
    Entries(Entries),
    /// Its writer is gone, and we are it now: somebody has to go on with the stream or to end it, by this claim, before its time is over. The reader
    /// reads on, and gets what is written.
    Orphan {
        /// Its node is a name for this take-over alone: no two readers of one process are the same writer.
        claim: Claim,
        /// As it was left. Nothing was written since.
        info: StreamInfo,
    },
}

/// Reads from the block with this number on, until the end or an error, which is the last item. A store that is away is waited for,
/// [`RecorderSettings::patience`]; a stream that it lost, until its writer would have written it again.
///
/// A reader may have more than the store: of a writer that lost its claim before it was stored. Where the stream ends before what it has, it gets
/// the last block all the same, which says how it ended.
pub fn follow(
    store: Arc<dyn StreamStore>,
    stream: StreamKey,
    from: u64,
    node: &str,
    settings: RecorderSettings,
) -> impl Stream<Item = Result<Followed, StoreError>> + Send + 'static {
    follow_on(store, stream, from, false, node, settings)
}

/// The same for a reader that read at the writer itself, which lost its claim, and surely did not get the end there.
pub fn follow_lost(
    store: Arc<dyn StreamStore>,
    stream: StreamKey,
    from: u64,
    node: &str,
    settings: RecorderSettings,
) -> impl Stream<Item = Result<Followed, StoreError>> + Send + 'static {
    follow_on(store, stream, from, true, node, settings)
}

fn follow_on(
    store: Arc<dyn StreamStore>,
    stream: StreamKey,
    from: u64,
    lacks_end: bool,
    node: &str,
    settings: RecorderSettings,
) -> impl Stream<Item = Result<Followed, StoreError>> + Send + 'static {
    static TAKE_OVERS: AtomicU64 = AtomicU64::new(0);
    let number = TAKE_OVERS.fetch_add(1, Ordering::Relaxed);
    let follower = Follower {
        node: format!("{node}/{number}"),
        next: from.max(1),
        lacks_end,
        tail: None,
        was_there: false,
        look_at: Instant::now() + FIRST_LOOK,
        free_since: None,
        tried: None,
        silent_since: None,
        missing_since: None,
        waits: Waits::new(&settings),
        is_over: false,
        store,
        stream,
        settings,
    };
    stream::unfold(follower, async |mut follower| {
        if follower.is_over {
            return None;
        }
        let followed = follower.next().await;
        follower.is_over = match &followed {
            Ok(Followed::Entries(entries)) => entries.end.is_some(),
            Ok(Followed::Orphan { .. }) => false,
            Err(_) => true,
        };
        Some((followed, follower))
    })
}

struct Follower {
    store: Arc<dyn StreamStore>,
    stream: StreamKey,
    node: String,
    settings: RecorderSettings,
    /// The number of the block that comes next.
    next: u64,
    /// What it has is no end, whatever its number.
    lacks_end: bool,
    tail: Option<StoreTail>,
    was_there: bool,
    /// When it is looked whether it has a writer, if nothing comes.
    look_at: Instant,
    /// Since when it was seen to have none.
    free_since: Option<Instant>,
    /// The epoch of a claim whose answer was lost, or of which it is not known what it holds.
    tried: Option<u64>,
    /// Since when the store does not answer.
    silent_since: Option<Instant>,
    /// Since when it answers, and does not have the stream.
    missing_since: Option<Instant>,
    waits: Waits,
    is_over: bool,
}

impl Follower {
    async fn next(&mut self) -> Result<Followed, StoreError> {
        loop {
            let tail = self
                .tail
                .get_or_insert_with(|| self.store.tail(&self.stream, self.next));
            let failed = tokio::select! {
                biased;
                entries = tail.next() => match entries {
                    Some(Ok(entries)) => match self.take(entries).await {
                        Ok(Some(entries)) => return Ok(Followed::Entries(entries)),
                        Ok(None) => continue,
                        Err(error) => error,
                    },
                    Some(Err(error)) => error,
                    None => StoreError::Unavailable("it stopped reading".to_owned()),
                },
                () = sleep_until(self.look_at) => match self.look().await {
                    Ok(Some(orphan)) => return Ok(orphan),
                    Ok(None) => continue,
                    Err(error) => error,
                },
            };
            self.failed(failed).await?;
        }
    }

    /// What of these entries is new.
    async fn take(&mut self, mut entries: Entries) -> Result<Option<Entries>, StoreError> {
        self.is_there();
        self.look_later();
        if entries.first > self.next {
            // Not what was asked for: once more.
            self.tail = None;
            return Ok(None);
        }
        let has = self.next - 1;
        let known = (self.next - entries.first) as usize;
        let last = entries.first - 1 + entries.blocks.len() as u64;
        if entries.end.is_some() && (last < has || (self.lacks_end && last == has)) {
            let ends = answered(&self.settings, self.store.read(&self.stream, last));
            let ends = if last == 0 {
                Entries::default()
            } else {
                ends.await?
            };
            entries.first = last;
            entries.blocks = ends.blocks;
            return Ok(Some(entries));
        }
        entries.blocks.drain(..known.min(entries.blocks.len()));
        entries.first = self.next;
        self.next = self.next.max(last + 1);
        let is_new = !entries.blocks.is_empty() || entries.end.is_some();
        Ok(is_new.then_some(entries))
    }

    fn is_there(&mut self) {
        self.was_there = true;
        (self.silent_since, self.missing_since) = (None, None);
        self.waits.reset();
    }

    fn look_later(&mut self) {
        self.look_at = Instant::now() + self.settings.ttl / 4;
        self.free_since = None;
    }

    /// Looks whether it has a writer, and becomes it when it had none for a while, or that one gave it away.
    async fn look(&mut self) -> Result<Option<Followed>, StoreError> {
        let info = find(&*self.store, &self.stream, &self.settings).await?;
        let now = Instant::now();
        self.is_there();
        let is_ours = self.tried == Some(info.epoch);
        if info.end.is_some() || (info.claimed_for.is_some() && !is_ours) {
            self.look_later();
            if let Some(left) = info.claimed_for.filter(|_| info.end.is_none()) {
                self.look_at = self.look_at.min(now + left);
            }
            return Ok(None);
        }
        let free_since = *self.free_since.get_or_insert(now);
        let free_for = free_since + self.settings.grace();
        if now < free_for && !is_ours && !info.is_released {
            self.look_at = free_for;
            return Ok(None);
        }
        let epoch = if is_ours { info.epoch } else { info.epoch + 1 };
        self.tried = Some(epoch);
        let ttl = self.settings.ttl;
        let claimed = self.store.claim(&self.stream, &self.node, epoch, ttl);
        match answered(&self.settings, claimed).await {
            Ok(claim) => {
                // Between the two it may have been written to, and been released.
                let info = find(&*self.store, &self.stream, &self.settings).await?;
                self.tried = None;
                self.look_later();
                Ok(Some(Followed::Orphan { claim, info }))
            }
            // Another reader was faster, or its writer is back.
            Err(StoreError::Claimed { .. } | StoreError::Ended) => {
                self.tried = None;
                self.look_later();
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits before the next try, or says what it failed by.
    async fn failed(&mut self, error: StoreError) -> Result<(), StoreError> {
        self.tail = None;
        let now = Instant::now();
        let (error, since, patience) = match error {
            StoreError::Unavailable(_) => {
                // Its writer could not write it again meanwhile.
                self.missing_since = None;
                (error, &mut self.silent_since, self.settings.patience)
            }
            // A writer that runs finds that the store lost it, and writes it again. One that was not seen before the store went away may be lost, too.
            StoreError::Unknown | StoreError::Expired
                if self.was_there || self.silent_since.is_some() =>
            {
                let error = if self.was_there {
                    StoreError::Expired
                } else {
                    error
                };
                (error, &mut self.missing_since, self.settings.ttl)
            }
            error => return Err(error),
        };
        if now >= *since.get_or_insert(now) + patience {
            return Err(error);
        }
        // Its writer could not renew its claim either.
        self.free_since = None;
        self.look_at = self.look_at.max(now + FIRST_LOOK);
        sleep(self.waits.next()).await;
        Ok(())
    }
}

async fn find(
    store: &dyn StreamStore,
    stream: &StreamKey,
    settings: &RecorderSettings,
) -> Result<StreamInfo, StoreError> {
    answered(settings, store.find(&stream.client, &stream.id)).await
}
