//! The hold that one attempt has on its request's audience.

use std::sync::Arc;

use actix::{Message, Recipient};

use super::spec::Attempt;
use crate::{
    actors::{RequestId, audience::Audience},
    protocol::error::ApiError,
};

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The end of the whole request was published: completed or incomplete.
    Ended,
    /// It failed; whether the request has is the supervisor's to say.
    Failed(Box<ApiError>),
    /// It was told to stop; the audience knows.
    Stopped,
    /// The last subscriber left.
    Deserted,
    /// Nobody set an outcome: the actor panicked, was killed, or its arbiter is gone.
    Lost,
}

/// To the supervisor, exactly once for each attempt, whatever became of it.
pub(crate) struct AttemptEnded {
    pub(crate) request: RequestId,
    pub(crate) attempt: u32,
    pub(crate) outcome: Outcome,
    pub(crate) audience: Box<Audience>,
}

impl Message for AttemptEnded {
    type Result = ();
}

/// Lends the audience to an attempt. However the lease ends, by its outcome, a panic, a killed actor, a message
/// that was never handled, its drop gives the audience back with the outcome.
pub(crate) struct Lease {
    report: Arc<Recipient<AttemptEnded>>,
    request: RequestId,
    attempt: u32,
    outcome: Outcome,
    /// Taken only by the drop.
    audience: Option<Box<Audience>>,
}

impl Lease {
    pub(crate) fn new(
        report: Arc<Recipient<AttemptEnded>>,
        attempt: &Attempt,
        audience: Box<Audience>,
    ) -> Self {
        Self {
            report,
            request: attempt.spec.id,
            attempt: attempt.number,
            outcome: Outcome::Lost,
            audience: Some(audience),
        }
    }

    pub(crate) fn audience(&mut self) -> &mut Audience {
        self.audience
            .as_mut()
            .expect("it is taken only by the drop")
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
        if let Some(audience) = self.audience.take() {
            let outcome = std::mem::replace(&mut self.outcome, Outcome::Lost);
            // To a supervisor that is gone this drops the audience, which tells the subscribers.
            self.report.do_send(AttemptEnded {
                request: self.request,
                attempt: self.attempt,
                outcome,
                audience,
            });
        }
    }
}
