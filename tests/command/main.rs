//! The command as a user runs it: the built program against providers on loopback.

mod asking;
#[cfg(unix)]
mod bounded;
#[cfg(unix)]
mod closed_streams;
mod compacting;
#[cfg(unix)]
mod completing;
mod decoding;
mod ending;
mod failing;
mod field;
mod interrupting;
#[cfg(unix)]
mod open_files;
mod peers;
mod prompting;
mod providers;
mod relaying;
mod resuming;
mod serving;
mod settings;
mod storing;
#[path = "../support/mod.rs"]
mod support;
#[cfg(unix)]
mod terminal;
mod wrong_usage;
