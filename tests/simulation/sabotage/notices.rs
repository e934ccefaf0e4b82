//! What the observer of all requests heard, spoilt.

use crate::{plan::Plan, world::Record};

/// Changes what was heard of the first request of which it can be.
fn spoil(record: &mut Record, change: impl Fn(&mut Vec<(u32, &'static str)>) -> bool) -> bool {
    let mut requests = record.requests.iter_mut();
    requests.any(|request| change(&mut request.heard))
}

pub(super) fn lose_the_end(_: &Plan, record: &mut Record) -> bool {
    spoil(record, |heard| heard.pop().is_some())
}

pub(super) fn repeat_the_end(_: &Plan, record: &mut Record) -> bool {
    spoil(record, |heard| {
        let last = heard.last().copied();
        heard.extend(last);
        last.is_some()
    })
}

pub(super) fn head_after_the_end(_: &Plan, record: &mut Record) -> bool {
    spoil(record, |heard| {
        let at = heard.iter().position(|(_, what)| *what == "head");
        let head = at.map(|at| heard.remove(at));
        heard.extend(head);
        head.is_some()
    })
}

fn first_failure(heard: &[(u32, &'static str)]) -> Option<usize> {
    heard.iter().position(|(_, what)| *what == "attempt_failed")
}

pub(super) fn other_attempt(_: &Plan, record: &mut Record) -> bool {
    spoil(record, |heard| {
        let at = first_failure(heard);
        at.is_some_and(|at| {
            heard[at].0 += 1;
            true
        })
    })
}

pub(super) fn fail_twice(_: &Plan, record: &mut Record) -> bool {
    spoil(record, |heard| {
        let at = first_failure(heard);
        at.is_some_and(|at| {
            heard.insert(at, heard[at]);
            true
        })
    })
}

pub(super) fn other_end(_: &Plan, record: &mut Record) -> bool {
    let seen = record.listeners.iter().find(|listener| {
        let last = listener.seen.last();
        last.is_some_and(|seen| matches!(seen.event.name(), "completed" | "incomplete"))
    });
    let Some(request) = seen.map(|listener| listener.request) else {
        return false;
    };
    let last = record.requests[request].heard.last_mut();
    last.is_some_and(|(_, what)| {
        *what = "cancelled";
        true
    })
}
