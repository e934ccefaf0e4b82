//! A client's connection, watched while it is nobody's turn to answer.
//!
//! actix-http gives the head of the first request of a connection a time, and that of a later one none: a client that sends the half of a
//! second one would stay for ever.

use std::{
    cell::Cell,
    fmt, io,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_web::{
    HttpRequest,
    body::{BodySize, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    rt::net::TcpStream,
};
use bytes::{Buf as _, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::wordless;

/// What actix-http says of a first head that is late, before it is given its reason.
const LATE: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The longest name of a field that the `http` crate takes. actix-http expects it to take all, and panics where a name is longer.
const MAX_NAME_BYTES: usize = 65_535;

/// Whether a request of a connection is being answered.
pub(super) struct Turn {
    /// Where it was accepted.
    listener: IpAddr,
    /// How many requests it has had.
    begun: Cell<u64>,
    is_busy: Cell<bool>,
}

impl Turn {
    pub(super) fn listener(&self) -> IpAddr {
        self.listener
    }
}

/// The socket, as the server reads and writes it.
pub(super) struct Watched {
    socket: TcpStream,
    turn: Rc<Turn>,
    head_time: Duration,
    /// When the head has to be whole that has begun after so many requests.
    alarm: Option<(u64, Pin<Box<Sleep>>)>,
    names: Names,
    /// Whether the rest of an answer waits for a client that does not read: nothing may be said before it.
    is_full: bool,
    /// What is written in place of an answer that says nothing.
    instead: Bytes,
}

impl Watched {
    pub(super) fn new(socket: TcpStream, listener: IpAddr, head_time: Duration) -> Self {
        let turn = Turn {
            listener,
            begun: Cell::new(0),
            is_busy: Cell::new(false),
        };
        Self {
            socket,
            turn: Rc::new(turn),
            head_time,
            alarm: None,
            names: Names::default(),
            is_full: false,
            instead: Bytes::new(),
        }
    }

    pub(super) fn turn(&self) -> Rc<Turn> {
        self.turn.clone()
    }

    /// Something of a later request has come, while none is being answered: from now on its head has its time.
    fn head_begins(&mut self) {
        let begun = self.turn.begun.get();
        let is_set = self.alarm.as_ref().is_some_and(|(of, _)| *of == begun);
        if begun == 0 || self.turn.is_busy.get() || is_set {
            return;
        }
        let due = Instant::now() + self.head_time;
        match &mut self.alarm {
            Some((of, alarm)) => {
                *of = begun;
                alarm.as_mut().reset(due);
            }
            None => self.alarm = Some((begun, Box::pin(sleep_until(due)))),
        }
    }

    /// Whether the head that was begun is late.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let begun = self.turn.begun.get();
        match &mut self.alarm {
            Some((of, alarm)) if *of == begun => alarm.as_mut().poll(cx).is_ready(),
            _ => false,
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let filled = buffer.filled().len();
        let read = Pin::new(&mut this.socket).poll_read(cx, buffer);
        let new = &mut buffer.filled_mut()[filled..];
        if !new.is_empty() {
            if let Some(at) = this.names.too_long(new) {
                // No byte of a name: the server refuses it, when it is its turn.
                new[at] = 0;
            }
            this.head_begins();
        }
        if read.is_pending() && this.is_late(cx) {
            // One that does not read is not waited for, and what it has yet to read of an answer comes first. The server takes it for gone.
            if !this.is_full {
                let answer = wordless::explained(LATE).unwrap_or_default();
                let _ = Pin::new(&mut this.socket).poll_write(cx, &answer);
            }
            return Poll::Ready(Ok(()));
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut socket = Pin::new(&mut this.socket);
        if this.instead.is_empty() {
            match wordless::explained(bytes) {
                Some(answer) => this.instead = answer,
                None => {
                    let written = socket.poll_write(cx, bytes);
                    this.is_full = written.is_pending();
                    return written;
                }
            }
        }
        while !this.instead.is_empty() {
            match ready!(socket.as_mut().poll_write(cx, &this.instead))? {
                0 => return Poll::Ready(Ok(0)),
                written => this.instead.advance(written),
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, bytes);
        self.is_full = written.is_pending();
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// Watches for a name that is too long, in whichever pieces it comes. It begins a line, behind one with a blank or a colon: a request line or
/// another field. Behind the empty line that ends a head, and behind the size of a chunk, what comes is no name; and no line of a body that is
/// JSON, or packed, begins with so many bytes that could be one.
#[derive(Default)]
struct Names {
    /// How long the line is so far that has been nothing but a name.
    length: Option<usize>,
    /// Whether the line has a blank or a colon, and whether the one before had.
    has_more: bool,
    may_follow: bool,
}

impl Names {
    /// The first byte that is too much.
    fn too_long(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let end = memchr::memchr(b'\n', rest);
            let line = &rest[..end.unwrap_or(rest.len())];
            if let Some(length) = self.length.filter(|_| self.may_follow) {
                let is_end =
                    |byte: &u8| !byte.is_ascii_alphanumeric() && !b"!#$%&'*+-.^_`|~".contains(byte);
                let name = line.iter().position(is_end).unwrap_or(line.len());
                if length + name > MAX_NAME_BYTES {
                    self.length = None;
                    return Some(at + MAX_NAME_BYTES - length);
                }
                self.length = (name == line.len()).then_some(length + name);
            }
            self.has_more = self.has_more || memchr::memchr2(b' ', b':', line).is_some();
            at += end? + 1;
            self.may_follow = std::mem::take(&mut self.has_more);
            self.length = Some(0);
        }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

/// A request that is being answered, to the last byte of its body.
struct Busy(Rc<Turn>);

impl Busy {
    fn begin(turn: Rc<Turn>) -> Self {
        turn.begun.set(turn.begun.get() + 1);
        turn.is_busy.set(true);
        Self(turn)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.is_busy.set(false);
    }
}

/// The middleware of all requests, of no route too.
pub(super) async fn watch(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let turn = request.request().conn_data::<Rc<Turn>>().cloned();
    let busy = turn.map(Busy::begin);
    let response = next.call(request).await?;
    Ok(response.map_body(|_, body| Answering {
        _busy: busy,
        body: Box::pin(body),
    }))
}

struct Answering<B> {
    _busy: Option<Busy>,
    body: Pin<Box<B>>,
}

impl<B: MessageBody> MessageBody for Answering<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, B::Error>>> {
        self.body.as_mut().poll_next(cx)
    }
}

/// The address of the listener that a request came by.
pub(super) fn listener_of(request: &HttpRequest) -> IpAddr {
    match request.conn_data::<Rc<Turn>>() {
        Some(turn) => turn.listener(),
        // That of a program with a service of its own.
        None => request.app_config().local_addr().ip(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_too_long_in_whichever_pieces_it_comes() {
        let request = |length: usize| {
            let name = "n".repeat(length);
            format!("GET / HTTP/1.1\r\nhost: a\r\n{name}: 1\r\n\r\n{{\n \"a\": 1}}")
        };
        for pieces in [1, 7, 65_536, 1 << 20] {
            let at = |request: &str| {
                let (mut names, mut before) = (Names::default(), 0);
                for piece in request.as_bytes().chunks(pieces) {
                    if let Some(at) = names.too_long(piece) {
                        return Some(before + at);
                    }
                    before += piece.len();
                }
                None
            };
            assert_eq!(at(&request(MAX_NAME_BYTES)), None);
            let start = "GET / HTTP/1.1\r\nhost: a\r\n".len();
            assert_eq!(
                at(&request(MAX_NAME_BYTES + 1)),
                Some(start + MAX_NAME_BYTES)
            );
            let long_value = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "n".repeat(100_000));
            assert_eq!(at(&long_value), None);
            let one_line = format!("\n\"{}\"", "n".repeat(100_000));
            assert_eq!(at(&one_line), None);
            // What a body holds begins a line where it comes in chunks.
            let long = "n".repeat(100_000);
            let head = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
            let chunks =
                format!("{head}9\r\n{{\"user\":\"\r\n186a0\r\n{long}\r\n2\r\n\"}}\r\n0\r\n\r\n");
            assert_eq!(at(&chunks), None);
            assert_eq!(at(&format!("{head}186a0\r\n{long}\r\n")), None);
            // And a later request's name is one.
            let later = format!("{chunks}{}", request(MAX_NAME_BYTES + 1));
            assert_eq!(at(&later), Some(chunks.len() + start + MAX_NAME_BYTES));
        }
    }
}
