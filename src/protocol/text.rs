//! The two string types of the hot path.

use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

use compact_str::CompactString;
use serde::{Deserialize, Serialize, Serializer};

/// An identifier that many events repeat. A decoder hands out one allocation for a run of equal ones, so that a clone costs
/// a reference count.
pub type Id = Arc<str>;

/// A piece of streamed text: at most 24 bytes are held in place, so that a usual delta allocates nothing.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(from = "String")]
pub struct Text(CompactString);

impl Text {
    /// The text as a string slice.
    #[inline]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn reserve(&mut self, more: usize) {
        self.0.reserve(more);
    }

    pub(crate) fn push_str(&mut self, more: &str) {
        self.0.push_str(more);
    }
}

impl Deref for Text {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.0.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.0.as_str()
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self.0.as_str()
    }
}

impl From<&str> for Text {
    #[inline(always)] // A short text is made in registers, and goes from there to its place in the event.
    fn from(text: &str) -> Self {
        Self(CompactString::new(text))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(CompactString::from(text))
    }
}

impl From<std::borrow::Cow<'_, str>> for Text {
    fn from(text: std::borrow::Cow<'_, str>) -> Self {
        Self(CompactString::from(text))
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn ids_and_texts_are_texts_in_json() {
        let (id, text) = (Id::from("msg_1"), Text::from("a\n"));
        let value = json!({"id": id, "text": text, "none": None::<Id>});
        assert_eq!(value, json!({"id": "msg_1", "text": "a\n", "none": null}));
        let read = |name: &str| value[name].clone();
        assert_eq!(serde_json::from_value::<Id>(read("id")).unwrap(), id);
        assert_eq!(serde_json::from_value::<Text>(read("text")).unwrap(), text);
        assert!(serde_json::from_value::<Text>(Value::from(1)).is_err());
    }
}
