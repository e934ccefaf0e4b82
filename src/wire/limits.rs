//! How much of a stream is taken before it is given up.

use crate::{
    json::tree::tree_fits,
    protocol::RawJson,
    protocol::error::{ApiError, ErrorKind, Phase},
    sse::SseLimits,
};

/// How much a [`StreamDecoder`](super::StreamDecoder) accepts before it gives up on a stream, with
/// [`ErrorKind::TooLarge`] and the name of the limit that was passed.
///
/// A Responses stream is handed over as it comes. The items of a Chat stream are put together here, until the stream ends:
/// `max_answer_bytes` and `max_answer_parts` bound what that can hold. On the Responses wire they bound what is kept to deliver what
/// a server says late: above them the stream goes on as it comes, and nothing of it is put right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamLimits {
    /// Of a line and of an event.
    pub sse: SseLimits,
    /// Bytes of text, reasoning, refusals, and names and input of tool calls in all choices of a Chat answer; of a Responses
    /// answer, those of items and texts that are kept until they are done. The longest answers of today's models have about
    /// 1 MB; the default is 32 MiB, which leaves room for files written into one.
    pub max_answer_bytes: usize,
    /// Choices, and messages, pieces of reasoning and tool calls in them, that a Chat answer may have together; of a Responses
    /// answer, items and the texts in them. The default is 4,096: 128 choices, the most that OpenAI gives, with 30 calls each.
    pub max_answer_parts: usize,
}

with_fields!(StreamLimits {
    with_sse(sse: SseLimits),
    with_max_answer_bytes(max_answer_bytes: usize),
    with_max_answer_parts(max_answer_parts: usize),
});

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            sse: SseLimits::default(),
            max_answer_bytes: 32 * 1024 * 1024,
            max_answer_parts: 4_096,
        }
    }
}

/// With the defaults of what is not said.
impl From<SseLimits> for StreamLimits {
    fn from(sse: SseLimits) -> Self {
        Self {
            sse,
            ..Self::default()
        }
    }
}

/// What has come of an answer, counted against the limits.
///
/// Counting never fails: the event that passes a limit is still read, and its own size is bounded. Who counts looks at
/// [`excess`](Self::excess) before the next.
#[derive(Default)]
pub(super) struct AnswerSize {
    limits: StreamLimits,
    bytes: usize,
    parts: usize,
    has_large_tree: bool,
}

impl AnswerSize {
    pub(super) fn new(limits: StreamLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    pub(super) fn add_bytes(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Counts what is to be kept as a tree. Whether it may be one.
    pub(super) fn add_tree(&mut self, json: &str) -> bool {
        self.add_bytes(json.len());
        let fits = tree_fits(json);
        self.has_large_tree |= !fits;
        fits
    }

    pub(super) fn add_part(&mut self) {
        self.parts = self.parts.saturating_add(1);
    }

    /// Whether so many bytes more, and a part that they may begin, would pass no limit.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes) <= self.limits.max_answer_bytes
            && self.parts < self.limits.max_answer_parts
    }

    pub(super) fn is_exceeded(&self) -> bool {
        self.bytes > self.limits.max_answer_bytes
            || self.parts > self.limits.max_answer_parts
            || self.has_large_tree
    }

    /// The error of having passed a limit.
    pub(super) fn excess(&self) -> Option<ApiError> {
        if !self.is_exceeded() {
            return None;
        }
        let message = if self.has_large_tree {
            format!(
                "what came beside the text has values that would take more than {} bytes of memory \
                 (limit `RawJson::MAX_TREE_BYTES`)",
                RawJson::MAX_TREE_BYTES
            )
        } else if self.parts > self.limits.max_answer_parts {
            format!(
                "the answer has more than {} choices, items and tool calls \
                 (raise StreamLimits::max_answer_parts to accept it)",
                self.limits.max_answer_parts
            )
        } else {
            format!(
                "the answer is larger than {} bytes (raise StreamLimits::max_answer_bytes to accept it)",
                self.limits.max_answer_bytes
            )
        };
        Some(ApiError::new(ErrorKind::TooLarge, message).with_phase(Phase::Body))
    }
}
