//! What the provider says by default: the same content whichever API asks for it.
//!
//! A [`DefaultAnswer`] is made from a request alone, so that the same request always gets the same words. How it looks
//! on the wire is in `answer_responses.rs` and `answer_chat.rs`.

use serde_json::{Map, Value, json};

use super::asked::{Asked, json_bytes, shortened};

/// The time at which every answer was made: 2023-11-14T22:13:20Z, so that answers do not depend on the clock.
pub(super) const CREATED_AT: u64 = 1_700_000_000;
/// The model that answers a request which names none, and the one that `GET /models` lists.
pub(super) const MODEL: &str = "loopback";
/// The function that is called when the request offers none.
const BUILT_IN_TOOL: &str = "lookup_weather";
/// The most bytes of a name of the request's that an answer repeats, of a model or of a function. Each event may hold it.
const MAX_NAME_BYTES: usize = 256;
/// The most bytes of arguments that are made up.
const MAX_ARGUMENTS_BYTES: usize = 64 << 10;
/// How deep a tool's schema is followed to make up arguments.
const MAX_SCHEMA_DEPTH: usize = 4;
/// The most members of an object that arguments are made up for.
const MAX_ARGUMENTS: usize = 16;

/// The default answer to one request, in the pieces in which it is streamed.
///
/// Every part may be changed before it is written down, for instance to make a stream of a million deltas:
///
/// ```
/// use actix_responses::loopback::DefaultAnswer;
/// use serde_json::json;
///
/// let mut answer = DefaultAnswer::to_request(&json!({"model": "m", "input": "hello", "stream": true}), 1);
/// answer.tool_call = None;
/// answer.text = vec!["word ".to_owned(); 1_000];
/// let deltas = answer.responses_events().iter().filter(|event| event.data.contains("word ")).count();
/// // 1000 deltas, and the whole text in the two "done" events, the item and the response.
/// assert_eq!(deltas, 1_004);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct DefaultAnswer {
    /// The request's number at its server; the ids in the answer end in it.
    pub number: u64,
    /// The model the request asked for.
    pub model: String,
    /// The deltas of the reasoning summary; without any, there is no reasoning.
    pub reasoning: Vec<String>,
    /// The function that is called. There is none when the request forbids calls (`tool_choice: "none"`), or brings
    /// the result of one: a program that calls in a loop comes to an end.
    pub tool_call: Option<AnsweredCall>,
    /// The deltas of the text; without any, there is no message.
    pub text: Vec<String>,
    /// How many tokens the request is said to have: a quarter of its bytes.
    pub input_tokens: u64,
    pub(super) asked: Asked,
}

/// The function call in a [`DefaultAnswer`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AnsweredCall {
    /// The first function that the request offers, or else `lookup_weather`, which exists nowhere.
    pub name: String,
    /// The deltas of the arguments; together they are JSON that fits the function's parameters.
    pub arguments: Vec<String>,
}

impl DefaultAnswer {
    /// Makes up the answer to a request of the Responses or the Chat Completions API.
    pub fn to_request(request: &Value, number: u64) -> Self {
        let messages = if request["messages"].is_array() {
            &request["messages"]
        } else {
            &request["input"]
        };
        let result = tool_result(messages);
        let opening = match (&result, last_user_text(messages)) {
            (Some(result), _) => format!("The tool answered: \u{201c}{result}\u{201d}."),
            (None, Some(text)) => format!("You said: \u{201c}{text}\u{201d}."),
            (None, None) => "You sent no text.".to_owned(),
        };
        let text = format!(
            "{opening} This answer comes from the embedded provider, which runs inside this process and calls no \
             model, so the same prompt always gets the same words."
        );
        let reasoning = "**Reading the prompt**\n\nThe prompt needs no model: a tool call shows what a call looks \
                         like, and the answer repeats the prompt.";
        let calls = result.is_none() && request["tool_choice"] != "none";
        Self {
            number,
            model: name(&request["model"]).unwrap_or(MODEL).to_owned(),
            reasoning: groups_of_words(reasoning, 4),
            tool_call: calls.then(|| AnsweredCall::to_tools(&request["tools"])),
            text: groups_of_words(&text, 2),
            input_tokens: json_bytes(messages).div_ceil(4) as u64,
            asked: Asked::by(request),
        }
    }

    /// How many tokens the reasoning is said to have: one a delta.
    pub(super) fn reasoning_tokens(&self) -> u64 {
        self.reasoning.len() as u64
    }

    /// How many tokens the answer is said to have: one a delta.
    pub(super) fn output_tokens(&self) -> u64 {
        let arguments = self
            .tool_call
            .as_ref()
            .map_or(0, |call| call.arguments.len());
        self.reasoning_tokens() + (self.text.len() + arguments) as u64
    }
}

impl AnsweredCall {
    fn to_tools(tools: &Value) -> Self {
        let functions = tools.as_array().into_iter().flatten();
        // The Chat Completions API puts the function into an object of its own.
        let (name, parameters) = functions
            .filter(|tool| tool["type"] == "function")
            .map(|tool| tool.get("function").unwrap_or(tool))
            .find_map(|function| Some((name(&function["name"])?, &function["parameters"])))
            .map_or_else(
                || (BUILT_IN_TOOL, json!({"city": "Paris", "unit": "celsius"})),
                |(name, parameters)| (name, example(parameters, MAX_SCHEMA_DEPTH)),
            );
        let parameters = match json_bytes(&parameters) {
            ..=MAX_ARGUMENTS_BYTES => parameters,
            _ => json!({}),
        };
        Self {
            name: name.to_owned(),
            arguments: groups_of_chars(&parameters.to_string(), 8),
        }
    }
}

/// Makes up a value for a JSON schema; an object for one it does not understand.
fn example(schema: &Value, depth: usize) -> Value {
    let first = schema["enum"].get(0);
    if let Some(first) = first.filter(|first| json_bytes(first) <= MAX_ARGUMENTS_BYTES) {
        return first.clone();
    }
    let kind = match &schema["type"] {
        // `["string", "null"]` is how strict schemas write an optional value.
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match kind {
        Some("string") => json!("example"),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        Some("array") if depth == 0 => json!([]),
        Some("array") => json!([example(&schema["items"], depth - 1)]),
        _ if depth == 0 => json!({}),
        _ => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            let members: Map<_, _> = properties
                .filter(|(name, _)| name.len() <= MAX_NAME_BYTES)
                .take(MAX_ARGUMENTS)
                .map(|(name, schema)| (name.clone(), example(schema, depth - 1)))
                .collect();
            Value::Object(members)
        }
    }
}

/// A name, unless it is too long to be repeated.
fn name(value: &Value) -> Option<&str> {
    value.as_str().filter(|name| name.len() <= MAX_NAME_BYTES)
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

/// The beginning of the result of a tool, if the request ends in one.
fn tool_result(messages: &Value) -> Option<String> {
    let last = messages.as_array()?.last()?;
    if last["role"] == "tool" {
        return Some(shortened(&last["content"]).unwrap_or_default());
    }
    match last["type"].as_str()? {
        "function_call_output" | "custom_tool_call_output" => {
            Some(shortened(&last["output"]).unwrap_or_default())
        }
        _ => None,
    }
}

/// Splits a text into groups of words; what separates two words leads the second, as it does in real streams.
fn groups_of_words(text: &str, words: usize) -> Vec<String> {
    let mut groups: Vec<String> = Vec::new();
    let mut words_in_last = words;
    let mut rest = text;
    while !rest.is_empty() {
        let word_end = rest
            .find(|character: char| !character.is_whitespace())
            .and_then(|start| Some(start + rest[start..].find(char::is_whitespace)?))
            .unwrap_or(rest.len());
        let (word, behind) = rest.split_at(word_end);
        match groups.last_mut() {
            Some(group) if words_in_last < words => {
                group.push_str(word);
                words_in_last += 1;
            }
            _ => {
                groups.push(word.to_owned());
                words_in_last = 1;
            }
        }
        rest = behind;
    }
    groups
}

fn groups_of_chars(text: &str, chars: usize) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters
        .chunks(chars)
        .map(|group| group.iter().collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_repeats_the_last_words_of_the_user() {
        let part = json!([{"type": "input_text", "text": "second"}, {"type": "input_image"}]);
        for (request, said) in [
            (json!({"input": "only"}), "You said: “only”."),
            (
                json!({"input": [{"role": "user", "content": "first"}, {"role": "user", "content": part}]}),
                "You said: “second”.",
            ),
            (
                json!({"messages": [{"role": "user", "content": "chat"}]}),
                "You said: “chat”.",
            ),
            (
                json!({"messages": [{"role": "user", "content": "chat"}, {"role": "tool", "content": "21 C"}]}),
                "The tool answered: “21 C”.",
            ),
            (
                json!({"input": [{"type": "function_call_output", "output": "21 C"}]}),
                "The tool answered: “21 C”.",
            ),
            (
                json!({"input": [{"role": "user", "content": []}]}),
                "You sent no text.",
            ),
            (json!("no request"), "You sent no text."),
        ] {
            let text = DefaultAnswer::to_request(&request, 1).text.concat();
            assert!(text.starts_with(&format!("{said} This answer")), "{text}");
        }
    }

    #[test]
    fn a_long_prompt_is_repeated_in_part() {
        let prompt = "wörds and\n spaces ".repeat(1_000);
        let answer = DefaultAnswer::to_request(&json!({"input": prompt}), 1);
        assert!(answer.text.concat().starts_with(
            "You said: “wörds and spaces wörds and spaces wörds and spaces wörds and…”."
        ));
        assert!(
            (10..=20).contains(&answer.text.len()),
            "{} deltas",
            answer.text.len()
        );
    }

    #[test]
    fn the_first_function_offered_is_called_with_arguments_that_fit() {
        let parameters = json!({"type": "object", "properties": {
            "city": {"type": "string"},
            "days": {"type": ["integer", "null"]},
            "unit": {"enum": ["kelvin"]},
            "where": {"type": "array", "items": {"type": "object", "properties": {"on": {"type": "boolean"}}}},
        }});
        let arguments = r#"{"city":"example","days":1,"unit":"kelvin","where":[{"on":true}]}"#;
        for tools in [
            json!([{"type": "web_search"}, {"type": "function", "name": "f", "parameters": parameters}]),
            json!([{"type": "function", "function": {"name": "f", "parameters": parameters}}]),
        ] {
            let call = DefaultAnswer::to_request(&json!({"tools": tools}), 1)
                .tool_call
                .unwrap();
            assert_eq!(
                (call.name.as_str(), call.arguments.concat().as_str()),
                ("f", arguments)
            );
            assert!(call.arguments.len() > 1);
        }
    }

    #[test]
    fn without_tools_the_built_in_function_is_called() {
        let call = DefaultAnswer::to_request(&json!({"input": "hi"}), 1)
            .tool_call
            .unwrap();
        assert_eq!(call.name, BUILT_IN_TOOL);
        assert_eq!(
            call.arguments.concat(),
            r#"{"city":"Paris","unit":"celsius"}"#
        );
    }

    #[test]
    fn nothing_is_called_when_that_is_forbidden_or_has_been_done() {
        for request in [
            json!({"input": "hi", "tool_choice": "none"}),
            json!({"messages": [{"role": "tool", "content": "21 C"}]}),
        ] {
            assert_eq!(DefaultAnswer::to_request(&request, 1).tool_call, None);
        }
    }

    #[test]
    fn a_schema_that_goes_on_forever_is_cut_off() {
        let mut schema = json!({"type": "string"});
        for _ in 0..50 {
            schema = json!({"type": "object", "properties": {"deeper": schema}});
        }
        let deepest = r#"{"deeper":{"deeper":{"deeper":{"deeper":{}}}}}"#;
        assert_eq!(example(&schema, MAX_SCHEMA_DEPTH).to_string(), deepest);
    }

    #[test]
    fn groups_of_words_lose_nothing() {
        for text in [
            "",
            " ",
            "one",
            " one  two\n\nthree ",
            "one two three four five",
        ] {
            assert_eq!(groups_of_words(text, 2).concat(), text);
        }
    }
}
