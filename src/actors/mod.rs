//! The actors: who owns state, and what they say to each other.
//!
//! | actor | started by | receives | sends | ends when |
//! |---|---|---|---|---|
//! | [`StreamSupervisor`] | the program or [`Runtime`](crate::Runtime) | the messages below | attempts to workers, [`AttemptNotice`] | [`Shutdown`] |
//! | `Worker` | the supervisor, one for each arbiter | attempts | a sweep to its streams | the supervisor ends |
//! | `Asker` | a worker, one for each attempt at a compaction or a list of models | a stop | its end to the supervisor | the answer, a failure, deadline, stop |
//! | `StreamActor` | a worker, one for each attempt | bytes, joins, leaves, stops | [`Delivery`] and events to subscribers, its end to the supervisor | terminal event, failure, deadline, stop |
//!
//! A program sends [`SubmitRequest`], [`Subscribe`], [`Unsubscribe`], [`CancelRequest`], [`GetStatus`], [`Compact`],
//! [`ListModels`] (both also within [`Submit`]) and [`Shutdown`] to the supervisor. Its subscribers receive [`Delivery`] or [`ResponseEvent`](crate::protocol::ResponseEvent).

mod asker;
mod attempts;
mod audience;
mod breakers;
mod config;
mod delivery;
mod drain;
mod lease;
mod messages;
mod opening;
mod pool;
mod questions;
mod request;
mod stream;
mod subscription;
mod supervisor;
mod turn_state;
mod worker;

pub use audience::AudienceLimits;
pub use config::SupervisorConfig;
pub use delivery::Delivery;
pub use messages::{
    Asked, AttemptNotice, CancelRequest, Compact, GetStatus, ListModels, RequestPhase,
    RequestStatus, Shutdown, Submit, SubmitRequest, Submitted, Subscribe, SubscribeError,
    Unsubscribe,
};
pub use pool::Workers;
pub use request::{RequestId, SubscriptionId, WhenDeserted};
pub use subscription::{Cursor, DeliveryPolicy, Subscriber};
pub use supervisor::StreamSupervisor;
pub use turn_state::TurnState;
