//! The task of a recorder: one command after the other, and what each answer means.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::{
    settings::{RecorderSettings, Waits, answered, no_answer},
    shared::{RecorderState, Shared},
};
use crate::store::{Claim, StoreError, StreamKey, StreamStore};

/// For how long it is tried to take a stream out of the store that is given up. Then its readers find it without a writer, as one whose node is gone.
const REMOVE_PATIENCE: Duration = Duration::from_secs(600);

pub(super) struct Writer {
    store: Arc<dyn StreamStore>,
    claim: Claim,
    settings: RecorderSettings,
    shared: Arc<Shared>,
    /// The store has our claim, as far as we know.
    is_claimed: bool,
    renew_at: Instant,
    /// The last append did not hold all that was missing.
    has_more: bool,
    /// When blocks were appended last.
    appended_at: Instant,
    /// Blocks come with nearly each tick.
    is_steady: bool,
    /// When an answer is waited for no longer. It is put off for each, which costs less than one of its own.
    patience: Pin<Box<Sleep>>,
    waits: Waits,
    /// A conflict was found, and nothing was written since: a second one waits.
    had_conflict: bool,
}

/// What is done next.
enum Due {
    Claim,
    Append,
    Release,
    /// More is missing than is kept.
    GiveUp,
}

impl Writer {
    pub(super) fn new(
        store: Arc<dyn StreamStore>,
        stream: StreamKey,
        node: &str,
        epoch: u64,
        settings: RecorderSettings,
        shared: Arc<Shared>,
    ) -> Self {
        let claim = Claim {
            stream,
            node: node.to_owned(),
            epoch,
            ttl: settings.ttl,
        };
        Self {
            store,
            claim,
            is_claimed: false,
            renew_at: Instant::now(),
            has_more: false,
            appended_at: Instant::now(),
            is_steady: false,
            patience: Box::pin(sleep(Duration::ZERO)),
            waits: Waits::new(&settings),
            had_conflict: false,
            settings,
            shared,
        }
    }

    pub(super) async fn run(self) {
        let cancelled = watch_cancel(
            self.store.clone(),
            self.claim.clone(),
            self.shared.clone(),
            Waits::new(&self.settings),
        );
        // It is polled when it is woken, and not with each block.
        let mut cancelled = FuturesUnordered::from_iter([cancelled]);
        tokio::select! {
            biased;
            () = self.write() => {}
            Some(never) = cancelled.next() => match never {},
        }
    }

    async fn write(mut self) {
        let over = loop {
            let due = self.due().await;
            if let Some(over) = self.act(due).await {
                break over;
            }
        };
        if over == RecorderState::Done {
            self.shared.tell(over);
            self.see_it_stay().await;
        } else {
            self.shared.log().clear();
            self.shared.tell(over);
        }
        self.shared.log().clear();
    }

    /// Waits until there is something to do. A claim is renewed by an append, of nothing if need be: that finds what the store has lost, too.
    async fn due(&mut self) -> Due {
        // The next blocks of a steady stream are looked for at the next tick, and who brings them wakes nobody.
        let mut tick = std::mem::take(&mut self.is_steady).then(|| self.tick());
        loop {
            let is_behind = {
                let mut log = self.shared.log();
                if log.is_over() {
                    return Due::GiveUp;
                }
                let is_behind = log.is_behind();
                if self.is_claimed && log.is_released() && !is_behind {
                    return Due::Release;
                }
                if !self.is_claimed {
                    return Due::Claim;
                }
                if is_behind && (log.is_urgent() || self.has_more) {
                    return Due::Append;
                }
                log.is_looked_at = tick.is_some();
                is_behind
            };
            let until = if is_behind {
                *tick.get_or_insert_with(|| self.tick())
            } else {
                tick.unwrap_or(self.renew_at)
            };
            let is_time = tokio::select! {
                biased;
                () = sleep_until(until) => true,
                () = self.shared.work.notified() => false,
            };
            let mut log = self.shared.log();
            let is_doubted = std::mem::take(&mut log.is_doubted);
            if is_doubted || is_time && (tick.is_none() || log.is_behind()) {
                return Due::Append;
            }
            if is_time {
                // Nothing came: from now on it is woken.
                tick = None;
            }
        }
    }

    /// The next of the moments at which all streams are written.
    fn tick(&self) -> Instant {
        let gather = self.settings.gather.as_nanos().max(1);
        let since = self.settings.ticks_from.elapsed().as_nanos();
        let left = gather - since % gather;
        Instant::now() + Duration::from_nanos(left as u64)
    }

    /// Does it, and says how it is over, if it is.
    async fn act(&mut self, due: Due) -> Option<RecorderState> {
        let ttl = self.settings.ttl;
        let failed = match due {
            Due::Claim => match self.claim(ttl).await {
                Ok(()) => {
                    self.is_claimed = true;
                    return None;
                }
                // It is another's end: by our own claim we may go on.
                Err(StoreError::Ended) => return Some(RecorderState::Lost),
                Err(error) => error,
            },
            Due::Append => match self.append().await {
                Ok(true) => return Some(RecorderState::Done),
                Ok(false) => return None,
                Err(error) => error,
            },
            Due::Release => match self.claim(Duration::ZERO).await {
                Ok(()) => return Some(RecorderState::Released),
                Err(error) => error,
            },
            Due::GiveUp => return Some(self.remove(StoreError::TooLarge).await),
        };
        self.failed(failed).await
    }

    async fn claim(&mut self, ttl: Duration) -> Result<(), StoreError> {
        let claim = &self.claim;
        let claimed = self
            .store
            .claim(&claim.stream, &claim.node, claim.epoch, ttl);
        answered(&self.settings, claimed).await?;
        self.succeeded();
        Ok(())
    }

    /// Appends what is missing, and says whether the end was with it.
    async fn append(&mut self) -> Result<bool, StoreError> {
        let (append, is_all) = self.shared.log().take();
        let (has_end, has_blocks) = (append.end.is_some(), !append.blocks.is_empty());
        let will_be = append.expected + append.blocks.len() as u64;
        let until = Instant::now() + self.settings.answer_within(append.bytes());
        self.patience.as_mut().reset(until);
        let blocks = tokio::select! {
            biased;
            appended = self.store.append(&self.claim, append) => appended?,
            () = &mut self.patience => return Err(no_answer()),
        };
        if blocks != will_be {
            return Err(StoreError::Conflict { blocks });
        }
        self.shared.log().is_stored(blocks);
        self.has_more = !is_all;
        self.had_conflict = false;
        if has_blocks {
            let before = std::mem::replace(&mut self.appended_at, Instant::now());
            self.is_steady = self.appended_at - before <= self.settings.gather * 5 / 2;
        }
        self.succeeded();
        Ok(has_end)
    }

    fn succeeded(&mut self) {
        self.renew_at = Instant::now() + self.settings.ttl / 3;
        self.waits.reset();
        self.shared.tell(RecorderState::Storing);
    }

    async fn failed(&mut self, error: StoreError) -> Option<RecorderState> {
        self.shared.log().is_unsure();
        match error {
            StoreError::Unavailable(_) => {
                self.is_behind().await;
                None
            }
            // The store has looked at the claim first. What it has more is of an append whose answer was lost, what it has less it lost.
            StoreError::Conflict { blocks } => {
                let (is_here, has_more) = {
                    let mut log = self.shared.log();
                    let has_more = blocks > log.len();
                    (log.goes_on_from(blocks), has_more)
                };
                if has_more {
                    return Some(RecorderState::Lost);
                }
                if !is_here {
                    return Some(self.remove(StoreError::Expired).await);
                }
                if std::mem::replace(&mut self.had_conflict, true) {
                    self.is_behind().await;
                }
                None
            }
            StoreError::Unknown => {
                self.is_claimed = false;
                if !self.shared.log().repeats_all() {
                    return Some(RecorderState::GivenUp(StoreError::Expired));
                }
                None
            }
            // It was our own end, whose answer was lost, for by our claim nobody else writes.
            StoreError::Ended if self.shared.log().has_end() => Some(RecorderState::Done),
            StoreError::Ended => Some(RecorderState::Lost),
            // The store lost our claim, and the one before it still holds.
            StoreError::Claimed { epoch } if epoch < self.claim.epoch => {
                self.is_claimed = false;
                self.is_behind().await;
                None
            }
            StoreError::Claimed { .. } => Some(RecorderState::Lost),
            error @ (StoreError::Expired | StoreError::TooLarge | StoreError::Full) => {
                Some(RecorderState::GivenUp(error))
            }
        }
    }

    /// Waits before the next try; an end or a release that is said meanwhile is tried at once.
    async fn is_behind(&mut self) {
        self.shared.is_behind();
        let was_urgent = self.shared.log().is_urgent();
        let over = sleep(self.waits.next());
        tokio::pin!(over);
        loop {
            tokio::select! {
                biased;
                () = &mut over => return,
                () = self.shared.work.notified() => {}
            }
            if !was_urgent && self.shared.log().is_urgent() {
                return;
            }
        }
    }

    /// Takes a stream away of which the store has a part, and will not have the rest: nobody shall take it over. It is over at once for those who ask.
    async fn remove(&mut self, why: StoreError) -> RecorderState {
        let over = RecorderState::GivenUp(why);
        self.shared.log().clear();
        self.shared.tell(over.clone());
        let deadline = Instant::now() + REMOVE_PATIENCE;
        self.waits.reset();
        while Instant::now() < deadline {
            // Not another's: with the claim renewed nobody takes it before it is gone.
            let removed = match self.claim(self.settings.ttl).await {
                Ok(()) => {
                    let removed = self.store.remove(&self.claim.stream);
                    answered(&self.settings, removed).await
                }
                Err(error) => Err(error),
            };
            if !matches!(removed, Err(StoreError::Unavailable(_))) {
                break;
            }
            sleep(self.waits.next()).await;
        }
        over
    }

    /// Looks once whether the store still has the end, and repeats what it lost.
    async fn see_it_stay(&mut self) {
        sleep(self.settings.linger).await;
        let deadline = Instant::now() + self.settings.patience;
        while Instant::now() < deadline {
            let due = if self.is_claimed {
                Due::Append
            } else {
                Due::Claim
            };
            if self.act(due).await.is_some() {
                return;
            }
        }
    }
}

/// Tells when somebody asks the writer to stop.
async fn watch_cancel(
    store: Arc<dyn StreamStore>,
    claim: Claim,
    shared: Arc<Shared>,
    mut waits: Waits,
) -> std::convert::Infallible {
    loop {
        let mut told = shared.told.subscribe();
        // Its sender lies in `shared`.
        let _ = told
            .wait_for(|told| told.state == RecorderState::Storing)
            .await;
        match store.cancelled(&claim).await {
            Ok(()) => {
                shared.told.send_modify(|told| told.is_cancelled = true);
                std::future::pending::<()>().await;
            }
            // The stream may be lost, and its writer have nothing to write: it looks.
            Err(_) => {
                shared.log().is_doubted = true;
                shared.work.notify_one();
                sleep(waits.next()).await;
            }
        }
    }
}
