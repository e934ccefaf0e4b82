//! Embedded providers to ask, and streams for them to answer with.

use actix_responses::loopback::{
    ConnectionClose, ConnectionId, Loopback, LoopbackOptions, Reply, Script,
};
use serde_json::{Value, json};

use super::PATIENCE;

pub(crate) const FIRST: ConnectionId = ConnectionId(1);

pub(crate) fn provider(script: Script) -> Loopback {
    let mut options = LoopbackOptions::default();
    options.script = script;
    options.reproducible = true;
    Loopback::start(options).expect("a provider on a free port")
}

/// A provider that answers every request the same way.
pub(crate) fn always(reply: Reply) -> Loopback {
    provider(Script::always(reply))
}

pub(crate) fn closed(provider: &Loopback, id: ConnectionId) -> ConnectionClose {
    provider
        .wait_for_close(id, PATIENCE)
        .expect("a closed connection")
}

/// A stream of such events.
pub(crate) fn sse(events: &[Value]) -> String {
    events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect()
}

pub(crate) fn text_delta(text: &str) -> Value {
    json!({"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": text})
}

pub(crate) fn completed() -> Value {
    json!({"type": "response.completed", "response": {"id": "r", "usage": {"input_tokens": 1, "output_tokens": 2}}})
}
