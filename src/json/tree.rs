//! JSON as a tree, where that is of use.

use memchr::memchr3_iter;
use serde_json::Value;

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

#[cfg(test)]
mod tests {
    use super::*;

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
