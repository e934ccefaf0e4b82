//! The tool calls of one choice, put together from their pieces.

use std::{borrow::Cow, cell::OnceCell, ops::Range};

use serde::de::IgnoredAny;
use serde_json::Value;

use super::{
    call_index::{CallIndex, Place},
    chunk::{CallDelta, text_of},
    item::{Extra, Grown, Item, Output, OutputNumbers, OutputPlace},
};
use crate::{
    json::{excerpt::excerpt, lenient::JsonDepth, tree::tree},
    protocol::{Id, ResponseEvent, Text, ToolCallInput, ToolCallInputDelta},
};

/// The calls of one choice, in the order in which they began.
///
/// Pieces are put together by index, else by id, else by their place in the chunk's list; what has none of these belongs to the
/// last call. Servers exist that give all calls one index, one id, or none, so a piece that could go on with a call is looked
/// at once more: see [`ToolCall::fit`].
#[derive(Default)]
pub(super) struct ToolCalls {
    calls: Vec<ToolCall>,
    /// Once there are many.
    index: Option<Box<CallIndex>>,
}

/// How many calls are looked through one by one. Answers have a few.
const FEW: usize = 32;

struct ToolCall {
    place: Place,
    /// The server's id.
    id: Option<Id>,
    name: String,
    input: Grown,
    /// Where the input begins and ends without white space around it.
    said: Range<usize>,
    /// The input as a tree, where it was compared.
    value: OnceCell<Option<Value>>,
    depth: JsonDepth,
    kind: ToolCallInput,
    /// Whether the arguments came as JSON, not as a string of it. Such are whole, or replaced by what comes next.
    is_object: bool,
    extra: Extra,
    /// Set once the call is announced: when its input begins, for until then its name may go on.
    output: Option<OutputPlace>,
    /// How much of the input has been delivered.
    delivered: usize,
    /// The server's id, or one that stands in for it.
    call_id: Option<Id>,
}

/// A piece of a call.
#[derive(Clone, Copy)]
struct Piece<'a> {
    place: Place,
    id: &'a str,
    name: &'a str,
    input: &'a str,
    is_object: bool,
    kind: ToolCallInput,
}

impl<'a> Piece<'a> {
    /// The piece without its input, and that.
    fn of(delta: &'a CallDelta<'a>, position: usize) -> (Self, Cow<'a, str>) {
        let (name, input, kind) = match (&delta.custom, &delta.function) {
            (Some(custom), None) => (&custom.name, custom.input, ToolCallInput::CustomInput),
            (_, Some(function)) => (
                &function.name,
                function.arguments,
                ToolCallInput::FunctionArguments,
            ),
            (None, None) => (&None, None, ToolCallInput::FunctionArguments),
        };
        let piece = Self {
            place: match delta.index {
                Some(index) => Place::Index(index),
                None => Place::Position(position),
            },
            id: delta.id.as_deref().unwrap_or_default(),
            name: name.as_deref().unwrap_or_default(),
            input: "",
            is_object: input.is_some_and(|input| input.get().starts_with('{')),
            kind,
        };
        (piece, input.map_or(Cow::Borrowed(""), text_of))
    }

    fn begins_object(&self) -> bool {
        self.input.trim_start().starts_with('{')
    }
}

/// What a piece is to a call that it could belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// It goes on with it.
    GoesOn,
    /// Its input holds all of the call's so far, and perhaps more.
    Repeats,
    /// Its input takes the place of the call's, which said nothing.
    Replaces,
    /// It begins another call.
    Begins,
    /// Its input belongs to no call: the arguments are whole, and this begins none.
    Excess,
}

impl ToolCalls {
    /// Takes the piece at `position` of a chunk's list. A call is announced when its input begins or something else follows it;
    /// before that, servers may still be at its name.
    pub(super) fn add(&mut self, delta: &CallDelta<'_>, position: usize, to: &mut Output<'_>) {
        let (mut piece, input) = Piece::of(delta, position);
        piece.input = &input;
        loop {
            let (at, rest) = self.add_piece(&piece, to);
            self.calls[at].attach(delta, to.numbers);
            self.calls[at].deliver(to);
            // What follows on a whole object is another piece, of which nothing more is known.
            let rest = rest.trim_start();
            if rest.is_empty() || to.numbers.size.is_exceeded() {
                return;
            }
            piece = Piece {
                id: "",
                name: "",
                input: rest,
                is_object: false,
                ..piece
            };
        }
    }

    /// Adds a piece as far as the arguments that it goes on with. Gives the call, and the rest.
    fn add_piece<'p>(&mut self, piece: &Piece<'p>, to: &mut Output<'_>) -> (usize, &'p str) {
        let found = self.position(piece);
        let (at, fit) = match found.map(|at| (at, self.calls[at].fit(piece))) {
            Some((at, fit)) if fit != Fit::Begins => (at, fit),
            _ => {
                to.numbers.size.add_part();
                self.announce_all(to);
                let mut call = ToolCall::new(piece);
                if let Some(before) = found.map(|at| &self.calls[at])
                    && piece.name.is_empty()
                {
                    call.name.clone_from(&before.name);
                }
                self.calls.push(call);
                (self.calls.len() - 1, Fit::GoesOn)
            }
        };
        let is_named = !piece.id.is_empty() && self.calls[at].id.is_none();
        let is_known = |id: &str| {
            let has_id = |call: &ToolCall| call.call_id.as_deref() == Some(id);
            self.calls.iter().any(has_id)
        };
        let id = Some(piece.id).filter(|id| is_named && !is_known(id));
        let rest = self.calls[at].take(piece, id, fit, to);
        if let Some(index) = &mut self.index {
            let call = &self.calls[at];
            index.note(at, call.place, call.id.as_ref().filter(|_| is_named));
        } else if self.calls.len() > FEW {
            let mut index = Box::<CallIndex>::default();
            for (at, call) in self.calls.iter().enumerate() {
                index.note(at, call.place, call.id.as_ref());
            }
            self.index = Some(index);
        }
        (at, rest)
    }

    /// Announces the calls that are known by name only.
    fn announce_all(&mut self, to: &mut Output<'_>) {
        for call in &mut self.calls {
            if call.output.is_none() && !call.name.is_empty() {
                call.announce(to);
            }
        }
    }

    /// Whether there is a call whose arguments end in the middle, or whose name never came.
    pub(super) fn has_cut(&self) -> bool {
        let is_lost = |call: &ToolCall| call.name.is_empty() && !call.said.is_empty();
        self.calls.iter().any(|call| call.is_cut() || is_lost(call))
    }

    /// Whether there is a call that may go on, where the server has not said that it does not: one whose arguments are no whole
    /// object.
    pub(super) fn has_open(&self) -> bool {
        let is_open = |call: &ToolCall| !call.is_whole() || call.parse().is_err();
        self.calls.iter().any(is_open)
    }

    /// Ends every call. One that never got a name cannot be called: it is counted as malformed.
    pub(super) fn finish(&mut self, status: &'static str, to: &mut Output<'_>) {
        self.announce_all(to);
        for mut call in self.calls.drain(..) {
            call.input.finish();
            call.deliver_all(to.out);
            let status = match call.is_cut() {
                true => "incomplete",
                false => status,
            };
            match &call.output {
                Some(place) => to.out.push(ResponseEvent::OutputItemDone(
                    call.item(&call.input.text, place, status)
                        .into_output(place.output_index),
                )),
                None => to.anomalies.malformed(|| {
                    let input = excerpt(&call.input.text);
                    format!("a tool call without a name (input {input:?})")
                }),
            }
        }
    }

    /// The call that a piece could belong to.
    fn position(&self, piece: &Piece<'_>) -> Option<usize> {
        let newest = self.calls.len().checked_sub(1)?;
        let Place::Index(index) = piece.place else {
            let named = self.last_named(piece.id);
            return named.or_else(|| self.last_at(piece.place)).or(Some(newest));
        };
        self.last_named_at(piece.id, Some(index))
            .or_else(|| self.last_at(piece.place))
            // A call that began without an index, or whose index moves.
            .or_else(|| match piece.name.is_empty() {
                true => self.last_named(piece.id),
                false => self.last_named_at(piece.id, None),
            })
            // What names no call can only go on with the newest.
            .or_else(|| {
                let is_nameless = piece.name.is_empty() && piece.id.is_empty();
                (is_nameless && !self.calls[newest].is_whole()).then_some(newest)
            })
    }

    fn last_at(&self, place: Place) -> Option<usize> {
        match &self.index {
            Some(index) => index.last_at(place),
            None => self.calls.iter().rposition(|call| call.place == place),
        }
    }

    /// The last call with the server's id, of which an empty one is none.
    fn last_named(&self, id: &str) -> Option<usize> {
        let has_id = |call: &ToolCall| !id.is_empty() && call.id.as_deref() == Some(id);
        match &self.index {
            Some(index) => index.last_named(id),
            None => self.calls.iter().rposition(has_id),
        }
    }

    /// The same of those that have that index, or that have none.
    fn last_named_at(&self, id: &str, at: Option<u32>) -> Option<usize> {
        let has_id = |call: &ToolCall| !id.is_empty() && call.id.as_deref() == Some(id);
        let is_it = |call: &ToolCall| has_id(call) && call.place.index() == at;
        match &self.index {
            Some(index) => index.last_named_at(id, at),
            None => self.calls.iter().rposition(is_it),
        }
    }
}

impl ToolCall {
    fn new(piece: &Piece<'_>) -> Self {
        Self {
            place: piece.place,
            id: None,
            name: String::new(),
            input: Grown::default(),
            said: 0..0,
            value: OnceCell::new(),
            depth: JsonDepth::default(),
            kind: piece.kind,
            is_object: false,
            extra: Extra::new(),
            output: None,
            delivered: 0,
            call_id: None,
        }
    }

    /// The input without white space around it.
    fn said(&self) -> &str {
        &self.input.text[self.said.clone()]
    }

    /// Appends to the input. What is looked at is the piece alone: some models never stop to write line ends.
    fn push(&mut self, piece: &str, is_marked: bool) {
        let before = self.input.text.len();
        let added = self.input.push(piece, is_marked);
        self.depth.read(added.as_bytes());
        let is_blank = self.said.is_empty();
        if !added.trim().is_empty() {
            if is_blank {
                self.said.start = before + added.len() - added.trim_start().len();
            }
            self.said.end = before + added.trim_end().len();
            self.value = OnceCell::new();
        }
    }

    /// The input as a tree. It is kept, for many pieces may be compared with it.
    fn value(&self) -> Option<&Value> {
        self.value.get_or_init(|| tree(self.said())).as_ref()
    }

    /// Whether the arguments are a whole JSON object. Free text is never known to be whole.
    fn is_whole(&self) -> bool {
        self.kind != ToolCallInput::CustomInput
            && self.said().starts_with(['{', '['])
            && self.depth.is_closed()
    }

    /// Whether the arguments end in the middle. What else is wrong with them is the model's own mistake.
    fn is_cut(&self) -> bool {
        let text = self.said();
        self.kind != ToolCallInput::CustomInput
            && match text.starts_with(['{', '[']) {
                true => !self.depth.is_closed(),
                false => !text.is_empty() && self.parse().is_err_and(|error| error.is_eof()),
            }
    }

    /// Whether the arguments say nothing, with which some servers open every call: they may be replaced by real ones as long as
    /// they have not been delivered.
    fn is_opening(&self) -> bool {
        self.delivered == 0
            && self.kind != ToolCallInput::CustomInput
            && ["{}", "[]", "null", "None", "\"\""]
                .into_iter()
                .any(|opening| is_but_for_space(self.said(), opening))
    }

    fn parse(&self) -> serde_json::Result<IgnoredAny> {
        serde_json::from_str(&self.input.text)
    }

    /// What a piece is to this call.
    ///
    /// A call's arguments are one JSON object. So when they are whole and more comes, that is another call, unless it says the
    /// same once more, or the arguments so far were an empty object, with which some servers open every call. As long as they are
    /// not whole, what comes goes on with them; some servers send all of them anew in each piece, which no object can begin
    /// with itself.
    fn fit(&self, piece: &Piece<'_>) -> Fit {
        let before = self.said();
        let is_blank = piece.input.trim().is_empty();
        let is_named = !piece.name.is_empty() && !self.name.is_empty();
        let is_renamed = is_named && self.name != piece.name;
        let has_new_id =
            !piece.id.is_empty() && self.id.is_some() && self.id.as_deref() != Some(piece.id);
        if before.is_empty() {
            // Its name may come in fragments, or grow from piece to piece.
            // Who names no ids can only mean another call by another name beside arguments.
            let has_no_ids = self.id.is_none() && piece.id.is_empty();
            let is_other = is_named
                && (has_new_id || (has_no_ids && is_renamed && !is_blank && !self.names(piece)));
            return if is_other { Fit::Begins } else { Fit::GoesOn };
        }
        if self.kind == ToolCallInput::CustomInput {
            let is_other = is_named && (has_new_id || (is_renamed && !is_blank));
            return if is_other { Fit::Begins } else { Fit::GoesOn };
        }
        let is_replaced = self.is_opening() && piece.begins_object() && !has_new_id && !is_renamed;
        if !self.is_whole() {
            let begins_anew = is_blank || piece.begins_object();
            let is_other = is_renamed || (is_named && has_new_id && begins_anew);
            let input = piece.input.trim_start();
            return match () {
                () if is_other => Fit::Begins,
                () if is_replaced => Fit::Replaces,
                () if before.starts_with('{') && input.starts_with(before) => Fit::Repeats,
                () => Fit::GoesOn,
            };
        }
        match () {
            () if is_named && (has_new_id || is_renamed) => Fit::Begins,
            () if is_blank => Fit::GoesOn,
            () if has_new_id && piece.begins_object() => Fit::Begins,
            () if self.is_same(piece.input) => Fit::Repeats,
            () if is_replaced => Fit::Replaces,
            // As it opens some calls, it closes others.
            () if piece.name.is_empty() && is_but_for_space(piece.input, "{}") => Fit::Repeats,
            () if self.is_object && piece.is_object && self.id.as_deref() == Some(piece.id) => {
                Fit::Replaces
            }
            () if self.is_object && piece.is_object && self.is_part_of(piece.input) => {
                Fit::Replaces
            }
            () if piece.begins_object() => Fit::Begins,
            () => Fit::Excess,
        }
    }

    /// Whether a piece's name is this one's, with more behind it.
    fn names(&self, piece: &Piece<'_>) -> bool {
        piece.name.starts_with(&self.name)
    }

    /// Whether a piece says the same JSON once more.
    fn is_same(&self, piece: &str) -> bool {
        let piece = piece.trim();
        let is_equal = |value: &Value| self.value() == Some(value);
        self.said() == piece
            || (piece.starts_with(['{', '[']) && tree(piece).as_ref().is_some_and(is_equal))
    }

    /// Whether an object has all members of this one.
    fn is_part_of(&self, piece: &str) -> bool {
        let Some((Value::Object(before), Value::Object(piece))) = self.value().zip(tree(piece))
        else {
            return false;
        };
        before
            .iter()
            .all(|(name, value)| piece.get(name) == Some(value))
    }

    fn take<'p>(
        &mut self,
        piece: &Piece<'p>,
        id: Option<&str>,
        fit: Fit,
        to: &mut Output<'_>,
    ) -> &'p str {
        if self.id.is_none() && !piece.id.is_empty() {
            self.id = Some(piece.id.into());
            // It also replaces one that stood in for it.
            self.call_id = id.map(Id::from).or(self.call_id.take());
        }
        if self.output.is_none() && !piece.name.is_empty() && self.name != piece.name {
            // A fragment, or the whole name so far.
            if self.names(piece) {
                self.name.clear();
            }
            to.numbers.size.add_bytes(piece.name.len());
            self.name.push_str(piece.name);
        }
        let mut input = piece.input;
        match fit {
            Fit::GoesOn | Fit::Begins => {}
            Fit::Repeats => {
                input = match self.is_whole() {
                    true => "",
                    false => {
                        let rest = input.trim_start().strip_prefix(self.said());
                        rest.unwrap_or_default()
                    }
                };
            }
            Fit::Replaces => {
                self.input = Grown::default();
                self.said = 0..0;
                self.depth = JsonDepth::default();
                self.delivered = 0;
            }
            Fit::Excess => {
                to.anomalies.malformed(|| {
                    format!("more after a tool call's arguments: {:?}", excerpt(input))
                });
                return "";
            }
        }
        self.is_object |= piece.is_object;
        let begun = match self.said.is_empty() {
            true => input.trim_start(),
            false => self.said(),
        };
        let is_json = begun.starts_with(['{', '[']);
        let end = match self.kind {
            ToolCallInput::CustomInput => None,
            _ if !is_json || (fit == Fit::GoesOn && self.is_whole()) => None,
            _ => self.depth.end_in(input),
        };
        let (input, rest) = match end {
            Some(end) if !input[end..].trim().is_empty() => input.split_at(end),
            _ => (input, ""),
        };
        to.numbers.size.add_bytes(input.len());
        self.push(input, to.numbers.is_marked);
        rest
    }

    /// Keeps what a piece has that must go back with the next request, such as Gemini's thought signature.
    fn attach(&mut self, delta: &CallDelta<'_>, numbers: &mut OutputNumbers) {
        let function = delta.function.as_ref();
        for (name, json) in [
            ("extra_content", delta.extra_content),
            ("provider_specific_fields", delta.provider_specific_fields),
            ("thought_signature", delta.thought_signature),
            (
                "provider_specific_fields",
                function.and_then(|function| function.provider_specific_fields),
            ),
            (
                "thought_signature",
                function.and_then(|function| function.thought_signature),
            ),
        ] {
            if let Some(json) = json {
                merge(&mut self.extra, name, numbers.value(json.get()));
            }
        }
    }

    /// Delivers the input that has come, and announces the call before it. Arguments that may yet be replaced wait: an empty
    /// object, and what came as an object.
    fn deliver(&mut self, to: &mut Output<'_>) {
        if self.input.text.is_empty() || self.name.is_empty() {
            return;
        }
        if self.output.is_none() {
            self.announce(to);
        }
        let may_be_replaced =
            self.is_opening() || (self.delivered == 0 && self.is_object && self.is_whole());
        if !may_be_replaced {
            self.deliver_all(to.out);
        }
    }

    fn deliver_all(&mut self, out: &mut Vec<ResponseEvent>) {
        let delta = self.input.text.get(self.delivered..).unwrap_or_default();
        if let Some(place) = &self.output
            && !delta.is_empty()
        {
            out.push(ResponseEvent::ToolCallInputDelta(ToolCallInputDelta {
                delta: Text::from(delta),
                item_id: Some(place.item_id.clone()),
                call_id: self.call_id.clone(),
                output_index: Some(place.output_index),
                input: self.kind,
            }));
            self.delivered = self.input.text.len();
        }
    }

    fn announce(&mut self, to: &mut Output<'_>) {
        let place = to.numbers.begin(match self.kind {
            ToolCallInput::CustomInput => "ctc",
            _ => "fc",
        });
        self.call_id
            .get_or_insert_with(|| to.numbers.call_id(place.output_index));
        let item = self.item("", &place, "in_progress");
        to.out.push(ResponseEvent::OutputItemAdded(
            item.into_output(place.output_index),
        ));
        self.output = Some(place);
    }

    fn item<'a>(
        &'a self,
        input: &'a str,
        place: &'a OutputPlace,
        status: &'static str,
    ) -> Item<'a> {
        let id = &place.item_id;
        let call_id = self.call_id.as_deref().unwrap_or_default();
        let (name, extra) = (&self.name, &self.extra);
        match self.kind {
            ToolCallInput::CustomInput => Item::CustomToolCall {
                id,
                call_id,
                name,
                input,
                status,
                extra,
            },
            _ => Item::FunctionCall {
                id,
                call_id,
                name,
                arguments: input,
                status,
                extra,
            },
        }
    }
}

/// Puts a member into an item, or its members into the one that is there.
pub(super) fn merge(extra: &mut Extra, name: &str, value: Value) {
    match (extra.get_mut(name), value) {
        (_, Value::Null) => {}
        (Some(Value::Object(before)), Value::Object(members)) => before.extend(members),
        (_, value) => {
            extra.insert(name.to_owned(), value);
        }
    }
}

/// Whether a text is a short one, but for white space in it. With a lot of that it is another.
fn is_but_for_space(text: &str, short: &str) -> bool {
    const MOST: usize = 64;
    let is_char = |c: &char| !c.is_whitespace();
    text.len() <= MOST && text.chars().filter(is_char).eq(short.chars())
}

#[cfg(test)]
mod tests;
