//! A block of an event stream: what is in it, and how a member of it is changed while all other bytes stay.

use std::{borrow::Cow, collections::HashMap, ops::Range, sync::LazyLock};

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Whether it is the chunk of a Chat answer that has no choice, but the usage.
pub(super) fn is_usage_alone(block: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Chunk<'a> {
        choices: [(); 0],
        #[serde(borrow)]
        usage: &'a RawValue,
    }
    // Few chunks have any of it: most are not read for this.
    may_have_usage(block)
        && serde_json::from_slice::<Chunk<'_>>(&data(block))
            .is_ok_and(|Chunk { choices: [], usage }| usage.get() != "null")
}

/// Whether one of some blocks may be such.
pub(super) fn may_have_usage(blocks: &[u8]) -> bool {
    memchr::memmem::find(blocks, b"\"prompt_tokens\"").is_some()
}

/// Whether one of some blocks may name a model.
pub(super) fn may_name_model(blocks: &[u8]) -> bool {
    memchr::memmem::find(blocks, b"\"model\"").is_some()
}

/// The data of a block.
pub(super) fn data(block: &[u8]) -> Cow<'_, [u8]> {
    let mut lines = data_lines(block);
    let first = &block[lines.next().unwrap_or_default()];
    let mut more = lines.peekable();
    if more.peek().is_none() {
        return Cow::Borrowed(first);
    }
    let mut joined = first.to_vec();
    for line in more {
        joined.push(b'\n');
        joined.extend_from_slice(&block[line]);
    }
    Cow::Owned(joined)
}

/// Where the values of the `data` lines lie.
fn data_lines(block: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = if block.starts_with(b"\xEF\xBB\xBF") {
        3
    } else {
        0
    };
    std::iter::from_fn(move || {
        while start < block.len() {
            let line = start;
            let end = memchr::memchr2(b'\n', b'\r', &block[line..])
                .map_or(block.len(), |length| line + length);
            start = end + 1;
            match block[line..end].strip_prefix(b"data") {
                Some([]) => return Some(end..end),
                Some([b':', b' ', ..]) => return Some(line + 6..end),
                Some([b':', ..]) => return Some(line + 5..end),
                _ => {}
            }
        }
        None
    })
}

/// What the relay asks of an event, where it asks at all.
#[derive(Default, Deserialize)]
pub(super) struct Event<'a> {
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "number")]
    pub(super) sequence_number: Option<u64>,
    #[serde(borrow, default)]
    pub(super) response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) item: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "number")]
    pub(super) output_index: Option<u64>,
}

/// A number, where it is one.
fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_u64())
}

impl<'a> Event<'a> {
    /// The event, or nothing of it where it can't be read.
    pub(super) fn read(data: &'a [u8]) -> Self {
        let read = serde_json::from_slice(data);
        read.unwrap_or_else(|_| Self::read_leniently(data).unwrap_or_default())
    }

    /// Of a member that stands twice the last one counts, as where it is decoded.
    fn read_leniently(data: &'a [u8]) -> Option<Self> {
        let members: HashMap<Cow<'a, str>, &'a RawValue> = serde_json::from_slice(data).ok()?;
        let is_given = |json: &&RawValue| json.get() != "null";
        let member = |name: &str| members.get(name).copied().filter(is_given);
        let number = |name: &str| serde_json::from_str(member(name)?.get()).ok();
        Some(Self {
            kind: member("type").and_then(|kind| serde_json::from_str(kind.get()).ok()),
            sequence_number: number("sequence_number"),
            response: member("response"),
            item: member("item"),
            id: member("id"),
            model: member("model"),
            error: member("error"),
            output_index: number("output_index"),
        })
    }

    /// The event if its kind is one of these, and it has a response or an item. Nearly all of an answer has neither, or says at its start that
    /// it is of another kind: that is read no further.
    pub(super) fn read_if(data: &'a [u8], is_wanted: impl Fn(&str) -> bool) -> Option<Self> {
        static MEMBERS: LazyLock<[Finder<'_>; 2]> =
            LazyLock::new(|| ["\"response\"", "\"item\""].map(Finder::new));
        let may_be = match written_first(data) {
            Some(kind) => is_wanted(kind),
            None => MEMBERS.iter().any(|name| name.find(data).is_some()),
        };
        let event = may_be.then(|| Self::read(data))?;
        is_wanted(event.kind()).then_some(event)
    }

    pub(super) fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or_default()
    }
}

/// The kind of an event, where it stands first and without escapes, as OpenAI's servers write it.
pub(super) fn written_first(data: &[u8]) -> Option<&str> {
    let kind = data.strip_prefix(br#"{"type":""#)?;
    let end = memchr::memchr2(b'"', b'\\', kind)?;
    let kind = (kind[end] == b'"').then_some(&kind[..end])?;
    str::from_utf8(kind).ok()
}

/// Whether a kind says that a response ended so, or that its stream did.
pub(super) fn is_end(kind: &str) -> bool {
    matches!(
        kind,
        "response.completed" | "response.incomplete" | "response.failed"
    )
}

/// Two members that an object of the API may have.
#[derive(Default, Deserialize)]
pub(super) struct Object<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) model: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Option<&'a RawValue>,
}

impl<'a> Object<'a> {
    pub(super) fn read(json: &'a RawValue) -> Self {
        serde_json::from_str(json.get()).unwrap_or_default()
    }
}

/// Whether it is a text, with its quotes.
pub(super) fn is_text(json: &RawValue) -> bool {
    json.get().starts_with('"')
}

/// The block with its data changed: where the data is one line, all other bytes stay.
pub(super) fn edited(block: &Bytes, change: impl FnOnce(&[u8], &mut Edits)) -> Bytes {
    let mut lines = data_lines(block);
    let (Some(first), more) = (lines.next(), lines.next().is_some()) else {
        return block.clone();
    };
    let mut edits = Edits::default();
    if !more {
        change(&block[first.clone()], &mut edits);
        return match edits.0.is_empty() {
            true => block.clone(),
            false => edits.apply(block, first.start),
        };
    }
    let joined = data(block);
    change(&joined, &mut edits);
    if edits.0.is_empty() {
        return block.clone();
    }
    // JSON over several lines: its line ends are white space.
    let new = edits.apply(&joined, 0);
    let mut written = BytesMut::with_capacity(block.len() + 32);
    written.extend_from_slice(&block[..first.start]);
    for (index, line) in new.split(|byte| *byte == b'\n').enumerate() {
        if index > 0 {
            written.extend_from_slice(b"\ndata: ");
        }
        written.extend_from_slice(line);
    }
    written.extend_from_slice(b"\n\n");
    written.freeze()
}

/// Pieces of a text and what stands there instead.
#[derive(Default)]
pub(super) struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Replaces a value that was read from `whole`.
    pub(super) fn replace(&mut self, whole: &[u8], value: &RawValue, new: impl Into<String>) {
        let start = (value.get().as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        let range = start..start.saturating_add(value.get().len());
        if whole.get(range.clone()) == Some(value.get().as_bytes()) {
            self.0.push((range, new.into()));
        }
    }

    /// Replaces a text, which is given with its quotes, wherever it is the value of a member that names an id.
    pub(super) fn replace_id(&mut self, whole: &[u8], old: &str, new: &str) {
        for start in memchr::memmem::find_iter(whole, old.as_bytes()) {
            let before = whole[..start].trim_ascii_end();
            let Some(before) = before.strip_suffix(b":") else {
                continue;
            };
            let names_id = [&b"\"id\""[..], b"\"item_id\"", b"\"response_id\""]
                .iter()
                .any(|name| before.trim_ascii_end().ends_with(name));
            if names_id {
                self.0.push((start..start + old.len(), new.to_owned()));
            }
        }
    }

    /// Replaces the number that is the value of a member of the outermost object.
    pub(super) fn replace_number(&mut self, whole: &[u8], member: &str, new: u64) {
        let members =
            serde_json::from_slice::<std::collections::BTreeMap<Cow<'_, str>, &RawValue>>(whole);
        if let Some(value) = members
            .ok()
            .and_then(|members| members.get(member).copied())
        {
            self.replace(whole, value, new.to_string());
        }
    }

    fn apply(mut self, bytes: &[u8], offset: usize) -> Bytes {
        self.0.sort_by_key(|(range, _)| range.start);
        let mut written = BytesMut::with_capacity(bytes.len() + 64);
        let mut from = 0;
        for (range, new) in self.0 {
            let (start, end) = (offset + range.start, offset + range.end);
            if start < from {
                continue;
            }
            written.extend_from_slice(&bytes[from..start]);
            written.extend_from_slice(new.as_bytes());
            from = end;
        }
        written.extend_from_slice(&bytes[from..]);
        written.freeze()
    }
}

/// Makes every `model` of the API's objects in a block the one that the client asked for, given as JSON.
pub(super) fn renamed(block: &Bytes, name: &str) -> Bytes {
    if !may_name_model(block) {
        return block.clone();
    }
    edited(block, |data, edits| {
        let event = Event::read(data);
        let inner = event
            .response
            .and_then(|response| Object::read(response).model);
        for model in [event.model, inner].into_iter().flatten() {
            if is_text(model) && model.get() != name {
                edits.replace(data, model, name);
            }
        }
    })
}

/// An object of the API with the model that the client asked for, given as JSON.
pub(super) fn renamed_object(object: Bytes, name: &str) -> Bytes {
    let mut edits = Edits::default();
    let read: Object<'_> = serde_json::from_slice(&object).unwrap_or_default();
    if let Some(model) = read.model.filter(|model| is_text(model)) {
        edits.replace(&object, model, name);
    }
    match edits.0.is_empty() {
        true => object,
        false => edits.apply(&object, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_data_are_joined() {
        assert_eq!(&*data(b"\xEF\xBB\xBFdata: 1\n\n"), b"1");
        assert_eq!(&*data(b": ping\nevent: a\r\ndata:{}\r\n\r\n"), b"{}");
        assert_eq!(&*data(b"data: {\ndata:}\nid: 1\n\n"), b"{\n}");
        assert_eq!(&*data(b"id: 1\ndatabase: 1\n\n"), b"");
    }

    #[test]
    fn of_a_member_that_stands_twice_the_last_counts() {
        let event = Event::read(
            br#"{"type":"response.in_progress","sequence_number":4,"response":{},"type":"response.completed","sequence_number":5,"response":{"id":"b"},"output_index":[]}"#,
        );
        assert_eq!(event.kind(), "response.completed");
        assert_eq!((event.sequence_number, event.output_index), (Some(5), None));
        assert_eq!(event.response.unwrap().get(), r#"{"id":"b"}"#);
        // One that is of another type than the API's says nothing, and the rest is read.
        assert_eq!(
            Event::read(br#"{"type":1,"sequence_number":2}"#).sequence_number,
            Some(2)
        );
        assert_eq!(Event::read(b"[1]").kind(), "");
    }

    #[test]
    fn an_event_of_another_kind_is_read_no_further_where_that_is_sure() {
        let wants = |kind: &str| kind == "a" || kind == "b";
        let read = |data: &'static str| {
            let event = Event::read_if(data.as_bytes(), wants);
            event.map(|event| (event.kind().to_owned(), event.output_index))
        };
        let a = Some(("a".to_owned(), Some(1)));
        assert_eq!(read(r#"{"type":"a","output_index":1,"item":{}}"#), a);
        assert_eq!(
            read(r#" { "output_index" : 1, "response" : {}, "type" : "a" }"#),
            a
        );
        assert_eq!(read(r#"{"type":"\u0061","output_index":1,"item":null}"#), a);
        assert_eq!(read(r#"{"output_index":1,"type":"a"}"#), None);
        assert_eq!(read(r#"{"type":"c","output_index":1}"#), None);
        assert_eq!(read(r#"{"output_index":1,"type":"c"}"#), None);
        assert_eq!(read(r#"{"type":"a"#), None);
        assert_eq!(read(r#"{"type":1}"#), None);
        assert_eq!(written_first(br#"{"type":"a","x"#), Some("a"));
        assert_eq!(written_first(br#"{"type":"a\"b"}"#), None);
        assert_eq!(written_first(br#"{"type": "a"}"#), None);
    }

    #[test]
    fn only_the_bytes_of_a_model_change() {
        let name = r#""mine""#;
        for (came, goes) in [
            (
                "event: response.created\ndata: {\"odd\" : 1.0, \"response\": { \"model\" : \"theirs\",\"x\":\"\\u0041\", \"nested\": {\"model\":\"kept\"} } ,\"type\":\"response.created\"}\n\n",
                "event: response.created\ndata: {\"odd\" : 1.0, \"response\": { \"model\" : \"mine\",\"x\":\"\\u0041\", \"nested\": {\"model\":\"kept\"} } ,\"type\":\"response.created\"}\n\n",
            ),
            (
                "data: {\"model\":\"theirs\",\"choices\":[{\"delta\":{\"content\":\"\\\"model\\\":\\\"theirs\\\"\"}}]}\r\n\r\n",
                "data: {\"model\":\"mine\",\"choices\":[{\"delta\":{\"content\":\"\\\"model\\\":\\\"theirs\\\"\"}}]}\r\n\r\n",
            ),
            ("data: {\"model\":null}\n\n", "data: {\"model\":null}\n\n"),
            (
                "event: a\ndata: {\ndata: \"model\": \"theirs\"}\n\n",
                "event: a\ndata: {\ndata: \"model\": \"mine\"}\n\n",
            ),
            ("data: [DONE]\n\n", "data: [DONE]\n\n"),
            ("data: {\"model\"\n\n", "data: {\"model\"\n\n"),
        ] {
            let block = Bytes::from(came);
            assert_eq!(
                renamed(&block, name).escape_ascii().to_string(),
                goes.as_bytes().escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn an_id_in_a_text_stays() {
        let block = Bytes::from(
            r#"data: {"item_id": "msg_b", "delta":"\"msg_b","text":"msg_b","item":{"id":"msg_b"}}"#,
        );
        let new = edited(&block, |data, edits| {
            edits.replace_id(data, "\"msg_b\"", "\"msg_a\"");
        });
        assert_eq!(
            new,
            r#"data: {"item_id": "msg_a", "delta":"\"msg_b","text":"msg_b","item":{"id":"msg_a"}}"#
        );
    }
}
