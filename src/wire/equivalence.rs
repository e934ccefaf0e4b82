//! For tests of the shortcuts: with them and without, a body decodes alike.

use proptest::{prelude::*, sample::Index};

use super::{
    Dialect, Step, StreamDecoder, StreamLimits, Terminal, TextPlace, Wire, sse_stream::SseStream,
};
use crate::{
    protocol::{Id, ResponseEvent, StreamAnomalies},
    sse::{SseEvent, SseLimits},
};

/// What a body decodes to: its events, its end, what was odd, and how many SSE events there were.
pub(crate) type Decoded = (Vec<ResponseEvent>, Option<Terminal>, StreamAnomalies, u64);

/// Decodes with a dialect that is given events alone, and is made to forget its template before each.
pub(crate) fn parsed<D: Dialect>(dialect: D, forget: fn(&mut D), body: &[u8]) -> Decoded {
    let mut dialect = Forgetful { dialect, forget };
    let mut events = Vec::new();
    let mut stream = SseStream::new(SseLimits::default());
    let terminal = stream.feed(&mut dialect, body, &mut events);
    let anomalies = dialect.anomalies().clone();
    (events, terminal, anomalies, stream.progress.events)
}

/// A dialect that takes no block and has no template.
struct Forgetful<D> {
    dialect: D,
    forget: fn(&mut D),
}

impl<D: Dialect> Dialect for Forgetful<D> {
    fn read_block(&mut self, _: &[u8], _: &mut Vec<ResponseEvent>) -> Option<usize> {
        None
    }

    fn note_block(&mut self, _: &[u8]) {}

    fn on_event(&mut self, event: SseEvent<'_>, out: &mut Vec<ResponseEvent>) -> Step {
        (self.forget)(&mut self.dialect);
        self.dialect.on_event(event, out)
    }

    fn on_text(&mut self, text: &str, place: TextPlace, out: &mut Vec<ResponseEvent>) -> Step {
        self.dialect.on_text(text, place, out)
    }

    fn set_request_id(&mut self, request_id: Id) {
        self.dialect.set_request_id(request_id);
    }

    fn answer(&self) -> &super::answer::Answer {
        self.dialect.answer()
    }

    fn finish(&mut self, out: &mut Vec<ResponseEvent>) -> Terminal {
        self.dialect.finish(out)
    }

    fn anomalies(&self) -> &StreamAnomalies {
        self.dialect.anomalies()
    }
}

/// Decoding gives what was parsed, in one chunk and in chunks of this size.
pub(crate) fn check(wire: Wire, body: &[u8], chunk_bytes: usize, parsed: &Decoded) {
    for chunk_bytes in [body.len(), chunk_bytes] {
        let mut decoder = StreamDecoder::new(wire, StreamLimits::default());
        let mut events = Vec::new();
        let terminal = body
            .chunks(chunk_bytes.max(1))
            .find_map(|chunk| decoder.feed(chunk, &mut events));
        let anomalies = decoder.anomalies().clone();
        let decoded = (events, terminal, anomalies, decoder.events());
        let body = body.escape_ascii();
        assert_eq!(&decoded, parsed, "in {chunk_bytes}: {body}");
    }
}

/// What happens to a block before it is sent.
#[derive(Clone, Debug)]
pub(crate) enum Mutation {
    Insert(Index, u8),
    Replace(Index, u8),
    Remove(Index),
    /// A piece of it comes twice.
    Repeat(Index, Index),
}

pub(crate) fn mutation() -> impl Strategy<Value = Mutation> {
    let byte = || {
        prop_oneof![
            proptest::sample::select(&b"\"\\{}[],: \n\r0123456789eu.-+ad\x00\x1f\xff\xc3"[..]),
            any::<u8>(),
        ]
    };
    prop_oneof![
        (any::<Index>(), byte()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        (any::<Index>(), byte()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        any::<Index>().prop_map(Mutation::Remove),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
    ]
}

pub(crate) fn mutate(block: &mut Vec<u8>, mutation: &Mutation) {
    if block.is_empty() {
        return;
    }
    match mutation {
        Mutation::Insert(at, byte) => block.insert(at.index(block.len()), *byte),
        Mutation::Replace(at, byte) => {
            let at = at.index(block.len());
            block[at] = *byte;
        }
        Mutation::Remove(at) => {
            block.remove(at.index(block.len()));
        }
        Mutation::Repeat(from, to) => {
            let (from, to) = (from.index(block.len()), to.index(block.len()));
            let piece = block[from.min(to)..from.max(to)].to_vec();
            let at = from.min(to);
            block.splice(at..at, piece);
        }
    }
}
