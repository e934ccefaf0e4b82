//! The events that carry a text: a piece of it, or the whole.

use std::iter;

use crate::{
    protocol::{
        Id, RawJson, ReasoningDelta, ResponseEvent, Text, TextDelta, ToolCallInput,
        ToolCallInputDelta,
    },
    wire::responses::envelope::Envelope,
};

/// What a text is a part of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum DeltaKind {
    #[default]
    OutputText,
    Refusal,
    ReasoningSummary,
    ReasoningContent,
    Input(ToolCallInput),
}

/// Where a delta belongs. The index is that of the content or the summary.
#[derive(Clone, Debug, Default)]
pub(super) struct Address {
    pub(super) item_id: Option<Id>,
    pub(super) call_id: Option<Id>,
    pub(super) output_index: Option<u32>,
    pub(super) index: Option<u32>,
}

/// Where the text of deltas that repeat one another goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    pub(super) kind: DeltaKind,
    pub(super) address: Address,
    /// Of the output, if it is known.
    pub(super) part: Option<usize>,
}

/// A delta that repeats the one before but for its text.
pub(super) struct Repeats<'a> {
    pub(super) text: &'a str,
    pub(super) kind: DeltaKind,
    pub(super) address: &'a Address,
}

impl Repeats<'_> {
    /// Adds its event.
    #[inline(always)] // As `Template::read`.
    pub(super) fn push_to(self, out: &mut Vec<ResponseEvent>) {
        let Self {
            text,
            kind,
            address,
        } = self;
        match kind {
            // Made in its place: there is room for it before there is an event.
            DeltaKind::OutputText => out.extend(iter::once_with(|| {
                DeltaKind::OutputText.event(Text::from(text), address, None)
            })),
            kind => out.push(kind.event(Text::from(text), address, None)),
        }
    }
}

/// What has been streamed of a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Streamed {
    pub(super) bytes: usize,
    /// The last of them, which tells a text that goes on from another one.
    pub(super) last: u8,
    /// All of it, of a tool call's input: a call without the rest of its input can't be carried out.
    pub(super) input: String,
}

impl Streamed {
    #[inline]
    pub(super) fn note(&mut self, text: &str) {
        self.bytes += text.len();
        if let Some(last) = text.as_bytes().last() {
            self.last = *last;
        }
    }

    /// Counts it all as streamed, also what was not.
    pub(super) fn reach(&mut self, text: &str) {
        self.bytes = self.bytes.max(text.len());
    }

    pub(super) fn append(&mut self, more: &Self) {
        if more.bytes > 0 {
            self.bytes += more.bytes;
            self.last = more.last;
            self.input.push_str(&more.input);
        }
    }
}

impl DeltaKind {
    /// `None` for a type of event that is no delta, or passes through.
    pub(super) fn of(kind: &str) -> Option<Self> {
        Some(match kind {
            "response.output_text.delta" => Self::OutputText,
            "response.refusal.delta" => Self::Refusal,
            "response.reasoning_summary_text.delta" => Self::ReasoningSummary,
            "response.reasoning_text.delta" => Self::ReasoningContent,
            "response.function_call_arguments.delta" => {
                Self::Input(ToolCallInput::FunctionArguments)
            }
            "response.custom_tool_call_input.delta" => Self::Input(ToolCallInput::CustomInput),
            "response.mcp_call_arguments.delta" => Self::Input(ToolCallInput::McpArguments),
            _ => return None,
        })
    }

    /// What an event says the whole text of, and the member that has it: a string, or a part with a string.
    pub(super) fn of_whole(kind: &str) -> Option<(Self, &'static str)> {
        Some(match kind {
            "response.output_text.done" => (Self::OutputText, "text"),
            "response.refusal.done" => (Self::Refusal, "refusal"),
            "response.reasoning_summary_text.done" => (Self::ReasoningSummary, "text"),
            "response.reasoning_text.done" => (Self::ReasoningContent, "text"),
            "response.function_call_arguments.done" => {
                (Self::Input(ToolCallInput::FunctionArguments), "arguments")
            }
            "response.custom_tool_call_input.done" => {
                (Self::Input(ToolCallInput::CustomInput), "input")
            }
            "response.mcp_call_arguments.done" => {
                (Self::Input(ToolCallInput::McpArguments), "arguments")
            }
            "response.content_part.done" => (Self::OutputText, "part"),
            "response.reasoning_part.done" => (Self::ReasoningContent, "part"),
            "response.reasoning_summary_part.done" => (Self::ReasoningSummary, "part"),
            _ => return None,
        })
    }

    /// The type of the items that have such parts.
    pub(super) fn item_type(self) -> &'static str {
        match self {
            Self::OutputText | Self::Refusal => "message",
            Self::ReasoningSummary | Self::ReasoningContent => "reasoning",
            Self::Input(ToolCallInput::CustomInput) => "custom_tool_call",
            Self::Input(ToolCallInput::McpArguments) => "mcp_call",
            Self::Input(_) => "function_call",
        }
    }

    /// Where an event says that it belongs.
    pub(super) fn address(self, envelope: &Envelope<'_>, item_id: Option<Id>) -> Address {
        let index = match self {
            Self::ReasoningSummary => envelope.summary_index,
            _ => envelope.content_index,
        };
        Address {
            item_id,
            call_id: envelope.call_id.as_deref().map(Id::from),
            output_index: envelope.output_index,
            index,
        }
    }

    /// The event of a piece of text.
    #[inline(always)] // As `Template::read`.
    pub(super) fn event(
        self,
        delta: Text,
        address: &Address,
        logprobs: Option<RawJson>,
    ) -> ResponseEvent {
        let item_id = address.item_id.clone();
        let (output_index, index) = (address.output_index, address.index);
        match self {
            Self::OutputText => ResponseEvent::OutputTextDelta(TextDelta {
                delta,
                item_id,
                output_index,
                content_index: index,
                logprobs,
            }),
            Self::Refusal => ResponseEvent::RefusalDelta(TextDelta {
                delta,
                item_id,
                output_index,
                content_index: index,
                logprobs,
            }),
            Self::ReasoningSummary => ResponseEvent::ReasoningSummaryDelta(ReasoningDelta {
                delta,
                item_id,
                output_index,
                part_index: index.unwrap_or(0),
            }),
            Self::ReasoningContent => ResponseEvent::ReasoningContentDelta(ReasoningDelta {
                delta,
                item_id,
                output_index,
                part_index: index.unwrap_or(0),
            }),
            Self::Input(input) => ResponseEvent::ToolCallInputDelta(ToolCallInputDelta {
                delta,
                item_id,
                call_id: address.call_id.clone(),
                output_index,
                input,
            }),
        }
    }
}
