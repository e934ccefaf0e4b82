//! A completion in one piece, made of its chunks.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A `chat.completion`, as far as its chunks have come: with all that they say, known or not, and each choice for itself.
///
/// ```
/// use actix_responses::wire::ChatCompletion;
/// use serde_json::json;
///
/// let mut completion = ChatCompletion::default();
/// completion.push(json!({"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "he"}}]}));
/// completion.push(json!({"choices": [{"index": 0, "delta": {"content": "llo"}, "finish_reason": "stop"}]}));
/// assert_eq!(completion.object()["choices"][0]["message"]["content"], "hello");
/// ```
#[derive(Clone, Debug, Default)]
pub struct ChatCompletion {
    members: Map<String, Value>,
    choices: BTreeMap<u64, Map<String, Value>>,
    error: Option<Value>,
}

impl ChatCompletion {
    /// Adds a chunk; what is no object says nothing.
    pub fn push(&mut self, chunk: Value) {
        let Value::Object(chunk) = chunk else {
            return;
        };
        for (name, value) in chunk {
            match (&*name, value) {
                ("choices", Value::Array(choices)) => {
                    choices
                        .into_iter()
                        .for_each(|choice| self.push_choice(choice));
                }
                ("error", error) if !error.is_null() => self.error = Some(error),
                ("object" | "error" | "obfuscation", _) | (_, Value::Null) => {}
                (_, value) => _ = self.members.insert(name, value),
            }
        }
    }

    /// What a chunk said that went wrong.
    pub fn error(&self) -> Option<&Value> {
        self.error.as_ref()
    }

    /// The completion as it stands. What no chunk said is not there, the usage for one, but for the members that every message has.
    pub fn object(&self) -> Value {
        let mut object = self.members.clone();
        let choices = self.choices.iter().map(|(index, choice)| {
            let mut choice = choice.clone();
            choice.insert("index".to_owned(), (*index).into());
            choice.entry("logprobs").or_insert(Value::Null);
            choice.entry("finish_reason").or_insert(Value::Null);
            if let Value::Object(message) = choice.entry("message").or_insert_with(|| json!({})) {
                finish(message);
            }
            Value::Object(choice)
        });
        object.insert("choices".to_owned(), choices.collect());
        object.insert("object".to_owned(), "chat.completion".into());
        object.into()
    }

    fn push_choice(&mut self, choice: Value) {
        let Value::Object(mut choice) = choice else {
            return;
        };
        let index = choice
            .get("index")
            .and_then(Value::as_u64)
            .unwrap_or_default();
        let known = self.choices.entry(index).or_default();
        let delta = choice.remove("delta").or_else(|| choice.remove("message"));
        if let Some(Value::Object(delta)) = delta {
            let message = known.entry("message").or_insert_with(|| json!({}));
            add_members(message, delta);
        }
        if let Some(Value::Object(probabilities)) = choice.remove("logprobs") {
            let all = known.entry("logprobs").or_insert_with(|| json!({}));
            add_members(all, probabilities);
        }
        choice.retain(|_, value| !value.is_null());
        known.extend(choice);
    }
}

/// What every message has, and what only deltas have.
fn finish(message: &mut Map<String, Value>) {
    message.entry("role").or_insert_with(|| "assistant".into());
    message.entry("refusal").or_insert(Value::Null);
    let has_calls = message.contains_key("tool_calls") || message.contains_key("function_call");
    let content = message.entry("content").or_insert(Value::Null);
    if has_calls && content == "" {
        *content = Value::Null;
    }
    if let Some(Value::Array(calls)) = message.get_mut("tool_calls") {
        let calls = calls.iter_mut().filter_map(Value::as_object_mut);
        calls.for_each(|call| _ = call.remove("index"));
    }
}

/// Members that say what something is; repeated, they say it again.
const NAMES: [&str; 5] = ["role", "id", "type", "index", "format"];

/// Adds a delta to what is known: texts and lists go on, calls by their index; the rest replaces.
fn add_members(known: &mut Value, delta: Map<String, Value>) {
    let Value::Object(known) = known else {
        return;
    };
    for (name, value) in delta {
        match (known.get_mut(&name), value) {
            (_, Value::Null) => {}
            // A name that comes again with each piece is no longer one.
            (Some(Value::String(text)), Value::String(more))
                if !NAMES.contains(&&*name) && (name != "name" || *text != more) =>
            {
                text.push_str(&more);
            }
            (Some(Value::Array(list)), Value::Array(more)) => {
                more.into_iter()
                    .for_each(|element| add_element(list, element));
            }
            (Some(object @ Value::Object(_)), Value::Object(more)) => add_members(object, more),
            (None, Value::Array(more)) => {
                let mut list = Vec::new();
                more.into_iter()
                    .for_each(|element| add_element(&mut list, element));
                known.insert(name, list.into());
            }
            (_, value) => _ = known.insert(name, value),
        }
    }
}

fn add_element(list: &mut Vec<Value>, element: Value) {
    let index = element.get("index").filter(|index| index.is_u64());
    let known = index.and_then(|index| {
        list.iter_mut()
            .find(|known| known.get("index") == Some(index))
    });
    match (known, element) {
        (Some(known), Value::Object(more)) => add_members(known, more),
        (_, element) => list.push(element),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_kept_apart_and_a_name_that_comes_again_is_no_longer_one() {
        let mut completion = ChatCompletion::default();
        for (index, delta) in [
            (0, json!({"content": "a"})),
            (1, json!({"content": "x"})),
            (0, json!({"content": "b"})),
            (
                1,
                json!({"tool_calls": [{"index": 0, "id": "i", "function": {"name": "f", "arguments": "{"}}]}),
            ),
            (
                1,
                json!({"tool_calls": [{"index": 0, "id": "i", "function": {"name": "f", "arguments": "}"}}]}),
            ),
        ] {
            completion.push(json!({"choices": [{"index": index, "delta": delta}]}));
        }
        let object = completion.object();
        assert_eq!(object["choices"][0]["message"]["content"], "ab");
        assert_eq!(object["choices"][1]["message"]["content"], "x");
        let call = json!({"id": "i", "function": {"name": "f", "arguments": "{}"}});
        assert_eq!(object["choices"][1]["message"]["tool_calls"], json!([call]));
        assert_eq!(object.get("usage"), None);
    }
}
