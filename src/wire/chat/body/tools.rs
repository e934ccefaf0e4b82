//! Tools and the choice of one, in Chat's nested form.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json, value::RawValue};

use crate::protocol::RawJson;

/// The fields of a flat tool that go into its nested object, in the order in which they are written.
const NESTED_FIELDS: [&str; 5] = ["name", "description", "parameters", "strict", "format"];

/// Nests a function or custom tool that is written flat, as the Responses API has it. The text of its fields stays as it is,
/// and fields that Chat does not nest stay where they are. Other tools, and those nested already, are not touched.
pub(super) fn chat_tool(tool: &RawJson) -> RawJson {
    nested(tool.get()).unwrap_or_else(|| tool.clone())
}

fn nested(tool: &str) -> Option<RawJson> {
    let mut fields: BTreeMap<String, &RawValue> = serde_json::from_str(tool).ok()?;
    let tool_type: String = serde_json::from_str(fields.remove("type")?.get()).ok()?;
    if !matches!(&*tool_type, "function" | "custom") || fields.contains_key(&tool_type) {
        return None;
    }
    let inner: Vec<_> = NESTED_FIELDS
        .iter()
        .filter_map(|name| {
            let value = fields.remove(*name)?.get();
            // Nulls are the Responses API's; Chat wants a field or none.
            (value != "null").then(|| match *name {
                "format" => format!("\"format\":{}", chat_format(value)),
                _ => format!("\"{name}\":{value}"),
            })
        })
        .collect();
    let mut text = format!(
        "{{\"type\":\"{tool_type}\",\"{tool_type}\":{{{}}}",
        inner.join(",")
    );
    for (name, value) in fields {
        text.push_str(&format!(",{}:{value}", Value::from(name)));
    }
    text.push('}');
    RawJson::parse(&text).ok()
}

/// A custom tool's grammar lies one level deeper in Chat.
fn chat_format(format: &str) -> String {
    match serde_json::from_str::<Map<String, Value>>(format) {
        Ok(mut fields)
            if fields.get("type").is_some_and(|kind| kind == "grammar")
                && !fields.contains_key("grammar") =>
        {
            fields.remove("type");
            json!({"type": "grammar", "grammar": fields}).to_string()
        }
        _ => format.to_owned(),
    }
}

/// Nests the names in a `tool_choice`. Words, and what has no name in it, are not touched.
pub(super) fn chat_tool_choice(choice: &Value) -> Value {
    let kind = choice["type"].as_str().unwrap_or_default();
    match kind {
        "function" | "custom" if choice.get("name").is_some() => {
            json!({"type": kind, kind: {"name": choice["name"]}})
        }
        "allowed_tools" if choice.get("tools").is_some() => {
            let tools = choice["tools"].as_array().into_iter().flatten();
            let tools: Vec<_> = tools.map(chat_tool_choice).collect();
            json!({"type": kind, kind: {"mode": choice["mode"], "tools": tools}})
        }
        _ => choice.clone(),
    }
}
