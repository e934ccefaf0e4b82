//! Chunks to the events of a dialect.

use std::ops::ControlFlow;

use super::{Dialect, Step, Terminal};
use crate::{
    error::{ApiError, ErrorKind, Phase},
    protocol::ResponseEvent,
    sse::{DecodeError, SseDecoder, SseEvent, SseLimits},
};

/// The frames of one response body.
pub(super) struct SseStream {
    sse: SseDecoder,
    pub(super) progress: Progress,
}

/// How far a body has been read.
#[derive(Clone, Copy)]
pub(super) struct Progress {
    pub(super) state: State,
    /// How many SSE events there were.
    pub(super) events: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Reading,
    Finishing,
    Ended,
}

impl SseStream {
    pub(super) fn new(limits: SseLimits) -> Self {
        Self {
            sse: SseDecoder::new(limits),
            progress: Progress {
                state: State::Reading,
                events: 0,
            },
        }
    }

    /// Reads the next bytes, up to the terminal event if they have it.
    pub(super) fn feed<D: Dialect>(
        &mut self,
        dialect: &mut D,
        chunk: &[u8],
        out: &mut Vec<ResponseEvent>,
    ) -> Option<Terminal> {
        if self.progress.state == State::Ended {
            return None;
        }
        let mut rest = chunk;
        loop {
            let is_between_events = D::READS_BLOCKS && self.sse.is_between_events();
            if is_between_events {
                while let Some(taken) = dialect.read_block(rest, out) {
                    self.progress.events += 1;
                    rest = &rest[taken..];
                    if rest.is_empty() {
                        return None;
                    }
                }
            }
            let known = out.len();
            let mut reader = EventReader::new(&mut self.progress, dialect, out);
            let taken = match self.sse.feed(rest, |event| reader.read(event)) {
                Ok(taken) => taken,
                Err(error) => return Some(reader.fail(error)),
            };
            if reader.terminal.is_some() {
                return reader.terminal;
            }
            if is_between_events && let [.., event] = &out[known..] {
                dialect.learn_block(&rest[..taken], event);
            }
            if taken == rest.len() {
                return None;
            }
            rest = &rest[taken..];
        }
    }

    /// Reads what is left at the end of the body.
    pub(super) fn read_residue<D: Dialect>(
        &mut self,
        dialect: &mut D,
        out: &mut Vec<ResponseEvent>,
    ) -> Option<Terminal> {
        if self.progress.state == State::Ended {
            return None;
        }
        let mut reader = EventReader::new(&mut self.progress, dialect, out);
        match self.sse.finish(|event| reader.read(event)) {
            Ok(()) => reader.terminal,
            Err(error) => Some(reader.fail(error)),
        }
    }
}

/// What the SSE decoder hands its events to.
struct EventReader<'a, D> {
    progress: &'a mut Progress,
    dialect: &'a mut D,
    out: &'a mut Vec<ResponseEvent>,
    terminal: Option<Terminal>,
}

impl<'a, D: Dialect> EventReader<'a, D> {
    fn new(
        progress: &'a mut Progress,
        dialect: &'a mut D,
        out: &'a mut Vec<ResponseEvent>,
    ) -> Self {
        Self {
            progress,
            dialect,
            out,
            terminal: None,
        }
    }

    /// Reads one event. Breaks at the terminal one, and after each for a dialect that would rather read blocks.
    #[inline]
    fn read(&mut self, event: SseEvent<'_>) -> ControlFlow<()> {
        self.progress.events += 1;
        self.progress.state = match self.dialect.on_event(event, self.out) {
            Step::Continue => State::Reading,
            Step::Finishing => State::Finishing,
            Step::End(terminal) => {
                self.terminal = Some(terminal);
                State::Ended
            }
        };
        match D::READS_BLOCKS || self.progress.state == State::Ended {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn fail(self, error: DecodeError) -> Terminal {
        self.progress.state = State::Ended;
        let mut api_error =
            ApiError::new(ErrorKind::TooLarge, error.to_string()).with_phase(Phase::Body);
        api_error.details_mut().anomalies = self.dialect.anomalies().clone();
        Terminal::Failed(api_error)
    }
}
