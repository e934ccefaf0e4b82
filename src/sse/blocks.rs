//! Chunks to whole blocks of an event stream, as they came.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

use super::{DecodeError, field::Field};

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Finds where the blocks of an event stream end. It says the same as a decoder that is [lenient](super::SseDecoder::lenient): where a
/// server forgot the empty line, the block ends before the line with which the next one must have begun.
///
/// A block is what stands up to and with its empty line. One without data, or whose data is empty, is none. A byte order mark before the
/// first one is left out, for it means something at the beginning of a body alone.
pub(crate) struct BlockSplitter {
    /// The block that is under way, as far as it came in earlier chunks.
    open: BytesMut,
    /// Where its last line begins in it.
    line: usize,
    /// The last chunk ended in CR, so an LF that begins the next one ends nothing.
    after_cr: bool,
    /// No line has ended yet.
    at_first_line: bool,
    seen: Seen,
    max_bytes: usize,
}

/// What the lines of a block have said so far.
#[derive(Clone, Copy, Default)]
struct Seen {
    has_event: bool,
    /// The first and the last byte of its data that are no white space.
    data: Option<(u8, u8)>,
    /// Whether the data has gone on in a line that is no field.
    is_continued: bool,
    /// Whether its last line that was not empty ended in CR LF.
    is_crlf: bool,
}

/// How far a chunk was read.
pub(crate) struct Split {
    /// How many bytes of the chunk were taken.
    pub(crate) taken: usize,
    /// What ended there.
    pub(crate) end: SplitEnd,
}

pub(crate) enum SplitEnd {
    /// The chunk did, and no block.
    Open,
    /// A block without data.
    Nothing,
    /// A block that lies here in the chunk.
    Whole(Range<usize>),
    /// A block that came in several chunks, or whose empty line was missing.
    Joined(Bytes),
}

impl BlockSplitter {
    /// A block may have as many bytes.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            open: BytesMut::new(),
            line: 0,
            after_cr: false,
            at_first_line: true,
            seen: Seen::default(),
            max_bytes,
        }
    }

    /// Whether the next byte begins a block, as far as lines tell: not where an LF may still be that of the block before.
    pub(crate) fn is_between_blocks(&self) -> bool {
        self.open.is_empty() && !self.after_cr && !self.at_first_line
    }

    /// Reads a chunk from `start` on, up to the end of a block.
    ///
    /// # Errors
    /// When a block has too many bytes.
    pub(crate) fn read(&mut self, chunk: &[u8], start: usize) -> Result<Split, DecodeError> {
        let mut begin = start;
        if self.after_cr && begin < chunk.len() {
            self.after_cr = false;
            if chunk[begin] == b'\n' {
                begin += 1;
                // Within a block it belongs to the line before it; behind one it was added already, or says nothing.
                if !self.open.is_empty() {
                    self.open.extend_from_slice(b"\n");
                    self.line = self.open.len();
                    self.seen.is_crlf = true;
                }
            }
        }
        let mut at = begin;
        while let Some(length) = memchr2(b'\n', b'\r', &chunk[at..]) {
            let line_end = at + length;
            let is_crlf = chunk[line_end..].starts_with(b"\r\n");
            let next = line_end + 1 + usize::from(is_crlf);
            self.after_cr = next == chunk.len() && !is_crlf && chunk[line_end] == b'\r';
            if self.open.is_empty() {
                if let Some(end) = self.line_in_chunk(chunk, begin, at..line_end, next, is_crlf) {
                    return self.split(next - start, end);
                }
            } else {
                let begins = self.line;
                self.open.extend_from_slice(&chunk[at..next]);
                let line_end = self.open.len() - (next - line_end);
                if let Some(end) = self.line_in_open(begins..line_end, is_crlf) {
                    return self.split(next - start, end);
                }
            }
            at = next;
        }
        if self.open.is_empty() {
            self.line = at - begin;
            self.open.extend_from_slice(&chunk[begin..]);
        } else {
            self.open.extend_from_slice(&chunk[at..]);
        }
        self.split(chunk.len() - start, SplitEnd::Open)
    }

    fn split(&self, taken: usize, end: SplitEnd) -> Result<Split, DecodeError> {
        let bytes = match &end {
            SplitEnd::Open => self.open.len(),
            SplitEnd::Nothing => 0,
            SplitEnd::Whole(range) => range.len(),
            SplitEnd::Joined(bytes) => bytes.len(),
        };
        if bytes > self.max_bytes {
            return Err(DecodeError::EventTooLarge {
                limit: self.max_bytes,
            });
        }
        Ok(Split { taken, end })
    }

    /// Reads a line of a block that lies in the chunk from `begin` on.
    #[inline]
    fn line_in_chunk(
        &mut self,
        chunk: &[u8],
        begin: usize,
        line: Range<usize>,
        next: usize,
        is_crlf: bool,
    ) -> Option<SplitEnd> {
        let mark = match std::mem::take(&mut self.at_first_line) {
            true if chunk[begin..].starts_with(BYTE_ORDER_MARK) => BYTE_ORDER_MARK.len(),
            _ => 0,
        };
        let text = &chunk[line.start + mark..line.end];
        if text.is_empty() {
            let seen = std::mem::take(&mut self.seen);
            return Some(match seen.data {
                None => SplitEnd::Nothing,
                Some(_) if self.after_cr && seen.is_crlf => {
                    SplitEnd::Joined([&chunk[begin..next], b"\n"].concat().into())
                }
                Some(_) => SplitEnd::Whole(begin..next),
            });
        }
        let before = self.seen;
        if !self.seen.read(text, is_crlf) {
            if mark > 0 {
                // What follows the mark is gathered, as what began in an earlier chunk.
                self.open.extend_from_slice(&chunk[begin + mark..next]);
                self.line = self.open.len();
            }
            return None;
        }
        self.open.extend_from_slice(&chunk[line.start..next]);
        self.line = self.open.len();
        Some(closed(before, chunk[begin..line.start].to_vec()))
    }

    /// Reads a line of the block that is gathered.
    fn line_in_open(&mut self, line: Range<usize>, is_crlf: bool) -> Option<SplitEnd> {
        let mut line = line;
        if std::mem::take(&mut self.at_first_line) && self.open.starts_with(BYTE_ORDER_MARK) {
            let _ = self.open.split_to(BYTE_ORDER_MARK.len());
            line.end -= BYTE_ORDER_MARK.len();
        }
        let text = &self.open[line.clone()];
        if text.is_empty() {
            let seen = std::mem::take(&mut self.seen);
            if seen.data.is_some() && self.after_cr && seen.is_crlf {
                self.open.extend_from_slice(b"\n");
            }
            let block = self.open.split().freeze();
            self.line = 0;
            return Some(match seen.data {
                None => SplitEnd::Nothing,
                Some(_) => SplitEnd::Joined(block),
            });
        }
        let before = self.seen;
        let is_next = self.seen.read(text, is_crlf);
        let block = is_next.then(|| self.open.split_to(line.start));
        self.line = self.open.len();
        block.map(|block| closed(before, block.to_vec()))
    }

    /// The body has ended: what is left of a block, with its empty line.
    pub(crate) fn finish(&mut self) -> Option<Bytes> {
        let mark = match self.at_first_line && self.open.starts_with(BYTE_ORDER_MARK) {
            true => BYTE_ORDER_MARK.len(),
            false => 0,
        };
        let line = self.open.get(self.line.max(mark)..).unwrap_or_default();
        let mut seen = std::mem::take(&mut self.seen);
        if !line.is_empty() {
            seen.read(line, seen.is_crlf);
        }
        let mut block = self.open.split().split_off(mark).to_vec();
        seen.data?;
        if !block.ends_with(b"\n") && !block.ends_with(b"\r") {
            block.extend_from_slice(seen.line_end());
        }
        block.extend_from_slice(seen.line_end());
        Some(block.into())
    }
}

/// A block whose empty line was missing.
#[cold]
fn closed(seen: Seen, mut block: Vec<u8>) -> SplitEnd {
    if seen.data.is_none() {
        return SplitEnd::Nothing;
    }
    block.extend_from_slice(seen.line_end());
    SplitEnd::Joined(block.into())
}

impl Seen {
    fn line_end(self) -> &'static [u8] {
        match self.is_crlf {
            true => b"\r\n",
            false => b"\n",
        }
    }

    /// Reads a line that is not empty. Whether it begins another block, as the decoder has it.
    #[inline]
    fn read(&mut self, line: &[u8], is_crlf: bool) -> bool {
        let mut is_next = false;
        match Field::of(line) {
            Field::Data(value) => {
                let value = value.trim_ascii();
                is_next = matches!(self.data, Some((b'{', b'}')))
                    && (value.starts_with(b"{") || value.eq_ignore_ascii_case(b"[DONE]"));
                if is_next {
                    *self = Self::default();
                }
                self.add(value);
            }
            Field::Event(value) => {
                is_next = self.has_event && self.data.is_some();
                if is_next {
                    *self = Self::default();
                }
                self.has_event = !value.is_empty();
            }
            Field::Unknown if self.is_open_json() => {
                self.is_continued = true;
                self.add(line.trim_ascii());
            }
            _ => {}
        }
        self.is_crlf = is_crlf;
        is_next
    }

    fn is_open_json(&self) -> bool {
        self.data.is_some_and(|(first, last)| {
            matches!(first, b'{' | b'[')
                && (self.is_continued || matches!(last, b'{' | b'[' | b','))
        })
    }

    #[inline]
    fn add(&mut self, value: &[u8]) {
        if let (Some(first), Some(last)) = (value.first(), value.last()) {
            let first = self.data.map_or(*first, |(before, _)| before);
            self.data = Some((first, *last));
        }
    }
}
