//! The Responses dialect.

use super::{Dialect, Step, Terminal};
use crate::{
    error::{ApiError, ErrorKind},
    protocol::{ResponseEvent, StreamAnomalies},
    sse::SseEvent,
};

/// Reads the stream of one response.
#[derive(Default)]
pub(crate) struct ResponsesDialect {
    anomalies: StreamAnomalies,
}

impl Dialect for ResponsesDialect {
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
