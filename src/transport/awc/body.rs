//! Bodies, out and in.

use std::{
    convert::Infallible,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_http::HttpMessage;
use awc::{ClientResponse, body::SizedStream, error::PayloadError};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;

use super::{dialer::IDLE_CONNECTION, errors::body_error, target::Target};
use crate::transport::{
    BodyStream, TransportError, TransportErrorKind, connection::Handle, framing::Framing,
};

/// How much of a body is handed to awc at a time: a write that fills what a socket usually takes.
pub(super) const BODY_PIECE: usize = 64 * 1024;

/// awc copies each piece of a body before it writes it, so one in one piece would be held twice as long as the server reads it.
pub(super) fn in_pieces(
    body: &Bytes,
) -> SizedStream<impl Stream<Item = Result<Bytes, Infallible>> + use<>> {
    let (body, length) = (body.clone(), body.len());
    let starts = (0..length).step_by(BODY_PIECE);
    let pieces = starts.map(move |at| Ok(body.slice(at..length.min(at + BODY_PIECE))));
    SizedStream::new(length as u64, stream::iter(pieces))
}

pub(super) fn read_body<S>(
    framing: Framing,
    mut response: ClientResponse<S>,
    connection: Option<Handle>,
    target: &Rc<Target>,
) -> BodyStream
where
    S: Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static,
{
    let expected = match framing {
        Framing::Nothing | Framing::Sized(0) => {
            connection.inspect(|connection| connection.is_idle(IDLE_CONNECTION));
            return Box::pin(stream::empty());
        }
        Framing::Sized(length) => Some(length),
        Framing::Chunked | Framing::UntilClose => None,
    };
    Box::pin(Body {
        // Without the head, which has been read: its table of headers takes 3 KiB for as long as a stream lasts.
        payload: Some(response.take_payload()),
        expected,
        received: 0,
        connection,
        target: Rc::clone(target),
    })
}

/// A body that awc reads. It has ended when `payload` is gone, and with it the connection, unless it went back to the pool.
struct Body<P> {
    payload: Option<P>,
    expected: Option<u64>,
    received: u64,
    connection: Option<Handle>,
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
            Some(Err(error)) => Some(Err(body_error(error, &body.target.peer.authority))),
            // awc does not tell a body that was cut from one that ended. With a length it can be told.
            None => body.expected.filter(|&expected| body.received < expected).map(|expected| {
                let (peer, received) = (&body.target.peer.authority, body.received);
                let message = format!("{peer} closed the connection after {received} of {expected} bytes of the body");
                Err(TransportError::new(TransportErrorKind::Body, message))
            }),
        };
        body.payload = None;
        if let (None, Some(connection)) = (&item, body.connection.take()) {
            connection.is_idle(IDLE_CONNECTION);
        }
        Poll::Ready(item)
    }
}
