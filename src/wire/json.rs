//! Reading JSON that servers get nearly right.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// A string, borrowed where it has no escapes; `None` for a value of any other kind.
#[derive(Debug, Default)]
pub(crate) struct LenientStr<'a>(pub(crate) Option<Cow<'a, str>>);

/// A whole number, also when written as a float or a string; `None` for anything else.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LenientInt(pub(crate) Option<u64>);

impl LenientInt {
    /// As an index; one that is out of range is none.
    pub(crate) fn index(self) -> Option<u32> {
        self.0.and_then(|n| u32::try_from(n).ok())
    }
}

struct StrVisitor;

impl<'de> Visitor<'de> for StrVisitor {
    type Value = LenientStr<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
        Ok(LenientStr(Some(Cow::Borrowed(v))))
    }

    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(LenientStr(Some(Cow::Owned(v.to_owned()))))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(LenientStr(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(LenientStr(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(LenientStr(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(LenientStr(None))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(LenientStr(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(LenientStr(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(LenientStr(None))
    }
}

impl<'de> Deserialize<'de> for LenientStr<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrVisitor)
    }
}

struct IntVisitor;

impl<'de> Visitor<'de> for IntVisitor {
    type Value = LenientInt;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_u64<E>(self, v: u64) -> Result<Self::Value, E> {
        Ok(LenientInt(Some(v)))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Self::Value, E> {
        let whole = v.is_finite() && v >= 0.0 && v.fract() == 0.0;
        Ok(LenientInt(whole.then_some(v as u64)))
    }

    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(LenientInt(v.trim().parse().ok()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(LenientInt(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(LenientInt(None))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(LenientInt(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(LenientInt(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(LenientInt(None))
    }
}

impl<'de> Deserialize<'de> for LenientInt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntVisitor)
    }
}

/// Replaces every `\uD800`-`\uDFFF` escape that has no partner by `\uFFFD`, in place of the error that serde_json makes of
/// it. Servers that cut text by UTF-16 units send such halves, one in each of two deltas.
///
/// `None` when there is nothing to replace.
pub(crate) fn repair_lone_surrogates(json: &str) -> Option<String> {
    let bytes = json.as_bytes();
    let unit = |at: usize| -> Option<u16> {
        let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut repaired = None::<String>;
    let (mut at, mut copied) = (0, 0);
    while let Some(found) = memchr::memchr(b'\\', &bytes[at..]) {
        at += found;
        let Some(first) = unit(at) else {
            // Any other escape is two bytes long; what it escapes may be a backslash.
            at = (at + 2).min(bytes.len());
            continue;
        };
        let pair =
            matches!(first, 0xD800..=0xDBFF) && matches!(unit(at + 6), Some(0xDC00..=0xDFFF));
        if matches!(first, 0xD800..=0xDFFF) && !pair {
            let text = repaired.get_or_insert_with(String::new);
            text.push_str(&json[copied..at]);
            text.push_str("\\ufffd");
            copied = at + 6;
        }
        at += if pair { 12 } else { 6 };
    }
    repaired.map(|mut text| {
        text.push_str(&json[copied..]);
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_become_replacement_characters_and_pairs_stay() {
        for (json, expected) in [
            (r#""\ud83d""#, Some(r#""\ufffd""#)),
            (r#""a\udc00b\ud83dc""#, Some(r#""a\ufffdb\ufffdc""#)),
            (r#""\ud83d\ude00""#, None),
            (r#""\\ud83d""#, None),
            (r#""\ud83d\ud83d\ude00""#, Some(r#""\ufffd\ud83d\ude00""#)),
            (r#""\n\"\u0041""#, None),
            (r#""\u12"#, None),
            ("\"\\", None),
        ] {
            assert_eq!(repair_lone_surrogates(json).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn values_of_another_kind_read_as_absent() {
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
