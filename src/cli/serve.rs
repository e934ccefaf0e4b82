//! `serve`: the relay, one service in front of many clients and many servers.

use std::{
    io::{self, ErrorKind as IoErrorKind, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _},
    time::Duration,
};

use actix_responses::{
    duration::parse_limit,
    relay::{Relay, RelayConfig, RouteTable},
    retry::RetryPolicy,
};
use actix_web::{App, HttpServer};
use clap::{ArgAction, Args};

use super::{
    exit_status::ExitStatus, interrupts::Interrupts, logging, provider_options::ProviderOptions,
    system, usage_error::UsageError,
};

/// Where it listens if nobody says.
const DEFAULT_PORT: u16 = 8484;

/// Relay clients of both APIs to a server of either, until Ctrl-C
///
/// One line on stdout says the base URL for clients. Without a provider the embedded one answers.
#[derive(Args)]
pub(super) struct Serve {
    /// Where to listen: an address with its port, or a port on this machine alone; may be repeated [default: localhost:8484]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,

    /// How long running streams have to end after a SIGTERM [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = parse_limit)]
    grace: Option<Duration>,

    /// Log to stderr what happens; twice for more. RUST_LOG chooses what
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,

    #[command(flatten)]
    provider: ProviderOptions,
}

impl Serve {
    pub(super) fn run(self) -> Result<ExitStatus, UsageError> {
        let upstream = self.provider.upstream()?;
        logging::start(self.verbose, upstream.secrets.clone())?;
        let listeners = listeners(&self.listen)?;
        let mut config = RelayConfig::default();
        config.grace = self.grace.unwrap_or(config.grace);
        upstream.announce();
        system::start()?.block_on(async {
            let mut interrupts =
                Interrupts::new().map_err(|error| UsageError::at("can't start", &error))?;
            let runtime = upstream.runtime(RetryPolicy::default())?;
            let routes = RouteTable::single(upstream.provider.clone());
            let relay = Relay::new(runtime, routes, config);
            serve(relay, listeners, &mut interrupts).await
        })
    }
}

async fn serve(
    relay: Relay,
    listeners: Vec<TcpListener>,
    interrupts: &mut Interrupts,
) -> Result<ExitStatus, UsageError> {
    let unusable = |error: io::Error| UsageError::at("can't start", &error);
    let mut server =
        HttpServer::new(move || App::new().configure(|app| relay.configure(app))).disable_signals();
    let first = listeners.first().map(TcpListener::local_addr);
    let first = first.unwrap_or_else(|| Err(IoErrorKind::AddrNotAvailable.into()));
    let first = first.map_err(unusable)?;
    for listener in listeners {
        server = server.listen(listener).map_err(unusable)?;
    }
    let server = server.run();
    let handle = server.handle();
    actix_rt::spawn(server);
    let mut stdout = io::stdout();
    // Who does not want to know the URL knows the port.
    let _ = writeln!(stdout, "http://{first}/v1").and_then(|()| stdout.flush());
    interrupts.next().await;
    handle.stop(false).await;
    Ok(ExitStatus::Interrupted)
}

/// Opens what `--listen` names.
fn listeners(wanted: &[String]) -> Result<Vec<TcpListener>, UsageError> {
    let default = [format!("localhost:{DEFAULT_PORT}")];
    let wanted = match wanted {
        [] => &default,
        wanted => wanted,
    };
    let mut listeners = Vec::new();
    for text in wanted {
        match local_port(text) {
            Some(port) => listeners.extend(on_localhost(text, port)?),
            None => listeners.push(bound(text, address(text)?)?),
        }
    }
    Ok(listeners)
}

/// The port, where this machine is meant by both of its addresses.
fn local_port(text: &str) -> Option<u16> {
    text.strip_prefix("localhost:").unwrap_or(text).parse().ok()
}

fn address(text: &str) -> Result<SocketAddr, UsageError> {
    let found = text.to_socket_addrs().map(|mut found| found.next());
    found.ok().flatten().ok_or_else(|| {
        UsageError::new(format!(
            "--listen {text}: it is no address of this machine with a port: write it as 127.0.0.1:{DEFAULT_PORT} or \
             [::1]:{DEFAULT_PORT}"
        ))
    })
}

/// `localhost` is both addresses, with one port; the second where the machine has it.
fn on_localhost(text: &str, port: u16) -> Result<Vec<TcpListener>, UsageError> {
    let [v4, v6] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let at = |ip: IpAddr, port| SocketAddr::new(ip, port);
    let first = bound(text, at(v4, port))?;
    let port = first.local_addr().map_or(port, |address| address.port());
    let second = match TcpListener::bind(at(v6, port)) {
        Err(error) if error.kind() == IoErrorKind::AddrInUse => Err(taken(text, at(v6, port))),
        // The machine has no IPv6.
        second => Ok(second.ok()),
    };
    Ok([Some(first), second?].into_iter().flatten().collect())
}

fn bound(text: &str, address: SocketAddr) -> Result<TcpListener, UsageError> {
    TcpListener::bind(address).map_err(|error| match error.kind() {
        IoErrorKind::AddrInUse => taken(text, address),
        _ => UsageError::at(&format!("--listen {text}"), &error),
    })
}

fn taken(text: &str, address: SocketAddr) -> UsageError {
    UsageError::new(format!(
        "--listen {text}: another program listens on {address}: stop it, or give --listen another port (0 is any free one)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_and_a_port_alone_are_this_machine() {
        for (text, port) in [
            ("localhost:80", Some(80)),
            ("0", Some(0)),
            ("127.0.0.1:80", None),
            ("localhost", None),
            ("65536", None),
        ] {
            assert_eq!(local_port(text), port, "{text}");
        }
        for text in ["localhost", "8x", "1.2.3.4", "[::1]"] {
            let error = address(text).unwrap_err().to_string();
            assert!(
                error.contains("--listen") && error.contains(text),
                "{error}"
            );
        }
    }
}
