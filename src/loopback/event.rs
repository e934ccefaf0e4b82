//! One server-sent event on its way out, and where the events of a finished body end.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// One server-sent event as the provider sends it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct OutgoingEvent {
    /// What the `event:` line says; without it there is no such line.
    pub event: Option<String>,
    /// What the `id:` line says; without it there is no such line.
    pub id: Option<String>,
    /// The data, one `data:` line for each of its lines. A script file gives a text, or any other JSON value, which
    /// is then sent on one line (a text is the way to fix the order of its keys).
    #[serde(deserialize_with = "text_or_json")]
    pub data: String,
}

impl OutgoingEvent {
    /// Makes an event with an `event:` line, as the Responses API sends them.
    pub fn named(event: impl Into<String>, data: impl Into<String>) -> Self {
        Self {
            event: Some(event.into()),
            data: data.into(),
            ..Self::default()
        }
    }

    /// Makes an event of nothing but data, as the Chat Completions API sends them.
    pub fn data(data: impl Into<String>) -> Self {
        Self {
            data: data.into(),
            ..Self::default()
        }
    }

    /// Reads a block that an encoder wrote, without its empty line.
    pub(super) fn of_block(block: &str) -> Self {
        let (event, data) = match block.strip_prefix("event: ") {
            Some(rest) => rest.split_once('\n').unwrap_or((rest, "")),
            None => ("", block),
        };
        Self {
            event: (!event.is_empty()).then(|| event.to_owned()),
            ..Self::data(data.strip_prefix("data: ").unwrap_or(data))
        }
    }

    fn write_to(&self, text: &mut String) {
        for (field, value) in [("event: ", &self.event), ("id: ", &self.id)] {
            if let Some(value) = value {
                text.extend([field, value, "\n"]);
            }
        }
        // A CR alone ends a line too, so data cannot hold one.
        for line in self.data.replace("\r\n", "\n").split(['\n', '\r']) {
            text.extend(["data: ", line, "\n"]);
        }
        text.push('\n');
    }
}

/// Writes events down as the body of a stream, each closed by an empty line.
pub fn sse_text(events: &[OutgoingEvent]) -> String {
    let mut text = String::with_capacity(events.iter().map(|event| event.data.len() + 64).sum());
    for event in events {
        event.write_to(&mut text);
    }
    text
}

fn text_or_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

/// Finds where each event of a body ends: the offset after its empty line, and the end of the body at last.
///
/// Whatever lies between empty lines counts as an event, comments too, so that an offset from here is always a place
/// where a comment may be put in.
pub(super) fn event_ends(body: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut line_start = 0;
    let mut block_is_empty = true;
    while let Some(length) = memchr::memchr2(b'\n', b'\r', &body[line_start..]) {
        let line_end = line_start + length;
        let terminator = if body[line_end..].starts_with(b"\r\n") {
            2
        } else {
            1
        };
        if length > 0 {
            block_is_empty = false;
        } else if !block_is_empty {
            ends.push(line_end + terminator);
            block_is_empty = true;
        }
        line_start = line_end + terminator;
    }
    if ends.last().copied().unwrap_or(0) < body.len() {
        ends.push(body.len());
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_the_data_gets_a_field_of_its_own() {
        let event = OutgoingEvent {
            event: Some("note".into()),
            id: Some("7".into()),
            data: "one\ntwo\r\nthree".into(),
        };
        assert_eq!(
            sse_text(&[event, OutgoingEvent::data("")]),
            "event: note\nid: 7\ndata: one\ndata: two\ndata: three\n\ndata: \n\n"
        );
    }

    #[test]
    fn events_end_after_their_empty_line() {
        for (body, ends) in [
            ("", vec![]),
            ("data: 1\n\ndata: 2\n\n", vec![9, 18]),
            ("data: 1\r\n\r\ndata: 2\r\n\r\n", vec![11, 22]),
            ("data: 1\r\rdata: 2\r\r", vec![9, 18]),
            ("data: 1\n\n\n\ndata: 2\n\n", vec![9, 20]),
            ("\n\ndata: 1\n\n: note\n\n", vec![11, 19]),
            ("data: 1\n\ndata: cut", vec![9, 18]),
        ] {
            assert_eq!(event_ends(body.as_bytes()), ends, "{body:?}");
        }
    }
}
