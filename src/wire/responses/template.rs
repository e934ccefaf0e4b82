//! The shortcut for a delta that repeats the one before it but for its text.

use std::iter;

use memchr::memchr;

use crate::{
    json::{
        escapes::{StringInside, string_inside, unescape},
        members::{Member, Members},
    },
    protocol::{
        OutputTextDelta, ReasoningContentDelta, ReasoningSummaryDelta, RefusalDelta, ResponseEvent,
        Text, ToolCallInputDelta,
    },
    wire::StreamLimits,
};

/// A delta's block as it came (`event: ...`, `data: {...}` and the blank line), and the places in it that the next one may
/// change.
///
/// Nearly all events of a stream are deltas that equal the one before, byte for byte, outside the text, the sequence number
/// and, on OpenAI's servers, a string of padding. Such a block frames the same JSON with other values in three places. So
/// comparing bytes reads it as surely as framing and parsing it does, at a fraction of the cost. What differs anywhere else,
/// or holds in those places what JSON or UTF-8 does not take, is left to the decoder and the parser; they decide, and a delta
/// that they read becomes the next template.
pub(super) struct Template {
    /// Empty while there is none.
    block: Vec<u8>,
    /// Where the JSON begins and ends in the block.
    data: (usize, usize),
    /// In their order; those that are not used lie at the end of the JSON.
    holes: [Hole; MAX_HOLES],
    /// The same without that of the sequence number.
    strings: [Hole; MAX_HOLES - 1],
    /// The sequence number that the block holds: the one after that of the event before.
    expected: Option<u64>,
    /// Where that number ends in the block.
    last_digit: usize,
    /// The event of the block, without its text.
    event: ResponseEvent,
    unescaped: String,
    /// The part that the block's delta belongs to, if it is known, and what has been read of it since it was asked for last.
    part: Option<usize>,
    streamed: Streamed,
    /// How many templates have been made since one was of use.
    unused: usize,
    max_block_bytes: usize,
    max_input_bytes: usize,
}

/// What has been streamed of a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Streamed {
    pub(super) bytes: usize,
    /// The last of them, which tells a text that goes on from another one.
    pub(super) last: u8,
    /// All of it, of a tool call's input: a call without the rest of its input can't be carried out.
    pub(super) input: String,
}

impl Streamed {
    #[inline]
    pub(super) fn note(&mut self, text: &str) {
        self.bytes += text.len();
        if let Some(last) = text.as_bytes().last() {
            self.last = *last;
        }
    }

    pub(super) fn append(&mut self, more: &Self) {
        if more.bytes > 0 {
            self.bytes += more.bytes;
            self.last = more.last;
            self.input.push_str(&more.input);
        }
    }
}

const MAX_HOLES: usize = 3;

/// After so many templates that no block repeated, as when a server names a new item in every event, only one event in as
/// many is tried.
const MAX_UNUSED: usize = 16;

/// A place in the block, which the next one may fill with something else of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hole {
    kind: HoleKind,
    start: usize,
    end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HoleKind {
    /// The digits of the sequence number.
    SequenceNumber,
    /// The inside of the delta's string.
    Delta,
    /// The inside of a string that nobody reads.
    Padding,
    Unused,
}

/// What else a block says that repeats the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Repeated {
    pub(super) sequence_number: Option<u64>,
    /// How many bytes it takes.
    pub(super) bytes: usize,
}

/// What the delta's hole holds.
#[derive(Clone, Copy)]
struct Filling<'a> {
    inside: &'a [u8],
    has_escapes: bool,
}

impl Template {
    /// No template yet, and none larger than what the SSE decoder takes as a line and an event.
    pub(super) fn new(limits: impl Into<StreamLimits>) -> Self {
        let limits = limits.into();
        Self {
            block: Vec::new(),
            data: (0, 0),
            holes: [Hole::unused(0); MAX_HOLES],
            strings: [Hole::unused(0); MAX_HOLES - 1],
            expected: None,
            last_digit: 0,
            event: ResponseEvent::Cancelled,
            unescaped: String::new(),
            part: None,
            streamed: Streamed::default(),
            unused: 0,
            max_block_bytes: limits.sse.max_line_bytes.min(limits.sse.max_event_bytes),
            max_input_bytes: limits.max_answer_bytes,
        }
    }

    /// Reads the block that `bytes` begin with, if it repeats the template. The event goes to `out`.
    #[inline]
    pub(super) fn read_block(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<ResponseEvent>,
    ) -> Option<Repeated> {
        let (repeated, delta) = self.compare(bytes, 0, self.block.len())?;
        (repeated.bytes <= self.max_block_bytes).then_some(())?;
        self.push_event(delta, out)?;
        self.expect_after(repeated.sequence_number);
        Some(repeated)
    }

    /// Reads the JSON of an event that the decoder framed, if it repeats the template's. The event goes to `out`.
    pub(super) fn read_data(
        &mut self,
        data: &str,
        out: &mut Vec<ResponseEvent>,
    ) -> Option<Repeated> {
        let (start, end) = self.data;
        let (repeated, delta) = self.compare(data.as_bytes(), start, end)?;
        (repeated.bytes == data.len()).then_some(())?;
        self.push_event(delta, out)?;
        self.expect_after(repeated.sequence_number);
        Some(repeated)
    }

    /// Compares `bytes` with the template from `start` to `end`: with the number that is expected, and if that fails with any.
    #[inline(always)] // Called for every delta, which costs 6 % more instructions with it as a call.
    fn compare<'a>(
        &self,
        bytes: &'a [u8],
        start: usize,
        end: usize,
    ) -> Option<(Repeated, Filling<'a>)> {
        match self.compare_with(&self.strings, bytes, start, end) {
            Some((repeated, delta)) => {
                let sequence_number = self.expected;
                Some((
                    Repeated {
                        sequence_number,
                        ..repeated
                    },
                    delta,
                ))
            }
            None if self.expected.is_some() => self.compare_with_any_number(bytes, start, end),
            None => None,
        }
    }

    fn compare_with_any_number<'a>(
        &self,
        bytes: &'a [u8],
        start: usize,
        end: usize,
    ) -> Option<(Repeated, Filling<'a>)> {
        self.compare_with(&self.holes, bytes, start, end)
    }

    #[inline(always)]
    fn compare_with<'a>(
        &self,
        holes: &[Hole],
        bytes: &'a [u8],
        start: usize,
        end: usize,
    ) -> Option<(Repeated, Filling<'a>)> {
        let (mut literal, mut at) = (start, 0);
        let mut delta = None;
        let mut sequence_number = None;
        for hole in holes {
            at = end_of(bytes, at, self.block.get(literal..hole.start)?)?;
            literal = hole.end;
            match hole.kind {
                HoleKind::SequenceNumber => {
                    let (number, digits) = number(&bytes[at..])?;
                    sequence_number = Some(number);
                    at += digits;
                }
                HoleKind::Delta => {
                    let StringInside { end, has_escapes } = string_inside(bytes, at)?;
                    let inside = &bytes[at..end];
                    delta = Some(Filling {
                        inside,
                        has_escapes,
                    });
                    at = end;
                }
                HoleKind::Padding => {
                    let StringInside { end, has_escapes } = string_inside(bytes, at)?;
                    // An escape could be none.
                    (!has_escapes).then(|| at = end)?;
                }
                HoleKind::Unused => {}
            }
        }
        let repeated = Repeated {
            sequence_number,
            bytes: end_of(bytes, at, self.block.get(literal..end)?)?,
        };
        Some((repeated, delta?))
    }

    /// Writes the number after this one into the block. Numbers rise by one from event to event, so the whole of the block
    /// before the text is mostly one comparison.
    #[inline]
    fn expect_after(&mut self, number: Option<u64>) {
        let Some(next) = number.and_then(|number| number.checked_add(1)) else {
            return;
        };
        let is_held = self.expected == number;
        self.expected = Some(next);
        if !(is_held && count_up(&mut self.block[..=self.last_digit])) {
            self.write_number(next);
        }
    }

    /// Writes a number that may be longer or shorter than the one before.
    #[cold]
    fn write_number(&mut self, number: u64) {
        let is_number = |hole: &&mut Hole| hole.kind == HoleKind::SequenceNumber;
        let Some(hole) = self.holes.iter_mut().find(is_number) else {
            return;
        };
        let digits = number.to_string();
        let (start, end) = (hole.start, hole.end);
        self.block.splice(start..end, digits.bytes());
        self.last_digit = start + digits.len() - 1;
        let moved = |at: usize| match at >= end {
            true => at - end + start + digits.len(),
            false => at,
        };
        self.data.1 = moved(self.data.1);
        for hole in self.holes.iter_mut().chain(&mut self.strings) {
            hole.start = match hole.kind {
                HoleKind::SequenceNumber => hole.start,
                _ => moved(hole.start),
            };
            hole.end = moved(hole.end);
        }
    }

    /// Adds the template's event with another text. `None` when the text is for the parser to judge.
    #[inline(always)] // As `compare`.
    fn push_event(&mut self, delta: Filling<'_>, out: &mut Vec<ResponseEvent>) -> Option<()> {
        let text = std::str::from_utf8(delta.inside).ok()?;
        let text = match delta.has_escapes {
            false => text,
            true => {
                self.unescaped.clear();
                unescape(text, &mut self.unescaped).then_some(&*self.unescaped)?
            }
        };
        self.unused = 0;
        self.streamed.note(text);
        match &self.event {
            // Made in its place: there is room for it before there is an event.
            ResponseEvent::OutputTextDelta(event) => out.extend(iter::once_with(|| {
                ResponseEvent::OutputTextDelta(OutputTextDelta {
                    delta: Text::from(text),
                    item_id: event.item_id.clone(),
                    output_index: event.output_index,
                    content_index: event.content_index,
                    logprobs: None,
                })
            })),
            event => {
                let is_input = matches!(event, ResponseEvent::ToolCallInputDelta(_));
                // Who asks for more than that lets go of it.
                if is_input && self.streamed.input.len() <= self.max_input_bytes {
                    self.streamed.input.push_str(text);
                }
                out.push(with_delta(event, Text::from(text))?);
            }
        }
        Some(())
    }

    /// What has been streamed since this was called last, and the part that it belongs to.
    #[inline]
    pub(super) fn take_streamed(&mut self) -> Option<(usize, Streamed)> {
        match self.streamed.bytes {
            0 => None,
            _ => {
                let streamed = std::mem::take(&mut self.streamed);
                self.part.map(|part| (part, streamed))
            }
        }
    }

    /// Lets go of the block: what comes next is for the parser to read.
    pub(super) fn forget(&mut self) {
        self.block.clear();
        self.data = (0, 0);
        self.holes = [Hole::unused(0); MAX_HOLES];
        self.strings = [Hole::unused(0); MAX_HOLES - 1];
        self.expected = None;
    }

    /// Takes a block, and the event that the parser made of it, as the template of those to come. What is not a plain delta
    /// in a plain block leaves the last template in place. The part is that which the delta belongs to.
    pub(super) fn learn(&mut self, block: &[u8], event: &ResponseEvent, part: Option<usize>) {
        let Some(event) = with_delta(event, Text::default()) else {
            return;
        };
        self.unused += 1;
        if self.unused > MAX_UNUSED && !self.unused.is_multiple_of(MAX_UNUSED) {
            return;
        }
        if let Some(data) = data_of(block)
            && let Some(holes) = holes(block, data)
        {
            self.block.clear();
            self.block.extend_from_slice(block);
            self.data = data;
            self.holes = holes;
            self.strings = [Hole::unused(data.1); MAX_HOLES - 1];
            self.expected = None;
            let mut strings = self.strings.iter_mut();
            for hole in holes {
                match hole.kind {
                    HoleKind::SequenceNumber => {
                        self.expected = number(&block[hole.start..]).map(|(number, _)| number);
                        self.last_digit = hole.end - 1;
                    }
                    _ => {
                        if let Some(place) = strings.next() {
                            *place = hole;
                        }
                    }
                }
            }
            self.event = event;
            self.part = part;
            self.expect_after(self.expected);
        }
    }
}

impl Hole {
    fn unused(at: usize) -> Self {
        Self {
            kind: HoleKind::Unused,
            start: at,
            end: at,
        }
    }
}

/// A delta like this one, of another text. `None` for an event that is no delta, or is one that has more than a text.
#[inline(always)] // As `compare`.
fn with_delta(event: &ResponseEvent, delta: Text) -> Option<ResponseEvent> {
    Some(match event {
        ResponseEvent::OutputTextDelta(OutputTextDelta {
            item_id,
            output_index,
            content_index,
            logprobs: None,
            ..
        }) => ResponseEvent::OutputTextDelta(OutputTextDelta {
            delta,
            item_id: item_id.clone(),
            output_index: *output_index,
            content_index: *content_index,
            logprobs: None,
        }),
        ResponseEvent::RefusalDelta(event) if event.logprobs.is_none() => {
            ResponseEvent::RefusalDelta(RefusalDelta {
                delta,
                item_id: event.item_id.clone(),
                output_index: event.output_index,
                content_index: event.content_index,
                logprobs: None,
            })
        }
        ResponseEvent::ReasoningSummaryDelta(event) => {
            ResponseEvent::ReasoningSummaryDelta(ReasoningSummaryDelta {
                delta,
                item_id: event.item_id.clone(),
                ..*event
            })
        }
        ResponseEvent::ReasoningContentDelta(event) => {
            ResponseEvent::ReasoningContentDelta(ReasoningContentDelta {
                delta,
                item_id: event.item_id.clone(),
                ..*event
            })
        }
        ResponseEvent::ToolCallInputDelta(event) => {
            ResponseEvent::ToolCallInputDelta(ToolCallInputDelta {
                delta,
                item_id: event.item_id.clone(),
                call_id: event.call_id.clone(),
                ..*event
            })
        }
        _ => return None,
    })
}

/// Where `literal` ends in `bytes`, if it is what stands at `at`.
#[inline(always)]
fn end_of(bytes: &[u8], at: usize, literal: &[u8]) -> Option<usize> {
    let end = at + literal.len();
    (bytes.get(at..end)? == literal).then_some(end)
}

/// Adds one to the number that `bytes` end in. False when that takes another digit, or what stands there is no number.
#[inline]
fn count_up(bytes: &mut [u8]) -> bool {
    for digit in bytes.iter_mut().rev() {
        match digit {
            b'9' => *digit = b'0',
            b'0'..=b'8' => {
                *digit += 1;
                return true;
            }
            _ => return false,
        }
    }
    false
}

/// The number that `bytes` begin with, and how many digits it has. `None` for what JSON does not take for a number, and for
/// one that could be too large.
#[inline]
fn number(bytes: &[u8]) -> Option<(u64, usize)> {
    const MAX_DIGITS: usize = 19;
    let mut number = 0u64;
    let mut digits = 0;
    while let Some(digit @ b'0'..=b'9') = bytes.get(digits) {
        if digits == MAX_DIGITS {
            return None;
        }
        number = number * 10 + u64::from(digit - b'0');
        digits += 1;
    }
    let is_json = digits == 1 || (digits > 1 && bytes[0] != b'0');
    is_json.then_some((number, digits))
}

/// Where the JSON lies in a block that has at most an `event` line before it and ends in two line feeds, with or without
/// carriage returns. Other fields would change the decoder's state, and a block that ends in CR may not have ended yet.
fn data_of(block: &[u8]) -> Option<(usize, usize)> {
    std::str::from_utf8(block).ok()?;
    let end = [&b"\n\n"[..], b"\r\n\r\n"]
        .into_iter()
        .find_map(|end| block.strip_suffix(end))?
        .len();
    let mut start = 0;
    if block.starts_with(b"event:") {
        start = memchr(b'\n', block)? + 1;
        let line = block[..start].trim_ascii_end();
        if line.contains(&b'\r') {
            return None;
        }
    }
    let data = block.get(start..end)?.strip_prefix(b"data:")?;
    let data = data.strip_prefix(b" ").unwrap_or(data);
    (!data.contains(&b'\n') && !data.contains(&b'\r')).then(|| (end - data.len(), end))
}

/// Finds the holes of a JSON object that the parser has read. `None` when it does not have exactly one delta, and one type
/// (without which the name of the event counts), or when a name has escapes.
fn holes(block: &[u8], (start, end): (usize, usize)) -> Option<[Hole; MAX_HOLES]> {
    let json = std::str::from_utf8(&block[start..end]).ok()?;
    let mut holes = [Hole::unused(end); MAX_HOLES];
    let mut found = 0;
    let mut has_type = false;
    for Member { name, value } in Members::of(json) {
        let is_string = json[value.clone()].starts_with('"');
        let (kind, place) = match (name, is_string) {
            ("type", true) if !has_type => {
                has_type = true;
                continue;
            }
            ("delta", true) => (HoleKind::Delta, value.start + 1..value.end - 1),
            ("obfuscation", true) => (HoleKind::Padding, value.start + 1..value.end - 1),
            ("sequence_number", false) => {
                let (_, digits) = number(json[value.clone()].as_bytes())?;
                (digits == value.len()).then_some((HoleKind::SequenceNumber, value))?
            }
            ("type" | "delta" | "obfuscation" | "sequence_number", _) => return None,
            (name, _) if name.contains('\\') => return None,
            _ => continue,
        };
        if holes.iter().any(|hole| hole.kind == kind) {
            return None;
        }
        holes[found] = Hole {
            kind,
            start: start + place.start,
            end: start + place.end,
        };
        found += 1;
    }
    let has_delta = holes.iter().any(|hole| hole.kind == HoleKind::Delta);
    (has_type && has_delta).then_some(holes)
}

#[cfg(test)]
mod tests;
