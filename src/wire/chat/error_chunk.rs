//! Errors that come in place of a chunk, or inside one.

use serde_json::{Value, json};

use crate::{
    json::{
        escapes::without_lone_surrogates,
        members::{Member, Members},
        tree::tree,
    },
    wire::server_error::ServerError,
};

/// The error that an event reports, if it does: by its name, as an object without choices in any shape that
/// [`ServerError`] knows, or beside choices: in the chunk, in a choice (OpenRouter), inside `x_groq`.
pub(super) fn error_in(event: Option<&str>, chunk: &Value) -> Option<ServerError> {
    let says_error = |name: &str| chunk.get(name).is_some_and(|value| value == "error");
    if event.is_some_and(|name| name.eq_ignore_ascii_case("error"))
        || ["object", "type"].into_iter().any(says_error)
    {
        return Some(ServerError::from_error_event(chunk));
    }
    let inner = |holder: &Value| ServerError::from_member(holder.get("error")?);
    let choices = chunk.get("choices").and_then(Value::as_array);
    let error = match choices {
        Some(choices) if !choices.is_empty() => inner(chunk)
            .or_else(|| {
                choices.iter().find_map(|choice| {
                    inner(choice)
                        .or_else(|| inner(choice.get("delta")?))
                        .or_else(|| inner(choice.get("message")?))
                })
            })
            .or_else(|| {
                ["base_resp", "errors"]
                    .into_iter()
                    .find_map(|name| ServerError::reported_by(&json!({name: chunk.get(name)?})))
            }),
        _ => ServerError::reported_by(chunk),
    };
    error.or_else(|| inner(chunk.get("x_groq")?))
}

/// How many members of a chunk are looked at for an error.
const MAX_BESIDE: usize = 1_000;

/// The members of a chunk beside what belongs to an answer.
fn beside_choices(data: &str) -> Option<Value> {
    const OF_ANSWER: [&str; 6] = ["choices", "usage", "id", "object", "model", "created"];
    let data = without_lone_surrogates(data);
    let members = Members::of(&data).filter(|member| !OF_ANSWER.contains(&member.name));
    let members: Vec<_> = members
        .map(|Member { name, value }| format!("\"{name}\":{}", &data[value]))
        .take(MAX_BESIDE)
        .collect();
    tree(&format!("{{{}}}", members.join(",")))
}

/// The error that a chunk says it is, beside choices that it has.
pub(super) fn error_beside_choices(data: &str) -> Option<ServerError> {
    let beside = beside_choices(data)?;
    let says_so = beside
        .as_object()?
        .iter()
        .any(|(name, value)| match name.as_str() {
            "error_message" | "errorMessage" | "error_msg" | "errorMsg" => {
                !matches!(value.as_str(), None | Some(""))
            }
            "success" => *value == false,
            _ => false,
        });
    says_so.then(|| ServerError::from_error_event(&beside))
}

/// What a chunk says of the failure that its `finish_reason` names: beside the choices, or in the choice.
pub(super) fn words_of_failure(data: &str) -> Option<ServerError> {
    let chunk = tree(&without_lone_surrogates(data))?;
    let in_choice = [
        "/choices/0/finish_message",
        "/choices/0/finish_reason/message",
    ];
    let words = in_choice
        .into_iter()
        .find_map(|at| chunk.pointer(at)?.as_str());
    match words {
        Some(words) => ServerError::from_text(words),
        None => ServerError::from_json(&beside_choices(data)?),
    }
}

#[cfg(test)]
mod tests {
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
            (None, json!({"error": {"message": "m"}, "choices": null})),
            (
                None,
                json!({"base_resp": {"status_code": 1002, "status_msg": "m"}, "choices": null}),
            ),
            (None, json!({"code": 1301, "msg": "m", "choices": []})),
            (None, json!({"success": false, "message": "m"})),
            (
                None,
                json!({"choices": [{"delta": {"content": "x"}}], "error": "m"}),
            ),
            (
                None,
                json!({"choices": [{"delta": {}}], "base_resp": {"status_code": 1002, "status_msg": "m"}}),
            ),
            (
                None,
                json!({"choices": [{"delta": {}}], "errors": [{"message": "m"}]}),
            ),
            (
                None,
                json!({"choices": [{"delta": {"error": {"message": "m"}}}]}),
            ),
            (None, json!({"choices": [{"message": {"error": "m"}}]})),
            (
                None,
                json!({"choices": [{"delta": {}}], "x_groq": {"error": "m"}}),
            ),
            (Some("Error"), json!({"message": "m"})),
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
            json!({"choices": [{"index": 0, "error": {}, "delta": {"error": ""}}], "error": {}}),
            json!({"choices": [{"index": 0}], "message": "m", "code": 500}),
            json!({"choices": [], "base_resp": {"status_code": 0, "status_msg": "success"}}),
            json!({"choices": [], "id": "", "model": "", "prompt_filter_results": [{"index": 0}]}),
            json!({"choices": [], "usage": {"total_tokens": 1}, "code": 200, "message": "success"}),
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
