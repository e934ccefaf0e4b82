//! The signals by which a person or a supervisor ends the command.

use std::io;

/// Ctrl-C and SIGTERM. While it lives they do not end the process by themselves.
#[cfg(unix)]
pub(super) struct Interrupts {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Interrupts {
    /// Within a tokio runtime.
    pub(super) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Ctrl-C. While it lives that does not end the process by itself.
#[cfg(not(unix))]
pub(super) struct Interrupts(());

#[cfg(not(unix))]
impl Interrupts {
    /// Within a tokio runtime.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(()))
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
