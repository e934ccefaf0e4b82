//! Reading the files that arguments name.

use std::{
    io::{self, Read},
    path::Path,
};

use actix_responses::{files, protocol::RawJson};
use serde_json::error::Category;

use super::usage_error::UsageError;

/// The most bytes that a file of arguments, or a prompt on stdin, may have. It is all held in memory and sent.
pub(super) const MAX_INPUT_BYTES: u64 = 64 << 20;

/// Reads a text. `name` is what errors call it.
pub(super) fn read_text(name: &str, reader: impl Read) -> Result<String, UsageError> {
    let read = files::read_all(reader, MAX_INPUT_BYTES).and_then(files::text);
    read.map_err(|error| unreadable(name, &error))
}

fn read_file(flag: &str, path: &Path) -> Result<String, UsageError> {
    files::read_text(path, MAX_INPUT_BYTES)
        .map_err(|error| unreadable(&format!("{flag} {}", path.display()), &error))
}

pub(super) fn unreadable(name: &str, error: &io::Error) -> UsageError {
    UsageError::new(format!("can't read {name}: {error}"))
}

/// Reads a file that holds a JSON object, as it is written.
pub(super) fn read_object(flag: &str, path: &Path) -> Result<RawJson, UsageError> {
    let text = read_file(flag, path)?;
    let name = format!("{flag} {}", path.display());
    let raw = RawJson::parse(&text).map_err(|error| not_json(&name, &error))?;
    match is_object(&raw) {
        true => Ok(raw),
        false => Err(UsageError::new(format!("{name} holds no JSON object"))),
    }
}

/// Reads a file that holds a JSON array of objects, each as it is written. `noun` is what one of them is.
pub(super) fn read_objects(
    flag: &str,
    path: &Path,
    noun: &str,
) -> Result<Vec<RawJson>, UsageError> {
    let text = read_file(flag, path)?;
    let name = format!("{flag} {}", path.display());
    let is_array = text.trim_start().starts_with('[');
    let elements = RawJson::elements(&text).map_err(|error| match error.classify() {
        Category::Data if is_array => UsageError::new(format!("{name}: {error}")),
        Category::Data => {
            UsageError::new(format!("{name} holds no JSON array: write [{noun}, ...]"))
        }
        _ => not_json(&name, &error),
    })?;
    match elements.iter().position(|element| !is_object(element)) {
        Some(index) => Err(UsageError::new(format!(
            "{name}: {noun} {} is no JSON object",
            index + 1
        ))),
        None => Ok(elements),
    }
}

fn not_json(name: &str, error: &serde_json::Error) -> UsageError {
    UsageError::new(match error.is_data() {
        true => format!("{name}: {error}"),
        false => format!("{name} is not JSON: {error}"),
    })
}

fn is_object(raw: &RawJson) -> bool {
    raw.get().starts_with('{')
}
