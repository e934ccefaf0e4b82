//! awc's errors in our words.

use std::io;

use actix_http::error::ParseError;
use awc::error::{ConnectError, PayloadError, SendRequestError};

use crate::transport::{
    TransportError, TransportErrorKind,
    dial::{alert, io_reason},
};

pub(super) fn invalid_request(
    message: String,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> TransportError {
    TransportError::new(TransportErrorKind::InvalidRequest, message).with_source(source)
}

/// The error of a connection that broke, or that the peer ended by an alert of TLS.
fn broken(kind: TransportErrorKind, what: String, error: io::Error, peer: &str) -> TransportError {
    let alert = alert(&error, peer);
    let broken = || TransportError::new(kind, what + &io_reason(&error));
    alert.unwrap_or_else(broken).with_source(error)
}

pub(super) fn body_error(error: PayloadError, peer: &str) -> TransportError {
    match error {
        PayloadError::Incomplete(Some(error)) | PayloadError::Io(error) => {
            let what = format!("reading the body of {peer} failed");
            broken(TransportErrorKind::Body, what, error, peer)
        }
        error => {
            let message = format!("reading the body of {peer} failed: {error}");
            TransportError::new(TransportErrorKind::Body, message)
        }
    }
}

pub(super) fn send_error(error: SendRequestError, peer: &str) -> TransportError {
    let unsendable = || format!("can't send a request to {peer}");
    match error {
        SendRequestError::Connect(error) => connect_error(error, peer),
        SendRequestError::Send(error) => {
            let what = format!("the connection to {peer} broke while the request was sent");
            broken(TransportErrorKind::Send, what, error, peer)
        }
        SendRequestError::Response(error) => head_error(error, peer),
        SendRequestError::Url(error) => invalid_request(unsendable(), error),
        SendRequestError::Http(error) => invalid_request(unsendable(), error),
        // Of HTTP/2, tunnels, streamed bodies and awc's own timeout, none of which is used.
        error => {
            let message = format!("can't send a request to {peer}: {error}");
            TransportError::new(TransportErrorKind::Send, message)
        }
    }
}

fn head_error(error: ParseError, peer: &str) -> TransportError {
    match error {
        ParseError::Io(error) => {
            let what =
                format!("the connection to {peer} broke before the response's head was there");
            broken(TransportErrorKind::Send, what, error, peer)
        }
        error => {
            let message = format!("what {peer} answers is not HTTP that can be read");
            TransportError::new(TransportErrorKind::InvalidResponse, message).with_source(error)
        }
    }
}

fn connect_error(error: ConnectError, peer: &str) -> TransportError {
    match error {
        ConnectError::Io(error) => error.downcast::<TransportError>().unwrap_or_else(|error| {
            let message = format!("can't connect to {peer}{}", io_reason(&error));
            TransportError::new(TransportErrorKind::Connect, message).with_source(error)
        }),
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
