//! What the bodies of all dialects have in common: one JSON object, written field by field.

use bytes::Bytes;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value};

use crate::protocol::{
    RequestOptions, ResponseItem, Tool,
    error::{ApiError, ErrorKind, Phase},
};

/// An error in what the caller asks for.
pub(super) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::InvalidConfiguration, message).with_phase(Phase::Prepare)
}

/// The model, if one is named: a blank name is none.
pub(super) fn named_model(model: &Option<String>) -> Option<&str> {
    model.as_deref().filter(|model| !model.trim().is_empty())
}

pub(super) fn required_model(model: &Option<String>) -> Result<&str, ApiError> {
    named_model(model).ok_or_else(|| invalid("no model is named"))
}

/// Refuses numbers that JSON has no form for; written, they would be null.
pub(super) fn refuse_infinite(options: &RequestOptions) -> Result<(), ApiError> {
    for (name, number) in [
        ("temperature", options.temperature),
        ("top_p", options.top_p),
    ] {
        if number.is_some_and(|number| !number.is_finite()) {
            return Err(invalid(format!("`{name}` is not a finite number")));
        }
    }
    Ok(())
}

/// How many bytes a body may have, roughly, so that its buffer is made once: a conversation of megabytes would else be moved from one to the
/// next. Every eighth character may need an escape.
pub(super) fn room_for(
    items: &[ResponseItem],
    tools: &[Tool],
    instructions: &Option<String>,
) -> usize {
    let tools = tools.iter().map(|tool| tool.raw().get().len() + 1);
    let instructions = instructions.as_ref().map_or(0, String::len);
    let items = items.iter().map(ResponseItem::written_bytes);
    let texts = instructions + items.chain(tools).sum::<usize>();
    SHORT_BODY + texts + texts / 8
}

/// A short question fits.
const SHORT_BODY: usize = 256;

/// Writes one JSON object, field by field in the order of the calls, and the caller's own fields behind them. None of these may have the
/// name of one that is put, also where that is left open.
pub(super) fn write_object(
    room: usize,
    extra: &Map<String, Value>,
    write: impl FnOnce(&mut Fields<'_>) -> Result<(), ApiError>,
) -> Result<Bytes, ApiError> {
    let mut body = Vec::with_capacity(room);
    let mut serializer = serde_json::Serializer::new(&mut body);
    let mut fields = Fields {
        map: serializer.serialize_map(None).map_err(unwritable)?,
        extra,
    };
    write(&mut fields)?;
    for (name, value) in extra {
        fields
            .map
            .serialize_entry(name, value)
            .map_err(unwritable)?;
    }
    SerializeMap::end(fields.map).map_err(unwritable)?;
    // Without the room that it has grown beyond its end: it is kept for other attempts, as long as the request lasts.
    Ok(body.into_boxed_slice().into())
}

/// The fields of an object that is being written.
pub(super) struct Fields<'a> {
    map: <&'a mut serde_json::Serializer<&'a mut Vec<u8>> as Serializer>::SerializeMap,
    extra: &'a Map<String, Value>,
}

impl Fields<'_> {
    pub(super) fn put<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), ApiError> {
        self.claim(name)?;
        self.map.serialize_entry(name, value).map_err(unwritable)
    }

    #[inline] // Most are none, and a call costs more than looking.
    pub(super) fn put_some<T: Serialize>(
        &mut self,
        name: &'static str,
        value: &Option<T>,
    ) -> Result<(), ApiError> {
        match value {
            Some(value) => self.put(name, value),
            None => self.claim(name),
        }
    }

    /// # Errors
    /// When the caller has a field of that name, too.
    #[inline]
    fn claim(&self, name: &str) -> Result<(), ApiError> {
        match self.extra.contains_key(name) {
            false => Ok(()),
            true => Err(invalid(format!(
                "`extra` holds `{name}`, which has a field of its own"
            ))),
        }
    }
}

fn unwritable(error: serde_json::Error) -> ApiError {
    invalid("the request can't be written as JSON").with_source(error)
}
