//! A text that a stream repeats.

use std::{borrow::Cow, ops::RangeInclusive, sync::LazyLock};

/// The last long text that an event had the whole of.
///
/// A server says the whole of a text up to four times: by itself, in its part, in its item and in the response object. It is most
/// of what each of these holds, and what was a JSON string once is one again: so where it comes again it is compared, at a
/// fraction of the cost of walking over it and of reading its escapes.
#[derive(Default)]
pub(super) struct KnownText {
    /// Its JSON without the quotes.
    inside: Box<str>,
    text: Box<str>,
}

/// Where none is known.
pub(super) static NO_TEXT: LazyLock<KnownText> = LazyLock::new(KnownText::default);

/// How long a text is that is known. A shorter one costs little, and a longer one is not worth its memory.
const KNOWN_BYTES: RangeInclusive<usize> = 64..=256 * 1024;

impl KnownText {
    /// The text that this JSON string says, which has been walked over. `None` for one that is not to be known.
    pub(super) fn new(json: &str, text: &str) -> Option<Self> {
        let inside = inside(json).filter(|inside| KNOWN_BYTES.contains(&inside.len()))?;
        Some(Self {
            inside: inside.into(),
            text: text.into(),
        })
    }

    /// What is known to be the inside of a JSON string; empty when nothing is.
    pub(super) fn inside(&self) -> &str {
        &self.inside
    }

    /// The text of a JSON string that has been walked over, if it is this one.
    pub(super) fn read(&self, json: &str) -> Option<Cow<'_, str>> {
        let is_it = !self.inside.is_empty() && inside(json) == Some(&self.inside);
        is_it.then_some(Cow::Borrowed(&*self.text))
    }
}

fn inside(json: &str) -> Option<&str> {
    json.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::Index};
    use serde_json::json;

    use super::*;
    use crate::{
        json::walk::{value_end, value_end_knowing},
        wire::equivalence::{mutate, mutation},
    };

    #[test]
    fn a_text_is_known_if_it_is_of_a_length_that_is_worth_it() {
        for (bytes, is_known) in [
            (0, false),
            (63, false),
            (64, true),
            (256 * 1024, true),
            (256 * 1024 + 1, false),
        ] {
            let text = "a".repeat(bytes);
            let known = KnownText::new(&json!(text).to_string(), &text);
            assert_eq!(known.is_some(), is_known, "{bytes}");
        }
        assert!(KnownText::new("[1]", "").is_none());
        assert!(KnownText::default().read("\"\"").is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_walk_ends_where_it_would_if_nothing_were_known(
            text in "[ab\"\\\\\né]{1,12}", cut: Index, mutations in proptest::collection::vec(mutation(), 0..3),
        ) {
            let part: String = text.chars().skip(cut.index(text.chars().count())).collect();
            let written = json!(text).to_string();
            let inside = inside(&written).expect("a string");
            let value = json!({"a": text, "b": [part, {text.as_str(): text}], "c": format!("{text}{part}")});
            let mut json = value.to_string().into_bytes();
            for mutation in &mutations {
                mutate(&mut json, mutation);
            }
            prop_assert_eq!(value_end_knowing(&json, 0, inside.as_bytes()), value_end(&json, 0));
        }

        #[test]
        fn a_known_text_is_read_as_it_was(text in "[a-c\"\\\\\né]{64,70}", other in "[a-c]{64,65}") {
            let json = json!(text).to_string();
            let known = KnownText::new(&json, &text).expect("long enough");
            prop_assert_eq!(known.read(&json), Some(Cow::Borrowed(&*text)));
            prop_assert_eq!(known.read(&json!(other).to_string()).is_some(), other == text);
        }
    }
}
