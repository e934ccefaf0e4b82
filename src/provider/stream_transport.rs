//! How requests for streams are sent.

use crate::{protocol::error::ApiError, wire::Wire};

/// How the requests for streams are sent to a provider. The events are the same; so are their order, timers, limits and errors.
///
/// A WebSocket spares a connection that lives on the head of each request, and the server reading the whole conversation anew. One
/// connection serves one request at a time and then the next that has the same address, headers and key; idle ones are kept for five
/// minutes, and none is used again after 55. A request whose input is that of the connection's last one, then the items that were answered,
/// then something new, is sent with its new input alone (`previous_response_id`), and whole where the server does not go on. Questions, such as a compaction, and `background` responses go by HTTP whatever is chosen.
/// Messages are not compressed: `permessage-deflate` is not offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamTransport {
    /// As a POST that is answered by server-sent events, which every server knows.
    #[default]
    Sse,
    /// As a message on a WebSocket, and where there is none the request fails. For the Responses API alone.
    WebSocket,
    /// As a message on a WebSocket, and where a handshake fails, in whatever way and within [`Timeouts::connect`](super::Timeouts), by SSE
    /// in the same attempt; the server's origin is then asked by SSE for ten minutes, by all workers of the runtime. One that answers the
    /// handshake with 429 has answered the request. With the Chat API it is the same as SSE.
    Auto,
}

impl StreamTransport {
    /// Refuses a warm-up that can only be a POST, which would be answered.
    pub(crate) fn check_warm_up(self, wire: Wire, is_background: bool) -> Result<(), ApiError> {
        match (self, wire) {
            (Self::WebSocket | Self::Auto, Wire::Responses) if !is_background => Ok(()),
            _ => Err(ApiError::misconfigured(
                "a warm-up needs a WebSocket: set `stream_transport` of a provider of the Responses API, and not `background`",
            )),
        }
    }

    /// Refuses what can not be had.
    pub(super) fn check(self, wire: Wire) -> Result<(), ApiError> {
        match (self, wire) {
            (Self::WebSocket, Wire::Chat) => Err(ApiError::misconfigured(
                "`stream_transport` is a WebSocket, and the Chat API has none: choose `auto` or `sse`",
            )),
            _ => Ok(()),
        }
    }
}
