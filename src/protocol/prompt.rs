//! What a caller asks for.

mod elsewhere;
mod options;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::{RawJson, ResponseItem, Tool, received::ReceivedBody};

/// A request to a model, whichever wire it goes over.
///
/// As JSON it is the body of a request to the Responses API, without `stream`; every field is read back equal, and what has no field here
/// is in [`RequestOptions::extra`]. [`from_body`](Self::from_body) takes the body of somebody's request of either API.
///
/// ```
/// use actix_responses::protocol::{Prompt, Tool};
/// # use serde_json::json;
///
/// let prompt = Prompt::user("Which day is it?")
///     .with_model("gpt-5")
///     .with_instructions("Answer in one word.")
///     .with_tool(Tool::function("today", "The date.", json!({"type": "object"})))
///     .with_max_output_tokens(100);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Prompt {
    /// What the model is to keep to (`instructions`). An empty text counts as none.
    pub instructions: Option<String>,
    /// The conversation (`input`), oldest item first.
    pub input: Vec<ResponseItem>,
    /// What the model may call (`tools`).
    pub tools: Vec<Tool>,
    /// Whether the model may call several tools at once (`parallel_tool_calls`). Sent only with tools or a template.
    pub parallel_tool_calls: Option<bool>,
    /// The shape of the answer (`text.format`).
    pub output_format: Option<OutputFormat>,
    /// Everything else.
    pub options: RequestOptions,
    pub(crate) received: ReceivedBody,
}

/// The shape of an answer, where it is not to be plain text.
#[derive(Clone, Debug, Hash, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutputFormat {
    /// A JSON object of any shape (`json_object`). The API wants the word JSON somewhere in the prompt beside it.
    JsonObject,
    /// JSON that follows a schema (`json_schema`).
    JsonSchema(OutputSchema),
    /// Another, as the server has it, with its `type`: a regular expression, a grammar, ...
    #[serde(untagged)]
    Other(RawJson),
}

/// A form with fields that have no name here is an [`Other`](OutputFormat::Other), so that they are kept.
impl<'de> Deserialize<'de> for OutputFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Known {
            r#type: String,
            name: Option<String>,
            description: Option<String>,
            schema: Option<RawJson>,
            strict: Option<bool>,
        }
        let raw = RawJson::deserialize(deserializer)?;
        let known = raw.to::<Known>().ok();
        Ok(match known {
            Some(Known {
                r#type,
                name: None,
                description: None,
                schema: None,
                strict: None,
            }) if r#type == "json_object" => Self::JsonObject,
            Some(Known {
                r#type,
                name: Some(name),
                description,
                schema: Some(schema),
                strict,
            }) if r#type == "json_schema" => Self::JsonSchema(OutputSchema {
                name,
                description,
                schema,
                strict,
            }),
            _ => Self::Other(raw),
        })
    }
}

/// Null says as much as nothing.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl From<OutputSchema> for OutputFormat {
    fn from(schema: OutputSchema) -> Self {
        Self::JsonSchema(schema)
    }
}

/// A JSON schema that the answer must follow.
#[derive(Clone, Debug, Hash, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OutputSchema {
    /// Its name: letters, digits, `_` and `-`, at most 64.
    pub name: String,
    /// What the answer is for, which tells the model how to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The schema. Models write properties in its order, which [`RawJson::parse`] keeps and a [`Value`] does not.
    pub schema: RawJson,
    /// Whether the server holds the model to it (`strict`). The API's default is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
}

impl OutputSchema {
    /// A schema that the server holds the model to.
    pub fn new(name: impl Into<String>, schema: impl Into<RawJson>) -> Self {
        Self {
            name: name.into(),
            description: None,
            schema: schema.into(),
            strict: Some(true),
        }
    }

    /// Says what the answer is for.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Sets whether the server holds the model to it.
    #[must_use]
    pub fn with_strict(mut self, is_strict: bool) -> Self {
        self.strict = Some(is_strict);
        self
    }
}

/// A prompt that the server keeps (`prompt`): instructions, tools, settings and a model, with room for values.
///
/// ```
/// use actix_responses::protocol::{Prompt, PromptTemplate};
///
/// let template = PromptTemplate::new("pmpt_123").with_variable("city", "Oslo");
/// let prompt = Prompt::user("And tomorrow?").with_template(template);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PromptTemplate {
    /// Its id.
    pub id: String,
    /// Which version of it; absent is the one that the server calls current.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The values for the room that it leaves: texts, or content parts such as `{"type": "input_image", ...}`.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Map::is_empty"
    )]
    pub variables: Map<String, Value>,
    /// Fields without a name here. It must not repeat one that has.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl PromptTemplate {
    /// The current version of the template.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            version: None,
            variables: Map::new(),
            extra: Map::new(),
        }
    }

    /// Sets a field that has no name here.
    #[must_use]
    pub fn with_extra(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// Sets which version.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// Sets one of its values.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }
}

/// How much a model thinks, and what it shows of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReasoningOptions {
    /// `none`, `minimal`, `low`, `medium`, `high`, ...; which of them depends on the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effort: Option<String>,
    /// Which summary to write: `auto`, `concise` or `detailed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Whose reasoning the model sees: `auto`, `current_turn` or `all_turns`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Fields without a name here. It must not repeat one that has.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The settings of a request. Each is sent under its own name unless it says otherwise; what is absent is not sent, and
/// the server's default holds.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RequestOptions {
    /// Which model answers. Required, unless a template names it.
    pub model: Option<String>,
    /// A prompt that the server keeps (`prompt`). What this request says itself goes before what the template says. Only
    /// the Responses wire has it.
    pub template: Option<PromptTemplate>,
    /// How much the model thinks.
    pub reasoning: Option<ReasoningOptions>,
    /// How long answers are: `low`, `medium` or `high` (`text.verbosity`).
    pub verbosity: Option<String>,
    /// Fields of `text` without a name here. Only the Responses wire has them.
    pub text_extra: Map<String, Value>,
    /// What the server adds to its answer. When absent, `reasoning.encrypted_content` is asked for where it is needed:
    /// with `reasoning` set and `store` false. An empty list asks for nothing.
    pub include: Option<Vec<String>>,
    /// Whether the server keeps the response. When it is false, nothing that the server has stored can be referred to: see
    /// [`ItemIds`](crate::wire::ItemIds).
    pub store: Option<bool>,
    /// The stored response that this one continues.
    pub previous_response_id: Option<String>,
    /// The stored conversation that this response belongs to.
    pub conversation: Option<String>,
    /// What requests that begin alike have in common, so that they hit the same cache.
    pub prompt_cache_key: Option<String>,
    /// How long a cached prefix is kept: `in_memory` or `24h`.
    pub prompt_cache_retention: Option<String>,
    /// `auto`, `default`, `flex` or `priority`.
    pub service_tier: Option<String>,
    /// The most tokens that the answer may have, reasoning included.
    pub max_output_tokens: Option<u64>,
    /// The most calls of the server's own tools.
    pub max_tool_calls: Option<u64>,
    /// How random the answer is, from 0 to 2.
    pub temperature: Option<f64>,
    /// From which share of the likeliest tokens to choose, from 0 to 1.
    pub top_p: Option<f64>,
    /// How many alternatives to report for each token, from 0 to 20.
    pub top_logprobs: Option<u32>,
    /// Which tool to call: `"auto"`, `"none"`, `"required"`, or an object that names one. Sent without tools too, for those
    /// of a template; where there are none at all, servers may refuse it.
    pub tool_choice: Option<Value>,
    /// Whether the response goes on when nobody reads it.
    pub background: Option<bool>,
    /// What to do with input that is too long: `auto` drops the oldest items, `disabled` refuses.
    pub truncation: Option<String>,
    /// How to stream, for example `{"include_obfuscation": false}`.
    pub stream_options: Option<Value>,
    /// The caller's notes, kept with the response: at most 16 keys of 64 characters, values of 512.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Who asks, as a hash, so that the provider can tell abusers apart.
    pub safety_identifier: Option<String>,
    /// The older name of that.
    pub user: Option<String>,
    /// Body fields without a name here, such as `client_metadata`. When the body is built, one is refused that a [`Prompt`] has a
    /// field for, by whichever name the wire has it: also where the prompt leaves that open.
    pub extra: Map<String, Value>,
}

impl Prompt {
    /// A request with the given conversation.
    pub fn new(input: Vec<ResponseItem>) -> Self {
        Self {
            input,
            ..Self::default()
        }
    }

    /// A request with one message of the user.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(vec![ResponseItem::user_text(text)])
    }

    /// Sets which model answers.
    #[must_use]
    pub fn with_model(mut self, model: impl Into<String>) -> Self {
        self.options.model = Some(model.into());
        self
    }

    /// Sets what the model is to keep to.
    #[must_use]
    pub fn with_instructions(mut self, instructions: impl Into<String>) -> Self {
        self.instructions = Some(instructions.into());
        self
    }

    /// Adds an item to the end of the conversation.
    #[must_use]
    pub fn with_item(mut self, item: ResponseItem) -> Self {
        self.input.push(item);
        self
    }

    /// Adds a tool.
    #[must_use]
    pub fn with_tool(mut self, tool: Tool) -> Self {
        self.tools.push(tool);
        self
    }

    /// Sets whether the model may call several tools at once.
    #[must_use]
    pub fn with_parallel_tool_calls(mut self, is_allowed: bool) -> Self {
        self.parallel_tool_calls = Some(is_allowed);
        self
    }

    /// Sets everything else. What other methods set of it, such as the model, is lost.
    #[must_use]
    pub fn with_options(mut self, options: RequestOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets the shape of the answer: an [`OutputFormat`], or an [`OutputSchema`].
    #[must_use]
    pub fn with_output_format(mut self, format: impl Into<OutputFormat>) -> Self {
        self.output_format = Some(format.into());
        self
    }

    /// Sets the schema that the answer must follow.
    #[must_use]
    pub fn with_output_schema(self, schema: OutputSchema) -> Self {
        self.with_output_format(schema)
    }

    /// Sets how much the model thinks: `low`, `medium`, `high`, ...
    #[must_use]
    pub fn with_reasoning_effort(mut self, effort: impl Into<String>) -> Self {
        self.options.reasoning.get_or_insert_default().effort = Some(effort.into());
        self
    }

    /// Sets which summary of its reasoning the model writes: `auto`, `concise` or `detailed`.
    #[must_use]
    pub fn with_reasoning_summary(mut self, summary: impl Into<String>) -> Self {
        self.options.reasoning.get_or_insert_default().summary = Some(summary.into());
        self
    }

    /// Sets whose reasoning the model sees: `auto`, `current_turn` or `all_turns`.
    #[must_use]
    pub fn with_reasoning_context(mut self, context: impl Into<String>) -> Self {
        self.options.reasoning.get_or_insert_default().context = Some(context.into());
        self
    }

    /// Sets what the server adds to its answer; nothing, if the list is empty.
    #[must_use]
    pub fn with_include(mut self, include: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.options.include = Some(include.into_iter().map(Into::into).collect());
        self
    }

    /// Adds one of the caller's notes.
    #[must_use]
    pub fn with_metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let metadata = self.options.metadata.get_or_insert_default();
        metadata.insert(name.into(), value.into());
        self
    }

    /// Sets a field of `text` that has no name here.
    #[must_use]
    pub fn with_text_extra(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.options.text_extra.insert(name.into(), value.into());
        self
    }

    /// Sets a body field that has no name here.
    #[must_use]
    pub fn with_extra(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.options.extra.insert(name.into(), value.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_built_step_by_step() {
        let prompt = Prompt::user("a")
            .with_item(ResponseItem::assistant_text("b"))
            .with_model("m")
            .with_instructions("i")
            .with_reasoning_effort("low")
            .with_reasoning_summary("auto")
            .with_extra("client_metadata", 1);
        assert_eq!(prompt.input.len(), 2);
        assert_eq!(prompt.options.model.as_deref(), Some("m"));
        let reasoning = prompt.options.reasoning.unwrap();
        assert_eq!(
            (reasoning.effort.as_deref(), reasoning.summary.as_deref()),
            (Some("low"), Some("auto"))
        );
        assert_eq!(prompt.options.extra["client_metadata"], 1);
    }
    #[test]
    fn every_option_has_a_method_that_sets_it() {
        let built = Prompt::user("a")
            .with_model("m")
            .with_template(PromptTemplate::new("t"))
            .with_reasoning(ReasoningOptions::default())
            .with_reasoning_context("auto")
            .with_verbosity("low")
            .with_include(["reasoning.encrypted_content"])
            .with_store(false)
            .with_previous_response_id("r")
            .with_conversation("c")
            .with_prompt_cache_key("k")
            .with_prompt_cache_retention("24h")
            .with_service_tier("flex")
            .with_max_output_tokens(1)
            .with_max_tool_calls(2)
            .with_temperature(0.5)
            .with_top_p(0.25)
            .with_top_logprobs(3)
            .with_tool_choice("auto")
            .with_background(true)
            .with_truncation("auto")
            .with_stream_options(serde_json::json!({"include_obfuscation": false}))
            .with_metadata("a", "1")
            .with_metadata("b", "2")
            .with_safety_identifier("s")
            .with_user("u")
            .with_text_extra("t", 2)
            .with_extra("e", 1);
        // Without `..`, so that a new option is not forgotten.
        let options = RequestOptions {
            model: Some("m".into()),
            template: Some(PromptTemplate::new("t")),
            reasoning: Some(ReasoningOptions {
                context: Some("auto".into()),
                ..ReasoningOptions::default()
            }),
            verbosity: Some("low".into()),
            text_extra: [("t".to_owned(), Value::from(2))].into_iter().collect(),
            include: Some(vec!["reasoning.encrypted_content".into()]),
            store: Some(false),
            previous_response_id: Some("r".into()),
            conversation: Some("c".into()),
            prompt_cache_key: Some("k".into()),
            prompt_cache_retention: Some("24h".into()),
            service_tier: Some("flex".into()),
            max_output_tokens: Some(1),
            max_tool_calls: Some(2),
            temperature: Some(0.5),
            top_p: Some(0.25),
            top_logprobs: Some(3),
            tool_choice: Some("auto".into()),
            background: Some(true),
            truncation: Some("auto".into()),
            stream_options: Some(serde_json::json!({"include_obfuscation": false})),
            metadata: Some(
                [("a", "1"), ("b", "2")]
                    .map(|(a, b)| (a.into(), b.into()))
                    .into(),
            ),
            safety_identifier: Some("s".into()),
            user: Some("u".into()),
            extra: [("e".to_owned(), Value::from(1))].into_iter().collect(),
        };
        assert_eq!(built.options, options);
    }
}
