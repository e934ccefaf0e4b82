//! The relay: one service in front of many clients and many servers.
//!
//! A program of its own, or a part of an actix-web service: [`Relay::configure`] adds its routes. It is a subscriber of the runtime among
//! others, and decides nothing that the runtime decides.

mod access;
mod access_log;
mod answers;
mod asking;
mod block;
mod body;
mod bridge;
mod config;
mod configuration;
mod connection;
mod continuing;
mod drain;
mod ending;
mod failure;
mod forward;
mod gate;
mod headers;
mod health;
mod makers;
mod metrics;
mod preamble;
mod pump;
mod questions;
mod rendering;
mod resume;
mod routes;
mod routing;
mod service;
mod shared;
mod streams;
mod takeover;
mod watched;
mod whole;
mod wordless;

use std::{
    fmt, io,
    net::TcpListener,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use actix_web::web::{Data, ServiceConfig};

use self::shared::Shared;
pub use self::{
    access::Tokens,
    config::{OnePiece, RelayConfig},
    configuration::{Configuration, StoreConfig},
    routing::{Route, RouteTable, Target},
    service::Serving,
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
        let config = config.bounded();
        let routes = RwLock::new(Arc::new(routes));
        let answers = answers::Answers::new(&config);
        Self {
            shared: Arc::new(Shared {
                access: access::Access::new(&config),
                config,
                runtime,
                routes,
                drain: Arc::default(),
                metrics: metrics::Metrics::new(),
                answers,
                takeovers: takeover::places::Takeovers::default(),
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

    /// From now on readiness is 503, and no request for an answer is taken; those that run have `grace` to end. Then they are handed on or
    /// end, as [`RelayConfig::grace`] says, and what they say is waited for a moment, as is the store. It returns at once when nothing runs
    /// and the store has all. The runtime goes on, for others may use it.
    ///
    /// The listener stays open: close it a while later ([`RelayConfig::drain_notice`]), so that those who send traffic have looked at readiness.
    pub async fn drain(&self, grace: Duration) {
        let drain = &self.shared.drain;
        drain.emptied_within(grace).await;
        // What is taken over from now on is handed on at once.
        drain.end();
        // A client that does not read is not waited for.
        drain.emptied_within(drain::LAST_WORDS).await;
        // Nor is a store that does not answer.
        self.shared.answers.written_within(drain::LAST_WORDS).await;
    }

    /// How many requests for an answer are being answered; of those whose client has left, the ones that go on without it.
    pub fn running(&self) -> usize {
        self.shared.drain.running()
    }

    /// Adds its routes to a service. The answers to this thread's clients run on its arbiter
    /// ([`Runtime::lend_arbiter`](crate::Runtime::lend_arbiter)), so that a block goes from one socket to the other on one thread.
    pub fn configure(&self, app: &mut ServiceConfig) {
        self.shared.runtime.lend_arbiter();
        app.app_data(Data::from(self.shared.clone()));
        app.app_data(forward::Upstream::default());
        app.configure(health::routes);
        // Before those with an id in their path.
        app.configure(routes::routes);
        app.configure(resume::routes);
        app.configure(streams::routes);
    }
}

/// Serves a relay on these listeners, with `workers` threads; within an actix `System`, which it ends with. Nobody's signals are caught.
///
/// What a program with an actix-web service of its own has to set itself is set here: a client that leaves is seen at once
/// (`h1_allow_half_closed(false)`), the head of a request has a time, connections have a limit, and one whose client reads nothing ends
/// ([`RelayConfig::slow_client`], on Linux).
///
/// # Errors
/// When a listener can't be used.
pub fn serve(listeners: Vec<TcpListener>, relay: &Relay, workers: usize) -> io::Result<Serving> {
    let config = relay.shared.config.clone();
    let relay = relay.clone();
    let configure = move |app: &mut ServiceConfig| relay.configure(app);
    service::start(listeners, configure, workers, &config)
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}
