//! Reading the body of a request that somebody else wrote.

use std::{borrow::Cow, fmt, ops::Range};

use memchr::memmem;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::{
    json::{
        escapes::without_lone_surrogates,
        excerpt::excerpt,
        members::{Member, Members, unescaped},
        tree::{MAX_TREE_BYTES, NEXT_BYTES, items_fit, tree_bytes},
        walk,
    },
    protocol::{
        Places, ReceivedBody, RequestOptions,
        error::{ApiError, ErrorKind, Phase},
    },
};

/// The members of a JSON object, those of the same name too.
pub(crate) struct Body<'a> {
    json: &'a str,
    members: Vec<(Cow<'a, str>, Range<usize>)>,
    /// Where it ends.
    end: usize,
}

impl<'a> Body<'a> {
    /// Checks it, and that a tree of it has bounds.
    ///
    /// # Errors
    /// When it is no JSON object, or holds more values than are read.
    pub(crate) fn of(json: &'a str) -> Result<Self, ApiError> {
        let mut body = Self {
            json,
            members: Vec::new(),
            end: 0,
        };
        let mut members = Members::of(json);
        let mut bytes = 0;
        for Member { name, value } in &mut members {
            let name = unescaped(name);
            bytes += NEXT_BYTES;
            // These are lists, whose values are counted when they are read.
            if !matches!(&*name, "input" | "messages" | "tools") {
                bytes += tree_bytes(&json[value.clone()]);
            }
            if bytes > MAX_TREE_BYTES {
                return Err(too_many(&name));
            }
            body.members.push((name, value));
        }
        match members.end().filter(|_| members.is_whole()) {
            Some(end) => body.end = end,
            None => {
                serde_json::from_str::<&RawValue>(json).map_err(not_json)?;
                return Err(not_json(format_args!("it is JSON, but no object")));
            }
        }
        Ok(body)
    }

    /// An object within a body, under that name.
    pub(crate) fn within(name: &str, json: &'a str) -> Result<Self, ApiError> {
        match json.starts_with('{') {
            true => Self::of(json),
            false => Err(wrong(name, "it is no object")),
        }
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &'a str)> {
        let json = self.json;
        let members = self.members.iter();
        members.map(move |(name, value)| (&**name, &json[value.clone()]))
    }

    /// Where the members of these names lie, and the end.
    pub(crate) fn places(&self, names: &[&'static str]) -> Places {
        let members = self.members.iter().filter_map(|(name, value)| {
            let name = names.iter().find(|known| *known == name)?;
            Some((*name, value.clone()))
        });
        Places {
            members: members.collect(),
            end: self.end - 1,
            is_empty: self.members.is_empty(),
        }
    }
}

/// The text of a body with U+FFFD for each half of a surrogate pair: who cuts a text within an emoji sends one.
pub(crate) fn with_whole_characters(json: &str) -> Cow<'_, str> {
    // Nearly no text has any, and a search takes no time.
    let has = |escape: &[u8]| memmem::find(json.as_bytes(), escape).is_some();
    match has(b"\\u") && (has(b"\\ud") || has(b"\\uD")) {
        true => without_lone_surrogates(json),
        false => Cow::Borrowed(json),
    }
}

/// Reads a member; null is none.
pub(crate) fn read<T: DeserializeOwned>(name: &str, json: &str) -> Result<Option<T>, ApiError> {
    serde_json::from_str(json).map_err(|error| wrong(name, error))
}

/// Reads a member that both APIs have under one name, or keeps it with those that have no field; one that none can hold is noted.
pub(crate) fn read_option(
    options: &mut RequestOptions,
    received: &mut ReceivedBody,
    name: &str,
    json: &str,
) -> Result<(), ApiError> {
    match name {
        "model" => options.model = read(name, json)?,
        "stream_options" => options.stream_options = read(name, json)?,
        "temperature" => options.temperature = read(name, json)?,
        "top_p" => options.top_p = read(name, json)?,
        "top_logprobs" => options.top_logprobs = read(name, json)?,
        "store" => options.store = read(name, json)?,
        "prompt_cache_key" => options.prompt_cache_key = read(name, json)?,
        "prompt_cache_retention" => options.prompt_cache_retention = read(name, json)?,
        "service_tier" => options.service_tier = read(name, json)?,
        "metadata" => options.metadata = read(name, json)?,
        "safety_identifier" => options.safety_identifier = read(name, json)?,
        "user" => options.user = read(name, json)?,
        _ => match read(name, json) {
            Ok(value) => {
                let value = value.unwrap_or_default();
                options.extra.insert(name.to_owned(), value);
            }
            Err(error) => received.leave_unread(error),
        },
    }
    Ok(())
}

/// The error of a member that is not what the API has there.
pub(crate) fn wrong(name: &str, what: impl fmt::Display) -> ApiError {
    let what = what.to_string();
    let message = format!(
        "`{name}` of the request's body can't be read: {}: write it as the API has it, or leave it out",
        excerpt(&what)
    );
    let mut error = ApiError::new(ErrorKind::InvalidRequest, message).with_phase(Phase::Prepare);
    error.details_mut().param = Some(name.to_owned());
    error
}

pub(crate) fn not_json(what: impl fmt::Display) -> ApiError {
    let message = format!(
        "the request's body is no JSON object: {what}: send one, as `{{\"model\": ..., \"input\": ...}}`"
    );
    ApiError::new(ErrorKind::InvalidRequest, message).with_phase(Phase::Prepare)
}

/// The elements of a list; a null has none.
pub(crate) fn elements<'a>(name: &str, json: &'a str) -> Result<Vec<&'a str>, ApiError> {
    match json {
        "null" => Ok(Vec::new()),
        json if !items_fit(json) => Err(too_many(name)),
        json if json.starts_with('[') => Ok(walk::elements(json).collect()),
        _ => Err(wrong(name, "it is no list")),
    }
}

fn too_many(name: &str) -> ApiError {
    let message = format!(
        "`{name}` of the request's body holds too many values: they would take more than {MAX_TREE_BYTES} \
         bytes of memory (limit `RawJson::MAX_TREE_BYTES`): send fewer"
    );
    let mut error = ApiError::new(ErrorKind::TooLarge, message).with_phase(Phase::Prepare);
    error.details_mut().param = Some(name.to_owned());
    error
}
