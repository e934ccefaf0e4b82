//! Where `serve` listens.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _},
};

use super::usage_error::UsageError;

/// Where it listens if nobody says.
const DEFAULT_PORT: u16 = 8484;

/// One place to listen, and who says so, for errors.
pub(super) struct Place {
    said: String,
    at: At,
}

enum At {
    /// This machine, by both of its addresses.
    Localhost(u16),
    Address(SocketAddr),
}

/// What `wanted` names, each as the errors call it and as it is written. Nothing is opened yet.
pub(super) fn places(
    how: &str,
    wanted: &[String],
    is_guarded: bool,
) -> Result<Vec<Place>, UsageError> {
    let default = [format!("localhost:{DEFAULT_PORT}")];
    let wanted = match wanted {
        [] => &default,
        wanted => wanted,
    };
    let place = |text: &String| {
        let said = match text.is_empty() {
            true => format!("{how} \"\""),
            false => format!("{how} {text}"),
        };
        let at = match local_port(text) {
            Some(port) => At::Localhost(port),
            None => At::Address(address(&said, text)?),
        };
        match at {
            At::Address(address) if !is_guarded && !address.ip().is_loopback() => {
                Err(UsageError::new(format!(
                    "{said}: others than this machine can reach it: give --tokens FILE with the clients that may ask, or \
                     --allow-anonymous"
                )))
            }
            at => Ok(Place { said, at }),
        }
    };
    wanted.iter().map(place).collect()
}

/// Opens them.
pub(super) fn listeners(places: &[Place]) -> Result<Vec<TcpListener>, UsageError> {
    let mut listeners = Vec::new();
    for Place { said, at } in places {
        match at {
            At::Localhost(port) => listeners.extend(on_localhost(said, *port)?),
            At::Address(address) => listeners.push(bound(said, *address)?),
        }
    }
    Ok(listeners)
}

/// The port, where this machine is meant by both of its addresses.
fn local_port(text: &str) -> Option<u16> {
    text.strip_prefix("localhost:").unwrap_or(text).parse().ok()
}

fn address(said: &str, text: &str) -> Result<SocketAddr, UsageError> {
    let found = text.to_socket_addrs().map(|mut found| found.next());
    found.ok().flatten().ok_or_else(|| {
        UsageError::new(format!(
            "{said}: it is no address of this machine with a port: write it as 127.0.0.1:{DEFAULT_PORT} or \
             [::1]:{DEFAULT_PORT}"
        ))
    })
}

/// `localhost` is both addresses, with one port; the second where the machine has it.
fn on_localhost(said: &str, port: u16) -> Result<Vec<TcpListener>, UsageError> {
    let [v4, v6] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let at = |ip: IpAddr, port| SocketAddr::new(ip, port);
    let first = bound(said, at(v4, port))?;
    let port = first.local_addr().map_or(port, |address| address.port());
    let second = match TcpListener::bind(at(v6, port)) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(taken(said, at(v6, port))),
        // The machine has no IPv6.
        second => Ok(second.ok()),
    };
    Ok([Some(first), second?].into_iter().flatten().collect())
}

fn bound(said: &str, address: SocketAddr) -> Result<TcpListener, UsageError> {
    TcpListener::bind(address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => taken(said, address),
        ErrorKind::AddrNotAvailable => UsageError::new(format!(
            "{said}: this machine has no address {}: give one that it has, or 0.0.0.0 for all of them",
            address.ip()
        )),
        ErrorKind::PermissionDenied if address.port() < 1024 => UsageError::new(format!(
            "{said}: port {} is for the system's administrator alone: give one above 1023",
            address.port()
        )),
        _ => UsageError::at(said, &error),
    })
}

fn taken(said: &str, address: SocketAddr) -> UsageError {
    UsageError::new(format!(
        "{said}: another program listens on {address}: stop it, or write another port (0 is any free one)"
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
            let error = address("--listen it", text).unwrap_err().to_string();
            assert!(error.contains("--listen it: it is no address"), "{error}");
        }
    }
}
