//! The hold that one attempt has on its request's listener.

use std::sync::Arc;

use actix::{Message, Recipient};
use tracing::Span;

use super::spec::{Attempt, RequestSpec};
use crate::{
    actors::{
        RequestId,
        audience::{
            Audience,
            listener::{Listener, Question},
        },
        messages::Answer,
        observing::Watch,
    },
    protocol::{
        ResponseEvent,
        error::{ApiError, ErrorKind},
    },
    telemetry,
};

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The end of the whole request was published: completed or incomplete.
    Ended,
    /// The question was answered; the asker does not know yet.
    Answered(Box<Answer>),
    /// It failed; whether the request has is the supervisor's to say.
    Failed(Box<ApiError>),
    /// It was told to stop; the audience knows.
    Stopped,
    /// The last subscriber left.
    Deserted,
    /// Nobody set an outcome: the actor panicked, was killed, or its arbiter is gone.
    Lost,
}

/// From the supervisor: end the request now, with this event.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Stop(pub(crate) ResponseEvent);

/// To the supervisor, exactly once for each attempt, whatever became of it.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct AttemptEnded {
    pub(crate) request: RequestId,
    pub(crate) attempt: u32,
    pub(crate) outcome: Outcome,
    /// Whether the provider's auth can get a new key. It is the program's code, so an attempt asks it.
    pub(crate) can_refresh: bool,
    pub(crate) listener: Listener,
}

/// Lends the listener to an attempt. However the lease ends, by its outcome, a panic, a killed actor, a message
/// that was never handled, its drop gives it back with the outcome.
pub(crate) struct Lease {
    report: Arc<Recipient<AttemptEnded>>,
    request: RequestId,
    attempt: u32,
    outcome: Outcome,
    can_refresh: bool,
    /// Of the attempt, which it tells when nothing else does how it ended.
    span: Span,
    /// Taken only by the drop.
    listener: Option<Listener>,
}

impl Lease {
    pub(crate) fn new(
        report: Arc<Recipient<AttemptEnded>>,
        attempt: &Attempt,
        listener: Listener,
    ) -> Self {
        Self {
            report,
            request: attempt.spec.id,
            attempt: attempt.number,
            outcome: Outcome::Lost,
            can_refresh: false,
            span: Span::none(),
            listener: Some(listener),
        }
    }

    /// Names the span of the attempt.
    pub(crate) fn watch(&mut self, span: &Span) {
        self.span = span.clone();
    }

    /// The number of the attempt.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Who observes the request.
    pub(crate) fn observers(&mut self) -> Option<&mut Watch> {
        self.listener.as_mut()?.watch().as_deref_mut()
    }

    /// What the attempt of a stream delivers to.
    pub(crate) fn audience(&mut self) -> &mut Audience {
        match &mut self.listener {
            Some(Listener::Audience(audience)) => audience,
            _ => unreachable!("a stream is lent an audience, and only the drop takes it"),
        }
    }

    /// What the attempt of a question asks.
    pub(crate) fn question(&self) -> Question {
        match &self.listener {
            Some(Listener::Asker(asker)) => asker.question,
            _ => unreachable!("a question is lent its asker, and only the drop takes it"),
        }
    }

    /// Sets the error that the supervisor is told.
    pub(crate) fn fail(&mut self, error: ApiError, spec: &RequestSpec) {
        self.can_refresh =
            error.kind() == ErrorKind::Authentication && spec.provider.auth.can_refresh();
        self.outcome = Outcome::Failed(Box::new(error));
    }

    /// Sets what the supervisor is told.
    pub(crate) fn set_outcome(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Lease {
    #[expect(
        clippy::disallowed_methods,
        reason = "one message for each attempt, and it must arrive"
    )]
    fn drop(&mut self) {
        if let Some(listener) = self.listener.take() {
            if let Outcome::Stopped | Outcome::Deserted | Outcome::Lost = self.outcome {
                telemetry::record_cancelled(&self.span);
            }
            let outcome = std::mem::replace(&mut self.outcome, Outcome::Lost);
            // To a supervisor that is gone this drops the listener, which hears of that.
            self.report.do_send(AttemptEnded {
                request: self.request,
                attempt: self.attempt,
                outcome,
                can_refresh: self.can_refresh,
                listener,
            });
        }
    }
}
