//! How much of running answers is kept, and how far their readers may be behind.

use std::time::Duration;

use super::super::config::RelayConfig;

/// The bounds of running answers; those of ended ones are [`StoreLimits`](crate::store::StoreLimits).
#[derive(Clone, Debug)]
pub(in crate::relay) struct Bounds {
    /// How long an answer is kept after its end that was asked for with `store: false`, and not detached: for who looks at it.
    pub(super) unstored: Duration,
    /// The bytes of one answer. A longer one is relayed to its end, but nobody can resume it.
    pub(super) stream_bytes: usize,
    /// The bytes of the running answers of one client. What brings more can not be resumed.
    pub(super) client_bytes: usize,
    /// The same of all clients together.
    pub(super) bytes: usize,
    /// How many ended answers are listed.
    pub(super) ended: usize,
    /// How many bytes a reader may be behind before its stream waits for it: more than a socket's buffers.
    pub(super) lag_bytes: usize,
    /// How long a stream waits for a reader before it goes on without it.
    pub(super) slow_reader: Duration,
    /// How many bytes a reader is given at once, but for one block that is longer.
    pub(super) batch_bytes: usize,
}

impl Bounds {
    pub(in crate::relay) fn of(config: &RelayConfig) -> Self {
        Self {
            unstored: config.retention.min(Duration::from_secs(300)),
            // A long answer with reasoning is below 1 MiB; an image in base64 is a few.
            stream_bytes: 8 << 20,
            client_bytes: config.retention_bytes / 4,
            bytes: config.retention_bytes,
            ended: 2_000,
            lag_bytes: 256 << 10,
            slow_reader: config.slow_client,
            batch_bytes: 64 << 10,
        }
    }
}
