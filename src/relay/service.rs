//! The server of a relay: actix-web's, set so that clients who are slow, many or gone cost what is bounded.

use std::{future::ready, io, net::TcpListener, time::Duration};

use actix_http::HttpService;
use actix_service::{ServiceFactoryExt as _, fn_service, map_config};
use actix_web::{
    App,
    dev::{AppConfig, Server, ServerHandle},
    middleware::from_fn,
    rt::net::TcpStream,
    web::{self, ServiceConfig},
};

use super::{
    config::RelayConfig,
    routes,
    watched::{Watched, watch},
};

/// How long a connection lies still between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long a connection is read that is closed before its request was whole, so that its client sees the answer.
const DISCONNECT_TIME: Duration = Duration::from_secs(1);

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
    let mut server = Server::build()
        .workers(workers)
        .disable_signals()
        .shutdown_timeout(1)
        .max_concurrent_connections(config.max_connections.div_ceil(workers));
    for listener in listeners {
        give_up_on_those_who_do_not_read(&listener, config.slow_client)?;
        let address = listener.local_addr()?;
        let (configure, head_time) = (configure.clone(), config.head_time);
        server = server.listen(format!("relay-{address}"), listener, move || {
            let app = App::new()
                .wrap(from_fn(watch))
                .configure(&configure)
                .default_service(web::to(routes::unknown));
            let http = HttpService::build()
                .keep_alive(KEEP_ALIVE)
                .client_request_timeout(head_time)
                .client_disconnect_timeout(DISCONNECT_TIME)
                // A client that has closed its side has left.
                .h1_allow_half_closed(false)
                .on_connect_ext(|connection: &Watched, data| {
                    data.insert(connection.turn());
                })
                .h1(map_config(app, |()| AppConfig::default()));
            let watched = move |socket: TcpStream| {
                // Events are small, and none waits for the one before to be acknowledged.
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%error, "can't set TCP_NODELAY");
                }
                let peer = socket.peer_addr().ok();
                ready(Ok((Watched::new(socket, address.ip(), head_time), peer)))
            };
            fn_service(watched).and_then(http)
        })?;
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
    /// Closes the listeners, and the connections when what was answered is written, after a second at the latest: see
    /// [`Relay::drain`](super::Relay::drain), which comes before.
    ///
    /// It begins at once; the future ends when it is done.
    pub fn stop(&self) -> impl Future<Output = ()> + use<> {
        self.handle.stop(true)
    }
}
