//! One output item on its way to a client.

use serde_json::{Map, Value, json};

/// What an item is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Message,
    Reasoning,
    Function,
    Custom,
    Mcp,
    Other,
}

impl Kind {
    pub(super) fn of(item: &Map<String, Value>) -> Self {
        match item
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or("message")
        {
            "message" => Self::Message,
            "reasoning" => Self::Reasoning,
            "function_call" => Self::Function,
            "custom_tool_call" => Self::Custom,
            "mcp_call" => Self::Mcp,
            _ => Self::Other,
        }
    }

    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Message => "msg",
            Self::Reasoning => "rs",
            Self::Function => "fc",
            Self::Custom => "ctc",
            Self::Mcp => "mcp",
            Self::Other => "item",
        }
    }

    pub(super) fn is_made_of_text(self) -> bool {
        self != Self::Other
    }

    pub(super) fn empty_fields(self) -> Map<String, Value> {
        let fields = match self {
            Self::Message => json!({"type": "message", "role": "assistant"}),
            Self::Reasoning => json!({"type": "reasoning"}),
            Self::Custom => json!({"type": "custom_tool_call", "call_id": "", "name": ""}),
            Self::Mcp => json!({"type": "mcp_call"}),
            _ => json!({"type": "function_call", "call_id": "", "name": ""}),
        };
        match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }

    /// The field of an item that grows by input deltas.
    pub(super) fn input_field(self) -> Option<&'static str> {
        match self {
            Self::Function | Self::Mcp => Some("arguments"),
            Self::Custom => Some("input"),
            _ => None,
        }
    }

    pub(super) fn input_event(self) -> &'static str {
        match self {
            Self::Custom => "response.custom_tool_call_input",
            Self::Mcp => "response.mcp_call_arguments",
            _ => "response.function_call_arguments",
        }
    }
}

/// A part of a message or of reasoning.
pub(super) struct SlotPart {
    pub(super) kind: &'static str,
    /// Which part of its kind it is in the events.
    index: u32,
    pub(super) text: String,
}

impl SlotPart {
    /// The list of the item that it stands in.
    pub(super) fn list(&self) -> &'static str {
        match self.kind {
            "summary_text" => "summary",
            _ => "content",
        }
    }
}

/// An item as far as it has come.
pub(super) struct Slot {
    pub(super) kind: Kind,
    /// Its place in the events; in the client's stream it is the slot's.
    pub(super) output_index: Option<u32>,
    pub(super) id: String,
    /// The ids under which the events speak of it besides.
    aliases: Vec<String>,
    pub(super) fields: Map<String, Value>,
    pub(super) parts: Vec<SlotPart>,
    pub(super) input: String,
    pub(super) is_done: bool,
    /// It was announced by an attempt that is over, and said nothing.
    pub(super) is_loose: bool,
}

impl Slot {
    pub(super) fn new(
        kind: Kind,
        output_index: Option<u32>,
        id: String,
        mut fields: Map<String, Value>,
    ) -> Self {
        fields.insert("id".to_owned(), id.clone().into());
        Self {
            kind,
            output_index,
            id,
            aliases: Vec::new(),
            fields,
            parts: Vec::new(),
            input: String::new(),
            is_done: false,
            is_loose: false,
        }
    }

    pub(super) fn is_called(&self, id: &str) -> bool {
        self.id == id || self.aliases.iter().any(|alias| alias == id)
    }

    pub(super) fn loosen(&mut self) {
        if !self.is_done
            && self.input.is_empty()
            && self.parts.iter().all(|part| part.text.is_empty())
        {
            self.is_loose = true;
            self.output_index = None;
        }
    }

    pub(super) fn take_up(&mut self, output_index: Option<u32>, id: Option<String>) {
        self.is_loose = false;
        self.output_index = output_index;
        self.aliases.extend(id);
    }

    /// The item before any of its deltas.
    pub(super) fn announced(&self) -> Value {
        let mut item = self.fields.clone();
        match self.kind {
            Kind::Message => {
                item.insert("type".to_owned(), "message".into());
                item.entry("role").or_insert("assistant".into());
                item.insert("content".to_owned(), json!([]));
                item.insert("status".to_owned(), "in_progress".into());
            }
            Kind::Reasoning => {
                item.insert("summary".to_owned(), json!([]));
                item.remove("content");
            }
            Kind::Function | Kind::Custom | Kind::Mcp => {
                let field = self.kind.input_field().unwrap_or("arguments");
                item.insert(field.to_owned(), "".into());
                item.insert("status".to_owned(), "in_progress".into());
            }
            Kind::Other => {}
        }
        item.into()
    }

    /// The item as a response object has it.
    pub(super) fn item(&self) -> Value {
        match self.is_done {
            true => self.fields.clone().into(),
            false => self.as_far_as_it_came().into(),
        }
    }

    /// The final form of an item that nobody ended.
    pub(super) fn as_far_as_it_came(&self) -> Map<String, Value> {
        let mut item = self.fields.clone();
        for list in ["content", "summary"] {
            let parts = self.parts.iter().filter(|part| part.list() == list);
            let parts: Vec<_> = parts.map(|it| part(it.kind, &it.text)).collect();
            let is_wanted = !parts.is_empty()
                || (self.kind == Kind::Message && list == "content")
                || (self.kind == Kind::Reasoning && list == "summary");
            if is_wanted {
                item.insert(list.to_owned(), parts.into());
            }
        }
        if let Some(field) = self.kind.input_field() {
            item.insert(field.to_owned(), self.input.clone().into());
        }
        if !matches!(self.kind, Kind::Reasoning | Kind::Other) {
            item.insert("status".to_owned(), "incomplete".into());
        }
        item
    }

    /// The place of a part in `parts`, which is made where there is none.
    pub(super) fn part_index(&mut self, kind: &'static str, index: u32) -> (usize, bool) {
        let known = self
            .parts
            .iter()
            .position(|part| part.kind == kind && part.index == index);
        if let Some(at) = known {
            return (at, false);
        }
        let text = String::new();
        self.parts.push(SlotPart { kind, index, text });
        (self.parts.len() - 1, true)
    }

    /// A part's place in its list.
    pub(super) fn own_index(&self, at: usize) -> usize {
        let list = self.parts[at].list();
        self.parts[..at]
            .iter()
            .filter(|part| part.list() == list)
            .count()
    }

    /// What deltas have said of a part.
    pub(super) fn said(&self, kind: &str, index: u32) -> String {
        let mut parts = self.parts.iter();
        let part = parts.find(|part| part.kind == kind && part.index == index);
        part.map(|part| part.text.clone()).unwrap_or_default()
    }

    /// Adds to a final form what the API always has in one, and what only deltas said.
    pub(super) fn complete(&self, item: &mut Map<String, Value>) {
        let deltas = self.as_far_as_it_came();
        for name in ["content", "summary", "arguments", "input"] {
            let is_empty = |value: &Value| {
                value.is_null()
                    || value.as_array().is_some_and(Vec::is_empty)
                    || value.as_str().is_some_and(str::is_empty)
            };
            if item.get(name).is_none_or(is_empty)
                && let Some(said) = deltas.get(name)
            {
                item.insert(name.to_owned(), said.clone());
            }
        }
        let content = item.get_mut("content").and_then(Value::as_array_mut);
        for part in content.into_iter().flatten() {
            if part["type"] == "output_text"
                && let Some(fields) = part.as_object_mut()
            {
                fields.entry("annotations").or_insert(json!([]));
                fields.entry("logprobs").or_insert(json!([]));
            }
        }
        for (name, value) in self.kind.empty_fields() {
            item.entry(name).or_insert(value);
        }
        if !matches!(self.kind, Kind::Reasoning | Kind::Other) {
            item.entry("status").or_insert("completed".into());
        }
    }
}

/// The field of a part that holds its text.
pub(super) fn field(kind: &str) -> &'static str {
    match kind {
        "refusal" => "refusal",
        _ => "text",
    }
}

/// A part with this text.
pub(super) fn part(kind: &str, text: &str) -> Value {
    match kind {
        "output_text" => json!({"type": kind, "annotations": [], "logprobs": [], "text": text}),
        "refusal" => json!({"type": kind, "refusal": text}),
        _ => json!({"type": kind, "text": text}),
    }
}

/// The parts of a final form, each with its place and its text.
pub(super) fn final_parts(item: &Map<String, Value>) -> Vec<(&'static str, u32, String)> {
    let mut found = Vec::new();
    for list in ["summary", "content"] {
        let parts = item.get(list).and_then(Value::as_array);
        for (index, part) in (0..).zip(parts.into_iter().flatten()) {
            let kind = match part["type"].as_str() {
                Some("output_text") => "output_text",
                Some("refusal") => "refusal",
                Some("summary_text") => "summary_text",
                Some("reasoning_text" | "text") => "reasoning_text",
                _ => continue,
            };
            let text = part[field(kind)].as_str().unwrap_or_default();
            found.push((kind, index, text.to_owned()));
        }
    }
    found
}
