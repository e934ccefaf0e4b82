//! What an answer needs to know of its request.

use std::{io, iter};

use serde_json::{Map, Value, json};

use crate::wire::responses::repeated_fields;

/// The most characters of a prompt that an answer repeats.
const MAX_QUOTED_CHARS: usize = 60;
/// The most messages that a compacted conversation keeps: its last ones.
pub(super) const MAX_KEPT_MESSAGES: usize = 64;
/// The most bytes of a name of the request's that an answer repeats, of a model or of a function. Each event may hold it.
const MAX_NAME_BYTES: usize = 256;
/// The most bytes of a field of the request that a response repeats; three events hold all of them. What is larger looks as if it were
/// not set.
const MAX_REPEATED_BYTES: usize = 256 << 10;

/// What an answer still has to know of its request: little, however much was asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    /// The fields that a response repeats.
    pub(super) repeated: Map<String, Value>,
    /// Whether a stream of the Chat Completions API is to tell the usage.
    pub(super) wants_usage: bool,
    /// Whether reasoning is to be encrypted, too.
    pub(super) wants_encrypted: bool,
    /// The most tokens that the answer may have.
    pub(super) max_tokens: Option<u64>,
    pub(super) compaction: AskedCompaction,
}

impl Asked {
    pub(super) fn by(request: &Value) -> Self {
        let repeated = request.as_object().into_iter().flatten();
        let fields = repeated_fields();
        let repeated = repeated.filter(|(name, value)| {
            fields.contains_key(*name) && json_bytes(value) <= MAX_REPEATED_BYTES
        });
        let mut included = request["include"].as_array().into_iter().flatten();
        Self {
            repeated: repeated
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            wants_usage: request["stream_options"]["include_usage"] == true,
            wants_encrypted: included.any(|included| included == "reasoning.encrypted_content"),
            max_tokens: ["max_output_tokens", "max_completion_tokens", "max_tokens"]
                .into_iter()
                .find_map(|name| request[name].as_u64()),
            compaction: AskedCompaction::of(&request["input"]),
        }
    }
}

/// What the answer to a request to compact is made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AskedCompaction {
    /// Whether the Responses API was asked for one.
    pub(super) is_last: bool,
    pub(super) items: usize,
    /// The last messages, shortened.
    pub(super) messages: Vec<Value>,
}

impl AskedCompaction {
    fn of(input: &Value) -> Self {
        let text = input.is_string().then(|| message("user", input));
        let items = input.as_array().map_or(&[][..], Vec::as_slice);
        let of_items = items.iter().rev().filter_map(|item| {
            let role = item["role"].as_str()?;
            Some(message(role, &item["content"]))
        });
        let mut messages: Vec<_> = text
            .into_iter()
            .chain(of_items)
            .take(MAX_KEPT_MESSAGES)
            .collect();
        messages.reverse();
        Self {
            is_last: items
                .last()
                .is_some_and(|item| item["type"] == "compaction_trigger"),
            items: items.len().max(usize::from(input.is_string())),
            messages,
        }
    }
}

fn message(role: &str, content: &Value) -> Value {
    let text = shortened(content).unwrap_or_default();
    let part = match role {
        "assistant" => {
            json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
        }
        _ => json!({"type": "input_text", "text": text}),
    };
    let role = shortened(&role.into());
    json!({"type": "message", "status": "completed", "role": role, "content": [part]})
}

/// A name, unless it is too long to be repeated.
pub(super) fn name(value: &Value) -> Option<&str> {
    value.as_str().filter(|name| name.len() <= MAX_NAME_BYTES)
}

/// How many bytes a value is written with. Nothing is written: it may be large.
pub(super) fn json_bytes(value: &Value) -> usize {
    struct Counter(usize);

    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut counter = Counter(0);
    match serde_json::to_writer(&mut counter, value) {
        Ok(()) => counter.0,
        // A tree can be written, and the counter takes everything.
        Err(_) => usize::MAX,
    }
}

/// The beginning of a content's text: a text, or the texts among its parts, on one line and cut off after [`MAX_QUOTED_CHARS`]
/// characters.
pub(super) fn shortened(content: &Value) -> Option<String> {
    let parts = content.as_array().into_iter().flatten();
    let of_parts = parts.filter_map(|part| part["text"].as_str());
    let mut texts = content.as_str().into_iter().chain(of_parts).peekable();
    texts.peek()?;
    // No more of a large text is looked at than can be shown.
    let words = texts.flat_map(str::split_whitespace);
    let characters = words.flat_map(|word| iter::once(' ').chain(word.chars()));
    let line: String = characters.skip(1).take(MAX_QUOTED_CHARS + 1).collect();
    Some(match line.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{}\u{2026}", line[..end].trim_end()),
        None => line,
    })
}
