//! The Chat Completions dialect.

use super::{Dialect, Step, Terminal};
use crate::{
    error::{ApiError, ErrorKind},
    protocol::{ResponseEvent, StreamAnomalies},
    sse::SseEvent,
};

/// Reads the stream of one Chat completion.
#[derive(Default)]
pub(crate) struct ChatDialect {
    anomalies: StreamAnomalies,
}

impl Dialect for ChatDialect {
    fn on_event(&mut self, _event: SseEvent<'_>, _out: &mut Vec<ResponseEvent>) -> Step {
        Step::Continue
    }

    fn finish(&mut self, _out: &mut Vec<ResponseEvent>) -> Terminal {
        Terminal::Failed(ApiError::new(
            ErrorKind::Truncated,
            "the stream ended before its terminal event",
        ))
    }

    fn anomalies(&self) -> &StreamAnomalies {
        &self.anomalies
    }
}
