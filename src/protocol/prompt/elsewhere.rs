//! A prompt for a server that has made nothing of what is in it.

use super::Prompt;
use crate::protocol::{ReasoningItem, ResponseItem, error::ApiError};

impl Prompt {
    /// The prompt without what only the server can read that made it: sealed reasoning, and reasoning that says nothing. Ids of items are left
    /// out when it is written.
    ///
    /// # Errors
    /// For what stands for something that a server keeps, or has sealed and can't be left out.
    pub(crate) fn for_another_server(&self) -> Result<Self, ApiError> {
        let options = &self.options;
        let set = [
            (
                "`previous_response_id`",
                options.previous_response_id.is_some(),
            ),
            ("`conversation`", options.conversation.is_some()),
            ("`template`", options.template.is_some()),
        ];
        let set = set.iter().find(|(_, is_set)| *is_set);
        let own = self.input.iter().find_map(|item| match item {
            ResponseItem::ItemReference(_) => Some("an `item_reference`"),
            ResponseItem::Compaction(_) | ResponseItem::ContextCompaction(_) => {
                Some("a `compaction`")
            }
            _ => None,
        });
        if let Some(what) = set.map(|(name, _)| *name).or(own) {
            let message = format!(
                "{what} can be read by the server alone that made it, so that no fallback can be asked"
            );
            return Err(ApiError::misconfigured(message));
        }
        let mut prompt = self.clone();
        prompt.input.retain(|item| match item {
            ResponseItem::Reasoning(reasoning) => is_readable(reasoning),
            _ => true,
        });
        // The body as it came has them.
        if prompt.input.iter().any(|item| item.id().is_some()) {
            prompt.received.as_it_came = None;
        }
        Ok(prompt)
    }
}

fn is_readable(reasoning: &ReasoningItem) -> bool {
    reasoning.encrypted_content.is_none() && !reasoning.content_text().is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::PromptTemplate;

    fn item(value: Value) -> ResponseItem {
        serde_json::from_value(value).expect("an item")
    }

    #[test]
    fn what_is_sealed_stays_behind_and_what_is_kept_is_refused() {
        let plain = item(json!({"type": "reasoning", "id": "rs_1", "summary": [],
            "content": [{"type": "reasoning_text", "text": "hm"}]}));
        let sealed = item(
            json!({"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "x"}),
        );
        let empty = item(json!({"type": "reasoning", "id": "rs_3", "summary": []}));
        let hello = || ResponseItem::user_text("hello");
        let prompt = Prompt::new(vec![hello(), sealed, plain.clone(), empty]);
        let moved = prompt.for_another_server().expect("a prompt");
        assert_eq!(moved.input, [hello(), plain]);
        let compaction = item(json!({"type": "compaction", "encrypted_content": "x"}));
        let asked = || Prompt::user("hello");
        for (prompt, name) in [
            (
                asked().with_previous_response_id("resp_1"),
                "previous_response_id",
            ),
            (asked().with_conversation("conv_1"), "conversation"),
            (asked().with_template(PromptTemplate::new("p")), "template"),
            (
                asked().with_item(ResponseItem::reference("m")),
                "item_reference",
            ),
            (asked().with_item(compaction), "compaction"),
        ] {
            let error = prompt.for_another_server().expect_err(name);
            assert!(error.message().contains(name), "{error}");
        }
    }
}
