//! Texts, as pieces of them come and as they are whole.

use std::{borrow::Cow, sync::Arc};

use super::{
    Half, ResponsesDialect,
    delta::{Address, DeltaKind, Target},
    item::{input_text, part_text},
    loss::{Loss, lost_start},
    output::Key,
};
use crate::{
    json::{
        escapes::{JoinedText, with_marked_surrogates},
        lenient::string,
        members::member,
    },
    protocol::{RawJson, ResponseEvent, Text},
    wire::{
        Step,
        responses::{envelope::Envelope, known_text::KnownText},
    },
};

impl ResponsesDialect {
    /// Takes a piece of a text.
    pub(super) fn on_delta(
        &mut self,
        kind: DeltaKind,
        name: &str,
        raw: &str,
        data: &str,
        envelope: &Envelope<'_>,
        out: &mut Vec<ResponseEvent>,
    ) -> Step {
        let Some(delta) = &envelope.delta else {
            if member(data, "delta").is_some_and(|delta| delta != "null") {
                self.lose(Loss::Piece);
            }
            return self.missing(name, "delta", data);
        };
        if let Some(piece) = &self.lost_start
            && !self.output.is_begun()
        {
            let error = lost_start(piece);
            return Step::End(self.fail(error, out));
        }
        let (address, part) = self.place(kind, envelope, None);
        self.part = part;
        let logprobs = envelope
            .logprobs
            .filter(|json| *json != "[]")
            .map(RawJson::from_walked);
        let is_repaired = raw.len() != data.len() || raw.as_ptr() != data.as_ptr();
        if is_repaired || self.half.is_some() {
            self.on_split_delta(kind, address, raw, logprobs, out);
        } else {
            let is_plain = logprobs.is_none() && envelope.kind.is_some();
            self.push_text(kind, &address, delta, logprobs, out);
            if is_plain {
                let target = Target {
                    kind,
                    address,
                    part,
                };
                let number = Some("sequence_number");
                self.template.learn(raw, &["delta"], number, target);
            }
        }
        Step::Continue
    }

    /// Reads a delta that begins or ends in half a character, or follows one that did.
    #[cold]
    fn on_split_delta(
        &mut self,
        kind: DeltaKind,
        address: Address,
        raw: &str,
        logprobs: Option<RawJson>,
        out: &mut Vec<ResponseEvent>,
    ) {
        let json = member(raw, "delta").unwrap_or_default();
        let marked = with_marked_surrogates(json);
        let is_marked = matches!(marked, Cow::Owned(_));
        let piece = string(&marked).unwrap_or_default();
        let is_next = |half: &mut Half| half.kind == kind && half.part == self.part;
        let half = self.half.take_if(is_next);
        let mut joined = half.map(|half| half.joined).unwrap_or_default();
        let text = joined.next(&piece, is_marked);
        if !text.is_empty() {
            self.push_text(kind, &address, &text, logprobs, out);
        }
        if joined != JoinedText::default() {
            self.flush_half(out);
            // Each delta is read with care from here on.
            self.template.forget();
            self.half = Some(Half {
                kind,
                part: self.part,
                address,
                joined,
            });
        }
    }

    /// Delivers half a character that stayed one.
    pub(super) fn flush_half(&mut self, out: &mut Vec<ResponseEvent>) {
        if let Some(mut half) = self.half.take() {
            let part = std::mem::replace(&mut self.part, half.part);
            let replacement = half.joined.finish();
            self.push_text(half.kind, &half.address, replacement, None, out);
            self.part = part;
        }
    }

    fn push_text(
        &mut self,
        kind: DeltaKind,
        address: &Address,
        text: &str,
        logprobs: Option<RawJson>,
        out: &mut Vec<ResponseEvent>,
    ) {
        if let Some(part) = self.part {
            self.output.add(part, text);
        }
        out.push(kind.event(Text::from(text), address, logprobs));
    }

    /// Takes an event that has the whole of a text, and delivers what of it was not streamed.
    pub(super) fn on_whole_text(
        &mut self,
        kind: DeltaKind,
        name: &str,
        envelope: &Envelope<'_>,
        out: &mut Vec<ResponseEvent>,
    ) {
        self.flush_half(out);
        let known = Arc::clone(&self.known_text);
        let json = match name {
            "text" => envelope.text,
            "refusal" => envelope.refusal,
            "part" => envelope.part,
            "arguments" => envelope.arguments,
            _ => envelope.input,
        };
        let found = json.and_then(|json| match name {
            "part" => part_text(json, kind, &known),
            "arguments" | "input" => Some((kind, input_text(json)?)),
            _ => Some((kind, known.read(json).or_else(|| string(json))?)),
        });
        let Some((kind, text)) = found else { return };
        if let Some(json) = json.filter(|json| known.read(json).is_none())
            && let Some(text) = KnownText::new(json, &text)
        {
            self.known_text = Arc::new(text);
        }
        if envelope.content_index.is_none() && envelope.summary_index.is_none() {
            // A delta without an index belongs to the next text, though it may have the bytes of one of this.
            self.template.forget();
        }
        let (address, part) = self.place(kind, envelope, Some(&text));
        let is_sound = self.is_sound();
        let rest = part.map_or("", |part| self.output.whole(part, &text, is_sound));
        if !rest.is_empty() {
            out.push(kind.event(Text::from(rest), &address, None));
        }
    }

    /// Where an event says that its text belongs.
    fn place(
        &mut self,
        kind: DeltaKind,
        envelope: &Envelope<'_>,
        whole: Option<&str>,
    ) -> (Address, Option<usize>) {
        let item_id = self.intern_item_id(envelope);
        let mut address = kind.address(envelope, item_id);
        let index = match kind {
            DeltaKind::Input(_) => Some(0),
            _ => address.index,
        };
        let key = Key::new(
            address.output_index,
            address.item_id.as_deref(),
            address.call_id.as_deref(),
        );
        let part = self.output.part(key, kind, index, whole);
        if let Some(counted) = part.and_then(|part| self.output.index_of(part))
            && counted > 0
        {
            address.index = Some(counted);
        }
        (address, part)
    }
}
