//! The shortcut for a chunk that repeats the one before it but for its text.

use std::borrow::Cow;

use super::chunk::{Chunk, Str};
use crate::json::escapes::{StringInside, string_inside, unescape};

/// A chunk that was read in full, and the places in it that the next one may change.
///
/// Most chunks of a stream are equal, byte for byte, outside the string that carries the delta and, on OpenAI's servers, the
/// string of padding. Such a chunk is the same JSON with another string in one place, so comparing bytes reads it as surely
/// as parsing does, at a fraction of the cost. What differs anywhere else is parsed again and becomes the next template.
#[derive(Default)]
pub(super) struct Template {
    /// The whole chunk; empty while there is none.
    chunk: String,
    text: Hole,
    padding: Option<Hole>,
    pub(super) target: Target,
    /// Whether it came, or could have come, as one line of data.
    is_one_line: bool,
}

/// Where the text of a template's chunks goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) choice_index: u32,
    pub(super) is_reasoning: bool,
}

/// The inside of a JSON string, as byte offsets into the chunk.
#[derive(Clone, Copy, Default)]
struct Hole {
    start: usize,
    end: usize,
}

impl Hole {
    /// Where a borrowed string lies in the text that it was read from. `None` for one that is not borrowed from it.
    fn of(text: &Str<'_>, data: &str) -> Option<Self> {
        let Cow::Borrowed(text) = text.0 else {
            return None;
        };
        let start = (text.as_ptr() as usize).checked_sub(data.as_ptr() as usize)?;
        let end = start + text.len();
        (data.get(start..end)? == text).then_some(Self { start, end })
    }
}

impl Template {
    /// Takes a chunk as the template of those to come, if it holds one piece of text and nothing else that means anything.
    pub(super) fn learn(&mut self, data: &str, chunk: &Chunk<'_>) {
        if let Some((text, padding, target)) = Self::holes(data, chunk) {
            self.chunk.clear();
            self.chunk.push_str(data);
            self.text = text;
            self.padding = padding;
            self.target = target;
            self.is_one_line = !data.contains(['\n', '\r']);
        }
    }

    fn holes(data: &str, chunk: &Chunk<'_>) -> Option<(Hole, Option<Hole>, Target)> {
        let [choice] = chunk.choices() else {
            return None;
        };
        let delta = &choice.delta;
        let is_blank = |text: &Option<Str<'_>>| text.as_ref().is_none_or(|text| text.is_empty());
        let is_plain = chunk.usage.is_none()
            && choice.usage.is_none()
            && choice.logprobs.is_none()
            && !choice.is_whole_message
            && is_blank(&choice.finish_reason)
            && !delta.has_attachments()
            && is_blank(&delta.refusal)
            && delta
                .tool_calls
                .as_ref()
                .is_none_or(|calls| calls.is_empty());
        if !is_plain {
            return None;
        }
        let (text, is_reasoning) = match (&delta.content, delta.reasoning()) {
            (Some(content), None) if !content.is_empty() => (content, false),
            (content, Some(reasoning)) if is_blank(content) => (reasoning, true),
            _ => return None,
        };
        let text = Hole::of(text, data)?;
        let padding = match &chunk.obfuscation {
            Some(padding) => Some(Hole::of(padding, data).filter(|hole| hole.start > text.end)?),
            None => None,
        };
        let target = Target {
            choice_index: choice.index,
            is_reasoning,
        };
        Some((text, padding, target))
    }

    /// The text of a chunk that repeats the template. `None` for every other.
    pub(super) fn text_of<'a>(&self, data: &'a str) -> Option<Cow<'a, str>> {
        let (text, rest) = self.compare(data.as_bytes())?;
        rest.is_empty().then_some(())?;
        text.decode()
    }

    /// The same of the SSE block that `bytes` begin with, if it is one line of data and a blank line. Gives how many bytes it
    /// takes too.
    #[inline]
    pub(super) fn text_of_block<'a>(&self, bytes: &'a [u8]) -> Option<(Cow<'a, str>, usize)> {
        let data = bytes.strip_prefix(b"data: ")?;
        let (text, rest) = self.compare(data)?;
        let rest = rest
            .strip_prefix(b"\n\n")
            .or_else(|| rest.strip_prefix(b"\r\n\r\n"))?;
        self.is_one_line.then_some(())?;
        Some((text.decode()?, bytes.len() - rest.len()))
    }

    /// Compares what `bytes` begin with, and gives the text and what follows the chunk.
    #[inline(always)] // Called for every delta; see the template of the Responses dialect.
    fn compare<'a>(&self, bytes: &'a [u8]) -> Option<(Written<'a>, &'a [u8])> {
        let chunk = self.chunk.as_bytes();
        if chunk.is_empty() {
            return None;
        }
        let rest = bytes.strip_prefix(&chunk[..self.text.start])?;
        let (text, mut rest) = Written::split(rest)?;
        // Where this text is empty, another field may count in its place.
        (!text.inside.is_empty()).then_some(())?;
        let mut literal = self.text.end;
        if let Some(padding) = self.padding {
            rest = rest.strip_prefix(&chunk[literal..padding.start])?;
            literal = padding.end;
            let (padding, after) = Written::split(rest)?;
            // An escape could be none.
            (!padding.has_escapes).then_some(())?;
            rest = after;
        }
        Some((text, rest.strip_prefix(&chunk[literal..])?))
    }
}

/// The inside of a string, as it was written.
#[derive(Clone, Copy)]
struct Written<'a> {
    inside: &'a [u8],
    has_escapes: bool,
}

impl<'a> Written<'a> {
    /// Splits before the quote that ends a string.
    #[inline]
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let StringInside { end, has_escapes } = string_inside(bytes, 0)?;
        let (inside, rest) = bytes.split_at_checked(end)?;
        let written = Self {
            inside,
            has_escapes,
        };
        Some((written, rest))
    }

    /// `None` when the parser has to judge it.
    #[inline]
    fn decode(self) -> Option<Cow<'a, str>> {
        let text = std::str::from_utf8(self.inside).ok()?;
        if !self.has_escapes {
            return Some(Cow::Borrowed(text));
        }
        let mut unescaped = String::new();
        unescape(text, &mut unescaped).then_some(Cow::Owned(unescaped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(data: &str) -> Template {
        let mut template = Template::default();
        template.learn(data, &Chunk::parse(data).expect("a chunk"));
        template
    }

    #[test]
    fn a_chunk_that_differs_in_its_text_and_padding_only_is_read() {
        let chunk = |text: &str, padding: &str| {
            format!(
                r#"{{"id":"c","choices":[{{"index":2,"delta":{{"content":"{text}"}},"finish_reason":null}}],"usage":null,"obfuscation":"{padding}"}}"#
            )
        };
        let template = learned(&chunk("Hello", "x"));
        assert_eq!(template.target.choice_index, 2);
        for (written, text) in [
            ("a", "a"),
            (" you", " you"),
            (r#"\n\"é"#, "\n\"é"),
            ("{}", "{}"),
        ] {
            let data = chunk(written, "longer");
            assert_eq!(template.text_of(&data).as_deref(), Some(text), "{data}");
        }
    }

    #[test]
    fn reasoning_is_read_too() {
        let chunk = |text: &str| {
            format!(
                r#"{{"choices":[{{"delta":{{"content":null,"reasoning_content":"{text}"}}}}]}}"#
            )
        };
        let template = learned(&chunk("a"));
        assert!(template.target.is_reasoning);
        assert_eq!(template.text_of(&chunk("b")).as_deref(), Some("b"));
    }

    #[test]
    fn whatever_differs_elsewhere_is_left_to_the_parser() {
        let chunk = r#"{"id":"c","choices":[{"delta":{"content":"a"}}],"obfuscation":"x"}"#;
        let template = learned(chunk);
        assert_eq!(template.text_of(chunk).as_deref(), Some("a"));
        for (from, to) in [
            (r#""c""#, r#""d""#),
            (r#":"a""#, r#":"""#),
            (r#":"a""#, r#":"a","content":"b""#),
            (r#":"a""#, r#":"\ud83d""#),
            (r#":"a""#, r#":"\q""#),
            (r#":"a""#, ":\"\t\""),
            (r#":"a""#, ":null"),
            (r#":"x""#, r#":"x","usage":{}"#),
            (r#":"x""#, r#":"\q""#),
            (r#":"x"}"#, r#":"x""#),
            (r#":"x"}"#, r#":"x\"}"#),
            (r#":"x"}"#, r#":"x"} "#),
            (r#"{"id"#, r#" {"id"#),
        ] {
            let other = chunk.replace(from, to);
            assert_ne!(other, chunk);
            assert_eq!(template.text_of(&other), None, "{other}");
        }
    }

    #[test]
    fn only_a_chunk_with_one_text_and_nothing_else_is_learned() {
        for chunk in [
            r#"{"choices":[]}"#,
            r#"{"choices":[{"delta":{"content":""}}]}"#,
            r#"{"choices":[{"delta":{"content":"a\n"}}]}"#,
            r#"{"choices":[{"delta":{"content":"a","reasoning":"b"}}]}"#,
            r#"{"choices":[{"delta":{"content":"a","refusal":"b"}}]}"#,
            r#"{"choices":[{"delta":{"content":"a","tool_calls":[{"function":{"name":"f"}}]}}]}"#,
            r#"{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}"#,
            r#"{"choices":[{"delta":{"content":"a"},"logprobs":{}}]}"#,
            r#"{"choices":[{"delta":{"content":"a"}}],"usage":{}}"#,
            r#"{"choices":[{"delta":{"content":"a"}},{"index":1,"delta":{"content":"a"}}]}"#,
            r#"{"obfuscation":"x","choices":[{"delta":{"content":"a"}}]}"#,
        ] {
            assert!(learned(chunk).chunk.is_empty(), "{chunk}");
        }
    }
}
