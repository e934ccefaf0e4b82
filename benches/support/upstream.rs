//! The pipeline that this runtime re-implements, written anew from a description of what it does: eventsource-stream, an
//! envelope with optional JSON values which are parsed a second time, a timeout for each event, and a bounded channel to the
//! consumer.

use std::{fmt::Display, hint::black_box, time::Duration};

use actix_responses::wire::Wire;
use eventsource_stream::Eventsource;
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use serde_json::Value;
use tokio::{sync::mpsc, time::timeout};

/// How many events wait in its channel.
const CHANNEL_EVENTS: usize = 1_600;

#[expect(dead_code, reason = "what it carries costs its making")]
pub enum UpstreamEvent {
    Created,
    ItemAdded(Item),
    ItemDone(Item),
    Delta(String),
    IndexedDelta(String, i64),
    Completed(Completed),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(dead_code, reason = "its fields cost their parsing")]
pub enum Item {
    Message {
        role: String,
        content: Vec<Content>,
    },
    Reasoning {
        #[serde(default)]
        id: String,
        summary: Vec<Content>,
    },
    FunctionCall {
        name: String,
        arguments: String,
        call_id: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(dead_code, reason = "its fields cost their parsing")]
pub enum Content {
    OutputText { text: String },
    SummaryText { text: String },
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "its fields cost their parsing")]
pub struct Completed {
    id: String,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "its fields cost their parsing")]
struct Usage {
    input_tokens: i64,
    output_tokens: i64,
    total_tokens: i64,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    response: Option<Value>,
    item: Option<Value>,
    delta: Option<String>,
    summary_index: Option<i64>,
    content_index: Option<i64>,
}

/// Reads the data of one SSE event. `None` is an event that it ignores.
pub fn read(wire: Wire, data: &str) -> Option<UpstreamEvent> {
    match wire {
        Wire::Chat => read_chat(data),
        _ => read_responses(data),
    }
}

fn read_responses(data: &str) -> Option<UpstreamEvent> {
    let envelope: Envelope = serde_json::from_str(data).ok()?;
    let item = |item: Option<Value>| serde_json::from_value::<Item>(item?).ok();
    match envelope.kind.as_str() {
        "response.created" => envelope.response.map(|_| UpstreamEvent::Created),
        "response.output_item.added" => item(envelope.item).map(UpstreamEvent::ItemAdded),
        "response.output_item.done" => item(envelope.item).map(UpstreamEvent::ItemDone),
        // It ignores deltas of arguments; here they are passed on so that everybody delivers the same.
        "response.output_text.delta" | "response.function_call_arguments.delta" => {
            envelope.delta.map(UpstreamEvent::Delta)
        }
        "response.reasoning_summary_text.delta" => Some(UpstreamEvent::IndexedDelta(
            envelope.delta?,
            envelope.summary_index?,
        )),
        "response.reasoning_text.delta" => Some(UpstreamEvent::IndexedDelta(
            envelope.delta?,
            envelope.content_index?,
        )),
        "response.completed" => {
            let completed = serde_json::from_value(envelope.response?).expect("a response");
            Some(UpstreamEvent::Completed(completed))
        }
        _ => None,
    }
}

/// On the Chat wire it walks the parsed chunk. The end is `[DONE]`.
fn read_chat(data: &str) -> Option<UpstreamEvent> {
    if data.trim() == "[DONE]" {
        return Some(UpstreamEvent::Completed(Completed {
            id: String::new(),
            usage: None,
        }));
    }
    let chunk: Value = serde_json::from_str(data).ok()?;
    let choice = chunk.get("choices")?.get(0)?;
    let content = choice.get("delta")?.get("content")?.as_str()?;
    (!content.is_empty()).then(|| UpstreamEvent::Delta(content.to_owned()))
}

/// Reads a body in a task of its own, until the answer is complete.
pub fn spawn<S, B, E>(
    wire: Wire,
    body: S,
    idle: Duration,
) -> mpsc::Receiver<Result<UpstreamEvent, String>>
where
    S: Stream<Item = Result<B, E>> + Send + Unpin + 'static,
    B: AsRef<[u8]> + Send,
    E: Display + Send,
{
    let (sender, receiver) = mpsc::channel(CHANNEL_EVENTS);
    tokio::spawn(async move {
        let mut events = body.eventsource();
        loop {
            let event = match timeout(idle, events.next()).await {
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(error))) => {
                    let _ = sender.send(Err(error.to_string())).await;
                    return;
                }
                Ok(None) => {
                    let _ = sender.send(Err("the stream ended early".to_owned())).await;
                    return;
                }
                Err(_) => {
                    let _ = sender.send(Err("nothing came in time".to_owned())).await;
                    return;
                }
            };
            let for_telemetry = event.data.clone();
            black_box(&for_telemetry);
            let Some(event) = read(wire, &event.data) else {
                continue;
            };
            let over = matches!(event, UpstreamEvent::Completed(_));
            if sender.send(Ok(event)).await.is_err() || over {
                return;
            }
        }
    });
    receiver
}
