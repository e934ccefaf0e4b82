//! What items and parts hold besides their named fields, as far as Chat has a place for it.

use std::{borrow::Cow, mem};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::invalid;
use crate::protocol::{RawJson, error::ApiError};

/// What only the Responses API and its clients mean by their items. Chat servers refuse it.
const OF_RESPONSES: [&str; 4] = [
    "async",
    "caller",
    "created_by",
    "internal_chat_message_metadata_passthrough",
];

/// What of a model's message Chat Completions itself has a name for.
const OF_CHAT_ANSWERS: [&str; 2] = ["audio", "name"];

/// Fields of a message, a call or a part, behind those that it has of its own.
#[derive(Default)]
pub(super) struct Extra<'a>(Vec<(&'a str, Cow<'a, Value>)>);

impl<'a> Extra<'a> {
    /// Nulls say nothing, and some servers refuse them.
    pub(super) fn of(extra: &'a Map<String, Value>) -> Self {
        let sent = extra
            .iter()
            .filter(|(name, value)| !value.is_null() && !OF_RESPONSES.contains(&name.as_str()));
        Self(
            sent.map(|(name, value)| (name.as_str(), Cow::Borrowed(value)))
                .collect(),
        )
    }

    /// The same of what a model said. Its sound goes back as a reference: a server takes nothing but the id.
    pub(super) fn of_answer(extra: &'a Map<String, Value>, only_of_chat: bool) -> Self {
        let mut fields = Self::of(extra);
        fields.0.retain_mut(|(name, value)| match *name {
            "audio" => {
                let id = value.get("id").filter(|id| id.is_string());
                let reference = id.map(|id| json!({ "id": id }));
                let has_id = reference.is_some();
                *value = Cow::Owned(reference.unwrap_or_default());
                has_id
            }
            name => !only_of_chat || OF_CHAT_ANSWERS.contains(&name),
        });
        fields
    }

    /// `annotations`: nested below their type, as Chat has them.
    pub(super) fn of_annotations(annotations: Option<&RawJson>) -> Self {
        match annotations.map(RawJson::to_value) {
            Some(Value::Array(list)) if !list.is_empty() => {
                let nested = list.into_iter().map(chat_annotation).collect();
                Self(vec![("annotations", Cow::Owned(nested))])
            }
            _ => Self::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, &**value))
    }

    /// Adds fields. Lists under the same name are joined; anything else takes the place of what was there.
    pub(super) fn merge(&mut self, other: Self) {
        for (name, value) in other.0 {
            let Some((_, before)) = self.0.iter_mut().find(|(known, _)| *known == name) else {
                self.0.push((name, value));
                continue;
            };
            *before = Cow::Owned(match (mem::take(before).into_owned(), value.into_owned()) {
                (Value::Array(mut list), Value::Array(more)) => {
                    list.extend(more);
                    Value::Array(list)
                }
                (_, value) => value,
            });
        }
    }

    /// Refuses a name that `is_own` says to be written anyway: JSON with two of a name means a different thing to each reader.
    pub(super) fn refuse_own(&self, is_own: impl Fn(&str) -> bool) -> Result<(), ApiError> {
        match self.0.iter().find(|(name, _)| is_own(name)) {
            Some((name, _)) => Err(invalid(format!(
                "`extra` of an item or a part holds `{name}`, which its form in Chat Completions has already: leave it out"
            ))),
            None => Ok(()),
        }
    }
}

impl Serialize for Extra<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields())
    }
}

/// `{"type": T, ...}` becomes `{"type": T, T: {...}}`; what is nested already stays as it is.
pub(in crate::wire::chat) fn chat_annotation(annotation: Value) -> Value {
    match annotation {
        Value::Object(mut fields) => match fields.remove("type") {
            Some(Value::String(kind)) if !fields.contains_key(&kind) => {
                json!({ "type": kind, &kind: fields })
            }
            kind => {
                fields.extend(kind.map(|kind| ("type".to_owned(), kind)));
                Value::Object(fields)
            }
        },
        other => other,
    }
}

#[cfg(test)]
mod tests;
