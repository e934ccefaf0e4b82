//! How the fields of a script file are read that serde cannot read by itself.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};

use crate::duration::parse_duration;

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

pub(super) fn optional_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    Option::<String>::deserialize(deserializer)?
        .map(|text| parse_duration(&text).map_err(D::Error::custom))
        .transpose()
}

pub(super) fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    String::deserialize(deserializer).map(Bytes::from)
}

pub(super) fn status<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<StatusCode>, D::Error> {
    Option::<u16>::deserialize(deserializer)?
        .map(|code| {
            StatusCode::from_u16(code).map_err(|_| {
                D::Error::custom(format_args!("{code} is no status; those have three digits"))
            })
        })
        .transpose()
}

/// Reads an object of headers in the order of the file, which a map would lose.
pub(super) fn headers<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, String)>, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "a header's value is a text, or an array of texts"
    )]
    enum OneOrMore {
        One(String),
        More(Vec<String>),
    }

    struct Headers;

    impl<'de> Visitor<'de> for Headers {
        type Value = Vec<(String, String)>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object of header names and values")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut headers = Vec::new();
            while let Some((name, values)) = map.next_entry::<String, OneOrMore>()? {
                match values {
                    OneOrMore::One(value) => headers.push((name, value)),
                    OneOrMore::More(values) => {
                        headers.extend(values.into_iter().map(|value| (name.clone(), value)));
                    }
                }
            }
            Ok(headers)
        }
    }

    deserializer.deserialize_map(Headers)
}
