//! The relay, asked over real sockets.

mod access;
mod answers;
mod attacks;
mod configuration;
mod failures;
mod headers;
mod nodes;
mod one_piece;
mod owners;
mod page;
mod promises;
mod recordings;
mod requests;
mod resuming;
mod sealed;
#[cfg(feature = "cli")]
mod secrets;
mod service;
mod store_down;
mod support;
#[cfg(feature = "test-util")]
mod takeover;

use support::RunningRelay;

#[actix_rt::test]
async fn a_relay_says_that_it_lives() {
    let relay = RunningRelay::start().await;
    let (status, _, body) = relay.get("/healthz").await;
    assert_eq!((status, &*body), (200, "ok\n"));
}
