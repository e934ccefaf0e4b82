//! Logs on stderr, for those who ask.

use std::io::{self, Write};

use tracing::Level;
use tracing_subscriber::{
    filter::Targets, fmt, layer::SubscriberExt as _, registry, util::SubscriberInitExt as _,
};

use super::{provider_options::variable, secrets::Secrets, usage_error::UsageError};

/// The variable that says which events are shown.
const FILTER_VARIABLE: &str = "RUST_LOG";

/// Whose events `-v` shows.
const TARGET: &str = "actix_responses";

/// Writes logs to stderr if `-v` was given, so many times; `RUST_LOG` then says which, if it is set.
pub(super) fn start(verbose: u8, secrets: Secrets) -> Result<(), UsageError> {
    if verbose == 0 {
        return Ok(());
    }
    // Targets with levels, which is what people write there: spans and fields would need a quarter of a megabyte of regular expressions.
    let filter = match variable(FILTER_VARIABLE)? {
        Some(wanted) if wanted.contains('[') => {
            return Err(UsageError::new(format!(
                "{FILTER_VARIABLE}={wanted}: spans and fields can't be chosen: write TARGET=LEVEL, or a LEVEL"
            )));
        }
        Some(wanted) => wanted
            .parse::<Targets>()
            .map_err(|error| UsageError::at(FILTER_VARIABLE, &error))?,
        None => Targets::new().with_target(
            TARGET,
            match verbose {
                1 => Level::DEBUG,
                _ => Level::TRACE,
            },
        ),
    };
    let shown = fmt::layer()
        .with_ansi(false)
        .with_writer(move || RedactedStderr(secrets.clone()));
    registry().with(shown).with(filter).init();
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
