//! How an attempt ended, and what follows.

use std::{sync::Arc, time::Duration};

use actix::{Context, Handler};
use tokio::time::Instant;

use super::{requests::StopReason, resuming, state::StreamSupervisor};
use crate::{
    actors::{
        RequestId,
        attempt::lease::{AttemptEnded, Outcome},
        audience::listener::Listener,
    },
    protocol::{ResponseEvent, Restarted, error::ApiError},
    retry::RetryDecision,
    telemetry,
};

impl Handler<AttemptEnded> for StreamSupervisor {
    type Result = ();

    fn handle(&mut self, message: AttemptEnded, ctx: &mut Self::Context) {
        let AttemptEnded {
            request: id,
            attempt,
            outcome,
            can_refresh,
            listener,
        } = message;
        let is_reading = self.requests.get(&id).is_some_and(|it| it.is_reading);
        if !is_reading {
            self.landed(id, &outcome, ctx);
        }
        let Some(request) = self
            .requests
            .get_mut(&id)
            .filter(|request| request.attempts.number() == attempt)
        else {
            // Of a supervisor that has begun anew since then.
            let lost = ResponseEvent::Failed(Arc::new(ApiError::supervisor_lost()));
            return drop(listener.cut_short(lost));
        };
        let stopping = request.stopping.take();
        let reason = stopping.as_ref().map(|stopping| stopping.reason);
        let is_cancelled = reason == Some(StopReason::Cancelled)
            && matches!(
                outcome,
                Outcome::Stopped | Outcome::Failed(_) | Outcome::Lost
            );
        for asker in stopping.into_iter().flat_map(|stopping| stopping.askers) {
            // Nobody may be waiting any more.
            let _ = asker.send(is_cancelled);
        }
        let origin = &request.spec.origin;
        let now = self.epoch.elapsed();
        match &outcome {
            // Of a server it says nothing.
            _ if is_reading => {}
            Outcome::Ended | Outcome::Answered(_) => self.breakers.record(origin, None, now),
            Outcome::Failed(error) => self.breakers.record(origin, Some(error), now),
            Outcome::Stopped | Outcome::Deserted | Outcome::Lost => {
                self.breakers.forget(origin, now);
            }
        }
        let is_answered = matches!(outcome, Outcome::Ended | Outcome::Answered(_));
        let audience = match (outcome, reason) {
            (Outcome::Ended | Outcome::Stopped, _) => listener.ended(),
            (Outcome::Answered(answer), _) => listener.answer(Ok(*answer)),
            (Outcome::Deserted, _) => listener.cut_short(ResponseEvent::Cancelled),
            // The stop came too late for the attempt, but not for the request.
            (Outcome::Failed(_), Some(reason @ StopReason::Cancelled))
            | (Outcome::Lost, Some(reason)) => listener.cut_short(reason.end()),
            // A known error is not replaced by that of a shutdown.
            (Outcome::Failed(error), Some(StopReason::ShutDown) | None) => {
                return self.on_failure(id, *error, can_refresh, listener, ctx);
            }
            (Outcome::Lost, None) => {
                return self.on_failure(id, ApiError::attempt_lost(), false, listener, ctx);
            }
        };
        if !is_answered {
            telemetry::record_cancelled(&request.span);
        }
        self.retire(id, audience, ctx);
    }
}

impl StreamSupervisor {
    /// Does what the policy says of a failed attempt.
    fn on_failure(
        &mut self,
        id: RequestId,
        mut error: ApiError,
        can_refresh: bool,
        mut listener: Listener,
        ctx: &mut Context<Self>,
    ) {
        let closing = self.is_closing();
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        let now = Instant::now();
        let standing = request.standing(&mut listener, &error, now);
        if request.is_reading && standing.resumes {
            // It was none at a server.
            request.attempts.move_on();
        }
        // What is stored is not read a second time: its events were delivered, and by now it may be this request that writes it.
        let is_last = closing || (request.spec.is_read_again() && !standing.resumes);
        if let Listener::Audience(audience) = &mut listener
            && closing
            && standing.resumes
        {
            audience.hand_over();
        }
        if let Some(lost) = standing.lost {
            resuming::lose(&mut error, lost);
        }
        error.details_mut().output_delivered = standing.output_delivered;
        let (error, decision) =
            request
                .attempts
                .judge(&request.spec, error, standing, can_refresh, is_last);
        let next = request.next_provider(&error, decision, &listener);
        let next = next.filter(|_| !closing);
        if let Some(observers) = listener.watch() {
            let at_once = next.as_ref().map(|_| Duration::ZERO);
            let retry_in = at_once.or(decision.delay());
            observers.on_failure(&error, retry_in, standing.resumes);
        }
        if let Some(next) = next {
            return self.fall_back(id, listener, next, error, ctx);
        }
        let delay = match decision {
            RetryDecision::GiveUp => {
                telemetry::record_last_error(&request.span, &error);
                return self.retire(id, listener.fail(error, now), ctx);
            }
            RetryDecision::RefreshAuth => None,
            RetryDecision::RetryAfter(delay) => Some(delay),
        };
        if let Listener::Audience(audience) = &mut listener
            && standing.output_delivered
            && !standing.resumes
        {
            let notice = Restarted {
                attempt: request.attempts.number() + 1,
                delay: delay.unwrap_or_default(),
                error: error.clone(),
            };
            audience.restart(ResponseEvent::Restarted(Arc::new(notice)), now);
        }
        let Some(delay) = delay else {
            request.refresh_auth = true;
            return self.start_attempt(id, listener, Some(error), ctx);
        };
        self.wait(id, listener, delay, error, ctx);
    }
}
