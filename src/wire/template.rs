//! The shortcut for an event that repeats the one before it but for its text.

use std::ops::Range;

use memchr::{memchr, memchr2};

use crate::{
    json::{
        escapes::{StringInside, string_inside, unescape},
        members::{Member, Members},
        walk::skip_space,
    },
    sse::SseLimits,
};

/// An event that was read in full, as the SSE block that it came in (`event: ...`, `data: {...}` and the blank line), and the
/// places in it that the next one may change. `T` is where the dialect has its text go.
///
/// Nearly all events of a stream are deltas that equal the one before, byte for byte, outside the text, the sequence number
/// of the Responses wire and, on OpenAI's servers, a string of padding. Such a block frames the same JSON with other values in
/// three places. So comparing bytes reads it as surely as framing and parsing it does, at a fraction of the cost. What differs
/// anywhere else, or holds in those places what JSON or UTF-8 does not take, is left to the decoder and the parser; they decide,
/// and an event that they read becomes the next template.
#[derive(Default)]
pub(super) struct Template<T> {
    /// What frames the JSON is that of the last template, also while there is no JSON.
    block: Vec<u8>,
    data: Range<usize>,
    /// In their order; those that are not used lie at the end of the JSON.
    holes: [Hole; MAX_HOLES],
    /// The same of the text and of padding behind it, for the comparison that nearly always does.
    text: Option<Hole>,
    padding: Option<Hole>,
    /// Whether it has a number, or padding before its text.
    needs_all_holes: bool,
    /// The sequence number that the block holds: the one after that of the event before.
    expected: Option<u64>,
    /// Where that number ends in the block.
    number_end: usize,
    pub(super) target: T,
    unescaped: String,
    /// Its JSON is that of the event that came last, but for the holes.
    is_current: bool,
    /// How many templates have been made since one was of use.
    unused: usize,
    max_block_bytes: usize,
}

const MAX_HOLES: usize = 3;

/// What is longer is no delta that others are like, and is not kept for them.
const MAX_BYTES: usize = 64 * 1024;

/// After so many templates that no event repeated, as when a server names a new item in every event, only one event in as
/// many is tried.
pub(super) const MAX_UNUSED: usize = 16;

/// A place in the block, which the next one may fill with something else of its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hole {
    kind: HoleKind,
    start: usize,
    end: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum HoleKind {
    /// The digits of the sequence number.
    SequenceNumber,
    /// The inside of the text's string.
    Text,
    /// The inside of a string that nobody reads.
    Padding,
    #[default]
    Unused,
}

/// What is compared with the template.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Bytes that begin with a block, perhaps.
    Block,
    /// The data of an event that the SSE decoder framed.
    Data,
}

/// What an event says that repeats the template.
#[derive(Debug, PartialEq)]
pub(super) struct Repeated<'a, T> {
    pub(super) text: &'a str,
    pub(super) target: &'a T,
    pub(super) sequence_number: Option<u64>,
    /// How many bytes it takes.
    pub(super) bytes: usize,
}

/// Where a short text is checked. It begins where a word of the machine does, and zeros fill its last ones, so that plain text is judged
/// by words and not by bytes.
#[derive(Default)]
#[repr(align(16))]
pub(super) struct Words([u8; 32]);

impl Words {
    /// The text that these bytes are.
    #[inline(always)] // As `Template::read`.
    fn text<'a>(&'a mut self, bytes: &'a [u8]) -> Option<&'a str> {
        let length = bytes.len();
        if length > self.0.len() {
            return std::str::from_utf8(bytes).ok();
        }
        self.0 = Default::default();
        self.0[..length].copy_from_slice(bytes);
        let filled = std::str::from_utf8(&self.0[..length.next_multiple_of(16)]);
        filled.ok()?.get(..length)
    }
}

/// What the holes hold.
#[derive(Clone, Copy)]
struct Filling<'a> {
    inside: &'a [u8],
    has_escapes: bool,
    sequence_number: Option<u64>,
    /// Where the event ends.
    end: usize,
}

impl<T: Default> Template<T> {
    /// No template yet, and none larger than what the SSE decoder takes as a line and an event.
    pub(super) fn new(limits: SseLimits) -> Self {
        Self {
            block: b"data: \n\n".to_vec(),
            data: 6..6,
            max_block_bytes: limits.max_line_bytes.min(limits.max_event_bytes),
            ..Self::default()
        }
    }

    /// Reads `bytes`, if they repeat the template.
    #[inline(always)] // Called for every delta, which costs 6 % more instructions with it as a call.
    pub(super) fn read<'a>(
        &'a mut self,
        bytes: &'a [u8],
        form: Form,
        words: &'a mut Words,
    ) -> Option<Repeated<'a, T>> {
        self.is_current = false;
        let filling = self.compare(bytes, form)?;
        let is_it = match form {
            Form::Block => filling.end <= self.max_block_bytes,
            Form::Data => filling.end == bytes.len(),
        };
        is_it.then_some(())?;
        let mut text = words.text(filling.inside)?;
        if filling.has_escapes {
            self.unescaped.clear();
            unescape(text, &mut self.unescaped).then_some(())?;
        }
        self.unused = 0;
        self.expect_after(filling.sequence_number);
        self.is_current = form == Form::Data;
        if filling.has_escapes {
            text = &self.unescaped;
        }
        Some(Repeated {
            text,
            target: &self.target,
            sequence_number: filling.sequence_number,
            bytes: filling.end,
        })
    }

    /// Compares `bytes` with the template: with the number that is expected, and if that fails with any.
    #[inline(always)] // As `read`.
    fn compare<'a>(&self, bytes: &'a [u8], form: Form) -> Option<Filling<'a>> {
        match self.compare_as_expected(bytes, form) {
            None if self.needs_all_holes => self.compare_with_all_holes(bytes, form),
            found => found,
        }
    }

    #[inline(always)]
    fn compare_as_expected<'a>(&self, bytes: &'a [u8], form: Form) -> Option<Filling<'a>> {
        let (start, end) = self.ends(form);
        let text = self.text?;
        let rest = bytes.strip_prefix(self.block.get(start..text.start)?)?;
        let written = string_inside(rest, 0)?;
        let (inside, mut rest) = rest.split_at(written.end);
        let mut literal = text.end;
        if let Some(padding) = self.padding {
            rest = rest.strip_prefix(self.block.get(literal..padding.start)?)?;
            rest = &rest[padding_end(rest, 0)?..];
            literal = padding.end;
        }
        rest = rest.strip_prefix(self.block.get(literal..end)?)?;
        Some(Filling {
            inside,
            has_escapes: written.has_escapes,
            sequence_number: self.expected,
            end: bytes.len() - rest.len(),
        })
    }

    /// The same with any number, and with the holes in any order.
    fn compare_with_all_holes<'a>(&self, bytes: &'a [u8], form: Form) -> Option<Filling<'a>> {
        let (mut literal, end) = self.ends(form);
        let mut at = 0;
        let mut text = None;
        let mut sequence_number = None;
        for hole in &self.holes {
            at = end_of(bytes, at, self.block.get(literal..hole.start)?)?;
            literal = hole.end;
            match hole.kind {
                HoleKind::SequenceNumber => {
                    let (number, digits) = number_at(&bytes[at..])?;
                    sequence_number = Some(number);
                    at += digits;
                }
                HoleKind::Text => {
                    let inside = string_inside(bytes, at)?;
                    text = Some((&bytes[at..inside.end], inside.has_escapes));
                    at = inside.end;
                }
                HoleKind::Padding => at = padding_end(bytes, at)?,
                HoleKind::Unused => {}
            }
        }
        let end = end_of(bytes, at, self.block.get(literal..end)?)?;
        let (inside, has_escapes) = text?;
        Some(Filling {
            inside,
            has_escapes,
            sequence_number,
            end,
        })
    }

    /// Where what is compared begins and ends in the block.
    #[inline(always)]
    fn ends(&self, form: Form) -> (usize, usize) {
        match form {
            Form::Block => (0, self.block.len()),
            Form::Data => (self.data.start, self.data.end),
        }
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
        if !(is_held && count_up(&mut self.block[..self.number_end])) {
            self.write_number(next);
        }
    }

    /// Writes a number that may be longer or shorter than the one before. What lies behind it moves.
    #[cold]
    fn write_number(&mut self, number: u64) {
        let is_number = |hole: &&Hole| hole.kind == HoleKind::SequenceNumber;
        let Some(Hole { start, end, .. }) = self.holes.iter().find(is_number).copied() else {
            return;
        };
        let digits = number.to_string();
        self.block.splice(start..end, digits.bytes());
        self.move_places(|at| match at >= end {
            true => at - end + start + digits.len(),
            false => at,
        });
    }

    fn move_places(&mut self, moved: impl Fn(usize) -> usize) {
        let strings = self.text.iter_mut().chain(&mut self.padding);
        for hole in self.holes.iter_mut().chain(strings) {
            (hole.start, hole.end) = (moved(hole.start), moved(hole.end));
        }
        self.number_end = moved(self.number_end);
        self.data = moved(self.data.start)..moved(self.data.end);
    }

    /// Takes the data of an event, which the parser has read, as the template of those to come. Its text is where these names lead,
    /// and its sequence number what has that name. The type of the event is to be in its JSON where it counts: the `event` line is
    /// not looked at. What is not plain JSON on one line leaves the last template in place.
    pub(super) fn learn(&mut self, data: &str, text: &[&str], number: Option<&str>, target: T) {
        self.unused += 1;
        let is_seldom = self.unused > MAX_UNUSED && !self.unused.is_multiple_of(MAX_UNUSED);
        if is_seldom || data.len() > MAX_BYTES {
            return;
        }
        let mut found = Found {
            json: data,
            number,
            holes: [Hole::unused(data.len()); MAX_HOLES],
            count: 0,
        };
        if memchr2(b'\n', b'\r', data.as_bytes()).is_some() || found.find(0, text, true).is_none() {
            return;
        }
        let start = self.data.start;
        let (before, after) = (&self.block[..start], &self.block[self.data.end..]);
        self.block = [before, data.as_bytes(), after].concat();
        self.data.end = start + data.len();
        self.holes = found.holes.map(|hole| Hole {
            start: start + hole.start,
            end: start + hole.end,
            ..hole
        });
        let hole = |kind| self.holes.into_iter().find(|hole| hole.kind == kind);
        self.text = hole(HoleKind::Text);
        self.padding = hole(HoleKind::Padding);
        let number = hole(HoleKind::SequenceNumber);
        self.needs_all_holes = number.is_some();
        if self.padding.map(|hole| hole.start) < self.text.map(|hole| hole.start)
            && self.padding.is_some()
        {
            (self.text, self.padding) = (None, None);
            self.needs_all_holes = true;
        }
        self.number_end = number.map_or(0, |hole| hole.end);
        self.expected = number.and_then(|hole| Some(number_at(&self.block[hole.start..])?.0));
        self.target = target;
        self.is_current = true;
        self.expect_after(self.expected);
    }

    /// Takes note of the whole block that the event came in which came last.
    pub(super) fn frame(&mut self, block: &[u8]) {
        if self.is_current
            && let Some(data) = data_of(block)
        {
            let (before, after) = (&block[..data.start], &block[data.end..]);
            let old = self.data.clone();
            if self.block[..old.start] == *before && self.block[old.end..] == *after {
                return;
            }
            self.block = [before, &self.block[old.clone()], after].concat();
            self.move_places(|at| (at + before.len()).saturating_sub(old.start));
        }
    }

    /// Lets go of the JSON: what comes next is for the parser to read.
    pub(super) fn forget(&mut self) {
        self.block.drain(self.data.clone());
        self.data.end = self.data.start;
        self.holes = Default::default();
        (self.text, self.padding) = (None, None);
        self.needs_all_holes = false;
        self.expected = None;
        self.is_current = false;
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

/// The holes of an object that the parser has read.
struct Found<'a> {
    json: &'a str,
    /// What the member with the sequence number is called.
    number: Option<&'a str>,
    holes: [Hole; MAX_HOLES],
    count: usize,
}

impl Found<'_> {
    /// Finds those of the object, or the list with one, that is at a place, where the text is under the first of these names; the
    /// others are members of the outermost. `None` when it does not have exactly one text, or when a name has escapes.
    fn find(&mut self, at: usize, text: &[&str], is_outermost: bool) -> Option<()> {
        let (name, inner) = text.split_first()?;
        let at = match self.json[at..].starts_with('[') {
            true => skip_space(self.json.as_bytes(), at + 1),
            false => at,
        };
        let mut has_text = false;
        for member in Members::at(self.json, at) {
            let Member { name: other, value } = member;
            let is_string = self.json[value.clone()].starts_with('"');
            let inside = value.start + 1..value.end.saturating_sub(1);
            if other == *name {
                (!has_text).then_some(())?;
                has_text = true;
                match inner {
                    [] => is_string.then(|| self.add(HoleKind::Text, inside))??,
                    inner => self.find(value.start, inner, false)?,
                }
            } else if is_outermost && other == "obfuscation" && is_string {
                self.add(HoleKind::Padding, inside)?;
            } else if is_outermost && Some(other) == self.number {
                let (_, digits) = number_at(&self.json.as_bytes()[value.start..])?;
                (digits == value.len()).then(|| self.add(HoleKind::SequenceNumber, value))??;
            } else if other.contains('\\') {
                return None;
            }
        }
        has_text.then_some(())
    }

    fn add(&mut self, kind: HoleKind, place: Range<usize>) -> Option<()> {
        if self.holes.iter().any(|hole| hole.kind == kind) {
            return None;
        }
        *self.holes.get_mut(self.count)? = Hole {
            kind,
            start: place.start,
            end: place.end,
        };
        self.count += 1;
        Some(())
    }
}

/// Where `literal` ends in `bytes`, if it is what stands at `at`.
#[inline(always)]
fn end_of(bytes: &[u8], at: usize, literal: &[u8]) -> Option<usize> {
    let end = at + literal.len();
    (bytes.get(at..end)? == literal).then_some(end)
}

/// Where the string of padding ends whose inside begins at `at`. One with escapes is for the parser: they could be none.
#[inline(always)]
fn padding_end(bytes: &[u8], at: usize) -> Option<usize> {
    let StringInside { end, has_escapes } = string_inside(bytes, at)?;
    (!has_escapes).then_some(end)
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
fn number_at(bytes: &[u8]) -> Option<(u64, usize)> {
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
fn data_of(block: &[u8]) -> Option<Range<usize>> {
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
    memchr2(b'\n', b'\r', data)
        .is_none()
        .then(|| end - data.len()..end)
}
