//! The promises, each as a check with a name over what one seed has recorded.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use actix_responses::{
    ErrorKind,
    actors::{DeliveryPolicy, SubscribeError, WhenDeserted},
    protocol::ResponseEvent,
    retry::RetryAfterOutput,
};

use crate::{
    bodies::Ending,
    plan::{
        BACKOFF, Close, CursorPlan, Fault, LinkPlan, MAX_REQUESTED_DELAY, Pace, Plan,
        TRAILER_TIMEOUT,
    },
    run::TIME_LIMIT,
    world::{AttemptRecord, ListenerRecord, Notice, Record, RequestRecord, Seen},
};

/// How late a timer may be, and how long what is ready may take.
const SOON: Duration = Duration::from_millis(5);

/// How long the next request waits at most for a connection that is being drained.
const DRAIN: Duration = Duration::from_millis(50);

/// How often each promise was checked, and where it was broken.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) checked: BTreeMap<&'static str, u64>,
    pub(crate) broken: Vec<(&'static str, String)>,
}

impl Findings {
    fn check(&mut self, name: &'static str, holds: bool, detail: impl FnOnce() -> String) {
        *self.checked.entry(name).or_default() += 1;
        if !holds {
            self.broken.push((name, detail()));
        }
    }
}

/// Checks everything that one seed promises.
pub(crate) fn check(plan: &Plan, record: &Record) -> Findings {
    let mut findings = Findings::default();
    let findings_ref = &mut findings;
    for (number, request) in record.requests.iter().enumerate() {
        let view = View {
            plan,
            record,
            number,
            request,
            log: Log::default(),
        };
        match plan.question(number) {
            Some(_) => view.check_question(findings_ref),
            None => view.check(findings_ref),
        }
    }
    findings.check("nothing_is_left", record.leftovers.is_empty(), || {
        record.leftovers.join(", ")
    });
    findings.check("it_ends_in_time", record.took < TIME_LIMIT, || {
        format!("it took {:?}", record.took)
    });
    if let (Close::Shutdown { grace, .. }, Some(took)) = (plan.close, record.shutdown_took) {
        findings.check(
            "a_shutdown_ends_with_its_grace",
            took <= grace + SOON,
            || format!("it took {took:?} with a grace of {grace:?}"),
        );
    }
    findings
}

struct View<'a> {
    plan: &'a Plan,
    record: &'a Record,
    number: usize,
    request: &'a RequestRecord,
    log: Log,
}

/// What the request's events were, as far as anybody has seen them by number.
#[derive(Default)]
struct Log {
    events: BTreeMap<u64, ResponseEvent>,
    disagreements: Vec<String>,
}

impl View<'_> {
    fn check(mut self, findings: &mut Findings) {
        self.collect();
        let disagreements = &self.log.disagreements;
        findings.check("all_see_the_same_events", disagreements.is_empty(), || {
            disagreements.join("; ")
        });
        for (number, listener) in self.record.listeners.iter().enumerate() {
            if listener.request == self.number && listener.joined_at.is_some() {
                self.check_listener(number, listener, findings);
            }
            if let (true, Some(error)) = (listener.request == self.number, listener.refused) {
                let holds = match error {
                    SubscribeError::CursorExpired { wanted, oldest, .. } => wanted < oldest,
                    SubscribeError::CursorAhead { wanted, next, .. } => wanted >= next,
                    _ => true,
                };
                findings.check("a_refused_cursor_is_out_of_reach", holds, || {
                    format!("listener {number}: {error}")
                });
            }
        }
        self.check_attempts(findings);
        self.check_closing(findings);
        self.check_cancels(findings);
        self.check_desertion(findings);
    }

    /// A question has one answer: what its last attempt came to.
    fn check_question(&self, findings: &mut Findings) {
        self.check_attempts(findings);
        self.check_closing(findings);
        self.check_cancels(findings);
        self.check_breaker(findings);
        let question = &self.record.questions[self.number - self.plan.requests.len()];
        if !question.is_asked {
            return;
        }
        let count = question.answers.len();
        let holds = count == 1 || (count == 0 && question.left_at.is_some());
        findings.check("one_answer", holds, || {
            format!("request {}: {count} answers", self.number)
        });
        let Some((at, answer)) = question.answers.first() else {
            return;
        };
        let last = self.request.attempts.len().checked_sub(1);
        let attempt = last.and_then(|last| self.plan.attempts(self.number).get(last));
        let holds = match answer {
            Ok(text) => attempt.is_some_and(|attempt| {
                let body = attempt.body.as_ref();
                attempt.fails_with.is_empty() && body.is_some_and(|body| body.text == *text)
            }),
            Err(ErrorKind::ShutDown) => self.record.closed_at.is_some() || self.is_cancelled(),
            Err(ErrorKind::TotalTimeout) => self.terms().1.is_some(),
            Err(ErrorKind::Unavailable) => self.plan.is_spared(),
            Err(kind) => attempt.is_some_and(|attempt| attempt.fails_with.contains(kind)),
        };
        findings.check("an_answer_is_the_attempts_own", holds, || {
            format!(
                "request {}: {answer:?} after {:?}",
                self.number,
                attempt.map(|attempt| attempt.fault)
            )
        });
        self.check_known_error(answer.as_ref().err().copied(), findings);
        let body = attempt.and_then(|attempt| attempt.body.as_ref());
        let is_stream = body.is_some_and(|body| body.bytes.starts_with(b"data:"));
        let terminal = last.and_then(|last| self.request.attempts[last].terminal_at);
        if let (Ok(_), true, Some(terminal)) = (answer, is_stream, terminal) {
            findings.check("an_answer_comes_at_once", *at <= terminal + SOON, || {
                format!(
                    "request {}: at {at:?}, the server ended at {terminal:?}",
                    self.number
                )
            });
        }
    }

    /// Whether somebody wanted it to end.
    fn is_cancelled(&self) -> bool {
        let attempts = self.plan.attempts(self.number).iter();
        let mut sent = attempts.take(self.request.attempts.len());
        !self.request.cancelled_at.is_empty()
            || sent.any(|attempt| attempt.fault == Fault::CancelInBody)
    }

    /// What the last attempt failed with is the end, if no other attempt began and nobody cancelled.
    fn check_known_error(&self, error: Option<ErrorKind>, findings: &mut Findings) {
        let Some((_, Notice::Failed { kind, .. })) = self.request.notices.last() else {
            return;
        };
        let holds = error == Some(*kind) || self.is_cancelled();
        findings.check("a_known_error_is_kept", holds, || {
            format!(
                "request {}: {kind} was known, the end says {error:?}",
                self.number
            )
        });
    }

    /// Once a shutdown has begun no attempt starts. One that waits for a connection may still be sent.
    fn check_closing(&self, findings: &mut Findings) {
        let Some(closed) = self.record.closed_at else {
            return;
        };
        let notices = self.request.notices.iter();
        let starts = notices.filter(|(_, notice)| matches!(notice, Notice::Started { .. }));
        let starts = starts.map(|(at, _)| *at).filter(|at| *at > closed);
        let sent = self.request.attempts.iter().map(|attempt| attempt.sent_at);
        let sent = sent.filter(|at| *at > closed + DRAIN + SOON);
        let late: Vec<_> = starts.chain(sent).collect();
        findings.check(
            "nothing_is_sent_after_a_shutdown_began",
            late.is_empty(),
            || format!("request {}: closed at {closed:?}, {late:?}", self.number),
        );
    }

    /// An endpoint is spared while it was found down a short while ago, or while a probe is on its way.
    fn check_breaker(&self, findings: &mut Findings) {
        let others = &self.record.requests[self.plan.requests.len()..];
        for (spared_at, notice) in &self.request.notices {
            let is_unavailable = |notice: &Notice| matches!(notice, Notice::Failed { kind, .. } if *kind == ErrorKind::Unavailable);
            if !is_unavailable(notice) {
                continue;
            }
            let holds = others.iter().any(|other| {
                let under_way = |attempt: &AttemptRecord| {
                    attempt.sent_at <= *spared_at
                        && attempt.closed_at.is_none_or(|closed| closed >= *spared_at)
                };
                let is_recent = |(at, notice): &(Duration, Notice)| {
                    let down = matches!(notice, Notice::Failed { kind, .. } if is_down(*kind));
                    let started = matches!(notice, Notice::Started { .. })
                        && !std::ptr::eq(other, self.request);
                    let lasts = match (down, started) {
                        (true, _) => self.plan.breaker.max_pause,
                        (_, true) => DRAIN,
                        _ => return false,
                    };
                    *at <= *spared_at && *spared_at <= *at + lasts + SOON
                };
                other.attempts.iter().any(under_way) || other.notices.iter().any(is_recent)
            });
            findings.check("who_is_spared_was_found_down", holds, || {
                format!("request {}: spared at {spared_at:?}", self.number)
            });
        }
    }

    /// What is done after output, and how long it may take in all.
    fn terms(&self) -> (RetryAfterOutput, Option<Duration>) {
        match self.plan.question(self.number) {
            Some(question) => (RetryAfterOutput::Fail, question.total),
            None => {
                let request = &self.plan.requests[self.number];
                (request.after_output, request.total)
            }
        }
    }

    /// Puts together what those say who know their sequence numbers.
    fn collect(&mut self) {
        for (number, listener) in self.record.listeners.iter().enumerate() {
            if listener.request != self.number {
                continue;
            }
            for seen in &listener.seen {
                let Some(sequence) = seen.sequence else {
                    continue;
                };
                if is_own_end(&seen.event) {
                    continue;
                }
                let known = self
                    .log
                    .events
                    .entry(sequence)
                    .or_insert_with(|| seen.event.clone());
                if *known != seen.event {
                    self.log.disagreements.push(format!(
                        "request {}: listener {number} sees {} at {sequence}, another saw {}",
                        self.number,
                        seen.event.name(),
                        known.name()
                    ));
                }
            }
        }
    }

    fn check_listener(&self, number: usize, listener: &ListenerRecord, findings: &mut Findings) {
        let who = || {
            format!(
                "request {}: listener {number} ({:?} {:?})",
                self.number, listener.plan.link, listener.plan.policy
            )
        };
        let seen = &listener.seen;
        let ends = listener.ends();
        let is_here = listener.left_at.is_none() && listener.died_at.is_none();
        let holds = if is_here { ends == 1 } else { ends <= 1 };
        findings.check("one_end", holds, || format!("{}: {ends} ends", who()));
        if listener.left_too_late && listener.died_at.is_none() {
            findings.check("who_can_not_leave_has_its_end", ends == 1, || {
                format!("{}: {ends} ends", who())
            });
        }
        let last = seen
            .iter()
            .position(|seen| seen.event.is_final())
            .map_or(seen.len(), |at| at + 1);
        findings.check("nothing_after_the_end", last == seen.len(), || {
            format!("{}: {} events after it", who(), seen.len() - last)
        });
        self.check_sequence(listener, &who, findings);
        self.check_content(listener, &who, findings);
        self.check_end(listener, &who, findings);
        if let Some((ahead, bound)) = listener.read_ahead {
            findings.check("what_is_read_ahead_is_bounded", ahead <= bound, || {
                format!("{}: {ahead} events, the bound is {bound}", who())
            });
        }
    }

    /// Numbers run on without gap or repeat, except where an end overtakes, or where deltas may be left out.
    fn check_sequence(
        &self,
        listener: &ListenerRecord,
        who: &dyn Fn() -> String,
        findings: &mut Findings,
    ) {
        let mut wrong = None;
        let drops = listener.plan.policy == DeliveryPolicy::DropDeltas;
        let mut next = match listener.plan.joins {
            None | Some((_, CursorPlan::Start)) => Some(0),
            Some((_, CursorPlan::From(sequence))) => Some(sequence),
            Some((_, CursorPlan::Live)) => None,
        };
        for seen in &listener.seen {
            let Some(sequence) = seen.sequence else {
                continue;
            };
            let expected = next.unwrap_or(sequence);
            next = Some(sequence + 1);
            if sequence == expected
                || seen.event.is_final() && self.may_overtake(listener, &seen.event)
            {
                continue;
            }
            let only_deltas = || {
                (expected..sequence).all(|missing| {
                    self.log
                        .events
                        .get(&missing)
                        .is_none_or(ResponseEvent::is_delta)
                })
            };
            if sequence < expected || !drops || !only_deltas() {
                wrong = Some(format!(
                    "{}: {sequence} ({}) in place of {expected}",
                    who(),
                    seen.event.name()
                ));
                break;
            }
        }
        if listener.plan.link == LinkPlan::Events {
            wrong = self
                .check_unnumbered(listener)
                .map(|what| format!("{}: {what}", who()));
        }
        let holds = wrong.is_none();
        findings.check("sequences_have_no_gap_and_no_repeat", holds, || {
            wrong.unwrap_or_default()
        });
    }

    /// Without numbers, events must be found in the log in their order. Only where somebody else saw the whole log.
    fn check_unnumbered(&self, listener: &ListenerRecord) -> Option<String> {
        let drops = listener.plan.policy == DeliveryPolicy::DropDeltas;
        let is_whole = (0..)
            .zip(self.log.events.keys())
            .all(|(expected, sequence)| expected == *sequence);
        let from_start = matches!(listener.plan.joins, None | Some((_, CursorPlan::Start)));
        if !is_whole || !from_start || self.log.events.is_empty() {
            return None;
        }
        let mut log = self.log.events.values();
        for seen in &listener.seen {
            if seen.event.is_final() && self.may_overtake(listener, &seen.event) {
                return None;
            }
            loop {
                match log.next() {
                    // The others left before.
                    None => return None,
                    Some(event) if *event == seen.event => break,
                    Some(event) if drops && event.is_delta() => {}
                    Some(event) => {
                        return Some(format!(
                            "{} in place of {}",
                            seen.event.name(),
                            event.name()
                        ));
                    }
                }
            }
        }
        None
    }

    /// Whether an end may come before what precedes it.
    fn may_overtake(&self, listener: &ListenerRecord, end: &ResponseEvent) -> bool {
        match end {
            ResponseEvent::Cancelled => true,
            ResponseEvent::Failed(error) if error.kind() == ErrorKind::Lagged => {
                listener.plan.policy != DeliveryPolicy::default()
                    || listener.plan.pace != Pace::Quick
            }
            ResponseEvent::Failed(error) if error.kind() == ErrorKind::ShutDown => true,
            // When the runtime ends, nobody is waited for any more.
            _ => self.record.closed_at.is_some() && listener.plan.pace != Pace::Quick,
        }
    }

    /// What was said since the last restart: nothing twice, and at a whole answer all of it.
    fn check_content(
        &self,
        listener: &ListenerRecord,
        who: &dyn Fn() -> String,
        findings: &mut Findings,
    ) {
        let mut outputs = HashSet::new();
        let mut repeated = None;
        let (mut text, mut items_done) = (String::new(), 0);
        for Seen { event, .. } in &listener.seen {
            match event {
                ResponseEvent::Restarted(_) => {
                    outputs.clear();
                    text.clear();
                    items_done = 0;
                }
                ResponseEvent::OutputTextDelta(delta) => text.push_str(&delta.delta),
                ResponseEvent::OutputItemDone(_) => items_done += 1,
                _ => {}
            }
            if event.is_output() && !outputs.insert(identity(event)) {
                repeated = Some(event.name());
            }
        }
        findings.check(
            "no_output_is_repeated_without_a_restart",
            repeated.is_none(),
            || format!("{}: {} twice", who(), repeated.unwrap_or_default()),
        );
        let from_start = matches!(
            listener.plan.joins,
            None | Some((_, CursorPlan::Start | CursorPlan::From(0)))
        );
        let Some(Seen {
            event: ResponseEvent::Completed(_) | ResponseEvent::Incomplete(_),
            ..
        }) = listener.seen.last()
        else {
            return;
        };
        let hurried = self.record.closed_at.is_some() && listener.plan.pace != Pace::Quick;
        let Some(body) = self.last_body().filter(|_| from_start && !hurried) else {
            return;
        };
        if listener.plan.policy == DeliveryPolicy::DropDeltas {
            findings.check(
                "items_are_never_dropped",
                items_done == body.items_done,
                || {
                    format!(
                        "{}: {items_done} items in place of {}",
                        who(),
                        body.items_done
                    )
                },
            );
            return;
        }
        findings.check(
            "a_whole_answer_says_what_was_sent",
            text == body.text && items_done == body.items_done,
            || {
                format!(
                    "{}: {items_done} items in place of {}, text {text:?} for {:?}",
                    who(),
                    body.items_done,
                    body.text
                )
            },
        );
    }

    fn last_body(&self) -> Option<&crate::bodies::Body> {
        let attempt = self.request.attempts.len().checked_sub(1)?;
        self.plan.requests[self.number]
            .attempts
            .get(attempt)?
            .body
            .as_ref()
    }

    /// The end is the one that the last attempt gives, and it comes at once.
    fn check_end(
        &self,
        listener: &ListenerRecord,
        who: &dyn Fn() -> String,
        findings: &mut Findings,
    ) {
        let request = &self.plan.requests[self.number];
        let Some(Seen { at, event, .. }) =
            listener.seen.last().filter(|seen| seen.event.is_final())
        else {
            return;
        };
        let last = self.request.attempts.len().checked_sub(1);
        let attempt = last.and_then(|last| request.attempts.get(last));
        match event {
            ResponseEvent::Completed(_) | ResponseEvent::Incomplete(_) => {
                let ending = attempt.and_then(|attempt| {
                    let can_end =
                        attempt.fails_with.is_empty() || attempt.fault == Fault::PanicWhileDraining;
                    attempt
                        .body
                        .as_ref()
                        .filter(|_| can_end)
                        .map(|body| body.ending)
                });
                let expected = match event {
                    ResponseEvent::Completed(_) => Ending::Completed,
                    _ => Ending::Incomplete,
                };
                findings.check(
                    "the_end_is_what_the_server_said",
                    ending == Some(expected),
                    || {
                        format!(
                            "{}: {} after {:?}",
                            who(),
                            event.name(),
                            attempt.map(|attempt| attempt.fault)
                        )
                    },
                );
            }
            ResponseEvent::Cancelled => {
                let is_wanted = !self.request.cancelled_at.is_empty()
                    || request
                        .attempts
                        .iter()
                        .any(|attempt| attempt.fault == Fault::CancelInBody)
                    || request.when_deserted != WhenDeserted::KeepGoing;
                findings.check("who_is_cancelled_was_to_be", is_wanted, who);
            }
            ResponseEvent::Failed(error) => {
                let kind = error.kind();
                let holds = match kind {
                    ErrorKind::ShutDown => {
                        self.record.closed_at.is_some() || self.plan.close == Close::AtTheEnd
                    }
                    ErrorKind::TotalTimeout => request.total.is_some(),
                    // A mailbox can be full for a moment though its owner is quick.
                    ErrorKind::Lagged => true,
                    kind => attempt.is_some_and(|attempt| attempt.fails_with.contains(&kind)),
                };
                findings.check("an_error_is_the_attempts_own", holds, || {
                    format!(
                        "{}: {error} after {:?}",
                        who(),
                        attempt.map(|attempt| attempt.fault)
                    )
                });
                if kind != ErrorKind::Lagged {
                    self.check_known_error(Some(kind), findings);
                }
            }
            _ => {}
        }
        // The body does not hold up the end. Where a slower one listens too, the body waits.
        let alone = self
            .record
            .listeners
            .iter()
            .filter(|other| other.request == self.number)
            .count()
            == 1;
        let terminal = last.and_then(|last| self.request.attempts[last].terminal_at);
        if let (true, Pace::Quick, Some(terminal), None) =
            (alone, listener.plan.pace, terminal, listener.plan.joins)
            && matches!(
                event,
                ResponseEvent::Completed(_) | ResponseEvent::Incomplete(_)
            )
        {
            // Chat's usage chunk is waited for.
            let grace = match request.wire {
                actix_responses::wire::Wire::Chat => TRAILER_TIMEOUT,
                _ => Duration::ZERO,
            };
            findings.check(
                "the_end_comes_at_once",
                *at <= terminal + grace + SOON,
                || format!("{}: at {at:?}, the server ended at {terminal:?}", who()),
            );
        }
    }

    fn check_attempts(&self, findings: &mut Findings) {
        let (after_output, total) = self.terms();
        let max_attempts = self.plan.attempts(self.number).len();
        let sent = self.request.attempts.len();
        findings.check(
            "attempts_are_within_the_budget",
            sent <= max_attempts,
            || format!("request {}: {sent} of {max_attempts}", self.number),
        );
        let notices = &self.request.notices;
        let starts: Vec<_> = notices
            .iter()
            .filter_map(|(at, notice)| match notice {
                Notice::Started {
                    attempt,
                    max_attempts,
                } => Some((*at, *attempt, *max_attempts)),
                Notice::Failed { .. } => None,
            })
            .collect();
        findings.check(
            "observers_hear_of_each_attempt",
            (1..).zip(&starts).all(|(expected, (_, attempt, of))| {
                *attempt == expected && *of == max_attempts as u32
            }),
            || format!("request {}: {starts:?}", self.number),
        );
        // One that a breaker holds back is not sent.
        let is_sent = |index: &usize| {
            let next = notices.get(index + 1).map(|(_, notice)| notice);
            !matches!(
                next,
                Some(Notice::Failed {
                    kind: ErrorKind::Unavailable,
                    ..
                })
            )
        };
        let starts: Vec<_> = (0..notices.len())
            .filter(|index| matches!(notices[*index].1, Notice::Started { .. }))
            .filter(is_sent)
            .map(|index| notices[index].0)
            .collect();
        for (attempt, sent) in self.request.attempts.iter().enumerate() {
            let Some(started) = starts.get(attempt) else {
                continue;
            };
            let late = sent.sent_at.checked_sub(*started);
            findings.check(
                "an_attempt_is_sent_when_it_starts",
                late.is_some_and(|late| late <= DRAIN + SOON),
                || {
                    format!(
                        "request {}: started at {started:?}, sent at {:?}",
                        self.number, sent.sent_at
                    )
                },
            );
        }
        for (index, (at, notice)) in notices.iter().enumerate() {
            let Notice::Failed {
                kind,
                retry_after,
                output_delivered,
                retry_in,
            } = notice
            else {
                continue;
            };
            let attempt = notices[..index]
                .iter()
                .filter(|(_, notice)| matches!(notice, Notice::Started { .. }))
                .count();
            let wanted = match retry_after {
                Some(delay) if !delay.is_zero() => *delay,
                _ => BACKOFF * 2_u32.pow(attempt as u32 - 1),
            };
            let too_long = wanted > MAX_REQUESTED_DELAY;
            let spent = attempt >= max_attempts;
            let shown = *output_delivered && after_output == RetryAfterOutput::Fail;
            let closing = self.record.closed_at.is_some_and(|closed| closed <= *at);
            match retry_in {
                Some(delay) => {
                    findings.check(
                        "delays_are_the_policys",
                        *delay == wanted && !too_long && !spent && !shown && is_retryable(*kind),
                        || {
                            format!(
                                "request {}: {kind} is tried again in {delay:?}, not {wanted:?}",
                                self.number
                            )
                        },
                    );
                    let next = notices[index + 1..].first();
                    if let Some((next, Notice::Started { .. })) = next {
                        let waited = *next - *at;
                        findings.check(
                            "a_retry_comes_when_it_is_due",
                            waited >= *delay && waited <= *delay + SOON,
                            || format!("request {}: {waited:?} in place of {delay:?}", self.number),
                        );
                    }
                }
                None => {
                    let reason = too_long
                        || spent
                        || shown
                        || closing
                        || !is_retryable(*kind)
                        || total.is_some();
                    findings.check("it_gives_up_for_a_reason", reason, || {
                        format!(
                            "request {}: {kind} at attempt {attempt} of {max_attempts}",
                            self.number
                        )
                    });
                }
            }
        }
    }

    /// A cancel that was accepted closes the connection, and no attempt follows.
    fn check_cancels(&self, findings: &mut Findings) {
        let Some(cancelled) = self.request.cancelled_at.iter().min() else {
            return;
        };
        let later = self
            .request
            .attempts
            .iter()
            .filter(|attempt| attempt.sent_at > *cancelled + SOON)
            .count();
        findings.check("no_attempt_follows_a_cancel", later == 0, || {
            format!(
                "request {}: {later} attempts after {cancelled:?}",
                self.number
            )
        });
        // What had ended before may still be drained.
        let closed = self.request.closed_at <= *cancelled + DRAIN + SOON;
        findings.check("a_cancel_closes_the_connection", closed, || {
            format!(
                "request {}: cancelled at {cancelled:?}, closed at {:?}",
                self.number, self.request.closed_at
            )
        });
    }

    /// When the last listener has left, the connection is closed when the policy says so.
    fn check_desertion(&self, findings: &mut Findings) {
        let patience = match self.plan.requests[self.number].when_deserted {
            WhenDeserted::KeepGoing => return,
            WhenDeserted::Cancel => Duration::ZERO,
            WhenDeserted::Linger(time) => time,
        };
        let mut last = Duration::ZERO;
        let own = self
            .record
            .listeners
            .iter()
            .filter(|listener| listener.request == self.number);
        for listener in own.filter(|listener| listener.joined_at.is_some()) {
            let gone = [listener.left_at, listener.died_at]
                .into_iter()
                .flatten()
                .min();
            let Some(gone) = gone else { return };
            // A death may be noticed by the sweep, once a second.
            let gone = gone.max(listener.joined_at.unwrap_or_default());
            last = last.max(match listener.died_at {
                Some(_) => gone + Duration::from_secs(1),
                None => gone,
            });
        }
        if last.is_zero() {
            return;
        }
        let limit = last + patience + DRAIN + SOON;
        findings.check(
            "the_deserted_are_closed",
            self.request.closed_at <= limit,
            || {
                format!(
                    "request {}: the last left by {last:?}, closed at {:?}",
                    self.number, self.request.closed_at
                )
            },
        );
    }
}

/// An end that is one of the subscription and not of the request.
fn is_own_end(event: &ResponseEvent) -> bool {
    match event {
        ResponseEvent::Failed(error) => {
            matches!(error.kind(), ErrorKind::Lagged | ErrorKind::ShutDown)
        }
        _ => false,
    }
}

/// What a breaker counts, in whichever phase.
fn is_down(kind: ErrorKind) -> bool {
    use ErrorKind as K;
    matches!(
        kind,
        K::Dns
            | K::Connect
            | K::ConnectTimeout
            | K::Tls
            | K::ResponseHeadTimeout
            | K::Overloaded
            | K::ServerError
    )
}

fn is_retryable(kind: ErrorKind) -> bool {
    use ErrorKind as K;
    matches!(
        kind,
        K::RateLimited
            | K::Overloaded
            | K::ServerError
            | K::Dns
            | K::Connect
            | K::Tls
            | K::ConnectTimeout
            | K::ResponseHeadTimeout
            | K::IdleTimeout
            | K::Connection
            | K::Truncated
            | K::AttemptLost
            | K::Unavailable
            // Of the statuses in a plan, 408 and 409.
            | K::UnexpectedStatus
    )
}

/// What makes an output event itself: every piece of a plan's answers occurs once.
fn identity(event: &ResponseEvent) -> String {
    let what = match event {
        ResponseEvent::OutputTextDelta(delta) => delta.delta.to_string(),
        ResponseEvent::ToolCallInputDelta(delta) => delta.delta.to_string(),
        ResponseEvent::OutputItemAdded(item) | ResponseEvent::OutputItemDone(item) => {
            item.raw().get().to_owned()
        }
        other => format!("{other:?}"),
    };
    format!("{} {what}", event.name())
}
