//! `StreamActor`: exactly one attempt at a request.
//!
//! Started by a worker for the supervisor. Receives the response's bytes, [`Join`], [`Leave`], [`Stop`] and [`Inspect`] from the
//! supervisor, [`SweepDue`] and [`SweepsOver`] from its worker. Delivers events to the audience that it holds for the time, and reports
//! by its lease, whose drop sends [`AttemptEnded`](super::lease::AttemptEnded). Ends at the terminal event, at the body's end, at a
//! failure, a deadline or a stop, or when nobody listens any more; it does not wait for the socket.

use std::{
    cell::Cell,
    mem,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use actix::{Actor, ActorContext, ActorFuture, AsyncContext, Context, Handler, Message};
use futures_core::future::LocalBoxFuture;
use http::{HeaderMap, HeaderName, header};
use tokio::time::{Instant, Sleep};
use tracing::Span;

use super::{
    lease::{Lease, Outcome},
    opening::{Refusal, open},
    spec::{Attempt, RequestSpec},
};
use crate::{
    actors::{
        SubscribeError, Subscriber, SubscriptionId,
        workers::worker::{LoadShare, SWEEP_INTERVAL},
    },
    protocol::{
        Id, RateLimitSnapshot, ResponseEvent,
        error::{ApiError, ErrorKind, Phase},
    },
    provider::MAX_TRAILER,
    secret::Secrets,
    telemetry,
    transport::{BodyStream, Pooled, TransportResponse},
    wire::{StreamDecoder, Terminal, server_error},
};

/// From the supervisor: a subscriber joins.
pub(crate) struct Join(pub(crate) Subscriber);

impl Message for Join {
    type Result = Result<SubscriptionId, SubscribeError>;
}

/// From the supervisor: a subscriber leaves.
pub(crate) struct Leave(pub(crate) SubscriptionId);

impl Message for Leave {
    type Result = bool;
}

/// From the supervisor: end the request now, with this event.
pub(crate) struct Stop(pub(crate) ResponseEvent);

impl Message for Stop {
    type Result = ();
}

/// From the worker, every [`SWEEP_INTERVAL`]: see whether the subscribers still exist, and what is due soon.
pub(crate) struct SweepDue;

impl Message for SweepDue {
    type Result = ();
}

/// From the worker, when it ends: no sweep follows.
pub(crate) struct SweepsOver;

impl Message for SweepsOver {
    type Result = ();
}

/// From the supervisor: how far the stream is.
pub(crate) struct Inspect;

impl Message for Inspect {
    type Result = (usize, u64);
}

/// A deadline that is further away than this has no timer yet: the sweeps look at it until it is near. Two of them, so that one may
/// come late, or find the mailbox full.
const TIMER_HORIZON: Duration = Duration::from_secs(2 * SWEEP_INTERVAL.as_secs());

/// How many chunks are read before what they held is delivered and others on the arbiter get their turn.
const CHUNKS_AT_ONCE: usize = 64;

/// How much of a body that is no event stream is kept for the error that says so.
const FOREIGN_BODY_BYTES: usize = 2 * 1024;

pub(crate) struct StreamActor {
    spec: Arc<RequestSpec>,
    lease: Lease,
    stage: Stage,
    decoder: StreamDecoder,
    events: Vec<ResponseEvent>,
    request_id: Option<Box<str>>,
    secrets: Secrets,
    transport: Rc<Pooled>,
    times: Times,
    /// For what is due soon, so that a stream on which nothing happens has no timer.
    alarm: Option<Pin<Box<Sleep>>>,
    is_swept: bool,
    /// Whether anything of this attempt was published.
    published: bool,
    congested: bool,
    span: Span,
    load: Option<LoadShare>,
}

enum Stage {
    Opening {
        future: LocalBoxFuture<'static, Result<(TransportResponse, Secrets), Refusal>>,
        /// How far it has come.
        phase: Rc<Cell<Phase>>,
    },
    Reading {
        body: BodyStream,
        foreign: Option<Box<ForeignBody>>,
    },
    Over,
}

/// The beginning of a body whose `content-type` is not that of an event stream.
struct ForeignBody {
    content_type: String,
    start: Vec<u8>,
}

/// When what was last seen.
struct Times {
    milestone: Milestone,
    byte: Instant,
    event: Instant,
}

/// The last of them that was reached, and when.
#[derive(Clone, Copy)]
enum Milestone {
    /// None; the opening watches the time itself.
    Opening,
    /// The response's head, or, where there were events already, another moment since.
    Head(Instant),
    /// The whole answer; what may follow it is waited for.
    Finishing {
        first: Instant,
        /// When the last of what followed it came.
        last: Instant,
    },
}

impl Milestone {
    fn finishing(now: Instant) -> Self {
        Self::Finishing {
            first: now,
            last: now,
        }
    }
}

impl StreamActor {
    pub(crate) fn new(
        attempt: Attempt,
        lease: Lease,
        transport: Rc<Pooled>,
        load: LoadShare,
    ) -> Self {
        let now = Instant::now();
        let span = attempt.span("chat");
        let spec = attempt.spec.clone();
        let phase = Rc::new(Cell::new(Phase::Authorize));
        let head_limit = spec.provider.timeouts.response_head;
        let opening = open(attempt, transport.clone(), phase.clone(), head_limit);
        Self {
            decoder: StreamDecoder::new(spec.provider.wire, spec.stream.limits)
                .with_chat_quirks(&spec.provider.quirks.chat),
            spec,
            lease,
            stage: Stage::Opening {
                future: Box::pin(opening),
                phase,
            },
            events: Vec::new(),
            request_id: None,
            secrets: Secrets::default(),
            transport,
            times: Times {
                milestone: Milestone::Opening,
                byte: now,
                event: now,
            },
            alarm: None,
            is_swept: true,
            published: false,
            congested: false,
            span,
            load: Some(load),
        }
    }

    /// Takes the response's head and publishes what it says.
    fn on_head(&mut self, response: TransportResponse, now: Instant) {
        let TransportResponse { headers, body, .. } = response;
        self.times = Times {
            milestone: Milestone::Head(now),
            byte: now,
            event: now,
        };
        self.request_id = server_error::request_id(&headers).map(Into::into);
        if let Some(id) = &self.request_id {
            let id = self
                .secrets
                .scrubbed(id)
                .map_or_else(|| (**id).into(), Id::from);
            self.decoder.set_request_id(id);
        }
        header_events(&headers, &mut self.events);
        let content_type = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let foreign = match content_type {
            Some(value) if !is_event_stream(value) => Some(Box::new(ForeignBody {
                content_type: value.to_owned(),
                start: Vec::new(),
            })),
            _ => None,
        };
        self.stage = Stage::Reading { body, foreign };
    }

    /// Reads what is ready. `Some` is the end; `Pending` is registered with the task.
    fn read(&mut self, cx: &mut TaskContext<'_>, now: Instant) -> Option<Terminal> {
        let Stage::Reading { body, foreign } = &mut self.stage else {
            return None;
        };
        let events_before = self.decoder.events();
        let went_on_before = self.decoder.went_on();
        let (mut read, mut body_over) = (false, false);
        let mut terminal = None;
        for turn in 0.. {
            if turn == CHUNKS_AT_ONCE {
                cx.waker().wake_by_ref();
                break;
            }
            match body.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    read = true;
                    if let Some(foreign) = foreign {
                        let room = FOREIGN_BODY_BYTES - foreign.start.len();
                        foreign
                            .start
                            .extend_from_slice(&chunk[..chunk.len().min(room)]);
                    }
                    terminal = self.decoder.feed(&chunk, &mut self.events);
                    // The first event does not wait for what else is ready.
                    if !self.published && !self.events.is_empty() && terminal.is_none() {
                        match self.lease.audience().has_streams() {
                            true => step_aside(cx),
                            false => cx.waker().wake_by_ref(),
                        }
                        break;
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    body_over = true;
                    // What is known already is not replaced by a broken connection.
                    terminal = match self.decoder.is_finishing_surely() {
                        true => self.decoder.finish(&mut self.events),
                        false => Some(Terminal::Failed(error.into())),
                    };
                }
                Poll::Ready(None) => {
                    body_over = true;
                    terminal = self.decoder.end_of_stream(&mut self.events);
                    if let (Some(Terminal::Failed(error)), Some(foreign)) =
                        (&mut terminal, foreign.as_ref())
                        && error.kind() != ErrorKind::TooLarge
                        && self.decoder.events() == 0
                    {
                        *error = foreign.error();
                    }
                }
                Poll::Pending => break,
            }
            if terminal.is_some() {
                break;
            }
        }
        if body_over {
            self.stage = Stage::Over;
        }
        if let Some(turn_state) = &self.spec.turn_state {
            turn_state.observe_events(&self.events);
        }
        if read {
            self.times.byte = now;
        }
        if self.decoder.events() > events_before {
            self.times.event = now;
        }
        let went_on = self.decoder.went_on() > went_on_before;
        self.times.milestone = match (self.decoder.is_finishing(), self.times.milestone) {
            (true, Milestone::Head(_)) => Milestone::finishing(now),
            (true, Milestone::Finishing { first, .. }) if went_on => {
                Milestone::Finishing { first, last: now }
            }
            (false, Milestone::Finishing { first, .. }) => Milestone::Head(first),
            (_, milestone) => milestone,
        };
        terminal
    }

    /// Ends the attempt: publishes the end if it is one of the whole request, and lets go of the socket.
    fn on_terminal(
        &mut self,
        terminal: Terminal,
        now: Instant,
        span: &Span,
        ctx: &mut Context<Self>,
    ) {
        let stage = mem::replace(&mut self.stage, Stage::Over);
        match terminal {
            Terminal::Failed(mut error) => {
                self.lease.audience().publish(&mut self.events, now);
                self.decoder.complete(&mut error);
                let details = error.details_mut();
                if details.request_id.is_none() {
                    details.request_id = self.request_id.take().map(Into::into);
                }
                details.phase.get_or_insert(Phase::Body);
                self.secrets.scrub(&mut error);
                telemetry::record_error(span, &error);
                self.lease.set_outcome(Outcome::Failed(Box::new(error)));
            }
            end => {
                record_end(span, &end);
                // See `LoadShare`.
                self.load = None;
                self.lease.set_outcome(Outcome::Ended);
                self.lease.audience().end(&mut self.events, end.into(), now);
            }
        }
        if let Stage::Reading { body, .. } = stage {
            let limits = self.spec.provider.drain;
            self.transport.drain(&self.spec.origin, body, limits);
        }
        ctx.stop();
    }

    fn fail(&mut self, mut error: ApiError, now: Instant, span: &Span, ctx: &mut Context<Self>) {
        error.details_mut().phase.get_or_insert(self.phase());
        // The body is dropped, which closes the connection: nothing good is to be expected of it.
        self.stage = Stage::Over;
        self.on_terminal(Terminal::Failed(error), now, span, ctx);
    }

    fn phase(&self) -> Phase {
        match &self.stage {
            Stage::Opening { phase, .. } => phase.get(),
            Stage::Reading { .. } | Stage::Over => Phase::Body,
        }
    }

    /// What has taken too long, if anything has.
    fn overdue(&mut self, limit: Option<(Instant, Limit)>, now: Instant) -> Option<Terminal> {
        let (deadline, limit) = limit?;
        if now < deadline {
            return None;
        }
        let timeouts = &self.spec.provider.timeouts;
        let phase = self.phase();
        let (kind, message) = match limit {
            Limit::Trailer => return self.decoder.finish(&mut self.events),
            Limit::Total => (
                ErrorKind::TotalTimeout,
                format!(
                    "the request took longer than {:?}",
                    timeouts.total.unwrap_or_default()
                ),
            ),
            Limit::FirstEvent => (
                ErrorKind::FirstEventTimeout,
                format!(
                    "no event within {:?} of the response head",
                    timeouts.first_event.unwrap_or_default()
                ),
            ),
            Limit::Idle => (
                ErrorKind::IdleTimeout,
                format!("no byte for {:?}", timeouts.idle),
            ),
            Limit::Progress => (
                ErrorKind::ProgressTimeout,
                format!(
                    "no event for {:?}, though the connection was kept alive",
                    timeouts.progress.unwrap_or_default()
                ),
            ),
        };
        Some(Terminal::Failed(
            ApiError::new(kind, message).with_phase(phase),
        ))
    }

    /// The next moment at which patience ends. Of limits that end together, the last in this list counts.
    fn next_limit(&self) -> Option<(Instant, Limit)> {
        let timeouts = &self.spec.provider.timeouts;
        let mut next = self.spec.deadline.map(|deadline| (deadline, Limit::Total));
        let mut bound = |at: Instant, limit| {
            if next.is_none_or(|(before, _)| at <= before) {
                next = Some((at, limit));
            }
        };
        let times = &self.times;
        match times.milestone {
            // The opening watches the time until the head itself.
            Milestone::Opening => {}
            // Who is not read from can't be late.
            _ if self.congested => {}
            Milestone::Finishing { first, last } => {
                let trailer = timeouts.trailer.min(MAX_TRAILER);
                bound((last + trailer).min(first + MAX_TRAILER), Limit::Trailer);
            }
            Milestone::Head(head) => {
                if let Some(first) = timeouts.first_event
                    && self.decoder.events() == 0
                {
                    bound(head + first, Limit::FirstEvent);
                }
                if let Some(progress) = timeouts.progress {
                    bound(times.event + progress, Limit::Progress);
                }
                bound(times.byte + timeouts.idle, Limit::Idle);
            }
        }
        next
    }

    /// Makes sure that the task is woken at the next deadline, by a sweep or, when it is near, by the alarm. The alarm is set
    /// anew only for an earlier deadline: one that has moved on is looked at again when the alarm goes off, so events do not
    /// touch the timer.
    fn set_alarm(
        &mut self,
        deadlines: [Option<Instant>; 3],
        cx: &mut TaskContext<'_>,
        now: Instant,
    ) {
        let Some(next) = deadlines.into_iter().flatten().min() else {
            return;
        };
        if self.is_swept && next > now + TIMER_HORIZON {
            // One that is set already goes off in vain.
            self.alarm.take_if(|alarm| alarm.is_elapsed());
            return;
        }
        if let Some(alarm) = &mut self.alarm {
            // It is registered with this task already, which stays the same.
            if alarm.deadline() <= next && now < alarm.deadline() {
                return;
            }
            alarm.as_mut().reset(next);
        }
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
        // Whatever else the task has done in this turn: a timer that is not polled to its end is not set.
        let alarm = std::pin::pin!(tokio::task::unconstrained(alarm.as_mut()));
        if alarm.poll(cx).is_ready() {
            // It is due; it is seen to in the next turn.
            self.alarm = None;
            cx.waker().wake_by_ref();
        }
    }

    fn turn(&mut self, span: &Span, ctx: &mut Context<Self>, cx: &mut TaskContext<'_>) {
        let now = Instant::now();
        if let Stage::Opening { future, .. } = &mut self.stage
            && let Poll::Ready(result) = future.as_mut().poll(cx)
        {
            match result {
                Ok((response, secrets)) => {
                    self.secrets = secrets;
                    self.on_head(response, now);
                }
                Err(Refusal { error, rate_limits }) => {
                    let limits = rate_limits.into_iter().map(Arc::new);
                    self.events.extend(limits.map(ResponseEvent::RateLimits));
                    return self.fail(error, now, span, ctx);
                }
            }
        }
        self.lease.audience().poll(cx, now);
        let congested = self.lease.audience().is_congested();
        if self.congested && !congested {
            // The time that we did not read is not the server's.
            self.times.byte = now;
            self.times.event = now;
            if let Milestone::Finishing { .. } = self.times.milestone {
                self.times.milestone = Milestone::finishing(now);
            }
        }
        self.congested = congested;
        let terminal = match congested {
            true => None,
            false => self.read(cx, now),
        };
        if let Some(terminal) = terminal {
            return self.on_terminal(terminal, now, span, ctx);
        }
        let limit = self.next_limit();
        match self.overdue(limit, now) {
            Some(Terminal::Failed(error)) => return self.fail(error, now, span, ctx),
            Some(end) => return self.on_terminal(end, now, span, ctx),
            None => {}
        }
        if !self.events.is_empty() {
            self.published = true;
            self.lease.audience().publish(&mut self.events, now);
            self.lease.audience().poll(cx, now);
            // What has just blocked is waited for from now on.
            if self.lease.audience().is_congested() != self.congested {
                cx.waker().wake_by_ref();
            }
        }
        let when_deserted = self.spec.stream.when_deserted;
        let abandoned_at = self.lease.audience().abandoned_at(when_deserted, now);
        if abandoned_at.is_some_and(|at| now >= at) {
            self.stage = Stage::Over;
            self.lease.set_outcome(Outcome::Deserted);
            return ctx.stop();
        }
        let blocked_until = self.lease.audience().deadline();
        let limit = limit.map(|(at, _)| at);
        self.set_alarm([limit, blocked_until, abandoned_at], cx, now);
    }
}

/// Wakes this task once all that is ready has had its turn, the future that the program blocks on included. That is polled
/// only now and then while tasks are ready, and a task that wakes itself always is. Polled once, `yield_now` has left its
/// waker with the runtime.
fn step_aside(cx: &mut TaskContext<'_>) {
    let _ = std::pin::pin!(tokio::task::yield_now()).poll(cx);
}

/// Records an answer's end with the span of its attempt.
fn record_end(span: &Span, end: &Terminal) {
    match end {
        Terminal::Completed(completed) => {
            telemetry::record_answer(
                span,
                completed.response_id.as_deref(),
                completed.token_usage.as_ref(),
                "stop",
            );
        }
        Terminal::Incomplete(incomplete) => {
            telemetry::record_answer(
                span,
                incomplete.response_id.as_deref(),
                incomplete.token_usage.as_ref(),
                &incomplete.reason,
            );
        }
        Terminal::Failed(error) => telemetry::record_error(span, error),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Limit {
    FirstEvent,
    Idle,
    Progress,
    Total,
    Trailer,
}

impl ForeignBody {
    /// What to say of a body that held no event.
    fn error(&self) -> ApiError {
        let described = serde_json::from_slice(&self.start)
            .ok()
            .and_then(|value| server_error::ServerError::from_json(&value));
        match described {
            Some(error) => error.into_api_error(None),
            None => ApiError::new(
                ErrorKind::Protocol,
                format!(
                    "the server sent no event stream but {}: {}",
                    self.content_type,
                    server_error::excerpt(&String::from_utf8_lossy(&self.start))
                        .unwrap_or_else(|| "nothing".to_owned()),
                ),
            ),
        }
    }
}

fn is_event_stream(content_type: &str) -> bool {
    let start = content_type.trim_start().get(..EVENT_STREAM.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
}

const EVENT_STREAM: &str = "text/event-stream";

static SERVER_MODEL: HeaderName = HeaderName::from_static("openai-model");
static MODELS_ETAG: HeaderName = HeaderName::from_static("x-models-etag");
static REASONING_INCLUDED: HeaderName = HeaderName::from_static("x-reasoning-included");

/// What the head of a response says, as events.
fn header_events(headers: &HeaderMap, events: &mut Vec<ResponseEvent>) {
    let text = |name: &HeaderName| {
        let text = headers.get(name)?.to_str().ok()?.trim();
        (!text.is_empty()).then(|| Id::from(text))
    };
    events.extend(text(&SERVER_MODEL).map(ResponseEvent::ServerModel));
    let limits = RateLimitSnapshot::from_headers(headers).into_iter();
    events.extend(limits.map(|snapshot| ResponseEvent::RateLimits(Arc::new(snapshot))));
    events.extend(text(&MODELS_ETAG).map(ResponseEvent::ModelsEtag));
    if headers.contains_key(&REASONING_INCLUDED) {
        events.push(ResponseEvent::ServerReasoningIncluded);
    }
}

/// Polls the actor's sockets and timers. One future for all of them: a `StreamHandler` would hand over one chunk at a time,
/// while what is ready together should be delivered together, and it could not stop reading.
struct Turns;

impl ActorFuture<StreamActor> for Turns {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut StreamActor,
        ctx: &mut Context<StreamActor>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        // Borrowed from the actor for the turn: a clone would be counted by the subscriber in each.
        let span = mem::replace(&mut actor.span, Span::none());
        span.in_scope(|| actor.turn(&span, ctx, cx));
        actor.span = span;
        Poll::Pending
    }
}

impl Actor for StreamActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(Turns);
    }
}

impl Handler<Join> for StreamActor {
    type Result = Result<SubscriptionId, SubscribeError>;

    fn handle(&mut self, Join(subscriber): Join, _: &mut Self::Context) -> Self::Result {
        self.lease.audience().subscribe(subscriber, Instant::now())
    }
}

impl Handler<Leave> for StreamActor {
    type Result = bool;

    fn handle(&mut self, Leave(subscription): Leave, _: &mut Self::Context) -> bool {
        self.lease.audience().unsubscribe(subscription)
    }
}

impl Handler<Stop> for StreamActor {
    type Result = ();

    fn handle(&mut self, Stop(end): Stop, ctx: &mut Self::Context) {
        self.stage = Stage::Over;
        self.lease.set_outcome(Outcome::Stopped);
        self.lease.audience().cut_short(end);
        ctx.stop();
    }
}

impl Handler<SweepDue> for StreamActor {
    type Result = ();

    fn handle(&mut self, _: SweepDue, _: &mut Self::Context) {
        self.lease.audience().sweep();
    }
}

impl Handler<SweepsOver> for StreamActor {
    type Result = ();

    fn handle(&mut self, _: SweepsOver, _: &mut Self::Context) {
        // The turn that follows sets the alarm.
        self.is_swept = false;
    }
}

impl Handler<Inspect> for StreamActor {
    type Result = actix::MessageResult<Inspect>;

    fn handle(&mut self, _: Inspect, _: &mut Self::Context) -> Self::Result {
        let audience = self.lease.audience();
        actix::MessageResult((audience.subscribers(), audience.next_sequence()))
    }
}
