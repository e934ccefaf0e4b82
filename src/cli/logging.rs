//! Logs on stderr, for those who ask.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;

use super::{provider_options::variable, secrets::Secrets, usage_error::UsageError};

/// The variable that says which events are shown.
const FILTER_VARIABLE: &str = "RUST_LOG";

/// Which events `-v` shows, and those that `-vv` adds.
const LEVELS: [&str; 2] = ["actix_responses=debug", "actix_responses=trace"];

/// Writes logs to stderr if `-v` was given, so many times; `RUST_LOG` then says which, if it is set.
pub(super) fn start(verbose: u8, secrets: Secrets) -> Result<(), UsageError> {
    if verbose == 0 {
        return Ok(());
    }
    let filter = match variable(FILTER_VARIABLE)? {
        Some(wanted) => {
            EnvFilter::try_new(wanted).map_err(|error| UsageError::at(FILTER_VARIABLE, &error))?
        }
        None => EnvFilter::new(LEVELS[usize::from(verbose).min(LEVELS.len()) - 1]),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(move || RedactedStderr(secrets.clone()))
        .init();
    Ok(())
}

/// Takes a whole event at a time, as tracing-subscriber writes them.
struct RedactedStderr(Secrets);

impl Write for RedactedStderr {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        io::stderr().write_all(self.0.hide(&text).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
