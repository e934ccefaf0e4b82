//! The response object that a stream repeats.

use std::ops::Range;

use super::{known_text::KnownText, response_object::ResponseObject};
use crate::{
    json::members::{Member, Members},
    protocol::RawJson,
};

/// The response object that a stream began with.
///
/// A stream holds it three times, in its first two events and in its last, with the request's instructions and tools in
/// each, so it is most of what is not deltas. Nearly all of its members stay what they were, byte for byte, and what was
/// JSON once is JSON again: such a member is compared, at a fraction of the cost of walking over it.
#[derive(Default)]
pub(super) struct FirstResponse {
    /// `None` until one is kept.
    json: Option<RawJson>,
    /// Where its members lie, and before that those of the object that was read last.
    members: Vec<Place>,
}

/// How many members are remembered. OpenAI's response objects have some thirty; what follows is walked over each time.
const MAX_MEMBERS: usize = 64;

/// How large an object may be that is kept as long as the stream runs. With the instructions and tools of a coding agent it has
/// some tens of kilobytes; a larger one is walked over each time.
const MAX_KEPT_BYTES: usize = 256 * 1024;

/// Where a member lies in an object: the quote before its name, its value and its end.
#[derive(Clone, Copy)]
struct Place {
    start: u32,
    value: u32,
    end: u32,
    name_bytes: u32,
}

impl FirstResponse {
    /// Reads the response object that begins at `at`. `None` when it is not JSON.
    pub(super) fn read<'a>(
        &mut self,
        json: &'a str,
        at: usize,
        text: &'a KnownText,
    ) -> Option<ResponseObject<'a>> {
        self.forget_unkept();
        let first = self.json.clone();
        let mut response = ResponseObject::default();
        let mut members = Members::at(json, at).knowing(text.inside());
        // How many of the first object's members lie behind.
        let mut known = 0;
        while let Some(start) = members.next_start() {
            let repeated = first
                .as_ref()
                .and_then(|first| self.members.get(known)?.repeated(first.get(), json, start));
            let Member { name, value } = match repeated {
                Some(member) => {
                    known += 1;
                    members.go_on_at(member.value.end);
                    member
                }
                None => {
                    let (name, value) = members.name(start)?;
                    let value = members.value(value)?;
                    match &first {
                        Some(first) => {
                            let ahead = self.members.iter().skip(known);
                            let mut names = ahead.map(|place| place.name(first.get()));
                            known += names
                                .position(|other| other == Some(name))
                                .map_or(0, |at| at + 1);
                        }
                        None if self.members.len() < MAX_MEMBERS => {
                            self.members.extend(Place::of(start, name, &value, at));
                        }
                        None => {}
                    }
                    Member { name, value }
                }
            };
            response.take(name, &json[value]);
        }
        response.text = &json[at..members.end()?];
        Some(response)
    }

    /// Lets go of the places of an object that was read and is not the event's, or may not be.
    pub(super) fn forget_unkept(&mut self) {
        if self.json.is_none() {
            self.members.clear();
        }
    }

    /// Keeps the object that was read last, if it is the first. Its text is this one: whoever reads an event forgets the places
    /// of every other.
    pub(super) fn keep(&mut self, json: &RawJson) {
        let is_small = json.get().len() <= MAX_KEPT_BYTES;
        if self.json.is_none() && !self.members.is_empty() && is_small {
            self.json = Some(json.clone());
        }
    }
}

impl Place {
    /// Of a member of the object that begins at `object`. `None` for one that lies too far from there.
    fn of(start: usize, name: &str, value: &Range<usize>, object: usize) -> Option<Self> {
        let place = |at: usize| u32::try_from(at - object).ok();
        Some(Self {
            start: place(start)?,
            value: place(value.start)?,
            end: place(value.end)?,
            name_bytes: u32::try_from(name.len()).ok()?,
        })
    }

    fn name<'f>(&self, first: &'f str) -> Option<&'f str> {
        let start = self.start as usize + 1;
        first.get(start..start + self.name_bytes as usize)
    }

    /// The member that begins at `start`, if it is this one of the first response. It must end where the value does: a number
    /// could go on.
    fn repeated<'a>(&self, first: &str, json: &'a str, start: usize) -> Option<Member<'a>> {
        let member = first.get(self.start as usize..self.end as usize)?;
        let rest = json.get(start..)?;
        rest.starts_with(member).then_some(())?;
        matches!(rest.as_bytes().get(member.len()), Some(b',' | b'}')).then_some(())?;
        let name = start + 1;
        Some(Member {
            name: &json[name..name + self.name_bytes as usize],
            value: start + (self.value - self.start) as usize..start + member.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::Index};
    use serde_json::json;

    use super::*;
    use crate::{
        sse::SseLimits,
        wire::{
            Wire,
            equivalence::{self, mutate, mutation},
            responses::{ResponsesDialect, envelope::Envelope, known_text::NO_TEXT},
        },
    };

    const FIRST: &str = r#"{"id":"r","status":"in_progress","n":1,"error":null,"output":[],"tools":[{"type":"function"}],"usage":null}"#;

    fn kept(json: &str) -> FirstResponse {
        let mut first = FirstResponse::default();
        first.read(json, 0, &NO_TEXT).expect("JSON");
        first.keep(&RawJson::from_walked(json));
        first
    }

    #[test]
    fn a_response_is_read_alike_whether_it_repeats_the_first_or_not() {
        let mut first = kept(FIRST);
        for (from, to) in [
            ("", ""),
            ("in_progress", "completed"),
            (r#""usage":null"#, r#""usage":{"input_tokens":1}"#),
            (r#""usage":null"#, r#""usage":null,"end_turn":true"#),
            (r#""n":1"#, r#""n":12"#),
            (r#""n":1"#, r#""n":1.5"#),
            (r#""n":1,"#, r#""n":1 ,"#),
            (r#""n":1,"#, ""),
            (r#""n":1,"#, r#""completed_at":1,"n":1,"#),
            (r#""n":1,"error":null"#, r#""error":null,"n":1"#),
            (r#""n":1,"#, r#""n":1,"id":"s","#),
            (r#""id""#, r#" "id""#),
            (r#""id""#, r#""\u0069d""#),
        ] {
            let json = FIRST.replacen(from, to, 1);
            let around = format!("x{json},");
            assert_eq!(
                first.read(&around, 1, &NO_TEXT),
                Some(ResponseObject::read(&json)),
                "{json}"
            );
        }
        for (from, to) in [
            (r#""n":1,"#, r#""n":1"#),
            (r#""n":1,"#, r#""n":1x,"#),
            (r#""n":1,"#, r#""n":1,,"#),
            (r#""usage":null}"#, r#""usage":null"#),
            (r#""usage":null}"#, r#""usage":null]"#),
            (r#""usage":null}"#, r#""usage":null,}"#),
            (r#"[]"#, r#"[}"#),
        ] {
            let json = FIRST.replace(from, to);
            assert_ne!(json, FIRST);
            assert_eq!(first.read(&json, 0, &NO_TEXT), None, "{json}");
        }
    }

    #[test]
    fn what_was_not_read_whole_is_not_kept_and_the_first_stays() {
        let mut first = FirstResponse::default();
        assert_eq!(first.read(&FIRST[..FIRST.len() - 1], 0, &NO_TEXT), None);
        first.forget_unkept();
        first.keep(&RawJson::from_walked("{}"));
        assert!(first.json.is_none());
        let mut first = kept(FIRST);
        first.keep(&RawJson::from_walked("{}"));
        assert_eq!(first.json.as_ref().map(RawJson::get), Some(FIRST));
        let large = format!(r#"{{"instructions":"{}"}}"#, "x".repeat(MAX_KEPT_BYTES));
        assert!(kept(&large).json.is_none());
        let many: Vec<_> = (0..MAX_MEMBERS * 2)
            .map(|n| format!("\"m{n}\":{n}"))
            .collect();
        let many = format!("{{{}}}", many.join(","));
        let mut first = kept(&many);
        assert_eq!(first.members.len(), MAX_MEMBERS);
        assert_eq!(
            first.read(&many, 0, &NO_TEXT),
            Some(ResponseObject::read(&many))
        );
    }

    #[test]
    fn the_places_of_one_object_are_never_kept_with_another() {
        const FILLED: &str = r#"{"id":"r","status":"in_progress","usage":null}"#;
        const OTHER: &str = r#"{"long":"xxxxxxxxxxxxxéééééééééééééééééééxxxxxxxxxxxxxxxxxxxxx"}"#;
        let in_progress = format!(r#"{{"type":"response.in_progress","response":{FILLED}}}"#);
        for created in [
            r#"{"type":"response.created","response":[]}"#.to_owned(),
            r#"{"type":"response.created","response":null}"#.to_owned(),
            r#"{"type":"response.created"}"#.to_owned(),
            format!(r#"{{"type":"response.created","response":{FILLED},"response":"x"}}"#),
            format!(r#"{{"type":"response.created","response":{FILLED},"response":null}}"#),
            format!(r#"{{"type":"response.created","response":"x","response":{FILLED}}}"#),
            r#"{"\u0078":1,"type":"response.created","response":{"id":"é"}}"#.to_owned(),
            format!(r#"{{"\u0078":1,"type":"response.created","response":{OTHER}}}"#),
            format!(
                r#"{{"type":"response.created","response":{FILLED},"\u0078":1,"response":{OTHER}}}"#
            ),
        ] {
            assert!(
                serde_json::from_str::<serde_json::Value>(&created).is_ok(),
                "{created}"
            );
            let mut first = FirstResponse::default();
            for event in [&in_progress, &created] {
                let envelope = Envelope::read(event, &mut first, &NO_TEXT).expect("an event");
                if let (true, Some(response)) = (event == &created, envelope.response) {
                    first.keep(&RawJson::from_walked(response.text));
                }
            }
            if let Some(kept) = &first.json {
                let names = |place: &Place| place.name(kept.get());
                let found = Members::of(kept.get()).map(|member| Some(member.name));
                assert!(first.members.iter().map(names).eq(found), "{created}");
            }
            let completed = format!(r#"{{"type":"response.completed","response":{FILLED}}}"#);
            let body: String = [&in_progress, &created, &in_progress, &completed]
                .map(|data| format!("data: {data}\n\n"))
                .concat();
            let dialect = ResponsesDialect::new(SseLimits::default().into());
            let parsed = equivalence::parsed(dialect, ResponsesDialect::forget, body.as_bytes());
            equivalence::check(Wire::Responses, body.as_bytes(), 7, &parsed);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn streams_whose_responses_are_damaged_decode_alike(
            text in "[ -~é\n]{0,30}", number: u32, is_first: bool, is_object: bool, chunk_bytes in 1usize..400,
            mutations in proptest::collection::vec((any::<Index>(), mutation()), 0..4),
        ) {
            let mut response = json!({
                "id": "r", "status": "in_progress", "instructions": text, "created_at": number, "tools": [{"a": [text]}], "usage": null,
            });
            let event = |kind: &str, response: &serde_json::Value| {
                let data = json!({"type": kind, "response": response});
                format!("event: {kind}\ndata: {data}\n\n").into_bytes()
            };
            let mut blocks = [
                event("response.in_progress", &if is_first { response.clone() } else { json!([]) }),
                event("response.created", &if is_object { response.clone() } else { json!([text]) }),
                event("response.in_progress", &response),
                event("response.created", &response),
                {
                    response["status"] = json!("completed");
                    response["usage"] = json!({"input_tokens": number, "output_tokens": 1, "total_tokens": 1});
                    event("response.completed", &response)
                },
            ];
            for (at, mutation) in &mutations {
                mutate(&mut blocks[at.index(5)], mutation);
            }
            let body = blocks.concat();
            let dialect = ResponsesDialect::new(SseLimits::default().into());
            let parsed = equivalence::parsed(dialect, ResponsesDialect::forget, &body);
            equivalence::check(Wire::Responses, &body, chunk_bytes, &parsed);
        }
    }
}
