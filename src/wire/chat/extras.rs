//! What chunks say that has no form of its own.

use std::{collections::HashMap, hash::BuildHasher};

use foldhash::fast::FixedState;
use serde_json::value::RawValue;

use crate::{json::members::Members, protocol::RawJson};

/// How many members are told apart. Servers have a dozen.
const MAX_NAMES: usize = 64;

/// How long the name of such a member may be, since it is kept.
const MAX_NAME_BYTES: usize = 256;

/// How often a member may change and be delivered each time. One that changes more often is taken for one that every chunk has
/// anew, such as timings: its last value is delivered at the end.
const MAX_CHANGES: u32 = 8;

/// Finds the chunks that have a member without a form of its own, or such a member's new value.
#[derive(Default)]
pub(super) struct Extras {
    /// The last value of each, as a hash, and how often it has changed.
    seen: HashMap<String, (u64, u32)>,
    /// The last chunk with a change that was not delivered.
    last: Option<RawJson>,
}

impl Extras {
    /// Whether the chunk says something new.
    pub(super) fn are_new_in(&mut self, chunk: &str) -> bool {
        let mut news = News {
            seen: &mut self.seen,
            is_new: false,
            is_late: false,
        };
        news.read_chunk(chunk);
        let (is_new, is_late) = (news.is_new, news.is_late);
        if is_new {
            self.last = None;
        } else if is_late {
            self.last = Some(RawJson::from_walked(chunk));
        }
        is_new
    }

    /// The chunk with the last values of what changed too often.
    pub(super) fn take_last(&mut self) -> Option<RawJson> {
        self.last.take()
    }
}

struct News<'a> {
    seen: &'a mut HashMap<String, (u64, u32)>,
    is_new: bool,
    is_late: bool,
}

impl News<'_> {
    fn read_chunk(&mut self, chunk: &str) {
        for member in Members::of(chunk) {
            let value = &chunk[member.value];
            match member.name {
                "id" | "object" | "created" | "model" | "usage" | "obfuscation" | "error"
                | "errors" | "detail" | "base_resp" => {}
                "choices" => self.read_list(value, Self::read_choice),
                name => self.note("", name, value),
            }
        }
    }

    fn read_choice(&mut self, choice: &str) {
        for member in Members::of(choice) {
            let value = &choice[member.value];
            match member.name {
                "index"
                | "finish_reason"
                | "native_finish_reason"
                | "logprobs"
                | "usage"
                | "error" => {}
                "delta" | "message" => self.read_delta(value),
                name => self.note("choices.", name, value),
            }
        }
    }

    fn read_delta(&mut self, delta: &str) {
        for member in Members::of(delta) {
            let value = &delta[member.value];
            match member.name {
                "role" | "content" | "refusal" | "reasoning_content" | "reasoning"
                | "reasoning_details" | "thinking_blocks" | "annotations" | "extra_content"
                | "signature" | "reasoning_opaque" | "reasoning_text" | "thinking"
                | "function_call" => {}
                "tool_calls" => self.read_list(value, Self::read_call),
                // Each piece of them is new.
                "audio" | "images" => self.is_new |= !is_empty(value),
                // A piece of something, which may be all that the answer is.
                name => {
                    self.note("delta.", name, value);
                    self.is_new |= std::mem::take(&mut self.is_late);
                }
            }
        }
    }

    fn read_call(&mut self, call: &str) {
        for member in Members::of(call) {
            match member.name {
                "index"
                | "id"
                | "type"
                | "function"
                | "custom"
                | "extra_content"
                | "provider_specific_fields"
                | "name"
                | "arguments" => {}
                name => self.note("tool_calls.", name, &call[member.value]),
            }
        }
    }

    fn read_list(&mut self, list: &str, read: fn(&mut Self, &str)) {
        let elements: Vec<&RawValue> = serde_json::from_str(list).unwrap_or_default();
        for element in elements {
            read(self, element.get());
        }
    }

    fn note(&mut self, place: &str, name: &str, value: &str) {
        if is_empty(value) {
            return;
        }
        let value = FixedState::default().hash_one(value);
        let name = format!("{place}{name}");
        let has_room = self.seen.len() < MAX_NAMES && name.len() <= MAX_NAME_BYTES;
        match self.seen.get_mut(&name) {
            Some((last, _)) if *last == value => {}
            Some((last, changes)) => {
                *last = value;
                *changes += 1;
                match *changes <= MAX_CHANGES {
                    true => self.is_new = true,
                    false => self.is_late = true,
                }
            }
            None if has_room => {
                self.seen.insert(name, (value, 0));
                self.is_new = true;
            }
            None => self.is_late = true,
        }
    }
}

fn is_empty(value: &str) -> bool {
    matches!(value, "null" | "[]" | "{}" | r#""""#)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(chunks: &[&str]) -> Vec<bool> {
        let mut extras = Extras::default();
        let news = chunks.iter().map(|chunk| extras.are_new_in(chunk));
        news.collect()
    }

    #[test]
    fn a_member_is_news_once_and_when_it_changes() {
        for (chunks, expected) in [
            (
                &[
                    r#"{"id":"a","service_tier":"x"}"#,
                    r#"{"id":"a","service_tier":"x"}"#,
                    r#"{"id":"a","service_tier":"y"}"#,
                ][..],
                &[true, false, true][..],
            ),
            (
                &[
                    r#"{"citations":null}"#,
                    r#"{"citations":[]}"#,
                    r#"{"citations":["u"]}"#,
                    r#"{"citations":["u"],"search_results":[{}]}"#,
                ],
                &[false, false, true, true],
            ),
            (
                &[
                    r#"{"choices":[{"index":0,"delta":{"content":"a"},"content_filter_results":{"hate":1}}]}"#,
                    r#"{"choices":[{"index":0,"delta":{"content":"b"},"content_filter_results":{"hate":1}}]}"#,
                    r#"{"choices":[{"index":0,"delta":{"mood":"b"}}]}"#,
                    r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"x":1}]}}]}"#,
                ],
                &[true, false, true, true],
            ),
            (
                &[
                    r#"{"choices":[{"delta":{"audio":{"data":"a"}}}]}"#,
                    r#"{"choices":[{"delta":{"audio":{"data":"a"}}}]}"#,
                ],
                &[true, true],
            ),
            (
                &[
                    r#"{"id":"c","object":"o","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"x"}"#,
                ],
                &[false],
            ),
        ] {
            assert_eq!(news(chunks), expected, "{chunks:?}");
        }
    }

    #[test]
    fn of_what_every_chunk_has_anew_the_last_is_kept() {
        let mut extras = Extras::default();
        let chunk = |n: u32| format!(r#"{{"timings":{{"n":{n}}}}}"#);
        let delivered = (0..100).filter(|n| extras.are_new_in(&chunk(*n))).count();
        assert_eq!(delivered, MAX_CHANGES as usize + 1);
        let last = extras.take_last();
        assert_eq!(last.as_ref().map(RawJson::get), Some(&*chunk(99)));
        assert_eq!(extras.take_last(), None);
        for n in 0..1_000 {
            extras.are_new_in(&format!(r#"{{"x{n}":1}}"#));
        }
        assert_eq!(extras.seen.len(), MAX_NAMES);
    }
}
