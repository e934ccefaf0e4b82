//! `StreamSupervisor`: accepts requests, starts an attempt at a time, decides on retries, and knows which requests live.
//!
//! Started by the program, mostly through [`Runtime`](crate::Runtime). Receives what programs say ([`messages`](super::messages))
//! and the end of each attempt from its lease. Sends attempts to workers and [`AttemptNotice`](super::AttemptNotice)s to
//! observers. Ends after [`Shutdown`](super::Shutdown).
//!
//! It is not on the way of events: a stream actor delivers them itself.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    pin::Pin,
    sync::Arc,
    task::Waker,
};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, Recipient};
use tokio::time::{Instant, Sleep};

use self::{
    attempts::Verdict,
    questions::{Compaction, Listing, Questions},
    requests::{Request, State, StopReason},
    shutdown::Closing,
    tending::Tending,
};
use super::{
    CancelRequest, RequestId,
    attempt::{
        alarm::SWEEP_INTERVAL,
        lease::{AttemptEnded, Lease, Outcome},
        spec::Attempt,
        stream::Stop,
    },
    audience::Audience,
    workers::{pool::WorkerPool, worker::StartAttempt},
};
use crate::{
    protocol::{ResponseEvent, Restarted, error::ApiError},
    retry::Breakers,
    transport::TransportFactory,
};

mod attempts;
mod config;
mod holder;
mod questions;
mod requests;
mod retained;
mod shutdown;
mod submit;
mod tending;

pub use config::SupervisorConfig;

/// Accepts requests and answers for them until each has ended. The [module](crate::actors) says who sends it
/// what.
pub struct StreamSupervisor {
    pub(crate) config: SupervisorConfig,
    pub(crate) pool: WorkerPool,
    breakers: Breakers,
    /// What the breakers count time from.
    epoch: Instant,
    requests: HashMap<RequestId, Request>,
    /// Where all leases report to. They share it, because each address is three allocations.
    report: Option<Arc<Recipient<AttemptEnded>>>,
    /// How many of them have not ended.
    live: usize,
    pub(crate) compactions: Questions<Compaction>,
    pub(crate) listings: Questions<Listing>,
    next_id: u64,
    /// Requests whose audience is here and has subscribers that are waited for.
    tended: BTreeSet<RequestId>,
    alarm: Option<Pin<Box<Sleep>>>,
    /// Wakes [`Tending`].
    waker: Option<Waker>,
    /// Ended requests, the oldest first.
    retained: VecDeque<(Instant, RequestId)>,
    retained_bytes: usize,
    /// Whether a look at them is on its way.
    retention_is_due: bool,
    closing: Option<Closing>,
}

/// To itself: the wait before the next attempt is over.
struct RetryDue(RequestId);

impl Message for RetryDue {
    type Result = ();
}

impl StreamSupervisor {
    /// A supervisor whose transports come from `factory`, for [`start`](Actor::start) within an actix `System`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind) when a timeout of the provider makes no sense.
    pub fn new(config: SupervisorConfig, factory: impl TransportFactory) -> Result<Self, ApiError> {
        config.provider.timeouts.validate()?;
        Ok(Self {
            pool: WorkerPool::new(Arc::new(factory)),
            breakers: Breakers::new(config.breaker),
            epoch: Instant::now(),
            requests: HashMap::new(),
            report: None,
            live: 0,
            config,
            compactions: HashMap::new(),
            listings: HashMap::new(),
            next_id: 1,
            tended: BTreeSet::new(),
            alarm: None,
            waker: None,
            retained: VecDeque::new(),
            retained_bytes: 0,
            retention_is_due: false,
            closing: None,
        })
    }

    fn start_attempt(
        &mut self,
        id: RequestId,
        audience: Box<Audience>,
        refresh_auth: bool,
        ctx: &mut Context<Self>,
    ) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        let attempt = Attempt {
            spec: request.spec.clone(),
            number: request.attempts.begin(&request.spec),
            refresh_auth,
        };
        let (address, mailbox) = actix::dev::channel::channel(STREAM_MAILBOX);
        let stream = Addr::new(address);
        let address = stream.downgrade();
        request.state = State::Running { stream };
        let report = self
            .report
            .get_or_insert_with(|| Arc::new(ctx.address().recipient()));
        let mut lease = Lease::new(report.clone(), &attempt, audience);
        if let Err(error) = self
            .breakers
            .admit(&request.spec.origin, self.epoch.elapsed())
        {
            return lease.set_outcome(Outcome::Failed(Box::new(error)));
        }
        // Without a worker, the drop of the lease ends the attempt as lost.
        if let Some((worker, load)) = self.pool.choose() {
            #[expect(
                clippy::disallowed_methods,
                reason = "one message for each attempt, and it must arrive"
            )]
            worker.do_send(StartAttempt {
                mailbox,
                address,
                attempt,
                lease,
                load,
            });
        }
    }

    /// Does what the verdict on a failed attempt says.
    fn on_failure(
        &mut self,
        id: RequestId,
        mut error: ApiError,
        mut audience: Box<Audience>,
        ctx: &mut Context<Self>,
    ) {
        let closing = self.is_closing();
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        let output_delivered = audience.output_delivered();
        error.details_mut().output_delivered = output_delivered;
        // A background response that the server has accepted goes on, and is paid for, whatever became of its stream.
        let is_begun =
            output_delivered || (request.spec.stream.is_background && audience.is_accepted());
        let verdict = request
            .attempts
            .judge(&request.spec, error, is_begun, closing);
        let now = Instant::now();
        let (error, delay) = match verdict {
            Verdict::GiveUp(error) => {
                audience.end(&mut Vec::new(), ResponseEvent::Failed(error), now);
                return self.retire(id, audience, ctx);
            }
            Verdict::RefreshAuth { error } => (error, None),
            Verdict::Retry { error, delay } => (error, Some(delay)),
        };
        if output_delivered {
            let notice = Restarted {
                attempt: request.attempts.number() + 1,
                delay: delay.unwrap_or_default(),
                error: error.clone(),
            };
            audience.restart(ResponseEvent::Restarted(Arc::new(notice)), now);
        }
        let Some(delay) = delay else {
            return self.start_attempt(id, audience, true, ctx);
        };
        let timer = ctx.notify_later(RetryDue(id), delay);
        request.state = State::Waiting {
            audience,
            timer,
            error,
        };
        self.tend(id);
    }

    /// Whether the request was live.
    fn cancel(&mut self, id: RequestId, ctx: &mut Context<Self>) -> bool {
        self.stop(id, StopReason::Cancelled, ctx)
    }

    fn stop(&mut self, id: RequestId, reason: StopReason, ctx: &mut Context<Self>) -> bool {
        let Some(request) = self.requests.get_mut(&id) else {
            return false;
        };
        match &request.state {
            State::Running { stream } => {
                if request.stopping.is_none() {
                    request.stopping = Some(reason);
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "at most one for each attempt, and it must arrive"
                    )]
                    stream.do_send(Stop(reason.end()));
                }
                true
            }
            State::Waiting { timer, .. } => {
                ctx.cancel_future(*timer);
                let State::Waiting {
                    mut audience,
                    error,
                    ..
                } = request.take_state()
                else {
                    return false;
                };
                // A known error is not replaced by that of a shutdown.
                audience.cut_short(match reason {
                    StopReason::ShutDown => ResponseEvent::Failed(error),
                    StopReason::Cancelled => ResponseEvent::Cancelled,
                });
                self.retire(id, audience, ctx);
                true
            }
            State::Changing | State::Ended { .. } => false,
        }
    }
}

/// Messages that a stream actor's mailbox holds: subscriptions and the like, never data.
const STREAM_MAILBOX: usize = 16;

impl Actor for StreamSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.pool.start(self.config.workers);
        ctx.spawn(Tending);
        ctx.run_interval(SWEEP_INTERVAL, |supervisor, _| {
            for (id, request) in &mut supervisor.requests {
                if let State::Waiting { audience, .. } = &mut request.state {
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

impl Handler<AttemptEnded> for StreamSupervisor {
    type Result = ();

    fn handle(&mut self, message: AttemptEnded, ctx: &mut Self::Context) {
        let AttemptEnded {
            request: id,
            attempt,
            outcome,
            mut audience,
        } = message;
        let Some(request) = self
            .requests
            .get_mut(&id)
            .filter(|request| request.attempts.number() == attempt)
        else {
            return;
        };
        let stopping = request.stopping.take();
        let origin = &request.spec.origin;
        let now = self.epoch.elapsed();
        match &outcome {
            Outcome::Ended => self.breakers.record(origin, None, now),
            Outcome::Failed(error) => self.breakers.record(origin, Some(error), now),
            Outcome::Stopped | Outcome::Deserted | Outcome::Lost => {
                self.breakers.forget(origin, now);
            }
        }
        let error = match (outcome, stopping) {
            (Outcome::Ended | Outcome::Stopped, _) => return self.retire(id, audience, ctx),
            (Outcome::Deserted, _) => {
                audience.cut_short(ResponseEvent::Cancelled);
                return self.retire(id, audience, ctx);
            }
            // The stop came too late for the attempt, but not for the request.
            (Outcome::Failed(_), Some(reason @ StopReason::Cancelled))
            | (Outcome::Lost, Some(reason)) => {
                audience.cut_short(reason.end());
                return self.retire(id, audience, ctx);
            }
            // A known error is not replaced by that of a shutdown.
            (Outcome::Failed(error), Some(StopReason::ShutDown) | None) => *error,
            (Outcome::Lost, None) => ApiError::attempt_lost(),
        };
        self.on_failure(id, error, audience, ctx);
    }
}

impl Handler<RetryDue> for StreamSupervisor {
    type Result = ();

    fn handle(&mut self, RetryDue(id): RetryDue, ctx: &mut Self::Context) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        match request.take_state() {
            State::Waiting { mut audience, .. } => {
                // Nothing was delivered meanwhile that would have shown who is gone.
                audience.sweep();
                let now = Instant::now();
                let abandoned_at = audience.abandoned_at(request.spec.stream.when_deserted, now);
                if abandoned_at.is_some_and(|at| now >= at) {
                    audience.cut_short(ResponseEvent::Cancelled);
                    return self.retire(id, audience, ctx);
                }
                self.start_attempt(id, audience, false, ctx);
            }
            other => request.state = other,
        }
    }
}

impl Handler<CancelRequest> for StreamSupervisor {
    type Result = bool;

    fn handle(
        &mut self,
        CancelRequest { request }: CancelRequest,
        ctx: &mut Self::Context,
    ) -> bool {
        self.cancel(request, ctx)
            || self.stop_question::<Compaction>(request, StopReason::Cancelled, ctx)
            || self.stop_question::<Listing>(request, StopReason::Cancelled, ctx)
    }
}
