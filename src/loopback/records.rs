//! What the server has seen: requests, and how connections came and went.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    net::SocketAddr,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::sync::Notify;

/// The most requests on record; the oldest are forgotten first.
const MAX_RECORDED_REQUESTS: usize = 4096;
/// The most bytes of request bodies on record; the oldest requests are forgotten first.
const MAX_RECORDED_BODY_BYTES: usize = 64 << 20;
/// The most closed connections on record; the oldest are forgotten first.
const MAX_RECORDED_CONNECTIONS: usize = 4096;

/// Tells the connections of one server apart; the first is 1.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// One request that came in whole.
///
/// Headers that carry credentials are marked sensitive, so that `Debug` does not show them.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// Counts the requests of the server; the first is 1. The answer's `x-request-id` ends in it.
    pub number: u64,
    /// The connection it came over.
    pub connection: ConnectionId,
    /// When its last byte had been read.
    pub at: Instant,
    /// The method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// What follows the question mark, if there is one.
    pub query: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, without its framing.
    pub body: Bytes,
}

impl RecordedRequest {
    /// Reads the body as JSON.
    ///
    /// # Errors
    ///
    /// When it is not JSON.
    pub fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
    }

    #[cfg(test)]
    pub(super) fn for_tests(method: Method, path: &str, body: &'static str) -> Self {
        Self {
            number: 1,
            connection: ConnectionId(1),
            at: Instant::now(),
            method,
            path: path.to_owned(),
            query: None,
            headers: HeaderMap::new(),
            body: Bytes::from(body),
        }
    }
}

/// One connection, as the server saw it.
///
/// The instants are of the real clock, also where a test pauses tokio's: the server has a runtime of its own.
#[derive(Clone, Debug)]
pub struct ConnectionRecord {
    /// Which one.
    pub id: ConnectionId,
    /// Who connected.
    pub peer: SocketAddr,
    /// When it was accepted.
    pub accepted_at: Instant,
    /// How many requests came over it.
    pub requests: u64,
    /// How many bytes the kernel has taken from the server.
    pub bytes_written: u64,
    /// When the kernel took the last of them.
    pub last_byte_written_at: Option<Instant>,
    /// How it was closed; none while it is open.
    pub closed: Option<ConnectionClose>,
}

/// How a connection was closed, by the side that did it first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConnectionClose {
    /// The side that closed it.
    pub by: Side,
    /// How it did.
    pub kind: CloseKind,
    /// When the server did, or saw it.
    pub at: Instant,
}

/// A side of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// Who connected.
    Client,
    /// The loopback provider.
    Server,
}

/// How a side closes a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CloseKind {
    /// In order: nothing more comes.
    Fin,
    /// At once: what was on its way is lost. A client's kernel also sends this when the client closes a connection
    /// from which it has not read everything.
    Reset,
}

/// The record, and the ways to wait for it to change.
#[derive(Debug, Default)]
pub(super) struct Records {
    state: Mutex<State>,
    changed: Notify,
    changed_for_threads: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Counts the changes, so that a waiting thread does not miss one that happens between its look and its wait.
    version: u64,
    request_count: u64,
    requests: VecDeque<RecordedRequest>,
    recorded_body_bytes: usize,
    connection_count: u64,
    connections: BTreeMap<ConnectionId, ConnectionRecord>,
    open: usize,
}

impl Records {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is whole before the lock is let go, so what a panic leaves behind can be used.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        state.version += 1;
        drop(state);
        self.changed.notify_waiters();
        self.changed_for_threads.notify_all();
        result
    }

    pub(super) fn accepted(&self, peer: SocketAddr) -> ConnectionId {
        self.change(|state| {
            state.connection_count += 1;
            state.open += 1;
            let id = ConnectionId(state.connection_count);
            let record = ConnectionRecord {
                id,
                peer,
                accepted_at: Instant::now(),
                requests: 0,
                bytes_written: 0,
                last_byte_written_at: None,
                closed: None,
            };
            state.connections.insert(id, record);
            while state.connections.len() - state.open > MAX_RECORDED_CONNECTIONS {
                let oldest = state
                    .connections
                    .values()
                    .find(|record| record.closed.is_some());
                let Some(oldest) = oldest.map(|record| record.id) else {
                    break;
                };
                state.connections.remove(&oldest);
            }
            id
        })
    }

    /// Puts a request on record, and gives it its number.
    pub(super) fn requested(&self, request: &mut RecordedRequest) {
        self.change(|state| {
            state.request_count += 1;
            request.number = state.request_count;
            if let Some(connection) = state.connections.get_mut(&request.connection) {
                connection.requests += 1;
            }
            state.recorded_body_bytes += request.body.len();
            state.requests.push_back(request.clone());
            while state.requests.len() > MAX_RECORDED_REQUESTS
                || state.recorded_body_bytes > MAX_RECORDED_BODY_BYTES
            {
                let Some(oldest) = state.requests.pop_front() else {
                    break;
                };
                state.recorded_body_bytes -= oldest.body.len();
            }
        });
    }

    pub(super) fn written(&self, id: ConnectionId, bytes: usize) {
        self.change(|state| {
            if let Some(connection) = state.connections.get_mut(&id) {
                connection.bytes_written += bytes as u64;
                connection.last_byte_written_at = Some(Instant::now());
            }
        });
    }

    /// Puts down how a connection was closed, unless that is known already.
    pub(super) fn closed(&self, id: ConnectionId, by: Side, kind: CloseKind) {
        self.change(|state| {
            let connection = state.connections.get_mut(&id);
            if let Some(connection) = connection.filter(|record| record.closed.is_none()) {
                let at = Instant::now();
                connection.closed = Some(ConnectionClose { by, kind, at });
                state.open -= 1;
            }
        });
    }

    pub(super) fn requests(&self) -> Vec<RecordedRequest> {
        self.lock().requests.iter().cloned().collect()
    }

    pub(super) fn request_count(&self) -> u64 {
        self.lock().request_count
    }

    pub(super) fn connections(&self) -> Vec<ConnectionRecord> {
        self.lock().connections.values().cloned().collect()
    }

    pub(super) fn connection(&self, id: ConnectionId) -> Option<ConnectionRecord> {
        self.lock().connections.get(&id).cloned()
    }

    /// Whether a connection of this id has been accepted.
    pub(super) fn has_accepted(&self, id: ConnectionId) -> bool {
        (1..=self.lock().connection_count).contains(&id.0)
    }

    pub(super) fn open_connections(&self) -> usize {
        self.lock().open
    }

    /// Waits until the condition gives something; it is looked at now and after each change.
    pub(super) async fn until<T>(&self, mut condition: impl FnMut() -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Before the look, so that a change during it counts.
            changed.as_mut().enable();
            if let Some(found) = condition() {
                return found;
            }
            changed.await;
        }
    }

    /// Does the same with the thread, for at most so long.
    pub(super) fn block_until<T>(
        &self,
        patience: Duration,
        mut condition: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let started = Instant::now();
        loop {
            let version = self.lock().version;
            if let Some(found) = condition() {
                return Some(found);
            }
            let left = patience.checked_sub(started.elapsed())?;
            let wait = self
                .changed_for_threads
                .wait_timeout_while(self.lock(), left, |state| state.version == version);
            drop(wait.unwrap_or_else(PoisonError::into_inner));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    #[test]
    fn the_oldest_closed_connections_are_forgotten_first() {
        let records = Records::default();
        let kept_open = records.accepted(PEER);
        for _ in 0..MAX_RECORDED_CONNECTIONS + 10 {
            let id = records.accepted(PEER);
            records.closed(id, Side::Client, CloseKind::Fin);
        }
        let last = records.accepted(PEER);
        let ids: Vec<_> = records
            .connections()
            .iter()
            .map(|record| record.id)
            .collect();
        assert_eq!(ids.len(), MAX_RECORDED_CONNECTIONS + 2);
        assert_eq!(
            (ids[0], ids[1], *ids.last().unwrap()),
            (kept_open, ConnectionId(12), last)
        );
        assert_eq!(records.open_connections(), 2);
    }

    #[test]
    fn requests_are_forgotten_when_their_bodies_are_too_much() {
        let records = Records::default();
        let body = Bytes::from(vec![0; MAX_RECORDED_BODY_BYTES / 2]);
        for _ in 0..3 {
            let mut request = RecordedRequest::for_tests(Method::POST, "/", "");
            request.body = body.clone();
            records.requested(&mut request);
        }
        let numbers: Vec<_> = records
            .requests()
            .iter()
            .map(|request| request.number)
            .collect();
        assert_eq!(numbers, [2, 3]);
        assert_eq!(records.request_count(), 3);
    }

    #[test]
    fn the_first_closing_counts() {
        let records = Records::default();
        let id = records.accepted(PEER);
        records.closed(id, Side::Server, CloseKind::Fin);
        records.closed(id, Side::Client, CloseKind::Reset);
        let close = records.connection(id).unwrap().closed.unwrap();
        assert_eq!((close.by, close.kind), (Side::Server, CloseKind::Fin));
        assert_eq!(records.open_connections(), 0);
    }

    #[test]
    fn a_wait_for_what_never_happens_ends_in_time() {
        let records = Records::default();
        assert_eq!(
            records.block_until(Duration::from_millis(1), || None::<()>),
            None
        );
        assert_eq!(records.block_until(Duration::ZERO, || Some(1)), Some(1));
    }
}
