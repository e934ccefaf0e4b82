//! JSON as a tree, where that is of use.

use memchr::memchr3_iter;
use serde_json::Value;

use super::{
    members::{Member, Members},
    walk::{elements, string_end},
};

/// How many values a text may hold that is read into a tree: errors, usage and limits have some dozens. A value takes up to a
/// hundred times the bytes that it is written with, so a bound on the text is none on its tree.
const MAX_VALUES: usize = 50_000;

/// Reads a text into a tree. `None` for one that is no JSON, or that would be more than is ever looked at.
pub(crate) fn tree(json: &str) -> Option<Value> {
    // Each value but the first stands behind one of these; some stand in texts.
    let beginnings = memchr3_iter(b',', b'[', b'{', json.as_bytes());
    let is_small = beginnings.take(MAX_VALUES).count() < MAX_VALUES;
    is_small.then(|| serde_json::from_str(json).ok())?
}

/// The most memory that the values of items may take beside their texts: a budget for what is kept, where [`MAX_VALUES`] is one for what
/// is looked at. Some twenty thousand messages have room in it.
pub(crate) const MAX_TREE_BYTES: usize = 64 << 20;

/// What a value costs at most, by what begins it: an object has a node of its map, or is an item; an array has room for some
/// elements. What is behind a comma has a place in either, and an allocation for its text.
const OBJECT_BYTES: usize = 1024;
const ARRAY_BYTES: usize = 256;
pub(crate) const NEXT_BYTES: usize = 192;

/// Whether a tree of a text stays within [`MAX_TREE_BYTES`].
pub(crate) fn tree_fits(json: &str) -> bool {
    json.len() < MAX_TREE_BYTES / OBJECT_BYTES || tree_bytes(json) <= MAX_TREE_BYTES
}

/// Whether what is read of an item, or of a list of them, stays within [`MAX_TREE_BYTES`].
pub(crate) fn items_fit(json: &str) -> bool {
    tree_fits(json) || items_bytes(json.trim_start(), 2) <= MAX_TREE_BYTES
}

/// What all of a text may take.
pub(crate) fn tree_bytes(json: &str) -> usize {
    let json = json.as_bytes();
    let (mut at, mut bytes) = (0, 0);
    while let Some(byte) = json.get(at) {
        at += 1;
        bytes += match byte {
            b'{' => OBJECT_BYTES,
            b'[' => ARRAY_BYTES,
            b',' => NEXT_BYTES,
            b'"' => {
                // What has no end is not JSON, and not read.
                at = string_end(json, at).unwrap_or(json.len());
                0
            }
            _ => 0,
        };
    }
    bytes
}

/// The same of an item, a part of one, or a list of either, without what parts keep as text: the log probabilities of a long answer have
/// more values than any item. `depth` is how many lists may yet be within.
fn items_bytes(json: &str, depth: usize) -> usize {
    match json.as_bytes().first() {
        Some(b'[') if depth > 0 => {
            let elements = elements(json);
            let bytes = elements.map(|element| NEXT_BYTES + items_bytes(element, depth - 1));
            ARRAY_BYTES + bytes.sum::<usize>()
        }
        Some(b'{') => {
            let mut members = Members::of(json);
            let kind = members.find(|member| member.name == "type");
            let kind = kind.map(|kind| &json[kind.value]);
            let bytes = Members::of(json).map(|Member { name, value }| {
                let value = &json[value];
                let bytes = match (kind, name) {
                    (Some("\"output_text\""), "annotations" | "logprobs") => 0,
                    (None | Some("\"message\"" | "\"reasoning\""), "content") if depth > 0 => {
                        items_bytes(value, depth)
                    }
                    _ => tree_bytes(value),
                };
                NEXT_BYTES + bytes
            });
            OBJECT_BYTES + bytes.sum::<usize>()
        }
        _ => tree_bytes(json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_strings_costs_nothing() {
        let most = MAX_TREE_BYTES / OBJECT_BYTES;
        for (element, fits) in [
            ("{}", false),
            ("[]", true),
            ("\"{},\"", true),
            (r#""\"{{{""#, true),
        ] {
            let json = format!("[{}]", vec![element; most].join(","));
            assert_eq!(items_fit(&json), fits, "{element}");
        }
        assert!(items_fit(&format!("\"{}", "{".repeat(2 * most))));
    }

    #[test]
    fn what_a_part_keeps_as_text_costs_nothing_and_all_else_does() {
        let log = vec![r#"{"token":"a"}"#; MAX_TREE_BYTES / OBJECT_BYTES].join(",");
        let part = |kind| format!(r#"{{"type":"{kind}","text":"a","logprobs":[{log}]}}"#);
        let [kept, tree] = ["output_text", "input_text"].map(part);
        for (item, fits) in [
            (format!(r#"{{"type":"message","content":[{kept}]}}"#), true),
            (format!(r#"{{"role":"user","content":[{kept}]}}"#), true),
            (format!(r#"{{"type":"message","content":[{tree}]}}"#), false),
            (format!(r#"{{"type":"message","x":[{kept}]}}"#), false),
            (
                format!(r#"{{"type":"compaction","content":[{kept}]}}"#),
                false,
            ),
            (kept, true),
            (tree, false),
        ] {
            let list = format!(" [{item}]");
            assert_eq!(
                (items_fit(&item), items_fit(&list)),
                (fits, fits),
                "{}",
                &item[..60]
            );
        }
    }

    #[test]
    fn a_tree_of_too_many_values_is_not_made() {
        for (count, is_read) in [(1, true), (MAX_VALUES - 1, true), (MAX_VALUES, false)] {
            let json = format!("[{}]", vec!["1"; count].join(","));
            assert_eq!(tree(&json).is_some(), is_read, "{count}");
        }
        assert_eq!(tree("{"), None);
        assert_eq!(tree("\"a,b\""), Some("a,b".into()));
    }
}
