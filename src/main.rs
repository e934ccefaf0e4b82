//! The command `actix-responses`: ask a model, compact a conversation, list models, decode a captured stream, serve the
//! embedded provider.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run().into()
}
