//! The conversation in a body, and the ids of its items.

use serde::{Serialize, Serializer, ser::SerializeSeq};
use serde_json::Value;

use crate::protocol::ResponseItem;

/// `input`: the conversation, with or without the ids of its items.
pub(super) struct Input<'a> {
    pub(super) items: &'a [ResponseItem],
    pub(super) with_ids: bool,
}

impl Serialize for Input<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.with_ids {
            return self.items.serialize(serializer);
        }
        let mut items = serializer.serialize_seq(None)?;
        for item in self.items.iter().filter(|item| !is_only_an_id(item)) {
            match without_id(item) {
                Some(item) => items.serialize_element(&item)?,
                None => items.serialize_element(item)?,
            }
        }
        items.end()
    }
}

/// Whether nothing is left of an item without its id.
fn is_only_an_id(item: &ResponseItem) -> bool {
    match item {
        ResponseItem::Reasoning(reasoning) => {
            reasoning.encrypted_content.is_none()
                && reasoning.content.as_ref().is_none_or(Vec::is_empty)
                && reasoning.extra.values().all(Value::is_null)
        }
        _ => false,
    }
}

/// A copy without its id of an item that has one and can do without.
fn without_id(item: &ResponseItem) -> Option<ResponseItem> {
    item.id()?;
    let mut item = item.clone();
    let id = match &mut item {
        ResponseItem::Message(item) => &mut item.id,
        ResponseItem::Reasoning(item) => &mut item.id,
        ResponseItem::FunctionCall(item) => &mut item.id,
        ResponseItem::CustomToolCall(item) => &mut item.id,
        ResponseItem::LocalShellCall(item) => &mut item.id,
        ResponseItem::WebSearchCall(item) => &mut item.id,
        _ => return None,
    };
    *id = None;
    Some(item)
}
