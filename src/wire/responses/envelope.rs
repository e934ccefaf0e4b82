//! The fields of a Responses event that the runtime reads.

use std::{borrow::Cow, collections::HashMap};

use memchr::memchr;
use serde_json::value::RawValue;

use super::{
    first_response::FirstResponse,
    known_text::KnownText,
    response_object::{ResponseObject, present},
};
use crate::json::{
    lenient::{LenientInt, LenientStr},
    members::Members,
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
        Self::parse(json)
    }

    /// The same without a walk: the parser gives the members, with the escapes of their names.
    fn parse(json: &'a str) -> serde_json::Result<Self> {
        let mut envelope = Self::default();
        let members: HashMap<String, &'a RawValue> = serde_json::from_str(json)?;
        for (name, value) in members {
            envelope.take(&name, value.get())?;
        }
        Ok(envelope)
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
            let is_read = envelope.take(name, value).ok()?;
            (is_read || !name.contains('\\')).then_some(())?;
        }
        members.is_whole().then_some(envelope)
    }

    /// Takes a member. Whether it is one that is read.
    #[inline]
    fn take(&mut self, name: &str, value: &'a str) -> serde_json::Result<bool> {
        match name {
            "type" => self.kind = text(value)?,
            "delta" => self.delta = text(value)?,
            "item_id" => self.item_id = text(value)?,
            "call_id" => self.call_id = text(value)?,
            "id" => self.id = text(value)?,
            "sequence_number" => self.sequence_number = integer(value)?,
            "output_index" => self.output_index = integer(value)?,
            "content_index" => self.content_index = integer(value)?,
            "summary_index" => self.summary_index = integer(value)?,
            "logprobs" => self.logprobs = present(value),
            "item" => self.item = present(value),
            "response" => self.response = present(value).map(ResponseObject::read),
            "error" => self.error = present(value),
            "text" => self.text = present(value),
            "refusal" => self.refusal = present(value),
            "part" => self.part = present(value),
            "arguments" => self.arguments = present(value),
            "input" => self.input = present(value),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Reads a value that has been walked over, as the parser does.
fn text(json: &str) -> serde_json::Result<LenientStr<'_>> {
    match json
        .strip_prefix('"')
        .and_then(|json| json.strip_suffix('"'))
    {
        Some(inside) if memchr(b'\\', inside.as_bytes()).is_none() => {
            Ok(LenientStr(Some(Cow::Borrowed(inside))))
        }
        _ => serde_json::from_str(json),
    }
}

/// The same of a number.
fn integer(json: &str) -> serde_json::Result<LenientInt> {
    match json.parse() {
        Ok(number) => Ok(LenientInt(Some(number))),
        Err(_) => serde_json::from_str(json),
    }
}

/// The walk reads what the parser reads, or leaves it alone.
#[cfg(any(test, fuzzing))]
pub(crate) fn check_walk(json: &str) {
    let parsed = Envelope::parse(json).ok();
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
        assert_eq!(
            text(value).ok(),
            serde_json::from_str(value).ok(),
            "{value}"
        );
        assert_eq!(
            integer(value).ok(),
            serde_json::from_str(value).ok(),
            "{value}"
        );
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
