//! The output items that a Chat stream amounts to, in the JSON that the Responses wire would have sent.

use serde::Serialize;
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use crate::{
    json::escapes::JoinedText,
    protocol::{Id, OutputItem, RawJson, ResponseEvent, StreamAnomalies},
    wire::limits::{AnswerSize, StreamLimits},
};

/// What an item has beside the fields of its type, and takes along into the next request.
pub(super) type Extra = Map<String, Value>;

/// An output item. The order of the fields is that of the JSON.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Item<'a> {
    Message {
        id: &'a str,
        role: &'static str,
        status: &'static str,
        content: &'a [Part],
        #[serde(flatten)]
        extra: &'a Extra,
    },
    Reasoning {
        id: &'a str,
        summary: [Part; 0],
        content: Vec<Part>,
        #[serde(flatten)]
        extra: &'a Extra,
    },
    FunctionCall {
        id: &'a str,
        call_id: &'a str,
        name: &'a str,
        arguments: &'a str,
        status: &'static str,
        #[serde(flatten)]
        extra: &'a Extra,
    },
    CustomToolCall {
        id: &'a str,
        call_id: &'a str,
        name: &'a str,
        input: &'a str,
        status: &'static str,
        #[serde(flatten)]
        extra: &'a Extra,
    },
}

/// A part of an item's content.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Part {
    OutputText {
        text: String,
        annotations: Vec<Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        logprobs: Option<Box<RawValue>>,
    },
    Refusal {
        refusal: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        logprobs: Option<Box<RawValue>>,
    },
    ReasoningText {
        text: String,
    },
}

impl Item<'_> {
    pub(super) fn into_output(self, output_index: u32) -> OutputItem {
        let raw = to_raw_value(&self).expect("strings, and lists and maps of JSON, are JSON");
        OutputItem::new(Some(output_index), RawJson::from_raw(&raw))
    }
}

/// A text that grows by pieces.
#[derive(Default)]
pub(super) struct Grown {
    pub(super) text: String,
    joined: JoinedText,
}

impl Grown {
    /// Appends a piece. Gives what it adds, which is nothing as long as half a surrogate pair is all of it.
    pub(super) fn push<'a>(
        &mut self,
        piece: &'a str,
        is_marked: bool,
    ) -> std::borrow::Cow<'a, str> {
        let added = self.joined.next(piece, is_marked);
        self.text.push_str(&added);
        added
    }

    /// Appends a piece that is added as it is. False, and nothing is done, where that has to be looked at.
    #[inline]
    pub(super) fn push_whole(&mut self, piece: &str, is_marked: bool) -> bool {
        let is_whole = !is_marked && self.joined.is_whole();
        if is_whole {
            self.text.push_str(piece);
        }
        is_whole
    }

    /// Gives what is still to be added at the end: the sign for half a surrogate pair whose other half never came.
    pub(super) fn finish(&mut self) -> &'static str {
        let added = self.joined.finish();
        self.text.push_str(added);
        added
    }
}

/// What becomes of chunks, wherever in a choice they are read.
pub(super) struct Output<'a> {
    pub(super) numbers: &'a mut OutputNumbers,
    pub(super) out: &'a mut Vec<ResponseEvent>,
    pub(super) anomalies: &'a mut StreamAnomalies,
}

/// Numbers the output items of a response, in the order in which they begin.
#[derive(Default)]
pub(super) struct OutputNumbers {
    /// The id of the response, once a chunk has named it.
    pub(super) response_id: Option<Id>,
    next: u32,
    /// How much has come of what is numbered.
    pub(super) size: AnswerSize,
    /// Whether lone surrogates are marked in the chunk that is being read.
    pub(super) is_marked: bool,
}

/// An item's id and its place in the response's `output`.
pub(super) struct OutputPlace {
    pub(super) item_id: Id,
    pub(super) output_index: u32,
}

/// Of a response's id, how much goes into the id of a tool call: OpenAI takes 40 characters of the latter.
const CALL_ID_STEM_CHARS: usize = 24;

impl OutputNumbers {
    pub(super) fn new(limits: StreamLimits) -> Self {
        Self {
            size: AnswerSize::new(limits),
            ..Self::default()
        }
    }

    /// The place of an item that begins. Chat items have no ids, so they are given some: the prefix that the Responses API
    /// uses for their kind, the response's id, and the place, which makes them differ within a response.
    pub(super) fn begin(&mut self, prefix: &str) -> OutputPlace {
        let output_index = self.next;
        self.next += 1;
        let item_id = match &self.response_id {
            Some(id) => format!("{prefix}_{id}_{output_index}"),
            None => format!("{prefix}_{output_index}"),
        };
        OutputPlace {
            item_id: item_id.into(),
            output_index,
        }
    }

    /// The id of a call that the server gave none: differs within the response and, where responses have ids, between them.
    pub(super) fn call_id(&self, output_index: u32) -> Id {
        let stem = self.response_id.as_deref().unwrap_or_default();
        let mut stem: Vec<_> = stem
            .chars()
            .rev()
            .filter(char::is_ascii_alphanumeric)
            .take(CALL_ID_STEM_CHARS)
            .collect();
        stem.reverse();
        if stem.is_empty() {
            return format!("call_{output_index}").into();
        }
        format!("call_{}_{output_index}", String::from_iter(stem)).into()
    }

    /// Reads what came beside a text, counted with the answer. What is no JSON that a tree can be made of is null.
    pub(super) fn value(&mut self, json: &str) -> Value {
        match self.size.add_tree(json) {
            true => serde_json::from_str(json).unwrap_or(Value::Null),
            false => Value::Null,
        }
    }
}
