//! The conversation's items as Chat messages.

use super::{
    ChatQuirks, DeveloperRole, ReasoningReplay, invalid,
    message::{Call, CalledTool, ChatContent, Custom, Function, Message, chat_content, no_part},
};
use crate::{
    error::ApiError,
    protocol::{Content, ContentPart, MessageItem, Prompt, ResponseItem, Role},
};

/// What stands between two texts of the model that become one message.
const TEXT_SEPARATOR: &str = "\n";

/// Writes the instructions and the conversation as messages.
pub(super) fn messages<'a>(
    prompt: &'a Prompt,
    quirks: &'a ChatQuirks,
) -> Result<Vec<Message<'a>>, ApiError> {
    let mut conversation = Conversation {
        messages: Vec::new(),
        reasoning: String::new(),
        reasoning_field: match &quirks.reasoning_replay {
            ReasoningReplay::Field(field) => Some(field),
            ReasoningReplay::None => None,
        },
    };
    if let Some(instructions) = prompt
        .instructions
        .as_deref()
        .filter(|text| !text.is_empty())
    {
        conversation.messages.push(Message {
            role: "system",
            content: Some(ChatContent::Text(instructions.into())),
            ..Message::default()
        });
    }
    let is_of_user = |item: &ResponseItem| matches!(item, ResponseItem::Message(message) if message.role == Role::User);
    let last_of_user = prompt.input.iter().rposition(is_of_user);
    for (position, item) in prompt.input.iter().enumerate() {
        let is_replayed = last_of_user.is_none_or(|last| position > last);
        conversation.add(item, is_replayed, quirks.developer_role)?;
    }
    conversation.place_reasoning();
    Ok(conversation.messages)
}

struct Conversation<'a> {
    messages: Vec<Message<'a>>,
    /// Reasoning that waits for the message it led to.
    reasoning: String,
    reasoning_field: Option<&'a str>,
}

impl<'a> Conversation<'a> {
    fn add(
        &mut self,
        item: &'a ResponseItem,
        is_replayed: bool,
        developer_role: DeveloperRole,
    ) -> Result<(), ApiError> {
        match item {
            ResponseItem::Message(message) if message.role == Role::Assistant => {
                self.add_answer(message)
            }
            ResponseItem::Message(message) => {
                self.place_reasoning();
                let role = match (&message.role, developer_role) {
                    (Role::Developer, DeveloperRole::AsSystem) => "system",
                    (role, _) => role.as_str(),
                };
                let content = message.content.as_ref().map(chat_content).transpose()?;
                self.messages.push(Message {
                    role,
                    content: Some(content.unwrap_or(ChatContent::Text("".into()))),
                    ..Message::default()
                });
                Ok(())
            }
            ResponseItem::Reasoning(reasoning) => {
                if is_replayed && self.reasoning_field.is_some() {
                    let text = Some(reasoning.content_text()).filter(|text| !text.is_empty());
                    let text = text.unwrap_or_else(|| reasoning.summary_text());
                    append(&mut self.reasoning, &text);
                }
                Ok(())
            }
            ResponseItem::FunctionCall(call) => {
                // Servers parse the arguments, and models leave them out when there are none.
                let is_blank = call.arguments.trim().is_empty();
                let arguments = if is_blank { "{}" } else { &call.arguments };
                self.add_call(
                    &call.call_id,
                    CalledTool::Function {
                        function: Function {
                            name: &call.name,
                            arguments,
                        },
                    },
                );
                Ok(())
            }
            ResponseItem::CustomToolCall(call) => {
                self.add_call(
                    &call.call_id,
                    CalledTool::Custom {
                        custom: Custom {
                            name: &call.name,
                            input: &call.input,
                        },
                    },
                );
                Ok(())
            }
            ResponseItem::FunctionCallOutput(output) => {
                self.add_output(output.call_id.as_deref(), &output.output)
            }
            ResponseItem::CustomToolCallOutput(output) => {
                self.add_output(output.call_id.as_deref(), &output.output)
            }
            // What the server's own tools did, and what concerns the caller alone.
            ResponseItem::WebSearchCall(_)
            | ResponseItem::FileSearchCall(_)
            | ResponseItem::CodeInterpreterCall(_)
            | ResponseItem::ImageGenerationCall(_)
            | ResponseItem::McpListTools(_)
            | ResponseItem::McpCall(_)
            | ResponseItem::GhostSnapshot(_) => Ok(()),
            other => Err(invalid(format!(
                "an item of type `{}` has no form in Chat Completions",
                other.item_type().unwrap_or_default()
            ))),
        }
    }

    fn add_answer(&mut self, message: &'a MessageItem) -> Result<(), ApiError> {
        let mut text = String::new();
        let mut refusal = None;
        match &message.content {
            Some(Content::Text(whole)) => text.push_str(whole),
            Some(Content::Parts(parts)) => {
                for part in parts {
                    match (part, part.text()) {
                        (_, Some(piece)) => text.push_str(piece),
                        (ContentPart::Refusal(part), None) => refusal = Some(&*part.refusal),
                        _ => return Err(no_part(part)),
                    }
                }
            }
            None => {}
        }
        if text.is_empty() && refusal.is_none() {
            return Ok(());
        }
        let answer = self.open_answer(false);
        if !text.is_empty() {
            match &mut answer.content {
                Some(ChatContent::Text(before)) => append(before.to_mut(), &text),
                content => *content = Some(ChatContent::Text(text.into())),
            }
        }
        answer.refusal = refusal.or(answer.refusal);
        Ok(())
    }

    fn add_call(&mut self, id: &'a str, tool: CalledTool<'a>) {
        self.open_answer(true).tool_calls.push(Call { id, tool });
    }

    /// The assistant's message that goes on: the last one, for a call or where calls came before; else a new one.
    fn open_answer(&mut self, is_call: bool) -> &mut Message<'a> {
        let goes_on = self.messages.last().is_some_and(|last| {
            last.role == "assistant" && (is_call || !last.tool_calls.is_empty())
        });
        if !goes_on {
            // Reasoning in front of this message led to it, not to the one before.
            self.messages.push(Message {
                role: "assistant",
                ..Message::default()
            });
        }
        self.place_reasoning();
        self.messages
            .last_mut()
            .expect("one was just found or made")
    }

    fn add_output(
        &mut self,
        call_id: Option<&'a str>,
        output: &'a Content,
    ) -> Result<(), ApiError> {
        let Some(call_id) = call_id else {
            return Err(invalid("an output does not say which call it answers"));
        };
        self.place_reasoning();
        let has_call =
            |message: &Message<'_>| message.tool_calls.iter().any(|call| call.id == call_id);
        let position = match self.messages.iter().rposition(has_call) {
            Some(call) => {
                let outputs = self.messages[call + 1..]
                    .iter()
                    .take_while(|message| message.role == "tool");
                call + 1 + outputs.count()
            }
            None => self.messages.len(),
        };
        self.messages.insert(
            position,
            Message {
                role: "tool",
                content: Some(chat_content(output)?),
                tool_call_id: Some(call_id),
                ..Message::default()
            },
        );
        Ok(())
    }

    /// Gives the reasoning that waits to the last message, if that is the assistant's.
    fn place_reasoning(&mut self) {
        let text = std::mem::take(&mut self.reasoning);
        let last = self.messages.last_mut();
        if let (Some(field), Some(last)) = (self.reasoning_field, last)
            && last.role == "assistant"
            && !text.is_empty()
        {
            match &mut last.reasoning {
                Some((_, before)) => append(before, &text),
                None => last.reasoning = Some((field, text)),
            }
        }
    }
}

fn append(before: &mut String, text: &str) {
    if !before.is_empty() && !text.is_empty() {
        before.push_str(TEXT_SEPARATOR);
    }
    before.push_str(text);
}
