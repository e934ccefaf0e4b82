//! The tool calls of one choice, put together from their pieces.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::{
    chunk::{CallDelta, text_of},
    item::{Item, OutputNumbers, OutputPlace},
};
use crate::protocol::{Id, ResponseEvent, StreamAnomalies, ToolCallInput, ToolCallInputDelta};

/// The calls of one choice, in the order in which they began.
///
/// Pieces are put together by index, then by id: servers that send ids anew with every piece keep the index, and those that
/// send no index keep the id. What has neither belongs to the last call. A piece begins another call at a known index only
/// when it looks like a beginning: a name with another id, or a name after arguments that are already whole JSON. (Some
/// servers send every call with index 0.)
#[derive(Default)]
pub(super) struct ToolCalls {
    calls: Vec<ToolCall>,
}

struct ToolCall {
    index: Option<u32>,
    /// The server's id.
    id: Option<Id>,
    name: String,
    input: String,
    kind: ToolCallInput,
    /// Set once the call has a name, when it is announced.
    place: Option<OutputPlace>,
    /// The server's id, or one that stands in for it.
    call_id: Option<Id>,
}

/// A piece of a call.
struct Piece<'a> {
    index: Option<u32>,
    id: &'a str,
    name: &'a str,
    input: Cow<'a, str>,
    kind: ToolCallInput,
}

impl<'a> From<&'a CallDelta<'a>> for Piece<'a> {
    fn from(delta: &'a CallDelta<'a>) -> Self {
        let (name, input, kind) = match (&delta.custom, &delta.function) {
            (Some(custom), None) => (&custom.name, custom.input, ToolCallInput::CustomInput),
            (_, Some(function)) => (
                &function.name,
                function.arguments,
                ToolCallInput::FunctionArguments,
            ),
            (None, None) => (&None, None, ToolCallInput::FunctionArguments),
        };
        Self {
            index: delta.index,
            id: delta.id.as_deref().unwrap_or_default(),
            name: name.as_deref().unwrap_or_default(),
            input: input.map_or(Cow::Borrowed(""), text_of),
            kind,
        }
    }
}

impl ToolCalls {
    /// Takes a piece. The call is announced when its name is known, which in practice is its first piece; input that comes
    /// before the name is held until then.
    pub(super) fn add(
        &mut self,
        delta: &CallDelta<'_>,
        numbers: &mut OutputNumbers,
        out: &mut Vec<ResponseEvent>,
    ) {
        let piece = Piece::from(delta);
        let position = self.position(&piece).unwrap_or_else(|| {
            numbers.size.add_part();
            self.calls.push(ToolCall::new(&piece));
            self.calls.len() - 1
        });
        self.calls[position].add(&piece, numbers, out);
    }

    /// Ends every call. One that never got a name cannot be called: it is counted as malformed.
    pub(super) fn finish(
        &mut self,
        status: &'static str,
        out: &mut Vec<ResponseEvent>,
        anomalies: &mut StreamAnomalies,
    ) {
        for call in self.calls.drain(..) {
            match &call.place {
                Some(place) => out.push(ResponseEvent::OutputItemDone(
                    call.item(&call.input, place, status)
                        .into_output(place.output_index),
                )),
                None => anomalies.malformed(|| {
                    let input: String = call.input.chars().take(100).collect();
                    format!("a tool call without a name (input {input:?})")
                }),
            }
        }
    }

    fn position(&self, piece: &Piece<'_>) -> Option<usize> {
        let last = |is_meant: &dyn Fn(&ToolCall) -> bool| self.calls.iter().rposition(is_meant);
        let has_id = |call: &ToolCall| !piece.id.is_empty() && call.id.as_deref() == Some(piece.id);
        if let Some(index) = piece.index {
            let at_index = |call: &ToolCall| call.index == Some(index);
            let exact = last(&|call| at_index(call) && has_id(call));
            let Some(latest) = exact.or_else(|| last(&at_index)) else {
                // A call that began without an index.
                return last(&|call| call.index.is_none() && has_id(call));
            };
            return (exact.is_some() || !self.calls[latest].is_over(piece)).then_some(latest);
        }
        last(&has_id).or_else(|| {
            let latest = self.calls.len().checked_sub(1)?;
            (!self.calls[latest].is_over(piece)).then_some(latest)
        })
    }
}

impl ToolCall {
    fn new(piece: &Piece<'_>) -> Self {
        Self {
            index: piece.index,
            id: None,
            name: String::new(),
            input: String::new(),
            kind: piece.kind,
            place: None,
            call_id: None,
        }
    }

    /// Whether a piece that could belong here begins another call.
    fn is_over(&self, piece: &Piece<'_>) -> bool {
        if piece.name.is_empty() {
            return false;
        }
        match &self.id {
            Some(id) if !piece.id.is_empty() => **id != *piece.id,
            _ => {
                let may_repeat_its_name = piece.index.is_some() || piece.input.is_empty();
                !(self.name.is_empty() || (may_repeat_its_name && self.name == piece.name))
                    && serde_json::from_str::<IgnoredAny>(&self.input).is_ok()
            }
        }
    }

    fn add(
        &mut self,
        piece: &Piece<'_>,
        numbers: &mut OutputNumbers,
        out: &mut Vec<ResponseEvent>,
    ) {
        if self.id.is_none() && !piece.id.is_empty() {
            let id: Id = piece.id.into();
            self.call_id = Some(id.clone());
            self.id = Some(id);
        }
        if self.name.is_empty() {
            numbers.size.add_bytes(piece.name.len());
            self.name.push_str(piece.name);
        }
        numbers.size.add_bytes(piece.input.len());
        self.input.push_str(&piece.input);
        let mut delta: &str = &piece.input;
        if self.place.is_none() {
            if self.name.is_empty() {
                return;
            }
            self.announce(numbers, out);
            delta = &self.input;
        }
        if let Some(place) = &self.place
            && !delta.is_empty()
        {
            out.push(ResponseEvent::ToolCallInputDelta(ToolCallInputDelta {
                delta: delta.into(),
                item_id: Some(place.item_id.clone()),
                call_id: self.call_id.clone(),
                output_index: Some(place.output_index),
                input: self.kind,
            }));
        }
    }

    fn announce(&mut self, numbers: &mut OutputNumbers, out: &mut Vec<ResponseEvent>) {
        let place = numbers.begin(match self.kind {
            ToolCallInput::CustomInput => "ctc",
            _ => "fc",
        });
        self.call_id
            .get_or_insert_with(|| numbers.call_id(place.output_index));
        let item = self.item("", &place, "in_progress");
        out.push(ResponseEvent::OutputItemAdded(
            item.into_output(place.output_index),
        ));
        self.place = Some(place);
    }

    fn item<'a>(
        &'a self,
        input: &'a str,
        place: &'a OutputPlace,
        status: &'static str,
    ) -> Item<'a> {
        let id = &place.item_id;
        let call_id = self.call_id.as_deref().unwrap_or_default();
        let name = &self.name;
        match self.kind {
            ToolCallInput::CustomInput => Item::CustomToolCall {
                id,
                call_id,
                name,
                input,
                status,
            },
            _ => Item::FunctionCall {
                id,
                call_id,
                name,
                arguments: input,
                status,
            },
        }
    }
}
