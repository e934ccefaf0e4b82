//! One chunk of a stream, as borrowed parts of its JSON.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::wire::escapes::without_lone_surrogates;

/// A chunk in the shape that the API documents.
///
/// [`parse`](Self::parse) takes that shape only, for speed; [`lenient`](super::lenient) fills the same struct from others.
#[derive(Default, Deserialize)]
pub(super) struct Chunk<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) choices: Few<ChunkChoice<'a>>,
    #[serde(borrow, default)]
    pub(super) usage: Option<&'a RawValue>,
    /// Padding that differs in every chunk.
    #[serde(borrow, default)]
    pub(super) obfuscation: Option<Str<'a>>,
    #[serde(default)]
    pub(super) error: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) detail: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) x_groq: Option<IgnoredAny>,
}

/// One of a chunk's choices.
#[derive(Default, Deserialize)]
pub(super) struct ChunkChoice<'a> {
    #[serde(default)]
    pub(super) index: u32,
    #[serde(borrow, default)]
    pub(super) delta: Delta<'a>,
    #[serde(borrow, default)]
    pub(super) finish_reason: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) logprobs: Option<&'a RawValue>,
    /// Where some servers put the usage.
    #[serde(borrow, default)]
    pub(super) usage: Option<&'a RawValue>,
    /// Whether `delta` is in truth the whole message so far.
    #[serde(skip)]
    pub(super) is_whole_message: bool,
    #[serde(default)]
    pub(super) message: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) error: Option<IgnoredAny>,
}

/// What a choice grows by.
#[derive(Default, Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(borrow, default)]
    pub(super) content: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) refusal: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) reasoning_content: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) reasoning: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) tool_calls: Option<Few<CallDelta<'a>>>,
    #[serde(borrow, default)]
    pub(super) reasoning_details: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) reasoning_text: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) thinking: Option<IgnoredAny>,
    #[serde(default)]
    pub(super) function_call: Option<IgnoredAny>,
}

/// What a tool call grows by.
#[derive(Default, Deserialize)]
pub(super) struct CallDelta<'a> {
    #[serde(default)]
    pub(super) index: Option<u32>,
    #[serde(borrow, default)]
    pub(super) id: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) function: Option<FunctionDelta<'a>>,
    #[serde(borrow, default)]
    pub(super) custom: Option<CustomDelta<'a>>,
}

#[derive(Default, Deserialize)]
pub(super) struct FunctionDelta<'a> {
    #[serde(borrow, default)]
    pub(super) name: Option<Str<'a>>,
    /// A string; an object from servers that do not write it as one.
    #[serde(borrow, default)]
    pub(super) arguments: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
pub(super) struct CustomDelta<'a> {
    #[serde(borrow, default)]
    pub(super) name: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) input: Option<&'a RawValue>,
}

impl<'a> Chunk<'a> {
    /// Reads a chunk of the documented shape. `None` when it is of another, or holds what is read elsewhere, such as an
    /// error.
    pub(super) fn parse(data: &'a str) -> Option<Self> {
        let chunk: Self = serde_json::from_str(data).ok()?;
        let is_plain = chunk.error.is_none()
            && chunk.detail.is_none()
            && chunk.x_groq.is_none()
            && chunk.choices.iter().all(ChunkChoice::is_plain);
        is_plain.then_some(chunk)
    }

    /// Whether anything of it was understood, its id apart.
    pub(super) fn says_something(&self) -> bool {
        let choice_says = |choice: &ChunkChoice<'_>| {
            !choice.delta.is_empty() || choice.finish_reason.is_some() || choice.usage.is_some()
        };
        self.usage.is_some() || self.choices.iter().any(choice_says)
    }
}

impl ChunkChoice<'_> {
    fn is_plain(&self) -> bool {
        // A message beside a delta repeats it.
        self.error.is_none()
            && self.delta.is_plain()
            && (self.message.is_none() || !self.delta.is_empty())
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
        let is_blank = |text: &Option<Str<'_>>| text.as_ref().is_none_or(|text| text.is_empty());
        is_blank(&self.content)
            && is_blank(&self.refusal)
            && self.reasoning().is_none()
            && self
                .tool_calls
                .as_ref()
                .is_none_or(|calls| calls.is_empty())
    }

    fn is_plain(&self) -> bool {
        let details_add_nothing = || match self.reasoning_details {
            Some(details) => self.reasoning().is_some() || details.get() == "[]",
            None => true,
        };
        self.reasoning_text.is_none()
            && self.thinking.is_none()
            && self.function_call.is_none()
            && details_add_nothing()
            && self.tool_calls.iter().flat_map(|calls| calls.iter()).all(
                // Without either, its parts may lie one level higher.
                |call| call.function.is_some() || call.custom.is_some(),
            )
    }
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

/// The text of a JSON string; of any other JSON its own text.
pub(super) fn text_of(raw: &RawValue) -> Cow<'_, str> {
    let json = raw.get();
    if !json.starts_with('"') {
        return Cow::Borrowed(json);
    }
    match serde_json::from_str::<Str<'_>>(json) {
        Ok(text) => text.0,
        Err(_) => {
            Cow::Owned(serde_json::from_str(&without_lone_surrogates(json)).unwrap_or_default())
        }
    }
}

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
                    elements.push(element);
                }
                Ok(Few(elements))
            }
        }

        deserializer.deserialize_seq(Elements(PhantomData))
    }
}
