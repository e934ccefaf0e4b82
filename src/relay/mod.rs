//! The relay: one service in front of many clients and many servers.
//!
//! A program of its own, or a part of an actix-web service: [`Relay::configure`] adds its routes. It is a subscriber of the runtime among
//! others, and decides nothing that the runtime decides.

#[allow(dead_code, reason = "the routes that ask it come next")]
mod access;
#[allow(
    dead_code,
    reason = "the handlers that begin and read answers come next"
)]
mod answers;
#[allow(dead_code, reason = "the handlers that stream come next")]
mod block;
#[allow(dead_code, reason = "the handlers that ask it come next")]
mod bridge;
mod config;
mod configuration;
#[allow(dead_code, reason = "the handlers that stream come next")]
mod connection;
#[allow(dead_code, reason = "the handlers that stream come next")]
mod ending;
#[allow(dead_code, reason = "the routes behind it come next")]
mod gate;
mod health;
#[allow(dead_code, reason = "the handlers that stream come next")]
mod preamble;
#[allow(dead_code, reason = "the handlers that stream come next")]
mod pump;
#[allow(dead_code, reason = "the handlers that stream come next")]
mod rendering;
mod resume;
mod routing;
mod shared;
pub mod store;
mod streams;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use actix_web::web::{Data, ServiceConfig};

use self::shared::Shared;
pub use self::{
    access::Tokens,
    config::RelayConfig,
    configuration::Configuration,
    routing::{Route, RouteTable, Target},
};
use crate::Runtime;

/// The routes of a relay, and what they share. A clone is the same relay: one for each worker of the server.
#[derive(Clone)]
pub struct Relay {
    shared: Arc<Shared>,
}

impl Relay {
    /// A relay that asks by this runtime, and whom its routes say.
    pub fn new(runtime: Runtime, routes: RouteTable, config: RelayConfig) -> Self {
        let routes = RwLock::new(Arc::new(routes));
        let answers = answers::Answers::new(&config);
        Self {
            shared: Arc::new(Shared {
                access: access::Access::new(&config),
                config,
                runtime,
                routes,
                answers,
            }),
        }
    }

    /// Puts other routes in place. What runs goes on with those it began with.
    pub fn set_routes(&self, routes: RouteTable) {
        let mut current = self
            .shared
            .routes
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(routes);
    }

    /// Lets those ask who show one of these tokens, and nobody else; without any, everybody may ask. A token goes to no server.
    pub fn set_tokens(&self, tokens: Option<Tokens>) {
        self.shared.access.set_tokens(tokens);
    }

    /// Adds its routes to a service.
    pub fn configure(&self, app: &mut ServiceConfig) {
        app.app_data(Data::from(self.shared.clone()));
        app.configure(health::routes);
        app.configure(resume::routes);
        app.configure(streams::routes);
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}
