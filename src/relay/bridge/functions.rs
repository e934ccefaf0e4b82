//! The first form of tools in Chat: functions, of which a message calls one.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::refusal::invalid;
use crate::{
    ApiError,
    protocol::{
        Content, FunctionCallItem, MessageItem, Prompt, ResponseItem, Role, Tool,
        item::ToolCallOutputItem,
    },
};

/// Makes tools of functions, and of the calls and results before what they are today. Whether the answer's calls are to be told in that form too.
pub(super) fn lift(prompt: &mut Prompt) -> Result<bool, ApiError> {
    let extra = &mut prompt.options.extra;
    let functions = match extra.remove("functions") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(functions)) => functions,
        Some(_) => return Err(invalid("`functions` is no list", Some("functions"))),
    };
    let choice = extra
        .remove("function_call")
        .filter(|choice| !choice.is_null());
    lift_history(&mut prompt.input);
    if functions.is_empty() && choice.is_none() {
        return Ok(false);
    }
    if !prompt.tools.is_empty() || prompt.options.tool_choice.is_some() {
        return Err(invalid(
            "`functions` and `function_call` are the older form of `tools` and `tool_choice`: send one of the two",
            Some("functions"),
        ));
    }
    for function in functions {
        let Value::Object(mut fields) = function else {
            return Err(invalid(
                "one of the `functions` is no object",
                Some("functions"),
            ));
        };
        fields.insert("type".to_owned(), "function".into());
        prompt.tools.push(Tool::from(Value::Object(fields)));
    }
    prompt.options.tool_choice = match choice {
        Some(Value::Object(named)) if named.get("name").is_some_and(Value::is_string) => {
            Some(json!({"type": "function", "name": named["name"]}))
        }
        Some(Value::Object(_)) => {
            return Err(invalid(
                "`function_call` names no function",
                Some("function_call"),
            ));
        }
        other => other,
    };
    // A message has room for one call.
    prompt.parallel_tool_calls = Some(false);
    Ok(true)
}

/// Calls had no ids then: they get their place, and a result goes with the last call of its name.
fn lift_history(input: &mut Vec<ResponseItem>) {
    let mut calls = 0;
    let mut last_ids = HashMap::<String, String>::new();
    for item in std::mem::take(input) {
        let ResponseItem::Message(mut message) = item else {
            input.push(item);
            continue;
        };
        if message.role.as_str() == "function" {
            let name = message.extra.get("name").and_then(Value::as_str);
            input.push(match name.and_then(|name| last_ids.get(name)) {
                Some(id) => {
                    let mut output =
                        ToolCallOutputItem::new(message.content.unwrap_or(Content::from("")));
                    output.call_id = Some(id.clone());
                    ResponseItem::FunctionCallOutput(output)
                }
                None => ResponseItem::Message(message),
            });
            continue;
        }
        let called = (message.role == Role::Assistant)
            .then(|| message.extra.remove("function_call"))
            .flatten();
        let call = called.as_ref().and_then(Value::as_object).map(|called| {
            let id = format!("call_of_function_{calls}");
            calls += 1;
            let [name, arguments] = ["name", "arguments"].map(|name| text(called, name));
            last_ids.insert(name.clone(), id.clone());
            ResponseItem::FunctionCall(FunctionCallItem::new(name, arguments, id))
        });
        // What is no call is not forgotten: the server says what is wrong with it.
        if call.is_none()
            && let Some(odd) = called.filter(|called| !called.is_null())
        {
            message.extra.insert("function_call".to_owned(), odd);
        }
        if call.is_none() || !is_blank(&message) {
            input.push(ResponseItem::Message(message));
        }
        input.extend(call);
    }
}

fn text(fields: &Map<String, Value>, name: &str) -> String {
    let text = fields.get(name).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// Whether a message says nothing but the call that it held.
fn is_blank(message: &MessageItem) -> bool {
    let has_parts = message
        .content
        .as_ref()
        .is_some_and(|content| !content.parts().is_empty());
    !has_parts && message.text().is_empty() && message.extra.is_empty()
}
