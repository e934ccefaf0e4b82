//! Requests of the Responses API over WebSockets: each is a message, and its answer comes in messages that are the events of a stream.
//!
//! Above this an answer is the body of an HTTP response, with an event in each chunk, so that all that reads, times, bounds and retries a
//! stream knows nothing of sockets. An error that comes first is the HTTP response that it stands for. A connection serves one request at
//! a time, and then the next one that would say the same in its handshake. `stream_id` (several responses on one connection), steering
//! and compression are not used.

mod connection;
mod conversation;
mod frames;
mod idle;

use std::{
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use self::{
    conversation::Conversation,
    frames::{Body, ErrorMessage, Meaning},
    idle::{Ask, Handle, IdleConnections, Key},
};
use super::{
    BodyStream, Transport, TransportError, TransportErrorKind as Kind, TransportRequest,
    TransportResponse, Upgraded,
};
use crate::retry::delay_from_headers;

/// How many messages of an answer are read ahead of who reads it. Each may be as large as an event.
const MESSAGES_AHEAD: usize = 8;

/// How long an origin is asked by SSE after a handshake with it failed, before another is tried: gateways are not changed every minute,
/// and a black hole costs the connect timer each time.
const REFUSED_FOR: Duration = Duration::from_secs(600);

/// How many origins are remembered that refused. Beyond it all are forgotten, which costs a handshake each.
const MAX_REFUSED: usize = 256;

/// How often one request is sent anew because the server ends connections, without that it counts as an attempt.
const MAX_CONNECTIONS: usize = 3;

/// What says that the client knows the mode.
const BETA: (HeaderName, HeaderValue) = (
    HeaderName::from_static("openai-beta"),
    HeaderValue::from_static("responses_websockets=2026-02-06"),
);

/// Headers of a POST that say something of its body or its answer. What a socket carries has neither.
const OF_A_POST: [HeaderName; 4] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
];

/// Headers of an answer to a handshake that are of the handshake alone.
const OF_THE_HANDSHAKE: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::UPGRADE,
];

/// What a request over a WebSocket needs besides what a POST does.
pub(crate) struct Turn {
    /// The body, as it is written.
    pub(crate) body: Bytes,
    /// Whether nothing is to be generated: the server gets ready for the request that follows.
    pub(crate) is_warm_up: bool,
    /// Whether it goes by SSE where there is no WebSocket.
    pub(crate) may_fall_back: bool,
    /// The largest event.
    pub(crate) max_message_bytes: usize,
}

/// The WebSockets of one worker.
pub(super) struct WebSockets {
    idle: Rc<IdleConnections>,
    refused: RefusedOrigins,
}

/// The origins that refused a handshake, and until when that counts; of all workers of a runtime together.
#[derive(Clone, Default)]
pub(crate) struct RefusedOrigins(Arc<Mutex<HashMap<String, Instant>>>);

impl RefusedOrigins {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, origin: &str) -> bool {
        let until = self.lock().get(origin).copied();
        until.is_some_and(|until| Instant::now() < until)
    }

    fn remember(&self, origin: &str) {
        let mut refused = self.lock();
        if refused.len() >= MAX_REFUSED {
            refused.clear();
        }
        refused.insert(origin.to_owned(), Instant::now() + REFUSED_FOR);
    }
}

/// The first thing that comes of a request.
enum First {
    Response(TransportResponse),
    /// The server does not know what the request goes on from.
    Lost(TransportResponse),
    /// The connection is over, and the server did not get to the request.
    Ended(Option<TransportError>),
    /// The connection has lived for as long as the server lets one.
    OfAge(TransportResponse),
}

impl WebSockets {
    pub(super) fn new(refused: RefusedOrigins) -> Self {
        Self {
            idle: Rc::default(),
            refused,
        }
    }

    /// Sends a request, over a connection that is idle or a new one, and waits for the first message of the answer. `None` when there is
    /// no WebSocket to be had and the request may go by SSE.
    pub(super) async fn send(
        &self,
        transport: &Rc<dyn Transport>,
        origin: &str,
        request: &TransportRequest,
        turn: &Turn,
    ) -> Result<Option<TransportResponse>, TransportError> {
        if turn.may_fall_back && self.refused.has(origin) {
            return Ok(None);
        }
        let Some(body) = Body::read(&turn.body) else {
            let message = "the body is no JSON object, which a WebSocket wants";
            return Err(TransportError::new(Kind::InvalidRequest, message));
        };
        let handshake = handshake(request);
        let key = Key::new(&handshake.url, &handshake.headers, turn.max_message_bytes);
        let mut left = MAX_CONNECTIONS;
        let mut is_whole = false;
        loop {
            left -= 1;
            let conversation = Conversation::of(&body, turn.is_warm_up);
            let used = self
                .idle
                .take(&key, conversation.as_ref().filter(|_| !is_whole));
            let is_used = used.is_some();
            let (connection, headers) = match used {
                Some(connection) => (connection, HeaderMap::new()),
                None => match self.open(transport, origin, &handshake, &key, turn).await? {
                    Opened::Connection(connection, headers) => (*connection, headers),
                    Opened::Refusal(refusal) => return Ok(Some(refusal)),
                    Opened::Nothing => return Ok(None),
                },
            };
            let parent = connection.parent.as_ref().filter(|_| !is_whole);
            let known = parent
                .zip(conversation.as_ref())
                .and_then(|(parent, next)| Some((parent.id(), parent.known_of(next)?)));
            let is_short = known.is_some();
            let message = body.message(turn.is_warm_up, known);
            match ask(connection, message, conversation, headers).await {
                First::Response(refusal)
                    if is_short && left > 0 && is_of_the_request(refusal.status) =>
                {
                    tracing::debug!(origin, status = %refusal.status, "the server does not go on from its last response: the request is sent whole");
                    is_whole = true;
                }
                First::Lost(_) if is_short && left > 0 => is_whole = true,
                First::Lost(refusal) => return Ok(Some(refusal)),
                First::Response(response) => return Ok(Some(response)),
                First::Ended(_) if is_used && request.may_be_repeated && left > 0 => {
                    tracing::debug!(
                        origin,
                        "a used WebSocket was dead: the request is sent on a new one"
                    );
                    self.idle.close(&key);
                }
                First::OfAge(_) if left > 0 => {
                    tracing::debug!(
                        origin,
                        "the server ends a WebSocket for its age: the request is sent on a new one"
                    );
                    self.idle.close(&key);
                }
                First::OfAge(refusal) => return Ok(Some(refusal)),
                First::Ended(error) => {
                    return Err(error.unwrap_or_else(|| {
                        let message = format!("{origin} closed the WebSocket before it answered");
                        TransportError::new(Kind::Send, message)
                    }));
                }
            }
        }
    }

    /// Opens a connection and starts its task.
    async fn open(
        &self,
        transport: &Rc<dyn Transport>,
        origin: &str,
        handshake: &TransportRequest,
        key: &Key,
        turn: &Turn,
    ) -> Result<Opened, TransportError> {
        // A transport may know no connect timeout.
        let limit = handshake.connect_timeout.saturating_mul(2);
        let upgrading = transport.upgrade(handshake.clone(), turn.max_message_bytes);
        let upgraded = timeout(limit, upgrading).await.unwrap_or_else(|_| {
            let message = format!("no WebSocket with {origin} within {limit:?}");
            Err(TransportError::new(Kind::ConnectTimeout, message))
        });
        match upgraded {
            Ok(Upgraded::Open {
                mut headers,
                socket,
            }) => {
                for name in &OF_THE_HANDSHAKE {
                    headers.remove(name);
                }
                let (asks, asked) = mpsc::channel(1);
                let idle = Rc::downgrade(&self.idle);
                actix_rt::spawn(connection::run(socket, origin.to_owned(), asked, idle));
                let key = key.clone();
                let parent = None;
                let connection = Box::new(Handle { key, parent, asks });
                Ok(Opened::Connection(connection, headers))
            }
            // The server knows the mode, and means the request.
            Ok(Upgraded::Refused { status, headers })
                if status == StatusCode::TOO_MANY_REQUESTS || !turn.may_fall_back =>
            {
                if status.is_success() {
                    let message = format!(
                        "{origin} answers {status} where a WebSocket was asked for, as a server does that knows none"
                    );
                    return Err(TransportError::new(Kind::InvalidResponse, message));
                }
                Ok(Opened::Refusal(TransportResponse {
                    status,
                    headers,
                    body: Box::pin(stream::empty()),
                }))
            }
            Ok(Upgraded::Refused { status, .. }) => {
                tracing::info!(origin, %status, "no WebSocket: requests go by SSE");
                self.refused.remember(origin);
                Ok(Opened::Nothing)
            }
            Err(error) if turn.may_fall_back => {
                tracing::info!(origin, %error, "no WebSocket: requests go by SSE");
                // What this machine lacks, or the transport can't do, says nothing of the server.
                let is_ours = matches!(error.kind(), Kind::LocalLimit | Kind::InvalidRequest);
                if !is_ours {
                    self.refused.remember(origin);
                }
                Ok(Opened::Nothing)
            }
            Err(error) => Err(error),
        }
    }
}

enum Opened {
    Connection(Box<Handle>, HeaderMap),
    /// An answer to the request itself.
    Refusal(TransportResponse),
    /// The request is to go by SSE.
    Nothing,
}

/// The handshake in place of a POST: the same address, headers and key.
fn handshake(request: &TransportRequest) -> TransportRequest {
    let mut handshake = request.clone();
    handshake.method = Method::GET;
    handshake.body = Bytes::new();
    for name in &OF_A_POST {
        handshake.headers.remove(name);
    }
    let (name, value) = BETA;
    let has_it = handshake.headers.get_all(&name).iter().any(|given| {
        let given = String::from_utf8_lossy(given.as_bytes());
        given.contains("responses_websockets=")
    });
    if !has_it {
        handshake.headers.append(name, value);
    }
    handshake.may_be_repeated = true;
    handshake
}

/// Whether a refusal may be about what a request goes on from (`previous_response_not_found` and its like), and not about who asks, how
/// often, or the server.
fn is_of_the_request(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::CONFLICT
            | StatusCode::GONE
            | StatusCode::UNPROCESSABLE_ENTITY
    )
}

/// Sends a request on a connection, and waits for the first message.
async fn ask(
    connection: Handle,
    message: Bytes,
    conversation: Option<Conversation>,
    mut headers: HeaderMap,
) -> First {
    let (answer, mut messages) = mpsc::channel(MESSAGES_AHEAD);
    let asks = connection.asks.clone();
    let ask = Ask {
        message,
        conversation,
        answer,
        connection,
    };
    if asks.send(ask).await.is_err() {
        return First::Ended(None);
    }
    drop(asks);
    let first = match messages.recv().await {
        Some(Ok(first)) => first,
        Some(Err(error)) if error.kind() == Kind::MessageTooLarge => {
            let body: BodyStream = Box::pin(stream::iter([Err(error)]));
            return First::Response(TransportResponse {
                status: StatusCode::OK,
                headers,
                body,
            });
        }
        Some(Err(error)) => return First::Ended(Some(error)),
        None => return First::Ended(None),
    };
    let mut kind = First::Response as fn(_) -> _;
    if Meaning::of(&first) == Meaning::Error
        && let Some(error) = ErrorMessage::read(&first)
    {
        kind = match error.code() {
            Some("previous_response_not_found") => First::Lost,
            _ if error.is_of_age() => First::OfAge,
            _ => First::Response,
        };
        // Without a status the event says the rest.
        headers = error.headers;
        if let Some(status) = error.status {
            return kind(TransportResponse {
                status,
                headers,
                body: Box::pin(stream::iter([Ok(first)])),
            });
        }
    }
    let mut first = Some(first);
    let body = stream::poll_fn(move |cx| {
        let next = match first.take() {
            Some(first) => Some(Ok(first)),
            None => std::task::ready!(messages.poll_recv(cx)),
        };
        std::task::Poll::Ready(next.map(|next| next.map(|message| event(&message))))
    });
    kind(TransportResponse {
        status: StatusCode::OK,
        headers,
        body: Box::pin(body),
    })
}

/// A message as an event; the headers of an error go where a decoder looks.
fn event(message: &[u8]) -> Bytes {
    if Meaning::of(message) == Meaning::Error
        && let Some(error) = ErrorMessage::read(message)
    {
        let delay = match error.is_of_age() {
            true => Some(Duration::ZERO),
            false => delay_from_headers(&error.headers, std::time::SystemTime::now()),
        };
        if delay.is_some() {
            return frames::as_event(&error.with_delay(delay));
        }
    }
    frames::as_event(message)
}
