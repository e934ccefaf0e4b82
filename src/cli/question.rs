//! What subcommands share that ask one question and print its one answer.

use std::io::{self, Write as _};

use actix_responses::{ApiError, ErrorKind, Runtime, retry::RetryPolicy};

use super::{
    base_url, console, exit_status::ExitStatus, interrupts::Interrupts, provider_options::Upstream,
    system, usage_error::UsageError,
};

/// Asks, waits for the answer, and prints what `shown` makes of it. `path` is where it asks, behind the base URL.
pub(super) fn answer<T>(
    upstream: &Upstream,
    ask: impl AsyncFnOnce(&Runtime) -> Result<T, ApiError>,
    shown: impl FnOnce(T) -> String,
    path: &str,
) -> Result<ExitStatus, UsageError> {
    upstream.announce();
    let answering = async {
        let mut interrupts = Interrupts::new().map_err(UsageError::at_start)?;
        let runtime = upstream.runtime(RetryPolicy::default())?;
        tokio::select! {
            answer = ask(&runtime) => Ok(Some(answer)),
            _ = interrupts.next() => Ok::<_, UsageError>(None),
        }
    };
    match system::start()?.block_on(answering)? {
        Some(Ok(answer)) => Ok(print(&shown(answer))),
        // Nothing was sent.
        Some(Err(error)) if error.kind() == ErrorKind::InvalidConfiguration => Err(error.into()),
        Some(Err(error)) => {
            let report = base_url::report(&error, upstream.hint(path).as_deref());
            console::complain(&upstream.secrets.hide(&report));
            Ok(ExitStatus::Failure)
        }
        None => Ok(ExitStatus::Interrupted),
    }
}

/// A JSON text on one line. A line end in it stands between tokens, where a space means the same.
pub(super) fn one_line(json: &str) -> String {
    let mut line = json.replace(['\n', '\r'], " ");
    line.push('\n');
    line
}

/// Prints a text, as a whole.
pub(super) fn print(text: &str) -> ExitStatus {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => ExitStatus::Success,
        Err(error) => console::unwritten(&error),
    }
}
