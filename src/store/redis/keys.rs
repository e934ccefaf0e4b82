//! What the keys are called.

use crate::store::StreamKey;

/// About how many entries an inbox has, and for how many milliseconds one is kept that nobody writes to: who does not read his for so long
/// looks at the streams themselves.
pub(super) const INBOX_ENTRIES: usize = 1000;
pub(super) const INBOX_KEPT: u64 = 60_000;

/// The keys of one stream. They begin with the same text in braces, by which a cluster tells where a key lies: so one script may use all
/// of them, and one command may wait for several streams.
pub(super) struct Keys {
    /// A hash: who writes the stream, how many blocks it has, how it ended.
    pub(super) state: String,
    /// A stream of Redis: a block is entry `N-0`, N from 1. The end is `N-1` behind the last one, `N-2` says that the stream was over its
    /// bound, `N-3` that it was removed.
    pub(super) log: String,
    /// A set: the keys by which the stream is found, too, so that they stay as long as it does.
    pub(super) aliases: String,
    /// A sorted set: the newest streams of the client, by when they began.
    pub(super) streams: String,
}

impl Keys {
    pub(super) fn of(prefix: &str, stream: &StreamKey) -> Self {
        let StreamKey { client, id } = stream;
        Self {
            state: key(prefix, "state", client, id),
            log: key(prefix, "log", client, id),
            aliases: key(prefix, "aliases", client, id),
            streams: streams(prefix, client),
        }
    }
}

pub(super) fn state(prefix: &str, stream: &StreamKey) -> String {
    key(prefix, "state", &stream.client, &stream.id)
}

pub(super) fn log(prefix: &str, stream: &StreamKey) -> String {
    key(prefix, "log", &stream.client, &stream.id)
}

/// Holds the id of the stream that has this alias.
pub(super) fn alias(prefix: &str, client: &str, alias: &str) -> String {
    key(prefix, "alias", client, alias)
}

pub(super) fn streams(prefix: &str, client: &str) -> String {
    format!("{{{prefix}}}:streams:{client}")
}

/// A stream of Redis: what the store of this name is told by others.
pub(super) fn inbox(prefix: &str, name: &str) -> String {
    format!("{{{prefix}}}:inbox:{name}")
}

/// The length of the client's name is in it: no client's key is another's, whatever is in their names.
fn key(prefix: &str, what: &str, client: &str, id: &str) -> String {
    let length = client.len().to_string();
    ["{", prefix, "}:", what, ":", &length, ":", client, "/", id].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_has_a_key_of_another() {
        let one = key("p", "log", "a/b", "c");
        assert_eq!(one, "{p}:log:3:a/b/c");
        assert_ne!(one, key("p", "log", "a", "b/c"));
    }
}
