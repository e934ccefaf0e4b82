//! Actors that listen and remember.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::{Actor, ActorFutureExt, AtomicResponse, Context, Handler, WrapFuture};
use actix_responses::{actors::Delivery, protocol::ResponseEvent};

/// Records deliveries; each one takes it some time.
pub(crate) struct Recorder {
    pub(crate) seen: Seen,
    pub(crate) pace: Option<Duration>,
    pub(crate) panic_at: Option<usize>,
}

/// What a recorder has seen, with sequence numbers.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<(u64, ResponseEvent)>>>);

impl Seen {
    pub(crate) fn events(&self) -> Vec<(u64, ResponseEvent)> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.events()
            .iter()
            .map(|(_, event)| event.name())
            .collect()
    }

    /// How many final events came.
    pub(crate) fn ends(&self) -> usize {
        self.events()
            .iter()
            .filter(|(_, event)| event.is_final())
            .count()
    }

    pub(crate) fn text(&self) -> String {
        let events: Vec<_> = self
            .events()
            .into_iter()
            .map(|(_, event)| Ok(event))
            .collect();
        super::text(&events)
    }

    /// Whether the sequence numbers run from `first` without gap or repeat.
    pub(crate) fn is_consecutive_from(&self, first: u64) -> bool {
        self.events()
            .iter()
            .zip(first..)
            .all(|((sequence, _), expected)| *sequence == expected)
    }
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            seen: Seen::default(),
            pace: None,
            panic_at: None,
        }
    }

    pub(crate) fn paced(pace: Duration) -> Self {
        Self {
            pace: Some(pace),
            ..Self::new()
        }
    }

    pub(crate) fn panicking_at(count: usize) -> Self {
        Self {
            panic_at: Some(count),
            ..Self::new()
        }
    }
}

impl Actor for Recorder {
    type Context = Context<Self>;
}

/// Takes its time.
async fn rest(pace: Option<Duration>) {
    if let Some(pace) = pace {
        tokio::time::sleep(pace).await;
    }
}

impl Handler<Delivery> for Recorder {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, delivery: Delivery, _: &mut Self::Context) -> Self::Result {
        let wait = rest(self.pace);
        AtomicResponse::new(Box::pin(wait.into_actor(self).map(move |(), this, _| {
            let mut seen = this.seen.0.lock().unwrap();
            seen.extend(
                delivery
                    .sequenced()
                    .map(|(sequence, event)| (sequence, event.clone())),
            );
            let due = this.panic_at.is_some_and(|count| seen.len() >= count);
            drop(seen);
            assert!(!due, "a scripted panic");
        })))
    }
}

impl Handler<ResponseEvent> for Recorder {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, event: ResponseEvent, _: &mut Self::Context) -> Self::Result {
        let wait = rest(self.pace);
        AtomicResponse::new(Box::pin(wait.into_actor(self).map(move |(), this, _| {
            let mut seen = this.seen.0.lock().unwrap();
            let sequence = seen.len() as u64;
            seen.push((sequence, event));
        })))
    }
}

/// Makes a recorder stop.
pub(crate) struct Quit;

impl actix::Message for Quit {
    type Result = ();
}

impl Handler<Quit> for Recorder {
    type Result = ();

    fn handle(&mut self, _: Quit, ctx: &mut Self::Context) {
        actix::ActorContext::stop(ctx);
    }
}
