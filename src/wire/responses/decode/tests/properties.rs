//! Whatever happens to the events of a stream on the way.

use proptest::{prelude::*, sample::Index};
use serde_json::{Value, json};

use super::*;

#[derive(Clone, Debug)]
enum Kind {
    Message,
    Reasoning,
    Call,
}

/// A stream of items, each of some pieces, as OpenAI sends it or with the closing object left empty.
fn stream(items: &[(Kind, Vec<String>)], says_output: bool) -> Vec<Value> {
    let mut events = vec![json!({"type": "response.created", "response": {"id": "r"}})];
    let mut output = Vec::new();
    for ((kind, pieces), index) in items.iter().zip(0..) {
        let id = format!("i{index}");
        let whole = match kind {
            Kind::Call => json!({"pieces": pieces}).to_string(),
            _ => pieces.concat(),
        };
        let (name, member, item) = match kind {
            Kind::Message => (
                "output_text",
                "text",
                json!({"type": "message", "id": id, "role": "assistant", "content": [{"type": "output_text", "text": whole, "annotations": []}]}),
            ),
            Kind::Reasoning => (
                "reasoning_text",
                "text",
                json!({"type": "reasoning", "id": id, "summary": [], "content": [{"type": "reasoning_text", "text": whole}]}),
            ),
            Kind::Call => (
                "function_call_arguments",
                "arguments",
                json!({"type": "function_call", "id": id, "call_id": id, "name": "f", "arguments": whole}),
            ),
        };
        let mut begun = item.clone();
        match kind {
            Kind::Call => begun["arguments"] = json!(""),
            _ => begun["content"] = json!([]),
        }
        events.push(
            json!({"type": "response.output_item.added", "output_index": index, "item": begun}),
        );
        let mut rest = &*whole;
        for piece in pieces.iter().map(String::len).chain([usize::MAX]) {
            let end = (0..=piece.min(rest.len()))
                .rev()
                .find(|end| rest.is_char_boundary(*end))
                .unwrap();
            let (delta, after) = rest.split_at(end);
            rest = after;
            events.push(json!({"type": format!("response.{name}.delta"), "item_id": id, "output_index": index, "content_index": 0, "delta": delta}));
        }
        events.push(json!({"type": format!("response.{name}.done"), "item_id": id, "output_index": index, "content_index": 0, member: whole}));
        events.push(
            json!({"type": "response.output_item.done", "output_index": index, "item": item}),
        );
        output.push(item);
    }
    let output = if says_output { output } else { vec![] };
    events.push(json!({"type": "response.completed", "response": {"id": "r", "status": "completed", "output": output}}));
    for (event, number) in events.iter_mut().zip(0u64..) {
        event["sequence_number"] = json!(number);
    }
    events
}

#[derive(Clone, Debug)]
enum Harm {
    Drop(Index),
    Repeat(Index),
    Cut(Index, Index),
    /// The blank line after it is left out.
    Glue(Index),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        any::<Index>().prop_map(Harm::Drop),
        any::<Index>().prop_map(Harm::Repeat),
        (any::<Index>(), any::<Index>()).prop_map(|(event, at)| Harm::Cut(event, at)),
        any::<Index>().prop_map(Harm::Glue),
    ]
}

fn items() -> impl Strategy<Value = Vec<(Kind, Vec<String>)>> {
    let kind = prop_oneof![Just(Kind::Message), Just(Kind::Reasoning), Just(Kind::Call)];
    let pieces = proptest::collection::vec("[a-zé😀\"\\\\ ]{1,6}", 1..4);
    proptest::collection::vec((kind, pieces), 0..4)
}

fn texts_of(items: &[Value]) -> [String; 3] {
    let texts = |kind: &str| {
        let of_kind = items.iter().filter(|item| item["type"] == kind);
        of_kind
            .filter_map(|item| {
                item["content"][0]["text"]
                    .as_str()
                    .or(item["arguments"].as_str())
            })
            .collect()
    };
    ["message", "reasoning", "function_call"].map(texts)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn nothing_counts_as_whole_that_may_not_be_and_nothing_comes_twice(
        items in items(), says_output: bool, with_names: bool, harms in proptest::collection::vec(harm(), 0..4),
    ) {
        let events = stream(&items, says_output);
        let mut blocks: Vec<(String, bool, Value)> = events.iter().map(|event| (event.to_string(), true, event.clone())).collect();
        let is_delta = |event: &Value| event["type"].as_str().unwrap().ends_with(".delta");
        let mut repeats_deltas = false;
        for harm in &harms {
            let at = |index: &Index| index.index(blocks.len().max(1));
            match harm {
                _ if blocks.is_empty() => {}
                Harm::Drop(index) => { blocks.remove(at(index)); }
                Harm::Repeat(index) => {
                    let block = blocks[at(index)].clone();
                    repeats_deltas |= is_delta(&block.2);
                    blocks.insert(at(index), block);
                }
                Harm::Cut(index, place) => {
                    let at = at(index);
                    let data = &blocks[at].0;
                    let end = (0..=place.index(data.len() + 1)).rev().find(|end| data.is_char_boundary(*end)).unwrap();
                    blocks[at].0.truncate(end);
                }
                Harm::Glue(index) => { let at = at(index); blocks[at].1 = false; }
            }
        }
        let body: String = blocks.iter().map(|(data, is_closed, event)| {
            let name = match with_names { true => format!("event: {}\n", event["type"].as_str().unwrap()), false => String::new() };
            format!("{name}data: {data}\n{}", if *is_closed { "\n" } else { "" })
        }).collect();
        let found = Summary::of(&body);

        // No call is carried out that is not whole, and none holds two values.
        for item in found.items.iter().filter(|item| item["type"] == "function_call") {
            let arguments = item["arguments"].as_str().unwrap();
            prop_assert!(arguments.is_empty() || serde_json::from_str::<Value>(arguments).is_ok(), "{}: {}", arguments, body);
        }
        // No item comes twice.
        let ids: Vec<_> = found.items.iter().map(|item| item["id"].to_string()).collect();
        let mut once = ids.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(ids.len(), once.len(), "{}", &body);
        if found.end == "completed" {
            // Every call that was announced is there.
            let is_there = |id: &Value| found.items.iter().any(|item| item["id"] == *id);
            for (data, ..) in &blocks {
                let Ok(event) = serde_json::from_str::<Value>(data) else { continue };
                if event["type"] == "response.output_item.added" && event["item"]["type"] == "function_call" {
                    prop_assert!(is_there(&event["item"]["id"]), "{}", body);
                }
            }
            let came = !found.items.is_empty() || !found.text.is_empty() || !found.reasoning.is_empty();
            prop_assert!(came || items.is_empty() || !says_output, "an empty answer: {}", body);
        }
        // No text comes twice.
        let streamed = [&found.text, &found.reasoning, &found.input];
        if harms.is_empty() {
            prop_assert_eq!(&found.end, "completed");
            prop_assert_eq!(streamed.map(String::clone), texts_of(&found.items));
        }
        if !repeats_deltas {
            let whole = texts_of(&stream(&items, true).pop().unwrap()["response"]["output"].as_array().unwrap().clone());
            for (streamed, whole) in streamed.iter().zip(whole) {
                prop_assert!(streamed.len() <= whole.len(), "{} of {}: {}", streamed, whole, body);
            }
        }
    }
}
