//! What a Chat server wants back of its reasoning, carried by a client that stores nothing.
//!
//! It travels in the `encrypted_content` of our reasoning items, as JSON behind a mark and its provider's name, and is given to that
//! provider alone.

use serde_json::{Map, Value, json};

use super::refusal::invalid;
use crate::{
    ApiError,
    protocol::{ContentPart, ReasoningItem, ResponseItem},
};

const MARK: &str = "relay1:";
const SUMMARY_MARK: &str = "relay1-summary:";

/// A reasoning item with all that it is in `encrypted_content`.
pub(super) fn pack(item: &ResponseItem, provider: &str) -> Option<ResponseItem> {
    let ResponseItem::Reasoning(reasoning) = item else {
        return None;
    };
    let text = reasoning.content_text();
    if (text.is_empty() && reasoning.extra.is_empty()) || reasoning.encrypted_content.is_some() {
        return None;
    }
    let sealed = json!({"provider": provider, "text": text, "extra": reasoning.extra});
    let mut packed = reasoning.clone();
    packed.extra = Map::new();
    packed.encrypted_content = Some(format!("{MARK}{sealed}"));
    packed.summary.get_or_insert_default();
    Some(ResponseItem::Reasoning(packed))
}

/// Opens what this provider sealed. What another did is left out and named.
pub(super) fn unpack(input: &mut Vec<ResponseItem>, provider: &str, dropped: &mut Vec<String>) {
    input.retain_mut(|item| {
        let ResponseItem::Reasoning(reasoning) = item else {
            return true;
        };
        let Some(sealed) = reasoning.encrypted_content.take() else {
            return true;
        };
        let opened = sealed
            .strip_prefix(MARK)
            .and_then(|json| serde_json::from_str::<Value>(json).ok());
        match opened {
            Some(mut opened) if opened["provider"] == provider => {
                let mut made =
                    ReasoningItem::from_text(opened["text"].as_str().unwrap_or_default());
                if made.content_text().is_empty() {
                    made.content = None::<Vec<ContentPart>>;
                }
                if let Value::Object(extra) = opened["extra"].take() {
                    made.extra = extra;
                }
                *reasoning = made;
                true
            }
            _ => {
                dropped.push("reasoning.encrypted_content".to_owned());
                false
            }
        }
    });
}

/// What is sealed in an item.
pub(in crate::relay) fn text(item: &ResponseItem) -> Option<&str> {
    match item {
        ResponseItem::Reasoning(reasoning) => reasoning.encrypted_content.as_deref(),
        ResponseItem::Compaction(compaction) | ResponseItem::ContextCompaction(compaction) => {
            compaction.encrypted_content.as_deref()
        }
        _ => None,
    }
}

/// Leaves out what a Responses server can't read, and names it: what was sealed here for a Chat server, and where its maker is another server or key all
/// reasoning that is sealed or stands there alone, and the ids of all items. A summary of ours is a text.
pub(in crate::relay) fn leave_out(
    input: &mut Vec<ResponseItem>,
    is_elsewhere: bool,
    dropped: &mut Vec<String>,
) -> Result<(), ApiError> {
    for item in &mut *input {
        if let ResponseItem::Compaction(compaction) | ResponseItem::ContextCompaction(compaction) =
            item
        {
            let sealed = compaction.encrypted_content.as_deref().unwrap_or_default();
            match open_summary(sealed) {
                Some(summary) => *item = told(summary),
                None if is_elsewhere => {
                    return Err(invalid(
                        "a `compaction` item can be read by the server alone that made it",
                        Some("input"),
                    ));
                }
                None => {}
            }
        }
    }
    input.retain(|item| {
        let ResponseItem::Reasoning(reasoning) = item else {
            return true;
        };
        let name = match &reasoning.encrypted_content {
            Some(sealed) if is_elsewhere || sealed.starts_with(MARK) => {
                "reasoning.encrypted_content"
            }
            None if is_elsewhere && reasoning.content_text().is_empty() => "reasoning",
            _ => return true,
        };
        dropped.push(name.to_owned());
        false
    });
    if is_elsewhere {
        for item in &mut *input {
            let without_id = serde_json::to_value(&*item).ok().and_then(|mut value| {
                value.as_object_mut()?.remove("id")?;
                serde_json::from_value(value).ok()
            });
            *item = without_id.unwrap_or_else(|| item.clone());
        }
    }
    Ok(())
}

/// A summary as the conversation that it stands for.
pub(super) fn told(summary: &str) -> ResponseItem {
    ResponseItem::user_text(format!("The conversation before, summarized:\n{summary}"))
}

/// The item that stands for a summary.
pub(super) fn seal_summary(summary: &str) -> Value {
    json!({"type": "compaction", "encrypted_content": format!("{SUMMARY_MARK}{summary}")})
}

/// The summary that an item of ours stands for.
pub(super) fn open_summary(sealed: &str) -> Option<&str> {
    sealed.strip_prefix(SUMMARY_MARK)
}
