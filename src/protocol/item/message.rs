//! Messages and reasoning.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

use serde::{Deserialize, Serialize, de::Error};
use serde_json::{Map, Value};

use super::{
    content::{Content, ContentPart, TextPart},
    tagged::{Field, Fields, Object, objects, set, set_optional},
};
use crate::json::{hashing::hash_members, lenient::text_of};

/// Who speaks in a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// The person, or the program that asks.
    User,
    /// The model.
    Assistant,
    /// Instructions of the highest rank; the older name of `developer`.
    System,
    /// Instructions of the highest rank.
    Developer,
    /// A role without a name here.
    #[serde(untagged)]
    Other(String),
}

impl Role {
    /// The role as it is written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::System => "system",
            Self::Developer => "developer",
            Self::Other(role) => role,
        }
    }
}

impl From<&str> for Role {
    fn from(role: &str) -> Self {
        match role {
            "user" => Self::User,
            "assistant" => Self::Assistant,
            "system" => Self::System,
            "developer" => Self::Developer,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl Field for Role {
    fn read(json: &str) -> serde_json::Result<Self> {
        match text_of(json) {
            Some(Some(role)) => Ok(role.as_ref().into()),
            _ => serde_json::from_str(json),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A message of a person, the model or the program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MessageItem {
    /// The server's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Who speaks.
    pub role: Role,
    /// What is said. Some servers leave it out while the message is being written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// `in_progress`, `completed` or `incomplete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// `commentary` or `final_answer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The fields without a name here. It must not repeat one that has.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
    /// The message came without `type`, as the API's short form of input allows, and is written so again.
    #[serde(skip)]
    pub(super) untagged: bool,
}

impl Hash for MessageItem {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Self {
            id,
            role,
            content,
            status,
            phase,
            extra,
            untagged,
        } = self;
        (id, role, content, status, phase, untagged).hash(hasher);
        hash_members(extra, hasher);
    }
}

impl MessageItem {
    /// Makes a message.
    pub fn new(role: Role, content: impl Into<Content>) -> Self {
        Self {
            id: None,
            role,
            content: Some(content.into()),
            status: None,
            phase: None,
            extra: Map::new(),
            untagged: false,
        }
    }

    /// Reads one; its `type` is one of the fields without a name, or left out.
    pub(super) fn read(fields: &Fields<'_>, keeps_type: bool) -> serde_json::Result<Self> {
        let (mut id, mut role, mut content) = (None, None, None);
        let (mut status, mut phase) = (None, None);
        let mut extra = Map::new();
        for (name, json) in fields.iter() {
            match &*name {
                "id" => set_optional(&mut id, "id", json)?,
                "role" => set(&mut role, "role", json)?,
                "content" => set_optional(&mut content, "content", json)?,
                "status" => set_optional(&mut status, "status", json)?,
                "phase" => set_optional(&mut phase, "phase", json)?,
                "type" if !keeps_type => {}
                _ => _ = extra.insert(name.into_owned(), serde_json::from_str(json)?),
            }
        }
        Ok(Self {
            id: id.flatten(),
            role: role.ok_or_else(|| serde_json::Error::missing_field("role"))?,
            content: content.flatten(),
            status: status.flatten(),
            phase: phase.flatten(),
            extra,
            untagged: false,
        })
    }

    /// All text of the message, joined; empty when it has none.
    pub fn text(&self) -> String {
        self.content.as_ref().map(Content::text).unwrap_or_default()
    }

    /// All refusals of the message, joined; empty when the model refused nothing.
    pub fn refusal(&self) -> String {
        let parts = self
            .content
            .as_ref()
            .map(Content::parts)
            .unwrap_or_default();
        let refusals = parts.iter().filter_map(|part| match part {
            ContentPart::Refusal(part) => Some(part.refusal.as_str()),
            _ => None,
        });
        refusals.collect()
    }
}

impl Object for MessageItem {
    fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn call_id(&self) -> Option<&str> {
        None
    }

    fn extra(&self) -> &Map<String, Value> {
        &self.extra
    }
}

objects! {
    /// What the model thought. Its text is there only as far as the server shows it.
    ReasoningItem {} optional {
        /// The server's id.
        id: String,
        /// The summary: `summary_text` parts. The API wants it in input, if only empty.
        summary: Vec<ContentPart>,
        /// The reasoning itself: `reasoning_text` or `text` parts. Absent is never written as null, which breaks servers.
        content: Vec<ContentPart>,
        /// The reasoning, sealed by the server: what it needs back when it stored nothing.
        encrypted_content: String,
        /// `in_progress`, `completed` or `incomplete`.
        status: String,
    }
}

impl ReasoningItem {
    /// Makes the item that an open model's reasoning is replayed as: an empty summary and the text as content.
    pub fn from_text(text: impl Into<String>) -> Self {
        let mut item = Self::new();
        item.summary = Some(Vec::new());
        item.content = Some(vec![ContentPart::ReasoningText(TextPart::new(text))]);
        item
    }

    /// The text of the summary, its parts joined without a separator.
    pub fn summary_text(&self) -> String {
        ContentPart::joined_text(self.summary.as_deref().unwrap_or_default())
    }

    /// The text of the reasoning itself, its parts joined without a separator.
    pub fn content_text(&self) -> String {
        ContentPart::joined_text(self.content.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ResponseItem;

    #[test]
    fn absent_reasoning_content_is_never_written_as_null() {
        for text in [
            r#"{"type":"reasoning","id":"rs_1","summary":[]}"#,
            r#"{"type":"reasoning","id":"rs_1","summary":[],"content":null,"encrypted_content":null}"#,
        ] {
            let item: ResponseItem = serde_json::from_str(text).unwrap();
            assert_eq!(
                serde_json::to_string(&item).unwrap(),
                r#"{"type":"reasoning","id":"rs_1","summary":[]}"#
            );
        }
    }

    #[test]
    fn reasoning_text_and_its_summary_are_told_apart() {
        let mut item = ReasoningItem::from_text("because");
        item.summary = serde_json::from_str(
            r#"[{"type":"summary_text","text":"a"},{"type":"summary_text","text":"b"}]"#,
        )
        .ok();
        assert_eq!(
            (item.summary_text(), item.content_text()),
            ("ab".into(), "because".into())
        );
    }

    #[test]
    fn a_role_without_a_name_is_kept() {
        for role in [
            "user",
            "assistant",
            "system",
            "developer",
            "tool",
            "critic",
            "",
        ] {
            assert_eq!(Role::from(role).as_str(), role);
        }
    }
}
