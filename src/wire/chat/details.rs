//! Lists whose elements come in pieces: `reasoning_details` of OpenRouter, `thinking_blocks` of litellm.
//!
//! They hold what a model's vendor signs of its reasoning, and must go back with the next request as they came: else the
//! vendor refuses it.

use serde_json::Value;

use super::item::Extra;

/// The fields that grow from piece to piece; of every other the last counts.
const GROWING: [&str; 5] = ["text", "summary", "thinking", "data", "transcript"];

/// How many of the last elements a piece may go on with. Vendors write one after the other.
const MAX_OPEN: usize = 64;

/// Adds the pieces of a list to what has come of it. A piece goes on with the last element of its `index` or, where there is
/// none, with the last element if that has its `type` and is not signed yet.
pub(super) fn grow(list: &mut Vec<Value>, pieces: Value) {
    let pieces = match pieces {
        Value::Array(pieces) => pieces,
        Value::Null => return,
        piece => vec![piece],
    };
    for piece in pieces {
        let Value::Object(piece) = piece else {
            list.push(piece);
            continue;
        };
        let newest = list.len().checked_sub(1);
        let found = match piece.get("index") {
            Some(index) => {
                let is_it = |element: &Value| {
                    element.get("index") == Some(index) && is_same(element, &piece)
                };
                let before = list.len().saturating_sub(MAX_OPEN);
                let found = list[before..].iter().rposition(is_it);
                found.map(|at| before + at)
            }
            None => newest.filter(|at| {
                let has = |name: &str| list[*at].get(name).is_some_and(says_something);
                // What is signed is whole, and what is encrypted comes in one piece.
                is_same(&list[*at], &piece)
                    && !has("signature")
                    && !(has("data") && piece.contains_key("data"))
            }),
        };
        match found.and_then(|at| list[at].as_object_mut()) {
            Some(element) => add(element, piece),
            None => list.push(Value::Object(piece)),
        }
    }
}

/// Whether nothing speaks against it that a piece belongs to an element.
fn is_same(element: &Value, piece: &Extra) -> bool {
    ["type", "id"].into_iter().all(|name| {
        let said = piece.get(name).filter(|value| says_something(value));
        let before = element.get(name).filter(|value| says_something(value));
        said.is_none() || before.is_none() || said == before
    })
}

fn says_something(value: &Value) -> bool {
    !value.is_null() && value != ""
}

/// Adds a piece to an object that comes in pieces, such as a message's `audio`.
pub(super) fn add(element: &mut Extra, piece: Extra) {
    let is_signed = piece.get("signature").is_some_and(says_something);
    for (name, value) in piece {
        match (element.get_mut(&name), value) {
            (_, Value::Null) => {}
            (Some(_), value) if !says_something(&value) => {}
            (Some(Value::String(before)), Value::String(more))
                if GROWING.contains(&name.as_str()) =>
            {
                // With its signature some gateways repeat all of it.
                if !(is_signed && *before == more) {
                    before.push_str(&more);
                }
            }
            (_, value) => {
                element.insert(name, value);
            }
        }
    }
}

/// An annotation in the form of the Responses API, which has its fields beside the type where Chat nests them.
pub(super) fn flat_annotation(annotation: Value) -> Value {
    let Value::Object(mut fields) = annotation else {
        return annotation;
    };
    let kind = fields
        .get("type")
        .and_then(Value::as_str)
        .map(str::to_owned);
    match kind.and_then(|kind| fields.remove_entry(&kind)) {
        Some((_, Value::Object(nested))) => fields.extend(nested),
        other => fields.extend(other),
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_annotation_is_flat_and_loses_nothing() {
        for (annotation, flat) in [
            (
                json!({"type": "url_citation", "url_citation": {"url": "u"}, "x": 1}),
                json!({"type": "url_citation", "url": "u", "x": 1}),
            ),
            (
                json!({"type": "url", "url": "u"}),
                json!({"type": "url", "url": "u"}),
            ),
            (json!({"url": "u"}), json!({"url": "u"})),
            (json!("u"), json!("u")),
        ] {
            assert_eq!(flat_annotation(annotation), flat);
        }
    }

    #[test]
    fn pieces_of_one_element_are_put_together() {
        for (pieces, expected) in [
            (
                vec![
                    json!([{"type": "reasoning.text", "text": "a", "index": 0}]),
                    json!([{"type": "reasoning.text", "text": "b", "index": 0, "format": "x"}]),
                    json!([{"type": "reasoning.text", "signature": "s", "index": 0, "text": null}]),
                ],
                json!([{"type": "reasoning.text", "text": "ab", "index": 0, "format": "x", "signature": "s"}]),
            ),
            (
                vec![
                    json!([{"type": "reasoning.summary", "summary": "a", "index": 0}, {"type": "reasoning.encrypted", "data": "d", "index": 1}]),
                    json!([{"type": "reasoning.summary", "summary": "b", "index": 0}]),
                ],
                json!([{"type": "reasoning.summary", "summary": "ab", "index": 0}, {"type": "reasoning.encrypted", "data": "d", "index": 1}]),
            ),
            (
                vec![
                    json!([{"type": "thinking", "thinking": "a", "signature": null}]),
                    json!([{"type": "thinking", "thinking": "b"}]),
                    json!([{"type": "thinking", "thinking": "", "signature": "s"}]),
                    json!([{"type": "thinking", "thinking": "c"}]),
                ],
                json!([{"type": "thinking", "thinking": "ab", "signature": "s"}, {"type": "thinking", "thinking": "c"}]),
            ),
            // As litellm writes them.
            (
                vec![
                    json!([{"type": "thinking", "thinking": "Let", "signature": ""}]),
                    json!([{"type": "thinking", "thinking": " me", "signature": ""}]),
                    json!([{"type": "thinking", "thinking": "", "signature": "s"}]),
                ],
                json!([{"type": "thinking", "thinking": "Let me", "signature": "s"}]),
            ),
            (
                vec![
                    json!([{"type": "redacted_thinking", "data": "A"}]),
                    json!([{"type": "redacted_thinking", "data": "B"}]),
                ],
                json!([{"type": "redacted_thinking", "data": "A"}, {"type": "redacted_thinking", "data": "B"}]),
            ),
            (
                vec![
                    json!([{"type": "reasoning.encrypted", "id": "1", "data": "A", "index": 0}]),
                    json!([{"type": "reasoning.encrypted", "id": "2", "data": "B", "index": 0}]),
                ],
                json!([{"type": "reasoning.encrypted", "id": "1", "data": "A", "index": 0},
                    {"type": "reasoning.encrypted", "id": "2", "data": "B", "index": 0}]),
            ),
            (
                vec![json!({"type": "a"}), json!(null), json!([7])],
                json!([{"type": "a"}, 7]),
            ),
        ] {
            let mut list = Vec::new();
            for piece in pieces {
                grow(&mut list, piece);
            }
            assert_eq!(Value::from(list), expected);
        }
    }

    #[test]
    fn annotations_are_flat() {
        for (chat, responses) in [
            (
                json!({"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 1}}),
                json!({"type": "url_citation", "url": "u", "title": "t", "start_index": 1}),
            ),
            (
                json!({"type": "url_citation", "url": "u"}),
                json!({"type": "url_citation", "url": "u"}),
            ),
            (json!("x"), json!("x")),
        ] {
            assert_eq!(flat_annotation(chat), responses);
        }
    }
}
