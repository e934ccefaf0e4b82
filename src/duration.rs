//! Durations as people write them: `500ms`, `2s`, `1.5s`, `5m`, `1h`, `forever`.
//!
//! The command's flags and the loopback provider's script files read durations with [`parse_duration`]; what the
//! command prints goes through [`format_duration`], which [`parse_duration`] reads back to the same value.

use std::{fmt, time::Duration};

use thiserror::Error;

/// The units, longest first, each with its length in nanoseconds.
const UNITS: [(&str, u128); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// How the longest duration is written; it never ends.
const FOREVER: &str = "forever";
/// How a limit on time is written that is none.
const NO_LIMIT: &str = "none";

/// Says why a text is not a duration, and names the text.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
pub enum ParseDurationError {
    /// No digits lead the text, or something other than one decimal number does.
    #[error(
        "{0:?} does not start with a number; write a duration like 500ms, 2s, 1.5s, 5m or 1h, or {FOREVER}"
    )]
    NotANumber(String),
    /// What follows the number is no unit, or nothing follows it.
    #[error("{0:?} does not end in one of the units ns, us, ms, s, m and h")]
    NoSuchUnit(String),
    /// The number has more decimals than a duration can hold.
    #[error("{0:?} is more precise than a nanosecond")]
    TooPrecise(String),
    /// The duration is longer than a [`Duration`] holds.
    #[error("{0:?} is longer than can be waited for; write {FOREVER}")]
    TooLong(String),
}

/// Reads one number with one unit; the number may have decimals. `forever` is [`Duration::MAX`].
///
/// Nothing is rounded: what does not come out as whole nanoseconds is refused.
///
/// ```
/// use std::time::Duration;
/// use actix_responses::duration::parse_duration;
///
/// assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
/// assert!(parse_duration("5").is_err());
/// ```
///
/// # Errors
///
/// When the text is anything else; the error names it.
pub fn parse_duration(text: &str) -> Result<Duration, ParseDurationError> {
    let trimmed = text.trim();
    if trimmed == FOREVER {
        return Ok(Duration::MAX);
    }
    let unit_at = trimmed
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(unit_at);
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || decimals.is_empty() || decimals.contains('.') {
        return Err(ParseDurationError::NotANumber(text.to_owned()));
    }
    let unit = unit.trim_start();
    let Some((_, unit_nanos)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(ParseDurationError::NoSuchUnit(text.to_owned()));
    };

    let too_long = || ParseDurationError::TooLong(text.to_owned());
    let whole: u64 = whole.parse().map_err(|_| too_long())?;
    // An hour has 13 digits of nanoseconds, so that more decimals cannot come out whole.
    let decimals = decimals.trim_end_matches('0');
    if decimals.len() > 13 {
        return Err(ParseDurationError::TooPrecise(text.to_owned()));
    }
    let mut nanos = u128::from(whole) * unit_nanos;
    if !decimals.is_empty() {
        let scale = 10_u128.pow(decimals.len() as u32);
        let scaled = decimals.parse::<u128>().map_err(|_| too_long())? * unit_nanos;
        if scaled % scale != 0 {
            return Err(ParseDurationError::TooPrecise(text.to_owned()));
        }
        nanos += scaled / scale;
    }
    let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| too_long())?;
    Ok(Duration::new(seconds, (nanos % 1_000_000_000) as u32))
}

/// Reads how long something may take: a duration, or `none` for no limit, which is [`Duration::MAX`] too.
///
/// # Errors
///
/// As for [`parse_duration`].
pub fn parse_limit(text: &str) -> Result<Duration, ParseDurationError> {
    match text.trim() {
        NO_LIMIT => Ok(Duration::MAX),
        _ => parse_duration(text),
    }
}

/// Shows a duration in the largest unit that needs no decimals, or else in the largest that needs some.
///
/// Hours and minutes are used only when they come out whole, because `1.5h` is harder to read than `90m`.
pub fn format_duration(duration: Duration) -> FormattedDuration {
    FormattedDuration(duration)
}

/// A duration that displays as [`parse_duration`] reads it; made by [`format_duration`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FormattedDuration(Duration);

impl fmt::Display for FormattedDuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == Duration::MAX {
            return formatter.write_str(FOREVER);
        }
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return formatter.write_str("0s");
        }
        for (unit, unit_nanos) in UNITS {
            let (whole, rest) = (nanos / unit_nanos, nanos % unit_nanos);
            if whole == 0 {
                continue;
            }
            if rest == 0 {
                return write!(formatter, "{whole}{unit}");
            }
            if unit_nanos <= 1_000_000_000 {
                // The units from a second down are powers of ten apart, so that decimals are exact.
                let digits = unit_nanos.ilog10() as usize;
                let decimals = format!("{rest:0digits$}");
                return write!(
                    formatter,
                    "{whole}.{}{unit}",
                    decimals.trim_end_matches('0')
                );
            }
        }
        // Unreachable in fact: nanoseconds leave no rest.
        write!(formatter, "{nanos}ns")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_unit_is_read() {
        for (text, nanos) in [
            ("7ns", 7),
            ("3us", 3_000),
            ("500ms", 500_000_000),
            ("2s", 2_000_000_000),
            ("1.5s", 1_500_000_000),
            ("0.25ms", 250_000),
            ("5m", 300_000_000_000),
            ("1h", 3_600_000_000_000),
            (" 2 s ", 2_000_000_000),
            ("0s", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_nanos(nanos)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_and_named() {
        for text in [
            "",
            "s",
            "-1s",
            "5",
            "5 weeks",
            "1.s",
            ".5s",
            "1.2.3s",
            "1m30s",
            "0.5ns",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            let error = parse_duration(text).expect_err(text);
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn each_refusal_has_its_own_words() {
        let errors = ["s", "5", "0.5ns", "18446744073709551615h"]
            .map(|text| parse_duration(text).expect_err(text).to_string());
        assert_eq!(
            errors,
            [
                "\"s\" does not start with a number; write a duration like 500ms, 2s, 1.5s, 5m or 1h, or forever",
                "\"5\" does not end in one of the units ns, us, ms, s, m and h",
                "\"0.5ns\" is more precise than a nanosecond",
                "\"18446744073709551615h\" is longer than can be waited for; write forever",
            ]
        );
    }

    #[test]
    fn there_is_a_word_for_what_never_ends() {
        for (text, limit) in [("forever", true), (" forever ", true), ("none", false)] {
            assert_eq!(parse_duration(text).ok(), limit.then_some(Duration::MAX));
            assert_eq!(parse_limit(text), Ok(Duration::MAX), "{text:?}");
        }
        assert_eq!(format_duration(Duration::MAX).to_string(), FOREVER);
        let longest_hour = parse_limit("5000000000000000h").unwrap();
        assert_eq!(longest_hour.as_secs(), 18_000_000_000_000_000_000);
    }

    #[test]
    fn whole_units_are_shown_without_decimals() {
        for (millis, text) in [
            (0, "0s"),
            (20, "20ms"),
            (1_500, "1.5s"),
            (90_000, "90s"),
            (300_000, "5m"),
            (5_400_000, "90m"),
            (7_200_000, "2h"),
        ] {
            assert_eq!(
                format_duration(Duration::from_millis(millis)).to_string(),
                text
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_the_same(seconds in any::<u32>(), nanos in 0_u32..1_000_000_000) {
            let duration = Duration::new(u64::from(seconds), nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration).to_string()), Ok(duration));
        }
    }
}
