//! The items of a conversation.
//!
//! [`ResponseItem`] has a variant for each type of item that the API names, with a struct behind it: of the same name, but where types look alike. What
//! an item of a known type holds besides is kept in `extra`; an item that has no typed form is kept byte for byte. So an
//! item can be read, stored and sent back without loss:
//!
//! - typed: the JSON is equal, but the order of fields is the struct's, a null of an optional field is left out, a repeated
//!   name in `extra` counts once (the last), and numbers in `extra` are integers of 64 bits or doubles, whose last digit may
//!   change;
//! - [`ResponseItem::Unknown`]: the bytes are equal.
//!
//! The text of unknown values is kept with the help of serde_json, so these types can only be read and written with it.

mod answering;
mod call;
mod content;
mod context;
mod hosted;
mod message;
mod tagged;

pub use answering::ArgumentsError;
pub use call::{
    ApplyPatchCallItem, ApplyPatchCallOutputItem, ComputerCallItem, ComputerCallOutputItem,
    CustomToolCallItem, FunctionCallItem, LocalShellAction, LocalShellCallItem,
    LocalShellCallOutputItem, LocalShellExec, ShellCallItem, ShellCallOutputItem,
    ToolCallOutputItem, ToolSearchCallItem, ToolSearchOutputItem,
};
pub use content::{
    Content, ContentPart, InputAudioPart, InputFilePart, InputImagePart, OutputTextPart,
    RefusalPart, TextPart,
};
pub use context::{
    AdditionalToolsItem, AgentMessageItem, CompactionItem, GhostSnapshotItem, ItemReferenceItem,
    MarkerItem,
};
pub use hosted::{
    CodeInterpreterCallItem, FileSearchCallItem, ImageGenerationCallItem, McpApprovalResponseItem,
    McpCallItem, McpListToolsItem, ProgramItem, ProgramOutputItem, WebPage, WebSearch,
    WebSearchAction, WebSearchCallItem,
};
pub use message::{MessageItem, ReasoningItem, Role};
use serde::{Serialize, Serializer};

use self::tagged::{Fields, Tag, tagged};

/// What an item has besides its texts, in the usual case: its type, ids and status.
const ITEM_BYTES: usize = 192;

tagged! {
    /// One item of a request's input or a response's output.
    ResponseItem {
        /// A message, also in the API's short form `{"role", "content": "text"}` without a type.
        Message(MessageItem) = "message",
        /// What the model thought.
        Reasoning(ReasoningItem) = "reasoning",
        /// A call of a function.
        FunctionCall(FunctionCallItem) = "function_call",
        /// What the function returned.
        FunctionCallOutput(ToolCallOutputItem) = "function_call_output",
        /// A call of a tool that takes free text.
        CustomToolCall(CustomToolCallItem) = "custom_tool_call",
        /// What that tool returned.
        CustomToolCallOutput(ToolCallOutputItem) = "custom_tool_call_output",
        /// A command for the caller's machine.
        LocalShellCall(LocalShellCallItem) = "local_shell_call",
        /// What it printed.
        LocalShellCallOutput(LocalShellCallOutputItem) = "local_shell_call_output",
        /// Commands for a shell.
        ShellCall(ShellCallItem) = "shell_call",
        /// What they printed.
        ShellCallOutput(ShellCallOutputItem) = "shell_call_output",
        /// A change of a file.
        ApplyPatchCall(ApplyPatchCallItem) = "apply_patch_call",
        /// How it went.
        ApplyPatchCallOutput(ApplyPatchCallOutputItem) = "apply_patch_call_output",
        /// An action on a computer.
        ComputerCall(ComputerCallItem) = "computer_call",
        /// What the computer shows.
        ComputerCallOutput(ComputerCallOutputItem) = "computer_call_output",
        /// A search for tools.
        ToolSearchCall(ToolSearchCallItem) = "tool_search_call",
        /// The tools it found.
        ToolSearchOutput(ToolSearchOutputItem) = "tool_search_output",
        /// A search of the web.
        WebSearchCall(WebSearchCallItem) = "web_search_call",
        /// A search of files.
        FileSearchCall(FileSearchCallItem) = "file_search_call",
        /// A run of code.
        CodeInterpreterCall(CodeInterpreterCallItem) = "code_interpreter_call",
        /// An image.
        ImageGenerationCall(ImageGenerationCallItem) = "image_generation_call",
        /// A program that calls tools.
        Program(ProgramItem) = "program",
        /// What the program gave.
        ProgramOutput(ProgramOutputItem) = "program_output",
        /// The tools of an MCP server.
        McpListTools(McpListToolsItem) = "mcp_list_tools",
        /// A call of an MCP server's tool.
        McpCall(McpCallItem) = "mcp_call",
        /// The question whether such a call is allowed.
        McpApprovalRequest(McpCallItem) = "mcp_approval_request",
        /// The answer to it.
        McpApprovalResponse(McpApprovalResponseItem) = "mcp_approval_response",
        /// The conversation so far, compacted. `compaction_summary`, an older name of the type, is read and written too.
        Compaction(CompactionItem) = "compaction",
        /// The context so far, compacted.
        ContextCompaction(CompactionItem) = "context_compaction",
        /// The wish for a compaction.
        CompactionTrigger(MarkerItem) = "compaction_trigger",
        /// Stands for a stored item.
        ItemReference(ItemReferenceItem) = "item_reference",
        /// A message between agents.
        AgentMessage(AgentMessageItem) = "agent_message",
        /// More tools.
        AdditionalTools(AdditionalToolsItem) = "additional_tools",
        /// Other settings.
        ConfigurationUpdate(MarkerItem) = "configuration_update",
        /// A state of the caller's files.
        GhostSnapshot(GhostSnapshotItem) = "ghost_snapshot",
    }
}

/// The older name of `compaction`.
const COMPACTION_SUMMARY: &str = "compaction_summary";

impl ResponseItem {
    fn typed(text: &str) -> Option<Self> {
        let fields = Fields::of(text)?;
        let tag = fields.tag()?;
        match tag.name.as_deref() {
            Some(COMPACTION_SUMMARY) => CompactionItem::read(&fields, true)
                .ok()
                .map(Self::Compaction),
            Some(name) => Self::parse(name, &fields),
            None => {
                tag.has_role.then_some(())?;
                let mut message = MessageItem::read(&fields, true).ok()?;
                message.untagged = true;
                Some(Self::Message(message))
            }
        }
    }

    /// Bytes that it is written with, roughly: its texts without their escapes, and what stands around them in the usual case. What is seldom
    /// large is not looked at.
    pub(crate) fn written_bytes(&self) -> usize {
        let text_of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let texts = match self {
            Self::Message(item) => item.content.as_ref().map_or(0, Content::written_bytes),
            Self::Reasoning(item) => {
                let parts = [&item.summary, &item.content]
                    .into_iter()
                    .flatten()
                    .flatten();
                let parts: usize = parts.map(ContentPart::written_bytes).sum();
                parts + text_of(&item.encrypted_content)
            }
            Self::FunctionCall(item) => item.arguments.len(),
            Self::CustomToolCall(item) => item.input.len(),
            Self::FunctionCallOutput(item) | Self::CustomToolCallOutput(item) => {
                item.output.written_bytes()
            }
            Self::Compaction(item) => text_of(&item.encrypted_content),
            Self::Unknown(raw) => raw.get().len(),
            _ => 0,
        };
        ITEM_BYTES + texts
    }

    /// A message of the person or program that asks.
    pub fn user_text(text: impl Into<String>) -> Self {
        Self::message(Role::User, ContentPart::input_text(text))
    }

    /// An earlier message of the model.
    pub fn assistant_text(text: impl Into<String>) -> Self {
        Self::message(Role::Assistant, ContentPart::output_text(text))
    }

    /// A message of the highest rank, under its older name.
    pub fn system_text(text: impl Into<String>) -> Self {
        Self::message(Role::System, ContentPart::input_text(text))
    }

    /// A message of the highest rank.
    pub fn developer_text(text: impl Into<String>) -> Self {
        Self::message(Role::Developer, ContentPart::input_text(text))
    }

    fn message(role: Role, part: ContentPart) -> Self {
        Self::Message(MessageItem::new(role, vec![part]))
    }

    /// What the function returned that the model called under `call_id`.
    pub fn function_call_output(call_id: impl Into<String>, output: impl Into<Content>) -> Self {
        let mut item = ToolCallOutputItem::new(output);
        item.call_id = Some(call_id.into());
        Self::FunctionCallOutput(item)
    }

    /// What the free-text tool returned that the model called under `call_id`.
    pub fn custom_tool_call_output(call_id: impl Into<String>, output: impl Into<Content>) -> Self {
        let mut item = ToolCallOutputItem::new(output);
        item.call_id = Some(call_id.into());
        Self::CustomToolCallOutput(item)
    }

    /// Stands for the item that the server has stored under `id`.
    pub fn reference(id: impl Into<String>) -> Self {
        Self::ItemReference(ItemReferenceItem::new(id))
    }

    /// The value of `type`, also of an unknown item; absent when that names none. A message without one is a `message`.
    pub fn item_type(&self) -> Option<String> {
        match self {
            Self::Unknown(raw) => Tag::of(raw.get())?.name.map(|name| name.into_owned()),
            typed => typed.tag().map(str::to_owned),
        }
    }

    /// The text of a message, its parts joined; absent for every other item.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Message(message) => Some(message.text()),
            _ => None,
        }
    }

    /// The item's id, of a typed item that has one.
    pub fn id(&self) -> Option<&str> {
        self.object()?.id()
    }

    /// The id that ties a typed call and its output together.
    pub fn call_id(&self) -> Option<&str> {
        self.object()?.call_id()
    }
}

impl Serialize for ResponseItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tag = match self {
            Self::Message(message) if message.untagged => None,
            // The older name was kept among the fields.
            Self::Compaction(compaction) if compaction.extra.contains_key("type") => None,
            typed => typed.tag(),
        };
        self.write(tag, serializer)
    }
}

#[cfg(test)]
mod tests;
