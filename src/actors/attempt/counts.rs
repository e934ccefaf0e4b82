//! What a running attempt has counted, for those who do not ask it.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Who listens, how much there was to hear, and by how many events the slowest lags.
#[derive(Clone, Copy, Default)]
pub(crate) struct AudienceCounts {
    pub(crate) subscribers: usize,
    pub(crate) events: u64,
    pub(crate) lag: u64,
}

/// Noted from time to time. Each count stands for itself: they need not be of one moment.
#[derive(Default)]
pub(crate) struct Counts {
    /// When the first event came, in nanoseconds since the request was accepted; 0 is never.
    first_event: AtomicU64,
    bytes: AtomicU64,
    subscribers: AtomicU64,
    events: AtomicU64,
    lag: AtomicU64,
}

impl Counts {
    pub(crate) fn note_first_event(&self, after: Duration) {
        let after = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX).max(1);
        // Of several attempts the first counts; one runs at a time.
        if self.first_event.load(Relaxed) == 0 {
            self.first_event.store(after, Relaxed);
        }
    }

    pub(crate) fn first_event(&self) -> Option<Duration> {
        let after = self.first_event.load(Relaxed);
        (after > 0).then(|| Duration::from_nanos(after))
    }

    pub(crate) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Takes over what was counted before, at another provider.
    pub(crate) fn go_on_from(&self, before: &Self) {
        self.first_event
            .store(before.first_event.load(Relaxed), Relaxed);
        self.add_bytes(before.bytes());
        self.note_audience(before.audience());
    }

    pub(crate) fn note_audience(&self, counts: AudienceCounts) {
        self.subscribers.store(counts.subscribers as u64, Relaxed);
        self.events.store(counts.events, Relaxed);
        self.lag.store(counts.lag, Relaxed);
    }

    pub(crate) fn audience(&self) -> AudienceCounts {
        AudienceCounts {
            subscribers: self.subscribers.load(Relaxed) as usize,
            events: self.events.load(Relaxed),
            lag: self.lag.load(Relaxed),
        }
    }
}
