//! What the keys are called.

use std::io;

use ::redis::{RedisWrite, ToRedisArgs};

use crate::store::StreamKey;

/// About how many entries an inbox has, and for how many milliseconds one is kept that nobody writes to: who does not read his for so long
/// looks at the streams themselves.
pub(super) const INBOX_ENTRIES: usize = 1000;
pub(super) const INBOX_KEPT: u64 = 60_000;

/// The keys of one stream. They begin with the same text in braces, by which a cluster tells where a key lies: so one script may use all
/// of them, and one command may wait for several streams.
pub(super) struct Keys<'a> {
    /// A hash: who writes the stream, how many blocks it has, how it ended.
    pub(super) state: Key<'a>,
    /// A stream of Redis: a block is entry `N-0`, N from 1. The end is `N-1` behind the last one, `N-2` says that the stream was over its
    /// bound, `N-3` that it was removed.
    pub(super) log: Key<'a>,
    /// A set: the keys by which the stream is found, too, so that they stay as long as it does.
    pub(super) aliases: Key<'a>,
    /// A sorted set: the newest streams of the client, by when they began.
    pub(super) streams: Key<'a>,
}

/// One key, which is written where it is sent.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    prefix: &'a str,
    what: &'a str,
    client: &'a str,
    /// Of one stream or alias of the client.
    id: Option<&'a str>,
}

impl<'a> Keys<'a> {
    pub(super) fn of(prefix: &'a str, stream: &'a StreamKey) -> Self {
        let key = |what, id| Key {
            prefix,
            what,
            client: &stream.client,
            id,
        };
        let id = Some(&*stream.id);
        Self {
            state: key("state", id),
            log: key("log", id),
            aliases: key("aliases", id),
            streams: key("streams", None),
        }
    }
}

impl Key<'_> {
    fn write(&self, out: &mut impl io::Write) -> io::Result<()> {
        for part in ["{", self.prefix, "}:", self.what, ":"] {
            out.write_all(part.as_bytes())?;
        }
        if let Some(id) = self.id {
            // The length of the client's name is in it: no client's key is another's, whatever is in their names.
            write!(out, "{}:", self.client.len())?;
            out.write_all(self.client.as_bytes())?;
            out.write_all(b"/")?;
            return out.write_all(id.as_bytes());
        }
        out.write_all(self.client.as_bytes())
    }

    fn text(&self) -> String {
        let mut text = Vec::new();
        // Memory takes all that is written to it.
        let _ = self.write(&mut text);
        String::from_utf8(text).unwrap_or_default()
    }
}

impl ToRedisArgs for Key<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let _ = self.write(&mut out.writer_for_next_arg());
    }
}

pub(super) fn state(prefix: &str, stream: &StreamKey) -> String {
    Keys::of(prefix, stream).state.text()
}

pub(super) fn log(prefix: &str, stream: &StreamKey) -> String {
    Keys::of(prefix, stream).log.text()
}

/// Holds the id of the stream that has this alias.
pub(super) fn alias(prefix: &str, client: &str, alias: &str) -> String {
    let (what, id) = ("alias", Some(alias));
    Key {
        prefix,
        what,
        client,
        id,
    }
    .text()
}

pub(super) fn streams(prefix: &str, client: &str) -> String {
    let (what, id) = ("streams", None);
    Key {
        prefix,
        what,
        client,
        id,
    }
    .text()
}

/// A stream of Redis: what the store of this name is told by others.
pub(super) fn inbox(prefix: &str, name: &str) -> String {
    format!("{{{prefix}}}:inbox:{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_has_a_key_of_another() {
        let key = |client: &str, id: &str| {
            let (client, id) = (client.to_owned(), id.to_owned());
            log("p", &StreamKey { client, id })
        };
        let one = key("a/b", "c");
        assert_eq!(one, "{p}:log:3:a/b/c");
        assert_ne!(one, key("a", "b/c"));
        assert_eq!(streams("p", "a/b"), "{p}:streams:a/b");
    }
}
