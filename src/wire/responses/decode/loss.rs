//! What of an answer was lost.

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
        let kind = text
            .split_once("\"type\"")
            .and_then(|(_, rest)| rest.split('"').nth(1));
        match kind {
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
