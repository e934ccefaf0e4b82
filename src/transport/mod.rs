//! The seam between the runtime and HTTP: what a test replaces.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_core::{Stream, future::LocalBoxFuture};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use url::Url;

use crate::{
    protocol::error::{ApiError, ErrorKind, Phase},
    secret::redaction::{RedactedHeaders, RedactedUrl},
};

mod awc;
mod connection;
mod dial;
mod framing;
mod head;
mod keep_alive;
mod pooled;
mod proxy;
#[cfg(test)]
pub(crate) mod silence;
mod tls;
mod unpack;
mod websocket;

pub use self::awc::AwcTransportFactory;
pub(crate) use self::dial::lacking;
#[cfg(feature = "redis")]
pub(crate) use self::dial::{open, secure};
pub use self::keep_alive::KeepAlive;
pub use self::pooled::DrainLimits;
pub(crate) use self::pooled::Pooled;
pub use self::proxy::ProxyConfig;
pub use self::tls::TlsConfig;
pub(crate) use self::websocket::{RefusedOrigins, Turn};

/// Sends HTTP requests for the actors of one arbiter.
///
/// It decides nothing: no retries, no redirects, no deadline but that of connecting. Dropping a future or a body that it
/// returned aborts the request and closes its connection.
pub trait Transport {
    /// Sends a request and waits for the response's head.
    ///
    /// # Errors
    /// When no head arrived. A status of 400 or more is a response, not an error.
    fn send(
        &self,
        request: TransportRequest,
    ) -> LocalBoxFuture<'static, Result<TransportResponse, TransportError>>;

    /// Opens a WebSocket, within the request's connect timeout: `request` is the handshake, a GET of an `http` or `https` URL whose
    /// headers of the handshake itself the transport sets. A message that is longer than `max_message_bytes`, in however many
    /// frames it comes, ends the socket with an error.
    ///
    /// The default opens none, so that a transport which knows no WebSockets has requests that may go by SSE go by that.
    ///
    /// # Errors
    /// When no answer to the handshake arrived, or one that is neither a refusal nor a WebSocket.
    fn upgrade(
        &self,
        request: TransportRequest,
        max_message_bytes: usize,
    ) -> LocalBoxFuture<'static, Result<Upgraded, TransportError>> {
        let _ = (request, max_message_bytes);
        let message = "this transport opens no WebSockets";
        let error = TransportError::new(TransportErrorKind::InvalidRequest, message);
        Box::pin(std::future::ready(Err(error)))
    }
}

/// What came of a handshake for a WebSocket.
pub enum Upgraded {
    /// There is one.
    Open {
        /// The headers of the answer.
        headers: HeaderMap,
        /// The socket.
        socket: Box<dyn WebSocket>,
    },
    /// The server, or somebody before it, answered with another status than 101. What it says in a body is not read.
    Refused {
        /// The status.
        status: StatusCode,
        /// The headers of the answer.
        headers: HeaderMap,
    },
}

/// An open WebSocket. Its drop closes the connection, without a close frame.
pub trait WebSocket {
    /// The next message; `None` is the end of the connection, and nothing follows that or an error. Pings are the caller's to answer.
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<WebSocketMessage, TransportError>>>;

    /// Takes a message to send, which [`poll_flush`](Self::poll_flush) writes.
    ///
    /// # Errors
    /// For a message that can not be sent, such as a text that is not UTF-8.
    fn start_send(&mut self, message: WebSocketMessage) -> Result<(), TransportError>;

    /// Writes what was taken; ready when all of it is.
    ///
    /// # Errors
    /// When the connection broke.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>>;
}

/// A message of a WebSocket, whole: its fragments are put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebSocketMessage {
    /// Text. What comes may be no UTF-8; what is sent must be.
    Text(Bytes),
    /// Bytes.
    Binary(Bytes),
    /// A ping, with what the pong is to repeat.
    Ping(Bytes),
    /// A pong.
    Pong(Bytes),
    /// The peer closes the connection, or is told that we do: the code and the reason, if there are any.
    Close(Option<(u16, String)>),
}

/// Makes a [`Transport`] for each arbiter, on that arbiter, because clients are not `Send`.
pub trait TransportFactory: Send + Sync + 'static {
    /// Makes one. It is called once for each worker, within its `System`.
    ///
    /// # Errors
    /// When the configuration can't work, for example when no certificate authority can be loaded.
    fn build(&self) -> Result<Rc<dyn Transport>, TransportError>;
}

impl<F: TransportFactory + ?Sized> TransportFactory for Arc<F> {
    fn build(&self) -> Result<Rc<dyn Transport>, TransportError> {
        (**self).build()
    }
}

/// One HTTP request.
#[derive(Clone)]
pub struct TransportRequest {
    /// The request of the runtime that it is sent for, as text: its [`RequestId`](crate::actors::RequestId).
    pub request: String,
    /// The attempt at that; the first is 1.
    pub attempt: u32,
    /// The method.
    pub method: Method,
    /// The whole URL, query included.
    pub url: Url,
    /// All headers but those of the transport itself, which sets `host` and everything about length and connection. Secrets
    /// are marked sensitive.
    pub headers: HeaderMap,
    /// The body; empty means none.
    pub body: Bytes,
    /// How long resolving and connecting may take together, and then the TLS handshake.
    pub connect_timeout: Duration,
    /// Whether it may be sent a second time, on a new connection, when it failed on one that was used before and nothing came
    /// of an answer: the server closed that one, or the network lost it, and most likely never saw the request.
    pub may_be_repeated: bool,
}

/// Secrets and the body are left out.
impl fmt::Debug for TransportRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportRequest")
            .field("request", &self.request)
            .field("attempt", &self.attempt)
            .field("method", &self.method)
            .field("url", &RedactedUrl(&self.url))
            .field("headers", &RedactedHeaders(&self.headers))
            .field("body_bytes", &self.body.len())
            .field("connect_timeout", &self.connect_timeout)
            .field("may_be_repeated", &self.may_be_repeated)
            .finish()
    }
}

/// Whether a header is the transport's to set: it says where a message ends or what becomes of the connection.
pub(crate) fn is_transport_header(name: &HeaderName) -> bool {
    [
        header::HOST,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::CONNECTION,
        header::UPGRADE,
        header::EXPECT,
        header::TE,
        header::TRAILER,
    ]
    .contains(name)
}

/// A response's head, and its body to come.
pub struct TransportResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: BodyStream,
}

/// A response's body in the chunks in which it arrived. `None` is the end, also when the peer cut it: a transport need not
/// tell the two apart. Reading to `None` gives the connection back for the next request; dropping before closes it.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, TransportError>>>>;

/// What went wrong between the runtime and the peer.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct TransportError {
    kind: TransportErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// Where it went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The request can't be sent as it is (URL, header, configuration).
    InvalidRequest,
    /// The host's name could not be resolved.
    Dns,
    /// No TCP connection.
    Connect,
    /// The proxy did not answer, or did not open a connection.
    Proxy,
    /// This machine could not open a connection: it has too few open files or ports left.
    LocalLimit,
    /// No connection within the time for it.
    ConnectTimeout,
    /// No TLS session.
    Tls,
    /// The peer's certificate was refused.
    Certificate,
    /// The peer ended the TLS session by an alert, as one does that wants another certificate of ours.
    TlsAlert,
    /// The connection broke before the response's head was there.
    Send,
    /// The peer's answer is no HTTP response that can be read.
    InvalidResponse,
    /// The response's head is over the client's limit.
    TooLarge,
    /// The connection broke inside the body.
    Body,
    /// A message of a WebSocket is over the client's limit.
    MessageTooLarge,
}

impl TransportError {
    /// Makes an error; `message` is lower case, without a full stop.
    pub fn new(kind: TransportErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What to say and the cause, for an error of a higher layer.
    pub(crate) fn into_parts(self) -> (String, Option<Box<dyn Error + Send + Sync>>) {
        (self.message, self.source)
    }

    /// Where it went wrong.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }
}

impl From<TransportError> for ApiError {
    fn from(error: TransportError) -> Self {
        let (kind, phase) = match error.kind() {
            TransportErrorKind::InvalidRequest => (ErrorKind::InvalidConfiguration, Phase::Prepare),
            TransportErrorKind::Dns => (ErrorKind::Dns, Phase::Connect),
            TransportErrorKind::Connect => (ErrorKind::Connect, Phase::Connect),
            TransportErrorKind::Proxy => (ErrorKind::Proxy, Phase::Connect),
            TransportErrorKind::LocalLimit => (ErrorKind::LocalLimit, Phase::Connect),
            TransportErrorKind::ConnectTimeout => (ErrorKind::ConnectTimeout, Phase::Connect),
            TransportErrorKind::Tls | TransportErrorKind::TlsAlert => {
                (ErrorKind::Tls, Phase::Connect)
            }
            TransportErrorKind::Certificate => (ErrorKind::Certificate, Phase::Connect),
            TransportErrorKind::Send => (ErrorKind::Connection, Phase::ResponseHead),
            TransportErrorKind::InvalidResponse => (ErrorKind::Protocol, Phase::ResponseHead),
            TransportErrorKind::TooLarge => (ErrorKind::TooLarge, Phase::ResponseHead),
            TransportErrorKind::Body => (ErrorKind::Connection, Phase::Body),
            TransportErrorKind::MessageTooLarge => (ErrorKind::TooLarge, Phase::Body),
        };
        // The same again would end the same.
        let is_alert = error.kind() == TransportErrorKind::TlsAlert;
        let (message, source) = error.into_parts();
        let mut api_error = Self::new(kind, message).with_phase(phase);
        api_error.details_mut().should_retry = is_alert.then_some(false);
        api_error.details_mut().source = source.map(Arc::from);
        api_error
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn debug_of_a_request_shows_no_secret() {
        let request = TransportRequest {
            request: String::new(),
            attempt: 1,
            method: Method::POST,
            url: Url::parse("https://host/v1?key=hunter2").unwrap(),
            headers: HeaderMap::from_iter([(
                header::AUTHORIZATION,
                HeaderValue::from_static("Bearer hunter2"),
            )]),
            body: Bytes::from_static(b"hunter2"),
            connect_timeout: Duration::from_secs(5),
            may_be_repeated: true,
        };
        let printed = format!("{request:?}");
        assert!(!printed.contains("hunter2"), "{printed}");
        assert!(
            printed.contains("https://host/v1?key=[redacted]"),
            "{printed}"
        );
    }
}
