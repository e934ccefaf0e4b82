//! How an answer goes on that another node has begun.

use std::pin::pin;

use bytes::Bytes;

use super::{Asked, Driver, Left, Next, Pump, leaving, rendering};
use crate::{
    ApiError, ErrorKind,
    protocol::ResponseEvent,
    relay::{
        answers::{Answer, End},
        ending,
        rendering::Rendering,
        shared::Shared,
    },
};

/// What of an answer its clients may have already.
pub(in crate::relay) struct Before {
    pub(in crate::relay) first: Option<Bytes>,
    pub(in crate::relay) last: Option<Bytes>,
    /// How many blocks there are.
    pub(in crate::relay) blocks: u64,
}

impl Before {
    /// Of an answer with so many blocks, of which none could be read.
    pub(in crate::relay) fn unread(blocks: u64) -> Self {
        Self {
            first: None,
            last: None,
            blocks,
        }
    }

    fn rendering(self, answer: &Answer) -> Rendering {
        let mut rendering = rendering(answer);
        rendering.go_on(self.first, self.last, self.blocks);
        rendering
    }
}

/// Fills an answer behind what there is of it, from one of the targets, which is asked for what follows. Where that does not go on, it
/// is lost.
pub(in crate::relay) fn go_on(
    shared: &Shared,
    asked: Asked,
    target: usize,
    before: Before,
) -> Driver {
    let rendering = before.rendering(&asked.answer);
    let mut pump = Pump::new(shared, asked, rendering);
    pump.attempt = pump.asked.answer.attempt();
    (pump.is_told, pump.is_taking_up) = (true, true);
    pump.start(shared, move |pump, left| pump.go_on(target, left))
}

/// Ends an answer that nobody goes on with: with this event, which is no success.
pub(in crate::relay) fn end_lost(answer: &Answer, before: Before, event: &ResponseEvent) {
    let mut out = Vec::new();
    before.rendering(answer).end(event, &mut out);
    let end = match event {
        ResponseEvent::Cancelled => End::Cancelled,
        ResponseEvent::Failed(error) => {
            answer.set_failure(ending::code(error));
            End::Failed
        }
        _ => End::Failed,
    };
    answer.close(out, end);
}

/// What became of an answer whose node is gone.
pub(in crate::relay) fn lost(why: &str) -> ApiError {
    let message = format!(
        "the relay's node that had this answer is gone, and no other can go on with it: {why}"
    );
    ApiError::new(ErrorKind::NodeLost, message)
}

impl Pump {
    async fn go_on(mut self, target: usize, left: Left) {
        let leaving = pin!(leaving(left));
        let question = (self.asked.question)(&self.asked.targets[target], target);
        let next = match question {
            Ok(question) => self.ask(target, question, leaving).await,
            Err(error) => Next::Failed(error),
        };
        if let Next::Failed(error) = next {
            self.fail(target, lost(error.message()));
        }
    }
}
