//! Where answers are kept: what `[store]` and the command's `--store` say.

use std::{ffi::OsString, fmt, io, path::Path, sync::Arc};

use url::Url;

use super::{
    super::config::{CLAIM_TIMES, RelayConfig},
    reading::{Place, StoreKnobs, variable, variable_said},
};
use crate::{ApiError, ErrorKind, files, store::StreamStore, transport::TlsConfig};

/// The most bytes of a file with a URL.
const MAX_BYTES: u64 = 64 << 10;

/// The answers end with the process.
const MEMORY: &str = "memory";

/// How many times in the time of a claim it is tried to connect again, at the least: a writer must be back before a reader that is back already takes
/// its stream for one without a writer.
#[cfg(feature = "redis")]
const TRIES_IN_A_CLAIM: u32 = 16;

/// A command is given up before the one who waits for it gives it up, after a tenth of a claim's time: so a connection that is dead is seen to be.
#[cfg(feature = "redis")]
const COMMANDS_IN_A_CLAIM: u32 = 12;

/// Where answers are kept, and how much of each.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct StoreConfig {
    /// `redis://HOST`, `rediss://HOST` or `unix:///PATH`; `memory`, or nothing, is this process. It may hold a password, so it is not printed.
    pub url: Option<String>,
    /// What all keys of this relay in Redis begin with. Nodes with the same one are one relay.
    pub prefix: Option<String>,
    /// The most bytes that are kept of one answer, and so can be read on another node.
    pub answer_bytes: Option<usize>,
    /// How many percent of Redis's `maxmemory` are in use when it takes no new answers.
    pub full_at_percent: Option<u8>,
    /// Whom to trust at `rediss://`.
    pub tls: TlsConfig,
}

with_fields!(StoreConfig {
    with_url(url: impl Into<String> => Some(url.into())),
    with_prefix(prefix: impl Into<String> => Some(prefix.into())),
    with_answer_bytes(answer_bytes: usize => Some(answer_bytes)),
    with_full_at_percent(full_at_percent: u8 => Some(full_at_percent)),
    with_tls(tls: TlsConfig),
});

impl StoreConfig {
    /// The store whose URL is in a file: its first line that is neither blank nor begins with `#`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`]: it can't be read, or there is none.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ApiError> {
        let path = path.as_ref();
        let wrong = |what: &str| misconfigured(format!("{}: {what}", path.display()));
        let url = url_in(path).map_err(|error| wrong("can't be read").with_source(error))?;
        url.map(|url| Self::default().with_url(url))
            .ok_or_else(|| wrong("there is no URL in it"))
    }

    /// What a `[store]` says; an error says what is wrong with it.
    pub(super) fn of(
        said: &StoreKnobs,
        place: &Place<'_>,
        lookup: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, String> {
        let url = match (&said.url, &said.url_env, &said.url_file) {
            (None, None, None) => None,
            (Some(url), None, None) => Some(url.clone()),
            (None, Some(name), None) => {
                let unset = || format!("{} is not set, or blank", variable_said(name));
                Some(variable(lookup, name)?.ok_or_else(unset)?)
            }
            (None, None, Some(file)) => {
                let url = url_in(&place.beside(file))
                    .map_err(|error| format!("{file:?} can't be read: {error}"))?;
                Some(url.ok_or_else(|| format!("there is no URL in {file:?}"))?)
            }
            _ => return Err("`url`, `url_env` and `url_file` are more than one".to_owned()),
        };
        let tls = match &said.ca_file {
            Some(file) => TlsConfig::default().with_extra_ca_file(place.beside(file)),
            None => TlsConfig::default(),
        };
        let store = Self {
            url,
            prefix: said.prefix.clone(),
            answer_bytes: said.answer_bytes,
            full_at_percent: said.full_at_percent,
            tls,
        };
        // Such a file lies beside the code, as keys of providers do not.
        match said.url.is_some() && store.holds_password() {
            true => Err("a password has no place here: `url_file` names a file that has the URL, `url_env` a variable".to_owned()),
            false => Ok(store),
        }
    }

    /// The store for a relay; nothing in place of memory, which a relay has by itself. It is not asked anything yet: whether it answers is what
    /// [`StreamStore::check`] says.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`]: it is no URL of Redis, or this program was built without it. The URL is not quoted.
    pub fn open(&self, relay: &RelayConfig) -> Result<Option<Arc<dyn StreamStore>>, ApiError> {
        let url = self.url.as_deref().map_or(MEMORY, str::trim);
        if !CLAIM_TIMES.contains(&relay.claim_time) {
            let [from, to] = [CLAIM_TIMES.start(), CLAIM_TIMES.end()];
            return Err(misconfigured(format!(
                "the claim time is from {from:?} to {to:?}"
            )));
        }
        match url {
            MEMORY => Ok(None),
            url => self.redis(url, relay).map(Some),
        }
    }

    #[cfg(feature = "redis")]
    fn redis(&self, url: &str, relay: &RelayConfig) -> Result<Arc<dyn StreamStore>, ApiError> {
        use crate::store::{RedisOptions, RedisStore};

        let mut options = RedisOptions::default()
            .with_retention(relay.retention)
            .with_tls(self.tls.clone());
        if let Some(prefix) = &self.prefix {
            options.prefix.clone_from(prefix);
        }
        let command = relay.claim_time / COMMANDS_IN_A_CLAIM;
        options.command_timeout = options.command_timeout.min(command);
        let often = relay.claim_time / TRIES_IN_A_CLAIM;
        options.reconnect.cap = options.reconnect.cap.min(often);
        options.reconnect.base = options.reconnect.base.min(often);
        options.stream_bytes = self.answer_bytes.unwrap_or(options.stream_bytes);
        options.full_at_percent = self.full_at_percent.unwrap_or(options.full_at_percent);
        Ok(Arc::new(RedisStore::new(url, options)?))
    }

    #[cfg(not(feature = "redis"))]
    fn redis(&self, _: &str, _: &RelayConfig) -> Result<Arc<dyn StreamStore>, ApiError> {
        Err(misconfigured(
            "this program was built without the feature `redis`, so \"memory\" is the only store it has".to_owned(),
        ))
    }

    /// Whether others may not see the URL, on a command line or in a file that lies beside the code. What can't be read is taken for a secret,
    /// too.
    pub fn holds_password(&self) -> bool {
        let url = self.url.as_deref().map_or(MEMORY, str::trim);
        match Url::parse(url) {
            Ok(url) if !url.cannot_be_a_base() => url.password().is_some() || names_password(&url),
            _ => url.contains('@'),
        }
    }

    /// What must not be printed.
    pub fn secrets(&self) -> Vec<String> {
        let Some(text) = self.url.as_deref().filter(|_| self.holds_password()) else {
            return Vec::new();
        };
        let parsed = Url::parse(text.trim()).ok();
        let written = parsed
            .as_ref()
            .and_then(|url| url.password().map(str::to_owned));
        // The server is sent it without its escapes.
        let plain = written.as_deref().map(|password| {
            let query = format!("={}", password.replace('+', "%2B"));
            let mut pairs = url::form_urlencoded::parse(query.as_bytes());
            pairs
                .next()
                .map_or_else(String::new, |(_, value)| value.into_owned())
        });
        let named = parsed.iter().flat_map(|url| {
            let pairs = url.query_pairs().filter(|(name, _)| is_password(name));
            pairs
                .map(|(_, value)| value.into_owned())
                .collect::<Vec<_>>()
        });
        [text.to_owned()]
            .into_iter()
            .chain(written)
            .chain(plain)
            .chain(named)
            .collect()
    }
}

fn misconfigured(message: String) -> ApiError {
    ApiError::new(ErrorKind::InvalidConfiguration, message)
}

fn url_in(path: &Path) -> io::Result<Option<String>> {
    let text = files::read_text(path, MAX_BYTES)?;
    let mut lines = text.lines().map(str::trim);
    Ok(lines
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned))
}

/// `unix:///PATH?pass=...`.
fn names_password(url: &Url) -> bool {
    url.query_pairs().any(|(name, _)| is_password(&name))
}

fn is_password(name: &str) -> bool {
    ["pass", "password"].contains(&name)
}

/// The URL is left out.
impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreConfig")
            .field("prefix", &self.prefix)
            .field("answer_bytes", &self.answer_bytes)
            .field("full_at_percent", &self.full_at_percent)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn of(url: &str) -> StoreConfig {
        StoreConfig::default().with_url(url)
    }

    #[test]
    fn memory_is_what_a_relay_has_by_itself() {
        for config in [StoreConfig::default(), of("memory"), of(" memory\n")] {
            let opened = config.open(&RelayConfig::default());
            assert!(opened.expect("a store").is_none());
        }
    }

    #[test]
    fn a_password_is_seen_wherever_it_stands_and_never_said() {
        for (url, secrets) in [
            ("redis://127.0.0.1:6379/0", &[][..]),
            ("unix:///run/redis.sock?db=1", &[]),
            ("redis://ada@localhost", &[]),
            (
                "redis://ada:hunter2%2Bx@host",
                &["hunter2%2Bx", "hunter2+x"],
            ),
            ("rediss://:hunter2+x@host", &["hunter2+x", "hunter2+x"]),
            ("unix:///run/redis.sock?pass=hunter2", &["hunter2"]),
            ("ada:hunter2@host:99999", &[]),
        ] {
            let config = of(url);
            let is_secret = url.contains("hunter2");
            assert_eq!(config.holds_password(), is_secret, "{url}");
            let all = config.secrets();
            let (whole, parts) = all
                .split_first()
                .map_or((None, &[][..]), |(first, rest)| (Some(&**first), rest));
            assert_eq!(whole, is_secret.then_some(url));
            assert_eq!(parts, secrets, "{url}");
            assert!(!format!("{config:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_claim_has_a_time_that_can_be_kept_and_waited_for() {
        for time in [Duration::ZERO, Duration::MAX] {
            let relay = RelayConfig::default().with_claim_time(time);
            for store in [StoreConfig::default(), of("redis://127.0.0.1")] {
                let error = store.open(&relay).expect_err("a refusal");
                assert!(error.message().contains("from 500ms to 600s"), "{error}");
            }
        }
    }

    #[cfg(not(feature = "redis"))]
    #[test]
    fn without_redis_it_says_what_to_build_with() {
        let error = of("redis://127.0.0.1").open(&RelayConfig::default());
        let error = error.expect_err("a refusal");
        assert!(error.message().contains("feature `redis`"), "{error}");
    }
}
