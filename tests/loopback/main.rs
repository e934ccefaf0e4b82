//! The loopback provider, seen from the other end of the socket.

#![expect(
    clippy::disallowed_methods,
    reason = "the server's record and its clients run in real time"
)]

mod answers;
mod client;
mod faults;
mod framing;
mod scripts;
mod server;
#[path = "../support/mod.rs"]
mod support;

use std::error::Error;

const STREAM: &str =
    "event: one\ndata: {\"n\":1}\n\nevent: two\ndata: {\"n\":2}\n\n: a comment\n\ndata: [DONE]\n\n";

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
