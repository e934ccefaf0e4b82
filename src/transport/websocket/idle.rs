//! Connections that wait for a request, and what a request asks of one.

use std::cell::RefCell;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use tokio::sync::mpsc;
use url::Url;

use super::conversation::{Conversation, Parent};
use crate::transport::TransportError;

/// How many connections of one worker lie idle at most. As many conversations as a thread has at a time and more; each costs
/// the server memory, too.
const MAX_IDLE: usize = 16;

/// Headers that are of one request and not of the connection: two requests that differ in nothing else share one.
const OF_A_REQUEST: [HeaderName; 7] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
    HeaderName::from_static("x-client-request-id"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("idempotency-key"),
    header::CONTENT_LENGTH,
];

/// What has to be the same for two requests to share a connection: where it goes, and all that the handshake said, the key included.
/// The proxy is that of the transport.
#[derive(Clone, PartialEq)]
pub(super) struct Key {
    url: Url,
    headers: HeaderMap,
    max_message_bytes: usize,
}

impl Key {
    pub(super) fn new(url: &Url, headers: &HeaderMap, max_message_bytes: usize) -> Self {
        let mut headers = headers.clone();
        for name in &OF_A_REQUEST {
            headers.remove(name);
        }
        Self {
            url: url.clone(),
            headers,
            max_message_bytes,
        }
    }
}

/// A request, to the task of a connection.
pub(super) struct Ask {
    /// The `response.create`.
    pub(super) message: Bytes,
    /// What it says, if a turn may go on from its answer.
    pub(super) conversation: Option<Conversation>,
    /// Where the messages of the answer go. Its receiver's drop cancels the response.
    pub(super) answer: mpsc::Sender<Result<Bytes, TransportError>>,
    /// The connection itself, to be put back when the answer has ended.
    pub(super) connection: Handle,
}

/// A connection, for as long as its task runs.
pub(super) struct Handle {
    pub(super) key: Key,
    /// What its server knows.
    pub(super) parent: Option<Parent>,
    pub(super) asks: mpsc::Sender<Ask>,
}

/// Those of one worker that are idle, the one last used at the end.
#[derive(Default)]
pub(super) struct IdleConnections(RefCell<Vec<Handle>>);

impl IdleConnections {
    /// Takes one: the freshest of which the request goes on, else the freshest.
    pub(super) fn take(&self, key: &Key, conversation: Option<&Conversation>) -> Option<Handle> {
        let mut idle = self.0.borrow_mut();
        idle.retain(|handle| !handle.asks.is_closed());
        let goes_on = |handle: &Handle| {
            let parent = handle.parent.as_ref();
            parent
                .zip(conversation)
                .is_some_and(|(parent, next)| parent.known_of(next).is_some())
        };
        let of_parent = idle
            .iter()
            .rposition(|handle| handle.key == *key && goes_on(handle));
        let any = || idle.iter().rposition(|handle| handle.key == *key);
        let position = of_parent.or_else(any)?;
        Some(idle.remove(position))
    }

    /// Puts one back. Where there are too many the one that has been idle for longest is closed.
    pub(super) fn put(&self, handle: Handle) {
        let mut idle = self.0.borrow_mut();
        idle.retain(|handle| !handle.asks.is_closed());
        if idle.len() == MAX_IDLE {
            idle.remove(0);
        }
        idle.push(handle);
    }

    /// Closes those that a request of this key would get.
    pub(super) fn close(&self, key: &Key) {
        self.0.borrow_mut().retain(|handle| handle.key != *key);
    }
}
