//! What blocks tell of themselves. How far a client has read, in the numbers that it knows: the server's `sequence_number`, or our count
//! of the blocks from 1.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use serde::Deserialize;

/// What of an event's data tells where it stands.
#[derive(Deserialize)]
struct Place<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    sequence_number: Option<u64>,
}

/// The data of a block, its lines joined.
pub(in crate::relay) fn data_of(block: &[u8]) -> Option<Cow<'_, [u8]>> {
    let lines = block.split(|byte| *byte == b'\n');
    let mut data = lines.filter_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let data = line.strip_prefix(b"data:")?;
        Some(data.strip_prefix(b" ").unwrap_or(data))
    });
    let first = data.next()?;
    let mut all = Cow::Borrowed(first);
    for line in data {
        let all = all.to_mut();
        all.push(b'\n');
        all.extend_from_slice(line);
    }
    Some(all)
}

/// The numbers of one stream's blocks. The first event says whose they are.
#[derive(Clone, Debug, Default)]
pub(in crate::relay) struct Numbers {
    are_the_servers: Option<bool>,
}

impl Numbers {
    /// What a client calls a block, if it can name it: `count` is ours.
    pub(in crate::relay) fn of(&mut self, count: u64, block: &[u8]) -> Option<u64> {
        if self.are_the_servers == Some(false) {
            return Some(count);
        }
        let data = data_of(block)?;
        let place: Option<Place<'_>> = serde_json::from_slice(&data).ok();
        let number = place.as_ref().and_then(|place| place.sequence_number);
        // A sign of life is no event of the answer.
        let kind = place.and_then(|place| place.kind);
        let is_event = kind.is_none_or(|kind| kind.starts_with("response."));
        if is_event || number.is_some() {
            self.are_the_servers.get_or_insert(number.is_some());
        }
        match self.are_the_servers {
            Some(false) => Some(count),
            _ => number,
        }
    }
}

/// How many of these blocks, which are all so far, a client has that has read up to this number; `None` if none is called so yet.
pub(in crate::relay) fn position_after(blocks: &[Bytes], number: u64) -> Option<u64> {
    let mut numbers = Numbers::default();
    let mut first_behind = None;
    let mut last_of = None;
    for (count, block) in (1..).zip(blocks) {
        match numbers.of(count, block) {
            Some(this) if this == number => last_of = Some(count),
            Some(this) if this > number => {
                first_behind.get_or_insert(count - 1);
            }
            _ => {}
        }
    }
    let nothing_read = (number == 0 && numbers.are_the_servers != Some(true)).then_some(0);
    last_of.or(nothing_read).or(first_behind)
}

/// The block with an `id:` line, which is its last: it holds over one that the server wrote.
pub(in crate::relay) fn with_id(block: &Bytes, number: u64) -> Bytes {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let fields = block.iter().rposition(|byte| !is_end(byte));
    let fields = fields.map_or(0, |last| last + 1);
    let id = format!("\nid: {number}");
    let mut all = BytesMut::with_capacity(block.len() + id.len());
    all.extend_from_slice(&block[..fields]);
    all.extend_from_slice(id.as_bytes());
    all.extend_from_slice(&block[fields..]);
    all.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(data: &[&str]) -> Vec<Bytes> {
        let blocks = data.iter().map(|data| format!("data: {data}\n\n").into());
        blocks.collect()
    }

    #[test]
    fn the_cursor_is_the_servers_number_where_the_stream_has_one() {
        let numbered = blocks(&[
            r#"{"type":"keepalive"}"#,
            r#"{"type":"response.created","sequence_number":0}"#,
            r#"{"type":"response.in_progress","sequence_number":1}"#,
            r#"{"type":"keepalive"}"#,
            r#"{"type":"response.x","sequence_number":4}"#,
        ]);
        let after = |number| position_after(&numbered, number);
        assert_eq!([after(0), after(1), after(2)], [Some(2), Some(3), Some(4)]);
        assert_eq!([after(4), after(5)], [Some(5), None]);
    }

    #[test]
    fn the_cursor_is_our_own_count_where_the_stream_has_no_number() {
        let chat = blocks(&[r#"{"choices":[]}"#, r#"{"choices":[]}"#, "[DONE]"]);
        let after: Vec<_> = (0..5).map(|number| position_after(&chat, number)).collect();
        assert_eq!(after, [Some(0), Some(1), Some(2), Some(3), None]);
        assert_eq!(position_after(&[], 0), Some(0));
        assert_eq!(position_after(&[], 1), None);
    }

    #[test]
    fn an_id_is_a_line_of_its_block() {
        let with = |block: &'static str| with_id(&Bytes::from(block), 7);
        assert_eq!(
            with("event: a\ndata: b\n\n"),
            "event: a\ndata: b\nid: 7\n\n"
        );
        assert_eq!(with("data: b\r\n\r\n"), "data: b\nid: 7\r\n\r\n");
        assert_eq!(
            data_of(b"data: a\r\ndata:b\r\n\r\n").as_deref(),
            Some(&b"a\nb"[..])
        );
    }
}
