//! Walking over JSON without building anything of it.
//!
//! A response object has tens of kilobytes, of which the runtime reads a few members; the rest is kept as it was written. So
//! what is not read still has to be found to be JSON, by RFC 8259 and to the letter, but at the speed of looking at it. What is
//! wrong with a text is the parser's to say.

use super::escapes::next_special;

/// What is open around a place: of each level whether it is an object or an array, one bit for it, the innermost lowest.
#[derive(Default)]
struct Open {
    depth: usize,
    objects: u64,
    /// The levels that a word has no room for, 64 at a time. Answers of models nest some ten levels deep.
    outer: Vec<u64>,
}

impl Open {
    #[inline]
    fn enter(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(LEVELS) {
            self.outer.push(self.objects);
        }
        self.objects = self.objects << 1 | u64::from(is_object);
        self.depth += 1;
    }

    #[inline]
    fn leave(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(LEVELS) {
            self.objects = self.outer.pop().unwrap_or_default();
        }
    }
}

const LEVELS: usize = u64::BITS as usize;

/// Where the value ends that begins at `at`. `None` when it is not JSON.
pub(crate) fn value_end(json: &[u8], at: usize) -> Option<usize> {
    value_end_knowing(json, at, b"")
}

/// The same, where strings whose inside is the `known` one, which has been walked over, are compared only.
pub(crate) fn value_end_knowing(json: &[u8], mut at: usize, known: &[u8]) -> Option<usize> {
    let mut open = Open::default();
    loop {
        at = match json.get(at)? {
            b'"' => match known_end(json, at + 1, known) {
                Some(end) => end,
                None => string_end(json, at + 1)?,
            },
            first @ (b'{' | b'[') => {
                let is_object = *first == b'{';
                let next = skip_space(json, at + 1);
                match (json.get(next)?, is_object) {
                    (b'}', true) | (b']', false) => next + 1,
                    _ => {
                        open.enter(is_object);
                        at = match is_object {
                            true => name_end(json, next)?.value,
                            false => next,
                        };
                        continue;
                    }
                }
            }
            b'-' | b'0'..=b'9' => number_end(json, at)?,
            b't' => literal_end(json, at, b"true")?,
            b'f' => literal_end(json, at, b"false")?,
            b'n' => literal_end(json, at, b"null")?,
            _ => return None,
        };
        loop {
            if open.depth == 0 {
                return Some(at);
            }
            at = skip_space(json, at);
            match (json.get(at)?, open.objects & 1 == 1) {
                (b',', true) => {
                    at = name_end(json, skip_space(json, at + 1))?.value;
                    break;
                }
                (b',', false) => {
                    at = skip_space(json, at + 1);
                    break;
                }
                (b'}', true) | (b']', false) => {
                    open.leave();
                    at += 1;
                }
                _ => return None,
            }
        }
    }
}

/// The elements of a JSON array, as far as it is one; none of anything else.
pub(crate) fn elements(json: &str) -> impl Iterator<Item = &str> {
    elements_knowing(json, "")
}

/// The same, where strings whose inside is the `known` one, which has been walked over, are compared only.
pub(crate) fn elements_knowing<'a>(json: &'a str, known: &'a str) -> impl Iterator<Item = &'a str> {
    let bytes = json.as_bytes();
    let mut at = match bytes.first() {
        Some(b'[') => 1,
        _ => bytes.len(),
    };
    std::iter::from_fn(move || {
        let start = skip_space(bytes, at);
        let end = value_end_knowing(bytes, start, known.as_bytes())?;
        at = skip_space(bytes, end) + 1;
        json.get(start..end)
    })
}

/// Where the string ends whose inside is at `at`, if it is the known one.
#[inline(always)]
fn known_end(json: &[u8], at: usize, known: &[u8]) -> Option<usize> {
    let end = at + known.len();
    let is_it = !known.is_empty()
        && json.get(end) == Some(&b'"')
        && json.get(at..end).is_some_and(|inside| inside == known);
    is_it.then_some(end + 1)
}

/// Where a member's name ends and its value begins.
pub(crate) struct NameEnd {
    /// The place of the quote that closes it.
    pub(crate) quote: usize,
    pub(crate) value: usize,
}

/// Walks over a member's name, whose opening quote is at `at`, and its colon.
#[inline]
pub(crate) fn name_end(json: &[u8], at: usize) -> Option<NameEnd> {
    (*json.get(at)? == b'"').then_some(())?;
    let end = string_end(json, at + 1)?;
    let colon = skip_space(json, end);
    (*json.get(colon)? == b':').then_some(())?;
    Some(NameEnd {
        quote: end - 1,
        value: skip_space(json, colon + 1),
    })
}

/// Where the white space ends that is at `at`.
#[inline]
pub(crate) fn skip_space(json: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = json.get(at) {
        at += 1;
    }
    at
}

/// Where the string ends whose inside is at `at`.
#[inline(always)] // Most of a walk is this.
pub(super) fn string_end(json: &[u8], at: usize) -> Option<usize> {
    let special = next_special(json, at)?;
    match json[special] {
        b'"' => Some(special + 1),
        _ => string_end_after(json, special),
    }
}

/// The same from its first escape on.
fn string_end_after(json: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match json[at] {
            b'"' => return Some(at + 1),
            b'\\' => at = next_special(json, at + escape_len(&json[at + 1..])?)?,
            _ => return None,
        }
    }
}

/// How long the escape is whose backslash is before `bytes`. A half of a surrogate pair is one by the grammar.
fn escape_len(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => {
            let digits = bytes.get(1..5)?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(6)
        }
        _ => None,
    }
}

fn number_end(json: &[u8], mut at: usize) -> Option<usize> {
    let digits = |at: usize| {
        let mut end = at;
        while json.get(end).is_some_and(u8::is_ascii_digit) {
            end += 1;
        }
        (end > at).then_some(end)
    };
    at += usize::from(json[at] == b'-');
    at = match json.get(at)? {
        b'0' => at + 1,
        _ => digits(at)?,
    };
    if json.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if let Some(b'e' | b'E') = json.get(at) {
        let sign = matches!(json.get(at + 1), Some(b'+' | b'-'));
        at = digits(at + 1 + usize::from(sign))?;
    }
    Some(at)
}

fn literal_end(json: &[u8], at: usize, literal: &[u8]) -> Option<usize> {
    json[at..]
        .starts_with(literal)
        .then_some(at + literal.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;
    use crate::wire::equivalence::{mutate, mutation};

    /// Whether the whole text is one value, with white space before it and after.
    fn is_json(text: &str) -> bool {
        let json = text.as_bytes();
        value_end(json, skip_space(json, 0)).is_some_and(|end| skip_space(json, end) == json.len())
    }

    fn parser_takes(text: &str) -> bool {
        serde_json::from_str::<&RawValue>(text).is_ok()
    }

    #[test]
    fn values_end_where_they_do() {
        for (json, end) in [
            ("1,", Some(1)),
            ("-0.5e+10]", Some(8)),
            ("\"a\\\"\\u00e9\"}", Some(11)),
            ("{}x", Some(2)),
            ("[ ]x", Some(3)),
            ("{ \"a\" : [ 1 , { } , [ ] ] , \"b\":null}x", Some(37)),
            ("nul", None),
            ("[1,]", None),
            ("{\"a\":1,}", None),
            ("[1}", None),
        ] {
            assert_eq!(value_end(json.as_bytes(), 0), end, "{json}");
        }
    }

    #[test]
    fn nesting_has_no_limit_and_kinds_are_told_apart_at_any_depth() {
        for depth in [1, 63, 64, 65, 127, 128, 129, 200, 1_000] {
            let level = |at: usize| match at % 3 {
                0 => ("{\"a\":", "}"),
                _ => ("[", "]"),
            };
            let opened: String = (0..depth).map(|at| level(at).0).collect();
            let closed: String = (0..depth).rev().map(|at| level(at).1).collect();
            let json = format!("{opened}0{closed}");
            assert!(is_json(&json), "{depth}");
            assert!(!is_json(&json[..json.len() - 1]), "{depth}");
            for at in 0..depth {
                let mut other = json.clone().into_bytes();
                let place = json.len() - 1 - at;
                other[place] ^= b'}' ^ b']';
                assert_eq!(value_end(&other, 0), None, "{depth}, {at}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn the_walk_and_the_parser_take_the_same(
            pieces in proptest::collection::vec(
                prop_oneof![
                    proptest::sample::select(vec![
                        "{", "}", "[", "]", ",", ":", " ", "\n", "\t", "\r", "\"a\"", "\"b\":", "\"\\u00e9\\ud83d\"", "null", "true", "false",
                        "0", "-1", "1.5", "1e9", "2E-3", "1e999", "01", "1.", ".5", "-", "+1", "1e", "\"", "\\", "\u{c}", "\u{a0}",
                    ]).prop_map(str::to_owned),
                    r#""[a-z\\"\x00-\x1fé]{0,20}""#,
                ],
                0..12,
            ),
        ) {
            let text = pieces.concat();
            prop_assert_eq!(is_json(&text), parser_takes(&text), "{}", text);
        }

        #[test]
        fn they_take_the_same_of_what_was_json_before(
            is_pretty: bool, text in "[ -~é\n]{0,40}", number: f64, mutations in proptest::collection::vec(mutation(), 0..3),
        ) {
            let value = serde_json::json!({
                "text": text, "numbers": [number, 0, -1, u64::MAX], "nested": {"a": [[], {}, {"b": [true, false, null]}], &text: {}},
            });
            let mut json = match is_pretty {
                true => serde_json::to_vec_pretty(&value).unwrap(),
                false => serde_json::to_vec(&value).unwrap(),
            };
            for mutation in &mutations {
                mutate(&mut json, mutation);
            }
            let json = String::from_utf8_lossy(&json);
            prop_assert_eq!(is_json(&json), parser_takes(&json), "{}", json);
        }
    }
}
