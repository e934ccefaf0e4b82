//! One Chat message, and the content of an item in its form.

use std::{borrow::Cow, mem};

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{extra::Extra, invalid};
use crate::protocol::{Content, ContentPart, RawJson, error::ApiError};

/// What stands between two texts that become one.
const TEXT_SEPARATOR: &str = "\n";

/// One message.
#[derive(Default)]
pub(super) struct Message<'a> {
    pub(super) role: &'a str,
    pub(super) content: Option<ChatContent<'a>>,
    pub(super) refusal: String,
    /// The field that replays reasoning, and its text.
    pub(super) reasoning: Option<(&'a str, String)>,
    pub(super) tool_calls: Vec<Call<'a>>,
    pub(super) tool_call_id: Option<&'a str>,
    pub(super) extra: Extra<'a>,
    /// The messages of tools behind it, until all are put in a row.
    pub(super) outputs: Vec<Self>,
}

/// What a message says.
pub(super) enum ChatContent<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<Part<'a>>),
}

/// A part of a message's content.
#[derive(Serialize)]
pub(super) struct Part<'a> {
    #[serde(flatten)]
    pub(super) form: PartForm<'a>,
    #[serde(flatten)]
    pub(super) extra: Extra<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum PartForm<'a> {
    Text { text: Cow<'a, str> },
    Refusal { refusal: &'a str },
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
    #[serde(flatten)]
    pub(super) extra: Extra<'a>,
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

impl Message<'_> {
    /// Whether it is the model's, and what the model says next belongs to it: no tool has answered behind it.
    pub(super) fn is_open_answer(&self) -> bool {
        self.role == "assistant" && self.outputs.is_empty()
    }

    /// Whether the message writes a field of that name itself.
    pub(super) fn writes(&self, name: &str) -> bool {
        match name {
            "role" | "content" => true,
            "tool_call_id" => self.tool_call_id.is_some(),
            "refusal" => !self.refusal.is_empty(),
            "tool_calls" => !self.tool_calls.is_empty(),
            _ => matches!(self.reasoning, Some((field, _)) if field == name),
        }
    }
}

impl<'a> ChatContent<'a> {
    /// The content of what is not the model's: a string where it is one text and nothing else, which every server takes.
    /// Several texts are parts.
    pub(super) fn of(content: &'a Content) -> Result<Self, ApiError> {
        let parts = match content {
            Content::Text(text) => return Ok(Self::Text(text.into())),
            Content::Parts(parts) => parts,
        };
        let mut parts: Vec<_> = parts.iter().map(chat_part).collect::<Result<_, _>>()?;
        Ok(match &mut *parts {
            [] => Self::Text("".into()),
            [
                Part {
                    form: PartForm::Text { text },
                    extra,
                },
            ] if extra.is_empty() => Self::Text(mem::take(text)),
            _ => Self::Parts(parts),
        })
    }

    /// The same of a tool's output. Several texts are one string too, because some servers insist on one here.
    pub(super) fn of_output(content: &'a Content) -> Result<Self, ApiError> {
        let content = Self::of(content)?;
        let Self::Parts(parts) = &content else {
            return Ok(content);
        };
        let texts: Option<Vec<_>> = parts.iter().map(Part::plain_text).collect();
        Ok(match texts {
            Some(texts) => Self::Text(texts.join(TEXT_SEPARATOR).into()),
            None => content,
        })
    }

    pub(super) fn append(&mut self, more: Self) {
        *self = match (mem::replace(self, Self::Parts(Vec::new())), more) {
            (Self::Text(before), Self::Text(more)) => {
                let mut text = before.into_owned();
                append(&mut text, &more);
                Self::Text(text.into())
            }
            (before, more) => {
                let mut parts = before.into_parts();
                parts.extend(more.into_parts());
                Self::Parts(parts)
            }
        };
    }

    fn into_parts(self) -> Vec<Part<'a>> {
        match self {
            Self::Text(text) => vec![Part {
                form: PartForm::Text { text },
                extra: Extra::default(),
            }],
            Self::Parts(parts) => parts,
        }
    }
}

impl<'a> Part<'a> {
    pub(super) fn new(form: PartForm<'a>, extra: Extra<'a>) -> Result<Self, ApiError> {
        let own = match &form {
            PartForm::Text { .. } => "text",
            PartForm::Refusal { .. } => "refusal",
            PartForm::ImageUrl { .. } => "image_url",
            PartForm::File { .. } => "file",
            PartForm::InputAudio { .. } => "input_audio",
        };
        extra.refuse_own(|name| name == own || name == "type")?;
        Ok(Self { form, extra })
    }

    /// The text of a part that is text and nothing else.
    fn plain_text(&self) -> Option<&str> {
        match &self.form {
            PartForm::Text { text } if self.extra.is_empty() => Some(text),
            _ => None,
        }
    }
}

fn chat_part(part: &ContentPart) -> Result<Part<'_>, ApiError> {
    let form = match part {
        ContentPart::InputImage(image) => match image.image_url.as_deref() {
            Some(url) => PartForm::ImageUrl {
                image_url: ImageUrl {
                    url,
                    detail: image.detail.as_deref(),
                },
            },
            None => {
                return Err(invalid(
                    "an image without `image_url` has no form in Chat Completions",
                ));
            }
        },
        ContentPart::InputFile(file) if file.file_url.is_none() => PartForm::File {
            file: File {
                file_id: file.file_id.as_deref(),
                file_data: file.file_data.as_deref(),
                filename: file.filename.as_deref(),
            },
        },
        ContentPart::InputFile(_) => {
            return Err(invalid(
                "a file by `file_url` has no form in Chat Completions: send its content",
            ));
        }
        ContentPart::InputAudio(audio) => match &audio.input_audio {
            Some(input_audio) => PartForm::InputAudio { input_audio },
            None => {
                return Err(invalid(
                    "sound without `input_audio` has no form in Chat Completions",
                ));
            }
        },
        other => PartForm::Text {
            text: other.text().ok_or_else(|| no_part(other))?.into(),
        },
    };
    Part::new(form, part.extra().map(Extra::of).unwrap_or_default())
}

pub(super) fn no_part(part: &ContentPart) -> ApiError {
    let kind = part.part_type().unwrap_or_default();
    let is_known = matches!(
        &*kind,
        "input_text"
            | "output_text"
            | "text"
            | "refusal"
            | "input_image"
            | "input_file"
            | "input_audio"
    );
    no_form(
        "a part",
        &kind,
        is_known && matches!(part, ContentPart::Unknown(_)),
    )
}

/// What can't be written, and why: `is_misfit` is of a type that Chat has a form for, and its fields are not those of the API.
pub(super) fn no_form(what: &str, kind: &str, is_misfit: bool) -> ApiError {
    invalid(match is_misfit {
        true => format!(
            "{what} of type `{kind}` can't be read: its fields are not those that the API gives it"
        ),
        false => format!("{what} of type `{kind}` has no form in Chat Completions"),
    })
}

/// Adds a text behind another.
pub(super) fn append(before: &mut String, text: &str) {
    if !before.is_empty() && !text.is_empty() {
        before.push_str(TEXT_SEPARATOR);
    }
    before.push_str(text);
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
        if !self.refusal.is_empty() {
            message.serialize_entry("refusal", &self.refusal)?;
        }
        if !self.tool_calls.is_empty() {
            message.serialize_entry("tool_calls", &self.tool_calls)?;
        }
        for (name, value) in self.extra.fields() {
            message.serialize_entry(name, value)?;
        }
        message.end()
    }
}
