//! How long to wait when the server does not say: the only file that names the `backoff` crate.

use std::time::Duration;

use backoff::{ExponentialBackoffBuilder, backoff::Backoff};

/// Delays that grow from retry to retry, with jitter so that clients that failed together do not return together.
///
/// Each delay is drawn afresh: two requests share no sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct ExponentialBackoff {
    base: Duration,
    multiplier: f64,
    jitter: f64,
    cap: Duration,
}

/// A backoff that could not work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBackoff {
    /// No wait at all between attempts would hammer the server.
    #[error("the base delay is zero")]
    ZeroBase,
    /// The first delay would already be over the cap.
    #[error("the base delay is above the cap")]
    BaseAboveCap,
    /// Delays would shrink, or not be numbers.
    #[error("the multiplier is not a number of 1 or more")]
    Multiplier,
    /// A delay could become negative.
    #[error("the jitter is not a fraction between 0 and 1")]
    Jitter,
}

impl ExponentialBackoff {
    /// The first delay is `base`, each further one `multiplier` times the last, none above `cap`; `jitter` is the fraction
    /// by which a delay may differ from that, up or down (never above `cap`).
    ///
    /// # Errors
    /// When a value makes no sense; the error names it.
    pub fn new(
        base: Duration,
        multiplier: f64,
        jitter: f64,
        cap: Duration,
    ) -> Result<Self, InvalidBackoff> {
        if base.is_zero() {
            return Err(InvalidBackoff::ZeroBase);
        }
        if base > cap {
            return Err(InvalidBackoff::BaseAboveCap);
        }
        if !(multiplier.is_finite() && multiplier >= 1.0) {
            return Err(InvalidBackoff::Multiplier);
        }
        if !(0.0..=1.0).contains(&jitter) {
            return Err(InvalidBackoff::Jitter);
        }
        Ok(Self {
            base,
            multiplier,
            jitter,
            cap,
        })
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
            // Without a longest elapsed time it always has a next delay.
            delay = backoff.next_backoff().unwrap_or(self.cap);
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
        let (ms, s) = (Duration::from_millis(1), Duration::from_secs(1));
        let cases = [
            (Duration::ZERO, 2.0, 0.1, s, InvalidBackoff::ZeroBase),
            (s, 2.0, 0.1, ms, InvalidBackoff::BaseAboveCap),
            (ms, 0.5, 0.1, s, InvalidBackoff::Multiplier),
            (ms, f64::NAN, 0.1, s, InvalidBackoff::Multiplier),
            (ms, 2.0, 1.5, s, InvalidBackoff::Jitter),
            (ms, 2.0, f64::NAN, s, InvalidBackoff::Jitter),
        ];
        for (base, multiplier, jitter, cap, expected) in cases {
            assert_eq!(
                ExponentialBackoff::new(base, multiplier, jitter, cap),
                Err(expected)
            );
        }
    }

    proptest! {
        #[test]
        fn every_delay_is_within_its_bounds(
            base in 1u64..5_000, factor in 1.0f64..4.0, jitter in 0.0f64..=1.0, retry in 1u32..40,
        ) {
            let base = Duration::from_millis(base);
            let cap = Duration::from_secs(30);
            let backoff = ExponentialBackoff::new(base, factor, jitter, cap).unwrap();
            let nominal = base.mul_f64(factor.powi(retry as i32 - 1).min(1e9)).min(cap);
            let delay = backoff.delay(retry);
            prop_assert!(delay <= cap);
            prop_assert!(delay <= nominal.mul_f64(1.0 + jitter + 0.01) + Duration::from_millis(2));
            prop_assert!(delay + Duration::from_millis(2) >= nominal.mul_f64(1.0 - jitter - 0.01_f64.min(1.0 - jitter)));
        }
    }
}
