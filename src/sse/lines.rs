//! Chunks to lines: LF, CR or CRLF, wherever the chunks were cut.

use std::mem;

use memchr::memchr2;

use super::DecodeError;

/// The capacity a buffer keeps between uses. Text deltas have a few hundred bytes and whole items
/// tens of KiB, so a stream settles without allocating, while a stream that once carried an image
/// does not hold megabytes until its end.
pub(super) const KEPT_CAPACITY: usize = 64 * 1024;

/// Empties a buffer for its next use and gives back what exceeds [`KEPT_CAPACITY`].
pub(super) fn recycle(buffer: &mut Vec<u8>) {
    buffer.clear();
    if buffer.capacity() > KEPT_CAPACITY {
        buffer.shrink_to(KEPT_CAPACITY);
    }
}

/// Cuts chunks into lines without terminators.
///
/// A line that lies whole in a chunk is borrowed from it. Only a line that spans chunks is copied,
/// and only its new bytes are searched for an end, so the cost stays linear however small the
/// chunks are.
///
/// For each chunk, in this order: [`join`](Self::join) once, [`next_line`](Self::next_line) until
/// `None`, [`keep`](Self::keep).
#[derive(Debug)]
pub(super) struct LineSplitter {
    /// The beginning of a line whose end has not come yet; empty at the start of a line.
    open: Vec<u8>,
    /// The last chunk ended in CR. That line was handed over at once, so an LF at the start of the
    /// next chunk ends nothing.
    after_cr: bool,
    max_line_bytes: usize,
}

impl LineSplitter {
    pub(super) fn new(max_line_bytes: usize) -> Self {
        Self {
            open: Vec::new(),
            after_cr: false,
            max_line_bytes,
        }
    }

    /// True at the start of a line when the next byte cannot belong to the terminator of the last
    /// one.
    pub(super) fn is_at_line_start(&self) -> bool {
        self.open.is_empty() && !self.after_cr
    }

    /// Ends the line that earlier chunks left open, if there is one and `chunk` has its end. If
    /// `chunk` has no line end at all, the open line takes all of it. The caller returns the buffer
    /// with [`take_back`](Self::take_back) before [`keep`](Self::keep).
    #[inline]
    pub(super) fn join(&mut self, chunk: &mut &[u8]) -> Result<Option<Vec<u8>>, DecodeError> {
        if self.after_cr && !chunk.is_empty() {
            self.after_cr = false;
            *chunk = chunk.strip_prefix(b"\n").unwrap_or(chunk);
        }
        if self.open.is_empty() {
            return Ok(None);
        }
        let Some(end) = line_end(chunk) else {
            self.keep(mem::take(chunk))?;
            return Ok(None);
        };
        self.keep(&chunk[..end])?;
        self.skip_terminator(chunk, end);
        Ok(Some(mem::take(&mut self.open)))
    }

    /// Takes the next line off the front of `chunk`; `None` when the rest of it has no line end.
    #[inline]
    pub(super) fn next_line<'c>(
        &mut self,
        chunk: &mut &'c [u8],
    ) -> Result<Option<&'c [u8]>, DecodeError> {
        let Some(end) = line_end(chunk) else {
            return Ok(None);
        };
        let line = &chunk[..end];
        self.check_length(line.len())?;
        self.skip_terminator(chunk, end);
        Ok(Some(line))
    }

    /// Keeps the bytes of a line whose end is not in this chunk.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        self.check_length(self.open.len() + bytes.len())?;
        self.open.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes the buffer of a joined line back for the next one.
    pub(super) fn take_back(&mut self, mut joined: Vec<u8>) {
        recycle(&mut joined);
        self.open = joined;
    }

    /// Takes what came after the last line end, at the end of the stream.
    pub(super) fn take_open(&mut self) -> Vec<u8> {
        self.after_cr = false;
        mem::take(&mut self.open)
    }

    fn check_length(&self, bytes: usize) -> Result<(), DecodeError> {
        if bytes > self.max_line_bytes {
            return Err(DecodeError::LineTooLong {
                limit: self.max_line_bytes,
            });
        }
        Ok(())
    }

    fn skip_terminator(&mut self, chunk: &mut &[u8], end: usize) {
        let is_cr = chunk[end] == b'\r';
        *chunk = &chunk[end + 1..];
        if is_cr {
            // Waiting to see whether an LF follows would hold back an event until the server writes
            // the next one.
            self.after_cr = chunk.is_empty();
            *chunk = chunk.strip_prefix(b"\n").unwrap_or(chunk);
        }
    }
}

/// Where the first terminator of `bytes` is.
#[inline]
fn line_end(bytes: &[u8]) -> Option<usize> {
    match bytes.first() {
        // Every event ends in an empty line, which is not worth a call.
        Some(b'\n' | b'\r') => Some(0),
        _ => memchr2(b'\n', b'\r', bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of `chunks`, and the open line after them.
    fn split(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut splitter = LineSplitter::new(1_000);
        let mut lines = Vec::new();
        for chunk in chunks {
            let mut rest = *chunk;
            if let Some(joined) = splitter.join(&mut rest).unwrap() {
                lines.push(joined.clone());
                splitter.take_back(joined);
            }
            while let Some(line) = splitter.next_line(&mut rest).unwrap() {
                lines.push(line.to_vec());
            }
            splitter.keep(rest).unwrap();
        }
        (lines, splitter.take_open())
    }

    /// Bytes, their lines, and what follows the last of them.
    type Case<'a> = (&'a [u8], &'a [&'a [u8]], &'a [u8]);

    #[test]
    fn terminators_split_alike_at_every_byte() {
        let table: &[Case<'_>] = &[
            (b"a\nb\n", &[b"a", b"b"], b""),
            (b"a\rb\r", &[b"a", b"b"], b""),
            (b"a\r\nb\r\n", &[b"a", b"b"], b""),
            (b"a\r\n\r\nb", &[b"a", b""], b"b"),
            (b"a\n\nb", &[b"a", b""], b"b"),
            (b"a\r\rb", &[b"a", b""], b"b"),
            (b"a\n\rb", &[b"a", b""], b"b"),
            (b"a\n\r\nb", &[b"a", b""], b"b"),
            (b"a\r\n\nb", &[b"a", b""], b"b"),
            (b"a\r\r\nb", &[b"a", b""], b"b"),
            (b"\n\r\r\n", &[b"", b"", b""], b""),
            (b"open", &[], b"open"),
            (b"", &[], b""),
        ];
        for (bytes, lines, open) in table {
            let expected = (
                lines.iter().map(|line| line.to_vec()).collect(),
                open.to_vec(),
            );
            for at in 0..=bytes.len() {
                let (head, tail) = bytes.split_at(at);
                assert_eq!(split(&[head, tail]), expected, "{bytes:?} at {at}");
            }
            let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(split(&bytewise), expected, "{bytes:?} bytewise");
        }
    }

    #[test]
    fn crlf_split_between_chunks_ends_one_line() {
        assert_eq!(split(&[b"a\r", b"\nb\r", b"", b"\n"]).0, [b"a", b"b"]);
    }

    #[test]
    fn line_in_one_chunk_is_borrowed_from_it() {
        let chunk = b"data: 1\ndata: 2\n".as_slice();
        let mut rest = chunk;
        let mut splitter = LineSplitter::new(10);
        let line = splitter.next_line(&mut rest).unwrap().unwrap();
        assert!(std::ptr::eq(line, &chunk[..7]));
        assert_eq!(splitter.open.capacity(), 0);
    }

    #[test]
    fn buffer_of_a_huge_line_is_not_kept() {
        let mut splitter = LineSplitter::new(usize::MAX);
        splitter.keep(&vec![b'x'; 10 * KEPT_CAPACITY]).unwrap();
        let joined = splitter.join(&mut &b"\n"[..]).unwrap().unwrap();
        assert_eq!(joined.len(), 10 * KEPT_CAPACITY);
        splitter.take_back(joined);
        let kept = splitter.open.capacity();
        assert!((1..=KEPT_CAPACITY).contains(&kept), "{kept}");
    }
}
