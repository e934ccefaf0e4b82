use serde_json::json;

use super::*;
use crate::protocol::{StreamAnomalies, TokenUsage, ToolCallInput};

mod calls;
mod endings;
mod errors;
mod field;
mod oddities;
mod properties;
mod text;

/// What a run of events decodes to, one line an event; the last line says how it ended, or that it did not.
fn decode<T: AsRef<str>>(events: &[T]) -> Vec<String> {
    let mut dialect = ChatDialect::default();
    let mut lines = Vec::new();
    for data in events {
        let (event, data) = match data.as_ref().split_once('\n') {
            Some((event, data)) => (Some(event), data),
            None => (None, data.as_ref()),
        };
        let event = SseEvent {
            event,
            data,
            last_event_id: "",
        };
        let mut out = Vec::new();
        let place = match event.event {
            Some("error") => TextPlace::Error,
            _ => TextPlace::Data,
        };
        let step = match dialect.on_event(event, &mut out) {
            Step::Unread => dialect.on_text(data, place, &mut out),
            step => step,
        };
        lines.extend(out.iter().map(line));
        match step {
            Step::Continue | Step::Unread => {}
            Step::Finishing { .. } => lines.push("finishing".to_owned()),
            Step::End(terminal) => {
                lines.push(line(&terminal.into()));
                return lines;
            }
        }
    }
    let mut out = Vec::new();
    let terminal = dialect.finish(&mut out);
    lines.extend(out.iter().map(line));
    lines.push(format!("at the end: {}", line(&terminal.into())));
    lines
}

fn line(event: &ResponseEvent) -> String {
    let item = |index: Option<u32>, id: &Option<crate::protocol::Id>| {
        let id = id.as_deref().expect("Chat deltas name their item");
        let index = index.expect("Chat deltas have a place");
        assert!(id.ends_with(&format!("_{index}")), "{id} at {index}");
        index
    };
    let usage = |usage: &Option<TokenUsage>| {
        usage.map_or(String::new(), |usage| {
            format!(" {}+{}", usage.input_tokens, usage.output_tokens)
        })
    };
    let odd = |anomalies: &StreamAnomalies| match &anomalies.first_malformed {
        Some(why) => format!(" [{} malformed: {why}]", anomalies.malformed_events),
        None => String::new(),
    };
    match event {
        ResponseEvent::Created(created) => {
            format!("created {}", created.response_id.as_deref().unwrap_or("-"))
        }
        ResponseEvent::OutputItemAdded(added) => format!("added {}", added.raw()),
        ResponseEvent::OutputItemDone(done) => format!("done {}", done.raw()),
        ResponseEvent::OutputTextDelta(text) => {
            let index = item(text.output_index, &text.item_id);
            let logprobs = text.logprobs.as_ref();
            let logprobs = logprobs.map_or(String::new(), |raw| format!(" {raw}"));
            format!(
                "text {index}.{} {}{logprobs}",
                text.content_index.unwrap_or(99),
                text.delta
            )
        }
        ResponseEvent::RefusalDelta(text) => format!(
            "refusal {}.{} {}",
            item(text.output_index, &text.item_id),
            text.content_index.unwrap_or(99),
            text.delta
        ),
        ResponseEvent::ReasoningContentDelta(text) => format!(
            "reasoning {}.{} {}",
            item(text.output_index, &text.item_id),
            text.part_index,
            text.delta
        ),
        ResponseEvent::ToolCallInputDelta(input) => format!(
            "{} {} {} {}",
            match input.input {
                ToolCallInput::CustomInput => "custom",
                _ => "arguments",
            },
            item(input.output_index, &input.item_id),
            input.call_id.as_deref().unwrap_or("-"),
            input.delta
        ),
        ResponseEvent::Other(other) => format!("other {} {}", other.event, other.raw),
        ResponseEvent::Completed(end) => {
            format!(
                "completed{}{}",
                usage(&end.token_usage),
                odd(&end.anomalies)
            )
        }
        ResponseEvent::Incomplete(end) => format!(
            "incomplete {}{}{}",
            end.reason,
            usage(&end.token_usage),
            odd(&end.anomalies)
        ),
        ResponseEvent::Failed(error) => format!(
            "failed {}: {}{}",
            error.kind(),
            error.message(),
            odd(&error.details().anomalies)
        ),
        other => format!("{other:?}"),
    }
}

fn check<T: AsRef<str>>(events: &[T], expected: &[&str]) {
    let lines = decode(events);
    assert_eq!(lines, expected, "\n{}\n", lines.join("\n"));
}

/// A chunk `c` with one choice.
fn choice(index: u32, delta: Value, finish_reason: Option<&str>) -> String {
    json!({"id": "c", "object": "chat.completion.chunk",
        "choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}]})
    .to_string()
}

fn delta(delta: Value) -> String {
    choice(0, delta, None)
}

fn end(reason: &str) -> String {
    choice(0, json!({}), Some(reason))
}

fn done() -> String {
    "[DONE]".to_owned()
}
