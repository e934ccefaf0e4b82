//! What an attempt reads: the head of its response, and the body.

use std::task::{Context as TaskContext, Poll};

use tokio::time::Instant;

use super::{Stage, StreamActor};
use crate::{
    actors::attempt::{
        alarm::step_aside,
        head::{ForeignBody, head_events},
    },
    protocol::{Id, ResponseEvent, error::ErrorKind},
    transport::{TransportError, TransportResponse},
    wire::{Terminal, server_error},
};

/// How many chunks are read before what they held is delivered and others on the arbiter get their turn.
const CHUNKS_AT_ONCE: usize = 64;

/// And how many bytes: chunks are as large as whoever reads the socket makes them.
pub(super) const BYTES_AT_ONCE: usize = 256 * 1024;

impl StreamActor {
    /// Takes the response's head and publishes what it says.
    pub(super) fn on_head(&mut self, response: TransportResponse, now: Instant) {
        let TransportResponse {
            status,
            headers,
            body,
        } = response;
        self.clock.on_head(now);
        self.tell_head(status, &headers, now);
        self.request_id = server_error::request_id(&headers).map(Into::into);
        if let Some(id) = &self.request_id {
            let id = self
                .secrets
                .scrubbed(id)
                .map_or_else(|| (**id).into(), Id::from);
            self.decoder.set_request_id(id);
        }
        let foreign = Some(Box::new(ForeignBody::new(status, &headers)));
        head_events(status, headers, &self.secrets, &mut self.events);
        self.stage = Stage::Reading { body, foreign };
        if self.lease.audience().is_recorded() {
            self.record_head(now);
        }
    }

    /// Reads what is ready. `Some` is the end; `Pending` is registered with the task.
    pub(super) fn read(&mut self, cx: &mut TaskContext<'_>, now: Instant) -> Option<Terminal> {
        let Stage::Reading { body, foreign } = &mut self.stage else {
            return None;
        };
        let events_before = self.events.len();
        let heads = usize::from(matches!(self.events.first(), Some(ResponseEvent::Head(_))));
        let went_on_before = self.decoder.went_on();
        let awaits_first = foreign.is_some();
        let (mut bytes, mut over) = (0, None);
        let mut terminal = None;
        for turn in 0.. {
            if turn == CHUNKS_AT_ONCE || bytes >= BYTES_AT_ONCE {
                cx.waker().wake_by_ref();
                break;
            }
            match body.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    bytes += chunk.len();
                    if let Some(start) = foreign {
                        start.keep(&chunk);
                    }
                    let (decoder, events) = (&mut self.decoder, &mut self.events);
                    terminal = match &mut self.blocks {
                        None => decoder.feed(&chunk, events),
                        Some(blocks) => blocks.feed(decoder, &chunk, events),
                    };
                    // The first event does not wait for what else is ready.
                    if !self.published && self.events.len() > heads && terminal.is_none() {
                        match self.lease.audience().has_streams() {
                            true => step_aside(cx),
                            false => cx.waker().wake_by_ref(),
                        }
                        break;
                    }
                    if terminal.is_some() {
                        break;
                    }
                }
                Poll::Ready(last) => {
                    over = Some((last.and_then(Result::err), foreign.take()));
                    break;
                }
                Poll::Pending => break,
            }
        }
        if let Some((broke, foreign)) = over {
            self.stage = Stage::Over;
            terminal = self.on_body_over(broke, foreign);
        }
        if awaits_first && self.decoder.events() > 0 {
            if let Stage::Reading { foreign, .. } = &mut self.stage {
                *foreign = None;
            }
            self.on_first_event(now);
        }
        if let Some(turn_state) = &self.spec.turn_state {
            turn_state.observe_events(&self.events);
        }
        if bytes > 0 {
            self.clock.on_byte(now);
            self.bytes += bytes as u64;
        }
        if self.is_watched {
            self.look_at(events_before, now);
        }
        let went_on = self.decoder.went_on() > went_on_before;
        let is_finishing = self.decoder.is_finishing();
        self.clock.on_progress(is_finishing, went_on, now);
        terminal
    }

    /// What follows from a body that has ended, or is broken. `foreign` is what came of one without an event.
    fn on_body_over(
        &mut self,
        broke: Option<TransportError>,
        foreign: Option<Box<ForeignBody>>,
    ) -> Option<Terminal> {
        if let Some(error) = broke {
            // What is known already is not replaced by a broken connection.
            return match self.decoder.is_finishing_surely() {
                true => self.decoder.finish(&mut self.events),
                false => Some(Terminal::Failed(error.into())),
            };
        }
        let is_foreign = self.decoder.events() == 0;
        let from = self.spec.kept.get().and_then(|it| it.from.as_ref());
        let read = self.decoder.resume_point().map(|it| it.sequence_number);
        let from = from.filter(|from| from.after == read);
        let (decoder, events) = (&mut self.decoder, &mut self.events);
        let mut terminal = match &mut self.blocks {
            None => decoder.end_of_stream(events),
            Some(blocks) => blocks.end_of_stream(decoder, events),
        };
        if let (Some(Terminal::Failed(error)), Some(foreign)) = (&mut terminal, foreign)
            && is_foreign
            && !self.decoder.has_said_state()
            && error.kind() != ErrorKind::TooLarge
            && let Some(said) = foreign.error(from)
        {
            *error = said;
        }
        terminal
    }
}
