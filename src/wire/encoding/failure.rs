//! A failure in the words that clients act on.

use serde_json::{Value, json};

use crate::protocol::error::{ApiError, ErrorKind};

/// The `code` by which clients decide what to do. Codex knows few, and takes each other one for a reason to try again.
fn code(error: &ApiError) -> String {
    let own = error.details().code.as_deref();
    match error.kind() {
        ErrorKind::RateLimited => "rate_limit_exceeded",
        ErrorKind::ContextLengthExceeded => "context_length_exceeded",
        ErrorKind::QuotaExceeded | ErrorKind::UsageLimitReached => "insufficient_quota",
        ErrorKind::UsageNotIncluded => "usage_not_included",
        ErrorKind::InvalidRequest => own.unwrap_or("invalid_prompt"),
        ErrorKind::ContentPolicy => own.unwrap_or("content_policy_violation"),
        ErrorKind::Authentication | ErrorKind::PermissionDenied | ErrorKind::NotFound => {
            own.unwrap_or(error.kind().as_str())
        }
        ErrorKind::Cancelled => "cancelled",
        _ => "server_error",
    }
    .to_owned()
}

/// What happened. A limit says when to try again, in the form that Codex reads.
fn message(error: &ApiError) -> String {
    let message = error.message();
    match error.details().retry_after {
        Some(wait)
            if error.kind() == ErrorKind::RateLimited && !message.contains("try again in") =>
        {
            let seconds = wait.as_secs_f64();
            format!(
                "{}. Please try again in {seconds}s.",
                message.trim_end_matches('.')
            )
        }
        _ => message.to_owned(),
    }
}

/// `error` of a response object.
pub(in crate::wire) fn response_error(error: &ApiError) -> Value {
    json!({"code": code(error), "message": message(error)})
}

/// `error` of a Chat stream.
pub(in crate::wire) fn error_object(error: &ApiError) -> Value {
    let details = error.details();
    let kind = details.error_type.as_deref().unwrap_or(match error.kind() {
        ErrorKind::InvalidRequest | ErrorKind::ContextLengthExceeded => "invalid_request_error",
        ErrorKind::RateLimited => "rate_limit_error",
        _ => "server_error",
    });
    json!({"message": message(error), "type": kind, "param": details.param, "code": code(error)})
}
