//! `models`: what a provider has.

use actix_responses::protocol::ModelList;
use clap::{ArgAction, Args};

use super::{
    exit_status::ExitStatus, harmless, logging, provider_options::ProviderOptions, question,
    usage_error::UsageError,
};

/// List the models that a provider has, one a line
#[derive(Args)]
pub(super) struct Models {
    /// Print what the provider says of each, as JSON lines
    #[arg(long)]
    json: bool,

    /// Log to stderr what happens; twice for more. RUST_LOG chooses what
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    #[command(flatten)]
    provider: ProviderOptions,
}

impl Models {
    pub(super) fn run(self) -> Result<ExitStatus, UsageError> {
        let upstream = self.provider.upstream()?;
        logging::start(self.verbose, upstream.secrets.clone())?;
        let line = |list: ModelList| {
            let models = list.models.iter();
            models
                .map(|model| match self.json {
                    true => question::one_line(model.raw.get()),
                    false => harmless::printable(&question::one_line(&model.id)),
                })
                .collect()
        };
        question::answer(
            &upstream,
            async |runtime| runtime.models().await,
            line,
            "models",
        )
    }
}
