//! Reading JSON that servers get nearly right.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// A string, borrowed where it has no escapes; `None` for a value of any other kind.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct LenientStr<'a>(pub(crate) Option<Cow<'a, str>>);

/// A whole number, also when written as a float or a string; `None` for anything else.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct LenientInt(pub(crate) Option<u64>);

impl LenientInt {
    /// As an index; one that is out of range is none.
    pub(crate) fn index(self) -> Option<u32> {
        self.0.and_then(|n| u32::try_from(n).ok())
    }
}

/// Any JSON value, as far as it is of use here.
enum Scalar<'a> {
    Text(Cow<'a, str>),
    Whole(u64),
    Other,
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(v)))
    }

    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(v.to_owned())))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Whole(v))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Self::Value, E> {
        let is_whole = v.is_finite() && v >= 0.0 && v.fract() == 0.0;
        Ok(match is_whole {
            true => Scalar::Whole(v as u64),
            false => Scalar::Other,
        })
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

impl<'de> Deserialize<'de> for LenientStr<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match deserializer.deserialize_any(ScalarVisitor)? {
            Scalar::Text(text) => Some(text),
            Scalar::Whole(_) | Scalar::Other => None,
        }))
    }
}

impl<'de> Deserialize<'de> for LenientInt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match deserializer.deserialize_any(ScalarVisitor)? {
            Scalar::Text(text) => text.trim().parse().ok(),
            Scalar::Whole(number) => Some(number),
            Scalar::Other => None,
        }))
    }
}

/// How deep a JSON text is nested where it was read up to. It only counts: whether it is JSON is for the parser to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct JsonDepth {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl JsonDepth {
    /// Reads on. Whether all that was opened is closed.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_string => self.is_escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => self.depth += 1,
                b'}' | b']' if !self.in_string => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        self.is_closed()
    }

    /// Where in what follows all that is open, or opens first, is closed.
    pub(crate) fn end_in(mut self, text: &str) -> Option<usize> {
        let mut opened = self != Self::default();
        for (at, byte) in text.bytes().enumerate() {
            self.read(&[byte]);
            opened |= self.depth > 0;
            if opened && self.is_closed() {
                return Some(at + 1);
            }
        }
        None
    }

    /// Whether all that was opened is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.depth == 0 && !self.in_string
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_another_kind_read_as_absent() {
        assert!(
            serde_json::from_str::<LenientStr<'_>>("7")
                .unwrap()
                .0
                .is_none()
        );
        for json in ["null", "true", "-1", "1.5", "[1,[2]]", r#"{"a":{"b":1}}"#] {
            assert_eq!(
                serde_json::from_str::<LenientStr<'_>>(json).unwrap().0,
                None,
                "{json}"
            );
            assert_eq!(
                serde_json::from_str::<LenientInt>(json).unwrap().0,
                None,
                "{json}"
            );
        }
        assert_eq!(
            serde_json::from_str::<LenientInt>("\"7\"").unwrap().0,
            Some(7)
        );
        assert_eq!(
            serde_json::from_str::<LenientInt>("7.0").unwrap().0,
            Some(7)
        );
        assert_eq!(serde_json::from_str::<LenientInt>("\"x\"").unwrap().0, None);
    }
}
