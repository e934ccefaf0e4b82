//! What default answers depend on besides their request.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use super::answer::DefaultAnswer;

/// How one server makes its default answers.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// What tells its ids from those of other servers; without it ids and times are always the same.
    run: Option<String>,
    /// Whether to call a function also where `tool_choice` leaves it open.
    tool_calls: bool,
}

impl Answers {
    pub(super) fn new(is_reproducible: bool, tool_calls: bool) -> Self {
        // Keyed by the system's random numbers, which is all that is wanted of it.
        let random = RandomState::new().build_hasher().finish();
        Self {
            run: (!is_reproducible).then(|| format!("{random:016x}_")),
            tool_calls,
        }
    }

    pub(super) fn answer(&self, request: &Value, number: u64) -> DefaultAnswer {
        let mut answer = DefaultAnswer::calling(request, number, self.tool_calls);
        if let Some(run) = &self.run {
            answer.run.clone_from(run);
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            answer.created_at = since.map_or(answer.created_at, |since| since.as_secs());
        }
        answer
    }
}
