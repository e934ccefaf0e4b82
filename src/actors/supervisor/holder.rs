//! Joins, leaves and looks, which are for whoever holds the request's audience.

use actix::{ActorFutureExt, AsyncContext, Handler, MailboxError, ResponseActFuture, WrapFuture};
use tokio::time::Instant;

use super::{StreamSupervisor, requests::State};
use crate::actors::{
    GetStatus, RequestPhase, RequestStatus, Subscribe, SubscribeError, SubscriptionId, Unsubscribe,
    attempt::stream::{Inspect, Join, Leave},
};

impl Handler<Subscribe> for StreamSupervisor {
    type Result = ResponseActFuture<Self, Result<SubscriptionId, SubscribeError>>;

    fn handle(&mut self, message: Subscribe, _: &mut Self::Context) -> Self::Result {
        let id = message.request;
        let Some(request) = self.requests.get_mut(&id) else {
            return Box::pin(actix::fut::ready(Err(SubscribeError::UnknownRequest {
                request: id,
            })));
        };
        match &mut request.state {
            State::Running { stream } => {
                let join = stream.send(Join(message.subscriber.clone()));
                let joined = join
                    .into_actor(self)
                    .then(move |result, this, ctx| match result {
                        Ok(result) => Box::pin(actix::fut::ready(result)) as Self::Result,
                        // The attempt has just ended; its report is in this mailbox, ahead of what is sent now.
                        Err(MailboxError::Closed | MailboxError::Timeout) => {
                            let again = ctx.address().send(message);
                            Box::pin(again.into_actor(this).map(move |result, _, _| {
                                result
                                    .unwrap_or(Err(SubscribeError::UnknownRequest { request: id }))
                            }))
                        }
                    });
                Box::pin(joined)
            }
            State::Waiting { audience, .. } | State::Ended { audience } => {
                let result = audience.subscribe(message.subscriber, Instant::now());
                self.tend(id);
                Box::pin(actix::fut::ready(result))
            }
            State::Changing => Box::pin(actix::fut::ready(Err(SubscribeError::UnknownRequest {
                request: id,
            }))),
        }
    }
}

impl Handler<Unsubscribe> for StreamSupervisor {
    type Result = ResponseActFuture<Self, bool>;

    fn handle(&mut self, message: Unsubscribe, _: &mut Self::Context) -> Self::Result {
        let Unsubscribe {
            request: id,
            subscription,
        } = message;
        let Some(request) = self.requests.get_mut(&id) else {
            return Box::pin(actix::fut::ready(false));
        };
        match &mut request.state {
            State::Running { stream } => {
                let leave = stream.send(Leave(subscription)).into_actor(self);
                Box::pin(leave.then(move |result, this, ctx| match result {
                    Ok(left) => Box::pin(actix::fut::ready(left)) as Self::Result,
                    Err(_) => {
                        let again = ctx.address().send(Unsubscribe {
                            request: id,
                            subscription,
                        });
                        Box::pin(
                            again
                                .into_actor(this)
                                .map(|result, _, _| result.unwrap_or(false)),
                        )
                    }
                }))
            }
            State::Waiting { audience, .. } | State::Ended { audience } => {
                let left = audience.unsubscribe(subscription);
                self.tend(id);
                Box::pin(actix::fut::ready(left))
            }
            State::Changing => Box::pin(actix::fut::ready(false)),
        }
    }
}

impl Handler<GetStatus> for StreamSupervisor {
    type Result = ResponseActFuture<Self, Option<RequestStatus>>;

    fn handle(
        &mut self,
        GetStatus { request: id }: GetStatus,
        _: &mut Self::Context,
    ) -> Self::Result {
        let Some(request) = self.requests.get(&id) else {
            return Box::pin(actix::fut::ready(None));
        };
        let mut status = RequestStatus {
            request: id,
            phase: RequestPhase::Running,
            attempt: request.attempts.number(),
            max_attempts: request.spec.retry.attempts(),
            subscribers: 0,
            events: 0,
        };
        match &request.state {
            State::Running { stream } => {
                let inspect = stream.send(Inspect).into_actor(self);
                Box::pin(inspect.then(move |result, this, ctx| match result {
                    Ok(counts) => {
                        (status.subscribers, status.events) = counts;
                        Box::pin(actix::fut::ready(Some(status))) as Self::Result
                    }
                    // As for `Subscribe`.
                    Err(_) => {
                        let again = ctx.address().send(GetStatus { request: id });
                        Box::pin(
                            again
                                .into_actor(this)
                                .map(|result, _, _| result.ok().flatten()),
                        )
                    }
                }))
            }
            State::Waiting { audience, .. } | State::Ended { audience } => {
                status.phase = match audience.is_ended() {
                    true => RequestPhase::Ended,
                    false => RequestPhase::Waiting,
                };
                (status.subscribers, status.events) =
                    (audience.subscribers(), audience.next_sequence());
                Box::pin(actix::fut::ready(Some(status)))
            }
            State::Changing => Box::pin(actix::fut::ready(Some(status))),
        }
    }
}
