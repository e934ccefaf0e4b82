//! Damage for tests: bytes that a server would not send.

use proptest::{prelude::*, sample::Index};

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
