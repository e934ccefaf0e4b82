//! The arbiters that attempts run on.

pub(crate) mod load;
pub(crate) mod pool;
pub(crate) mod worker;

pub use pool::Workers;
