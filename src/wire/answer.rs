//! What is known of an answer when it ends, however it ends.

use std::sync::Arc;

use memchr::memchr2_iter;

use crate::json::escapes::without_lone_surrogates;
use crate::protocol::{
    Completed, Id, Incomplete, RawJson, ResponseEvent, StreamAnomalies, Text, TokenUsage,
    error::{ApiError, ErrorKind, Phase},
};

/// How many objects and lists a usage may hold; servers send up to ten.
const MAX_USAGE_OBJECTS: usize = 100;

/// How a stream ended, as its decoder tells it.
#[derive(Clone, Debug, PartialEq)]
pub enum Terminal {
    /// The answer is whole.
    Completed(Arc<Completed>),
    /// The server stopped early and said why.
    Incomplete(Arc<Incomplete>),
    /// The server reported an error, or the stream ended or broke before its terminal event.
    Failed(ApiError),
}

/// Where a response that its server keeps is gone on with: behind the last event that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResumePoint {
    pub(crate) response_id: Id,
    pub(crate) sequence_number: u64,
}

impl From<Terminal> for ResponseEvent {
    fn from(terminal: Terminal) -> Self {
        match terminal {
            Terminal::Completed(completed) => Self::Completed(completed),
            Terminal::Incomplete(incomplete) => Self::Incomplete(incomplete),
            Terminal::Failed(error) => Self::Failed(Arc::new(error)),
        }
    }
}

/// The error of an answer that is not whole.
pub(crate) fn truncated(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::Truncated, message)
}

/// What a stream has said about its answer as a whole. Each end carries all of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) response_id: Option<Id>,
    pub(crate) request_id: Option<Id>,
    pub(crate) token_usage: Option<TokenUsage>,
    pub(crate) usage: Option<RawJson>,
    pub(crate) finish_reason: Option<Text>,
    pub(crate) native_finish_reason: Option<Text>,
    pub(crate) sequence_number: Option<u64>,
    pub(crate) end_turn: Option<bool>,
    pub(crate) response: Option<RawJson>,
    pub(crate) anomalies: StreamAnomalies,
}

impl Answer {
    /// Takes a `usage` object; of several the last counts that is not all zeros. Whether it says what the answer cost.
    pub(crate) fn note_usage(&mut self, json: &str) -> bool {
        // It is written again: half a pair, or more levels than parsers follow, would make that unreadable.
        let json = without_lone_surrogates(json.trim());
        let nested = memchr2_iter(b'{', b'[', json.as_bytes());
        if nested.take(MAX_USAGE_OBJECTS + 1).count() > MAX_USAGE_OBJECTS {
            return false;
        }
        let usage = TokenUsage::from_text(&json).map(|usage| match self.token_usage {
            Some(before) => usage.with_gaps_from(before),
            None => usage,
        });
        // Some servers send zeros first or last.
        let is_zero = usage == Some(TokenUsage::default());
        if is_zero && self.token_usage.is_some() {
            return false;
        }
        if usage.is_some() {
            self.token_usage = usage;
            self.usage = Some(RawJson::from_walked(&json));
        }
        usage.is_some() && !is_zero
    }

    pub(crate) fn completed(&self) -> Terminal {
        let answer = self.clone();
        Terminal::Completed(Arc::new(Completed {
            response_id: answer.response_id,
            token_usage: answer.token_usage,
            usage: answer.usage,
            finish_reason: answer.finish_reason,
            native_finish_reason: answer.native_finish_reason,
            sequence_number: answer.sequence_number,
            request_id: answer.request_id,
            end_turn: answer.end_turn,
            response: answer.response,
            anomalies: answer.anomalies,
        }))
    }

    pub(crate) fn incomplete(&self, reason: impl Into<Text>) -> Terminal {
        let answer = self.clone();
        Terminal::Incomplete(Arc::new(Incomplete {
            reason: reason.into(),
            response_id: answer.response_id,
            token_usage: answer.token_usage,
            usage: answer.usage,
            finish_reason: answer.finish_reason,
            native_finish_reason: answer.native_finish_reason,
            sequence_number: answer.sequence_number,
            request_id: answer.request_id,
            response: answer.response,
            anomalies: answer.anomalies,
        }))
    }

    pub(crate) fn failed(&self, error: ApiError) -> Terminal {
        let mut error = error.with_phase(Phase::Body);
        self.complete(&mut error);
        Terminal::Failed(error)
    }

    /// Adds to an error what is known of the answer that it ended, and not said by the error.
    pub(crate) fn complete(&self, error: &mut ApiError) {
        let answer = self.clone();
        let details = error.details_mut();
        or(&mut details.response_id, answer.response_id);
        or(&mut details.token_usage, answer.token_usage);
        or(&mut details.usage, answer.usage);
        or(&mut details.finish_reason, answer.finish_reason);
        or(
            &mut details.native_finish_reason,
            answer.native_finish_reason,
        );
        or(&mut details.sequence_number, answer.sequence_number);
        or(
            &mut details.request_id,
            answer.request_id.as_deref().map(str::to_owned),
        );
        or(&mut details.response, answer.response);
        if details.anomalies.is_empty() {
            details.anomalies = answer.anomalies;
        }
    }
}

fn or<T>(detail: &mut Option<T>, known: Option<T>) {
    if detail.is_none() {
        *detail = known;
    }
}
