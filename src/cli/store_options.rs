//! The options that say where answers are kept, and what this node is among others.

use std::{env, path::PathBuf, sync::Arc, time::Duration};

use actix_responses::{
    duration::parse_limit,
    relay::{RelayConfig, StoreConfig},
    store::StreamStore,
};
use clap::Args;

use super::{console, usage_error::UsageError};

/// Others do not see it, as they see a command line.
const STORE_VARIABLE: &str = "RESPONSES_STORE";
/// How often a store is asked that did not answer at the start.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Args)]
#[command(next_help_heading = "Several nodes")]
pub(super) struct StoreOptions {
    /// Where answers are kept for clients that come back: memory, or a Redis by which several nodes are one relay: redis://HOST,
    /// rediss://HOST, unix:///PATH. One with a password belongs in --store-file or the variable [env: RESPONSES_STORE] [default: memory]
    // Read later: clap would print one that is wrong, with the password that it may hold.
    #[arg(long, value_name = "URL")]
    store: Option<String>,

    /// A file with the URL of --store in it
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    store_file: Option<PathBuf>,

    /// What this node is called in the store; each process adds digits of its own
    #[arg(long, value_name = "NAME")]
    node: Option<String>,

    /// How long after a node's last word another one goes on with its answers [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_limit)]
    claim_time: Option<Duration>,
}

/// A store that is not in memory, and what of its place is a secret.
type Opened = (Option<Arc<dyn StreamStore>>, Vec<String>);

impl StoreOptions {
    /// Puts what is given in place of what a file says, and makes the store; nothing in place of memory. It is not asked anything yet.
    pub(super) fn open(
        &self,
        mut store: StoreConfig,
        relay: &mut RelayConfig,
    ) -> Result<Opened, UsageError> {
        if self.node.is_some() {
            relay.node.clone_from(&self.node);
        }
        relay.claim_time = self.claim_time.unwrap_or(relay.claim_time);
        let place = match (self.url()?, &self.store, &self.store_file) {
            // What a file says was tried with it, but for the time.
            (None, ..) => "--claim-time",
            (url, said, file) => {
                store.url = url;
                match (said, file) {
                    (Some(_), _) => "--store",
                    (None, Some(_)) => "--store-file",
                    (None, None) => STORE_VARIABLE,
                }
            }
        };
        if self.store.is_some() && store.holds_password() {
            return Err(UsageError::new(format!(
                "--store: the URL holds a password, which others see while this runs: write it into a file for --store-file, or into \
                 the variable {STORE_VARIABLE}"
            )));
        }
        let opened = store.open(relay);
        let opened = opened.map_err(|error| UsageError::at(place, &error))?;
        Ok((opened, store.secrets()))
    }

    /// What is given beside the file of `--config`.
    fn url(&self) -> Result<Option<String>, UsageError> {
        match (&self.store, &self.store_file) {
            (Some(url), _) => Ok(Some(url.clone())),
            (None, Some(path)) => StoreConfig::from_file(path)
                .map(|store| store.url)
                .map_err(|error| UsageError::at("--store-file", &error)),
            (None, None) => {
                let url = env::var(STORE_VARIABLE).ok();
                Ok(url.filter(|url| !url.trim().is_empty()))
            }
        }
    }
}

/// Says on stderr once that a store does not answer, and once that it does then. Nothing waits for it.
pub(super) async fn watch_start(store: &dyn StreamStore) {
    let Err(error) = store.check().await else {
        return;
    };
    console::complain(&format!(
        "{error}: answers are relayed, and kept on this node alone until it does"
    ));
    let mut pause = tokio::time::interval(PAUSE);
    loop {
        pause.tick().await;
        if store.check().await.is_ok() {
            return console::complain("the store answers");
        }
    }
}
