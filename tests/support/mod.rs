//! What tests that open sockets share: servers that follow a script, a TLS authority, embedded providers, and the program. Those that
//! open none take `scripted/` alone.
#![allow(
    dead_code,
    unused_imports,
    reason = "each of these tests needs a part of it"
)]

mod answers;
mod asking;
#[cfg(feature = "cli")]
mod command;
mod folder;
mod loopback;
#[cfg(all(unix, feature = "redis"))]
pub(crate) mod redis_server;
mod server;
mod server_process;
#[cfg(all(unix, feature = "cli"))]
mod terminal;
mod tls;
#[cfg(feature = "runtime")]
pub(crate) mod websocket;

use std::{future::Future, time::Duration};

#[cfg(feature = "cli")]
pub(crate) use self::command::{Ran, Running, ask, asking, program, run, run_with_stdin};
#[cfg(all(unix, feature = "cli"))]
pub(crate) use self::terminal::Terminal;
pub(crate) use self::{
    answers::{CHUNKED, COMPLETED, DELTA, HEAD, OK, chunk, last_answer, whole_answer},
    asking::{Events, collect, end_of, failure, failure_of, prompt},
    folder::Folder,
    loopback::{FIRST, always, closed, completed, provider, sse, text_delta},
    server::{
        Nobody, accept, accept_request, read_head, read_request, serve, until_closed, url,
        write_until_refused,
    },
    server_process::ServerProcess,
    tls::Identity,
};

/// A test that waits so long fails. Timers of the tests are less than a tenth of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A hang is a failure, not a test that never ends.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("the test hangs")
}
