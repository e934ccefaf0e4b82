//! Items are compared by their hashes.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::FixedState;
use serde_json::{Map, Value};

use crate::{
    json::{
        members::{Member, Members},
        tree::tree,
    },
    wire::responses::decode::item::{ItemView, MAX_COMPARED_BYTES},
};

/// Of an item as it is written.
pub(super) fn hash(json: &str) -> u64 {
    FixedState::default().hash_one(json)
}

/// Of an item's texts and what is called with them. Of an item without any, of all but its ids and its status.
pub(super) fn hash_of_said(json: &str, view: &ItemView<'_>) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    view.name.hash(&mut hasher);
    if view.input_member().is_some() {
        // Written anew, it is the same.
        let input = view.texts.first().map_or("", |text| text.text.trim());
        let is_short = input.len() <= MAX_COMPARED_BYTES;
        match is_short.then(|| tree(input)).flatten() {
            Some(value) => value.hash(&mut hasher),
            None if input.is_empty() => Value::Object(Map::new()).hash(&mut hasher),
            None => input.hash(&mut hasher),
        }
        return hasher.finish();
    }
    for text in &view.texts {
        (text.index, &*text.text).hash(&mut hasher);
    }
    if view.texts.iter().all(|text| text.text.is_empty()) {
        let is_content = |name: &str| !matches!(name, "id" | "call_id" | "status");
        for Member { name, value } in Members::of(json).filter(|member| is_content(member.name)) {
            (name, &json[value]).hash(&mut hasher);
        }
    }
    hasher.finish()
}
