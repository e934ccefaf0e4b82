//! The server's thread: accepts connections, and ends them all when it is told to stop.

use std::{future::poll_fn, io, net::SocketAddr, sync::Arc, task::Poll, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinError, JoinSet},
    time::{Instant, sleep},
};
use tracing::{debug, error, warn};

use super::{
    connection::serve,
    request::Refusal,
    shared::{Shared, Stop, told_to_stop},
};
use crate::files;

/// The pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long the log says no more of connections that there is no room for.
const REPORT_PAUSE: Duration = Duration::from_secs(10);
/// The most connections that are being refused at a time; further ones wait, unaccepted, for the moment that it takes.
const MAX_REFUSED: usize = 64;

/// Accepts and serves connections until it is told to stop; then ends them, and returns when they have ended.
pub(super) async fn run(
    listeners: Vec<std::net::TcpListener>,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<Option<Stop>>,
) -> io::Result<()> {
    let listeners = listeners.into_iter().map(TcpListener::from_std);
    let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
    let mut server = Server {
        spare: spare_file(&listeners),
        stop: stop.clone(),
        shared,
        served: JoinSet::new(),
        refused: JoinSet::new(),
        reported: None,
    };
    loop {
        let can_accept = server.refused.len() < MAX_REFUSED;
        tokio::select! {
            biased;
            _ = told_to_stop(&mut stop) => break,
            Some(ended) = server.served.join_next() => look_at(ended),
            Some(ended) = server.refused.join_next() => look_at(ended),
            accepted = accept(&listeners), if can_accept => match accepted {
                Ok(accepted) => server.accepted(accepted),
                Err(error) => server.not_accepted(&error, &listeners).await,
            },
        }
        if server.spare.is_none() && server.refused.is_empty() {
            server.spare = spare_file(&listeners);
        }
    }
    // First the listeners, so that nobody connects to a server that is going away.
    server.spare = None;
    drop(listeners);
    while server.served.join_next().await.is_some() {}
    while server.refused.join_next().await.is_some() {}
    Ok(())
}

async fn accept(listeners: &[TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|context| {
        let mut polled = listeners
            .iter()
            .map(|listener| listener.poll_accept(context));
        polled.find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}

fn look_at(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a connection's task failed");
    }
}

/// A file that is given up where there are too few, to accept a connection and say so.
#[cfg(unix)]
type Spare = std::os::fd::OwnedFd;
#[cfg(not(unix))]
type Spare = ();

#[cfg(unix)]
fn spare_file(listeners: &[TcpListener]) -> Option<Spare> {
    let listener = std::os::fd::AsFd::as_fd(listeners.first()?);
    listener.try_clone_to_owned().ok()
}
#[cfg(not(unix))]
fn spare_file(_: &[TcpListener]) -> Option<Spare> {
    None
}

struct Server {
    shared: Arc<Shared>,
    stop: watch::Receiver<Option<Stop>>,
    served: JoinSet<()>,
    refused: JoinSet<()>,
    spare: Option<Spare>,
    /// When the log last said that there is no room for a connection.
    reported: Option<Instant>,
}

impl Server {
    /// Serves a connection; where there are too many, one that waits for its client makes room, or else this one is refused.
    fn accepted(&mut self, accepted: (TcpStream, SocketAddr)) {
        let limit = self.shared.max_connections;
        if self.served.len() < limit || self.shared.waiting.make_room() {
            self.spawn(accepted, None);
            return;
        }
        self.report(&format!("there are {limit} already, the limit"));
        let message = format!(
            "The loopback provider has {limit} connections, and none that could be closed for another: raise `max_connections`."
        );
        self.spawn(accepted, Some(message));
    }

    fn report(&mut self, reason: &str) {
        if self.reported.is_none_or(|at| at.elapsed() >= REPORT_PAUSE) {
            warn!("there is no room for more connections: {reason}");
            self.reported = Some(Instant::now());
        }
    }

    /// Accepts with the spare file what can't be accepted for want of files, and says so to the client; it would wait for an
    /// answer otherwise. A connection that waits for its client is closed for it, if there is one.
    async fn not_accepted(&mut self, error: &io::Error, listeners: &[TcpListener]) {
        let Some(lacking) = files::local_limit(error) else {
            warn!(%error, "accepting a connection failed");
            return sleep(ACCEPT_PAUSE).await;
        };
        self.report(&lacking);
        if self.shared.waiting.make_room() {
            // It is closed before the next look.
            return tokio::task::yield_now().await;
        }
        let is_given_up = self.spare.take().is_some();
        tokio::select! {
            biased;
            accepted = accept(listeners), if is_given_up => if let Ok(accepted) = accepted {
                let message = format!("The loopback provider can't take the connection: {lacking}.");
                return self.spawn(accepted, Some(message));
            },
            () = std::future::ready(()) => {}
        }
        sleep(ACCEPT_PAUSE).await;
    }

    /// Serves a connection, or refuses it with a message.
    fn spawn(&mut self, (stream, peer): (TcpStream, SocketAddr), refusal: Option<String>) {
        let shared = Arc::clone(&self.shared);
        let id = shared.records.accepted(peer);
        debug!(connection = %id, %peer, "accepted");
        let stop = self.stop.clone();
        let tasks = match refusal {
            Some(_) => &mut self.refused,
            None => &mut self.served,
        };
        let refusal = refusal.map(Refusal::unavailable);
        tasks.spawn(async move { serve(stream, id, &shared, stop, refusal).await });
    }
}
