//! Lines in an event stream's body that are no SSE fields, put together to the texts they are.
//!
//! A gateway that fails before its stream begins answers with a JSON object, on one line or over many, under the content type of
//! an event stream; llama.cpp wrote its errors into a field `error:`. The SSE standard ignores such lines. People don't.

use std::borrow::Cow;

use crate::{json::lenient::JsonDepth, sse::DecodeError};

/// What the lines of an event stream begin with.
pub(super) const FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];

/// Whether a line is the beginning of a field's name, as a body leaves it that was cut there: nobody's words.
pub(super) fn is_cut_field(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    !line.is_empty() && FIELDS.iter().any(|field| field.starts_with(line))
}

/// Gathers stray lines until they are a whole text.
pub(super) struct Strays {
    text: Vec<u8>,
    json: JsonDepth,
    max_bytes: usize,
}

impl Strays {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            text: Vec::new(),
            json: JsonDepth::default(),
            max_bytes,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Takes a line. Whether the text is whole now: a line that begins no JSON is one, and JSON is whole when it closes.
    ///
    /// # Errors
    /// When the text is longer than an event may be.
    pub(super) fn push(&mut self, line: &[u8]) -> Result<bool, DecodeError> {
        if self.text.is_empty() {
            let begins_json = matches!(line.trim_ascii_start().first(), Some(b'{' | b'['));
            self.json = JsonDepth::default();
            if !begins_json {
                self.text.extend_from_slice(line);
                return Ok(true);
            }
        }
        if self.text.len() + line.len() > self.max_bytes {
            return Err(DecodeError::EventTooLarge {
                limit: self.max_bytes,
            });
        }
        self.text.extend_from_slice(line);
        self.text.push(b'\n');
        Ok(self.json.read(line))
    }

    /// The text so far.
    pub(super) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }

    /// The text, whole or not; the next line begins another.
    pub(super) fn take(&mut self) -> String {
        let text = std::mem::take(&mut self.text);
        match String::from_utf8(text) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[&str]) -> Vec<String> {
        let mut strays = Strays::new(100);
        let mut texts = Vec::new();
        for line in lines {
            if strays.push(line.as_bytes()).unwrap() {
                texts.push(strays.take());
            }
        }
        if !strays.is_empty() {
            texts.push(strays.take());
        }
        texts
    }

    #[test]
    fn a_text_is_a_line_or_a_whole_json_value() {
        for (lines, expected) in [
            (&["some words"][..], &["some words"][..]),
            (&["error: x", "y"], &["error: x", "y"]),
            (&[r#"{"a":"}"}"#, "x"], &["{\"a\":\"}\"}\n", "x"]),
            (
                &["{", r#"  "a": [1,"#, r#"  "\"]}"]"#, "}", "z"],
                &["{\n  \"a\": [1,\n  \"\\\"]}\"]\n}\n", "z"],
            ),
            (&["{", "\"cut"], &["{\n\"cut\n"]),
        ] {
            assert_eq!(texts(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_field_that_was_cut_is_known_by_its_beginning() {
        for (line, is_cut) in [
            ("d", true),
            ("dat", true),
            ("data", true),
            ("eve", true),
            ("r", true),
            ("", false),
            ("date", false),
            ("no words", false),
            ("{", false),
        ] {
            assert_eq!(is_cut_field(line.as_bytes()), is_cut, "{line}");
        }
    }

    #[test]
    fn a_text_is_no_longer_than_an_event() {
        let mut strays = Strays::new(10);
        assert_eq!(strays.push(b"{\"a\":"), Ok(false));
        assert_eq!(
            strays.push(b"123456"),
            Err(DecodeError::EventTooLarge { limit: 10 })
        );
    }
}
