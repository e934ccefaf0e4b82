//! A circuit breaker for each endpoint that requests go to.

use std::{collections::HashMap, time::Duration};

use super::breaker::{BreakerPolicy, CircuitBreaker, unavailable};
use crate::protocol::error::{ApiError, ErrorKind};

/// How many endpoints are remembered as being in trouble. A program has a handful of them.
const MAX_ENDPOINTS: usize = 1024;

/// They know no clock either: each call says when it is, as a duration since one fixed moment.
pub(crate) struct Breakers {
    policy: BreakerPolicy,
    /// Those that have something to remember.
    by_origin: HashMap<String, Endpoint>,
}

struct Endpoint {
    breaker: CircuitBreaker,
    last_error: String,
}

impl Breakers {
    pub(crate) fn new(policy: BreakerPolicy) -> Self {
        Self {
            policy,
            by_origin: HashMap::new(),
        }
    }

    /// Whether an attempt may be sent; otherwise the error that it gets. True when its head is to be [recorded](Self::record) as
    /// soon as it is there: the endpoint is in trouble.
    pub(crate) fn admit(&mut self, origin: &str, now: Duration) -> Result<bool, ApiError> {
        match self.by_origin.get_mut(origin) {
            Some(Endpoint {
                breaker,
                last_error,
            }) => breaker
                .admit(now)
                .map(|()| true)
                .map_err(|wait| unavailable(wait, last_error)),
            None => Ok(false),
        }
    }

    /// Takes how an attempt ended; `None` is an answer.
    pub(crate) fn record(&mut self, origin: &str, error: Option<&ApiError>, now: Duration) {
        match error.map(ApiError::kind) {
            // It was not sent.
            Some(ErrorKind::Unavailable) => return,
            // It says nothing of the endpoint.
            Some(ErrorKind::AttemptLost | ErrorKind::LocalLimit | ErrorKind::TotalTimeout) => {
                return self.forget(origin, now);
            }
            _ => {}
        }
        if error.is_some()
            && self.by_origin.len() < MAX_ENDPOINTS
            && !self.by_origin.contains_key(origin)
        {
            let endpoint = Endpoint {
                breaker: CircuitBreaker::new(self.policy),
                last_error: String::new(),
            };
            self.by_origin.insert(origin.to_owned(), endpoint);
        }
        let Some(endpoint) = self.by_origin.get_mut(origin) else {
            return;
        };
        endpoint.breaker.record(error, now);
        if endpoint.breaker.is_pristine() {
            self.by_origin.remove(origin);
        } else if let Some(error) = error {
            endpoint.last_error = error.to_string();
        }
    }

    /// An attempt that was sent ended without telling anything of the endpoint.
    pub(crate) fn forget(&mut self, origin: &str, now: Duration) {
        if let Some(endpoint) = self.by_origin.get_mut(origin) {
            endpoint.breaker.forget(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_has_a_breaker_while_it_has_something_to_remember() {
        let mut breakers = Breakers::new(BreakerPolicy {
            failures: 1,
            ..BreakerPolicy::default()
        });
        let down = ApiError::new(ErrorKind::Connect, "refused");
        let now = Duration::from_secs(7);
        breakers.record("http://a", Some(&down), now);
        let spared = breakers.admit("http://a", now).unwrap_err();
        assert_eq!(spared.kind(), ErrorKind::Unavailable);
        assert!(spared.message().contains("refused"), "{spared}");
        assert_eq!(breakers.admit("http://b", now), Ok(false));
        // It was not sent, so it tells nothing.
        breakers.record("http://a", Some(&spared), now);
        let later = now + Duration::from_secs(1);
        for _ in 0..3 {
            assert_eq!(breakers.admit("http://a", later), Ok(true), "a probe");
        }
        assert!(breakers.admit("http://a", later).is_err());
        let lost = ApiError::attempt_lost();
        breakers.record("http://a", Some(&lost), later);
        assert_eq!(breakers.admit("http://a", later), Ok(true), "another");
        breakers.record("http://a", None, later);
        assert!(breakers.by_origin.is_empty());
    }
}
