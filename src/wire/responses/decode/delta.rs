//! The events that carry a piece of text.

use crate::{
    protocol::{
        Id, OutputTextDelta, RawJson, ReasoningContentDelta, ReasoningSummaryDelta, RefusalDelta,
        ResponseEvent, Text, ToolCallInput, ToolCallInputDelta,
    },
    wire::responses::envelope::Envelope,
};

/// What a delta is a piece of.
#[derive(Clone, Copy)]
pub(super) enum DeltaKind {
    OutputText,
    Refusal,
    ReasoningSummary,
    ReasoningContent,
    Input(ToolCallInput),
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

    pub(super) fn event(
        self,
        delta: Text,
        item_id: Option<Id>,
        envelope: &Envelope<'_>,
    ) -> ResponseEvent {
        let output_index = envelope.output_index.index();
        let content_index = envelope.content_index.index();
        let logprobs = || {
            envelope
                .logprobs
                .filter(|json| *json != "[]")
                .map(RawJson::from_walked)
        };
        match self {
            Self::OutputText => ResponseEvent::OutputTextDelta(OutputTextDelta {
                delta,
                item_id,
                output_index,
                content_index,
                logprobs: logprobs(),
            }),
            Self::Refusal => ResponseEvent::RefusalDelta(RefusalDelta {
                delta,
                item_id,
                output_index,
                content_index,
                logprobs: logprobs(),
            }),
            Self::ReasoningSummary => ResponseEvent::ReasoningSummaryDelta(ReasoningSummaryDelta {
                delta,
                item_id,
                output_index,
                summary_index: envelope.summary_index.index().unwrap_or(0),
            }),
            Self::ReasoningContent => ResponseEvent::ReasoningContentDelta(ReasoningContentDelta {
                delta,
                item_id,
                output_index,
                content_index: content_index.unwrap_or(0),
            }),
            Self::Input(input) => ResponseEvent::ToolCallInputDelta(ToolCallInputDelta {
                delta,
                item_id,
                call_id: envelope.call_id.0.as_deref().map(Id::from),
                output_index,
                input,
            }),
        }
    }
}
