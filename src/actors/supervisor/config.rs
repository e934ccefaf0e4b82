//! How a supervisor runs its requests.

use std::{sync::Arc, time::Duration};

use crate::{
    actors::{AudienceLimits, Observer, Workers},
    provider::Provider,
    retry::{BreakerPolicy, LimiterPolicy, RetryPolicy},
    store::StreamStore,
    telemetry::Propagator,
    wire::StreamLimits,
};

/// How a supervisor runs its requests. Any value of a field is fine but a provider whose timeouts are zero, and a backoff that makes no
/// sense.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SupervisorConfig {
    /// Where requests go that name no provider of their own.
    pub provider: Arc<Provider>,
    /// When they are tried again.
    pub retry: RetryPolicy,
    /// When an endpoint counts as down, and attempts at it fail without being sent.
    pub breaker: BreakerPolicy,
    /// How they are paced by the limits that servers tell. Default none: each is sent at once.
    pub limiter: Option<LimiterPolicy>,
    /// What they keep for their subscribers.
    pub audience: AudienceLimits,
    /// How much of a stream is taken before it is given up.
    pub limits: StreamLimits,
    /// Where their streams run.
    pub workers: Workers,
    /// How long an ended request can still be subscribed to. Default 30 s: time for a page to reload.
    pub retain: Duration,
    /// How many bytes ended requests keep together, roughly; the oldest are let go first. Default 64 MiB.
    pub retain_bytes: usize,
    /// How many requests may live at once; one more is refused. Default 65,536: the sockets of one process.
    pub max_requests: usize,
    /// Who is told what becomes of all requests, beside those that each may have of its own.
    pub observer: Option<Arc<dyn Observer>>,
    /// How many bytes the answer to a compaction may have. Default 64 MiB: it replaces a whole conversation, images
    /// included.
    pub max_compaction_bytes: usize,
    /// Who passes the trace of each attempt on to the server. Default none: no header of a trace is sent.
    pub propagator: Option<Arc<dyn Propagator>>,
    /// Up to how many bytes each of the instructions, the input and the output are recorded with a request's span, see
    /// [`telemetry`](crate::telemetry). Default 0: nothing of them is.
    pub captured_content_bytes: usize,
    /// Where streams lie that outlive this process: of requests that [say so](crate::actors::SubmitRequest::with_stored_as). Default none.
    pub store: Option<Arc<dyn StreamStore>>,
}

with_fields!(SupervisorConfig {
    with_provider(provider: impl Into<Arc<Provider>> => provider.into()),
    with_retry(retry: RetryPolicy),
    with_breaker(breaker: BreakerPolicy),
    with_limiter(limiter: LimiterPolicy => Some(limiter)),
    with_audience(audience: AudienceLimits),
    with_limits(limits: StreamLimits),
    with_workers(workers: Workers),
    with_retain(retain: Duration),
    with_retain_bytes(retain_bytes: usize),
    with_max_requests(max_requests: usize),
    with_observer(observer: impl Observer => Some(Arc::new(observer) as _)),
    with_max_compaction_bytes(max_compaction_bytes: usize),
    with_propagator(propagator: impl Propagator + 'static => Some(Arc::new(propagator) as _)),
    with_captured_content_bytes(captured_content_bytes: usize),
    with_store(store: impl StreamStore + 'static => Some(Arc::new(store) as _)),
});

impl SupervisorConfig {
    /// The defaults, with a provider.
    pub fn new(provider: Provider) -> Self {
        Self {
            provider: Arc::new(provider),
            retry: RetryPolicy::default(),
            breaker: BreakerPolicy::default(),
            limiter: None,
            audience: AudienceLimits::default(),
            limits: StreamLimits::default(),
            workers: Workers::default(),
            retain: Duration::from_secs(30),
            retain_bytes: 64 * 1024 * 1024,
            max_requests: 65_536,
            observer: None,
            max_compaction_bytes: 64 * 1024 * 1024,
            propagator: None,
            captured_content_bytes: 0,
            store: None,
        }
    }
}
