//! Whether the server has room for new streams.

use std::sync::{Arc, Mutex, PoisonError};

use ::redis::cmd;
use tokio::time::{Duration, Instant};

use super::{connection::Link, values};
use crate::store::StoreError;

/// How long it holds what the server said of its memory.
const HOLDS: Duration = Duration::from_secs(1);

/// What the server said last.
#[derive(Default)]
pub(super) struct Memory(Mutex<Option<Known>>);

#[derive(Clone, Copy)]
struct Known {
    at: Instant,
    is_full: bool,
}

impl Memory {
    pub(super) async fn is_full(&self, link: &Arc<Link>) -> Result<bool, StoreError> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known
            && known.at.elapsed() < HOLDS
        {
            return Ok(known.is_full);
        }
        let info = link.ask(cmd("INFO").arg("memory")).await?;
        let info = values::text(&info).unwrap_or_default();
        let is_full = is_full(
            info,
            link.options().full_at_percent,
            link.options().full_at_bytes,
        );
        if known.is_none() {
            warn_of_policy(info);
        }
        let at = Instant::now();
        let known = Some(Known { at, is_full });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(is_full)
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut values = info.lines().filter_map(|line| line.split_once(':'));
    values.find_map(|(found, value)| (found == name).then_some(value.trim()))
}

fn is_full(info: &str, percent: u8, bytes: Option<u64>) -> bool {
    let number = |name| field(info, name)?.parse::<u64>().ok();
    let Some(used) = number("used_memory") else {
        return false;
    };
    let mark = number("maxmemory").filter(|most| *most > 0);
    let mark = mark.map(|most| (u128::from(most) * u128::from(percent) / 100) as u64);
    mark.into_iter().chain(bytes).any(|mark| used >= mark)
}

fn warn_of_policy(info: &str) {
    if let Some(policy) = field(info, "maxmemory_policy")
        && policy != "noeviction"
    {
        tracing::warn!(
            maxmemory_policy = policy,
            "the store lets streams go before their time when its memory is used up: `noeviction` is what is meant"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_is_of_what_the_server_may_use_or_in_bytes() {
        let info =
            "# Memory\r\nused_memory:800\r\nmaxmemory:1000\r\nmaxmemory_policy:noeviction\r\n";
        assert!(is_full(info, 80, None));
        assert!(!is_full(info, 81, None));
        assert!(is_full(info, 100, Some(800)));
        let unlimited = "used_memory:800\r\nmaxmemory:0\r\n";
        assert!(!is_full(unlimited, 0, None));
        assert!(is_full(unlimited, 80, Some(700)));
        assert!(!is_full("", 80, Some(0)));
    }
}
