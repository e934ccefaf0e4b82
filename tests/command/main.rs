//! The command as a user runs it: the built program against providers on loopback.

mod asking;
mod compacting;
mod decoding;
mod ending;
mod failing;
mod field;
mod interrupting;
#[cfg(unix)]
mod open_files;
mod providers;
mod serving;
#[path = "../support/mod.rs"]
mod support;
mod wrong_usage;
