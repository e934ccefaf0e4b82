//! The output items that a Chat stream amounts to, in the JSON that the Responses wire would have sent.

use serde::Serialize;
use serde_json::value::to_raw_value;

use crate::{
    protocol::{Id, OutputItem, RawJson},
    wire::limits::{AnswerSize, StreamLimits},
};

/// An output item. The order of the fields is that of the JSON.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Item<'a> {
    Message {
        id: &'a str,
        role: &'static str,
        status: &'static str,
        content: &'a [Part],
    },
    Reasoning {
        id: &'a str,
        summary: [Part; 0],
        content: Vec<Part>,
    },
    FunctionCall {
        id: &'a str,
        call_id: &'a str,
        name: &'a str,
        arguments: &'a str,
        status: &'static str,
    },
    CustomToolCall {
        id: &'a str,
        call_id: &'a str,
        name: &'a str,
        input: &'a str,
        status: &'static str,
    },
}

/// A part of an item's content.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Part {
    OutputText { text: String, annotations: [(); 0] },
    Refusal { refusal: String },
    ReasoningText { text: String },
}

impl Item<'_> {
    pub(super) fn into_output(self, output_index: u32) -> OutputItem {
        let raw = to_raw_value(&self).expect("strings and lists of them are JSON");
        OutputItem::new(Some(output_index), RawJson::from_raw(&raw))
    }
}

/// Numbers the output items of a response, in the order in which they begin.
#[derive(Default)]
pub(super) struct OutputNumbers {
    /// The id of the response, once a chunk has named it.
    pub(super) response_id: Option<Id>,
    next: u32,
    /// How much has come of what is numbered.
    pub(super) size: AnswerSize,
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
}
