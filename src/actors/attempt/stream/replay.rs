//! An attempt that reads a stored stream, in place of a server's answer.

use std::task::{Context as TaskContext, Poll};

use actix::{ActorContext, Context};
use bytes::Bytes;
use tokio::time::Instant;
use tracing::Span;

use super::{Stage, StreamActor, reading::BYTES_AT_ONCE};
use crate::{
    actors::{
        attempt::{
            lease::Outcome,
            resuming,
            spec::StoredStream,
            stored::{Next, unreadable},
        },
        audience::{
            note::{AttemptNote, Note},
            recording::Recording,
        },
    },
    protocol::{
        ResponseEvent,
        error::{ApiError, ErrorKind, Phase},
    },
    store::{Claim, StreamEnd, recorder::Begin},
    wire::{Quirks, Terminal, blocks::BlockReader},
};

impl StreamActor {
    /// Reads what is there of a stored stream. Whether that is all.
    pub(super) fn replay(
        &mut self,
        span: &Span,
        now: Instant,
        ctx: &mut Context<Self>,
        cx: &mut TaskContext<'_>,
    ) -> bool {
        let mut bytes = 0;
        loop {
            let Stage::Stored(replay) = &mut self.stage else {
                return false;
            };
            if bytes >= BYTES_AT_ONCE {
                cx.waker().wake_by_ref();
                return false;
            }
            let Poll::Ready(next) = replay.next(cx) else {
                return false;
            };
            let over = match next {
                Next::Block(block) => {
                    bytes += block.len();
                    self.bytes += block.len() as u64;
                    let over = match Note::of(&block) {
                        Some(note) => self.on_note(note, now, cx),
                        None => self.on_block(&block),
                    };
                    if over.is_none() && self.first_event_at.is_none() && !self.events.is_empty() {
                        self.on_first_event(now);
                    }
                    over
                }
                Next::End(end) => Some(self.end_of_stored(end)),
                Next::Orphan(claim, blocks) => {
                    // The store has what was read by now, and does not get it a second time.
                    self.publish(cx, now);
                    self.hand_over_blocks();
                    self.lease.audience().note_stored_blocks();
                    Some(Over::failed(self.take_over(&claim, blocks)))
                }
                Next::Broken(error) => Some(Over::failed(unreadable(error))),
            };
            if let Some(over) = over {
                self.on_over(over, now, span, ctx);
                return true;
            }
        }
    }

    fn on_block(&mut self, block: &Bytes) -> Option<Over> {
        let (decoder, events) = (&mut self.decoder, &mut self.events);
        let terminal = match &mut self.blocks {
            None => decoder.feed(block, events),
            Some(blocks) => blocks.feed(decoder, block, events),
        };
        terminal.map(Over::Terminal)
    }

    fn on_note(
        &mut self,
        note: serde_json::Result<Note>,
        now: Instant,
        cx: &mut TaskContext<'_>,
    ) -> Option<Over> {
        // What stands before it goes with what was read before it.
        self.publish(cx, now);
        match note {
            Ok(Note::Attempt(attempt)) => self.begin_stored(attempt),
            Ok(Note::Events(events)) => {
                for event in events {
                    match event {
                        ResponseEvent::Restarted(_) => self.lease.audience().restart(event, now),
                        end if end.is_final() => return Some(Over::Event(end)),
                        event => self.events.push(event),
                    }
                }
                self.publish(cx, now);
            }
            Err(error) => {
                let message = format!("a note of the stored stream can't be read: {error}");
                return Some(Over::failed(ApiError::new(ErrorKind::Protocol, message)));
            }
        }
        None
    }

    /// The blocks that follow are of this attempt.
    fn begin_stored(&mut self, attempt: Box<AttemptNote>) {
        let limits = self.spec.stream.limits;
        if attempt.resumes {
            self.decoder.resume(limits.sse);
        } else {
            self.lease.audience().forget_blocks();
            self.began_with = attempt.number;
            let (ours, kept) = (&self.spec.provider.quirks, attempt.kept.as_deref());
            // Those of the provider that wrote it.
            let quirks = Quirks {
                omits_finish_reason: attempt
                    .omits_finish_reason
                    .unwrap_or(ours.omits_finish_reason),
                ..Quirks::default()
            };
            self.decoder = resuming::decoder_of(&self.spec, attempt.wire, &quirks, kept);
            if self.blocks.is_some() {
                self.blocks = Some(Box::new(BlockReader::new(limits.sse, attempt.number)));
            }
        }
        if let Some(id) = &attempt.request_id {
            self.decoder.set_request_id(id.clone());
        }
        if let Stage::Stored(replay) = &mut self.stage {
            replay.attempt = Some(attempt);
        }
    }

    /// The stream has its end, of which no block has said it.
    fn end_of_stored(&mut self, end: StreamEnd) -> Over {
        match end {
            StreamEnd::Completed | StreamEnd::Incomplete => {
                let terminal = self.decoder.finish(&mut self.events);
                terminal.map(Over::Terminal).unwrap_or_else(|| {
                    let message = "the stored stream ends where it can't";
                    Over::failed(ApiError::new(ErrorKind::Protocol, message))
                })
            }
            StreamEnd::Failed => {
                let message = "the answer failed, and its stored stream does not say how";
                let error = ApiError::new(ErrorKind::NodeLost, message);
                Over::Event(ResponseEvent::Failed(error.with_phase(Phase::Body).into()))
            }
            StreamEnd::Cancelled => Over::Event(ResponseEvent::Cancelled),
        }
    }

    /// This process writes the stream from now on: what follows where the response can be gone on with, and else its end. The error says
    /// which.
    fn take_over(&mut self, claim: &Claim, blocks: u64) -> ApiError {
        let Some(stored) = self.spec.read_again() else {
            return ApiError::attempt_lost();
        };
        let begin = Begin {
            epoch: claim.epoch,
            blocks,
            ..Begin::default()
        };
        let recording = Recording::start(stored, self.spec.id, &claim.node, begin);
        self.lease.audience().record(recording);
        let lost = "the process that wrote the stream is gone";
        match self.why_not_resumed() {
            None => ApiError::new(ErrorKind::Truncated, lost),
            Some(why) => ApiError::new(ErrorKind::NodeLost, format!("{lost}, and {why}")),
        }
    }

    /// What stands against going on with the response at its server. Where nothing does, its decoder says where.
    fn why_not_resumed(&self) -> Option<String> {
        let Stage::Stored(replay) = &self.stage else {
            return Some("its answer has not begun".to_owned());
        };
        let Some(attempt) = &replay.attempt else {
            return Some("its answer has not begun".to_owned());
        };
        let Some(kept) = &attempt.kept else {
            return Some(
                "its server does not keep the answer (`background` and `store`)".to_owned(),
            );
        };
        let provider = &self.spec.provider;
        if attempt.provider != provider.name() || attempt.wire != provider.wire {
            let (theirs, ours) = (&attempt.provider, provider.name());
            return Some(format!("its server is that of {theirs}, not of {ours}"));
        }
        if self.decoder.resume_point().is_none() {
            let message = "its server has not said by which id and from where on it goes on";
            return Some(message.to_owned());
        }
        // The next attempts ask as the first one did; none of them begins anew.
        let _ = self.spec.kept.set(kept.clone());
        None
    }

    fn on_over(&mut self, over: Over, now: Instant, span: &Span, ctx: &mut Context<Self>) {
        match over {
            Over::Terminal(terminal) => self.on_terminal(terminal, now, span, ctx),
            Over::Event(end) => {
                self.stage = Stage::Over;
                self.hand_over_blocks();
                self.lease.set_outcome(Outcome::Ended);
                self.lease.audience().end(&mut self.events, end, now);
                ctx.stop();
            }
        }
    }

    /// What is read, where that is a store.
    pub(super) fn replayed(&self) -> Option<&StoredStream> {
        match &self.stage {
            Stage::Stored(_) => self.spec.read_again(),
            _ => None,
        }
    }
}

/// How a stored stream ends.
enum Over {
    /// As its blocks say.
    Terminal(Terminal),
    /// As was noted.
    Event(ResponseEvent),
}

impl Over {
    fn failed(error: ApiError) -> Self {
        Self::Terminal(Terminal::Failed(error))
    }
}
