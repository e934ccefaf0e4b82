//! The fields of a Responses event that the runtime reads.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::wire::{
    json::{LenientInt, LenientStr},
    members::{Member, Members},
};

/// One event's JSON object, read in one pass. Fields of the wrong kind read as absent, a repeated field's last value counts,
/// and all others are walked over.
#[derive(Default)]
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
    pub(super) logprobs: Option<&'a RawValue>,
    pub(super) item: Option<&'a RawValue>,
    pub(super) response: Option<&'a RawValue>,
    pub(super) error: Option<&'a RawValue>,
}

/// The fields of a response object that the runtime reads. Null reads as absent.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ResponseObject<'a> {
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) status: Option<Cow<'a, str>>,
    pub(super) usage: Option<&'a str>,
    pub(super) error: Option<&'a str>,
    pub(super) incomplete_details: Option<&'a str>,
    pub(super) end_turn: Option<bool>,
}

impl<'a> ResponseObject<'a> {
    /// Reads an object that the parser has walked over already. It is the largest thing in a stream, so it is not parsed again
    /// for the few of its fields that count. Of a repeated field the last counts.
    pub(super) fn read(json: &'a str) -> Self {
        let mut response = Self::default();
        for Member { name, value } in Members::of(json) {
            let json = &json[value];
            let text = || {
                serde_json::from_str::<LenientStr<'a>>(json)
                    .unwrap_or_default()
                    .0
            };
            let present = || Some(json).filter(|json| *json != "null");
            match name {
                "id" => response.id = text(),
                "status" => response.status = text(),
                "usage" => response.usage = present(),
                "error" => response.error = present(),
                "incomplete_details" => response.incomplete_details = present(),
                "end_turn" => response.end_turn = json.parse().ok(),
                _ => {}
            }
        }
        response
    }
}

/// The id of a response object, which stands near its front: what follows is not looked at.
pub(super) fn id_of(json: &str) -> Option<Cow<'_, str>> {
    let id = Members::of(json).find(|member| member.name == "id")?;
    serde_json::from_str::<LenientStr<'_>>(&json[id.value])
        .ok()?
        .0
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
        _ => Field::Unread,
    }
}

/// Null reads as absent.
fn raw<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<&'de RawValue>, A::Error> {
    let value: &RawValue = map.next_value()?;
    Ok((value.get() != "null").then_some(value))
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
                Field::Response => envelope.response = raw(&mut map)?,
                Field::Error => envelope.error = raw(&mut map)?,
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
