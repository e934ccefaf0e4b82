//! The relay: one service in front of many clients and many servers.
//!
//! A program of its own, or a part of an actix-web service: [`Relay::configure`] adds its routes. It is a subscriber of the runtime among
//! others, and decides nothing that the runtime decides.

mod config;
mod health;

use std::{fmt, sync::Arc};

use actix_web::web::{Data, ServiceConfig};

pub use self::config::RelayConfig;
use crate::Runtime;

/// The routes of a relay, and what they share. A clone is the same relay: one for each worker of the server.
#[derive(Clone)]
pub struct Relay {
    shared: Arc<Shared>,
}

/// What all routes of one relay share.
struct Shared {
    config: RelayConfig,
    #[expect(dead_code, reason = "the routes that ask it come next")]
    runtime: Runtime,
}

impl Relay {
    /// A relay that asks by this runtime.
    pub fn new(runtime: Runtime, config: RelayConfig) -> Self {
        Self {
            shared: Arc::new(Shared { config, runtime }),
        }
    }

    /// Adds its routes to a service.
    pub fn configure(&self, app: &mut ServiceConfig) {
        app.app_data(Data::from(self.shared.clone()));
        app.configure(health::routes);
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}
