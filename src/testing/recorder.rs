//! A subscriber that remembers.

use std::{fmt, time::Duration};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AtomicResponse, Context, Handler, Message,
    WrapFuture,
};
use tokio::sync::watch;

use crate::{
    actors::{Delivery, Subscriber},
    protocol::ResponseEvent,
};

type Seen = Vec<(u64, ResponseEvent)>;

/// A subscriber that keeps what it gets, with the sequence numbers, and waits for the end.
///
/// ```
/// use actix_responses::{Runtime, actors::SubmitRequest, protocol::Prompt};
/// use actix_responses::testing::{self, Exchange, Recorder, ScriptedTransport};
///
/// # #[actix_rt::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let transport = ScriptedTransport::new([Exchange::answer("Hello")]);
/// let runtime = Runtime::with_transport(testing::config(), transport)?;
/// let recorder = Recorder::start();
/// let prompt = Prompt::user("hi").with_model("m");
/// let request = SubmitRequest::new(prompt).with_subscriber(recorder.subscriber());
/// runtime.supervisor().send(request).await??;
/// assert_eq!(recorder.end().await.name(), "completed");
/// assert_eq!(recorder.text(), "Hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Recorder {
    seen: watch::Receiver<Seen>,
    address: Addr<Listener>,
}

impl Recorder {
    /// One that takes everything at once.
    ///
    /// # Panics
    /// Outside of an actix `System`.
    pub fn start() -> Self {
        Self::slow(Duration::ZERO)
    }

    /// One that takes its time for each message, as a slow subscriber does.
    ///
    /// # Panics
    /// Outside of an actix `System`.
    pub fn slow(pace: Duration) -> Self {
        let (sender, seen) = watch::channel(Seen::new());
        let address = Listener { sender, pace }.start();
        Self { seen, address }
    }

    /// The subscriber, for [`SubmitRequest`](crate::actors::SubmitRequest) and [`Subscribe`](crate::actors::Subscribe): it gets
    /// [`Delivery`] messages.
    pub fn subscriber(&self) -> Subscriber {
        Subscriber::deliveries(self.address.clone().recipient())
    }

    /// The same that gets one message for each event. They carry no sequence numbers, and are counted here from 0.
    pub fn event_subscriber(&self) -> Subscriber {
        Subscriber::events(self.address.clone().recipient())
    }

    /// What came until now.
    pub fn events(&self) -> Vec<ResponseEvent> {
        let seen = self.seen.borrow();
        seen.iter().map(|(_, event)| event.clone()).collect()
    }

    /// The same with the sequence numbers.
    pub fn sequenced(&self) -> Vec<(u64, ResponseEvent)> {
        self.seen.borrow().clone()
    }

    /// The [`name`](ResponseEvent::name)s of what came until now.
    pub fn names(&self) -> Vec<&'static str> {
        let seen = self.seen.borrow();
        seen.iter().map(|(_, event)| event.name()).collect()
    }

    /// The text of all deltas that came since the start or the last restart.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (_, event) in &*self.seen.borrow() {
            match event {
                ResponseEvent::OutputTextDelta(delta) => text.push_str(&delta.delta),
                ResponseEvent::Restarted(_) => text.clear(),
                _ => {}
            }
        }
        text
    }

    /// Waits for the final event.
    ///
    /// # Panics
    /// When the recorder was stopped before.
    pub async fn end(&self) -> ResponseEvent {
        let is_over = |seen: &Seen| seen.last().is_some_and(|(_, event)| event.is_final());
        let mut seen = self.seen.clone();
        let seen = seen.wait_for(is_over).await.expect("a recorder that runs");
        let (_, end) = seen.last().expect("its end");
        end.clone()
    }

    /// Stops it, as an actor stops that has heard enough: its subscriptions end with it.
    pub async fn stop(&self) {
        // An error means that it has stopped.
        let _ = self.address.send(Quit).await;
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recorder")
            .field(&*self.seen.borrow())
            .finish()
    }
}

struct Listener {
    sender: watch::Sender<Seen>,
    pace: Duration,
}

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Listener {
    /// Takes its time, and then notes what came.
    fn note(&self, note: impl FnOnce(&mut Seen) + 'static) -> AtomicResponse<Self, ()> {
        let pace = self.pace;
        let rest = async move {
            if !pace.is_zero() {
                tokio::time::sleep(pace).await;
            }
        };
        let rested = rest.into_actor(self);
        let noted = rested.map(move |(), this, _| this.sender.send_modify(note));
        AtomicResponse::new(Box::pin(noted))
    }
}

impl Handler<Delivery> for Listener {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, delivery: Delivery, _: &mut Self::Context) -> Self::Result {
        self.note(move |seen| {
            let events = delivery.sequenced();
            seen.extend(events.map(|(sequence, event)| (sequence, event.clone())));
        })
    }
}

impl Handler<ResponseEvent> for Listener {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, event: ResponseEvent, _: &mut Self::Context) -> Self::Result {
        self.note(move |seen| seen.push((seen.len() as u64, event)))
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Quit;

impl Handler<Quit> for Listener {
    type Result = ();

    fn handle(&mut self, Quit: Quit, ctx: &mut Self::Context) {
        ctx.stop();
    }
}
