//! Sparing a server that does not answer, and everybody who would wait for it.

use std::time::Duration;

use crate::protocol::error::{ApiError, ErrorKind, Phase};

/// When an endpoint counts as down, and how soon it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerPolicy {
    /// How many attempts in a row, of whichever requests, must find the endpoint down. Default 50: ten requests that each used
    /// up their attempts, and not one answer in between. 0 turns the breaker off.
    pub failures: u32,
    /// How long no attempt is sent then: attempts are put off, each for at most 30 s and within its request's deadline, and fail as
    /// `unavailable` only after that. Then three are sent as probes: the first good head of a response ends the pauses, and the first
    /// failure doubles the next. Default 1 s.
    pub pause: Duration,
    /// The longest such pause. Default 30 s, as for retries.
    pub max_pause: Duration,
}

with_fields!(BreakerPolicy {
    with_failures(failures: u32),
    with_pause(pause: Duration),
    with_max_pause(max_pause: Duration),
});

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            failures: 50,
            pause: Duration::from_secs(1),
            max_pause: Duration::from_secs(30),
        }
    }
}

/// Counts the failures of one endpoint. While it is open, no attempt is sent; when its pause is over it is half open: a few
/// attempts go through as probes. The first good head of a response closes the breaker, and the first failure opens it for longer.
///
/// It knows no clock: moments are durations since any fixed one.
#[derive(Clone, Debug)]
pub(super) struct CircuitBreaker {
    policy: BreakerPolicy,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Duration,
        pause: Duration,
    },
    HalfOpen {
        pause: Duration,
        probes: u32,
        /// Of the first of them.
        probe_since: Duration,
    },
}

/// How many attempts a half-open breaker lets through: one could be the one that the server does not like.
const PROBES: u32 = 3;

/// How long probes keep others waiting: longer than connecting takes, shorter than a head may. Probes that say nothing for
/// so long let others through.
const PROBE_PATIENCE: Duration = Duration::from_secs(30);

impl CircuitBreaker {
    /// A closed breaker.
    pub(super) fn new(policy: BreakerPolicy) -> Self {
        Self {
            policy,
            state: State::Closed { failures: 0 },
        }
    }

    /// Asks to send an attempt.
    ///
    /// # Errors
    /// How long to wait before asking again makes sense.
    pub(super) fn admit(&mut self, now: Duration) -> Result<(), Duration> {
        match self.state {
            State::Closed { .. } => Ok(()),
            State::Open { until, .. } if now < until => Err(until - now),
            State::HalfOpen { ref mut probes, .. } if *probes < PROBES => {
                *probes += 1;
                Ok(())
            }
            State::HalfOpen {
                pause, probe_since, ..
            } if now < probe_since + PROBE_PATIENCE => Err(pause),
            State::Open { pause, .. } | State::HalfOpen { pause, .. } => {
                self.state = State::HalfOpen {
                    pause,
                    probes: 1,
                    probe_since: now,
                };
                Ok(())
            }
        }
    }

    /// Takes what an attempt that was admitted found: an error, or none when the endpoint answered, which a good head shows already.
    pub(super) fn record(&mut self, error: Option<&ApiError>, now: Duration) {
        match error {
            Some(error) if is_down(error) => self.on_failure(now),
            _ => self.state = State::Closed { failures: 0 },
        }
    }

    /// An attempt that was admitted ended without telling anything of the endpoint, as when it was cancelled.
    pub(super) fn forget(&mut self, now: Duration) {
        if let State::HalfOpen { pause, probes, .. } = &mut self.state {
            *probes -= 1;
            if *probes == 0 {
                let pause = *pause;
                self.state = State::Open { until: now, pause };
            }
        }
    }

    /// Whether it holds nothing that a new one would not.
    pub(super) fn is_pristine(&self) -> bool {
        matches!(self.state, State::Closed { failures: 0 })
    }

    fn on_failure(&mut self, now: Duration) {
        let BreakerPolicy {
            failures: limit,
            pause,
            max_pause,
        } = self.policy;
        self.state = match self.state {
            State::Closed { failures } if limit == 0 || failures + 1 < limit => State::Closed {
                failures: failures.saturating_add(1),
            },
            State::Closed { .. } => State::Open {
                until: now.saturating_add(pause),
                pause,
            },
            State::HalfOpen { pause, .. } => {
                let pause = pause.saturating_mul(2).min(max_pause);
                State::Open {
                    until: now.saturating_add(pause),
                    pause,
                }
            }
            // Of an attempt that was sent before it opened.
            open @ State::Open { .. } => open,
        };
    }
}

/// Whether an error says that the endpoint as a whole is down, rather than something about one request.
fn is_down(error: &ApiError) -> bool {
    match error.kind() {
        ErrorKind::Dns
        | ErrorKind::Connect
        | ErrorKind::Proxy
        | ErrorKind::ConnectTimeout
        | ErrorKind::Tls
        | ErrorKind::ResponseHeadTimeout => true,
        // Within a stream they concern one answer.
        ErrorKind::Overloaded | ErrorKind::ServerError => {
            error.details().phase != Some(Phase::Body)
        }
        _ => false,
    }
}

/// The error of an attempt that the breaker did not let through.
pub(super) fn unavailable(wait: Duration, last_error: &str) -> ApiError {
    let message = format!("not sent: the last attempts all found the endpoint down ({last_error})");
    let mut error = ApiError::new(ErrorKind::Unavailable, message);
    error.details_mut().retry_after = Some(wait);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy {
        failures: 3,
        pause: Duration::from_secs(1),
        max_pause: Duration::from_secs(4),
    };

    fn down() -> ApiError {
        ApiError::new(ErrorKind::Connect, "refused")
    }

    fn opened() -> CircuitBreaker {
        let mut breaker = CircuitBreaker::new(POLICY);
        for _ in 0..3 {
            breaker.admit(Duration::ZERO).unwrap();
            breaker.record(Some(&down()), Duration::ZERO);
        }
        breaker
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn it_opens_after_that_many_failures_in_a_row() {
        let mut breaker = CircuitBreaker::new(POLICY);
        for _ in 0..2 {
            breaker.record(Some(&down()), secs(0));
        }
        breaker.record(None, secs(0));
        for _ in 0..2 {
            breaker.record(Some(&down()), secs(0));
        }
        assert_eq!(breaker.admit(secs(0)), Ok(()));
        breaker.record(Some(&down()), secs(0));
        assert_eq!(breaker.admit(secs(0)), Err(secs(1)));
    }

    #[test]
    fn after_the_pause_a_few_probes_go_through_and_the_first_decides() {
        let mut breaker = opened();
        for _ in 0..PROBES {
            assert_eq!(breaker.admit(secs(1)), Ok(()));
        }
        assert_eq!(breaker.admit(secs(1)), Err(secs(1)), "no more at a time");
        breaker.record(Some(&down()), secs(1));
        assert_eq!(
            breaker.admit(secs(2)),
            Err(secs(1)),
            "the pause has doubled"
        );
        assert_eq!(breaker.admit(secs(3)), Ok(()));
        breaker.record(None, secs(3));
        assert_eq!(breaker.admit(secs(3)), Ok(()));
        assert!(breaker.is_pristine());
    }

    #[test]
    fn the_pause_grows_to_its_limit() {
        let mut breaker = opened();
        let mut now = secs(1);
        for expected in [2, 4, 4, 4] {
            assert_eq!(breaker.admit(now), Ok(()));
            breaker.record(Some(&down()), now);
            assert_eq!(breaker.admit(now), Err(secs(expected)));
            now += secs(expected);
        }
    }

    #[test]
    fn a_probe_that_tells_nothing_lets_another_through() {
        let mut breaker = opened();
        for _ in 0..PROBES {
            assert_eq!(breaker.admit(secs(1)), Ok(()));
        }
        breaker.forget(secs(1));
        assert_eq!(breaker.admit(secs(1)), Ok(()));
        assert!(breaker.admit(secs(2)).is_err());
        assert_eq!(breaker.admit(secs(1) + PROBE_PATIENCE), Ok(()));
        breaker.forget(secs(40));
        assert_eq!(breaker.admit(secs(40)), Ok(()), "none is under way");
    }

    #[test]
    fn what_concerns_one_request_does_not_count() {
        let mut breaker = opened();
        breaker.admit(secs(1)).unwrap();
        breaker.record(
            Some(&ApiError::new(ErrorKind::InvalidRequest, "no")),
            secs(1),
        );
        assert!(breaker.is_pristine(), "whoever refuses a request is there");
        for _ in 0..10 {
            breaker.record(Some(&ApiError::new(ErrorKind::RateLimited, "no")), secs(1));
        }
        assert!(breaker.is_pristine());
    }

    #[test]
    fn without_a_limit_it_never_opens() {
        let mut breaker = CircuitBreaker::new(BreakerPolicy {
            failures: 0,
            ..POLICY
        });
        for _ in 0..1000 {
            breaker.record(Some(&down()), secs(0));
        }
        assert_eq!(breaker.admit(secs(0)), Ok(()));
    }
}
