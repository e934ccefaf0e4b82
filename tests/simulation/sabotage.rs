//! Records that are spoilt on purpose, so that each check is seen to fail.

use std::collections::BTreeSet;

use crate::{check::check, plan::Plan, run::run, world::Record};

mod attempts;
mod fallbacks;
mod listeners;
mod notices;
mod pacing;
mod questions;

/// Spoils a record; false when the record has nothing of the kind.
type Spoil = fn(&Plan, &mut Record) -> bool;

/// What is done to a record, and which check must see it.
const SPOILS: &[(&str, Spoil, &str)] = &[
    (
        "a subscriber never gets its end",
        listeners::drop_the_end,
        "one_end",
    ),
    ("an end comes twice", listeners::repeat_the_end, "one_end"),
    (
        "a delta comes after the end",
        listeners::delta_after_the_end,
        "nothing_after_the_end",
    ),
    (
        "a delivery comes twice",
        listeners::repeat_an_event,
        "sequences_have_no_gap_and_no_repeat",
    ),
    (
        "two deliveries change places",
        listeners::swap_two,
        "sequences_have_no_gap_and_no_repeat",
    ),
    (
        "a delivery is lost",
        listeners::lose_an_event,
        "sequences_have_no_gap_and_no_repeat",
    ),
    (
        "a single event is lost",
        listeners::lose_a_single_event,
        "sequences_have_no_gap_and_no_repeat",
    ),
    (
        "a retry repeats output in silence",
        listeners::repeat_output,
        "no_output_is_repeated_without_a_restart",
    ),
    (
        "text is lost",
        listeners::lose_text,
        "a_whole_answer_says_what_was_sent",
    ),
    (
        "an item is dropped with the deltas",
        listeners::lose_an_item,
        "items_are_never_dropped",
    ),
    (
        "two subscribers see different events",
        listeners::differ,
        "all_see_the_same_events",
    ),
    (
        "an answer is cut short and called whole",
        listeners::complete_instead,
        "the_end_is_what_the_server_said",
    ),
    (
        "an error gives way to a vaguer one",
        listeners::replace_the_error,
        "an_error_is_the_attempts_own",
    ),
    (
        "the end waits for the socket",
        listeners::late_end,
        "the_end_comes_at_once",
    ),
    (
        "a request is cancelled that nobody cancelled",
        listeners::cancel,
        "who_is_cancelled_was_to_be",
    ),
    (
        "an unsubscription finds no end",
        listeners::leave_too_late,
        "who_can_not_leave_has_its_end",
    ),
    (
        "a cursor in reach is refused",
        listeners::refuse_a_cursor,
        "a_refused_cursor_is_out_of_reach",
    ),
    (
        "too much is read ahead",
        listeners::read_ahead,
        "what_is_read_ahead_is_bounded",
    ),
    (
        "one attempt too many",
        attempts::another_attempt,
        "attempts_are_within_the_budget",
    ),
    (
        "an attempt is counted wrong",
        attempts::miscount,
        "observers_hear_of_each_attempt",
    ),
    (
        "an attempt is sent late",
        attempts::send_late,
        "an_attempt_is_sent_when_it_starts",
    ),
    (
        "a delay is not the policy's",
        attempts::other_delay,
        "delays_are_the_policys",
    ),
    (
        "a retry comes early",
        attempts::retry_early,
        "a_retry_comes_when_it_is_due",
    ),
    (
        "a retryable failure is not retried",
        attempts::give_up,
        "it_gives_up_for_a_reason",
    ),
    (
        "an attempt after a cancel",
        attempts::attempt_after_cancel,
        "no_attempt_follows_a_cancel",
    ),
    (
        "a cancel leaves the connection open",
        attempts::open_after_cancel,
        "a_cancel_closes_the_connection",
    ),
    (
        "nobody listens and it goes on",
        attempts::open_though_deserted,
        "the_deserted_are_closed",
    ),
    (
        "a shutdown takes longer than its grace",
        attempts::slow_shutdown,
        "a_shutdown_ends_with_its_grace",
    ),
    (
        "a question is never answered",
        questions::drop_the_answer,
        "one_answer",
    ),
    (
        "a question is answered twice",
        questions::repeat_the_answer,
        "one_answer",
    ),
    (
        "an answer is another question's",
        questions::other_answer,
        "an_answer_is_the_attempts_own",
    ),
    (
        "an answer that failed counts as one",
        questions::answer_instead,
        "an_answer_is_the_attempts_own",
    ),
    (
        "an answer waits for the socket",
        questions::late_answer,
        "an_answer_comes_at_once",
    ),
    (
        "a shutdown replaces what a question failed with",
        questions::replace_the_answers_error,
        "a_known_error_is_kept",
    ),
    (
        "a shutdown replaces what a stream failed with",
        questions::replace_with_shutdown,
        "a_known_error_is_kept",
    ),
    (
        "a question is asked again in a shutdown",
        questions::ask_in_a_shutdown,
        "nothing_is_sent_after_a_shutdown_began",
    ),
    (
        "a stream is tried again in a shutdown",
        questions::start_in_a_shutdown,
        "nothing_is_sent_after_a_shutdown_began",
    ),
    (
        "an endpoint is spared that was not found down",
        attempts::spare_for_nothing,
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
