//! Joins, leaves and looks, which are for whoever holds the request's audience.

use actix::{
    ActorFutureExt, AsyncContext, Handler, Message, MessageResult, ResponseActFuture, WrapFuture,
};

use super::{
    requests::{Body, State},
    state::StreamSupervisor,
};
use crate::actors::{
    GetStatus, ListRequests, RequestId, RequestStatus, Subscribe, SubscribeError, SubscriptionId,
    Unsubscribe,
    audience::listener::{ForAudience, Inspect, Join, Leave},
};

/// To itself: the one who held the audience has just given it back.
struct AskHolder<M>(RequestId, M);

impl<M: ForAudience> Message for AskHolder<M> {
    type Result = Option<M::Result>;
}

impl StreamSupervisor {
    /// Puts a message to a request's audience, wherever it is. `None` when there is none.
    fn ask_holder<M: ForAudience>(
        &mut self,
        id: RequestId,
        message: M,
    ) -> ResponseActFuture<Self, Option<M::Result>> {
        let Some(request) = self.requests.get_mut(&id) else {
            return Box::pin(actix::fut::ready(None));
        };
        if let State::Running(Body::Stream(stream)) = &request.state {
            let asked = stream.send(message.clone()).into_actor(self);
            return Box::pin(asked.then(move |answer, this, ctx| match answer {
                Ok(answer) => Box::pin(actix::fut::ready(Some(answer))),
                // The attempt has just ended; its report is in this mailbox, ahead of what is sent now.
                Err(_) => {
                    let again = ctx.address().send(AskHolder(id, message)).into_actor(this);
                    let answer = again.map(|answer, _, _| answer.ok().flatten());
                    Box::pin(answer) as ResponseActFuture<Self, Option<M::Result>>
                }
            }));
        }
        let audience = request.state.audience();
        let answer = audience.map(|audience| message.put_to(audience));
        self.tend(id);
        Box::pin(actix::fut::ready(answer))
    }
}

impl<M: ForAudience> Handler<AskHolder<M>> for StreamSupervisor {
    type Result = ResponseActFuture<Self, Option<M::Result>>;

    fn handle(&mut self, message: AskHolder<M>, _: &mut Self::Context) -> Self::Result {
        self.ask_holder(message.0, message.1)
    }
}

impl Handler<Subscribe> for StreamSupervisor {
    type Result = ResponseActFuture<Self, Result<SubscriptionId, SubscribeError>>;

    fn handle(&mut self, message: Subscribe, _: &mut Self::Context) -> Self::Result {
        let request = message.request;
        let joined = self.ask_holder(request, Join(message.subscriber));
        Box::pin(joined.map(move |result, _, _| {
            result.unwrap_or(Err(SubscribeError::UnknownRequest { request }))
        }))
    }
}

impl Handler<Unsubscribe> for StreamSupervisor {
    type Result = ResponseActFuture<Self, bool>;

    fn handle(&mut self, message: Unsubscribe, _: &mut Self::Context) -> Self::Result {
        let left = self.ask_holder(message.request, Leave(message.subscription));
        Box::pin(left.map(|left, _, _| left.unwrap_or(false)))
    }
}

impl Handler<GetStatus> for StreamSupervisor {
    type Result = ResponseActFuture<Self, Option<RequestStatus>>;

    fn handle(&mut self, message: GetStatus, _: &mut Self::Context) -> Self::Result {
        let id = message.request;
        // Of a question nothing more is known elsewhere.
        let noted = self.ask_holder(id, Inspect);
        Box::pin(noted.map(move |_, this, _| this.status(id)))
    }
}

/// How many requests are listed at a time: some 100 us of the supervisor's.
const LISTED_AT_ONCE: usize = 1_000;

impl Handler<ListRequests> for StreamSupervisor {
    type Result = MessageResult<ListRequests>;

    fn handle(&mut self, message: ListRequests, _: &mut Self::Context) -> Self::Result {
        let ids = self.requests.keys().copied();
        let mut ids: Vec<_> = ids.filter(|id| Some(*id) > message.after).collect();
        if ids.len() > LISTED_AT_ONCE {
            ids.select_nth_unstable(LISTED_AT_ONCE);
            ids.truncate(LISTED_AT_ONCE);
        }
        ids.sort_unstable();
        let requests = ids.iter();
        let listed = requests.filter_map(|id| self.status(*id));
        MessageResult(listed.collect())
    }
}
