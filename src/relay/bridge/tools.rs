//! Tools as functions, and their calls as what they were.

use std::collections::BTreeMap;

use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

use super::refusal::invalid;
use crate::{
    ApiError,
    protocol::{
        FunctionCallItem, Prompt, ResponseItem, Tool,
        item::{CustomToolCallItem, ToolSearchCallItem},
    },
};

/// How long a function's name may be.
const MAX_NAME_CHARS: usize = 64;

/// How many hexadecimal digits of a hash end a name that is cut.
const HASH_CHARS: usize = 8;

const TOOL_SEARCH: &str = "tool_search";

/// What a function is to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    kind: Kind,
    name: String,
    namespace: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Function,
    Custom,
    Search,
}

/// The functions of a request that are something else to its client, by the names that the server knows.
#[derive(Debug, Default)]
pub(super) struct Table(BTreeMap<String, Origin>);

impl Table {
    /// Makes functions of a request's tools. For Chat, what is none and can be none is left out and named.
    pub(super) fn lower(
        prompt: &mut Prompt,
        is_for_chat: bool,
        dropped: &mut Vec<String>,
    ) -> Result<Self, ApiError> {
        let mut table = Self::default();
        let mut tools = Vec::new();
        let mut left_out = Vec::new();
        let given: Vec<Value> = std::mem::take(&mut prompt.tools)
            .iter()
            .map(|tool| tool.raw().to_value())
            .collect();
        // Tools that a search found, or that came later, are offered too.
        let later = prompt.input.iter().filter_map(|item| match item {
            ResponseItem::ToolSearchOutput(found) => found.tools.as_ref(),
            ResponseItem::AdditionalTools(more) => more.tools.as_ref(),
            _ => None,
        });
        let later = later.filter_map(|tools| match tools.to_value() {
            Value::Array(tools) if is_for_chat => Some(tools),
            _ => None,
        });
        let mut all: Vec<Value> = given;
        for tool in later.flatten() {
            if !all.contains(&tool) {
                all.push(tool);
            }
        }
        for tool in all {
            let kind = tool["type"].as_str().unwrap_or_default().to_owned();
            match &*kind {
                "namespace" => {
                    let namespace = tool["name"].as_str().unwrap_or_default();
                    for inner in tool["tools"].as_array().into_iter().flatten() {
                        table.add(inner, Some(namespace), &mut tools)?;
                    }
                }
                "function" | "custom" => table.add(&tool, None, &mut tools)?,
                TOOL_SEARCH if is_for_chat && tool["execution"] == "client" => {
                    let origin = Origin {
                        kind: Kind::Search,
                        name: TOOL_SEARCH.to_owned(),
                        namespace: None,
                    };
                    table.name(TOOL_SEARCH, origin)?;
                    let parameters = tool.get("parameters").filter(|it| it.is_object()).cloned();
                    let parameters = parameters.unwrap_or_else(|| {
                        json!({"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]})
                    });
                    let description = tool["description"].as_str().unwrap_or("Finds more tools.");
                    tools.push(Tool::function(TOOL_SEARCH, description, parameters));
                }
                "local_shell" if is_for_chat => {
                    let command = json!({"type": "array", "items": {"type": "string"}});
                    let parameters = json!({"type": "object", "properties": {"command": command}, "required": ["command"]});
                    tools.push(Tool::function(
                        "local_shell",
                        "Runs a command on the user's machine.",
                        parameters,
                    ));
                }
                _ if !is_for_chat => tools.push(Tool::from(tool)),
                _ => left_out.push(kind),
            }
        }
        if is_for_chat {
            let choice = prompt.options.tool_choice.as_ref();
            let needed = choice.and_then(|choice| choice["type"].as_str());
            if let Some(kind) = needed.filter(|needed| left_out.iter().any(|kind| kind == needed)) {
                let message = format!(
                    "`tool_choice` needs the tool `{kind}`, which this model's server has no form for"
                );
                return Err(invalid(&message, Some("tool_choice")));
            }
        }
        dropped.append(&mut left_out);
        prompt.tools = tools;
        if let Some(choice) = &mut prompt.options.tool_choice {
            table.lower_choice(choice);
        }
        Ok(table)
    }

    fn add(
        &mut self,
        tool: &Value,
        namespace: Option<&str>,
        tools: &mut Vec<Tool>,
    ) -> Result<(), ApiError> {
        let name = tool["name"].as_str().unwrap_or_default();
        let joined = joined(namespace, name);
        let is_custom = tool["type"] == "custom";
        let kind = if is_custom {
            Kind::Custom
        } else {
            Kind::Function
        };
        let namespace = namespace.map(str::to_owned);
        self.name(
            &joined,
            Origin {
                kind,
                name: name.to_owned(),
                namespace,
            },
        )?;
        if is_custom {
            let mut description = tool["description"].as_str().unwrap_or_default().to_owned();
            if let Some(grammar) = tool["format"]["definition"].as_str() {
                let syntax = tool["format"]["syntax"].as_str().unwrap_or("a");
                description +=
                    &format!("\n\n`input` must follow this {syntax} grammar:\n{grammar}");
            }
            let input = json!({"type": "string", "description": "The whole input, as free text."});
            let parameters = json!({"type": "object", "properties": {"input": input}, "required": ["input"], "additionalProperties": false});
            tools.push(Tool::function(&joined, &description, parameters));
            return Ok(());
        }
        let mut fields = tool.as_object().cloned().unwrap_or_default();
        fields.insert("type".to_owned(), "function".into());
        fields.insert("name".to_owned(), joined.into());
        fields.remove("defer_loading");
        tools.push(Tool::from(Value::Object(fields)));
        Ok(())
    }

    /// Enters a name, under which nothing else may be called.
    fn name(&mut self, joined: &str, origin: Origin) -> Result<(), ApiError> {
        match self.0.insert(joined.to_owned(), origin.clone()) {
            Some(other) if other != origin => {
                let message = format!(
                    "two of the tools are called `{joined}` for a server that knows functions alone: rename one"
                );
                Err(invalid(&message, Some("tools")))
            }
            _ => Ok(()),
        }
    }

    fn lower_choice(&self, choice: &mut Value) {
        let tools = choice.get_mut("tools").and_then(Value::as_array_mut);
        for tool in tools.into_iter().flatten() {
            self.lower_choice(tool);
        }
        let is_named = matches!(choice["type"].as_str(), Some("function" | "custom"));
        if let (true, Some(name)) = (is_named, choice["name"].as_str()) {
            *choice =
                json!({"type": "function", "name": joined(choice["namespace"].as_str(), name)});
        }
    }

    /// Whether a call's input is told when it is whole.
    pub(super) fn holds_input(&self, item: &ResponseItem) -> bool {
        match item {
            ResponseItem::FunctionCall(call) => self
                .0
                .get(&call.name)
                .is_some_and(|origin| origin.kind != Kind::Function),
            _ => false,
        }
    }

    /// Calls and results before, as the functions that they are now.
    pub(super) fn lower_history(&self, input: &mut [ResponseItem]) {
        for item in input {
            match item {
                ResponseItem::FunctionCall(call) => {
                    if let Some(namespace) = call.namespace.take() {
                        call.name = joined(Some(&namespace), &call.name);
                    }
                }
                ResponseItem::CustomToolCall(call) => {
                    let name = joined(call.namespace.as_deref(), &call.name);
                    let arguments = json!({"input": call.input}).to_string();
                    let mut lowered = FunctionCallItem::new(name, arguments, call.call_id.clone());
                    lowered.extra = std::mem::take(&mut call.extra);
                    *item = ResponseItem::FunctionCall(lowered);
                }
                ResponseItem::CustomToolCallOutput(output) => {
                    output.namespace = None;
                    *item = ResponseItem::FunctionCallOutput(output.clone());
                }
                ResponseItem::FunctionCallOutput(output) => output.namespace = None,
                ResponseItem::ToolSearchCall(search) if self.0.contains_key(TOOL_SEARCH) => {
                    let arguments = search
                        .arguments
                        .as_ref()
                        .map_or("{}", |arguments| arguments.get());
                    let id = search.call_id.clone().unwrap_or_default();
                    *item = ResponseItem::FunctionCall(FunctionCallItem::new(
                        TOOL_SEARCH,
                        arguments,
                        id,
                    ));
                }
                ResponseItem::ToolSearchOutput(found) if self.0.contains_key(TOOL_SEARCH) => {
                    let names =
                        self.found_names(found.tools.as_ref().map(|tools| tools.to_value()));
                    let text = match names.is_empty() {
                        true => "No tools were found.".to_owned(),
                        false => format!("These tools can be called now: {}.", names.join(", ")),
                    };
                    let id = found.call_id.clone().unwrap_or_default();
                    *item = ResponseItem::function_call_output(id, text);
                }
                _ => {}
            }
        }
    }

    fn found_names(&self, tools: Option<Value>) -> Vec<String> {
        let mut names = Vec::new();
        for tool in tools
            .as_ref()
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let name = tool["name"].as_str().unwrap_or_default();
            match tool["tools"].as_array() {
                Some(inner) => names.extend(
                    inner
                        .iter()
                        .map(|it| joined(Some(name), it["name"].as_str().unwrap_or_default())),
                ),
                None => names.push(name.to_owned()),
            }
        }
        names
    }

    /// A call as the client knows it; nothing where it is that already.
    pub(super) fn restored(&self, item: &ResponseItem) -> Option<ResponseItem> {
        let ResponseItem::FunctionCall(call) = item else {
            return None;
        };
        let origin = self.0.get(&call.name)?;
        match origin.kind {
            Kind::Function => {
                let namespace = origin.namespace.clone()?;
                let mut restored = call.clone();
                restored.name.clone_from(&origin.name);
                restored.namespace = Some(namespace);
                Some(ResponseItem::FunctionCall(restored))
            }
            Kind::Custom => {
                let input = free_text(&call.arguments);
                let mut restored =
                    CustomToolCallItem::new(origin.name.clone(), input, call.call_id.clone());
                restored.id = call
                    .id
                    .as_ref()
                    .map(|id| format!("ctc_{}", id.trim_start_matches("fc_")));
                restored.status.clone_from(&call.status);
                restored.namespace.clone_from(&origin.namespace);
                restored.extra = call.extra.clone();
                Some(ResponseItem::CustomToolCall(restored))
            }
            Kind::Search => {
                let mut restored = ToolSearchCallItem::new();
                let arguments: Option<Map<String, Value>> =
                    serde_json::from_str(&call.arguments).ok();
                restored.arguments = Some(Value::from(arguments.unwrap_or_default()).into());
                restored.call_id = Some(call.call_id.clone());
                restored.execution = Some("client".to_owned());
                restored.id = call
                    .id
                    .as_ref()
                    .map(|id| format!("tsc_{}", id.trim_start_matches("fc_")));
                restored.status.clone_from(&call.status);
                Some(ResponseItem::ToolSearchCall(restored))
            }
        }
    }
}

/// The free text in a function's arguments. A model that wrote no such JSON meant its words as they are.
fn free_text(arguments: &str) -> String {
    match serde_json::from_str::<Value>(arguments) {
        Ok(Value::Object(fields)) => match fields.get("input") {
            Some(Value::String(input)) => input.clone(),
            _ => arguments.to_owned(),
        },
        Ok(Value::String(text)) => text,
        _ => arguments.to_owned(),
    }
}

/// The name of a function in a namespace: cut, with a hash of all of it, where it is too long.
fn joined(namespace: Option<&str>, name: &str) -> String {
    let joined = match namespace.filter(|namespace| !namespace.is_empty()) {
        Some(namespace) => format!("{}__{name}", namespace.trim_end_matches("__")),
        None => name.to_owned(),
    };
    if joined.chars().count() <= MAX_NAME_CHARS {
        return joined;
    }
    let hash = digest(&SHA256, joined.as_bytes());
    let hash: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let start: String = joined
        .chars()
        .take(MAX_NAME_CHARS - HASH_CHARS - 1)
        .collect();
    format!("{start}_{}", &hash[..HASH_CHARS])
}
