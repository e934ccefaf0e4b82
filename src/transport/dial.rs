//! Opening a TCP connection to a host, directly or through a proxy's tunnel.

use std::{
    error::Error,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, lookup_host},
    time,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    TransportError, TransportErrorKind,
    proxy::{Authority, Proxy},
};

/// How long one address is waited for before the next one is tried beside it, as RFC 8305 recommends. A host with an
/// unreachable IPv6 address would otherwise use up the whole timeout.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// More than any proxy's answer to `CONNECT`.
const MAX_TUNNEL_HEAD_BYTES: usize = 16 * 1024;
const MAX_TUNNEL_HEADERS: usize = 64;

/// Connects within `timeout`, which covers resolving, connecting and the proxy's answer.
pub(crate) async fn dial(
    target: Authority<'_>,
    proxy: Option<&Proxy>,
    timeout: Duration,
) -> Result<TcpStream, TransportError> {
    let via = proxy.map_or_else(String::new, |proxy| format!(" through proxy {proxy}"));
    let connecting = async {
        let Some(proxy) = proxy else {
            return connect(target).await;
        };
        let mut stream = connect(Authority(&proxy.host, proxy.port)).await?;
        open_tunnel(&mut stream, target, proxy).await?;
        Ok(stream)
    };
    time::timeout(timeout, connecting)
        .await
        .unwrap_or_else(|_| {
            let message = format!("no connection to {target}{via} within {timeout:?}");
            Err(TransportError::new(
                TransportErrorKind::ConnectTimeout,
                message,
            ))
        })
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
        TransportError::new(TransportErrorKind::InvalidRequest, message).with_source(error)
    })?;
    let shaking = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
    match time::timeout(timeout, shaking).await {
        Ok(shaken) => shaken.map_err(|error| tls_error(error, target)),
        Err(_) => {
            let message = format!("no TLS session with {target} within {timeout:?}");
            Err(TransportError::new(
                TransportErrorKind::ConnectTimeout,
                message,
            ))
        }
    }
}

fn tls_error(error: io::Error, target: Authority<'_>) -> TransportError {
    let cause = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let (kind, message) = match cause {
        Some(rustls::Error::InvalidCertificate(_)) => (
            TransportErrorKind::Certificate,
            format!("the certificate of {target} was refused"),
        ),
        Some(_) => (
            TransportErrorKind::Tls,
            format!("the TLS handshake with {target} failed"),
        ),
        None => {
            let reason = io_reason(&error);
            (
                TransportErrorKind::Tls,
                format!("the TLS handshake with {target} failed{reason}"),
            )
        }
    };
    TransportError::new(kind, message).with_source(error)
}

/// Names an I/O error's kind where it says something, as in ": connection refused".
pub(crate) fn io_reason(error: &io::Error) -> String {
    match error.kind() {
        // It came from elsewhere, and the source tells more.
        io::ErrorKind::Other => String::new(),
        kind => format!(": {kind}"),
    }
}

async fn connect(host: Authority<'_>) -> Result<TcpStream, TransportError> {
    let addresses = resolve(host).await?;
    let stream = connect_any(addresses).await.map_err(|error| {
        let message = format!("can't connect to {host}{}", io_reason(&error));
        TransportError::new(TransportErrorKind::Connect, message).with_source(error)
    })?;
    // A request is written whole, so there is nothing to gain from waiting for more.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "can't set TCP_NODELAY");
    }
    Ok(stream)
}

async fn resolve(Authority(host, port): Authority<'_>) -> Result<Vec<SocketAddr>, TransportError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let error = |reason: &str| {
        let message = format!("can't resolve host {host}{reason}");
        TransportError::new(TransportErrorKind::Dns, message)
    };
    let addresses: Vec<_> = lookup_host((host, port))
        .await
        .map_err(|cause| error("").with_source(cause))?
        .collect();
    match addresses.is_empty() {
        true => Err(error(": it has no address")),
        false => Ok(addresses),
    }
}

/// The first connection that comes about; the error is that of the address that failed last.
async fn connect_any(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter().peekable();
    let mut connecting = FuturesUnordered::new();
    let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = waiting.next() {
            connecting.push(TcpStream::connect(address));
        }
        tokio::select! {
            connected = connecting.next() => match connected {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => last_error = error,
                None => return Err(last_error),
            },
            () = time::sleep(NEXT_ADDRESS_AFTER), if waiting.peek().is_some() => {}
        }
    }
}

async fn open_tunnel(
    stream: &mut TcpStream,
    target: Authority<'_>,
    proxy: &Proxy,
) -> Result<(), TransportError> {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n");
    if let Some(authorization) = &proxy.authorization {
        request.push_str(&format!(
            "proxy-authorization: {}\r\n",
            authorization.expose()
        ));
    }
    request.push_str("\r\n");

    let broken = |error: io::Error| {
        let message = format!("the connection to proxy {proxy} broke{}", io_reason(&error));
        TransportError::new(TransportErrorKind::Connect, message).with_source(error)
    };
    stream.write_all(request.as_bytes()).await.map_err(broken)?;

    let mut answer = Vec::with_capacity(512);
    while answer.len() < MAX_TUNNEL_HEAD_BYTES {
        if stream.read_buf(&mut answer).await.map_err(broken)? == 0 {
            let message = format!("proxy {proxy} closed the connection without an answer");
            return Err(TransportError::new(TransportErrorKind::Connect, message));
        }
        let mut headers = [httparse::EMPTY_HEADER; MAX_TUNNEL_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&answer) {
            Ok(httparse::Status::Partial) => {}
            Ok(httparse::Status::Complete(head_bytes)) => {
                let status = response.code.unwrap_or_default();
                check_tunnel(target, proxy, status, answer.len() > head_bytes)?;
                return Ok(());
            }
            Err(error) => return Err(no_http(proxy, error)),
        }
    }
    let message = format!("the answer of proxy {proxy} is over {MAX_TUNNEL_HEAD_BYTES} bytes");
    Err(TransportError::new(TransportErrorKind::TooLarge, message))
}

fn no_http(proxy: &Proxy, error: impl Error + Send + Sync + 'static) -> TransportError {
    let message = format!("the answer of proxy {proxy} is not HTTP");
    TransportError::new(TransportErrorKind::InvalidResponse, message).with_source(error)
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
            TransportErrorKind::InvalidResponse,
            format!("proxy {proxy} sent something before the tunnel to {target} was used"),
        ),
        200..=299 => return Ok(()),
        407 => (
            // Trying again with the same credentials can't help.
            TransportErrorKind::InvalidRequest,
            format!(
                "proxy {proxy} asks for other credentials (HTTP 407): put user:password@ in its URL"
            ),
        ),
        _ => (
            TransportErrorKind::Connect,
            format!("proxy {proxy} refused a tunnel to {target} (HTTP {status})"),
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

        let stream = connect_any(vec![refusing, address]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);

        let error = connect_any(vec![refusing, refusing]).await.unwrap_err();
        assert_eq!(io_reason(&error), ": connection refused");
        assert!(connect_any(Vec::new()).await.is_err());
    }

    #[test]
    fn answer_to_connect_decides() {
        let proxy = Proxy {
            host: "proxy".to_owned(),
            port: 3128,
            authorization: None,
        };
        for (status, has_more, expected) in [
            (200, false, None),
            (204, false, None),
            (200, true, Some(TransportErrorKind::InvalidResponse)),
            (407, true, Some(TransportErrorKind::InvalidRequest)),
            (403, false, Some(TransportErrorKind::Connect)),
            (503, false, Some(TransportErrorKind::Connect)),
        ] {
            let result = check_tunnel(Authority("::1", 443), &proxy, status, has_more);
            assert_eq!(result.err().map(|error| error.kind()), expected, "{status}");
        }
    }
}
