//! What subscribers got, spoilt.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use actix_responses::{
    ApiError, ErrorKind,
    actors::{DeliveryPolicy, SubscribeError},
    protocol::ResponseEvent,
};

use crate::{
    plan::{LinkPlan, Plan},
    world::{ListenerRecord, Record, Seen},
};

pub(super) fn listener(
    record: &mut Record,
    wanted: impl Fn(&ListenerRecord) -> bool,
) -> Option<&mut ListenerRecord> {
    record.listeners.iter_mut().find(|listener| {
        let stays = listener.left_at.is_none() && listener.died_at.is_none();
        listener.joined_at.is_some() && stays && wanted(listener)
    })
}

fn is_whole(listener: &ListenerRecord) -> bool {
    let end = listener.seen.last().map(|seen| &seen.event);
    matches!(
        end,
        Some(ResponseEvent::Completed(_) | ResponseEvent::Incomplete(_))
    ) && listener.plan.joins.is_none()
        && listener
            .seen
            .iter()
            .filter(|seen| seen.event.is_delta())
            .count()
            > 2
}

fn is_numbered(listener: &ListenerRecord) -> bool {
    let keeps_all = listener.plan.policy != DeliveryPolicy::DropDeltas;
    is_whole(listener) && keeps_all && listener.plan.link != LinkPlan::Events
}

fn first_delta(listener: &ListenerRecord) -> usize {
    listener
        .seen
        .iter()
        .position(|seen| seen.event.is_delta())
        .unwrap_or_default()
}

pub(super) fn drop_the_end(_: &Plan, record: &mut Record) -> bool {
    let Some(listener) = listener(record, is_whole) else {
        return false;
    };
    listener.seen.pop();
    true
}

pub(super) fn repeat_the_end(_: &Plan, record: &mut Record) -> bool {
    let Some(listener) = listener(record, is_whole) else {
        return false;
    };
    listener.seen.extend_from_within(listener.seen.len() - 1..);
    true
}

pub(super) fn delta_after_the_end(_: &Plan, record: &mut Record) -> bool {
    let Some(listener) = listener(record, is_whole) else {
        return false;
    };
    let delta = first_delta(listener);
    listener.seen.extend_from_within(delta..=delta);
    true
}

pub(super) fn repeat_an_event(_: &Plan, record: &mut Record) -> bool {
    let Some(listener) = listener(record, is_numbered) else {
        return false;
    };
    let again = listener.seen[1].clone();
    listener.seen.insert(1, again);
    true
}

pub(super) fn swap_two(_: &Plan, record: &mut Record) -> bool {
    let Some(listener) = listener(record, is_numbered) else {
        return false;
    };
    listener.seen.swap(1, 2);
    true
}

pub(super) fn lose_an_event(_: &Plan, record: &mut Record) -> bool {
    let Some(listener) = listener(record, is_numbered) else {
        return false;
    };
    listener.seen.remove(2);
    true
}

pub(super) fn lose_a_single_event(_: &Plan, record: &mut Record) -> bool {
    // Somebody else has to tell the numbers.
    let numbered: BTreeSet<_> = record
        .listeners
        .iter()
        .filter(|other| is_numbered(other))
        .map(|other| other.request)
        .collect();
    let is_single = |listener: &ListenerRecord| {
        let keeps_all = listener.plan.policy != DeliveryPolicy::DropDeltas;
        is_whole(listener)
            && listener.plan.link == LinkPlan::Events
            && keeps_all
            && numbered.contains(&listener.request)
    };
    let Some(listener) = listener(record, is_single) else {
        return false;
    };
    listener.seen.remove(2);
    true
}

pub(super) fn repeat_output(_: &Plan, record: &mut Record) -> bool {
    let Some(listener) = listener(record, is_numbered) else {
        return false;
    };
    let delta = first_delta(listener);
    let again = listener.seen[delta].event.clone();
    listener.seen[delta + 1].event = again;
    true
}

pub(super) fn lose_text(_: &Plan, record: &mut Record) -> bool {
    let is_text = |seen: &Seen| matches!(seen.event, ResponseEvent::OutputTextDelta(_));
    let says = |listener: &ListenerRecord| {
        let restarts = listener
            .seen
            .iter()
            .any(|seen| matches!(seen.event, ResponseEvent::Restarted(_)));
        is_numbered(listener) && !restarts && listener.seen.iter().any(is_text)
    };
    let Some(listener) = listener(record, says) else {
        return false;
    };
    let at = listener
        .seen
        .iter()
        .position(is_text)
        .expect("it says something");
    listener.seen.remove(at);
    true
}

pub(super) fn lose_an_item(_: &Plan, record: &mut Record) -> bool {
    let is_item = |seen: &Seen| matches!(seen.event, ResponseEvent::OutputItemDone(_));
    let drops = |listener: &ListenerRecord| listener.plan.policy == DeliveryPolicy::DropDeltas;
    let Some(listener) = listener(record, |listener| is_whole(listener) && drops(listener)) else {
        return false;
    };
    let Some(at) = listener.seen.iter().rposition(is_item) else {
        return false;
    };
    listener.seen.remove(at);
    true
}

pub(super) fn differ(_: &Plan, record: &mut Record) -> bool {
    let numbered: Vec<_> = record
        .listeners
        .iter()
        .filter(|other| is_numbered(other))
        .map(|other| other.request)
        .collect();
    let twice = |request: usize| numbered.iter().filter(|other| **other == request).count() > 1;
    let Some(listener) = listener(record, |one| is_numbered(one) && twice(one.request)) else {
        return false;
    };
    listener.seen[0].event = ResponseEvent::ServerReasoningIncluded;
    true
}

pub(super) fn complete_instead(_: &Plan, record: &mut Record) -> bool {
    let end = record.listeners.iter().find_map(|listener| {
        let end = &listener.seen.last()?.event;
        matches!(end, ResponseEvent::Completed(_)).then(|| end.clone())
    });
    let is_cut = |listener: &ListenerRecord| match listener.seen.last().map(|seen| &seen.event) {
        Some(ResponseEvent::Failed(error)) => error.kind() == ErrorKind::Truncated,
        _ => false,
    };
    let (Some(end), Some(listener)) = (end, listener(record, is_cut)) else {
        return false;
    };
    listener.seen.last_mut().expect("it has an end").event = end;
    true
}

pub(super) fn replace_the_error(_: &Plan, record: &mut Record) -> bool {
    let is_known = |listener: &ListenerRecord| match listener.seen.last().map(|seen| &seen.event) {
        Some(ResponseEvent::Failed(error)) => error.kind() == ErrorKind::ContextLengthExceeded,
        _ => false,
    };
    let Some(listener) = listener(record, is_known) else {
        return false;
    };
    let vaguer = Arc::new(ApiError::new(ErrorKind::Truncated, "the stream ended"));
    listener.seen.last_mut().expect("it has an end").event = ResponseEvent::Failed(vaguer);
    true
}

pub(super) fn late_end(_: &Plan, record: &mut Record) -> bool {
    for listener in &mut record.listeners {
        if let Some(end) = listener.seen.last_mut() {
            end.at += Duration::from_secs(1);
        }
    }
    true
}

pub(super) fn cancel(plan: &Plan, record: &mut Record) -> bool {
    let keeps_going = |request: usize| {
        let plan = &plan.requests[request];
        plan.when_deserted == actix_responses::actors::WhenDeserted::KeepGoing
            && plan.cancels.is_empty()
    };
    let Some(listener) = listener(record, |one| is_numbered(one) && keeps_going(one.request))
    else {
        return false;
    };
    listener.seen.last_mut().expect("it has an end").event = ResponseEvent::Cancelled;
    true
}

pub(super) fn leave_too_late(_: &Plan, record: &mut Record) -> bool {
    let Some(listener) = listener(record, is_whole) else {
        return false;
    };
    listener.seen.pop();
    listener.left_too_late = true;
    true
}

pub(super) fn refuse_a_cursor(_: &Plan, record: &mut Record) -> bool {
    let Some(id) = record.requests[0].id else {
        return false;
    };
    let Some(listener) = record
        .listeners
        .iter_mut()
        .find(|listener| listener.request == 0)
    else {
        return false;
    };
    listener.refused = Some(SubscribeError::CursorExpired {
        request: id,
        wanted: 5,
        oldest: 5,
    });
    true
}

pub(super) fn read_ahead(_: &Plan, record: &mut Record) -> bool {
    let Some(listener) = listener(record, |one| one.read_ahead.is_some()) else {
        return false;
    };
    listener.read_ahead = listener.read_ahead.map(|(_, bound)| (bound + 1, bound));
    true
}
