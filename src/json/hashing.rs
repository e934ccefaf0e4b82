//! Hashes of JSON values that differ wherever the values do.

use std::hash::{Hash, Hasher};

use serde_json::{Map, Value};

/// Hashes a value. serde_json's own hash of a number is of its bits alone, so that -1 and the largest integer, or 0 and 0.0, are alike by it.
pub(crate) fn hash_value(value: &Value, hasher: &mut impl Hasher) {
    match value {
        Value::Null => 0u8.hash(hasher),
        Value::Bool(is_true) => (1u8, is_true).hash(hasher),
        Value::Number(number) => {
            (2u8, number.as_u64(), number.as_i64()).hash(hasher);
            let float = number.is_f64().then(|| number.as_f64()).flatten();
            float.map(f64::to_bits).hash(hasher);
        }
        Value::String(text) => (3u8, text).hash(hasher),
        Value::Array(values) => {
            (4u8, values.len()).hash(hasher);
            values.iter().for_each(|value| hash_value(value, hasher));
        }
        Value::Object(members) => {
            5u8.hash(hasher);
            hash_members(members, hasher);
        }
    }
}

pub(crate) fn hash_members(members: &Map<String, Value>, hasher: &mut impl Hasher) {
    members.len().hash(hasher);
    for (name, value) in members {
        name.hash(hasher);
        hash_value(value, hasher);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use foldhash::quality::FixedState;

    use super::*;

    #[test]
    fn what_differs_has_another_hash_and_numbers_do_by_their_kind() {
        let texts = [
            "null",
            "true",
            "false",
            "0",
            "0.0",
            "-0.0",
            "1",
            "1.0",
            "-1",
            "18446744073709551615",
            "4607182418800017408",
            "\"\"",
            "\"1\"",
            "[]",
            "[[]]",
            "[[],[]]",
            "[1,2]",
            "[12]",
            "{}",
            "[{}]",
            "{\"a\":1}",
            "{\"a\":1.0}",
            "{\"a\":{}}",
            "{\"a\":[]}",
            "{\"a\":null}",
            "{\"a\":\"b\"}",
            "{\"ab\":\"\"}",
        ];
        let hashes = texts.map(|text| {
            let mut hasher = FixedState::default().build_hasher();
            hash_value(&serde_json::from_str(text).unwrap(), &mut hasher);
            hasher.finish()
        });
        for (at, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..at].contains(hash), "{}", texts[at]);
        }
    }
}
