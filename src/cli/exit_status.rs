//! How the command ended, as it tells the shell.

use std::process::ExitCode;

/// How the command ended, as it tells the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// The answer is whole, or the reader of stdout has had enough of it.
    Success = 0,
    /// The request failed, or the answer is incomplete.
    Failure = 1,
    /// The command was used wrongly: nothing was sent.
    Usage = 2,
    /// A signal ended it: 128 and the number of SIGINT, whichever signal it was.
    Interrupted = 130,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}
