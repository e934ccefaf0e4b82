//! `StreamSupervisor`: accepts requests, starts an attempt at a time, decides on retries, and knows which requests live.
//!
//! Started by the program, mostly through [`Runtime`](crate::Runtime). Receives what programs say ([`messages`](super::messages))
//! and the end of each attempt from its lease. Sends attempts to workers and [`RequestNotice`](super::RequestNotice)s to
//! observers. Ends after [`Shutdown`](super::Shutdown).
//!
//! It is not on the way of events: a stream actor delivers them itself.

use std::{future::ready, sync::Arc, time::Duration};

use actix::{
    Actor, Addr, ArbiterHandle, AsyncContext, Context, Handler, ResponseFuture, System,
    dev::channel::channel,
};
use futures_util::future::AbortHandle;
use tokio::{runtime::Handle, sync::oneshot, time::Instant};

use self::{
    requests::{Body, State, StopReason, Stopping, Waiting},
    restart::{Restarting, mailbox},
    tending::Tending,
};
use super::{
    CancelRequest, RequestId,
    attempt::{
        alarm::SWEEP_INTERVAL,
        lease::{Lease, Outcome},
    },
    audience::listener::Listener,
    workers::{
        LendArbiter,
        worker::{Orders, StartAttempt},
    },
};
use crate::{
    protocol::{ResponseEvent, error::ApiError},
    telemetry,
};

mod attempts;
mod config;
mod ended;
mod fallback;
mod holder;
mod kept;
mod limiter;
mod pacing;
mod questions;
mod requests;
mod restart;
mod resuming;
mod retained;
mod shutdown;
mod state;
mod storing;
mod submit;
mod tending;

pub use config::SupervisorConfig;
pub use state::StreamSupervisor;

impl StreamSupervisor {
    /// Starts the next attempt, or puts it off. One that nothing can run is one that failed.
    fn start_attempt(
        &mut self,
        id: RequestId,
        listener: Listener,
        last_error: Option<Arc<ApiError>>,
        ctx: &mut Context<Self>,
    ) {
        let is_reading = self.is_reading(id, &listener);
        let paced = match is_reading {
            true => Some(listener),
            false => self.pace(id, listener, &last_error, ctx),
        };
        let Some(mut listener) = paced else {
            return;
        };
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        let origin = &request.spec.origin;
        let placed = self
            .pool
            .choose(request.spec.thread)
            .and_then(|(worker, load)| {
                let is_watched = match is_reading {
                    true => false,
                    false => self.breakers.admit(origin, self.epoch.elapsed())?,
                };
                Ok((worker, load, is_watched))
            });
        if let Err(refused) = &placed
            && !request.goes_elsewhere(refused, &listener)
            && let Some(wait) = request.spare(refused)
        {
            tracing::debug!(request = %id, error = refused.kind().as_str(), ?wait, "an attempt is put off");
            // What is known is not replaced by that.
            let error = last_error.unwrap_or_else(|| Arc::new(refused.clone()));
            self.unpace(id);
            return self.wait(id, listener, wait, error, ctx);
        }
        request.spared = Duration::ZERO;
        let is_waited_for = self.pacing.is_some() || matches!(placed, Ok((_, _, true)));
        let on_head = is_waited_for.then(|| ctx.address().recipient());
        let attempt = request.next_attempt(&mut listener, is_reading, on_head);
        let (body, orders) = body_for(&listener);
        request.state = State::Running(body);
        let report = self
            .report
            .get_or_insert_with(|| Arc::new(ctx.address().recipient()));
        let mut lease = Lease::new(report.clone(), &attempt, listener);
        match placed {
            Err(error) => {
                telemetry::record_error(&attempt.span, &error);
                lease.set_outcome(Outcome::Failed(Box::new(error)));
            }
            Ok((worker, load, _)) => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "one message for each attempt, and it must arrive"
                )]
                self.pool.worker(worker).do_send(StartAttempt {
                    orders,
                    attempt,
                    lease,
                    load,
                });
            }
        }
    }

    /// Puts the next attempt off, for which the last error is the reason.
    fn wait(
        &mut self,
        id: RequestId,
        listener: Listener,
        delay: Duration,
        error: Arc<ApiError>,
        ctx: &mut Context<Self>,
    ) {
        let timer = ctx.run_later(delay, move |supervisor, ctx| supervisor.retry(id, ctx));
        if let Some(request) = self.requests.get_mut(&id) {
            request.state = State::Waiting(Waiting {
                listener,
                timer,
                error: Some(error),
            });
        }
        self.tend(id);
    }

    /// The wait before the next attempt is over.
    fn retry(&mut self, id: RequestId, ctx: &mut Context<Self>) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        let Some(Waiting {
            mut listener,
            error,
            ..
        }) = request.take_waiting()
        else {
            return;
        };
        if listener.is_gone(request.spec.stream.when_deserted, Instant::now()) {
            telemetry::record_cancelled(&request.span);
            let audience = listener.cut_short(ResponseEvent::Cancelled);
            self.unpace(id);
            return self.retire(id, audience, ctx);
        }
        self.start_attempt(id, listener, error, ctx);
    }

    /// Ends a request before its time. Whether it was live; an attempt that runs may have ended all the same, see [`Stopping`].
    fn stop(&mut self, id: RequestId, reason: StopReason, ctx: &mut Context<Self>) -> bool {
        let Some(request) = self.requests.get_mut(&id) else {
            return false;
        };
        if let State::Running(body) = &request.state {
            if request.stopping.is_none() {
                let askers = Vec::new();
                request.stopping = Some(Box::new(Stopping { reason, askers }));
                body.stop(reason.end());
            }
            return true;
        }
        let Some(waiting) = request.take_waiting() else {
            return false;
        };
        telemetry::record_cancelled(&request.span);
        ctx.cancel_future(waiting.timer);
        // A known error is not replaced by that of a shutdown.
        let audience = waiting.listener.cut_short(match (reason, waiting.error) {
            (StopReason::ShutDown, Some(error)) => ResponseEvent::Failed(error),
            _ => reason.end(),
        });
        self.unpace_and_release(id, ctx);
        self.retire(id, audience, ctx);
        true
    }
}

/// Messages that the mailbox of a stream holds: subscriptions and the like, never data.
const STREAM_MAILBOX: usize = 16;

/// What runs an attempt for this listener, as the supervisor addresses it, and as a worker makes it.
fn body_for(listener: &Listener) -> (Body, Orders) {
    match listener {
        Listener::Audience(_) => {
            let (stream, mailbox) = channel(STREAM_MAILBOX);
            (Body::Stream(Addr::new(stream)), Orders::Stream(mailbox))
        }
        Listener::Asker(_) => {
            let (task, aborted) = AbortHandle::new_pair();
            (Body::Question(task), Orders::Question(aborted))
        }
    }
}

impl Actor for StreamSupervisor {
    type Context = Context<Self>;

    fn start(self) -> Addr<Self> {
        let (address, run) = self.prepared();
        actix_rt::spawn(run());
        address
    }

    fn create<F: FnOnce(&mut Context<Self>) -> Self>(make: F) -> Addr<Self> {
        let (address, mailbox) = mailbox();
        actix_rt::spawn(Restarting::made(mailbox, make));
        address
    }

    fn start_in_arbiter<F>(arbiter: &ArbiterHandle, make: F) -> Addr<Self>
    where
        F: FnOnce(&mut Context<Self>) -> Self + Send + 'static,
    {
        let (address, mailbox) = mailbox();
        arbiter.spawn_fn(move || {
            actix_rt::spawn(Restarting::made(mailbox, make));
        });
        address
    }

    fn started(&mut self, ctx: &mut Self::Context) {
        // Where there is no system, or one is being dropped before its first turn, there is nothing to run on.
        if Handle::try_current().is_err() || System::try_current().is_none() {
            return;
        }
        self.pool.start(self.config.workers);
        ctx.spawn(Tending);
        ctx.run_interval(SWEEP_INTERVAL, |supervisor, _| {
            for (id, request) in &mut supervisor.requests {
                if let State::Waiting(waiting) = &mut request.state
                    && let Listener::Audience(audience) = &mut waiting.listener
                {
                    audience.sweep();
                    supervisor.tended.insert(*id);
                }
            }
            // Futures of one actor are polled in no order that could be relied on.
            if let Some(waker) = supervisor.waker.take() {
                waker.wake();
            }
        });
    }
}

impl Handler<LendArbiter> for StreamSupervisor {
    type Result = ();

    fn handle(&mut self, message: LendArbiter, _: &mut Self::Context) {
        self.pool.lend(&message.arbiter, message.thread);
    }
}

impl Handler<CancelRequest> for StreamSupervisor {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, message: CancelRequest, ctx: &mut Self::Context) -> Self::Result {
        let was_live = self.stop(message.request, StopReason::Cancelled, ctx);
        let request = self.requests.get_mut(&message.request);
        match request.and_then(|request| request.stopping.as_mut()) {
            Some(stopping) => {
                let (asker, answer) = oneshot::channel();
                stopping.askers.push(asker);
                Box::pin(async { answer.await.unwrap_or(false) })
            }
            None => Box::pin(ready(was_live)),
        }
    }
}
