//! What becomes of a supervisor that panics: it begins anew, at the same address.
//!
//! None of its own code should; but what a program hands over is dropped here, and a panic must not end the runtime for everybody.

use std::{
    any::Any,
    collections::VecDeque,
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use actix::{
    Addr, ArbiterHandle, Context, Supervised,
    dev::{
        ContextFut,
        channel::{AddressReceiver, channel},
    },
};
use tokio::time::Instant;

use super::{
    limiter::Pacing,
    requests::{Request, State},
    state::StreamSupervisor,
};
use crate::{
    protocol::{ResponseEvent, error::ApiError},
    retry::Breakers,
};

/// How often a supervisor begins anew within [`RESTART_PERIOD`], before it ends for good: what panics at each of its sweeps, once a
/// second, would do so for ever.
const MAX_RESTARTS: usize = 8;
const RESTART_PERIOD: Duration = Duration::from_secs(10);

/// Runs a supervisor, and lets it begin anew when it has panicked.
pub(crate) struct Restarting {
    running: ContextFut<StreamSupervisor, Context<StreamSupervisor>>,
    restarts: VecDeque<Instant>,
    has_panicked: bool,
}

impl Restarting {
    /// Makes one, and runs it.
    pub(super) fn made(
        mailbox: AddressReceiver<StreamSupervisor>,
        make: impl FnOnce(&mut Context<StreamSupervisor>) -> StreamSupervisor,
    ) -> Self {
        let mut ctx = Context::with_receiver(mailbox);
        let supervisor = make(&mut ctx);
        Self {
            running: ctx.into_future(supervisor),
            restarts: VecDeque::new(),
            has_panicked: false,
        }
    }

    fn turn(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        if mem::take(&mut self.has_panicked) && !self.running.restart() {
            return Poll::Ready(());
        }
        Pin::new(&mut self.running).poll(cx)
    }

    fn may_restart(&mut self) -> bool {
        let now = Instant::now();
        self.restarts
            .retain(|at| now.saturating_duration_since(*at) < RESTART_PERIOD);
        self.restarts.push_back(now);
        self.restarts.len() <= MAX_RESTARTS
    }
}

impl Future for Restarting {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            // What a panic may leave half done is thrown away.
            let panic = match catch_unwind(AssertUnwindSafe(|| this.turn(cx))) {
                Ok(turn) => return turn,
                Err(panic) => panic,
            };
            let cause = cause_of(&*panic);
            if !this.may_restart() {
                tracing::error!(cause, "the supervisor panicked too often, and ends");
                resume_unwind(panic);
            }
            tracing::error!(cause, "the supervisor panicked, and begins anew");
            this.has_panicked = true;
        }
    }
}

/// Messages that the mailbox of a supervisor holds: as many as actix's own.
const SUPERVISOR_MAILBOX: usize = 16;

pub(super) fn mailbox() -> (Addr<StreamSupervisor>, AddressReceiver<StreamSupervisor>) {
    let (sender, mailbox) = channel(SUPERVISOR_MAILBOX);
    (Addr::new(sender), mailbox)
}

impl StreamSupervisor {
    /// Its address, and what runs it, within a system.
    pub(crate) fn prepared(self) -> (Addr<Self>, impl FnOnce() -> Restarting + Send) {
        let (address, mailbox) = mailbox();
        let run = move || Restarting::made(mailbox, |_| self);
        (address, run)
    }

    /// Starts it on an arbiter. `None` when that has ended.
    pub(crate) fn start_on(self, arbiter: &ArbiterHandle) -> Option<Addr<Self>> {
        let (address, run) = self.prepared();
        let is_started = arbiter.spawn_fn(move || {
            actix_rt::spawn(run());
        });
        is_started.then_some(address)
    }
}

fn cause_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no text")
}

/// Every request has its end, and what is remembered begins empty; a shutdown goes on.
impl Supervised for StreamSupervisor {
    fn restarting(&mut self, ctx: &mut Context<Self>) {
        let requests = self
            .ids()
            .into_iter()
            .filter_map(|id| self.requests.remove(&id));
        let requests: Vec<_> = requests.collect();
        self.live = 0;
        self.tended.clear();
        self.waker = None;
        self.retained.clear();
        self.retained_bytes = 0;
        self.retention_is_due = false;
        self.breakers = Breakers::new(self.config.breaker);
        self.pacing = self.config.limiter.map(Pacing::new);
        let end = ResponseEvent::Failed(Arc::new(ApiError::supervisor_lost()));
        for request in requests {
            // One that panics again must not keep the others from their ends.
            let ended = catch_unwind(AssertUnwindSafe(|| request.end_at_once(end.clone())));
            if let Err(panic) = ended {
                tracing::error!(cause = cause_of(&*panic), "a request panicked at its end");
            }
        }
        self.close_if_idle(ctx);
    }
}

impl Request {
    fn end_at_once(self, end: ResponseEvent) {
        match self.state {
            // Whoever panicked had the listener, whose drop is an end.
            State::Changing => {}
            State::Running(body) => body.stop(end),
            State::Waiting(waiting) => drop(waiting.listener.cut_short(end)),
            State::Ended { audience, .. } => drop(audience),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix::{Actor, Addr, Handler, Message};

    use super::*;
    use crate::{
        actors::{GetStatus, RequestId, SupervisorConfig, Workers},
        provider::Provider,
        transport::silence::Silence,
    };

    struct Explode;

    impl Message for Explode {
        type Result = ();
    }

    impl Handler<Explode> for StreamSupervisor {
        type Result = ();

        fn handle(&mut self, _: Explode, _: &mut Self::Context) {
            panic!("a scripted panic");
        }
    }

    async fn lives(supervisor: &Addr<StreamSupervisor>) -> bool {
        let request = RequestId::from(1);
        supervisor.send(GetStatus { request }).await.is_ok()
    }

    #[actix_rt::test]
    async fn one_that_panics_now_and_then_goes_on_and_one_that_does_nothing_else_ends() {
        tokio::time::pause();
        let provider = Provider::new("test", "http://host/v1").expect("a provider");
        let mut config = SupervisorConfig::new(provider);
        config.workers = Workers::Current;
        let supervisor = StreamSupervisor::new(config, Silence)
            .expect("a valid configuration")
            .start();
        for _ in 0..3 * MAX_RESTARTS {
            supervisor.send(Explode).await.expect_err("a panic");
            assert!(lives(&supervisor).await);
            tokio::time::advance(RESTART_PERIOD / 4).await;
        }
        for _ in 0..=MAX_RESTARTS {
            supervisor.send(Explode).await.expect_err("a panic");
        }
        assert!(!lives(&supervisor).await);
    }
}
