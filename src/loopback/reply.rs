//! What to do with one request: the answer, how it is cut into pieces, and what goes wrong on the way.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::{event::OutgoingEvent, records::RecordedRequest, script_fields};

/// What the provider does with one request.
///
/// [`Reply::default`] is the default answer for the request's path, sent event by event without delay. Everything else
/// is a departure from it, and departures combine:
///
/// ```
/// use std::time::Duration;
/// use actix_responses::loopback::Reply;
///
/// let slow_then_gone = Reply::default()
///     .delay_head(Duration::from_millis(50))
///     .with_pace(Duration::from_millis(5))
///     .reset_after_events(3);
/// ```
///
/// In a script file it is an object with these fields, each of which may be left out.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Reply {
    /// Which requests it is meant for: those, of any method, whose path has this in it, such as `/models` or `/responses/`. Without
    /// it, each POST but one that cancels.
    pub path: Option<String>,
    /// The status; without one it is 200, or what the default answer says. A status from 400 up with the default
    /// [`body`](Self::body) sends an error object that fits it.
    #[serde(deserialize_with = "script_fields::status")]
    pub status: Option<StatusCode>,
    /// Headers, sent as they are written, in this order and unchecked. A header the provider would add by itself
    /// (`content-type`, `content-length`, `x-request-id`, ...) is left out when it is named here; so a
    /// `content-length` may lie. A script file gives an object; a value may be an array to send a header repeatedly.
    #[serde(deserialize_with = "script_fields::headers")]
    pub headers: Vec<(String, String)>,
    /// What the answer says.
    pub body: ReplyBody,
    /// How the body is cut into pieces. A piece is one chunk where the framing has chunks, and one write in any case.
    pub chunks: Chunks,
    /// How the client can tell where the body ends; without it, streams are chunked and other bodies have a length.
    pub framing: Option<Framing>,
    /// The time between two pieces of the body; without it, streams take
    /// [`LoopbackOptions::pace`](super::LoopbackOptions::pace) and other bodies none.
    #[serde(deserialize_with = "script_fields::optional_duration")]
    pub pace: Option<Duration>,
    /// What happens on the way, each at its position; at the same position in this order.
    pub faults: Vec<Fault>,
}

/// What an answer says.
///
/// In a script file: `"default"`, `"empty"`, `{"json": ...}`, `{"text": "..."}`, `{"sse": "..."}`,
/// `{"sse_file": "..."}` or `{"events": [...]}`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum ReplyBody {
    /// The default answer for the request's method, path and body.
    #[default]
    Default,
    /// Nothing.
    Empty,
    /// A JSON value, as `application/json`.
    Json(Value),
    /// A text, as `text/plain`; name a `content-type` header for another kind.
    Text(String),
    /// The bytes of an event stream, as `text/event-stream`.
    #[serde(deserialize_with = "script_fields::bytes")]
    Sse(Bytes),
    /// A file with the bytes of an event stream. [`Script::from_file`](super::Script::from_file) looks for it beside
    /// the script, and reads it then; in a script made in the program it is read when the server starts.
    SseFile(PathBuf),
    /// An event stream, event by event.
    Events(Vec<OutgoingEvent>),
}

/// How a body is cut into pieces.
///
/// In a script file: `"event"`, `"whole"` or `{"bytes": 7}`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Chunks {
    /// One piece an event; a body that is no stream is one piece.
    #[default]
    Event,
    /// One piece.
    Whole,
    /// Pieces of so many bytes; the last may be shorter.
    Bytes(NonZeroUsize),
}

/// How the client can tell where a body ends.
///
/// In a script file: `"length"`, `"chunked"` or `"until_close"`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// By a `content-length` header.
    Length,
    /// By `transfer-encoding: chunked`; to a client of HTTP/1.0, which knows no chunks, as
    /// [`UntilClose`](Self::UntilClose).
    Chunked,
    /// Not at all: there is neither header, and the connection is closed behind the body.
    UntilClose,
}

/// Something that happens while an answer is sent.
///
/// In a script file: `{"at": {"events": 3}, "do": "reset"}`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Where in the answer it happens.
    pub at: Position,
    /// What happens.
    #[serde(rename = "do")]
    pub action: Action,
}

/// A place in an answer. One behind the end of what it counts is the end of what it counts.
///
/// In a script file: `"start"`, `{"head_bytes": 10}`, `{"body_bytes": 10}`, `{"events": 3}`, `"body_end"` or
/// `"answer_end"`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// Before the first byte.
    Start,
    /// After so many bytes of status line and headers.
    HeadBytes(usize),
    /// After so many bytes of the body; the framing around chunks does not count. Where that is the end of a chunk,
    /// the chunk is complete; elsewhere the client has a chunk whose announced size is still to come.
    BodyBytes(usize),
    /// After so many events of the body, comment blocks included.
    Events(usize),
    /// After the last byte of the body, before the chunk that would end it.
    BodyEnd,
    /// After everything; the client has a complete answer.
    AnswerEnd,
}

/// What happens at a [`Position`].
///
/// In a script file: `"cut"`, `"end"`, `"reset"`, `"hang"`, `{"stall": "2s"}`, `{"send": "..."}` or
/// `{"comments": {"every": "1s", "lasting": "10s"}}`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Closes the connection with FIN.
    Cut,
    /// Ends the body as if it were whole, with nothing wrong but that the rest of it is missing; behind the event in which its position
    /// lies. A body that is not chunked is cut.
    End,
    /// Closes the connection with RST. What the client's side of the kernel has not taken over by then is lost.
    Reset,
    /// Falls silent, with the connection open, until the client closes it.
    Hang,
    /// Falls silent for so long, then goes on.
    #[serde(deserialize_with = "script_fields::duration")]
    Stall(Duration),
    /// Sends these bytes outside of any framing, then goes on.
    #[serde(deserialize_with = "script_fields::bytes")]
    Send(Bytes),
    /// Sends nothing but comments, then goes on. Begins behind the event in which its position lies, since a comment
    /// inside of an event would damage it.
    Comments {
        /// The time before each comment.
        #[serde(deserialize_with = "script_fields::duration")]
        every: Duration,
        /// The time until the answer goes on; without it, it does not until the client closes the connection.
        #[serde(default, deserialize_with = "script_fields::optional_duration")]
        lasting: Option<Duration>,
    },
}

/// The body.
impl Reply {
    /// Makes a reply with this body.
    pub fn new(body: ReplyBody) -> Self {
        Self {
            body,
            ..Self::default()
        }
    }

    /// Makes a reply that is a JSON value.
    pub fn json(value: Value) -> Self {
        Self::new(ReplyBody::Json(value))
    }

    /// Makes a reply that is a plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(ReplyBody::Text(text.into()))
    }

    /// Makes a reply that streams these bytes.
    pub fn sse(bytes: impl Into<Bytes>) -> Self {
        Self::new(ReplyBody::Sse(bytes.into()))
    }

    /// Makes a reply that streams a recorded file.
    pub fn sse_file(path: impl Into<PathBuf>) -> Self {
        Self::new(ReplyBody::SseFile(path.into()))
    }

    /// Makes a reply that streams these events.
    pub fn events(events: impl IntoIterator<Item = OutgoingEvent>) -> Self {
        Self::new(ReplyBody::Events(events.into_iter().collect()))
    }

    /// Makes a reply that refuses with an error object.
    pub fn error(status: StatusCode) -> Self {
        Self::default().with_status(status)
    }
}

/// For whom it is, and how it is sent.
impl Reply {
    /// Means it for requests whose path has this in it.
    pub fn with_path(mut self, part: impl Into<String>) -> Self {
        self.path = Some(part.into());
        self
    }

    pub(super) fn is_meant_for(&self, request: &RecordedRequest) -> bool {
        match &self.path {
            Some(part) => request.path.contains(part),
            None => request.method == Method::POST && !request.path.ends_with("/cancel"),
        }
    }

    /// Whether it sends a header of this name.
    pub(super) fn names(&self, name: &str) -> bool {
        let mut headers = self.headers.iter();
        headers.any(|(named, _)| named.eq_ignore_ascii_case(name))
    }

    /// Sets the status.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// Adds a header.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets how the body is cut into pieces.
    pub fn with_chunks(mut self, chunks: Chunks) -> Self {
        self.chunks = chunks;
        self
    }

    /// Cuts the body into pieces of so many bytes; of one byte if it is zero.
    pub fn with_chunk_bytes(self, bytes: usize) -> Self {
        self.with_chunks(Chunks::Bytes(
            NonZeroUsize::new(bytes).unwrap_or(NonZeroUsize::MIN),
        ))
    }

    /// Sets how the client can tell where the body ends.
    pub fn with_framing(mut self, framing: Framing) -> Self {
        self.framing = Some(framing);
        self
    }

    /// Leaves out both `content-length` and `transfer-encoding`: the body ends where the connection does.
    pub fn no_length(self) -> Self {
        self.with_framing(Framing::UntilClose)
    }

    /// Sets the time between two pieces of the body.
    pub fn with_pace(mut self, pace: Duration) -> Self {
        self.pace = Some(pace);
        self
    }
}

/// What goes wrong. Each adds a [`Fault`] behind those already there.
impl Reply {
    /// Adds a fault.
    pub fn with_fault(mut self, at: Position, action: Action) -> Self {
        self.faults.push(Fault { at, action });
        self
    }

    /// Waits before the status line.
    pub fn delay_head(self, delay: Duration) -> Self {
        self.with_fault(Position::Start, Action::Stall(delay))
    }

    /// Never answers; the connection stays open.
    pub fn never_head(self) -> Self {
        self.with_fault(Position::Start, Action::Hang)
    }

    /// Closes the connection instead of answering.
    pub fn close_before_head(self) -> Self {
        self.with_fault(Position::Start, Action::Cut)
    }

    /// Sends these bytes instead of an answer, and closes the connection.
    pub fn garbage(self, bytes: impl Into<Bytes>) -> Self {
        self.with_fault(Position::Start, Action::Send(bytes.into()))
            .close_before_head()
    }

    /// Sends the whole body, but does not end it: the connection stays open until the client closes it.
    pub fn hold_open(self) -> Self {
        self.with_fault(Position::BodyEnd, Action::Hang)
    }

    /// Closes the connection, with FIN, after so many bytes of the body.
    pub fn cut_after_bytes(self, bytes: usize) -> Self {
        self.with_fault(Position::BodyBytes(bytes), Action::Cut)
    }

    /// Closes the connection, with FIN, after so many events.
    pub fn cut_after_events(self, events: usize) -> Self {
        self.with_fault(Position::Events(events), Action::Cut)
    }

    /// Ends the body cleanly after so many events, without those that would have followed.
    pub fn end_after_events(self, events: usize) -> Self {
        self.with_fault(Position::Events(events), Action::End)
    }

    /// Resets the connection after so many bytes of the body.
    pub fn reset_after_bytes(self, bytes: usize) -> Self {
        self.with_fault(Position::BodyBytes(bytes), Action::Reset)
    }

    /// Resets the connection after so many events.
    pub fn reset_after_events(self, events: usize) -> Self {
        self.with_fault(Position::Events(events), Action::Reset)
    }

    /// Falls silent after so many bytes of the body; the connection stays open.
    pub fn stall_after_bytes(self, bytes: usize) -> Self {
        self.with_fault(Position::BodyBytes(bytes), Action::Hang)
    }

    /// Falls silent after so many events; the connection stays open.
    pub fn stall_after_events(self, events: usize) -> Self {
        self.with_fault(Position::Events(events), Action::Hang)
    }

    /// Sends nothing but comments after so many events, until the client closes the connection.
    pub fn comments_after_events(self, events: usize, every: Duration) -> Self {
        self.with_fault(
            Position::Events(events),
            Action::Comments {
                every,
                lasting: None,
            },
        )
    }
}
