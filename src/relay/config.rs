//! What a relay may do, and how much of it.

/// How a relay behaves.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RelayConfig {}
