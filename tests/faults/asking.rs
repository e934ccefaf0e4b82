//! Runtimes as these tests want them.

use std::time::Duration;

use actix_responses::{Runtime, actors::SupervisorConfig, provider::Provider};

pub(crate) fn start_with(base_url: &str, change: impl FnOnce(&mut Provider, &mut u32)) -> Runtime {
    let mut provider = Provider::new("test", base_url).expect("a URL");
    let mut max_attempts = 1;
    change(&mut provider, &mut max_attempts);
    let mut config = SupervisorConfig::new(provider);
    config.retry.max_attempts = max_attempts;
    config.retry.backoff.base = Duration::from_millis(1);
    config.retry.backoff.cap = Duration::from_millis(1);
    Runtime::with_config(config).expect("a configuration")
}
