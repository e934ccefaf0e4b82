//! A stream folded into what it says as a whole.

use std::{borrow::Cow, collections::BTreeMap};

use super::{Id, OutputItem, ResponseEvent, ResponseItem, TokenUsage};
use crate::error::{ApiError, ErrorKind, Phase};

/// How many bytes of deltas and items an accumulator holds by default: 64 MiB, far more than any model answers, and a bound for
/// a server that does not stop.
const DEFAULT_MAX_BYTES: usize = 64 * 1024 * 1024;

/// Folds events into text, items and tool calls, from either wire.
///
/// What is asked for can be read at any time: while the stream runs it is what has come so far. Once an item is done, its final
/// form counts, and where the deltas said something else [`mismatches`](Self::mismatches) tells. A
/// [`Restarted`](ResponseEvent::Restarted) clears everything.
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
    end: Option<ResponseEvent>,
    mismatches: Vec<Mismatch>,
    held_bytes: usize,
    max_bytes: usize,
}

/// One output item in the making.
#[derive(Clone, Debug, Default)]
struct Slot {
    output_index: Option<u32>,
    item_id: Option<Id>,
    call_id: Option<Id>,
    added: Option<OutputItem>,
    done: Option<OutputItem>,
    text: BTreeMap<u32, String>,
    refusal: BTreeMap<u32, String>,
    summary: BTreeMap<u32, String>,
    reasoning: BTreeMap<u32, String>,
    input: String,
}

/// A tool call that the caller is to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccumulatedToolCall<'a> {
    /// The server's id of the item.
    pub item_id: Option<&'a str>,
    /// The id that the output must carry.
    pub call_id: Option<&'a str>,
    /// The function's or tool's name.
    pub name: Option<&'a str>,
    /// Its input so far: of a function the beginning of a JSON object, of a custom tool free text.
    pub input: Cow<'a, str>,
    /// Whether the call is whole. A call that is not must not be carried out.
    pub is_done: bool,
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
            end: None,
            mismatches: Vec::new(),
            held_bytes: 0,
            max_bytes,
        }
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`] when more would be held than allowed; the event is not taken.
    pub fn push(&mut self, event: &ResponseEvent) -> Result<(), ApiError> {
        self.hold(event)?;
        match event {
            ResponseEvent::Created(created) => self.response_id = created.response_id.clone(),
            ResponseEvent::OutputItemAdded(item) => self.add(item),
            ResponseEvent::OutputItemDone(item) => self.finish(item),
            ResponseEvent::OutputTextDelta(text) => {
                let slot = self.slot(text.output_index, text.item_id.as_ref());
                append(&mut slot.text, text.content_index, &text.delta);
            }
            ResponseEvent::RefusalDelta(text) => {
                let slot = self.slot(text.output_index, text.item_id.as_ref());
                append(&mut slot.refusal, text.content_index, &text.delta);
            }
            ResponseEvent::ReasoningSummaryDelta(text) => {
                let slot = self.slot(text.output_index, text.item_id.as_ref());
                append(&mut slot.summary, Some(text.summary_index), &text.delta);
            }
            ResponseEvent::ReasoningContentDelta(text) => {
                let slot = self.slot(text.output_index, text.item_id.as_ref());
                append(&mut slot.reasoning, Some(text.content_index), &text.delta);
            }
            ResponseEvent::ToolCallInputDelta(input) => {
                let slot = self.slot(input.output_index, input.item_id.as_ref());
                slot.input.push_str(&input.delta);
                if input.call_id.is_some() {
                    slot.call_id = input.call_id.clone();
                }
            }
            ResponseEvent::Restarted(_) => *self = Self::with_max_bytes(self.max_bytes),
            end if end.is_final() => self.end = Some(end.clone()),
            _ => {}
        }
        Ok(())
    }

    /// The text of all messages, in the order of the output.
    pub fn text(&self) -> String {
        self.in_order().map(Slot::message_text).collect()
    }

    /// The refusals of all messages.
    pub fn refusal(&self) -> String {
        self.in_order().map(|slot| slot.part("refusal")).collect()
    }

    /// The reasoning summaries, parts one after the other.
    pub fn reasoning_summary(&self) -> String {
        self.in_order().map(|slot| slot.part("summary")).collect()
    }

    /// The reasoning itself, where the server shows it.
    pub fn reasoning_content(&self) -> String {
        self.in_order().map(|slot| slot.part("reasoning")).collect()
    }

    /// The items that are done, in the order of the output: what a next turn sends back.
    pub fn items(&self) -> Vec<&OutputItem> {
        self.in_order()
            .filter_map(|slot| slot.done.as_ref())
            .collect()
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
            _ => None,
        };
        at_the_end.or(self.response_id.as_deref())
    }

    /// What it cost, once the end has told it.
    pub fn token_usage(&self) -> Option<TokenUsage> {
        match &self.end {
            Some(ResponseEvent::Completed(completed)) => completed.token_usage,
            Some(ResponseEvent::Incomplete(incomplete)) => incomplete.token_usage,
            _ => None,
        }
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
            return Err(ApiError::new(ErrorKind::TooLarge, message).with_phase(Phase::Deliver));
        }
        self.held_bytes += bytes;
        Ok(())
    }

    fn add(&mut self, item: &OutputItem) {
        let slot = self.slot_of(item);
        slot.added = Some(item.clone());
    }

    fn finish(&mut self, item: &OutputItem) {
        let slot = self.slot_of(item);
        slot.done = Some(item.clone());
        let mismatches: Vec<_> = slot.mismatches().collect();
        self.mismatches.extend(mismatches);
    }

    fn slot_of(&mut self, item: &OutputItem) -> &mut Slot {
        let id = item.item().id().map(Id::from);
        self.slot(item.output_index(), id.as_ref())
    }

    /// The slot of an item: by its place in the output, for some servers change ids on the way; else by its id; else the one
    /// that was begun last.
    fn slot(&mut self, output_index: Option<u32>, item_id: Option<&Id>) -> &mut Slot {
        let found = match (output_index, item_id) {
            (Some(index), _) => self
                .slots
                .iter()
                .rposition(|slot| slot.output_index == Some(index)),
            (None, Some(id)) => self
                .slots
                .iter()
                .rposition(|slot| slot.item_id.as_ref() == Some(id)),
            (None, None) => self.slots.iter().rposition(|slot| slot.done.is_none()),
        };
        let at = found.unwrap_or_else(|| {
            self.slots.push(Slot {
                output_index,
                ..Slot::default()
            });
            self.slots.len() - 1
        });
        let slot = &mut self.slots[at];
        if let Some(id) = item_id {
            slot.item_id = Some(id.clone());
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

impl Slot {
    /// The item as far as it is known.
    fn item(&self) -> Option<&ResponseItem> {
        self.done
            .as_ref()
            .or(self.added.as_ref())
            .map(OutputItem::item)
    }

    fn message_text(&self) -> Cow<'_, str> {
        self.part("text")
    }

    /// What the deltas of a part add up to.
    fn streamed(&self, part: &str) -> Cow<'_, str> {
        let pieces = match part {
            "text" => &self.text,
            "refusal" => &self.refusal,
            "summary" => &self.summary,
            "reasoning" => &self.reasoning,
            _ => return Cow::Borrowed(&self.input),
        };
        match pieces.len() {
            0 => Cow::Borrowed(""),
            1 => Cow::Borrowed(pieces.values().next().map_or("", String::as_str)),
            _ => Cow::Owned(pieces.values().map(String::as_str).collect()),
        }
    }

    /// A part as the final form has it, or, until there is one, as it was streamed.
    fn part(&self, part: &str) -> Cow<'_, str> {
        let Some(done) = &self.done else {
            return self.streamed(part);
        };
        let text = match (part, done.item()) {
            ("text", ResponseItem::Message(message)) => message.text(),
            ("refusal", ResponseItem::Message(message)) => message.refusal(),
            ("summary", ResponseItem::Reasoning(reasoning)) => reasoning.summary_text(),
            ("reasoning", ResponseItem::Reasoning(reasoning)) => reasoning.content_text(),
            ("input", ResponseItem::FunctionCall(call)) => call.arguments.clone(),
            ("input", ResponseItem::CustomToolCall(call)) => call.input.clone(),
            // The final form of other items has no such part, or an unknown place for it.
            _ => return self.streamed(part),
        };
        Cow::Owned(text)
    }

    /// Where the deltas do not add up to the final form.
    fn mismatches(&self) -> impl Iterator<Item = Mismatch> {
        let parts = ["text", "refusal", "summary", "reasoning", "input"].into_iter();
        parts.filter_map(|part| {
            let (streamed, done) = (self.streamed(part), self.part(part));
            (!streamed.is_empty() && streamed != done).then(|| Mismatch {
                output_index: self.output_index,
                item_id: self.item_id.clone(),
                part,
                streamed: streamed.into_owned(),
                done: done.into_owned(),
            })
        })
    }

    fn tool_call(&self) -> Option<AccumulatedToolCall<'_>> {
        let name = match self.item()? {
            ResponseItem::FunctionCall(call) => &call.name,
            ResponseItem::CustomToolCall(call) => &call.name,
            _ => return None,
        };
        Some(AccumulatedToolCall {
            item_id: self.item_id.as_deref(),
            call_id: self.item()?.call_id().or(self.call_id.as_deref()),
            name: Some(name),
            input: self.part("input"),
            is_done: self.done.is_some(),
        })
    }
}

fn append(pieces: &mut BTreeMap<u32, String>, index: Option<u32>, delta: &str) {
    pieces
        .entry(index.unwrap_or(0))
        .or_default()
        .push_str(delta);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::{StreamDecoder, StreamLimits, Wire};

    fn accumulate(wire: Wire, data: &[Value]) -> ResponseAccumulator {
        let body: String = data
            .iter()
            .map(|data| format!("data: {data}\n\n"))
            .collect();
        let mut events = Vec::new();
        let mut decoder = StreamDecoder::new(wire, StreamLimits::default());
        let end = decoder.feed(body.as_bytes(), &mut events);
        events.extend(end.map(ResponseEvent::from));
        let mut accumulator = ResponseAccumulator::default();
        for event in &events {
            accumulator.push(event).unwrap();
        }
        accumulator
    }

    fn delta(index: u32, text: &str) -> Value {
        json!({"type": "response.output_text.delta", "item_id": "m", "output_index": index, "content_index": 0, "delta": text})
    }

    #[test]
    fn a_running_stream_can_be_read_at_any_time() {
        let call = json!({"type": "response.output_item.added", "output_index": 1,
            "item": {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": ""}});
        let arguments = json!({"type": "response.function_call_arguments.delta", "item_id": "fc", "output_index": 1, "delta": "{\"a\":"});
        let answer = accumulate(
            Wire::Responses,
            &[delta(0, "Hel"), delta(0, "lo"), call, arguments],
        );
        assert_eq!(answer.text(), "Hello");
        assert_eq!(
            answer.tool_calls(),
            [AccumulatedToolCall {
                item_id: Some("fc"),
                call_id: Some("c"),
                name: Some("f"),
                input: "{\"a\":".into(),
                is_done: false
            }]
        );
        assert!(answer.items().is_empty() && answer.end().is_none());
    }

    #[test]
    fn the_final_form_counts_and_a_difference_is_told() {
        let done = json!({"type": "response.output_item.done", "output_index": 0, "item": {"type": "message", "id": "m",
            "role": "assistant", "content": [{"type": "output_text", "text": "Hello!", "annotations": []}]}});
        let end = json!({"type": "response.completed", "response": {"id": "r", "usage": {"input_tokens": 1, "output_tokens": 2}}});
        let answer = accumulate(Wire::Responses, &[delta(0, "Hello"), done, end]);
        assert_eq!(answer.text(), "Hello!");
        assert_eq!(answer.items().len(), 1);
        assert_eq!(answer.response_id(), Some("r"));
        assert_eq!(answer.token_usage().unwrap().total_tokens, 3);
        let [mismatch] = answer.mismatches() else {
            panic!("{:?}", answer.mismatches())
        };
        assert_eq!(
            (mismatch.part, &*mismatch.streamed, &*mismatch.done),
            ("text", "Hello", "Hello!")
        );
    }

    #[test]
    fn ids_that_change_on_the_way_do_not_split_an_item() {
        let rotated = |id: &str, text: &str| json!({"type": "response.output_text.delta", "item_id": id, "output_index": 0, "delta": text});
        let answer = accumulate(
            Wire::Responses,
            &[rotated("a", "1"), rotated("b", "2"), rotated("c", "3")],
        );
        assert_eq!(answer.text(), "123");
    }

    #[test]
    fn items_come_in_the_order_of_the_output_and_without_places_as_they_came() {
        let answer = accumulate(
            Wire::Responses,
            &[delta(2, "b"), delta(0, "a"), delta(2, "c")],
        );
        assert_eq!(answer.text(), "abc");
        let bare = |id: &str, text: &str| json!({"type": "response.output_text.delta", "item_id": id, "delta": text});
        let answer = accumulate(
            Wire::Responses,
            &[bare("x", "1"), bare("y", "2"), bare("x", "3")],
        );
        assert_eq!(answer.text(), "132");
    }

    #[test]
    fn both_wires_add_up_alike() {
        let chunk = |delta: Value, reason: Value| json!({"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
        let call = |arguments: &str| json!({"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": arguments}}]});
        let answer = accumulate(
            Wire::Chat,
            &[
                chunk(json!({"reasoning_content": "hm"}), Value::Null),
                chunk(json!({"content": "Hel"}), Value::Null),
                chunk(json!({"content": "lo"}), Value::Null),
                chunk(call("{}"), Value::Null),
                chunk(json!({}), json!("tool_calls")),
                json!({"id": "c", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}),
            ],
        );
        assert_eq!(answer.text(), "Hello");
        assert_eq!(answer.reasoning_content(), "hm");
        let calls = answer.tool_calls();
        assert_eq!(
            (
                calls[0].name,
                calls[0].call_id,
                &*calls[0].input,
                calls[0].is_done
            ),
            (Some("f"), Some("call_1"), "{}", true)
        );
        assert_eq!(answer.items().len(), 3);
        assert!(answer.mismatches().is_empty());
        assert_eq!(answer.token_usage().unwrap().total_tokens, 3);
    }

    #[test]
    fn a_restart_clears_everything() {
        let mut answer = accumulate(Wire::Responses, &[delta(0, "void")]);
        let restarted = super::super::Restarted {
            attempt: 2,
            delay: std::time::Duration::ZERO,
            error: std::sync::Arc::new(ApiError::new(ErrorKind::Truncated, "cut")),
        };
        answer
            .push(&ResponseEvent::Restarted(restarted.into()))
            .unwrap();
        assert_eq!(answer.text(), "");
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut answer = ResponseAccumulator::with_max_bytes(10);
        let mut events = Vec::new();
        let body = format!(
            "data: {}\n\ndata: {}\n\n",
            delta(0, "12345678"),
            delta(0, "9ab")
        );
        StreamDecoder::new(Wire::Responses, StreamLimits::default())
            .feed(body.as_bytes(), &mut events);
        answer.push(&events[0]).unwrap();
        let error = answer.push(&events[1]).unwrap_err();
        assert!(error.message().contains("10 bytes"), "{error}");
        assert_eq!(answer.text(), "12345678");
    }
}
