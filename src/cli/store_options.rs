//! The options that say where answers are kept, and what this node is among others.

use std::{path::PathBuf, sync::Arc, time::Duration};

use actix_responses::{
    duration::parse_limit,
    relay::{RelayConfig, StoreConfig},
    store::{StoreError, StreamStore},
};
use clap::Args;

use super::{console, provider_options::variable, usage_error::UsageError};

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

    /// How long after a node's last word another one goes on with its answers, once somebody asks for them there [default: 10s]
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
        if let Some(time) = self.claim_time {
            relay.claim_time = time;
            // In memory nothing else can be wrong.
            let tried = StoreConfig::default().open(relay);
            tried.map_err(|error| UsageError::at("--claim-time", &error))?;
        }
        let place = match (self.url()?, &self.store, &self.store_file) {
            // What a file says was tried with it.
            (None, ..) => "--config",
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
        let has_own = self.node.is_some() || self.claim_time.is_some();
        // A file may be tried with --store memory.
        let default = RelayConfig::default();
        let of_file = relay.node.is_some() || relay.claim_time != default.claim_time;
        let is_unsaid = store.url.is_none() && of_file;
        if opened.is_none() && (has_own || is_unsaid) {
            return Err(UsageError::new(
                "a node's name and the claim time (--node, --claim-time) are for nodes that share a store: name one with --store, or `url` \
                 in [store]"
                    .to_owned(),
            ));
        }
        Ok((opened, store.secrets()))
    }

    /// What is given beside the file of `--config`.
    fn url(&self) -> Result<Option<String>, UsageError> {
        match (&self.store, &self.store_file) {
            (Some(url), _) => Ok(Some(url.clone())),
            (None, Some(path)) => StoreConfig::from_file(path)
                .map(|store| store.url)
                .map_err(|error| UsageError::at("--store-file", &error)),
            (None, None) => variable(STORE_VARIABLE),
        }
    }
}

/// Says on stderr once that a store does not answer, and once that it does then. Nothing waits for it.
pub(super) async fn watch_start(store: &dyn StreamStore) {
    watch(async || store.check().await, console::complain).await;
}

/// Asks until there is an answer.
async fn watch(check: impl AsyncFn() -> Result<(), StoreError>, mut say: impl FnMut(&str)) {
    let mut is_away = false;
    loop {
        match check().await {
            Ok(()) if is_away => return say("the store answers"),
            Ok(()) => return,
            // It answers, as `/readyz` says of it, too. What makes room may take days.
            Err(error @ StoreError::Full) => {
                return say(&format!(
                    "{error}: new answers are relayed, and not kept until it has room"
                ));
            }
            Err(error) if !is_away => say(&format!(
                "{error}: answers are relayed, and kept on this node alone until it does"
            )),
            Err(_) => {}
        }
        is_away = true;
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::Instant;

    use super::*;

    /// What is said of a store that gives these answers, and how often it was asked; each takes a moment.
    async fn told(answers: Vec<Result<(), StoreError>>) -> (Vec<String>, usize) {
        let count = answers.len();
        let left = RefCell::new(answers.into_iter());
        let mut said = Vec::new();
        let check = async || {
            tokio::time::sleep(PAUSE * 3).await;
            left.borrow_mut().next().expect("an answer was enough")
        };
        watch(check, |text| said.push(text.to_owned())).await;
        let asked = count - left.borrow().len();
        (said, asked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_full_answers_and_one_that_is_away_is_told_of_once() {
        let away = || Err(StoreError::Unavailable("refused".to_owned()));
        let full = "the store is full: new answers are relayed, and not kept until it has room";
        let is_away = "the store does not answer: refused: answers are relayed, and kept on this node alone until it does";
        assert_eq!(told(vec![Ok(())]).await, (vec![], 1));
        let found = told(vec![Err(StoreError::Full)]).await;
        assert_eq!(found, (vec![full.to_owned()], 1));
        let began = Instant::now();
        let found = told(vec![away(), away(), away(), Ok(())]).await;
        let said = [is_away, "the store answers"].map(str::to_owned);
        assert_eq!(found, (said.to_vec(), 4));
        // However long an answer takes, there is a pause behind it.
        assert_eq!(began.elapsed(), PAUSE * (4 * 3 + 3));
        let found = told(vec![away(), Err(StoreError::Full)]).await;
        assert_eq!(found, ([is_away, full].map(str::to_owned).to_vec(), 2));
    }
}
