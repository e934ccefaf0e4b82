//! What servers want differently.

use std::borrow::Cow;

/// What a server wants differently in a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChatQuirks {
    /// Whether the model's reasoning goes back to it.
    pub reasoning_replay: ReasoningReplay,
    /// What the limit of an answer is called.
    pub max_tokens_field: MaxTokensField,
    /// What becomes of `developer` messages.
    pub developer_role: DeveloperRole,
    /// Whether to leave out `stream_options`, for servers that refuse it. They then report usage as they see fit.
    pub no_usage_request: bool,
    /// Whether the server never sends a `finish_reason`. Its `[DONE]` then says that the answer is whole, where no call is
    /// open and no piece was lost; without this only a usage chunk before it does.
    pub omits_finish_reason: bool,
    /// Whether what the model said goes back without the fields of other servers (`reasoning_details`, `annotations`,
    /// `extra_content`, ...), for servers that refuse a message with fields that they do not know.
    pub no_answer_extras: bool,
}

/// Whether the model's reasoning goes back to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReasoningReplay {
    /// Its text does not. What else a server gave with it (signatures, sealed reasoning) goes back all the same.
    #[default]
    None,
    /// Its text does too, in this field of the assistant's message, such as `reasoning_content`. Only what came after the
    /// last message of the user: servers that want it want it while tools are being called, and some refuse older
    /// reasoning.
    Field(Cow<'static, str>),
}

/// What the limit of an answer's length is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MaxTokensField {
    /// `max_completion_tokens`, the name of today.
    #[default]
    MaxCompletionTokens,
    /// `max_tokens`, the name before, which many servers know alone.
    MaxTokens,
}

/// What becomes of messages whose role is `developer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeveloperRole {
    /// They are sent as `system`, which every server knows and OpenAI takes for the same.
    #[default]
    AsSystem,
    /// They are sent as they are.
    Kept,
}
