//! What servers and gateways really send: bodies, decoded whole, in pieces of 7 bytes and of one.

use proptest::prelude::*;

use super::*;
use crate::wire::{StreamDecoder, Wire};

mod calls;
mod endings;
mod errors;
mod frames;
mod places;

/// What a body amounts to for who reads typed events.
#[derive(Debug, Default, PartialEq)]
struct Read {
    text: String,
    reasoning: String,
    /// Call id, name, arguments and status of each call that is done.
    calls: Vec<[String; 4]>,
    /// The arguments as their deltas add up, by item.
    streamed: std::collections::BTreeMap<u32, String>,
    items: Vec<Value>,
    others: Vec<String>,
    models: Vec<String>,
    end: Option<ResponseEvent>,
}

impl Read {
    fn end(&self) -> String {
        match self.end.as_ref().expect("an end") {
            ResponseEvent::Completed(end) if end.anomalies.no_finish_reason => {
                "completed without a reason".to_owned()
            }
            ResponseEvent::Completed(_) => "completed".to_owned(),
            ResponseEvent::Incomplete(end) => format!("incomplete {}", end.reason),
            ResponseEvent::Failed(error) => format!("failed {}", error.kind()),
            other => panic!("{other:?}"),
        }
    }

    fn message(&self) -> &str {
        match &self.end {
            Some(ResponseEvent::Failed(error)) => error.message(),
            other => panic!("{other:?}"),
        }
    }

    fn names_and_arguments(&self) -> Vec<(&str, &str)> {
        let calls = self.calls.iter();
        calls
            .map(|[_, name, arguments, _]| (&**name, &**arguments))
            .collect()
    }
}

fn read_in(body: &[u8], chunk_bytes: usize, quirks: &Quirks) -> Read {
    let mut decoder = StreamDecoder::new(Wire::Chat, StreamLimits::default()).with_quirks(quirks);
    let mut events = Vec::new();
    let mut feed = |chunk| decoder.feed(chunk, &mut events);
    let terminal = body.chunks(chunk_bytes).find_map(&mut feed);
    let terminal = terminal.or_else(|| decoder.end_of_stream(&mut events));
    let mut read = Read {
        end: terminal.map(Into::into),
        ..Read::default()
    };
    for event in events {
        match event {
            ResponseEvent::OutputTextDelta(text) => read.text += &text.delta,
            ResponseEvent::ReasoningContentDelta(text) => read.reasoning += &text.delta,
            ResponseEvent::ToolCallInputDelta(input) => {
                *read
                    .streamed
                    .entry(input.output_index.unwrap())
                    .or_default() += &input.delta;
            }
            ResponseEvent::OutputItemDone(done) => {
                let item = done.raw().to_value();
                if item["type"]
                    .as_str()
                    .is_some_and(|kind| kind.ends_with("call"))
                {
                    let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
                    let call = ["call_id", "name", "arguments", "status"].map(text);
                    let streamed = read.streamed.get(&done.output_index().unwrap());
                    assert_eq!(
                        streamed.map_or("", String::as_str),
                        call[2],
                        "deltas and item"
                    );
                    read.calls.push(call);
                }
                read.items.push(item);
            }
            ResponseEvent::Other(other) => read.others.push(other.raw.get().to_owned()),
            ResponseEvent::ServerModel(model) => read.models.push(model.to_string()),
            _ => {}
        }
    }
    read
}

fn read(body: &str) -> Read {
    read_with(body, &Quirks::default())
}

fn read_with(body: &str, quirks: &Quirks) -> Read {
    let whole = read_in(body.as_bytes(), body.len().max(1), quirks);
    for chunk_bytes in [7, 1] {
        let read = read_in(body.as_bytes(), chunk_bytes, quirks);
        assert_eq!(read, whole, "by {chunk_bytes}: {body}");
    }
    whole
}

fn framed<T: AsRef<str>>(events: &[T]) -> String {
    let events = events.iter();
    events
        .map(|data| format!("data: {}\n\n", data.as_ref()))
        .collect()
}

fn text(text: &str) -> String {
    delta(json!({"content": text}))
}

fn call(piece: Value) -> String {
    delta(json!({"tool_calls": [piece]}))
}

fn usage() -> String {
    json!({"id": "c", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
        .to_string()
}

const DONE: &str = "[DONE]";

/// The events of an answer with everything that matters in it.
fn valid_events() -> Vec<String> {
    vec![
        delta(json!({"role": "assistant", "content": ""})),
        delta(json!({"reasoning_content": "hm"})),
        text("Hel"),
        text("lo"),
        call(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}})),
        call(json!({"index": 0, "function": {"arguments": "{\"n\":"}})),
        call(json!({"index": 0, "function": {"arguments": "[1,2]}"}})),
        call(json!({"index": 1, "id": "b", "function": {"name": "g", "arguments": "{\"m\":{}}"}})),
        end("tool_calls"),
        usage(),
        DONE.to_owned(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// Whatever is cut, glued, repeated or lost: no success with a call that is open, no two values in a call's arguments, and
    /// no empty success that the server did not say.
    #[test]
    fn no_damage_makes_a_success_that_is_none(
        changes in proptest::collection::vec((0usize..11, 0u8..6, any::<proptest::sample::Index>()), 0..4),
    ) {
        let mut events = valid_events();
        let mut glue = Vec::new();
        for (at, change, index) in &changes {
            let at = (*at).min(events.len() - 1);
            match change {
                0 => { events.remove(at); }
                1 => { let event = events[at].clone(); events.insert(at, event); }
                2 => { let end = index.index(events[at].len() + 1); let end = (0..=end).rev().find(|end| events[at].is_char_boundary(*end)).unwrap(); events[at].truncate(end); }
                3 => { events.truncate(at + 1); }
                4 => { let other = index.index(events.len()); events.swap(at, other); }
                _ => glue.push(at),
            }
            if events.is_empty() {
                return Ok(());
            }
        }
        let body: String = events.iter().enumerate().map(|(at, event)| {
            let between = if glue.contains(&at) { "\n" } else { "\n\n" };
            format!("data: {event}{between}")
        }).collect();
        let read = read_in(body.as_bytes(), body.len(), &Quirks::default());
        let is_completed = matches!(read.end, Some(ResponseEvent::Completed(_)));
        for [_, _, arguments, status] in &read.calls {
            let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(arguments).into_iter().collect();
            prop_assert!(values.as_ref().map_or(1, Vec::len) <= 1, "{arguments} of {body}");
            if is_completed {
                // What is missing in the middle nobody can see, where the server says that it is whole.
                let is_open = values.as_ref().is_err_and(serde_json::Error::is_eof);
                prop_assert!(status == "completed" && (arguments.is_empty() || !is_open), "{arguments} of {body}");
            }
        }
        if is_completed && read.items.is_empty() {
            prop_assert!(events.iter().any(|event| event.contains("\"finish_reason\":\"tool_calls\"")), "{body}");
        }
    }
}
