//! What the connections of one server have in common, and how they end.

use std::time::Duration;

use tokio::sync::watch;

use super::{answers::Answers, records::Records, script::ScriptCursor, waiting::Waiting};

/// What the connections of one server have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) records: Records,
    pub(super) answers: Answers,
    pub(super) script: ScriptCursor,
    pub(super) stream_pace: Duration,
    pub(super) max_connections: usize,
    pub(super) request_timeout: Duration,
    pub(super) waiting: Waiting,
}

/// How the connections end when the server stops.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stop {
    Close,
    Reset,
}

/// Waits until the server is told to stop, or nobody is left to tell it.
pub(super) async fn told_to_stop(stop: &mut watch::Receiver<Option<Stop>>) -> Stop {
    match stop.wait_for(Option::is_some).await {
        Ok(stop) => stop.unwrap_or(Stop::Close),
        Err(_) => Stop::Close,
    }
}
