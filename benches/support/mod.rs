//! What the benchmarks share.

pub mod bodies;
pub mod clock;
pub mod decoders;
pub mod inputs;
pub mod records;
pub mod server;
pub mod target;
pub mod upstream;
