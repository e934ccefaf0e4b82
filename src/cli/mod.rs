//! The command's subcommands, one file each, and what they share.

mod ask;
mod compact;
mod console;
mod decode;
mod files;
mod interrupts;
mod json_lines;
mod logging;
mod loopback;
mod models;
mod printer;
mod prompt_options;
mod provider_options;
mod question;
mod secrets;
mod status_line;
mod text_view;

use std::{error::Error, fmt, process::ExitCode};

use actix_responses::ApiError;
use clap::{Parser, Subcommand};

/// Stream answers of the OpenAI Responses and Chat Completions APIs.
///
/// Exit status: 0 the answer is whole, 1 it failed or is incomplete, 2 wrong usage, 130 stopped by Ctrl-C.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Ask(Box<ask::Ask>),
    Compact(compact::Compact),
    Models(models::Models),
    Decode(decode::Decode),
    Loopback(loopback::Serve),
}

impl Arguments {
    /// Does what they say. What can't be done is said on stderr.
    pub(crate) fn run(self) -> ExitStatus {
        let result = match self.command {
            Command::Ask(ask) => ask.run(),
            Command::Compact(compact) => compact.run(),
            Command::Models(models) => models.run(),
            Command::Decode(decode) => decode.run(),
            Command::Loopback(serve) => serve.run(),
        };
        result.unwrap_or_else(|error| {
            console::complain(&error.to_string());
            ExitStatus::Usage
        })
    }
}

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

/// The command can't do what it was told: a flag, a variable or a file is wrong. It says which, and never holds a key.
#[derive(Debug, PartialEq)]
struct UsageError(String);

impl UsageError {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// An error of the library's about what `place` gave.
    fn at(place: &str, error: &(dyn Error + 'static)) -> Self {
        Self(format!("{place}: {}", with_causes(error)))
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A refusal before anything was sent.
impl From<ApiError> for UsageError {
    fn from(error: ApiError) -> Self {
        Self(error.report())
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    // An `ApiError` says its kind too, which for a wrong setting is no news.
    let mut text = match error.downcast_ref::<ApiError>() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
