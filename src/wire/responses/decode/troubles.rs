//! Errors, and what could not be read.

use super::{
    ResponsesDialect,
    error_words::{has_words, is_error_name, is_error_type, is_of_tool, said, words_in},
    item::parse,
    loss::{self, Loss},
};
use crate::{
    json::{
        excerpt::excerpt,
        members::member,
        tree::tree,
        walk::{elements, value_end},
    },
    protocol::{
        Id, ResponseEvent,
        error::{ApiError, ErrorKind},
    },
    sse::SseEvent,
    wire::{
        Dialect, Step, Terminal, TextPlace,
        responses::{envelope::Envelope, event_types::EVENT_TYPES},
        server_error::ServerError,
        unread::Kind,
    },
};

impl ResponsesDialect {
    /// Ends the response with an error.
    pub(super) fn fail(&mut self, error: ApiError, out: &mut Vec<ResponseEvent>) -> Terminal {
        self.close(None, None, out);
        self.answer.failed(error)
    }

    /// Ends it with the error that an event reports, which its name or its type say that it does. Without words it waits for them.
    pub(super) fn error_event(
        &mut self,
        envelope: &Envelope<'_>,
        data: &str,
        out: &mut Vec<ResponseEvent>,
    ) -> Step {
        let response = envelope.response.as_ref();
        if let Some(id) = response.and_then(|response| response.id.as_deref()) {
            self.answer.response_id = Some(Id::from(id));
        }
        let usage = response.and_then(|response| response.usage);
        if let Some(usage) = usage.or_else(|| member(data, "usage")) {
            self.answer.note_usage(usage);
        }
        let in_response = response.and_then(|response| words_in(response.error?));
        let error = in_response.unwrap_or_else(|| ServerError::from_error_event(&parse(data)));
        match has_words(&error) {
            true => Step::End(self.fail(error.into_api_error(None), out)),
            false => self.wait_for_words(said(Some(error)), out),
        }
    }

    /// Ends it with the words of an error that are no object.
    pub(super) fn error_text(&mut self, text: &str, out: &mut Vec<ResponseEvent>) -> Step {
        match (ServerError::from_text(text), self.failure.take()) {
            (None, Some(failure)) => Step::End(self.fail(failure, out)),
            (None, None) => self.wait_for_words(said(None), out),
            (error, _) => Step::End(self.fail(said(error), out)),
        }
    }

    /// The server failed, and may say why in what comes next.
    fn wait_for_words(&mut self, failure: ApiError, out: &mut Vec<ResponseEvent>) -> Step {
        self.close(None, None, out);
        if let Some(trouble) = self.trouble.take() {
            return Step::End(self.answer.failed(trouble));
        }
        self.failure = Some(failure);
        self.template.forget();
        Step::Finishing { goes_on: false }
    }

    /// Keeps the words of an error that an event of another kind has. They count if the stream ends as none should.
    pub(super) fn note_trouble(&mut self, kind: &str, envelope: &Envelope<'_>) {
        let response = envelope.response.as_ref();
        let errors = [envelope.error, response.and_then(|response| response.error)];
        let error = errors.into_iter().flatten().find_map(words_in);
        if let Some(error) = error.filter(|_| !is_of_tool(kind)) {
            self.trouble = Some(error.into_api_error(None));
        }
    }

    /// Takes note of a text that is no event.
    pub(super) fn on_words(
        &mut self,
        text: &str,
        place: TextPlace,
        out: &mut Vec<ResponseEvent>,
    ) -> Step {
        if text.starts_with('[')
            && let Some(list) = tree(text)
            && let Some(error) = ServerError::reported_by(&list)
        {
            return Step::End(self.fail(error.into_api_error(None), out));
        }
        // Events as the elements of a list.
        if value_end(text.as_bytes(), 0) == Some(text.len()) {
            for data in elements(text).filter(|data| data.starts_with('{')) {
                let event = SseEvent {
                    event: None,
                    data,
                    last_event_id: "",
                };
                match self.on_event(event, out) {
                    Step::End(end) => return Step::End(end),
                    Step::Continue | Step::Finishing { .. } | Step::Unread => {}
                }
            }
            if elements(text).any(|data| data.starts_with('{')) {
                return self.step();
            }
        }
        let loss = Loss::of(text);
        // Words are no piece of an answer here: what is, is JSON.
        let is_malformed =
            loss == Loss::Nothing || self.unread.push(text, place, false) == Kind::Malformed;
        if loss == Loss::Item {
            self.lose(loss);
        }
        if is_malformed {
            if loss::is_delta(text) && !self.output.is_begun() {
                self.lost_start = Some(excerpt(text));
                self.template.forget();
            }
            self.answer
                .anomalies
                .malformed(|| format!("not JSON: {}", excerpt(text)));
        }
        self.step()
    }

    /// What is known to have gone wrong when no event has told: a failure, words, a response that is not over.
    pub(super) fn failure_without_words(&mut self) -> Option<ApiError> {
        let failure = self.trouble.take().or(self.failure.take());
        if let Some(words) = self.unread.words() {
            return Some(said(ServerError::from_text(&words)));
        }
        let unfinished = self.unfinished.take().filter(|_| !self.output.is_begun());
        failure.or_else(|| Some(ApiError::new(ErrorKind::Protocol, still(&unfinished?))))
    }

    /// Reads what follows a failure without words: an error that has some ends the response with them.
    pub(super) fn after_failure(
        &mut self,
        name: Option<&str>,
        envelope: &Envelope<'_>,
        data: &str,
    ) -> Step {
        let kind = envelope.kind.as_deref().or(name);
        let is_other = kind.is_some_and(|kind| {
            let is_known = EVENT_TYPES.iter().any(|(known, _)| *known == kind);
            is_known && kind != "response.failed" && !is_error_type(kind)
        });
        if is_other && !name.is_some_and(is_error_name) {
            return Step::Finishing { goes_on: false };
        }
        let response = envelope.response.as_ref();
        let error = response
            .and_then(|response| words_in(response.error?))
            .or_else(|| ServerError::from_json(&parse(data)).filter(has_words));
        match error {
            Some(error) => Step::End(self.answer.failed(error.into_api_error(None))),
            None => Step::Finishing { goes_on: false },
        }
    }
}

/// What is said of a response that the server gave as it stands.
pub(super) fn still(status: &str) -> String {
    format!("the response is still {status}: the server gave its state and no event of it")
}
