//! One attempt at a request or a question: what it needs, how it opens, what it holds, and its two bodies.

pub(crate) mod alarm;
mod clock;
pub(crate) mod counts;
mod head;
mod ids;
pub(crate) mod lease;
pub(crate) mod opening;
pub(crate) mod question;
mod resuming;
pub(crate) mod spec;
pub(crate) mod stored;
pub(crate) mod stream;

pub use ids::{RequestId, SubscriptionId};
pub use spec::WhenDeserted;
