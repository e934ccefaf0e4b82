//! A prompt from the body of a request to Chat Completions.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Map, Value, json, value::RawValue};

use super::details::flat_annotation;
use crate::{
    protocol::{OutputFormat, Prompt, RawJson, ReceivedBody, ResponseItem, Tool, error::ApiError},
    wire::reading::{Body, elements, read, read_option, wrong},
};

/// Reads a body. Messages become items and options those of the Responses API; what that has no place for is in `extra`, of the prompt, the
/// item, the part or the call.
pub(crate) fn prompt_of(body: &Body<'_>) -> Result<Prompt, ApiError> {
    let mut prompt = Prompt::default();
    let options = &mut prompt.options;
    let (mut max_tokens, mut has_logprobs) = (None, None);
    for (name, json) in body.members() {
        match name {
            "messages" => prompt.input = items(json, &mut prompt.received)?,
            "tools" => {
                let tools = elements(name, json)?.into_iter();
                prompt.tools = tools.map(|tool| Tool::from_raw(flat_tool(tool))).collect();
            }
            "parallel_tool_calls" => prompt.parallel_tool_calls = read(name, json)?,
            "response_format" => {
                let format: Option<RawJson> = (json != "null")
                    .then(|| read(name, json))
                    .transpose()?
                    .flatten();
                prompt.output_format = format
                    .map(|format| output_format(name, format))
                    .transpose()?;
            }
            // The runtime streams whatever is said.
            "stream" => _ = read::<bool>(name, json)?,
            "tool_choice" => {
                options.tool_choice = read::<Value>(name, json)?.map(flat_choice);
            }
            "reasoning_effort" => {
                let effort = read(name, json)?;
                options.reasoning.get_or_insert_default().effort = effort;
            }
            "verbosity" => options.verbosity = read(name, json)?,
            "max_completion_tokens" => options.max_output_tokens = read(name, json)?,
            "max_tokens" => max_tokens = read(name, json)?,
            "logprobs" => has_logprobs = read::<bool>(name, json)?,
            _ => read_option(options, &mut prompt.received, name, json)?,
        }
    }
    options.max_output_tokens = options.max_output_tokens.or(max_tokens);
    if has_logprobs == Some(true) {
        options.include = Some(vec![super::body::INCLUDE_LOGPROBS.to_owned()]);
    }
    if options
        .reasoning
        .as_ref()
        .is_some_and(|reasoning| reasoning.effort.is_none())
    {
        options.reasoning = None;
    }
    Ok(prompt)
}

fn items(json: &str, received: &mut ReceivedBody) -> Result<Vec<ResponseItem>, ApiError> {
    let mut items = Items::default();
    for (index, message) in elements("messages", json)?.into_iter().enumerate() {
        let place = format!("messages[{index}]");
        if !message.starts_with('{') {
            return Err(wrong(&place, "it is no object"));
        }
        match read(&place, message) {
            Ok(fields) => items.add(&place, fields.unwrap_or_default())?,
            Err(error) => received.leave_unread(error),
        }
    }
    Ok(items.list)
}

#[derive(Default)]
struct Items {
    list: Vec<ResponseItem>,
    /// The ids of calls that are not of functions.
    custom: Vec<String>,
}

impl Items {
    fn push(&mut self, item: Value, extra: Map<String, Value>) {
        let Value::Object(mut fields) = item else {
            return;
        };
        for (name, value) in extra {
            fields.entry(name).or_insert(value);
        }
        let raw = RawJson::from(Value::Object(fields));
        self.list.push(ResponseItem::from_raw(raw));
    }

    fn add(&mut self, place: &str, mut fields: Map<String, Value>) -> Result<(), ApiError> {
        let role = text(place, "role", fields.remove("role"))?;
        // A null says as much as nothing, and the other API takes none.
        fields.retain(|_, value| !value.is_null());
        let content = fields.remove("content").unwrap_or_default();
        match &*role {
            "tool" => {
                let id = text(place, "tool_call_id", fields.remove("tool_call_id"))?;
                let kind = match self.custom.contains(&id) {
                    true => "custom_tool_call_output",
                    false => "function_call_output",
                };
                let output = or_empty(content_of(place, content, "input_text")?);
                self.push(
                    json!({"type": kind, "call_id": id, "output": output}),
                    fields,
                );
            }
            "assistant" => self.add_answer(place, content, fields)?,
            _ => {
                let content = or_empty(content_of(place, content, "input_text")?);
                self.push(
                    json!({"type": "message", "role": role, "content": content}),
                    fields,
                );
            }
        }
        Ok(())
    }

    fn add_answer(
        &mut self,
        place: &str,
        content: Value,
        mut fields: Map<String, Value>,
    ) -> Result<(), ApiError> {
        for name in ["reasoning_content", "reasoning"] {
            if let Some(Value::String(text)) = fields.get(name) {
                let content = json!([{"type": "reasoning_text", "text": text}]);
                let item = json!({"type": "reasoning", "summary": [], "content": content});
                fields.remove(name);
                self.push(item, Map::new());
            }
        }
        let calls = fields.remove("tool_calls").unwrap_or_default();
        let mut content = content_of(place, content, "output_text")?;
        if let Some(refusal) = fields
            .remove("refusal")
            .filter(|refusal| !refusal.is_null())
        {
            let mut parts = match content {
                Value::Array(parts) => parts,
                Value::String(text) if !text.is_empty() => {
                    vec![json!({"type": "output_text", "text": text})]
                }
                _ => Vec::new(),
            };
            parts.push(json!({"type": "refusal", "refusal": refusal}));
            content = parts.into();
        }
        if let Some(annotations) = fields.remove("annotations")
            && let Some(annotations) = annotate(&mut content, annotations)
        {
            fields.insert("annotations".to_owned(), annotations);
        }
        if !content.is_null() || !fields.is_empty() || calls.is_null() {
            let content = or_empty(content);
            self.push(
                json!({"type": "message", "role": "assistant", "content": content}),
                fields,
            );
        }
        let calls = match calls {
            Value::Null => Vec::new(),
            Value::Array(calls) => calls,
            _ => return Err(wrong(&format!("{place}.tool_calls"), "it is no list")),
        };
        for (index, call) in calls.into_iter().enumerate() {
            self.add_call(&format!("{place}.tool_calls[{index}]"), call)?;
        }
        Ok(())
    }

    fn add_call(&mut self, place: &str, call: Value) -> Result<(), ApiError> {
        let Value::Object(mut call) = call else {
            return Err(wrong(place, "it is no object"));
        };
        let id = text(place, "id", call.remove("id"))?;
        let kind = match call.remove("type") {
            None | Some(Value::Null) => "function".to_owned(),
            kind => text(place, "type", kind)?,
        };
        let (item, input) = match &*kind {
            "function" => ("function_call", "arguments"),
            "custom" => ("custom_tool_call", "input"),
            _ => {
                return Err(wrong(
                    &format!("{place}.type"),
                    "it is neither function nor custom",
                ));
            }
        };
        let inner = format!("{place}.{kind}");
        let Some(Value::Object(mut called)) = call.remove(&kind) else {
            return Err(wrong(&inner, "it is no object"));
        };
        let name = text(&inner, "name", called.remove("name"))?;
        let given = text(&inner, input, called.remove(input))?;
        if kind == "custom" {
            self.custom.push(id.clone());
        }
        self.push(
            json!({"type": item, "call_id": id, "name": name, input: given}),
            call,
        );
        Ok(())
    }
}

fn text(place: &str, name: &str, value: Option<Value>) -> Result<String, ApiError> {
    match value {
        Some(Value::String(text)) => Ok(text),
        None => Err(wrong(&format!("{place}.{name}"), "it is missing")),
        Some(_) => Err(wrong(&format!("{place}.{name}"), "it is no text")),
    }
}

fn or_empty(content: Value) -> Value {
    match content {
        Value::Null => "".into(),
        content => content,
    }
}

/// A message's content with its parts as the Responses API has them.
fn content_of(place: &str, content: Value, text_type: &str) -> Result<Value, ApiError> {
    match content {
        Value::Array(parts) => Ok(parts
            .into_iter()
            .map(|part| flat_part(part, text_type))
            .collect()),
        Value::Null | Value::String(_) => Ok(content),
        _ => Err(wrong(
            &format!("{place}.content"),
            "it is neither a text nor a list of parts",
        )),
    }
}

/// Puts what an answer's text refers to where the Responses API has it: with the text. Gives it back where there is none.
fn annotate(content: &mut Value, annotations: Value) -> Option<Value> {
    let annotations = match annotations {
        Value::Array(annotations) => annotations,
        other => return Some(other),
    };
    if annotations.is_empty() {
        return None;
    }
    if let Value::String(text) = content {
        *content = json!([{"type": "output_text", "text": text}]);
    }
    let parts = content.as_array_mut().into_iter().flatten();
    let mut texts = parts.filter(|part| part["type"] == "output_text");
    let Some(Value::Object(part)) = texts.next() else {
        return Some(annotations.into());
    };
    let annotations = annotations.into_iter().map(flat_annotation);
    match part.get_mut("annotations") {
        Some(Value::Array(known)) => known.extend(annotations),
        _ => _ = part.insert("annotations".to_owned(), annotations.collect()),
    }
    None
}

fn flat_part(part: Value, text_type: &str) -> Value {
    let Value::Object(mut fields) = part else {
        return part;
    };
    let kind = fields
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let flat = match (&*kind, fields.remove(&kind)) {
        ("text", Some(text)) => json!({"type": text_type, "text": text}),
        ("image_url", Some(Value::String(url))) => json!({"type": "input_image", "image_url": url}),
        ("image_url", Some(Value::Object(mut image))) => {
            let url = image.remove("url").unwrap_or_default();
            image.insert("image_url".to_owned(), url);
            image.insert("type".to_owned(), "input_image".into());
            image.into()
        }
        ("file", Some(Value::Object(mut file))) => {
            file.insert("type".to_owned(), "input_file".into());
            file.into()
        }
        (_, other) => {
            fields.extend(other.map(|other| (kind, other)));
            return fields.into();
        }
    };
    if let Value::Object(flat) = flat {
        fields.extend(flat);
    }
    fields.into()
}

/// A function or a custom tool without Chat's nesting. The text of its fields stays as it is.
fn flat_tool(tool: &str) -> RawJson {
    let flat = || {
        let mut fields: BTreeMap<String, &RawValue> = serde_json::from_str(tool).ok()?;
        let kind: String = serde_json::from_str(fields.get("type")?.get()).ok()?;
        if !matches!(&*kind, "function" | "custom") {
            return None;
        }
        let inner = fields.remove(&kind)?.get();
        fields.remove("type");
        let mut flat = format!("{{\"type\":\"{kind}\"");
        for (name, value) in Body::within(&kind, inner).ok()?.members() {
            fields.remove(name);
            let value = match name {
                "format" => flat_format(value),
                _ => value.to_owned(),
            };
            write!(flat, ",{}:{value}", Value::from(name)).ok()?;
        }
        for (name, value) in fields {
            write!(flat, ",{}:{value}", Value::from(name)).ok()?;
        }
        flat.push('}');
        RawJson::parse(&flat).ok()
    };
    flat().unwrap_or_else(|| RawJson::from_walked(tool))
}

/// A custom tool's grammar lies one level deeper in Chat.
fn flat_format(format: &str) -> String {
    let flat = || {
        let mut fields: Map<String, Value> = serde_json::from_str(format).ok()?;
        let Value::Object(mut grammar) = fields.remove("grammar")? else {
            return None;
        };
        grammar.insert("type".to_owned(), "grammar".into());
        Some(Value::from(grammar).to_string())
    };
    flat().unwrap_or_else(|| format.to_owned())
}

fn flat_choice(choice: Value) -> Value {
    let kind = choice["type"].as_str().unwrap_or_default().to_owned();
    match (&*kind, choice.get(&kind)) {
        ("function" | "custom", Some(named)) => json!({"type": kind, "name": named["name"]}),
        ("allowed_tools", Some(allowed)) => {
            let tools = allowed["tools"].as_array().into_iter().flatten();
            let tools: Vec<_> = tools.cloned().map(flat_choice).collect();
            json!({"type": kind, "mode": allowed["mode"], "tools": tools})
        }
        _ => choice,
    }
}

/// The schema of a form without Chat's nesting; another form stays as it is.
fn output_format(name: &str, format: RawJson) -> Result<OutputFormat, ApiError> {
    let fields = Body::within(name, format.get())?;
    let schema = fields.members().find(|(name, _)| *name == "json_schema");
    let flat = schema.and_then(|(_, schema)| {
        let fields = schema.strip_prefix('{')?;
        let comma = if fields.trim() == "}" { "" } else { "," };
        serde_json::from_str(&format!("{{\"type\":\"json_schema\"{comma}{fields}")).ok()
    });
    match flat {
        Some(schema @ OutputFormat::JsonSchema(_)) => Ok(schema),
        _ => Ok(read(name, format.get())?.unwrap_or(OutputFormat::Other(format))),
    }
}

#[cfg(test)]
mod tests;
