//! The error object that a server sends, in a stream or as the body of a refused request.
//!
//! Every server draws it a little differently: nested under `error` or flat, with a number for a code, as a plain string, as
//! FastAPI's `detail`. All of them are read here, and one table says what [`ErrorKind`] they mean.

use serde_json::{Map, Value};

use crate::error::{ApiError, ErrorKind};

mod http_response;

pub(crate) use http_response::{api_error_from_http, error_in, excerpt, request_id};

/// The longest message that is kept of a server, in characters.
const MAX_MESSAGE_CHARS: usize = 1000;

/// What a server said went wrong. Absent means that it did not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerError {
    /// `code`; a number as its digits.
    pub(crate) code: Option<String>,
    /// `type`.
    pub(crate) error_type: Option<String>,
    /// `message`, or what stands in its place.
    pub(crate) message: Option<String>,
    /// `param`.
    pub(crate) param: Option<String>,
    /// The HTTP status that the object itself names, also as a numeric `code`.
    pub(crate) status: Option<u16>,
    /// `plan_type` (`usage_limit_reached`).
    pub(crate) plan_type: Option<String>,
    /// `resets_at`, in seconds of Unix time.
    pub(crate) resets_at: Option<i64>,
}

impl ServerError {
    /// Reads an error in any of the shapes that servers use. `None` when the value is no error: not a string, and an object
    /// that names neither an error, a code nor a message.
    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::from_text(text),
            Value::Array(values) => values.iter().find_map(Self::from_json),
            Value::Object(object) => Self::from_object(object),
            _ => None,
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self {
            message: Some(text.to_owned()),
            ..Self::default()
        })
    }

    fn from_object(object: &Map<String, Value>) -> Option<Self> {
        let mut error = Self::from_flat(object);
        // What is nested says more than what surrounds it; the surroundings fill the gaps.
        for name in ["error", "errors", "detail"] {
            let Some(nested) = object.get(name).and_then(Self::from_json) else {
                continue;
            };
            // OAuth's way: the error's name, and a sentence beside it.
            if name == "error" && object["error"].is_string() && error.message.is_some() {
                error.code = error.code.or(nested.message);
            } else {
                error = nested.or(error);
            }
            break;
        }
        let says_something =
            error.code.is_some() || error.message.is_some() || error.error_type.is_some();
        says_something.then_some(error)
    }

    fn from_flat(object: &Map<String, Value>) -> Self {
        let text = |names: &[&str]| names.iter().find_map(|name| text_of(object.get(*name)?));
        let number = |names: &[&str]| names.iter().find_map(|name| integer_of(object.get(*name)?));
        let code = text(&["code"]);
        let status_of = |number: i64| {
            u16::try_from(number)
                .ok()
                .filter(|status| (400..600).contains(status))
        };
        let status = number(&["status", "status_code", "http_status"])
            .and_then(status_of)
            .or_else(|| code.as_deref()?.parse().ok().and_then(status_of));
        // An event's or an object's own `type` is not the error's. Google writes the error's name into `status`.
        let error_type = text(&["type"])
            .filter(|name| name != "error")
            .or_else(|| text(&["status"]).filter(|name| name.parse::<i64>().is_err()));
        Self {
            code,
            error_type,
            message: text(&["message", "msg", "error_description", "error_message"]),
            param: text(&["param"]),
            status,
            plan_type: text(&["plan_type"]),
            resets_at: number(&["resets_at"]),
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            code: self.code.or(other.code),
            error_type: self.error_type.or(other.error_type),
            message: self.message.or(other.message),
            param: self.param.or(other.param),
            status: self.status.or(other.status),
            plan_type: self.plan_type.or(other.plan_type),
            resets_at: self.resets_at.or(other.resets_at),
        }
    }

    /// What kind of failure this is, given the HTTP status it came with, if any.
    ///
    /// The names that mean one thing come first, `code` before `type`; then the sentences that servers write in place of a
    /// name; then the status, the object's own before HTTP's, because proxies wrap one answer in another; last the names that
    /// only say whose fault it was. An error that says nothing of this is the server's.
    pub(crate) fn kind(&self, http_status: Option<u16>) -> ErrorKind {
        let names = || [self.code.as_deref(), self.error_type.as_deref()];
        let by_name = |table: fn(&str) -> Option<ErrorKind>| {
            names()
                .into_iter()
                .flatten()
                .find_map(|name| table(&name.to_ascii_lowercase()))
        };
        let status = self.status.or(http_status).filter(|status| *status >= 400);
        by_name(kind_of_name)
            .or_else(|| kind_of_message(self.message.as_deref()?, status))
            .or_else(|| status.map(kind_of_status))
            .or_else(|| by_name(kind_of_vague_name))
            .unwrap_or(ErrorKind::ServerError)
    }

    /// Makes the error that a request ends with.
    pub(crate) fn into_api_error(self, http_status: Option<u16>) -> ApiError {
        let kind = self.kind(http_status);
        let message = match self.message.as_deref().map(str::trim) {
            Some(message) if !message.is_empty() => cut(message, MAX_MESSAGE_CHARS),
            _ => match self.code.as_deref().or(self.error_type.as_deref()) {
                Some(name) => format!("the server reports {name} and says no more"),
                None => "the server reports an error and does not say which".to_owned(),
            },
        };
        let mut error = ApiError::new(kind, message);
        let details = error.details_mut();
        details.status = http_status;
        details.code = self.code;
        details.error_type = self.error_type;
        details.param = self.param;
        details.plan_type = self.plan_type;
        details.resets_at = self.resets_at;
        error
    }
}

/// A string or a number as text; what is empty is absent. FastAPI's `loc`-and-`msg` objects are read by their `msg`.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn integer_of(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| Some(number.as_f64()? as i64)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// At most `max_chars` characters of a text, with an ellipsis where it was cut.
fn cut(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The codes and types, in lower case, that mean one thing whatever the status.
fn kind_of_name(name: &str) -> Option<ErrorKind> {
    Some(match name {
        "context_length_exceeded" | "exceed_context_size_error" | "context_window_exceeded" => {
            ErrorKind::ContextLengthExceeded
        }
        "insufficient_quota"
        | "quota_exceeded"
        | "exceeded_current_quota_error"
        | "billing_hard_limit_reached"
        | "billing_not_active"
        | "billing_error"
        | "insufficient_balance"
        | "insufficient_credits" => ErrorKind::QuotaExceeded,
        "usage_limit_reached" | "usage_limit_exceeded" => ErrorKind::UsageLimitReached,
        "usage_not_included" => ErrorKind::UsageNotIncluded,
        "cyber_policy"
        | "bio_policy"
        | "content_policy"
        | "content_policy_violation"
        | "content_filter"
        | "image_content_policy_violation"
        | "moderation_blocked"
        | "responsibleaipolicyviolation" => ErrorKind::ContentPolicy,
        "invalid_prompt"
        | "invalid_value"
        | "invalid_type"
        | "missing_required_parameter"
        | "unknown_parameter"
        | "unsupported_parameter"
        | "unsupported_value"
        | "image_too_large"
        | "image_too_small"
        | "image_parse_error"
        | "image_file_too_large"
        | "unsupported_image_media_type"
        | "empty_image_file"
        | "failed_to_download_image"
        | "image_file_not_found" => ErrorKind::InvalidRequest,
        _ if name.starts_with("invalid_image") || name.starts_with("invalid_base64_image") => {
            ErrorKind::InvalidRequest
        }
        "invalid_api_key"
        | "missing_api_key"
        | "incorrect_api_key"
        | "authentication_error"
        | "invalid_authentication"
        | "invalid_authentication_error"
        | "token_expired"
        | "account_deactivated"
        | "unauthorized"
        | "unauthenticated" => ErrorKind::Authentication,
        "permission_denied"
        | "permission_error"
        | "insufficient_permissions"
        | "access_denied"
        | "access_terminated"
        | "forbidden"
        | "ip_not_authorized"
        | "unsupported_country_region_territory" => ErrorKind::PermissionDenied,
        "model_not_found"
        | "not_found"
        | "not_found_error"
        | "deploymentnotfound"
        | "resource_not_found"
        | "response_not_found"
        | "previous_response_not_found" => ErrorKind::NotFound,
        "rate_limit_exceeded"
        | "rate_limit_error"
        | "rate_limit_reached_error"
        | "rate_limited"
        | "too_many_requests"
        | "throttling_error"
        | "resource_exhausted" => ErrorKind::RateLimited,
        "server_is_overloaded"
        | "slow_down"
        | "overloaded"
        | "overloaded_error"
        | "engine_overloaded"
        | "engine_overloaded_error"
        | "service_unavailable"
        | "service_unavailable_error"
        | "capacity_exceeded"
        | "no_capacity" => ErrorKind::Overloaded,
        "vector_store_timeout" => ErrorKind::ServerError,
        _ => return None,
    })
}

/// The names that say whose fault it was and no more.
fn kind_of_vague_name(name: &str) -> Option<ErrorKind> {
    Some(match name {
        "invalid_request"
        | "invalid_request_error"
        | "bad_request"
        | "badrequesterror"
        | "invalid_argument" => ErrorKind::InvalidRequest,
        // What runs out, as the `type` of OpenAI's rate limit errors.
        "tokens" | "requests" | "input_tokens" | "output_tokens" => ErrorKind::RateLimited,
        "unavailable" => ErrorKind::Overloaded,
        _ => return None,
    })
}

/// What servers write that give no name to it. Only where the status leaves room for it: a 5xx that quotes such a sentence
/// is still the server's failure.
fn kind_of_message(message: &str, status: Option<u16>) -> Option<ErrorKind> {
    if !matches!(status, None | Some(400 | 413 | 422)) {
        return None;
    }
    let message = message.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    has(&[
        "maximum context length",
        "exceeds the context window",
        "exceeds the available context size",
        "exceeds the model's context",
        "exceeds the maximum context",
        "context length exceeded",
        "prompt is too long",
    ])
    .then_some(ErrorKind::ContextLengthExceeded)
}

/// What an HTTP status means where nothing says more.
fn kind_of_status(status: u16) -> ErrorKind {
    match status {
        400 | 413 | 415 | 422 => ErrorKind::InvalidRequest,
        401 => ErrorKind::Authentication,
        402 => ErrorKind::QuotaExceeded,
        403 => ErrorKind::PermissionDenied,
        404 => ErrorKind::NotFound,
        429 => ErrorKind::RateLimited,
        503 | 529 => ErrorKind::Overloaded,
        500..600 => ErrorKind::ServerError,
        _ => ErrorKind::UnexpectedStatus,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> ServerError {
        ServerError::from_json(&value).unwrap_or_else(|| panic!("no error in {value}"))
    }

    #[test]
    fn every_shape_of_an_error_is_read() {
        let cases = [
            (
                json!({"error": {"code": "a", "message": "m", "type": "t"}}),
                (Some("a"), Some("t"), Some("m"), None),
            ),
            (
                json!({"code": "a", "message": "m", "type": "error", "param": null}),
                (Some("a"), None, Some("m"), None),
            ),
            (
                json!({"type": "error", "error": {"type": "t", "message": "m"}}),
                (None, Some("t"), Some("m"), None),
            ),
            (
                json!({"object": "error", "message": "m", "type": "t", "code": 404}),
                (Some("404"), Some("t"), Some("m"), Some(404)),
            ),
            (
                json!({"error": {"code": 400, "message": "m", "type": "exceed_context_size_error"}}),
                (
                    Some("400"),
                    Some("exceed_context_size_error"),
                    Some("m"),
                    Some(400),
                ),
            ),
            (
                json!({"error": {"message": "m", "code": "429"}}),
                (Some("429"), None, Some("m"), Some(429)),
            ),
            (json!({"error": "m"}), (None, None, Some("m"), None)),
            (json!("m"), (None, None, Some("m"), None)),
            (
                json!({"error": "a", "error_description": "m"}),
                (Some("a"), None, Some("m"), None),
            ),
            (json!({"detail": "m"}), (None, None, Some("m"), None)),
            (
                json!({"detail": [{"loc": ["body"], "msg": "m", "type": "t"}]}),
                (None, Some("t"), Some("m"), None),
            ),
            (
                json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "m"}}),
                (
                    Some("429"),
                    Some("RESOURCE_EXHAUSTED"),
                    Some("m"),
                    Some(429),
                ),
            ),
            (
                json!([{"error": {"code": 403, "message": "m"}}]),
                (Some("403"), None, Some("m"), Some(403)),
            ),
            (
                json!({"success": false, "errors": [{"code": 10000, "message": "m"}]}),
                (Some("10000"), None, Some("m"), None),
            ),
            (
                json!({"status_code": 503, "error": {"message": "m"}}),
                (None, None, Some("m"), Some(503)),
            ),
            (
                json!({"error": {"code": "a"}}),
                (Some("a"), None, None, None),
            ),
        ];
        for (value, expected) in cases {
            let error = read(value.clone());
            let found = (
                error.code.as_deref(),
                error.error_type.as_deref(),
                error.message.as_deref(),
                error.status,
            );
            assert_eq!(found, expected, "{value}");
        }
    }

    #[test]
    fn what_names_no_error_is_none() {
        for value in [
            json!(null),
            json!({}),
            json!({"error": null}),
            json!({"error": {}}),
            json!({"id": "x", "choices": []}),
            json!(""),
            json!([]),
            json!(4),
        ] {
            assert_eq!(ServerError::from_json(&value), None, "{value}");
        }
    }

    #[test]
    fn a_usage_limit_keeps_the_plan_and_the_reset() {
        let error = read(
            json!({"error": {"type": "usage_limit_reached", "plan_type": "plus", "resets_at": 1738888888}}),
        );
        let error = error.into_api_error(Some(429));
        assert_eq!(error.kind(), ErrorKind::UsageLimitReached);
        assert_eq!(error.details().plan_type.as_deref(), Some("plus"));
        assert_eq!(error.details().resets_at, Some(1738888888));
        assert_eq!(error.details().status, Some(429));
    }

    #[test]
    fn names_sentences_and_statuses_have_their_kinds() {
        use ErrorKind::*;
        let cases = [
            (
                json!({"code": "context_length_exceeded"}),
                None,
                ContextLengthExceeded,
            ),
            (
                json!({"code": 400, "type": "exceed_context_size_error", "message": "m"}),
                Some(400),
                ContextLengthExceeded,
            ),
            (
                json!({"message": "This model's maximum context length is 8192 tokens."}),
                Some(400),
                ContextLengthExceeded,
            ),
            (
                json!({"message": "This model's maximum context length is 8192 tokens."}),
                Some(500),
                ServerError,
            ),
            (
                json!({"code": "insufficient_quota"}),
                Some(429),
                QuotaExceeded,
            ),
            (
                json!({"type": "insufficient_quota", "code": null}),
                None,
                QuotaExceeded,
            ),
            (
                json!({"code": "billing_hard_limit_reached"}),
                Some(400),
                QuotaExceeded,
            ),
            (
                json!({"type": "usage_limit_reached"}),
                Some(429),
                UsageLimitReached,
            ),
            (
                json!({"code": "usage_not_included"}),
                Some(429),
                UsageNotIncluded,
            ),
            (json!({"code": "cyber_policy"}), Some(400), ContentPolicy),
            (json!({"code": "bio_policy"}), None, ContentPolicy),
            (
                json!({"code": "content_policy_violation"}),
                None,
                ContentPolicy,
            ),
            (json!({"code": "content_filter"}), Some(400), ContentPolicy),
            (
                json!({"code": "image_content_policy_violation"}),
                None,
                ContentPolicy,
            ),
            (json!({"code": "invalid_prompt"}), None, InvalidRequest),
            (json!({"code": "invalid_image_url"}), None, InvalidRequest),
            (
                json!({"code": "invalid_base64_image"}),
                None,
                InvalidRequest,
            ),
            (
                json!({"code": "invalid_api_key", "type": "invalid_request_error"}),
                Some(401),
                Authentication,
            ),
            (
                json!({"code": "rate_limit_exceeded", "type": "tokens"}),
                None,
                RateLimited,
            ),
            (json!({"code": "too_many_requests"}), None, RateLimited),
            (json!({"code": "429", "message": "m"}), None, RateLimited),
            (
                json!({"code": "429", "message": "m"}),
                Some(500),
                RateLimited,
            ),
            (
                json!({"code": "server_is_overloaded"}),
                Some(503),
                Overloaded,
            ),
            (json!({"code": "slow_down"}), None, Overloaded),
            (json!({"type": "overloaded_error"}), None, Overloaded),
            (json!({"code": "server_error"}), None, ServerError),
            (json!({"type": "internal_error"}), None, ServerError),
            (json!({"code": "vector_store_timeout"}), None, ServerError),
            (
                json!({"code": "model_not_found", "type": "invalid_request_error"}),
                Some(404),
                NotFound,
            ),
            (
                json!({"type": "invalid_request_error", "code": null, "message": "no such path"}),
                Some(404),
                NotFound,
            ),
            (
                json!({"type": "invalid_request_error", "code": null, "message": "m"}),
                None,
                InvalidRequest,
            ),
            (json!({"message": "something"}), None, ServerError),
            (
                json!({"code": "brand_new", "message": "something"}),
                None,
                ServerError,
            ),
            (
                json!({"code": "brand_new", "message": "something"}),
                Some(200),
                ServerError,
            ),
        ];
        for (value, http_status, kind) in cases {
            let error = read(value.clone());
            assert_eq!(error.kind(http_status), kind, "{value} {http_status:?}");
        }
        let statuses = [
            (InvalidRequest, &[400, 413, 415, 422][..]),
            (Authentication, &[401]),
            (QuotaExceeded, &[402]),
            (PermissionDenied, &[403]),
            (NotFound, &[404]),
            (UnexpectedStatus, &[405, 408, 409, 410, 418, 425]),
            (RateLimited, &[429]),
            (Overloaded, &[503, 529]),
            (ServerError, &[500, 501, 502, 504, 520, 599]),
        ];
        for (kind, statuses) in statuses {
            for status in statuses {
                let silent = super::ServerError::default();
                assert_eq!(silent.kind(Some(*status)), kind, "{status}");
            }
        }
    }

    #[test]
    fn an_error_without_words_says_so_and_a_long_one_is_cut() {
        let message = |value| read(value).into_api_error(None).message().to_owned();
        assert_eq!(
            message(json!({"code": "cyber_policy", "message": " "})),
            "the server reports cyber_policy and says no more"
        );
        assert_eq!(
            ServerError::default().into_api_error(None).message(),
            "the server reports an error and does not say which"
        );
        let long = message(json!({"message": "ä".repeat(5000)}));
        assert_eq!(long.chars().count(), MAX_MESSAGE_CHARS + 1);
    }
}
