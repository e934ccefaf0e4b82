//! When another provider is asked, and when none is.

use std::time::Duration;

use actix_responses::{ErrorKind, protocol::ResponseEvent};

use super::{Findings, SOON, View};
use crate::{
    plan::{LinkPlan, Pace},
    world::{ListenerRecord, Notice},
};

impl View<'_> {
    /// Which attempt at its provider one was, by its notice, and how many that may have.
    pub(super) fn attempt_at_provider(&self, index: usize) -> (usize, usize) {
        let before = &self.request.notices[..index];
        let fell_at = before
            .iter()
            .position(|(_, notice)| matches!(notice, Notice::FellBack));
        let own = &before[fell_at.unwrap_or(0)..];
        let started = own
            .iter()
            .filter(|(_, notice)| matches!(notice, Notice::Started { .. }));
        let elsewhere = self.plan.fallback_attempts(self.number);
        let all = self.plan.attempts(self.number).len();
        let most = if fell_at.is_some() {
            elsewhere
        } else {
            all - elsewhere
        };
        (started.count(), most)
    }

    pub(super) fn check_fallback(&self, findings: &mut Findings) {
        let elsewhere = self.plan.fallback_attempts(self.number);
        if elsewhere == 0 {
            return;
        }
        let who = || format!("request {}: {:?}", self.number, self.request.notices);
        let (_, total) = self.terms();
        let notices = &self.request.notices;
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
            let next = notices.get(index + 1);
            let is_elsewhere = notices[..index]
                .iter()
                .any(|(_, notice)| matches!(notice, Notice::FellBack));
            let (attempt, most) = self.attempt_at_provider(index);
            let closing = self.record.closed_at.is_some_and(|closed| closed <= *at);
            let can_help = !*output_delivered && says_something_of_its_provider(*kind);
            if let Some((fell_at, Notice::FellBack)) = next {
                let is_for_good = attempt >= most
                    || retry_after.is_some()
                    || total.is_some()
                    || !super::attempts::is_retryable(*kind);
                let is_at_once = *retry_in == Some(Duration::ZERO) && fell_at == at;
                findings.check(
                    "a_fallback_is_for_a_failure_for_good",
                    can_help && is_for_good && is_at_once && !is_elsewhere && !closing,
                    who,
                );
            } else if retry_in.is_none() && !is_elsewhere {
                findings.check(
                    "nobody_gives_up_who_has_a_fallback",
                    !can_help || closing || total.is_some(),
                    who,
                );
            }
        }
        let sent: Vec<_> = self
            .request
            .attempts
            .iter()
            .map(|it| it.is_elsewhere)
            .collect();
        let at_fallback = sent.iter().filter(|elsewhere| **elsewhere).count();
        let is_in_budget = at_fallback <= elsewhere
            && sent.len() - at_fallback <= self.plan.attempts(self.number).len() - elsewhere;
        findings.check(
            "each_provider_is_asked_in_its_turn",
            sent.is_sorted() && is_in_budget,
            || format!("{} {sent:?}", who()),
        );
        let fell = notices
            .iter()
            .find(|(_, notice)| matches!(notice, Notice::FellBack));
        if let Some((fell_at, _)) = fell {
            for listener in &self.record.listeners {
                if listener.request == self.number {
                    findings.check(
                        "nobody_else_is_asked_after_output",
                        !has_seen_output(listener, *fell_at),
                        who,
                    );
                }
            }
        }
    }
}

/// Whether somebody who takes all at once, and was there until then, had some of an answer that nothing had voided.
fn has_seen_output(listener: &ListenerRecord, by: Duration) -> bool {
    let is_prompt = listener.plan.pace == Pace::Quick && listener.plan.link == LinkPlan::Deliveries;
    // Who had gone was not told that it was voided.
    let has_gone = [listener.left_at, listener.died_at]
        .into_iter()
        .flatten()
        .any(|at| at <= by);
    let seen = listener.seen.iter().filter(|seen| seen.at + SOON < by);
    let events = seen.map(|seen| &seen.event);
    let mut has_output = false;
    for event in events {
        match event {
            ResponseEvent::Restarted(_) => has_output = false,
            event => has_output |= event.is_output(),
        }
    }
    is_prompt && !has_gone && has_output
}

/// Whether another provider may answer where one failed so; said again, so that it is not the table that is checked by itself.
fn says_something_of_its_provider(kind: ErrorKind) -> bool {
    use ErrorKind as K;
    !matches!(
        kind,
        K::InvalidConfiguration
            | K::InvalidRequest
            | K::ContextLengthExceeded
            | K::ContentPolicy
            | K::LocalLimit
            | K::TotalTimeout
            | K::TooLarge
            | K::Lagged
            | K::AttemptLost
            | K::ShutDown
            | K::Cancelled
    )
}
