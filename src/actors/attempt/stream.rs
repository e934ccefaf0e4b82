//! `StreamActor`: exactly one attempt at a request.
//!
//! Started by a worker for the supervisor. Receives the response's bytes, what is [`ForAudience`](crate::actors::audience::listener::ForAudience), and [`Stop`](super::lease::Stop) from the supervisor,
//! [`SweepDue`](super::alarm::SweepDue) and [`SweepsOver`](super::alarm::SweepsOver) from its worker. Delivers events to the audience that it holds for the time, and reports by its lease,
//! whose drop sends [`AttemptEnded`](super::lease::AttemptEnded). Ends at the terminal event, at the body's end, at a failure, a
//! deadline or a stop, or when nobody listens any more; it does not wait for the socket.

use std::{
    cell::Cell,
    mem,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use actix::{Actor, ActorContext, ActorFuture, AsyncContext, Context};
use futures_core::future::LocalBoxFuture;
use tokio::time::Instant;
use tracing::Span;

use super::{
    alarm::{Alarm, SecondLook},
    clock::{Clock, Limit},
    head::ForeignBody,
    lease::{Lease, Outcome},
    opening::{Refusal, open},
    resuming,
    spec::{Attempt, RequestSpec},
    stored::Replay,
};
use crate::{
    actors::{observing::ChunkTimes, workers::load::LoadShare},
    protocol::{
        ResponseEvent,
        error::{ApiError, Phase},
    },
    retry::RetryAfterOutput,
    secret::Secrets,
    telemetry,
    transport::{BodyStream, Pooled, TransportResponse},
    wire::{StreamDecoder, Terminal, blocks::BlockReader},
};

mod reading;
mod replay;
mod stop;
mod watched;

pub(crate) struct StreamActor {
    spec: Arc<RequestSpec>,
    lease: Lease,
    stage: Stage,
    decoder: StreamDecoder,
    /// The attempt that the answer began with, which this one may go on with.
    began_with: u32,
    /// Whether it goes on with one that broke before.
    goes_on: bool,
    blocks: Option<Box<BlockReader>>,
    events: Vec<ResponseEvent>,
    request_id: Option<Box<str>>,
    secrets: Secrets,
    transport: Rc<Pooled>,
    clock: Clock,
    alarm: Alarm,
    second_look: SecondLook,
    /// Whether anything of this attempt but its head was published.
    published: bool,
    /// Whether an event of this attempt changed the answer.
    has_progress: bool,
    congested: bool,
    /// Whether each read is looked at: for a limit on events, or for `chunks`.
    is_watched: bool,
    chunks: Option<Box<ChunkTimes>>,
    bytes: u64,
    span: Span,
    request_span: Span,
    first_event_at: Option<Instant>,
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
        /// Until it has held an event.
        foreign: Option<Box<ForeignBody>>,
    },
    /// In place of both.
    Stored(Box<Replay>),
    Over,
}

impl StreamActor {
    pub(crate) fn new(
        attempt: Attempt,
        mut lease: Lease,
        transport: Rc<Pooled>,
        load: LoadShare,
    ) -> Self {
        let now = Instant::now();
        let span = attempt.span.clone();
        lease.watch(&span);
        let mut request_span = attempt.request_span.clone();
        let spec = attempt.spec.clone();
        let goes_on = attempt.resumes.is_some();
        let (decoder, began_with) = resuming::decoder_for(&attempt, lease.audience());
        // What is written to a store is written with them.
        let has_blocks = spec.stream.has_blocks || lease.audience().is_recorded();
        let blocks = has_blocks.then(|| {
            let limits = spec.stream.limits.sse;
            let reader = BlockReader::new(limits, began_with);
            Box::new(reader.joining(spec.stream.joins_deltas))
        });
        let phase = Rc::new(Cell::new(Phase::Authorize));
        let timeouts = &spec.provider.timeouts;
        let head_limit = timeouts.response_head;
        let is_watched = timeouts.progress.is_some() || timeouts.first_event.is_some();
        let stage = match spec.read_again() {
            Some(stored) if !goes_on => {
                // What is read again was told of when it came.
                request_span = Span::none();
                Stage::Stored(Replay::new(stored.follow(&spec.id.to_string())))
            }
            _ => {
                let opening = open(attempt, transport.clone(), phase.clone(), head_limit);
                let future = Box::pin(opening);
                Stage::Opening { future, phase }
            }
        };
        Self {
            decoder,
            began_with,
            goes_on,
            blocks,
            spec,
            lease,
            stage,
            events: Vec::new(),
            request_id: None,
            secrets: Secrets::default(),
            transport,
            clock: Clock::new(now),
            alarm: Alarm::default(),
            second_look: SecondLook::default(),
            published: false,
            has_progress: false,
            congested: false,
            is_watched,
            chunks: None,
            bytes: 0,
            span,
            request_span,
            first_event_at: None,
            load: Some(load),
        }
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
        if let Some(blocks) = &mut self.blocks {
            match terminal {
                // Nor does a block go out that quotes the key which was refused; the error says the same without it.
                Terminal::Failed(_) => blocks.cut_at(|block| self.secrets.are_quoted_in(block)),
                _ => {
                    let written = match &stage {
                        Stage::Stored(replay) => replay.attempt.as_ref().map(|it| it.wire),
                        _ => None,
                    };
                    let wire = written.unwrap_or(self.spec.provider.wire);
                    blocks.complete(wire, self.events.len());
                }
            }
        }
        let read = self.blocks.as_ref().map_or(0, |it| it.read_events());
        self.hand_over_blocks();
        match terminal {
            Terminal::Failed(mut error) => {
                let audience = self.lease.audience();
                audience.publish_before_failure(&mut self.events, read, now);
                self.complete(&mut error, Phase::Body);
                telemetry::record_error(span, &error);
                resuming::leave(
                    &mut self.decoder,
                    self.began_with,
                    &self.spec,
                    self.lease.audience(),
                );
                self.lease.fail(error, &self.spec);
            }
            end => {
                let first_chunk = self.first_event_at.unwrap_or(now) - self.spec.accepted;
                let audience = self.lease.audience();
                let events = audience.logged().chain(&self.events);
                let model = audience.model();
                let content = self.spec.content.as_deref();
                let (span, secrets) = (&self.request_span, &self.secrets);
                telemetry::record_answer(span, &end, first_chunk, events, model, content, secrets);
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

    /// Adds to an error what is known of the answer, and takes out what is secret.
    fn complete(&mut self, error: &mut ApiError, phase: Phase) {
        self.decoder.complete(error);
        let details = error.details_mut();
        if details.request_id.is_none() {
            details.request_id = self.request_id.take().map(Into::into);
        }
        details.phase.get_or_insert(phase);
        self.secrets.scrub(error);
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
            Stage::Reading { .. } | Stage::Stored(_) | Stage::Over => Phase::Body,
        }
    }

    /// What follows from a limit that has passed.
    fn overdue(&mut self, limit: Limit) -> Option<Terminal> {
        match limit {
            Limit::Trailer(_) => self.decoder.finish(&mut self.events),
            _ => Some(Terminal::Failed(limit.error(self.phase()))),
        }
    }

    /// Those that have been read go with the events.
    fn hand_over_blocks(&mut self) {
        if let Some(blocks) = &mut self.blocks {
            self.lease.audience().add_blocks(blocks.take());
        }
    }

    /// Delivers what was read.
    fn publish(&mut self, cx: &mut TaskContext<'_>, now: Instant) {
        if self.events.is_empty() {
            return;
        }
        self.hand_over_blocks();
        self.published |= !matches!(self.events[..], [ResponseEvent::Head(_)]);
        let audience = self.lease.audience();
        audience.publish(&mut self.events, now);
        audience.poll(cx, now);
        if !self.published {
            // The room that was made for the head is not kept until a first event comes, which may be long after.
            self.events = Vec::new();
        }
        // What has just blocked is waited for from now on.
        if audience.is_congested() != self.congested {
            cx.waker().wake_by_ref();
        }
        if audience.output_delivered() && self.spec.retry.after_output == RetryAfterOutput::Fail {
            self.spec.let_body_go();
        }
    }

    fn on_refusal(&mut self, refusal: Refusal, now: Instant, span: &Span, ctx: &mut Context<Self>) {
        if let Some(observers) = self.lease.observers() {
            observers.on_refusal(&refusal.error, refusal.head_at);
        }
        // See `record_head`.
        if !(self.goes_on && self.lease.audience().is_recorded()) {
            let limits = refusal.rate_limits.into_iter().map(Arc::new);
            self.events.extend(limits.map(ResponseEvent::RateLimits));
        }
        self.fail(refusal.error, now, span, ctx);
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
                Err(refusal) => return self.on_refusal(refusal, now, span, ctx),
            }
        }
        self.lease.audience().poll(cx, now);
        let congested = self.lease.audience().is_congested();
        if self.congested && !congested {
            self.clock.resume(now);
        }
        self.congested = congested;
        if !congested && self.replay(span, now, ctx, cx) {
            return;
        }
        let terminal = match congested {
            true => None,
            false => self.read(cx, now),
        };
        if let Some(terminal) = terminal {
            return self.on_terminal(terminal, now, span, ctx);
        }
        let timeouts = &self.spec.provider.timeouts;
        let limit = (self.clock).next(timeouts, self.spec.deadline, self.has_progress, !congested);
        if let Some((deadline, limit)) = limit
            && now >= deadline
        {
            // What came while the process stood still is no silence.
            let is_silence = !matches!(limit, Limit::Total(_));
            if is_silence && !self.second_look.is_done(deadline, cx) {
                return self.publish(cx, now);
            }
            match self.overdue(limit) {
                Some(Terminal::Failed(error)) => return self.fail(error, now, span, ctx),
                Some(end) => return self.on_terminal(end, now, span, ctx),
                None => {}
            }
        }
        self.publish(cx, now);
        let when_deserted = self.spec.stream.when_deserted;
        let abandoned_at = self.lease.audience().abandoned_at(when_deserted, now);
        if abandoned_at.is_some_and(|at| now >= at) {
            self.break_off(None);
            self.lease.set_outcome(Outcome::Deserted);
            return ctx.stop();
        }
        let blocked_until = self.lease.audience().deadline();
        let limit = limit.map(|(at, _)| at);
        if let Some(next) = [limit, blocked_until, abandoned_at]
            .into_iter()
            .flatten()
            .min()
        {
            self.alarm.set(next, cx, now);
        }
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

    fn stopped(&mut self, _: &mut Self::Context) {
        // The audience goes back to the supervisor, which counts it itself.
        self.spec.counts.add_bytes(self.bytes);
    }
}
