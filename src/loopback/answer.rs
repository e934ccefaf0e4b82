//! What the provider says by default: the same content whichever API asks for it.
//!
//! A [`DefaultAnswer`] is made from a request alone, so that the same request always gets the same words. The encoders of
//! [`wire`](crate::wire) write it down.

use std::mem;

use serde_json::{Value, json};

use super::{
    asked::{Asked, json_bytes, name, shortened},
    event::OutgoingEvent,
    example::example,
};
use crate::{
    protocol::{
        Completed, Created, Incomplete, OutputItem, ReasoningDelta, ResponseEvent, TextDelta,
        TokenUsage, ToolCallInput, ToolCallInputDelta,
    },
    wire::{EncoderOptions, StreamEncoder, Wire},
};

/// The time at which an answer was made that is not to depend on the clock: 2023-11-14T22:13:20Z.
pub(super) const CREATED_AT: u64 = 1_700_000_000;
/// The model that answers a request which names none, and the one that `GET /models` lists.
pub(super) const MODEL: &str = "loopback";

/// The default answer to one request, in the pieces in which it is streamed.
///
/// Every part may be changed before it is written down, for instance to make a stream of a million deltas:
///
/// ```
/// use actix_responses::loopback::DefaultAnswer;
/// use serde_json::json;
///
/// let mut answer = DefaultAnswer::to_request(&json!({"model": "m", "input": "hello", "stream": true}), 1);
/// answer.text = vec!["word ".to_owned(); 1_000];
/// let deltas = answer.responses_events().iter().filter(|event| event.data.contains("word ")).count();
/// // 1000 deltas, and the whole text in the two "done" events, the item and the response.
/// assert_eq!(deltas, 1_004);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct DefaultAnswer {
    /// The request's number at its server; the ids in the answer end in it.
    pub number: u64,
    /// What the ids have before the number, so that those of two servers differ; empty unless a server made the answer.
    pub run: String,
    /// When the answer was made, in seconds of Unix time; a fixed time unless a server made the answer.
    pub created_at: u64,
    /// The model the request asked for.
    pub model: String,
    /// The deltas of the reasoning summary; without any, there is no reasoning.
    pub reasoning: Vec<String>,
    /// The deltas of the text; without any, there is no message. Where the request wants JSON, or JSON of a schema, it is that.
    pub text: Vec<String>,
    /// The function that is called, when `tool_choice` asks for one that is offered. Never in answer to the result of a call: a
    /// program that calls in a loop comes to an end.
    pub tool_call: Option<AnsweredCall>,
    /// How many tokens the request is said to have: a quarter of its bytes.
    pub input_tokens: u64,
    pub(super) asked: Asked,
}

/// The function call in a [`DefaultAnswer`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AnsweredCall {
    /// A function that the request offers.
    pub name: String,
    /// The deltas of the arguments; together they are JSON that fits the function's parameters.
    pub arguments: Vec<String>,
}

impl DefaultAnswer {
    /// Makes up the answer to a request of the Responses or the Chat Completions API.
    pub fn to_request(request: &Value, number: u64) -> Self {
        Self::calling(request, number, false)
    }

    /// The same; a function is called, if wanted, also where `tool_choice` leaves it open.
    pub(super) fn calling(request: &Value, number: u64, calls: bool) -> Self {
        let messages = if request["messages"].is_array() {
            &request["messages"]
        } else {
            &request["input"]
        };
        let result = tool_result(messages);
        let opening = match (&result, last_user_text(messages)) {
            (Some(Some(result)), _) => format!("The tool answered: \u{201c}{result}\u{201d}."),
            (_, Some(text)) => format!("You said: \u{201c}{text}\u{201d}."),
            (_, None) => "You sent no text.".to_owned(),
        };
        let text = format!(
            "{opening} This answer comes from the embedded provider, which runs inside this process and calls no \
             model, so the same prompt always gets the same words."
        );
        let reasoning = "**Reading the prompt**\n\nThe prompt needs no model: the answer repeats it, and a function is \
                         called when the request asks for that.";
        let call = asked_function(request, calls).filter(|_| result.is_none());
        Self {
            number,
            run: String::new(),
            created_at: CREATED_AT,
            model: name(&request["model"]).unwrap_or(MODEL).to_owned(),
            reasoning: groups_of_words(reasoning, 4),
            text: match wanted_json(request, &opening) {
                Some(value) => groups_of_chars(&value.to_string(), 8),
                None => groups_of_words(&text, 2),
            },
            tool_call: call.map(|(name, parameters)| AnsweredCall {
                name: name.to_owned(),
                arguments: groups_of_chars(&example(parameters).to_string(), 8),
            }),
            input_tokens: json_bytes(messages).div_ceil(4) as u64,
            asked: Asked::by(request),
        }
    }

    /// Writes the answer down as the events of a response: reasoning, then the message, then the function call.
    ///
    /// A request that ends in a `compaction_trigger` item gets a single compaction item.
    pub fn responses_events(&self) -> Vec<OutgoingEvent> {
        self.written(Wire::Responses, usize::MAX).0
    }

    /// Writes the answer down as the response object that ends the stream, and that a request without a stream gets.
    pub fn response(&self) -> Value {
        self.written(Wire::Responses, usize::MAX).1
    }

    /// Writes the answer down as the chunks of a chat completion: reasoning, then content, then the function call in
    /// pieces, then the reason to finish, the usage if the request asks for it, and `[DONE]`.
    pub fn chat_events(&self) -> Vec<OutgoingEvent> {
        self.written(Wire::Chat, usize::MAX).0
    }

    /// Writes the answer down as the object that a request without a stream gets.
    pub fn chat_completion(&self) -> Value {
        self.written(Wire::Chat, usize::MAX).1
    }

    /// Writes at least so many events, if there are, and the object as it stands then.
    pub(super) fn written(&self, wire: Wire, least: usize) -> (Vec<OutgoingEvent>, Value) {
        let mut encoder = self.encoder(wire);
        let (mut events, mut written) = (Vec::new(), Vec::new());
        self.tell(|event| {
            if events.len() < least {
                encoder.push(&event, &mut written);
                let blocks = String::from_utf8_lossy(&written);
                events.extend(blocks.split_terminator("\n\n").map(OutgoingEvent::of_block));
                written.clear();
            }
        });
        (events, encoder.object())
    }

    fn encoder(&self, wire: Wire) -> StreamEncoder {
        let id = match wire {
            Wire::Responses => self.id("resp"),
            Wire::Chat => self.id("chatcmpl"),
        };
        let options = EncoderOptions::default()
            .with_id(id)
            .with_model(&*self.model)
            .with_created_at(self.created_at)
            .with_request(self.asked.repeated.clone())
            .with_include_usage(self.asked.wants_usage);
        StreamEncoder::new(wire, options)
    }

    /// Tells the events of the answer, up to the number of tokens that the request allows; a delta is one.
    fn tell(&self, mut say: impl FnMut(ResponseEvent)) {
        say(ResponseEvent::Created(Created::default()));
        let mut left = self.asked.max_tokens.unwrap_or(u64::MAX);
        for (index, (item, deltas)) in (0..).zip(self.items()) {
            let kind = item["type"].clone();
            let item = OutputItem::new(Some(index), item.into());
            say(ResponseEvent::OutputItemAdded(item.clone()));
            for delta in deltas {
                let Some(rest) = left.checked_sub(1) else {
                    let end = Incomplete {
                        reason: "max_output_tokens".into(),
                        token_usage: Some(self.usage()),
                        ..Incomplete::default()
                    };
                    return say(ResponseEvent::Incomplete(end.into()));
                };
                left = rest;
                say(delta_of(kind.as_str(), index, delta));
            }
            say(ResponseEvent::OutputItemDone(item));
        }
        let end = Completed {
            token_usage: Some(self.usage()),
            ..Completed::default()
        };
        say(ResponseEvent::Completed(end.into()));
    }

    /// The items of the answer in their final forms, each with its deltas.
    fn items(&self) -> Vec<(Value, &[String])> {
        if self.is_compaction() {
            return vec![(self.compaction_item(), &[])];
        }
        let mut items = Vec::new();
        if !self.reasoning.is_empty() {
            let summary = json!([{"type": "summary_text", "text": self.reasoning.concat()}]);
            let mut item = json!({"id": self.id("rs"), "type": "reasoning", "summary": summary});
            if self.asked.wants_encrypted {
                item["encrypted_content"] = format!("loopback-reasoning-{}", self.number).into();
            }
            items.push((item, &*self.reasoning));
        }
        if !self.text.is_empty() {
            let content = json!([{"type": "output_text", "annotations": [], "logprobs": [], "text": self.text.concat()}]);
            let item = json!({"id": self.id("msg"), "type": "message", "status": "completed", "role": "assistant", "content": content});
            items.push((item, &self.text));
        }
        if let Some(call) = &self.tool_call {
            let item = json!({"id": self.id("fc"), "type": "function_call", "status": "completed", "call_id": self.id("call"),
                "name": call.name, "arguments": call.arguments.concat()});
            items.push((item, &call.arguments));
        }
        items
    }

    /// What the answer is said to cost: one token a delta.
    pub(super) fn usage(&self) -> TokenUsage {
        let limit = self.asked.max_tokens.unwrap_or(u64::MAX);
        let items = self.items();
        let deltas: usize = items.iter().map(|(_, deltas)| deltas.len()).sum();
        let output_tokens = limit.min(deltas as u64);
        TokenUsage {
            input_tokens: self.input_tokens,
            output_tokens,
            reasoning_output_tokens: output_tokens.min(self.reasoning.len() as u64),
            total_tokens: self.input_tokens + output_tokens,
            ..TokenUsage::default()
        }
    }

    /// An id of this answer; the prefix says of what.
    pub(super) fn id(&self, prefix: &str) -> String {
        format!("{prefix}_loopback_{}{}", self.run, self.number)
    }
}

fn delta_of(kind: Option<&str>, index: u32, delta: &str) -> ResponseEvent {
    match kind {
        Some("reasoning") => {
            let mut event = ReasoningDelta::new(0, delta);
            event.output_index = Some(index);
            ResponseEvent::ReasoningSummaryDelta(event)
        }
        Some("function_call") => {
            let mut event = ToolCallInputDelta::new(ToolCallInput::FunctionArguments, delta);
            event.output_index = Some(index);
            ResponseEvent::ToolCallInputDelta(event)
        }
        _ => {
            let mut event = TextDelta::new(delta);
            event.output_index = Some(index);
            ResponseEvent::OutputTextDelta(event)
        }
    }
}

/// The first function that is offered and that `tool_choice` asks for, or allows, if `calls`; with its parameters.
fn asked_function(request: &Value, calls: bool) -> Option<(&str, &Value)> {
    let choice = &request["tool_choice"];
    let allowed = inner(choice, "allowed_tools");
    let kind = choice.as_str().or(choice["type"].as_str());
    let is_asked = match kind {
        Some("required" | "any" | "function") => true,
        Some("allowed_tools") => calls || allowed["mode"] == "required",
        Some("auto") | None => calls,
        Some(_) => false,
    };
    let names: Option<Vec<&Value>> = match kind {
        Some("function") => Some(vec![&inner(choice, "function")["name"]]),
        Some("allowed_tools") => {
            let tools = allowed["tools"].as_array().into_iter().flatten();
            Some(tools.map(|tool| &inner(tool, "function")["name"]).collect())
        }
        _ => None,
    };
    let tools = request["tools"].as_array().filter(|_| is_asked)?;
    let functions = tools.iter().filter(|tool| tool["type"] == "function");
    functions
        .map(|tool| inner(tool, "function"))
        .filter(|function| {
            names
                .as_ref()
                .is_none_or(|names| names.contains(&&function["name"]))
        })
        .find_map(|function| Some((name(&function["name"])?, &function["parameters"])))
}

/// The Chat Completions API puts what is of a kind into an object of its own.
fn inner<'a>(value: &'a Value, kind: &str) -> &'a Value {
    value.get(kind).unwrap_or(value)
}

/// What the text is to be where the request wants JSON.
fn wanted_json(request: &Value, opening: &str) -> Option<Value> {
    let format = match &request["response_format"] {
        Value::Null => &request["text"]["format"],
        format => format,
    };
    match format["type"].as_str()? {
        "json_schema" => Some(example(&inner(format, "json_schema")["schema"])),
        "json_object" => Some(json!({"answer": opening})),
        _ => None,
    }
}

/// The beginning of the last thing the user said.
fn last_user_text(messages: &Value) -> Option<String> {
    if messages.is_string() {
        return shortened(messages);
    }
    let messages = messages.as_array()?;
    let of_user = messages
        .iter()
        .rev()
        .find(|message| message["role"] == "user")?;
    shortened(&of_user["content"])
}

/// Whether a tool has answered since the user's last words, and the beginning of what it said. A compaction may stand for that.
fn tool_result(messages: &Value) -> Option<Option<String>> {
    let since = messages.as_array()?.iter().rev();
    since
        .take_while(|item| item["role"] != "user")
        .find_map(|item| match item["type"].as_str() {
            _ if item["role"] == "tool" => {
                Some(Some(shortened(&item["content"]).unwrap_or_default()))
            }
            Some("compaction") => Some(None),
            Some(kind) if kind.ends_with("_output") => {
                Some(Some(shortened(&item["output"]).unwrap_or_default()))
            }
            _ => None,
        })
}

/// Splits a text into groups of words; what separates two words leads the second, as it does in real streams.
fn groups_of_words(text: &str, words: usize) -> Vec<String> {
    let mut is_in_word = false;
    let ends = text.char_indices().filter(|(_, character)| {
        let was_in_word = mem::replace(&mut is_in_word, !character.is_whitespace());
        was_in_word && !is_in_word
    });
    let ends = ends.skip(words - 1).step_by(words).map(|(end, _)| end);
    let mut start = 0;
    let groups = ends.chain([text.len()]).map(|end| {
        let group = &text[mem::replace(&mut start, end)..end];
        group.to_owned()
    });
    groups.collect()
}

fn groups_of_chars(text: &str, chars: usize) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters
        .chunks(chars)
        .map(|group| group.iter().collect())
        .collect()
}

#[cfg(test)]
mod tests;
