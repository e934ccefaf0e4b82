//! The fields of a Responses event that the runtime reads.

use std::{borrow::Cow, collections::HashMap};

#[cfg(any(test, fuzzing))]
use serde_json::Value;
use serde_json::value::RawValue;

use super::{
    first_response::FirstResponse,
    known_text::KnownText,
    response_object::{ResponseObject, present},
};
use crate::json::{
    lenient::{count, text_of},
    members::Members,
};

/// One event's JSON object, read in one pass. Fields of the wrong kind read as absent, a repeated field's last value counts,
/// and all others are walked over.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Envelope<'a> {
    pub(super) kind: Option<Cow<'a, str>>,
    pub(super) delta: Option<Cow<'a, str>>,
    pub(super) item_id: Option<Cow<'a, str>>,
    pub(super) call_id: Option<Cow<'a, str>>,
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) sequence_number: Option<u64>,
    pub(super) output_index: Option<u32>,
    pub(super) content_index: Option<u32>,
    pub(super) summary_index: Option<u32>,
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
    /// Reads an event's JSON. `None` when it is not exactly one object, or half a character is in what is read of it.
    pub(super) fn read(
        json: &'a str,
        first: &mut FirstResponse,
        known: &'a KnownText,
    ) -> Option<Self> {
        first.forget_unkept();
        if let Some(envelope) = Self::walk(json, first, known) {
            return Some(envelope);
        }
        first.forget_unkept();
        Self::parse(json)
    }

    /// The same without a walk: the parser gives the members, with the escapes of their names.
    fn parse(json: &'a str) -> Option<Self> {
        let mut envelope = Self::default();
        let members: HashMap<String, &'a RawValue> = serde_json::from_str(json).ok()?;
        for (name, value) in members {
            envelope.take(&name, value.get())?;
        }
        Some(envelope)
    }

    /// Reads what a walk is enough for. `None` leaves it to the parser, which knows what is wrong, and reads names with escapes.
    fn walk(json: &'a str, first: &mut FirstResponse, known: &'a KnownText) -> Option<Self> {
        let mut envelope = Self::default();
        let mut members = Members::of(json).knowing(known.inside());
        while let Some(start) = members.next_start() {
            let (name, value) = members.name(start)?;
            let is_response = name == "response";
            if is_response && json.as_bytes().get(value) == Some(&b'{') {
                let response = first.read(json, value, known)?;
                members.go_on_at(value + response.text.len());
                envelope.response = Some(response);
                continue;
            }
            if is_response {
                first.forget_unkept();
            }
            let value = &json[members.value(value)?];
            let is_read = envelope.take(name, value)?;
            (is_read || !name.contains('\\')).then_some(())?;
        }
        members.is_whole().then_some(envelope)
    }

    /// Takes a member, whose value is JSON. Whether it is one that is read. `None` for half a character.
    #[inline]
    fn take(&mut self, name: &str, value: &'a str) -> Option<bool> {
        match name {
            "type" => self.kind = text_of(value)?,
            "delta" => self.delta = text_of(value)?,
            "item_id" => self.item_id = text_of(value)?,
            "call_id" => self.call_id = text_of(value)?,
            "id" => self.id = text_of(value)?,
            "sequence_number" => self.sequence_number = count(value),
            "output_index" => self.output_index = index(value),
            "content_index" => self.content_index = index(value),
            "summary_index" => self.summary_index = index(value),
            "logprobs" => self.logprobs = present(value),
            "item" => self.item = present(value),
            "response" => self.response = present(value).map(ResponseObject::read),
            "error" => self.error = present(value),
            "text" => self.text = present(value),
            "refusal" => self.refusal = present(value),
            "part" => self.part = present(value),
            "arguments" => self.arguments = present(value),
            "input" => self.input = present(value),
            _ => return Some(false),
        }
        Some(true)
    }
}

fn index(json: &str) -> Option<u32> {
    u32::try_from(count(json)?).ok()
}

/// The walk reads what the parser reads, or leaves it alone.
#[cfg(any(test, fuzzing))]
pub(crate) fn check_walk(json: &str) {
    let parsed = Envelope::parse(json);
    let walked = Envelope::walk(
        json,
        &mut FirstResponse::default(),
        &super::known_text::NO_TEXT,
    );
    match walked {
        Some(_) => assert_eq!(walked, parsed, "{json}"),
        None => assert!(parsed.is_none() || json.contains('\\'), "{json}"),
    }
    // Both read the values alike, so these are compared, too.
    for member in Members::of(json) {
        let value = &json[member.value];
        if let Ok(parsed) = serde_json::from_str::<Value>(value) {
            assert_eq!(
                text_of(value).flatten().as_deref(),
                parsed.as_str(),
                "{value}"
            );
            assert_eq!(parsed.as_u64().or(count(value)), count(value), "{value}");
        }
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
