//! What the head of a response says before its body does.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, StatusCode, header};

use crate::{
    protocol::{
        Id, RateLimitSnapshot, ResponseEvent,
        error::{ApiError, ErrorKind},
    },
    wire::server_error,
};

/// How much of a body that is no event stream is kept for the error that says so.
const FOREIGN_BODY_BYTES: usize = 2 * 1024;

/// The beginning of a body that may be no event stream, whatever its label says.
pub(super) struct ForeignBody {
    status: StatusCode,
    content_type: Option<String>,
    start: Vec<u8>,
}

impl ForeignBody {
    /// One that is about to come.
    pub(super) fn new(status: StatusCode, headers: &HeaderMap) -> Self {
        let content_type = headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        Self {
            status,
            content_type: content_type.map(str::to_owned),
            start: Vec::new(),
        }
    }

    /// Keeps a chunk, as far as there is room.
    pub(super) fn keep(&mut self, chunk: &[u8]) {
        let room = FOREIGN_BODY_BYTES - self.start.len();
        self.start
            .extend_from_slice(&chunk[..chunk.len().min(room)]);
    }

    /// What to say of a body that held no event. `None` when it may be the beginning of an event stream.
    pub(super) fn error(&self) -> Option<ApiError> {
        if self.start.is_empty() {
            let message = format!("the server answered {} with an empty body", self.status);
            let mut error = ApiError::new(ErrorKind::UnexpectedStatus, message);
            error.details_mut().status = Some(self.status.as_u16());
            return Some(error);
        }
        // Some pages begin with a byte order mark.
        let start = self.start.strip_prefix(b"\xEF\xBB\xBF");
        let start = start.unwrap_or(&self.start).trim_ascii_start();
        let is_page = matches!(start.first(), Some(b'<' | b'{' | b'['));
        let label = self.content_type.as_deref();
        if label.is_none_or(is_event_stream) && !is_page {
            return None;
        }
        let described = serde_json::from_slice(&self.start)
            .ok()
            .and_then(|value| server_error::ServerError::from_json(&value));
        Some(match described {
            Some(error) => error.into_api_error(None),
            None => ApiError::new(
                ErrorKind::Protocol,
                format!(
                    "the server sent no event stream but {}: {}",
                    label.unwrap_or("something without a content-type"),
                    server_error::excerpt(&String::from_utf8_lossy(&self.start))
                        .unwrap_or_else(|| "nothing".to_owned()),
                ),
            ),
        })
    }
}

fn is_event_stream(content_type: &str) -> bool {
    let start = content_type.trim_start().get(..EVENT_STREAM.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
}

const EVENT_STREAM: &str = "text/event-stream";

static SERVER_MODEL: HeaderName = HeaderName::from_static("openai-model");
static MODELS_ETAG: HeaderName = HeaderName::from_static("x-models-etag");
static REASONING_INCLUDED: HeaderName = HeaderName::from_static("x-reasoning-included");

/// What the head of a response says, as events.
pub(super) fn header_events(headers: &HeaderMap, events: &mut Vec<ResponseEvent>) {
    let text = |name: &HeaderName| {
        let text = headers.get(name)?.to_str().ok()?.trim();
        (!text.is_empty()).then(|| Id::from(text))
    };
    events.extend(text(&SERVER_MODEL).map(ResponseEvent::ServerModel));
    let limits = RateLimitSnapshot::from_headers(headers).into_iter();
    events.extend(limits.map(|snapshot| ResponseEvent::RateLimits(Arc::new(snapshot))));
    events.extend(text(&MODELS_ETAG).map(ResponseEvent::ModelsEtag));
    if headers.contains_key(&REASONING_INCLUDED) {
        events.push(ResponseEvent::ServerReasoningIncluded);
    }
}
