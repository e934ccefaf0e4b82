//! Fields to events: data joining, the last event ID, and the end of the stream.

use std::fmt;
use std::mem;
use std::ops::ControlFlow;
use std::time::Duration;

use super::error::{DecodeError, SseLimits};
use super::field::{Field, decode};
use super::lines::{LineSplitter, recycle};

/// One event, valid during the call it is handed over in.
///
/// Bytes that are not UTF-8 appear as U+FFFD, as [`String::from_utf8_lossy`] replaces them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SseEvent<'a> {
    /// The `event` field of this block, the last one if there are several; `None` when absent or
    /// empty. (A browser then says "message".)
    pub event: Option<&'a str>,
    /// The values of the `data` fields, joined by LF. Empty when the only `data` field was.
    pub data: &'a str,
    /// The last `id` up to and including this block, empty before the first. It stays in force
    /// until another replaces it.
    pub last_event_id: &'a str,
}

/// What a decoder that is [lenient](SseDecoder::lenient) hands over.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Frame<'a> {
    Event(SseEvent<'a>),
    /// A line that the standard ignores: a field that it does not know, or no field at all. It comes at once, also within a
    /// block.
    Stray(&'a [u8]),
}

/// Decodes one event stream, chunk by chunk.
///
/// An event that lies whole in a chunk and has one `data` line is borrowed from the chunk: no copy,
/// no allocation. The first [`DecodeError`] is final: every later call returns it again.
///
/// ```
/// use std::ops::ControlFlow;
/// use actix_responses::sse::{SseDecoder, SseLimits};
///
/// let mut decoder = SseDecoder::new(SseLimits::default());
/// let mut seen = Vec::new();
/// for chunk in ["event: greeting\nda", "ta: hello\n\ndata: wor", "ld\n\n"] {
///     decoder.feed(chunk.as_bytes(), |event| {
///         seen.push((event.event.map(str::to_owned), event.data.to_owned()));
///         ControlFlow::Continue(())
///     })?;
/// }
/// assert_eq!(seen, [(Some("greeting".into()), "hello".into()), (None, "world".into())]);
/// # Ok::<(), actix_responses::sse::DecodeError>(())
/// ```
pub struct SseDecoder {
    lines: LineSplitter,
    max_event_bytes: usize,
    /// No line has ended yet, so the next one may begin with a byte order mark.
    at_first_line: bool,
    /// The standard's event type buffer, for a block that spans chunks.
    event: Vec<u8>,
    /// The standard's data buffer, each value followed by LF, for a block that spans chunks or has
    /// several `data` lines.
    data: Vec<u8>,
    /// The standard's last event ID buffer. It becomes `last_event_id` when its block ends.
    id: String,
    id_changed: bool,
    last_event_id: String,
    retry: Option<Duration>,
    comments: u64,
    failed: Option<DecodeError>,
    /// Whether a block also ends where the next event must have begun.
    is_lenient: bool,
    /// Whether the block's data has gone on in a line that is no field.
    is_continued: bool,
}

/// The fields of the current block that can still be borrowed.
///
/// An `event` here replaces the buffered one. A `data` here is the first of its block, so the data
/// buffer is empty.
#[derive(Default)]
struct Block<'a> {
    event: Option<&'a [u8]>,
    data: Option<&'a [u8]>,
}

impl SseDecoder {
    /// Starts at the beginning of a stream.
    pub fn new(limits: SseLimits) -> Self {
        Self {
            lines: LineSplitter::new(limits.max_line_bytes),
            max_event_bytes: limits.max_event_bytes,
            at_first_line: true,
            event: Vec::new(),
            data: Vec::new(),
            id: String::new(),
            id_changed: false,
            last_event_id: String::new(),
            retry: None,
            comments: 0,
            failed: None,
            is_lenient: false,
            is_continued: false,
        }
    }

    /// The same for servers that forget the empty line between events. A block then also ends before a second `event` that
    /// follows on data, and between two `data` of which the first ends an object and the second begins one: together they are
    /// no JSON. JSON that a `data` begins goes on in the lines behind it that are no fields.
    pub(crate) fn lenient(limits: SseLimits) -> Self {
        Self {
            is_lenient: true,
            ..Self::new(limits)
        }
    }

    /// Feeds one chunk, and calls `on_event` for each event that it completes, in order, before it
    /// returns.
    ///
    /// Returns how many bytes of the chunk it took: all of them, unless `on_event` broke off. Then
    /// it took what belongs to the event it broke off at. The rest can be ignored, as after a
    /// terminal event, or fed later.
    ///
    /// # Errors
    ///
    /// When a limit is passed. Events that were complete before have been handed over; the one that
    /// passed it has not.
    #[inline]
    pub fn feed(
        &mut self,
        chunk: &[u8],
        on_event: impl FnMut(SseEvent<'_>) -> ControlFlow<()>,
    ) -> Result<usize, DecodeError> {
        self.feed_frames(chunk, events_alone(on_event))
    }

    /// The same with the lines that are ignored. A break at one of those takes what came up to it.
    #[inline]
    pub(crate) fn feed_frames(
        &mut self,
        chunk: &[u8],
        mut on_frame: impl FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<usize, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.read_chunk(chunk, &mut on_frame)
            .inspect_err(|error| self.failed = Some(*error))
    }

    /// Ends the stream, and hands over the event that was under way if it has any data.
    ///
    /// The standard discards such an event. Servers exist that omit the empty line after their last
    /// one, or even its line end, and a terminal event must not be lost to that; whether the data
    /// is whole is for its reader to find out. Without data, what remains is discarded, and an `id`
    /// in it does not become the last event ID. There is nothing to hand over a second time.
    ///
    /// # Errors
    ///
    /// When the last line makes the event pass a limit, or decoding had failed before.
    pub fn finish(
        &mut self,
        on_event: impl FnMut(SseEvent<'_>) -> ControlFlow<()>,
    ) -> Result<(), DecodeError> {
        self.finish_frames(events_alone(on_event))
    }

    /// The same with the lines that are ignored.
    pub(crate) fn finish_frames(
        &mut self,
        mut on_frame: impl FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<(), DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let last_line = self.lines.take_open();
        let mut block = Block::default();
        let line = self.without_byte_order_mark(&last_line);
        let flow = self
            .read_field(line, &mut block, &mut on_frame)
            .inspect_err(|error| self.failed = Some(*error))?;
        if flow.is_break() {
            return Ok(());
        }
        if block.data.is_none() && self.data.is_empty() {
            self.id_changed = false;
        }
        // Nothing follows that a break could stop.
        let _ = self.dispatch(block, &mut on_frame);
        Ok(())
    }

    /// The reconnection time of the last valid `retry` field. A number too large for milliseconds
    /// in 64 bits counts as the largest.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// The last event ID as of the last complete block, whether or not that block had data; empty
    /// when there is none.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// How many comment lines have been seen. Servers send them to keep a connection alive.
    pub fn comments(&self) -> u64 {
        self.comments
    }

    /// True when the next byte begins a block and nothing of an earlier one is held.
    ///
    /// A caller may then take whole blocks off the front of the coming bytes itself, and feed only
    /// what remains. It is false before the first line has ended, because a byte order mark could
    /// come, and after a CR at the end of a chunk, because its LF could.
    pub fn is_between_events(&self) -> bool {
        self.lines.is_at_line_start()
            && !self.at_first_line
            && self.failed.is_none()
            && self.event.is_empty()
            && self.data.is_empty()
            && !self.id_changed
    }

    #[inline]
    fn read_chunk(
        &mut self,
        chunk: &[u8],
        on_frame: &mut impl FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<usize, DecodeError> {
        let mut rest = chunk;
        // The line is taken out of the splitter, so that the block can borrow from it as it does
        // from the chunk.
        let joined = self.lines.join(&mut rest)?;
        if rest.is_empty() && joined.is_none() {
            // The open line took the chunk, as it takes most of a stream that comes in small ones.
            return Ok(chunk.len());
        }
        let flow = self.read_lines(joined.as_deref(), &mut rest, on_frame)?;
        if let Some(joined) = joined {
            self.lines.take_back(joined);
        }
        if flow.is_break() {
            return Ok(chunk.len() - rest.len());
        }
        self.lines.keep(rest)?;
        Ok(chunk.len())
    }

    /// Reads the joined line and then those of the chunk, until one breaks or the lines run out.
    #[inline]
    fn read_lines<'a, 'chunk: 'a>(
        &mut self,
        joined: Option<&'a [u8]>,
        rest: &mut &'chunk [u8],
        on_frame: &mut impl FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, DecodeError> {
        let mut block = Block::default();
        let mut next = match joined {
            Some(line) => Some(line),
            None => self.lines.next_line(rest)?,
        };
        while let Some(line) = next {
            let line = self.without_byte_order_mark(line);
            self.at_first_line = false;
            let flow = if line.is_empty() {
                self.dispatch(mem::take(&mut block), on_frame)
            } else {
                self.read_field(line, &mut block, on_frame)?
            };
            if flow.is_break() {
                // It has something where the line that ended an event began another.
                self.hold(block);
                return Ok(ControlFlow::Break(()));
            }
            next = self.lines.next_line(rest)?;
        }
        self.hold(block);
        Ok(ControlFlow::Continue(()))
    }

    #[inline]
    fn read_field<'a>(
        &mut self,
        line: &'a [u8],
        block: &mut Block<'a>,
        on_frame: &mut impl FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, DecodeError> {
        match Field::of(line) {
            Field::Data(value) => {
                if self.is_lenient && self.is_other_object(value, block) {
                    let flow = self.dispatch_early(block, on_frame);
                    self.add_data(value, block)?;
                    return Ok(flow);
                }
                self.add_data(value, block)?;
            }
            Field::Event(value) => {
                let has_data = block.data.is_some() || !self.data.is_empty();
                let has_event = block.event.is_some() || !self.event.is_empty();
                if self.is_lenient && has_data && has_event {
                    let flow = self.dispatch_early(block, on_frame);
                    block.event = Some(value);
                    return Ok(flow);
                }
                block.event = Some(value);
            }
            Field::Id(value) => {
                self.id.clear();
                self.id.push_str(&decode(value));
                self.id_changed = true;
            }
            Field::Retry(time) => self.retry = Some(time),
            Field::Comment => self.comments += 1,
            Field::Ignored => {}
            // What is left at the end of a stream may be nothing.
            Field::Unknown if line.is_empty() => {}
            Field::Unknown if self.is_lenient && self.is_open_json(block) => {
                self.is_continued = true;
                self.add_data(line, block)?;
            }
            Field::Unknown => return Ok(on_frame(Frame::Stray(line))),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Whether the block's data is JSON that goes on in lines of their own, as a pretty printer breaks it.
    fn is_open_json(&self, block: &Block<'_>) -> bool {
        let data = block.data.unwrap_or(&self.data).trim_ascii();
        let begins = matches!(data.first(), Some(b'{' | b'['));
        begins && (self.is_continued || matches!(data.last(), Some(b'{' | b'[' | b',')))
    }

    /// Whether a `data` value begins an object where the block holds a whole one already.
    #[inline]
    fn is_other_object(&self, value: &[u8], block: &Block<'_>) -> bool {
        let before = match block.data {
            Some(data) => data,
            None if self.data.is_empty() => return false,
            None => &self.data,
        };
        let begins = |bytes: &[u8]| bytes.trim_ascii_start().starts_with(b"{");
        begins(before)
            && before.trim_ascii_end().ends_with(b"}")
            && (begins(value) || value.trim_ascii().eq_ignore_ascii_case(b"[DONE]"))
    }

    #[inline]
    fn add_data<'a>(&mut self, value: &'a [u8], block: &mut Block<'a>) -> Result<(), DecodeError> {
        // With the LF that joins the new value to it.
        let before = match block.data {
            Some(first) => first.len() + 1,
            None => self.data.len(),
        };
        if before + value.len() > self.max_event_bytes {
            return Err(DecodeError::EventTooLarge {
                limit: self.max_event_bytes,
            });
        }
        if before == 0 {
            block.data = Some(value);
        } else {
            self.hold_data(block.data.take());
            self.hold_data(Some(value));
        }
        Ok(())
    }

    /// The standard's "dispatch the event".
    #[inline]
    fn dispatch(
        &mut self,
        block: Block<'_>,
        on_frame: &mut impl FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if self.id_changed {
            self.last_event_id.clone_from(&self.id);
            self.id_changed = false;
        }
        // A single empty `data` line leaves an LF in the standard's buffer, so only a block without
        // any is dropped.
        let flow = match block.data.or_else(|| self.data.strip_suffix(b"\n")) {
            Some(data) => {
                let event = decode(block.event.unwrap_or(&self.event));
                on_frame(Frame::Event(SseEvent {
                    event: (!event.is_empty()).then_some(&event),
                    data: &decode(data),
                    last_event_id: &self.last_event_id,
                }))
            }
            None => ControlFlow::Continue(()),
        };
        recycle(&mut self.event);
        recycle(&mut self.data);
        self.is_continued = false;
        flow
    }

    /// The same where the empty line was forgotten.
    #[cold]
    fn dispatch_early(
        &mut self,
        block: &mut Block<'_>,
        on_frame: &mut impl FnMut(Frame<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.dispatch(mem::take(block), on_frame)
    }

    /// Buffers what a block has so far, because the chunk ends before the block does.
    #[inline]
    fn hold(&mut self, block: Block<'_>) {
        if let Some(event) = block.event {
            recycle(&mut self.event);
            self.event.extend_from_slice(event);
        }
        self.hold_data(block.data);
    }

    fn hold_data(&mut self, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.data.extend_from_slice(value);
            self.data.push(b'\n');
        }
    }

    fn without_byte_order_mark<'a>(&self, line: &'a [u8]) -> &'a [u8] {
        match line.strip_prefix(b"\xEF\xBB\xBF") {
            Some(rest) if self.at_first_line => rest,
            _ => line,
        }
    }
}

/// Passes over what is no event.
#[inline]
fn events_alone(
    mut on_event: impl FnMut(SseEvent<'_>) -> ControlFlow<()>,
) -> impl FnMut(Frame<'_>) -> ControlFlow<()> {
    move |frame| match frame {
        Frame::Event(event) => on_event(event),
        Frame::Stray(_) => ControlFlow::Continue(()),
    }
}

impl fmt::Debug for SseDecoder {
    /// Says where the decoder is, not what it holds, which is what people said to a model.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SseDecoder")
            .field("is_between_events", &self.is_between_events())
            .field("comments", &self.comments)
            .field("retry", &self.retry)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::KEPT_CAPACITY;
    use super::*;

    const NO_LIMITS: SseLimits = SseLimits {
        max_line_bytes: usize::MAX,
        max_event_bytes: usize::MAX,
    };

    /// The data of the events in `chunks`, up to an error, and whatever ended them.
    fn data_of<'a>(
        limits: SseLimits,
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<String>, Result<(), DecodeError>) {
        let mut decoder = SseDecoder::new(limits);
        let mut data = Vec::new();
        let mut push = |event: SseEvent<'_>| {
            data.push(event.data.to_owned());
            ControlFlow::Continue(())
        };
        let fed = chunks
            .into_iter()
            .try_for_each(|chunk| decoder.feed(chunk, &mut push).map(drop));
        let ended = decoder.finish(&mut push);
        assert_eq!(fed.and(ended), ended, "an error is final");
        (data, ended)
    }

    #[test]
    fn event_whole_in_a_chunk_is_borrowed_from_it() {
        let chunk =
            b": hi\nevent: delta\ndata: {\"n\":1}\n\nevent: delta\r\ndata: {\"n\":2}\r\n\r\n";
        let mut decoder = SseDecoder::new(SseLimits::default());
        let mut count = 0;
        decoder
            .feed(chunk, |event| {
                count += 1;
                for text in [event.data, event.event.unwrap()] {
                    assert!(chunk.as_ptr_range().contains(&text.as_ptr()), "{text}");
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(count, 2);
        assert_eq!(decoder.data.capacity() + decoder.event.capacity(), 0);
    }

    #[test]
    fn break_leaves_the_rest_of_the_chunk() {
        let table: &[&[u8]] = &[
            b"data: 1\n\ndata: 2\n\ndata: 3\n\n",
            b"data: 1\r\rdata: 2\r\rdata: 3\r\r",
            b"data: 1\r\n\r\ndata: 2\r\n\r\ndata: 3\r\n\r\n",
        ];
        for body in table {
            let mut decoder = SseDecoder::new(SseLimits::default());
            let mut seen = Vec::new();
            let mut rest = *body;
            for stop in ["2", "3"] {
                let taken = decoder
                    .feed(rest, |event| {
                        seen.push(event.data.to_owned());
                        if event.data == stop {
                            ControlFlow::Break(())
                        } else {
                            ControlFlow::Continue(())
                        }
                    })
                    .unwrap();
                rest = &rest[taken..];
                assert_eq!(seen.last().unwrap(), stop);
                assert!(rest.starts_with(b"data: 3") || rest.is_empty());
            }
            assert_eq!(seen, ["1", "2", "3"]);
        }
    }

    #[test]
    fn break_in_a_line_joined_from_two_chunks_leaves_the_rest_of_the_second() {
        let mut decoder = SseDecoder::new(SseLimits::default());
        decoder
            .feed(b"data: 1\n\ndata", |_| ControlFlow::Continue(()))
            .unwrap();
        let taken = decoder
            .feed(b": 2\n\ndata: 3\n\n", |_| ControlFlow::Break(()))
            .unwrap();
        assert_eq!(taken, b": 2\n\n".len());
        assert!(decoder.is_between_events());
    }

    #[test]
    fn between_events_means_nothing_is_held() {
        let table: &[(&[u8], bool)] = &[
            (b"", false), // a byte order mark could come
            (b"\xEF\xBB\xBF", false),
            (b"\n", true),
            (b": hello\n", true),
            (b": hel", false),
            (b"data: 1\n\n", true),
            (b"data: 1\n", false),
            (b"data\n", false),
            (b"event: a\n", false),
            (b"event: a\n\n", true),
            (b"id: 1\n", false),
            (b"id: 1\n\n", true),
            (b"retry: 1\n", true),
            (b"data: 1\r\n\r\n", true),
            (b"data: 1\r\r", false), // an LF could come
            (b"data: 1\r\n\r", false),
        ];
        for (bytes, expected) in table {
            for size in 1..=bytes.len().max(1) {
                let mut decoder = SseDecoder::new(SseLimits::default());
                for chunk in bytes.chunks(size) {
                    decoder.feed(chunk, |_| ControlFlow::Continue(())).unwrap();
                }
                assert_eq!(
                    decoder.is_between_events(),
                    *expected,
                    "{}",
                    bytes.escape_ascii()
                );
            }
        }
    }

    /// A body, the data of the events it gives, and how it ends.
    type LimitCase<'a> = (&'a [u8], &'a [&'a str], Result<(), DecodeError>);

    fn check_at_any_chunking(limits: SseLimits, table: &[LimitCase<'_>]) {
        for (body, data, result) in table {
            for size in 1..=body.len() {
                let (found, ended) = data_of(limits, body.chunks(size));
                let name = body.escape_ascii();
                assert_eq!(found, *data, "{name} in pieces of {size}");
                assert_eq!(ended, *result, "{name} in pieces of {size}");
            }
        }
    }

    #[test]
    fn line_limit_holds_at_any_chunking() {
        let limits = SseLimits {
            max_line_bytes: 10,
            ..NO_LIMITS
        };
        let error = Err(DecodeError::LineTooLong { limit: 10 });
        let table: &[LimitCase<'_>] = &[
            (b"data: 1\n\ndata: 7890\n\n", &["1", "7890"], Ok(())),
            (b"data: 1\n\ndata: 7890\r\n\r\n", &["1", "7890"], Ok(())),
            (b"data: 1\n\ndata: 7890", &["1", "7890"], Ok(())),
            (b"data: 1\n\ndata: 78901\n\n", &["1"], error),
            (b"data: 1\n\ndata: 78901\r\n\r\n", &["1"], error),
            (b"data: 1\n\ndata: 78901", &["1"], error),
            (b": 34567890\ndata: 1\n\n", &["1"], Ok(())),
            (b": 345678901\ndata: 1\n\n", &[], error),
            (b"ignored: 01\ndata: 1\n\n", &[], error),
        ];
        check_at_any_chunking(limits, table);
    }

    #[test]
    fn event_limit_holds_at_any_chunking() {
        let limits = SseLimits {
            max_event_bytes: 5,
            ..NO_LIMITS
        };
        let error = Err(DecodeError::EventTooLarge { limit: 5 });
        let table: &[LimitCase<'_>] = &[
            (b"data: 12345\n\n", &["12345"], Ok(())),
            (b"data: 123456\n\n", &[], error),
            (b"data: 12\ndata: 34\n\n", &["12\n34"], Ok(())),
            (b"data: 12\ndata: 345\n\n", &[], error),
            (b"data: 1\n\ndata: 123\ndata: 2\ndata\n\n", &["1"], error),
            (
                b"data: 1\ndata\ndata\ndata\ndata\n\n",
                &["1\n\n\n\n"],
                Ok(()),
            ),
            (b"data: 1\ndata\ndata\ndata\ndata\ndata\n\n", &[], error),
            (b"event: longer than five\ndata: 1\n\n", &["1"], Ok(())),
            (b"data: 12345", &["12345"], Ok(())),
            (b"data: 123456", &[], error),
        ];
        check_at_any_chunking(limits, table);
    }

    #[test]
    fn ten_mebibyte_event_passes_by_default_and_its_buffers_shrink() {
        let value = vec![b'x'; 10 * 1024 * 1024];
        let one_line = [b"data: ", &value[..], b"\n\n"].concat();
        let two_lines = [b"data: ", &value[..], b"\ndata\n\n"].concat();
        for (body, expected) in [(one_line, value.len()), (two_lines, value.len() + 1)] {
            let mut decoder = SseDecoder::new(SseLimits::default());
            let mut lengths = Vec::new();
            for chunk in body.chunks(8 * 1024) {
                decoder
                    .feed(chunk, |event| {
                        lengths.push(event.data.len());
                        ControlFlow::Continue(())
                    })
                    .unwrap();
            }
            assert_eq!(lengths, [expected]);
            let kept = decoder.data.capacity();
            assert!(kept <= KEPT_CAPACITY, "{kept}");
        }
    }

    #[test]
    fn failed_decoder_is_not_between_events() {
        let mut decoder = SseDecoder::new(SseLimits {
            max_event_bytes: 1,
            ..NO_LIMITS
        });
        let fed = decoder.feed(b"data: 12\n", |_| ControlFlow::Continue(()));
        assert_eq!(fed, Err(DecodeError::EventTooLarge { limit: 1 }));
        assert!(!decoder.is_between_events());
    }

    #[test]
    fn finish_hands_over_once() {
        let mut decoder = SseDecoder::new(SseLimits::default());
        let mut count = 0;
        decoder
            .feed(b"data: 1", |_| ControlFlow::Continue(()))
            .unwrap();
        for _ in 0..2 {
            decoder
                .finish(|_| {
                    count += 1;
                    ControlFlow::Continue(())
                })
                .unwrap();
        }
        assert_eq!(count, 1);
    }

    #[test]
    fn debug_does_not_show_what_people_said() {
        let mut decoder = SseDecoder::new(SseLimits::default());
        decoder
            .feed(b"id: secret\ndata: secret\ndata: secret", |_| {
                ControlFlow::Continue(())
            })
            .unwrap();
        assert!(!format!("{decoder:?}").contains("secret"));
    }
}
