//! How far the answer of a request was read that its server keeps and goes on with.

use std::sync::Arc;

use url::Url;

use crate::wire::StreamDecoder;

/// What an attempt needs that goes on with a response where the one before it broke.
///
/// It lies with the audience, and is lent with it, because both are one state: all that the decoder has read, and nothing else, was
/// published. The attempt takes it out at its start and puts it back when it has published the last; so of an attempt that panics
/// or is lost, of which nobody knows what it had read, there is none, and nothing is gone on with.
pub(crate) struct Resumption {
    pub(crate) decoder: StreamDecoder,
    /// Where the response goes on.
    pub(crate) url: Arc<Url>,
    /// The attempt that the answer began with.
    pub(crate) began_with: u32,
}
