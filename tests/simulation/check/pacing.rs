//! The limiter: who waits for it, and for how long.

use std::collections::BTreeSet;

use super::{Findings, SOON};
use crate::{
    plan::Plan,
    world::{Paced, Record},
};

pub(super) fn check(plan: &Plan, record: &Record, findings: &mut Findings) {
    let Some(limiter) = plan.limiter else {
        return;
    };
    let accepted = record
        .pacing
        .iter()
        .filter(|paced| paced.what == "accepted");
    let order: Vec<usize> = accepted.map(|paced| paced.request).collect();
    let place = |request: usize| order.iter().position(|other| *other == request);
    let mut waiting = BTreeSet::new();
    for (index, Paced { at, request, what }) in record.pacing.iter().enumerate() {
        waiting.remove(request);
        match *what {
            "limited" => {
                waiting.insert(*request);
                let later = record.pacing[index + 1..].iter();
                let next = later.clone().find(|paced| paced.request == *request);
                let by = *at + limiter.policy.max_wait + SOON;
                findings.check(
                    "no_wait_for_the_limiter_is_for_ever",
                    next.is_some_and(|next| next.at <= by),
                    || format!("request {request}: it waits since {at:?}, then {next:?}"),
                );
            }
            "started" => {
                let is_ahead = |other: &&usize| {
                    plan.gate(**other) == plan.gate(*request) && place(**other) < place(*request)
                };
                let overtaken: Vec<_> = waiting.iter().filter(is_ahead).collect();
                findings.check("first_come_first_served", overtaken.is_empty(), || {
                    format!("request {request} overtakes {overtaken:?} at {at:?}")
                });
                let mut closings = record.closings.iter();
                let closed = closings.find(|(gate, from, until)| {
                    *gate == plan.gate(*request) && from < at && at < until
                });
                findings.check("nothing_starts_at_a_closed_gate", closed.is_none(), || {
                    format!("request {request} starts at {at:?}, {closed:?}")
                });
            }
            _ => {}
        }
    }
}
