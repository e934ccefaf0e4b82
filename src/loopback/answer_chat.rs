//! The default answer as the Chat Completions API writes it: a stream of chunks, or one object.

use serde_json::{Value, json};

use super::{
    answer::{CREATED_AT, DefaultAnswer},
    event::OutgoingEvent,
};

impl DefaultAnswer {
    /// Writes the answer down as the chunks of a chat completion: reasoning, then content, then the tool call in
    /// pieces, then the reason to finish, the usage if the request asks for it, and `[DONE]`.
    pub fn chat_events(&self) -> Vec<OutgoingEvent> {
        let asks_for_usage = self.asked.wants_usage;
        let chunk = |choices: Value, usage: Value| {
            let mut chunk = json!({
                "id": self.id("chatcmpl"),
                "object": "chat.completion.chunk",
                "created": CREATED_AT,
                "model": self.model,
                "system_fingerprint": null,
                "choices": choices,
            });
            if asks_for_usage {
                chunk["usage"] = usage;
            }
            OutgoingEvent::data(chunk.to_string())
        };
        let delta = |delta: Value, finish_reason: Option<&str>| {
            let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason});
            chunk(json!([choice]), Value::Null)
        };

        let mut events = vec![delta(json!({"role": "assistant", "content": ""}), None)];
        events.extend(
            self.reasoning
                .iter()
                .map(|text| delta(json!({"reasoning_content": text}), None)),
        );
        events.extend(
            self.text
                .iter()
                .map(|text| delta(json!({"content": text}), None)),
        );
        if let Some(call) = &self.tool_call {
            let mut first = self.chat_call(&call.name, "");
            first["index"] = json!(0);
            events.push(delta(json!({"tool_calls": [first]}), None));
            events.extend(call.arguments.iter().map(|piece| {
                let piece = json!({"index": 0, "function": {"arguments": piece}});
                delta(json!({"tool_calls": [piece]}), None)
            }));
        }
        events.push(delta(json!({}), Some(self.finish_reason())));
        if asks_for_usage {
            events.push(chunk(json!([]), self.chat_usage()));
        }
        events.push(OutgoingEvent::data("[DONE]"));
        events
    }

    /// Writes the answer down as the object that a request without a stream gets.
    pub fn chat_completion(&self) -> Value {
        let mut message = json!({
            "role": "assistant",
            "content": self.text.concat(),
            "reasoning_content": self.reasoning.concat(),
            "refusal": null,
        });
        if let Some(call) = &self.tool_call {
            message["tool_calls"] = json!([self.chat_call(&call.name, &call.arguments.concat())]);
        }
        json!({
            "id": self.id("chatcmpl"),
            "object": "chat.completion",
            "created": CREATED_AT,
            "model": self.model,
            "system_fingerprint": null,
            "choices": [
                {"index": 0, "message": message, "logprobs": null, "finish_reason": self.finish_reason()},
            ],
            "usage": self.chat_usage(),
        })
    }

    fn chat_call(&self, name: &str, arguments: &str) -> Value {
        json!({
            "id": self.id("call"),
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        })
    }

    fn finish_reason(&self) -> &'static str {
        if self.tool_call.is_some() {
            "tool_calls"
        } else {
            "stop"
        }
    }

    fn chat_usage(&self) -> Value {
        json!({
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens(),
            "total_tokens": self.input_tokens + self.output_tokens(),
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning_tokens()},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(request: &Value) -> Vec<Value> {
        let mut events = DefaultAnswer::to_request(request, 1).chat_events();
        assert_eq!(events.pop(), Some(OutgoingEvent::data("[DONE]")));
        let parse = |event: &OutgoingEvent| {
            assert_eq!(event.event, None, "chat chunks have no event line");
            serde_json::from_str(&event.data).expect("a chunk is JSON")
        };
        events.iter().map(parse).collect()
    }

    fn joined(chunks: &[Value], pointer: &str) -> String {
        chunks
            .iter()
            .filter_map(|chunk| chunk.pointer(pointer)?.as_str())
            .collect()
    }

    #[test]
    fn chunks_say_what_the_whole_completion_says() {
        let request = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        let chunks = chunks(&request);
        let whole = DefaultAnswer::to_request(&request, 1).chat_completion();
        let message = &whole["choices"][0]["message"];
        assert_eq!(
            joined(&chunks, "/choices/0/delta/content"),
            message["content"]
        );
        assert_eq!(
            joined(&chunks, "/choices/0/delta/reasoning_content"),
            message["reasoning_content"]
        );
        let call = &message["tool_calls"][0];
        for field in ["/id", "/type", "/function/name", "/function/arguments"] {
            let streamed = joined(&chunks, &format!("/choices/0/delta/tool_calls/0{field}"));
            assert_eq!(streamed, *call.pointer(field).unwrap(), "{field}");
        }
        assert_eq!(joined(&chunks, "/choices/0/finish_reason"), "tool_calls");
        assert!(
            chunks
                .iter()
                .all(|chunk| chunk.get("usage").is_none() && chunk["model"] == "m")
        );
    }

    #[test]
    fn usage_comes_last_and_only_when_asked_for() {
        let chunks =
            chunks(&json!({"stream_options": {"include_usage": true}, "tool_choice": "none"}));
        let (last, others) = chunks.split_last().unwrap();
        assert_eq!(last["choices"], json!([]));
        assert!(last["usage"]["total_tokens"].as_u64() > Some(0));
        assert!(others.iter().all(|chunk| chunk["usage"].is_null()));
        assert_eq!(joined(&chunks, "/choices/0/finish_reason"), "stop");
    }
}
