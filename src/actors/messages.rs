//! What programs say to the supervisor.

mod common;
mod fallback;
mod kept;
mod questions;
mod submit;

use std::{sync::Arc, time::Duration};

use actix::Message;

pub use self::fallback::Fallback;
pub use self::kept::{AboutResponse, CancelResponse, DeleteResponse, ListInputItems, Retrieve};
pub use self::questions::{Asked, Compact, InOnePiece, ListModels, Submit};
pub use self::submit::{SubmitRequest, Submitted};
pub(crate) use self::{
    kept::AsksAbout,
    questions::{Answer, OneKind},
};
use super::{RequestId, Subscriber, SubscriptionId, observing::RequestInfo};
use crate::protocol::TokenUsage;

/// Adds a subscriber to a request that runs, or that ended a short while ago. It receives what its cursor asks for from the
/// log, then goes on live, without gap or repeat.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<SubscriptionId, SubscribeError>")]
pub struct Subscribe {
    /// Which request.
    pub request: RequestId,
    /// Who, and from where on.
    pub subscriber: Subscriber,
}

/// Why there is no subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// No such request, or it ended so long ago that nothing of it is kept.
    #[error("{request} is not known, or ended too long ago")]
    UnknownRequest {
        /// Which.
        request: RequestId,
    },
    /// The log does not reach back to the cursor any more.
    #[error("{request} has event {wanted} no more; its log begins at {oldest}")]
    CursorExpired {
        /// Which.
        request: RequestId,
        /// The cursor.
        wanted: u64,
        /// The oldest sequence number that is left.
        oldest: u64,
    },
    /// The cursor lies beyond the events so far, or beyond the end.
    #[error("{request} has no event {wanted} yet or ever; its next would be {next}")]
    CursorAhead {
        /// Which.
        request: RequestId,
        /// The cursor.
        wanted: u64,
        /// The sequence number of the next event.
        next: u64,
    },
    /// The supervisor has ended, and its requests with it.
    #[error("the runtime was shut down")]
    ShutDown,
}

/// Ends a subscription. No event follows, not even a final one. The reply says whether there was one.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "bool")]
pub struct Unsubscribe {
    /// Which request.
    pub request: RequestId,
    /// Which of its subscriptions.
    pub subscription: SubscriptionId,
}

/// Cancels a request: its connection is closed, events that are not yet in a mailbox are skipped, and every subscriber gets
/// [`Cancelled`](crate::protocol::ResponseEvent::Cancelled) — or the end that was already on its way. A question gets an error
/// that says so, or the answer that was on its way. The reply comes when the request has ended, and says whether it was cancelled.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "bool")]
pub struct CancelRequest {
    /// Which request.
    pub request: RequestId,
}

/// Asks how a request is doing. `None` when it is not known.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Option<RequestStatus>")]
pub struct GetStatus {
    /// Which request.
    pub request: RequestId,
}

/// Asks how all requests are doing that run, or ended a short while ago, oldest first: 1,000 at a time. The next ones are those after
/// the last of a list; one that is empty is the end.
///
/// No stream is asked, so that one which hangs does not hold up the list: what a running attempt has counted may be a second old.
#[derive(Clone, Copy, Debug, Default, Message)]
#[rtype(result = "Vec<RequestStatus>")]
#[non_exhaustive]
pub struct ListRequests {
    /// The list begins behind this request, which need not be known any more.
    pub after: Option<RequestId>,
}

with_fields!(ListRequests {
    with_after(after: RequestId => Some(after)),
});

impl ListRequests {
    /// From the oldest on.
    pub fn new() -> Self {
        Self::default()
    }
}

/// How a request is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestStatus {
    /// Which request.
    pub request: Arc<RequestInfo>,
    /// What it is doing.
    pub phase: RequestPhase,
    /// The attempt that runs, or ran last; the first is 1, and 0 is before it.
    pub attempt: u32,
    /// How long ago it was accepted.
    pub age: Duration,
    /// How long after that the first event came of a stream.
    pub first_event: Option<Duration>,
    /// How many events it has published.
    pub events: u64,
    /// How many bytes of answers have been read, those of failed attempts included.
    pub bytes: u64,
    /// What its answer cost, once it has ended and the server said so; of one that was cancelled, as far as the server had said it.
    pub usage: Option<TokenUsage>,
    /// How many subscriptions it has.
    pub subscribers: usize,
    /// By how many events the slowest of them is behind.
    pub lag: u64,
    /// How it waits for the limiter, while it does.
    pub limited: Option<Limited>,
}

/// A request waits for the limiter, see [`LimiterPolicy`](crate::retry::LimiterPolicy).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limited {
    /// How long it has waited before this attempt.
    pub waited: Duration,
    /// When it goes, in so long, as far as can be told from what the server said; zero while nothing was said.
    pub about: Duration,
}

/// What a request is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestPhase {
    /// An attempt runs.
    Running,
    /// An attempt failed, and the next is waited for.
    Waiting,
    /// The next attempt, which may be the first, waits for the limiter.
    Limited,
    /// Its end is published.
    Ended,
}

/// Ends the supervisor: no request is accepted any more, those that run get `grace` to end, then they fail with
/// [`ErrorKind::ShutDown`](crate::ErrorKind). Failed attempts are not repeated: a request that waits for its next attempt ends at
/// once, with the error of the last. The reply comes when all have ended.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Shutdown {
    /// How long running requests may go on.
    pub grace: Duration,
}

#[cfg(test)]
mod tests;
