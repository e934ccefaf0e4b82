//! What keeps answers: one suite for all stores, and what a server of Redis may do to its store.
//!
//! `cargo test` needs no server. `RESPONSES_REDIS_SERVER` names one, as a path or as a name in PATH, and each test starts its own: on a socket or
//! ports that nobody else has. Without it those tests say that they looked at nothing; `RESPONSES_REDIS_REQUIRED=1` makes that a failure.

mod conforms;
#[cfg(all(unix, feature = "redis"))]
mod redis;
#[cfg(all(unix, feature = "redis"))]
mod slow;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use actix_responses::store::{MemoryStore, StoreLimits};

use conforms::{Second, conforms, lets_the_oldest_ended_go_first};

#[tokio::test(start_paused = true)]
async fn the_store_in_memory_conforms() {
    let second = Second(Duration::from_secs(1));
    conforms(MemoryStore::new, second, tokio::time::advance).await;
    let small = StoreLimits::default().with_client_bytes(40).with_bytes(70);
    lets_the_oldest_ended_go_first(&MemoryStore::new(small)).await;
}
