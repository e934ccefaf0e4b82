//! An actor of the service's own: it listens to every answer and counts.

use actix::{Actor, Context, Handler, Message};
use actix_responses::protocol::ResponseEvent;

/// Started by the service; receives the events of every answer and [`GetTally`]; sends nothing; ends with the service.
#[derive(Default)]
pub struct Tally {
    seen: Seen,
}

/// What a [`Tally`] has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub deltas: usize,
    pub ends: usize,
}

/// Asks a [`Tally`] what it has seen.
#[derive(Message)]
#[rtype(result = "Seen")]
pub struct GetTally;

impl Actor for Tally {
    type Context = Context<Self>;
}

impl Handler<ResponseEvent> for Tally {
    type Result = ();

    fn handle(&mut self, event: ResponseEvent, _: &mut Context<Self>) {
        if let ResponseEvent::OutputTextDelta(_) = event {
            self.seen.deltas += 1;
        }
        if event.is_final() {
            self.seen.ends += 1;
        }
    }
}

impl Handler<GetTally> for Tally {
    type Result = actix::MessageResult<GetTally>;

    fn handle(&mut self, _: GetTally, _: &mut Context<Self>) -> Self::Result {
        actix::MessageResult(self.seen)
    }
}
