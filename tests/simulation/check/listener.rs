//! What a listener is promised.

use std::collections::HashSet;

use actix_responses::{ErrorKind, actors::DeliveryPolicy, protocol::ResponseEvent};

use super::{Findings, View};
use crate::{
    plan::{CursorPlan, LinkPlan, Pace},
    world::{ListenerRecord, Seen},
};

impl View<'_> {
    pub(super) fn check_listener(
        &self,
        number: usize,
        listener: &ListenerRecord,
        findings: &mut Findings,
    ) {
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
