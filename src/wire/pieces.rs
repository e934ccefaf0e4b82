//! The data of one event that is not one JSON text, taken apart.
//!
//! Gateways glue events: they forget the line end between two, write `data:` twice, or put an error behind a chunk that broke
//! off. Each JSON text in there is an event of its own.

use crate::json::walk::{skip_space, value_end};

/// A part of such data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A JSON object or list, or the sentinel `[DONE]`: what an event's data can be.
    Data(&'a str),
    /// Anything else, up to the end of its line.
    Text(&'a str),
}

/// How many texts may begin as JSON and not be it. Each may have been walked over to the end.
const MAX_BROKEN: usize = 64;

/// Goes through the pieces of `text`, those that are white space left out. Behind very many that are broken, no more JSON is looked for.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    let mut broken = 0;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|between: char| between.is_whitespace() || between == ',');
        while let Some(escaped) = rest.strip_prefix("\\n") {
            rest = escaped.trim_start();
        }
        while let Some(framed) = rest.strip_prefix("data:") {
            rest = framed.trim_start();
        }
        if rest.is_empty() {
            return None;
        }
        let begins_json = rest.starts_with(['{', '[']);
        let end = (broken < MAX_BROKEN).then(|| data_end(rest)).flatten();
        broken += usize::from(begins_json && end.is_none());
        if let Some(end) = end {
            let (data, after) = rest.split_at(end);
            rest = after;
            return Some(Piece::Data(data));
        }
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        rest = after;
        Some(Piece::Text(line.trim_end()))
    })
}

/// Whether `text` is what Chat servers end a stream with.
pub(super) fn is_done(text: &str) -> bool {
    let text = text.trim().trim_matches('"');
    text.eq_ignore_ascii_case(DONE) || text.eq_ignore_ascii_case("DONE")
}

const DONE: &str = "[DONE]";

/// Where the data ends that `text` begins with, if it does.
fn data_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let has_done = |bytes: &[u8]| bytes.eq_ignore_ascii_case(DONE.as_bytes());
    if bytes.get(..DONE.len()).is_some_and(has_done) {
        return Some(DONE.len());
    }
    if is_done(text) {
        return Some(text.len());
    }
    matches!(bytes.first(), Some(b'{' | b'['))
        .then(|| value_end(bytes, skip_space(bytes, 0)))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_many_broken_texts_there_is_no_more_json() {
        for (broken, last) in [
            (MAX_BROKEN - 1, Piece::Data("{}")),
            (MAX_BROKEN, Piece::Text("{}")),
        ] {
            let text = format!("{}{{}}", "[x\n".repeat(broken));
            assert_eq!(pieces(&text).last(), Some(last), "{broken}");
        }
    }

    #[test]
    fn each_json_text_is_a_piece_and_what_is_none_goes_to_the_end_of_its_line() {
        use Piece::{Data, Text};
        for (text, expected) in [
            ("", vec![]),
            (" \n ", vec![]),
            (
                r#"{"a":1}{"b":2}"#,
                vec![Data(r#"{"a":1}"#), Data(r#"{"b":2}"#)],
            ),
            (
                "{\"a\":1}\n[2]\n[DONE]",
                vec![Data(r#"{"a":1}"#), Data("[2]"), Data("[DONE]")],
            ),
            (
                r#"{"a":1}data: [DONE]"#,
                vec![Data(r#"{"a":1}"#), Data("[DONE]")],
            ),
            (r#"data: {"a":1}"#, vec![Data(r#"{"a":1}"#)]),
            ("data: data: done", vec![Data("done")]),
            (
                "{\"type\":\"x\",\"response\":\n{\"error\":1}",
                vec![Text("{\"type\":\"x\",\"response\":"), Data("{\"error\":1}")],
            ),
            (
                "{\"a\":\"b\n{\n \"c\": [1,\n 2]}\nno words",
                vec![
                    Text("{\"a\":\"b"),
                    Data("{\n \"c\": [1,\n 2]}"),
                    Text("no words"),
                ],
            ),
            ("null", vec![Text("null")]),
            ("\"a\"", vec![Text("\"a\"")]),
        ] {
            assert_eq!(pieces(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }
}
