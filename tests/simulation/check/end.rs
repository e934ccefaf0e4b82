//! The end of a request.

use std::time::Duration;

use actix_responses::{ErrorKind, actors::WhenDeserted, protocol::ResponseEvent};

use super::{Findings, SOON, View};
use crate::{
    bodies::Ending,
    plan::{Close, Fault, Pace, TRAILER_TIMEOUT},
    world::{ListenerRecord, Seen},
};

impl View<'_> {
    /// The end is the one that the last attempt gives, and it comes at once.
    pub(super) fn check_end(
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
                    ErrorKind::RateLimited if self.has_waited_in_vain() => true,
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
}
