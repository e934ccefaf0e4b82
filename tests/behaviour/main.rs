//! How requests behave, over a scripted transport and with the clock paused: no sockets, no waiting.

#[path = "../support/scripted/mod.rs"]
mod support;
mod turns;

mod blocks;
mod cancelling;
mod compacting;
mod falling_back;
mod finishing;
mod limiting;
mod listing;
#[cfg(feature = "metrics")]
mod metrics;
mod observing;
mod panicking;
mod partials;
mod questions;
mod received;
mod responding;
mod resuming;
mod retrying;
mod stored;
mod streaming;
mod subscribing;
mod supervising;
