//! An attempt that ends because somebody wants that.

use std::sync::Arc;

use actix::{ActorContext, Context, Handler};

use super::{Stage, StreamActor};
use crate::{
    actors::attempt::{
        lease::{Outcome, Stop},
        resuming,
    },
    protocol::{
        ResponseEvent,
        error::{ApiError, ErrorKind},
    },
    telemetry,
};

impl Handler<Stop> for StreamActor {
    type Result = ();

    fn handle(&mut self, Stop(end): Stop, ctx: &mut Context<Self>) {
        let end = match end {
            ResponseEvent::Failed(error) => {
                ResponseEvent::Failed(Arc::new(self.break_off(Some(&error))))
            }
            end => {
                if let Some(stored) = self.replayed() {
                    stored.ask_to_stop();
                }
                self.break_off(None);
                end
            }
        };
        self.lease.set_outcome(Outcome::Stopped);
        if self.lease.audience().is_recorded() {
            // Where the runtime is shut down, another process may go on.
            let audience = self.lease.audience();
            resuming::leave(&mut self.decoder, self.began_with, &self.spec, audience);
        }
        self.lease.audience().cut_short(end);
        ctx.stop();
    }
}

impl StreamActor {
    /// Lets go of the socket, and keeps what is known of the answer by now. `why` is given back with that.
    pub(super) fn break_off(&mut self, why: Option<&ApiError>) -> ApiError {
        let cancelled = || ApiError::new(ErrorKind::Cancelled, "the request was cancelled");
        let mut error = why.map_or_else(cancelled, Clone::clone);
        let phase = self.phase();
        self.stage = Stage::Over;
        self.spec.complete(&mut error, self.lease.attempt());
        error.details_mut().output_delivered = self.lease.audience().output_delivered();
        self.complete(&mut error, phase);
        let details = error.details();
        let (id, usage) = (details.response_id.as_deref(), details.token_usage);
        telemetry::record_end(&self.request_span, id, usage.as_ref(), None, &self.secrets);
        self.lease.audience().note_usage(usage);
        error
    }
}
