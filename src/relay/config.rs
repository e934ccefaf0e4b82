//! What a relay may do, and how much of it.

use std::{ops::RangeInclusive, str::FromStr, sync::Arc, time::Duration};

use serde::Deserialize;

use super::access::{host_name, page_origin};
use crate::{ApiError, ErrorKind, store::StreamStore};

/// How an answer in one piece, for a client that asked for no stream, is had from its server.
///
/// As text, and in `relay.toml`, it is `stream` or `server`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OnePiece {
    /// The server is asked for a stream, of which the object is made: it can be watched while it comes, and a server that died is told from one
    /// that thinks.
    #[default]
    Stream,
    /// The request goes to the server as it came, and its object comes back byte for byte. Where that can't be, as between two dialects, it
    /// is the other.
    Server,
}

impl FromStr for OnePiece {
    type Err = ApiError;

    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] for any other text.
    fn from_str(text: &str) -> Result<Self, ApiError> {
        match text {
            "stream" => Ok(Self::Stream),
            "server" => Ok(Self::Server),
            _ => Err(ApiError::new(
                ErrorKind::InvalidConfiguration,
                "it is \"stream\" or \"server\"",
            )),
        }
    }
}

/// How a relay behaves.
///
/// A time of [`Duration::MAX`], which is `none` in `relay.toml`, has no end: what is above ten years is taken for these. One of zero is over at
/// once. `head_time`, `body_time`, `keepalive` and `slow_client` are 50 ms at least: what is below is taken for these.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RelayConfig {
    /// The most bytes that the body of a request may have, decoded. A longer one is 413.
    pub max_body_bytes: usize,
    /// The most bytes that the bodies of all requests that run may have together, decoded. What would bring more is 503, and may try again
    /// soon.
    pub max_running_body_bytes: usize,
    /// The most streams that one client may have at a time; a further one is 429. Anonymous ones are one client.
    pub max_streams: usize,
    /// The most connections that a server of this relay's command takes at a time; further ones wait until one is free.
    pub max_connections: usize,
    /// How long the head of a request may take, to within half a second; then it is 408. Read by a server of this relay's command, as `max_connections` is.
    pub head_time: Duration,
    /// How long the whole body of a request may take; then it is 408.
    pub body_time: Duration,
    /// How long a client's stream may be without a block before it is sent a sign of life.
    pub keepalive: Duration,
    /// How long the head of a streamed answer waits for the server's. Then it is 200, and what fails later is an event.
    pub head_patience: Duration,
    /// How long what comes before the output is held back, so that a retry before it is not seen.
    pub preamble_patience: Duration,
    /// How long a client may leave its stream unread; 15 seconds where others read the same answer. Then it is told so, if it reads again,
    /// and the connection of one that takes nothing at all is closed (on Linux, by a server of this relay's command).
    pub slow_client: Duration,
    /// How long an answer that ended can be read again; one that is in memory alone and was asked for with `store: false`, for 5 minutes at most.
    pub retention: Duration,
    /// The most bytes of answers that are kept for those who come back; the oldest ended ones go first. Of more than 2,000 answers they go, too,
    /// an eighth at once; one that is in a store which nodes share is found there.
    pub retention_bytes: usize,
    /// How long running streams have to end after a shutdown has begun. Then those that run in the background at their server, and lie in a store
    /// that nodes share, are handed on: their bodies are cut, without an end, and clients that come back to another node go on there. All
    /// others end with `server_shutting_down`.
    pub grace: Duration,
    /// How long readiness says 503 before the listener closes.
    pub drain_notice: Duration,
    /// How answers in one piece are had, on routes that do not say it.
    pub one_piece: OnePiece,
    /// The `Host`s that requests may name besides IP addresses of this machine and `localhost`, without a port. In upper or lower case; there
    /// is none for all.
    pub hosts: Vec<String>,
    /// The origins whose pages may ask, such as `https://app.example`. What is no origin, as `*` and `null`, lets nobody ask.
    pub origins: Vec<String>,
    /// Where answers are kept: in memory after their end, if it is not said. In one that several nodes share they are written while they run,
    /// and every node answers for all.
    /// An answer that is neither in the background nor asked for with `x-relay-detach: true` is stopped when the last of those leaves who read
    /// it at the node that writes it: readers at other nodes do not keep it.
    pub store: Option<Arc<dyn StreamStore>>,
    /// What this node is called in a store that several share; each process adds digits of its own to it.
    pub node: Option<String>,
    /// How long who reads an answer in such a store waits, at the most, for a node that has gone away: then the node that is asked goes on with
    /// the answer, or ends it. One that nobody asks for stays as it was left. A node's claim holds for four fifths of this from what it wrote last:
    /// one that stands still for longer loses its answers to those who read them elsewhere. From 500 ms to 10 minutes: what is below or above is taken
    /// for these.
    pub claim_time: Duration,
}

/// Shorter ones are lost to a moment without the processor, longer ones leave readers without an end.
pub(super) const CLAIM_TIMES: RangeInclusive<Duration> =
    Duration::from_millis(500)..=Duration::from_secs(600);

/// No limit. Times are added to what the clock says, which can't be done with the longest that there are.
pub(super) const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// With less there would be no request, or more signs of life than anything else.
pub(super) const SHORTEST: Duration = Duration::from_millis(50);

impl RelayConfig {
    /// With times that can be waited for.
    pub(super) fn bounded(mut self) -> Self {
        for time in [
            &mut self.head_patience,
            &mut self.preamble_patience,
            &mut self.retention,
            &mut self.grace,
            &mut self.drain_notice,
        ] {
            *time = (*time).min(LONGEST);
        }
        for time in [
            &mut self.head_time,
            &mut self.body_time,
            &mut self.keepalive,
            &mut self.slow_client,
        ] {
            *time = (*time).clamp(SHORTEST, LONGEST);
        }
        self.claim_time = self.claim_time();
        self
    }

    /// Says what of it can't work, all at once. [`Relay::new`](super::Relay::new) does not ask: a relay with such a value refuses what it
    /// would refuse, and breaks nothing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`]; the message names each field, and says what to write instead.
    pub fn check(&self) -> Result<(), ApiError> {
        let wrong: Vec<_> = self.wrong().into_iter().map(|(_, what)| what).collect();
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(ApiError::new(
                ErrorKind::InvalidConfiguration,
                wrong.join("\n"),
            )),
        }
    }

    /// The same, for each field.
    pub(super) fn wrong(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        for (field, most) in [
            ("max_body_bytes", self.max_body_bytes),
            ("max_running_body_bytes", self.max_running_body_bytes),
            ("max_streams", self.max_streams),
            ("max_connections", self.max_connections),
        ] {
            if most == 0 {
                let what = format!("`{field}` is 0, so nobody could ask: write 1 or more");
                wrong.push((field, what));
            }
        }
        for (field, time) in [
            ("head_time", self.head_time),
            ("body_time", self.body_time),
            ("keepalive", self.keepalive),
            ("slow_client", self.slow_client),
        ] {
            if time < SHORTEST {
                let what = format!(
                    "`{field}` is below {SHORTEST:?}: write a longer time, or \"none\" for no limit"
                );
                wrong.push((field, what));
            }
        }
        if self.drain_notice >= LONGEST {
            let what = "`drain_notice` has no end, so the relay would have none: write a time such as \"5s\"";
            wrong.push(("drain_notice", what.to_owned()));
        }
        let hosts = self.hosts.iter().map(|text| (text, host_name(text).err()));
        for (text, why) in hosts.filter_map(|(text, why)| Some((text, why?))) {
            wrong.push((
                "hosts",
                format!("`hosts` (--allow-host): {}{why}", quoted(text)),
            ));
        }
        let origins = self
            .origins
            .iter()
            .map(|text| (text, page_origin(text).err()));
        for (text, why) in origins.filter_map(|(text, why)| Some((text, why?))) {
            let what = format!("`origins` (--allow-origin): {}{why}", quoted(text));
            wrong.push(("origins", what));
        }
        if self.node.as_deref().is_some_and(|name| !is_node(name)) {
            let what = format!(
                "`node` (--node) is not a name: write 1 to {NODE_BYTES} bytes without blanks and control characters"
            );
            wrong.push(("node", what));
        }
        wrong
    }

    pub(super) fn claim_time(&self) -> Duration {
        self.claim_time
            .clamp(*CLAIM_TIMES.start(), *CLAIM_TIMES.end())
    }
}

/// The most bytes of a node's name, as of a host's: it stands in each claim of each answer.
const NODE_BYTES: usize = 255;

fn is_node(name: &str) -> bool {
    let has_none = |wrong: fn(char) -> bool| !name.contains(wrong);
    (1..=NODE_BYTES).contains(&name.len())
        && has_none(char::is_whitespace)
        && has_none(char::is_control)
}

/// What is wrong, in front of why; not where it may hold a password.
fn quoted(text: &str) -> String {
    match text.contains('@') {
        true => String::new(),
        false => format!("{text:?}: "),
    }
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 32 << 20,
            max_running_body_bytes: 1 << 30,
            max_streams: 1000,
            max_connections: 25_000,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(120),
            keepalive: Duration::from_secs(15),
            head_patience: Duration::from_secs(15),
            preamble_patience: Duration::from_secs(2),
            slow_client: Duration::from_secs(60),
            retention: Duration::from_secs(600),
            retention_bytes: 256 << 20,
            grace: Duration::from_secs(600),
            drain_notice: Duration::from_secs(5),
            one_piece: OnePiece::Stream,
            hosts: Vec::new(),
            origins: Vec::new(),
            store: None,
            node: None,
            claim_time: Duration::from_secs(10),
        }
    }
}

with_fields!(RelayConfig {
    with_max_body_bytes(max_body_bytes: usize),
    with_max_running_body_bytes(max_running_body_bytes: usize),
    with_max_streams(max_streams: usize),
    with_max_connections(max_connections: usize),
    with_head_time(head_time: Duration),
    with_body_time(body_time: Duration),
    with_keepalive(keepalive: Duration),
    with_head_patience(head_patience: Duration),
    with_preamble_patience(preamble_patience: Duration),
    with_slow_client(slow_client: Duration),
    with_retention(retention: Duration),
    with_retention_bytes(retention_bytes: usize),
    with_grace(grace: Duration),
    with_drain_notice(drain_notice: Duration),
    with_one_piece(one_piece: OnePiece),
    with_hosts(hosts: Vec<String>),
    with_origins(origins: Vec<String>),
    with_store(store: Arc<dyn StreamStore> => Some(store)),
    with_node(node: String => Some(node)),
    with_claim_time(claim_time: Duration),
});
