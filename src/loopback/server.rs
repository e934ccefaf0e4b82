//! The server's thread: accepts connections, and ends them all when it is told to stop.

use std::{io, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::sleep};
use tracing::{debug, error, warn};

use super::{
    connection::serve,
    shared::{Shared, Stop, told_to_stop},
};

/// The pause after an accept that failed, as it does for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts and serves connections until it is told to stop; then ends them, and returns when they have ended.
pub(super) async fn run(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<Option<Stop>>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    let stop_of_connections = stop.clone();
    loop {
        let is_full = connections.len() >= shared.max_connections;
        tokio::select! {
            biased;
            _ = told_to_stop(&mut stop) => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    error!(%error, "a connection's task failed");
                }
            }
            accepted = listener.accept(), if !is_full => match accepted {
                Ok((stream, peer)) => {
                    let id = shared.records.accepted(peer);
                    debug!(connection = %id, %peer, "accepted");
                    if connections.len() + 1 == shared.max_connections {
                        warn!(limit = shared.max_connections, "further connections wait until one is closed");
                    }
                    let (shared, stop) = (Arc::clone(&shared), stop_of_connections.clone());
                    connections.spawn(async move { serve(stream, id, &shared, stop).await });
                }
                Err(error) => {
                    warn!(%error, "accepting a connection failed");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    // First the listener, so that nobody connects to a server that is going away.
    drop(listener);
    while connections.join_next().await.is_some() {}
    Ok(())
}
