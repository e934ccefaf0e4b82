//! Lines to fields: names, values, and what of them the standard ignores.

use std::borrow::Cow;
use std::time::Duration;

/// What a line that is not empty says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field<'a> {
    Data(&'a [u8]),
    Event(&'a [u8]),
    Id(&'a [u8]),
    Retry(Duration),
    Comment,
    /// An `id` with NUL, or a `retry` that is no number.
    Ignored,
    /// A field of another name, which the standard ignores too, or no field at all.
    Unknown,
}

impl<'a> Field<'a> {
    /// Reads a line. The standard looks for its first colon; comparing the four known names with
    /// the beginning of the line comes to the same, and saves the search.
    #[inline]
    pub(super) fn of(line: &'a [u8]) -> Self {
        if let Some(value) = value_of(b"data", line) {
            Self::Data(value)
        } else if let Some(value) = value_of(b"event", line) {
            Self::Event(value)
        } else if line.starts_with(b":") {
            Self::Comment
        } else if let Some(value) = value_of(b"id", line) {
            if value.contains(&0) {
                Self::Ignored
            } else {
                Self::Id(value)
            }
        } else if let Some(value) = value_of(b"retry", line) {
            milliseconds(value).map_or(Self::Ignored, Self::Retry)
        } else {
            Self::Unknown
        }
    }
}

/// Decodes a value as UTF-8. Line ends, the colon and the space are ASCII, so decoding after the
/// split gives what the standard gets by decoding before it.
#[inline]
pub(super) fn decode(value: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(value),
    }
}

/// The value of the field `name`, if that is what `line` holds: all after the colon but for one
/// leading space.
#[inline]
fn value_of<'a>(name: &[u8], line: &'a [u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(name)? {
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        [] => Some(&[]),
        _ => None,
    }
}

fn milliseconds(value: &[u8]) -> Option<Duration> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = value.iter().fold(0u64, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    Some(Duration::from_millis(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_the_standard_says() {
        let table: &[(&[u8], Field<'_>)] = &[
            (b"data:x", Field::Data(b"x")),
            (b"data: x", Field::Data(b"x")),
            (b"data:  x", Field::Data(b" x")),
            (b"data:\tx", Field::Data(b"\tx")),
            (b"data: x ", Field::Data(b"x ")),
            (b"data: a: b", Field::Data(b"a: b")),
            (b"data::", Field::Data(b":")),
            (b"data: ", Field::Data(b"")),
            (b"data:", Field::Data(b"")),
            (b"data", Field::Data(b"")),
            (b"event: delta", Field::Event(b"delta")),
            (b"event", Field::Event(b"")),
            (b"id: 7", Field::Id(b"7")),
            (b"id", Field::Id(b"")),
            (b"id: 7\0", Field::Ignored),
            (b": comment", Field::Comment),
            (b":data: x", Field::Comment),
            (b":", Field::Comment),
            (b" data: x", Field::Unknown),
            (b"data : x", Field::Unknown),
            (b"Data: x", Field::Unknown),
            (b"dat", Field::Unknown),
            (b"database: x", Field::Unknown),
            (b"idx: 7", Field::Unknown),
            (b"{\"error\": {}}", Field::Unknown),
            (b"\0", Field::Unknown),
        ];
        for (line, field) in table {
            assert_eq!(Field::of(line), *field, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn retry_takes_ascii_digits_only_and_saturates() {
        let table: &[(&[u8], Option<u64>)] = &[
            (b"retry: 1000", Some(1_000)),
            (b"retry:03000", Some(3_000)),
            (b"retry: 0", Some(0)),
            (b"retry: 18446744073709551615", Some(u64::MAX)),
            (b"retry: 18446744073709551616", Some(u64::MAX)),
            (b"retry: 99999999999999999999999999", Some(u64::MAX)),
            (b"retry: 1000x", None),
            (b"retry:  1000", None),
            (b"retry: 1000 ", None),
            (b"retry: +1", None),
            (b"retry: -1", None),
            (b"retry: 1.5", None),
            ("retry: \u{661}".as_bytes(), None),
            (b"retry:", None),
            (b"retry", None),
        ];
        for (line, number) in table {
            let field = number.map_or(Field::Ignored, |number| {
                Field::Retry(Duration::from_millis(number))
            });
            assert_eq!(Field::of(line), field, "{}", line.escape_ascii());
        }
    }
}
