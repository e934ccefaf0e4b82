//! What kind of failure the names, numbers and sentences of servers mean.

use crate::protocol::error::ErrorKind;

/// Looks a name up, whatever its spelling. `RateLimitExceeded`, `rate-limit-exceeded` and `RATE_LIMIT_EXCEEDED` are one;
/// `_error` and `_exception` at the end say nothing; of a dotted name each part is looked up.
pub(super) fn by_name(table: fn(&str) -> Option<ErrorKind>, name: &str) -> Option<ErrorKind> {
    name.split(['.', '#', ':', '/']).find_map(|part| {
        let part = snake_case(part);
        let base = ["_error", "_exception"]
            .into_iter()
            .find_map(|end| part.strip_suffix(end));
        table(base.unwrap_or(&part))
    })
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut chars = name.chars().peekable();
    let mut before = '_';
    while let Some(c) = chars.next() {
        let ends_capitals =
            before.is_uppercase() && chars.peek().is_some_and(|next| next.is_lowercase());
        let begins_word =
            c.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit() || ends_capitals);
        if begins_word {
            snake.push('_');
        }
        match c.is_alphanumeric() {
            true => snake.extend(c.to_lowercase()),
            false => snake.push('_'),
        }
        before = c;
    }
    snake
}

/// Whether a name is in one of the tables.
pub(super) fn means_a_kind(name: &str) -> bool {
    by_name(kind_of_name, name).is_some() || by_name(kind_of_vague_name, name).is_some()
}

/// Whether a name is that of an error.
pub(super) fn is_error_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let says_error = ["error", "exception", "fail", "denied", "exceeded"]
        .into_iter()
        .any(|part| lower.contains(part));
    says_error || means_a_kind(name)
}

/// The codes and types that mean one thing whatever the status.
pub(super) fn kind_of_name(name: &str) -> Option<ErrorKind> {
    Some(match name {
        "context_length_exceeded"
        | "context_window_exceeded"
        | "context_size_exceeded"
        | "model_context_window_exceeded"
        | "exceed_context_size"
        | "model_max_prompt_tokens_exceeded"
        | "tokens_limit_reached"
        | "tokens_too_long"
        | "characters_too_long"
        | "prompt_too_long" => ErrorKind::ContextLengthExceeded,
        "insufficient_quota"
        | "insufficient_user_quota"
        | "insufficient_balance"
        | "insufficient_credits"
        | "insufficient_funds"
        | "quota_exceeded"
        | "exceeded_current_quota"
        | "pre_consume_token_quota_failed"
        | "quota_not_enough"
        | "token_quota_reached"
        | "balance_not_enough"
        | "credit_balance_exhausted"
        | "credit_balance_too_low"
        | "organization_spend_limit_exceeded"
        | "organization_usage_limit_exceeded"
        | "project_spend_limit_exceeded"
        | "billing_hard_limit_reached"
        | "billing_not_active"
        | "billing"
        | "payment_required"
        | "account_overdue"
        | "service_overdue"
        | "arrearage" => ErrorKind::QuotaExceeded,
        "usage_limit_reached" | "usage_limit_exceeded" => ErrorKind::UsageLimitReached,
        "usage_not_included" => ErrorKind::UsageNotIncluded,
        "cyber_policy"
        | "bio_policy"
        | "misalignment_policy_violation"
        | "content_policy"
        | "content_policy_violation"
        | "content_filter"
        | "content_filtered"
        | "image_content_policy_violation"
        | "moderation_blocked"
        | "responsible_ai_policy_violation"
        | "data_inspection_failed"
        | "sensitive_check"
        | "sensitive_words_detected"
        | "prohibited_content"
        | "guardrail_intervened" => ErrorKind::ContentPolicy,
        _ if name.ends_with("sensitive_content_detected") => ErrorKind::ContentPolicy,
        "invalid_prompt"
        | "invalid_value"
        | "invalid_type"
        | "invalid_encrypted_content"
        | "data_residency_mismatch"
        | "missing_required_parameter"
        | "unknown_parameter"
        | "unsupported_parameter"
        | "unsupported_value"
        | "unsupported_model"
        | "unsupported_api_for_model"
        | "model_not_supported"
        | "string_above_max_length"
        | "array_above_max_length"
        | "integer_above_max_value"
        | "integer_below_min_value"
        | "image_too_large"
        | "image_too_small"
        | "image_parse"
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
        | "api_key_invalid"
        | "authentication"
        | "authentication_required"
        | "invalid_authentication"
        | "invalid_iam_token"
        | "invalid_token"
        | "token_expired"
        | "token_invalidated"
        | "token_revoked"
        | "expired_token"
        | "missing_authorization_header"
        | "mismatched_organization"
        | "account_deactivated"
        | "unrecognized_client"
        // MiniMax's, of a key that is refused.
        | "authorized"
        | "unauthorized"
        | "unauthenticated" => ErrorKind::Authentication,
        "permission_denied"
        | "permission"
        | "insufficient_permissions"
        | "access_denied"
        | "access_terminated"
        | "forbidden"
        | "operation_denied"
        | "ip_not_authorized"
        | "service_disabled"
        | "api_key_service_blocked"
        | "identity_verification_required"
        | "verification_required"
        | "the_caller_does_not_have_permission"
        | "unsupported_country_region_territory" => ErrorKind::PermissionDenied,
        "model_not_found"
        | "model_not_exist"
        | "model_not_open"
        | "not_found"
        | "deployment_not_found"
        | "resource_not_found"
        | "response_not_found"
        | "previous_response_not_found"
        | "invalid_endpoint_or_model"
        | "unknown_url" => ErrorKind::NotFound,
        "too_many_requests"
        | "resource_exhausted"
        | "request_limit_exceeded"
        | "request_quota_exceeded"
        | "token_quota_exceeded"
        | "too_many_tokens"
        | "limit_requests"
        | "limit_burst_rate"
        | "app_id_qps_over_flow" => ErrorKind::RateLimited,
        // It has lived for the 60 minutes that the server gives one; a new one will do.
        "websocket_connection_limit_reached" => ErrorKind::Connection,
        "server_is_overloaded"
        | "slow_down"
        | "service_unavailable"
        | "temporarily_unavailable"
        | "service_tier_capacity_exceeded"
        | "capacity_exceeded"
        | "server_busy"
        | "system_busy"
        | "no_capacity" => ErrorKind::Overloaded,
        _ if name.contains("overloaded") => ErrorKind::Overloaded,
        _ if name.contains("rate_limit") || name.contains("throttl") => ErrorKind::RateLimited,
        "vector_store_timeout" => ErrorKind::ServerError,
        _ => return None,
    })
}

/// The names that say whose fault it was and no more.
pub(super) fn kind_of_vague_name(name: &str) -> Option<ErrorKind> {
    Some(match name {
        "bad_request"
        | "client_specified_an_invalid_argument"
        | "failed_precondition"
        | "out_of_range"
        | "unimplemented"
        | "unprocessable_entity"
        | "validation"
        | "request_too_large" => ErrorKind::InvalidRequest,
        // What runs out, as the `type` of OpenAI's rate limit errors.
        "tokens" | "requests" | "input_tokens" | "output_tokens" => ErrorKind::RateLimited,
        "unavailable" => ErrorKind::Overloaded,
        _ if name.ends_with("_not_found") => ErrorKind::NotFound,
        _ if ["invalid_", "unsupported_", "missing_", "malformed_"]
            .into_iter()
            .any(|start| name.starts_with(start)) =>
        {
            ErrorKind::InvalidRequest
        }
        _ => return None,
    })
}

/// What servers write that give no name to it. Only where the status leaves room for it: a 5xx that quotes such a sentence
/// is still the server's failure. `is_bare` says that there is neither a name nor a number beside it.
pub(super) fn kind_of_message(
    message: &str,
    status: Option<u16>,
    is_bare: bool,
) -> Option<ErrorKind> {
    if !matches!(status, None | Some(400 | 413 | 422)) {
        return None;
    }
    let message = message.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    if has(&[
        "maximum context length",
        "maximum prompt length",
        "exceeds the context window",
        "context window exceeds",
        "exceeds the available context size",
        "exceeds the model's context",
        "longer than the model's context",
        "exceeds the maximum context",
        "exceeds the maximum number of tokens",
        "exceeded model token limit",
        "context length exceeded",
        "prompt is too long",
        "prompt tokens too long",
        "token length too long",
        "input is too long for requested model",
    ]) {
        return Some(ErrorKind::ContextLengthExceeded);
    }
    if !is_bare || status.is_some() {
        return None;
    }
    [
        (
            ErrorKind::QuotaExceeded,
            &[
                "insufficient balance",
                "insufficient credit",
                "exceeded your current quota",
            ][..],
        ),
        (
            ErrorKind::RateLimited,
            &["rate limit", "rate-limit", "too many requests"],
        ),
        (
            ErrorKind::Authentication,
            &["invalid api key", "incorrect api key", "unauthorized"],
        ),
    ]
    .into_iter()
    .find_map(|(kind, parts)| has(parts).then_some(kind))
}

/// What an HTTP status means where nothing says more.
pub(super) fn kind_of_status(status: u16) -> ErrorKind {
    match status {
        400 | 413 | 414 | 415 | 421 | 422 | 431 => ErrorKind::InvalidRequest,
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

/// The numbers of Zhipu (four digits), iFlytek (five) and Baidu (from 336000), which others do not use.
pub(super) fn kind_of_number(code: &str) -> Option<ErrorKind> {
    Some(match code.parse::<u32>().ok()? {
        1110..=1112 | 1121 | 1220 | 1313 => ErrorKind::PermissionDenied,
        1113 => ErrorKind::QuotaExceeded,
        1210 | 1212..=1215 => ErrorKind::InvalidRequest,
        1211 | 1221 | 1222 => ErrorKind::NotFound,
        1230 | 1234 => ErrorKind::ServerError,
        1261 => ErrorKind::ContextLengthExceeded,
        1300 | 1301 => ErrorKind::ContentPolicy,
        1302 | 1303 | 1305 => ErrorKind::RateLimited,
        1304 | 1308 | 1310 => ErrorKind::UsageLimitReached,
        1309 | 1311 => ErrorKind::UsageNotIncluded,
        1312 => ErrorKind::Overloaded,
        10013 | 10014 | 10019 => ErrorKind::ContentPolicy,
        10907 => ErrorKind::ContextLengthExceeded,
        10163 => ErrorKind::InvalidRequest,
        11200 => ErrorKind::PermissionDenied,
        11201 => ErrorKind::UsageLimitReached,
        11202 | 11203 => ErrorKind::RateLimited,
        336001..=336003 => ErrorKind::InvalidRequest,
        336007 | 336103 => ErrorKind::ContextLengthExceeded,
        336100 => ErrorKind::Overloaded,
        336501 | 336502 => ErrorKind::RateLimited,
        _ => return None,
    })
}

/// The numbers in MiniMax's `base_resp`.
pub(super) fn kind_of_minimax(code: &str) -> Option<ErrorKind> {
    Some(match code.parse::<u32>().ok()? {
        1000 | 1001 | 1013 | 1024 | 1033 => ErrorKind::ServerError,
        1002 | 1039 | 1041 | 2045 => ErrorKind::RateLimited,
        1004 | 2049 => ErrorKind::Authentication,
        1008 => ErrorKind::QuotaExceeded,
        1026 | 1027 => ErrorKind::ContentPolicy,
        1042..=1044 | 2013 | 2037 | 2039 | 2048 | 20132 => ErrorKind::InvalidRequest,
        2042 => ErrorKind::PermissionDenied,
        2056 => ErrorKind::UsageLimitReached,
        2061 => ErrorKind::UsageNotIncluded,
        _ => return None,
    })
}

/// The small numbers of Baidu's `error_code`.
pub(super) fn kind_of_baidu(code: &str) -> Option<ErrorKind> {
    Some(match code.parse::<u32>().ok()? {
        1 => ErrorKind::ServerError,
        2 => ErrorKind::Overloaded,
        3 => ErrorKind::NotFound,
        4 | 18 => ErrorKind::RateLimited,
        6 => ErrorKind::PermissionDenied,
        13 | 14 | 100 | 110 | 111 => ErrorKind::Authentication,
        17 | 19 => ErrorKind::QuotaExceeded,
        _ => return None,
    })
}
