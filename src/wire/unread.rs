//! What a stream held that could not be read, and what it means for the answer.

use crate::json::tree::tree;
use serde_json::Value;

use super::{TextPlace, server_error};
use crate::json::excerpt::excerpt;

/// How much of the words of a server is kept that are no events.
const MAX_WORDS_BYTES: usize = 2 * 1024;

/// What servers and proxies write to keep a connection alive where a comment was meant, its letters alone.
const HEARTBEATS: [&str; 7] = [
    "",
    "ping",
    "pong",
    "keepalive",
    "heartbeat",
    "processing",
    "openrouterprocessing",
];

/// The texts of a stream that are no JSON.
///
/// A text that looks like JSON was a piece of the answer, unless the answer was whole before and does not go on after it. Words are
/// what somebody on the way had to say: they are the error, if the stream ends as none should.
#[derive(Default)]
pub(super) struct Unread {
    words: String,
    /// What is lost if the answer goes on.
    gap: Option<Lost>,
    lost: Option<Lost>,
}

/// A piece of the answer that is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// What came in its place, cut.
    pub(super) piece: String,
    /// It is JSON: the server wrote what nobody knows, and will again. Otherwise it broke on its way.
    pub(super) is_json: bool,
}

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing is to be said of it.
    Nothing,
    /// It is an event that could not be read.
    Malformed,
}

impl Unread {
    /// Takes a text. `is_answering` says that a part of the answer has come, and not its end.
    pub(super) fn push(&mut self, text: &str, place: TextPlace, is_answering: bool) -> Kind {
        let text = text.trim();
        let json = tree(text);
        let text = match &json {
            // In quotes they are words, too.
            Some(Value::String(words)) => words,
            Some(_) => return Kind::Malformed,
            None => text,
        };
        let letters = text.chars().filter(|letter| letter.is_alphanumeric());
        let lower: String = letters.flat_map(char::to_lowercase).take(40).collect();
        let is_comment = text.starts_with(':') || HEARTBEATS.contains(&&*lower);
        let looks_like_json = text.contains(['{', '}', '"']);
        let is_unknown = place == TextPlace::Stray && is_unknown_field(text);
        if (is_comment && !looks_like_json) || is_unknown {
            return Kind::Nothing;
        }
        let is_page = text.starts_with('<');
        let looks_like_json = json.is_none() && !is_page && looks_like_json;
        if looks_like_json || (is_answering && place == TextPlace::Data) {
            self.gap = Some(Lost {
                piece: excerpt(text),
                is_json: false,
            });
        }
        if !looks_like_json {
            self.push_words(text);
        }
        match looks_like_json || place == TextPlace::Data {
            true => Kind::Malformed,
            false => Kind::Nothing,
        }
    }

    /// Takes a piece of the answer that could be read, but not understood.
    pub(super) fn lose(&mut self, piece: &str) {
        self.gap = Some(Lost {
            piece: excerpt(piece),
            is_json: true,
        });
    }

    /// Takes words that stood in an event without a form of its own.
    pub(super) fn push_words(&mut self, words: &str) {
        if self.words.len() < MAX_WORDS_BYTES {
            self.words.extend(words.chars().take(MAX_WORDS_BYTES));
            self.words.push('\n');
        }
    }

    /// The answer goes on, so what could not be read before was a part of it.
    #[inline]
    pub(super) fn on_answer(&mut self) {
        if self.gap.is_some() {
            self.lost = self.gap.take();
        }
    }

    /// The piece of the answer that is lost, if one is. `is_open` says that the answer has not come to its end, so that
    /// what came last was still a part of it.
    pub(super) fn lost(&self, is_open: bool) -> Option<&Lost> {
        let gap = self.gap.as_ref().filter(|_| is_open);
        self.lost.as_ref().or(gap)
    }

    /// What was said in words, as a person can read it.
    pub(super) fn words(&self) -> Option<String> {
        server_error::excerpt(&self.words)
    }
}

/// Whether a line is one that the SSE standard ignores as a field of a server's own: a name and a value of one word.
fn is_unknown_field(line: &str) -> bool {
    let is_word = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
    line.split_once(':')
        .is_some_and(|(name, value)| is_word(name) && is_word(value.trim()))
        && !line.contains(['{', '[', '"'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_from_pieces_and_from_heartbeats() {
        use TextPlace::{Data, Stray};
        for (text, place, is_answering, kind, words, lost) in [
            ("ping", Data, true, Kind::Nothing, None, false),
            ("x-id: 7", Stray, true, Kind::Nothing, None, false),
            (
                "upstream connect error: timeout",
                Stray,
                true,
                Kind::Nothing,
                Some("upstream connect error: timeout"),
                false,
            ),
            (
                "Internal  error",
                Data,
                false,
                Kind::Malformed,
                Some("Internal error"),
                false,
            ),
            (
                "Internal error",
                Data,
                true,
                Kind::Malformed,
                Some("Internal error"),
                true,
            ),
            ("null", Data, true, Kind::Malformed, None, false),
            (
                "\"no model\"",
                Data,
                false,
                Kind::Malformed,
                Some("no model"),
                false,
            ),
            (r#"{"a":"b"#, Data, false, Kind::Malformed, None, true),
            (r#"tent":"b"}]}"#, Stray, false, Kind::Malformed, None, true),
            (
                "<html><title>502 Bad Gateway</title>",
                Stray,
                false,
                Kind::Nothing,
                Some("502 Bad Gateway"),
                false,
            ),
        ] {
            let mut unread = Unread::default();
            assert_eq!(unread.push(text, place, is_answering), kind, "{text}");
            assert_eq!(unread.words().as_deref(), words, "{text}");
            assert_eq!(unread.lost(true).is_some(), lost, "{text}");
            assert_eq!(unread.lost(false), None, "{text}");
            unread.on_answer();
            assert_eq!(unread.lost(false).is_some(), lost, "{text}");
        }
    }

    #[test]
    fn words_have_a_bound() {
        let mut unread = Unread::default();
        for _ in 0..10 {
            unread.push(&"ä".repeat(5_000), TextPlace::Stray, false);
        }
        assert!(unread.words.len() <= 3 * MAX_WORDS_BYTES);
    }
}
