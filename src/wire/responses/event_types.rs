//! Every event type of the API, and the form it takes here.

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventForm {
    /// It has a variant of [`ResponseEvent`](crate::protocol::ResponseEvent).
    Typed,
    /// It ends the stream.
    Terminal,
    /// It arrives as [`ResponseEvent::Other`](crate::protocol::ResponseEvent::Other), its JSON byte for byte: it repeats
    /// what typed events say, or reports the progress of a tool that runs at the provider.
    PassThrough,
}

use EventForm::{PassThrough, Terminal, Typed};

/// The types of the `ResponseStreamEvent` union of OpenAI's published OpenAPI description (2026-08-21), and what becomes of
/// each. A type that is not listed passes through.
pub(crate) const EVENT_TYPES: &[(&str, EventForm)] = &[
    ("error", Terminal),
    ("response.audio.delta", PassThrough),
    ("response.audio.done", PassThrough),
    ("response.audio.transcript.delta", PassThrough),
    ("response.audio.transcript.done", PassThrough),
    ("response.code_interpreter_call.completed", PassThrough),
    ("response.code_interpreter_call.in_progress", PassThrough),
    ("response.code_interpreter_call.interpreting", PassThrough),
    ("response.code_interpreter_call_code.delta", PassThrough),
    ("response.code_interpreter_call_code.done", PassThrough),
    ("response.completed", Terminal),
    ("response.content_part.added", PassThrough),
    ("response.content_part.done", PassThrough),
    ("response.created", Typed),
    ("response.custom_tool_call_input.delta", Typed),
    ("response.custom_tool_call_input.done", PassThrough),
    ("response.failed", Terminal),
    ("response.file_search_call.completed", PassThrough),
    ("response.file_search_call.in_progress", PassThrough),
    ("response.file_search_call.searching", PassThrough),
    ("response.function_call_arguments.delta", Typed),
    ("response.function_call_arguments.done", PassThrough),
    ("response.image_generation_call.completed", PassThrough),
    ("response.image_generation_call.generating", PassThrough),
    ("response.image_generation_call.in_progress", PassThrough),
    ("response.image_generation_call.partial_image", PassThrough),
    ("response.in_progress", PassThrough),
    ("response.incomplete", Terminal),
    ("response.mcp_call.completed", PassThrough),
    ("response.mcp_call.failed", PassThrough),
    ("response.mcp_call.in_progress", PassThrough),
    ("response.mcp_call_arguments.delta", Typed),
    ("response.mcp_call_arguments.done", PassThrough),
    ("response.mcp_list_tools.completed", PassThrough),
    ("response.mcp_list_tools.failed", PassThrough),
    ("response.mcp_list_tools.in_progress", PassThrough),
    ("response.output_item.added", Typed),
    ("response.output_item.done", Typed),
    ("response.output_text.annotation.added", PassThrough),
    ("response.output_text.delta", Typed),
    ("response.output_text.done", PassThrough),
    ("response.queued", PassThrough),
    ("response.reasoning_summary_part.added", Typed),
    ("response.reasoning_summary_part.done", PassThrough),
    ("response.reasoning_summary_text.delta", Typed),
    ("response.reasoning_summary_text.done", PassThrough),
    ("response.reasoning_text.delta", Typed),
    ("response.reasoning_text.done", PassThrough),
    ("response.refusal.delta", Typed),
    ("response.refusal.done", PassThrough),
    ("response.shell_call_command.added", PassThrough),
    ("response.shell_call_command.delta", PassThrough),
    ("response.shell_call_command.done", PassThrough),
    ("response.shell_call_output_content.delta", PassThrough),
    ("response.shell_call_output_content.done", PassThrough),
    ("response.web_search_call.completed", PassThrough),
    ("response.web_search_call.in_progress", PassThrough),
    ("response.web_search_call.searching", PassThrough),
];
