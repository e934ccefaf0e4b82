use serde_json::{Value, json};

use super::*;

mod meanings;
mod properties;
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
