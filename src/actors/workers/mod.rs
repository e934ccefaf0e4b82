//! The arbiters that attempts run on.

pub(crate) mod load;
pub(crate) mod pool;
pub(crate) mod worker;

use std::thread::ThreadId;

use actix::Message;
use actix_rt::ArbiterHandle;

pub use pool::Workers;

/// To the supervisor: requests of this thread are to run on it, which has this arbiter.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct LendArbiter {
    pub(crate) arbiter: ArbiterHandle,
    pub(crate) thread: ThreadId,
}
