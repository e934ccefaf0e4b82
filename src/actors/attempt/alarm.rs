//! What wakes a stream, or the supervisor, at the next deadline.

use std::{pin::Pin, task::Context, time::Duration};

use tokio::time::{Instant, Sleep};

/// How often it is looked whether subscribers still exist, and what is due soon. A stream that delivers notices the former at once;
/// only one that is silent, or a request between two attempts, needs this.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A deadline that is further away than this has no timer yet: the sweeps look at it until it is near. Two of them, so that one may
/// come late, or find the mailbox full.
const TIMER_HORIZON: Duration = Duration::from_secs(2 * SWEEP_INTERVAL.as_secs());

/// A timer for what is due soon, so that a task in which nothing happens has none.
#[derive(Default)]
pub(crate) struct Alarm {
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether no sweep follows that would look at what is due later.
    is_alone: bool,
}

impl Alarm {
    /// No sweep follows: from now on each deadline has a timer.
    pub(crate) fn sweeps_are_over(&mut self) {
        self.is_alone = true;
    }

    /// Makes sure that the task is woken at the next deadline, by a sweep or, when it is near, by the timer. That is set anew
    /// only for an earlier deadline: one that has moved on is looked at again when the timer goes off, so events do not touch it.
    pub(crate) fn set(&mut self, next: Instant, cx: &mut Context<'_>, now: Instant) {
        if !self.is_alone && next > now + TIMER_HORIZON {
            // One that is set already goes off in vain.
            self.timer.take_if(|timer| timer.is_elapsed());
            return;
        }
        if let Some(timer) = &mut self.timer {
            // It is registered with this task already, which stays the same.
            if timer.deadline() <= next && now < timer.deadline() {
                return;
            }
            timer.as_mut().reset(next);
        }
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next)));
        // Whatever else the task has done in this turn: a timer that is not polled to its end is not set.
        let timer = std::pin::pin!(tokio::task::unconstrained(timer.as_mut()));
        if timer.poll(cx).is_ready() {
            // It is due; it is seen to in the next turn.
            self.timer = None;
            cx.waker().wake_by_ref();
        }
    }
}
