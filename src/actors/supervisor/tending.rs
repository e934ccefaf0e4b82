//! The care of audiences that no attempt holds: between two attempts, and after the end.

use std::{
    pin::Pin,
    task::{Context as TaskContext, Poll},
};

use actix::{ActorFuture, Context};
use tokio::time::Instant;

use super::{requests::StopReason, state::StreamSupervisor};
use crate::actors::RequestId;

impl StreamSupervisor {
    /// Takes care of an audience that is here, until nobody is waited for.
    pub(super) fn tend(&mut self, id: RequestId) {
        self.tended.insert(id);
    }

    fn turn(&mut self, cx: &mut TaskContext<'_>, ctx: &mut Context<Self>) {
        self.waker = Some(cx.waker().clone());
        // As mostly: nothing is here that could be overdue.
        if self.tended.is_empty() && self.closing.is_none() {
            return;
        }
        let now = Instant::now();
        let mut next = None::<Instant>;
        let mut deserted = Vec::new();
        let Self {
            tended, requests, ..
        } = self;
        tended.retain(|id| {
            let Some(request) = requests.get_mut(id) else {
                return false;
            };
            let Some(audience) = request.state.audience() else {
                return false;
            };
            audience.poll(cx, now);
            let abandoned_at = audience.abandoned_at(request.spec.stream.when_deserted, now);
            if abandoned_at.is_some_and(|at| now >= at) {
                deserted.push(*id);
                return false;
            }
            next = [next, audience.deadline(), abandoned_at]
                .into_iter()
                .flatten()
                .min();
            abandoned_at.is_some() || audience.is_waiting()
        });
        for id in deserted {
            self.stop(id, StopReason::Cancelled, ctx);
        }
        let closing = self.closing.as_ref();
        if closing.is_some_and(|it| it.grace_is_over || self.tended.is_empty()) {
            self.close_if_idle(ctx);
        }
        if let Some(next) = next {
            self.alarm.set(next, cx, now);
        }
    }
}

/// Polls audiences that are here and their deadlines.
pub(super) struct Tending;

impl ActorFuture<StreamSupervisor> for Tending {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        supervisor: &mut StreamSupervisor,
        ctx: &mut Context<StreamSupervisor>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        supervisor.turn(cx, ctx);
        Poll::Pending
    }
}
