//! The actix `System` of the command.

use actix::{System, SystemRunner};

use super::usage_error::UsageError;

/// Starts it on this thread.
pub(super) fn start() -> Result<SystemRunner, UsageError> {
    has_room_for_a_runtime()?;
    // actix would panic in place of an error.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(UsageError::at_start)?;
    Ok(System::with_tokio_rt(|| runtime))
}

/// Tokio panics where there are too few open files for its signals, and says so for the rest.
pub(super) fn has_room_for_a_runtime() -> Result<(), UsageError> {
    #[cfg(unix)]
    {
        use std::{io, os::unix::net::UnixStream};
        let pairs = (0..4).map(|_| UnixStream::pair());
        let pairs = pairs.collect::<io::Result<Vec<_>>>();
        pairs.map_err(UsageError::at_start)?;
    }
    Ok(())
}
