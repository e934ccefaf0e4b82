//! What the supervisor knows of a request's attempts, and what follows one that failed.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    actors::attempt::spec::RequestSpec,
    protocol::error::{ApiError, AttemptFailure},
    retry::{AttemptContext, RetryDecision},
};

/// What there is of an answer after an attempt failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Some of it was delivered.
    pub(super) output_delivered: bool,
    /// The next attempt goes on with it.
    pub(super) resumes: bool,
    /// Another attempt would bring another answer than the one that has begun: some of it was delivered, or the server has accepted a
    /// background response, which goes on, and is paid for, whatever became of its stream.
    pub(super) is_begun: bool,
    /// The server was asked to go on with it, and does not. Of another answer that says nothing.
    pub(super) is_refused: bool,
    /// It is one that another process began, which is gone, and why nobody goes on with it.
    pub(super) lost: Option<Lost>,
}

/// Why an answer of another process is not gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Its server refuses to.
    Refused,
    /// Its server is not asked after so long.
    Late,
}

#[derive(Default)]
pub(crate) struct Attempts {
    number: u32,
    failures: Vec<AttemptFailure>,
    refreshed: bool,
    /// How many there were at providers before the one that is asked.
    elsewhere: u32,
}

impl Attempts {
    /// The attempt that runs or ran last; 0 before the first.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// What the failures hold, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let texts = self.failures.iter().map(|failure| {
            let others = [&failure.request_id, &failure.provider];
            let others = others.into_iter().flatten().map(String::len);
            size_of::<AttemptFailure>() + failure.message.len() + others.sum::<usize>()
        });
        texts.sum()
    }

    /// Counts the next attempt.
    pub(crate) fn begin(&mut self, spec: &RequestSpec) -> u32 {
        self.number += 1;
        tracing::debug!(request = %spec.id, attempt = self.number, "starting an attempt");
        self.number
    }

    /// Another provider is asked from now on.
    pub(crate) fn move_on(&mut self) {
        self.elsewhere = self.number;
        self.refreshed = false;
    }

    /// Completes the error of the attempt that has just failed with what it could not know, and asks the policy, which is told
    /// what there is of the answer, and whether the attempt's auth `can_refresh`. Behind one that `is_last` nothing is tried again.
    pub(crate) fn judge(
        &mut self,
        spec: &RequestSpec,
        mut error: ApiError,
        standing: Standing,
        can_refresh: bool,
        is_last: bool,
    ) -> (Arc<ApiError>, RetryDecision) {
        spec.complete(&mut error, self.number);
        self.failures.push(AttemptFailure {
            attempt: self.number,
            kind: error.kind(),
            message: error.message().to_owned(),
            request_id: error.details().request_id.clone(),
            provider: (spec.is_one_of_several()).then(|| spec.provider.name().to_owned()),
        });
        let details = error.details_mut();
        details.attempts = self.failures.clone();
        let context = AttemptContext {
            attempt: self.number - self.elsewhere,
            output_delivered: standing.is_begun,
            is_refused: standing.is_refused,
            can_refresh: can_refresh && !self.refreshed,
        };
        let mut decision = match is_last {
            true => RetryDecision::GiveUp,
            false => spec.retry.decide(&error, context),
        };
        let delay = decision.delay();
        // A wait beyond the total deadline would only end in another error, which says less.
        let left = spec
            .deadline
            .map(|at| at.saturating_duration_since(Instant::now()));
        let delay = delay.filter(|delay| left.is_none_or(|left| *delay < left));
        if delay.is_none() {
            decision = RetryDecision::GiveUp;
        }
        self.refreshed |= decision == RetryDecision::RefreshAuth;
        let error = Arc::new(error);
        // Not its message: servers quote prompts in theirs.
        tracing::debug!(
            request = %spec.id,
            error = error.kind().as_str(),
            status = ?error.details().status,
            code = ?error.details().code,
            retry_in = ?delay,
            "an attempt failed"
        );
        (error, decision)
    }
}
