//! The limits that a server reports.

use std::time::Duration;

use serde::Serialize;

/// Where a caller stands against one family of a server's limits, as of one response.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RateLimitSnapshot {
    /// The family, lower case (`codex` when the server names none); absent for plain `x-ratelimit-*` headers.
    pub limit_id: Option<String>,
    /// The family's name for people.
    pub limit_name: Option<String>,
    /// The caller's plan, where the server says it.
    pub plan_type: Option<String>,
    /// The shorter window.
    pub primary: Option<RateLimitWindow>,
    /// The longer window.
    pub secondary: Option<RateLimitWindow>,
    /// Prepaid credits.
    pub credits: Option<Credits>,
    /// `x-ratelimit-*-requests`.
    pub requests: Option<RateLimitBudget>,
    /// `x-ratelimit-*-tokens`.
    pub tokens: Option<RateLimitBudget>,
}

/// One sliding window of a limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RateLimitWindow {
    /// How much of it is used, in percent; finite.
    pub used_percent: f64,
    /// Its length in minutes.
    pub window_minutes: Option<i64>,
    /// When it starts anew, in seconds of Unix time.
    pub resets_at: Option<i64>,
}

/// Prepaid credits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Credits {
    /// Whether any are left.
    pub has_credits: bool,
    /// Whether they do not run out.
    pub unlimited: bool,
    /// What is left, as the server writes it.
    pub balance: Option<String>,
}

/// What is left of a count that refills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RateLimitBudget {
    /// The most that is ever left.
    pub limit: Option<u64>,
    /// What is left.
    pub remaining: Option<u64>,
    /// How long until it is full again, as of the response.
    #[serde(rename = "reset_ms", serialize_with = "as_millis")]
    pub reset: Option<Duration>,
}

fn as_millis<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => {
            serializer.serialize_u64(duration.as_millis().try_into().unwrap_or(u64::MAX))
        }
        None => serializer.serialize_none(),
    }
}

impl RateLimitSnapshot {
    /// stub
    pub fn from_event(_event: &serde_json::Value) -> Option<Self> {
        None
    }
}
