//! What nodes tell each other of an answer beside its blocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::{super::routing::Maker, about::About};
use crate::{protocol::TokenUsage, wire::Wire};

/// What lies beside an answer in a store that nodes share: no key, and nothing of what was asked but the model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::relay) struct Told {
    pub(super) is_chat: bool,
    pub(super) model: String,
    /// Who answers, or is asked first.
    pub(super) provider: String,
    /// The place of the key among those of the provider, once that is known.
    pub(super) key: Option<usize>,
    pub(super) attempt: u32,
    pub(super) detached: bool,
    pub(super) stored: bool,
    pub(super) background: bool,
    /// Milliseconds since 1970, of the clock of the node where it began. Only shown.
    pub(super) began_at: u64,
    /// Milliseconds from the beginning to the first block, and to the end.
    pub(super) first_block: Option<u64>,
    pub(super) ran: Option<u64>,
    pub(super) server_id: Option<String>,
    /// Where it goes on without us.
    pub(super) goes_on: Option<GoesOn>,
    pub(super) usage: Option<TokenUsage>,
    pub(super) failure: Option<String>,
}

/// A server that goes on with an answer though nobody listens, the place of the key that made it, and by which id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::relay) struct GoesOn {
    id: String,
    provider: String,
    key: usize,
}

impl GoesOn {
    pub(super) fn new(id: &str, maker: &Maker) -> Self {
        Self {
            id: id.to_owned(),
            provider: maker.provider.to_string(),
            key: maker.key,
        }
    }

    pub(super) fn parts(&self) -> (String, Maker) {
        let maker = Maker {
            provider: self.provider.as_str().into(),
            key: self.key,
        };
        (self.id.clone(), maker)
    }
}

impl Told {
    /// What another node said; of one that says nothing that is understood here nothing is known.
    pub(super) fn read(about: &[u8]) -> Self {
        serde_json::from_slice(about).unwrap_or_default()
    }

    pub(super) fn written(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    pub(super) fn about(&self) -> About {
        About {
            wire: match self.is_chat {
                true => Wire::Chat,
                false => Wire::Responses,
            },
            model: self.model.clone(),
            provider: self.provider.clone(),
            detached: self.detached,
            stored: self.stored,
            background: self.background,
            request: Bytes::new(),
        }
    }

    pub(super) fn maker(&self) -> Option<Maker> {
        self.key.map(|key| Maker {
            provider: self.provider.as_str().into(),
            key,
        })
    }

    pub(super) fn began_at(&self) -> SystemTime {
        let began = UNIX_EPOCH.checked_add(Duration::from_millis(self.began_at));
        began.unwrap_or(UNIX_EPOCH)
    }

    /// How long it has run, or ran.
    pub(super) fn age(&self) -> Duration {
        match self.ran {
            Some(ran) => Duration::from_millis(ran),
            None => self.began_at().elapsed().unwrap_or_default(),
        }
    }
}

pub(super) fn since_1970(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// By what another node finds the answer in which something was made: an item, by its id or by what is sealed in it. It has a bound
/// however long that is, tells nothing of it, and is no id of an answer.
pub(super) fn made(text: &str) -> String {
    use std::fmt::Write as _;
    let mut alias = "made:".to_owned();
    for byte in digest(&SHA256, text.as_bytes()).as_ref() {
        let _ = write!(alias, "{byte:02x}");
    }
    alias
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_version_says_is_read_as_far_as_it_is_understood() {
        let told = Told::read(br#"{"model":"m","key":2,"provider":"p","more":{}}"#);
        assert_eq!((&*told.model, told.attempt), ("m", 0));
        assert_eq!(told.maker().map(|maker| maker.key), Some(2));
        assert_eq!(Told::read(b"no JSON"), Told::default());
        assert_eq!(Told::read(&told.written()), told);
    }

    #[test]
    fn what_stands_for_an_item_is_short_and_no_text_of_it() {
        let sealed = "gAAAA".repeat(100_000);
        assert_eq!(made(&sealed).len(), "made:".len() + 64);
        assert_ne!(made("msg_1"), made("msg_2"));
        assert!(!made("msg_1").contains("msg"));
    }
}
