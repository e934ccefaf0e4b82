//! The command's subcommands, one file each beside what they share.

mod ask;
mod attachments;
mod base_url;
mod closed_stdout;
mod compact;
mod completions;
mod console;
mod decode;
mod exit_status;
mod files;
mod harmless;
mod interrupts;
mod json_lines;
mod kept_answer;
mod listeners;
mod logging;
mod loopback;
mod models;
mod printer;
mod prompt_options;
mod provider_options;
mod question;
mod secrets;
mod serve;
mod status_line;
mod store_options;
mod system;
mod terminals;
mod text_view;
mod time_options;
mod usage_error;
mod width;
mod wrapping;

use clap::{CommandFactory as _, Parser, Subcommand};

use self::exit_status::ExitStatus;

/// Stream answers of the OpenAI Responses and Chat Completions APIs.
///
/// Exit status: 0 the answer is whole, 1 it failed or is incomplete, 2 wrong usage, 130 stopped by Ctrl-C.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, max_term_width = 100)]
struct Arguments {
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
    Serve(Box<serve::Serve>),
    Completions(completions::Completions),
}

impl Command {
    /// Whether there is no sense in it without stdout. A server is reached at a port that may be known.
    fn is_for_its_output(&self) -> bool {
        !matches!(self, Self::Loopback(_) | Self::Serve(_))
    }
}

/// Does what the command line says. Help that can't be written is a failure, as an answer is.
pub(crate) fn run() -> ExitStatus {
    let error = match Arguments::try_parse() {
        Ok(arguments) => return arguments.run(),
        Err(error) => error,
    };
    if !error.use_stderr() && closed_stdout::was_found() {
        return without_stdout();
    }
    match (error.print(), error.use_stderr()) {
        (_, true) => ExitStatus::Usage,
        (Err(failed), false) => console::unwritten(&failed),
        (Ok(()), false) => ExitStatus::Success,
    }
}

fn without_stdout() -> ExitStatus {
    console::complain("can't write to standard output: it is closed");
    ExitStatus::Failure
}

impl Arguments {
    /// Does what they say. What can't be done is said on stderr.
    fn run(self) -> ExitStatus {
        if self.command.is_for_its_output() && closed_stdout::was_found() {
            return without_stdout();
        }
        let result = match self.command {
            Command::Ask(ask) => ask.run(),
            Command::Compact(compact) => compact.run(),
            Command::Models(models) => models.run(),
            Command::Decode(decode) => decode.run(),
            Command::Loopback(serve) => serve.run(),
            Command::Serve(serve) => serve.run(),
            Command::Completions(completions) => Ok(completions.run(Self::command())),
        };
        result.unwrap_or_else(|error| {
            console::complain(&error.to_string());
            ExitStatus::Usage
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
