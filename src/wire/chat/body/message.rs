//! One Chat message, and the content of an item in its form.

use std::borrow::Cow;

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::invalid;
use crate::{
    error::ApiError,
    protocol::{Content, ContentPart, RawJson},
};

/// One message.
#[derive(Default)]
pub(super) struct Message<'a> {
    pub(super) role: &'a str,
    pub(super) content: Option<ChatContent<'a>>,
    pub(super) refusal: Option<&'a str>,
    /// The field that replays reasoning, and its text.
    pub(super) reasoning: Option<(&'a str, String)>,
    pub(super) tool_calls: Vec<Call<'a>>,
    pub(super) tool_call_id: Option<&'a str>,
}

/// What a message says.
pub(super) enum ChatContent<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<Part<'a>>),
}

/// A part of a message's content.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Part<'a> {
    Text { text: &'a str },
    ImageUrl { image_url: ImageUrl<'a> },
    File { file: File<'a> },
    InputAudio { input_audio: &'a RawJson },
}

#[derive(Serialize)]
pub(super) struct ImageUrl<'a> {
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct File<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<&'a str>,
}

/// A call in an assistant's message.
#[derive(Serialize)]
pub(super) struct Call<'a> {
    pub(super) id: &'a str,
    #[serde(flatten)]
    pub(super) tool: CalledTool<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum CalledTool<'a> {
    Function { function: Function<'a> },
    Custom { custom: Custom<'a> },
}

#[derive(Serialize)]
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    pub(super) arguments: &'a str,
}

#[derive(Serialize)]
pub(super) struct Custom<'a> {
    pub(super) name: &'a str,
    pub(super) input: &'a str,
}

/// A string where all is text, which every server takes; else parts.
pub(super) fn chat_content(content: &Content) -> Result<ChatContent<'_>, ApiError> {
    let parts = match content {
        Content::Text(text) => return Ok(ChatContent::Text(text.into())),
        Content::Parts(parts) => parts,
    };
    if parts.iter().all(|part| part.text().is_some()) {
        return Ok(ChatContent::Text(content.text().into()));
    }
    let parts: Result<_, _> = parts.iter().map(chat_part).collect();
    parts.map(ChatContent::Parts)
}

fn chat_part(part: &ContentPart) -> Result<Part<'_>, ApiError> {
    if let Some(text) = part.text() {
        return Ok(Part::Text { text });
    }
    match part {
        ContentPart::InputImage(image) => match image.image_url.as_deref() {
            Some(url) => Ok(Part::ImageUrl {
                image_url: ImageUrl {
                    url,
                    detail: image.detail.as_deref(),
                },
            }),
            None => Err(invalid(
                "an image without `image_url` has no form in Chat Completions",
            )),
        },
        ContentPart::InputFile(file) if file.file_url.is_none() => Ok(Part::File {
            file: File {
                file_id: file.file_id.as_deref(),
                file_data: file.file_data.as_deref(),
                filename: file.filename.as_deref(),
            },
        }),
        ContentPart::InputFile(_) => Err(invalid(
            "a file by `file_url` has no form in Chat Completions: send its content",
        )),
        ContentPart::InputAudio(audio) => match &audio.input_audio {
            Some(input_audio) => Ok(Part::InputAudio { input_audio }),
            None => Err(invalid(
                "sound without `input_audio` has no form in Chat Completions",
            )),
        },
        other => Err(no_part(other)),
    }
}

pub(super) fn no_part(part: &ContentPart) -> ApiError {
    invalid(format!(
        "a part of type `{}` has no form in Chat Completions",
        part.part_type().unwrap_or_default()
    ))
}

impl Serialize for ChatContent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Parts(parts) => parts.serialize(serializer),
        }
    }
}

/// An assistant's message without text has a null content, which servers want to see beside calls.
impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut message = serializer.serialize_map(None)?;
        message.serialize_entry("role", self.role)?;
        if let Some(id) = self.tool_call_id {
            message.serialize_entry("tool_call_id", id)?;
        }
        message.serialize_entry("content", &self.content)?;
        if let Some((field, text)) = &self.reasoning {
            message.serialize_entry(field, text)?;
        }
        if let Some(refusal) = self.refusal {
            message.serialize_entry("refusal", refusal)?;
        }
        if !self.tool_calls.is_empty() {
            message.serialize_entry("tool_calls", &self.tool_calls)?;
        }
        message.end()
    }
}
