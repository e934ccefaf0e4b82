//! The shape of a `relay.toml`, and where in it something is.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, SeqAccess, Visitor},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::super::config::{OnePiece, RelayConfig};
use crate::{ApiError, ErrorKind, duration::parse_limit};

/// The value of an environment variable, if it is not blank. One that is not UTF-8 is not quoted: it may be a key.
pub(super) fn variable(
    lookup: &dyn Fn(&str) -> Option<OsString>,
    name: &str,
) -> Result<Option<String>, String> {
    let value = lookup(name).map(OsString::into_string).transpose();
    let value = value.map_err(|_| {
        format!("environment variable {name} is not UTF-8: set it anew, or unset it")
    })?;
    Ok(value.filter(|value| !value.trim().is_empty()))
}

/// What errors call an environment variable. What does not look like the name of one is not said: it may be the key itself.
pub(super) fn variable_said(name: &str) -> String {
    let is_of_names = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    match name.bytes().all(is_of_names) {
        true => format!("environment variable {name}"),
        false => "environment variable (not shown, for it may be a key: write the name of a variable that holds it, such as TEAM_KEY)".to_owned(),
    }
}

/// A text and its file, for errors.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    path: &'a Path,
    text: &'a str,
}

impl<'a> Place<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text }
    }

    /// What stands in front of an error.
    pub(super) fn prefix(&self) -> String {
        format!("{}: ", self.path.display())
    }

    pub(super) fn line(&self, at: usize) -> usize {
        1 + self.text[..at.min(self.text.len())].matches('\n').count()
    }

    pub(super) fn at(&self, at: usize, what: &str) -> String {
        format!("{}line {}: {what}", self.prefix(), self.line(at))
    }

    /// What an error says of where it is.
    pub(super) fn line_of(&self, said: &str) -> Option<String> {
        let behind = said.strip_prefix(&self.prefix())?;
        Some(behind.split_once(": ")?.0.to_owned())
    }

    /// Where a text stands, for what was read without its place; else the beginning.
    pub(super) fn find(&self, text: &str) -> usize {
        self.text.find(text).unwrap_or_default()
    }

    /// Where the value of a key of a table stands; else the beginning.
    pub(super) fn value_of(&self, table: &str, key: &str) -> usize {
        let file = DeTable::parse(self.text).ok();
        let table = file.as_ref().and_then(|file| file.get_ref().get(table));
        let value = table.and_then(|table| table.get_ref().get(key));
        value.map_or(0, |value| value.span().start)
    }

    /// The key whose value stands there.
    fn key_at(&self, at: usize) -> Option<String> {
        let mut found = None;
        let file = DeTable::parse(self.text).ok()?;
        for (key, value) in file.get_ref() {
            innermost(key.get_ref(), value, at, &mut found);
        }
        found.map(|(_, key)| key)
    }

    /// A path in the file, which begins at its folder.
    pub(super) fn beside(&self, path: &str) -> PathBuf {
        match path {
            "-" => path.into(),
            _ => self.path.parent().unwrap_or(Path::new("")).join(path),
        }
    }
}

/// The shortest value that a place is in, and its key.
fn innermost(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    at: usize,
    found: &mut Option<(usize, String)>,
) {
    let (span, shortest) = (value.span(), found.as_ref().map(|(length, _)| *length));
    if span.contains(&at) && shortest.is_none_or(|length| span.len() <= length) {
        *found = Some((span.len(), key.to_owned()));
    }
    match value.get_ref() {
        DeValue::Table(table) => {
            for (key, value) in table {
                innermost(key.get_ref(), value, at, found);
            }
        }
        DeValue::Array(list) => {
            for value in list {
                innermost(key, value, at, found);
            }
        }
        _ => {}
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) relay: Knobs,
    #[serde(default)]
    pub(super) route: Vec<Spanned<Entry>>,
    /// By the name of the provider that they are for.
    #[serde(default)]
    pub(super) keys: BTreeMap<String, Spanned<KeySource>>,
    pub(super) store: Option<Spanned<StoreKnobs>>,
    #[serde(rename = "providers")]
    _providers: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) model: String,
    pub(super) provider: String,
    pub(super) rename: Option<String>,
    #[serde(default)]
    pub(super) fallback: Vec<Fallback>,
    pub(super) tools: Option<Tools>,
    pub(super) compaction: Option<bool>,
    pub(super) one_piece: Option<OnePiece>,
}

impl Entry {
    pub(super) fn asks(&self, provider: &str) -> bool {
        let fallbacks = self.fallback.iter().map(|fallback| &fallback.provider);
        fallbacks
            .chain([&self.provider])
            .any(|name| name == provider)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tools {
    Functions,
}

/// `"NAME"`, or `{ provider = "NAME", rename = "MODEL" }`.
pub(super) struct Fallback {
    pub(super) provider: String,
    pub(super) rename: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeySource {
    pub(super) env: Option<Texts>,
    pub(super) file: Option<String>,
}

/// One of the first three says where it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoreKnobs {
    pub(super) url: Option<String>,
    pub(super) url_env: Option<String>,
    pub(super) url_file: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) answer_bytes: Option<usize>,
    pub(super) full_at_percent: Option<u8>,
    pub(super) ca_file: Option<String>,
    pub(super) node: Option<String>,
    pub(super) claim_time: Option<Time>,
}

/// A text, or several.
#[derive(Clone, Default)]
pub(super) struct Texts(pub(super) Vec<String>);

/// A time, such as `"15s"`.
#[derive(Clone, Copy)]
pub(super) struct Time(pub(super) Duration);

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Knobs {
    pub(super) listen: Option<Texts>,
    pub(super) tokens_file: Option<String>,
    #[serde(default)]
    pub(super) allow_anonymous: bool,
    max_body_bytes: Option<usize>,
    max_running_body_bytes: Option<usize>,
    max_streams: Option<usize>,
    max_connections: Option<usize>,
    head_time: Option<Time>,
    body_time: Option<Time>,
    keepalive: Option<Time>,
    head_patience: Option<Time>,
    preamble_patience: Option<Time>,
    slow_client: Option<Time>,
    retention: Option<Time>,
    retention_bytes: Option<usize>,
    grace: Option<Time>,
    drain_notice: Option<Time>,
    one_piece: Option<OnePiece>,
    hosts: Option<Texts>,
    origins: Option<Texts>,
}

impl Knobs {
    pub(super) fn config(&self) -> RelayConfig {
        let mut config = RelayConfig::default();
        fn set<T>(knob: &mut T, said: Option<T>) {
            if let Some(said) = said {
                *knob = said;
            }
        }
        let time = |time: &Option<Time>| time.map(|Time(time)| time);
        let texts = |texts: &Option<Texts>| texts.as_ref().map(|texts| texts.0.clone());
        set(&mut config.max_body_bytes, self.max_body_bytes);
        set(
            &mut config.max_running_body_bytes,
            self.max_running_body_bytes,
        );
        set(&mut config.max_streams, self.max_streams);
        set(&mut config.max_connections, self.max_connections);
        set(&mut config.head_time, time(&self.head_time));
        set(&mut config.body_time, time(&self.body_time));
        set(&mut config.keepalive, time(&self.keepalive));
        set(&mut config.head_patience, time(&self.head_patience));
        set(&mut config.preamble_patience, time(&self.preamble_patience));
        set(&mut config.slow_client, time(&self.slow_client));
        set(&mut config.retention, time(&self.retention));
        set(&mut config.retention_bytes, self.retention_bytes);
        set(&mut config.grace, time(&self.grace));
        set(&mut config.drain_notice, time(&self.drain_notice));
        set(&mut config.one_piece, self.one_piece);
        set(&mut config.hosts, texts(&self.hosts));
        set(&mut config.origins, texts(&self.origins));
        config
    }
}

impl File {
    /// What stands beside the providers.
    pub(super) const KEYS: &'static [&'static str] = &["relay", "route", "keys", "store"];

    pub(super) fn read(place: &Place<'_>) -> Result<Self, ApiError> {
        toml::from_str(place.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let mut what = without_value(error.message());
            if let Some((rest, key)) = what.strip_prefix("this is ").zip(place.key_at(at)) {
                what = format!("`{key}` is {rest}");
            }
            let message = place.at(at, &what);
            ApiError::new(ErrorKind::InvalidConfiguration, message)
        })
    }
}

/// serde quotes the value that it found, which may be a key that is in the wrong place.
fn without_value(message: &str) -> String {
    match message.rsplit_once(", expected ") {
        Some((quoted, expected)) if quoted.starts_with("invalid ") => {
            format!("this is not {}", in_words(expected))
        }
        Some((quoted, expected)) if quoted.starts_with("unknown variant") => {
            format!("this is not {}", expected.replace('`', "\""))
        }
        // Of a choice.
        _ if message.starts_with("wanted string") => "this is not a string".to_owned(),
        _ => message.to_owned(),
    }
}

fn in_words(expected: &str) -> &str {
    match expected {
        "usize" => "a whole number from 0 on",
        "u8" => "a whole number from 0 to 255",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        _ if expected.starts_with("struct ") => "a table",
        _ => expected,
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time such as \"15s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                let wrong = |_| {
                    E::custom("this is not a time such as \"500ms\", \"15s\", \"10m\" or \"none\"")
                };
                parse_limit(text).map(Time).map_err(wrong)
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or a list of strings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(Texts(texts))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl<'de> Deserialize<'de> for Fallback {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            provider: String,
            rename: Option<String>,
        }
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Fallback;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a provider's name, or a table with `provider` and `rename`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Fallback, E> {
                Ok(Fallback {
                    provider: text.to_owned(),
                    rename: None,
                })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, table: A) -> Result<Fallback, A::Error> {
                let table = Table::deserialize(de::value::MapAccessDeserializer::new(table))?;
                Ok(Fallback {
                    provider: table.provider,
                    rename: table.rename,
                })
            }
        }
        deserializer.deserialize_any(Read)
    }
}
