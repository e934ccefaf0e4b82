//! The end of a response.

use serde::Deserialize;
use serde_json::Value;

use super::ResponsesDialect;
use crate::{
    error::{ApiError, ErrorKind},
    protocol::RawJson,
    wire::{
        Step, Terminal,
        escapes::without_lone_surrogates,
        responses::envelope::{Envelope, ResponseObject},
        server_error::ServerError,
    },
};

/// Which end a terminal event's type names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Completed,
    Incomplete,
    Cancelled,
    Failed,
    /// An error in place of a response.
    Error,
    /// None: the status of the response does (`response.done`, an older type).
    ByStatus,
}

impl Ending {
    /// `None` for a type of event that is not terminal.
    pub(super) fn of(kind: &str) -> Option<Self> {
        Some(match kind {
            "response.completed" => Self::Completed,
            "response.incomplete" => Self::Incomplete,
            "response.cancelled" => Self::Cancelled,
            "response.failed" => Self::Failed,
            "response.done" => Self::ByStatus,
            "error" => Self::Error,
            _ => return None,
        })
    }

    fn with_status(self, status: Option<&str>) -> Self {
        match (self, status) {
            (Self::ByStatus, Some("failed")) => Self::Failed,
            (Self::ByStatus, Some("incomplete")) => Self::Incomplete,
            (Self::ByStatus | Self::Incomplete, Some("cancelled")) => Self::Cancelled,
            (ending, _) => ending,
        }
    }
}

impl ResponsesDialect {
    /// Ends the response as a terminal event says.
    pub(super) fn end(&mut self, ending: Ending, envelope: Envelope<'_>, data: &str) -> Terminal {
        if ending == Ending::Error {
            return self.server_error(data, "the server sent an error event without a message");
        }
        // A server that does not nest the response sends its fields beside the type.
        let is_nested = envelope.response.is_some();
        let response = envelope
            .response
            .unwrap_or_else(|| ResponseObject::read(data));
        if let Some(id) = response.id.as_deref() {
            self.answer.response_id = Some(id.into());
        }
        if let Some(usage) = response.usage {
            self.answer.note_usage(usage);
        }
        self.answer.end_turn = response.end_turn;
        self.answer.response = is_nested.then(|| RawJson::from_walked(response.text));
        match ending.with_status(response.status.as_deref()) {
            Ending::Completed | Ending::ByStatus => self.answer.completed(),
            ending @ (Ending::Incomplete | Ending::Cancelled) => {
                self.answer
                    .incomplete(incomplete_reason(&response).unwrap_or(match ending {
                        Ending::Cancelled => "cancelled".into(),
                        _ => "unknown".into(),
                    }))
            }
            Ending::Failed | Ending::Error => {
                let error = response.error.or(envelope.error).unwrap_or("{}");
                self.server_error(
                    error,
                    "the server reports that the response failed, without a reason",
                )
            }
        }
    }

    /// `[DONE]` is Chat's, but servers that speak both dialects send it here too. Before a terminal event it is a
    /// deliberate end all the same, if nothing was left open.
    pub(super) fn on_done_sentinel(&mut self) -> Step {
        if self.items_done == 0 || self.items_done < self.items_added {
            return Step::Continue;
        }
        Step::End(self.answer.completed())
    }

    fn server_error(&self, json: &str, without_message: &str) -> Terminal {
        let value = serde_json::from_str(&without_lone_surrogates(json)).unwrap_or(Value::Null);
        let error = match ServerError::from_json(&value) {
            Some(error) => error.into_api_error(None),
            None => ApiError::new(ErrorKind::ServerError, without_message),
        };
        self.answer.failed(error)
    }
}

fn incomplete_reason(response: &ResponseObject<'_>) -> Option<String> {
    #[derive(Deserialize)]
    struct IncompleteDetails {
        reason: Option<String>,
    }
    let details: IncompleteDetails = serde_json::from_str(response.incomplete_details?).ok()?;
    details.reason
}
