//! The escapes in JSON strings.

use std::borrow::Cow;

use memchr::memchr;

/// The inside of a JSON string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StringInside {
    /// Where the quote is that closes it.
    pub(crate) end: usize,
    pub(crate) has_escapes: bool,
}

/// Finds the end of the string whose inside begins at `start`. `None` when the quote that closes it is not there, or when the
/// string holds a control character, which JSON wants escaped. Escapes are stepped over, not judged.
///
/// Most strings are short, and this is called for every delta: eight bytes at a time without a call cost less than any search.
#[inline(always)]
pub(crate) fn string_inside(bytes: &[u8], start: usize) -> Option<StringInside> {
    let end = next_special(bytes, start)?;
    match bytes[end] {
        b'"' => Some(StringInside {
            end,
            has_escapes: false,
        }),
        b'\\' => string_with_escapes(bytes, end),
        _ => None,
    }
}

/// The same from its first backslash on.
fn string_with_escapes(bytes: &[u8], mut at: usize) -> Option<StringInside> {
    loop {
        match bytes[at] {
            b'"' => break,
            // What is escaped may be a quote. A control character is none that may be.
            b'\\' if *bytes.get(at + 1)? >= b' ' => at = next_special(bytes, at + 2)?,
            _ => return None,
        }
    }
    Some(StringInside {
        end: at,
        has_escapes: true,
    })
}

/// Where the first quote, backslash or control character is, from `start` on.
#[inline(always)]
pub(crate) fn next_special(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        if let Some(offset) = special_of(u64::from_le_bytes(*word)) {
            return Some(at + offset);
        }
        at += WORD;
        if at - start == LONG {
            at = without_special(bytes, at);
        }
    }
    special_at_end(bytes, at)
}

/// Up to where whole blocks from `at` on hold none: pictures and long texts, at nearly twice the speed of words.
#[inline(never)]
fn without_special(bytes: &[u8], mut at: usize) -> usize {
    // As the compiler makes vectors of it.
    let has_special = |block: &[u8; LONG]| {
        block
            .iter()
            .fold(false, |found, byte| found | is_special(*byte))
    };
    while let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk)
        && !has_special(block)
    {
        at += LONG;
    }
    at
}

/// From how many bytes on a string is long.
const LONG: usize = 64;

/// The same where less than a word is left.
fn special_at_end(bytes: &[u8], start: usize) -> Option<usize> {
    let left = bytes.len().checked_sub(start).filter(|left| *left > 0)?;
    let offset = match bytes.last_chunk() {
        // The last word once more, without what comes before. The zeros that move in are control characters.
        Some(word) => special_of(u64::from_le_bytes(*word) >> (8 * (WORD - left)))
            .filter(|offset| *offset < left)?,
        None => bytes[start..].iter().position(|byte| is_special(*byte))?,
    };
    Some(start + offset)
}

/// The bytes of a word.
const WORD: usize = size_of::<u64>();

fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..b' ')
}

/// Where in a word the first quote, backslash or control character is. A byte from which a subtraction borrows is one of them,
/// so all before the first have the bits that they would have alone.
#[inline]
fn special_of(word: u64) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const fn each(byte: u8) -> u64 {
        ONES * byte as u64
    }
    let quotes = (word ^ each(b'"')).wrapping_sub(ONES);
    let backslashes = (word ^ each(b'\\')).wrapping_sub(ONES);
    let controls = word.wrapping_sub(each(b' '));
    let special = (quotes | backslashes | controls) & !word & each(0x80);
    (special != 0).then(|| special.trailing_zeros() as usize / 8)
}

/// Appends the text that the inside of a JSON string spells. False when it has an escape that is none, or half a surrogate
/// pair; what was appended then is of no use.
pub(crate) fn unescape(string: &str, text: &mut String) -> bool {
    let mut rest = string;
    while let Some(at) = memchr(b'\\', rest.as_bytes()) {
        text.push_str(&rest[..at]);
        let (plain, bytes) = match rest.as_bytes().get(at + 1) {
            Some(plain @ (b'"' | b'\\' | b'/')) => (char::from(*plain), 2),
            Some(b'n') => ('\n', 2),
            Some(b't') => ('\t', 2),
            Some(b'r') => ('\r', 2),
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'u') => {
                let units = [escaped_unit(rest, at), escaped_unit(rest, at + 6)];
                let is_pair = matches!(units[0], Some(0xD800..=0xDBFF));
                let units = units.into_iter().map_while(|unit| unit);
                match char::decode_utf16(units).next() {
                    Some(Ok(unit)) => (unit, if is_pair { 12 } else { 6 }),
                    Some(Err(_)) | None => return false,
                }
            }
            Some(_) | None => return false,
        };
        text.push(plain);
        rest = &rest[at + bytes..];
    }
    text.push_str(rest);
    true
}

/// Writes `\ufffd` for every escape of half a surrogate pair, which JSON can spell and no string can hold. Servers that cut
/// text between the halves send them. The text must be JSON; nothing else in it is changed.
pub(crate) fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    replace_lone_surrogates(json, |_, text| text.push_str("\\ufffd"))
}

/// Writes a character of its own for every such half, for [`JoinedText`] to put two of them together. They are the last
/// characters of the private use planes, which nobody has a use for; only texts of such an event are read that way.
pub(crate) fn with_marked_surrogates(json: &str) -> Cow<'_, str> {
    replace_lone_surrogates(json, |unit, text| {
        text.extend(char::from_u32(
            FIRST_MARK + u32::from(unit - FIRST_SURROGATE),
        ));
    })
}

const FIRST_SURROGATE: u16 = 0xD800;
const FIRST_MARK: u32 = 0x10_F800;

/// The half that a character marks.
fn marked(mark: char) -> Option<u16> {
    let unit = u32::from(mark).checked_sub(FIRST_MARK)?;
    Some(FIRST_SURROGATE + u16::try_from(unit).ok()?)
}

fn replace_lone_surrogates(json: &str, replace: impl Fn(u16, &mut String)) -> Cow<'_, str> {
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
            Some(unit @ 0xD800..=0xDFFF) => {
                whole.push_str(&json[copied..at]);
                replace(unit, &mut whole);
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

/// A text that comes in pieces, between which a surrogate pair may have been cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct JoinedText {
    /// The first half of a pair, if the last piece ended in one.
    half: Option<u16>,
}

impl JoinedText {
    /// What a piece adds to the text. `is_marked` says whether it was read from JSON whose halves are
    /// [marked](with_marked_surrogates). A half whose other half does not follow is U+FFFD.
    pub(crate) fn next<'a>(&mut self, piece: &'a str, is_marked: bool) -> Cow<'a, str> {
        if self.half.is_none() && !is_marked || piece.is_empty() {
            return Cow::Borrowed(piece);
        }
        let mut text = String::with_capacity(piece.len());
        for character in piece.chars() {
            match (self.half.take(), marked(character).filter(|_| is_marked)) {
                (None, None) => text.push(character),
                (before, Some(unit @ 0xD800..=0xDBFF)) => {
                    text.extend(before.map(|_| char::REPLACEMENT_CHARACTER));
                    self.half = Some(unit);
                }
                (before, Some(unit)) => {
                    let pair = char::decode_utf16(before.into_iter().chain([unit])).next();
                    text.push(match pair {
                        Some(Ok(pair)) => pair,
                        _ => char::REPLACEMENT_CHARACTER,
                    });
                }
                (Some(_), None) => {
                    text.push(char::REPLACEMENT_CHARACTER);
                    text.push(character);
                }
            }
        }
        Cow::Owned(text)
    }

    /// Whether the last piece did not end in half a pair.
    pub(crate) fn is_whole(&self) -> bool {
        self.half.is_none()
    }

    /// What is left at the text's end: the sign for a half that nothing followed.
    pub(crate) fn finish(&mut self) -> &'static str {
        match self.half.take() {
            Some(_) => "\u{fffd}",
            None => "",
        }
    }
}

/// The UTF-16 unit that the six bytes from `at` spell, if they are `\uXXXX`.
fn escaped_unit(json: &str, at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix("\\u")?;
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hex.then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Strings that JSON takes and others, with every kind of escape among them.
    fn json_string() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            r#"\\["\\/bfnrtuxq]"#,
            r"\\u[0-9a-fA-F]{3,4}",
            r"\\u[dD][89a-fA-F][0-9a-f]{2}",
            "[a-z é世😀\"]",
            "\\PC",
            Just("\t".to_owned()),
        ];
        proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn strings_end_and_are_unescaped_where_and_as_the_parser_says(string in json_string()) {
            let quoted = format!("\"{string}\"}}");
            let parsed = serde_json::Deserializer::from_str(&quoted)
                .into_iter::<String>()
                .next()
                .unwrap();
            let inside = string_inside(quoted.as_bytes(), 1);
            let mut text = String::new();
            let is_read = inside.is_some_and(|inside| unescape(&quoted[1..inside.end], &mut text));
            if let Some(inside) = inside {
                let escapes = quoted[1..inside.end].contains('\\');
                prop_assert_eq!(inside.has_escapes, escapes);
            }
            prop_assert_eq!(is_read.then_some(text), parsed.ok());
        }
    }

    #[test]
    fn what_is_special_is_found_wherever_it_lies() {
        for special in 0..=u8::MAX {
            for len in 0..40 {
                for start in 0..=len {
                    let mut bytes = vec![0xa2; len];
                    assert_eq!(next_special(&bytes, start), None);
                    let Some(last) = len.checked_sub(1) else {
                        continue;
                    };
                    // Before the start it does not count.
                    bytes[last / 2] = special;
                    let found = (is_special(special) && last / 2 >= start).then_some(last / 2);
                    assert_eq!(next_special(&bytes, start), found, "{special} in {len}");
                    bytes[last] = b'"';
                    let found = found.or((last >= start).then_some(last));
                    assert_eq!(next_special(&bytes, start), found, "{special} in {len}");
                }
            }
        }
        assert_eq!(next_special(b"\"", 7), None);
    }

    #[test]
    fn halves_in_two_pieces_are_one_character() {
        let cases: &[(&[&str], &str)] = &[
            (&[r"ok \ud83d", r"\ude00 up"], "ok 😀 up"),
            (&[r"\ud83d", "", r"\ude00"], "😀"),
            (&[r"\ud83d", "a"], "\u{fffd}a"),
            (&[r"\ud83d", r"\ud83d\ude00"], "\u{fffd}😀"),
            (&[r"\ud83d", r"\ud83d", r"\ude00"], "\u{fffd}😀"),
            (&[r"a\ude00", r"\ud83d"], "a\u{fffd}\u{fffd}"),
            (&["\u{10f83d}", "\u{10fe00}"], "\u{10f83d}\u{10fe00}"),
        ];
        for (pieces, expected) in cases {
            let mut joined = JoinedText::default();
            let mut text = String::new();
            for piece in *pieces {
                let json = format!("\"{piece}\"");
                let marked = with_marked_surrogates(&json);
                let is_marked = matches!(marked, Cow::Owned(_));
                let piece: String = serde_json::from_str(&marked).unwrap();
                text.push_str(&joined.next(&piece, is_marked));
            }
            text.push_str(joined.finish());
            assert_eq!(&text, expected, "{pieces:?}");
        }
    }

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
