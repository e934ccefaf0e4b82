//! HTTP over awc; the only file that names it.
//!
//! awc has the codec and the pool. Its defaults are made for short answers; each one that would cut a stream is set here, with its
//! reason. What its codec can not read is kept from it by [`Connection`](super::connection::Connection), which also closes what lies idle for too long.
//!
//! An idle connection is looked at before it is used again: one that the server has closed, or has sent something on, is
//! dropped. The server can still close it in the moment after, or the network may have gone without a word. So a request that
//! fails on a connection that was used before, without a byte of an answer, is sent once more on a new one, if the caller says
//! that it may be; all others that lie idle are closed then.

use std::{
    borrow::Cow,
    cell::RefCell,
    env, fmt,
    future::{Future as _, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use awc::{Client, Connector, http::header as awc_header};
use futures_core::future::LocalBoxFuture;
use futures_util::stream;
use http::{HeaderName, HeaderValue, StatusCode, header};
use rustls::ClientConfig;
use tokio::sync::Notify;
use url::Url;

use self::{
    body::{BODY_PIECE, in_pieces, read_body},
    dialer::{Dialer, IDLE_CONNECTION},
    errors::{invalid_request, send_error},
    target::Target,
};
use super::{
    BodyStream, Transport, TransportError, TransportErrorKind, TransportFactory, TransportRequest,
    TransportResponse, Upgraded,
    connection::{Connections, Outcome, Peer},
    framing::Framing,
    is_transport_header,
    keep_alive::KeepAlive,
    proxy::{ProxyConfig, ProxyRules},
    tls::TlsConfig,
    unpack::{Encoding, Unpacked},
};

mod body;
mod dialer;
mod errors;
mod target;
mod websocket;

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
    /// Or why there is none, for a request that would need it.
    tls: Result<Arc<ClientConfig>, String>,
    proxy: Arc<ProxyRules>,
    keep_alive: KeepAlive,
    shortage: Arc<Notify>,
}

impl AwcTransportFactory {
    /// Reads certificates and environment variables, once and for all.
    ///
    /// # Errors
    /// [`TransportErrorKind::InvalidRequest`] when a certificate file or the given proxy can't be used, or no certificate
    /// authority is trusted.
    pub fn new(tls: &TlsConfig, proxy: &ProxyConfig) -> Result<Self, TransportError> {
        Ok(Self {
            tls: Ok(tls.client_config()?),
            proxy: Arc::new(proxy.rules(|name| env::var_os(name))?),
            keep_alive: KeepAlive::default(),
            shortage: Arc::default(),
        })
    }

    /// What the environment says, as for [`Runtime::start`](crate::Runtime::start): for a transport that wraps this one. A file of
    /// authorities that can't be used is an error only for a request over TLS.
    ///
    /// # Errors
    /// [`TransportErrorKind::InvalidRequest`] when the proxy that the environment names can't be used.
    pub fn from_env() -> Result<Self, TransportError> {
        let tls = TlsConfig::from_env(|name| env::var_os(name));
        let config = tls.and_then(|tls| Ok(tls.client_config()?));
        Ok(Self {
            tls: config.map_err(|error| error.message().to_owned()),
            proxy: Arc::new(ProxyConfig::default().rules(|name| env::var_os(name))?),
            keep_alive: KeepAlive::default(),
            shortage: Arc::default(),
        })
    }

    /// Sets how connections are probed.
    #[must_use]
    pub fn with_keep_alive(mut self, keep_alive: KeepAlive) -> Self {
        self.keep_alive = keep_alive;
        self
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
            kept: RefCell::default(),
            targets: RefCell::default(),
            connections: Connections::new(self.shortage.clone()),
        };
        Ok(Rc::new(AwcTransport {
            clients: Rc::new(clients),
        }))
    }
}

/// Sends requests over HTTP/1.1, with as many connections as there are requests at a time.
///
/// A redirect is a response like any other: following it could carry the key to another host. Bodies are asked for as they are
/// (`accept-encoding: identity`, unless the request says something else); one that comes compressed all the same (gzip, deflate,
/// br, with the feature zstd that too) is unpacked as it comes.
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

    fn upgrade(
        &self,
        request: TransportRequest,
        max_message_bytes: usize,
    ) -> LocalBoxFuture<'static, Result<Upgraded, TransportError>> {
        let clients = Rc::clone(&self.clients);
        Box::pin(async move { clients.upgrade(request, max_message_bytes).await })
    }
}

struct Clients {
    factory: AwcTransportFactory,
    kept: RefCell<Vec<((bool, Duration), Client)>>,
    /// Where the last requests went.
    targets: RefCell<Vec<Rc<Target>>>,
    connections: Rc<Connections>,
}

impl Clients {
    /// The client for connections with or without TLS, and with that timeout.
    fn client(&self, is_https: bool, timeout: Duration) -> Client {
        let key = (is_https, timeout);
        let mut kept = self.kept.borrow_mut();
        if let Some((_, client)) = kept.iter().find(|(known, _)| *known == key) {
            return client.clone();
        }
        if kept.len() == MAX_CLIENTS {
            kept.remove(0);
        }
        let client = self.new_client(is_https, timeout);
        kept.push((key, client.clone()));
        client
    }

    fn target(&self, url: Url) -> Result<Rc<Target>, TransportError> {
        let mut targets = self.targets.borrow_mut();
        if let Some(target) = targets.iter().find(|target| target.url == url) {
            return Ok(target.clone());
        }
        let target = Rc::new(Target::new(url)?);
        if targets.len() == MAX_TARGETS {
            targets.remove(0);
        }
        targets.push(target.clone());
        Ok(target)
    }

    fn new_client(&self, is_https: bool, timeout: Duration) -> Client {
        let AwcTransportFactory {
            tls,
            proxy,
            keep_alive,
            shortage,
        } = &self.factory;
        let dialer = Dialer {
            tls: is_https.then(|| tls.clone()),
            proxy: Arc::clone(proxy),
            timeout,
            keep_alive: *keep_alive,
            shortage: Arc::clone(shortage),
            connections: Rc::clone(&self.connections),
        };
        let connector = Connector::new()
            .connector(dialer)
            // The dialer has timeouts of its own, which tell what they waited for.
            .timeout(Duration::MAX)
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

async fn send(
    clients: Rc<Clients>,
    request: TransportRequest,
) -> Result<TransportResponse, TransportError> {
    let target = clients.target(request.url.clone())?;
    match send_once(&clients, &target, &request).await {
        Err((_, true)) if request.may_be_repeated => {
            let peer = &target.peer;
            tracing::debug!(peer = %peer.authority, "a used connection was dead: idle ones are closed, and the request is sent on a new one");
            clients.connections.close_idle(peer);
            send_once(&clients, &target, &request).await
        }
        sent => sent,
    }
    .map_err(|(error, _)| error)
}

/// The error says too whether it was that of a connection that had been used before, and of which nothing came any more.
async fn send_once(
    clients: &Rc<Clients>,
    target: &Rc<Target>,
    request: &TransportRequest,
) -> Result<TransportResponse, (TransportError, bool)> {
    let Peer {
        is_https,
        authority: peer,
    } = &*target.peer;
    let fail = |error| (error, false);
    let invalid = |message| {
        fail(TransportError::new(
            TransportErrorKind::InvalidResponse,
            message,
        ))
    };
    let method = awc::http::Method::from_bytes(request.method.as_str().as_bytes())
        .map_err(|error| invalid_request(format!("can't send method {}", request.method), error))
        .map_err(fail)?;
    let mut sending = clients
        .client(*is_https, request.connect_timeout)
        .request(method, target.uri.clone())
        .no_decompress();
    let headers = sending.headers_mut();
    headers.insert(awc_header::HOST, target.host.clone());
    if !request.headers.contains_key(header::ACCEPT_ENCODING) {
        // Servers compress what says nothing of it, and hold back events until a block is full.
        let identity = awc_header::HeaderValue::from_static("identity");
        headers.insert(awc_header::ACCEPT_ENCODING, identity);
    }
    for (name, value) in &request.headers {
        let (name, value) = to_awc_header(name, value).map_err(fail)?;
        headers.append(name, value);
    }
    let mut sent = match request.body.is_empty() {
        true => sending.send(),
        false if request.body.len() > BODY_PIECE => sending.send_body(in_pieces(&request.body)),
        false => sending.send_body(request.body.clone()),
    };
    let (sent, outcome) = poll_fn(|cx| {
        // What other connections came to in the meantime.
        clients.connections.take_outcome();
        let sent = std::task::ready!(Pin::new(&mut sent).poll(cx));
        Poll::Ready((sent, clients.connections.take_outcome()))
    })
    .await;
    let Outcome {
        head,
        connection,
        failure,
        is_stale,
    } = outcome;
    let response = sent.map_err(|error| {
        let own = || send_error(error, peer);
        (failure.unwrap_or_else(own), is_stale)
    })?;
    let Some(head) = head else {
        return Err(invalid(format!("there is no head of {peer}'s response")));
    };
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let message = format!("{peer} switches to another protocol (101), which was not asked for");
        return Err(invalid(message));
    }
    let framing = head.framing(&request.method);
    let has_body = !matches!(framing, Framing::Nothing | Framing::Sized(0));
    let encoding = Encoding::of(head.headers.get_all(header::CONTENT_ENCODING));
    let body: BodyStream = match encoding {
        Ok(Some(encoding)) if has_body => {
            tracing::debug!(
                peer,
                ?encoding,
                "a body came compressed, which was not asked for"
            );
            let body = read_body(framing, response, connection, target);
            Box::pin(Unpacked::new(body, encoding, peer))
        }
        Err(encoding) if has_body && head.status.is_success() => {
            let message = format!(
                "{peer} sends a body with content-encoding {encoding:?}, which was not asked for"
            );
            return Err(invalid(message));
        }
        // What a refusing server has to say in a body that can't be read matters less than its status.
        Err(_) if has_body => Box::pin(stream::empty()),
        _ => read_body(framing, response, connection, target),
    };
    Ok(TransportResponse {
        status: head.status,
        headers: head.headers,
        body,
    })
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
    let text = match *name {
        // A blank more tells it from the one that the codec adds, which the connection takes out.
        header::DATE => Cow::Owned([b" ", value.as_bytes()].concat()),
        _ => Cow::Borrowed(value.as_bytes()),
    };
    let mut awc_value = awc_header::HeaderValue::from_bytes(&text).map_err(|error| {
        invalid_request(format!("can't send the value of header {name}"), error)
    })?;
    awc_value.set_sensitive(value.is_sensitive());
    Ok((awc_name, awc_value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(factory: AwcTransportFactory) -> Clients {
        Clients {
            factory,
            kept: RefCell::default(),
            targets: RefCell::default(),
            connections: Rc::default(),
        }
    }

    #[test]
    fn clients_are_bounded_and_one_for_each_timeout() {
        let factory = AwcTransportFactory::new(&TlsConfig::default(), &ProxyConfig::None).unwrap();
        let clients = clients(factory);
        for seconds in (1..=MAX_CLIENTS as u64 + 1).chain([2, 2]) {
            clients.client(true, Duration::from_secs(seconds));
        }
        let kept: Vec<_> = clients
            .kept
            .borrow()
            .iter()
            .map(|((_, timeout), _)| timeout.as_secs())
            .collect();
        assert_eq!(kept, (2..=MAX_CLIENTS as u64 + 1).collect::<Vec<_>>());
    }

    #[test]
    fn targets_are_bounded_and_one_for_each_url() {
        let factory = AwcTransportFactory::new(&TlsConfig::default(), &ProxyConfig::None).unwrap();
        let clients = clients(factory);
        let target = |path: usize| {
            let url = format!("http://host/{path}?key=hunter2");
            let target = clients.target(Url::parse(&url).unwrap()).unwrap();
            assert_eq!(target.uri.to_string(), url.replace("host", "host:80"));
            target
        };
        let first = target(0);
        assert!(Rc::ptr_eq(&first, &target(0)));
        (1..=MAX_TARGETS).for_each(|path| _ = target(path));
        assert_eq!(clients.targets.borrow().len(), MAX_TARGETS);
        assert!(!Rc::ptr_eq(&first, &target(0)));
    }
}
