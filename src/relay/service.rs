//! The server of a relay: actix-web's, set so that clients who are slow, many or gone cost what is bounded.

use std::{io, net::TcpListener, time::Duration};

use actix_web::{
    App, HttpServer,
    dev::ServerHandle,
    web::{self, ServiceConfig},
};

use super::routes;

/// How long the head of a request may take, from its first byte or from when the connection was opened.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How long a connection lies still between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How many connections wait to be accepted.
const BACKLOG: u32 = 2048;

/// A relay that listens, until it is stopped. Dropping it stops nothing.
#[derive(Clone, Debug)]
pub struct Serving {
    handle: ServerHandle,
}

pub(super) fn start(
    listeners: Vec<TcpListener>,
    configure: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
    workers: usize,
    max_connections: usize,
) -> io::Result<Serving> {
    let workers = workers.max(1);
    let mut server = HttpServer::new(move || {
        App::new()
            .configure(&configure)
            .default_service(web::to(routes::unknown))
    })
    .workers(workers)
    .disable_signals()
    .shutdown_timeout(1)
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(HEAD_TIME)
    .max_connections(max_connections.div_ceil(workers))
    .backlog(BACKLOG)
    // A client that has closed its side has left.
    .h1_allow_half_closed(false);
    for listener in listeners {
        server = server.listen(listener)?;
    }
    let server = server.run();
    let handle = server.handle();
    actix_rt::spawn(server);
    Ok(Serving { handle })
}

impl Serving {
    /// Closes the listeners and the connections: see [`Relay::drain`](super::Relay::drain), which comes before.
    ///
    /// It begins at once; the future ends when it is done.
    pub fn stop(&self) -> impl Future<Output = ()> + use<> {
        self.handle.stop(false)
    }
}
