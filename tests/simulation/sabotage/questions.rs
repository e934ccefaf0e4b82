//! What questions were answered, spoilt.

use std::{sync::Arc, time::Duration};

use actix_responses::{ApiError, ErrorKind, protocol::ResponseEvent};

use super::listeners::listener;
use crate::{
    plan::Plan,
    world::{ListenerRecord, QuestionRecord, Record},
};

/// The first question with such an answer.
fn question(
    record: &mut Record,
    wanted: impl Fn(&Result<String, ErrorKind>) -> bool,
) -> Option<&mut QuestionRecord> {
    let mut questions = record.questions.iter_mut();
    questions.find(|question| question.answers.iter().any(|(_, answer)| wanted(answer)))
}

pub(super) fn drop_the_answer(_: &Plan, record: &mut Record) -> bool {
    let Some(question) = question(record, |_| true) else {
        return false;
    };
    question.answers.clear();
    true
}

pub(super) fn repeat_the_answer(_: &Plan, record: &mut Record) -> bool {
    let Some(question) = question(record, |_| true) else {
        return false;
    };
    question.answers.extend_from_within(..);
    true
}

pub(super) fn other_answer(_: &Plan, record: &mut Record) -> bool {
    let Some(question) = question(record, Result::is_ok) else {
        return false;
    };
    question.answers[0].1 = Ok("another".to_owned());
    true
}

pub(super) fn answer_instead(_: &Plan, record: &mut Record) -> bool {
    let Some(question) = question(record, |answer| *answer == Err(ErrorKind::Truncated)) else {
        return false;
    };
    question.answers[0].1 = Ok(String::new());
    true
}

pub(super) fn late_answer(_: &Plan, record: &mut Record) -> bool {
    for (at, _) in record.questions.iter_mut().flat_map(|q| &mut q.answers) {
        *at += Duration::from_secs(1);
    }
    true
}

pub(super) fn replace_the_answers_error(_: &Plan, record: &mut Record) -> bool {
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

pub(super) fn replace_with_shutdown(_: &Plan, record: &mut Record) -> bool {
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

pub(super) fn ask_in_a_shutdown(plan: &Plan, record: &mut Record) -> bool {
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

pub(super) fn start_in_a_shutdown(plan: &Plan, record: &mut Record) -> bool {
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
