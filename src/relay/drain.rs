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
use crate::{ApiError, ErrorKind};

/// How long clients have to read the end of what the shutdown ended.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(5);

/// What runs, and whether more may begin.
#[derive(Default)]
pub(super) struct Drain {
    draining: AtomicBool,
    running: AtomicUsize,
    /// The bytes of the bodies of those that run.
    body_bytes: AtomicUsize,
    emptied: Notify,
    is_over: AtomicBool,
    over: Notify,
}

/// A request that is being answered, to the last byte of its body, or an answer that goes on without its client: whoever works at it
/// holds this.
pub(super) struct Running {
    drain: Arc<Drain>,
    body_bytes: AtomicUsize,
    _permit: StreamPermit,
}

impl Drain {
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }

    /// Begins a request, unless the relay is about to end. It runs until the last byte of its body is out, and for as long as somebody
    /// holds what this gives.
    pub(super) fn begin_for(
        self: &Arc<Self>,
        request: &HttpRequest,
        permit: StreamPermit,
    ) -> Result<Arc<Running>, Refusal> {
        let running = self.begin(permit);
        if self.is_draining() {
            let mut refusal = Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "server_shutting_down",
                "this relay is shutting down: ask again",
            );
            refusal.retry_after = Some(Duration::from_secs(1));
            return Err(refusal);
        }
        request.extensions_mut().insert(running.clone());
        Ok(running)
    }

    /// Begins what no request asks for; it runs for as long as somebody holds this.
    pub(super) fn begin(self: &Arc<Self>, permit: StreamPermit) -> Arc<Running> {
        self.running.fetch_add(1, Ordering::AcqRel);
        Arc::new(Running {
            drain: self.clone(),
            body_bytes: AtomicUsize::new(0),
            _permit: permit,
        })
    }

    /// Those that still run are to end now.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        self.over.notify_waiters();
    }

    /// Resolves when there is no time left.
    pub(super) async fn over(&self) {
        let over = self.over.notified();
        if !self.is_over.load(Ordering::Acquire) {
            over.await;
        }
    }

    /// What this comes to, or that there was no time left for it.
    pub(super) async fn or_over<T>(
        &self,
        asked: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        tokio::select! {
            done = asked => done,
            () = self.over() => Err(shutting_down()),
        }
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

/// How those end that the grace was not enough for.
pub(super) fn shutting_down() -> ApiError {
    let message = "this relay is shutting down, and the answer did not end in time: ask again";
    ApiError::new(ErrorKind::ShutDown, message)
}

impl Running {
    /// Makes room for so many bytes more of its body, for as long as it runs; not where all together would have more than `limit`.
    pub(super) fn make_room(&self, bytes: usize, limit: usize) -> bool {
        let all = &self.drain.body_bytes;
        self.body_bytes.fetch_add(bytes, Ordering::Relaxed);
        all.fetch_add(bytes, Ordering::Relaxed)
            .saturating_add(bytes)
            <= limit
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let bytes = self.body_bytes.load(Ordering::Relaxed);
        self.drain.body_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if self.drain.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.drain.emptied.notify_waiters();
        }
    }
}
