//! WebSockets over awc: its handshake and codec.
//!
//! awc's codec takes frames of 64 KiB, which an event of some hundred KiB is over, and gives fragments one by one; so the limit is
//! the caller's, and messages are put together here. It refuses a frame that is too large once all of it has come, however much that
//! is; so the length is looked at before. It knows no extensions: `permessage-deflate` is not offered.

use std::{
    future::{Future as _, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
};

use actix_codec::{Decoder, Encoder, Framed};
use actix_http::ws::Item;
use awc::{
    BoxedSocket,
    error::{WsClientError, WsProtocolError},
    http::header as awc_header,
    ws::{CloseCode, CloseReason, Codec, Frame, Message},
};
use bytes::BytesMut;

use super::{Clients, errors::send_error, target::Target, to_awc_header};
use crate::transport::{
    TransportError, TransportErrorKind, TransportRequest, Upgraded, WebSocket, WebSocketMessage,
    connection::Outcome, dial::io_reason,
};

impl Clients {
    /// The handshake, once more on a new connection where the one of before was dead.
    pub(super) async fn upgrade(
        self: Rc<Self>,
        request: TransportRequest,
        max_message_bytes: usize,
    ) -> Result<Upgraded, TransportError> {
        let target = self.target(request.url.clone())?;
        let peer = &target.peer;
        let shaking = async {
            match self.shake(&target, &request, max_message_bytes).await {
                Err((_, true)) if request.may_be_repeated => {
                    self.connections.close_idle(peer);
                    self.shake(&target, &request, max_message_bytes).await
                }
                shaken => shaken,
            }
        };
        let shaken = tokio::time::timeout(request.connect_timeout, shaking).await;
        shaken
            .unwrap_or_else(|_| {
                let (peer, timeout) = (&peer.authority, request.connect_timeout);
                let message = format!("no WebSocket with {peer} within {timeout:?}");
                let kind = TransportErrorKind::ConnectTimeout;
                Err((TransportError::new(kind, message), false))
            })
            .map_err(|(error, _)| error)
    }

    /// The error says too whether it was that of a connection that had been used before.
    async fn shake(
        &self,
        target: &Target,
        request: &TransportRequest,
        max_message_bytes: usize,
    ) -> Result<Upgraded, (TransportError, bool)> {
        let client = self.client(target.peer.is_https, request.connect_timeout);
        let mut shaking = client
            .ws(target.uri.clone())
            .max_frame_size(max_message_bytes)
            .set_header(awc_header::HOST, target.host.clone());
        for (name, value) in &request.headers {
            let (name, value) = to_awc_header(name, value).map_err(|error| (error, false))?;
            shaking = shaking.header(name, value);
        }
        let mut shaking = pin!(shaking.connect());
        let (shaken, outcome) = poll_fn(|cx| {
            // What other connections came to in the meantime.
            self.connections.take_outcome();
            let shaken = std::task::ready!(shaking.as_mut().poll(cx));
            Poll::Ready((shaken, self.connections.take_outcome()))
        })
        .await;
        let Outcome {
            head,
            failure,
            is_stale,
            ..
        } = outcome;
        let peer = &target.peer.authority;
        match (shaken, head) {
            (Ok((_, framed)), Some(head)) => Ok(Upgraded::Open {
                headers: head.headers,
                socket: Box::new(AwcSocket {
                    framed: framed.into_map_codec(|codec| Bounded {
                        codec,
                        max_bytes: max_message_bytes,
                    }),
                    begun: None,
                    max_message_bytes,
                    peer: peer.clone(),
                    is_over: false,
                }),
            }),
            (Err(WsClientError::InvalidResponseStatus(_)), Some(head)) => Ok(Upgraded::Refused {
                status: head.status,
                headers: head.headers,
            }),
            (Err(WsClientError::SendRequest(error)), _) => {
                Err((failure.unwrap_or_else(|| send_error(error, peer)), is_stale))
            }
            (shaken, _) => {
                let reason = shaken.err().map(|error| format!(": {error}"));
                let reason = reason.unwrap_or_default();
                let message =
                    format!("{peer} answers the handshake of a WebSocket wrongly{reason}");
                let kind = TransportErrorKind::InvalidResponse;
                Err((TransportError::new(kind, message), false))
            }
        }
    }
}

/// awc's codec, for frames that are not too large.
struct Bounded {
    codec: Codec,
    max_bytes: usize,
}

impl Decoder for Bounded {
    type Item = Frame;
    type Error = WsProtocolError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Frame>, WsProtocolError> {
        if announced(bytes).is_some_and(|length| length > self.max_bytes as u64) {
            return Err(WsProtocolError::Overflow);
        }
        self.codec.decode(bytes)
    }
}

impl Encoder<Message> for Bounded {
    type Error = WsProtocolError;

    fn encode(&mut self, message: Message, bytes: &mut BytesMut) -> Result<(), WsProtocolError> {
        self.codec.encode(message, bytes)
    }
}

/// How long the next frame says that it is (RFC 6455, 5.2).
fn announced(bytes: &[u8]) -> Option<u64> {
    match bytes.get(1)? & 0x7f {
        126 => {
            let length = bytes.get(2..4)?.try_into().ok()?;
            Some(u16::from_be_bytes(length).into())
        }
        127 => {
            let length = bytes.get(2..10)?.try_into().ok()?;
            Some(u64::from_be_bytes(length))
        }
        length => Some(length.into()),
    }
}

/// A socket of awc's.
struct AwcSocket {
    framed: Framed<BoxedSocket, Bounded>,
    /// The fragments of a message that has not ended, and whether it is text.
    begun: Option<(bool, BytesMut)>,
    max_message_bytes: usize,
    peer: String,
    is_over: bool,
}

impl AwcSocket {
    fn error(&self, error: WsProtocolError) -> TransportError {
        let peer = &self.peer;
        match error {
            WsProtocolError::Overflow => self.too_large(),
            WsProtocolError::Io(error) => {
                let message = format!("the WebSocket with {peer} broke{}", io_reason(&error));
                TransportError::new(TransportErrorKind::Body, message).with_source(error)
            }
            error => {
                let message = format!("{peer} sends what is no frame of a WebSocket: {error}");
                TransportError::new(TransportErrorKind::Body, message)
            }
        }
    }

    fn too_large(&self) -> TransportError {
        let (peer, limit) = (&self.peer, self.max_message_bytes);
        let message = format!("a message of {peer} is over the limit of {limit} bytes");
        TransportError::new(TransportErrorKind::MessageTooLarge, message)
    }

    /// A message, if a frame was all of it or the last of it.
    fn message(&mut self, frame: Frame) -> Result<Option<WebSocketMessage>, TransportError> {
        let item = match frame {
            Frame::Text(text) => return Ok(Some(WebSocketMessage::Text(text))),
            Frame::Binary(bytes) => return Ok(Some(WebSocketMessage::Binary(bytes))),
            Frame::Ping(bytes) => return Ok(Some(WebSocketMessage::Ping(bytes))),
            Frame::Pong(bytes) => return Ok(Some(WebSocketMessage::Pong(bytes))),
            Frame::Close(reason) => {
                let reason = reason.map(|CloseReason { code, description }| {
                    (code.into(), description.unwrap_or_default())
                });
                return Ok(Some(WebSocketMessage::Close(reason)));
            }
            Frame::Continuation(item) => item,
        };
        let (bytes, is_last) = match item {
            Item::FirstText(bytes) => {
                self.begun = Some((true, BytesMut::new()));
                (bytes, false)
            }
            Item::FirstBinary(bytes) => {
                self.begun = Some((false, BytesMut::new()));
                (bytes, false)
            }
            Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
        };
        // The codec lets nothing go on that has not begun.
        let (is_text, mut begun) = self.begun.take().unwrap_or_default();
        if begun.len() + bytes.len() > self.max_message_bytes {
            return Err(self.too_large());
        }
        begun.extend_from_slice(&bytes);
        Ok(match (is_last, is_text) {
            (false, _) => {
                self.begun = Some((is_text, begun));
                None
            }
            (true, true) => Some(WebSocketMessage::Text(begun.freeze())),
            (true, false) => Some(WebSocketMessage::Binary(begun.freeze())),
        })
    }
}

impl WebSocket for AwcSocket {
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<WebSocketMessage, TransportError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        loop {
            let next = std::task::ready!(Pin::new(&mut self.framed).next_item(cx));
            let message = match next {
                Some(Ok(frame)) => self.message(frame).transpose(),
                Some(Err(error)) => Some(Err(self.error(error))),
                None => {
                    self.is_over = true;
                    return Poll::Ready(None);
                }
            };
            if let Some(message) = message {
                self.is_over = message.is_err();
                return Poll::Ready(Some(message));
            }
        }
    }

    fn start_send(&mut self, message: WebSocketMessage) -> Result<(), TransportError> {
        let message = match message {
            WebSocketMessage::Text(text) => match text.try_into() {
                Ok(text) => Message::Text(text),
                Err(_) => {
                    let message = "a text for a WebSocket is not UTF-8";
                    let kind = TransportErrorKind::InvalidRequest;
                    return Err(TransportError::new(kind, message));
                }
            },
            WebSocketMessage::Binary(bytes) => Message::Binary(bytes),
            WebSocketMessage::Ping(bytes) => Message::Ping(bytes),
            WebSocketMessage::Pong(bytes) => Message::Pong(bytes),
            WebSocketMessage::Close(reason) => {
                Message::Close(reason.map(|(code, reason)| CloseReason {
                    code: CloseCode::from(code),
                    description: (!reason.is_empty()).then_some(reason),
                }))
            }
        };
        let written = Pin::new(&mut self.framed).write(message);
        written.map_err(|error| self.error(error))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let flushed = Pin::new(&mut self.framed).flush::<Message>(cx);
        flushed.map_err(|error| self.error(error))
    }
}
