//! A connection as awc gets it: below its codec and above TLS.
//!
//! What awc's codec can not read is kept from it here: each response's head is read, and awc gets one in its place that has
//! nothing but the status and what says where the body ends. So interim responses are stepped over, a body of HTTP/1.1 may end
//! with its connection, a head may have more fields than awc takes, and a server is heard that answers before it has read the
//! request. The bytes of a body go through as they come.

use std::{
    cell::{Cell, RefCell},
    fmt,
    io::{self, IoSlice},
    mem::{self, MaybeUninit},
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_rt::net::{ActixStream, Ready, TcpStream};
use bytes::{Buf as _, BytesMut};
use http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::Instant,
};
use tokio_rustls::client::TlsStream;

use super::{
    TransportError,
    head::{Head, HeadReader},
};

/// How much is read of a head at a time. Most are smaller, and a short answer is there with it.
const READ_BYTES: usize = 16 * 1024;

/// What awc's codec writes at the end of the head of a request that has no `date` of its own: a name of 6 bytes, a time of 29, the end of
/// the line. No client has to send one, and with ours a server would see that somebody stands between it and the client.
const DATE_BYTES: usize = 6 + 29 + 2;

/// Where the `date` stands that awc's codec added to this head, which is whole.
fn added_date(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 2;
    let at = end.checked_sub(DATE_BYTES)?;
    let line = &bytes[at..end];
    let is_added = line.starts_with(b"date: ") && line.ends_with(b" GMT\r\n");
    (is_added && bytes[..at].ends_with(b"\r\n")).then_some(at)
}

/// The bytes of a connection.
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What awc reads from and writes to.
pub(super) struct Connection {
    state: Rc<RefCell<State>>,
    connections: Weak<Connections>,
}

/// The connection that a response came on, for as long as awc has it.
pub(super) struct Handle {
    state: Weak<RefCell<State>>,
    connections: Weak<Connections>,
}

struct State {
    /// `None` when it was closed while awc held it idle.
    socket: Option<Socket>,
    peer: Rc<Peer>,
    turn: Turn,
    /// Requests that were sent on it.
    requests: u64,
    /// Where in what awc writes next the `date` of its codec stands.
    date: Option<usize>,
    /// What awc is to read before the socket.
    incoming: BytesMut,
    /// The peer takes no more of the request.
    refused: Option<io::ErrorKind>,
}

/// Who is to say something.
enum Turn {
    /// Nobody.
    Idle { since: Instant },
    /// The server: the head of its response.
    Head(Box<HeadReader>),
    /// That has been read, and awc has not asked for it yet. So many bytes of it are before the body.
    Answered(Box<Head>, usize),
    /// The server: the body, as far as there is one.
    Body,
    /// Both, in another protocol than HTTP. It never comes back.
    Switched,
}

/// The server of a connection, whatever is between.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) is_https: bool,
    /// Host and port, as errors name them.
    pub(super) authority: String,
}

/// What the last turn of a connection came to. Whoever polls a request finds it there when the request is ready.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) head: Option<Box<Head>>,
    pub(super) connection: Option<Handle>,
    /// Why there is no head, if it is not awc that knows.
    pub(super) failure: Option<TransportError>,
    /// It broke before any of the response was there, and had served a request before.
    pub(super) is_stale: bool,
}

/// The connections of one arbiter's transport.
#[derive(Default)]
pub(super) struct Connections {
    all: RefCell<Vec<Weak<RefCell<State>>>>,
    outcome: RefCell<Outcome>,
    is_sweeping: Cell<bool>,
    /// Told by whoever finds that this machine can open no connection: those that lie idle are what it has to spare.
    shortage: Arc<Notify>,
}

impl Connections {
    pub(super) fn new(shortage: Arc<Notify>) -> Rc<Self> {
        Rc::new(Self {
            shortage,
            ..Self::default()
        })
    }

    /// What has happened since this was asked last.
    pub(super) fn take_outcome(&self) -> Outcome {
        self.outcome.take()
    }

    /// Closes those of a server that lie idle.
    pub(super) fn close_idle(&self, peer: &Peer) {
        self.retain(|state| {
            state.peer.as_ref() != peer || !matches!(state.turn, Turn::Idle { .. })
        });
    }

    /// Closes those that have been idle for that long. Gives when the next one will have been.
    fn close_idle_for(&self, limit: Duration) -> Option<Instant> {
        let now = Instant::now();
        let mut next = None;
        self.retain(|state| match state.turn {
            Turn::Idle { since } if now >= since + limit => false,
            Turn::Idle { since } => {
                let earlier = next.is_none_or(|next| since + limit < next);
                next = if earlier { Some(since + limit) } else { next };
                true
            }
            _ => true,
        });
        next
    }

    /// Closes those of which `is_kept` says no, and forgets those that awc has let go.
    fn retain(&self, mut is_kept: impl FnMut(&State) -> bool) {
        self.all.borrow_mut().retain(|state| {
            let Some(state) = state.upgrade() else {
                return false;
            };
            let is_kept = is_kept(&state.borrow());
            if !is_kept {
                state.borrow_mut().socket = None;
            }
            is_kept
        });
    }

    /// Closes idle connections when their time has come, or this machine runs short, without that a request has to ask for one.
    fn sweep(self: &Rc<Self>, limit: Duration) {
        if self.is_sweeping.replace(true) {
            return;
        }
        let (connections, shortage) = (Rc::downgrade(self), self.shortage.clone());
        actix_rt::spawn(async move {
            let mut next = Instant::now() + limit;
            loop {
                let limit = tokio::select! {
                    () = tokio::time::sleep_until(next) => limit,
                    () = shortage.notified() => Duration::ZERO,
                };
                let Some(connections) = connections.upgrade() else {
                    return;
                };
                match connections.close_idle_for(limit) {
                    Some(later) => next = later,
                    None => {
                        connections.is_sweeping.set(false);
                        return;
                    }
                }
            }
        });
    }
}

impl Handle {
    /// Says that the response has been read to its end, and closes the connection when no request has come for so long.
    pub(super) fn is_idle(&self, limit: Duration) {
        if let Some((state, connections)) = self.state.upgrade().zip(self.connections.upgrade()) {
            let since = Instant::now();
            state.borrow_mut().turn = Turn::Idle { since };
            connections.sweep(limit);
        }
    }
}

impl Connection {
    /// Makes one of what the dialer connected.
    pub(super) fn new(socket: Socket, peer: Rc<Peer>, connections: &Rc<Connections>) -> Self {
        let since = Instant::now();
        let state = Rc::new(RefCell::new(State {
            socket: Some(socket),
            peer,
            turn: Turn::Idle { since },
            requests: 0,
            date: None,
            incoming: BytesMut::new(),
            refused: None,
        }));
        let is_full = {
            let all = connections.all.borrow();
            all.len() == all.capacity()
        };
        if is_full {
            // Those that are gone leave their places, in time that is the same for each in the end.
            connections.retain(|_| true);
        }
        connections.all.borrow_mut().push(Rc::downgrade(&state));
        Self {
            state,
            connections: Rc::downgrade(connections),
        }
    }

    fn tell(&self, outcome: Outcome) {
        if let Some(connections) = self.connections.upgrade() {
            connections.outcome.replace(outcome);
        }
    }

    fn handle(&self) -> Handle {
        Handle {
            state: Rc::downgrade(&self.state),
            connections: self.connections.clone(),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// Why there is no head.
enum NoHead {
    /// The connection ended or broke.
    Io(io::Result<()>),
    /// What came is none.
    Unreadable(TransportError),
}

impl State {
    /// Reads the head of the response that is awaited.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NoHead>> {
        let Turn::Head(reader) = &mut self.turn else {
            return Poll::Ready(Ok(()));
        };
        let Some(socket) = &mut self.socket else {
            return Poll::Ready(Err(NoHead::Io(Ok(()))));
        };
        loop {
            let mut bytes = [MaybeUninit::uninit(); READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut bytes);
            let read = ready!(socket.io().poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                let refused = self.refused.map(|kind| Err(kind.into()));
                return Poll::Ready(Err(NoHead::Io(refused.unwrap_or(read))));
            }
            match reader.read(buffer.filled(), &self.peer.authority) {
                Ok(None) => {}
                Ok(Some((head, length, bytes))) => {
                    self.incoming = bytes;
                    self.turn = Turn::Answered(Box::new(head), length);
                    return Poll::Ready(Ok(()));
                }
                Err(error) => return Poll::Ready(Err(NoHead::Unreadable(error))),
            }
        }
    }

    /// Puts another head before what has come of the body: mostly there is room where the head was.
    fn replace_head(&mut self, length: usize, head: &str) {
        match length.checked_sub(head.len()) {
            Some(spare) => {
                self.incoming.advance(spare);
                self.incoming[..head.len()].copy_from_slice(head.as_bytes());
            }
            None => {
                let body = self.incoming.split_off(length);
                self.incoming = BytesMut::from(head);
                self.incoming.unsplit(body);
            }
        }
    }

    /// What a write comes to. One that the peer refuses is passed off as done, and so is one that it leaves lying because it has
    /// answered already: the answer is read next, and where there is none, reading ends with the error that writing had.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        done: T,
    ) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(Err(error)) if is_refusal(&error) => {
                self.refused = Some(error.kind());
                Poll::Ready(Ok(done))
            }
            Poll::Pending if matches!(self.poll_head(cx), Poll::Ready(Ok(()))) => {
                self.refused = Some(io::ErrorKind::ConnectionAborted);
                Poll::Ready(Ok(done))
            }
            other => other,
        }
    }
}

/// Whether the peer takes no more; other errors are of our own making.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset
    )
}

trait ReadWrite: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> ReadWrite for T {}

impl Socket {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    /// What is read from and written to.
    fn io(&mut self) -> Pin<&mut dyn ReadWrite> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp),
            Self::Tls(tls) => Pin::new(tls),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        if state.refused.is_some() {
            return Poll::Ready(Ok(bytes.len()));
        }
        if let Turn::Idle { .. } | Turn::Body = state.turn {
            state.turn = Turn::Head(Box::default());
            state.requests += 1;
            // The codec writes a head as a whole.
            state.date = added_date(bytes);
        }
        let Some(socket) = &mut state.socket else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let written = match state.date {
            None => socket.io().poll_write(cx, bytes),
            Some(at) => {
                let around = [&bytes[..at], &bytes[at + DATE_BYTES..]].map(IoSlice::new);
                let written = socket.io().poll_write_vectored(cx, &around);
                written.map_ok(|count| {
                    state.date = at.checked_sub(count).filter(|left| *left > 0);
                    count + state.date.map_or(DATE_BYTES, |_| 0)
                })
            }
        };
        state.written(cx, written, bytes.len())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state.borrow_mut();
        let flushed = match &mut state.socket {
            Some(socket) => socket.io().poll_flush(cx),
            None => return Poll::Ready(Ok(())),
        };
        match state.refused {
            Some(_) => Poll::Ready(Ok(())),
            None => state.written(cx, flushed, ()),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state.borrow_mut().socket {
            Some(socket) => socket.io().poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        if let Turn::Head(_) | Turn::Answered(..) = state.turn {
            match ready!(state.poll_head(cx)) {
                Ok(()) => {}
                Err(NoHead::Io(read)) => {
                    let is_silent = matches!(&state.turn, Turn::Head(reader) if reader.is_empty());
                    self.tell(Outcome {
                        is_stale: is_silent && state.requests > 1,
                        ..Outcome::default()
                    });
                    return Poll::Ready(read);
                }
                Err(NoHead::Unreadable(error)) => {
                    self.tell(Outcome {
                        failure: Some(error),
                        ..Outcome::default()
                    });
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
            }
        }
        if let Turn::Answered(..) = state.turn
            && let Turn::Answered(head, length) = mem::replace(&mut state.turn, Turn::Body)
        {
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                state.turn = Turn::Switched;
            }
            state.replace_head(length, &head.for_codec(state.refused.is_some()));
            self.tell(Outcome {
                head: Some(head),
                connection: Some(self.handle()),
                ..Outcome::default()
            });
        }
        let filled = buffer.filled().len();
        let read = match &mut state.socket {
            _ if !state.incoming.is_empty() => {
                let bytes = state.incoming.len().min(buffer.remaining());
                buffer.put_slice(&state.incoming[..bytes]);
                state.incoming.advance(bytes);
                Poll::Ready(Ok(()))
            }
            Some(socket) => socket.io().poll_read(cx, buffer),
            None => Poll::Ready(Ok(())),
        };
        // A pool looks at it before it is used again.
        if let Turn::Idle { .. } = state.turn
            && buffer.filled().len() > filled
        {
            let peer = &state.peer.authority;
            tracing::debug!(%peer, "what came on an idle connection is no answer, so it is closed");
        }
        read
    }
}

impl ActixStream for Connection {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        match &self.state.borrow().socket {
            Some(socket) => socket
                .tcp()
                .poll_read_ready(cx)
                .map_ok(|()| Ready::READABLE),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        match &self.state.borrow().socket {
            Some(socket) => socket
                .tcp()
                .poll_write_ready(cx)
                .map_ok(|()| Ready::WRITABLE),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}
