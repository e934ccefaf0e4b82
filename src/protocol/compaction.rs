//! Making a conversation shorter, by one question and one answer.

use std::{borrow::Cow, sync::Arc};

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    OutputFormat, Prompt, RawJson, ReasoningOptions, ResponseHead, ResponseItem, Role, TokenUsage,
    Tool,
    error::{ApiError, ErrorKind, Phase},
    received::ReceivedBody,
};
use crate::json::{
    excerpt::cut,
    lenient::{integer, string},
    tree::tree,
};

/// A conversation to compact.
///
/// The public API takes the model, input, instructions, `previous_response_id`, `service_tier` and the prompt cache
/// fields. The rest is for servers that take what a turn takes, so that both hit the same cache.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CompactionInput {
    /// Which model compacts. Required.
    pub model: Option<String>,
    /// The conversation (`input`), oldest item first.
    pub input: Vec<ResponseItem>,
    /// What the model is to keep to. An empty text counts as none.
    pub instructions: Option<String>,
    /// The tools of the conversation.
    pub tools: Vec<Tool>,
    /// Whether several tools may be called at once. Not sent without tools.
    pub parallel_tool_calls: Option<bool>,
    /// How much the model thinks.
    pub reasoning: Option<ReasoningOptions>,
    /// `low`, `medium` or `high` (`text.verbosity`).
    pub verbosity: Option<String>,
    /// The shape of the conversation's answers (`text.format`).
    pub output_format: Option<OutputFormat>,
    /// `auto`, `default`, `flex` or `priority`.
    pub service_tier: Option<String>,
    /// What requests that begin alike have in common, so that they hit the same cache.
    pub prompt_cache_key: Option<String>,
    /// How long a cached prefix is kept: `in_memory` or `24h`.
    pub prompt_cache_retention: Option<String>,
    /// The stored response whose conversation is compacted.
    pub previous_response_id: Option<String>,
    /// Whether the server has stored the conversation's items. Not sent; it decides, as with a prompt, whether they can be
    /// sent with their ids.
    pub store: Option<bool>,
    /// Body fields without a name here. One that repeats a field of this struct is refused when the body is built.
    pub extra: Map<String, Value>,
    /// What it was read from, if it was read.
    pub(crate) received: ReceivedBody,
}

impl CompactionInput {
    /// A conversation to be compacted by the given model.
    pub fn new(model: impl Into<String>, input: Vec<ResponseItem>) -> Self {
        Self {
            model: Some(model.into()),
            input,
            ..Self::default()
        }
    }

    /// The conversation of a prompt, with what a prompt and a compaction have in common. Not taken over are the options
    /// that only concern an answer, and `extra`.
    pub fn from_prompt(prompt: &Prompt) -> Self {
        Self::of(prompt.clone())
    }

    pub(crate) fn of(prompt: Prompt) -> Self {
        let Prompt {
            instructions,
            input,
            tools,
            parallel_tool_calls,
            output_format,
            options,
            received,
        } = prompt;
        Self {
            model: options.model,
            input,
            instructions,
            tools,
            parallel_tool_calls,
            reasoning: options.reasoning,
            verbosity: options.verbosity,
            output_format,
            service_tier: options.service_tier,
            prompt_cache_key: options.prompt_cache_key,
            prompt_cache_retention: options.prompt_cache_retention,
            previous_response_id: options.previous_response_id,
            store: options.store,
            extra: Map::new(),
            received: ReceivedBody {
                as_it_came: None,
                unread: received.unread,
            },
        }
    }
}

/// A compacted conversation.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CompactionOutput {
    /// The server's id of the answer.
    pub id: Option<String>,
    /// What takes the place of the conversation (`output`), oldest item first; never empty.
    pub items: Vec<ResponseItem>,
    /// What it cost, when the server said so.
    pub usage: Option<TokenUsage>,
    /// When it was made, in seconds of Unix time.
    pub created_at: Option<i64>,
    /// The answer as it came.
    pub raw: RawJson,
    /// The head that it came with; absent where none was read.
    pub head: Option<Arc<ResponseHead>>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    created_at: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

impl CompactionOutput {
    /// Reads the answer of `POST responses/compact`: an object of its own (`response.compaction`), or an ordinary response with a
    /// compaction item in its output.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`], saying what is wrong, when the text is no JSON object, reports an error, has no items, or is an
    /// answer to the conversation in place of its compaction: a conversation is replaced neither by nothing nor by a reply to it.
    /// [`ErrorKind::TooLarge`] when its items are over [`RawJson::MAX_TREE_BYTES`].
    pub fn from_json(text: &str) -> Result<Self, ApiError> {
        let raw = RawJson::parse(text)
            .map_err(|error| wrong("is not JSON".to_owned()).with_source(error))?;
        Self::from_walked(raw)
    }

    /// The same of what a parser has walked.
    pub(crate) fn from_walked(raw: RawJson) -> Result<Self, ApiError> {
        if !raw.get().starts_with('{') {
            return Err(wrong("is no JSON object".to_owned()));
        }
        let answer: Answer<'_> = serde_json::from_str(raw.get())
            .map_err(|error| wrong("can't be read".to_owned()).with_source(error))?;
        if let Some(error) = answer.error {
            return Err(wrong(format!(
                "is an error: {}",
                error_message(error.get())
            )));
        }
        if let Some(status @ ("queued" | "in_progress" | "incomplete" | "failed" | "cancelled")) =
            text_of(answer.status).as_deref()
        {
            return Err(wrong(format!("has the status `{status}`")));
        }
        let object = text_of(answer.object);
        let object = object.as_deref();
        let output = answer.output.ok_or_else(|| {
            wrong(match object {
                Some(object) => format!("is a `{object}` and has no `output`"),
                None => "has no `output`".to_owned(),
            })
        })?;
        if !output.get().starts_with('[') {
            return Err(wrong("has an `output` that is no array".to_owned()));
        }
        // The text is JSON, and an array: all that can be wrong with it is its size.
        let items = RawJson::borrowed_elements(output.get()).map_err(|error| {
            let mut error = wrong(format!("has an `output` that can't be read: {error}"));
            error.details_mut().kind = ErrorKind::TooLarge;
            error
        })?;
        let items = items.into_iter().map(RawValue::get);
        let items: Vec<_> = items.map(ResponseItem::from_walked).collect();
        if items.is_empty() {
            return Err(wrong("has an empty `output`".to_owned()));
        }
        if !items.iter().any(is_compaction) {
            let is_compacted = match object {
                Some(object) => object == COMPACTION_OBJECT,
                // Without a name, a reply is known by holding nothing but what the model said.
                None => !items.iter().all(is_of_model),
            };
            if !is_compacted {
                let types = items.iter().map(|item| item.item_type());
                let types: Vec<_> = types.map(Option::unwrap_or_default).collect();
                return Err(wrong(format!(
                    "is a `{}` without a compaction item, but with {}",
                    object.unwrap_or("response"),
                    types.join(", ")
                )));
            }
        }
        Ok(Self {
            id: text_of(answer.id),
            items,
            usage: answer.usage.and_then(|it| TokenUsage::from_text(it.get())),
            created_at: answer.created_at.and_then(|it| integer(&tree(it.get())?)),
            raw,
            head: None,
        })
    }
}

fn wrong(what: String) -> ApiError {
    let message = format!("the answer to the compaction {what}");
    ApiError::new(ErrorKind::Protocol, message).with_phase(Phase::Body)
}

/// A string; `None` for what is none.
fn text_of(json: Option<&RawValue>) -> Option<String> {
    string(json?.get()).map(Cow::into_owned)
}

/// What the API calls the answer.
const COMPACTION_OBJECT: &str = "response.compaction";

fn is_compaction(item: &ResponseItem) -> bool {
    let name = item.item_type();
    matches!(
        name.as_deref(),
        Some("compaction" | "compaction_summary" | "context_compaction")
    )
}

fn is_of_model(item: &ResponseItem) -> bool {
    match item {
        ResponseItem::Message(message) => message.role == Role::Assistant,
        ResponseItem::Reasoning(_)
        | ResponseItem::FunctionCall(_)
        | ResponseItem::CustomToolCall(_)
        | ResponseItem::WebSearchCall(_) => true,
        _ => false,
    }
}

/// An error object's own words, or its start where it has none.
fn error_message(error: &str) -> String {
    const SHOWN_CHARS: usize = 200;
    #[derive(Deserialize)]
    struct WithMessage {
        message: String,
    }
    serde_json::from_str(error).map_or_else(
        |_| cut(error, SHOWN_CHARS),
        |WithMessage { message }| message,
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::Tool;

    #[test]
    fn the_answer_is_read() {
        let text = r#" {"id":"resp_1", "object":"response.compaction","created_at":1767225600.5,"output":[
            {"type":"message","role":"user","content":[{"type":"input_text","text":"a"}]},
            {"type":"compaction","id":"cmp_1","encrypted_content":"gA=="},{"type" : "hologram"}],
            "usage":{"input_tokens":9,"output_tokens":5,"total_tokens":14}}"#;
        let output = CompactionOutput::from_json(text).unwrap();
        assert_eq!(output.id.as_deref(), Some("resp_1"));
        assert_eq!(output.created_at, Some(1_767_225_600));
        assert_eq!(output.usage.map(|usage| usage.total_tokens), Some(14));
        assert_eq!(output.raw.get(), text.trim());
        let types: Vec<_> = output.items.iter().map(ResponseItem::item_type).collect();
        let types: Vec<_> = types.iter().flatten().collect();
        assert_eq!(types, ["message", "compaction", "hologram"]);
    }

    #[test]
    fn all_but_the_items_may_be_absent() {
        for text in [
            r#"{"output":[{"type":"compaction","encrypted_content":"gA=="}]}"#,
            r#"{"output":[{"type":"compaction","encrypted_content":"gA=="}],"id":7,"usage":null,"created_at":null,"error":null}"#,
        ] {
            let output = CompactionOutput::from_json(text).unwrap();
            assert_eq!(
                (output.id, output.usage, output.created_at),
                (None, None, None)
            );
        }
    }

    #[test]
    fn an_answer_without_items_is_an_error_that_says_why() {
        for (text, why) in [
            ("", "is not JSON"),
            ("<html>", "is not JSON"),
            (r#"{"output":[]"#, "is not JSON"),
            ("[]", "is no JSON object"),
            ("{}", "has no `output`"),
            (r#"{"output":null}"#, "has no `output`"),
            (r#"{"output":{}}"#, "has an `output` that is no array"),
            (r#"{"output":"a"}"#, "has an `output` that is no array"),
            (r#"{"output":[]}"#, "has an empty `output`"),
            (r#"{"output":[1],"output":[2]}"#, "can't be read"),
            (
                r#"{"error":{"message":"too long"}}"#,
                "is an error: too long",
            ),
            (r#"{"error":"busy","output":[1]}"#, "is an error: \"busy\""),
        ] {
            let error = CompactionOutput::from_json(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{text}");
            assert_eq!(
                error.message(),
                format!("the answer to the compaction {why}"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_reply_to_the_conversation_is_no_compaction_of_it() {
        let said = r#"{"type":"message","role":"assistant","content":"a"}"#;
        let asked = r#"{"type":"message","role":"user","content":"a"}"#;
        let compaction = r#"{"type":"compaction","encrypted_content":"gA=="}"#;
        let summary = r#"{"type":"compaction_summary","encrypted_content":"gA=="}"#;
        let context = r#"{"type":"context_compaction"}"#;
        let odd = r#"{"type":"compaction","encrypted_content":7}"#;
        let reasoning = r#"{"type":"reasoning","summary":[]}"#;
        for (fields, items, refused) in [
            ("", vec![compaction], None),
            (
                r#""object":"response","status":"completed","#,
                vec![reasoning, compaction],
                None,
            ),
            (
                r#""object":"response","error":null,"#,
                vec![said, summary],
                None,
            ),
            ("", vec![odd], None),
            ("", vec![context], None),
            // A server may compact into messages alone.
            (
                r#""object":"response.compaction","#,
                vec![asked, said],
                None,
            ),
            (r#""object":"response.compaction","#, vec![said], None),
            ("", vec![asked, said], None),
            (
                r#""object":"response","status":"completed","#,
                vec![reasoning, said],
                Some("is a `response` without a compaction item, but with reasoning, message"),
            ),
            (
                r#""object":"response","#,
                vec![asked],
                Some("is a `response` without a compaction item, but with message"),
            ),
            (
                "",
                vec![reasoning, said],
                Some("is a `response` without a compaction item, but with reasoning, message"),
            ),
            (
                r#""object":"response","status":"incomplete","#,
                vec![compaction],
                Some("has the status `incomplete`"),
            ),
            (
                r#""status":"failed","#,
                vec![],
                Some("has the status `failed`"),
            ),
            (
                r#""object":"response","#,
                vec![],
                Some("has an empty `output`"),
            ),
        ] {
            let text = format!(r#"{{{fields}"output":[{}]}}"#, items.join(","));
            let read = CompactionOutput::from_json(&text);
            let message = read.err().map(|error| error.message().to_owned());
            let expected = refused.map(|what| format!("the answer to the compaction {what}"));
            assert_eq!(message, expected, "{text}");
        }
        let chat = r#"{"object":"chat.completion","choices":[]}"#;
        let error = CompactionOutput::from_json(chat).unwrap_err();
        assert!(
            error
                .message()
                .ends_with("is a `chat.completion` and has no `output`")
        );
    }

    #[test]
    fn a_prompt_becomes_what_both_have_in_common() {
        let mut prompt = Prompt::user("a")
            .with_model("m")
            .with_tool(Tool::hosted("web_search"))
            .with_reasoning_effort("low")
            .with_store(false)
            .with_extra("client_metadata", json!({}));
        prompt.options.temperature = Some(1.0);
        let input = CompactionInput::from_prompt(&prompt);
        let mut expected = CompactionInput::new("m", prompt.input.clone());
        expected.tools = prompt.tools.clone();
        expected.reasoning = prompt.options.reasoning.clone();
        expected.store = Some(false);
        assert_eq!(input, expected);
    }
}
