//! Records that are spoilt on purpose, so that each check is seen to fail.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use actix_responses::{
    ApiError, ErrorKind,
    actors::{DeliveryPolicy, SubscribeError},
    protocol::ResponseEvent,
};

use crate::{
    check::check,
    plan::{Close, LinkPlan, Plan},
    run::run,
    world::{ListenerRecord, Notice, QuestionRecord, Record, Seen},
};

mod fallbacks;
mod notices;
mod pacing;

/// Spoils a record; false when the record has nothing of the kind.
type Spoil = fn(&Plan, &mut Record) -> bool;

/// What is done to a record, and which check must see it.
const SPOILS: &[(&str, Spoil, &str)] = &[
    ("a subscriber never gets its end", drop_the_end, "one_end"),
    ("an end comes twice", repeat_the_end, "one_end"),
    (
        "a delta comes after the end",
        delta_after_the_end,
        "nothing_after_the_end",
    ),
    (
        "a delivery comes twice",
        repeat_an_event,
        "sequences_have_no_gap_and_no_repeat",
    ),
    (
        "two deliveries change places",
        swap_two,
        "sequences_have_no_gap_and_no_repeat",
    ),
    (
        "a delivery is lost",
        lose_an_event,
        "sequences_have_no_gap_and_no_repeat",
    ),
    (
        "a single event is lost",
        lose_a_single_event,
        "sequences_have_no_gap_and_no_repeat",
    ),
    (
        "a retry repeats output in silence",
        repeat_output,
        "no_output_is_repeated_without_a_restart",
    ),
    (
        "text is lost",
        lose_text,
        "a_whole_answer_says_what_was_sent",
    ),
    (
        "an item is dropped with the deltas",
        lose_an_item,
        "items_are_never_dropped",
    ),
    (
        "two subscribers see different events",
        differ,
        "all_see_the_same_events",
    ),
    (
        "an answer is cut short and called whole",
        complete_instead,
        "the_end_is_what_the_server_said",
    ),
    (
        "an error gives way to a vaguer one",
        replace_the_error,
        "an_error_is_the_attempts_own",
    ),
    (
        "the end waits for the socket",
        late_end,
        "the_end_comes_at_once",
    ),
    (
        "a request is cancelled that nobody cancelled",
        cancel,
        "who_is_cancelled_was_to_be",
    ),
    (
        "an unsubscription finds no end",
        leave_too_late,
        "who_can_not_leave_has_its_end",
    ),
    (
        "a cursor in reach is refused",
        refuse_a_cursor,
        "a_refused_cursor_is_out_of_reach",
    ),
    (
        "too much is read ahead",
        read_ahead,
        "what_is_read_ahead_is_bounded",
    ),
    (
        "one attempt too many",
        another_attempt,
        "attempts_are_within_the_budget",
    ),
    (
        "an attempt is counted wrong",
        miscount,
        "observers_hear_of_each_attempt",
    ),
    (
        "an attempt is sent late",
        send_late,
        "an_attempt_is_sent_when_it_starts",
    ),
    (
        "a delay is not the policy's",
        other_delay,
        "delays_are_the_policys",
    ),
    (
        "a retry comes early",
        retry_early,
        "a_retry_comes_when_it_is_due",
    ),
    (
        "a retryable failure is not retried",
        give_up,
        "it_gives_up_for_a_reason",
    ),
    (
        "an attempt after a cancel",
        attempt_after_cancel,
        "no_attempt_follows_a_cancel",
    ),
    (
        "a cancel leaves the connection open",
        open_after_cancel,
        "a_cancel_closes_the_connection",
    ),
    (
        "nobody listens and it goes on",
        open_though_deserted,
        "the_deserted_are_closed",
    ),
    (
        "a shutdown takes longer than its grace",
        slow_shutdown,
        "a_shutdown_ends_with_its_grace",
    ),
    (
        "a question is never answered",
        drop_the_answer,
        "one_answer",
    ),
    (
        "a question is answered twice",
        repeat_the_answer,
        "one_answer",
    ),
    (
        "an answer is another question's",
        other_answer,
        "an_answer_is_the_attempts_own",
    ),
    (
        "an answer that failed counts as one",
        answer_instead,
        "an_answer_is_the_attempts_own",
    ),
    (
        "an answer waits for the socket",
        late_answer,
        "an_answer_comes_at_once",
    ),
    (
        "a shutdown replaces what a question failed with",
        replace_the_answers_error,
        "a_known_error_is_kept",
    ),
    (
        "a shutdown replaces what a stream failed with",
        replace_with_shutdown,
        "a_known_error_is_kept",
    ),
    (
        "a question is asked again in a shutdown",
        ask_in_a_shutdown,
        "nothing_is_sent_after_a_shutdown_began",
    ),
    (
        "a stream is tried again in a shutdown",
        start_in_a_shutdown,
        "nothing_is_sent_after_a_shutdown_began",
    ),
    (
        "an endpoint is spared that was not found down",
        spare_for_nothing,
        "who_is_spared_was_found_down",
    ),
    (
        "an observer hears no end",
        notices::lose_the_end,
        "an_observer_hears_of_one_end",
    ),
    (
        "an observer hears of two ends",
        notices::repeat_the_end,
        "an_observer_hears_of_one_end",
    ),
    (
        "an observer hears of the head after the end",
        notices::head_after_the_end,
        "an_observer_hears_in_order",
    ),
    (
        "an observer hears of the failure of another attempt",
        notices::other_attempt,
        "an_observer_hears_in_order",
    ),
    (
        "an observer hears of a failure twice",
        notices::fail_twice,
        "no_more_attempts_fail_than_start",
    ),
    (
        "an observer hears of another end than the subscribers",
        notices::other_end,
        "the_end_told_is_the_end_seen",
    ),
    (
        "another provider is asked after output",
        fallbacks::after_output,
        "a_fallback_is_for_a_failure_for_good",
    ),
    (
        "another provider is asked for the request's own fault",
        fallbacks::own_fault,
        "a_fallback_is_for_a_failure_for_good",
    ),
    (
        "another provider is waited for",
        fallbacks::late,
        "a_fallback_is_for_a_failure_for_good",
    ),
    (
        "another provider that could be asked is not",
        fallbacks::none,
        "nobody_gives_up_who_has_a_fallback",
    ),
    (
        "the first provider is asked again after another",
        fallbacks::back_again,
        "each_provider_is_asked_in_its_turn",
    ),
    (
        "somebody had seen output before another was asked",
        fallbacks::output_seen,
        "nobody_else_is_asked_after_output",
    ),
    (
        "a request overtakes one that came before it",
        pacing::overtake,
        "first_come_first_served",
    ),
    (
        "a request waits for the limiter for ever",
        pacing::wait_for_ever,
        "no_wait_for_the_limiter_is_for_ever",
    ),
    (
        "an attempt starts though the server asked for a pause",
        pacing::start_at_a_closed_gate,
        "nothing_starts_at_a_closed_gate",
    ),
    ("an actor is left", leave_an_actor, "nothing_is_left"),
    ("a seed does not end", take_for_ever, "it_ends_in_time"),
];

fn listener(
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

fn drop_the_end(_: &Plan, record: &mut Record) -> bool {
    let Some(listener) = listener(record, is_whole) else {
        return false;
    };
    listener.seen.pop();
    true
}

fn repeat_the_end(_: &Plan, record: &mut Record) -> bool {
    let Some(listener) = listener(record, is_whole) else {
        return false;
    };
    listener.seen.extend_from_within(listener.seen.len() - 1..);
    true
}

fn delta_after_the_end(_: &Plan, record: &mut Record) -> bool {
    let Some(listener) = listener(record, is_whole) else {
        return false;
    };
    let delta = first_delta(listener);
    listener.seen.extend_from_within(delta..=delta);
    true
}

fn repeat_an_event(_: &Plan, record: &mut Record) -> bool {
    let Some(listener) = listener(record, is_numbered) else {
        return false;
    };
    let again = listener.seen[1].clone();
    listener.seen.insert(1, again);
    true
}

fn swap_two(_: &Plan, record: &mut Record) -> bool {
    let Some(listener) = listener(record, is_numbered) else {
        return false;
    };
    listener.seen.swap(1, 2);
    true
}

fn lose_an_event(_: &Plan, record: &mut Record) -> bool {
    let Some(listener) = listener(record, is_numbered) else {
        return false;
    };
    listener.seen.remove(2);
    true
}

fn lose_a_single_event(_: &Plan, record: &mut Record) -> bool {
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

fn repeat_output(_: &Plan, record: &mut Record) -> bool {
    let Some(listener) = listener(record, is_numbered) else {
        return false;
    };
    let delta = first_delta(listener);
    let again = listener.seen[delta].event.clone();
    listener.seen[delta + 1].event = again;
    true
}

fn lose_text(_: &Plan, record: &mut Record) -> bool {
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

fn lose_an_item(_: &Plan, record: &mut Record) -> bool {
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

fn differ(_: &Plan, record: &mut Record) -> bool {
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

fn complete_instead(_: &Plan, record: &mut Record) -> bool {
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

fn replace_the_error(_: &Plan, record: &mut Record) -> bool {
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

fn late_end(_: &Plan, record: &mut Record) -> bool {
    for listener in &mut record.listeners {
        if let Some(end) = listener.seen.last_mut() {
            end.at += Duration::from_secs(1);
        }
    }
    true
}

fn cancel(plan: &Plan, record: &mut Record) -> bool {
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

fn leave_too_late(_: &Plan, record: &mut Record) -> bool {
    let Some(listener) = listener(record, is_whole) else {
        return false;
    };
    listener.seen.pop();
    listener.left_too_late = true;
    true
}

fn refuse_a_cursor(_: &Plan, record: &mut Record) -> bool {
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

fn read_ahead(_: &Plan, record: &mut Record) -> bool {
    let Some(listener) = listener(record, |one| one.read_ahead.is_some()) else {
        return false;
    };
    listener.read_ahead = listener.read_ahead.map(|(_, bound)| (bound + 1, bound));
    true
}

fn another_attempt(plan: &Plan, record: &mut Record) -> bool {
    let Some(attempt) = record.requests[0].attempts.last().cloned() else {
        return false;
    };
    record.requests[0]
        .attempts
        .resize(plan.requests[0].attempts.len() + 1, attempt);
    true
}

fn miscount(_: &Plan, record: &mut Record) -> bool {
    notice(record, |notice| match notice {
        Notice::Started { attempt, .. } => *attempt += 1,
        Notice::Failed { .. } | Notice::FellBack => {}
    })
}

fn send_late(_: &Plan, record: &mut Record) -> bool {
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

fn other_delay(_: &Plan, record: &mut Record) -> bool {
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

fn retry_early(_: &Plan, record: &mut Record) -> bool {
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

fn give_up(plan: &Plan, record: &mut Record) -> bool {
    plan.requests.iter().all(|request| request.total.is_none())
        && notice(record, |notice| {
            if let Notice::Failed { retry_in, .. } = notice {
                *retry_in = None;
            }
        })
}

fn attempt_after_cancel(_: &Plan, record: &mut Record) -> bool {
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

fn open_after_cancel(_: &Plan, record: &mut Record) -> bool {
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

fn open_though_deserted(_: &Plan, record: &mut Record) -> bool {
    for request in &mut record.requests {
        request.closed_at += Duration::from_secs(60);
    }
    true
}

fn slow_shutdown(plan: &Plan, record: &mut Record) -> bool {
    let Close::Shutdown { grace, .. } = plan.close else {
        return false;
    };
    record.shutdown_took = Some(grace + Duration::from_secs(1));
    true
}

/// The first question with such an answer.
fn question(
    record: &mut Record,
    wanted: impl Fn(&Result<String, ErrorKind>) -> bool,
) -> Option<&mut QuestionRecord> {
    let mut questions = record.questions.iter_mut();
    questions.find(|question| question.answers.iter().any(|(_, answer)| wanted(answer)))
}

fn drop_the_answer(_: &Plan, record: &mut Record) -> bool {
    let Some(question) = question(record, |_| true) else {
        return false;
    };
    question.answers.clear();
    true
}

fn repeat_the_answer(_: &Plan, record: &mut Record) -> bool {
    let Some(question) = question(record, |_| true) else {
        return false;
    };
    question.answers.extend_from_within(..);
    true
}

fn other_answer(_: &Plan, record: &mut Record) -> bool {
    let Some(question) = question(record, Result::is_ok) else {
        return false;
    };
    question.answers[0].1 = Ok("another".to_owned());
    true
}

fn answer_instead(_: &Plan, record: &mut Record) -> bool {
    let Some(question) = question(record, |answer| *answer == Err(ErrorKind::Truncated)) else {
        return false;
    };
    question.answers[0].1 = Ok(String::new());
    true
}

fn late_answer(_: &Plan, record: &mut Record) -> bool {
    for (at, _) in record.questions.iter_mut().flat_map(|q| &mut q.answers) {
        *at += Duration::from_secs(1);
    }
    true
}

fn replace_the_answers_error(_: &Plan, record: &mut Record) -> bool {
    if record.closed_at.is_none() {
        return false;
    }
    let is_known = |answer: &Result<String, ErrorKind>| *answer == Err(ErrorKind::Overloaded);
    let Some(question) = question(record, is_known) else {
        return false;
    };
    question.answers[0].1 = Err(ErrorKind::ShutDown);
    true
}

fn replace_with_shutdown(_: &Plan, record: &mut Record) -> bool {
    if record.closed_at.is_none() {
        return false;
    }
    let is_known = |listener: &ListenerRecord| match listener.seen.last().map(|seen| &seen.event) {
        Some(ResponseEvent::Failed(error)) => error.kind() == ErrorKind::RateLimited,
        _ => false,
    };
    let Some(listener) = listener(record, is_known) else {
        return false;
    };
    let vaguer = Arc::new(ApiError::new(ErrorKind::ShutDown, "shut down"));
    listener.seen.last_mut().expect("it has an end").event = ResponseEvent::Failed(vaguer);
    true
}

fn ask_in_a_shutdown(plan: &Plan, record: &mut Record) -> bool {
    let Some(closed) = record.closed_at else {
        return false;
    };
    let questions = &mut record.requests[plan.requests.len()..];
    let Some(attempt) = questions.iter_mut().find_map(|q| q.attempts.last_mut()) else {
        return false;
    };
    attempt.sent_at = closed + Duration::from_secs(1);
    true
}

fn start_in_a_shutdown(plan: &Plan, record: &mut Record) -> bool {
    let Some(closed) = record.closed_at else {
        return false;
    };
    let streams = &mut record.requests[..plan.requests.len()];
    let Some((at, _)) = streams.iter_mut().find_map(|s| s.notices.first_mut()) else {
        return false;
    };
    *at = closed + Duration::from_millis(1);
    true
}

/// Puts off what follows the first failure of all.
fn spare_for_nothing(plan: &Plan, record: &mut Record) -> bool {
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

fn leave_an_actor(_: &Plan, record: &mut Record) -> bool {
    record
        .leftovers
        .push("1 attempts of request 0 live".to_owned());
    true
}

fn take_for_ever(_: &Plan, record: &mut Record) -> bool {
    record.took = crate::run::TIME_LIMIT;
    true
}

/// Every check finds what it is for, and there is none that nothing was done to.
#[test]
fn every_check_catches_what_it_is_for() {
    crate::hide_scripted_panics();
    let mut missed: Vec<_> = SPOILS.iter().collect();
    let mut checked = BTreeSet::new();
    for seed in 0..1_000 {
        let plan = Plan::new(seed);
        let record = run(&plan);
        let sound = check(&plan, &record);
        checked.extend(sound.checked.keys().copied());
        if !sound.broken.is_empty() {
            // The other test tells of it.
            continue;
        }
        missed.retain(|(_, spoil, name)| {
            let mut spoilt = record.clone();
            let is_spoilt = spoil(&plan, &mut spoilt);
            !is_spoilt
                || check(&plan, &spoilt)
                    .broken
                    .iter()
                    .all(|(broken, _)| broken != name)
        });
        if missed.is_empty() && seed > 50 {
            break;
        }
    }
    let missed: Vec<_> = missed
        .iter()
        .map(|(what, _, name)| format!("{what}: {name} does not see it"))
        .collect();
    assert!(missed.is_empty(), "{missed:#?}");
    let spoilt: BTreeSet<_> = SPOILS.iter().map(|(_, _, name)| *name).collect();
    let untried: Vec<_> = checked.difference(&spoilt).collect();
    assert!(
        untried.is_empty(),
        "checks that are never seen to fail: {untried:?}"
    );
    println!(
        "{} sabotages, {} checks: each caught",
        SPOILS.len(),
        spoilt.len()
    );
}
