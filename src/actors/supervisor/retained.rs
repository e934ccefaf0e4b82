//! Ended requests, which are kept for those who come late.

use std::{collections::VecDeque, time::Duration};

use actix::{AsyncContext, Context};
use tokio::time::Instant;
use tracing::Span;

use super::{requests::State, state::StreamSupervisor};
use crate::actors::{RequestId, audience::Audience};

/// How soon an ended request that could not be let go is looked at again.
const RETENTION_CHECK: Duration = Duration::from_secs(1);

impl StreamSupervisor {
    /// Takes a request that has ended off the live ones. Its audience is kept for those who come late, within the limits of that.
    pub(super) fn retire(
        &mut self,
        id: RequestId,
        audience: Option<Box<Audience>>,
        ctx: &mut Context<Self>,
    ) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        self.live -= 1;
        request.span = Span::none();
        request.last_attempt = Span::none();
        let Some(audience) = audience else {
            self.requests.remove(&id);
            return self.close_if_idle(ctx);
        };
        request.spec.let_body_go();
        let bytes = request.kept_bytes(&audience);
        self.retained_bytes += bytes;
        request.state = State::Ended { audience, bytes };
        let now = Instant::now();
        if !self.retention_is_due {
            self.retention_is_due = true;
            ctx.run_later(self.config.retain, Self::check_retained);
        }
        self.retained.push_back((now, id));
        self.forget(now);
        self.tend(id);
        self.close_if_idle(ctx);
    }

    /// Ended requests may have been kept long enough.
    fn check_retained(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        self.forget(now);
        self.retention_is_due = !self.retained.is_empty();
        if let Some((ended, _)) = self.retained.front() {
            let due = self.config.retain.saturating_sub(now - *ended);
            // One that is still waited for is due already: it is looked at again soon, not at once.
            ctx.run_later(due.max(RETENTION_CHECK), Self::check_retained);
        }
    }

    /// Lets go of ended requests that are too old or too many. One that still has a subscriber to be waited for stays.
    pub(super) fn forget(&mut self, now: Instant) {
        let mut kept = VecDeque::new();
        while let Some((ended, id)) = self.retained.pop_front() {
            let is_old = now - ended >= self.config.retain;
            let due = is_old || self.retained_bytes > self.config.retain_bytes;
            if !due {
                self.retained.push_front((ended, id));
                break;
            }
            let request = self.requests.get_mut(&id);
            let Some(State::Ended { audience, bytes }) = request.map(|it| &mut it.state) else {
                continue;
            };
            audience.give_up_on_the_stuck();
            if audience.is_waiting() {
                kept.push_back((ended, id));
                continue;
            }
            self.retained_bytes -= *bytes;
            self.requests.remove(&id);
        }
        while let Some(entry) = kept.pop_back() {
            self.retained.push_front(entry);
        }
    }
}
