//! What all routes of one relay share.

use std::sync::{Arc, PoisonError, RwLock};

use super::{
    access::Access, answers::Answers, config::RelayConfig, drain::Drain, metrics::Metrics,
    routing::RouteTable, takeover::places::Takeovers,
};
use crate::Runtime;

/// What all routes of one relay share.
pub(super) struct Shared {
    pub(super) config: RelayConfig,
    pub(super) runtime: Runtime,
    pub(super) routes: RwLock<Arc<RouteTable>>,
    pub(super) access: Access,
    pub(super) drain: Arc<Drain>,
    pub(super) metrics: Metrics,
    pub(super) answers: Answers,
    pub(super) takeovers: Takeovers,
}

impl Shared {
    /// Who answers for which model, from now on; a request keeps what it began with.
    pub(super) fn routes(&self) -> Arc<RouteTable> {
        let routes = self.routes.read();
        routes.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
