//! How long to wait when the server does not say: the only file that names the `backoff` crate.

use std::time::Duration;

use backoff::{ExponentialBackoffBuilder, backoff::Backoff};

use crate::protocol::error::ApiError;

/// Delays that grow from retry to retry, with jitter so that clients that failed together do not return together.
///
/// Each delay is drawn afresh: two requests share no sequence.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ExponentialBackoff {
    /// The first delay. Default 200 ms.
    pub base: Duration,
    /// How many times the last each further delay is, at least 1. Default 2.
    pub multiplier: f64,
    /// The fraction by which a delay may differ from that, up or down (never above `cap`), from 0 to 1. Default 0.1.
    pub jitter: f64,
    /// What no delay is above. Default 30 s.
    pub cap: Duration,
}

with_fields!(ExponentialBackoff {
    with_base(base: Duration),
    with_multiplier(multiplier: f64),
    with_jitter(jitter: f64),
    with_cap(cap: Duration),
});

impl ExponentialBackoff {
    /// Refuses what could not work. The supervisor asks this of every policy before it sends anything.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind) when a value makes no sense; the message names it.
    pub fn validate(&self) -> Result<(), ApiError> {
        let wrong = [
            // It would hammer the server.
            (self.base.is_zero(), "the base delay is zero"),
            (self.base > self.cap, "the base delay is above the cap"),
            // Delays would shrink, or not be numbers.
            (
                !(self.multiplier.is_finite() && self.multiplier >= 1.0),
                "the multiplier is not a number of 1 or more",
            ),
            // A delay could become negative.
            (
                !(0.0..=1.0).contains(&self.jitter),
                "the jitter is not a fraction between 0 and 1",
            ),
        ];
        match wrong.into_iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, message)) => Err(ApiError::misconfigured(format!("backoff: {message}"))),
            None => Ok(()),
        }
    }

    /// The delay before the n-th retry; the first is 1. Zero is read as 1.
    pub fn delay(&self, retry: u32) -> Duration {
        let mut backoff = ExponentialBackoffBuilder::new()
            .with_initial_interval(self.base)
            .with_multiplier(self.multiplier)
            .with_randomization_factor(self.jitter)
            .with_max_interval(self.cap)
            .with_max_elapsed_time(None)
            .build();
        let mut delay = self.base;
        for _ in 0..retry.max(1) {
            let interval = backoff.current_interval;
            // Without a longest elapsed time it always has a next delay.
            delay = backoff.next_backoff().unwrap_or(self.cap);
            // As much as it will ever be: the thousandth retry costs no more than this one.
            if backoff.current_interval == interval {
                break;
            }
        }
        delay.min(self.cap)
    }
}

/// 200 ms doubling, +-10 %, at most 30 s: quick enough for a blip, and five attempts last about three seconds.
impl Default for ExponentialBackoff {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(200),
            multiplier: 2.0,
            jitter: 0.1,
            cap: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::error::ErrorKind;

    #[test]
    fn default_delays_double_within_a_tenth() {
        let backoff = ExponentialBackoff::default();
        for (retry, millis) in [(0, 200), (1, 200), (2, 400), (3, 800), (4, 1600)] {
            for _ in 0..50 {
                let delay = backoff.delay(retry).as_secs_f64() * 1000.0;
                let expected = f64::from(millis);
                assert!(
                    (delay - expected).abs() <= expected * 0.1 + 1.0,
                    "retry {retry}: {delay} ms"
                );
            }
        }
    }

    #[test]
    fn delays_differ_between_requests() {
        let backoff = ExponentialBackoff::default();
        let first = backoff.delay(5);
        assert!((0..100).any(|_| backoff.delay(5) != first));
    }

    #[test]
    fn no_delay_is_above_the_cap() {
        let backoff = ExponentialBackoff::default();
        for retry in [8, 9, 20, 100] {
            let delay = backoff.delay(retry);
            assert!(delay <= Duration::from_secs(30), "{delay:?}");
            assert!(delay >= Duration::from_secs(20), "{delay:?}");
        }
    }

    #[test]
    fn values_that_make_no_sense_are_refused() {
        type Change = fn(&mut ExponentialBackoff);
        let changes: [(Change, &str); 6] = [
            (
                |backoff| backoff.base = Duration::ZERO,
                "base delay is zero",
            ),
            (|backoff| backoff.cap = Duration::ZERO, "above the cap"),
            (|backoff| backoff.multiplier = 0.5, "multiplier"),
            (|backoff| backoff.multiplier = f64::NAN, "multiplier"),
            (|backoff| backoff.jitter = 1.5, "jitter"),
            (|backoff| backoff.jitter = f64::NAN, "jitter"),
        ];
        for (change, expected) in changes {
            let mut backoff = ExponentialBackoff::default();
            assert_eq!(backoff.validate(), Ok(()));
            change(&mut backoff);
            let error = backoff.validate().expect_err(expected);
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            assert!(error.message().contains(expected), "{error}");
        }
    }

    #[test]
    fn delays_of_any_size_at_any_retry_are_found_at_once() {
        let durations = [
            Duration::from_nanos(1),
            Duration::from_secs(1),
            Duration::MAX,
        ];
        for (base, cap) in durations
            .iter()
            .flat_map(|base| durations.map(|cap| (*base, cap)))
        {
            for multiplier in [1.0, 1.0 + f64::EPSILON, 2.0, f64::MAX] {
                for jitter in [0.0, 0.1, 1.0] {
                    let backoff = ExponentialBackoff {
                        base,
                        multiplier,
                        jitter,
                        cap,
                    };
                    for retry in [0, 1, 2, 1_000_000, u32::MAX] {
                        assert!(backoff.delay(retry) <= cap, "{backoff:?}");
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_delay_is_within_its_bounds(
            base in 1u64..5_000, factor in 1.0f64..4.0, jitter in 0.0f64..=1.0, retry in 1u32..40,
        ) {
            let base = Duration::from_millis(base);
            let cap = Duration::from_secs(30);
            let backoff = ExponentialBackoff { base, multiplier: factor, jitter, cap };
            backoff.validate().unwrap();
            let nominal = base.mul_f64(factor.powi(retry as i32 - 1).min(1e9)).min(cap);
            let delay = backoff.delay(retry);
            prop_assert!(delay <= cap);
            prop_assert!(delay <= nominal.mul_f64(1.0 + jitter + 0.01) + Duration::from_millis(2));
            prop_assert!(delay + Duration::from_millis(2) >= nominal.mul_f64(1.0 - jitter - 0.01_f64.min(1.0 - jitter)));
        }
    }
}
