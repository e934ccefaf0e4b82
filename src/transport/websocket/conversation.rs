//! What a connection's server knows already, so that a turn that goes on from there sends its new input alone.
//!
//! A server keeps the last response of a connection with what it was asked with, stored or not. So a request whose input is that of the
//! last one, then the items that were answered, then something new, and which is the same in all else, names that response
//! (`previous_response_id`) in place of what it repeats. Items are compared as this crate reads and writes them, without their ids, which
//! some requests leave out.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::frames::Body;
use crate::protocol::ResponseItem;

/// How much is kept of a conversation, in bytes of its items. Larger ones are sent whole: 8 MiB are some two million tokens, which no
/// model of today takes, and there may be one for each idle connection.
const MAX_KEPT_BYTES: usize = 8 << 20;

/// Fields that say already what a request goes on from.
const GOES_ON: [&str; 2] = ["conversation", "previous_response_id"];

/// What a request says.
pub(super) struct Conversation {
    /// All but the input.
    others: Bytes,
    /// The input, with the index behind each item where it came from: items that say nothing are not among them.
    items: Vec<(String, usize)>,
    is_warm_up: bool,
    bytes: usize,
}

/// The last response of a connection.
pub(super) struct Parent {
    id: String,
    /// What it was asked with, and its own items.
    known: Conversation,
}

impl Conversation {
    /// `None` of a request that goes on from elsewhere, or whose input is no list of items.
    pub(super) fn of(body: &Body<'_>, is_warm_up: bool) -> Option<Self> {
        if GOES_ON.iter().any(|name| body.has(name)) {
            return None;
        }
        let mut conversation = Self {
            others: body.others(),
            items: Vec::new(),
            is_warm_up,
            bytes: 0,
        };
        for (index, item) in body.items()?.iter().enumerate() {
            conversation.add(item.get(), index + 1)?;
        }
        Some(conversation)
    }

    /// `None` where it is no item, or too much.
    fn add(&mut self, item: &str, end: usize) -> Option<()> {
        let item: ResponseItem = serde_json::from_str(item).ok()?;
        let mut item = serde_json::to_value(&item).ok()?;
        let fields = item.as_object_mut()?;
        fields.remove("id");
        // An item of an answer has one, of a prompt it need not.
        fields.remove("status");
        let is_nothing =
            |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        // Without its id, which is not always sent.
        let says_nothing = fields.get("type").is_some_and(|name| name == "reasoning")
            && ["encrypted_content", "content"]
                .iter()
                .all(|name| fields.get(*name).is_none_or(is_nothing));
        if !says_nothing {
            let item = item.to_string();
            self.bytes += item.len();
            self.items.push((item, end));
        }
        (self.bytes <= MAX_KEPT_BYTES).then_some(())
    }
}

impl Parent {
    /// How many items of the input of `next` the server knows, if all else is as it was. There is something new, but behind a warm-up.
    pub(super) fn known_of(&self, next: &Conversation) -> Option<usize> {
        let known = &self.known;
        let begins = next.others == known.others
            && next.items.len() >= known.items.len()
            && (next.items.iter().zip(&known.items)).all(|((item, _), (other, _))| item == other);
        let count = known.items.len();
        let has_more = next.items.len() > count || known.is_warm_up;
        let end = || count.checked_sub(1).map_or(0, |last| next.items[last].1);
        (begins && has_more).then(end)
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

/// An answer on its way.
pub(super) struct Answer {
    /// `None` when nothing can go on from it.
    asked: Option<Conversation>,
    items: Vec<Box<RawValue>>,
    bytes: usize,
}

impl Answer {
    pub(super) fn to(asked: Option<Conversation>) -> Self {
        Self {
            asked,
            items: Vec::new(),
            bytes: 0,
        }
    }

    /// Takes an event in which an item is done.
    pub(super) fn item(&mut self, event: &[u8]) {
        #[derive(Deserialize)]
        struct Done {
            item: Box<RawValue>,
        }
        if self.asked.is_none() {
            return;
        }
        match serde_json::from_slice::<Done>(event) {
            Ok(Done { item }) if self.bytes + item.get().len() <= MAX_KEPT_BYTES => {
                self.bytes += item.get().len();
                self.items.push(item);
            }
            _ => self.asked = None,
        }
    }

    /// Takes the event that ends it. `None` when nothing can go on from it, as from one that is not completed.
    pub(super) fn end(self, event: &[u8]) -> Option<Parent> {
        #[derive(Deserialize)]
        struct End {
            r#type: String,
            response: Response,
        }
        #[derive(Deserialize)]
        struct Response {
            id: String,
            #[serde(default)]
            output: Vec<Box<RawValue>>,
        }
        let mut known = self.asked?;
        let End { r#type, response } = serde_json::from_slice(event).ok()?;
        if r#type != "response.completed" {
            return None;
        }
        let items = match self.items.is_empty() {
            true => response.output,
            false => self.items,
        };
        for item in items {
            known.add(item.get(), 0)?;
        }
        Some(Parent {
            id: response.id,
            known,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn user(text: &str) -> Value {
        json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
    }

    fn said(text: &str, id: Option<&str>) -> Value {
        let mut item = json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]});
        if let Some(id) = id {
            item["id"] = id.into();
            item["status"] = "completed".into();
        }
        item
    }

    fn conversation(fields: Value, input: &[Value], is_warm_up: bool) -> Option<Conversation> {
        let mut body = fields;
        body["input"] = input.into();
        body["stream"] = true.into();
        Conversation::of(&Body::read(body.to_string().as_bytes())?, is_warm_up)
    }

    fn parent(conversation: Conversation, output: &[Value]) -> Option<Parent> {
        let mut answer = Answer::to(Some(conversation));
        for item in output {
            answer.item(json!({"item": item}).to_string().as_bytes());
        }
        let end = json!({"type": "response.completed", "response": {"id": "r", "output": []}});
        answer.end(end.to_string().as_bytes())
    }

    #[test]
    fn what_goes_on_from_the_last_response_is_told_from_what_does_not() {
        let fields = || json!({"model": "m", "store": false});
        let reasoning = json!({"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}]});
        let output = [reasoning.clone(), said("yes", Some("msg"))];
        let first = || conversation(fields(), &[user("a")], false).unwrap();
        let parent = |is_warm_up| {
            let mut first = first();
            first.is_warm_up = is_warm_up;
            super::tests::parent(first, if is_warm_up { &[] } else { &output }).unwrap()
        };
        for (fields, input, known) in [
            (
                fields(),
                vec![user("a"), said("yes", None), user("b")],
                Some(2),
            ),
            // As they came, and the reasoning with its id.
            (
                fields(),
                vec![user("a"), output[0].clone(), output[1].clone(), user("b")],
                Some(3),
            ),
            (fields(), vec![user("a"), said("yes", None)], None),
            (fields(), vec![user("a"), said("no", None), user("b")], None),
            (fields(), vec![user("a"), user("b")], None),
            (fields(), vec![user("a")], None),
            (
                json!({"model": "n", "store": false}),
                vec![user("a"), said("yes", None), user("b")],
                None,
            ),
            (
                json!({"model": "m"}),
                vec![user("a"), said("yes", None), user("b")],
                None,
            ),
        ] {
            let next = conversation(fields, &input, false).unwrap();
            assert_eq!(parent(false).known_of(&next), known, "{input:?}");
        }
        let next = conversation(fields(), &[user("a")], false).unwrap();
        assert_eq!(parent(true).known_of(&next), Some(1));
    }

    #[test]
    fn who_says_what_a_request_goes_on_from_is_left_alone() {
        for fields in [
            json!({"previous_response_id": "r"}),
            json!({"conversation": "c"}),
        ] {
            assert!(conversation(fields, &[user("a")], false).is_none());
        }
        let long = "x".repeat(MAX_KEPT_BYTES);
        assert!(conversation(json!({}), &[user(&long)], false).is_none());
        let asked = conversation(json!({}), &[user("a")], false).unwrap();
        assert!(parent(asked, &[said(&long, None)]).is_none());
        let answer = Answer::to(conversation(json!({}), &[user("a")], false));
        assert!(
            answer
                .end(br#"{"type":"response.incomplete","response":{"id":"r"}}"#)
                .is_none()
        );
    }
}
