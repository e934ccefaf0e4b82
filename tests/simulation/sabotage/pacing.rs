//! What was heard of the limiter, spoilt.

use std::time::Duration;

use crate::{
    plan::Plan,
    world::{Paced, Record},
};

pub(super) fn overtake(plan: &Plan, record: &mut Record) -> bool {
    let accepted = |request| {
        let mut all = record.pacing.iter();
        all.position(|paced| paced.request == request && paced.what == "accepted")
    };
    let found = record.pacing.iter().enumerate().find_map(|(at, paced)| {
        let is_later = |other: &&Paced| {
            let is_another = other.request != paced.request && other.what == "started";
            let is_behind = accepted(other.request) > accepted(paced.request);
            is_another && is_behind && plan.gate(other.request) == plan.gate(paced.request)
        };
        let later = record.pacing[at + 1..].iter().find(is_later)?;
        (paced.what == "limited").then_some((at, *later))
    });
    found.is_some_and(|(at, other)| {
        record.pacing.insert(at + 1, other);
        true
    })
}

pub(super) fn wait_for_ever(_: &Plan, record: &mut Record) -> bool {
    let limited = record
        .pacing
        .iter()
        .position(|paced| paced.what == "limited");
    limited.is_some_and(|at| {
        let request = record.pacing[at].request;
        let rest = record.pacing.split_off(at + 1);
        let others = rest.into_iter().filter(|paced| paced.request != request);
        record.pacing.extend(others);
        true
    })
}

pub(super) fn start_at_a_closed_gate(plan: &Plan, record: &mut Record) -> bool {
    let started = record
        .pacing
        .iter_mut()
        .filter(|paced| paced.what == "started");
    let found = started.into_iter().find_map(|paced| {
        let mut closings = record.closings.iter();
        let closing = closings.find(|closing| closing.0 == plan.gate(paced.request))?;
        Some((paced, closing.1))
    });
    found
        .filter(|_| plan.limiter.is_some())
        .is_some_and(|(paced, from)| {
            paced.at = from + Duration::from_millis(1);
            true
        })
}
