//! The embedded provider: a real HTTP server on loopback, which does with each request what a script says.
//!
//! It answers by default with a short stream of reasoning and text, and with a call of a function where the request asks for
//! one, and what it says depends on nothing but the request. So the command works without a key; tests get every fault that a network and a provider are
//! capable of, between any two bytes; and a program can be tried out against a provider that misbehaves on purpose.
//!
//! ```
//! use actix_responses::loopback::{Loopback, LoopbackOptions, Reply, Script};
//! use http::StatusCode;
//!
//! let mut options = LoopbackOptions::default();
//! options.script = Script::new([
//!     Reply::error(StatusCode::TOO_MANY_REQUESTS).with_header("retry-after", "1"),
//!     Reply::default().cut_after_events(5),
//! ]);
//! let loopback = Loopback::start(options)?;
//! println!("ask {}/responses", loopback.base_url());
//! # Ok::<(), actix_responses::loopback::LoopbackError>(())
//! ```
//!
//! It is written by hand over a socket, because the servers that exist are built to prevent what this one is for: they
//! do not stop inside of a head or a chunk, leave a chunked body without an end, send RST, or say when exactly the
//! client closed. It is for tests and for trying things out, on the same machine only; it is no server for production,
//! and half-closed connections are one thing it does not support: a client that closes its side is taken to be gone.
//!
//! From a request to the bytes: `request` reads it, `script` says which [`Reply`] it gets, `routes`, `answers` and the `answer`
//! files make the default one, `plan` and `layout` make steps of it, `connection` carries them out, and `records` keeps
//! what happened. `server` is the thread that all of it runs on; `waiting` knows who makes room for whom.

#![expect(
    clippy::disallowed_methods,
    reason = "what is on record is told in real time: the server runs on a runtime of its own, whose clock no test pauses"
)]

mod answer;
mod answer_compact;
mod answers;
mod asked;
mod connection;
mod event;
mod example;
mod layout;
mod plan;
mod records;
mod reply;
mod request;
mod routes;
mod script;
mod script_fields;
mod server;
mod shared;
mod waiting;

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use thiserror::Error;
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
};
use tracing::{error, info};

pub use self::{
    answer::{AnsweredCall, DefaultAnswer},
    event::{OutgoingEvent, sse_text},
    records::{CloseKind, ConnectionClose, ConnectionId, ConnectionRecord, RecordedRequest, Side},
    reply::{Action, Chunks, Fault, Framing, Position, Reply, ReplyBody},
    script::{AfterReplies, Script, ScriptError},
};
use self::{
    answers::Answers,
    records::Records,
    script::ScriptCursor,
    shared::{Shared, Stop},
    waiting::Waiting,
};

/// What a loopback server is to do, and where. The default gives default answers on any free port, at full speed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoopbackOptions {
    /// The port; 0 is any free one.
    pub port: u16,
    /// The addresses of this machine's loopback that are listened on, all with the same port; by default 127.0.0.1 alone.
    pub addresses: Vec<IpAddr>,
    /// What to do with each request.
    pub script: Script,
    /// The time between two events of a stream whose reply names none. Something like 25 ms lets a person see it
    /// streaming.
    pub pace: Duration,
    /// The most connections at a time, by default 4,096. For a further one another is closed, of those that wait for their client:
    /// first for its next request, then, after a second, for its first, and after [`request_timeout`](Self::request_timeout) for it to
    /// read on. Where there is none, the further one is answered with 503 and closed.
    pub max_connections: usize,
    /// How long the head of a request may take from its first byte on, and how long its body may stand still, before it is answered
    /// with 408; by default 30 s.
    pub request_timeout: Duration,
    /// Whether default answers call a function that is offered also where `tool_choice` leaves it open. By default they call one
    /// only when it is asked for.
    pub tool_calls: bool,
    /// Whether default answers have ids and times that are the same in each run; by default ids are of this server alone, and
    /// times are true.
    pub reproducible: bool,
}

with_fields!(LoopbackOptions {
    with_port(port: u16),
    with_addresses(addresses: Vec<IpAddr>),
    with_script(script: Script),
    with_pace(pace: Duration),
    with_max_connections(max_connections: usize),
    with_request_timeout(request_timeout: Duration),
    with_tool_calls(tool_calls: bool),
    with_reproducible(reproducible: bool),
});

impl Default for LoopbackOptions {
    fn default() -> Self {
        Self {
            port: 0,
            addresses: vec![Ipv4Addr::LOCALHOST.into()],
            script: Script::default(),
            pace: Duration::ZERO,
            max_connections: 4096,
            request_timeout: Duration::from_secs(30),
            tool_calls: false,
            reproducible: false,
        }
    }
}

/// Says why a loopback server did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoopbackError {
    /// The port cannot be listened on; usually because something else does. Another port may be free.
    #[error("listening on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused a thread, or what a runtime needs.
    #[error("starting the loopback server's thread")]
    Thread(#[source] io::Error),
    /// A file that the script names cannot be read.
    #[error("loading the script of the loopback server")]
    Script(#[from] ScriptError),
}

/// A running loopback server.
///
/// It has a thread and a runtime of its own, so that it runs the same whatever the program around it does: it needs
/// no runtime to be started, goes on while a test's thread is blocked, and its clock is not paused by tests.
///
/// Dropping it is [`stop`](Self::stop).
pub struct Loopback {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<Option<Stop>>,
    thread: Option<JoinHandle<()>>,
}

impl Loopback {
    /// Starts a server. When this returns, connections to it are accepted.
    ///
    /// # Errors
    ///
    /// When the port is taken, a file that the script names cannot be read, or the system has no thread left.
    pub fn start(options: LoopbackOptions) -> Result<Self, LoopbackError> {
        let mut script = options.script;
        script.load_files(Path::new(""))?;
        let (listeners, address) = listen(&options.addresses, options.port)?;

        let shared = Arc::new(Shared {
            records: Records::default(),
            answers: Answers::new(options.reproducible, options.tool_calls),
            script: ScriptCursor::new(script),
            stream_pace: options.pace,
            max_connections: options.max_connections.max(1),
            request_timeout: options.request_timeout,
            waiting: Waiting::new(options.request_timeout),
        });
        let (stop, stopped) = watch::channel(None);
        let server = (listeners, Arc::clone(&shared), stopped);
        let (started, has_started) = mpsc::channel();
        // The runtime is made, and dropped, on a thread that is in none.
        let thread = thread::Builder::new()
            .name("loopback".to_owned())
            .spawn(move || match runtime_for(&server.0) {
                Ok(runtime) => {
                    let (listeners, shared, stopped) = server;
                    // Who waits for it is told in any case.
                    let _ = started.send(Ok(()));
                    if let Err(error) = runtime.block_on(server::run(listeners, shared, stopped)) {
                        error!(%error, "the loopback server failed");
                    }
                }
                Err(error) => drop(started.send(Err(error))),
            })
            .map_err(LoopbackError::Thread)?;
        let has_started = has_started.recv();
        has_started
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(LoopbackError::Thread)?;
        info!(%address, "loopback server started");
        Ok(Self {
            address,
            shared,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it listens; the first of its addresses.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a client is given as the provider's base URL, such as `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The requests that came in whole, oldest first; the latest 4,096 of them, or fewer when
    /// their bodies have more than 64 MiB together.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.records.requests()
    }

    /// How many requests came in whole, those that are no longer on record included.
    pub fn request_count(&self) -> u64 {
        self.shared.records.request_count()
    }

    /// The connections, oldest first: all that are open, and the latest 4,096 that are not.
    pub fn connections(&self) -> Vec<ConnectionRecord> {
        self.shared.records.connections()
    }

    /// One connection, if it is on record.
    pub fn connection(&self, id: ConnectionId) -> Option<ConnectionRecord> {
        self.shared.records.connection(id)
    }

    /// How many connections are open. One that the server has closed does not count, although it may read on for a
    /// moment.
    pub fn open_connections(&self) -> usize {
        self.shared.records.open_connections()
    }

    /// Waits until a connection has been closed, by either side. The connection need not have been accepted yet.
    ///
    /// Gives nothing when that is so long ago that it is no longer on record. There is no deadline; a caller that wants
    /// one wraps this in a timeout.
    pub async fn connection_closed(&self, id: ConnectionId) -> Option<ConnectionClose> {
        let records = &self.shared.records;
        records.until(|| self.closed_or_forgotten(id)).await
    }

    /// Does the same as [`connection_closed`](Self::connection_closed), blocking the thread for at most so long. Gives
    /// nothing also when that time is over.
    pub fn wait_for_close(&self, id: ConnectionId, patience: Duration) -> Option<ConnectionClose> {
        let records = &self.shared.records;
        records.block_until(patience, || self.closed_or_forgotten(id))?
    }

    fn closed_or_forgotten(&self, id: ConnectionId) -> Option<Option<ConnectionClose>> {
        // Asked for first: it may be accepted in between.
        let is_accepted = self.shared.records.has_accepted(id);
        match self.connection(id) {
            Some(record) => record.closed.map(Some),
            None => is_accepted.then_some(None),
        }
    }

    /// Waits until something is so. The condition is looked at now, and whenever a connection is accepted or closed, a
    /// request has come in, or bytes have gone out.
    pub async fn until(&self, mut condition: impl FnMut(&Self) -> bool) {
        let records = &self.shared.records;
        records.until(|| condition(self).then_some(())).await;
    }

    /// Does the same as [`until`](Self::until), blocking the thread for at most so long, and says whether it became so.
    pub fn wait_until(&self, patience: Duration, mut condition: impl FnMut(&Self) -> bool) -> bool {
        let records = &self.shared.records;
        records
            .block_until(patience, || condition(self).then_some(()))
            .is_some()
    }

    /// Stops it: the port is free and every connection closed, with FIN, when this returns.
    pub fn stop(mut self) {
        self.end(Stop::Close);
    }

    /// Stops it the hard way: the port is free and every connection reset, with RST, when this returns.
    pub fn kill(mut self) {
        self.end(Stop::Reset);
    }

    fn end(&mut self, how: Stop) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        self.stop.send_replace(Some(how));
        if thread.join().is_err() {
            error!(address = %self.address, "the loopback server panicked");
        }
        info!(address = %self.address, "loopback server stopped");
    }
}

/// How many free ports are tried before one has to be free on all addresses.
const MAX_PORTS_TRIED: usize = 16;

/// Listens on all addresses with the same port; gives the first of them.
fn listen(
    addresses: &[IpAddr],
    port: u16,
) -> Result<(Vec<TcpListener>, SocketAddr), LoopbackError> {
    let first = addresses.first().copied();
    let first = first.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let others = addresses.get(1..).unwrap_or_default();
    let mut tried = 1;
    loop {
        let (listener, at) = listen_at(SocketAddr::new(first, port))?;
        let others = others
            .iter()
            .map(|other| listen_at(SocketAddr::new(*other, at.port())));
        match others.collect::<Result<Vec<_>, _>>() {
            Ok(others) => {
                let others = others.into_iter().map(|(listener, _)| listener);
                return Ok((std::iter::once(listener).chain(others).collect(), at));
            }
            Err(_) if port == 0 && tried < MAX_PORTS_TRIED => tried += 1,
            Err(error) => return Err(error),
        }
    }
}

fn listen_at(address: SocketAddr) -> Result<(TcpListener, SocketAddr), LoopbackError> {
    let listening = || {
        if !address.ip().is_loopback() {
            let message = "this is no address of the machine's loopback";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listening().map_err(|source| LoopbackError::Listen { address, source })
}

/// The server's runtime, where there are enough open files for it, for a connection, and for the file that is spared to say that
/// there are too few for another.
fn runtime_for(listeners: &[TcpListener]) -> io::Result<Runtime> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let files = listeners.iter().take(1).cycle().take(2);
    files
        .map(TcpListener::try_clone)
        .collect::<io::Result<Vec<_>>>()?;
    Ok(runtime)
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.end(Stop::Close);
    }
}

impl fmt::Debug for Loopback {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Loopback")
            .field("address", &self.address)
            .field("requests", &self.request_count())
            .field("open_connections", &self.open_connections())
            .finish_non_exhaustive()
    }
}
