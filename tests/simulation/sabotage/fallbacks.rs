//! What is told of other providers, spoilt.

use std::time::Duration;

use actix_responses::ErrorKind;

use crate::{
    plan::{LinkPlan, Pace, Plan},
    world::{Notice, Record},
};

/// Changes the failure that a fallback followed.
fn spoil(record: &mut Record, change: impl Fn(&mut Notice)) -> bool {
    for request in &mut record.requests {
        let fell = request
            .notices
            .iter()
            .position(|(_, notice)| matches!(notice, Notice::FellBack));
        if let Some(at) = fell {
            change(&mut request.notices[at - 1].1);
            return true;
        }
    }
    false
}

pub(super) fn after_output(_: &Plan, record: &mut Record) -> bool {
    spoil(record, |notice| {
        if let Notice::Failed {
            output_delivered, ..
        } = notice
        {
            *output_delivered = true;
        }
    })
}

pub(super) fn own_fault(_: &Plan, record: &mut Record) -> bool {
    spoil(record, |notice| {
        if let Notice::Failed { kind, .. } = notice {
            *kind = ErrorKind::InvalidRequest;
        }
    })
}

pub(super) fn late(_: &Plan, record: &mut Record) -> bool {
    spoil(record, |notice| {
        if let Notice::Failed { retry_in, .. } = notice {
            *retry_in = Some(Duration::from_secs(1));
        }
    })
}

pub(super) fn none(plan: &Plan, record: &mut Record) -> bool {
    let timeless = |number: usize| {
        plan.requests
            .get(number)
            .is_some_and(|it| it.total.is_none())
    };
    for (number, request) in record.requests.iter_mut().enumerate() {
        let fell = request
            .notices
            .iter()
            .position(|(_, notice)| matches!(notice, Notice::FellBack));
        if let Some(at) = fell.filter(|_| timeless(number)) {
            request.notices.truncate(at);
            if let Some((_, Notice::Failed { retry_in, .. })) = request.notices.last_mut() {
                *retry_in = None;
            }
            return true;
        }
    }
    false
}

pub(super) fn back_again(_: &Plan, record: &mut Record) -> bool {
    let mut requests = record.requests.iter_mut();
    let elsewhere = requests.find(|request| request.attempts.iter().any(|it| it.is_elsewhere));
    let Some(request) = elsewhere else {
        return false;
    };
    request.attempts.reverse();
    !request.attempts.iter().all(|it| it.is_elsewhere)
}

pub(super) fn output_seen(_: &Plan, record: &mut Record) -> bool {
    for (number, request) in record.requests.iter().enumerate() {
        let fell = |(_, notice): &&(_, Notice)| matches!(notice, Notice::FellBack);
        let has_waited = request.notices.iter().find(fell);
        let has_waited = has_waited.is_some_and(|(at, _)| *at > Duration::from_millis(50));
        let listener = record.listeners.iter_mut().find(|listener| {
            let is_prompt =
                listener.plan.pace == Pace::Quick && listener.plan.link == LinkPlan::Deliveries;
            has_waited && is_prompt && listener.request == number
        });
        let output = listener.and_then(|listener| {
            let mut seen = listener.seen.iter_mut();
            seen.find(|seen| seen.event.is_output())
        });
        if let Some(seen) = output {
            seen.at = Duration::ZERO;
            return true;
        }
    }
    false
}
