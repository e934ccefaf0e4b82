//! The default answer as the Responses API writes it: a stream of events, or one object.

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    answer::{CREATED_AT, DefaultAnswer},
    event::OutgoingEvent,
};
use crate::wire::{EncoderOptions, StreamEncoder, Wire};

/// The events of one response so far. Each gets the next sequence number.
struct ResponseEvents {
    events: Vec<OutgoingEvent>,
}

impl ResponseEvents {
    fn push(&mut self, kind: &'static str, fields: Value) {
        #[derive(Serialize)]
        struct Event {
            r#type: &'static str,
            sequence_number: usize,
            #[serde(flatten)]
            fields: Value,
        }

        let event = Event {
            r#type: kind,
            sequence_number: self.events.len(),
            fields,
        };
        match serde_json::to_string(&event) {
            Ok(data) => self.events.push(OutgoingEvent::named(kind, data)),
            // It cannot, as the fields are an object with keys of text; a gap would show in the sequence numbers.
            Err(error) => tracing::error!(%error, kind, "an event could not be written down"),
        }
    }
}

impl DefaultAnswer {
    /// Writes the answer down as the events of a response: reasoning, then the function call, then the message.
    ///
    /// A request that ends in a `compaction_trigger` item gets a single compaction item.
    pub fn responses_events(&self) -> Vec<OutgoingEvent> {
        let mut events = ResponseEvents { events: Vec::new() };
        events.push(
            "response.created",
            json!({"response": self.response_object("in_progress")}),
        );
        events.push(
            "response.in_progress",
            json!({"response": self.response_object("in_progress")}),
        );
        let mut output_index = 0;
        if self.is_compaction() {
            self.push_compaction(&mut events);
        } else {
            if !self.reasoning.is_empty() {
                self.push_reasoning(&mut events, output_index);
                output_index += 1;
            }
            if self.tool_call.is_some() {
                self.push_call(&mut events, output_index);
                output_index += 1;
            }
            if !self.text.is_empty() {
                self.push_message(&mut events, output_index);
            }
        }
        events.push(
            "response.completed",
            json!({"response": self.response_object("completed")}),
        );
        events.events
    }

    /// Writes the answer down as the response object that ends the stream, and that a request without a stream gets.
    pub fn response(&self) -> Value {
        self.response_object("completed")
    }

    fn push_reasoning(&self, events: &mut ResponseEvents, output_index: usize) {
        let id = self.id("rs");
        let at = |fields: Value| {
            merged(
                json!({"item_id": id, "output_index": output_index, "summary_index": 0}),
                fields,
            )
        };
        let text = self.reasoning.concat();
        events.push(
            "response.output_item.added",
            json!({"output_index": output_index, "item": self.reasoning_item(false)}),
        );
        events.push(
            "response.reasoning_summary_part.added",
            at(json!({"part": {"type": "summary_text", "text": ""}})),
        );
        for delta in &self.reasoning {
            events.push(
                "response.reasoning_summary_text.delta",
                at(json!({"delta": delta})),
            );
        }
        events.push(
            "response.reasoning_summary_text.done",
            at(json!({"text": text})),
        );
        events.push(
            "response.reasoning_summary_part.done",
            at(json!({"part": {"type": "summary_text", "text": text}})),
        );
        events.push(
            "response.output_item.done",
            json!({"output_index": output_index, "item": self.reasoning_item(true)}),
        );
    }

    fn push_call(&self, events: &mut ResponseEvents, output_index: usize) {
        let Some(call) = &self.tool_call else { return };
        let id = self.id("fc");
        let at =
            |fields: Value| merged(json!({"item_id": id, "output_index": output_index}), fields);
        events.push(
            "response.output_item.added",
            json!({"output_index": output_index, "item": self.call_item(false)}),
        );
        for delta in &call.arguments {
            events.push(
                "response.function_call_arguments.delta",
                at(json!({"delta": delta})),
            );
        }
        events.push(
            "response.function_call_arguments.done",
            at(json!({"name": call.name, "arguments": call.arguments.concat()})),
        );
        events.push(
            "response.output_item.done",
            json!({"output_index": output_index, "item": self.call_item(true)}),
        );
    }

    fn push_message(&self, events: &mut ResponseEvents, output_index: usize) {
        let id = self.id("msg");
        let at = |fields: Value| {
            merged(
                json!({"item_id": id, "output_index": output_index, "content_index": 0}),
                fields,
            )
        };
        let text = self.text.concat();
        events.push(
            "response.output_item.added",
            json!({"output_index": output_index, "item": self.message_item(false)}),
        );
        events.push(
            "response.content_part.added",
            at(json!({"part": output_text("")})),
        );
        for delta in &self.text {
            events.push(
                "response.output_text.delta",
                at(json!({"delta": delta, "logprobs": []})),
            );
        }
        events.push(
            "response.output_text.done",
            at(json!({"text": text, "logprobs": []})),
        );
        events.push(
            "response.content_part.done",
            at(json!({"part": output_text(&text)})),
        );
        events.push(
            "response.output_item.done",
            json!({"output_index": output_index, "item": self.message_item(true)}),
        );
    }

    fn push_compaction(&self, events: &mut ResponseEvents) {
        let item = self.compaction_item();
        events.push(
            "response.output_item.added",
            json!({"output_index": 0, "item": item}),
        );
        events.push(
            "response.output_item.done",
            json!({"output_index": 0, "item": item}),
        );
    }

    fn reasoning_item(&self, done: bool) -> Value {
        let summary = if done {
            json!([{"type": "summary_text", "text": self.reasoning.concat()}])
        } else {
            json!([])
        };
        let mut item = json!({"id": self.id("rs"), "type": "reasoning", "summary": summary});
        if self.asked.wants_encrypted {
            item["encrypted_content"] = json!(format!("loopback-reasoning-{}", self.number));
        }
        item
    }

    fn call_item(&self, done: bool) -> Value {
        let (name, arguments) = match &self.tool_call {
            Some(call) if done => (call.name.as_str(), call.arguments.concat()),
            Some(call) => (call.name.as_str(), String::new()),
            None => ("", String::new()),
        };
        json!({
            "id": self.id("fc"),
            "type": "function_call",
            "status": status(done),
            "call_id": self.id("call"),
            "name": name,
            "arguments": arguments,
        })
    }

    fn message_item(&self, done: bool) -> Value {
        let content = if done {
            json!([output_text(&self.text.concat())])
        } else {
            json!([])
        };
        json!({
            "id": self.id("msg"),
            "type": "message",
            "status": status(done),
            "role": "assistant",
            "content": content,
        })
    }

    fn output(&self) -> Vec<Value> {
        if self.is_compaction() {
            return vec![self.compaction_item()];
        }
        let reasoning = (!self.reasoning.is_empty()).then(|| self.reasoning_item(true));
        let call = self.tool_call.is_some().then(|| self.call_item(true));
        let message = (!self.text.is_empty()).then(|| self.message_item(true));
        [reasoning, call, message].into_iter().flatten().collect()
    }

    fn response_object(&self, status: &str) -> Value {
        let options = EncoderOptions::default()
            .with_id(self.id("resp"))
            .with_model(&*self.model)
            .with_created_at(CREATED_AT)
            .with_request(self.asked.repeated.clone());
        let object = StreamEncoder::new(Wire::Responses, options).object();
        if status != "completed" {
            return object;
        }
        let ended = json!({
            "status": status,
            "completed_at": CREATED_AT,
            "output": self.output(),
            "usage": self.responses_usage(),
        });
        merged(object, ended)
    }

    pub(super) fn responses_usage(&self) -> Value {
        json!({
            "input_tokens": self.input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": self.output_tokens(),
            "output_tokens_details": {"reasoning_tokens": self.reasoning_tokens()},
            "total_tokens": self.input_tokens + self.output_tokens(),
        })
    }

    /// An id of this answer; the prefix says of what.
    pub(super) fn id(&self, prefix: &str) -> String {
        format!("{prefix}_loopback_{}", self.number)
    }
}

fn status(done: bool) -> &'static str {
    if done { "completed" } else { "in_progress" }
}

fn output_text(text: &str) -> Value {
    json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
}

fn merged(mut fields: Value, more: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
        fields.extend(more);
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(answer: &DefaultAnswer) -> Vec<Value> {
        let events = answer.responses_events();
        let parse = |event: &OutgoingEvent| {
            let data: Value = serde_json::from_str(&event.data).expect("data is JSON");
            assert_eq!(
                data["type"].as_str(),
                event.event.as_deref(),
                "the event line equals the type"
            );
            data
        };
        events.iter().map(parse).collect()
    }

    fn kinds(events: &[Value]) -> Vec<&str> {
        let mut kinds: Vec<_> = events
            .iter()
            .filter_map(|event| event["type"].as_str())
            .collect();
        kinds.dedup();
        kinds
    }

    #[test]
    fn events_come_in_the_order_of_the_api() {
        let events = parsed(&DefaultAnswer::to_request(&json!({"input": "hi"}), 1));
        assert_eq!(
            kinds(&events),
            [
                "response.created",
                "response.in_progress",
                "response.output_item.added",
                "response.reasoning_summary_part.added",
                "response.reasoning_summary_text.delta",
                "response.reasoning_summary_text.done",
                "response.reasoning_summary_part.done",
                "response.output_item.done",
                "response.output_item.added",
                "response.function_call_arguments.delta",
                "response.function_call_arguments.done",
                "response.output_item.done",
                "response.output_item.added",
                "response.content_part.added",
                "response.output_text.delta",
                "response.output_text.done",
                "response.content_part.done",
                "response.output_item.done",
                "response.completed",
            ]
        );
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], number);
        }
    }

    #[test]
    fn deltas_items_and_response_say_the_same() {
        let request = json!({"model": "m", "input": "hi", "include": ["reasoning.encrypted_content"], "store": false});
        let answer = DefaultAnswer::to_request(&request, 7);
        let events = parsed(&answer);
        let joined = |kind: &str| -> String {
            let of_kind = events.iter().filter(|event| event["type"] == kind);
            of_kind
                .filter_map(|event| event["delta"].as_str())
                .collect()
        };
        let done: Vec<_> = events
            .iter()
            .filter(|event| event["type"] == "response.output_item.done")
            .map(|event| event["item"].clone())
            .collect();
        assert_eq!(
            done[0]["summary"][0]["text"],
            joined("response.reasoning_summary_text.delta")
        );
        assert_eq!(done[0]["encrypted_content"], "loopback-reasoning-7");
        assert_eq!(
            done[1]["arguments"],
            joined("response.function_call_arguments.delta")
        );
        assert_eq!(
            done[2]["content"][0]["text"],
            joined("response.output_text.delta")
        );

        let response = &events.last().unwrap()["response"];
        assert_eq!(response["output"], json!(done));
        assert_eq!(response, &answer.response());
        assert_eq!(
            (&response["model"], &response["store"]),
            (&json!("m"), &json!(false))
        );
        let usage = &response["usage"];
        let sum =
            usage["input_tokens"].as_u64().unwrap() + usage["output_tokens"].as_u64().unwrap();
        assert_eq!(usage["total_tokens"], sum);
    }

    #[test]
    fn a_compaction_trigger_gets_a_compaction_item_only() {
        let request =
            json!({"input": [{"role": "user", "content": "hi"}, {"type": "compaction_trigger"}]});
        let events = parsed(&DefaultAnswer::to_request(&request, 1));
        assert_eq!(
            kinds(&events),
            [
                "response.created",
                "response.in_progress",
                "response.output_item.added",
                "response.output_item.done",
                "response.completed",
            ]
        );
        assert_eq!(events[3]["item"]["type"], "compaction");
    }
}
