//! The one place that decides whether trying again can help.

use std::time::Duration;

use super::ExponentialBackoff;
use crate::protocol::error::{ApiError, ErrorKind};

/// What to do when an attempt fails after a part of the answer had been delivered, or after the server had accepted a
/// `background` response, which goes on without its stream, and can't be [gone on with](RetryPolicy::resume_window).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RetryAfterOutput {
    /// End the request with the error, which says whether output was delivered, and has the response's id and the last
    /// sequence number where they are known.
    #[default]
    Fail,
    /// Tell subscribers with [`Restarted`](crate::protocol::ResponseEvent::Restarted) and start the answer over.
    Restart,
}

/// When a request is tried again, and how soon. One budget covers every kind of failure.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How many attempts a request may have, the first included; 1 never retries. Default 5. Values outside
    /// 1..=[`MAX_ATTEMPTS`](Self::MAX_ATTEMPTS) are clamped. Where there may be more than one, an attempt whose connection had been used
    /// before and breaks ahead of the response goes over a new one, once, and counts as one: the server receives it twice at most.
    pub max_attempts: u32,
    /// What to do once output was delivered. Default: fail.
    pub after_output: RetryAfterOutput,
    /// The delays where the server names none.
    pub backoff: ExponentialBackoff,
    /// The longest delay that a server may ask for and get. A request that would have to wait longer fails at once, and its
    /// error carries the delay. Default 120 s: a per-minute limit is waited out, a daily one is the caller's to plan for.
    pub max_requested_delay: Duration,
    /// How long after a `background` response that its server keeps (`store`) has begun another stream of it can be started.
    ///
    /// Where the stream of such a response breaks (it ends too early, is reset, falls silent for too long), the next attempt asks for what
    /// follows the last event that was read: `GET responses/{id}?stream=true&starting_after=N`. Subscribers see one stream without gap or
    /// repeat, and no second response is paid for. It is an attempt as any other, with the same delays, within the same budget. Where
    /// the server refuses, and when this time has passed, [`after_output`](Self::after_output) says what happens.
    ///
    /// Default 5 minutes: OpenAI answers 400 with "This response can no longer be streamed because it is more than 5 minutes old".
    /// `None` asks as long as there are attempts; zero never does. A stream that falls silent is taken up within it where
    /// [`Timeouts::idle`](crate::provider::Timeouts::idle) is shorter.
    pub resume_window: Option<Duration>,
}

with_fields!(RetryPolicy {
    with_max_attempts(max_attempts: u32),
    with_after_output(after_output: RetryAfterOutput),
    with_backoff(backoff: ExponentialBackoff),
    with_max_requested_delay(max_requested_delay: Duration),
    with_resume_window(resume_window: impl Into<Option<Duration>> => resume_window.into()),
});

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            after_output: RetryAfterOutput::default(),
            backoff: ExponentialBackoff::default(),
            max_requested_delay: Duration::from_secs(120),
            resume_window: Some(Duration::from_secs(5 * 60)),
        }
    }
}

/// What a decision is made of, besides the error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AttemptContext {
    /// The attempt that failed; the first is 1.
    pub(crate) attempt: u32,
    /// Whether a part of the answer was delivered, by this attempt or, since the last `Restarted`, an earlier one; or the server
    /// has accepted a `background` response.
    pub(crate) output_delivered: bool,
    /// Whether the server has just refused to go on with the answer: nothing that speaks against another.
    pub(crate) is_refused: bool,
    /// Whether the provider's auth can get a new key and has not just done so.
    pub(crate) can_refresh: bool,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryDecision {
    /// Start another attempt after this time.
    RetryAfter(Duration),
    /// Ask the auth provider for a new key and start another attempt at once.
    RefreshAuth,
    /// Deliver the error.
    GiveUp,
}

impl RetryDecision {
    /// How long after the failure the next attempt starts. `None` when there is none.
    pub(crate) fn delay(self) -> Option<Duration> {
        match self {
            Self::RetryAfter(delay) => Some(delay),
            Self::RefreshAuth => Some(Duration::ZERO),
            Self::GiveUp => None,
        }
    }
}

impl RetryPolicy {
    /// The most attempts that a policy accepts: beyond it a request is not being retried but hammered.
    pub const MAX_ATTEMPTS: u32 = 100;

    /// `max_attempts` within its bounds.
    pub fn attempts(&self) -> u32 {
        self.max_attempts.clamp(1, Self::MAX_ATTEMPTS)
    }

    /// How long to wait before the next attempt after the one of this number, the first of which is 1, failed; `None` where there is
    /// to be none. A new key is not thought of.
    pub fn delay(&self, error: &ApiError, attempt: u32) -> Option<Duration> {
        let context = AttemptContext {
            attempt,
            output_delivered: error.details().output_delivered,
            ..AttemptContext::default()
        };
        match self.decide(error, context) {
            RetryDecision::RetryAfter(delay) => Some(delay),
            RetryDecision::RefreshAuth | RetryDecision::GiveUp => None,
        }
    }

    /// Decides what follows a failed attempt.
    pub(crate) fn decide(&self, error: &ApiError, context: AttemptContext) -> RetryDecision {
        if context.attempt >= self.attempts() {
            return RetryDecision::GiveUp;
        }
        if context.output_delivered && self.after_output == RetryAfterOutput::Fail {
            return RetryDecision::GiveUp;
        }
        if error.kind() == ErrorKind::Authentication && context.can_refresh {
            return RetryDecision::RefreshAuth;
        }
        let is_retryable = error.details().should_retry;
        if !context.is_refused && !is_retryable.unwrap_or_else(|| can_help(error)) {
            return RetryDecision::GiveUp;
        }
        match error.details().retry_after {
            Some(delay) if delay > self.max_requested_delay => RetryDecision::GiveUp,
            // A server that asks for no delay would be asked again in a tight loop.
            Some(delay) if !delay.is_zero() => RetryDecision::RetryAfter(delay),
            _ => RetryDecision::RetryAfter(self.backoff.delay(context.attempt)),
        }
    }
}

/// Whether another attempt at the same request can end differently.
fn can_help(error: &ApiError) -> bool {
    match error.kind() {
        ErrorKind::RateLimited
        | ErrorKind::Overloaded
        | ErrorKind::Unavailable
        | ErrorKind::ServerError
        | ErrorKind::Dns
        | ErrorKind::Connect
        | ErrorKind::Proxy
        | ErrorKind::LocalLimit
        | ErrorKind::Tls
        | ErrorKind::ConnectTimeout
        | ErrorKind::ResponseHeadTimeout
        | ErrorKind::FirstEventTimeout
        | ErrorKind::IdleTimeout
        | ErrorKind::ProgressTimeout
        | ErrorKind::Connection
        | ErrorKind::Truncated
        | ErrorKind::AttemptLost => true,
        // An answer without a body, which may have one next time; request timeout, conflict, too early.
        ErrorKind::UnexpectedStatus => {
            matches!(error.details().status, Some(200 | 408 | 409 | 425))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(attempt: u32) -> AttemptContext {
        AttemptContext {
            attempt,
            ..AttemptContext::default()
        }
    }

    fn error(kind: ErrorKind) -> ApiError {
        ApiError::new(kind, "m")
    }

    #[test]
    fn the_budget_includes_the_first_attempt() {
        let policy = RetryPolicy {
            max_attempts: 3,
            ..RetryPolicy::default()
        };
        let broken = error(ErrorKind::Connection);
        assert!(matches!(
            policy.decide(&broken, context(1)),
            RetryDecision::RetryAfter(_)
        ));
        assert!(matches!(
            policy.decide(&broken, context(2)),
            RetryDecision::RetryAfter(_)
        ));
        assert_eq!(policy.decide(&broken, context(3)), RetryDecision::GiveUp);
        let never = RetryPolicy {
            max_attempts: 0,
            ..RetryPolicy::default()
        };
        assert_eq!(never.decide(&broken, context(1)), RetryDecision::GiveUp);
    }

    #[test]
    fn only_failures_that_may_pass_are_retried() {
        let retried: Vec<_> = ErrorKind::ALL
            .iter()
            .copied()
            .filter(|kind| {
                matches!(
                    RetryPolicy::default().decide(&error(*kind), context(1)),
                    RetryDecision::RetryAfter(_)
                )
            })
            .map(ErrorKind::as_str)
            .collect();
        assert_eq!(
            retried,
            [
                "rate_limited",
                "overloaded",
                "unavailable",
                "server_error",
                "dns",
                "connect",
                "proxy",
                "local_limit",
                "tls",
                "connect_timeout",
                "response_head_timeout",
                "first_event_timeout",
                "idle_timeout",
                "progress_timeout",
                "connection",
                "truncated",
                "attempt_lost",
            ]
        );
    }

    #[test]
    fn of_unexpected_statuses_only_timeout_conflict_and_too_early_are_retried() {
        for (status, retried) in [
            (408, true),
            (409, true),
            (425, true),
            (418, false),
            (302, false),
        ] {
            let mut error = error(ErrorKind::UnexpectedStatus);
            error.details_mut().status = Some(status);
            let decision = RetryPolicy::default().decide(&error, context(1));
            assert_eq!(decision != RetryDecision::GiveUp, retried, "{status}");
        }
    }

    #[test]
    fn a_delay_is_told_to_whoever_asks() {
        let policy = RetryPolicy::default();
        let mut broken = error(ErrorKind::Connection);
        assert!(policy.delay(&broken, 1).is_some());
        assert_eq!(policy.delay(&broken, 5), None);
        broken.details_mut().output_delivered = true;
        assert_eq!(policy.delay(&broken, 1), None);
        assert_eq!(policy.delay(&error(ErrorKind::Authentication), 1), None);
    }

    #[test]
    fn output_ends_silent_retries() {
        let delivered = AttemptContext {
            output_delivered: true,
            ..context(1)
        };
        let cut = error(ErrorKind::Truncated);
        assert_eq!(
            RetryPolicy::default().decide(&cut, delivered),
            RetryDecision::GiveUp
        );
        let restart = RetryPolicy {
            after_output: RetryAfterOutput::Restart,
            ..RetryPolicy::default()
        };
        assert!(matches!(
            restart.decide(&cut, delivered),
            RetryDecision::RetryAfter(_)
        ));
    }

    #[test]
    fn a_refused_key_is_refreshed_once() {
        let refused = error(ErrorKind::Authentication);
        let refreshable = AttemptContext {
            can_refresh: true,
            ..context(1)
        };
        assert_eq!(
            RetryPolicy::default().decide(&refused, refreshable),
            RetryDecision::RefreshAuth
        );
        assert_eq!(
            RetryPolicy::default().decide(&refused, context(2)),
            RetryDecision::GiveUp
        );
    }

    #[test]
    fn the_servers_word_outranks_the_table() {
        let mut no = error(ErrorKind::ServerError);
        no.details_mut().should_retry = Some(false);
        assert_eq!(
            RetryPolicy::default().decide(&no, context(1)),
            RetryDecision::GiveUp
        );
        let mut yes = error(ErrorKind::InvalidRequest);
        yes.details_mut().should_retry = Some(true);
        assert!(matches!(
            RetryPolicy::default().decide(&yes, context(1)),
            RetryDecision::RetryAfter(_)
        ));
    }

    #[test]
    fn a_requested_delay_is_kept_to_the_millisecond() {
        let mut limited = error(ErrorKind::RateLimited);
        limited.details_mut().retry_after = Some(Duration::from_millis(1_234));
        let decision = RetryPolicy::default().decide(&limited, context(1));
        assert_eq!(
            decision,
            RetryDecision::RetryAfter(Duration::from_millis(1_234))
        );
    }

    #[test]
    fn a_delay_beyond_the_longest_is_not_waited_for() {
        let mut limited = error(ErrorKind::RateLimited);
        limited.details_mut().retry_after = Some(Duration::from_secs(121));
        assert_eq!(
            RetryPolicy::default().decide(&limited, context(1)),
            RetryDecision::GiveUp
        );
    }

    #[test]
    fn a_requested_delay_of_zero_is_replaced_by_the_backoff() {
        let mut limited = error(ErrorKind::RateLimited);
        limited.details_mut().retry_after = Some(Duration::ZERO);
        let RetryDecision::RetryAfter(delay) = RetryPolicy::default().decide(&limited, context(1))
        else {
            panic!("not retried")
        };
        assert!(delay >= Duration::from_millis(180), "{delay:?}");
    }
}
