//! What can't be carried over.

use crate::{ApiError, ErrorKind};

/// A 400, with the member of the body that it is about.
pub(super) fn invalid(message: &str, param: Option<&str>) -> ApiError {
    ApiError::new(ErrorKind::InvalidRequest, message).with_details(|details| {
        details.status = Some(400);
        details.param = param.map(str::to_owned);
    })
}

/// A previous response that nobody knows, in OpenAI's words.
pub(in crate::relay) fn no_response(id: &str) -> ApiError {
    let message = format!("Previous response with id '{id}' not found.");
    let error = invalid(&message, Some("previous_response_id"));
    error.with_details(|details| {
        details.code = Some("previous_response_not_found".to_owned());
    })
}

/// An item that nobody knows, in OpenAI's words.
pub(in crate::relay) fn no_item(id: &str) -> ApiError {
    not_found(&format!("Item with id '{id}' not found."), "input")
}

/// A conversation that nobody knows, in OpenAI's words.
pub(in crate::relay) fn no_conversation(id: &str) -> ApiError {
    not_found(
        &format!("Conversation with id '{id}' not found."),
        "conversation",
    )
}

/// More items than are looked for at a store.
pub(in crate::relay) fn too_many_references() -> ApiError {
    let message = "The input has more references to items than this node of the relay looks for at once: bring the items themselves.";
    invalid(message, Some("input"))
}

/// What a request goes on from may be there, but can't be read.
pub(in crate::relay) fn store_unavailable() -> ApiError {
    let message = "The store that keeps responses does not answer: what this request goes on from can not be read now.";
    ApiError::new(ErrorKind::Unavailable, message).with_details(|details| {
        details.status = Some(503);
        details.code = Some("store_unavailable".to_owned());
    })
}

fn not_found(message: &str, param: &str) -> ApiError {
    invalid(message, Some(param)).with_details(|details| {
        details.status = Some(404);
        details.error_type = Some("invalid_request_error".to_owned());
    })
}
