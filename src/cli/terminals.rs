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
            is_styled: can_erase && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            can_erase,
        }
    }

    /// The text, dimmed where that may be.
    pub(super) fn dim(self, text: &str) -> String {
        match self.is_styled && self.stderr {
            true => format!("{DIM}{text}{PLAIN}"),
            false => text.to_owned(),
        }
    }
}

/// How many columns the terminal has that stdout is; it may change.
pub(super) fn columns() -> Option<usize> {
    #[cfg(unix)]
    {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    }
    #[cfg(not(unix))]
    None
}
