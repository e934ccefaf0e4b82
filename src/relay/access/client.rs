//! Who asks: whose a stream is.

use std::{fmt, sync::Arc};

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use ring::digest::{SHA256, digest};

/// The headers in which a client may show a key, the first that it sends counts.
pub(super) const KEY_HEADERS: [HeaderName; 3] = [
    AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
];

/// Who asks. Two requests are the same client's when this is equal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// Has a token of this relay, which is named so.
    Named(Arc<str>),
    /// Has a key of the server's: its SHA-256.
    Keyed([u8; 32]),
    /// Shows nothing.
    Anonymous,
}

impl Client {
    /// By the key that it shows, which no token file knows.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let key = KEY_HEADERS.iter().find_map(|name| headers.get(name));
        key.map_or(Self::Anonymous, |key| Self::Keyed(sha256(key.as_bytes())))
    }

    /// What a store calls it: no two clients the same, and no key.
    pub(crate) fn in_store(&self) -> String {
        match self {
            Self::Named(name) => format!("token:{name}"),
            Self::Keyed(hash) => {
                let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
                let digits = hash.iter().flat_map(|byte| [byte >> 4, byte & 15]);
                "key:".chars().chain(digits.map(digit)).collect()
            }
            Self::Anonymous => "anonymous".to_owned(),
        }
    }

    /// What logs and metrics call it: a token's name, and nothing that tells one key from another.
    pub(crate) fn label(&self) -> &str {
        match self {
            Self::Named(name) => name,
            Self::Keyed(_) => "keyed",
            Self::Anonymous => "anonymous",
        }
    }
}

/// No digest of a key, either.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The SHA-256 of these bytes.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn client(header: &'static str, value: &'static str) -> Client {
        let mut headers = HeaderMap::new();
        headers.insert(
            HeaderName::from_static(header),
            HeaderValue::from_static(value),
        );
        Client::of(&headers)
    }

    #[test]
    fn a_client_is_its_key_and_a_debug_shows_none() {
        let key = client("authorization", "Bearer hunter2");
        assert_eq!(key, client("authorization", "Bearer hunter2"));
        assert_ne!(key, client("authorization", "Bearer hunter3"));
        assert_ne!(client("x-api-key", "hunter2"), client("api-key", "hunter3"));
        assert_eq!(client("accept", "hunter2"), Client::Anonymous);
        assert_eq!(format!("{key:?}"), "keyed");
    }
}
