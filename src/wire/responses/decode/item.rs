//! The JSON of an item: what is read of it, and items that are put right.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde_json::{Value, value::RawValue};

use super::delta::DeltaKind;
use crate::{
    json::{
        escapes::without_lone_surrogates,
        lenient::string,
        members::{self, Member, Members, member},
        tree::tree,
        walk::{skip_space, value_end},
    },
    protocol::{RawJson, ToolCallInput},
    wire::responses::known_text::{KnownText, NO_TEXT},
};

/// What is read of an item, whose JSON has been walked over.
#[derive(Debug, Default)]
pub(super) struct ItemView<'a> {
    /// Its `type`; that of a message may be left out.
    pub(super) kind: Cow<'a, str>,
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) call_id: Option<Cow<'a, str>>,
    /// Of what is called.
    pub(super) name: Option<Cow<'a, str>>,
    /// It says of itself that it is not whole.
    is_incomplete: bool,
    /// Those that are streamed as deltas.
    pub(super) texts: Vec<ItemText<'a>>,
}

#[derive(Debug)]
pub(super) struct ItemText<'a> {
    pub(super) kind: DeltaKind,
    /// Its place among the contents or the summaries.
    pub(super) index: u32,
    pub(super) text: Cow<'a, str>,
}

/// How many contents, and how many summaries, are read of an item. Messages have a few; what more there is comes with the item
/// alone.
const MAX_TEXTS: u32 = 256;

impl<'a> ItemView<'a> {
    pub(super) fn read(json: &'a str) -> Self {
        Self::read_knowing(json, &NO_TEXT)
    }

    /// The same with a text that may be in it.
    pub(super) fn read_knowing(json: &'a str, known: &'a KnownText) -> Self {
        let mut view = Self::default();
        let [mut content, mut summary, mut arguments, mut input] = [None; 4];
        for Member { name, value } in Members::of(json).knowing(known.inside()) {
            let value = &json[value];
            match name {
                "type" => view.kind = string(value).unwrap_or_default(),
                "id" => view.id = string(value).filter(|id| !id.is_empty()),
                "call_id" => view.call_id = string(value).filter(|id| !id.is_empty()),
                "name" => view.name = string(value).filter(|name| !name.is_empty()),
                "status" => view.is_incomplete = string(value).is_some_and(|s| s == "incomplete"),
                "role" if view.kind.is_empty() => view.kind = "message".into(),
                "content" => content = Some(value),
                "summary" => summary = Some(value),
                "arguments" => arguments = Some(value),
                "input" => input = Some(value),
                _ => {}
            }
        }
        match &*view.kind {
            "message" => view.add_parts(content, DeltaKind::OutputText, known),
            "reasoning" => {
                view.add_parts(summary, DeltaKind::ReasoningSummary, known);
                view.add_parts(content, DeltaKind::ReasoningContent, known);
            }
            "function_call" => view.add_input(arguments, ToolCallInput::FunctionArguments),
            "custom_tool_call" => view.add_input(input, ToolCallInput::CustomInput),
            "mcp_call" => view.add_input(arguments, ToolCallInput::McpArguments),
            _ => {}
        }
        view
    }

    fn add_parts(&mut self, json: Option<&'a str>, kind: DeltaKind, known: &'a KnownText) {
        let Some(json) = json else { return };
        let mut add = |index, found: Option<(DeltaKind, Cow<'a, str>)>| {
            let text = found.map(|(kind, text)| ItemText { kind, index, text });
            self.texts.extend(text);
        };
        if !json.starts_with('[') {
            return add(0, string(json).map(|text| (kind, text)));
        }
        let bytes = json.as_bytes();
        let mut at = 1;
        for index in 0..MAX_TEXTS {
            let start = skip_space(bytes, at);
            let (text, end) = match bytes.get(start) {
                Some(b'{') => {
                    let (part, end) = PartView::read(json, start, known);
                    (part.text(kind, known), end)
                }
                _ => {
                    let end = value_end(bytes, start);
                    let text = end.and_then(|end| string(&json[start..end]));
                    (text.map(|text| (kind, text)), end)
                }
            };
            let Some(end) = end else { return };
            add(index, text);
            at = skip_space(bytes, end) + 1;
        }
    }

    fn add_input(&mut self, json: Option<&'a str>, input: ToolCallInput) {
        self.texts.push(ItemText {
            kind: DeltaKind::Input(input),
            index: 0,
            text: json.and_then(input_text).unwrap_or_default(),
        });
    }

    /// Whether it is a message that says nothing, or a call of something that takes input, without any.
    pub(super) fn is_hollow(&self) -> bool {
        let is_call = self.input_member().is_some();
        (is_call || self.kind == "message") && self.texts.iter().all(|text| text.text.is_empty())
    }

    /// What it is if it says that it is not whole.
    pub(super) fn cut(&self) -> Option<Cut> {
        match &*self.kind {
            _ if !self.is_incomplete => None,
            "message" => Some(Cut::Message),
            kind => (kind.ends_with("call") && !is_hosted(kind)).then_some(Cut::Call),
        }
    }

    /// The member that holds a call's input.
    pub(super) fn input_member(&self) -> Option<&'static str> {
        match &*self.kind {
            "function_call" | "mcp_call" => Some("arguments"),
            "custom_tool_call" => Some("input"),
            _ => None,
        }
    }
}

/// The text of a part of a message or of reasoning: an object, or the text itself.
pub(super) fn part_text<'a>(
    json: &'a str,
    kind: DeltaKind,
    known: &'a KnownText,
) -> Option<(DeltaKind, Cow<'a, str>)> {
    if json.starts_with('"') {
        return Some((kind, string(json)?));
    }
    PartView::read(json, 0, known).0.text(kind, known)
}

/// What is read of the object that a part is.
#[derive(Default)]
struct PartView<'a> {
    part_type: Option<&'a str>,
    text: Option<&'a str>,
    refusal: Option<&'a str>,
}

impl<'a> PartView<'a> {
    /// Reads the object that begins there. Tells where it ends too.
    fn read(json: &'a str, at: usize, known: &'a KnownText) -> (Self, Option<usize>) {
        let mut part = Self::default();
        let mut members = Members::at(json, at).knowing(known.inside());
        for Member { name, value } in members.by_ref() {
            let value = Some(&json[value]);
            match name {
                "type" => part.part_type = value,
                "text" => part.text = value,
                "refusal" => part.refusal = value,
                _ => {}
            }
        }
        let end = members.end();
        (part, end)
    }

    fn text(&self, kind: DeltaKind, known: &'a KnownText) -> Option<(DeltaKind, Cow<'a, str>)> {
        let kind = match (self.part_type.and_then(string).as_deref(), kind) {
            (Some("refusal"), _) => return Some((DeltaKind::Refusal, string(self.refusal?)?)),
            (Some("reasoning_text"), _) => DeltaKind::ReasoningContent,
            (Some("summary_text"), _) => DeltaKind::ReasoningSummary,
            (_, kind) => kind,
        };
        // The Assistants API has the text in an object.
        let text = known
            .read(self.text?)
            .or_else(|| string(self.text?))
            .or_else(|| string(member(self.text?, "value")?))?;
        Some((kind, text))
    }
}

/// Whether items of a type are calls that the server runs itself: nobody waits for them here.
pub(super) fn is_hosted(kind: &str) -> bool {
    matches!(
        kind,
        "web_search_call"
            | "file_search_call"
            | "code_interpreter_call"
            | "image_generation_call"
            | "mcp_call"
    )
}

/// What a call's input amounts to that is to be one JSON value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arguments<'a> {
    /// One value, or what is none for another reason than that its end is missing: the model's own mistake.
    One(&'a str),
    /// Those of several calls, glued.
    Several(Vec<&'a str>),
    /// They end in the middle.
    Cut,
}

impl<'a> Arguments<'a> {
    /// Some servers open each call by an empty object, or say its arguments twice: one of them counts.
    pub(super) fn of(text: &'a str) -> Self {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
        let (mut first, mut found) = ("", 0);
        let mut glued = Glued::default();
        loop {
            let json = match values.next() {
                Some(Ok(value)) => value.get(),
                Some(Err(error)) if error.is_eof() || ends_in_number(text) => return Self::Cut,
                Some(Err(_)) => return Self::One(text),
                None => break,
            };
            match found {
                // Nearly always the only one, which nothing is compared with.
                0 => first = json,
                1 => [first, json].into_iter().for_each(|json| glued.take(json)),
                _ => glued.take(json),
            }
            found += 1;
        }
        match &glued.kept[..] {
            _ if found < 2 || glued.kept.len() > MAX_GLUED => Self::One(text),
            [] => Self::One(first),
            [one] => Self::One(one),
            _ => Self::Several(glued.kept),
        }
    }
}

/// How many calls a server may glue into one. A model makes some, and each becomes an item; what holds more is the model's own mistake.
const MAX_GLUED: usize = 32;

/// Up to how many bytes values are compared by what they say. Longer ones, whose trees may take a hundred times that, are by their texts.
pub(super) const MAX_COMPARED_BYTES: usize = 64 * 1024;

/// Whether JSON that can't be read ends within a number: what would be right with one more digit, as far as it goes. To the parser that is no
/// end that is missing.
#[cold]
fn ends_in_number(text: &str) -> bool {
    let with_digit = || {
        let text = format!("{text}0");
        let mut values = serde_json::Deserializer::from_str(&text).into_iter::<IgnoredAny>();
        let error = values.find_map(Result::err);
        error.is_none_or(|error| error.is_eof())
    };
    text.ends_with(['-', '+', '.', 'e', 'E']) && with_digit()
}

/// The values of glued arguments that say something else than the one before. One more than are taken apart is kept, and no others.
#[derive(Default)]
struct Glued<'a> {
    kept: Vec<&'a str>,
    /// The last of them, if it was read.
    last: Option<Value>,
}

impl<'a> Glued<'a> {
    fn take(&mut self, json: &'a str) {
        // What is written alike needs no tree.
        if self.kept.len() > MAX_GLUED || self.kept.last() == Some(&json) {
            return;
        }
        let is_short = json.len() <= MAX_COMPARED_BYTES;
        // What is too large for a tree says something.
        let value = is_short.then(|| tree(json)).flatten();
        let says_nothing = match &value {
            Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Array(values)) => values.is_empty(),
            Some(Value::Object(members)) => members.is_empty(),
            _ => false,
        };
        let is_same = |before: &&str| match (&self.last, &value) {
            (None, None) => *before == json,
            (last, value) => last == value,
        };
        if !says_nothing && !self.kept.last().is_some_and(is_same) {
            self.kept.push(json);
            self.last = value;
        }
    }
}

/// What is only the beginning of an item. The later is the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cut {
    Message,
    /// A call that the caller is to answer.
    Call,
}

/// An object's JSON as a value; null when it is none, or more than a tree holds.
pub(super) fn parse(json: &str) -> Value {
    tree(&without_lone_surrogates(json)).unwrap_or(Value::Null)
}

/// The input of a call: a string, or, from servers that forget to write it into one, an object or a list.
pub(super) fn input_text(json: &str) -> Option<Cow<'_, str>> {
    match json.starts_with(['{', '[']) {
        true => Some(Cow::Borrowed(json)),
        false => string(json),
    }
}

/// Whether a JSON array that has been walked over has any elements.
pub(super) fn has_elements(json: &str) -> bool {
    let bytes = json.as_bytes();
    bytes.first() == Some(&b'[') && bytes.get(skip_space(bytes, 1)) != Some(&b']')
}

/// An item with another value of a member, or one more.
pub(super) fn with_member(json: &str, name: &str, value: &str) -> RawJson {
    let changed = members::with_member(json, name, value);
    RawJson::from_walked(changed.as_deref().unwrap_or(json))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::walk::elements;

    #[test]
    fn as_many_calls_are_taken_apart_as_a_model_makes() {
        let glued = |count: usize| {
            let values = (0..count).map(|at| format!(r#"{{"a":{at}}}"#));
            values.collect::<String>()
        };
        let most = glued(MAX_GLUED);
        let found = Arguments::of(&most);
        assert!(matches!(found, Arguments::Several(calls) if calls.len() == MAX_GLUED));
        for text in [glued(MAX_GLUED + 1), glued(100_000)] {
            assert_eq!(Arguments::of(&text), Arguments::One(&text));
            for cut in ["{\"a\":", "{", "{\"a", "{\"a\":[-"] {
                let text = format!("{text}{cut}");
                assert_eq!(Arguments::of(&text), Arguments::Cut, "{cut}");
            }
            let text = format!("{text}a");
            assert_eq!(Arguments::of(&text), Arguments::One(&text));
        }
        let long = format!(r#"{{"a":"{}"}}"#, "b".repeat(MAX_COMPARED_BYTES));
        let text = format!("{{}}{long}{{}} {long}");
        assert_eq!(Arguments::of(&text), Arguments::One(&long));
        let text = "{} ".repeat(100_000);
        assert_eq!(Arguments::of(&text), Arguments::One("{}"));
    }

    #[test]
    fn arguments_are_cut_wherever_they_end_in_the_middle() {
        let whole = r#"{"a":-1.5e+3,"b":[true,"\u00e9\"",null]}"#;
        assert_eq!(Arguments::of(whole), Arguments::One(whole));
        for (end, _) in whole.char_indices().skip(1) {
            let text = &whole[..end];
            assert_eq!(Arguments::of(text), Arguments::Cut, "{text}");
            let text = format!("{whole}{text}");
            assert_eq!(Arguments::of(&text), Arguments::Cut, "{text}");
        }
        for text in ["{\"a\":b-", "{\"a\":--", "{\"a\":1.}", "e"] {
            assert_eq!(Arguments::of(text), Arguments::One(text));
        }
    }

    #[test]
    fn the_texts_of_an_item_are_those_that_are_streamed() {
        use DeltaKind::{Input, OutputText, ReasoningContent, ReasoningSummary, Refusal};
        let arguments = Input(ToolCallInput::FunctionArguments);
        for (json, expected) in [
            (
                r#"{"type":"message","content":[{"type":"output_text","text":"a\n"},{"type":"refusal","refusal":"no"}]}"#,
                vec![(OutputText, 0, "a\n"), (Refusal, 1, "no")],
            ),
            (
                r#"{"role":"assistant","content":"a"}"#,
                vec![(OutputText, 0, "a")],
            ),
            (
                r#"{"type":"message","content":[{"type":"output_text","text":"\ud83d"},7,{"type":"image"}]}"#,
                vec![(OutputText, 0, "\u{fffd}")],
            ),
            (
                r#"{"type":"message","content":[{"type":"text","text":{"value":"a","annotations":[]}},{"text":{}}]}"#,
                vec![(OutputText, 0, "a")],
            ),
            (r#"{"type":"message","content":null}"#, vec![]),
            (
                r#"{"type":"reasoning","summary":[ {"type":"summary_text","text":"s"} ],"content":[{"type":"reasoning_text","text":"t"}]}"#,
                vec![(ReasoningSummary, 0, "s"), (ReasoningContent, 0, "t")],
            ),
            (
                r#"{"type":"function_call","arguments":"{}"}"#,
                vec![(arguments, 0, "{}")],
            ),
            (
                r#"{"type":"function_call","arguments":{"a":1}}"#,
                vec![(arguments, 0, r#"{"a":1}"#)],
            ),
            (r#"{"type":"function_call"}"#, vec![(arguments, 0, "")]),
            (
                r#"{"type":"custom_tool_call","input":"x"}"#,
                vec![(Input(ToolCallInput::CustomInput), 0, "x")],
            ),
            (r#"{"type":"web_search_call"}"#, vec![]),
            ("{}", vec![]),
        ] {
            let view = ItemView::read(json);
            let texts = view
                .texts
                .iter()
                .map(|text| (text.kind, text.index, &*text.text));
            assert_eq!(texts.collect::<Vec<_>>(), expected, "{json}");
        }
    }

    #[test]
    fn a_member_is_replaced_or_added_and_the_rest_stays() {
        for (json, expected) in [
            (r#"{ "a" : 1.0, "b":[ ] }"#, r#"{ "a" : "x", "b":[ ] }"#),
            (r#"{"a":{"a":2}}"#, r#"{"a":"x"}"#),
            (r#"{"b":{"a":2}}"#, r#"{"b":{"a":2},"a":"x"}"#),
            ("{}", r#"{"a":"x"}"#),
        ] {
            assert_eq!(with_member(json, "a", "\"x\"").get(), expected);
        }
    }

    #[test]
    fn the_elements_of_an_array_are_found_as_they_were_written() {
        for (json, expected) in [
            ("[]", vec![]),
            ("[ ]", vec![]),
            (
                "[ 1 , {\"a\":[2]},\"]\" ]",
                vec!["1", "{\"a\":[2]}", "\"]\""],
            ),
            ("{}", vec![]),
            ("\"a\"", vec![]),
        ] {
            assert_eq!(has_elements(json), !expected.is_empty(), "{json}");
            assert_eq!(elements(json).collect::<Vec<_>>(), expected, "{json}");
        }
    }
}
