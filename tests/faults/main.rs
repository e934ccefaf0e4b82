//! Faults over real sockets: peers that break, stall, trickle, answer too early, and subscribers that never read.
//!
//! A server is a script that a thread runs, line by line, or a process that is killed. Timers are some hundred milliseconds;
//! what is asserted is that they end the request, and that they do so long before [`support::PATIENCE`].
//! `tests/netns_cut.sh` cuts a network, which needs root.

mod asking;
mod broken;
mod early;
mod slow;
#[path = "../support/mod.rs"]
mod support;
mod unread;
mod websocket;
