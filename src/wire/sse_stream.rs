//! Chunks to the events of a dialect.

use std::ops::ControlFlow;

use serde::de::IgnoredAny;

use super::{
    Dialect, Step, Terminal, TextPlace,
    joining::expect_more,
    pieces::{Piece, is_done, pieces},
    strays::{Strays, is_cut_field},
};
use crate::{
    protocol::{
        ResponseEvent,
        error::{ApiError, ErrorKind, Phase},
    },
    sse::{DecodeError, Frame, SseDecoder, SseEvent, SseLimits},
};

/// The frames of one response body.
pub(super) struct SseStream {
    sse: SseDecoder,
    strays: Strays,
    pub(super) progress: Progress,
}

/// How far a body has been read.
#[derive(Clone, Copy, Default)]
pub(super) struct Progress {
    pub(super) state: State,
    /// How many SSE events there were.
    pub(super) events: u64,
    /// How many of them went on with an answer that was whole already.
    pub(super) went_on: u64,
}

impl Progress {
    /// A block was read at sight.
    #[inline]
    fn count_block(&mut self) {
        self.events += 1;
        self.went_on += u64::from(self.state == State::Finishing);
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Reading,
    Finishing,
    Ended,
}

impl SseStream {
    pub(super) fn new(limits: SseLimits) -> Self {
        Self {
            sse: SseDecoder::lenient(limits),
            strays: Strays::new(limits.max_event_bytes),
            progress: Progress::default(),
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
            let is_between_events = self.is_between_events();
            if is_between_events {
                while let Some(taken) = dialect.read_block(rest, out) {
                    self.progress.count_block();
                    rest = &rest[taken..];
                    if rest.is_empty() {
                        return None;
                    }
                }
            }
            let mut reader = EventReader::new(&mut self.progress, &mut self.strays, dialect, out);
            let fed = self.sse.feed_frames(rest, |frame| reader.read(frame));
            let taken = match (fed, reader.failure.take()) {
                (Ok(taken), None) => taken,
                (Err(error), _) | (_, Some(error)) => return Some(reader.fail(error)),
            };
            if reader.terminal.is_some() {
                return reader.terminal;
            }
            if is_between_events && reader.is_plain {
                dialect.note_block(&rest[..taken]);
            }
            if taken == rest.len() {
                return None;
            }
            rest = &rest[taken..];
        }
    }

    fn is_between_events(&self) -> bool {
        self.sse.is_between_events() && self.strays.is_empty()
    }

    /// Reads the blocks off the front of the next bytes that the dialect reads at sight, and says where each ends and with which event it
    /// goes. Returns how many bytes that is; none where the next byte may begin no block.
    pub(super) fn read_blocks<D: Dialect>(
        &mut self,
        dialect: &mut D,
        bytes: &[u8],
        joins: bool,
        out: &mut Vec<ResponseEvent>,
        mut on_block: impl FnMut(usize, usize),
    ) -> usize {
        let mut at = 0;
        if self.progress.state == State::Ended || !self.is_between_events() {
            return at;
        }
        // Whether the block before gave the last event.
        let mut gave = false;
        while at < bytes.len() {
            let (before, rest) = (out.len(), &bytes[at..]);
            let read = match joins && gave {
                true => dialect.join_block(rest, out),
                false => dialect.read_block(rest, out).map(|taken| (taken, false)),
            };
            let Some((taken, is_joined)) = read else {
                break;
            };
            self.progress.count_block();
            at += taken;
            gave = is_joined || out.len() > before;
            on_block(at, out.len() - usize::from(gave));
            if joins && gave && !is_joined {
                // Those that follow are about as long, and their text is no longer than they are.
                expect_more(out, (bytes.len() - at) / taken.max(1));
            }
        }
        at
    }

    /// Reads what is left at the end of the body. Of a part of one that another goes on with, what is not whole is let go, for it comes
    /// again.
    pub(super) fn read_residue<D: Dialect + ?Sized>(
        &mut self,
        dialect: &mut D,
        is_part: bool,
        out: &mut Vec<ResponseEvent>,
    ) -> Option<Terminal> {
        if self.progress.state == State::Ended {
            return None;
        }
        let is_read = |text: &str| {
            let text = text.trim();
            !is_part || is_done(text) || serde_json::from_str::<IgnoredAny>(text).is_ok()
        };
        let mut reader = EventReader::new(&mut self.progress, &mut self.strays, dialect, out);
        let fed = self.sse.finish_frames(|frame| match frame {
            Frame::Event(event) if !is_read(event.data) => ControlFlow::Break(()),
            frame => reader.read(frame),
        });
        if let Some(error) = fed.err().or(reader.failure.take()) {
            return Some(reader.fail(error));
        }
        if reader.terminal.is_none() && is_read(&reader.strays.text()) {
            // Nothing follows that a break could stop.
            let _ = reader.read_stray_text();
        }
        reader.terminal
    }
}

/// What the SSE decoder hands its frames to.
struct EventReader<'a, D: ?Sized> {
    progress: &'a mut Progress,
    strays: &'a mut Strays,
    dialect: &'a mut D,
    out: &'a mut Vec<ResponseEvent>,
    terminal: Option<Terminal>,
    failure: Option<DecodeError>,
    /// Whether each event was one that the dialect took as it was.
    is_plain: bool,
}

impl<'a, D: Dialect + ?Sized> EventReader<'a, D> {
    fn new(
        progress: &'a mut Progress,
        strays: &'a mut Strays,
        dialect: &'a mut D,
        out: &'a mut Vec<ResponseEvent>,
    ) -> Self {
        Self {
            progress,
            strays,
            dialect,
            out,
            terminal: None,
            failure: None,
            is_plain: true,
        }
    }

    /// Reads one frame. Breaks after each event: what follows may be a block that the dialect reads at sight.
    #[inline]
    fn read(&mut self, frame: Frame<'_>) -> ControlFlow<()> {
        match frame {
            Frame::Event(event) => {
                if !self.strays.is_empty() && self.read_stray_text().is_break() {
                    return ControlFlow::Break(());
                }
                self.read_event(event);
                ControlFlow::Break(())
            }
            Frame::Stray(line) => self.read_stray(line),
        }
    }

    #[inline]
    fn read_event(&mut self, event: SseEvent<'_>) {
        self.progress.events += 1;
        let step = self.dialect.on_event(event, self.out);
        if let Step::Unread = step {
            let place = match event.event {
                Some("error") => TextPlace::Error,
                _ => TextPlace::Data,
            };
            return self.read_pieces(event, place);
        }
        self.take(step);
    }

    #[inline]
    fn take(&mut self, step: Step) {
        self.progress.state = match step {
            Step::Continue | Step::Unread => State::Reading,
            Step::Finishing { goes_on } => {
                self.progress.went_on += u64::from(goes_on);
                State::Finishing
            }
            Step::End(terminal) => {
                self.terminal = Some(terminal);
                State::Ended
            }
        };
    }

    /// Reads what is not one JSON text, piece by piece.
    #[cold]
    fn read_pieces(&mut self, event: SseEvent<'_>, place: TextPlace) {
        self.is_plain = false;
        let mut pieces = pieces(event.data).peekable();
        while let Some(piece) = pieces.next() {
            // The last field of a name counts, so it is the last piece's.
            let is_last = pieces.peek().is_none();
            let place = match place {
                TextPlace::Error if !is_last => TextPlace::Data,
                place => place,
            };
            let (text, step) = match piece {
                Piece::Text(text) => (text, Step::Unread),
                // This is what was not read.
                Piece::Data(data) if data.len() == event.data.trim().len() => (data, Step::Unread),
                Piece::Data(data) => {
                    let name = event.event.filter(|_| is_last);
                    let event = SseEvent {
                        event: name,
                        data,
                        ..event
                    };
                    (data, self.dialect.on_event(event, self.out))
                }
            };
            let step = match step {
                Step::Unread => self.dialect.on_text(text, place, self.out),
                step => step,
            };
            self.take(step);
            if self.terminal.is_some() {
                return;
            }
        }
    }

    #[cold]
    fn read_stray(&mut self, line: &[u8]) -> ControlFlow<()> {
        match self.strays.push(line) {
            Ok(true) => self.read_stray_text(),
            Ok(false) => ControlFlow::Continue(()),
            Err(error) => {
                self.failure = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// Reads the text that stray lines have come to.
    #[cold]
    fn read_stray_text(&mut self) -> ControlFlow<()> {
        let text = self.strays.take();
        let event = |event, data| SseEvent {
            event,
            data,
            last_event_id: "",
        };
        let data = text.trim_start();
        let data = data
            .get(.."data:".len())
            .filter(|name| name.eq_ignore_ascii_case("data:"))
            .map(|name| data[name.len()..].trim());
        match (data, text.strip_prefix("error:")) {
            (Some(data), _) => self.read_event(event(None, data)),
            (None, Some(error)) => self.read_event(event(Some("error"), error.trim())),
            _ if text.trim().is_empty() || is_cut_field(text.as_bytes()) => {}
            _ if text.trim_start().starts_with(['{', '[']) => {
                let event = event(None, text.trim());
                match self.dialect.on_event(event, self.out) {
                    Step::Unread => self.read_pieces(event, TextPlace::Stray),
                    step => {
                        self.progress.events += 1;
                        self.take(step);
                    }
                }
            }
            _ => {
                let text = text.trim();
                let step = self.dialect.on_text(text, TextPlace::Stray, self.out);
                self.take(step);
            }
        }
        match self.terminal {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
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
