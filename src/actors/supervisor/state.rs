//! What the supervisor knows. Each file beside this one does a part of what it does.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    task::Waker,
};

use actix::Recipient;
use tokio::{sync::oneshot, time::Instant};

use super::{SupervisorConfig, limiter::Pacing, requests::Request};
use crate::{
    actors::{
        RequestId,
        attempt::{alarm::Alarm, lease::AttemptEnded},
        workers::pool::WorkerPool,
    },
    protocol::error::ApiError,
    retry::Breakers,
    transport::TransportFactory,
};

/// Accepts requests and answers for them until each has ended. The [module](crate::actors) says who sends it
/// what.
pub struct StreamSupervisor {
    pub(super) config: SupervisorConfig,
    pub(super) pool: WorkerPool,
    pub(super) breakers: Breakers,
    /// What lets attempts through, where they are paced.
    pub(super) pacing: Option<Pacing>,
    /// What the breakers and the limiter count time from.
    pub(super) epoch: Instant,
    /// In boxes, because up to half of the table is room to grow.
    pub(super) requests: HashMap<RequestId, Box<Request>>,
    /// How many of them have not ended.
    pub(super) live: usize,
    /// Where all leases report to. They share it, because each address is three allocations.
    pub(super) report: Option<Arc<Recipient<AttemptEnded>>>,
    pub(super) next_id: RequestId,
    /// Requests whose audience is here and has subscribers that are waited for.
    pub(super) tended: BTreeSet<RequestId>,
    pub(super) alarm: Alarm,
    /// Wakes [`Tending`](super::tending::Tending).
    pub(super) waker: Option<Waker>,
    /// Ended requests, the oldest first.
    pub(super) retained: VecDeque<(Instant, RequestId)>,
    pub(super) retained_bytes: usize,
    /// Whether a look at them is on its way.
    pub(super) retention_is_due: bool,
    pub(super) closing: Option<Closing>,
}

/// A shutdown that has begun.
#[derive(Default)]
pub(super) struct Closing {
    pub(super) waiting: Vec<oneshot::Sender<()>>,
    pub(super) grace_is_over: bool,
}

impl StreamSupervisor {
    /// A supervisor whose transports come from `factory`, for [`start`](actix::Actor::start) within an actix `System`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind) when a timeout of the provider, or the backoff, makes no sense.
    pub fn new(config: SupervisorConfig, factory: impl TransportFactory) -> Result<Self, ApiError> {
        config.provider.timeouts.validate()?;
        config.retry.backoff.validate()?;
        Ok(Self {
            pool: WorkerPool::new(Arc::new(factory)),
            breakers: Breakers::new(config.breaker),
            pacing: config.limiter.map(Pacing::new),
            epoch: Instant::now(),
            requests: HashMap::new(),
            report: None,
            live: 0,
            config,
            next_id: RequestId::first(),
            tended: BTreeSet::new(),
            alarm: Alarm::default(),
            waker: None,
            retained: VecDeque::new(),
            retained_bytes: 0,
            retention_is_due: false,
            closing: None,
        })
    }
}
