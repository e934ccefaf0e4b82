//! The command `actix-responses`: ask a model, compact a conversation, list models, decode a captured stream, serve the
//! embedded provider.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    cli::Arguments::parse().run().into()
}
