//! An answer in one piece, for clients that asked for no stream: made from the blocks that a stream would have been.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, HttpResponseBuilder, http::StatusCode};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::{Map, Value, json, value::RawValue};

use super::{
    answers::Reader,
    block::{self, Event},
    pump::Form,
};
use crate::wire::Wire;

/// Reads an answer to its end. A failure is a status with OpenAI's error envelope.
pub(super) async fn respond(
    mut reader: Reader,
    wire: Wire,
    form: Form,
    mut response: HttpResponseBuilder,
) -> HttpResponse {
    let mut whole = match wire {
        Wire::Chat => Whole::Chat(Completion::default()),
        _ => Whole::Responses(Object::default()),
    };
    while let Some(batch) = reader.next().await {
        let Ok(batch) = batch else {
            return refused(
                response,
                &json!({"code": "server_error", "message": "the answer is not kept any longer"}),
            );
        };
        for block in &batch.blocks {
            whole.push(block);
        }
    }
    match whole.finish() {
        Ok(body) if form == Form::Compaction => response.json(compaction(&body)),
        Ok(body) => response.content_type("application/json").body(body),
        Err(error) => refused(response, &error),
    }
}

/// What a response says as the answer to a request for a compaction.
fn compaction(response: &str) -> Value {
    let mut members: Map<String, Value> = serde_json::from_str(response).unwrap_or_default();
    members.retain(|name, _| matches!(&**name, "id" | "created_at" | "output" | "usage"));
    members.insert("object".to_owned(), "response.compaction".into());
    members.into()
}

/// The answer in the background has begun: its object as it stands.
pub(super) async fn begun(mut reader: Reader, mut response: HttpResponseBuilder) -> HttpResponse {
    while let Some(Ok(batch)) = reader.next().await {
        for block in &batch.blocks {
            let data = block::data(block);
            if let Some(object) = Event::read(&data).response {
                let object = object.get().to_owned();
                return response.content_type("application/json").body(object);
            }
        }
    }
    let error = json!({"code": "server_error", "message": "the server named no response"});
    refused(response, &error)
}

fn refused(mut response: HttpResponseBuilder, error: &Value) -> HttpResponse {
    let code = error["code"].as_str().unwrap_or("server_error");
    let status = match code {
        "rate_limit_exceeded" | "insufficient_quota" => StatusCode::TOO_MANY_REQUESTS,
        "context_length_exceeded" | "invalid_prompt" => StatusCode::BAD_REQUEST,
        "server_shutting_down" | "server_is_overloaded" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    };
    let kind = error["type"].as_str().unwrap_or(code);
    let message = &error["message"];
    response
        .status(status)
        .insert_header(("x-should-retry", "false"))
        .json(json!({"error": {"message": message, "type": kind, "param": error["param"], "code": code}}))
}

enum Whole {
    Responses(Object),
    Chat(Completion),
}

impl Whole {
    fn push(&mut self, block: &Bytes) {
        let data = block::data(block);
        match self {
            Self::Responses(object) => object.push(&data),
            Self::Chat(completion) => completion.push(&data),
        }
    }

    fn finish(self) -> Result<String, Value> {
        match self {
            Self::Responses(object) => object.finish(),
            Self::Chat(completion) => completion.finish(),
        }
    }
}

/// The closing response object.
#[derive(Default)]
struct Object {
    end: Option<(String, String)>,
    /// The items that were done, for a server that leaves them out of its closing object.
    items: BTreeMap<u64, Box<RawValue>>,
}

impl Object {
    fn push(&mut self, data: &[u8]) {
        let event = Event::read(data);
        match (event.kind(), event.response, event.item) {
            (
                kind @ ("response.completed"
                | "response.incomplete"
                | "response.failed"
                | "response.cancelled"
                | "response.done"),
                Some(response),
                _,
            ) => self.end = Some((kind.to_owned(), response.get().to_owned())),
            ("response.output_item.done", _, Some(item)) => {
                let next = self.items.len() as u64;
                self.items
                    .insert(event.output_index.unwrap_or(next), item.to_owned());
            }
            _ => {}
        }
    }

    fn finish(self) -> Result<String, Value> {
        let Some((kind, object)) = self.end else {
            return Err(
                json!({"code": "server_error", "message": "the server's stream ended before its answer had"}),
            );
        };
        let parsed: Result<Map<String, Value>, _> = serde_json::from_str(&object);
        let Ok(mut members) = parsed else {
            return Ok(object);
        };
        if kind == "response.failed" {
            return Err(members.remove("error").unwrap_or_default());
        }
        let is_empty = members
            .get("output")
            .is_none_or(|output| output.as_array().is_some_and(Vec::is_empty));
        if !is_empty || self.items.is_empty() {
            return Ok(object);
        }
        let items = self.items.values();
        let items = items.filter_map(|item| serde_json::from_str::<Value>(item.get()).ok());
        members.insert("output".to_owned(), items.collect());
        Ok(Value::from(members).to_string())
    }
}

/// A `chat.completion`, from its chunks.
#[derive(Default)]
struct Completion {
    members: Map<String, Value>,
    choices: BTreeMap<u64, Map<String, Value>>,
    error: Option<Value>,
}

impl Completion {
    fn push(&mut self, data: &[u8]) {
        let Ok(Value::Object(chunk)) = serde_json::from_slice(data) else {
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

    fn finish(mut self) -> Result<String, Value> {
        if let Some(error) = self.error {
            return Err(match error {
                Value::String(message) => json!({"message": message}),
                error => error,
            });
        }
        let choices = self.choices.into_iter().map(|(index, mut choice)| {
            choice.insert("index".to_owned(), index.into());
            choice.entry("logprobs").or_insert(Value::Null);
            choice.entry("finish_reason").or_insert(Value::Null);
            let message = choice.entry("message").or_insert_with(|| json!({}));
            if let Value::Object(message) = message {
                message.entry("role").or_insert_with(|| "assistant".into());
                message.entry("content").or_insert(Value::Null);
                message.entry("refusal").or_insert(Value::Null);
                if let Some(Value::Array(calls)) = message.get_mut("tool_calls") {
                    calls
                        .iter_mut()
                        .filter_map(Value::as_object_mut)
                        .for_each(|call| {
                            call.remove("index");
                        });
                }
            }
            Value::Object(choice)
        });
        let choices = choices.collect();
        self.members.insert("choices".to_owned(), choices);
        self.members
            .insert("object".to_owned(), "chat.completion".into());
        Ok(Value::from(self.members).to_string())
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
            (Some(Value::String(text)), Value::String(more)) if !NAMES.contains(&&*name) => {
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
