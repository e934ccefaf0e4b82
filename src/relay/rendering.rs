//! From deliveries to the blocks that clients are sent, byte for byte but for a model's name and what a preamble that went out demands.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Deserialize;

use super::{
    answers::Piece,
    block, body,
    bridge::Renderer,
    ending::{self, SoFar},
    preamble::{DoesNotFit, Origin, Preamble},
};
use crate::{
    actors::Delivery,
    protocol::ResponseEvent,
    wire::{EncoderOptions, StreamEncoder, Wire},
};

/// What one answer was made of so far.
pub(super) struct Rendering {
    wire: Wire,
    /// The id of a response that its server gave none.
    id: String,
    model: String,
    /// The model as JSON, where a client must not see another name.
    name: Option<String>,
    target: usize,
    /// The request, which a response object that we write repeats.
    request: Bytes,
    /// Whether the client is told the usage of a Chat answer; its server is asked for it in any case.
    wants_usage: bool,
    /// Writes what came in the other dialect, or as no stream.
    encoder: Option<Box<Encoder>>,
    bridge: Option<MakeRenderer>,
    preamble: Preamble,
    first: Option<Bytes>,
    last: Option<Piece>,
    sent: u64,
}

/// What writes the answer of one attempt.
struct Encoder {
    stream: Writer,
    attempt: u32,
    is_begun: bool,
}

enum Writer {
    Plain(StreamEncoder),
    /// Gives tools their own kind and name back, and seals reasoning.
    Bridged(Box<Renderer>),
}

/// Makes what writes a new attempt for a client of another dialect.
pub(super) type MakeRenderer = Box<dyn Fn() -> Option<Renderer>>;

impl Rendering {
    pub(super) fn new(wire: Wire, id: String, model: String, request: Bytes) -> Self {
        Self {
            wants_usage: wire != Wire::Chat || wants_usage(&request),
            wire,
            id,
            model,
            name: None,
            target: 0,
            request,
            encoder: None,
            bridge: None,
            preamble: Preamble::new(wire),
            first: None,
            last: None,
            sent: 0,
        }
    }

    /// All that follows goes behind these blocks, which clients have: the first, the last, and how many there are.
    pub(super) fn go_on(&mut self, first: Option<Bytes>, last: Option<Bytes>, blocks: u64) {
        self.preamble.open(&mut Vec::new());
        (self.first, self.last, self.sent) = (first, last.map(Piece::from), blocks);
    }

    /// Whether what clients were sent is what the server sent, under its own ids and numbers.
    pub(super) fn is_as_it_came(&self) -> bool {
        self.encoder.is_none() && !self.preamble.maps()
    }

    /// What follows comes from this target, in this dialect.
    pub(super) fn set_target(
        &mut self,
        target: usize,
        wire: Wire,
        renames: bool,
        bridge: Option<MakeRenderer>,
    ) {
        self.target = target;
        let is_bridged = wire != self.wire || bridge.is_some();
        self.bridge = bridge;
        self.encoder = is_bridged.then(|| Box::new(self.new_encoder(1)));
        self.name = renames.then(|| serde_json::Value::from(&*self.model).to_string());
    }

    /// Whether output went out, so that no other attempt can follow.
    pub(super) fn is_open(&self) -> bool {
        self.preamble.is_open()
    }

    /// Whether blocks are held back.
    pub(super) fn holds(&self) -> bool {
        self.preamble.holds()
    }

    /// Whether a failure of this attempt is one behind a head: it had begun to answer.
    pub(super) fn had_begun(&self, attempt: u32) -> bool {
        self.first.is_some() || self.preamble.holds_of((self.target, attempt))
    }

    /// Adds the blocks of a delivery that may go out now.
    pub(super) fn push(
        &mut self,
        delivery: &Delivery,
        out: &mut Vec<Piece>,
    ) -> Result<(), DoesNotFit> {
        let is_no_stream = || {
            delivery.blocks().next().is_none()
                && delivery.events().iter().any(|event| {
                    matches!(
                        event,
                        ResponseEvent::Created(_)
                            | ResponseEvent::Completed(_)
                            | ResponseEvent::Incomplete(_)
                    ) || event.is_output()
                })
        };
        if self.encoder.is_none() && self.first.is_none() && !self.holds() && is_no_stream() {
            self.encoder = Some(Box::new(self.new_encoder(1)));
        }
        if self.encoder.is_some() {
            return self.encode(delivery, out);
        }
        for (bytes, attempt, ends) in delivery.runs_of_blocks() {
            let origin: Origin = (self.target, attempt);
            let piece = Piece::new(bytes, ends);
            if self.preamble.passes(origin) && self.goes_as_it_is(piece.bytes()) {
                out.push(piece);
                continue;
            }
            for block in piece.blocks() {
                // Clients take the first of the choices, and fail where there is none.
                if !self.wants_usage && block::is_usage_alone(&block) {
                    continue;
                }
                let block = match &self.name {
                    Some(name) => block::renamed(&block, name),
                    None => block,
                };
                self.preamble.push(origin, block, out)?;
            }
        }
        Ok(())
    }

    /// Whether none of these blocks has anything that a client must not see.
    fn goes_as_it_is(&self, blocks: &[u8]) -> bool {
        (self.wants_usage || !block::may_have_usage(blocks))
            && (self.name.is_none() || !block::may_name_model(blocks))
    }

    fn encode(&mut self, delivery: &Delivery, out: &mut Vec<Piece>) -> Result<(), DoesNotFit> {
        for event in delivery.events() {
            let is_created = matches!(event, ResponseEvent::Created(_));
            let attempt = self.encoder.as_ref().map_or(1, |encoder| encoder.attempt);
            if is_created
                && self
                    .encoder
                    .as_ref()
                    .is_some_and(|encoder| encoder.is_begun)
            {
                self.encoder = Some(Box::new(self.new_encoder(attempt + 1)));
            }
            let Some(encoder) = &mut self.encoder else {
                break;
            };
            encoder.is_begun |= is_created;
            // These ends are written as those of every other stream.
            if matches!(event, ResponseEvent::Failed(_) | ResponseEvent::Cancelled) {
                break;
            }
            let mut written = Vec::new();
            match &mut encoder.stream {
                Writer::Plain(stream) => stream.push(event, &mut written),
                Writer::Bridged(renderer) => renderer.push(event, &mut written),
            }
            let written = Bytes::from(written);
            let origin = (self.target, encoder.attempt);
            let mut start = 0;
            for end in memchr::memmem::find_iter(&written, b"\n\n") {
                self.preamble
                    .push(origin, written.slice(start..end + 2), out)?;
                start = end + 2;
            }
        }
        Ok(())
    }

    fn new_encoder(&self, attempt: u32) -> Encoder {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let id = match self.wire {
            Wire::Responses => self.id.clone(),
            _ => String::new(),
        };
        let options = EncoderOptions::default()
            .with_id(id)
            .with_model(self.model.clone())
            .with_created_at(now.unwrap_or_default().as_secs())
            .with_request(body::members(&self.request))
            .with_include_usage(self.wants_usage);
        let bridged = self.bridge.as_ref().and_then(|make| make());
        Encoder {
            stream: match bridged {
                Some(renderer) => Writer::Bridged(Box::new(renderer)),
                None => Writer::Plain(StreamEncoder::new(self.wire, options)),
            },
            attempt,
            is_begun: false,
        }
    }

    /// The id under which the client knows the response, where we gave it one.
    pub(super) fn own_id(&self) -> Option<&str> {
        let is_ours = self.encoder.is_some() && self.wire == Wire::Responses;
        is_ours.then_some(&*self.id)
    }

    /// Output begins.
    pub(super) fn open(&mut self, out: &mut Vec<Piece>) {
        self.preamble.open(out);
    }

    /// What is held goes out, though there is no output yet.
    pub(super) fn release(&mut self, out: &mut Vec<Piece>) {
        self.preamble.release(out);
    }

    /// Whether what clients were told of an attempt that failed came again.
    pub(super) fn fits(&self) -> Result<(), DoesNotFit> {
        self.preamble.fits()
    }

    /// What went out.
    pub(super) fn note(&mut self, out: &[Piece]) {
        if let Some(last) = out.last() {
            if self.first.is_none() {
                self.first = out[0].blocks().next();
            }
            self.last = Some(last.clone());
            self.sent += out.iter().map(|piece| piece.count() as u64).sum::<u64>();
        }
    }

    /// Adds what a client needs to see the end, where the server did not say it.
    pub(super) fn end(&mut self, event: &ResponseEvent, out: &mut Vec<Piece>) {
        self.note(out);
        let last = self.last.as_ref().map(Piece::last);
        let so_far = SoFar {
            first: self.first.as_ref(),
            last: last.as_ref(),
            sent: self.sent,
            id: &self.id,
            model: &self.model,
        };
        let mut end = Vec::new();
        ending::end(self.wire, &so_far, event, &mut end);
        out.extend(end.into_iter().map(Piece::from));
    }
}

/// Whether a request to the Chat API asks for the usage. An answer in one piece always has it.
fn wants_usage(request: &[u8]) -> bool {
    #[derive(Default, Deserialize)]
    struct Asked {
        #[serde(default)]
        stream: Option<bool>,
        #[serde(default)]
        stream_options: Option<Options>,
    }
    #[derive(Deserialize)]
    struct Options {
        #[serde(default)]
        include_usage: Option<bool>,
    }
    let read = serde_json::from_slice(request);
    let asked: Asked = read
        .or_else(|_| serde_json::from_value(body::members(request).into()))
        .unwrap_or_default();
    let options = asked.stream_options;
    asked.stream != Some(true) || options.is_some_and(|options| options.include_usage == Some(true))
}
