//! How a relay ends: what runs goes on, what is new is refused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{HttpMessage as _, HttpRequest, http::StatusCode};
use tokio::{sync::Notify, time::timeout};

use super::access::{Refusal, StreamPermit};

/// How long clients have to read the end of what the shutdown ended.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(5);

/// What runs, and whether more may begin.
#[derive(Default)]
pub(super) struct Drain {
    draining: AtomicBool,
    running: AtomicUsize,
    emptied: Notify,
}

/// A request that is being answered, to the last byte of its body.
pub(super) struct Running {
    drain: Arc<Drain>,
    _permit: StreamPermit,
}

impl Drain {
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }

    /// Begins a request, unless the relay is about to end. It runs until the last byte of its body is out.
    pub(super) fn begin_for(
        self: &Arc<Self>,
        request: &HttpRequest,
        permit: StreamPermit,
    ) -> Result<(), Refusal> {
        self.running.fetch_add(1, Ordering::AcqRel);
        let running = Running {
            drain: self.clone(),
            _permit: permit,
        };
        if self.is_draining() {
            let mut refusal = Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "server_shutting_down",
                "this relay is shutting down: ask again",
            );
            refusal.retry_after = Some(Duration::from_secs(1));
            return Err(refusal);
        }
        request.extensions_mut().insert(running);
        Ok(())
    }

    /// Takes no more, and waits for those that run. Whether they have ended in that time.
    pub(super) async fn emptied_within(&self, time: Duration) -> bool {
        self.draining.store(true, Ordering::Release);
        timeout(time, self.emptied()).await.is_ok()
    }

    async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.running() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.drain.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.drain.emptied.notify_waiters();
        }
    }
}
