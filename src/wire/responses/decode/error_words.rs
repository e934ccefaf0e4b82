//! Which events are errors, and what they say.

use super::item::parse;
use crate::{
    protocol::error::{ApiError, ErrorKind},
    wire::{responses::envelope::Envelope, server_error::ServerError},
};

/// Whether SSE names an event so that it is an error whatever its data says.
pub(super) fn is_error_name(name: &str) -> bool {
    name.eq_ignore_ascii_case("error")
}

/// Whether an event's type says that it is an error of the response, not of a tool.
pub(super) fn is_error_type(kind: &str) -> bool {
    let ends_in = |name: &str| {
        let at = kind.len().checked_sub(name.len());
        at.and_then(|at| kind.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(name))
    };
    (ends_in("error") || ends_in("exception")) && !is_of_tool(kind)
}

/// Whether an event is about a tool that runs at the server. What goes wrong with it is for the model to read.
pub(super) fn is_of_tool(kind: &str) -> bool {
    ["_call", "tool", "mcp"]
        .iter()
        .any(|name| kind.contains(name))
}

/// The error that an event of an unknown type reports, if it does.
pub(super) fn reported_in(kind: &str, envelope: &Envelope<'_>) -> Option<ApiError> {
    let error = words_in(envelope.error.filter(|_| !is_of_tool(kind))?)?;
    Some(error.into_api_error(None))
}

/// The error that the JSON of a member named `error` is, if it has words.
pub(super) fn words_in(json: &str) -> Option<ServerError> {
    ServerError::from_member(&parse(json)).filter(has_words)
}

pub(super) fn has_words(error: &ServerError) -> bool {
    let message = error.message.as_deref();
    message.is_some_and(|message| !message.trim().is_empty())
}

pub(super) fn said(error: Option<ServerError>) -> ApiError {
    match error {
        Some(error) if error != ServerError::default() => error.into_api_error(None),
        _ => ApiError::new(
            ErrorKind::ServerError,
            "the server sent an error event without a message",
        ),
    }
}
