//! What the head of a response says before its body does.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::spec::ResumeFrom;
use crate::{
    protocol::{
        Id, RateLimitSnapshot, ResponseEvent, ResponseHead,
        error::{ApiError, ErrorKind},
    },
    provider::TURN_STATE,
    secret::Secrets,
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

    /// What to say of a body that held no event. `None` when it may be the beginning of an event stream. `from` is where in a response
    /// it was to begin.
    pub(super) fn error(&self, from: Option<&ResumeFrom>) -> Option<ApiError> {
        if self.start.is_empty() {
            if let Some((id, after)) = from.and_then(|it| Some((&it.response_id, it.after?))) {
                let message = format!(
                    "nothing follows the event {after} of {id}: its stream ends there, or earlier"
                );
                return Some(ApiError::new(ErrorKind::InvalidRequest, message));
            }
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

/// What the head of a response says, as events: itself first.
pub(super) fn head_events(
    status: StatusCode,
    headers: HeaderMap,
    secrets: &Secrets,
    events: &mut Vec<ResponseEvent>,
) {
    let text = |name: &HeaderName| {
        let text = headers.get(name)?.to_str().ok()?.trim();
        (!text.is_empty()).then(|| Id::from(text))
    };
    let model = text(&SERVER_MODEL).map(ResponseEvent::ServerModel);
    let etag = text(&MODELS_ETAG).map(ResponseEvent::ModelsEtag);
    let limits = RateLimitSnapshot::from_headers(&headers).into_iter();
    let has_reasoning = headers.contains_key(&REASONING_INCLUDED);
    let head = shown_head(status, headers, secrets);
    events.push(ResponseEvent::Head(head));
    events.extend(model);
    events.extend(limits.map(|snapshot| ResponseEvent::RateLimits(Arc::new(snapshot))));
    events.extend(etag);
    if has_reasoning {
        events.push(ResponseEvent::ServerReasoningIncluded);
    }
}

/// Headers that say nothing of an answer: they concern the connection, or a body that arrives unpacked, or would be kept by a browser.
const LEFT_OUT: [HeaderName; 11] = [
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::PROXY_AUTHENTICATE,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("set-cookie2"),
];

/// A head as subscribers get it.
pub(super) fn shown_head(
    status: StatusCode,
    mut headers: HeaderMap,
    secrets: &Secrets,
) -> Arc<ResponseHead> {
    let request_id = server_error::request_id(&headers);
    let of_the_connection = headers.get_all(header::CONNECTION).iter();
    let named: Vec<_> = of_the_connection
        .flat_map(|names| names.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in LEFT_OUT.into_iter().chain(named) {
        headers.remove(name);
    }
    for (name, value) in &mut headers {
        let text = String::from_utf8_lossy(value.as_bytes());
        if let Some(scrubbed) = secrets.scrubbed(&text) {
            // What can't be sent in a header any more is not shown in one.
            *value = HeaderValue::try_from(scrubbed).unwrap_or(HeaderValue::from_static(""));
        }
        // Nobody knows what is in it.
        value.set_sensitive(name == TURN_STATE);
    }
    let mut head = ResponseHead::new(status);
    head.request_id = request_id.map(|id| (&*secrets.hide(&id)).into());
    head.headers = headers;
    Arc::new(head)
}
