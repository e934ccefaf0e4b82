//! Where Redis is, and how much is kept in it.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use ::redis::{ConnectionAddr, IntoConnectionInfo as _, ProtocolVersion, RedisConnectionInfo};
use rustls::ClientConfig;

use crate::{protocol::error::ApiError, retry::ExponentialBackoff, transport::TlsConfig};

/// How a [`RedisStore`](super::RedisStore) uses its server.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RedisOptions {
    /// What all keys begin with, in braces: they lie in one slot of a cluster. Stores with different prefixes see nothing of each other.
    /// No braces in it. Default `responses`.
    pub prefix: String,
    /// How long a stream is kept after what came last; up to a sixteenth longer. Default 10 minutes.
    pub retention: Duration,
    /// The bytes of one stream: of its blocks, of what is to be known of it and of what was asked. Default 8 MiB.
    pub stream_bytes: usize,
    /// How many percent of the server's `maxmemory` are in use when it is full for new streams; those that run go on. A server without
    /// a `maxmemory` is never full by this. Default 80.
    pub full_at_percent: u8,
    /// The same in bytes of `used_memory`, also for a server that says no `maxmemory`; of the two marks the lower one holds. Default none.
    pub full_at_bytes: Option<u64>,
    /// How long a command may take, waiting for a connection included. Then the store is unavailable, and its connection is given up.
    /// Default 800 ms: who asks another node to stop has an answer within a second. What is long has a second more for each MiB. A relay takes a
    /// twelfth of its claim time, where that is shorter: a connection is given up before the one who waits gives up. A runtime with this store waits for
    /// one second, whatever is set here: with more than that it gives up first.
    pub command_timeout: Duration,
    /// How long opening a connection may take, with TLS and the password. Default 5 s.
    pub connect_timeout: Duration,
    /// How soon it is tried to connect again. Who asks meanwhile is refused at once. Default from 100 ms to 500 ms: with an eighth of the time that a
    /// claim holds it is to stay below a quarter of that, or a writer whose server was away finds its stream taken by a reader that was back first.
    pub reconnect: ExponentialBackoff,
    /// The streams of one client that [`list`](crate::store::StreamStore::list) gives: the newest. Default 256.
    pub listed: usize,
    /// How many streams are watched at once, over all that read what other nodes write. Default 10,000.
    pub watched: usize,
    /// Whom to trust, of `rediss://`.
    pub tls: TlsConfig,
}

with_fields!(RedisOptions {
    with_prefix(prefix: impl Into<String> => prefix.into()),
    with_retention(retention: Duration),
    with_stream_bytes(stream_bytes: usize),
    with_full_at_percent(full_at_percent: u8),
    with_full_at_bytes(full_at_bytes: u64 => Some(full_at_bytes)),
    with_command_timeout(command_timeout: Duration),
    with_connect_timeout(connect_timeout: Duration),
    with_reconnect(reconnect: ExponentialBackoff),
    with_listed(listed: usize),
    with_watched(watched: usize),
    with_tls(tls: TlsConfig),
});

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            prefix: "responses".to_owned(),
            retention: Duration::from_secs(600),
            stream_bytes: 8 << 20,
            full_at_percent: 80,
            full_at_bytes: None,
            command_timeout: Duration::from_millis(800),
            connect_timeout: Duration::from_secs(5),
            reconnect: ExponentialBackoff::default()
                .with_base(Duration::from_millis(100))
                .with_cap(Duration::from_millis(500)),
            listed: 256,
            watched: 10_000,
            tls: TlsConfig::default(),
        }
    }
}

/// Longer ones are none, and times are added to them.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);

const MOST_LISTED: usize = 1_000_000;

impl RedisOptions {
    /// Refuses what could not work.
    pub(super) fn validate(&self) -> Result<(), ApiError> {
        self.reconnect.validate()?;
        let wrong = [
            (
                self.prefix.is_empty() || self.prefix.contains(['{', '}']),
                "the prefix of its keys is empty, or has a brace in it",
            ),
            (
                self.retention < Duration::from_millis(1),
                "`retention` is below a millisecond: what is kept for no time is of no use to anybody; answers in memory need no store",
            ),
            (
                self.command_timeout.is_zero() || self.connect_timeout.is_zero(),
                "a timeout is zero",
            ),
            (
                self.command_timeout > LONGEST_TIMEOUT || self.connect_timeout > LONGEST_TIMEOUT,
                "a timeout is above an hour",
            ),
            (
                self.listed > MOST_LISTED,
                "more than 1,000,000 streams of a client are listed",
            ),
            (
                self.full_at_percent > 100,
                "it is full at more than 100 percent",
            ),
        ];
        match wrong.into_iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, message)) => Err(ApiError::misconfigured(format!("Redis: {message}"))),
            None => Ok(()),
        }
    }
}

const SHORTEST_SECRET: usize = 4;

/// Where a server is, and as whom we come.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) place: Place,
    /// With the password.
    pub(super) login: RedisConnectionInfo,
    pub(super) tls: Option<Arc<ClientConfig>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl Place {
    /// The place that a server of a cluster names as `host:port`, without a host where it is its own.
    pub(super) fn moved(&self, to: &str) -> Option<Self> {
        let (host, port) = to.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let host = match (host, self) {
            ("", Self::Tcp(host, _)) => host,
            ("", Self::Unix(_)) => return None,
            (host, _) => host,
        };
        Some(Self::Tcp(host.to_owned(), port))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Address {
    /// What no error quotes. A short word would take others out, too, and is no secret.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let password = self.login.password().into_iter();
        password.filter(|password| password.len() >= SHORTEST_SECRET)
    }

    /// Reads the files of TLS, where there is any. An error quotes nothing of the URL: there may be a password anywhere in it.
    pub(super) fn parse(url: &str, tls: &TlsConfig) -> Result<Self, ApiError> {
        let is_tls = url.starts_with("rediss:");
        // The crate knows no TLS here: that is ours.
        let plain = match url.strip_prefix("rediss:") {
            Some(rest) if rest.contains('#') => return Err(unusable("it has a fragment")),
            Some(rest) => format!("redis:{rest}"),
            None => url.to_owned(),
        };
        let forms = "it is none of redis://, rediss:// and unix://, with [user:password@]host[:port][/database] or a path behind";
        let info = plain.into_connection_info().map_err(|_| unusable(forms))?;
        let place = match info.addr() {
            ConnectionAddr::Tcp(host, port) => Place::Tcp(host.clone(), *port),
            ConnectionAddr::Unix(path) => Place::Unix(path.clone()),
            _ => return Err(unusable(forms)),
        };
        let tls = match is_tls {
            true => {
                let mut config = ClientConfig::clone(&*tls.client_config()?);
                // It is not HTTP.
                config.alpn_protocols.clear();
                Some(Arc::new(config))
            }
            false => None,
        };
        // Whatever the URL says: answers are read as this one gives them.
        let login = info.redis_settings().clone();
        let login = login.set_protocol(ProtocolVersion::RESP2);
        Ok(Self { place, login, tls })
    }
}

fn unusable(why: &str) -> ApiError {
    ApiError::misconfigured(format!("the URL of Redis can't be used: {why}"))
}
