//! What wakes a stream, or the supervisor, at the next deadline, and what is done before somebody is called late.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use actix::Message;
use actix_rt::task::JoinHandle;
use futures_util::FutureExt as _;
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

/// From the worker, once a second: see whether the subscribers still exist, and what is due soon.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SweepDue;

/// From the worker, when it ends: no sweep follows.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct SweepsOver;

/// Wakes this task once all that is ready has had its turn, the future that the program blocks on included. That is polled
/// only now and then while tasks are ready, and a task that wakes itself always is. Polled once, `yield_now` has left its
/// waker with the runtime.
pub(crate) fn step_aside(cx: &mut Context<'_>) {
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

/// Ends once the runtime has looked at all sockets. Timers alone do not tell who is late: a process that stood still for longer than
/// a limit finds them due while what came in that time lies in its sockets yet.
///
/// It is a task, which only the runtime wakes; whoever waits for it may be polled for other reasons.
fn sockets_looked_at() -> JoinHandle<()> {
    actix_rt::spawn(tokio::task::yield_now())
}

/// Waits for something until then, and looks once more before it gives up.
pub(crate) async fn until<T>(at: Instant, awaited: impl Future<Output = T>) -> Option<T> {
    let mut awaited = pin!(awaited);
    if let Ok(done) = tokio::time::timeout_at(at, awaited.as_mut()).await {
        return Some(done);
    }
    // It has nothing to fail with but a panic or the end of the runtime.
    let _ = sockets_looked_at().await;
    awaited.now_or_never()
}

/// The same for who is polled: whether the sockets have been looked at since a deadline passed.
#[derive(Default)]
pub(crate) struct SecondLook(Option<(Instant, JoinHandle<()>)>);

impl SecondLook {
    pub(crate) fn is_done(&mut self, deadline: Instant, cx: &mut Context<'_>) -> bool {
        let looking = match &mut self.0 {
            Some((known, looking)) if *known == deadline => looking,
            _ => &mut self.0.insert((deadline, sockets_looked_at())).1,
        };
        matches!(looking.poll_unpin(cx), Poll::Ready(_))
    }
}
