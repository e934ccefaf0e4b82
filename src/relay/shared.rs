//! What all routes of one relay share.

use std::sync::{Arc, PoisonError, RwLock};

use super::{access::Access, answers::Answers, config::RelayConfig, routing::RouteTable};
use crate::Runtime;

/// What all routes of one relay share.
pub(super) struct Shared {
    pub(super) config: RelayConfig,
    #[allow(dead_code, reason = "the routes that ask it come next")]
    pub(super) runtime: Runtime,
    pub(super) routes: RwLock<Arc<RouteTable>>,
    pub(super) access: Access,
    #[allow(dead_code, reason = "the routes that ask it come next")]
    pub(super) answers: Answers,
}

impl Shared {
    /// Who answers for which model, from now on; a request keeps what it began with.
    #[allow(dead_code, reason = "the routes that ask it come next")]
    pub(super) fn routes(&self) -> Arc<RouteTable> {
        let routes = self.routes.read();
        routes.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
