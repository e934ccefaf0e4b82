//! What a model may call.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::RawJson;
use crate::json::{
    lenient::string,
    members::{member, with_member},
};

/// A tool of a request, as the Responses API writes it.
///
/// It is kept as JSON: the API has many kinds of tools, and the order of a schema's properties matters to models. The
/// order is kept by [`RawJson::parse`]; a [`Value`] sorts by name.
#[derive(Clone, Debug, Hash, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tool(RawJson);

impl Tool {
    /// A function of the caller's. `parameters` is a JSON schema of an object.
    ///
    /// Whether the server holds the model to the schema is left to it, and servers differ: say it with
    /// [`with_strict`](Self::with_strict).
    ///
    /// ```
    /// # use actix_responses::protocol::Tool;
    /// # use serde_json::json;
    /// let schema = json!({
    ///     "type": "object",
    ///     "properties": {"city": {"type": "string"}},
    ///     "required": ["city"],
    ///     "additionalProperties": false,
    /// });
    /// let tool = Tool::function("weather", "The weather in a city.", schema).with_strict(true);
    /// ```
    pub fn function(name: &str, description: &str, parameters: impl Into<RawJson>) -> Self {
        Self(object(&[
            ("type", json!("function").into()),
            ("name", json!(name).into()),
            ("description", json!(description).into()),
            ("parameters", parameters.into()),
        ]))
    }

    /// A tool of the caller's that takes free text.
    pub fn custom(name: &str, description: &str) -> Self {
        Self(object(&[
            ("type", json!("custom").into()),
            ("name", json!(name).into()),
            ("description", json!(description).into()),
        ]))
    }

    /// A tool of the server's that needs no more than its type, such as `web_search`.
    pub fn hosted(tool_type: &str) -> Self {
        Self(json!({ "type": tool_type }).into())
    }

    /// Sets whether the server holds the model to the schema of a function (`strict`), in place of what was said of it. A tool that
    /// is no JSON object stays as it is.
    #[must_use]
    pub fn with_strict(self, is_strict: bool) -> Self {
        match with_member(self.0.get(), "strict", &is_strict.to_string()) {
            Some(tool) => Self(RawJson::from_walked(&tool)),
            None => self,
        }
    }

    /// Any tool, by its JSON object.
    pub fn from_raw(raw: RawJson) -> Self {
        Self(raw)
    }

    /// The JSON.
    pub fn raw(&self) -> &RawJson {
        &self.0
    }

    /// The value of `type`.
    pub fn tool_type(&self) -> Option<String> {
        self.field("type")
    }

    /// The value of `name`, which tools of the server's do not have.
    pub fn name(&self) -> Option<String> {
        self.field("name")
    }

    fn field(&self, name: &str) -> Option<String> {
        string(member(self.0.get(), name)?).map(Cow::into_owned)
    }
}

impl From<RawJson> for Tool {
    fn from(raw: RawJson) -> Self {
        Self(raw)
    }
}

impl From<Value> for Tool {
    fn from(value: Value) -> Self {
        Self(value.into())
    }
}

/// A JSON object with its fields in the given order and their text as it is.
fn object(fields: &[(&str, RawJson)]) -> RawJson {
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    RawJson::parse(&format!("{{{}}}", fields.join(",")))
        .expect("an object of JSON values under plain names is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_schema_keeps_its_order() {
        let parameters = RawJson::parse(r#"{"properties": {"z":{}, "a":{}}}"#).unwrap();
        let tool = Tool::function("f", "does \"f\"", parameters);
        assert_eq!(
            serde_json::to_string(&tool).unwrap(),
            r#"{"type":"function","name":"f","description":"does \"f\"","parameters":{"properties": {"z":{}, "a":{}}}}"#
        );
        assert_eq!(
            (tool.tool_type(), tool.name()),
            (Some("function".into()), Some("f".into()))
        );
    }

    #[test]
    fn strictness_is_said_once() {
        for (tool, expected) in [
            (
                r#"{"type":"function"}"#,
                r#"{"type":"function","strict":true}"#,
            ),
            (r#"{"a" : "}" }"#, r#"{"a" : "}","strict":true}"#),
            (r#"{"strict" : null, "b":1}"#, r#"{"strict" : true, "b":1}"#),
            ("{ }", r#"{"strict":true}"#),
            ("[1]", "[1]"),
        ] {
            let tool = Tool::from_raw(RawJson::parse(tool).unwrap()).with_strict(true);
            assert_eq!(tool.raw().get(), expected);
            assert_eq!(RawJson::parse(expected).unwrap(), *tool.raw());
        }
        let tool = Tool::function("f", "d", json!({})).with_strict(true);
        let tool = serde_json::to_value(tool.with_strict(false)).unwrap();
        assert_eq!(tool["strict"], false);
    }

    #[test]
    fn other_tools_are_written_by_type() {
        for (tool, expected) in [
            (Tool::hosted("web_search"), json!({"type": "web_search"})),
            (
                Tool::custom("c", "d"),
                json!({"type": "custom", "name": "c", "description": "d"}),
            ),
            (Tool::from(json!({"type": "mcp"})), json!({"type": "mcp"})),
        ] {
            assert_eq!(serde_json::to_value(&tool).unwrap(), expected);
        }
        assert_eq!(Tool::hosted("web_search").name(), None);
    }
}
