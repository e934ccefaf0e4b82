//! What an answer is so far: the response object, read from the blocks that its clients were sent.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    super::{
        answers::{Answer, End},
        body,
    },
    cursor::data_of,
};

/// The closing object of a Responses answer, or what can be told of one that has none yet.
pub(in crate::relay) fn object_of(answer: &Answer, blocks: &[Bytes]) -> Value {
    object_with(answer, blocks, answer.end_so_far())
}

/// The same of one of which it is known how it ended.
pub(in crate::relay) fn object_with(answer: &Answer, blocks: &[Bytes], end: Option<End>) -> Value {
    let mut object = Value::Null;
    let mut items: Vec<Value> = Vec::new();
    let mut is_closed = false;
    for block in blocks {
        let data = data_of(block).and_then(|data| serde_json::from_slice(&data).ok());
        let Some(Value::Object(mut event)) = data else {
            continue;
        };
        let kind = event
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        if let Some(response @ Value::Object(_)) = event.get_mut("response") {
            object = response.take();
            is_closed = matches!(
                kind.strip_prefix("response."),
                Some("completed" | "incomplete" | "failed" | "cancelled" | "done")
            );
        } else {
            apply(&mut items, &kind, &mut event);
        }
    }
    let members = match &mut object {
        Value::Object(members) => members,
        other => {
            *other = bare(answer);
            match other {
                Value::Object(members) => members,
                _ => return object,
            }
        }
    };
    let has_output = members
        .get("output")
        .and_then(Value::as_array)
        .is_some_and(|output| !output.is_empty());
    if !has_output {
        members.insert("output".to_owned(), items.into());
    }
    if end == Some(End::Cancelled) {
        // A stream has no other event for that than one that fails.
        members.insert("error".to_owned(), Value::Null);
        members.insert("status".to_owned(), End::Cancelled.as_str().into());
    } else if !is_closed {
        let status = end.map_or("in_progress", End::as_str);
        members.insert("status".to_owned(), status.into());
    }
    object
}

fn bare(answer: &Answer) -> Value {
    let created = answer.began_at().duration_since(std::time::UNIX_EPOCH);
    json!({
        "id": answer.server_id().unwrap_or(answer.id()),
        "object": "response",
        "created_at": created.map_or(0, |since| since.as_secs()),
        "status": "queued",
        "model": answer.about().model,
        "error": null,
        "incomplete_details": null,
        "output": [],
        "usage": null,
    })
}

/// Where an event stands: the named array of an item, at an index.
fn part<'a>(item: &'a mut Value, list: &str, index: &Value) -> Option<&'a mut Value> {
    let parts = item
        .as_object_mut()?
        .entry(list)
        .or_insert_with(|| json!([]))
        .as_array_mut()?;
    let index = index
        .as_u64()
        .and_then(|index| usize::try_from(index).ok())?;
    // One more than there are: what a stranger counts makes no list long.
    if index == parts.len() {
        parts.push(json!({}));
    }
    parts.get_mut(index)
}

fn append(to: &mut Value, member: &str, delta: &Value) {
    if let (Some(to), Some(delta)) = (to.as_object_mut(), delta.as_str())
        && let Value::String(text) = to.entry(member).or_insert_with(|| json!(""))
    {
        text.push_str(delta);
    }
}

fn apply(items: &mut Vec<Value>, kind: &str, event: &mut Map<String, Value>) {
    let mut take = |member: &str| event.remove(member).unwrap_or(Value::Null);
    let Some(kind) = kind.strip_prefix("response.") else {
        return;
    };
    let index = take("output_index")
        .as_u64()
        .and_then(|index| usize::try_from(index).ok());
    if let "output_item.added" | "output_item.done" = kind {
        let item = take("item");
        let same =
            |other: &&mut Value| item.get("id").is_some() && other.get("id") == item.get("id");
        match index {
            Some(index) if index < items.len() => items[index] = item,
            _ => match items.iter_mut().find(same) {
                Some(known) => *known = item,
                None => items.push(item),
            },
        }
        return;
    }
    let id = take("item_id");
    let by_id = || items.iter().position(|item| item.get("id") == Some(&id));
    let Some(item) = index.or_else(by_id).and_then(|index| items.get_mut(index)) else {
        return;
    };
    let (list, index) = match take("summary_index") {
        Value::Null => ("content", take("content_index")),
        index => ("summary", index),
    };
    match kind {
        "content_part.added"
        | "content_part.done"
        | "reasoning_summary_part.added"
        | "reasoning_summary_part.done" => {
            let new = take("part");
            if let Some(part) = part(item, list, &index) {
                *part = new;
            }
        }
        "output_text.delta"
        | "reasoning_text.delta"
        | "reasoning_summary_text.delta"
        | "refusal.delta" => {
            let (type_of_part, member) = match kind {
                "output_text.delta" => ("output_text", "text"),
                "reasoning_text.delta" => ("reasoning_text", "text"),
                "refusal.delta" => ("refusal", "refusal"),
                _ => ("summary_text", "text"),
            };
            if let Some(part) = part(item, list, &index) {
                // Not every server announces its parts.
                if let Some(members) = part.as_object_mut() {
                    members.entry("type").or_insert_with(|| type_of_part.into());
                }
                append(part, member, &take("delta"));
            }
        }
        "function_call_arguments.delta" => append(item, "arguments", &take("delta")),
        "custom_tool_call_input.delta" => append(item, "input", &take("delta")),
        _ => {}
    }
}

/// The items that a request brought, each with an id.
pub(in crate::relay) fn input_items(answer: &Answer, request: &[u8]) -> Vec<Value> {
    let items = match body::members(request).remove("input") {
        Some(Value::String(text)) => {
            vec![json!({"type": "message", "role": "user", "content": text})]
        }
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    };
    let digits = answer.id().trim_start_matches("relay_").to_owned();
    let items = items.into_iter().enumerate().map(|(index, mut item)| {
        if let Value::Object(members) = &mut item {
            members.entry("type").or_insert_with(|| "message".into());
            let kind = if members["type"] == "message" {
                "msg"
            } else {
                "item"
            };
            members
                .entry("id")
                .or_insert_with(|| format!("{kind}_{digits}_{index}").into());
            if kind == "msg" {
                members
                    .entry("status")
                    .or_insert_with(|| "completed".into());
                let is_answer = members.get("role").is_some_and(|role| role == "assistant");
                let part = if is_answer {
                    "output_text"
                } else {
                    "input_text"
                };
                if let Some(content) = members.get_mut("content")
                    && content.is_string()
                {
                    *content = json!([{"type": part, "text": content.take()}]);
                }
            }
        }
        item
    });
    items.collect()
}
