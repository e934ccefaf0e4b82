//! What came before the answer.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor},
    ser::SerializeMap,
};

use super::Id;

/// The head of a response: its status and its headers, whatever they say.
///
/// Left out are `set-cookie`, what says how long and how encoded the body is, which arrives unpacked, and what concerns the connection
/// alone. What a server repeats of a key is taken out. The transport bounds a head to 128 KiB and 256 headers.
///
/// As JSON it is `{"status", "request_id", "headers"}`, where a header that came several times has a list. Headers that are marked
/// sensitive (`x-codex-turn-state`) are not in there, and bytes that are no UTF-8 are replaced.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct ResponseHead {
    /// The status.
    #[serde(deserialize_with = "status")]
    pub status: StatusCode,
    /// The server's id of the request (header `x-request-id` and the like).
    pub request_id: Option<Id>,
    /// The headers: `openai-processing-ms`, `x-ratelimit-remaining-tokens`, `retry-after`, `cf-ray`, ...
    #[serde(deserialize_with = "headers")]
    pub headers: HeaderMap,
}

impl ResponseHead {
    /// The head with this status, and no headers.
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// The text of a header; of several the first.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Bytes that it holds, roughly.
    pub(crate) fn weight(&self) -> usize {
        let sizes = self
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len());
        size_of::<Self>() + sizes.sum::<usize>()
    }
}

/// Headers as one object.
pub(super) struct AsObject<'a>(pub(super) &'a HeaderMap);

impl Serialize for AsObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for name in self.0.keys() {
            let values = self
                .0
                .get_all(name)
                .iter()
                .filter(|value| !value.is_sensitive());
            let texts: Vec<_> = values
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
                .collect();
            match &texts[..] {
                [] => {}
                [text] => map.serialize_entry(name.as_str(), text)?,
                texts => map.serialize_entry(name.as_str(), texts)?,
            }
        }
        map.end()
    }
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StatusCode, D::Error> {
    let number = u16::deserialize(deserializer)?;
    StatusCode::from_u16(number).map_err(D::Error::custom)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Several(Vec<String>),
}

fn headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeaderMap, D::Error> {
    struct Headers;

    impl<'de> Visitor<'de> for Headers {
        type Value = HeaderMap;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object of headers")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HeaderMap, A::Error> {
            let mut headers = HeaderMap::new();
            while let Some((name, texts)) = map.next_entry::<String, Texts>()? {
                let name = HeaderName::try_from(name).map_err(A::Error::custom)?;
                let texts = match texts {
                    Texts::One(text) => vec![text],
                    Texts::Several(texts) => texts,
                };
                for text in texts {
                    let value = HeaderValue::try_from(text).map_err(A::Error::custom)?;
                    // Only a map of tens of thousands is full.
                    headers.try_append(&name, value).map_err(A::Error::custom)?;
                }
            }
            Ok(headers)
        }
    }

    deserializer.deserialize_map(Headers)
}
