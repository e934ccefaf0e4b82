//! Those who listen: actors that take deliveries or single events, and readers of streams.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix::{
    Actor, ActorContext, ActorFutureExt, AtomicResponse, Context, Handler, Message, WrapFuture,
};
use actix_responses::{
    ResponseStream,
    actors::{Delivery, Milestone, RequestNotice, RequestOutcome},
    protocol::ResponseEvent,
};
use futures_util::StreamExt;

use crate::{
    plan::{Fate, Pace},
    transport::SCRIPTED_PANIC,
    world::{Notice, Paced, World},
};

pub(crate) struct Listener {
    world: Arc<World>,
    number: usize,
    capacity: usize,
    pace: Pace,
    panics_at: Option<u64>,
    messages: u64,
    /// It ends by its own doing, and not because nobody can send to it any more.
    dies: bool,
}

impl Listener {
    pub(crate) fn new(world: Arc<World>, number: usize) -> Self {
        world.actors.fetch_add(1, Ordering::SeqCst);
        let plan = world.record().listeners[number].plan.clone();
        Self {
            world,
            number,
            capacity: plan.capacity,
            pace: plan.pace,
            panics_at: match plan.fate {
                Fate::PanicsAt(message) => Some(message),
                _ => None,
            },
            messages: 0,
            dies: false,
        }
    }

    /// One message is taken: what follows it waits.
    fn take(&mut self, events: &[ResponseEvent], first: Option<u64>) -> AtomicResponse<Self, ()> {
        self.messages += 1;
        for (index, event) in events.iter().enumerate() {
            self.world
                .saw(self.number, first.map(|first| first + index as u64), event);
        }
        if self
            .panics_at
            .is_some_and(|message| self.messages >= message)
        {
            self.dies = true;
            panic!("{SCRIPTED_PANIC}");
        }
        let (world, pace, messages) = (self.world.clone(), self.pace, self.messages);
        let busy = async move { rest(&world, pace, messages).await };
        AtomicResponse::new(Box::pin(busy.into_actor(self).map(|(), _, _| ())))
    }
}

/// What a message costs who takes it.
async fn rest(world: &World, pace: Pace, messages: u64) {
    match pace {
        Pace::Quick => {}
        Pace::Slow(time) => tokio::time::sleep(time).await,
        Pace::StuckAfter(count) if messages > count => world.release().await,
        Pace::StuckAfter(_) => {}
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.dies {
            let now = self.world.now();
            self.world.record().listeners[self.number].died_at = Some(now);
        }
        self.world.actors.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(self.capacity);
    }
}

impl Handler<Delivery> for Listener {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, delivery: Delivery, _: &mut Self::Context) -> Self::Result {
        self.take(delivery.events(), Some(delivery.first_sequence()))
    }
}

impl Handler<ResponseEvent> for Listener {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, event: ResponseEvent, _: &mut Self::Context) -> Self::Result {
        self.take(&[event], None)
    }
}

/// Makes a listener stop.
pub(crate) struct Quit;

impl Message for Quit {
    type Result = ();
}

impl Handler<Quit> for Listener {
    type Result = ();

    fn handle(&mut self, _: Quit, ctx: &mut Self::Context) {
        self.dies = true;
        ctx.stop();
    }
}

/// Reads a stream to its end, unless `leave` comes first.
pub(crate) async fn read(
    world: Arc<World>,
    number: usize,
    mut stream: ResponseStream,
    leave: impl Future<Output = ()>,
) {
    let (pace, request) = {
        let record = world.record();
        (
            record.listeners[number].plan.pace,
            record.listeners[number].request,
        )
    };
    let _reader = Reader::new(world.clone());
    let mut leave = std::pin::pin!(leave);
    let mut messages = 0;
    loop {
        let next = async {
            rest(&world, pace, messages).await;
            stream.next().await
        };
        let next = tokio::select! {
            biased;
            () = &mut leave => {
                world.note(format_args!("request {request}: listener {number} drops its stream"));
                let now = world.now();
                world.record().listeners[number].left_at = Some(now);
                return;
            }
            next = next => next,
        };
        messages += 1;
        let event = match next {
            None => return,
            Some(Ok(event)) => event,
            Some(Err(error)) => ResponseEvent::Failed(Arc::new(error)),
        };
        // After an end the number is of no use to anybody, but it counts the end too.
        let sequence = stream.next_sequence().checked_sub(1);
        world.saw(number, sequence, &event);
    }
}

/// Counts a reader while it reads.
struct Reader(Arc<World>);

impl Reader {
    fn new(world: Arc<World>) -> Self {
        world.actors.fetch_add(1, Ordering::SeqCst);
        Self(world)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.actors.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Is told of the attempts of one request.
pub(crate) struct Observer {
    world: Arc<World>,
    request: usize,
}

impl Observer {
    pub(crate) fn new(world: Arc<World>, request: usize) -> Self {
        world.actors.fetch_add(1, Ordering::SeqCst);
        Self { world, request }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.world.actors.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Actor for Observer {
    type Context = Context<Self>;
}

impl Handler<RequestNotice> for Observer {
    type Result = ();

    fn handle(&mut self, notice: RequestNotice, _: &mut Self::Context) {
        let notice = match notice.milestone {
            Milestone::Started => Notice::Started {
                attempt: notice.attempt,
                max_attempts: notice.request.max_attempts,
            },
            Milestone::Failed {
                error, retry_in, ..
            } => Notice::Failed {
                kind: error.kind(),
                retry_after: error.details().retry_after,
                output_delivered: error.details().output_delivered,
                retry_in,
            },
            Milestone::FellBack { .. } => Notice::FellBack,
            _ => return,
        };
        let request = self.request;
        self.world
            .note(format_args!("request {request}: {notice:?}"));
        let now: Duration = self.world.now();
        self.world.record().requests[request]
            .notices
            .push((now, notice));
    }
}

/// What the observer of the whole runtime does. Requests are told apart by their labels.
pub(crate) fn hear(world: &World, notice: &RequestNotice) {
    let what = match &notice.milestone {
        Milestone::Accepted => "accepted",
        Milestone::Limited { .. } => "limited",
        Milestone::Started => "started",
        Milestone::Head { .. } => "head",
        Milestone::FirstEvent { .. } => "first_event",
        Milestone::Answered { .. } => "answered",
        Milestone::Failed { .. } => "attempt_failed",
        Milestone::FellBack { .. } => "fell_back",
        Milestone::Ended { outcome, .. } => match outcome {
            RequestOutcome::Completed => "completed",
            RequestOutcome::Incomplete => "incomplete",
            RequestOutcome::Failed(_) => "failed",
            RequestOutcome::Cancelled => "cancelled",
            _ => "another end",
        },
        _ => "another",
    };
    let request: usize = notice.request.label.as_ref().map_or(usize::MAX, |label| {
        label.parse().expect("the number of a request")
    });
    world.note(format_args!("request {request} of all: {what}"));
    let heard = (notice.attempt, what);
    let at = world.now();
    let mut record = world.record();
    record.requests[request].heard.push(heard);
    let is_end = matches!(notice.milestone, Milestone::Ended { .. });
    if is_end || matches!(what, "accepted" | "limited" | "started") {
        record.pacing.push(Paced { at, request, what });
    }
}
