//! Pacing requests by the limits that servers tell, so that they are not refused.

mod budget;
mod gate;
mod told;

use std::{collections::HashMap, time::Duration};

use self::gate::{Gate, Outlook};
pub(crate) use self::{gate::Verdict, told::Told};
use crate::protocol::error::{ApiError, ErrorKind};

/// How requests are paced that the server limits: those of one model of one key at one server together, in the order in which they were
/// accepted, streams and questions alike.
///
/// Of what the server says, these count: the `x-ratelimit-*` headers for requests and tokens with their resets; `retry-after` and its like of
/// a refusal (429, or a 5xx that has one), until which nothing is sent; and percentages (`x-codex-*` and its like) that have reached 100 without
/// credits. While more wait than is left, that is spread over the time to the reset. A server is believed for an hour at most.
///
/// The tokens of a request are taken to be a quarter of its body's bytes, and its `max_output_tokens`. One that needs more than the whole limit
/// goes when the limit is full.
///
/// A key is known by the provider's [`auth`](crate::provider::Provider), which clones of the provider share, and by the headers of the request
/// that hold one. Limits of 1,024 models of keys are remembered; beyond that, and with all of them in use, requests are not paced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimiterPolicy {
    /// How many requests go out before the first head of a response has come, at least 1. Each good head lets one more wait for its own,
    /// and each refusal halves that. Default 4: fewer than any limit known.
    pub probes: u32,
    /// The longest that a request waits before one attempt. One that has waited so long, or would by what the server says, fails with
    /// [`ErrorKind::RateLimited`], or with what its last attempt failed with. Default 10 min: ten windows of a minute.
    pub max_wait: Duration,
}

with_fields!(LimiterPolicy {
    with_probes(probes: u32),
    with_max_wait(max_wait: Duration),
});

impl Default for LimiterPolicy {
    fn default() -> Self {
        Self {
            probes: 4,
            max_wait: Duration::from_secs(600),
        }
    }
}

/// How many models of keys are remembered: some 400 bytes each, without those who wait.
const MAX_GATES: usize = 1024;

/// How many bytes of a request make a token, roughly: English text in JSON.
const BYTES_PER_TOKEN: u64 = 4;

/// How many tokens a server may count for a request before it answers.
pub(crate) fn estimated_tokens(body_bytes: usize, max_output_tokens: u64) -> u64 {
    (body_bytes as u64 / BYTES_PER_TOKEN).saturating_add(max_output_tokens)
}

/// The gates, each by a number that stands for its server, key and model. It knows no clock: moments are durations since any fixed one. Whoever
/// waits has a ticket; the lowest goes first.
#[derive(Debug)]
pub(crate) struct Limiter {
    policy: LimiterPolicy,
    gates: HashMap<u64, Gate>,
}

impl Limiter {
    pub(crate) fn new(policy: LimiterPolicy) -> Self {
        Self {
            policy,
            gates: HashMap::new(),
        }
    }

    pub(crate) fn max_wait(&self) -> Duration {
        self.policy.max_wait
    }

    /// Joins the queue before a gate, until some moment. False when there is no room for another gate.
    pub(crate) fn enter(
        &mut self,
        gate: u64,
        ticket: u64,
        tokens: u64,
        until: Duration,
        now: Duration,
    ) -> bool {
        if self.gates.len() >= MAX_GATES && !self.gates.contains_key(&gate) {
            let idle = self.gates.iter().filter(|(_, gate)| gate.is_idle());
            let oldest = idle.min_by_key(|(_, gate)| gate.used_at);
            let Some(oldest) = oldest.map(|(number, _)| *number) else {
                return false;
            };
            self.gates.remove(&oldest);
        }
        let probes = self.policy.probes;
        let gate = self.gates.entry(gate).or_insert_with(|| Gate::new(probes));
        gate.enter(ticket, tokens, until, now);
        true
    }

    /// Whether it was let through, and nothing is known of its attempt yet.
    pub(crate) fn has_let_through(&self, gate: u64, ticket: u64) -> bool {
        let gate = self.gates.get(&gate);
        gate.is_some_and(|gate| gate.has_let_through(ticket))
    }

    /// It waits no more, or was let through and is not sent.
    pub(crate) fn leave(&mut self, gate: u64, ticket: u64) {
        if let Some(gate) = self.gates.get_mut(&gate) {
            gate.leave(ticket);
        }
    }

    /// The head of its response has come.
    pub(crate) fn on_head(&mut self, gate: u64, ticket: u64, told: &Told, now: Duration) {
        if let Some(gate) = self.gates.get_mut(&gate) {
            gate.on_head(ticket, told, now);
        }
    }

    /// Its attempt has ended.
    pub(crate) fn on_end(
        &mut self,
        gate: u64,
        ticket: u64,
        error: Option<&ApiError>,
        now: Duration,
    ) {
        let limited = error.filter(|error| error.kind() == ErrorKind::RateLimited);
        let closed_for = limited.map(|error| error.details().retry_after.unwrap_or_default());
        if let Some(gate) = self.gates.get_mut(&gate) {
            gate.on_end(ticket, closed_for, now);
        }
    }

    /// The next of those who wait before a gate that goes, or waits no longer.
    pub(crate) fn next(&mut self, gate: u64, now: Duration) -> Option<Verdict> {
        self.gates.get_mut(&gate)?.next(now)
    }

    /// When to ask again, unless something happens before.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        self.gates.values().filter_map(|gate| gate.wake).min()
    }

    /// The gates to ask then, in the order of those who wait.
    pub(crate) fn due(&self, now: Duration) -> Vec<u64> {
        let due = self.gates.iter();
        let due = due.filter(|(_, gate)| gate.wake.is_some_and(|wake| wake <= now));
        let mut due: Vec<_> = due.map(|(number, gate)| (gate.first(), *number)).collect();
        due.sort_unstable();
        due.into_iter().map(|(_, number)| number).collect()
    }

    pub(crate) fn outlook(&self, gate: u64, ticket: u64, now: Duration) -> Option<Outlook> {
        self.gates.get(&gate)?.outlook(ticket, now)
    }
}

/// The error of a request that the limits kept waiting for too long.
pub(crate) fn waited_too_long(model: &str, max_wait: Duration, opens_in: Duration) -> ApiError {
    let message = format!(
        "not sent: the server's limits for model {model:?} let nothing through in time (limit `max_wait` of the limiter, {max_wait:?}, or \
         the request's total timeout): ask for less at a time, wait longer, or have the limits raised"
    );
    let mut error = ApiError::new(ErrorKind::RateLimited, message);
    error.details_mut().retry_after = (!opens_in.is_zero()).then_some(opens_in);
    error
}

#[cfg(test)]
mod tests;
