//! The response object that events carry.

use std::borrow::Cow;

use crate::json::{
    lenient::string,
    members::{Member, Members},
};

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
        match name {
            "id" => self.id = string(json),
            "status" => self.status = string(json),
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

/// Null reads as absent.
pub(super) fn present(json: &str) -> Option<&str> {
    Some(json).filter(|json| *json != "null")
}
