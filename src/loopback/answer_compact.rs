//! What a request to compact a conversation gets.

use serde_json::{Value, json};

use super::answer::DefaultAnswer;

impl DefaultAnswer {
    /// Writes down the answer to a request to compact: the input's messages, shortened, and a compaction item that
    /// stands for the rest.
    pub fn compaction(&self) -> Value {
        let mut output = self.asked.compaction.messages.clone();
        for (index, message) in output.iter_mut().enumerate() {
            message["id"] = format!("{}_{index}", self.id("msg")).into();
        }
        output.push(self.compaction_item());
        json!({
            "id": self.id("resp"),
            "object": "response.compaction",
            "created_at": self.created_at,
            "output": output,
            "usage": self.response()["usage"],
        })
    }

    /// Whether the request, to the Responses API, asks for a compaction.
    pub(super) fn is_compaction(&self) -> bool {
        self.asked.compaction.is_last
    }

    pub(super) fn compaction_item(&self) -> Value {
        let items = self.asked.compaction.items;
        json!({
            "id": self.id("cmp"),
            "type": "compaction",
            "encrypted_content": format!("loopback-compaction-{}-of-{items}-items", self.number),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loopback::asked::MAX_KEPT_MESSAGES;

    #[test]
    fn messages_are_kept_and_everything_else_becomes_one_item() {
        let request = json!({"model": "m", "input": [
            {"role": "user", "content": "long ".repeat(50)},
            {"type": "reasoning", "summary": []},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ok"}]},
        ]});
        let compaction = DefaultAnswer::to_request(&request, 3).compaction();
        assert_eq!(compaction["object"], "response.compaction");
        let output = compaction["output"].as_array().unwrap();
        assert_eq!(output.len(), 3);
        assert!(
            output[0]["content"][0]["text"]
                .as_str()
                .unwrap()
                .ends_with('…')
        );
        let part = &output[1]["content"][0];
        assert_eq!(
            part,
            &json!({"type": "output_text", "text": "ok", "annotations": [], "logprobs": []})
        );
        let ids = (&output[0]["id"], &output[1]["id"]);
        assert_eq!(
            ids,
            (&json!("msg_loopback_3_0"), &json!("msg_loopback_3_1"))
        );
        assert_eq!(output[2]["type"], "compaction");
        assert_eq!(
            output[2]["encrypted_content"],
            "loopback-compaction-3-of-3-items"
        );
        assert!(compaction["usage"]["total_tokens"].is_u64());
    }

    #[test]
    fn only_the_last_messages_are_kept() {
        let messages = vec![json!({"role": "user", "content": "again"}); MAX_KEPT_MESSAGES + 1];
        let compaction = DefaultAnswer::to_request(&json!({"input": messages}), 1).compaction();
        assert_eq!(
            compaction["output"].as_array().unwrap().len(),
            MAX_KEPT_MESSAGES + 1
        );
    }
}
