//! The response object, with every field that the API's schema requires.

use serde_json::{Map, Value, json};

use crate::{
    protocol::TokenUsage,
    wire::encoding::{self, EncoderOptions},
};

/// What a response object repeats of its request, and what stands there of a request that leaves it open.
pub(crate) fn repeated_fields() -> Map<String, Value> {
    let fields = json!({
        "background": false,
        "frequency_penalty": 0.0,
        "instructions": null,
        "max_output_tokens": null,
        "max_tool_calls": null,
        "metadata": {},
        "parallel_tool_calls": true,
        "presence_penalty": 0.0,
        "previous_response_id": null,
        "prompt_cache_key": null,
        "reasoning": {"effort": null, "summary": null},
        "safety_identifier": null,
        "service_tier": "default",
        "store": true,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "user": null,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

pub(super) fn response_object(
    options: &EncoderOptions,
    status: &str,
    output: Vec<Value>,
    usage: Value,
    error: Option<Value>,
    incomplete_reason: Option<&str>,
) -> Value {
    let mut object = repeated_fields();
    for (name, default) in &mut object {
        let said = options.request.get(name).filter(|said| !said.is_null());
        if let Some(said) = said {
            *default = echoed(name, said.clone());
        }
    }
    let is_completed = status == "completed";
    let fields = [
        ("id", Value::from(&*options.id)),
        ("object", "response".into()),
        ("created_at", options.created_at.into()),
        (
            "completed_at",
            is_completed.then_some(options.created_at).into(),
        ),
        ("status", status.into()),
        ("model", Value::from(&*options.model)),
        ("output", output.into()),
        ("usage", usage),
        ("error", error.unwrap_or_default()),
        (
            "incomplete_details",
            incomplete_reason
                .map(|reason| json!({ "reason": reason }))
                .unwrap_or_default(),
        ),
    ];
    object.extend(fields.map(|(name, value)| (name.to_owned(), value)));
    object.into()
}

/// A field of the request in the form that a response has it.
fn echoed(name: &str, mut said: Value) -> Value {
    match name {
        // The schema wants all of them.
        "tools" => {
            for tool in said.as_array_mut().into_iter().flatten() {
                if let Some(fields) = tool
                    .as_object_mut()
                    .filter(|it| it.get("type").is_some_and(|kind| kind == "function"))
                {
                    for name in ["description", "parameters", "strict"] {
                        fields.entry(name).or_insert(Value::Null);
                    }
                }
            }
        }
        "text" => {
            if let Some(fields) = said.as_object_mut() {
                fields.entry("format").or_insert(json!({"type": "text"}));
            }
        }
        "reasoning" => {
            if let Some(fields) = said.as_object_mut() {
                fields.entry("effort").or_insert(Value::Null);
                fields.entry("summary").or_insert(Value::Null);
            }
        }
        _ => {}
    }
    said
}

/// `usage` with every detail. One that nobody told is all zeros at an end, for clients stop without it, and null before it.
pub(super) fn usage_object(usage: Option<TokenUsage>, status: &str) -> Value {
    if usage.is_none() && !matches!(status, "completed" | "incomplete") {
        return Value::Null;
    }
    encoding::usage_object(usage.unwrap_or_default(), "input", "output")
}
