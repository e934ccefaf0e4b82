//! Recorded streams, decoded and read a second, simpler way.
//!
//! They are not part of the project: `RESPONSES_RECORDINGS` names a folder with a `chat` folder of `.sse` files in it.

use std::{env, fs, path::PathBuf};

use super::*;

/// What a stream amounts to.
#[derive(Debug, Default, PartialEq)]
struct Summary {
    id: Option<String>,
    text: String,
    reasoning: String,
    /// Call id, name and arguments.
    calls: Vec<(String, String, String)>,
    usage: Option<TokenUsage>,
}

/// Blank lines frame the events, and each event has one line of data.
fn payloads(stream: &str) -> Vec<String> {
    stream
        .replace("\r\n", "\n")
        .split("\n\n")
        .flat_map(|event| event.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| Some(line.strip_prefix("data:")?.trim().to_owned()))
        .collect()
}

fn simply_read(payloads: &[String]) -> Summary {
    let mut summary = Summary::default();
    for payload in payloads.iter().filter(|payload| *payload != "[DONE]") {
        let chunk: Value = serde_json::from_str(payload).unwrap();
        let id = chunk["id"].as_str().unwrap_or_default();
        if summary.id.is_none() && !id.is_empty() {
            summary.id = Some(id.to_owned());
        }
        summary.usage = TokenUsage::from_json(&chunk["usage"]).or(summary.usage);
        let delta = &chunk["choices"][0]["delta"];
        summary.text += delta["content"].as_str().unwrap_or_default();
        summary.reasoning += delta["reasoning_content"].as_str().unwrap_or_default();
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap() as usize;
            summary
                .calls
                .resize(summary.calls.len().max(index + 1), Default::default());
            let (id, name, arguments) = &mut summary.calls[index];
            *id += call["id"].as_str().unwrap_or_default();
            *name += call["function"]["name"].as_str().unwrap_or_default();
            *arguments += call["function"]["arguments"].as_str().unwrap_or_default();
        }
    }
    summary
}

/// The deltas, which must agree with the items that are done.
fn decoded(payloads: &[String]) -> Summary {
    let mut dialect = ChatDialect::default();
    let mut out = Vec::new();
    let mut terminal = None;
    for payload in payloads {
        let event = SseEvent {
            event: None,
            data: payload,
            last_event_id: "",
        };
        if let Step::End(end) = dialect.on_event(event, &mut out) {
            terminal = Some(end);
            break;
        }
    }
    let terminal = terminal.unwrap_or_else(|| dialect.finish(&mut out));
    assert!(dialect.anomalies().is_empty(), "{}", dialect.anomalies());
    let Terminal::Completed(completed) = terminal else {
        panic!("{terminal:?}");
    };
    let mut summary = Summary {
        id: completed.response_id.as_deref().map(str::to_owned),
        usage: completed.token_usage,
        ..Summary::default()
    };
    let mut whole = Summary::default();
    let mut inputs = String::new();
    for event in &out {
        match event {
            ResponseEvent::OutputTextDelta(text) => summary.text += &text.delta,
            ResponseEvent::ReasoningContentDelta(text) => summary.reasoning += &text.delta,
            ResponseEvent::ToolCallInputDelta(input) => inputs += &input.delta,
            ResponseEvent::OutputItemDone(done) => {
                let item = done.raw().to_value();
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                match item["type"].as_str().unwrap() {
                    "message" => whole.text += &text(&item["content"][0]["text"]),
                    "reasoning" => whole.reasoning += &text(&item["content"][0]["text"]),
                    "function_call" => summary.calls.push((
                        text(&item["call_id"]),
                        text(&item["name"]),
                        text(&item["arguments"]),
                    )),
                    other => panic!("{other}"),
                }
            }
            _ => {}
        }
    }
    assert_eq!(
        (&whole.text, &whole.reasoning),
        (&summary.text, &summary.reasoning)
    );
    let arguments: String = summary.calls.iter().map(|call| &*call.2).collect();
    assert_eq!(inputs, arguments);
    summary
}

#[test]
fn recordings_decode_to_what_a_simple_reading_finds() {
    let Some(folder) = env::var_os("RESPONSES_RECORDINGS") else {
        println!("skipped: RESPONSES_RECORDINGS is not set");
        return;
    };
    let mut streams = 0;
    for file in fs::read_dir(PathBuf::from(folder).join("chat")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sse") {
            continue;
        }
        let payloads = payloads(&fs::read_to_string(&path).unwrap());
        let summary = decoded(&payloads);
        assert_eq!(summary, simply_read(&payloads), "{}", path.display());
        println!(
            "{}: {} events, {} bytes of text, {} of reasoning, {} calls, usage {}",
            path.file_name().unwrap().to_string_lossy(),
            payloads.len(),
            summary.text.len(),
            summary.reasoning.len(),
            summary.calls.len(),
            summary.usage.is_some(),
        );
        streams += 1;
    }
    println!("{streams} recordings");
    assert!(streams > 0);
}
