//! What is known of an answer when it begins.

use bytes::Bytes;

use crate::wire::Wire;

/// What is known of an answer when it begins.
#[derive(Clone)]
pub(in crate::relay) struct About {
    /// The dialect that the client speaks: what its blocks are.
    pub(in crate::relay) wire: Wire,
    /// As the client named it.
    pub(in crate::relay) model: String,
    /// Who is asked first. [`Answer::set_attempt`](super::Answer::set_attempt) says who answers.
    pub(in crate::relay) provider: String,
    /// `x-relay-detach: true`, or a response in the background: it runs on without readers.
    pub(in crate::relay) detached: bool,
    /// Not asked for with `store: false`.
    pub(in crate::relay) stored: bool,
    /// Its server was asked to go on with it by itself.
    pub(in crate::relay) background: bool,
    /// The body of the request, unpacked: its input is what `input_items` and `previous_response_id` need.
    pub(in crate::relay) request: Bytes,
}

impl About {
    /// Whether it is kept for the retention time after its end.
    pub(in crate::relay) fn is_kept(&self) -> bool {
        self.detached || self.stored
    }
}
