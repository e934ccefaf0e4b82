//! What the server's answers mean.

use ::redis::Value;
use bytes::Bytes;

use crate::store::{Entries, StoreError, StreamEnd, StreamInfo, StreamKey};

/// What the fields are that [`info`] reads.
pub(super) const INFO_FIELDS: [&str; 5] = ["epoch", "until", "blocks", "end", "about"];

pub(super) fn unexpected() -> StoreError {
    StoreError::Unavailable("its answer is of another kind than what was asked".to_owned())
}

pub(super) fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(bytes.into()),
        _ => None,
    }
}

pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        value => text(value)?.parse().ok(),
    }
}

/// How many bytes a stream says that it has.
pub(super) fn length(value: &Value) -> usize {
    let length = number(value).unwrap_or_default();
    usize::try_from(length).unwrap_or(usize::MAX)
}

pub(super) fn array(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

/// The number that a script gives where it did what it was asked to, or why it did not.
pub(super) fn answer(value: Value) -> Result<u64, StoreError> {
    if let Some(number) = number(&value) {
        return Ok(number);
    }
    let refusal = array(value).unwrap_or_default();
    let detail = || refusal.get(1).and_then(number);
    Err(match refusal.first().and_then(text) {
        Some("unknown") => StoreError::Unknown,
        Some("removed") => StoreError::Expired,
        Some("over") => StoreError::TooLarge,
        Some("ended") => StoreError::Ended,
        Some("full") => StoreError::Full,
        Some("claimed") => StoreError::Claimed {
            epoch: detail().ok_or_else(unexpected)?,
        },
        Some("conflict") => StoreError::Conflict {
            blocks: detail().ok_or_else(unexpected)?,
        },
        _ => unexpected(),
    })
}

/// Whether a script says that the writer is at another store than that of which it was told.
pub(super) fn has_moved(value: &Value) -> bool {
    matches!(value, Value::Array(values) if values.first().and_then(text) == Some("moved"))
}

/// Of [`INFO_FIELDS`]; nothing where there is no stream.
pub(super) fn info(stream: StreamKey, fields: Value, now: u64) -> Option<StreamInfo> {
    let [epoch, until, blocks, end, about] = array(fields)?.try_into().ok()?;
    let epoch = number(&epoch)?;
    let until = number(&until)?;
    let left = until.saturating_sub(now);
    Some(StreamInfo {
        stream,
        blocks: number(&blocks)?,
        end: text(&end).and_then(end_of),
        about: bytes(about).unwrap_or_default(),
        epoch,
        claimed_for: (left > 0).then(|| std::time::Duration::from_millis(left)),
        is_released: until == 0,
    })
}

/// Milliseconds of the server's clock, as `TIME` gives it.
pub(super) fn clock(value: &Value) -> Option<u64> {
    let Value::Array(parts) = value else {
        return None;
    };
    let [seconds, micros] = &parts[..] else {
        return None;
    };
    Some(number(seconds)? * 1000 + number(micros)? / 1000)
}

fn end_of(text: &str) -> Option<StreamEnd> {
    let ends = [
        StreamEnd::Completed,
        StreamEnd::Incomplete,
        StreamEnd::Failed,
        StreamEnd::Cancelled,
    ];
    ends.into_iter().find(|end| end.as_str() == text)
}

/// What entries of a log say from a block on, which has to be among them if any is: a log never begins in the middle.
pub(super) fn entries(entries: Vec<Value>, from: u64) -> Result<Entries, StoreError> {
    let mut read = Entries {
        first: from,
        blocks: Vec::with_capacity(entries.len()),
        end: None,
    };
    for entry in entries {
        let (block, note, value) = entry_of(entry).ok_or_else(unexpected)?;
        let next = from + read.blocks.len() as u64;
        match note {
            _ if block < next && note == 0 => {}
            0 if block == next => read.blocks.push(value),
            // The server has let a part of it go.
            0 => return Err(StoreError::Unknown),
            1 if block + 1 == next => {
                let end = std::str::from_utf8(&value).ok().and_then(end_of);
                read.end = Some(end.ok_or_else(unexpected)?);
            }
            1 => {}
            2 => return Err(StoreError::TooLarge),
            _ => return Err(StoreError::Unknown),
        }
    }
    Ok(read)
}

/// The two parts of an entry's id, and the one value that it has.
fn entry_of(entry: Value) -> Option<(u64, u64, Bytes)> {
    let [id, fields] = array(entry)?.try_into().ok()?;
    let (block, note) = text(&id)?.split_once('-')?;
    let [_, value] = array(fields)?.try_into().ok()?;
    Some((block.parse().ok()?, note.parse().ok()?, bytes(value)?))
}

pub(super) fn id(entry: &Value) -> Option<&str> {
    match entry {
        Value::Array(parts) => text(parts.first()?),
        _ => None,
    }
}

/// What an entry of an inbox tells the writer of the stream with this state.
pub(super) fn said(entry: Value) -> Option<(String, Result<(), StoreError>)> {
    let [_, fields] = array(entry)?.try_into().ok()?;
    let [name, state] = <[Value; 2]>::try_from(array(fields)?).ok()?;
    let said = match text(&name)? {
        "cancel" => Ok(()),
        "removed" => Err(StoreError::Unknown),
        _ => return None,
    };
    Some((text(&state)?.to_owned(), said))
}

/// What a writer is to be told: of the epoch and whether there was a cancel.
pub(super) fn told(fields: Value) -> Option<Result<(), StoreError>> {
    let [epoch, cancel] = array(fields)?.try_into().ok()?;
    match (epoch, cancel) {
        (Value::Nil, _) => Some(Err(StoreError::Unknown)),
        (_, Value::Nil) => None,
        _ => Some(Ok(())),
    }
}
