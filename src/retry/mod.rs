//! Decisions about trying again. No timers and no I/O: durations go in and come out, the supervisor waits.

mod backoff;
mod breaker;
mod breakers;
mod hint;
mod limiter;
mod policy;

pub use self::backoff::ExponentialBackoff;
pub use breaker::BreakerPolicy;
pub(crate) use breakers::Breakers;
pub(crate) use hint::delay_from_headers;
pub use limiter::LimiterPolicy;
pub(crate) use limiter::{Limiter, Told, Verdict, estimated_tokens, waited_too_long};
pub(crate) use policy::{AttemptContext, RetryDecision};
pub use policy::{RetryAfterOutput, RetryPolicy};
