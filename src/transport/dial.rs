//! Opening a TCP connection to a host, directly or through a proxy's tunnel.

use std::{
    error::Error,
    fmt::Display,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, lookup_host},
    sync::Notify,
    time,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_socks::{TargetAddr, tcp::Socks5Stream};

use super::{
    TransportError, TransportErrorKind as Kind,
    keep_alive::KeepAlive,
    proxy::{Authority, Credentials, Proxy, ProxyProtocol},
};
use crate::files;

/// How long one address is waited for before the next one is tried beside it, as RFC 8305 recommends. A host with an
/// unreachable IPv6 address would otherwise use up the whole timeout.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// More than any proxy's answer to `CONNECT`.
const MAX_TUNNEL_HEAD_BYTES: usize = 16 * 1024;
const MAX_TUNNEL_HEADERS: usize = 64;

/// How long is waited for a file or a port of this machine to become free.
const LOCAL_PAUSE: Duration = Duration::from_millis(50);

/// Connects within `timeout`, which covers resolving, connecting and the proxy's answer. `shortage` is told when this machine can
/// open no connection, for those who can close one.
pub(super) async fn dial(
    target: Authority<'_>,
    proxy: Option<&Proxy>,
    timeout: Duration,
    keep_alive: KeepAlive,
    shortage: &Notify,
) -> Result<TcpStream, TransportError> {
    let dialer = Dialer {
        keep_alive,
        shortage,
        lacking: Mutex::default(),
    };
    let connecting = async {
        match proxy {
            Some(proxy) => dialer.connect_through(proxy, target).await,
            None => dialer.connect(target, Kind::Connect, &target).await,
        }
    };
    let connected = time::timeout(timeout, connecting).await;
    connected.unwrap_or_else(|_| {
        let via = proxy.map_or_else(String::new, |proxy| format!(" through {proxy}"));
        let message = format!("no connection to {target}{via} within {timeout:?}");
        Err(match dialer.lacking().take() {
            Some(what) => TransportError::new(Kind::LocalLimit, format!("{message}: {what}")),
            None => TransportError::new(Kind::ConnectTimeout, message),
        })
    })
}

/// Connects to a host that speaks something else than HTTP. No proxy is asked: what speaks so stands nearby.
#[cfg(feature = "redis")]
pub(crate) async fn open(
    host: &str,
    port: u16,
    timeout: Duration,
) -> Result<TcpStream, TransportError> {
    let (target, shortage) = (Authority(host, port), Notify::new());
    dial(target, None, timeout, KeepAlive::default(), &shortage).await
}

/// Makes a TLS session with that host.
#[cfg(feature = "redis")]
pub(crate) async fn secure(
    stream: TcpStream,
    host: &str,
    port: u16,
    tls: &Arc<ClientConfig>,
    timeout: Duration,
) -> Result<TlsStream<TcpStream>, TransportError> {
    handshake(stream, Authority(host, port), tls, timeout).await
}

/// Names an I/O error's kind where it says something, as in ": connection refused".
pub(super) fn io_reason(error: &io::Error) -> String {
    match error.kind() {
        // It came from elsewhere, and the source tells more.
        io::ErrorKind::Other => String::new(),
        kind => format!(": {kind}"),
    }
}

struct Dialer<'a> {
    keep_alive: KeepAlive,
    shortage: &'a Notify,
    /// What this machine had too little of for a connection.
    lacking: Mutex<Option<String>>,
}

impl Dialer<'_> {
    /// Connects to a host that errors call `hop`. Where this machine can open no connection at all, it waits until it can: that
    /// passes, and the peer has no part in it.
    async fn connect(
        &self,
        host: Authority<'_>,
        kind: Kind,
        hop: &(dyn Display + Sync),
    ) -> Result<TcpStream, TransportError> {
        let addresses = self.resolve(host, hop).await?;
        let stream = loop {
            match connect_any(&addresses).await {
                Ok(stream) => break stream,
                Err(Refused::Locally(what)) => self.wait_for(what).await,
                Err(Refused::By(error)) => {
                    let message = format!("can't connect to {hop}{}", io_reason(&error));
                    return Err(TransportError::new(kind, message).with_source(error));
                }
            }
        };
        self.keep_alive.apply(&stream);
        // A request is written whole, so there is nothing to gain from waiting for more.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "can't set TCP_NODELAY");
        }
        Ok(stream)
    }

    fn lacking(&self) -> MutexGuard<'_, Option<String>> {
        self.lacking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_for(&self, what: String) {
        *self.lacking() = Some(what);
        self.shortage.notify_waiters();
        time::sleep(LOCAL_PAUSE).await;
    }

    async fn resolve(
        &self,
        Authority(host, port): Authority<'_>,
        hop: &(dyn Display + Sync),
    ) -> Result<Vec<SocketAddr>, TransportError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let error = |reason: &str| {
            let message = format!("can't resolve {hop}{reason}");
            TransportError::new(Kind::Dns, message)
        };
        loop {
            let addresses: Vec<_> = match lookup_host((host, port)).await {
                Ok(addresses) => addresses.collect(),
                Err(cause) => match lacking(&cause, None) {
                    Some(what) => {
                        self.wait_for(what).await;
                        continue;
                    }
                    None => return Err(error("").with_source(cause)),
                },
            };
            return match addresses.is_empty() {
                true => Err(error(": it has no address")),
                false => Ok(addresses),
            };
        }
    }

    async fn connect_through(
        &self,
        proxy: &Proxy,
        target: Authority<'_>,
    ) -> Result<TcpStream, TransportError> {
        let host = Authority(&proxy.host, proxy.port);
        let mut stream = self.connect(host, Kind::Proxy, proxy).await?;
        let target_of_socks = match proxy.protocol {
            ProxyProtocol::Http => {
                open_tunnel(&mut stream, target, proxy).await?;
                return Ok(stream);
            }
            ProxyProtocol::Socks5h => None,
            ProxyProtocol::Socks5 => self.resolve(target, &target).await?.into_iter().next(),
        };
        let target_of_socks = match (target_of_socks, target.0.parse::<IpAddr>()) {
            (Some(address), _) => TargetAddr::Ip(address),
            (None, Ok(address)) => TargetAddr::Ip(SocketAddr::new(address, target.1)),
            (None, Err(_)) => TargetAddr::Domain(target.0.into(), target.1),
        };
        let connected = match &proxy.credentials {
            Some(Credentials { user, password }) => {
                let (user, password) = (user.expose(), password.expose());
                Socks5Stream::connect_with_password_and_socket(
                    stream,
                    target_of_socks,
                    user,
                    password,
                )
                .await
            }
            None => Socks5Stream::connect_with_socket(stream, target_of_socks).await,
        };
        connected.map(Socks5Stream::into_inner).map_err(|error| {
            use tokio_socks::Error::{
                ConnectionNotAllowedByRuleset, InvalidAuthValues, NoAcceptableAuthMethods,
                PasswordAuthFailure,
            };
            let kind = match &error {
                // Trying again with the same can't help.
                ConnectionNotAllowedByRuleset
                | InvalidAuthValues(_)
                | NoAcceptableAuthMethods
                | PasswordAuthFailure(_) => Kind::InvalidRequest,
                _ => Kind::Proxy,
            };
            let message = format!("{proxy} opens no connection to {target}: {error}");
            TransportError::new(kind, message).with_source(error)
        })
    }
}

/// Why there is no connection.
#[derive(Debug)]
enum Refused {
    By(io::Error),
    /// This machine had too little of something.
    Locally(String),
}

/// The first connection that comes about; the error is that of the address that failed last.
async fn connect_any(addresses: &[SocketAddr]) -> Result<TcpStream, Refused> {
    let mut waiting = addresses.iter().copied().peekable();
    let mut connecting = FuturesUnordered::new();
    let mut last = Refused::By(io::ErrorKind::AddrNotAvailable.into());
    loop {
        if let Some(address) = waiting.next() {
            connecting.push(async move {
                TcpStream::connect(address)
                    .await
                    .map_err(|error| (address, error))
            });
        }
        tokio::select! {
            connected = connecting.next() => match connected {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err((address, error))) => match lacking(&error, Some(address)) {
                    Some(what) => last = Refused::Locally(what),
                    None if matches!(last, Refused::Locally(_)) => {}
                    None => last = Refused::By(error),
                },
                None => return Err(last),
            },
            () = time::sleep(NEXT_ADDRESS_AFTER), if waiting.peek().is_some() => {}
        }
    }
}

/// What this machine has too little of, if that is what an error is about.
pub(crate) fn lacking(error: &io::Error, address: Option<SocketAddr>) -> Option<String> {
    // Of a machine without an IPv6 address the kernel says the same to IPv6 as of one without a free port.
    if error.kind() == io::ErrorKind::AddrNotAvailable
        && address.is_some_and(|address| address.is_ipv4())
    {
        return Some("no local port is free".to_owned());
    }
    files::local_limit(error)
}

/// Makes a TLS session with the target.
pub(super) async fn handshake(
    stream: TcpStream,
    target: Authority<'_>,
    tls: &Arc<ClientConfig>,
    timeout: Duration,
) -> Result<TlsStream<TcpStream>, TransportError> {
    let name = ServerName::try_from(target.0.to_owned()).map_err(|error| {
        let message = format!("{} is no name that a certificate could have", target.0);
        TransportError::new(Kind::InvalidRequest, message).with_source(error)
    })?;
    let shaking = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
    match time::timeout(timeout, shaking).await {
        Ok(shaken) => shaken.map_err(|error| tls_error(error, target)),
        Err(_) => {
            let message = format!("no TLS session with {target} within {timeout:?}");
            Err(TransportError::new(Kind::ConnectTimeout, message))
        }
    }
}

fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// The error of a session that the peer ended by an alert. In TLS 1.3 that of a certificate of ours comes after the handshake.
pub(super) fn alert(error: &io::Error, peer: &str) -> Option<TransportError> {
    use rustls::AlertDescription as Alert;
    let Some(rustls::Error::AlertReceived(alert)) = rustls_error(error) else {
        return None;
    };
    let hint = match alert {
        Alert::CertificateRequired => {
            ": it wants a client certificate (`TlsConfig::client_cert_file`, --client-cert)"
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied => ": it refuses the client certificate that it was shown",
        Alert::UnrecognisedName => ": it serves no host of that name",
        Alert::ProtocolVersion => ": it speaks no version of TLS that is safe",
        _ => "",
    };
    let message = format!("{peer} ended the TLS session with the alert {alert:?}{hint}");
    Some(TransportError::new(Kind::TlsAlert, message))
}

fn tls_error(error: io::Error, target: Authority<'_>) -> TransportError {
    if let Some(alert) = alert(&error, &target.to_string()) {
        return alert.with_source(error);
    }
    let (kind, message) = match rustls_error(&error) {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)))
            if format!("{other:?}").contains("CaUsedAsEndEntity") =>
        {
            let message = format!(
                "the certificate of {target} is that of an authority (CA:TRUE), which is none for a server: let it sign one with CA:FALSE"
            );
            (Kind::Certificate, message)
        }
        Some(rustls::Error::InvalidCertificate(_)) => (
            Kind::Certificate,
            format!("the certificate of {target} was refused"),
        ),
        told => {
            let reason = told.map_or_else(|| io_reason(&error), |_| String::new());
            (
                Kind::Tls,
                format!("the TLS handshake with {target} failed{reason}"),
            )
        }
    };
    TransportError::new(kind, message).with_source(error)
}

async fn open_tunnel(
    stream: &mut TcpStream,
    target: Authority<'_>,
    proxy: &Proxy,
) -> Result<(), TransportError> {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n");
    if let Some(credentials) = &proxy.credentials {
        let basic = credentials.basic();
        request.push_str(&format!("proxy-authorization: {}\r\n", basic.expose()));
    }
    request.push_str("\r\n");

    let broken = |error: io::Error| {
        let message = format!("the connection to {proxy} broke{}", io_reason(&error));
        TransportError::new(Kind::Proxy, message).with_source(error)
    };
    stream.write_all(request.as_bytes()).await.map_err(broken)?;

    let mut answer = Vec::with_capacity(512);
    while answer.len() < MAX_TUNNEL_HEAD_BYTES {
        if stream.read_buf(&mut answer).await.map_err(broken)? == 0 {
            let message = format!("{proxy} closed the connection without an answer");
            return Err(TransportError::new(Kind::Proxy, message));
        }
        let mut begin = 0;
        loop {
            let mut headers = [httparse::EMPTY_HEADER; MAX_TUNNEL_HEADERS];
            let mut response = httparse::Response::new(&mut headers);
            match response.parse(&answer[begin..]) {
                Ok(httparse::Status::Partial) => break,
                Ok(httparse::Status::Complete(head_bytes)) => {
                    begin += head_bytes;
                    match response.code.unwrap_or_default() {
                        // It is not the answer yet.
                        100..=199 => {}
                        status => return check_tunnel(target, proxy, status, answer.len() > begin),
                    }
                }
                Err(error) => return Err(no_http(proxy, error)),
            }
        }
    }
    let message = format!("the answer of {proxy} is over {MAX_TUNNEL_HEAD_BYTES} bytes");
    Err(TransportError::new(Kind::TooLarge, message))
}

fn no_http(proxy: &Proxy, error: impl Error + Send + Sync + 'static) -> TransportError {
    let message = format!("the answer of {proxy} is not HTTP");
    TransportError::new(Kind::InvalidResponse, message).with_source(error)
}

fn check_tunnel(
    target: Authority<'_>,
    proxy: &Proxy,
    status: u16,
    has_more: bool,
) -> Result<(), TransportError> {
    let (kind, message) = match status {
        // The target does not speak first, so what follows can't be its.
        200..=299 if has_more => (
            Kind::InvalidResponse,
            format!("{proxy} sent something before the tunnel to {target} was used"),
        ),
        200..=299 => return Ok(()),
        407 => (
            // Trying again with the same credentials can't help.
            Kind::InvalidRequest,
            format!("{proxy} asks for other credentials (HTTP 407): put user:password@ in its URL"),
        ),
        // It is not allowed, and will not be.
        403 | 405 => (
            Kind::InvalidRequest,
            format!("{proxy} does not allow a tunnel to {target} (HTTP {status})"),
        ),
        _ => (
            Kind::Proxy,
            format!("{proxy} refused a tunnel to {target} (HTTP {status})"),
        ),
    };
    Err(TransportError::new(kind, message))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[actix_rt::test]
    async fn second_address_is_used_when_the_first_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = closed.local_addr().unwrap();
        drop(closed);

        let stream = connect_any(&[refusing, address]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);

        let Err(Refused::By(error)) = connect_any(&[refusing, refusing]).await else {
            panic!("it is the peer that refuses");
        };
        assert_eq!(io_reason(&error), ": connection refused");
        assert!(connect_any(&[]).await.is_err());
    }

    #[test]
    fn answer_to_connect_decides() {
        let proxy = Proxy {
            protocol: ProxyProtocol::Http,
            host: "proxy".to_owned(),
            port: 3128,
            credentials: None,
            variable: None,
        };
        for (status, has_more, expected) in [
            (200, false, None),
            (204, false, None),
            (200, true, Some(Kind::InvalidResponse)),
            (407, true, Some(Kind::InvalidRequest)),
            (403, false, Some(Kind::InvalidRequest)),
            (503, false, Some(Kind::Proxy)),
        ] {
            let result = check_tunnel(Authority("::1", 443), &proxy, status, has_more);
            assert_eq!(result.err().map(|error| error.kind()), expected, "{status}");
        }
    }
}
