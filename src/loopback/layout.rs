//! An answer as it lies on the wire, cut into steps: every fault between the right two bytes.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};

use super::{
    event::event_ends,
    reply::{Action, Chunks, Fault, Position},
};

/// The comment that keeps a silent stream alive.
const COMMENT: &str = ": keepalive\n\n";

/// One step of sending an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Sends bytes, at once.
    Write(Bytes),
    /// Waits so long.
    Wait(Duration),
    /// Closes the connection with FIN if this answer has been cancelled.
    Check(Arc<str>),
    /// Sends these bytes every so often, for so long or forever.
    Comments {
        bytes: Bytes,
        every: Duration,
        lasting: Option<Duration>,
    },
    /// Waits for the client to close the connection.
    Hang,
    /// Closes the connection with FIN.
    Cut,
    /// Closes the connection with RST.
    Reset,
}

impl Step {
    /// Whether no other step can follow.
    pub(super) fn is_last(&self) -> bool {
        matches!(
            self,
            Self::Hang | Self::Cut | Self::Reset | Self::Comments { lasting: None, .. }
        )
    }
}

/// An answer of which nothing has been sent.
pub(super) struct Unsent<'a> {
    /// The status line and the headers, with the empty line behind them.
    pub(super) head: &'a str,
    pub(super) body: &'a [u8],
    /// Whether the body consists of events; otherwise it counts as one.
    pub(super) is_stream: bool,
    pub(super) chunks: Chunks,
    /// Whether the pieces of the body are framed as chunks.
    pub(super) chunked: bool,
    /// The time between two pieces.
    pub(super) pace: Duration,
    /// The answer with which the pieces end, if that is cancelled.
    pub(super) cancellable: Option<Arc<str>>,
    pub(super) faults: &'a [Fault],
}

/// Cuts an answer into the steps that send it.
pub(super) fn lay_out(unsent: &Unsent<'_>) -> Vec<Step> {
    Layout::new(unsent).steps(unsent)
}

/// A whole answer as it goes over the wire, and what lies where in it.
struct Layout {
    wire: Bytes,
    head_length: usize,
    body_length: usize,
    /// Where the body's events end, in bytes of the body.
    event_ends: Vec<usize>,
    pieces: Vec<Piece>,
    /// Where the framing that ends the body begins.
    body_end: usize,
    chunked: bool,
}

/// One piece of the body: what is written at a time.
struct Piece {
    /// Where it starts and ends, in bytes of the body.
    start: usize,
    end: usize,
    /// Where its first byte lies on the wire.
    data_at: usize,
    /// Where it ends on the wire, with its framing.
    wire_end: usize,
}

impl Layout {
    fn new(unsent: &Unsent<'_>) -> Self {
        let (body, chunked) = (unsent.body, unsent.chunked);
        let mut layout = Self {
            wire: Bytes::new(),
            head_length: unsent.head.len(),
            body_length: body.len(),
            event_ends: match unsent.is_stream {
                true => event_ends(body),
                false if body.is_empty() => Vec::new(),
                false => vec![body.len()],
            },
            pieces: Vec::new(),
            body_end: 0,
            chunked,
        };
        let mut ends = match unsent.chunks {
            Chunks::Event => layout.event_ends.clone(),
            Chunks::Bytes(size) => multiples(size, body.len()),
            Chunks::Whole => Vec::new(),
        };
        ends.push(body.len());
        // Neither a comment nor a clean end can come inside of a chunk.
        let faults = unsent.faults.iter();
        let between =
            faults.filter(|fault| matches!(fault.action, Action::Comments { .. } | Action::End));
        ends.extend(between.map(|fault| layout.end_of_event_at(fault.at)));
        ends.sort_unstable();
        ends.dedup();

        let mut wire = BytesMut::from(unsent.head);
        let mut start = 0;
        for end in ends.into_iter().filter(|end| *end > 0) {
            if chunked {
                wire.extend_from_slice(format!("{:x}\r\n", end - start).as_bytes());
            }
            let data_at = wire.len();
            wire.extend_from_slice(&body[start..end]);
            if chunked {
                wire.extend_from_slice(b"\r\n");
            }
            let wire_end = wire.len();
            layout.pieces.push(Piece {
                start,
                end,
                data_at,
                wire_end,
            });
            start = end;
        }
        layout.body_end = wire.len();
        if chunked {
            wire.extend_from_slice(b"0\r\n\r\n");
        }
        layout.wire = wire.freeze();
        layout
    }

    /// The end of the event in which a position lies, in bytes of the body.
    fn end_of_event_at(&self, position: Position) -> usize {
        let offset = match position {
            Position::Start | Position::HeadBytes(_) => 0,
            Position::BodyBytes(bytes) => bytes,
            Position::Events(events) => self.events_length(events),
            Position::BodyEnd | Position::AnswerEnd => self.body_length,
        };
        if offset == 0 {
            return 0;
        }
        let event = self.event_ends.partition_point(|end| *end < offset);
        self.event_ends
            .get(event)
            .copied()
            .unwrap_or(self.body_length)
    }

    /// How many bytes so many events have.
    fn events_length(&self, events: usize) -> usize {
        match events.checked_sub(1) {
            None => 0,
            Some(last) => self
                .event_ends
                .get(last)
                .copied()
                .unwrap_or(self.body_length),
        }
    }

    fn offset_of_body_byte(&self, bytes: usize) -> usize {
        if bytes == 0 {
            return self.head_length;
        }
        let piece = self.pieces.partition_point(|piece| piece.end < bytes);
        match self.pieces.get(piece) {
            Some(piece) if bytes < piece.end => piece.data_at + (bytes - piece.start),
            Some(piece) => piece.wire_end,
            None => self.body_end,
        }
    }

    /// Where on the wire a fault happens.
    fn offset_of(&self, fault: &Fault) -> usize {
        if let Action::Comments { .. } | Action::End = fault.action {
            return self.offset_of_body_byte(self.end_of_event_at(fault.at));
        }
        match fault.at {
            Position::Start => 0,
            Position::HeadBytes(bytes) => bytes.min(self.head_length),
            Position::BodyBytes(bytes) => self.offset_of_body_byte(bytes),
            Position::Events(events) => self.offset_of_body_byte(self.events_length(events)),
            Position::BodyEnd => self.body_end,
            Position::AnswerEnd => self.wire.len(),
        }
    }

    /// Cuts the wire into writes, and puts the faults between them. Nothing follows a fault that ends the connection.
    fn steps(&self, unsent: &Unsent<'_>) -> Vec<Step> {
        let mut faults: Vec<_> = unsent
            .faults
            .iter()
            .map(|fault| (self.offset_of(fault), &fault.action))
            .collect();
        // Stable: at the same place, they happen in the order in which they were given.
        faults.sort_by_key(|(offset, _)| *offset);
        let mut faults = faults.into_iter().peekable();

        let last_piece = self.pieces.len().checked_sub(1);
        let pieces = self.pieces.iter().enumerate();
        let writes = std::iter::once((self.head_length, false))
            .chain(pieces.map(|(index, piece)| (piece.wire_end, Some(index) != last_piece)))
            .chain(std::iter::once((self.wire.len(), false)));
        let mut steps = Vec::with_capacity(self.pieces.len() + 2);
        let mut sent = 0;
        let mut send_until = |end: usize, steps: &mut Vec<Step>| {
            if end > sent {
                steps.push(Step::Write(self.wire.slice(sent..end)));
                sent = end;
            }
        };
        for (end, is_followed) in writes {
            while let Some((offset, action)) = faults.next_if(|(offset, _)| *offset <= end) {
                send_until(offset, &mut steps);
                let step = self.step(action);
                let is_last = step.is_last() || *action == Action::End;
                steps.push(step);
                if is_last {
                    return steps;
                }
            }
            send_until(end, &mut steps);
            if is_followed && !unsent.pace.is_zero() {
                steps.push(Step::Wait(unsent.pace));
                steps.extend(unsent.cancellable.clone().map(Step::Check));
            }
        }
        steps
    }

    fn step(&self, action: &Action) -> Step {
        match action {
            Action::Cut => Step::Cut,
            Action::End if self.chunked => Step::Write(Bytes::from_static(b"0\r\n\r\n")),
            Action::End => Step::Cut,
            Action::Reset => Step::Reset,
            Action::Hang => Step::Hang,
            Action::Stall(duration) => Step::Wait(*duration),
            Action::Send(bytes) => Step::Write(bytes.clone()),
            Action::Comments { every, lasting } => Step::Comments {
                bytes: if self.chunked {
                    Bytes::from(format!("{:x}\r\n{COMMENT}\r\n", COMMENT.len()))
                } else {
                    Bytes::from_static(COMMENT.as_bytes())
                },
                every: *every,
                lasting: *lasting,
            },
        }
    }
}

/// All multiples of a size that are less than a length.
fn multiples(size: NonZeroUsize, length: usize) -> Vec<usize> {
    (size.get()..length).step_by(size.get()).collect()
}
