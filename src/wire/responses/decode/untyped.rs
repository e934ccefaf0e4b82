//! Objects that are no event of the API: a whole response, a chunk of the other wire, an error.

use super::{ResponsesDialect, ending::Ending, item::parse, loss::Loss};
use crate::{
    json::{excerpt::excerpt, lenient::string, members::member},
    protocol::{
        Id, RawJson, ResponseEvent,
        error::{ApiError, ErrorKind},
    },
    wire::{
        Step,
        responses::{envelope::Envelope, response_object::ResponseObject},
        server_error::ServerError,
    },
};

impl ResponsesDialect {
    /// Reads an object that names no type. `None` when it means nothing here.
    pub(super) fn on_untyped(
        &mut self,
        envelope: &Envelope<'_>,
        data: &str,
        out: &mut Vec<ResponseEvent>,
    ) -> Option<Step> {
        let nested = envelope.response.as_ref().map(|response| response.text);
        if let Some(response) = nested
            .into_iter()
            .chain([data])
            .find(|json| is_response(json))
        {
            return Some(self.on_whole_response(response.trim(), out));
        }
        let report = ServerError::reported_by(&parse(data));
        if report.is_none() && is_chat(data) {
            let error = ApiError::new(
                ErrorKind::Protocol,
                "the server answers with objects of the Chat Completions API (`chat.completion`): the provider's wire is to be Chat",
            );
            return Some(Step::End(self.fail(error, out)));
        }
        let error = report?.into_api_error(None);
        Some(Step::End(self.fail(error, out)))
    }

    /// Takes note of an object that means nothing.
    pub(super) fn on_nothing(&mut self, envelope: &Envelope<'_>, data: &str) -> Step {
        if envelope.delta.is_some() || envelope.item.is_some() {
            self.lose(Loss::Piece);
        }
        self.answer
            .anomalies
            .malformed(|| format!("neither a type nor an event name: {}", excerpt(data)));
        Step::Continue
    }

    /// Reads a whole response object, which a server gives in place of a stream: what it says is what the events would have.
    fn on_whole_response(&mut self, json: &str, out: &mut Vec<ResponseEvent>) -> Step {
        let response = ResponseObject::read(json);
        if let Some(id) = response.id.as_deref() {
            self.answer.response_id = Some(Id::from(id));
        }
        let whole = RawJson::from_walked(json);
        if !self.is_created {
            out.push(self.created(Some(whole.clone())));
        }
        match response.status.as_deref() {
            // A stream may follow.
            Some(status @ ("queued" | "in_progress")) => {
                self.unfinished = Some(status.into());
                Step::Continue
            }
            status => {
                let ending = match status {
                    Some(_) => Ending::ByStatus,
                    None => Ending::Unsaid,
                };
                self.end_response(ending, response, || Some(whole), None, json, out)
            }
        }
    }
}

fn is_response(json: &str) -> bool {
    let text = |name| member(json, name).and_then(string);
    text("object").as_deref() == Some("response")
        || (text("object").is_none()
            && text("status").is_some()
            && member(json, "output").is_some_and(|output| output.starts_with('[')))
}

fn is_chat(json: &str) -> bool {
    let object = member(json, "object").and_then(string);
    object.is_some_and(|object| object.starts_with("chat.completion"))
        || member(json, "choices").is_some_and(|choices| choices.starts_with('['))
}
