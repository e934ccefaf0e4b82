//! The items of a conversation.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::RawJson;

/// One item of a request's input or a response's output.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ResponseItem {
    /// An item without a typed form, byte for byte.
    Unknown(RawJson),
}

impl ResponseItem {
    /// Reads an item; what has no typed form is [`ResponseItem::Unknown`].
    pub fn from_raw(raw: RawJson) -> Self {
        Self::Unknown(raw)
    }
}

impl Serialize for ResponseItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unknown(raw) => raw.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ResponseItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RawJson::deserialize(deserializer).map(Self::from_raw)
    }
}
