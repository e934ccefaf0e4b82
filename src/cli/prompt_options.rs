//! The options that say what to ask.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use actix_responses::protocol::{OutputSchema, Prompt, RawJson, ResponseItem, Tool};
use clap::Args;

use super::{
    files,
    provider_options::{Upstream, variable},
    usage_error::UsageError,
};

const MODEL_VARIABLE: &str = "OPENAI_MODEL";
/// The name that an output schema goes by; the API wants one.
const SCHEMA_NAME: &str = "answer";

#[derive(Args)]
pub(super) struct PromptOptions {
    /// What to ask; `-` reads it from standard input, and so does leaving it out when something is piped in
    prompt: Option<String>,

    /// The model to ask; required with OpenAI's own API [env: OPENAI_MODEL]
    #[arg(short, long, value_name = "NAME")]
    model: Option<String>,

    /// What the model is to keep to
    #[arg(long, value_name = "TEXT")]
    instructions: Option<String>,

    /// A file with the conversation so far, a JSON array of items; the prompt comes behind it
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,

    /// A file with the tools that may be called, a JSON array
    #[arg(long, value_name = "FILE")]
    tools: Option<PathBuf>,

    /// A file with a JSON schema that the answer must follow
    #[arg(long, value_name = "FILE")]
    output_schema: Option<PathBuf>,

    /// How much the model thinks, such as low or high
    #[arg(long, value_name = "EFFORT")]
    reasoning_effort: Option<String>,

    /// Which summary of its reasoning it writes, such as auto
    #[arg(long, value_name = "KIND")]
    reasoning_summary: Option<String>,

    /// The most tokens that the answer may have, reasoning included
    #[arg(long, value_name = "N")]
    max_output_tokens: Option<u64>,

    /// How random the answer is, from 0 to 2
    #[arg(long, value_name = "N")]
    temperature: Option<f64>,

    /// Whether the server keeps the response
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    store: Option<bool>,

    /// The kept response that this one continues
    #[arg(long, value_name = "ID")]
    previous_response_id: Option<String>,
}

impl PromptOptions {
    /// Reads the files, and the prompt from stdin where that is where it is.
    pub(super) fn prompt(&self, upstream: &Upstream) -> Result<Prompt, UsageError> {
        let mut prompt = Prompt::new(self.items()?);
        prompt.instructions = self.instructions.clone();
        prompt.tools = self.tools()?;
        prompt.output_format = match &self.output_schema {
            Some(path) => {
                let schema = files::read_object("--output-schema", path)?;
                Some(OutputSchema::new(SCHEMA_NAME, schema).into())
            }
            None => None,
        };
        if let Some(effort) = &self.reasoning_effort {
            prompt = prompt.with_reasoning_effort(effort);
        }
        if let Some(summary) = &self.reasoning_summary {
            prompt = prompt.with_reasoning_summary(summary);
        }
        prompt.options.model = Some(model(self.model.as_deref(), upstream)?);
        prompt.options.max_output_tokens = self.max_output_tokens;
        prompt.options.temperature = self.temperature;
        prompt.options.store = self.store;
        prompt.options.previous_response_id = self.previous_response_id.clone();
        // Last, because a person may have to type it.
        if let Some(text) = self.text()? {
            prompt.input.push(ResponseItem::user_text(text));
        }
        if prompt.input.is_empty() {
            return Err(UsageError::new(
                "--input holds no item, and there is no prompt",
            ));
        }
        Ok(prompt)
    }

    fn items(&self) -> Result<Vec<ResponseItem>, UsageError> {
        self.input.as_deref().map_or(Ok(Vec::new()), conversation)
    }

    fn tools(&self) -> Result<Vec<Tool>, UsageError> {
        let Some(path) = &self.tools else {
            return Ok(Vec::new());
        };
        let tools: Vec<Tool> = files::read_objects("--tools", path, "tool")?
            .into_iter()
            .map(|raw: RawJson| Tool::from_raw(raw))
            .collect();
        match tools.iter().position(|tool| tool.tool_type().is_none()) {
            Some(index) => Err(UsageError::new(format!(
                "--tools {}: tool {} has no `type`",
                path.display(),
                index + 1
            ))),
            None => Ok(tools),
        }
    }

    /// The prompt's text. With `--input` there may be none, and then stdin is left alone.
    fn text(&self) -> Result<Option<String>, UsageError> {
        let text = match self.prompt.as_deref() {
            Some("-") => read_stdin()?,
            Some(text) => text.to_owned(),
            None if self.input.is_some() => return Ok(None),
            None if io::stdin().is_terminal() => {
                return Err(UsageError::new(
                    "no prompt: give one as argument, or pipe one in (see `actix-responses ask --help`)",
                ));
            }
            None => read_stdin()?,
        };
        if !text.trim().is_empty() {
            return Ok(Some(text));
        }
        let place = match self.prompt.as_deref() {
            None | Some("-") => " on standard input",
            Some(_) => "",
        };
        Err(UsageError::new(format!(
            "the prompt{place} is blank: there is nothing to ask"
        )))
    }
}

/// The model that an option names, or else the environment, or else the provider's.
pub(super) fn model(named: Option<&str>, upstream: &Upstream) -> Result<String, UsageError> {
    let named = match named {
        Some(name) => Some(name.to_owned()),
        None => variable(MODEL_VARIABLE)?,
    };
    named
        .or_else(|| upstream.default_model.map(str::to_owned))
        .ok_or_else(|| {
            UsageError::new(format!(
                "no model is named: give --model NAME, or set {MODEL_VARIABLE}"
            ))
        })
}

/// The items in the file that `--input` names.
pub(super) fn conversation(path: &Path) -> Result<Vec<ResponseItem>, UsageError> {
    let items = files::read_objects("--input", path, "item")?;
    Ok(items.into_iter().map(ResponseItem::from_raw).collect())
}

/// Without the line end that `echo` adds.
fn read_stdin() -> Result<String, UsageError> {
    let mut text = files::read_text("standard input", io::stdin())?;
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    Ok(text)
}
