//! The attempts at a request or a question, and the breaker between them.

use std::time::Duration;

use actix_responses::{ErrorKind, retry::RetryAfterOutput};

use super::{DRAIN, Findings, SOON, View};
use crate::{
    plan::{BACKOFF, MAX_REQUESTED_DELAY},
    world::{AttemptRecord, Notice},
};

impl View<'_> {
    pub(super) fn check_attempts(&self, findings: &mut Findings) {
        let (after_output, total) = self.terms();
        let max_attempts = self.plan.attempts(self.number).len();
        let sent = self.request.attempts.len();
        findings.check(
            "attempts_are_within_the_budget",
            sent <= max_attempts,
            || format!("request {}: {sent} of {max_attempts}", self.number),
        );
        let notices = &self.request.notices;
        let starts: Vec<_> = notices
            .iter()
            .filter_map(|(at, notice)| match notice {
                Notice::Started {
                    attempt,
                    max_attempts,
                } => Some((*at, *attempt, *max_attempts)),
                Notice::Failed { .. } | Notice::FellBack => None,
            })
            .collect();
        findings.check(
            "observers_hear_of_each_attempt",
            (1..).zip(&starts).all(|(expected, (_, attempt, of))| {
                *attempt == expected && *of == max_attempts as u32
            }),
            || format!("request {}: {starts:?}", self.number),
        );
        // One that a breaker holds back is not sent.
        let is_sent = |index: &usize| {
            let next = notices.get(index + 1).map(|(_, notice)| notice);
            !matches!(
                next,
                Some(Notice::Failed {
                    kind: ErrorKind::Unavailable,
                    ..
                })
            )
        };
        let starts: Vec<_> = (0..notices.len())
            .filter(|index| matches!(notices[*index].1, Notice::Started { .. }))
            .filter(is_sent)
            .map(|index| notices[index].0)
            .collect();
        for (attempt, sent) in self.request.attempts.iter().enumerate() {
            let Some(started) = starts.get(attempt) else {
                continue;
            };
            let late = sent.sent_at.checked_sub(*started);
            findings.check(
                "an_attempt_is_sent_when_it_starts",
                late.is_some_and(|late| late <= DRAIN + SOON),
                || {
                    format!(
                        "request {}: started at {started:?}, sent at {:?}",
                        self.number, sent.sent_at
                    )
                },
            );
        }
        for (index, (at, notice)) in notices.iter().enumerate() {
            let Notice::Failed {
                kind,
                retry_after,
                output_delivered,
                retry_in,
            } = notice
            else {
                continue;
            };
            // That of a fallback has a check of its own.
            if matches!(notices.get(index + 1), Some((_, Notice::FellBack))) {
                continue;
            }
            let (attempt, max_attempts) = self.attempt_at_provider(index);
            let wanted = match retry_after {
                Some(delay) if !delay.is_zero() => *delay,
                _ => BACKOFF * 2_u32.pow(attempt as u32 - 1),
            };
            let too_long = wanted > MAX_REQUESTED_DELAY;
            let spent = attempt >= max_attempts;
            let shown = *output_delivered && after_output == RetryAfterOutput::Fail;
            let closing = self.record.closed_at.is_some_and(|closed| closed <= *at);
            match retry_in {
                Some(delay) => {
                    findings.check(
                        "delays_are_the_policys",
                        *delay == wanted && !too_long && !spent && !shown && is_retryable(*kind),
                        || {
                            format!(
                                "request {}: {kind} is tried again in {delay:?}, not {wanted:?}",
                                self.number
                            )
                        },
                    );
                    let next = notices[index + 1..].first();
                    if let Some((next, Notice::Started { .. })) = next {
                        let waited = *next - *at;
                        findings.check(
                            "a_retry_comes_when_it_is_due",
                            waited >= *delay && waited <= *delay + SOON + self.patience(),
                            || format!("request {}: {waited:?} in place of {delay:?}", self.number),
                        );
                    }
                }
                None => {
                    let reason = too_long
                        || spent
                        || shown
                        || closing
                        || !is_retryable(*kind)
                        || total.is_some();
                    findings.check("it_gives_up_for_a_reason", reason, || {
                        format!(
                            "request {}: {kind} at attempt {attempt} of {max_attempts}",
                            self.number
                        )
                    });
                }
            }
        }
    }

    /// How long an attempt may be put off because of its endpoint, or its limits.
    fn patience(&self) -> Duration {
        match (self.plan.is_spared(), self.plan.limiter) {
            (true, _) => MAX_SPARED,
            (_, Some(limiter)) => limiter.policy.max_wait,
            _ => Duration::ZERO,
        }
    }

    /// When attempts were due that were put off.
    fn put_off(&self) -> impl Iterator<Item = Duration> {
        let pairs = self.request.notices.windows(2);
        pairs.filter_map(|pair| match pair {
            [
                (
                    failed,
                    Notice::Failed {
                        retry_in: Some(delay),
                        ..
                    },
                ),
                (started, Notice::Started { .. }),
            ] if *started > *failed + *delay + SOON => Some(*failed + *delay),
            _ => None,
        })
    }

    /// An endpoint is spared while it was found down a short while ago, or while probes are on their way.
    pub(super) fn check_breaker(&self, findings: &mut Findings) {
        if self.plan.limiter.is_some() {
            return;
        }
        let others = &self.record.requests[self.plan.requests.len()..];
        for spared_at in &self.put_off().collect::<Vec<_>>() {
            // A timer is late by as much as that, and what is found down meanwhile counts.
            let by = *spared_at + SOON;
            let found_down =
                others
                    .iter()
                    .flat_map(|other| &other.notices)
                    .filter(|(at, notice)| {
                        *at <= by && matches!(notice, Notice::Failed { kind, .. } if is_down(*kind))
                    });
            let is_open = found_down.count() >= self.plan.breaker.failures as usize;
            let holds = others.iter().any(|other| {
                let under_way = |attempt: &AttemptRecord| {
                    attempt.sent_at <= by
                        && attempt.closed_at.is_none_or(|closed| closed >= *spared_at)
                };
                let is_recent = |(at, notice): &(Duration, Notice)| {
                    let down = matches!(notice, Notice::Failed { kind, .. } if is_down(*kind));
                    let started = matches!(notice, Notice::Started { .. })
                        && !std::ptr::eq(other, self.request);
                    let lasts = match (down, started) {
                        (true, _) => self.plan.breaker.max_pause,
                        (_, true) => DRAIN,
                        _ => return false,
                    };
                    *at <= by && *spared_at <= *at + lasts + SOON
                };
                other.attempts.iter().any(under_way) || other.notices.iter().any(is_recent)
            });
            findings.check("who_is_spared_was_found_down", is_open && holds, || {
                format!("request {}: spared at {spared_at:?}", self.number)
            });
        }
    }
}

/// How long a request waits at most for an endpoint that is down.
const MAX_SPARED: Duration = Duration::from_secs(30);

/// What a breaker counts, in whichever phase.
fn is_down(kind: ErrorKind) -> bool {
    use ErrorKind as K;
    matches!(
        kind,
        K::Dns
            | K::Connect
            | K::ConnectTimeout
            | K::Tls
            | K::ResponseHeadTimeout
            | K::Overloaded
            | K::ServerError
    )
}

pub(super) fn is_retryable(kind: ErrorKind) -> bool {
    use ErrorKind as K;
    matches!(
        kind,
        K::RateLimited
            | K::Overloaded
            | K::ServerError
            | K::Dns
            | K::Connect
            | K::Tls
            | K::ConnectTimeout
            | K::ResponseHeadTimeout
            | K::IdleTimeout
            | K::Connection
            | K::Truncated
            | K::AttemptLost
            | K::Unavailable
            // Of the statuses in a plan, 408 and 409.
            | K::UnexpectedStatus
    )
}
