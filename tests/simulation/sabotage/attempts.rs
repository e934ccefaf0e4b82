//! What was sent, and when, spoilt.

use std::time::Duration;

use crate::{
    plan::{Close, Plan},
    world::{Notice, Record},
};

pub(super) fn another_attempt(plan: &Plan, record: &mut Record) -> bool {
    let Some(attempt) = record.requests[0].attempts.last().cloned() else {
        return false;
    };
    record.requests[0]
        .attempts
        .resize(plan.requests[0].attempts.len() + 1, attempt);
    true
}

pub(super) fn miscount(_: &Plan, record: &mut Record) -> bool {
    notice(record, |notice| match notice {
        Notice::Started { attempt, .. } => *attempt += 1,
        Notice::Failed { .. } | Notice::FellBack => {}
    })
}

pub(super) fn send_late(_: &Plan, record: &mut Record) -> bool {
    let Some(attempt) = record.requests[0].attempts.last_mut() else {
        return false;
    };
    attempt.sent_at += Duration::from_secs(1);
    true
}

fn notice(record: &mut Record, change: impl Fn(&mut Notice)) -> bool {
    for request in &mut record.requests {
        for (_, notice) in &mut request.notices {
            change(notice);
        }
    }
    true
}

pub(super) fn other_delay(_: &Plan, record: &mut Record) -> bool {
    notice(record, |notice| {
        if let Notice::Failed {
            retry_in: Some(delay),
            ..
        } = notice
        {
            *delay /= 2;
        }
    })
}

pub(super) fn retry_early(_: &Plan, record: &mut Record) -> bool {
    for request in &mut record.requests {
        for (at, notice) in &mut request.notices {
            if matches!(
                notice,
                Notice::Failed {
                    retry_in: Some(_),
                    ..
                }
            ) {
                *at += Duration::from_millis(50);
            }
        }
    }
    true
}

pub(super) fn give_up(plan: &Plan, record: &mut Record) -> bool {
    plan.requests.iter().all(|request| request.total.is_none())
        && notice(record, |notice| {
            if let Notice::Failed { retry_in, .. } = notice {
                *retry_in = None;
            }
        })
}

pub(super) fn attempt_after_cancel(_: &Plan, record: &mut Record) -> bool {
    let cancelled = record
        .requests
        .iter_mut()
        .find(|request| !request.cancelled_at.is_empty());
    let Some(request) = cancelled else {
        return false;
    };
    let Some(mut attempt) = request.attempts.last().cloned() else {
        return false;
    };
    attempt.sent_at = request.cancelled_at[0] + Duration::from_secs(1);
    request.attempts.push(attempt);
    true
}

pub(super) fn open_after_cancel(_: &Plan, record: &mut Record) -> bool {
    let cancelled = record
        .requests
        .iter_mut()
        .find(|request| !request.cancelled_at.is_empty());
    let Some(request) = cancelled else {
        return false;
    };
    request.closed_at = request.cancelled_at[0] + Duration::from_secs(1);
    true
}

pub(super) fn open_though_deserted(_: &Plan, record: &mut Record) -> bool {
    for request in &mut record.requests {
        request.closed_at += Duration::from_secs(60);
    }
    true
}

pub(super) fn slow_shutdown(plan: &Plan, record: &mut Record) -> bool {
    let Close::Shutdown { grace, .. } = plan.close else {
        return false;
    };
    record.shutdown_took = Some(grace + Duration::from_secs(1));
    true
}

/// Puts off what follows the first failure of all.
pub(super) fn spare_for_nothing(plan: &Plan, record: &mut Record) -> bool {
    let questions = record.requests[plan.requests.len()..].iter_mut();
    let failures = questions.filter_map(|request| {
        let is_failure = |(_, notice): &(_, _)| matches!(notice, Notice::Failed { .. });
        let at = request.notices.iter().position(is_failure)?;
        Some(&mut request.notices[at..])
    });
    match failures.min_by_key(|notices| notices[0].0) {
        Some([_, (started, Notice::Started { .. }), ..]) if plan.is_spared() => {
            *started += Duration::from_secs(1);
            true
        }
        _ => false,
    }
}
