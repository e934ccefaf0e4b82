//! What of an answer was lost.

use super::delta::DeltaKind;
use crate::{protocol::error::ApiError, wire::answer::truncated};

/// What of the answer may have been in an event that could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Loss {
    #[default]
    Nothing,
    /// A piece of what a later object has whole.
    Piece,
    /// An item as it was done.
    Item,
}

impl Loss {
    /// What of the answer was in an event that broke off.
    pub(super) fn of(text: &str) -> Self {
        match kind_of(text) {
            Some("response.output_item.done") => Self::Item,
            Some(
                "response.created"
                | "response.in_progress"
                | "response.queued"
                | "keepalive"
                | "ping"
                | "response.keep_alive"
                | "response.heartbeat",
            ) => Self::Nothing,
            _ => Self::Piece,
        }
    }
}

/// Whether an event that broke off was a delta.
pub(super) fn is_delta(text: &str) -> bool {
    kind_of(text).is_some_and(|kind| DeltaKind::of(kind).is_some())
}

/// The type of an event that broke off.
fn kind_of(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("\"type\"")?;
    rest.split('"').nth(1)
}

/// The error of a stream whose text begins behind a delta that could not be read. Later events may hold the whole, but what is
/// streamed would have a hole; before it begins the answer can be asked for again.
pub(super) fn lost_start(piece: &str) -> ApiError {
    truncated(format!(
        "the beginning of the answer could not be read: {piece}"
    ))
}
