//! The guide: how to use this crate, beyond what each item says of itself.
//!
//! | page | |
//! |---|---|
//! | [`concepts`] | the words, and what becomes of a request from its submission to its end |
//! | [`policies`] | who gets what, how fast, and when a request ends because of it |
//! | [`errors`] | each kind of failure, whether it is tried again, and what to do |
//! | [`testing`] | tests without a server and without waiting |
//! | [`axum`] | streaming to a browser |
//! | [`relay`] | one service in front of many clients and many servers, as a program and in one's own |
//! | [`several_nodes`] | several nodes as one, with Redis: answers that outlive their process |
//! | [`telemetry`] | spans, and what a service measures |
//! | [`migrating`] | from async-openai, and from a loop over eventsource-stream |
//! | [`supply_chain`] | what `cargo deny` says of a program that embeds this crate |
//!
//! All code here is compiled and run with the crate's tests. It begins in the README, under "Embed it".

#[doc = include_str!("guide/concepts.md")]
pub mod concepts {}

#[doc = include_str!("guide/policies.md")]
pub mod policies {}

#[doc = include_str!("guide/errors.md")]
pub mod errors {}

#[doc = include_str!("guide/testing.md")]
pub mod testing {}

#[doc = include_str!("guide/axum.md")]
pub mod axum {}

#[cfg(feature = "relay")]
#[doc = include_str!("guide/relay.md")]
pub mod relay {}

#[cfg(feature = "relay")]
#[doc = include_str!("guide/several_nodes.md")]
pub mod several_nodes {}

#[doc = include_str!("guide/telemetry.md")]
pub mod telemetry {}

#[doc = include_str!("guide/migrating.md")]
pub mod migrating {}

#[doc = include_str!("guide/supply_chain.md")]
pub mod supply_chain {}

#[cfg(test)]
mod tests {
    use crate::{
        ApiError, ErrorKind,
        retry::{BreakerPolicy, RetryPolicy},
    };

    /// A row of the table of errors, as the code has it.
    fn row(kind: ErrorKind) -> String {
        let error = ApiError::new(kind, "");
        let again = match RetryPolicy::default().delay(&error, 1) {
            Some(_) => "yes",
            None if kind == ErrorKind::Authentication => "once, with a new key",
            None => "no",
        };
        let advice = error.advice();
        format!("| `{kind:?}` | `{kind}` | {again} | {advice} |")
    }

    #[test]
    fn the_table_of_errors_says_what_the_code_does() {
        let page = include_str!("guide/errors.md");
        let rows: Vec<_> = ErrorKind::ALL.iter().copied().map(row).collect();
        let rows = rows.join("\n");
        assert!(page.contains(&rows), "the table should be\n{rows}");
        let kinds = page.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(kinds, ErrorKind::ALL.len(), "a row for each kind");
    }

    #[test]
    fn the_figures_of_the_guide_are_the_defaults() {
        let page = include_str!("guide/errors.md");
        let retry = RetryPolicy::default();
        let breaker = BreakerPolicy::default();
        for said in [
            format!("{} attempts", retry.max_attempts),
            format!("{} ms", retry.backoff.base.as_millis()),
            format!("{} s", retry.max_requested_delay.as_secs()),
            format!("{} failures in a row", breaker.failures),
        ] {
            assert!(page.contains(&said), "{said}");
        }
    }
}
