//! A JSON object whose fields are looked at one by one.

use std::{borrow::Cow, collections::HashMap};

use serde_json::value::RawValue;

use super::chunk::text_of;
use crate::json::lenient::count;

/// The fields of a JSON object; those that are null are absent, and of one that comes twice the last counts.
pub(super) struct Object<'a>(HashMap<String, &'a RawValue>);

impl<'a> Object<'a> {
    pub(super) fn read(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok().map(Self)
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0
            .get(name)
            .copied()
            .filter(|value| value.get() != "null")
    }

    pub(super) fn object(&self, name: &str) -> Option<Self> {
        Self::read(self.get(name)?.get())
    }

    pub(super) fn list(&self, name: &str) -> Option<Vec<&'a RawValue>> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// A string or a number as text.
    pub(super) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        let value = self.get(name)?;
        let is_text = value
            .get()
            .starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit());
        is_text
            .then(|| text_of(value))
            .filter(|text| !text.is_empty())
    }

    /// Whether no other fields than these say something.
    pub(super) fn has_only(&self, names: &[&str]) -> bool {
        let mut others = self
            .0
            .iter()
            .filter(|(name, _)| !names.contains(&name.as_str()));
        others.all(|(_, value)| matches!(value.get(), "null" | "[]" | "{}" | r#""""#))
    }

    pub(super) fn number(&self, name: &str) -> Option<u32> {
        u32::try_from(count(self.get(name)?.get())?).ok()
    }
}
