//! Failures before the head: what a client is told of a request that has no answer.

use std::time::Duration;

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
};
use serde_json::json;

use super::{answers::ReadError, headers};
use crate::{ApiError, ErrorKind, retry::RetryPolicy};

/// The answer to a request that failed before anything of an answer was sent: the server's own status, headers and body where it said
/// something, else ours. `model` is the name that the client has for the model, where the server has another.
///
/// What Codex is told as a stream that fails, the pump says.
pub(super) fn respond(error: &ApiError, model: Option<&str>) -> HttpResponse {
    let details = error.details();
    let is_retryable = RetryPolicy::default().delay(error, 0).is_some() || is_long_wait(error);
    // A redirect is not the client's to follow either: its body would go to a server that nobody named.
    let refused = details.status.filter(|status| *status >= 400);
    let status = refused
        .and_then(headers::status)
        .unwrap_or_else(|| ours(error.kind()));
    let mut response = HttpResponse::build(status);
    if let Some(head) = details.head.as_ref().filter(|_| refused.is_some()) {
        headers::add_head(&mut response, head, model);
    }
    if is_retryable {
        // All attempts are used up: another round of them helps nobody.
        response.insert_header(("x-should-retry", "false"));
    }
    if let Some(wait) = wait(error, status) {
        response.insert_header((header::RETRY_AFTER, whole_seconds(wait)));
    }
    let kind = details
        .head
        .as_ref()
        .and_then(|head| head.header("content-type"));
    // Without a body nobody knows what it was.
    let said = details.body.as_ref().filter(|body| !body.is_empty());
    match said.filter(|_| refused.is_some()) {
        Some(body) => response
            .insert_header((header::CONTENT_TYPE, kind.unwrap_or("application/json")))
            .body(body.clone()),
        None if status == StatusCode::BAD_REQUEST => say(&mut response, error),
        None => response.json(error.to_error_object()),
    }
}

/// What is wrong with a request itself: 400, and the member that the error names.
pub(super) fn ours_to_say(error: &ApiError) -> HttpResponse {
    let status = match error.kind() {
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    say(&mut HttpResponse::build(status), error)
}

fn say(response: &mut HttpResponseBuilder, error: &ApiError) -> HttpResponse {
    let details = error.details();
    let code = details.code.as_deref().unwrap_or("invalid_request");
    told(response, error.message(), details.param.as_deref(), code)
}

/// 400 with the member that is wrong.
pub(super) fn refused(status: StatusCode, message: &str, param: Option<&str>) -> HttpResponse {
    let mut response = HttpResponse::build(status);
    told(&mut response, message, param, "invalid_request")
}

fn told(
    response: &mut HttpResponseBuilder,
    message: &str,
    param: Option<&str>,
    code: &str,
) -> HttpResponse {
    response
        .insert_header(("x-should-retry", "false"))
        .json(json!({"error": {
            "message": message, "type": "invalid_request_error", "param": param, "code": code,
        }}))
}

/// Why an answer can be read no further.
pub(super) fn unread(error: ReadError) -> ApiError {
    let (kind, code, message) = match error {
        ReadError::TooSlow => (
            ErrorKind::Lagged,
            Some("slow_client"),
            "the client did not read its stream in time; the answer itself may go on",
        ),
        ReadError::NotResumable => (
            ErrorKind::TooLarge,
            Some("stream_not_resumable"),
            "the answer is over the bytes that are kept of one",
        ),
        ReadError::Expired => (
            ErrorKind::NotFound,
            Some("stream_expired"),
            "the answer is not kept any longer",
        ),
        ReadError::Unavailable => (
            ErrorKind::StoreUnavailable,
            None,
            "what is kept of the answer can not be read now",
        ),
        ReadError::Lost => (
            ErrorKind::NodeLost,
            None,
            "the node that answered is gone, and what was read of it is not what goes on",
        ),
        ReadError::HandedOn => (
            ErrorKind::NodeLost,
            None,
            "this node ends, and another one goes on with the answer: it can be read there",
        ),
    };
    ApiError::new(kind, message).with_details(|details| {
        details.code = code.map(str::to_owned);
    })
}

/// A wait that a server asks for and no policy waits out.
fn is_long_wait(error: &ApiError) -> bool {
    let details = error.details();
    error.kind() == ErrorKind::RateLimited && details.retry_after.is_some()
}

/// How long the client is asked to wait.
fn wait(error: &ApiError, status: StatusCode) -> Option<Duration> {
    let said = error.details().retry_after;
    match status {
        StatusCode::TOO_MANY_REQUESTS => said,
        StatusCode::SERVICE_UNAVAILABLE => said.or(Some(DEFAULT_WAIT)),
        _ => said,
    }
}

/// What a client waits where nobody said for how long.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);

/// Whole seconds, and never too few.
pub(super) fn whole_seconds(wait: Duration) -> String {
    wait.as_millis().div_ceil(1000).max(1).to_string()
}

/// The status of what no server gave one: what OpenAI has for the same.
fn ours(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidRequest
        | ErrorKind::InvalidConfiguration
        | ErrorKind::ContextLengthExceeded
        | ErrorKind::ContentPolicy => StatusCode::BAD_REQUEST,
        ErrorKind::TooLarge => StatusCode::BAD_GATEWAY,
        ErrorKind::RateLimited
        | ErrorKind::QuotaExceeded
        | ErrorKind::UsageLimitReached
        | ErrorKind::UsageNotIncluded => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::LocalLimit
        | ErrorKind::ShutDown
        | ErrorKind::Unavailable
        | ErrorKind::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::ConnectTimeout
        | ErrorKind::ResponseHeadTimeout
        | ErrorKind::FirstEventTimeout
        | ErrorKind::IdleTimeout
        | ErrorKind::ProgressTimeout
        | ErrorKind::TotalTimeout => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    }
}
