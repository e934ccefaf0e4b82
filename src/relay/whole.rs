//! An answer in one piece, for clients that asked for no stream: made from the blocks that a stream would have been.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, HttpResponseBuilder, http::StatusCode};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::{
    answers::{ReadError, Reader},
    block::{self, Event},
    ending, failure,
    pump::Form,
};
use crate::wire::{ChatCompletion, Wire};

/// Reads an answer to its end. A failure is a status with OpenAI's error envelope.
pub(super) async fn respond(
    mut reader: Reader,
    wire: Wire,
    form: Form,
    mut response: HttpResponseBuilder,
) -> HttpResponse {
    let mut whole = match wire {
        Wire::Chat => Whole::Chat(ChatCompletion::default()),
        _ => Whole::Responses(Object::default()),
    };
    while let Some(batch) = reader.next().await {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return unread(response, error),
        };
        for block in batch.blocks() {
            whole.push(&block);
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
    while let Some(batch) = reader.next().await {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return unread(response, error),
        };
        for block in batch.blocks() {
            let data = block::data(&block);
            if let Some(object) = Event::read(&data).response {
                let object = object.get().to_owned();
                return response.content_type("application/json").body(object);
            }
        }
    }
    let error = json!({"code": "server_error", "message": "the server named no response"});
    refused(response, &error)
}

/// What there is of it can be read no further.
fn unread(response: HttpResponseBuilder, error: ReadError) -> HttpResponse {
    let error = failure::unread(error);
    let error = json!({"code": ending::code(&error), "message": error.message()});
    refused(response, &error)
}

fn refused(mut response: HttpResponseBuilder, error: &Value) -> HttpResponse {
    let code = error["code"].as_str().unwrap_or("server_error");
    let status = match code {
        "rate_limit_exceeded" | "insufficient_quota" => StatusCode::TOO_MANY_REQUESTS,
        "context_length_exceeded" | "invalid_prompt" => StatusCode::BAD_REQUEST,
        "server_shutting_down" | "server_is_overloaded" | "store_unavailable" => {
            StatusCode::SERVICE_UNAVAILABLE
        }
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
    Chat(ChatCompletion),
}

impl Whole {
    fn push(&mut self, block: &Bytes) {
        let data = block::data(block);
        match self {
            Self::Responses(object) => object.push(&data),
            Self::Chat(completion) => {
                if let Ok(chunk) = serde_json::from_slice(&data) {
                    completion.push(chunk);
                }
            }
        }
    }

    fn finish(self) -> Result<String, Value> {
        match self {
            Self::Responses(object) => object.finish(),
            Self::Chat(completion) => match completion.error() {
                Some(Value::String(message)) => Err(json!({"message": message})),
                Some(error) => Err(error.clone()),
                None => Ok(completion.object().to_string()),
            },
        }
    }
}

/// What is looked at of a closing object.
#[derive(Deserialize)]
struct Closing<'a> {
    #[serde(borrow, default)]
    output: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
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
        let is_wanted = |kind: &str| {
            block::is_end(kind)
                || matches!(
                    kind,
                    "response.cancelled" | "response.done" | "response.output_item.done"
                )
        };
        let Some(event) = Event::read_if(data, is_wanted) else {
            return;
        };
        match (event.response, event.item) {
            (_, Some(item)) if event.kind() == "response.output_item.done" => {
                let next = self.items.len() as u64;
                self.items
                    .insert(event.output_index.unwrap_or(next), item.to_owned());
            }
            (Some(response), _) if event.kind() != "response.output_item.done" => {
                self.end = Some((event.kind().to_owned(), response.get().to_owned()));
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
        // It is nearly all of a short answer, so that it is not made a tree for two of its members.
        let Ok(Closing { output, error }) = serde_json::from_str(&object) else {
            return Ok(object);
        };
        if kind == "response.failed" {
            let error = error.map(|error| serde_json::from_str(error.get()));
            return Err(error.and_then(Result::ok).unwrap_or_default());
        }
        let is_empty = output.is_none_or(|output| {
            let within = output
                .get()
                .strip_prefix('[')
                .and_then(|it| it.strip_suffix(']'));
            within.is_some_and(|items| items.trim().is_empty())
        });
        if !is_empty || self.items.is_empty() {
            return Ok(object);
        }
        let mut members: Map<String, Value> = serde_json::from_str(&object).unwrap_or_default();
        let items = self.items.values();
        let items = items.filter_map(|item| serde_json::from_str::<Value>(item.get()).ok());
        members.insert("output".to_owned(), items.collect());
        Ok(Value::from(members).to_string())
    }
}
