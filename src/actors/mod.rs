//! The actors: who owns state, and what they say to each other.
//!
//! | actor | started by | receives | sends | ends when |
//! |---|---|---|---|---|
//! | [`StreamSupervisor`] | the program or [`Runtime`](crate::Runtime) | the messages below | attempts to workers, [`RequestNotice`] | [`Shutdown`] |
//! | `Worker` | the supervisor, one for each arbiter, also one that [was lent](crate::Runtime::lend_arbiter) | attempts | a sweep to its streams | the supervisor ends |
//! | `StreamActor` | a worker, one for each attempt | bytes, joins, leaves, stops | [`Delivery`] and events to subscribers, its end to the supervisor | terminal event, failure, deadline, stop |
//!
//! Of a compaction, an answer in one piece or a list of models each attempt is a task of its worker's, for it receives nothing.
//!
//! A program sends [`SubmitRequest`], [`Subscribe`], [`Unsubscribe`], [`CancelRequest`], [`GetStatus`], [`ListRequests`],
//! [`Compact`], [`ListModels`], [`AboutResponse`] (all also within [`Submit`]), [`InOnePiece`] and [`Shutdown`] to the supervisor. Its subscribers receive [`Delivery`] or [`ResponseEvent`](crate::protocol::ResponseEvent).

mod attempt;
mod audience;
mod messages;
mod observing;
mod supervisor;
mod workers;

pub use attempt::{RequestId, SubscriptionId, WhenDeserted};
pub use audience::{AudienceLimits, Block, Cursor, Delivery, DeliveryPolicy, Subscriber};
pub use messages::{
    AboutResponse, Asked, CancelRequest, CancelResponse, Compact, DeleteResponse, Fallback,
    GetStatus, InOnePiece, Limited, ListInputItems, ListModels, ListRequests, RequestPhase,
    RequestStatus, Retrieve, Shutdown, Submit, SubmitRequest, Submitted, Subscribe, SubscribeError,
    Unsubscribe,
};
#[cfg(feature = "metrics")]
pub use observing::MetricsObserver;
pub use observing::{ChunkTimer, Milestone, Observer, RequestInfo, RequestNotice, RequestOutcome};
pub use supervisor::{StreamSupervisor, SupervisorConfig};
pub(crate) use workers::LendArbiter;
pub use workers::Workers;
