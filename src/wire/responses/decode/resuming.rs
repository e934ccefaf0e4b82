//! A response that is gone on with after its stream has broken.

use super::{
    NO_END, ResponsesDialect, ending::Ending, error_words::is_error_name, item::has_elements,
    troubles::still,
};
use crate::{
    protocol::{
        Id, ResponseEvent,
        error::{ApiError, ErrorKind},
    },
    wire::{
        ResumePoint, Step, Terminal,
        answer::truncated,
        responses::{envelope::Envelope, event_types::EVENT_TYPES},
        unread::Unread,
    },
};

impl ResponsesDialect {
    pub(crate) fn begin_after(&mut self, response_id: Id, sequence_number: Option<u64>) {
        self.answer.response_id = Some(response_id);
        if sequence_number.is_some() {
            self.answer.sequence_number = sequence_number;
            self.catching_up = sequence_number;
            self.output.begin_in_the_middle();
        }
    }

    pub(crate) fn resume_point(&self) -> Option<ResumePoint> {
        Some(ResumePoint {
            response_id: self.answer.response_id.clone()?,
            sequence_number: self.answer.sequence_number?,
        })
    }

    pub(crate) fn resume(&mut self) {
        self.settle();
        self.template.forget();
        self.catching_up = self.answer.sequence_number;
        // The server says anew what it had not said whole.
        self.unread = Unread::default();
        (self.trouble, self.unfinished, self.lost_start) = (None, None, None);
    }

    pub(crate) fn is_catching_up(&self) -> bool {
        self.catching_up.is_some()
    }

    /// The end of a body that another may go on with.
    pub(crate) fn break_off(&mut self) -> Terminal {
        let error = match self.unfinished.take() {
            Some(status) => Some(truncated(still(&status))),
            None => self.failure_without_words(),
        };
        self.answer
            .failed(error.unwrap_or_else(|| truncated(NO_END)))
    }

    /// Reads an event of a body that goes on behind this number, until one comes that is new. `None` when it is to be read as any other.
    ///
    /// An end is one whatever its number, where it says the whole answer: servers give a response that is over so.
    #[cold]
    pub(super) fn catch_up(
        &mut self,
        last: u64,
        name: Option<&str>,
        envelope: &Envelope<'_>,
        out: &mut Vec<ResponseEvent>,
    ) -> Option<Step> {
        let kind = envelope.kind.as_deref().or(name)?;
        let number = envelope.sequence_number;
        let is_error = name.is_some_and(is_error_name);
        let ending = Ending::of(kind);
        if is_error || ending.is_some() {
            let is_skipping = number.is_some_and(|number| number > last.saturating_add(1));
            let response = envelope.response.as_ref();
            let output = response.and_then(|response| response.output);
            let needs_all = !is_error
                && matches!(
                    ending,
                    Some(Ending::Completed | Ending::Incomplete | Ending::ByStatus)
                );
            if is_skipping && needs_all && !output.is_some_and(has_elements) {
                return Some(self.skipped(last, number, out));
            }
            // It is neither a gap nor a repeat.
            if let Some(number) = number {
                self.answer.sequence_number = number.checked_sub(1);
            }
            self.catching_up = None;
            return None;
        }
        match number {
            Some(number) if number <= last => {
                let id = envelope.response.as_ref().and_then(|it| it.id.as_deref());
                let is_other = id.is_some_and(|id| self.answer.response_id.as_deref() != Some(id));
                if is_other {
                    let message =
                        "the server goes on with another response than the one it was asked for";
                    let error = ApiError::new(ErrorKind::Protocol, message);
                    return Some(Step::End(self.fail(error, out)));
                }
                Some(Step::Continue)
            }
            Some(number) if number == last.saturating_add(1) => {
                self.catching_up = None;
                None
            }
            Some(_) => Some(self.skipped(last, number, out)),
            None if EVENT_TYPES.iter().any(|(known, _)| *known == kind) => {
                Some(self.skipped(last, None, out))
            }
            None => None,
        }
    }

    /// Events are missing where the body goes on, or may be.
    fn skipped(&mut self, last: u64, number: Option<u64>, out: &mut Vec<ResponseEvent>) -> Step {
        let next = match number {
            Some(number) => format!("event {number}"),
            None => "an event without a number".to_owned(),
        };
        let message = format!(
            "the server was asked for what follows event {last} of the response, and goes on with {next}: events are missing"
        );
        Step::End(self.fail(truncated(message), out))
    }
}
