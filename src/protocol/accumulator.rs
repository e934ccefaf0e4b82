//! A stream folded into what it says as a whole.

mod slot;

use std::{borrow::Cow, cell::Cell, sync::Arc};

use self::slot::{Kind, PARTS, Place, Slot, append, part_of};
use super::{
    Id, OutputItem, RateLimitSnapshot, ResponseEvent, ResponseHead, Searched, TokenUsage,
    error::{ApiError, ErrorKind, Phase},
};

pub use self::slot::AccumulatedToolCall;

/// How many bytes of deltas and items an accumulator holds by default: 64 MiB, far more than any model answers, and a bound for
/// a server that does not stop.
const DEFAULT_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Folds events into text, items and tool calls, from either wire.
///
/// What is asked for can be read at any time: while the stream runs it is what has come so far. Once an item is done, its final
/// form counts, and where the deltas said something else [`mismatches`](Self::mismatches) tells; text that comes after that
/// continues the item. An item is known by its place in the output and by its id; where the place is missing and the id is another
/// one in each event, as some gateways send it, what is open of the same kind is meant. A [`Restarted`](ResponseEvent::Restarted)
/// clears everything.
///
/// ```
/// # use actix_responses::{protocol::{ResponseAccumulator, ResponseEvent}, wire::{StreamDecoder, StreamLimits, Wire}};
/// # let mut events = Vec::new();
/// # StreamDecoder::new(Wire::Responses, StreamLimits::default()).feed(
/// #     b"data: {\"type\":\"response.output_text.delta\",\"item_id\":\"m\",\"delta\":\"hi\"}\n\n", &mut events);
/// let mut answer = ResponseAccumulator::default();
/// for event in &events {
///     answer.push(event)?;
/// }
/// assert_eq!(answer.text(), "hi");
/// # Ok::<(), actix_responses::ApiError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ResponseAccumulator {
    slots: Vec<Slot>,
    response_id: Option<Id>,
    head: Option<Arc<ResponseHead>>,
    rate_limits: Option<Arc<RateLimitSnapshot>>,
    server_model: Option<Arc<str>>,
    end: Option<ResponseEvent>,
    /// Where the end does not tell it.
    usage: Option<TokenUsage>,
    mismatches: Vec<Mismatch>,
    held_bytes: usize,
    max_bytes: usize,
    searched: Searched,
}

/// A part of an item whose deltas do not add up to its final form. The final form counts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mismatch {
    /// The item's place in the output.
    pub output_index: Option<u32>,
    /// The item's id.
    pub item_id: Option<Id>,
    /// Which part: `text`, `refusal`, `summary`, `reasoning` or `input`.
    pub part: &'static str,
    /// What the deltas add up to.
    pub streamed: String,
    /// What the final form says.
    pub done: String,
}

impl Default for ResponseAccumulator {
    fn default() -> Self {
        Self::with_max_bytes(DEFAULT_MAX_BYTES)
    }
}

impl ResponseAccumulator {
    /// An accumulator that holds at most so many bytes of deltas and items. The default is 64 MiB.
    pub fn with_max_bytes(max_bytes: usize) -> Self {
        Self {
            slots: Vec::new(),
            response_id: None,
            head: None,
            rate_limits: None,
            server_model: None,
            end: None,
            usage: None,
            mismatches: Vec::new(),
            held_bytes: 0,
            max_bytes,
            searched: Searched::default(),
        }
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] when more would be held than allowed, or each of many events belongs to another of thousands of
    /// items; the event is not taken.
    pub fn push(&mut self, event: &ResponseEvent) -> Result<(), ApiError> {
        if !self.searched.on_event() {
            let message = "the answer has so many items that their events can't be told apart";
            return Err(too_large(message.to_owned()));
        }
        self.hold(event)?;
        match event {
            ResponseEvent::Created(created) => {
                // Another response: what was only announced of the one before never comes.
                if self.response_id.is_some() && self.response_id != created.response_id {
                    self.slots.retain(Slot::has_content);
                }
                self.response_id = created.response_id.clone();
            }
            ResponseEvent::OutputItemAdded(item) => self.add(item),
            ResponseEvent::OutputItemDone(item) => self.finish(item),
            ResponseEvent::OutputTextDelta(text) => {
                let slot = self.slot(Kind::Message, text.output_index, &text.item_id, &None);
                append(&mut slot.text, text.content_index, &text.delta);
            }
            ResponseEvent::RefusalDelta(text) => {
                let slot = self.slot(Kind::Message, text.output_index, &text.item_id, &None);
                append(&mut slot.refusal, text.content_index, &text.delta);
            }
            ResponseEvent::ReasoningSummaryDelta(text) => {
                let slot = self.slot(Kind::Reasoning, text.output_index, &text.item_id, &None);
                append(&mut slot.summary, Some(text.part_index), &text.delta);
            }
            ResponseEvent::ReasoningContentDelta(text) => {
                let slot = self.slot(Kind::Reasoning, text.output_index, &text.item_id, &None);
                append(&mut slot.reasoning, Some(text.part_index), &text.delta);
            }
            ResponseEvent::ToolCallInputDelta(input) => {
                let (item_id, call_id) = (&input.item_id, &input.call_id);
                let slot = self.slot(Kind::Call, input.output_index, item_id, call_id);
                slot.input.push_str(&input.delta);
                if call_id.is_some() {
                    slot.call_id.clone_from(call_id);
                }
            }
            ResponseEvent::Head(head) => self.head = Some(head.clone()),
            ResponseEvent::RateLimits(limits) => self.rate_limits = Some(limits.clone()),
            ResponseEvent::ServerModel(model) => self.server_model = Some(model.clone()),
            ResponseEvent::Restarted(_) => *self = Self::with_max_bytes(self.max_bytes),
            end if end.is_final() => self.end = Some(end.clone()),
            _ => {}
        }
        Ok(())
    }

    /// The text of all messages, in the order of the output.
    pub fn text(&self) -> String {
        self.in_order().map(|slot| slot.part("text")).collect()
    }

    /// The refusals of all messages.
    pub fn refusal(&self) -> String {
        self.in_order().map(|slot| slot.part("refusal")).collect()
    }

    /// The reasoning as far as the server shows it, each item's once: itself, or where only a summary is shown, that.
    pub fn reasoning(&self) -> String {
        self.once(|slot| match slot.part("reasoning") {
            reasoning if reasoning.is_empty() => slot.part("summary"),
            reasoning => reasoning,
        })
    }

    /// The reasoning summaries, parts one after the other.
    pub fn reasoning_summary(&self) -> String {
        self.once(|slot| slot.part("summary"))
    }

    /// The reasoning itself, where the server shows it.
    pub fn reasoning_content(&self) -> String {
        self.once(|slot| slot.part("reasoning"))
    }

    /// Joins what items say; one that says what the one before it said repeats it.
    fn once<'a>(&'a self, say: impl Fn(&'a Slot) -> Cow<'a, str>) -> String {
        let mut said: Vec<_> = self.in_order().map(say).collect();
        said.retain(|text| !text.is_empty());
        said.dedup();
        said.concat()
    }

    /// The items that are done, in the order of the output: what a next turn sends back.
    pub fn items(&self) -> Vec<&OutputItem> {
        self.in_order()
            .filter_map(|slot| slot.done.as_ref())
            .collect()
    }

    /// The items that were announced and are not done, in the order of the output: once the end has come, what was cut off.
    pub fn open_items(&self) -> Vec<&OutputItem> {
        let open = self.in_order().filter(|slot| slot.done.is_none());
        open.filter_map(|slot| slot.added.as_ref()).collect()
    }

    /// The calls of functions and custom tools, those that are still being streamed included.
    pub fn tool_calls(&self) -> Vec<AccumulatedToolCall<'_>> {
        self.in_order().filter_map(Slot::tool_call).collect()
    }

    /// The response's id, once the server has told it.
    pub fn response_id(&self) -> Option<&str> {
        let at_the_end = match &self.end {
            Some(ResponseEvent::Completed(completed)) => completed.response_id.as_deref(),
            Some(ResponseEvent::Incomplete(incomplete)) => incomplete.response_id.as_deref(),
            Some(ResponseEvent::Failed(error)) => error.details().response_id.as_deref(),
            _ => None,
        };
        at_the_end.or(self.response_id.as_deref())
    }

    /// What it cost, once the end has told it; of an answer that failed or was cancelled, as far as the server had told it. Nothing is
    /// guessed: `None` is unknown.
    pub fn token_usage(&self) -> Option<TokenUsage> {
        match &self.end {
            Some(ResponseEvent::Completed(completed)) => completed.token_usage,
            Some(ResponseEvent::Incomplete(incomplete)) => incomplete.token_usage,
            Some(ResponseEvent::Failed(error)) => error.details().token_usage,
            _ => self.usage,
        }
    }

    /// Whether anything of the answer has come.
    pub(crate) fn has_content(&self) -> bool {
        self.slots.iter().any(Slot::has_content)
    }

    /// Takes what the answer had cost before it was cancelled, which no event says.
    pub(crate) fn note_usage(&mut self, usage: Option<TokenUsage>) {
        self.usage = usage;
    }

    /// The head of the response, that of the last attempt; absent where nothing but a body was decoded.
    pub fn head(&self) -> Option<&ResponseHead> {
        self.head.as_deref()
    }

    /// What the server said last of its limits.
    pub fn rate_limits(&self) -> Option<&RateLimitSnapshot> {
        self.rate_limits.as_deref()
    }

    /// The model that answers, once the server has told it.
    pub fn server_model(&self) -> Option<&str> {
        self.server_model.as_deref()
    }

    /// The final event, once it has come.
    pub fn end(&self) -> Option<&ResponseEvent> {
        self.end.as_ref()
    }

    /// Where deltas and final forms differ.
    pub fn mismatches(&self) -> &[Mismatch] {
        &self.mismatches
    }

    fn hold(&mut self, event: &ResponseEvent) -> Result<(), ApiError> {
        let bytes = match event {
            ResponseEvent::OutputItemAdded(item) | ResponseEvent::OutputItemDone(item) => {
                item.raw().get().len()
            }
            event if event.is_delta() => event.weight() - size_of::<ResponseEvent>(),
            _ => 0,
        };
        if self.held_bytes + bytes > self.max_bytes {
            let message = format!(
                "the answer is over {} bytes (limit `max_bytes`)",
                self.max_bytes
            );
            return Err(too_large(message));
        }
        self.held_bytes += bytes;
        Ok(())
    }

    fn add(&mut self, item: &OutputItem) {
        let place = Place::of(item);
        let found = self.find(&place).filter(|at| {
            let slot = &self.slots[*at];
            let is_other = |added: &OutputItem| added.item().id() != place.item_id;
            slot.done.is_none() && !slot.added.as_ref().is_some_and(is_other)
        });
        let slot = self.take(found, &place);
        slot.added = Some(item.clone());
    }

    fn finish(&mut self, item: &OutputItem) {
        let place = Place::of(item);
        let found = match self.find(&place) {
            Some(at) if self.slots[at].done.is_some() => {
                let slot = &self.slots[at];
                let is_again = slot.has_id_of(&place) || slot.is_said_by(item);
                is_again.then_some(at)
            }
            Some(at) => {
                if self.finish_again(at, item) {
                    return;
                }
                Some(at)
            }
            None => {
                let ends = |slot: &Slot| slot.ends_as(item, &place);
                // Texts are compared, too.
                let steps = 1 + item.raw().get().len() / 64;
                self.searched.add(self.slots.len().saturating_mul(steps));
                self.slots.iter().rposition(ends)
            }
        };
        let slot = self.take(found, &place);
        let streamed = PARTS.map(|part| slot.part(part).into_owned());
        slot.done = Some(item.clone());
        let (output_index, item_id) = (slot.output_index, slot.item_id.clone());
        let parts = PARTS.into_iter().zip(streamed);
        let mismatches: Vec<_> = parts
            .map(|(part, streamed)| (part, streamed, slot.part(part).into_owned()))
            .filter(|(_, streamed, done)| {
                // What the final form has elsewhere is no difference.
                !streamed.is_empty() && !done.is_empty() && streamed != done
            })
            .map(|(part, streamed, done)| Mismatch {
                output_index,
                item_id: item_id.clone(),
                part,
                streamed,
                done,
            })
            .collect();
        self.mismatches.extend(mismatches);
    }

    /// Takes the final form of an item that was done once and continued in the slot at a place: the old form again, or one that
    /// has the continuation too. Otherwise what came late is an item of its own.
    fn finish_again(&mut self, at: usize, item: &OutputItem) -> bool {
        let late = &self.slots[at];
        let is_continued = |slot: &Slot| {
            slot.done.is_some() && slot.may_be(late.kind) && slot.output_index == late.output_index
        };
        let before = self.slots[..at].iter().rposition(is_continued);
        let Some(before) = before.filter(|_| late.added.is_none()) else {
            return false;
        };
        let slot = &self.slots[before];
        if slot.done.as_ref() == Some(item) {
            return true;
        }
        let is_whole = PARTS.into_iter().all(|part| {
            let whole = part_of(item.item(), part).unwrap_or_default();
            whole == slot.part(part) + late.part(part)
        });
        let is_whole = is_whole && slot.has_text();
        if is_whole {
            self.slots[before].done = Some(item.clone());
            self.slots.remove(at);
        }
        is_whole
    }

    /// The slot that deltas of a kind go to.
    fn slot(
        &mut self,
        kind: Kind,
        output_index: Option<u32>,
        item_id: &Option<Id>,
        call_id: &Option<Id>,
    ) -> &mut Slot {
        let place = Place {
            kind: Some(kind),
            output_index,
            item_id: item_id.as_deref(),
            call_id: call_id.as_deref(),
        };
        let found = self.find(&place).or_else(|| self.open_of_kind(&place));
        // What comes after an item's end is kept beside its final form.
        let found = found.filter(|at| self.slots[*at].done.is_none());
        let slot = self.take(found, &place);
        slot.deltas_of_id += 1;
        slot
    }

    /// The slot of an item, the latest if there are several: by its place in the output, for some servers change ids on the
    /// way; else by its id.
    fn find(&mut self, place: &Place<'_>) -> Option<usize> {
        let steps = Cell::new(0);
        let latest = |is_meant: &dyn Fn(&Slot) -> bool| {
            let of_kind = |slot: &Slot| slot.may_be(place.kind) && is_meant(slot);
            let found = self.slots.iter().rposition(of_kind);
            steps.set(steps.get() + self.slots.len() - found.unwrap_or(0));
            found
        };
        let index = place.output_index;
        let found = index
            .and_then(|index| latest(&|slot| slot.output_index == Some(index)))
            .or_else(|| latest(&|slot| slot.may_stand_at(index) && slot.is_named(place)));
        self.searched.add(steps.get());
        found
    }

    /// The slot begun last of a kind, when a delta may belong to it that names neither its place nor its id: either it names no
    /// id, or ids change from event to event.
    fn open_of_kind(&mut self, place: &Place<'_>) -> Option<usize> {
        let of_kind = |slot: &Slot| slot.may_be(place.kind);
        let found = self.slots.iter().rposition(of_kind);
        self.searched.add(self.slots.len() - found.unwrap_or(0));
        let at = found?;
        let slot = &self.slots[at];
        let has_changing_ids = slot.deltas_of_id < 2;
        let is_meant = slot.may_stand_at(place.output_index)
            && (place.item_id.is_none() || slot.item_id.is_none() || has_changing_ids);
        (slot.done.is_none() && is_meant).then_some(at)
    }

    /// The found slot or a new one, with what the place says of it.
    fn take(&mut self, found: Option<usize>, place: &Place<'_>) -> &mut Slot {
        let at = found.unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let slot = &mut self.slots[at];
        slot.kind = slot.kind.or(place.kind);
        slot.output_index = slot.output_index.or(place.output_index);
        if let Some(id) = place.item_id
            && slot.item_id.as_deref() != Some(id)
        {
            slot.item_id = Some(id.into());
            slot.deltas_of_id = 0;
        }
        slot
    }

    fn in_order(&self) -> impl Iterator<Item = &Slot> {
        let mut slots: Vec<_> = self.slots.iter().collect();
        // Stable: what has no place stays where it came.
        slots.sort_by_key(|slot| slot.output_index);
        slots.into_iter()
    }
}

fn too_large(message: String) -> ApiError {
    ApiError::new(ErrorKind::TooLarge, message).with_phase(Phase::Deliver)
}

#[cfg(test)]
mod tests;
