//! What identifies a request and what every attempt at it needs.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::time::Instant;
use url::Url;

use super::TurnState;
use crate::{
    error::ApiError,
    provider::{Accept, Provider},
    retry::RetryPolicy,
    telemetry::{self, AttemptAttributes},
    wire::StreamLimits,
};

/// Names a request within its supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(super) u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request-{}", self.0)
    }
}

/// Names a subscription within its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub(super) u64);

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "subscription-{}", self.0)
    }
}

/// What all attempts at a request share. It does not change once the request is accepted.
pub(super) struct RequestSpec {
    pub(super) id: RequestId,
    pub(super) provider: Arc<Provider>,
    pub(super) model: String,
    pub(super) method: Method,
    pub(super) url: Url,
    /// Scheme, host and port: what a connection is good for.
    pub(super) origin: Arc<str>,
    pub(super) accept: Accept,
    pub(super) headers: HeaderMap,
    /// As it is written; each attempt compresses it as its provider wants.
    pub(super) body: Bytes,
    pub(super) turn_state: Option<TurnState>,
    pub(super) retry: RetryPolicy,
    pub(super) stream: StreamOptions,
    /// When [`Timeouts::total`](crate::provider::Timeouts) has passed.
    pub(super) deadline: Option<Instant>,
}

/// What only streams need.
#[derive(Clone, Copy, Default)]
pub(super) struct StreamOptions {
    pub(super) limits: StreamLimits,
    pub(super) when_deserted: WhenDeserted,
    /// The response runs on without its stream (`background`), so that another attempt would be another response.
    pub(super) is_background: bool,
}

impl RequestSpec {
    /// The span that covers one attempt.
    pub(super) fn attempt_span(&self, operation: &'static str, attempt: u32) -> tracing::Span {
        telemetry::attempt_span(&AttemptAttributes {
            operation,
            provider: self.provider.name(),
            model: &self.model,
            server: &self.origin,
            request: &self.id,
            attempt,
        })
    }

    /// Adds to an error what it can't know itself.
    pub(super) fn complete(&self, error: &mut ApiError, attempt: u32) {
        let details = error.details_mut();
        details.provider = Some(self.provider.name().to_owned());
        details.host = Some(self.provider.host());
        details.attempt = attempt;
        details.max_attempts = self.retry.attempts();
    }
}

/// What happens to a request when its last subscriber has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenDeserted {
    /// It is cancelled, and its connection closed.
    #[default]
    Cancel,
    /// It is cancelled unless somebody subscribes within this time.
    Linger(std::time::Duration),
    /// It goes on, for those who subscribe later.
    KeepGoing,
}
