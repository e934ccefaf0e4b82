//! A circuit breaker for each endpoint that requests go to.

use std::collections::HashMap;

use tokio::time::Instant;

use crate::{
    protocol::error::{ApiError, ErrorKind},
    retry::{BreakerPolicy, CircuitBreaker, unavailable},
};

/// How many endpoints are remembered as being in trouble. A program has a handful of them.
const MAX_ENDPOINTS: usize = 1024;

pub(crate) struct Breakers {
    policy: BreakerPolicy,
    epoch: Instant,
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
            epoch: Instant::now(),
            by_origin: HashMap::new(),
        }
    }

    /// Whether an attempt may be sent; otherwise the error that it gets.
    pub(crate) fn admit(&mut self, origin: &str) -> Result<(), ApiError> {
        match self.by_origin.get_mut(origin) {
            Some(Endpoint {
                breaker,
                last_error,
            }) => breaker
                .admit(self.epoch.elapsed())
                .map_err(|wait| unavailable(wait, last_error)),
            None => Ok(()),
        }
    }

    /// Takes how an attempt ended; `None` is an answer.
    pub(crate) fn record(&mut self, origin: &str, error: Option<&ApiError>) {
        match error.map(ApiError::kind) {
            // It was not sent.
            Some(ErrorKind::Unavailable) => return,
            // It says nothing of the endpoint.
            Some(ErrorKind::AttemptLost | ErrorKind::TotalTimeout) => return self.forget(origin),
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
        endpoint.breaker.record(error, self.epoch.elapsed());
        if endpoint.breaker.is_pristine() {
            self.by_origin.remove(origin);
        } else if let Some(error) = error {
            endpoint.last_error = error.to_string();
        }
    }

    /// An attempt that was sent ended without telling anything of the endpoint.
    pub(crate) fn forget(&mut self, origin: &str) {
        if let Some(endpoint) = self.by_origin.get_mut(origin) {
            endpoint.breaker.forget(self.epoch.elapsed());
        }
    }
}
