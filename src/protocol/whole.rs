//! An answer in one piece, as the server wrote it.

use std::sync::Arc;

use bytes::Bytes;

use super::{Id, RawJson, ResponseEvent, ResponseHead};

/// The answer to a request that asked for no stream.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WholeAnswer {
    /// What the server wrote.
    pub body: WholeBody,
    /// How it ended: [`Completed`](ResponseEvent::Completed) where the server says that the answer is whole, else
    /// [`Incomplete`](ResponseEvent::Incomplete), with its word for why where it has one. Both have the id and the usage, and no response
    /// object beside `body`.
    pub end: ResponseEvent,
    /// The model that the server names.
    pub model: Option<Id>,
    /// The head that it came with; absent where none was read.
    pub head: Option<Arc<ResponseHead>>,
    /// Which attempt brought it; the first is 1.
    pub attempt: u32,
}

/// See [`WholeAnswer::body`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WholeBody {
    /// A `response` or a `chat.completion`, byte for byte, whatever it says: also one of the Responses API that is not done yet, and one
    /// of Chat without a `finish_reason`.
    Object(RawJson),
    /// A server streamed all the same: the blocks of its stream, byte for byte, to its end.
    Blocks(Vec<Bytes>),
}

impl WholeAnswer {
    /// An answer that ended so.
    pub fn new(body: WholeBody, end: ResponseEvent) -> Self {
        Self {
            body,
            end,
            model: None,
            head: None,
            attempt: 1,
        }
    }
}
