//! The limits that a server reports.

use std::{borrow::Cow, collections::BTreeSet, time::Duration};

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::duration_notation;
use crate::json::lenient::integer;

/// Where a caller stands against one family of a server's limits, as of one response.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RateLimitSnapshot {
    /// The family, lower case (`codex` when the server names none); absent for plain `x-ratelimit-*` headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_id: Option<String>,
    /// The family's name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_name: Option<String>,
    /// The caller's plan, where the server says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_type: Option<String>,
    /// The shorter window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<RateLimitWindow>,
    /// The longer window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secondary: Option<RateLimitWindow>,
    /// Prepaid credits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credits: Option<Credits>,
    /// Which limit was reached, in the server's word: `rate_limit_reached`, `workspace_owner_credits_depleted`,
    /// `workspace_member_usage_limit_reached`, ...; absent while none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit_reached_type: Option<String>,
    /// The caller's own share of a workspace's spending. Only events tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub individual_limit: Option<IndividualLimit>,
    /// Whether a limit that the workspace set on its spending is reached. Only events tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spend_control_reached: Option<bool>,
    /// What the server offers to those who reached a limit, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promo_message: Option<String>,
    /// `x-ratelimit-*-requests`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<RateLimitBudget>,
    /// `x-ratelimit-*-tokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<RateLimitBudget>,
}

/// One sliding window of a limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateLimitWindow {
    /// How much of it is used, in percent; finite.
    pub used_percent: f64,
    /// Its length in minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_minutes: Option<i64>,
    /// When it starts anew, in seconds of Unix time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<i64>,
}

/// Prepaid credits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credits {
    /// Whether any are left.
    pub has_credits: bool,
    /// Whether they do not run out.
    pub unlimited: bool,
    /// What is left, as the server writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<String>,
}

/// How much one member of a workspace may spend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IndividualLimit {
    /// The most, as the server writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// What is spent, as the server writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
    /// How much is left, in percent; finite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_percent: Option<f64>,
    /// When it starts anew, in seconds of Unix time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<i64>,
}

/// What is left of a count that refills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimitBudget {
    /// The most that is ever left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining: Option<u64>,
    /// How long until it is full again, as of the response.
    #[serde(
        rename = "reset_ms",
        serialize_with = "as_millis",
        deserialize_with = "duration_notation::some_of_millis",
        default,
        skip_serializing_if = "Option::is_none"
    )]
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

/// The family of a server that names none, and the one whose headers carry credits.
const DEFAULT_LIMIT: &str = "codex";

/// A plain number of seconds from here on is a Unix time, not a duration.
const FIRST_UNIX_TIME: f64 = 1e9;

impl RateLimitSnapshot {
    /// Reads the limits of a response's headers: none, one, or one for each family.
    ///
    /// - `x-LIMIT-{primary,secondary}-{used-percent,window-minutes,reset-at}`, `x-LIMIT-limit-name` and
    ///   `x-codex-credits-{has-credits,unlimited,balance}` make a snapshot for each `LIMIT`. The family that
    ///   `x-codex-active-limit` names comes first, then `codex`, then the others by name.
    /// - `x-codex-plan-type` is in the snapshot of `codex`; `x-codex-rate-limit-reached-type` and `x-codex-promo-message` are in
    ///   that of the active family, or where none is named in that of `codex`.
    /// - `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` make one more, the last. A reset is a duration (`6m0s`,
    ///   `28ms`) or plain seconds; a date or a Unix time is left out.
    ///
    /// What is no finite number is left out, and so is a family or a window of which nothing is left.
    pub fn from_headers(headers: &HeaderMap) -> Vec<Self> {
        // Most responses have none of them or only budgets: what can't be there is not looked up.
        let any = |prefix| headers.keys().any(|name| name.as_str().starts_with(prefix));
        let mut families: BTreeSet<Cow<'_, str>> = headers
            .keys()
            .filter_map(|name| family(name.as_str()))
            .map(Cow::Borrowed)
            .collect();
        let active = text(headers, "x-codex-active-limit").map(limit_id);
        if any("x-codex-") {
            families.insert(DEFAULT_LIMIT.into());
            families.extend(active.as_ref().map(|id| id.replace('_', "-").into()));
        }
        let spoken_of = active.as_deref().unwrap_or(DEFAULT_LIMIT);
        let budgets = any("x-ratelimit-").then(|| Self::of_budgets(headers));
        let mut snapshots: Vec<Self> = families
            .into_iter()
            .map(|family| Self::of_family(headers, &family, spoken_of))
            .chain(budgets)
            .filter(|snapshot| !snapshot.is_empty())
            .collect();
        if snapshots.len() < 2 {
            return snapshots;
        }
        snapshots.sort_by_key(|snapshot| match &snapshot.limit_id {
            Some(id) if Some(id) == active.as_ref() => 0,
            Some(id) if id == DEFAULT_LIMIT => 1,
            Some(_) => 2,
            None => 3,
        });
        snapshots
    }

    /// Reads the event `codex.rate_limits`, which some servers send in the stream. `None` when it is another event, or has
    /// nothing in it.
    pub fn from_event(event: &Value) -> Option<Self> {
        if event.get("type")?.as_str()? != "codex.rate_limits" {
            return None;
        }
        let limits = event.get("rate_limits");
        // Servers differ in which of the two objects holds what.
        let value = |name: &str| {
            let mut values = [Some(event), limits].into_iter().flatten();
            values.find_map(|object| object.get(name).filter(|value| !value.is_null()))
        };
        let text = |name: &str| value(name).and_then(Value::as_str).map(str::to_owned);
        let window = |name: &str| {
            let window = limits?.get(name)?;
            RateLimitWindow::new(
                window.get("used_percent").and_then(float),
                window.get("window_minutes").and_then(integer),
                resets_at(window),
            )
        };
        let credits = value("credits").and_then(|credits| {
            Some(Credits {
                has_credits: credits.get("has_credits")?.as_bool()?,
                unlimited: credits.get("unlimited")?.as_bool()?,
                balance: credits.get("balance").and_then(amount),
            })
        });
        let spend_control = |name: &str| value("spend_control")?.get(name);
        let reached_type = value("rate_limit_reached_type")
            .and_then(|reached| reached.as_str().or_else(|| reached.get("type")?.as_str()));
        let limit_name = text("limit_name");
        let limit = text("metered_limit_name").or_else(|| limit_name.clone());
        let snapshot = Self {
            limit_id: Some(limit_id(limit.as_deref().unwrap_or(DEFAULT_LIMIT))),
            limit_name,
            plan_type: text("plan_type"),
            primary: window("primary"),
            secondary: window("secondary"),
            credits,
            rate_limit_reached_type: reached_type.map(str::to_owned),
            individual_limit: value("individual_limit")
                .or_else(|| spend_control("individual_limit"))
                .and_then(IndividualLimit::from_json),
            spend_control_reached: value("spend_control_reached")
                .or_else(|| spend_control("reached"))
                .and_then(Value::as_bool),
            promo_message: text("promo_message"),
            ..Self::default()
        };
        (!snapshot.is_empty()).then_some(snapshot)
    }

    /// Whether it says no more than a name.
    fn is_empty(&self) -> bool {
        let named = Self {
            limit_id: self.limit_id.clone(),
            limit_name: self.limit_name.clone(),
            ..Self::default()
        };
        *self == named
    }

    /// The limits of a family; `spoken_of` is the id of the one that the account's headers speak of.
    fn of_family(headers: &HeaderMap, family: &str, spoken_of: &str) -> Self {
        let id = limit_id(family);
        let account = |is_meant: bool, name| {
            let text = is_meant.then(|| text(headers, name)).flatten();
            text.map(str::to_owned)
        };
        let field = |name: &str| text(headers, &format!("x-{family}-{name}"));
        let window = |name: &str| {
            let field = |part: &str| field(&format!("{name}-{part}"));
            RateLimitWindow::new(
                field("used-percent").and_then(|text| text.parse().ok()),
                field("window-minutes").and_then(|text| text.parse().ok()),
                field("reset-at").and_then(|text| text.parse().ok()),
            )
        };
        let credits = || {
            Some(Credits {
                has_credits: boolean(field("credits-has-credits")?)?,
                unlimited: boolean(field("credits-unlimited")?)?,
                balance: field("credits-balance").map(str::to_owned),
            })
        };
        Self {
            limit_name: field("limit-name").map(str::to_owned),
            plan_type: account(family == DEFAULT_LIMIT, "x-codex-plan-type"),
            primary: window("primary"),
            secondary: window("secondary"),
            credits: (family == DEFAULT_LIMIT).then(credits).flatten(),
            rate_limit_reached_type: account(id == spoken_of, "x-codex-rate-limit-reached-type"),
            promo_message: account(id == spoken_of, "x-codex-promo-message"),
            limit_id: Some(id),
            ..Self::default()
        }
    }

    fn of_budgets(headers: &HeaderMap) -> Self {
        let budget = |limit, remaining, resets| {
            let budget = RateLimitBudget {
                limit: text(headers, limit).and_then(|text| text.parse().ok()),
                remaining: text(headers, remaining).and_then(|text| text.parse().ok()),
                reset: text(headers, resets).and_then(reset),
            };
            (budget != RateLimitBudget::default()).then_some(budget)
        };
        Self {
            requests: budget(
                "x-ratelimit-limit-requests",
                "x-ratelimit-remaining-requests",
                "x-ratelimit-reset-requests",
            ),
            tokens: budget(
                "x-ratelimit-limit-tokens",
                "x-ratelimit-remaining-tokens",
                "x-ratelimit-reset-tokens",
            ),
            ..Self::default()
        }
    }
}

impl RateLimitWindow {
    /// A window is there when its use is a finite number, unless that is 0 and nothing else says that there is one.
    fn new(
        used_percent: Option<f64>,
        window_minutes: Option<i64>,
        resets_at: Option<i64>,
    ) -> Option<Self> {
        let used_percent = used_percent.filter(|percent| percent.is_finite())?;
        let is_there = used_percent != 0.0
            || window_minutes.is_some_and(|minutes| minutes != 0)
            || resets_at.is_some();
        is_there.then_some(Self {
            used_percent,
            window_minutes,
            resets_at,
        })
    }
}

impl IndividualLimit {
    /// `None` when it says nothing.
    fn from_json(value: &Value) -> Option<Self> {
        let limit = Self {
            limit: value.get("limit").and_then(amount),
            used: value.get("used").and_then(amount),
            remaining_percent: value
                .get("remaining_percent")
                .and_then(float)
                .filter(|percent| percent.is_finite()),
            resets_at: resets_at(value),
        };
        (limit != Self::default()).then_some(limit)
    }
}

/// The family that a header's name belongs to.
fn family(header: &str) -> Option<&str> {
    let name = header.strip_prefix("x-")?;
    name.strip_suffix("-primary-used-percent")
        .or_else(|| name.strip_suffix("-secondary-used-percent"))
        .filter(|family| !family.is_empty())
}

fn limit_id(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

/// A header's value, trimmed; a blank one is none.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    (!value.is_empty()).then_some(value)
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

fn reset(text: &str) -> Option<Duration> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds < FIRST_UNIX_TIME => Duration::try_from_secs_f64(seconds).ok(),
        Ok(_) => None,
        Err(_) => duration_notation::parse(text),
    }
}

fn resets_at(window: &Value) -> Option<i64> {
    let mut values = ["reset_at", "resets_at"].iter();
    values.find_map(|name| window.get(*name).and_then(integer))
}

/// An amount as the server writes it, text or number.
fn amount(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        number => number.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::try_from(*name).unwrap(),
                    HeaderValue::from_bytes(value.as_bytes()).unwrap(),
                )
            })
            .collect()
    }

    fn window(used_percent: f64, minutes: Option<i64>, resets_at: Option<i64>) -> RateLimitWindow {
        RateLimitWindow {
            used_percent,
            window_minutes: minutes,
            resets_at,
        }
    }

    #[test]
    fn headers_without_limits_give_no_snapshot() {
        for pairs in [
            &[][..],
            &[("content-type", "text/event-stream"), ("x-request-id", "r")],
            &[
                ("x-codex-active-limit", "codex"),
                ("x-codex-limit-name", "Codex"),
            ],
            &[("x-codex-primary-used-percent", "NaN")],
            &[("x-codex-primary-used-percent", "inf")],
            &[("x-codex-primary-used-percent", "0")],
            &[
                ("x-codex-primary-used-percent", "0"),
                ("x-codex-primary-window-minutes", "0"),
            ],
            &[
                ("x-codex-primary-window-minutes", "60"),
                ("x-codex-primary-reset-at", "1"),
            ],
            &[
                ("x-codex-active-limit", "other"),
                ("x-codex-promo-message", " "),
            ],
            &[("x-codex-credits-has-credits", "true")],
            &[
                ("x-codex-credits-has-credits", "yes"),
                ("x-codex-credits-unlimited", "no"),
            ],
            &[
                ("x-ratelimit-limit-requests", "many"),
                ("x-ratelimit-remaining-tokens", "-1"),
            ],
            &[
                ("x-ratelimit-reset-tokens", "2026-01-01T00:00:00Z"),
                ("x-ratelimit-reset-requests", "1767225600"),
            ],
            &[
                ("x-primary-used-percent", "5"),
                ("x--primary-used-percent", "5"),
            ],
            &[("x-codex-primary-used-percent", "5\u{e9}")],
        ] {
            assert_eq!(
                RateLimitSnapshot::from_headers(&headers(pairs)),
                [],
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn requests_and_tokens_are_read() {
        let snapshots = RateLimitSnapshot::from_headers(&headers(&[
            ("x-ratelimit-limit-requests", "5000"),
            ("x-ratelimit-remaining-requests", "4999"),
            ("x-ratelimit-reset-requests", "12ms"),
            ("x-ratelimit-limit-tokens", "1000000"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ]));
        let expected = RateLimitSnapshot {
            requests: Some(RateLimitBudget {
                limit: Some(5000),
                remaining: Some(4999),
                reset: Some(Duration::from_millis(12)),
            }),
            tokens: Some(RateLimitBudget {
                limit: Some(1_000_000),
                remaining: None,
                reset: Some(Duration::from_secs(360)),
            }),
            ..RateLimitSnapshot::default()
        };
        assert_eq!(snapshots, [expected]);
    }

    #[test]
    fn resets_are_durations_or_plain_seconds() {
        for (text, expected) in [
            ("1s", Some(1000)),
            ("1h2m3.5s", Some(3_723_500)),
            ("7", Some(7000)),
            ("0.25", Some(250)),
            ("1767225600", None),
            ("1767225600000", None),
            ("-1", None),
            ("NaN", None),
            ("inf", None),
            ("soon", None),
        ] {
            assert_eq!(reset(text), expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn windows_and_credits_of_the_default_family_are_read() {
        let snapshots = RateLimitSnapshot::from_headers(&headers(&[
            ("x-codex-primary-used-percent", "12.5"),
            ("x-codex-primary-window-minutes", "300"),
            ("x-codex-primary-reset-at", "1767225600"),
            ("x-codex-secondary-used-percent", "0"),
            ("x-codex-secondary-window-minutes", "10080"),
            ("x-codex-secondary-reset-at", "soon"),
            ("x-codex-credits-has-credits", "True"),
            ("x-codex-credits-unlimited", "0"),
            ("x-codex-credits-balance", " 12.30 "),
        ]));
        let expected = RateLimitSnapshot {
            limit_id: Some("codex".into()),
            primary: Some(window(12.5, Some(300), Some(1_767_225_600))),
            secondary: Some(window(0.0, Some(10_080), None)),
            credits: Some(Credits {
                has_credits: true,
                unlimited: false,
                balance: Some("12.30".into()),
            }),
            ..RateLimitSnapshot::default()
        };
        assert_eq!(snapshots, [expected]);
    }

    #[test]
    fn every_family_is_read_and_the_active_one_comes_first() {
        let mut pairs = vec![
            ("x-codex-primary-used-percent", "1"),
            ("x-zeta-primary-used-percent", "2"),
            ("x-codex-other-secondary-used-percent", "3"),
            ("x-codex-other-limit-name", "The Other"),
            ("x-alpha-primary-used-percent", "0"),
            ("x-ratelimit-limit-tokens", "9"),
        ];
        let ids = |pairs: &[(&str, &str)]| -> Vec<_> {
            RateLimitSnapshot::from_headers(&headers(pairs))
                .into_iter()
                .map(|snapshot| (snapshot.limit_id, snapshot.limit_name))
                .collect()
        };
        let codex = (Some("codex".to_owned()), None);
        let other = (Some("codex_other".to_owned()), Some("The Other".to_owned()));
        let zeta = (Some("zeta".to_owned()), None);
        assert_eq!(
            ids(&pairs),
            [codex.clone(), other.clone(), zeta.clone(), (None, None)]
        );
        pairs.push(("x-codex-active-limit", "Codex-Other"));
        assert_eq!(ids(&pairs), [other, codex, zeta, (None, None)]);
    }

    #[test]
    fn what_the_account_is_told_is_in_the_snapshot_of_the_active_family() {
        let mut pairs = vec![
            ("x-codex-primary-used-percent", "100"),
            ("x-codex-plan-type", "team"),
            (
                "x-codex-rate-limit-reached-type",
                "workspace_member_usage_limit_reached",
            ),
            ("x-codex-promo-message", " Ask your owner. "),
        ];
        let told = |pairs: &[(&str, &str)]| -> Vec<_> {
            RateLimitSnapshot::from_headers(&headers(pairs))
                .into_iter()
                .map(|snapshot| {
                    [
                        snapshot.limit_id,
                        snapshot.plan_type,
                        snapshot.rate_limit_reached_type,
                        snapshot.promo_message,
                    ]
                })
                .collect()
        };
        let some = |text: &str| Some(text.to_owned());
        let reached = some("workspace_member_usage_limit_reached");
        let promo = some("Ask your owner.");
        let codex = [some("codex"), some("team"), reached.clone(), promo.clone()];
        assert_eq!(told(&pairs), [codex]);
        pairs.push(("x-codex-active-limit", "codex_Other"));
        let other = [some("codex_other"), None, reached, promo];
        let codex = [some("codex"), some("team"), None, None];
        assert_eq!(told(&pairs), [other.clone(), codex.clone()]);
        pairs.push(("x-codex-other-secondary-used-percent", "7"));
        assert_eq!(told(&pairs), [other, codex]);
    }

    #[test]
    fn the_newer_limits_of_the_event_are_read_wherever_they_stand() {
        let expected = RateLimitSnapshot {
            limit_id: Some("codex".into()),
            plan_type: Some("business".into()),
            primary: Some(window(100.0, None, Some(7))),
            rate_limit_reached_type: Some("rate_limit_reached".into()),
            individual_limit: Some(IndividualLimit {
                limit: Some("25000".into()),
                used: Some("8000.5".into()),
                remaining_percent: Some(68.0),
                resets_at: Some(1_800_000_000),
            }),
            spend_control_reached: Some(false),
            promo_message: Some("Buy credits".into()),
            ..RateLimitSnapshot::default()
        };
        for event in [
            json!({"type": "codex.rate_limits", "plan_type": "business", "promo_message": "Buy credits",
                "rate_limits": {"allowed": false, "limit_reached": true, "primary": {"used_percent": 100, "reset_at": 7}},
                "rate_limit_reached_type": {"type": "rate_limit_reached"}, "spend_control": {"reached": false,
                "individual_limit": {"limit": "25000", "used": " 8000.5", "remaining_percent": 68, "reset_at": 1800000000}}}),
            json!({"type": "codex.rate_limits", "plan_type": null, "individual_limit": null, "rate_limits": {
                "plan_type": "business", "primary": {"used_percent": "100", "resets_at": "7"},
                "rate_limit_reached_type": "rate_limit_reached", "spend_control_reached": false, "promo_message": "Buy credits",
                "individual_limit": {"limit": 25000, "used": 8000.5, "remaining_percent": "68", "resets_at": 1800000000}}}),
        ] {
            assert_eq!(
                RateLimitSnapshot::from_event(&event).as_ref(),
                Some(&expected),
                "{event}"
            );
        }
    }

    #[test]
    fn the_event_is_read() {
        let event = json!({"type": "codex.rate_limits", "plan_type": "plus", "metered_limit_name": "Codex-Other",
            "limit_name": "The Other", "rate_limits": {"primary": {"used_percent": 42, "window_minutes": 60,
            "reset_at": 1767225600.0}, "secondary": null}, "credits": {"has_credits": true, "unlimited": false,
            "balance": 5}});
        let expected = RateLimitSnapshot {
            limit_id: Some("codex_other".into()),
            limit_name: Some("The Other".into()),
            plan_type: Some("plus".into()),
            primary: Some(window(42.0, Some(60), Some(1_767_225_600))),
            credits: Some(Credits {
                has_credits: true,
                unlimited: false,
                balance: Some("5".into()),
            }),
            ..RateLimitSnapshot::default()
        };
        assert_eq!(RateLimitSnapshot::from_event(&event), Some(expected));
    }

    #[test]
    fn the_events_family_has_a_default() {
        for (event, expected) in [
            (
                json!({"type": "codex.rate_limits", "plan_type": "plus"}),
                "codex",
            ),
            (
                json!({"type": "codex.rate_limits", "plan_type": "plus", "limit_name": "A-b"}),
                "a_b",
            ),
        ] {
            let snapshot = RateLimitSnapshot::from_event(&event).unwrap();
            assert_eq!(snapshot.limit_id.as_deref(), Some(expected), "{event}");
        }
    }

    #[test]
    fn another_event_or_an_empty_one_gives_no_snapshot() {
        for event in [
            json!(null),
            json!({}),
            json!({"type": "response.created", "plan_type": "plus"}),
            json!({"type": "codex.rate_limits"}),
            json!({"type": "codex.rate_limits", "rate_limits": {"primary": {"used_percent": 0}}}),
            json!({"type": "codex.rate_limits", "rate_limits": [], "credits": {"has_credits": 1}}),
            json!({"type": "codex.rate_limits", "rate_limits": {"primary": {"used_percent": "many"}}}),
            json!({"type": "codex.rate_limits", "rate_limits": {"allowed": true, "limit_reached": false},
                "individual_limit": {"remaining_percent": "NaN", "limit": []}, "spend_control": {"reached": null},
                "rate_limit_reached_type": {}}),
        ] {
            assert_eq!(RateLimitSnapshot::from_event(&event), None, "{event}");
        }
    }
}
