//! What a server wants to be told again within a turn.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that brings it, both ways.
const TURN_STATE: HeaderName = HeaderName::from_static("x-codex-turn-state");

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
    pub(super) fn observe(&self, response: &HeaderMap) {
        if let Some(value) = response.get(TURN_STATE) {
            let mut value = value.clone();
            // Nobody knows what is in it.
            value.set_sensitive(true);
            // An error means that it is set.
            let _ = self.0.set(value);
        }
    }

    /// Adds it to a request's headers, if it is known.
    pub(super) fn apply(&self, request: &mut HeaderMap) {
        if let Some(value) = self.0.get() {
            request.insert(TURN_STATE, value.clone());
        }
    }
}
