//! `compact`: a long conversation in, a shorter one out.

use std::path::PathBuf;

use actix_responses::protocol::{CompactionInput, CompactionOutput};
use clap::{ArgAction, Args};

use super::{
    exit_status::ExitStatus, logging, prompt_options, provider_options::ProviderOptions, question,
    usage_error::UsageError,
};

/// Make a conversation shorter
///
/// The items that take its place go to stdout as JSON lines, for `ask --input` after `jq -s`. It is part of the Responses API.
#[derive(Args)]
pub(super) struct Compact {
    /// A file with the conversation, a JSON array of items
    #[arg(long, value_name = "FILE")]
    input: PathBuf,

    /// The model that compacts; required with OpenAI's own API [env: OPENAI_MODEL]
    #[arg(short, long, value_name = "NAME")]
    model: Option<String>,

    /// What the model is to keep to
    #[arg(long, value_name = "TEXT")]
    instructions: Option<String>,

    /// Print the whole answer as it came, with its id and usage
    #[arg(long)]
    json: bool,

    /// Log to stderr what happens; twice for more. RUST_LOG chooses what
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    #[command(flatten)]
    provider: ProviderOptions,
}

impl Compact {
    pub(super) fn run(self) -> Result<ExitStatus, UsageError> {
        let upstream = self.provider.upstream()?;
        logging::start(self.verbose, upstream.secrets.clone())?;
        let items = prompt_options::conversation(&self.input)?;
        let model = prompt_options::model(self.model.as_deref(), &upstream)?;
        let mut input = CompactionInput::new(model, items);
        input.instructions = self.instructions;
        let shown = |output: CompactionOutput| match self.json {
            true => format!("{}\n", output.raw),
            false => items_of(&output),
        };
        question::answer(
            &upstream,
            async |runtime| runtime.compact(input).await,
            shown,
            "responses/compact",
        )
    }
}

fn items_of(output: &CompactionOutput) -> String {
    let items = output.items.iter();
    items
        .map(|item| {
            let item = serde_json::to_string(item).expect("an item is JSON");
            question::one_line(&item)
        })
        .collect()
}
