//! What a Chat server wants back of its reasoning, carried by a client that stores nothing.
//!
//! It travels in the `encrypted_content` of our reasoning items, as JSON behind a mark and its provider's name, and is given to that
//! provider alone.

use serde_json::{Map, Value, json};

use crate::protocol::{ContentPart, ReasoningItem, ResponseItem};

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

/// The item that stands for a summary.
pub(super) fn seal_summary(summary: &str) -> Value {
    json!({"type": "compaction", "encrypted_content": format!("{SUMMARY_MARK}{summary}")})
}

/// The summary that an item of ours stands for.
pub(super) fn open_summary(sealed: &str) -> Option<&str> {
    sealed.strip_prefix(SUMMARY_MARK)
}
