//! The end of a response.

use serde_json::json;

use super::{
    ResponsesDialect,
    ending::{Ending, incomplete_reason},
    error_words::{has_words, words_in},
    item::{Cut, has_elements, parse},
    loss::Loss,
};
use crate::{
    json::{lenient::string, members::member},
    protocol::{
        RawJson, ResponseEvent, Text,
        error::{ApiError, ErrorKind},
    },
    wire::{
        Step, Terminal,
        answer::truncated,
        responses::{envelope::Envelope, response_object::ResponseObject},
        server_error::ServerError,
    },
};

/// The reason of an answer with half a call, which its server says is whole.
const CUT_CALL: &str = "incomplete_tool_call";

impl ResponsesDialect {
    /// Ends the response as a terminal event says.
    pub(super) fn end(
        &mut self,
        ending: Ending,
        envelope: Envelope<'_>,
        data: &str,
        out: &mut Vec<ResponseEvent>,
    ) -> Step {
        if ending == Ending::Error {
            return self.error_event(&envelope, data, out);
        }
        // A server that does not nest the response sends its fields beside the type.
        let is_nested = envelope.response.is_some();
        let response = envelope
            .response
            .unwrap_or_else(|| ResponseObject::read(data));
        let text = response.text;
        let kept = || is_nested.then(|| RawJson::from_walked(text));
        self.end_response(ending, response, kept, envelope.error, data, out)
    }

    /// Ends it as the response object says, which came in this event. `keep` gives what is kept of that.
    pub(super) fn end_response(
        &mut self,
        ending: Ending,
        response: ResponseObject<'_>,
        keep: impl FnOnce() -> Option<RawJson>,
        beside: Option<&str>,
        event: &str,
        out: &mut Vec<ResponseEvent>,
    ) -> Step {
        if let Some(id) = response.id.as_deref() {
            self.answer.response_id = Some(id.into());
        }
        if let Some(usage) = response.usage.or_else(|| member(event, "usage")) {
            self.answer.note_usage(usage);
        }
        self.answer.end_turn = response.end_turn;
        let error = [
            response.error,
            beside,
            response.status_details,
            response.last_error,
        ]
        .into_iter()
        .flatten()
        .find_map(words_in);
        let says_all = response.output.is_some_and(has_elements);
        let is_begun = says_all || self.output.is_begun();
        let of_text = match is_begun {
            true => None,
            false => response.output_text.and_then(output_of_text),
        };
        let output = of_text.as_deref().or(response.output);
        let is_begun = is_begun || of_text.is_some();
        let (ending, word) = ending.of_response(&response, error.is_some(), is_begun);
        let status = match ending {
            Ending::Failed | Ending::Error => None,
            Ending::Completed | Ending::ByStatus => Some("completed"),
            Ending::Incomplete | Ending::Cancelled | Ending::Unsaid => Some("incomplete"),
        };
        self.close(output, status, out);
        // Not before what is in it: it may be all of an event of the largest size.
        self.answer.response = keep();
        Step::End(match ending {
            Ending::Completed | Ending::ByStatus => self.conclude(output),
            Ending::Incomplete | Ending::Cancelled => {
                if let Some(words) = error.and_then(|error| error.message) {
                    self.answer.finish_reason = Some(words.into());
                }
                let reason = incomplete_reason(&response).map(Text::from).or(word);
                self.answer.incomplete(reason.unwrap_or(match ending {
                    Ending::Cancelled => "cancelled".into(),
                    _ => "unknown".into(),
                }))
            }
            Ending::Unsaid => {
                self.unfinished = response.status.as_deref().map(Text::from);
                self.end_unsaid()
            }
            Ending::Failed | Ending::Error => {
                let error = error.or_else(|| flat_error(&response, event));
                match error
                    .map(|error| error.into_api_error(None))
                    .or(self.trouble.take())
                {
                    Some(error) => self.answer.failed(error),
                    None => {
                        self.failure = Some(failure_of(&response));
                        self.template.forget();
                        return Step::Finishing { goes_on: false };
                    }
                }
            }
        })
    }

    /// `[DONE]` is Chat's, but servers that speak both dialects send it here too. Before a terminal event it ends the stream on
    /// purpose, and does not say how.
    pub(super) fn on_done_sentinel(&mut self, out: &mut Vec<ResponseEvent>) -> Terminal {
        self.close(None, Some("incomplete"), out);
        self.end_unsaid()
    }

    /// Delivers what is owed before the end.
    pub(super) fn close(
        &mut self,
        output: Option<&str>,
        status: Option<&str>,
        out: &mut Vec<ResponseEvent>,
    ) {
        self.flush_half(out);
        let is_sound = self.is_sound();
        self.output
            .close(output, &self.known_text, is_sound, status, out);
    }

    /// The end that is `completed` if the answer is known to be whole.
    fn conclude(&self, output: Option<&str>) -> Terminal {
        let has_output = output.is_some_and(|output| output.starts_with('['));
        let is_missing = !has_output && !self.output.is_begun();
        let gaps = self.answer.anomalies.sequence_gaps;
        match self.what_is_missing(output) {
            Some(error) => self.answer.failed(error),
            None if is_missing && gaps > 0 => self.answer.failed(truncated(
                "events of the stream are missing, and nothing of the answer came",
            )),
            None => match self.output.cut() {
                Some(Cut::Call) => self.answer.incomplete(CUT_CALL),
                Some(Cut::Message) => self.answer.incomplete("unknown"),
                None => self.answer.completed(),
            },
        }
    }

    /// The end of a response that does not say how it ended.
    fn end_unsaid(&mut self) -> Terminal {
        let error = self.failure_without_words();
        match error.or_else(|| self.what_is_missing(None)) {
            Some(error) => self.answer.failed(error),
            None if self.output.is_begun() => self.answer.incomplete("no_finish_reason"),
            None => self.answer.failed(truncated(
                "the stream ended without a terminal event, and nothing of the answer came",
            )),
        }
    }

    /// What is known to be missing of the answer, all that came considered.
    fn what_is_missing(&self, output: Option<&str>) -> Option<ApiError> {
        if self.output.has_open_call() {
            return Some(truncated(
                "the stream ended with a call left open: the rest of it is missing",
            ));
        }
        let says_all = output.is_some_and(has_elements);
        let lost = self.unread.lost(true);
        let is_hollow = self.answer.anomalies.sequence_gaps > 0 && self.output.has_hollow();
        let is_held = match self.loss {
            Loss::Nothing if lost.is_none() && !is_hollow => return None,
            Loss::Nothing | Loss::Piece => self.output.is_begun() && self.output.is_whole(),
            Loss::Item => says_all && self.output.is_whole(),
        };
        (!is_held).then(|| {
            let first = self.answer.anomalies.first_malformed.as_deref();
            // What the server wrote so that it can't be read, it will write again.
            let kind = match (lost, first) {
                (None, Some(_)) => ErrorKind::Protocol,
                _ => ErrorKind::Truncated,
            };
            let piece = lost.map(|lost| lost.piece.as_str());
            let message = match piece.or(first) {
                Some(what) => {
                    format!("a part of the answer was in an event that could not be read: {what}")
                }
                None => "a part of the answer was in an event that is missing".to_owned(),
            };
            ApiError::new(kind, message)
        })
    }
}

/// The words of a failed response that stand beside other members.
fn flat_error(response: &ResponseObject<'_>, event: &str) -> Option<ServerError> {
    let flat = |json| ServerError::from_json(&parse(json)).filter(has_words);
    flat(response.text).or_else(|| flat(event))
}

/// What is known of a failure without words.
fn failure_of(response: &ResponseObject<'_>) -> ApiError {
    let code = response.error.and_then(|error| {
        let error = ServerError::from_member(&parse(error))?;
        error.code.or(error.error_type)
    });
    match code.or_else(|| incomplete_reason(response)) {
        Some(code) => {
            let error = ServerError {
                code: Some(code),
                ..ServerError::default()
            };
            error.into_api_error(None)
        }
        None => ApiError::new(
            ErrorKind::ServerError,
            "the server reports that the response failed, without a reason",
        ),
    }
}

/// The output that is this text, which some servers say in place of it. `None` for an empty one.
fn output_of_text(json: &str) -> Option<String> {
    let text = string(json).filter(|text| !text.is_empty())?;
    let content = json!([{"type": "output_text", "text": text, "annotations": []}]);
    Some(json!([{"type": "message", "role": "assistant", "status": "completed", "content": content}]).to_string())
}
