//! One chunk of a stream, as borrowed parts of its JSON.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use smallvec::SmallVec;

/// Objects of which some members are read, and of the others it is known whether there are any. What is null, and what is
/// absent, has its default; of a member that comes twice the last counts.
macro_rules! members {
    ($($(#[$meta:meta])* struct $name:ident { $($(#[$doc:meta])* $member:literal => $field:ident: $type:ty,)* }
    ignored: [$($ignored:literal),*] $(computed: $computed:ident: $computed_type:ty)?)*) => {$(
        $(#[$meta])*
        #[derive(Default)]
        pub(super) struct $name<'a> {
            $($(#[$doc])* pub(super) $field: $type,)*
            /// Whether it has members that are read elsewhere or have no form.
            pub(super) has_more: bool,
            $(pub(super) $computed: $computed_type,)?
        }

        impl<'de: 'a, 'a> Deserialize<'de> for $name<'a> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Members<'a>(PhantomData<&'a ()>);

                impl<'de: 'a, 'a> Visitor<'de> for Members<'a> {
                    type Value = $name<'a>;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        let mut object = $name::default();
                        while let Some(name) = map.next_key::<Str<'de>>()? {
                            match &*name {
                                $($member => object.$field = map.next_value()?,)*
                                name => {
                                    object.has_more |= ![$($ignored),*].contains(&name);
                                    map.next_value::<IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(object)
                    }
                }

                deserializer.deserialize_map(Members(PhantomData))
            }
        }
    )*};
}

members! {
    /// A chunk in the shape that the API documents.
    ///
    /// [`parse`](Self::parse) takes that shape only, for speed; [`lenient`](super::lenient) fills the same struct from others.
    struct Chunk {
        "id" => id: Option<Str<'a>>,
        "model" => model: Option<Str<'a>>,
        "choices" => choices: Option<Few<ChunkChoice<'a>>>,
        "usage" => usage: Option<&'a RawValue>,
        /// Padding that differs in every chunk.
        "obfuscation" => obfuscation: Option<Str<'a>>,
        "object" => object: Option<Str<'a>>,
        "type" => kind: Option<IgnoredAny>,
        "error" => error: Option<IgnoredAny>,
        "detail" => detail: Option<IgnoredAny>,
        "x_groq" => x_groq: Option<IgnoredAny>,
        "base_resp" => base_resp: Option<IgnoredAny>,
        "errors" => errors: Option<IgnoredAny>,
    }
    ignored: ["created"]

    /// One of a chunk's choices.
    struct ChunkChoice {
        "index" => index: u32,
        "delta" => delta: Delta<'a>,
        "finish_reason" => finish_reason: Option<Str<'a>>,
        "native_finish_reason" => native_finish_reason: Option<Str<'a>>,
        "logprobs" => logprobs: Option<&'a RawValue>,
        /// Where some servers put the usage.
        "usage" => usage: Option<&'a RawValue>,
        "message" => message: Option<IgnoredAny>,
        "error" => error: Option<IgnoredAny>,
        /// Where completions of old have their text.
        "text" => text: Option<IgnoredAny>,
        "tool_calls" => tool_calls: Option<IgnoredAny>,
    }
    ignored: []
    // Whether `delta` is in truth the whole message so far.
    computed: is_whole_message: bool

    /// What a choice grows by.
    struct Delta {
        "content" => content: Option<Str<'a>>,
        "refusal" => refusal: Option<Str<'a>>,
        "reasoning_content" => reasoning_content: Option<Str<'a>>,
        "reasoning" => reasoning: Option<Str<'a>>,
        "tool_calls" => tool_calls: Option<Few<CallDelta<'a>>>,
        "reasoning_details" => reasoning_details: Option<&'a RawValue>,
        "thinking_blocks" => thinking_blocks: Option<&'a RawValue>,
        "annotations" => annotations: Option<&'a RawValue>,
        "audio" => audio: Option<&'a RawValue>,
        "images" => images: Option<&'a RawValue>,
        "extra_content" => extra_content: Option<&'a RawValue>,
        "signature" => signature: Option<&'a RawValue>,
        "reasoning_opaque" => reasoning_opaque: Option<&'a RawValue>,
        "error" => error: Option<IgnoredAny>,
        "reasoning_text" => reasoning_text: Option<IgnoredAny>,
        "thinking" => thinking: Option<IgnoredAny>,
        "function_call" => function_call: Option<IgnoredAny>,
    }
    ignored: ["role"]
    // What its content has beside text, where that is a list of parts.
    computed: parts: ContentParts<'a>

    /// What a tool call grows by.
    struct CallDelta {
        "index" => index: Option<u32>,
        "id" => id: Option<Str<'a>>,
        "function" => function: Option<FunctionDelta<'a>>,
        "custom" => custom: Option<CustomDelta<'a>>,
        "extra_content" => extra_content: Option<&'a RawValue>,
        "provider_specific_fields" => provider_specific_fields: Option<&'a RawValue>,
        "thought_signature" => thought_signature: Option<&'a RawValue>,
    }
    ignored: ["type"]

    /// A string of arguments; an object from servers that do not write it as one.
    struct FunctionDelta {
        "name" => name: Option<Str<'a>>,
        "arguments" => arguments: Option<&'a RawValue>,
        "provider_specific_fields" => provider_specific_fields: Option<&'a RawValue>,
        "thought_signature" => thought_signature: Option<&'a RawValue>,
    }
    ignored: []

    /// The same of a custom tool.
    struct CustomDelta {
        "name" => name: Option<Str<'a>>,
        "input" => input: Option<&'a RawValue>,
    }
    ignored: []
}

/// What a list of parts has beside text.
#[derive(Default)]
pub(super) struct ContentParts<'a> {
    /// The parts that are pictures, each as those of `images` are.
    pub(super) images: Vec<&'a RawValue>,
    /// Whether there were parts, or fields of them, that have no form here, or none that shows while they come.
    pub(super) are_unread: bool,
}

impl<'a> Chunk<'a> {
    /// Reads a chunk of the documented shape. `None` when it is of another, or holds what is read elsewhere, such as an
    /// error.
    pub(super) fn parse(data: &'a str) -> Option<Self> {
        let chunk: Self = serde_json::from_str(data).ok()?;
        let is_plain = chunk.choices.is_some()
            && chunk.error.is_none()
            && chunk.detail.is_none()
            && chunk.x_groq.is_none()
            && chunk.base_resp.is_none()
            && chunk.errors.is_none()
            && chunk.kind.is_none()
            && chunk.object.as_deref() != Some("error")
            // One without choices may be anything; one that tells the usage is not, as a rule.
            && !(chunk.has_more
                && chunk.choices().is_empty()
                && (chunk.usage.is_none() || may_report(data)))
            && chunk.choices().iter().all(ChunkChoice::is_plain);
        is_plain.then_some(chunk)
    }

    pub(super) fn choices(&self) -> &[ChunkChoice<'a>] {
        self.choices.as_deref().unwrap_or_default()
    }

    /// The choice and the member of its delta that have the text, if that is all that this chunk says.
    pub(super) fn only_text(&self) -> Option<(u32, &'static str)> {
        let [choice] = self.choices() else {
            return None;
        };
        let delta = &choice.delta;
        let calls = delta.tool_calls.as_deref().unwrap_or_default();
        let is_plain = self.usage.is_none()
            && choice.usage.is_none()
            && choice.logprobs.is_none()
            && !choice.is_whole_message
            && is_blank(&choice.finish_reason)
            && !delta.has_attachments()
            && is_blank(&delta.refusal)
            && calls.is_empty();
        let member = match (is_blank(&delta.content), delta.reasoning()) {
            (false, None) => "content",
            (true, Some(_)) if is_blank(&delta.reasoning_content) => "reasoning",
            (true, Some(_)) => "reasoning_content",
            _ => return None,
        };
        is_plain.then_some((choice.index, member))
    }

    /// Whether a choice holds what is nowhere in the events that are made of it.
    pub(super) fn has_unread_parts(&self) -> bool {
        self.choices().iter().any(|choice| {
            let delta = &choice.delta;
            let has_no_text = is_blank(&delta.content) && is_blank(&delta.refusal);
            let logprobs = choice.logprobs.map_or("null", RawValue::get);
            let is_log = !matches!(logprobs, "null" | "{}");
            // Some servers write them as one list for each kind of figure.
            let is_legacy =
                || !logprobs.contains("\"content\"") && !logprobs.contains("\"refusal\"");
            delta.parts.are_unread
                || (is_log && (is_legacy() || (has_no_text && logprobs.contains('['))))
        })
    }

    /// Whether it, or a part of it, has members that may have no form.
    pub(super) fn has_more(&self) -> bool {
        self.has_more
            || self
                .choices()
                .iter()
                .any(|choice| choice.has_more || choice.delta.says_more())
    }

    /// Whether anything of it was understood, its id apart.
    pub(super) fn says_something(&self) -> bool {
        let choice_says = |choice: &ChunkChoice<'_>| {
            !choice.delta.is_empty() || choice.finish_reason.is_some() || choice.usage.is_some()
        };
        self.usage.is_some() || self.choices().iter().any(choice_says)
    }
}

impl ChunkChoice<'_> {
    fn is_plain(&self) -> bool {
        // A message beside a delta repeats it.
        self.error.is_none()
            && self.delta.is_plain()
            && (self.message.is_none() || !self.delta.is_empty())
            && self.text.is_none()
            && self.tool_calls.is_none()
    }
}

impl<'a> Delta<'a> {
    /// The reasoning, under whichever of its names. Servers that use several repeat the text.
    pub(super) fn reasoning(&self) -> Option<&Str<'a>> {
        [&self.reasoning_content, &self.reasoning]
            .into_iter()
            .flatten()
            .find(|text| !text.is_empty())
    }

    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        is_blank(&self.content)
            && is_blank(&self.refusal)
            && self.reasoning().is_none()
            && self
                .tool_calls
                .as_ref()
                .is_none_or(|calls| calls.is_empty())
            && !self.has_attachments()
    }

    fn is_plain(&self) -> bool {
        let details = [self.reasoning_details, self.thinking_blocks];
        let details_add_nothing = || {
            let mut details = details.into_iter().flatten();
            self.reasoning().is_some() || details.all(|details| details.get() == "[]")
        };
        self.error.is_none()
            && self.reasoning_text.is_none()
            && self.thinking.is_none()
            && self.function_call.is_none()
            && details_add_nothing()
            && self.tool_calls.iter().flat_map(|calls| calls.iter()).all(
                // Without either, its parts may lie one level higher.
                |call| call.function.is_some() || call.custom.is_some(),
            )
    }

    fn says_more(&self) -> bool {
        let mut calls = self.tool_calls.iter().flat_map(|calls| calls.iter());
        // Sound and pictures are never all that an item shows of them while they come.
        self.has_more
            || self.audio.is_some()
            || self.images.is_some()
            || calls.any(|call| {
                let function = call.function.as_ref();
                let custom = call.custom.as_ref();
                call.has_more
                    || function.is_some_and(|function| function.has_more)
                    || custom.is_some_and(|custom| custom.has_more)
            })
    }

    /// Whether its reasoning is signed in it.
    pub(super) fn is_signed(&self) -> bool {
        let signed = r#""signature":""#;
        let lists = [self.thinking_blocks, self.reasoning_details];
        lists.into_iter().flatten().any(|list| {
            let list = list.get().replace("\": \"", "\":\"");
            list.contains(signed) && !list.contains(&format!("{signed}\""))
        })
    }

    /// What it holds beside text, reasoning and calls, as items carry it.
    pub(super) fn has_attachments(&self) -> bool {
        [
            self.reasoning_details,
            self.thinking_blocks,
            self.annotations,
            self.audio,
            self.images,
            self.extra_content,
            self.signature,
            self.reasoning_opaque,
        ]
        .into_iter()
        .flatten()
        .any(|value| !matches!(value.get(), "[]" | "{}" | r#""""#))
            || !self.parts.images.is_empty()
    }
}

/// Whether a chunk has a member that an error has, perhaps. It is asked for the chunks that are looked at more closely then.
pub(super) fn may_report(data: &str) -> bool {
    [
        "rror",
        "\"message",
        "\"msg",
        "\"code",
        "\"success",
        "\"detail",
    ]
    .iter()
    .any(|name| data.contains(name))
}

/// A JSON string, borrowed unless it holds escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Str<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl std::ops::Deref for Str<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

fn is_blank(text: &Option<Str<'_>>) -> bool {
    text.as_deref().is_none_or(str::is_empty)
}

/// The text of a JSON string; of any other JSON its own text.
pub(super) fn text_of(raw: &RawValue) -> Cow<'_, str> {
    let json = raw.get();
    if !json.starts_with('"') {
        return Cow::Borrowed(json);
    }
    // Lone surrogates are marked, so every string of a chunk can be read.
    serde_json::from_str::<Str<'_>>(json).map_or(Cow::Borrowed(""), |text| text.0)
}

/// How many choices, or pieces of calls, one chunk may have and be read: far more than an answer may have parts. Each takes a
/// hundred times what it is written with; so many take less than the longest event.
const MAX_ELEMENTS: usize = 128 * 1024;

/// A list that mostly has one element.
pub(super) struct Few<T>(SmallVec<[T; 1]>);

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(SmallVec::new())
    }
}

impl<T> std::ops::Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Self(elements.into_iter().collect())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
            type Value = Few<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Few<T>, A::Error> {
                let mut elements = SmallVec::new();
                while let Some(element) = list.next_element()? {
                    if elements.len() == MAX_ELEMENTS {
                        let message = format!("a list of over {MAX_ELEMENTS} elements");
                        return Err(serde::de::Error::custom(message));
                    }
                    elements.push(element);
                }
                Ok(Few(elements))
            }
        }

        deserializer.deserialize_seq(Elements(PhantomData))
    }
}
