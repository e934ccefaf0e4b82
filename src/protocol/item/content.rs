//! What messages, reasoning and tool outputs are made of.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use serde_json::value::RawValue;

use super::tagged::{Field, objects, tagged, tagged_by_type_alone};
use crate::{
    json::{tree::items_fit, walk::elements},
    protocol::RawJson,
};

/// The content of a message or of a tool's output: a string, or parts.
///
/// Either form is written as it was read.
#[derive(Clone, Debug, Hash, PartialEq)]
pub enum Content {
    /// A JSON string.
    Text(String),
    /// A JSON array.
    Parts(Vec<ContentPart>),
}

impl Content {
    /// All text in it, joined without a separator. Refusals, images, files and audio have none.
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => ContentPart::joined_text(parts),
        }
    }

    /// Bytes that it is written with, roughly.
    pub(super) fn written_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Parts(parts) => parts.iter().map(ContentPart::written_bytes).sum(),
        }
    }

    /// The parts; none when it is a string.
    pub fn parts(&self) -> &[ContentPart] {
        match self {
            Self::Text(_) => &[],
            Self::Parts(parts) => parts,
        }
    }
}

impl Field for Content {
    fn read(json: &str) -> serde_json::Result<Self> {
        match json.as_bytes().first() {
            Some(b'"') => Field::read(json).map(Self::Text),
            _ => Field::read(json).map(Self::Parts),
        }
    }
}

impl Field for Vec<ContentPart> {
    fn read(json: &str) -> serde_json::Result<Self> {
        match json.starts_with('[') {
            true => Ok(elements(json).map(ContentPart::from_walked).collect()),
            false => serde_json::from_str(json),
        }
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Vec<ContentPart>> for Content {
    fn from(parts: Vec<ContentPart>) -> Self {
        Self::Parts(parts)
    }
}

/// What a part has besides its text, in the usual case: `{"type":"output_text","text":"","annotations":[],"logprobs":[]},`.
const PART_BYTES: usize = 64;

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Parts(parts) => parts.serialize(serializer),
        }
    }
}

/// Only from serde_json's deserializers.
impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `#[serde(untagged)]` would buffer the value and lose the text of unknown parts.
        let raw: Box<RawValue> = Deserialize::deserialize(deserializer)?;
        let json = raw.get();
        let read = match items_fit(json) || !json.starts_with('[') {
            true => Self::read(json),
            // Each part for itself.
            false => serde_json::from_str(json).map(Self::Parts),
        };
        read.map_err(Error::custom)
    }
}

tagged! {
    /// One part of a content.
    ContentPart {
        /// Text that goes to the model.
        InputText(TextPart) = "input_text",
        /// An image that goes to the model.
        InputImage(InputImagePart) = "input_image",
        /// A file that goes to the model.
        InputFile(InputFilePart) = "input_file",
        /// Sound that goes to the model.
        InputAudio(InputAudioPart) = "input_audio",
        /// Text that the model wrote.
        OutputText(OutputTextPart) = "output_text",
        /// The model's words where it declines.
        Refusal(RefusalPart) = "refusal",
        /// A part of a reasoning summary.
        SummaryText(TextPart) = "summary_text",
        /// A part of the reasoning itself.
        ReasoningText(TextPart) = "reasoning_text",
        /// Plain text, in reasoning and in the messages of some servers.
        Text(TextPart) = "text",
    }
}

tagged_by_type_alone!(ContentPart);

objects! {
    /// A part that is text and nothing else.
    TextPart {
        /// The text.
        text: String,
    } optional {}

    /// An image, by URL or by file.
    InputImagePart {} optional {
        /// `https:` or `data:`.
        image_url: String,
        /// The id of an uploaded file.
        file_id: String,
        /// `auto`, `low`, `high` or `original`.
        detail: String,
    }

    /// A file, by id, URL or content.
    InputFilePart {} optional {
        /// The id of an uploaded file.
        file_id: String,
        /// Where the server can fetch it.
        file_url: String,
        /// The content as a `data:` URL in base64.
        file_data: String,
        /// Its name.
        filename: String,
    }

    /// Sound, by URL or by content.
    InputAudioPart {} optional {
        /// `https:` or `data:`.
        audio_url: String,
        /// `{"data": base64, "format"}`.
        input_audio: RawJson,
    }

    /// Text that the model wrote.
    OutputTextPart {
        /// The text.
        text: String,
    } optional {
        /// What parts of the text refer to: a JSON array.
        annotations: RawJson,
        /// The log probabilities of the tokens: a JSON array.
        logprobs: RawJson,
    }

    /// The model's words where it declines.
    RefusalPart {
        /// The text.
        refusal: String,
    } optional {}
}

impl ContentPart {
    /// Bytes that it is written with, roughly.
    pub(super) fn written_bytes(&self) -> usize {
        let text = match self {
            Self::InputImage(part) => part.image_url.as_ref().map_or(0, String::len),
            Self::InputFile(part) => part.file_data.as_ref().map_or(0, String::len),
            Self::InputAudio(part) => part.input_audio.as_ref().map_or(0, |raw| raw.get().len()),
            Self::Refusal(part) => part.refusal.len(),
            Self::Unknown(raw) => raw.get().len(),
            part => part.text().map_or(0, str::len),
        };
        PART_BYTES + text
    }

    /// A part of a message to the model.
    pub fn input_text(text: impl Into<String>) -> Self {
        Self::InputText(TextPart::new(text))
    }

    /// An image for the model, by an `https:` or `data:` URL.
    pub fn input_image(url: impl Into<String>) -> Self {
        let mut image = InputImagePart::new();
        image.image_url = Some(url.into());
        Self::InputImage(image)
    }

    /// A part of a message of the model.
    pub fn output_text(text: impl Into<String>) -> Self {
        Self::OutputText(OutputTextPart::new(text))
    }

    /// The part's text, if it is of a kind that has one. A refusal has none.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::InputText(part)
            | Self::SummaryText(part)
            | Self::ReasoningText(part)
            | Self::Text(part) => Some(&part.text),
            Self::OutputText(part) => Some(&part.text),
            _ => None,
        }
    }

    /// The value of `type`; absent when what is unknown names none.
    pub fn part_type(&self) -> Option<String> {
        match self {
            Self::Unknown(raw) => super::tagged::Tag::of(raw.get())?
                .name
                .map(|name| name.into_owned()),
            typed => typed.tag().map(str::to_owned),
        }
    }

    pub(super) fn joined_text(parts: &[Self]) -> String {
        parts.iter().filter_map(Self::text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_type_is_typed_and_written_back() {
        for text in [
            r#"{"type":"input_text","text":"a"}"#,
            r#"{"type":"input_text","text":"a","prompt_cache_breakpoint":{"mode":"explicit"}}"#,
            r#"{"type":"input_image","image_url":"data:image/png;base64,AA==","detail":"low"}"#,
            r#"{"type":"input_image","file_id":"file_1"}"#,
            r#"{"type":"input_file","file_id":"file_1","filename":"a.pdf"}"#,
            r#"{"type":"input_file","file_url":"https://a.example/b","file_data":"data:application/pdf;base64,AA=="}"#,
            r#"{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}"#,
            r#"{"type":"input_audio","audio_url":"https://a.example/b.wav"}"#,
            r#"{"type":"output_text","text":"a","annotations":[],"logprobs":[{"logprob":-0.10}]}"#,
            r#"{"type":"refusal","refusal":"no"}"#,
            r#"{"type":"summary_text","text":"a"}"#,
            r#"{"type":"reasoning_text","text":"a"}"#,
            r#"{"type":"text","text":"a"}"#,
        ] {
            let part: ContentPart = serde_json::from_str(text).unwrap();
            assert!(!matches!(part, ContentPart::Unknown(_)), "{text}");
            assert_eq!(serde_json::to_string(&part).unwrap(), text);
        }
    }

    #[test]
    fn an_unknown_part_keeps_its_bytes_inside_its_content() {
        let text =
            r#"[ {"type":"input_text","text":"a"}, {"type" : "hologram", "z":1.0, "a":1e2} , 7]"#;
        let content: Content = serde_json::from_str(text).unwrap();
        assert_eq!(
            serde_json::to_string(&content).unwrap(),
            r#"[{"type":"input_text","text":"a"},{"type" : "hologram", "z":1.0, "a":1e2},7]"#
        );
        let types: Vec<_> = content.parts().iter().map(ContentPart::part_type).collect();
        assert_eq!(
            types,
            [Some("input_text".into()), Some("hologram".into()), None]
        );
    }

    #[test]
    fn a_string_stays_a_string() {
        let content: Content = serde_json::from_str(r#""a \u00e9""#).unwrap();
        assert_eq!(content, Content::from("a é"));
        assert_eq!(serde_json::to_string(&content).unwrap(), r#""a é""#);
    }

    #[test]
    fn the_text_of_a_content_is_that_of_its_text_parts() {
        let content: Content = serde_json::from_str(
            r#"[{"type":"output_text","text":"a"},{"type":"refusal","refusal":"no"},
            {"type":"input_image","image_url":"u"},{"type":"output_text","text":"b"}]"#,
        )
        .unwrap();
        assert_eq!(content.text(), "ab");
    }
}
