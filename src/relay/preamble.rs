//! What a server sends before its answer: held, so that a client does not see that an attempt failed.
//!
//! Nothing is read of what is held. Only where it had to go out before the answer began, and another attempt follows, is each block of
//! that one looked at: it goes on under the ids that the client knows.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    answers::Piece,
    block::{self, Edits, Event, Object, edited},
};
use crate::wire::Wire;

/// The most bytes that are held. Servers repeat the request in their first events, with all its tools.
const HELD_BYTES: usize = 1 << 20;

/// Which attempt of which target a block came from.
pub(super) type Origin = (usize, u32);

/// The blocks before an answer's first output, and what became of them.
pub(super) struct Preamble {
    wire: Wire,
    origin: Option<Origin>,
    held: Vec<Bytes>,
    held_bytes: usize,
    /// What clients were told before the answer began.
    told: Option<Box<Told>>,
    /// How the blocks of a later attempt are made to fit that.
    mapping: Option<Box<Mapping>>,
    is_open: bool,
}

/// An answer of another attempt does not go on where the one before had begun.
#[derive(Debug, PartialEq)]
pub(super) struct DoesNotFit;

/// What an attempt announced before it failed, ids with their quotes.
#[derive(Default)]
struct Told {
    /// Whether it was told that its request was taken.
    is_taken: bool,
    response: Option<String>,
    items: Vec<Announced>,
    /// `content_part.added` and the like, without the ids of items.
    parts: Vec<Part>,
    next_sequence: Option<u64>,
    has_blocks: bool,
}

struct Announced {
    index: u64,
    kind: Option<String>,
    id: Option<String>,
}

#[derive(PartialEq)]
struct Part {
    kind: String,
    index: Option<u64>,
    data_index: Option<u64>,
}

/// From the ids of the attempt that runs to those that the client knows.
#[derive(Default)]
struct Mapping {
    ids: Vec<(String, String)>,
    /// What is added to each sequence number, once one has gone out.
    offset: Option<u64>,
    /// How many of the items that were announced before are here, too.
    items: usize,
    /// The attempts before failed ahead of saying that the request was taken.
    announces: bool,
}

impl Preamble {
    pub(super) fn new(wire: Wire) -> Self {
        Self {
            wire,
            origin: None,
            held: Vec::new(),
            held_bytes: 0,
            told: None,
            mapping: None,
            is_open: false,
        }
    }

    /// Whether blocks wait here.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether blocks go out under other ids or numbers than they came with.
    pub(super) fn maps(&self) -> bool {
        self.mapping.is_some()
    }

    /// Whether what is held came from this attempt.
    pub(super) fn holds_of(&self, origin: Origin) -> bool {
        self.holds() && self.origin == Some(origin)
    }

    /// Whether the answer has begun, so that no other attempt can follow.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether all blocks of this attempt go to clients at once and as they are.
    pub(super) fn passes(&self, origin: Origin) -> bool {
        self.is_open && self.mapping.is_none() && self.origin == Some(origin)
    }

    /// Takes a block, and adds to `out` what goes to clients now.
    pub(super) fn push(
        &mut self,
        origin: Origin,
        block: Bytes,
        out: &mut Vec<Piece>,
    ) -> Result<(), DoesNotFit> {
        if self.origin != Some(origin) {
            self.origin = Some(origin);
            if !self.is_open {
                self.held.clear();
                self.held_bytes = 0;
                // Who was told nothing yet, for the server was silent, is told all of this attempt, as it comes.
                let told = self.told.as_ref().filter(|told| told.has_blocks);
                self.mapping = told.map(|told| Box::new(Mapping::after(told)));
            }
        }
        let block = match (&mut self.mapping, &mut self.told) {
            (Some(mapping), Some(told)) => {
                match mapping.fit(self.wire, told, block, self.is_open)? {
                    Some(block) => block,
                    None => return Ok(()),
                }
            }
            (_, Some(told)) if !self.is_open => {
                told.note(self.wire, &block);
                block
            }
            _ => block,
        };
        if self.is_open || self.told.is_some() {
            out.push(block.into());
            return Ok(());
        }
        self.held_bytes += block.len();
        self.held.push(block);
        if self.held_bytes > HELD_BYTES {
            self.release(out);
        }
        Ok(())
    }

    /// The answer has begun: what is held goes out, and what follows is not held.
    pub(super) fn open(&mut self, out: &mut Vec<Piece>) {
        self.is_open = true;
        out.extend(self.held.drain(..).map(Piece::from));
        if self.mapping.is_none() {
            self.told = None;
        }
    }

    /// The answer has not begun and is waited for no longer: what is held goes out.
    pub(super) fn release(&mut self, out: &mut Vec<Piece>) {
        if self.is_open || self.told.is_some() {
            return;
        }
        let mut told = Box::<Told>::default();
        for block in &self.held {
            told.note(self.wire, block);
        }
        self.told = Some(told);
        out.extend(self.held.drain(..).map(Piece::from));
    }

    /// Whether the answer may end well: what was announced of another attempt came in this one, too.
    pub(super) fn fits(&self) -> Result<(), DoesNotFit> {
        match (&self.mapping, &self.told) {
            (Some(mapping), Some(told)) if mapping.items < told.items.len() => Err(DoesNotFit),
            _ => Ok(()),
        }
    }
}

impl Told {
    fn note(&mut self, wire: Wire, block: &[u8]) {
        self.has_blocks = true;
        let data = block::data(block);
        let event = Event::read(&data);
        if wire == Wire::Chat {
            let id = event.id.filter(|id| block::is_text(id));
            self.response = self.response.take().or(id.map(text));
            return;
        }
        if let Some(sequence) = event.sequence_number {
            self.next_sequence = Some(sequence + 1);
        }
        if is_preamble(event.kind()) {
            self.is_taken = true;
            self.response = self.response.take().or(response_id(&event));
        } else if event.kind() == ITEM_ADDED {
            self.items.push(Announced::of(&event));
        } else if let Some(part) = Part::of(&event, &data) {
            self.parts.push(part);
        }
    }
}

impl Announced {
    fn of(event: &Event<'_>) -> Self {
        let item = event.item.map(Object::read).unwrap_or_default();
        Self {
            index: event.output_index.unwrap_or_default(),
            kind: item.kind.map(text),
            id: item.id.filter(|id| block::is_text(id)).map(text),
        }
    }
}

impl Part {
    /// The event that announces a part of an item, if it is one.
    fn of(event: &Event<'_>, data: &[u8]) -> Option<Self> {
        if !event.kind().ends_with("_part.added") {
            return None;
        }
        #[derive(Default, serde::Deserialize)]
        struct Index {
            content_index: Option<u64>,
            summary_index: Option<u64>,
        }
        let index: Index = serde_json::from_slice(data).unwrap_or_default();
        Some(Self {
            kind: event.kind().to_owned(),
            index: event.output_index,
            data_index: index.content_index.or(index.summary_index),
        })
    }
}

impl Mapping {
    fn after(told: &Told) -> Self {
        Self {
            announces: !told.is_taken,
            ..Self::default()
        }
    }

    /// The block as it goes on from what clients were told; none where they were told that before.
    fn fit(
        &mut self,
        wire: Wire,
        told: &mut Told,
        block: Bytes,
        is_open: bool,
    ) -> Result<Option<Bytes>, DoesNotFit> {
        let data = block::data(&block);
        let event = Event::read(&data);
        if wire == Wire::Chat {
            let was_told = told.response.is_some();
            if let Some(id) = event.id.filter(|id| block::is_text(id)) {
                self.learn(&mut told.response, id.get());
            }
            if !is_open && was_told && says_nothing(&data) {
                return Ok(None);
            }
            return Ok(Some(self.mapped(&block, None)));
        }
        let kind = event.kind();
        if is_preamble(kind) {
            if let Some(id) = response_id(&event) {
                self.learn(&mut told.response, &id);
            }
            if !self.announces {
                return Ok(None);
            }
            told.is_taken = true;
        } else if kind == ITEM_ADDED {
            let new = Announced::of(&event);
            match told.items.iter_mut().find(|item| item.index == new.index) {
                Some(item) if item.kind != new.kind => return Err(DoesNotFit),
                Some(item) => {
                    if let Some(id) = &new.id {
                        self.learn(&mut item.id, id);
                    }
                    self.items += 1;
                    return Ok(None);
                }
                None if !is_open => {
                    told.items.push(new);
                    self.items += 1;
                }
                None => {}
            }
        } else if let Some(part) = Part::of(&event, &data) {
            if told.parts.contains(&part) {
                return Ok(None);
            }
            if !is_open {
                told.parts.push(part);
            }
        }
        let sequence = event.sequence_number;
        let new = sequence.map(|sequence| {
            let offset = *self.offset.get_or_insert_with(|| {
                told.next_sequence
                    .unwrap_or_default()
                    .saturating_sub(sequence)
            });
            sequence.saturating_add(offset)
        });
        if let Some(new) = new {
            told.next_sequence = Some(new.saturating_add(1));
        }
        Ok(Some(
            self.mapped(&block, new.filter(|new| Some(*new) != sequence)),
        ))
    }

    /// Maps an id to what is known already; where nothing is, it becomes known.
    fn learn(&mut self, known: &mut Option<String>, id: &str) {
        let known = known.get_or_insert_with(|| id.to_owned());
        if known != id && !self.ids.iter().any(|(old, _)| old == id) {
            self.ids.push((id.to_owned(), known.clone()));
        }
    }

    fn mapped(&self, block: &Bytes, sequence: Option<u64>) -> Bytes {
        edited(block, |data, edits: &mut Edits| {
            for (old, new) in &self.ids {
                edits.replace_id(data, old, new);
            }
            if let Some(sequence) = sequence {
                edits.replace_number(data, "sequence_number", sequence);
            }
        })
    }
}

const CREATED: &str = "response.created";
const ITEM_ADDED: &str = "response.output_item.added";

/// Whether it is one of the events that only say that a request was taken.
fn is_preamble(kind: &str) -> bool {
    matches!(kind, CREATED | "response.in_progress" | "response.queued")
}

fn text(json: &RawValue) -> String {
    json.get().to_owned()
}

fn response_id(event: &Event<'_>) -> Option<String> {
    let id = Object::read(event.response?).id?;
    block::is_text(id).then(|| text(id))
}

/// Whether a chunk holds nothing but a role and empty pieces.
fn says_nothing(data: &[u8]) -> bool {
    let Ok(chunk) = serde_json::from_slice::<serde_json::Value>(data) else {
        return false;
    };
    let Some(choices) = chunk["choices"].as_array().filter(|all| !all.is_empty()) else {
        return false;
    };
    choices.iter().all(|choice| {
        let delta = choice["delta"].as_object();
        choice["finish_reason"].is_null()
            && delta.is_some_and(|delta| {
                delta.iter().all(|(name, value)| {
                    name == "role"
                        || value.is_null()
                        || value.as_str() == Some("")
                        || value.as_array().is_some_and(Vec::is_empty)
                })
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Bytes {
        Bytes::from(format!("data: {text}\n\n"))
    }

    fn created(id: &str, sequence: u32) -> Bytes {
        event(&format!(
            r#"{{"type":"response.created","sequence_number":{sequence},"response":{{"id":"{id}"}}}}"#
        ))
    }

    fn added(kind: &str, id: &str, sequence: u32) -> Bytes {
        event(&format!(
            r#"{{"type":"response.output_item.added","sequence_number":{sequence},"output_index":0,"item":{{"type":"{kind}","id":"{id}"}}}}"#
        ))
    }

    fn delta(id: &str, sequence: u32) -> Bytes {
        event(&format!(
            r#"{{"type":"response.output_text.delta","sequence_number":{sequence},"item_id":"{id}","delta":"\"{id}"}}"#
        ))
    }

    fn texts(out: &[Piece]) -> Vec<&str> {
        out.iter()
            .map(|piece| std::str::from_utf8(piece.bytes()).unwrap())
            .collect()
    }

    #[test]
    fn a_retry_before_output_is_invisible() {
        let mut preamble = Preamble::new(Wire::Responses);
        let mut out = Vec::new();
        for (origin, block) in [
            ((0, 1), created("resp_a", 0)),
            ((0, 1), added("message", "msg_a", 1)),
            ((0, 2), created("resp_b", 0)),
            ((1, 1), created("resp_c", 0)),
        ] {
            preamble.push(origin, block, &mut out).unwrap();
        }
        assert!(out.is_empty());
        assert!(preamble.holds_of((1, 1)) && !preamble.holds_of((0, 2)));
        preamble.open(&mut out);
        preamble.push((1, 1), delta("msg_c", 1), &mut out).unwrap();
        assert_eq!(
            out,
            [created("resp_c", 0), delta("msg_c", 1)].map(Piece::from)
        );
    }

    #[test]
    fn a_preamble_that_went_out_is_not_repeated_and_the_ids_of_the_next_attempt_are_mapped_to_its()
    {
        let mut preamble = Preamble::new(Wire::Responses);
        let mut out = Vec::new();
        for block in [created("resp_a", 0), added("message", "msg_a", 1)] {
            preamble.push((0, 1), block, &mut out).unwrap();
        }
        preamble.release(&mut out);
        assert_eq!(out.len(), 2);
        out.clear();
        for block in [
            created("resp_b", 0),
            event(
                r#"{"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_b"}}"#,
            ),
            added("message", "msg_b", 2),
        ] {
            preamble.push((0, 2), block, &mut out).unwrap();
        }
        assert!(out.is_empty());
        preamble.push((0, 2), delta("msg_b", 3), &mut out).unwrap();
        preamble.open(&mut out);
        let end = event(
            r#"{"type":"response.completed","sequence_number":4,"response":{"id":"resp_b","output":[{"id" : "msg_b"}]}}"#,
        );
        preamble.push((0, 2), end, &mut out).unwrap();
        assert_eq!(
            texts(&out),
            [
                "data: {\"type\":\"response.output_text.delta\",\"sequence_number\":3,\"item_id\":\"msg_a\",\"delta\":\"\\\"msg_b\"}\n\n",
                "data: {\"type\":\"response.completed\",\"sequence_number\":4,\"response\":{\"id\":\"resp_a\",\"output\":[{\"id\" : \"msg_a\"}]}}\n\n",
            ]
        );
        assert_eq!(preamble.fits(), Ok(()));
    }

    #[test]
    fn sequence_numbers_go_on_where_the_next_attempt_is_behind() {
        let mut preamble = Preamble::new(Wire::Responses);
        let mut out = Vec::new();
        for block in [
            created("resp_a", 0),
            event(r#"{"type":"response.queued","sequence_number":5}"#),
        ] {
            preamble.push((0, 1), block, &mut out).unwrap();
        }
        preamble.release(&mut out);
        out.clear();
        preamble
            .push((0, 2), created("resp_b", 0), &mut out)
            .unwrap();
        preamble
            .push((0, 2), added("message", "m", 1), &mut out)
            .unwrap();
        preamble.open(&mut out);
        preamble.push((0, 2), delta("m", 2), &mut out).unwrap();
        assert_eq!(
            out,
            [added("message", "m", 6), delta("m", 7)].map(Piece::from)
        );
    }

    #[test]
    fn after_a_silence_an_answer_goes_out_as_it_came() {
        let role = event(r#"{"id":"c1","choices":[{"delta":{"role":"assistant","content":""}}]}"#);
        let in_progress = event(
            r#"{"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_a"}}"#,
        );
        let responses = vec![
            created("resp_a", 0),
            in_progress,
            added("message", "msg_a", 2),
            delta("msg_a", 3),
        ];
        let chat = vec![
            role,
            event(r#"{"id":"c1","choices":[{"delta":{"content":"a"}}]}"#),
        ];
        for (wire, blocks) in [(Wire::Responses, responses), (Wire::Chat, chat)] {
            // The first attempt, and one that follows another which said nothing.
            for origin in [(0, 1), (0, 2), (1, 1)] {
                let mut preamble = Preamble::new(wire);
                let mut out = Vec::new();
                preamble.release(&mut out);
                let (last, before) = blocks.split_last().unwrap();
                for block in before {
                    preamble.push(origin, block.clone(), &mut out).unwrap();
                }
                preamble.open(&mut out);
                preamble.push(origin, last.clone(), &mut out).unwrap();
                assert_eq!(texts(&out).concat().as_bytes(), blocks.concat());
                assert!(preamble.passes(origin) && preamble.fits().is_ok());
            }
        }
    }

    #[test]
    fn what_the_attempt_before_did_not_come_to_say_is_said_once() {
        let odd = event(r#"{"type":"codex.rate_limits","sequence_number":0}"#);
        let in_progress = |id: &str, sequence: u32| {
            event(&format!(
                r#"{{"type":"response.in_progress","sequence_number":{sequence},"response":{{"id":"{id}"}}}}"#
            ))
        };
        let mut preamble = Preamble::new(Wire::Responses);
        let mut out = Vec::new();
        preamble.push((0, 1), odd.clone(), &mut out).unwrap();
        preamble.release(&mut out);
        for block in [created("resp_b", 0), in_progress("resp_b", 1)] {
            preamble.push((0, 2), block, &mut out).unwrap();
        }
        for block in [created("resp_c", 0), in_progress("resp_c", 1)] {
            preamble.push((0, 3), block, &mut out).unwrap();
        }
        preamble.open(&mut out);
        preamble.push((0, 3), delta("m", 2), &mut out).unwrap();
        let wanted = [
            odd,
            created("resp_b", 1),
            in_progress("resp_b", 2),
            delta("m", 3),
        ];
        assert_eq!(texts(&out).concat().as_bytes(), wanted.concat());
    }

    #[test]
    fn where_ids_can_not_be_mapped_the_answer_fails() {
        for other in [Some("function_call"), None] {
            let mut preamble = Preamble::new(Wire::Responses);
            let mut out = Vec::new();
            for block in [created("resp_a", 0), added("message", "msg_a", 1)] {
                preamble.push((0, 1), block, &mut out).unwrap();
            }
            preamble.release(&mut out);
            preamble
                .push((0, 2), created("resp_b", 0), &mut out)
                .unwrap();
            match other {
                Some(kind) => assert_eq!(
                    preamble.push((0, 2), added(kind, "fc", 1), &mut out),
                    Err(DoesNotFit)
                ),
                None => assert_eq!(preamble.fits(), Err(DoesNotFit)),
            }
        }
    }

    #[test]
    fn on_chat_the_chunks_before_the_output_are_not_repeated_and_the_id_stays() {
        let chunk = |id: &str, delta: &str| {
            event(&format!(
                r#"{{"id":"{id}","choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#
            ))
        };
        let role = r#"{"role":"assistant","content":""}"#;
        let text = r#"{"content":"a"}"#;
        let mut preamble = Preamble::new(Wire::Chat);
        let mut out = Vec::new();
        preamble.push((0, 1), chunk("a", role), &mut out).unwrap();
        preamble.release(&mut out);
        preamble.push((0, 2), chunk("b", role), &mut out).unwrap();
        preamble.push((0, 2), chunk("b", text), &mut out).unwrap();
        preamble.open(&mut out);
        preamble.push((0, 2), event("[DONE]"), &mut out).unwrap();
        assert_eq!(
            out,
            [chunk("a", role), chunk("a", text), event("[DONE]")].map(Piece::from)
        );
    }

    #[test]
    fn what_is_held_has_a_bound() {
        let mut preamble = Preamble::new(Wire::Responses);
        let mut out = Vec::new();
        let large = event(&format!(
            r#"{{"type":"ping","a":"{}"}}"#,
            "a".repeat(HELD_BYTES)
        ));
        preamble
            .push((0, 1), created("resp_a", 0), &mut out)
            .unwrap();
        preamble.push((0, 1), large, &mut out).unwrap();
        assert_eq!(out.len(), 2);
        assert!(!preamble.holds() && !preamble.is_open());
    }
}
