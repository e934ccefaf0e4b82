//! JSON kept as it was written.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeOwned},
    ser::Error as _,
};
use serde_json::{Value, value::RawValue};

use crate::json::{
    escapes::without_lone_surrogates,
    tree::{MAX_TREE_BYTES, items_fit},
};

/// A JSON text, byte for byte as the server or the caller wrote it, parsed only when asked.
///
/// A clone shares the text. Equality is of the bytes, not of the JSON values.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RawJson(Arc<str>);

impl RawJson {
    /// Takes a text that is one JSON value.
    ///
    /// # Errors
    /// When `text` is not exactly one JSON value.
    pub fn parse(text: &str) -> serde_json::Result<Self> {
        let raw: &RawValue = serde_json::from_str(text)?;
        Ok(Self(raw.get().into()))
    }

    /// The most memory that the values of one text may take beside their texts, by an estimate: a value can take a hundred times the
    /// bytes that it is written with. A list above it is refused, and an item above it keeps its text and has no typed form.
    pub const MAX_TREE_BYTES: usize = MAX_TREE_BYTES;

    /// The elements of a JSON array, each as it is written.
    ///
    /// # Errors
    /// When `text` is not exactly one JSON array, or over [`MAX_TREE_BYTES`](Self::MAX_TREE_BYTES).
    pub fn elements(text: &str) -> serde_json::Result<Vec<Self>> {
        let elements = Self::borrowed_elements(text)?;
        Ok(elements.into_iter().map(Self::from_raw).collect())
    }

    pub(crate) fn borrowed_elements(text: &str) -> serde_json::Result<Vec<&RawValue>> {
        if !items_fit(text) {
            return Err(<serde_json::Error as de::Error>::custom(format!(
                "its values are too many: they would take more than {MAX_TREE_BYTES} bytes of memory \
                 (limit `RawJson::MAX_TREE_BYTES`)"
            )));
        }
        serde_json::from_str(text)
    }

    /// Takes a text that a parser has already walked.
    pub(crate) fn from_raw(raw: &RawValue) -> Self {
        Self(raw.get().into())
    }

    /// Takes a text that a parser has found to be one JSON value, without white space around it.
    pub(crate) fn from_walked(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn get(&self) -> &str {
        &self.0
    }

    /// Parses the text into a type of the caller's. Half a surrogate pair, which JSON can spell and no text can hold, is read as U+FFFD.
    ///
    /// # Errors
    /// When the JSON does not have the shape of `T`.
    pub fn to<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(&self.0).or_else(|error| match without_lone_surrogates(&self.0) {
            Cow::Owned(whole) => serde_json::from_str(&whole),
            Cow::Borrowed(_) => Err(error),
        })
    }

    /// Parses the text into a [`Value`]; JSON that nests deeper than serde_json follows (128) gives null.
    pub fn to_value(&self) -> Value {
        self.to().unwrap_or(Value::Null)
    }
}

impl From<&Value> for RawJson {
    fn from(value: &Value) -> Self {
        Self(value.to_string().into())
    }
}

impl From<Value> for RawJson {
    fn from(value: Value) -> Self {
        Self::from(&value)
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Writes the text as it is. Only serde_json's serializers can; others get an error.
impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// Only from serde_json's deserializers.
impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw: Box<RawValue> = Deserialize::deserialize(deserializer)?;
        Ok(Self(raw.get().into()))
    }
}

/// For an optional field whose value, if it is there at all, is JSON: also null.
pub(crate) fn present<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<RawJson>, D::Error> {
    RawJson::deserialize(deserializer).map(Some)
}

/// JSON of the server's on one line. Several `data:` lines of an event bring line breaks, but never into a string.
pub(crate) struct OneLine<'a>(pub(crate) &'a RawJson);

impl OneLine<'_> {
    fn text(&self) -> Cow<'_, str> {
        let text = self.0.get();
        match memchr::memchr2(b'\n', b'\r', text.as_bytes()) {
            Some(_) => Cow::Owned(text.replace(['\n', '\r'], " ")),
            None => Cow::Borrowed(text),
        }
    }
}

impl Serialize for OneLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.text();
        let raw: &RawValue = serde_json::from_str(&text).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_survive_a_round_trip() {
        let text = r#"{"b":1, "a": [1.0,1e2,"\u0041"]}"#;
        let raw = RawJson::parse(text).unwrap();
        assert_eq!(serde_json::to_string(&raw).unwrap(), text);
        assert_eq!(serde_json::from_str::<RawJson>(text).unwrap(), raw);
    }

    #[test]
    fn half_a_pair_is_a_sign_and_stays_what_it_is_in_the_text() {
        let text = r#"{"a\ud83d":"\ude00"}"#;
        let raw = RawJson::parse(text).unwrap();
        assert_eq!(raw.to_value(), serde_json::json!({"a\u{fffd}": "\u{fffd}"}));
        assert_eq!(raw.get(), text);
    }

    #[test]
    fn two_values_are_refused() {
        assert!(RawJson::parse("{} {}").is_err());
        assert!(RawJson::parse("").is_err());
    }
}
