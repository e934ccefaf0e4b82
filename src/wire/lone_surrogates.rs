//! `\ud83d` without its other half.

use std::borrow::Cow;

use memchr::memchr;

/// Writes `\ufffd` for every escape of half a surrogate pair, which JSON can spell and no string can hold. Servers that cut
/// text between the halves send them. The text must be JSON; nothing else in it is changed.
pub(crate) fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    let mut whole = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(offset) = memchr(b'\\', &json.as_bytes()[at..]) {
        at += offset;
        match escaped_unit(json, at) {
            Some(0xD800..=0xDBFF)
                if matches!(escaped_unit(json, at + 6), Some(0xDC00..=0xDFFF)) =>
            {
                at += 12;
            }
            Some(0xD800..=0xDFFF) => {
                whole.push_str(&json[copied..at]);
                whole.push_str("\\ufffd");
                at += 6;
                copied = at;
            }
            Some(_) => at += 6,
            // Both bytes of a short escape: the second may be a backslash.
            None => at = (at + 2).min(json.len()),
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    whole.push_str(&json[copied..]);
    Cow::Owned(whole)
}

/// The UTF-16 unit that the six bytes from `at` spell, if they are `\uXXXX`.
fn escaped_unit(json: &str, at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_halves_without_their_other_half_are_replaced() {
        let cases = [
            (r#""a\ud83d""#, r#""a\ufffd""#),
            (r#""\ude00b""#, r#""\ufffdb""#),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\uD83D\n\uDE00""#, r#""\ufffd\n\ufffd""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
            (r#""\u00e9 é \" \ud83dé""#, r#""\u00e9 é \" \ufffdé""#),
            (r#""\u12"#, r#""\u12"#),
            (r#""a\udc00b\ud83dc""#, r#""a\ufffdb\ufffdc""#),
            ("\\", "\\"),
            ("\"\\", "\"\\"),
            ("\\é", "\\é"),
        ];
        for (json, expected) in cases {
            assert_eq!(without_lone_surrogates(json), expected, "{json}");
        }
    }
}
