use super::*;

#[test]
fn every_shape_of_an_error_is_read() {
    let (a, t, m) = (Some("a"), Some("t"), Some("m"));
    let cases = [
        (
            json!({"error": {"code": "a", "message": "m", "type": "t"}}),
            (a, t, m),
        ),
        (
            json!({"code": "a", "message": "m", "type": "error", "param": null}),
            (a, None, m),
        ),
        (
            json!({"type": "error", "error": {"type": "t", "message": "m"}}),
            (None, t, m),
        ),
        (
            json!({"object": "error", "message": "m", "type": "t", "code": 404}),
            (Some("404"), t, m),
        ),
        (
            json!({"error": {"code": 400, "message": "m", "type": "exceed_context_size_error"}}),
            (Some("400"), Some("exceed_context_size_error"), m),
        ),
        (
            json!({"error": {"message": "m", "code": "429"}}),
            (Some("429"), None, m),
        ),
        (json!({"error": "m"}), (None, None, m)),
        (json!({"err": "m"}), (None, None, m)),
        (json!("m"), (None, None, m)),
        (
            json!({"error": "a", "error_description": "m"}),
            (a, None, m),
        ),
        (json!({"error": "a", "message": "m"}), (a, None, m)),
        // xAI.
        (json!({"code": "a", "error": "m"}), (a, None, m)),
        (json!({"error": {"code": "a"}}), (a, None, None)),
        (
            json!({"status_code": 503, "error": {"message": "m"}}),
            (None, None, m),
        ),
        (json!({"message": "m"}), (None, None, m)),
        (json!({"msg": "m", "code": 1301}), (Some("1301"), None, m)),
        // Lists.
        (
            json!([{"error": {"code": 403, "message": "m"}}]),
            (Some("403"), None, m),
        ),
        (
            json!({"success": false, "errors": [{"code": 10000, "message": "m"}], "result": null}),
            (Some("10000"), None, m),
        ),
        (
            json!({"errors": ["m", "n", "m"]}),
            (None, None, Some("m; n")),
        ),
        (
            json!({"error": [{"message": "m"}, {"message": "n", "code": "a"}]}),
            (a, None, Some("m; n")),
        ),
        // In each other.
        (
            json!({"error": {"error": {"message": "m", "code": "a"}}}),
            (a, None, m),
        ),
        (json!({"error": {"error": "m"}}), (None, None, m)),
        (
            json!({"error": {"message": "{\"error\":{\"message\":\"m\",\"code\":\"a\"}}",
                "code": "bad_response_status_code", "type": "t"}}),
            (a, t, m),
        ),
        (
            json!({"error": "{\"error\":\"{\\\"message\\\":\\\"m\\\"}\"}"}),
            (None, None, m),
        ),
        (
            json!({"error": {"message": {"message": "m", "type": "t"}}}),
            (None, t, m),
        ),
        (
            json!({"error": {"message": ["m", "n"]}}),
            (None, None, Some("m; n")),
        ),
        (
            json!({"error": {"message": "Upstream error: {\"error\":{\"code\":\"a\",\"message\":\"m\"}}"}}),
            (
                a,
                None,
                Some("Upstream error: {\"error\":{\"code\":\"a\",\"message\":\"m\"}}"),
            ),
        ),
        (
            json!({"detail": "event: error\ndata: {\"error\": {\"message\": \"m\"}}\n\n"}),
            (None, None, m),
        ),
        (
            json!({"response": {"id": "r", "error": {"code": "a", "message": "m"}}}),
            (a, None, m),
        ),
        (
            json!({"type": "response.failed", "response": {"error": {"code": "a", "message": "m"}}}),
            (a, None, m),
        ),
        (
            json!({"type": "error", "data": {"message": "m"}}),
            (None, None, m),
        ),
        (json!({"event": "error", "data": "m"}), (None, None, m)),
        // FastAPI, and Mistral on top of it.
        (json!({"detail": "m"}), (None, None, m)),
        (
            json!({"detail": {"code": "a", "message": "m"}}),
            (a, None, m),
        ),
        (
            json!({"detail": [{"loc": ["body"], "msg": "m", "type": "t"}]}),
            (None, t, Some("body: m")),
        ),
        (
            json!({"object": "error", "type": "invalid_request_error", "message": {"detail": [
                {"loc": ["body", "messages", 0], "msg": "m", "type": "t"},
                {"loc": ["body", "n"], "msg": "o", "type": "u"}]}}),
            (None, t, Some("body.messages.0: m; body.n: o")),
        ),
        // MiniMax.
        (
            json!({"choices": null, "base_resp": {"status_code": 1002, "status_msg": "m"}}),
            (Some("1002"), None, m),
        ),
        (
            json!({"base_resp": {"status_code": 1008, "status_msg": ""}}),
            (Some("1008"), None, None),
        ),
        // Baidu, iFlytek, WeChat, Tencent.
        (
            json!({"error_code": 18, "error_msg": "m"}),
            (Some("18"), None, m),
        ),
        (
            json!({"header": {"code": 10013, "message": "m", "sid": "s"}}),
            (Some("10013"), None, m),
        ),
        (
            json!({"errcode": 40001, "errmsg": "m"}),
            (Some("40001"), None, m),
        ),
        (json!({"errorCode": "a", "errorMessage": "m"}), (a, None, m)),
        (
            json!({"Response": {"Error": {"Code": "a", "Message": "m"}, "RequestId": "r"}}),
            (a, None, m),
        ),
        // AWS.
        (
            json!({"__type": "com.amazon.coral#ThrottlingException", "message": "m"}),
            (None, Some("ThrottlingException"), m),
        ),
        (json!({"Message": "m"}), (None, None, m)),
        // Google, with and without its list.
        (
            json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "m"}}),
            (Some("429"), Some("RESOURCE_EXHAUSTED"), m),
        ),
        (
            json!([{"error": {"code": 403, "message": "m", "status": "PERMISSION_DENIED",
                "errors": [{"message": "m", "reason": "forbidden"}]}}]),
            (Some("403"), Some("PERMISSION_DENIED"), m),
        ),
        // RFC 9457.
        (
            json!({"type": "about:blank", "title": "t", "detail": "m", "status": 503}),
            (None, t, m),
        ),
        // Apigee.
        (
            json!({"fault": {"faultstring": "m", "detail": {"errorcode": "x.y"}}}),
            (None, None, m),
        ),
        // AWS, in a stream.
        (
            json!({"throttlingException": {"message": "m"}}),
            (None, Some("throttlingException"), m),
        ),
        // Laravel, ASP.NET.
        (
            json!({"message": "m", "errors": {"n": ["o"]}}),
            (None, None, Some("m: {\"n\":[\"o\"]}")),
        ),
        (
            json!({"title": "m", "status": 400, "errors": {"n": ["o"]}}),
            (None, None, Some("m: {\"n\":[\"o\"]}")),
        ),
        // JSON:API, GraphQL, JSON-RPC, Spring.
        (
            json!({"errors": [{"status": "422", "title": "t", "detail": "m", "code": "a"}]}),
            (a, t, m),
        ),
        (
            json!({"errors": [{"message": "m", "path": ["x"]}], "data": null}),
            (None, None, m),
        ),
        (
            json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "m"}}),
            (Some("-32601"), None, m),
        ),
        (
            json!({"timestamp": "x", "status": 500, "error": "Internal Server Error", "path": "/"}),
            (None, None, Some("Internal Server Error")),
        ),
        // OpenRouter.
        (
            json!({"error": {"message": "Provider returned error", "code": 429,
                "metadata": {"raw": "m", "provider_name": "p"}}, "user_id": "u"}),
            (Some("429"), None, Some("Provider returned error: m")),
        ),
        (
            json!({"error": {"message": "Provider returned error", "code": 400,
                "metadata": {"raw": "{\"error\":{\"message\":\"m\",\"code\":\"a\"}}"}}}),
            (Some("400"), None, Some("Provider returned error: m")),
        ),
        // What is an error and has no shape that is known is shown as it is.
        (
            json!({"error": {"cause": "m"}}),
            (None, None, Some("{\"cause\":\"m\"}")),
        ),
        (json!({"error": 502}), (Some("502"), None, None)),
        (json!({"error": true, "message": "m"}), (None, None, m)),
        (json!({"status": "error", "message": "m"}), (None, None, m)),
        (json!({"ok": false, "description": "m"}), (None, None, m)),
        (json!({"error_message": "m"}), (None, None, m)),
        (
            json!({"failed_generation": "x", "message": "m"}),
            (None, None, m),
        ),
    ];
    for (value, expected) in cases {
        let error = read(value.clone());
        assert_eq!(said(&error), expected, "{value}");
    }
}

#[test]
fn what_names_no_error_is_none() {
    for value in [
        json!(null),
        json!({}),
        json!({"error": null}),
        json!({"error": {}}),
        json!({"error": false}),
        json!({"error": ""}),
        json!({"error": 0}),
        json!({"error": []}),
        json!({"error": {"code": null, "message": ""}}),
        json!({"error": {"code": 0, "message": "ok"}}),
        json!({"errors": []}),
        json!({"code": 0, "message": "ok"}),
        json!({"code": 0, "msg": "", "data": {}}),
        json!({"code": 200, "message": "success"}),
        json!({"code": "200", "msg": "ok"}),
        json!({"code": "Success", "message": "done"}),
        json!({"errcode": 0, "errmsg": "ok"}),
        json!({"error_code": 0, "error_msg": "done"}),
        json!({"success": true}),
        json!({"success": true, "errors": [], "messages": [], "result": {}}),
        json!({"success": true, "code": 1, "message": "done"}),
        json!({"ok": true, "message": "done"}),
        json!({"status": 200, "message": "done"}),
        json!({"status": "completed"}),
        json!({"status": "failed"}),
        json!({"base_resp": {"status_code": 0, "status_msg": "success"}}),
        json!({"header": {"code": 0, "message": "Success"}, "payload": {}}),
        json!({"response": {"error": null}}),
        json!({"type": "keepalive"}),
        json!({"type": "message", "role": "assistant", "content": []}),
        json!({"id": "x", "choices": []}),
        json!({"id": "r", "object": "response", "status": "completed", "error": null,
            "incomplete_details": {"reason": "x"}, "output": [], "metadata": {"code": "a", "raw": "b"}}),
        json!({"id": "c", "object": "chat.completion", "choices": [{"message": {"content": "m"}}]}),
        json!({"object": "response.compaction", "output": [{"type": "message"}]}),
        json!({"object": "list", "data": [{"id": "m"}]}),
        // Ollama's own.
        json!({"model": "x", "message": {"role": "assistant", "content": "hi"}, "done": false}),
        json!(""),
        json!("null"),
        json!([]),
        json!([{}]),
        json!(4),
    ] {
        assert_eq!(ServerError::from_json(&value), None, "{value}");
        assert_eq!(ServerError::reported_by(&value), None, "{value}");
    }
}

#[test]
fn what_may_be_anything_is_an_error_when_it_says_so() {
    let m = Some("m");
    for (value, message) in [
        (json!({"error": {"message": "m"}}), m),
        (json!({"error": "m"}), m),
        (json!({"errors": [{"message": "m"}]}), m),
        (json!({"detail": "m"}), m),
        (json!({"detail": [{"msg": "m"}]}), m),
        (json!({"message": "m", "code": 500}), m),
        (json!({"message": "m", "code": "1301"}), m),
        (json!({"message": "m", "type": "server_error"}), m),
        (json!({"message": "m", "status": 503}), m),
        (json!({"message": "m", "status": "RESOURCE_EXHAUSTED"}), m),
        (json!({"success": false, "message": "m"}), m),
        (json!({"success": "false", "msg": "m"}), m),
        (json!({"error_message": "m"}), m),
        (
            json!({"base_resp": {"status_code": 1027, "status_msg": "m"}}),
            m,
        ),
        (json!({"header": {"code": 11202, "message": "m"}}), m),
        (json!({"response": {"error": {"message": "m"}}}), m),
        (json!([{"error": {"message": "m"}}]), m),
        (json!({"__type": "X", "message": "m"}), m),
        (json!({"success": false}), None),
        (json!({"ok": false}), None),
        (json!({"error": true}), None),
        (json!({"type": "error", "sequence_number": 3}), None),
    ] {
        let error = ServerError::reported_by(&value).unwrap_or_else(|| panic!("none in {value}"));
        assert_eq!(error.message.as_deref(), message, "{value}");
    }
    for value in [
        json!({"message": "hello"}),
        json!({"message": "hello", "type": "progress"}),
        json!({"message": "hello", "status": "processing"}),
        json!({"message": "hello", "error": false, "code": 1}),
        json!({"code": "x"}),
        json!({"type": "server_error_report"}),
        json!("text"),
        json!(["text"]),
        json!(1),
        json!(true),
    ] {
        assert_eq!(ServerError::reported_by(&value), None, "{value}");
    }
}

#[test]
fn an_error_event_says_what_it_can() {
    for (value, message, kind) in [
        (json!("Overloaded"), "Overloaded", ErrorKind::ServerError),
        (
            json!("Rate limit exceeded"),
            "Rate limit exceeded",
            ErrorKind::RateLimited,
        ),
        (
            json!(429),
            "the server reports error 429 and says no more",
            ErrorKind::RateLimited,
        ),
        (
            json!("502"),
            "the server reports error 502 and says no more",
            ErrorKind::ServerError,
        ),
        (
            json!(null),
            "the server reports an error and does not say which",
            ErrorKind::ServerError,
        ),
        (
            json!({}),
            "the server reports an error and does not say which",
            ErrorKind::ServerError,
        ),
        (
            json!({"cause": "m"}),
            "{\"cause\":\"m\"}",
            ErrorKind::ServerError,
        ),
        (json!({"message": "m"}), "m", ErrorKind::ServerError),
        (json!(["m"]), "m", ErrorKind::ServerError),
        (
            json!("<html><title>502 Bad Gateway</title></html>"),
            "502 Bad Gateway",
            ErrorKind::ServerError,
        ),
    ] {
        let error = ServerError::from_error_event(&value).into_api_error(None);
        assert_eq!((error.message(), error.kind()), (message, kind), "{value}");
        if let Value::String(text) = &value {
            let of_text = ServerError::from_text(text).map(|error| error.into_api_error(None));
            assert_eq!(of_text, Some(error), "{text}");
        }
    }
    for text in ["", " ", "null", "false"] {
        assert_eq!(ServerError::from_text(text), None, "{text}");
    }
}
