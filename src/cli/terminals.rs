//! What the two outputs are, and what may be done to them.

use std::{
    env,
    io::{self, IsTerminal as _},
};

const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// Which of the two outputs are terminals, both then the same one, and what that one understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Terminals {
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    /// Stdout is a pipe, whose reader may write to the same terminal, as `cat` does.
    pub(super) has_reader: bool,
    /// Text may be dimmed: the person has not set NO_COLOR.
    pub(super) is_styled: bool,
    /// A line may be erased: it is not TERM=dumb.
    pub(super) can_erase: bool,
}

impl Terminals {
    pub(super) fn of_this_process() -> Self {
        let can_erase = env::var_os("TERM").is_none_or(|terminal| terminal != "dumb");
        Self {
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
            has_reader: stdout_is_pipe(),
            is_styled: can_erase && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            can_erase,
        }
    }

    /// The text, dimmed where that may be.
    pub(super) fn dim(self, text: &str) -> String {
        match self.is_styled && self.stderr && !text.is_empty() {
            true => format!("{DIM}{text}{PLAIN}"),
            false => text.to_owned(),
        }
    }
}

/// How many columns the terminal has that stdout or stderr is; it may change.
pub(super) fn columns() -> Option<usize> {
    #[cfg(unix)]
    {
        use rustix::termios::tcgetwinsize;
        let size = tcgetwinsize(io::stdout()).or_else(|_| tcgetwinsize(io::stderr()));
        Some(usize::from(size.ok()?.ws_col)).filter(|columns| *columns > 0)
    }
    #[cfg(not(unix))]
    None
}

fn stdout_is_pipe() -> bool {
    #[cfg(unix)]
    {
        use std::{
            fs::File,
            os::{fd::AsFd as _, unix::fs::FileTypeExt as _},
        };
        let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
        let metadata = stdout.and_then(|stdout| stdout.metadata());
        metadata.is_ok_and(|metadata| metadata.file_type().is_fifo())
    }
    #[cfg(not(unix))]
    false
}
