//! What the limiter is asked and told, and those who wait for it.

use std::{sync::Arc, time::Duration};

use actix::{AsyncContext, Context, Handler, SpawnHandle};

use super::{
    requests::{State, Waiting},
    state::StreamSupervisor,
};
use crate::{
    actors::{
        Limited, RequestId, RequestPhase, RequestStatus,
        attempt::{lease::Outcome, spec::HeadArrived},
        audience::listener::Listener,
    },
    protocol::error::{ApiError, ErrorKind, Phase},
    retry::{RetryDecision, Verdict, estimated_tokens, waited_too_long},
    telemetry,
};

impl StreamSupervisor {
    /// Gives the listener back when the next attempt may be sent; otherwise the request waits until the limiter lets it through.
    pub(super) fn pace(
        &mut self,
        id: RequestId,
        listener: Listener,
        last_error: &Option<Arc<ApiError>>,
        ctx: &mut Context<Self>,
    ) -> Option<Listener> {
        let now = self.epoch.elapsed();
        let (Some(pacing), Some(request)) = (&mut self.pacing, self.requests.get_mut(&id)) else {
            return Some(listener);
        };
        let spec = &request.spec;
        let gate = pacing.gate(spec);
        if pacing.limiter.has_let_through(gate, id.number) {
            return Some(listener);
        }
        let tokens = estimated_tokens(spec.body().len(), spec.max_output_tokens);
        let mut until = now.saturating_add(pacing.limiter.max_wait());
        if let Some(deadline) = spec.deadline {
            until = until.min(deadline.saturating_duration_since(self.epoch));
        }
        if !pacing.limiter.enter(gate, id.number, tokens, until, now) {
            return Some(listener);
        }
        request.state = State::Waiting(Waiting {
            listener,
            // None: that of the limiter is for all.
            timer: SpawnHandle::default(),
            error: last_error.clone(),
        });
        self.tend(id);
        self.release(gate, ctx);
        let pacing = self.pacing.as_ref()?;
        let outlook = pacing.limiter.outlook(gate, id.number, now)?;
        let request = self.requests.get_mut(&id)?;
        if let State::Waiting(waiting) = &mut request.state
            && let Some(observers) = waiting.listener.watch()
        {
            let about = outlook.about - now;
            tracing::debug!(request = %id, ?about, "an attempt waits for the limiter");
            observers.on_limited(about);
        }
        None
    }

    /// Starts the attempts that may be sent, and ends the requests that have waited too long. In a shutdown none is sent any more.
    fn release(&mut self, gate: u64, ctx: &mut Context<Self>) {
        loop {
            let now = self.epoch.elapsed();
            let closing = self.is_closing();
            let Some(pacing) = self.pacing.as_mut().filter(|_| !closing) else {
                return;
            };
            let Some(verdict) = pacing.limiter.next(gate, now) else {
                return self.set_timer(now, ctx);
            };
            // All of them are of this runtime.
            let id = |number| RequestId {
                number,
                ..self.next_id
            };
            match verdict {
                Verdict::Go(ticket) => self.retry(id(ticket), ctx),
                Verdict::Expired {
                    ticket,
                    until,
                    opens_at,
                } => self.expire(id(ticket), until, opens_at.saturating_sub(now), ctx),
            }
        }
    }

    fn set_timer(&mut self, now: Duration, ctx: &mut Context<Self>) {
        let Some(pacing) = &mut self.pacing else {
            return;
        };
        let Some(at) = pacing.limiter.wake_at() else {
            return;
        };
        match pacing.timer {
            // It finds nothing to do, and is set again.
            Some((set, _)) if set <= at => return,
            Some((_, timer)) => {
                ctx.cancel_future(timer);
            }
            None => {}
        }
        let timer = ctx.run_later(at.saturating_sub(now), |supervisor, ctx| {
            let now = supervisor.epoch.elapsed();
            let Some(pacing) = &mut supervisor.pacing else {
                return;
            };
            pacing.timer = None;
            for gate in pacing.limiter.due(now) {
                supervisor.release(gate, ctx);
            }
            supervisor.set_timer(now, ctx);
        });
        pacing.timer = Some((at, timer));
    }

    /// Ends a request that waited for the limiter too long; what is known is not replaced by that.
    fn expire(
        &mut self,
        id: RequestId,
        until: Duration,
        opens_in: Duration,
        ctx: &mut Context<Self>,
    ) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        let Some(waiting) = request.take_waiting() else {
            return;
        };
        let error = waiting.error.unwrap_or_else(|| {
            let max_wait = self.config.limiter.unwrap_or_default().max_wait;
            let mut error = waited_too_long(&request.spec.model, max_wait, opens_in);
            let deadline = request.spec.deadline;
            if deadline.is_some_and(|at| at.saturating_duration_since(self.epoch) <= until) {
                error.details_mut().kind = ErrorKind::TotalTimeout;
            }
            request.spec.complete(&mut error, request.attempts.number());
            Arc::new(error.with_phase(Phase::Prepare))
        });
        let next = request.next_provider(&error, RetryDecision::GiveUp, &waiting.listener);
        if let Some(next) = next {
            return self.fall_back(id, waiting.listener, next, error, ctx);
        }
        telemetry::record_last_error(&request.span, &error);
        let audience = waiting.listener.fail(error, tokio::time::Instant::now());
        self.retire(id, audience, ctx);
    }

    /// A request waits no more, or its attempt was let through and is not sent.
    pub(super) fn unpace(&mut self, id: RequestId) -> Option<u64> {
        let pacing = self.pacing.as_mut()?;
        let gate = pacing.gate(&self.requests.get(&id)?.spec);
        pacing.limiter.leave(gate, id.number);
        Some(gate)
    }

    /// The same, and whoever waits behind it may go.
    pub(super) fn unpace_and_release(&mut self, id: RequestId, ctx: &mut Context<Self>) {
        if let Some(gate) = self.unpace(id) {
            self.release(gate, ctx);
        }
    }

    /// Tells the limiter how an attempt ended.
    pub(super) fn landed(&mut self, id: RequestId, outcome: &Outcome, ctx: &mut Context<Self>) {
        let error = match outcome {
            Outcome::Failed(error) => Some(&**error),
            _ => None,
        };
        let now = self.epoch.elapsed();
        if let (Some(pacing), Some(request)) = (&mut self.pacing, self.requests.get(&id)) {
            let gate = pacing.gate(&request.spec);
            pacing.limiter.on_end(gate, id.number, error, now);
            self.release(gate, ctx);
        }
    }

    /// How a request is doing, also before the limiter.
    pub(super) fn status(&mut self, id: RequestId) -> Option<RequestStatus> {
        let request = self.requests.get_mut(&id)?;
        let mut status = request.status();
        if let Some(pacing) = &self.pacing
            && status.phase == RequestPhase::Waiting
        {
            let now = self.epoch.elapsed();
            let gate = pacing.gate(&request.spec);
            let outlook = pacing.limiter.outlook(gate, id.number, now);
            if let Some(outlook) = outlook {
                status.phase = RequestPhase::Limited;
                status.limited = Some(Limited {
                    waited: now.saturating_sub(outlook.since),
                    about: outlook.about - now,
                });
            }
        }
        Some(status)
    }
}

impl Handler<HeadArrived> for StreamSupervisor {
    type Result = ();

    fn handle(&mut self, message: HeadArrived, ctx: &mut Self::Context) {
        let HeadArrived {
            request: id,
            is_good,
            told,
        } = message;
        let Some(request) = self.requests.get(&id) else {
            return;
        };
        let now = self.epoch.elapsed();
        if is_good {
            self.breakers.record(&request.spec.origin, None, now);
        }
        if let Some(pacing) = &mut self.pacing {
            let gate = pacing.gate(&request.spec);
            pacing.limiter.on_head(gate, id.number, &told, now);
            self.release(gate, ctx);
        }
    }
}
