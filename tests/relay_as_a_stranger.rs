//! The relay's sources, compiled as those of another program: they use nothing of this crate but what a program can.
//!
//! What they name by `crate::` is here what the crate exports, and no more. That it compiles is the test.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    hidden_glob_reexports,
    reason = "nothing here uses it"
)]

pub use actix_responses::*;

/// How options are written: it exports nothing.
#[macro_use]
#[path = "../src/options.rs"]
mod options;
#[path = "../src/relay/mod.rs"]
mod relay;

#[test]
fn the_relay_uses_what_a_stranger_can_use() {
    // It is not the crate's own.
    let [here, there] = [
        std::any::type_name::<relay::Relay>(),
        std::any::type_name::<actix_responses::relay::Relay>(),
    ];
    assert_ne!(here, there);
}
