//! What a server wants to be told again within a turn.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::protocol::ResponseEvent;

/// The header that brings it, both ways.
pub(crate) const TURN_STATE: HeaderName = HeaderName::from_static("x-codex-turn-state");

/// What a server gave the first response of a turn, so that the turn's later requests find the same machine
/// (`x-codex-turn-state`).
///
/// It belongs to one turn: the requests from a message of the user until the model needs no more tools. Make one for each
/// turn and give clones of it to its requests. It is set once, by the first response that brings the header, and then sent
/// unchanged with whatever of the turn is sent later, other attempts at the same request included.
#[derive(Clone, Debug, Default)]
pub struct TurnState(Arc<OnceLock<HeaderValue>>);

impl TurnState {
    /// The state of a turn that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a response has brought it.
    pub fn is_set(&self) -> bool {
        self.0.get().is_some()
    }

    /// Keeps what a response's headers say, unless an earlier response has said it.
    pub(crate) fn observe(&self, response: &HeaderMap) {
        if let Some(value) = response.get(TURN_STATE) {
            self.set(value.clone());
        }
    }

    /// The same of headers that come as an event of the stream (`response.headers`, `response.metadata`).
    pub(crate) fn observe_events(&self, events: &[ResponseEvent]) {
        if self.is_set() {
            return;
        }
        let headers = events.iter().filter_map(|event| match event {
            ResponseEvent::Other(other) if is_of_headers(&other.event) => {
                let event = other.raw.to_value();
                let holders = ["/headers", "/response/headers", "/metadata/headers"];
                holders
                    .into_iter()
                    .find_map(|holder| text_of(event.pointer(holder)?))
            }
            _ => None,
        });
        for value in headers {
            // What is no header value cannot be sent back as one.
            if let Ok(value) = HeaderValue::from_str(&value) {
                self.set(value);
            }
        }
    }

    fn set(&self, mut value: HeaderValue) {
        // Nobody knows what is in it.
        value.set_sensitive(true);
        // An error means that it is set.
        let _ = self.0.set(value);
    }

    /// Adds it to a request's headers, if it is known.
    pub(crate) fn apply(&self, request: &mut HeaderMap) {
        if let Some(value) = self.0.get() {
            request.insert(TURN_STATE, value.clone());
        }
    }
}

fn is_of_headers(event: &str) -> bool {
    matches!(event, "response.headers" | "response.metadata")
}

/// The state among headers in JSON, whose values may be lists.
fn text_of(headers: &Value) -> Option<String> {
    let mut fields = headers.as_object()?.iter();
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case(TURN_STATE.as_str()))?;
    let value = match value {
        Value::Array(values) => values.first()?,
        value => value,
    };
    value.as_str().map(str::to_owned)
}
