//! The server of a relay: actix-web's, set so that clients who are slow, many or gone cost what is bounded.

use std::{io, net::TcpListener, time::Duration};

use actix_web::{
    App, HttpServer,
    dev::ServerHandle,
    web::{self, ServiceConfig},
};

use super::{config::RelayConfig, routes};

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
    config: &RelayConfig,
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
    .client_request_timeout(config.head_time)
    .max_connections(config.max_connections.div_ceil(workers))
    .backlog(BACKLOG)
    // A client that has closed its side has left.
    .h1_allow_half_closed(false);
    for listener in listeners {
        give_up_on_those_who_do_not_read(&listener, config.slow_client)?;
        server = server.listen(listener)?;
    }
    let server = server.run();
    let handle = server.handle();
    actix_rt::spawn(server);
    Ok(Serving { handle })
}

/// A client that takes nothing at all would hold its connection, and what waits to be written, for ever: the system ends it after this time.
/// Connections have from their listener what is set here.
#[cfg_attr(
    not(any(target_os = "linux", target_os = "android")),
    expect(unused_variables, reason = "other systems have no such time")
)]
fn give_up_on_those_who_do_not_read(listener: &TcpListener, time: Duration) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // The longest that it takes: 31 bits of milliseconds. None is as long as the system tries of its own accord.
        let longest = Duration::from_millis(i32::MAX as u64);
        let time = Some(time.clamp(Duration::from_millis(1), longest));
        socket2::SockRef::from(listener).set_tcp_user_timeout(time)?;
    }
    Ok(())
}

impl Serving {
    /// Closes the listeners and the connections: see [`Relay::drain`](super::Relay::drain), which comes before.
    ///
    /// It begins at once; the future ends when it is done.
    pub fn stop(&self) -> impl Future<Output = ()> + use<> {
        self.handle.stop(false)
    }
}
