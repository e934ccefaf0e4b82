//! The conversation's items as Chat messages.

use std::{collections::HashMap, mem};

use serde_json::{Map, Value};

use super::{
    extra::Extra,
    invalid,
    message::{
        Call, CalledTool, ChatContent, Custom, Function, Message, Part, PartForm, append, no_form,
        no_part,
    },
};
use crate::{
    protocol::{Content, ContentPart, MessageItem, Prompt, ResponseItem, Role, error::ApiError},
    wire::quirks::Quirks,
};

/// The role of what a tool has given.
const TOOL: &str = "tool";

/// Writes the instructions and the conversation as messages.
pub(super) fn messages<'a>(
    prompt: &'a Prompt,
    quirks: &'a Quirks,
) -> Result<Vec<Message<'a>>, ApiError> {
    let mut conversation = Conversation {
        messages: Vec::new(),
        calls: HashMap::new(),
        reasoning: String::new(),
        reasoning_extra: Extra::default(),
        quirks,
        reasoning_field: quirks.reasoning_field.as_deref(),
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
        conversation.add(item, is_replayed)?;
    }
    conversation.place_reasoning();
    let messages = conversation.in_a_row();
    for message in &messages {
        message.extra.refuse_own(|name| message.writes(name))?;
    }
    Ok(messages)
}

struct Conversation<'a> {
    /// Each with the messages of tools behind it.
    messages: Vec<Message<'a>>,
    /// Which of them each call is in; of several with one id the last.
    calls: HashMap<&'a str, usize>,
    quirks: &'a Quirks,
    /// Reasoning that waits for the message it led to: its text, and what a server needs back beside that.
    reasoning: String,
    reasoning_extra: Extra<'a>,
    reasoning_field: Option<&'a str>,
}

impl<'a> Conversation<'a> {
    fn add(&mut self, item: &'a ResponseItem, is_replayed: bool) -> Result<(), ApiError> {
        match item {
            ResponseItem::Message(message) if message.role == Role::Assistant => {
                self.add_answer(message)
            }
            ResponseItem::Message(message) => {
                self.place_reasoning();
                let role = match (&message.role, self.quirks.has_developer_role) {
                    (Role::Developer, false) => "system",
                    (role, _) => role.as_str(),
                };
                let content = message.content.as_ref().map(ChatContent::of).transpose()?;
                let message = Message {
                    role,
                    content: Some(content.unwrap_or(ChatContent::Text("".into()))),
                    extra: Extra::of(&message.extra),
                    ..Message::default()
                };
                match role {
                    TOOL => self.add_behind(self.messages.len().saturating_sub(1), message),
                    _ => self.messages.push(message),
                }
                Ok(())
            }
            ResponseItem::Reasoning(reasoning) => {
                let extra = self.extra_of_answer(&reasoning.extra);
                self.reasoning_extra.merge(extra);
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
                let function = Function {
                    name: &call.name,
                    arguments,
                };
                self.add_call(
                    &call.call_id,
                    CalledTool::Function { function },
                    &call.extra,
                )
            }
            ResponseItem::CustomToolCall(call) => {
                let custom = Custom {
                    name: &call.name,
                    input: &call.input,
                };
                self.add_call(&call.call_id, CalledTool::Custom { custom }, &call.extra)
            }
            ResponseItem::FunctionCallOutput(output) => {
                self.add_output(output.call_id.as_deref(), &output.output, &output.extra)
            }
            ResponseItem::CustomToolCallOutput(output) => {
                self.add_output(output.call_id.as_deref(), &output.output, &output.extra)
            }
            // What the server's own tools did, and what concerns the caller alone.
            ResponseItem::WebSearchCall(_)
            | ResponseItem::FileSearchCall(_)
            | ResponseItem::CodeInterpreterCall(_)
            | ResponseItem::ImageGenerationCall(_)
            | ResponseItem::McpListTools(_)
            | ResponseItem::McpCall(_)
            | ResponseItem::GhostSnapshot(_) => Ok(()),
            other => Err(no_item(other)),
        }
    }

    fn add_answer(&mut self, message: &'a MessageItem) -> Result<(), ApiError> {
        let mut extra = self.extra_of_answer(&message.extra);
        let (content, refusal) = match &message.content {
            Some(Content::Text(text)) => (ChatContent::Text(text.into()), String::new()),
            Some(Content::Parts(parts)) => {
                if !self.quirks.no_answer_extras {
                    parts.iter().for_each(|part| extra.merge(annotations(part)));
                }
                self.answer_content(parts)?
            }
            None => (ChatContent::Text("".into()), String::new()),
        };
        let has_content = !matches!(&content, ChatContent::Text(text) if text.is_empty());
        if !has_content && refusal.is_empty() && extra.is_empty() {
            return Ok(());
        }
        let answer = self.open_answer(false);
        match &mut answer.content {
            Some(before) if has_content => before.append(content),
            before @ None if has_content => *before = Some(content),
            _ => {}
        }
        append(&mut answer.refusal, &refusal);
        answer.extra.merge(extra);
        Ok(())
    }

    /// The text of an answer and its refusal; parts of both where one carries more than its words.
    fn answer_content(
        &self,
        parts: &'a [ContentPart],
    ) -> Result<(ChatContent<'a>, String), ApiError> {
        let parts: Vec<_> = parts
            .iter()
            .map(|part| self.answer_part(part))
            .collect::<Result<_, _>>()?;
        if parts.iter().any(|part| !part.extra.is_empty()) {
            return Ok((ChatContent::Parts(parts), String::new()));
        }
        // The parts of one answer are one text, and every server takes a string.
        let (mut text, mut refusal) = (String::new(), String::new());
        for part in parts {
            match part.form {
                PartForm::Refusal { refusal: piece } => refusal.push_str(piece),
                PartForm::Text { text: piece } => text.push_str(&piece),
                _ => {}
            }
        }
        Ok((ChatContent::Text(text.into()), refusal))
    }

    fn answer_part(&self, part: &'a ContentPart) -> Result<Part<'a>, ApiError> {
        let form = match (part, part.text()) {
            (_, Some(text)) => PartForm::Text { text: text.into() },
            (ContentPart::Refusal(part), None) => PartForm::Refusal {
                refusal: &part.refusal,
            },
            _ => return Err(no_part(part)),
        };
        let extra = part.extra().map(|extra| self.extra_of_answer(extra));
        Part::new(form, extra.unwrap_or_default())
    }

    /// What goes back of the fields that an item or a part of the model's holds besides.
    fn extra_of_answer(&self, extra: &'a Map<String, Value>) -> Extra<'a> {
        Extra::of_answer(extra, self.quirks.no_answer_extras)
    }

    fn add_call(
        &mut self,
        id: &'a str,
        tool: CalledTool<'a>,
        extra: &'a Map<String, Value>,
    ) -> Result<(), ApiError> {
        let extra = self.extra_of_answer(extra);
        extra.refuse_own(|name| matches!(name, "id" | "type" | "function" | "custom"))?;
        let call = Call { id, tool, extra };
        self.open_answer(true).tool_calls.push(call);
        self.calls.insert(id, self.messages.len() - 1);
        Ok(())
    }

    /// The assistant's message that goes on: the last one, for a call or where calls came before; else a new one.
    fn open_answer(&mut self, is_call: bool) -> &mut Message<'a> {
        let goes_on = self
            .messages
            .last()
            .is_some_and(|last| last.is_open_answer() && (is_call || !last.tool_calls.is_empty()));
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
        extra: &'a Map<String, Value>,
    ) -> Result<(), ApiError> {
        let Some(call_id) = call_id else {
            return Err(invalid("an output does not say which call it answers"));
        };
        self.place_reasoning();
        let output = Message {
            role: TOOL,
            content: Some(ChatContent::of_output(output)?),
            tool_call_id: Some(call_id),
            extra: Extra::of(extra),
            ..Message::default()
        };
        let call = self.calls.get(call_id).copied();
        let last = self.messages.len().saturating_sub(1);
        self.add_behind(call.unwrap_or(last), output);
        Ok(())
    }

    /// Adds the message of a tool behind this message and those of tools that follow it.
    fn add_behind(&mut self, position: usize, message: Message<'a>) {
        match self.messages.get_mut(position) {
            Some(before) => before.outputs.push(message),
            None => self.messages.push(message),
        }
    }

    /// All messages as they are sent.
    fn in_a_row(self) -> Vec<Message<'a>> {
        let outputs = self.messages.iter().map(|message| message.outputs.len());
        let mut row = Vec::with_capacity(self.messages.len() + outputs.sum::<usize>());
        for mut message in self.messages {
            let outputs = mem::take(&mut message.outputs);
            row.push(message);
            row.extend(outputs);
        }
        row
    }

    /// Gives the reasoning that waits to the last message, if that is the assistant's.
    fn place_reasoning(&mut self) {
        let text = mem::take(&mut self.reasoning);
        let extra = mem::take(&mut self.reasoning_extra);
        let last = self.messages.last_mut();
        let Some(last) = last.filter(|last| last.is_open_answer()) else {
            return;
        };
        last.extra.merge(extra);
        if let Some(field) = self.reasoning_field
            && !text.is_empty()
        {
            let (_, before) = last.reasoning.get_or_insert_with(|| (field, String::new()));
            append(before, &text);
        }
    }
}

fn no_item(item: &ResponseItem) -> ApiError {
    let kind = item.item_type().unwrap_or_else(|| "message".to_owned());
    let is_known = matches!(
        &*kind,
        "message"
            | "reasoning"
            | "function_call"
            | "function_call_output"
            | "custom_tool_call"
            | "custom_tool_call_output"
    );
    no_form(
        "an item",
        &kind,
        is_known && matches!(item, ResponseItem::Unknown(_)),
    )
}

/// What an answer's text refers to.
fn annotations(part: &ContentPart) -> Extra<'_> {
    match part {
        ContentPart::OutputText(part) => Extra::of_annotations(part.annotations.as_ref()),
        _ => Extra::default(),
    }
}
