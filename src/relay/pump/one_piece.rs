//! An answer that its server writes in one piece: it goes to the client as it is. Kept of it is the shortest stream that says the same,
//! for those who read it again.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{Leaving, Next, Pump, Question, another_can_help};
use crate::{
    ApiError,
    protocol::{RawJson, ResponseEvent, WholeAnswer, WholeBody},
    relay::{answers::Piece, block},
    wire::Wire,
};

impl Pump {
    /// Asks a target for no stream, until it has answered or `leaving` is ready, which cancels it.
    pub(super) async fn ask_in_one_piece(
        &mut self,
        target: usize,
        question: Question,
        leaving: impl Future<Output = Leaving> + Unpin,
    ) -> Next {
        let runtime = self.runtime.clone();
        let answer = tokio::select! {
            biased;
            why = leaving => return self.left(target, why),
            answer = runtime.in_one_piece(question.request) => answer,
        };
        match answer {
            Ok(answer) => self.take_whole(target, answer),
            Err(error) => match error.details().response.clone() {
                // It says by itself that it failed, and another server may do better.
                Some(response) if !self.asks_another(target, &error, question.own_key) => {
                    self.attempt = error.details().attempt;
                    self.head = error.details().head.clone();
                    self.give(target, &response, &ResponseEvent::Failed(Arc::new(error)));
                }
                _ => return Next::Failed(error),
            },
        }
        Next::Done
    }

    fn asks_another(&self, target: usize, error: &ApiError, own_key: bool) -> bool {
        target + 1 < self.asked.targets.len() && another_can_help(error, own_key)
    }

    fn take_whole(&mut self, target: usize, answer: WholeAnswer) {
        self.attempt = answer.attempt;
        self.head = answer.head;
        self.response_id = match &answer.end {
            ResponseEvent::Completed(end) => end.response_id.clone(),
            ResponseEvent::Incomplete(end) => end.response_id.clone(),
            _ => None,
        };
        match answer.body {
            WholeBody::Object(object) => self.give(target, &object, &answer.end),
            body => self.take_blocks(target, body, &answer.end),
        }
    }

    /// It is a stream though none was asked for: the object is made of it, as of every other.
    fn take_blocks(&mut self, target: usize, body: WholeBody, end: &ResponseEvent) {
        let WholeBody::Blocks(mut blocks) = body else {
            return;
        };
        if let Some(name) = self.client_name(target) {
            for block in &mut blocks {
                *block = block::renamed(block, &name);
            }
        }
        self.open_and_tell();
        let all = blocks.iter().cloned();
        self.answers.remember_items(&self.asked.answer, all);
        self.finish(target, end, pieces(blocks));
    }

    /// The client gets the object.
    fn give(&mut self, target: usize, object: &RawJson, end: &ResponseEvent) {
        let mut bytes = Bytes::copy_from_slice(object.get().as_bytes());
        if let Some(name) = self.client_name(target) {
            bytes = block::renamed_object(bytes, &name);
        }
        self.open_and_tell();
        let blocks = match self.asked.answer.about().wire {
            Wire::Chat => chunks(&bytes),
            _ => {
                let response: Response<'_> = serde_json::from_slice(&bytes).unwrap_or_default();
                let items = response.output.iter().flatten();
                let texts = items.flat_map(|item| [item.id, item.encrypted_content]);
                let texts = texts.flatten();
                let texts = texts.filter_map(|text| serde_json::from_str(text.get()).ok());
                self.answers.remember_texts(&self.asked.answer, texts);
                events(&response, &bytes)
            }
        };
        self.object = Some(bytes);
        self.close(target, end, pieces(blocks));
    }

    /// The client's name for the model as JSON, where the server has another.
    fn client_name(&self, target: usize) -> Option<String> {
        let renames = target > 0 || self.asked.targets[target].model.is_some();
        let model = &*self.asked.answer.about().model;
        renames.then(|| Value::from(model).to_string())
    }

    /// Nobody else answers.
    fn open_and_tell(&mut self) {
        self.rendering.open(&mut Vec::new());
        self.tell();
    }
}

fn pieces(blocks: Vec<Bytes>) -> Vec<Piece> {
    blocks.into_iter().map(Piece::from).collect()
}

/// What is read of a response object.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Response<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    created_at: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<Vec<Item<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Item<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    encrypted_content: Option<&'a RawValue>,
}

/// A response object as a stream: its first event and its last.
fn events(read: &Response<'_>, object: &[u8]) -> Vec<Bytes> {
    let said = |value: Option<&RawValue>| {
        let value = value.filter(|value| !value.get().contains(['\n', '\r']));
        value.map_or("null", RawValue::get).to_owned()
    };
    let first = format!(
        "event: response.created\ndata: {{\"type\":\"response.created\",\"sequence_number\":0,\"response\":{{\"id\":{},\"object\":\"response\",\
         \"created_at\":{},\"status\":\"in_progress\",\"model\":{},\"output\":[]}}}}\n\n",
        said(read.id),
        said(read.created_at),
        said(read.model)
    );
    let kind = match read.status.map(RawValue::get) {
        Some("\"completed\"") => "completed",
        Some("\"failed\"") => "failed",
        // One that goes on at its server, too: nothing more of it comes here.
        _ => "incomplete",
    };
    let mut last = format!(
        "event: response.{kind}\ndata: {{\"type\":\"response.{kind}\",\"sequence_number\":1,\"response\":"
    )
    .into_bytes();
    // In JSON line ends are white space, and in an event they end the data.
    let one_line = |byte: &u8| {
        if matches!(byte, b'\n' | b'\r') {
            b' '
        } else {
            *byte
        }
    };
    last.extend(object.iter().map(one_line));
    last.extend_from_slice(b"}\n\n");
    vec![first.into(), last.into()]
}

/// A completion as a stream: one chunk with all of it, and the mark of the end.
fn chunks(object: &[u8]) -> Vec<Bytes> {
    let mut chunk: Value = serde_json::from_slice(object).unwrap_or_default();
    chunk["object"] = "chat.completion.chunk".into();
    for choice in chunk["choices"].as_array_mut().into_iter().flatten() {
        let Some(message) = choice.as_object_mut().and_then(|it| it.remove("message")) else {
            continue;
        };
        choice["delta"] = message;
        let calls = choice["delta"].get_mut("tool_calls");
        for (index, call) in
            (0_u64..).zip(calls.and_then(Value::as_array_mut).into_iter().flatten())
        {
            if let Some(call) = call.as_object_mut() {
                call.insert("index".to_owned(), index.into());
            }
        }
    }
    vec![
        format!("data: {chunk}\n\n").into(),
        Bytes::from_static(b"data: [DONE]\n\n"),
    ]
}
