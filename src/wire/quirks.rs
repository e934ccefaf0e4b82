//! What servers want differently.

use std::borrow::Cow;

/// What a server wants differently, on either wire. The default is what OpenAI itself wants, but for `developer` messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quirks {
    /// Responses: `store` where the prompt leaves it open. Absent leaves it to the server, which stores. Azure needs true, or
    /// it does not find reasoning again.
    pub default_store: Option<bool>,
    /// Responses: whether items are sent with the ids that the server gave them.
    pub item_ids: ItemIds,
    /// Chat: the field of the assistant's message in which the text of its reasoning goes back, such as `reasoning_content`.
    /// Only what came after the last message of the user: servers that want it want it while tools are being called, and some
    /// refuse older reasoning. What else a server gave with it (signatures, sealed reasoning) goes back without a field too.
    pub reasoning_field: Option<Cow<'static, str>>,
    /// Chat: whether the limit of an answer is called `max_tokens`, which many servers know alone. Its name of today is
    /// `max_completion_tokens`.
    pub has_max_tokens: bool,
    /// Chat: whether messages whose role is `developer` are sent as they are. Without, they are sent as `system`, which every
    /// server knows and OpenAI takes for the same.
    pub has_developer_role: bool,
    /// Chat: whether to leave out `stream_options`, for servers that refuse it. They then report usage as they see fit.
    pub no_usage_request: bool,
    /// Chat: whether the server never sends a `finish_reason`. Its `[DONE]` then says that the answer is whole, where no call
    /// is open and no piece was lost; without this only a usage chunk before it does.
    pub omits_finish_reason: bool,
    /// Chat: whether what the model said goes back without the fields of other servers (`reasoning_details`, `annotations`,
    /// `extra_content`, ...), for servers that refuse a message with fields that they do not know.
    pub no_answer_extras: bool,
}

with_fields!(Quirks {
    with_default_store(default_store: bool => Some(default_store)),
    with_item_ids(item_ids: ItemIds),
    with_reasoning_field(reasoning_field: impl Into<Cow<'static, str>> => Some(reasoning_field.into())),
    with_has_max_tokens(has_max_tokens: bool),
    with_has_developer_role(has_developer_role: bool),
    with_no_usage_request(no_usage_request: bool),
    with_omits_finish_reason(omits_finish_reason: bool),
    with_no_answer_extras(no_answer_extras: bool),
});

/// Whether items of the input carry the ids that a server gave them.
///
/// A server looks up an item that comes with an id. If it has stored it, that is how reasoning without encrypted content
/// finds its way back; if not, the request fails ("Item with id 'rs_...' not found").
///
/// Only messages, reasoning and calls of functions, custom tools, the local shell and web search are sent without: the id of
/// other items is what something else refers to, or the API requires it. Unknown items are always sent as they are.
/// Reasoning that has neither encrypted content nor text of its own, nor fields in `extra`, is an id and nothing else, so it
/// is left out where ids are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ItemIds {
    /// Unless `store` is false.
    #[default]
    WhenStored,
    /// In every request.
    Always,
    /// In no request.
    Never,
}

impl ItemIds {
    pub(super) fn are_sent(self, store: Option<bool>) -> bool {
        match self {
            Self::WhenStored => store != Some(false),
            Self::Always => true,
            Self::Never => false,
        }
    }
}
