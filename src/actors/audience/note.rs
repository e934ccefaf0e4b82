//! What a stored stream holds beside the blocks of servers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    actors::attempt::spec::KeptResponse,
    protocol::{Id, ResponseEvent},
    wire::Wire,
};

/// A block of this crate's own: a comment of an event stream, which nobody reads who does not know of it. No block of a server is one, for
/// those without data are not kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Note {
    /// The blocks that follow are of this attempt.
    Attempt(Box<AttemptNote>),
    /// Events that were read from no block, or that are the end.
    Events(Vec<ResponseEvent>),
}

/// An attempt whose response has begun.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AttemptNote {
    /// The first is 1.
    pub(crate) number: u32,
    /// Which server it is at, by the name of its provider.
    pub(crate) provider: String,
    pub(crate) wire: Wire,
    /// Its provider's [quirk](crate::wire::Quirks::omits_finish_reason).
    #[serde(default)]
    pub(crate) omits_finish_reason: Option<bool>,
    /// The server's id of the request.
    pub(crate) request_id: Option<Id>,
    /// Whether it goes on with the answer of those before.
    pub(crate) resumes: bool,
    /// How others can go on with it.
    pub(crate) kept: Option<Box<KeptResponse>>,
}

const BEFORE: &[u8] = b": {";
const AFTER: &[u8] = b"}\n\n";

impl Note {
    pub(crate) fn to_block(&self) -> serde_json::Result<Bytes> {
        let mut block = b": ".to_vec();
        serde_json::to_writer(&mut block, self)?;
        block.extend_from_slice(b"\n\n");
        Ok(block.into())
    }

    /// The note that a block is. `None` of a server's, which has a line of data.
    pub(crate) fn of(block: &[u8]) -> Option<serde_json::Result<Self>> {
        let inner = block.strip_prefix(BEFORE)?.strip_suffix(AFTER)?;
        let is_line = !inner.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
        let json = &block[BEFORE.len() - 1..=BEFORE.len() + inner.len()];
        is_line.then(|| serde_json::from_slice(json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back_and_no_block_of_a_server_is_one() {
        let note = Note::Events(vec![ResponseEvent::Cancelled]);
        let block = note.to_block().expect("a note");
        assert_eq!(
            &*block,
            b": {\"events\":[{\"type\":\"cancelled\"}]}\n\n".as_slice()
        );
        let read = Note::of(&block).expect("a note").expect("what was written");
        assert!(matches!(read, Note::Events(events) if events == [ResponseEvent::Cancelled]));
        for other in [
            "data: {}\n\n",
            ": {\"events\":[]}\ndata: {}\n\n",
            ": {\"events\":[]}\rdata: {}\n\n",
            ": {\n\n",
            ": {}\n",
            ": x}\n\n",
            "",
        ] {
            assert!(Note::of(other.as_bytes()).is_none(), "{other}");
        }
        assert!(Note::of(b": {}\n\n").is_some_and(|note| note.is_err()));
    }
}
