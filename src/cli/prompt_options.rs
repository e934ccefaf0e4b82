//! The options that say what to ask.

use std::{
    io::{self, BufRead as _, IsTerminal as _},
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use actix_responses::protocol::{
    ContentPart, MessageItem, OutputSchema, Prompt, ResponseItem, Role, Tool,
};
use clap::{Args, Command, Id};

use super::{
    attachments, console, files,
    provider_options::{Upstream, variable},
    usage_error::UsageError,
};

const MODEL_VARIABLE: &str = "OPENAI_MODEL";
/// The name that an output schema goes by; the API wants one.
const SCHEMA_NAME: &str = "answer";

/// How long a pipe may give nothing before that is said.
const SILENCE: Duration = Duration::from_secs(2);

#[derive(Args)]
pub(super) struct PromptOptions {
    /// What to ask; several words are one prompt. What is piped in comes behind it; without it, or as `-`, what is piped in is
    /// the prompt
    #[arg(value_name = "PROMPT")]
    words: Vec<String>,

    /// The model to ask; required with OpenAI's own API [env: OPENAI_MODEL]
    #[arg(short, long, value_name = "NAME")]
    model: Option<String>,

    /// What the model is to keep to
    #[arg(short, long, visible_alias = "instructions", value_name = "TEXT")]
    system: Option<String>,

    /// A file to ask about: text, an image (PNG, JPEG, GIF, WebP) or a PDF; may be repeated, 32 MiB in all
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// A file with the conversation so far, a JSON array of items; the prompt comes behind it
    #[arg(long, value_name = "FILE", help_heading = "Conversation")]
    input: Option<PathBuf>,

    /// The kept response that this one continues
    #[arg(long, value_name = "ID", help_heading = "Conversation")]
    previous_response_id: Option<String>,

    /// Whether the server keeps the response
    #[arg(
        long,
        value_name = "true|false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        help_heading = "Conversation"
    )]
    store: Option<bool>,

    /// Let the answer go on at the server when this ends, and print its id on stderr at once: --resume takes it up
    #[arg(long, help_heading = "Conversation")]
    pub(super) background: bool,

    /// A file with the tools that may be called, a JSON array
    #[arg(long, value_name = "FILE", help_heading = "Answer")]
    tools: Option<PathBuf>,

    /// A file with a JSON schema that the answer must follow
    #[arg(long, value_name = "FILE", help_heading = "Answer")]
    output_schema: Option<PathBuf>,

    /// The most tokens that the answer may have, reasoning included
    #[arg(long, value_name = "N", help_heading = "Answer")]
    max_output_tokens: Option<u64>,

    /// How random the answer is, from 0 to 2
    #[arg(long, value_name = "N", help_heading = "Answer")]
    temperature: Option<f64>,

    /// How much the model thinks, such as low or high
    #[arg(long, value_name = "EFFORT", help_heading = "Answer")]
    reasoning_effort: Option<String>,

    /// Which summary of its reasoning it writes, such as auto
    #[arg(long, value_name = "KIND", help_heading = "Answer")]
    reasoning_summary: Option<String>,
}

impl PromptOptions {
    /// All of them: what conflicts with one is told by its name, and with their group by the names of all.
    pub(super) fn ids() -> Vec<Id> {
        let command = Self::augment_args(Command::new("ask"));
        let arguments = command.get_arguments();
        arguments
            .map(|argument| argument.get_id().clone())
            .collect()
    }

    /// Reads the files, and the prompt from stdin where that is where it is.
    pub(super) fn prompt(&self, upstream: &Upstream) -> Result<Prompt, UsageError> {
        let mut prompt = Prompt::new(self.items()?);
        prompt.instructions = self.system.clone();
        prompt.tools = self.tools()?;
        if let Some(path) = &self.output_schema {
            let schema = files::read_object("--output-schema", path)?;
            prompt.output_format = Some(OutputSchema::new(SCHEMA_NAME, schema).into());
        }
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
        if self.background {
            if self.store == Some(false) {
                return Err(UsageError::new(
                    "--background needs a server that keeps the response: leave out --store=false",
                ));
            }
            prompt.options.background = Some(true);
            prompt.options.store = Some(true);
        }
        prompt.options.previous_response_id = self.previous_response_id.clone();
        let mut parts = attachments::parts(&self.files)?;
        // Last, because a person may have to type it.
        parts.extend(self.text()?.map(ContentPart::input_text));
        if !parts.is_empty() {
            let message = MessageItem::new(Role::User, parts);
            prompt.input.push(ResponseItem::Message(message));
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
            .map(Tool::from_raw)
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
        let words = self.words.join(" ");
        let is_absent = self.words.is_empty();
        let is_terminal = io::stdin().is_terminal();
        let blank = |place| {
            UsageError::new(format!(
                "the prompt{place} is blank: there is nothing to ask"
            ))
        };
        if !is_absent && words != "-" {
            if words.trim().is_empty() {
                return Err(blank(""));
            }
            let piped = match is_terminal {
                true => String::new(),
                false => read_stdin(&words)?,
            };
            return Ok(Some(match piped.trim().is_empty() {
                true => words,
                false => format!("{words}\n\n{piped}"),
            }));
        }
        if is_absent && self.input.is_some() {
            return Ok(None);
        }
        let may_be_blank = is_absent && !self.files.is_empty();
        let text = match is_absent && is_terminal {
            true if may_be_blank => String::new(),
            true => {
                return Err(UsageError::new(
                    "no prompt: give one as argument, or pipe one in (see `actix-responses ask --help`)",
                ));
            }
            false => read_stdin(&words)?,
        };
        match text.trim().is_empty() {
            false => Ok(Some(text)),
            true if may_be_blank => Ok(None),
            true => Err(blank(" on standard input")),
        }
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

/// Without the line end that `echo` adds. `words` are what was said of it on the command line.
fn read_stdin(words: &str) -> Result<String, UsageError> {
    let mut stdin = io::stdin().lock();
    if !stdin.is_terminal() {
        let silence = watch_silence(words);
        // An error, or the end, comes again when it is read.
        let _ = stdin.fill_buf();
        drop(silence);
    }
    let mut text = files::read_text("standard input", stdin)?;
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    Ok(text)
}

/// Says so on stderr when what it gives is not dropped in time: somebody may have forgotten to close the pipe.
fn watch_silence(words: &str) -> Sender<()> {
    let told = match words {
        "" | "-" => "what comes there is the prompt, so its end is waited for",
        _ => {
            "what comes there is part of the prompt, so its end is waited for (`< /dev/null` asks without it)"
        }
    };
    let (silence, is_over) = mpsc::channel::<()>();
    let watching = move || {
        if is_over.recv_timeout(SILENCE) == Err(RecvTimeoutError::Timeout) {
            console::complain(&format!(
                "nothing has come on standard input for 2 s; {told}"
            ));
        }
    };
    // Without the thread it is not said.
    let _ = thread::Builder::new()
        .name("silence".to_owned())
        .spawn(watching);
    silence
}
