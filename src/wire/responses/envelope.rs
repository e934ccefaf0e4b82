//! The fields of a Responses event that the runtime reads.

use std::{borrow::Cow, fmt};

use memchr::memchr;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{first_response::FirstResponse, known_text::KnownText};
use crate::json::{
    lenient::{LenientInt, LenientStr},
    members::{Member, Members},
};

/// One event's JSON object, read in one pass. Fields of the wrong kind read as absent, a repeated field's last value counts,
/// and all others are walked over.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Envelope<'a> {
    pub(super) kind: LenientStr<'a>,
    pub(super) delta: LenientStr<'a>,
    pub(super) item_id: LenientStr<'a>,
    pub(super) call_id: LenientStr<'a>,
    pub(super) id: LenientStr<'a>,
    pub(super) sequence_number: LenientInt,
    pub(super) output_index: LenientInt,
    pub(super) content_index: LenientInt,
    pub(super) summary_index: LenientInt,
    pub(super) logprobs: Option<&'a str>,
    pub(super) item: Option<&'a str>,
    pub(super) response: Option<ResponseObject<'a>>,
    pub(super) error: Option<&'a str>,
    /// What an event with the whole of a text calls it.
    pub(super) text: Option<&'a str>,
    pub(super) refusal: Option<&'a str>,
    pub(super) part: Option<&'a str>,
    pub(super) arguments: Option<&'a str>,
    pub(super) input: Option<&'a str>,
}

impl<'a> Envelope<'a> {
    /// Reads an event's JSON.
    ///
    /// # Errors
    /// When it is not exactly one JSON object.
    pub(super) fn read(
        json: &'a str,
        first: &mut FirstResponse,
        known: &'a KnownText,
    ) -> serde_json::Result<Self> {
        first.forget_unkept();
        if let Some(envelope) = Self::walk(json, first, known) {
            return Ok(envelope);
        }
        first.forget_unkept();
        serde_json::from_str(json)
    }

    /// Reads what a walk is enough for. `None` leaves it to the parser, which knows what is wrong, and reads names with escapes.
    fn walk(json: &'a str, first: &mut FirstResponse, known: &'a KnownText) -> Option<Self> {
        let mut envelope = Self::default();
        let mut members = Members::of(json).knowing(known.inside());
        while let Some(start) = members.next_start() {
            let (name, value) = members.name(start)?;
            let field = field(name);
            if let Field::Response = field
                && json.as_bytes().get(value) == Some(&b'{')
            {
                let response = first.read(json, value, known)?;
                members.go_on_at(value + response.text.len());
                envelope.response = Some(response);
                continue;
            }
            let value = &json[members.value(value)?];
            match field {
                Field::Kind => envelope.kind = text(value)?,
                Field::Delta => envelope.delta = text(value)?,
                Field::ItemId => envelope.item_id = text(value)?,
                Field::CallId => envelope.call_id = text(value)?,
                Field::Id => envelope.id = text(value)?,
                Field::SequenceNumber => envelope.sequence_number = integer(value)?,
                Field::OutputIndex => envelope.output_index = integer(value)?,
                Field::ContentIndex => envelope.content_index = integer(value)?,
                Field::SummaryIndex => envelope.summary_index = integer(value)?,
                Field::Logprobs => envelope.logprobs = present(value),
                Field::Item => envelope.item = present(value),
                Field::Response => {
                    first.forget_unkept();
                    envelope.response = present(value).map(ResponseObject::read);
                }
                Field::Error => envelope.error = present(value),
                Field::Text => envelope.text = present(value),
                Field::Refusal => envelope.refusal = present(value),
                Field::Part => envelope.part = present(value),
                Field::Arguments => envelope.arguments = present(value),
                Field::Input => envelope.input = present(value),
                Field::Unread if name.contains('\\') => return None,
                Field::Unread => {}
            }
        }
        members.is_whole().then_some(envelope)
    }
}

/// Null reads as absent.
fn present(json: &str) -> Option<&str> {
    Some(json).filter(|json| *json != "null")
}

/// Reads a value that has been walked over. `None` for one that the parser does not take.
fn text(json: &str) -> Option<LenientStr<'_>> {
    match json
        .strip_prefix('"')
        .and_then(|json| json.strip_suffix('"'))
    {
        Some(inside) if memchr(b'\\', inside.as_bytes()).is_none() => {
            Some(LenientStr(Some(Cow::Borrowed(inside))))
        }
        _ => serde_json::from_str(json).ok(),
    }
}

/// The same of a number.
fn integer(json: &str) -> Option<LenientInt> {
    match json.parse() {
        Ok(number) => Some(LenientInt(Some(number))),
        Err(_) => serde_json::from_str(json).ok(),
    }
}

/// The fields of a response object that the runtime reads. Null reads as absent.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ResponseObject<'a> {
    /// The whole object, as it was written.
    pub(super) text: &'a str,
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) status: Option<Cow<'a, str>>,
    pub(super) usage: Option<&'a str>,
    pub(super) error: Option<&'a str>,
    pub(super) incomplete_details: Option<&'a str>,
    /// Where some servers put their words of a failure.
    pub(super) status_details: Option<&'a str>,
    pub(super) last_error: Option<&'a str>,
    /// The word of the Chat wire, which bridges leave in the object.
    pub(super) finish_reason: Option<&'a str>,
    /// The whole text, which SDKs add and some gateways send.
    pub(super) output_text: Option<&'a str>,
    pub(super) output: Option<&'a str>,
    pub(super) end_turn: Option<bool>,
}

impl<'a> ResponseObject<'a> {
    /// Reads an object that has been found to be JSON. Of what is no object, nothing but the text is known.
    pub(super) fn read(json: &'a str) -> Self {
        let mut response = Self {
            text: json,
            ..Self::default()
        };
        for Member { name, value } in Members::of(json) {
            response.take(name, &json[value]);
        }
        response
    }

    /// Takes a member that has been walked over. It is the largest thing in a stream, so it is not parsed for the few of its
    /// fields that count. Of a repeated field the last counts.
    pub(super) fn take(&mut self, name: &str, json: &'a str) {
        let text = || {
            serde_json::from_str::<LenientStr<'a>>(json)
                .unwrap_or_default()
                .0
        };
        match name {
            "id" => self.id = text(),
            "status" => self.status = text(),
            "usage" => self.usage = present(json),
            "error" => self.error = present(json),
            "output" => self.output = present(json),
            "incomplete_details" => self.incomplete_details = present(json),
            "status_details" => self.status_details = present(json),
            "last_error" => self.last_error = present(json),
            "finish_reason" => self.finish_reason = present(json),
            "output_text" => self.output_text = present(json),
            "end_turn" => self.end_turn = json.parse().ok(),
            _ => {}
        }
    }
}

/// A key, compared where it lies.
struct Key<'k, T>(&'k dyn Fn(&str) -> T);

impl<'de, T> serde::de::DeserializeSeed<'de> for Key<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T> Visitor<'_> for Key<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, v: &str) -> Result<T, E> {
        Ok((self.0)(v))
    }
}

#[derive(Clone, Copy)]
enum Field {
    Kind,
    Delta,
    ItemId,
    CallId,
    Id,
    SequenceNumber,
    OutputIndex,
    ContentIndex,
    SummaryIndex,
    Logprobs,
    Item,
    Response,
    Error,
    Text,
    Refusal,
    Part,
    Arguments,
    Input,
    Unread,
}

fn field(name: &str) -> Field {
    match name {
        "type" => Field::Kind,
        "delta" => Field::Delta,
        "item_id" => Field::ItemId,
        "call_id" => Field::CallId,
        "id" => Field::Id,
        "sequence_number" => Field::SequenceNumber,
        "output_index" => Field::OutputIndex,
        "content_index" => Field::ContentIndex,
        "summary_index" => Field::SummaryIndex,
        "logprobs" => Field::Logprobs,
        "item" => Field::Item,
        "response" => Field::Response,
        "error" => Field::Error,
        "text" => Field::Text,
        "refusal" => Field::Refusal,
        "part" => Field::Part,
        "arguments" => Field::Arguments,
        "input" => Field::Input,
        _ => Field::Unread,
    }
}

fn raw<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<&'de str>, A::Error> {
    let value: &RawValue = map.next_value()?;
    Ok(present(value.get()))
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut envelope = Envelope::default();
        while let Some(field) = map.next_key_seed(Key(&field))? {
            match field {
                Field::Kind => envelope.kind = map.next_value()?,
                Field::Delta => envelope.delta = map.next_value()?,
                Field::ItemId => envelope.item_id = map.next_value()?,
                Field::CallId => envelope.call_id = map.next_value()?,
                Field::Id => envelope.id = map.next_value()?,
                Field::SequenceNumber => envelope.sequence_number = map.next_value()?,
                Field::OutputIndex => envelope.output_index = map.next_value()?,
                Field::ContentIndex => envelope.content_index = map.next_value()?,
                Field::SummaryIndex => envelope.summary_index = map.next_value()?,
                Field::Logprobs => envelope.logprobs = raw(&mut map)?,
                Field::Item => envelope.item = raw(&mut map)?,
                Field::Response => {
                    envelope.response = raw(&mut map)?.map(ResponseObject::read);
                }
                Field::Error => envelope.error = raw(&mut map)?,
                Field::Text => envelope.text = raw(&mut map)?,
                Field::Refusal => envelope.refusal = raw(&mut map)?,
                Field::Part => envelope.part = raw(&mut map)?,
                Field::Arguments => envelope.arguments = raw(&mut map)?,
                Field::Input => envelope.input = raw(&mut map)?,
                Field::Unread => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(envelope)
    }
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

/// The walk reads what the parser reads, or leaves it alone.
#[cfg(any(test, fuzzing))]
pub(crate) fn check_walk(json: &str) {
    let parsed = serde_json::from_str::<Envelope<'_>>(json).ok();
    let walked = Envelope::walk(
        json,
        &mut FirstResponse::default(),
        &super::known_text::NO_TEXT,
    );
    match walked {
        Some(_) => assert_eq!(walked, parsed, "{json}"),
        None => assert!(parsed.is_none() || json.contains('\\'), "{json}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::check_walk as check;
    use crate::wire::equivalence::{mutate, mutation};

    #[test]
    fn values_of_every_kind_are_read_as_the_parser_reads_them() {
        let values = [
            "null",
            "true",
            "0",
            "7",
            "-1",
            "-0",
            "7.0",
            "1.5",
            "18446744073709551616",
            "1e999",
            "[]",
            "[1,[2]]",
            "{}",
            r#"{"a":{"b":1}}"#,
            r#""""#,
            r#""7""#,
            r#""a""#,
            r#""a\n\u00e9""#,
            r#""\ud83d""#,
            r#""\q""#,
            "\"\t\"",
            r#"{"id":"r","usage":{}}"#,
        ];
        let names = [
            "type",
            "delta",
            "item_id",
            "call_id",
            "id",
            "sequence_number",
            "output_index",
            "content_index",
            "summary_index",
            "logprobs",
            "item",
            "response",
            "error",
            "text",
            "refusal",
            "part",
            "arguments",
            "input",
            "other",
            r"\u0064elta",
            "",
        ];
        for name in names {
            for value in values {
                check(&format!(r#"{{"{name}":{value}}}"#));
                check(&format!(
                    " {{ \"type\" : \"t\" , \"{name}\":\t{value}, \"{name}\" : {value}\r\n}} "
                ));
            }
        }
        for json in [
            "",
            " ",
            "{}",
            "{} ",
            "{}x",
            "[]",
            "null",
            "\"type\"",
            "{\"type\":\"a\"",
            "{\"type\":\"a\"}}",
            "{,}",
        ] {
            check(json);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_was_an_event_before_is_read_as_the_parser_reads_it(
            text in "[ -~é\n]{0,30}", number: u64, mutations in proptest::collection::vec(mutation(), 0..3),
        ) {
            let event = serde_json::json!({
                "type": "response.completed", "sequence_number": number, "delta": text, "item_id": "i", "output_index": 1,
                "logprobs": [], "item": {"type": "message"}, "response": {"id": text, "output": [[{}]], "usage": null}, "error": null,
            });
            let mut json = event.to_string().into_bytes();
            for mutation in &mutations {
                mutate(&mut json, mutation);
            }
            check(&String::from_utf8_lossy(&json));
        }
    }
}
