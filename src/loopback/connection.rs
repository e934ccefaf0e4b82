//! One connection: reads requests, carries out the steps of the answers, and notices when the client is gone.

use std::{io, time::Duration};

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
    plan::{Surroundings, plan, plan_refusal},
    records::{CloseKind, ConnectionId, RecordedRequest, Side},
    request::{Refusal, RequestHead, take_head},
    shared::{Shared, Stop, told_to_stop},
};

/// The most bytes that are read ahead while an answer is sent: what a client may send before it has its answer. A
/// client that sends more is not watched for closing any more, as that would be seen only behind what it sends.
const MAX_READ_AHEAD_BYTES: usize = 1 << 20;
/// How long the server reads on after it has closed its side, and how much. A socket dropped with unread bytes sends
/// RST, which would overtake the answer.
const LINGER: Duration = Duration::from_secs(1);
const MAX_LINGER_BYTES: usize = 4 << 20;
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
}

/// What the client sent next.
enum Received {
    /// A whole request.
    Request(RequestHead, Bytes),
    /// Something that cannot be understood.
    Refused(Refusal),
    /// Nothing more.
    ClientGone(CloseKind),
}

/// Serves a connection until a side closes it, or the server stops.
pub(super) async fn serve(
    mut stream: TcpStream,
    id: ConnectionId,
    shared: &Shared,
    mut stop: watch::Receiver<Option<Stop>>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(connection = %id, %error, "pieces may arrive together");
    }
    let served = {
        let mut connection = Connection {
            id,
            shared,
            stream: &mut stream,
            read: BytesMut::new(),
        };
        tokio::select! {
            biased;
            stop = told_to_stop(&mut stop) => Err(stop),
            sent = connection.run() => Ok(sent),
        }
    };
    match served {
        Ok(Sent::Closing(CloseKind::Fin) | Sent::Whole) => {
            close(&mut stream, id, shared, &mut stop).await;
        }
        Ok(Sent::Closing(CloseKind::Reset)) | Err(Stop::Reset) => {
            if let Err(error) = stream.set_zero_linger() {
                debug!(connection = %id, %error, "the connection ends with FIN instead of RST");
            }
            shared.records.closed(id, Side::Server, CloseKind::Reset);
        }
        Ok(Sent::ClientGone(kind)) => shared.records.closed(id, Side::Client, kind),
        Err(Stop::Close) => {
            // Only starts to close; nobody waits for what the client still sends.
            let _ = timeout(Duration::ZERO, stream.shutdown()).await;
            shared.records.closed(id, Side::Server, CloseKind::Fin);
        }
    }
    debug!(connection = %id, "closed");
}

/// Closes with FIN, and reads on for a while so that it stays that.
async fn close(
    stream: &mut TcpStream,
    id: ConnectionId,
    shared: &Shared,
    stop: &mut watch::Receiver<Option<Stop>>,
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
        _ = timeout(LINGER, drain) => {}
    }
}

struct Connection<'a> {
    id: ConnectionId,
    shared: &'a Shared,
    stream: &'a mut TcpStream,
    /// What has been read and not yet been understood.
    read: BytesMut,
}

impl Connection<'_> {
    async fn run(&mut self) -> Sent {
        loop {
            let steps = match self.receive().await {
                Received::ClientGone(kind) => return Sent::ClientGone(kind),
                Received::Refused(refusal) => {
                    debug!(connection = %self.id, status = %refusal.status, refusal.message, "request refused");
                    plan_refusal(&refusal)
                }
                Received::Request(head, body) => {
                    let surroundings = Surroundings::new(&head, self.shared.stream_pace);
                    let mut request = self.recorded(head, body);
                    self.shared.records.requested(&mut request);
                    debug!(connection = %self.id, request = request.number, method = %request.method,
                        path = request.path, body_bytes = request.body.len(), "request");
                    plan(self.shared.script.next_reply(), &request, surroundings)
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
        let (head, mut body) = loop {
            match take_head(&mut self.read) {
                Ok(Some(request)) => break request,
                Ok(None) => {}
                Err(refusal) => return Received::Refused(refusal),
            }
            // A head ends with a line; not looking before one has ended keeps a byte-wise client from costing the
            // square of its bytes.
            loop {
                let seen = self.read.len();
                if let Err(kind) = self.read_more().await {
                    return Received::ClientGone(kind);
                }
                if self.read[seen..].contains(&b'\n')
                    || self.read.len() > super::request::MAX_REQUEST_HEAD_BYTES
                {
                    break;
                }
            }
        };
        let mut owes_continue = head.expects_continue;
        loop {
            match body.take(&mut self.read) {
                Ok(Some(body)) => return Received::Request(head, body),
                Ok(None) => {}
                Err(refusal) => return Received::Refused(refusal),
            }
            if std::mem::take(&mut owes_continue) {
                if self.stream.write_all(CONTINUE).await.is_err() {
                    return Received::ClientGone(CloseKind::Reset);
                }
                self.shared.records.written(self.id, CONTINUE.len());
            }
            if let Err(kind) = self.read_more().await {
                return Received::ClientGone(kind);
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
        let (records, id) = (&self.shared.records, self.id);
        let client_gone = until_closed(&mut read_half, &mut self.read);
        tokio::pin!(client_gone);
        let mut write = async |bytes: &[u8]| {
            // Piece by piece, so that the record is right also where the client stops reading.
            let mut left = bytes;
            while !left.is_empty() {
                match write_half.write(left).await {
                    Ok(length @ 1..) => {
                        records.written(id, length);
                        left = &left[length..];
                    }
                    Ok(0) | Err(_) => return Err(CloseKind::Reset),
                }
            }
            Ok(())
        };
        let sending = async {
            for step in steps {
                match step {
                    Step::Write(bytes) => write(&bytes).await.map_err(Sent::ClientGone)?,
                    Step::Wait(duration) => sleep(duration).await,
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
                            write(&bytes).await.map_err(Sent::ClientGone)?;
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
