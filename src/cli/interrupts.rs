//! The signals by which a person or a supervisor ends the command.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Which signal it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// A person's.
    CtrlC,
    /// A supervisor's: SIGTERM.
    #[cfg_attr(not(unix), expect(dead_code, reason = "nobody sends it there"))]
    Terminate,
}

/// Ctrl-C and SIGTERM. While it lives they do not end the process by themselves.
#[cfg(unix)]
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

#[cfg(unix)]
impl Interrupts {
    /// Within a tokio runtime.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Interrupt {
        tokio::select! {
            _ = self.interrupt.recv() => Interrupt::CtrlC,
            _ = self.terminate.recv() => Interrupt::Terminate,
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
    pub(super) async fn next(&mut self) -> Interrupt {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Interrupt::CtrlC,
            Err(_) => std::future::pending().await,
        }
    }
}

/// SIGHUP, by which a person says that files have changed. There is none here.
#[cfg(not(unix))]
pub(super) struct Hangups(());

#[cfg(not(unix))]
impl Hangups {
    /// Within a tokio runtime.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(()))
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        std::future::pending().await
    }
}

/// SIGHUP, by which a person says that files have changed. While it lives that does not end the process.
#[cfg(unix)]
pub(super) struct Hangups(Signal);

#[cfg(unix)]
impl Hangups {
    /// Within a tokio runtime.
    pub(super) fn new() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        self.0.recv().await;
    }
}
