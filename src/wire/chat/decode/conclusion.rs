//! The end of a stream.

use super::{CHUNK_OBJECT, ChatDialect, lost_piece};
use crate::{
    protocol::{OtherEvent, ResponseEvent, error::ApiError},
    wire::{
        Terminal,
        answer::truncated,
        chat::{
            choice::Choice,
            finish::{Finish, Meaning},
            item::Output,
        },
        server_error::ServerError,
    },
};

/// The reason of an end that nothing was said about.
const NO_FINISH_REASON: &str = "no_finish_reason";

/// The reason of an end that the server calls whole, with a call whose arguments end in the middle.
const CUT_CALL: &str = "incomplete_tool_call";

impl ChatDialect {
    /// Takes over how the worst of the choices ended.
    pub(super) fn note_finish(&mut self) -> Option<Finish> {
        let finishes = self
            .choices
            .list
            .iter()
            .filter_map(|choice| choice.finish.clone());
        let worst = finishes.reduce(|worst, finish| match finish.is_worse_than(&worst) {
            true => finish,
            false => worst,
        })?;
        self.answer.finish_reason = Some(worst.word.clone());
        self.answer.native_finish_reason = worst.native.clone();
        Some(worst)
    }

    /// Ends what is open, and the response. `is_deliberate` says that the server ended it, and not only the body.
    pub(super) fn end(&mut self, is_deliberate: bool, out: &mut Vec<ResponseEvent>) -> Terminal {
        if let Some(raw) = self.extras.take_last() {
            let event = CHUNK_OBJECT.into();
            out.push(ResponseEvent::Other(OtherEvent { event, raw }));
        }
        let finish = self.note_finish();
        if self.is_whole()
            && let Some(finish) = finish
        {
            return self.end_as(&finish, out);
        }
        match self.error_without_finish(is_deliberate) {
            Some(error) => self.answer.failed(error),
            None if self.has_usage_chunk || self.omits_finish_reason => {
                self.finish_items(Some("completed"), out);
                self.answer.anomalies.no_finish_reason = true;
                self.answer.completed()
            }
            None => {
                self.finish_items(None, out);
                self.answer.incomplete(NO_FINISH_REASON)
            }
        }
    }

    /// Ends as the server said.
    fn end_as(&mut self, finish: &Finish, out: &mut Vec<ResponseEvent>) -> Terminal {
        if finish.is_failure() {
            let error = match self.failure.take() {
                Some(words) => words.into_api_error(None),
                None => failure(finish),
            };
            return self.answer.failed(error);
        }
        if let Some(lost) = self.unread.lost(self.is_finish_unsure) {
            let error = lost_piece(lost);
            return self.answer.failed(error);
        }
        if let Some(words) = self.unread.words().filter(|_| !self.has_output()) {
            let error = ServerError::from_text(&words).unwrap_or_default();
            return self.answer.failed(error.into_api_error(None));
        }
        let is_missing = finish.names_calls() && !self.choices.list.iter().any(Choice::has_answer);
        let has_cut_call = is_missing || self.choices.list.iter().any(Choice::has_cut_call);
        self.finish_items(None, out);
        match &finish.meaning {
            Meaning::Cut(reason) => self.answer.incomplete(reason.clone()),
            // The server calls it whole, but nobody can carry it out.
            _ if has_cut_call => self.answer.incomplete(CUT_CALL),
            _ => self.answer.completed(),
        }
    }

    /// What is wrong with an end that no `finish_reason` came before.
    fn error_without_finish(&self, is_deliberate: bool) -> Option<ApiError> {
        if let Some(words) = self.unread.words() {
            let error = ServerError::from_text(&words).unwrap_or_default();
            return Some(error.into_api_error(None));
        }
        // A body that just ends was cut, and its last piece with it.
        if is_deliberate && let Some(lost) = self.unread.lost(true) {
            return Some(lost_piece(lost));
        }
        let message = if !self.choices.list.iter().any(Choice::has_answer) {
            "the stream ended before the answer began"
        } else if !is_deliberate {
            "the stream ended within the answer: no finish_reason and no [DONE] came"
        } else if self.choices.list.iter().any(Choice::has_open_call) {
            "the stream ended within a tool call: no finish_reason came"
        } else if self.answer.anomalies.malformed_events > 0 {
            "the stream ended without a finish_reason, and a part of it could not be read"
        } else {
            return None;
        };
        Some(truncated(message))
    }

    fn finish_items(&mut self, status: Option<&'static str>, out: &mut Vec<ResponseEvent>) {
        let mut to = Output {
            numbers: &mut self.numbers,
            out,
            anomalies: &mut self.answer.anomalies,
        };
        for choice in &mut self.choices.list {
            choice.finish_items(status, &mut to);
        }
    }
}

/// The error of a `finish_reason` that is one.
fn failure(finish: &Finish) -> ApiError {
    let native = finish
        .native
        .as_ref()
        .filter(|native| **native != finish.word);
    let behind = native.map_or(String::new(), |native| format!(" (`{native}`)"));
    let error = ServerError {
        code: Some(native.unwrap_or(&finish.word).to_ascii_lowercase()),
        message: Some(format!(
            "the server ended the answer with the finish_reason `{}`{behind}",
            finish.word
        )),
        ..ServerError::default()
    };
    error.into_api_error(None)
}
