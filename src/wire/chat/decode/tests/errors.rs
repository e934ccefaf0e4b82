//! Errors in place of a chunk.

use super::*;

#[test]
fn errors_end_the_stream() {
    let cases = [
        (
            r#"{"error":{"message":"Rate limit","type":"tokens","code":"rate_limit_exceeded"}}"#,
            "failed rate_limited: Rate limit",
        ),
        (
            r#"{"error":"overloaded"}"#,
            "failed server_error: overloaded",
        ),
        (
            r#"{"id":"c","choices":[{"index":0,"delta":{"content":""},"finish_reason":"error","error":{"code":502,"message":"Provider"}}]}"#,
            "failed server_error: Provider",
        ),
        (
            r#"{"id":"c","error":{"code":429,"message":"slow"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}"#,
            "failed rate_limited: slow",
        ),
        (
            "error\n{\"message\":\"too long\",\"code\":\"context_length_exceeded\"}",
            "failed context_length_exceeded: too long",
        ),
        (
            "error\nupstream is gone",
            "failed server_error: upstream is gone",
        ),
        (
            "error\n{}",
            "failed server_error: the server reports an error and does not say which",
        ),
        (
            r#"{"object":"error","message":"no such model","type":"NotFoundError","code":404}"#,
            "failed not_found: no such model",
        ),
        (
            r#"{"detail":"unknown field"}"#,
            "failed server_error: unknown field",
        ),
        (
            r#"{"error":{"message":"half \ud83d of it"}}"#,
            "failed server_error: half \u{fffd} of it",
        ),
    ];
    for (event, expected) in cases {
        check(&[event, "[DONE]"], &[expected]);
        let text = delta(json!({"content": "a"}));
        let lines = decode(&[text.as_str(), event, "[DONE]"]);
        assert_eq!(lines[3..], [expected]);
    }
}

#[test]
fn an_error_after_the_whole_answer_does_not_undo_it() {
    check(
        &[end("stop"), r#"{"error":"no usage today"}"#.to_owned()],
        &[
            "created c",
            "finishing",
            "completed [1 malformed: an error after the whole answer: no usage today]",
        ],
    );
}
