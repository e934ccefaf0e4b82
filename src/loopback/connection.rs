//! One connection: reads requests, carries out the steps of the answers, and notices when the client is gone.

use std::{future::ready, io, pin::pin, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp::ReadHalf},
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::debug;

use super::{
    layout::Step,
    plan::{plan, plan_refusal},
    records::{CloseKind, ConnectionId, RecordedRequest, Side},
    request::{BodyReader, Refusal, RequestHead, take_head},
    shared::{Shared, Stop, told_to_stop},
    waiting::Awaited,
};

/// The most bytes that are read ahead while an answer is sent: what a client may send before it has its answer. A
/// client that sends more is not watched for closing any more, as that would be seen only behind what it sends.
const MAX_READ_AHEAD_BYTES: usize = 1 << 20;
/// How long the server reads on after it has closed its side, and how much. A socket dropped with unread bytes sends
/// RST, which would overtake the answer.
const LINGER: Duration = Duration::from_secs(1);
const MAX_LINGER_BYTES: usize = 4 << 20;
/// The same for one that was refused: there is no room for it.
const LINGER_OF_REFUSED: Duration = Duration::from_millis(100);
/// The least time between two comments: what tokio's timers can tell apart.
const MIN_COMMENT_INTERVAL: Duration = Duration::from_millis(1);
/// How much is read at a time.
const READ_BYTES: usize = 16 << 10;

/// The leave to send a body.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How a connection goes on, or ends.
#[derive(Debug, Eq, PartialEq)]
enum Sent {
    /// The answer is out; the next request may come.
    Whole,
    /// The server closes the connection.
    Closing(CloseKind),
    /// The client closed it.
    ClientGone(CloseKind),
    /// Nothing is on its way, and another connection needs the room.
    Idle,
    /// The client does not read, and another connection needs the room.
    NoRoom,
}

/// What the client sent next.
enum Received {
    /// A whole request.
    Request(RequestHead, Bytes),
    /// Something that cannot be understood.
    Refused(Refusal),
    /// Nothing more.
    ClientGone(CloseKind),
    /// Nothing, and another connection needs the room.
    Idle,
}

/// Serves a connection until a side closes it, or the server stops; with a refusal, it is sent that and closed.
pub(super) async fn serve(
    mut stream: TcpStream,
    id: ConnectionId,
    shared: &Shared,
    mut stop: watch::Receiver<Option<Stop>>,
    refusal: Option<Refusal>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(connection = %id, %error, "pieces may arrive together");
    }
    let linger = match refusal {
        Some(_) => LINGER_OF_REFUSED,
        None => LINGER,
    };
    let served = {
        let mut connection = Connection {
            id,
            shared,
            stream: &mut stream,
            read: BytesMut::new(),
            awaited: Awaited::FirstRequest,
        };
        tokio::select! {
            biased;
            stop = told_to_stop(&mut stop) => Err(stop),
            sent = connection.run(refusal) => Ok(sent),
        }
    };
    match served {
        Ok(Sent::Closing(CloseKind::Fin) | Sent::Whole) => {
            close(&mut stream, id, shared, &mut stop, linger).await;
        }
        Ok(Sent::Closing(CloseKind::Reset)) => {
            tokio::select! {
                _ = told_to_stop(&mut stop) => {}
                sent = timeout(linger, all_is_sent(&stream)) => if !matches!(sent, Ok(Ok(()))) {
                    debug!(connection = %id, ?sent, "the reset may take with it what was written before");
                }
            }
            reset(&stream, id, shared);
        }
        Ok(Sent::NoRoom) | Err(Stop::Reset) => reset(&stream, id, shared),
        Ok(Sent::ClientGone(kind)) => shared.records.closed(id, Side::Client, kind),
        Ok(Sent::Idle) | Err(Stop::Close) => {
            // Only starts to close; nobody waits for what the client still sends.
            let _ = timeout(Duration::ZERO, stream.shutdown()).await;
            shared.records.closed(id, Side::Server, CloseKind::Fin);
        }
    }
    debug!(connection = %id, "closed");
}

/// Closes with RST as soon as the stream is dropped.
fn reset(stream: &TcpStream, id: ConnectionId, shared: &Shared) {
    if let Err(error) = stream.set_zero_linger() {
        debug!(connection = %id, %error, "the connection ends with FIN instead of RST");
    }
    shared.records.closed(id, Side::Server, CloseKind::Reset);
}

/// Waits until the system has sent all that was written: a reset throws away what it still holds back, which are all but the first
/// ten of many small pieces, or all that a slow reader has no room for.
#[cfg(any(target_os = "android", target_os = "linux"))]
async fn all_is_sent(stream: &TcpStream) -> io::Result<()> {
    use std::os::fd::AsFd as _;

    // A socket is writable now when nothing waits to be sent. What is known of it from before does not count, so it is watched
    // anew.
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(1)?;
    let socket = stream.as_fd().try_clone_to_owned()?;
    TcpStream::from_std(socket.into())?.writable().await
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
async fn all_is_sent(_: &TcpStream) -> io::Result<()> {
    Ok(())
}

/// Closes with FIN, and reads on for a while so that it stays that.
async fn close(
    stream: &mut TcpStream,
    id: ConnectionId,
    shared: &Shared,
    stop: &mut watch::Receiver<Option<Stop>>,
    linger: Duration,
) {
    if let Err(error) = stream.shutdown().await {
        debug!(connection = %id, %error, "the client was faster");
    }
    shared.records.closed(id, Side::Server, CloseKind::Fin);
    let drain = async {
        let mut left = MAX_LINGER_BYTES;
        let mut discarded = BytesMut::with_capacity(READ_BYTES);
        while let Ok(length @ 1..) = stream.read_buf(&mut discarded).await {
            discarded.clear();
            left = left.saturating_sub(length);
            if left == 0 {
                break;
            }
        }
    };
    tokio::select! {
        _ = told_to_stop(stop) => {}
        _ = timeout(linger, drain) => {}
    }
}

struct Connection<'a> {
    id: ConnectionId,
    shared: &'a Shared,
    stream: &'a mut TcpStream,
    /// What has been read and not yet been understood.
    read: BytesMut,
    /// Which request is the next.
    awaited: Awaited,
}

impl Connection<'_> {
    async fn run(&mut self, refusal: Option<Refusal>) -> Sent {
        if let Some(refusal) = refusal {
            return self.send(plan_refusal(&refusal)).await;
        }
        loop {
            let steps = match self.receive().await {
                Received::ClientGone(kind) => return Sent::ClientGone(kind),
                Received::Idle => return Sent::Idle,
                Received::Refused(refusal) => {
                    debug!(connection = %self.id, status = %refusal.status, message = &*refusal.message, "request refused");
                    plan_refusal(&refusal)
                }
                Received::Request(head, body) => {
                    let client = head.client;
                    let mut request = self.recorded(head, body);
                    self.shared.records.requested(&mut request);
                    debug!(connection = %self.id, request = request.number, method = %request.method,
                        path = request.path, body_bytes = request.body.len(), "request");
                    plan(
                        self.shared.script.next_reply(&request),
                        &request,
                        client,
                        self.shared.stream_pace,
                        &self.shared.answers,
                    )
                }
            };
            match self.send(steps).await {
                Sent::Whole => {}
                end => return end,
            }
        }
    }

    fn recorded(&self, head: RequestHead, body: Bytes) -> RecordedRequest {
        RecordedRequest {
            number: 0,
            connection: self.id,
            at: std::time::Instant::now(),
            method: head.method,
            path: head.path,
            query: head.query,
            headers: head.headers,
            body,
        }
    }

    async fn receive(&mut self) -> Received {
        if self.read.is_empty() {
            let mut place = self.shared.waiting.enter(self.awaited);
            tokio::select! {
                biased;
                () = place.must_leave() => return Received::Idle,
                read = self.read_more() => if let Err(kind) = read {
                    return Received::ClientGone(kind);
                },
            }
        }
        self.awaited = Awaited::NextRequest;
        let limit = self.shared.request_timeout;
        let (head, body) = match timeout(limit, self.head()).await {
            Ok(Ok(head)) => head,
            Ok(Err(received)) => return received,
            Err(_) => {
                return Received::Refused(Refusal::late(
                    "The head of the request did not come",
                    limit,
                ));
            }
        };
        self.body(head, body)
            .await
            .unwrap_or_else(|received| received)
    }

    async fn head(&mut self) -> Result<(RequestHead, BodyReader), Received> {
        loop {
            if let Some(request) = take_head(&mut self.read).map_err(Received::Refused)? {
                return Ok(request);
            }
            // A head ends with a line; not looking before one has ended keeps a byte-wise client from costing the
            // square of its bytes.
            loop {
                let seen = self.read.len();
                self.read_more().await.map_err(Received::ClientGone)?;
                if self.read[seen..].contains(&b'\n')
                    || self.read.len() > super::request::MAX_REQUEST_HEAD_BYTES
                {
                    break;
                }
            }
        }
    }

    async fn body(
        &mut self,
        head: RequestHead,
        mut body: BodyReader,
    ) -> Result<Received, Received> {
        let mut owes_continue = head.expects_continue;
        let limit = self.shared.request_timeout;
        loop {
            if let Some(body) = body.take(&mut self.read).map_err(Received::Refused)? {
                return Ok(Received::Request(head, body));
            }
            if std::mem::take(&mut owes_continue) {
                if self.stream.write_all(CONTINUE).await.is_err() {
                    return Err(Received::ClientGone(CloseKind::Reset));
                }
                self.shared.records.written(self.id, CONTINUE.len());
            }
            match timeout(limit, self.read_more()).await {
                Ok(read) => read.map_err(Received::ClientGone)?,
                Err(_) => {
                    let refusal = Refusal::late("No more of the request's body came", limit);
                    return Err(Received::Refused(refusal));
                }
            }
        }
    }

    async fn read_more(&mut self) -> Result<(), CloseKind> {
        self.read.reserve(READ_BYTES);
        closed_by(self.stream.read_buf(&mut self.read).await)
    }

    /// Carries out the steps, until the client closes the connection.
    async fn send(&mut self, steps: Vec<Step>) -> Sent {
        let (mut read_half, mut write_half) = self.stream.split();
        let (shared, id) = (self.shared, self.id);
        let (records, waiting, answers) = (&shared.records, &shared.waiting, &shared.answers);
        let client_gone = until_closed(&mut read_half, &mut self.read);
        tokio::pin!(client_gone);
        let mut write = async |bytes: &[u8]| {
            // Piece by piece, so that the record is right also where the client stops reading.
            let mut left = bytes;
            while !left.is_empty() {
                let mut writing = pin!(write_half.write(left));
                let written = tokio::select! {
                    biased;
                    written = &mut writing => written,
                    () = ready(()) => {
                        let mut place = waiting.enter(Awaited::Reader);
                        tokio::select! {
                            biased;
                            () = place.must_leave() => return Err(Sent::NoRoom),
                            written = writing => written,
                        }
                    }
                };
                match written {
                    Ok(length @ 1..) => {
                        records.written(id, length);
                        left = &left[length..];
                    }
                    Ok(0) | Err(_) => return Err(Sent::ClientGone(CloseKind::Reset)),
                }
            }
            Ok(())
        };
        let sending = async {
            for step in steps {
                match step {
                    Step::Write(bytes) => write(&bytes).await?,
                    Step::Wait(duration) => sleep(duration).await,
                    Step::Check(id) if answers.is_cancelled(&id) => {
                        return Err(Sent::Closing(CloseKind::Fin));
                    }
                    Step::Check(_) => {}
                    Step::Comments {
                        bytes,
                        every,
                        lasting,
                    } => {
                        let started = Instant::now();
                        let every = every.max(MIN_COMMENT_INTERVAL);
                        let mut left = lasting
                            .map_or(u128::MAX, |lasting| lasting.as_nanos() / every.as_nanos());
                        while left > 0 {
                            sleep(every).await;
                            write(&bytes).await?;
                            left -= 1;
                        }
                        sleep(
                            lasting
                                .unwrap_or_default()
                                .saturating_sub(started.elapsed()),
                        )
                        .await;
                    }
                    Step::Hang => std::future::pending().await,
                    Step::Cut => return Err(Sent::Closing(CloseKind::Fin)),
                    Step::Reset => return Err(Sent::Closing(CloseKind::Reset)),
                }
            }
            Ok(())
        };
        tokio::select! {
            biased;
            kind = &mut client_gone => Sent::ClientGone(kind),
            sent = sending => match sent {
                Ok(()) => Sent::Whole,
                Err(end) => end,
            },
        }
    }
}

/// Reads ahead until the client closes the connection.
async fn until_closed(read_half: &mut ReadHalf<'_>, read: &mut BytesMut) -> CloseKind {
    while read.len() < MAX_READ_AHEAD_BYTES {
        read.reserve(READ_BYTES);
        if let Err(kind) = closed_by(read_half.read_buf(read).await) {
            return kind;
        }
    }
    std::future::pending().await
}

/// What a read says about the client: nothing, or that it is gone.
fn closed_by(read: io::Result<usize>) -> Result<(), CloseKind> {
    match read {
        Ok(0) => Err(CloseKind::Fin),
        Ok(_) => Ok(()),
        Err(_) => Err(CloseKind::Reset),
    }
}
