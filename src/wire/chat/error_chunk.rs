//! Errors that come in place of a chunk, or inside one.

use serde_json::Value;

use crate::wire::server_error::ServerError;

/// The error that an event reports, if it does.
///
/// Servers send it as `{"error": ...}`, as a flat object that says so in `object` or `type`, as `{"detail": ...}`, inside a
/// choice (OpenRouter), inside `x_groq`, or in an SSE event named `error`. A flat object with a message and a code counts too
/// when it has no `choices`.
pub(super) fn error_in(event: Option<&str>, chunk: &Value) -> Option<ServerError> {
    let is_named_error = event == Some("error")
        || ["object", "type"]
            .iter()
            .any(|name| chunk.get(*name).is_some_and(|value| value == "error"));
    if is_named_error {
        return Some(ServerError::from_json(chunk).unwrap_or_default());
    }
    let says_something =
        |error: &&Value| matches!(error, Value::String(_) | Value::Object(_) | Value::Array(_));
    let inner = |holder: &Value| {
        holder
            .get("error")
            .filter(says_something)
            .and_then(ServerError::from_json)
    };
    let Some(choices) = chunk.get("choices") else {
        let is_flat_error = chunk.get("message").is_some_and(Value::is_string)
            && ["code", "type", "status"]
                .iter()
                .any(|name| chunk.get(*name).is_some_and(|value| !value.is_null()));
        let is_error = is_flat_error
            || ["error", "detail"]
                .iter()
                .any(|name| chunk.get(*name).is_some_and(|value| says_something(&value)))
            || chunk.is_array();
        return is_error.then(|| ServerError::from_json(chunk)).flatten();
    };
    inner(chunk)
        .or_else(|| inner(chunk.get("x_groq")?))
        .or_else(|| choices.as_array()?.iter().find_map(inner))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_are_found_in_every_place_where_servers_put_them() {
        let cases = [
            (None, json!({"error": {"message": "m"}})),
            (None, json!({"error": "m"})),
            (None, json!({"error": {"message": "m"}, "choices": []})),
            (
                None,
                json!({"object": "error", "message": "m", "type": "t"}),
            ),
            (None, json!({"type": "error", "error": {"message": "m"}})),
            (None, json!({"detail": "m"})),
            (None, json!({"detail": [{"msg": "m"}]})),
            (None, json!({"message": "m", "code": 500})),
            (None, json!([{"error": {"message": "m"}}])),
            (
                None,
                json!({"choices": [{"index": 0, "delta": {}, "error": {"message": "m"}}]}),
            ),
            (
                None,
                json!({"choices": [], "x_groq": {"id": "x", "error": "m"}}),
            ),
            (Some("error"), json!({"message": "m"})),
            (Some("error"), json!("m")),
        ];
        for (event, chunk) in cases {
            let message = error_in(event, &chunk).and_then(|error| error.message);
            assert_eq!(message.as_deref(), Some("m"), "{chunk}");
        }
    }

    #[test]
    fn other_json_is_no_error() {
        for chunk in [
            json!({"choices": [], "error": null}),
            json!({"choices": [], "error": false, "message": "m", "code": 1}),
            json!({"choices": [{"index": 0, "error": null}], "x_groq": {"id": "x"}}),
            json!({"object": "chat.completion.chunk", "detail": null}),
            json!({"type": "keepalive"}),
            json!({"message": "hello"}),
            json!([]),
            json!("text"),
            json!(1),
        ] {
            assert_eq!(error_in(None, &chunk), None, "{chunk}");
        }
    }
}
