use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

mod shapes;

fn read(value: Value) -> ServerError {
    ServerError::from_json(&value).unwrap_or_else(|| panic!("no error in {value}"))
}

/// Code, type and message.
type Said<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>);

fn said(error: &ServerError) -> Said<'_> {
    (
        error.code.as_deref(),
        error.error_type.as_deref(),
        error.message.as_deref(),
    )
}

#[test]
fn a_delay_is_read_from_members_and_words() {
    let cases = [
        (
            json!({"code": "rate_limit_exceeded", "message": "Please try again in 11.054s."}),
            Some(11_054),
        ),
        (
            json!({"code": 429, "message": "Please retry in 1.5s."}),
            Some(1_500),
        ),
        (
            json!({"message": "Rate limit reached. Please try again in 20s"}),
            Some(20_000),
        ),
        (
            json!({"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "m", "details": [
                {"@type": "type.googleapis.com/google.rpc.QuotaFailure"},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}]}),
            Some(34_400),
        ),
        (
            json!({"type": "usage_limit_reached", "resets_in_seconds": 90}),
            Some(90_000),
        ),
        (json!({"message": "m", "retry_after": 2}), Some(2_000)),
        (json!({"message": "m", "retry_after": "2.5"}), Some(2_500)),
        (json!({"message": "m", "retryAfter": "1m30s"}), Some(90_000)),
        (
            json!({"message": "m", "retry_after_ms": 1500, "retry_after": 9}),
            Some(1_500),
        ),
        (
            json!({"message": "m", "metadata": {"retry_after_seconds": 7}}),
            Some(7_000),
        ),
        (json!({"message": "m", "retry_after": -1}), None),
        (json!({"message": "m", "retry_after": "soon"}), None),
        (
            json!({"code": "invalid_prompt", "message": "try again in 5s"}),
            None,
        ),
        (
            json!({"code": "server_error", "message": "try again in 5s"}),
            None,
        ),
    ];
    for (value, millis) in cases {
        let error = read(json!({"error": value.clone()})).into_api_error(None);
        let delay = error.details().retry_after;
        assert_eq!(delay.map(|delay| delay.as_millis()), millis, "{value}");
    }
}

#[test]
fn what_the_model_had_written_stands_beside_the_words() {
    let error =
        json!({"error": {"message": "m", "code": "tool_use_failed", "failed_generation": "<f>"}});
    let error = read(error).into_api_error(None);
    assert_eq!(error.message(), "m; failed generation: <f>");
    let long =
        json!({"error": {"message": "x".repeat(2000), "failed_generation": "y".repeat(2000)}});
    let message = read(long).into_api_error(None).message().to_owned();
    assert!(message.contains("x…; failed generation: y"), "{message}");
    assert!(message.chars().count() < 2 * MAX_MESSAGE_CHARS + 30);
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
        (
            json!({"code": "data_residency_mismatch"}),
            None,
            InvalidRequest,
        ),
        (
            json!({"code": "invalid_encrypted_content"}),
            None,
            InvalidRequest,
        ),
        (
            json!({"code": "invalid_something_new"}),
            None,
            InvalidRequest,
        ),
        (
            json!({"code": "misalignment_policy_violation"}),
            None,
            ContentPolicy,
        ),
        (
            json!({"code": "credit_balance_exhausted"}),
            Some(429),
            QuotaExceeded,
        ),
        (
            json!({"code": "project_spend_limit_exceeded"}),
            None,
            QuotaExceeded,
        ),
        (json!({"code": "token_invalidated"}), None, Authentication),
        // Other spellings: Volcengine, DashScope, AWS, Azure, xAI, vLLM, litellm.
        (
            json!({"code": "RateLimitExceeded.EndpointRPMExceeded"}),
            None,
            RateLimited,
        ),
        (
            json!({"code": "SensitiveContentDetected.Violence"}),
            None,
            ContentPolicy,
        ),
        (
            json!({"code": "InputTextSensitiveContentDetected"}),
            None,
            ContentPolicy,
        ),
        (json!({"code": "ServerOverloaded"}), None, Overloaded),
        (
            json!({"code": "AccountOverdueError"}),
            Some(403),
            QuotaExceeded,
        ),
        (json!({"code": "Throttling.RateQuota"}), None, RateLimited),
        (
            json!({"code": "DataInspectionFailed"}),
            Some(400),
            ContentPolicy,
        ),
        (json!({"code": "Arrearage"}), Some(400), QuotaExceeded),
        (json!({"code": "InvalidApiKey"}), None, Authentication),
        (json!({"__type": "ThrottlingException"}), None, RateLimited),
        (
            json!({"__type": "x#ValidationException"}),
            None,
            InvalidRequest,
        ),
        (json!({"code": "DeploymentNotFound"}), None, NotFound),
        (
            json!({"code": "permission-denied", "error": "m"}),
            None,
            PermissionDenied,
        ),
        (
            json!({"type": "BadRequestError", "message": "m"}),
            None,
            InvalidRequest,
        ),
        (
            json!({"type": "litellm.RateLimitError", "message": "m"}),
            None,
            RateLimited,
        ),
        (
            json!({"type": "urn:inference-service:problem-details:bad-request", "title": "Bad Request", "detail": "m"}),
            None,
            InvalidRequest,
        ),
        (
            json!({"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "m"}),
            None,
            RateLimited,
        ),
        (
            json!({"code": "token_quota_exceeded", "type": "too_many_tokens_error"}),
            None,
            RateLimited,
        ),
        (
            json!({"error": "m", "error_type": "validation"}),
            None,
            InvalidRequest,
        ),
        // Names that stand deeper.
        (
            json!({"error": {"code": null, "message": "m",
                "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
            Some(400),
            ContentPolicy,
        ),
        (
            json!({"error": {"code": "400", "message": "m", "provider_specific_fields":
                {"innererror": {"code": "ResponsibleAIPolicyViolation"}}}}),
            Some(400),
            ContentPolicy,
        ),
        (
            json!({"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "m",
                "details": [{"reason": "API_KEY_INVALID"}]}}),
            Some(400),
            Authentication,
        ),
        (
            json!({"error": {"code": 400, "message": "Provider returned error", "metadata":
                {"raw": "{\"error\":{\"code\":\"content_filter\",\"message\":\"m\"}}"}}}),
            None,
            ContentPolicy,
        ),
        (
            json!({"detail": [{"loc": ["body"], "msg": "m", "type": "missing"}]}),
            None,
            InvalidRequest,
        ),
        // Numbers of MiniMax, Zhipu, iFlytek and Baidu; Mistral gives one of Zhipu's another name.
        (
            json!({"base_resp": {"status_code": 1002, "status_msg": "m"}}),
            None,
            RateLimited,
        ),
        (
            json!({"base_resp": {"status_code": 1039, "status_msg": "m"}}),
            None,
            RateLimited,
        ),
        (
            json!({"base_resp": {"status_code": 1004, "status_msg": "m"}}),
            None,
            Authentication,
        ),
        (
            json!({"base_resp": {"status_code": 1008, "status_msg": "m"}}),
            None,
            QuotaExceeded,
        ),
        (
            json!({"base_resp": {"status_code": 1027, "status_msg": "m"}}),
            None,
            ContentPolicy,
        ),
        (
            json!({"base_resp": {"status_code": 1013, "status_msg": "m"}}),
            None,
            ServerError,
        ),
        (
            json!({"base_resp": {"status_code": 2013, "status_msg": "m"}}),
            None,
            InvalidRequest,
        ),
        (
            json!({"base_resp": {"status_code": 2013, "status_msg": "context window exceeds limit"}}),
            None,
            ContextLengthExceeded,
        ),
        (
            json!({"base_resp": {"status_code": 2056, "status_msg": "m"}}),
            None,
            UsageLimitReached,
        ),
        (
            json!({"base_resp": {"status_code": 9999, "status_msg": "m"}}),
            None,
            ServerError,
        ),
        (
            json!({"error": {"code": "1113", "message": "m"}}),
            Some(429),
            QuotaExceeded,
        ),
        (
            json!({"error": {"code": "1301", "message": "m"}}),
            None,
            ContentPolicy,
        ),
        (
            json!({"error": {"code": "1302", "message": "m"}}),
            None,
            RateLimited,
        ),
        (
            json!({"error": {"code": "1308", "message": "m"}}),
            Some(429),
            UsageLimitReached,
        ),
        (
            json!({"code": "1300", "type": "rate_limited", "message": "m"}),
            Some(429),
            RateLimited,
        ),
        (
            json!({"header": {"code": 10013, "message": "m"}}),
            None,
            ContentPolicy,
        ),
        (
            json!({"error": {"code": "11202", "message": "AppIdQpsOverFlowError"}}),
            None,
            RateLimited,
        ),
        (
            json!({"error_code": 110, "error_msg": "m"}),
            None,
            Authentication,
        ),
        (
            json!({"error_code": 17, "error_msg": "m"}),
            None,
            QuotaExceeded,
        ),
        (
            json!({"error_code": 18, "error_msg": "m"}),
            None,
            RateLimited,
        ),
        (
            json!({"error_code": 336100, "error_msg": "m"}),
            None,
            Overloaded,
        ),
        (
            json!({"error": {"message": "m", "http_code": "400"}}),
            None,
            InvalidRequest,
        ),
        // Words alone.
        (json!("Insufficient Balance"), None, QuotaExceeded),
        (json!("rate limit exceeded(RPM)"), None, RateLimited),
        (json!("rate limit exceeded(RPM)"), Some(500), ServerError),
        (
            json!({"code": "server_error", "message": "not a rate limit"}),
            None,
            ServerError,
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

/// Any JSON whose names are those that errors have, nested and in texts.
fn json_of_errors() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop_oneof![Just(0_i64), Just(200), Just(429), Just(1002), any::<i64>()]
            .prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop_oneof![
            Just("error"),
            Just("{"),
            Just("[]"),
            Just("data: {}"),
            Just("<title")
        ]
        .prop_map(Value::from),
    ];
    const NAMES: [&str; 24] = [
        "error",
        "errors",
        "message",
        "msg",
        "code",
        "type",
        "detail",
        "details",
        "loc",
        "response",
        "base_resp",
        "status_code",
        "status_msg",
        "header",
        "success",
        "status",
        "metadata",
        "raw",
        "innererror",
        "error_code",
        "error_msg",
        "retry_after",
        "failed_generation",
        "x",
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(&NAMES), inner.clone()), 0..5).prop_map(
                |members| members
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()
            ),
            inner.prop_map(|value| Value::from(value.to_string())),
        ]
    })
}

/// The envelopes that hold nothing but the words.
fn envelope_of(words: &Value, which: usize) -> Value {
    match which {
        0 => json!({"error": words}),
        1 => json!({"error": {"message": words}}),
        2 => json!({"error": {"error": {"message": words}}}),
        3 => json!({"error": {"message": json!({"error": {"message": words}}).to_string()}}),
        4 => json!({"errors": [{"message": words}]}),
        5 => json!({"error": [words]}),
        6 => json!({"detail": words}),
        7 => json!({"detail": [{"msg": words}]}),
        8 => json!({"error_message": words}),
        9 => json!({"base_resp": {"status_code": 1000, "status_msg": words}}),
        10 => json!({"response": {"error": {"message": words}}}),
        11 => json!({"success": false, "message": words}),
        12 => json!({"code": "1301", "msg": words}),
        13 => json!({"error_code": 2, "error_msg": words}),
        14 => json!({"header": {"code": 10007, "message": words}}),
        15 => json!({"type": "error", "message": words}),
        16 => json!({"Response": {"Error": {"Message": words}}}),
        17 => json!({"object": "error", "message": {"detail": [{"msg": words}]}}),
        18 => json!([{"error": {"message": words}}]),
        _ => json!({"__type": "X", "Message": words}),
    }
}

proptest! {
    #[test]
    fn no_json_makes_the_reader_panic(value in json_of_errors(), status in proptest::option::of(any::<u16>())) {
        for error in [
            ServerError::from_json(&value),
            ServerError::from_member(&value),
            ServerError::reported_by(&value),
            ServerError::from_text(&value.to_string()),
            Some(ServerError::from_error_event(&value)),
        ] {
            let error = error.unwrap_or_default().into_api_error(status);
            prop_assert!(!error.message().is_empty());
        }
    }

    #[test]
    fn words_in_an_envelope_are_the_message(words in "[A-Z][a-z]{1,9} [a-z ,.!?:]{0,40}[a-z]", which in 0..20_usize) {
        let value = envelope_of(&json!(words), which);
        for error in [ServerError::from_json(&value), ServerError::reported_by(&value)] {
            let message = error.map(|error| error.into_api_error(None).message().to_owned());
            prop_assert_eq!(message, Some(words.clone()), "{}", value);
        }
    }
}
