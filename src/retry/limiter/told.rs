//! What the head of a response says of limits.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};

use crate::{
    protocol::{RateLimitBudget, RateLimitSnapshot, RateLimitWindow},
    retry::delay_from_headers,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Told {
    /// The request was answered.
    pub(super) is_good: bool,
    /// It was one too many.
    pub(super) is_refused: bool,
    /// How long the server wants no other; zero when it is to be none, and nothing says for how long.
    pub(super) closed_for: Option<Duration>,
    /// Requests and tokens.
    pub(super) budgets: [Option<RateLimitBudget>; 2],
}

impl Told {
    /// Reads a head. Of the families of percentages the active one counts, and only once it is used up and no credits are left.
    pub(crate) fn from_head(
        status: StatusCode,
        headers: &HeaderMap,
        is_good: bool,
        now: SystemTime,
    ) -> Self {
        let snapshots = RateLimitSnapshot::from_headers(headers);
        let retry_after = delay_from_headers(headers, now);
        let is_too_much = status == StatusCode::TOO_MANY_REQUESTS;
        let is_refused = is_too_much || (status.is_server_error() && retry_after.is_some());
        let refused_for = is_refused.then(|| retry_after.unwrap_or_default());
        let used_up_for = snapshots.first().and_then(|active| used_up(active, now));
        let budgets = snapshots.last();
        Self {
            is_good,
            is_refused,
            closed_for: refused_for.max(used_up_for),
            budgets: [
                budgets.and_then(|budgets| budgets.requests),
                budgets.and_then(|budgets| budgets.tokens),
            ],
        }
    }
}

/// How long a family of percentages stays used up.
fn used_up(family: &RateLimitSnapshot, now: SystemTime) -> Option<Duration> {
    let has_credits = |family: &RateLimitSnapshot| {
        let credits = family.credits.as_ref();
        credits.is_some_and(|credits| credits.has_credits || credits.unlimited)
    };
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let left = |window: &RateLimitWindow| {
        let resets_at = u64::try_from(window.resets_at?).ok()?;
        let left = Duration::from_secs(resets_at).checked_sub(since_epoch)?;
        (window.used_percent >= 100.0 && !left.is_zero()).then_some(left)
    };
    let windows = [&family.primary, &family.secondary].into_iter().flatten();
    windows
        .filter_map(left)
        .max()
        .filter(|_| !has_credits(family))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const NOW: u64 = 1_767_225_600;

    fn told(status: u16, headers: &[(&'static str, &'static str)]) -> Told {
        let header = |(name, value): &(&'static str, &'static str)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        };
        let headers = headers.iter().map(header).collect();
        let status = StatusCode::from_u16(status).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        Told::from_head(status, &headers, status.is_success(), now)
    }

    #[test]
    fn requests_and_tokens_are_told_of_a_good_head_and_of_a_refusal() {
        let budgets = [
            ("x-ratelimit-limit-requests", "500"),
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "120ms"),
            ("x-ratelimit-remaining-tokens", "29000"),
            ("x-codex-primary-used-percent", "50"),
            ("retry-after", "2"),
        ];
        let good = told(200, &budgets);
        let [requests, tokens] = good.budgets;
        let requests = requests.unwrap();
        assert_eq!((requests.limit, requests.remaining), (Some(500), Some(0)));
        assert_eq!(requests.reset, Some(Duration::from_millis(120)));
        assert_eq!(tokens.unwrap().remaining, Some(29_000));
        assert!(good.is_good && !good.is_refused);
        assert_eq!(good.closed_for, None, "nobody is to wait who was answered");
        let refused = told(429, &budgets);
        assert!(refused.is_refused && !refused.is_good);
        assert_eq!(refused.budgets, good.budgets);
        assert_eq!(refused.closed_for, Some(Duration::from_secs(2)));
    }

    #[test]
    fn what_counts_as_a_refusal() {
        let after = [("retry-after", "7")];
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (status, headers, expected) in [
            (429, &after[..], seconds(7)),
            (429, &[], seconds(0)),
            (503, &after, seconds(7)),
            (503, &[], None),
            (401, &after, None),
        ] {
            let told = told(status, headers);
            assert_eq!(told.closed_for, expected, "{status}");
            assert_eq!(told.is_refused, expected.is_some(), "{status}");
        }
    }

    #[test]
    fn percentages_close_once_they_are_used_up_and_no_credits_are_left() {
        const RESET: &str = "1767225900";
        let used = |percent| {
            [
                ("x-codex-primary-used-percent", percent),
                ("x-codex-primary-reset-at", RESET),
                ("x-codex-secondary-used-percent", "10"),
                ("x-codex-secondary-reset-at", "1767300000"),
            ]
        };
        let waits = |headers: &[_]| told(200, headers).closed_for;
        assert_eq!(waits(&used("99.9")), None);
        assert_eq!(waits(&used("100")), Some(Duration::from_secs(300)));
        let mut credits = used("100").to_vec();
        credits.push(("x-codex-credits-has-credits", "true"));
        credits.push(("x-codex-credits-unlimited", "false"));
        assert_eq!(waits(&credits), None);
        let past = [
            ("x-codex-primary-used-percent", "100"),
            ("x-codex-primary-reset-at", "1767225600"),
        ];
        assert_eq!(waits(&past), None);
    }
}
