//! What others see of a running attempt: what it notes for them, and what they ask of it.

use std::mem;

use actix::{Handler, MessageResult};
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

use super::StreamActor;
use crate::{
    actors::{
        attempt::alarm::{SweepDue, SweepsOver},
        audience::{listener::ForAudience, note::AttemptNote},
        observing::ChunkTimes,
    },
    protocol::ResponseEvent,
    wire::server_error,
};

impl StreamActor {
    pub(super) fn tell_head(&mut self, status: StatusCode, headers: &HeaderMap, now: Instant) {
        if let Some(observers) = self.lease.observers() {
            let id = server_error::request_id(headers);
            let id = id.as_deref().map(|id| self.secrets.hide(id));
            observers.on_head(status.as_u16(), id.as_deref(), now);
        }
    }

    /// Writes that the answer of this attempt begins, and what its head says. That of one that goes on says nothing of it: an event without
    /// a block would have a number that the next has for whoever saw more than the store has.
    pub(super) fn record_head(&mut self, now: Instant) {
        let Self { spec, lease, .. } = self;
        let (number, resumes) = (lease.attempt(), self.goes_on);
        let id = self.request_id.as_deref();
        let audience = lease.audience();
        audience.note_attempt(|| AttemptNote {
            number,
            provider: spec.provider.name().to_owned(),
            wire: spec.provider.wire,
            request_id: id.map(|id| (&*self.secrets.hide(id)).into()),
            omits_finish_reason: Some(spec.provider.quirks.omits_finish_reason),
            resumes,
            kept: spec.kept.get().cloned(),
        });
        if resumes {
            self.events.clear();
        }
        audience.publish_unread(&mut self.events, now);
    }

    /// Looks at what was read, from this event on.
    pub(super) fn look_at(&mut self, first: usize, now: Instant) {
        let mut events = self.events[first..].iter();
        if events.any(ResponseEvent::is_progress) {
            self.has_progress = true;
            self.clock.on_event(now);
        }
        if let Some(chunks) = &mut self.chunks {
            chunks.on_events(self.decoder.events(), now);
        }
    }

    pub(super) fn on_first_event(&mut self, now: Instant) {
        self.first_event_at = Some(now);
        let counts = &self.spec.counts;
        counts.note_first_event(now.saturating_duration_since(self.spec.accepted));
        if let Some(observers) = self.lease.observers() {
            self.chunks = ChunkTimes::new(observers.on_first_event(now), now);
            self.is_watched |= self.chunks.is_some();
        }
    }

    /// Notes what was counted, for those who do not ask.
    fn note_counts(&mut self) {
        let counts = &self.spec.counts;
        counts.add_bytes(mem::take(&mut self.bytes));
        counts.note_audience(self.lease.audience().counts());
    }
}

impl Handler<SweepDue> for StreamActor {
    type Result = ();

    fn handle(&mut self, _: SweepDue, _: &mut Self::Context) {
        self.lease.audience().sweep();
        self.note_counts();
    }
}

impl Handler<SweepsOver> for StreamActor {
    type Result = ();

    fn handle(&mut self, _: SweepsOver, _: &mut Self::Context) {
        // The turn that follows sets the alarm.
        self.alarm.sweeps_are_over();
    }
}

/// Joins, leaves and looks.
impl<M: ForAudience> Handler<M> for StreamActor {
    type Result = MessageResult<M>;

    fn handle(&mut self, message: M, _: &mut Self::Context) -> Self::Result {
        let answer = message.put_to(self.lease.audience());
        self.note_counts();
        MessageResult(answer)
    }
}
