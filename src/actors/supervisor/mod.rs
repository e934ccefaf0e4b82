//! `StreamSupervisor`: accepts requests, starts an attempt at a time, decides on retries, and knows which requests live.
//!
//! Started by the program, mostly through [`Runtime`](crate::Runtime). Receives [`SubmitRequest`], [`Subscribe`],
//! [`Unsubscribe`], [`CancelRequest`], [`GetStatus`] and [`Shutdown`] from programs, and the end of each attempt from its
//! lease. Sends attempts to workers and [`AttemptNotice`](super::AttemptNotice)s to observers. Ends after [`Shutdown`].
//!
//! It is not on the way of events: a stream actor delivers them itself.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, Waker},
    time::Duration,
};

use actix::{
    Actor, ActorContext, ActorFuture, ActorFutureExt, Addr, AsyncContext, Context, Handler,
    MailboxError, Message, MessageResult, Recipient, ResponseActFuture, SpawnHandle, WrapFuture,
};
use bytes::Bytes;
use http::Method;
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep},
};

use self::breakers::Breakers;
use self::{
    attempts::{Attempts, Verdict},
    questions::{Compaction, Listing, OpenQuestion, Questions},
};
use super::{
    CancelRequest, GetStatus, RequestId, RequestPhase, RequestStatus, Shutdown, SubmitRequest,
    Submitted, Subscribe, SubscribeError, SubscriptionId, Unsubscribe,
    attempt::{
        lease::{AttemptEnded, Lease, Outcome},
        spec::{RequestSpec, StreamOptions},
        stream::{Inspect, Join, Leave, Stop, StreamActor},
    },
    audience::Audience,
    workers::{
        pool::WorkerPool,
        worker::{SWEEP_INTERVAL, StartAttempt},
    },
};
use crate::{
    protocol::{
        Prompt, ResponseEvent, Restarted,
        error::{ApiError, ErrorKind, Phase},
    },
    provider::{Accept, Provider},
    retry::RetryPolicy,
    transport::TransportFactory,
    wire::{self, Wire},
};

pub(crate) mod attempts;
pub(crate) mod breakers;
pub(crate) mod config;
pub(crate) mod questions;

pub use config::SupervisorConfig;

/// Accepts requests and answers for them until each has ended. The [module](crate::actors) says who sends it
/// what.
pub struct StreamSupervisor {
    pub(crate) config: SupervisorConfig,
    pub(crate) pool: WorkerPool,
    pub(crate) breakers: Breakers,
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

struct Request {
    spec: Arc<RequestSpec>,
    state: State,
    attempts: Attempts,
    /// Why the attempt that runs was told to stop. It may have ended just before.
    stopping: Option<StopReason>,
}

/// Small, because nearly all requests run, and the table of them doubles when it is full.
enum State {
    /// Between two of the others, within one call.
    Changing,
    /// An attempt runs and holds the audience.
    Running { stream: Addr<StreamActor> },
    /// The next attempt is due later.
    Waiting {
        audience: Box<Audience>,
        timer: SpawnHandle,
        /// Why the last one failed.
        error: Arc<ApiError>,
    },
    /// The end is published; the audience is kept for those who come late or lag behind.
    Ended { audience: Box<Audience> },
}

/// Why a request is ended before its time. The first one counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReason {
    Cancelled,
    ShutDown,
}

impl StopReason {
    fn end(self) -> ResponseEvent {
        match self {
            Self::Cancelled => ResponseEvent::Cancelled,
            Self::ShutDown => ResponseEvent::Failed(Arc::new(self.error())),
        }
    }

    /// The same for those who can be given nothing but an error.
    pub(crate) fn error(self) -> ApiError {
        let message = match self {
            Self::Cancelled => "the request was cancelled",
            Self::ShutDown => "the runtime was shut down",
        };
        ApiError::new(ErrorKind::ShutDown, message)
    }
}

/// A shutdown that has begun.
#[derive(Default)]
struct Closing {
    waiting: Vec<oneshot::Sender<()>>,
    grace_is_over: bool,
}

/// To itself: the wait before the next attempt is over.
struct RetryDue(RequestId);

impl Message for RetryDue {
    type Result = ();
}

/// To itself: ended requests may have been kept long enough.
struct RetentionDue;

impl Message for RetentionDue {
    type Result = ();
}

/// To itself: the time that a shutdown gives running requests is over.
struct GraceOver;

impl Message for GraceOver {
    type Result = ();
}

impl StreamSupervisor {
    /// A supervisor whose transports come from `factory`, for [`start`](Actor::start) within an actix `System`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] when a timeout of the provider makes no sense.
    pub fn new(config: SupervisorConfig, factory: impl TransportFactory) -> Result<Self, ApiError> {
        config.provider.timeouts.validate()?;
        Ok(Self {
            pool: WorkerPool::new(Arc::new(factory)),
            breakers: Breakers::new(config.breaker),
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

    /// Refuses what comes after the shutdown has begun, or beyond the limit.
    pub(crate) fn check_open(&self) -> Result<(), ApiError> {
        if self.is_closing() {
            let message = "the runtime is shutting down";
            return Err(ApiError::new(ErrorKind::ShutDown, message).with_phase(Phase::Prepare));
        }
        let max_requests = self.config.max_requests;
        if self.live + self.compactions.len() + self.listings.len() >= max_requests {
            let message = format!("{max_requests} requests live already (limit `max_requests`)");
            return Err(ApiError::new(ErrorKind::Overloaded, message).with_phase(Phase::Prepare));
        }
        Ok(())
    }

    /// The policy of a request: its own, or else the supervisor's with what the provider says of attempts.
    pub(crate) fn retry_policy(
        &self,
        own: Option<RetryPolicy>,
        provider: &Provider,
    ) -> RetryPolicy {
        own.unwrap_or_else(|| {
            let mut policy = self.config.retry.clone();
            policy.max_attempts = provider.max_attempts.unwrap_or(policy.max_attempts);
            policy
        })
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    pub(crate) fn next_request_id(&mut self) -> RequestId {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        id
    }

    /// The requests in the order in which they came: the same each time, so that a run can be repeated.
    fn ids(&self) -> Vec<RequestId> {
        let mut ids: Vec<_> = self.requests.keys().copied().collect();
        ids.sort_unstable();
        ids
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
        let attempt = request.attempts.begin(&request.spec);
        let (address, mailbox) = actix::dev::channel::channel(STREAM_MAILBOX);
        let stream = Addr::new(address);
        let address = stream.downgrade();
        request.state = State::Running { stream };
        let report = self
            .report
            .get_or_insert_with(|| Arc::new(ctx.address().recipient()));
        let mut lease = Lease::new(report.clone(), id, attempt, audience);
        if let Err(error) = self.breakers.admit(&request.spec.origin) {
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
                spec: request.spec.clone(),
                lease,
                refresh_auth,
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

    /// Keeps an ended request for those who come late, within the limits of that.
    fn retire(&mut self, id: RequestId, audience: Box<Audience>, ctx: &mut Context<Self>) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        self.retained_bytes += audience.bytes();
        request.state = State::Ended { audience };
        self.live -= 1;
        let now = Instant::now();
        if !self.retention_is_due {
            self.retention_is_due = true;
            ctx.notify_later(RetentionDue, self.config.retain);
        }
        self.retained.push_back((now, id));
        self.forget(now);
        self.tend(id);
        self.close_if_idle(ctx);
    }

    /// Lets go of ended requests that are too old or too many. One that still has a subscriber to be waited for stays.
    fn forget(&mut self, now: Instant) {
        let mut kept = VecDeque::new();
        while let Some((ended, id)) = self.retained.pop_front() {
            let due =
                now >= ended + self.config.retain || self.retained_bytes > self.config.retain_bytes;
            if !due {
                self.retained.push_front((ended, id));
                break;
            }
            let Some(Request {
                state: State::Ended { audience },
                ..
            }) = self.requests.get_mut(&id)
            else {
                continue;
            };
            audience.give_up_on_the_stuck();
            if audience.is_waiting() {
                kept.push_back((ended, id));
                continue;
            }
            self.retained_bytes -= audience.bytes();
            self.requests.remove(&id);
        }
        while let Some(entry) = kept.pop_back() {
            self.retained.push_front(entry);
        }
    }

    /// Takes care of an audience that is here, until nobody is waited for.
    fn tend(&mut self, id: RequestId) {
        self.tended.insert(id);
    }

    fn turn(&mut self, cx: &mut TaskContext<'_>, ctx: &mut Context<Self>) {
        self.waker = Some(cx.waker().clone());
        // As mostly: nothing is here that could be overdue.
        if self.tended.is_empty() && self.closing.is_none() {
            return;
        }
        let now = Instant::now();
        let mut next = None::<Instant>;
        let mut deserted = Vec::new();
        let Self {
            tended, requests, ..
        } = self;
        tended.retain(|id| {
            let Some(request) = requests.get_mut(id) else {
                return false;
            };
            let (State::Waiting { audience, .. } | State::Ended { audience }) = &mut request.state
            else {
                return false;
            };
            audience.poll(cx, now);
            let abandoned_at = audience.abandoned_at(request.spec.stream.when_deserted, now);
            if abandoned_at.is_some_and(|at| now >= at) {
                deserted.push(*id);
                return false;
            }
            next = [next, audience.deadline(), abandoned_at]
                .into_iter()
                .flatten()
                .min();
            abandoned_at.is_some() || audience.is_waiting()
        });
        for id in deserted {
            self.cancel(id, ctx);
        }
        if self.closing.is_some() && self.tended.is_empty() {
            self.close_if_idle(ctx);
        }
        let Some(next) = next else { return };
        let mut alarm = Box::pin(tokio::time::sleep_until(next));
        let unconstrained = std::pin::pin!(tokio::task::unconstrained(alarm.as_mut()));
        if unconstrained.poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        self.alarm = Some(alarm);
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

    /// Once everything has ended in a shutdown: tells those who wait for that, and stops.
    pub(crate) fn close_if_idle(&mut self, ctx: &mut Context<Self>) {
        let Some(closing) = &self.closing else {
            return;
        };
        let waiting = !self.tended.is_empty() && !closing.grace_is_over;
        let asking = !self.compactions.is_empty() || !self.listings.is_empty();
        if self.live > 0 || asking || waiting {
            return;
        }
        // The tasks that wait with deliveries end with their arbiters.
        for id in self.ids() {
            if let Some(Request {
                state: State::Ended { audience },
                ..
            }) = self.requests.get_mut(&id)
            {
                audience.hurry();
            }
        }
        self.pool.stop();
        let closing = self.closing.iter_mut();
        for waiting in closing.flat_map(|closing| closing.waiting.drain(..)) {
            // Nobody may be waiting any more.
            let _ = waiting.send(());
        }
        ctx.stop();
    }
}

/// Messages that a stream actor's mailbox holds: subscriptions and the like, never data.
const STREAM_MAILBOX: usize = 16;

impl Request {
    /// The state, for a transition that puts another in its place at once.
    fn take_state(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Changing)
    }
}

/// Polls audiences that are here and their deadlines.
struct Tending;

impl ActorFuture<StreamSupervisor> for Tending {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        supervisor: &mut StreamSupervisor,
        ctx: &mut Context<StreamSupervisor>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        supervisor.turn(cx, ctx);
        Poll::Pending
    }
}

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

impl Handler<SubmitRequest> for StreamSupervisor {
    type Result = Result<Submitted, ApiError>;

    fn handle(&mut self, message: SubmitRequest, ctx: &mut Self::Context) -> Self::Result {
        let SubmitRequest {
            prompt,
            provider,
            headers,
            retry,
            turn_state,
            when_deserted,
            subscribers,
            observer,
        } = message;
        self.check_open()?;
        let provider = provider.unwrap_or_else(|| self.config.provider.clone());
        provider.check(&headers)?;
        let body = request_body(&prompt, &provider)?;
        let id = self.next_request_id();
        let now = Instant::now();
        let spec = RequestSpec {
            id,
            origin: provider.origin().clone(),
            method: Method::POST,
            url: provider.request_url().clone(),
            accept: Accept::EventStream,
            model: prompt.options.model.unwrap_or_default(),
            headers,
            body,
            turn_state,
            retry: self.retry_policy(retry, &provider),
            stream: StreamOptions {
                limits: self.config.limits,
                when_deserted,
                is_background: prompt.options.background == Some(true),
            },
            deadline: provider.timeouts.total.map(|total| now + total),
            provider,
        };
        let mut audience = Box::new(Audience::new(id, self.config.audience));
        let subscriptions = subscribers
            .into_iter()
            .map(|subscriber| audience.subscribe(subscriber, now))
            .collect::<Result<_, _>>();
        // A request without events takes any cursor but one that is ahead.
        let subscriptions = subscriptions.map_err(|error: SubscribeError| {
            audience.cut_short(ResponseEvent::Cancelled);
            ApiError::new(ErrorKind::InvalidConfiguration, error.to_string())
                .with_phase(Phase::Prepare)
        })?;
        let request = Request {
            spec: Arc::new(spec),
            state: State::Changing,
            attempts: Attempts::new(observer),
            stopping: None,
        };
        self.requests.insert(id, request);
        self.live += 1;
        self.start_attempt(id, audience, false, ctx);
        Ok(Submitted {
            request: id,
            subscriptions,
        })
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
        match &outcome {
            Outcome::Ended => self.breakers.record(origin, None),
            Outcome::Failed(error) => self.breakers.record(origin, Some(error)),
            Outcome::Stopped | Outcome::Deserted | Outcome::Lost => self.breakers.forget(origin),
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

impl Handler<Subscribe> for StreamSupervisor {
    type Result = ResponseActFuture<Self, Result<SubscriptionId, SubscribeError>>;

    fn handle(&mut self, message: Subscribe, _: &mut Self::Context) -> Self::Result {
        let id = message.request;
        let Some(request) = self.requests.get_mut(&id) else {
            return Box::pin(actix::fut::ready(Err(SubscribeError::UnknownRequest {
                request: id,
            })));
        };
        match &mut request.state {
            State::Running { stream } => {
                let join = stream.send(Join(message.subscriber.clone()));
                let joined = join
                    .into_actor(self)
                    .then(move |result, this, ctx| match result {
                        Ok(result) => Box::pin(actix::fut::ready(result)) as Self::Result,
                        // The attempt has just ended; its report is in this mailbox, ahead of what is sent now.
                        Err(MailboxError::Closed | MailboxError::Timeout) => {
                            let again = ctx.address().send(message);
                            Box::pin(again.into_actor(this).map(move |result, _, _| {
                                result
                                    .unwrap_or(Err(SubscribeError::UnknownRequest { request: id }))
                            }))
                        }
                    });
                Box::pin(joined)
            }
            State::Waiting { audience, .. } | State::Ended { audience } => {
                let result = audience.subscribe(message.subscriber, Instant::now());
                self.tend(id);
                Box::pin(actix::fut::ready(result))
            }
            State::Changing => Box::pin(actix::fut::ready(Err(SubscribeError::UnknownRequest {
                request: id,
            }))),
        }
    }
}

impl Handler<Unsubscribe> for StreamSupervisor {
    type Result = ResponseActFuture<Self, bool>;

    fn handle(&mut self, message: Unsubscribe, _: &mut Self::Context) -> Self::Result {
        let Unsubscribe {
            request: id,
            subscription,
        } = message;
        let Some(request) = self.requests.get_mut(&id) else {
            return Box::pin(actix::fut::ready(false));
        };
        match &mut request.state {
            State::Running { stream } => {
                let leave = stream.send(Leave(subscription)).into_actor(self);
                Box::pin(leave.then(move |result, this, ctx| match result {
                    Ok(left) => Box::pin(actix::fut::ready(left)) as Self::Result,
                    Err(_) => {
                        let again = ctx.address().send(Unsubscribe {
                            request: id,
                            subscription,
                        });
                        Box::pin(
                            again
                                .into_actor(this)
                                .map(|result, _, _| result.unwrap_or(false)),
                        )
                    }
                }))
            }
            State::Waiting { audience, .. } | State::Ended { audience } => {
                let left = audience.unsubscribe(subscription);
                self.tend(id);
                Box::pin(actix::fut::ready(left))
            }
            State::Changing => Box::pin(actix::fut::ready(false)),
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

impl Handler<GetStatus> for StreamSupervisor {
    type Result = ResponseActFuture<Self, Option<RequestStatus>>;

    fn handle(
        &mut self,
        GetStatus { request: id }: GetStatus,
        _: &mut Self::Context,
    ) -> Self::Result {
        let Some(request) = self.requests.get(&id) else {
            return Box::pin(actix::fut::ready(None));
        };
        let mut status = RequestStatus {
            request: id,
            phase: RequestPhase::Running,
            attempt: request.attempts.number(),
            max_attempts: request.spec.retry.attempts(),
            subscribers: 0,
            events: 0,
        };
        match &request.state {
            State::Running { stream } => {
                let inspect = stream.send(Inspect).into_actor(self);
                Box::pin(inspect.then(move |result, this, ctx| match result {
                    Ok(counts) => {
                        (status.subscribers, status.events) = counts;
                        Box::pin(actix::fut::ready(Some(status))) as Self::Result
                    }
                    // As for `Subscribe`.
                    Err(_) => {
                        let again = ctx.address().send(GetStatus { request: id });
                        Box::pin(
                            again
                                .into_actor(this)
                                .map(|result, _, _| result.ok().flatten()),
                        )
                    }
                }))
            }
            State::Waiting { audience, .. } | State::Ended { audience } => {
                status.phase = match audience.is_ended() {
                    true => RequestPhase::Ended,
                    false => RequestPhase::Waiting,
                };
                (status.subscribers, status.events) =
                    (audience.subscribers(), audience.next_sequence());
                Box::pin(actix::fut::ready(Some(status)))
            }
            State::Changing => Box::pin(actix::fut::ready(Some(status))),
        }
    }
}

impl Handler<RetentionDue> for StreamSupervisor {
    type Result = ();

    fn handle(&mut self, _: RetentionDue, ctx: &mut Self::Context) {
        let now = Instant::now();
        self.forget(now);
        self.retention_is_due = !self.retained.is_empty();
        if let Some((ended, _)) = self.retained.front() {
            let due = (*ended + self.config.retain).saturating_duration_since(now);
            // One that is still waited for is due already: it is looked at again soon, not at once.
            ctx.notify_later(RetentionDue, due.max(RETENTION_CHECK));
        }
    }
}

/// How soon an ended request that could not be let go is looked at again.
const RETENTION_CHECK: Duration = Duration::from_secs(1);

impl Handler<Shutdown> for StreamSupervisor {
    type Result = MessageResult<Shutdown>;

    fn handle(&mut self, Shutdown { grace }: Shutdown, ctx: &mut Self::Context) -> Self::Result {
        let (done, closed) = oneshot::channel();
        let closing = self.closing.get_or_insert_with(Closing::default);
        closing.waiting.push(done);
        // Those that wait for another attempt would have none.
        for id in self.ids() {
            let request = self.requests.get(&id);
            if request.is_some_and(|request| matches!(request.state, State::Waiting { .. })) {
                self.stop(id, StopReason::ShutDown, ctx);
            }
        }
        self.stop_questions::<Compaction>(OpenQuestion::is_waiting, ctx);
        self.stop_questions::<Listing>(OpenQuestion::is_waiting, ctx);
        ctx.notify_later(GraceOver, grace);
        self.close_if_idle(ctx);
        MessageResult(closed)
    }
}

impl Handler<GraceOver> for StreamSupervisor {
    type Result = ();

    fn handle(&mut self, _: GraceOver, ctx: &mut Self::Context) {
        if let Some(closing) = &mut self.closing {
            closing.grace_is_over = true;
        }
        for id in self.ids() {
            self.stop(id, StopReason::ShutDown, ctx);
        }
        self.stop_questions::<Compaction>(|_| true, ctx);
        self.stop_questions::<Listing>(|_| true, ctx);
        self.close_if_idle(ctx);
    }
}

fn request_body(prompt: &Prompt, provider: &Provider) -> Result<Bytes, ApiError> {
    match provider.wire {
        Wire::Responses => wire::responses::request_body(prompt, provider.quirks.responses),
        Wire::Chat => wire::chat::request_body(prompt, &provider.quirks.chat),
    }
}
