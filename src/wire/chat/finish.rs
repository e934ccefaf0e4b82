//! How a choice ends.

/// What a `finish_reason` means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// `stop`, `tool_calls`, `function_call`, and reasons that are not known.
    Whole,
    /// The answer was cut, in the words of the Responses API: `length` is `max_output_tokens`.
    Cut(&'static str),
    /// The server failed on the way.
    Failed,
}

impl Finish {
    /// `None` for what some servers write while there is no reason yet.
    pub(super) fn from_reason(reason: &str) -> Option<Self> {
        Some(match reason {
            "" | "null" | "None" => return None,
            "length" | "max_tokens" | "model_length" => Self::Cut("max_output_tokens"),
            "content_filter" => Self::Cut("content_filter"),
            // DeepSeek's, and vLLM's and SGLang's, when the engine gives up on an answer.
            "insufficient_system_resource" => Self::Cut("insufficient_system_resource"),
            "abort" => Self::Cut("abort"),
            "error" => Self::Failed,
            _ => Self::Whole,
        })
    }

    /// The `status` of the items that it ends.
    pub(super) fn item_status(&self) -> &'static str {
        match self {
            Self::Whole => "completed",
            Self::Cut(_) | Self::Failed => "incomplete",
        }
    }
}
