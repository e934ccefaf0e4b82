//! The promises, each as a check with a name over what one seed has recorded.

mod attempts;
mod end;
mod fallbacks;
mod listener;
mod notices;
mod pacing;

use std::{collections::BTreeMap, time::Duration};

use actix_responses::{
    ErrorKind,
    actors::{SubscribeError, WhenDeserted},
    protocol::ResponseEvent,
    retry::RetryAfterOutput,
};

use crate::{
    plan::{Close, Fault, Plan},
    run::TIME_LIMIT,
    world::{Notice, Record, RequestRecord},
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
    pacing::check(plan, record, findings_ref);
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
        self.check_fallback(findings);
        self.check_notices(findings);
        self.check_closing(findings);
        self.check_cancels(findings);
        self.check_desertion(findings);
    }

    /// A question has one answer: what its last attempt came to.
    fn check_question(&self, findings: &mut Findings) {
        self.check_attempts(findings);
        self.check_notices(findings);
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
            Err(ErrorKind::ShutDown) => self.record.closed_at.is_some(),
            Err(ErrorKind::Cancelled) => self.is_cancelled(),
            Err(ErrorKind::TotalTimeout) => self.terms().1.is_some(),
            Err(ErrorKind::RateLimited) if self.has_waited_in_vain() => true,
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

    /// Whether it ended where it waited for the limiter.
    fn has_waited_in_vain(&self) -> bool {
        let heard = &self.request.heard;
        let before_the_end = heard.len().checked_sub(2).map(|at| heard[at].1);
        before_the_end == Some("limited") || (self.plan.limiter.is_some() && heard.len() == 2)
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
