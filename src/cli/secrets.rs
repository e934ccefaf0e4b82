//! Keeping keys off the screen.

use std::{
    borrow::Cow,
    sync::{Arc, PoisonError, RwLock},
};

/// What is shown in place of a secret.
const REDACTED: &str = "[redacted]";
/// The shortest text that is taken for a secret. What is shorter turns up anywhere by chance.
const MIN_SECRET_BYTES: usize = 4;

/// The keys of a request. The library does not print them; but servers repeat them, for one in the error that refuses them.
///
/// Its clones know what any of them learns.
#[derive(Clone, Default)]
pub(super) struct Secrets(Arc<RwLock<Vec<String>>>);

impl Secrets {
    pub(super) fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let new = Self::default();
        new.learn(secrets);
        new
    }

    /// Hides these, too, from now on. What was learned before may still come back from a server.
    pub(super) fn learn(&self, secrets: impl IntoIterator<Item = String>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for secret in secrets {
            if secret.len() >= MIN_SECRET_BYTES && !known.contains(&secret) {
                known.push(secret);
            }
        }
    }

    /// These, and others.
    pub(super) fn and(&self, others: impl IntoIterator<Item = String>) -> Self {
        self.learn(others);
        self.clone()
    }

    /// The text without any of them.
    pub(super) fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for secret in &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            if text.contains(secret) {
                text = Cow::Owned(text.replace(secret, REDACTED));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_is_hidden_wherever_it_is() {
        let secrets = Secrets::new(["sk-12345".into(), "a".into(), "other".into()]);
        assert_eq!(
            secrets.hide("a key sk-12345sk-12345, another"),
            "a key [redacted][redacted], an[redacted]"
        );
        assert_eq!(Secrets::default().hide("sk"), "sk");
        let before = secrets.clone();
        secrets.learn(["sk-67890".into()]);
        assert_eq!(before.hide("sk-67890"), "[redacted]");
    }
}
