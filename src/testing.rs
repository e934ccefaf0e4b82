//! For the tests of programs that use this crate: answers without a socket, a subscriber that records, and a configuration for
//! paused time. Feature `test-util`, which belongs into `[dev-dependencies]`.
//!
//! - [`ScriptedTransport`] takes the place of HTTP. It plays an [`Exchange`] for each request and keeps what was sent.
//! - [`Recorder`] is a subscriber that keeps its events, and waits for the end.
//! - [`config`] keeps all actors on the thread of the test, so that `tokio::time::pause` stops the clock for all of them.
//! - [`FaultyStore`] is a store of several nodes, each of which can be cut off from it.
//! - [`events_from_json`] reads what the command prints with `--json`. [`Delivery::of`](crate::actors::Delivery::of) makes of
//!   events what an actor handles.
//!
//! A real server that misbehaves, for any client, is [`loopback`](crate::loopback).
//!
//! ```
//! use actix_responses::{Runtime, protocol::Prompt, testing::{self, Exchange, ScriptedTransport}};
//! use std::time::Duration;
//!
//! # #[actix_rt::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! tokio::time::pause(); // tokio's feature `test-util`
//! let transport = ScriptedTransport::new([
//!     Exchange::status(503),
//!     Exchange::answer("Hello").head_after(Duration::from_secs(60)),
//! ]);
//! let runtime = Runtime::with_transport(testing::config(), transport.clone())?;
//! let response = runtime.respond(Prompt::user("hi").with_model("m")).await?;
//! assert_eq!(response.text(), "Hello"); // a minute later, on a clock that nobody waits for
//! assert_eq!(transport.requests().len(), 2);
//! # Ok(())
//! # }
//! ```

mod exchange;
mod recorder;
mod store;
mod transport;

pub use self::{
    exchange::Exchange, recorder::Recorder, store::FaultyStore, transport::ScriptedTransport,
};

use crate::{
    actors::{SupervisorConfig, Workers},
    protocol::ResponseEvent,
    provider::Provider,
};

/// A configuration for tests: a provider that does not exist, all actors on the thread of the caller, and delays before retries
/// that are the same in each run.
///
/// With all on one thread, time that is paused there is paused for all: deadlines, retries and waits pass as soon as nothing else
/// is to be done.
pub fn config() -> SupervisorConfig {
    let provider = Provider::new("scripted", "http://scripted.test/v1").expect("a URL");
    let mut config = SupervisorConfig::new(provider);
    config.workers = Workers::Current;
    config.retry.backoff.jitter = 0.0;
    config
}

/// Reads events from JSON lines, as `actix-responses ask --json` and `decode` print them.
///
/// ```
/// use actix_responses::{actors::Delivery, testing::events_from_json};
///
/// let events = events_from_json("{\"type\":\"output_text_delta\",\"delta\":\"Hi\"}\n{\"type\":\"cancelled\"}\n")?;
/// let delivery = Delivery::of(1.into(), 0, events); // for a `Handler<Delivery>`
/// assert!(delivery.is_final());
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// When a line is not the JSON of an event.
pub fn events_from_json(lines: &str) -> serde_json::Result<Vec<ResponseEvent>> {
    serde_json::Deserializer::from_str(lines)
        .into_iter()
        .collect()
}
