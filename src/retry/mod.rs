//! Decisions about trying again; no timers, no I/O.

/// What to do when an attempt fails after a part of the answer had been delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RetryAfterOutput {
    /// End the request with the error, which says that output was delivered.
    #[default]
    Fail,
    /// Tell subscribers with [`Restarted`](crate::protocol::ResponseEvent::Restarted) and start the answer over.
    Restart,
}
