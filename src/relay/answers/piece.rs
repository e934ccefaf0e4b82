//! Blocks that go out together.

use std::{iter, sync::Arc};

use bytes::Bytes;

/// One block or more that lie behind each other in memory, as they go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::relay) struct Piece {
    bytes: Bytes,
    /// Where each block ends, of more than one.
    ends: Option<Arc<[usize]>>,
}

impl Piece {
    /// `ends` are where its blocks end: rising, and the last of them is where the bytes do.
    pub(in crate::relay) fn new(bytes: Bytes, ends: impl ExactSizeIterator<Item = usize>) -> Self {
        let ends = (ends.len() > 1).then(|| ends.collect());
        Self { bytes, ends }
    }

    pub(in crate::relay) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many blocks it has.
    pub(in crate::relay) fn count(&self) -> usize {
        self.ends.as_ref().map_or(1, |ends| ends.len())
    }

    pub(in crate::relay) fn blocks(&self) -> impl DoubleEndedIterator<Item = Bytes> + '_ {
        let whole = self.ends.is_none().then(|| self.bytes.clone());
        let ends = self.ends.as_deref().unwrap_or_default();
        let part = |at: usize| {
            let start = at.checked_sub(1).map_or(0, |before| ends[before]);
            self.bytes.slice(start..ends[at])
        };
        whole.into_iter().chain((0..ends.len()).map(part))
    }

    /// The last block.
    pub(in crate::relay) fn last(&self) -> Bytes {
        self.blocks().next_back().unwrap_or_default()
    }

    /// The same without the first blocks; `None` when there are no others.
    pub(super) fn without_first(&self, count: usize) -> Option<Self> {
        if count == 0 {
            return Some(self.clone());
        }
        let ends = self.ends.as_deref().unwrap_or_default();
        let start = *ends.get(count - 1)?;
        let rest = ends.get(count..).filter(|rest| !rest.is_empty())?;
        let rest = rest.iter().map(|end| end - start);
        Some(Self::new(self.bytes.slice(start..), rest))
    }
}

/// One block.
impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self::new(bytes, iter::empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_its_blocks_from_any_on() {
        let piece = Piece::new(Bytes::from("aabbbc"), [2, 5, 6].into_iter());
        let blocks = |piece: &Piece| piece.blocks().collect::<Vec<_>>();
        assert_eq!(blocks(&piece), ["aa", "bbb", "c"]);
        assert_eq!((piece.count(), &*piece.last()), (3, &b"c"[..]));
        for (skipped, rest) in [
            (0, &["aa", "bbb", "c"][..]),
            (1, &["bbb", "c"]),
            (2, &["c"]),
        ] {
            let piece = piece.without_first(skipped).unwrap();
            assert_eq!(blocks(&piece), rest);
            assert_eq!(**piece.bytes(), *rest.concat().as_bytes());
        }
        assert_eq!(piece.without_first(3), None);
        let one = Piece::from(Bytes::from("a"));
        assert_eq!((blocks(&one), one.count()), (vec![Bytes::from("a")], 1));
        assert_eq!(one.without_first(1), None);
    }
}
