//! What the observer of all requests hears of one.

use actix_responses::protocol::ResponseEvent;

use super::{Findings, View, is_own_end};

/// The ends of a request.
const ENDS: [&str; 4] = ["completed", "incomplete", "failed", "cancelled"];

/// What may be heard next of one attempt.
fn may_follow(before: &str, what: &str) -> bool {
    match before {
        "accepted" => matches!(what, "started" | "limited") || ENDS.contains(&what),
        "started" => matches!(what, "head" | "attempt_failed" | "failed" | "cancelled"),
        "head" => {
            let is_over = matches!(what, "answered" | "attempt_failed");
            what == "first_event" || is_over || matches!(what, "failed" | "cancelled")
        }
        "first_event" => {
            let is_over = matches!(what, "answered" | "attempt_failed");
            is_over || matches!(what, "failed" | "cancelled")
        }
        "answered" => matches!(what, "completed" | "incomplete"),
        "attempt_failed" => matches!(
            what,
            "started" | "limited" | "fell_back" | "failed" | "cancelled"
        ),
        "fell_back" => what == "started",
        "limited" => matches!(what, "started" | "failed" | "cancelled"),
        _ => false,
    }
}

impl View<'_> {
    pub(super) fn check_notices(&self, findings: &mut Findings) {
        let heard = &self.request.heard;
        let was_accepted = self.request.id.is_some() || !heard.is_empty();
        if !was_accepted {
            return;
        }
        let who = || format!("request {}: {heard:?}", self.number);
        let is_end = |(_, what): &&(u32, &str)| ENDS.contains(what);
        let ends = heard.iter().filter(is_end).count();
        findings.check("an_observer_hears_of_one_end", ends == 1, who);
        let starts_right = heard.first() == Some(&(0, "accepted"));
        let in_order = heard.windows(2).all(|pair| {
            let [(before, first), (number, next)] = [pair[0], pair[1]];
            let expected = before + u32::from(next == "started");
            number == expected && may_follow(first, next)
        });
        findings.check("an_observer_hears_in_order", starts_right && in_order, who);
        let count = |wanted: &str| heard.iter().filter(|(_, what)| *what == wanted).count();
        let failed = count("attempt_failed");
        findings.check(
            "no_more_attempts_fail_than_start",
            failed + count("answered") <= count("started"),
            who,
        );
        let Some((_, told)) = heard.last() else {
            return;
        };
        for listener in &self.record.listeners {
            let last = listener.seen.last().map(|seen| &seen.event);
            let end = last.filter(|event| event.is_final() && !is_own_end(event));
            if let Some(end) = end.filter(|_| listener.request == self.number) {
                let seen = match end {
                    ResponseEvent::Completed(_) => "completed",
                    ResponseEvent::Incomplete(_) => "incomplete",
                    ResponseEvent::Cancelled => "cancelled",
                    _ => "failed",
                };
                findings.check("the_end_told_is_the_end_seen", seen == *told, || {
                    format!("{}, but a subscriber saw {seen}", who())
                });
            }
        }
    }
}
