//! Which end events and response objects name.

use super::{error_words::is_error_type, item::parse};
use crate::{
    json::lenient::string,
    protocol::Text,
    wire::{
        chat::finish::{Finish, Meaning},
        responses::response_object::ResponseObject,
    },
};

/// Which end a terminal event's type names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Completed,
    Incomplete,
    Cancelled,
    Failed,
    /// An error in place of a response.
    Error,
    /// None: the status of the response does (`response.done`, an older type).
    ByStatus,
    /// None, and the response has no status.
    Unsaid,
}

impl Ending {
    /// `None` for a type of event that is not terminal.
    pub(super) fn of(kind: &str) -> Option<Self> {
        Some(match kind {
            "response.completed" => Self::Completed,
            "response.incomplete" => Self::Incomplete,
            "response.cancelled" | "response.canceled" => Self::Cancelled,
            "response.failed" => Self::Failed,
            "response.done" => Self::ByStatus,
            _ if is_error_type(kind) => Self::Error,
            _ => return None,
        })
    }

    /// The end that the response object says, whatever the event is called: servers say `response.completed` of all of them. With
    /// it the word that says so, where the API has none.
    pub(super) fn of_response(
        self,
        response: &ResponseObject<'_>,
        has_error: bool,
        is_begun: bool,
    ) -> (Self, Option<Text>) {
        let is_whole = matches!(self, Self::Completed | Self::ByStatus | Self::Unsaid);
        let status = response.status.as_deref().unwrap_or_default().trim();
        let of_status = match &*status.to_ascii_lowercase() {
            "incomplete" => (Self::Incomplete, None),
            "queued" | "in_progress" if !is_begun => (Self::Unsaid, None),
            "queued" | "in_progress" | "success" | "succeeded" | "done" | "ok" => (self, None),
            _ => self.of_word(status),
        };
        match of_status {
            _ if matches!(self, Self::Failed | Self::Error) => (self, None),
            (Self::Failed | Self::Cancelled, _) => of_status,
            _ if !is_whole => (self, None),
            (Self::Incomplete, _) => of_status,
            _ if has_error => (Self::Failed, None),
            _ if incomplete_reason(response).is_some() => (Self::Incomplete, None),
            (ending, _) => {
                let word = response.finish_reason.and_then(string);
                ending.of_word(word.as_deref().unwrap_or_default())
            }
        }
    }

    fn of_word(self, word: &str) -> (Self, Option<Text>) {
        match Finish::read(Some(word), None).map(|finish| finish.meaning) {
            None | Some(Meaning::Whole) => (self, None),
            Some(Meaning::Failed) => (Self::Failed, None),
            Some(Meaning::Cut(word)) if word == "cancelled" => (Self::Cancelled, None),
            Some(Meaning::Cut(word)) => (Self::Incomplete, Some(word)),
        }
    }
}

/// Why the response object says that it is incomplete.
pub(super) fn incomplete_reason(response: &ResponseObject<'_>) -> Option<String> {
    let details = parse(response.incomplete_details?);
    let reason = details
        .as_str()
        .or_else(|| details.get("reason")?.as_str())?;
    (!reason.is_empty()).then(|| reason.to_owned())
}
