//! The end of the supervisor.

use actix::{ActorContext, AsyncContext, Context, Handler, ResponseFuture};
use tokio::sync::oneshot;

use super::{
    requests::{State, StopReason},
    state::{Closing, StreamSupervisor},
};
use crate::actors::{RequestId, Shutdown};

impl StreamSupervisor {
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Once everything has ended in a shutdown: tells those who wait for that, and stops.
    pub(super) fn close_if_idle(&mut self, ctx: &mut Context<Self>) {
        let Some(closing) = &self.closing else {
            return;
        };
        let waiting = !self.tended.is_empty() && !closing.grace_is_over;
        if self.live > 0 || waiting {
            return;
        }
        // For a moment only: the store is to have their ends, or that another process may go on with them.
        let mut states = self.requests.values().map(|request| &request.state);
        let is_held = self.config.store.is_some() && states.any(State::holds_end);
        if is_held {
            return;
        }
        // The tasks that wait with deliveries end with their arbiters: the end goes round them.
        for id in self.ids() {
            self.requests.remove(&id);
        }
        self.pool.stop();
        let closing = self.closing.iter_mut();
        for waiting in closing.flat_map(|closing| closing.waiting.drain(..)) {
            // Nobody may be waiting any more.
            let _ = waiting.send(());
        }
        ctx.stop();
    }

    /// The time that a shutdown gives running requests is over.
    fn end_grace(&mut self, ctx: &mut Context<Self>) {
        if let Some(closing) = &mut self.closing {
            closing.grace_is_over = true;
        }
        for id in self.ids() {
            self.stop(id, StopReason::ShutDown, ctx);
        }
        self.close_if_idle(ctx);
    }

    /// The requests in the order in which they came: the same each time, so that a run can be repeated.
    pub(super) fn ids(&self) -> Vec<RequestId> {
        let mut ids: Vec<_> = self.requests.keys().copied().collect();
        ids.sort_unstable();
        ids
    }
}

impl Handler<Shutdown> for StreamSupervisor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Shutdown { grace }: Shutdown, ctx: &mut Self::Context) -> Self::Result {
        let (done, closed) = oneshot::channel();
        let closing = self.closing.get_or_insert_with(Closing::default);
        closing.waiting.push(done);
        // Those that wait for another attempt would have none.
        for id in self.ids() {
            let request = self.requests.get(&id);
            if request.is_some_and(|request| matches!(request.state, State::Waiting(_))) {
                self.stop(id, StopReason::ShutDown, ctx);
            }
        }
        ctx.run_later(grace, Self::end_grace);
        self.close_if_idle(ctx);
        // An error means that the supervisor ended first, which is what was waited for.
        Box::pin(async { closed.await.unwrap_or(()) })
    }
}
