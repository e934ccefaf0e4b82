//! The tokens of clients, as a file that holds none of them.

use std::{fmt, path::Path, sync::Arc};

use subtle::ConstantTimeEq as _;

use super::super::configuration::{key_file, lines_of};
use super::client::sha256;
use crate::{ApiError, ErrorKind};

/// The digits of a SHA-256, and the most bytes of a name.
const HASH_DIGITS: usize = 64;

/// The hashes of what samples write in place of a token.
const SAMPLES: [&str; 5] = ["", "token", "secret", "changeme", "TOKEN"];

/// The tokens of clients: the name of each, and its SHA-256.
///
/// A file of them has a line for each, `NAME SHA256`, and holds no token itself:
///
/// ```sh
/// token=$(openssl rand -hex 32); echo "$token"
/// echo "ada $(printf %s "$token" | sha256sum | cut -d' ' -f1)" >> tokens
/// ```
#[derive(Clone)]
pub struct Tokens {
    entries: Vec<(Arc<str>, [u8; 32])>,
}

impl Tokens {
    /// Reads a file; `-` is standard input.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] when it can't be read, holds no token or that of a sample, or a line is none; the message
    /// names the line and never what is in it.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ApiError> {
        let path = path.as_ref();
        let wrong = |message: String| {
            let message = format!("{}: {message}", path.display());
            ApiError::new(ErrorKind::InvalidConfiguration, message)
        };
        let text = key_file(path).map_err(|error| wrong(format!("can't be read: {error}")))?;
        Self::from_text(&text).map_err(wrong)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let mut entries: Vec<(Arc<str>, [u8; 32])> = Vec::new();
        let samples = SAMPLES.map(|sample| sha256(sample.as_bytes()));
        for line in lines_of(text) {
            // Addresses in one text: its line's number.
            let at = line.as_ptr() as usize - text.as_ptr() as usize;
            let number = 1 + text[..at].matches('\n').count();
            let wrong = |what: &str| format!("line {number} {what}");
            let mut words = line.split_whitespace();
            let (Some(name), Some(hash), None) = (words.next(), words.next(), words.next()) else {
                return Err(wrong("is not a name and the SHA-256 of a token"));
            };
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
            if name.len() > HASH_DIGITS || !name.bytes().all(is_name) {
                return Err(wrong("has a name that is not of letters, digits and -_.@"));
            }
            let hash = unhex(hash).ok_or_else(|| {
                wrong(
                    "has no SHA-256 behind the name: 64 hexadecimal digits, never the token itself",
                )
            })?;
            if samples.contains(&hash) || hash.iter().all(|byte| *byte == hash[0]) {
                return Err(wrong("is a sample: make a token of your own"));
            }
            if entries
                .iter()
                .any(|(known, other)| **known == *name || *other == hash)
            {
                return Err(wrong("repeats a name or a token"));
            }
            entries.push((name.into(), hash));
        }
        match entries.is_empty() {
            true => Err("there is no token in it, so nobody could ask".to_owned()),
            false => Ok(Self { entries }),
        }
    }

    /// Whose token a header's value is, with or without `Bearer` in front. All are compared, each in the same time.
    pub(super) fn owner(&self, value: &[u8]) -> Option<Arc<str>> {
        let token = match value.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token,
            _ => value,
        };
        let hash = sha256(token.trim_ascii());
        let mut found = None;
        for (name, known) in &self.entries {
            if bool::from(known.ct_eq(&hash)) {
                found = Some(name);
            }
        }
        found.cloned()
    }
}

/// Names alone.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.entries.iter().map(|(name, _)| name))
            .finish()
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != HASH_DIGITS || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = std::str::from_utf8(digits).ok()?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(token: &str) -> String {
        sha256(token.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    #[test]
    fn a_token_is_known_by_its_hash_and_by_nothing_else() {
        let text = format!("# ours\n\nada {}\nbob {}\n", hex("hunter2"), hex("hunter3"));
        let tokens = Tokens::from_text(&text).unwrap();
        for (value, owner) in [
            ("Bearer hunter2", Some("ada")),
            ("bearer hunter3", Some("bob")),
            ("hunter2", Some("ada")),
            ("Bearer hunter", None),
            ("Bearer hunter22", None),
            ("Basic hunter2", None),
            ("Bearer ", None),
            ("", None),
            (&hex("hunter2"), None),
        ] {
            assert_eq!(tokens.owner(value.as_bytes()).as_deref(), owner, "{value}");
        }
        assert_eq!(format!("{tokens:?}"), r#"["ada", "bob"]"#);
    }

    #[test]
    fn an_empty_or_sample_token_file_is_refused_and_never_quoted() {
        let repeated = format!("a {0}\nb {0}", hex("hunter2"));
        for (text, said) in [
            ("", "no token"),
            ("# ada ...\n", "no token"),
            ("\nhunter2", "line 2 is not a name and the SHA-256"),
            ("ada hunter2", "line 1 has no SHA-256"),
            ("ada hunter2 hunter2", "line 1 is not a name"),
            (&format!("a/b {}", hex("x")), "line 1 has a name"),
            (&format!("ada {}", hex("changeme")), "line 1 is a sample"),
            (&format!("ada {}", "0".repeat(64)), "line 1 is a sample"),
            (&repeated, "line 2 repeats"),
        ] {
            let error = Tokens::from_text(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
