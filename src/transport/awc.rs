//! HTTP over awc; the only file that names it.
//!
//! awc's defaults are made for short answers; each one that would cut a stream is set here, with its reason. What is left of
//! its behaviour, read in its source and tried in `tests/awc_transport.rs`:
//!
//! - An idle connection is looked at before it is used again: one that the server has closed, or has sent something on, is
//!   dropped. The server can still close it in the moment after. awc sends nothing twice, and neither does this: the request
//!   fails with [`TransportErrorKind::Send`], and the retry policy decides.
//! - Idle connections are looked at only when the next request goes to their host, so their number is that of the streams
//!   that once were open together, until then.
//! - It reads an answer when the request is sent, and not before. [`EarlyAnswerStream`] lets it come so far where the server
//!   answers early and closes; one that answers early, reads nothing and does not close is given up at the head timeout.
//! - An HTTP/1.1 response with neither length nor chunks, whose body ends with the connection, can't be read (HTTP/1.0 can).
//! - `https` to an IPv6 address does not work, to a name that has one it does.

use std::{
    cell::RefCell,
    env, fmt, io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix_http::{HttpMessage, error::ParseError};
use actix_service::Service;
use actix_tls::connect::{ConnectError as TcpConnectError, ConnectInfo, Connection};
use awc::{
    Client, ClientResponse, Connector,
    error::{ConnectError, PayloadError, SendRequestError},
    http::{Uri, Version, header as awc_header},
};
use bytes::Bytes;
use futures_core::{Stream, future::LocalBoxFuture};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use rustls::ClientConfig;
use url::{Host, Url};

use super::{
    BodyStream, Transport, TransportError, TransportErrorKind, TransportFactory, TransportRequest,
    TransportResponse,
    dial::{dial, io_reason},
    early_answer::EarlyAnswerStream,
    framing::{Framing, Head},
    is_transport_header,
    proxy::{Authority, ProxyConfig, ProxyRules},
    tls::TlsConfig,
};

/// How long a connection may lie idle and still be used. Load balancers close theirs after 60 s (AWS) or later; closing first
/// avoids sending a request into a connection that is just being closed.
const IDLE_CONNECTION: Duration = Duration::from_secs(50);

/// How old a connection may be when it is used again, so that a host which moves is followed. Long, because the time of a
/// stream counts: awc's 75 s would make every answer of two minutes cost a new connection.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(600);

/// How many URLs are remembered as awc wants them. A program asks a handful.
const MAX_TARGETS: usize = 8;

/// How many clients are kept. awc sets the connect timeout per client, and a client owns its pool of connections, so there
/// is one for each timeout in use; mostly that is one.
const MAX_CLIENTS: usize = 8;

/// Makes a transport over awc for each arbiter. They share the certificates and the TLS sessions that can be resumed.
#[derive(Clone)]
pub struct AwcTransportFactory {
    tls: Arc<ClientConfig>,
    proxy: Arc<ProxyRules>,
}

impl AwcTransportFactory {
    /// Reads certificates and environment variables, once and for all.
    ///
    /// # Errors
    /// [`TransportErrorKind::InvalidRequest`] when a certificate file or the given proxy can't be used, or no certificate
    /// authority is trusted.
    pub fn new(tls: &TlsConfig, proxy: &ProxyConfig) -> Result<Self, TransportError> {
        Ok(Self {
            tls: tls.client_config()?,
            proxy: Arc::new(proxy.rules(|name| env::var(name).ok())?),
        })
    }
}

impl fmt::Debug for AwcTransportFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwcTransportFactory")
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}

impl TransportFactory for AwcTransportFactory {
    fn build(&self) -> Result<Rc<dyn Transport>, TransportError> {
        let clients = Clients {
            factory: self.clone(),
            by_timeout: RefCell::default(),
            targets: RefCell::default(),
        };
        Ok(Rc::new(AwcTransport {
            clients: Rc::new(clients),
        }))
    }
}

/// Sends requests over HTTP/1.1, with as many connections as there are requests at a time.
///
/// A redirect is a response like any other: following it could carry the key to another host. Bodies come as the server sent
/// them; a compressed one is refused, since unpacking would hold back events.
#[derive(Debug)]
struct AwcTransport {
    clients: Rc<Clients>,
}

impl Transport for AwcTransport {
    fn send(
        &self,
        request: TransportRequest,
    ) -> LocalBoxFuture<'static, Result<TransportResponse, TransportError>> {
        Box::pin(send(Rc::clone(&self.clients), request))
    }
}

struct Clients {
    factory: AwcTransportFactory,
    by_timeout: RefCell<Vec<(Duration, Client)>>,
    /// Where the last requests went.
    targets: RefCell<Vec<Rc<Target>>>,
}

/// A URL as awc wants it, and the host and port that errors name.
struct Target {
    url: Url,
    uri: Uri,
    peer: String,
}

impl Clients {
    fn with_timeout(&self, timeout: Duration) -> Client {
        let mut clients = self.by_timeout.borrow_mut();
        if let Some((_, client)) = clients.iter().find(|(known, _)| *known == timeout) {
            return client.clone();
        }
        if clients.len() == MAX_CLIENTS {
            clients.remove(0);
        }
        let client = self.new_client(timeout);
        clients.push((timeout, client.clone()));
        client
    }

    /// Gives up the pool with that timeout and its idle connections, because one of them holds the rest of an answer: the
    /// next request could take it for its own. Running requests keep theirs.
    fn forget(&self, timeout: Duration) {
        self.by_timeout
            .borrow_mut()
            .retain(|(known, _)| *known != timeout);
    }

    fn target(&self, url: Url) -> Result<Rc<Target>, TransportError> {
        let mut targets = self.targets.borrow_mut();
        if let Some(target) = targets.iter().find(|target| target.url == url) {
            return Ok(target.clone());
        }
        let peer = peer_of(&url)?;
        // The URL is not shown: its query may hold a key.
        let uri = Uri::try_from(url.as_str()).map_err(|error| {
            invalid_request(format!("can't send a request to this URL of {peer}"), error)
        })?;
        if targets.len() == MAX_TARGETS {
            targets.remove(0);
        }
        let target = Rc::new(Target { url, uri, peer });
        targets.push(target.clone());
        Ok(target)
    }

    fn new_client(&self, timeout: Duration) -> Client {
        let dialer = Dialer {
            proxy: Arc::clone(&self.factory.proxy),
            timeout,
        };
        let connector = Connector::new()
            .connector(dialer)
            .rustls_0_23(Arc::clone(&self.factory.tls))
            // The dialer has a timeout of its own, which tells what it waited for.
            .timeout(Duration::MAX)
            .handshake_timeout(timeout)
            // A stream holds its connection for minutes; the 101st would wait for one of the first hundred to end.
            .limit(0)
            .conn_keep_alive(IDLE_CONNECTION)
            .conn_lifetime(CONNECTION_LIFETIME);
        Client::builder()
            .connector(connector)
            // Waiting for the head is the caller's to bound: 5 s would be too short for a model.
            .disable_timeout()
            .disable_redirects()
            .no_default_headers()
            .finish()
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.factory.fmt(f)
    }
}

async fn send(
    clients: Rc<Clients>,
    request: TransportRequest,
) -> Result<TransportResponse, TransportError> {
    let TransportRequest {
        method,
        url,
        headers,
        body,
        connect_timeout,
    } = request;
    let target = clients.target(url)?;
    let peer = &*target.peer;
    let awc_method = awc::http::Method::from_bytes(method.as_str().as_bytes())
        .map_err(|error| invalid_request(format!("can't send method {method}"), error))?;

    let client = clients.with_timeout(connect_timeout);
    let mut request = client
        .request(awc_method, target.uri.clone())
        .no_decompress();
    for (name, value) in &headers {
        let (name, value) = to_awc_header(name, value)?;
        request.headers_mut().append(name, value);
    }
    let sent = match body.is_empty() {
        true => request.send(),
        false => request.send_body(body),
    };
    let response = sent
        .await
        .map_err(|error| send_error(error, peer, connect_timeout))?;

    let head = read_head(&response, peer)?;
    let framing = head.framing(&method);
    if matches!(framing, Framing::Interim | Framing::UntilClose) {
        clients.forget(connect_timeout);
    }
    let body = match framing.check(&head, peer) {
        Ok(()) => read_body(framing, response, target),
        // What a refusing server has to say in a body that can't be read matters less than its status.
        Err(_) if framing != Framing::Interim && !head.status.is_success() => {
            Box::pin(stream::empty())
        }
        Err(error) => return Err(error),
    };
    Ok(TransportResponse {
        status: head.status,
        headers: head.headers,
        body,
    })
}

/// The host and port that errors name.
fn peer_of(url: &Url) -> Result<String, TransportError> {
    let refuse = |reason: &str| {
        Err(TransportError::new(
            TransportErrorKind::InvalidRequest,
            reason,
        ))
    };
    match (url.scheme(), url.host()) {
        ("https", Some(Host::Ipv6(_))) => {
            refuse("https to an IPv6 address is not supported: use a host name")
        }
        ("http" | "https", Some(host)) => {
            let port = url.port_or_known_default().unwrap_or_default();
            Ok(format!("{host}:{port}"))
        }
        (scheme, _) => refuse(&format!("scheme {scheme:?} is neither http nor https")),
    }
}

fn invalid_request(
    message: String,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> TransportError {
    TransportError::new(TransportErrorKind::InvalidRequest, message).with_source(source)
}

/// From `http` 1 to awc's 0.2. The value may be a secret, so errors name the header only.
fn to_awc_header(
    name: &HeaderName,
    value: &HeaderValue,
) -> Result<(awc_header::HeaderName, awc_header::HeaderValue), TransportError> {
    if is_transport_header(name) {
        let message = format!("header {name} is set by the transport");
        return Err(TransportError::new(
            TransportErrorKind::InvalidRequest,
            message,
        ));
    }
    let awc_name = awc_header::HeaderName::from_bytes(name.as_str().as_bytes())
        .map_err(|error| invalid_request(format!("can't send header {name}"), error))?;
    let mut awc_value = awc_header::HeaderValue::from_bytes(value.as_bytes()).map_err(|error| {
        invalid_request(format!("can't send the value of header {name}"), error)
    })?;
    awc_value.set_sensitive(value.is_sensitive());
    Ok((awc_name, awc_value))
}

/// From awc's types to those of `http` 1.
fn read_head<S>(response: &ClientResponse<S>, peer: &str) -> Result<Head, TransportError> {
    let invalid = |what: String| {
        let message = format!("{peer} answered with an invalid {what}");
        TransportError::new(TransportErrorKind::InvalidResponse, message)
    };
    let status = StatusCode::from_u16(response.status().as_u16())
        .map_err(|error| invalid("status".to_owned()).with_source(error))?;
    let mut headers = HeaderMap::with_capacity(response.headers().len());
    for (name, value) in response.headers() {
        let converted = HeaderName::from_bytes(name.as_str().as_bytes());
        let converted = converted
            .ok()
            .zip(HeaderValue::from_bytes(value.as_bytes()).ok());
        let (name, value) = converted.ok_or_else(|| invalid(format!("header {name}")))?;
        headers.append(name, value);
    }
    Ok(Head {
        status,
        headers,
        is_http_1_1: response.version() == Version::HTTP_11,
    })
}

fn read_body<S>(framing: Framing, mut response: ClientResponse<S>, target: Rc<Target>) -> BodyStream
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static,
{
    let expected = match framing {
        Framing::Nothing => return Box::pin(stream::empty()),
        Framing::Sized(length) => Some(length),
        Framing::Marked | Framing::Interim | Framing::UntilClose => None,
    };
    Box::pin(Body {
        // Without the head, which has been read: its table of headers takes 3 KiB for as long as a stream lasts.
        payload: Some(response.take_payload()),
        expected,
        received: 0,
        target,
    })
}

/// A body that awc reads. It has ended when `payload` is gone, and with it the connection, unless it went back to the pool.
struct Body<P> {
    payload: Option<P>,
    expected: Option<u64>,
    received: u64,
    target: Rc<Target>,
}

impl<P> Stream for Body<P>
where
    P: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
{
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let body = &mut *self;
        let Some(payload) = &mut body.payload else {
            return Poll::Ready(None);
        };
        let item = match std::task::ready!(Pin::new(payload).poll_next(cx)) {
            Some(Ok(chunk)) => {
                body.received += chunk.len() as u64;
                return Poll::Ready(Some(Ok(chunk)));
            }
            Some(Err(error)) => Some(Err(body_error(error, &body.target.peer))),
            // awc does not tell a body that was cut from one that ended. With a length it can be told.
            None => body.expected.filter(|&expected| body.received < expected).map(|expected| {
                let (peer, received) = (&body.target.peer, body.received);
                let message = format!("{peer} closed the connection after {received} of {expected} bytes of the body");
                Err(TransportError::new(TransportErrorKind::Body, message))
            }),
        };
        body.payload = None;
        Poll::Ready(item)
    }
}

fn body_error(error: PayloadError, peer: &str) -> TransportError {
    match error {
        PayloadError::Incomplete(Some(error)) | PayloadError::Io(error) => {
            let message = format!("reading the body of {peer} failed{}", io_reason(&error));
            TransportError::new(TransportErrorKind::Body, message).with_source(error)
        }
        error => {
            let message = format!("reading the body of {peer} failed: {error}");
            TransportError::new(TransportErrorKind::Body, message)
        }
    }
}

fn send_error(error: SendRequestError, peer: &str, timeout: Duration) -> TransportError {
    match error {
        SendRequestError::Connect(error) => connect_error(error, peer, timeout),
        SendRequestError::Send(error) => {
            let message = format!(
                "the connection to {peer} broke while the request was sent{}",
                io_reason(&error)
            );
            TransportError::new(TransportErrorKind::Send, message).with_source(error)
        }
        SendRequestError::Response(error) => head_error(error, peer),
        SendRequestError::Url(error) => {
            invalid_request(format!("can't send a request to {peer}"), error)
        }
        SendRequestError::Http(error) => {
            invalid_request(format!("can't send a request to {peer}"), error)
        }
        // Of HTTP/2, tunnels, streamed bodies and awc's own timeout, none of which is used.
        error => {
            let message = format!("can't send a request to {peer}: {error}");
            TransportError::new(TransportErrorKind::Send, message)
        }
    }
}

fn head_error(error: ParseError, peer: &str) -> TransportError {
    match error {
        ParseError::TooLarge => {
            let message =
                format!("the head of {peer}'s response is over the limit of 128 KiB or 96 headers");
            TransportError::new(TransportErrorKind::TooLarge, message)
        }
        ParseError::Io(error) => {
            let message = format!(
                "the connection to {peer} broke before the response's head was there{}",
                io_reason(&error)
            );
            TransportError::new(TransportErrorKind::Send, message).with_source(error)
        }
        error => {
            let message = format!("what {peer} answers is not HTTP that can be read");
            TransportError::new(TransportErrorKind::InvalidResponse, message).with_source(error)
        }
    }
}

fn connect_error(error: ConnectError, peer: &str, timeout: Duration) -> TransportError {
    match error {
        ConnectError::Io(error) => match error.downcast::<TransportError>() {
            Ok(dial_error) => dial_error,
            // The dialer's errors are all of its own type; what is left comes from the handshake.
            Err(error) => tls_error(error, peer),
        },
        ConnectError::Timeout => {
            let message = format!("no TLS session with {peer} within {timeout:?}");
            TransportError::new(TransportErrorKind::ConnectTimeout, message)
        }
        // Also on a connection that had been idle in the pool.
        ConnectError::Disconnected => {
            let message =
                format!("{peer} closed the connection before the response's head was there");
            TransportError::new(TransportErrorKind::Send, message)
        }
        error => {
            let message = format!("can't connect to {peer}: {error}");
            TransportError::new(TransportErrorKind::Connect, message)
        }
    }
}

fn tls_error(error: io::Error, peer: &str) -> TransportError {
    let cause = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let (kind, message) = match cause {
        Some(rustls::Error::InvalidCertificate(_)) => (
            TransportErrorKind::Certificate,
            format!("the certificate of {peer} was refused"),
        ),
        Some(_) => (
            TransportErrorKind::Tls,
            format!("the TLS handshake with {peer} failed"),
        ),
        None => {
            let reason = io_reason(&error);
            (
                TransportErrorKind::Tls,
                format!("the TLS handshake with {peer} failed{reason}"),
            )
        }
    };
    TransportError::new(kind, message).with_source(error)
}

/// Opens connections for awc. Its errors travel inside an [`io::Error`], because awc's own can't hold them.
#[derive(Clone)]
struct Dialer {
    proxy: Arc<ProxyRules>,
    timeout: Duration,
}

impl Service<ConnectInfo<Uri>> for Dialer {
    type Response = Connection<Uri, EarlyAnswerStream>;
    type Error = TcpConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    actix_service::always_ready!();

    fn call(&self, info: ConnectInfo<Uri>) -> Self::Future {
        let Self { proxy, timeout } = self.clone();
        Box::pin(async move {
            let uri = info.request().clone();
            let is_https = uri.scheme_str() == Some("https");
            let host = info.hostname().trim_matches(['[', ']']);
            let connected = match proxy.proxy_for(is_https, host, info.port()) {
                Ok(proxy) => dial(Authority(host, info.port()), proxy, timeout).await,
                Err(error) => Err(error),
            };
            match connected {
                Ok(stream) => Ok(Connection::new(uri, EarlyAnswerStream::new(stream))),
                Err(error) => Err(TcpConnectError::Io(io::Error::other(error))),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_is_named_with_its_port() {
        for (url, expected) in [
            ("https://host/v1?key=hunter2", "host:443"),
            ("http://user:hunter2@host:8080/", "host:8080"),
            ("http://[::1]/", "[::1]:80"),
            (
                "https://[::1]/",
                "https to an IPv6 address is not supported: use a host name",
            ),
            ("ws://host/", "scheme \"ws\" is neither http nor https"),
        ] {
            let peer = peer_of(&Url::parse(url).unwrap());
            assert_eq!(peer.unwrap_or_else(|error| error.to_string()), expected);
        }
    }

    #[test]
    fn clients_are_bounded_and_one_for_each_timeout() {
        let factory = AwcTransportFactory::new(&TlsConfig::default(), &ProxyConfig::None).unwrap();
        let clients = Clients {
            factory,
            by_timeout: RefCell::default(),
            targets: RefCell::default(),
        };
        for seconds in (1..=MAX_CLIENTS as u64 + 1).chain([2, 2]) {
            clients.with_timeout(Duration::from_secs(seconds));
        }
        let kept: Vec<_> = clients
            .by_timeout
            .borrow()
            .iter()
            .map(|(t, _)| t.as_secs())
            .collect();
        assert_eq!(kept, (2..=MAX_CLIENTS as u64 + 1).collect::<Vec<_>>());
        clients.forget(Duration::from_secs(2));
        assert_eq!(clients.by_timeout.borrow().len(), MAX_CLIENTS - 1);
    }

    #[test]
    fn targets_are_bounded_and_one_for_each_url() {
        let factory = AwcTransportFactory::new(&TlsConfig::default(), &ProxyConfig::None).unwrap();
        let clients = Clients {
            factory,
            by_timeout: RefCell::default(),
            targets: RefCell::default(),
        };
        let target = |path: usize| {
            let url = format!("http://host/{path}?key=hunter2");
            let target = clients.target(Url::parse(&url).unwrap()).unwrap();
            assert_eq!((target.uri.to_string(), &*target.peer), (url, "host:80"));
            target
        };
        let first = target(0);
        assert!(Rc::ptr_eq(&first, &target(0)));
        (1..=MAX_TARGETS).for_each(|path| _ = target(path));
        assert_eq!(clients.targets.borrow().len(), MAX_TARGETS);
        assert!(!Rc::ptr_eq(&first, &target(0)));
        assert!(!format!("{clients:?}").contains("hunter2"));
    }
}
