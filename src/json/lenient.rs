//! Reading JSON that servers get nearly right.

use std::borrow::Cow;

use memchr::memchr;
use serde_json::Value;

use super::escapes::{unescape, without_lone_surrogates};

/// The text of a JSON string; nothing for a value of another kind. `None` for a string with half a surrogate pair, of which the
/// other half may be elsewhere.
#[inline]
pub(crate) fn text_of(json: &str) -> Option<Option<Cow<'_, str>>> {
    let inside = json
        .strip_prefix('"')
        .and_then(|json| json.strip_suffix('"'));
    Some(match inside {
        None => None,
        Some(inside) if memchr(b'\\', inside.as_bytes()).is_none() => Some(Cow::Borrowed(inside)),
        Some(inside) => {
            let mut text = String::with_capacity(inside.len());
            Some(Cow::Owned(unescape(inside, &mut text).then_some(text)?))
        }
    })
}

/// The same, where half a surrogate pair becomes U+FFFD.
#[inline]
pub(crate) fn string(json: &str) -> Option<Cow<'_, str>> {
    text_of(json).unwrap_or_else(|| serde_json::from_str(&without_lone_surrogates(json)).ok())
}

/// A whole number, also when written as a float or a string; `None` for anything else.
#[inline]
pub(crate) fn count(json: &str) -> Option<u64> {
    json.parse().ok().or_else(|| {
        let text = string(json);
        let number = text.as_deref().unwrap_or(json).trim();
        let float = || {
            number
                .parse()
                .ok()
                .filter(|float: &f64| float.is_finite() && *float >= 0.0 && float.fract() == 0.0)
        };
        number.parse().ok().or_else(|| Some(float()? as u64))
    })
}

/// The same of a value that was parsed, and of a negative number. What is behind the point is left out.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        number => number
            .as_i64()
            .or_else(|| number.as_f64().map(|number| number as i64)),
    }
}

/// How deep a JSON text is nested where it was read up to. It only counts: whether it is JSON is for the parser to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct JsonDepth {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl JsonDepth {
    /// Reads on. Whether all that was opened is closed.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_string => self.is_escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => self.depth += 1,
                b'}' | b']' if !self.in_string => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        self.is_closed()
    }

    /// Where in what follows all that is open, or opens first, is closed.
    pub(crate) fn end_in(mut self, text: &str) -> Option<usize> {
        let mut opened = self != Self::default();
        for (at, byte) in text.bytes().enumerate() {
            self.read(&[byte]);
            opened |= self.depth > 0;
            if opened && self.is_closed() {
                return Some(at + 1);
            }
        }
        None
    }

    /// Whether all that was opened is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.depth == 0 && !self.in_string
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_another_kind_read_as_absent() {
        for json in [
            "null",
            "true",
            "-1",
            "1.5",
            "1e999",
            "[1,[2]]",
            r#"{"a":{"b":1}}"#,
        ] {
            assert_eq!((string(json), count(json)), (None, None), "{json}");
        }
        assert_eq!(string("7"), None);
        assert_eq!(string(r#""\ud83da""#).as_deref(), Some("\u{fffd}a"));
        assert_eq!(text_of(r#""\ud83da""#), None);
        for (json, number) in [
            ("7", Some(7)),
            ("7.0", Some(7)),
            ("\" 7 \"", Some(7)),
            ("\"7.0\"", Some(7)),
            ("\"x\"", None),
            ("\"-7\"", None),
            ("\"NaN\"", None),
        ] {
            assert_eq!(count(json), number, "{json}");
        }
    }
}
