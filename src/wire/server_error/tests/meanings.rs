use super::*;

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
