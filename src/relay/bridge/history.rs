//! The conversation in the order that Chat servers insist on.

use std::collections::HashSet;

use crate::protocol::{
    Content, ContentPart, FunctionCallItem, MessageItem, Prompt, ResponseItem, Role,
    item::LocalShellAction,
};

/// What answers a call that nobody answered.
const ABORTED: &str = "aborted";

/// Puts each group of calls together, with a message of the assistant's between them in front and their results behind them; what
/// no message has a form for is left out and named.
pub(super) fn arrange(prompt: &mut Prompt, dropped: &mut Vec<String>) {
    let items = std::mem::take(&mut prompt.input);
    let mut items: Vec<_> = items
        .into_iter()
        .filter_map(|item| carried(item, dropped))
        .collect();
    let answered: Vec<_> = items
        .iter()
        .filter(|item| is_output(item))
        .cloned()
        .collect();
    let asked: HashSet<_> = items
        .iter()
        .filter(|item| is_call(item))
        .filter_map(ResponseItem::call_id)
        .map(str::to_owned)
        .collect();
    // A result goes with its call; one without is nothing that a server takes.
    items.retain(|item| match is_output(item) {
        true => {
            if !item.call_id().is_some_and(|id| asked.contains(id)) {
                dropped.push("function_call_output".to_owned());
            }
            false
        }
        false => true,
    });
    let mut arranged = Vec::with_capacity(items.len());
    let (mut said, mut calls) = (Vec::new(), Vec::new());
    for item in items {
        match &item {
            item if is_call(item) => calls.push(item.clone()),
            ResponseItem::Message(message)
                if message.role == Role::Assistant && !calls.is_empty() =>
            {
                said.push(item);
            }
            ResponseItem::Reasoning(_) if !calls.is_empty() => {
                // Reasoning of the next step: the group before it is over once it has results.
                let has_result = |call: &ResponseItem| {
                    answered
                        .iter()
                        .any(|output| output.call_id() == call.call_id())
                };
                if calls.iter().all(has_result) {
                    flush(&mut arranged, &mut said, &mut calls, &answered);
                    arranged.push(item);
                } else {
                    said.push(item);
                }
            }
            _ => {
                flush(&mut arranged, &mut said, &mut calls, &answered);
                arranged.push(item);
            }
        }
    }
    flush(&mut arranged, &mut said, &mut calls, &answered);
    prompt.input = arranged;
}

fn flush(
    arranged: &mut Vec<ResponseItem>,
    said: &mut Vec<ResponseItem>,
    calls: &mut Vec<ResponseItem>,
    answered: &[ResponseItem],
) {
    arranged.append(said);
    let mut outputs = Vec::new();
    let mut images = Vec::new();
    for call in &*calls {
        let id = call.call_id().unwrap_or_default().to_owned();
        let output = answered.iter().find(|output| output.call_id() == Some(&id));
        let mut output = output
            .cloned()
            .unwrap_or_else(|| ResponseItem::function_call_output(id, ABORTED));
        if let ResponseItem::FunctionCallOutput(output) = &mut output {
            images.extend(take_images(&mut output.output));
        }
        outputs.push(output);
    }
    arranged.append(calls);
    arranged.append(&mut outputs);
    if !images.is_empty() {
        arranged.push(ResponseItem::Message(MessageItem::new(Role::User, images)));
    }
}

/// What Chat takes in a message of the user alone.
fn take_images(output: &mut Content) -> Vec<ContentPart> {
    let Content::Parts(parts) = output else {
        return Vec::new();
    };
    let is_text = |part: &ContentPart| part.text().is_some();
    let images: Vec<_> = parts
        .iter()
        .filter(|part| !is_text(part))
        .cloned()
        .collect();
    parts.retain(is_text);
    if parts.is_empty() && !images.is_empty() {
        *output = Content::from("The result follows as an image or a file.");
    }
    images
}

fn is_call(item: &ResponseItem) -> bool {
    matches!(item, ResponseItem::FunctionCall(_))
}

fn is_output(item: &ResponseItem) -> bool {
    matches!(item, ResponseItem::FunctionCallOutput(_))
}

/// An item in a form that a message has.
fn carried(item: ResponseItem, dropped: &mut Vec<String>) -> Option<ResponseItem> {
    match item {
        ResponseItem::Message(_)
        | ResponseItem::Reasoning(_)
        | ResponseItem::FunctionCall(_)
        | ResponseItem::FunctionCallOutput(_) => Some(item),
        // The first form of the shell tool is a function elsewhere.
        ResponseItem::LocalShellCall(call) => {
            let LocalShellAction::Exec(exec) = &call.action else {
                return None;
            };
            let arguments = serde_json::json!({"command": exec.command}).to_string();
            let id = call.call_id.or(call.id).unwrap_or_default();
            Some(ResponseItem::FunctionCall(FunctionCallItem::new(
                "local_shell",
                arguments,
                id,
            )))
        }
        ResponseItem::LocalShellCallOutput(output) => {
            let id = output.call_id.or(output.id).unwrap_or_default();
            Some(ResponseItem::function_call_output(id, output.output))
        }
        // What a search found is said by the answer after it.
        ResponseItem::GhostSnapshot(_) => None,
        other => {
            let kind = other.item_type().unwrap_or_else(|| "message".to_owned());
            // One that can't be read is refused when it is written: the conversation is another without it.
            if matches!(
                &*kind,
                "message"
                    | "function_call"
                    | "function_call_output"
                    | "custom_tool_call"
                    | "custom_tool_call_output"
            ) {
                return Some(other);
            }
            dropped.push(kind);
            None
        }
    }
}
