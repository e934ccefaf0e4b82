//! Durations as servers write them for people (`6m0s`, `28ms`, `1h2m3.5s`, `35 seconds`), and as this crate writes them in JSON.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// Reads a text that is such a duration and nothing else. A number without a unit is none.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let (duration, rest) = parse_prefix(text.trim())?;
    rest.is_empty().then_some(duration)
}

/// Reads the duration that a text begins with, and gives what follows it. One space may separate a number from its unit
/// and one amount from the next.
pub(crate) fn parse_prefix(text: &str) -> Option<(Duration, &str)> {
    let (mut total, mut rest) = amount(text)?;
    while let Some((more, after)) = amount(rest.strip_prefix(' ').unwrap_or(rest)) {
        total = total.checked_add(more)?;
        rest = after;
    }
    Some((total, rest))
}

/// Reads the delay that a sentence asks for: "try again in" or "retry after", and then `1m30.5s`, `28ms`, `35 seconds`, `2h`.
pub(crate) fn requested_in(sentence: &str) -> Option<Duration> {
    const LEADS: [&str; 4] = ["try again in", "retry in", "try again after", "retry after"];
    // ASCII lower case keeps every byte's place.
    let lower = sentence.to_ascii_lowercase();
    LEADS.into_iter().find_map(|lead| {
        let start = lower.find(lead)? + lead.len();
        let (delay, _) = parse_prefix(sentence[start..].trim_start())?;
        Some(delay)
    })
}

/// Milliseconds.
pub(super) fn of_millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

/// Milliseconds, or null.
pub(super) fn some_of_millis<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let millis = Option::<u64>::deserialize(deserializer)?;
    Ok(millis.map(Duration::from_millis))
}

/// One decimal number with its unit.
fn amount(text: &str) -> Option<(Duration, &str)> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    let letters = rest
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    let seconds = match unit.to_ascii_lowercase().as_str() {
        "ns" => number / 1e9,
        "us" | "µs" | "μs" => number / 1e6,
        "ms" | "millisecond" | "milliseconds" => number / 1e3,
        "s" | "sec" | "secs" | "second" | "seconds" => number,
        "m" | "min" | "mins" | "minute" | "minutes" => number * 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => number * 3600.0,
        "d" | "day" | "days" => number * 86_400.0,
        _ => return None,
    };
    Some((Duration::try_from_secs_f64(seconds).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, millis) in [
            ("1s", 1000.0),
            ("6m0s", 360_000.0),
            ("28ms", 28.0),
            ("28.5ms", 28.5),
            ("1m30.5s", 90_500.0),
            ("1h2m3.5s", 3_723_500.0),
            ("11.054s", 11_054.0),
            ("1d1h", 90_000_000.0),
            ("250us", 0.25),
            ("250µs", 0.25),
            ("10ns", 0.00001),
            ("0s", 0.0),
            ("1.s", 1000.0),
            ("35 seconds", 35_000.0),
            ("1 minute", 60_000.0),
            ("1 minute 30 seconds", 90_000.0),
            ("2 HOURS", 7_200_000.0),
            ("1hr", 3_600_000.0),
            (" 1s ", 1000.0),
        ] {
            assert_eq!(
                parse(text),
                Some(Duration::from_secs_f64(millis / 1000.0)),
                "{text}"
            );
        }
    }

    #[test]
    fn everything_else_is_not() {
        for text in [
            "",
            "1",
            "s",
            "-1s",
            "+1s",
            "1x",
            "1sx",
            "1s2",
            "1.2.3s",
            ".5s",
            "1  s",
            "1e3s",
            "infs",
            "NaNs",
            "1s,",
            "2026-01-01T00:00:00Z",
            "99999999999999999999999s",
            "1s 99999999999999999999999s",
            "18446744073709551615s1s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&format!("{}s", "9".repeat(1000))), None);
    }

    #[test]
    fn a_sentence_may_go_on_after_the_duration() {
        for (text, millis, rest) in [
            ("1m30.5s. Visit the docs", 90_500, ". Visit the docs"),
            ("35 seconds or later", 35_000, " or later"),
            ("20s", 20_000, ""),
            ("20s 3 times", 20_000, " 3 times"),
        ] {
            assert_eq!(
                parse_prefix(text),
                Some((Duration::from_millis(millis), rest)),
                "{text}"
            );
        }
    }

    #[test]
    fn messages_name_delays_in_many_ways() {
        for (message, expected) in [
            ("Please try again in 11.054s. Visit ...", Some(11_054)),
            ("Rate limit reached ... Please try again in 28ms.", Some(28)),
            ("Try again in 35 seconds.", Some(35_000)),
            ("TRY AGAIN IN 1 second", Some(1_000)),
            ("please try again in 1m30.5s", Some(90_500)),
            ("try again in 6m0s", Some(360_000)),
            ("try again in 1h2m3s.", Some(3_723_000)),
            ("try again in 2 minutes", Some(120_000)),
            ("try again in  1.898s", Some(1_898)),
            ("try again in 2 hrs", Some(7_200_000)),
            ("Please retry in 58.934310785s.", Some(58_934)),
            ("Please retry after 35 seconds.", Some(35_000)),
            ("Try again after 20 seconds", Some(20_000)),
            ("don't retry after a while; try again in 2s", Some(2_000)),
            ("try again in a while", None),
            ("try again in 5", None),
            ("try again in 5 apples", None),
            ("wait 5s", None),
            ("é try again in 3s é", Some(3_000)),
            ("", None),
        ] {
            let millis = requested_in(message).map(|d| d.as_secs_f64() * 1000.0);
            assert_eq!(millis.map(|ms| ms.round() as u64), expected, "{message}");
        }
    }
}
