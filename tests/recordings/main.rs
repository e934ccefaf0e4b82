//! Recorded streams of real servers, decoded and read a second, plain way.
//!
//! The recordings are not part of the project. `RESPONSES_RECORDINGS` names a folder with `.sse` files, one response body
//! each, in its subfolders `responses` and `chat`. Without it these tests pass, and say that they looked at nothing;
//! `RESPONSES_RECORDINGS_REQUIRED=1` makes that a failure.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use actix_responses::{
    ErrorKind,
    protocol::{ResponseEvent, TokenUsage, ToolCallInputDelta},
    wire::{StreamDecoder, StreamLimits, Terminal, Wire},
};

use self::plain::{Payload, Summary, payloads};

mod plain;

fn decode(wire: Wire, stream: &[u8], chunk_bytes: usize) -> Summary {
    let mut decoder = StreamDecoder::new(wire, StreamLimits::default());
    let mut events = Vec::new();
    let mut feed = |chunk| decoder.feed(chunk, &mut events);
    let terminal = stream.chunks(chunk_bytes).find_map(&mut feed);
    let terminal = terminal.or_else(|| decoder.end_of_stream(&mut events));
    let anomalies = decoder.anomalies();
    assert_eq!(anomalies.malformed_events, 0, "{anomalies}");
    let mut summary = Summary {
        gaps_and_repeats: [anomalies.sequence_gaps, anomalies.sequence_repeats],
        ..Summary::default()
    };
    for event in &events {
        summarize(wire, event, &mut summary);
    }
    let token_usage = match terminal.expect("one end") {
        Terminal::Completed(completed) => {
            summary.end = "completed".to_owned();
            summary.response_id = completed.response_id.as_deref().map(str::to_owned);
            completed.token_usage
        }
        Terminal::Incomplete(incomplete) => {
            summary.end = format!("incomplete: {}", incomplete.reason);
            summary.response_id = incomplete.response_id.as_deref().map(str::to_owned);
            incomplete.token_usage
        }
        Terminal::Failed(error) if error.kind() == ErrorKind::Truncated => {
            summary.end = "truncated".to_owned();
            None
        }
        Terminal::Failed(error) => {
            summary.end = format!("failed: {}", error.message());
            None
        }
    };
    let counts = |usage: TokenUsage| {
        let TokenUsage {
            input_tokens,
            cached_input_tokens,
            output_tokens,
            ..
        } = usage;
        let (reasoning, total) = (usage.reasoning_output_tokens, usage.total_tokens);
        [
            input_tokens,
            cached_input_tokens,
            output_tokens,
            reasoning,
            total,
        ]
    };
    summary.usage = token_usage.map(counts);
    summary
}

fn summarize(wire: Wire, event: &ResponseEvent, summary: &mut Summary) {
    match event {
        ResponseEvent::Created(created) => {
            summary.response_id = created.response_id.as_deref().map(str::to_owned);
        }
        ResponseEvent::OutputTextDelta(text) => summary.text += &text.delta,
        ResponseEvent::RefusalDelta(text) => summary.refusal += &text.delta,
        ResponseEvent::ReasoningSummaryDelta(text) => summary.reasoning_summary += &text.delta,
        ResponseEvent::ReasoningContentDelta(text) => summary.reasoning_content += &text.delta,
        ResponseEvent::ReasoningSummaryPartAdded(_) => {}
        ResponseEvent::OutputItemAdded(_) if wire == Wire::Chat => {}
        ResponseEvent::OutputItemAdded(item) => summary.items_added.push(item.raw().to_value()),
        ResponseEvent::OutputItemDone(item) => {
            let mut item = item.raw().to_value();
            if wire == Wire::Chat {
                plain::take_what_is_ours(&mut item);
            }
            summary.items_done.push(item);
        }
        ResponseEvent::ToolCallInputDelta(input) => {
            let ToolCallInputDelta {
                delta,
                item_id,
                call_id,
                ..
            } = input;
            let key = if wire == Wire::Chat { call_id } else { item_id };
            let key = key.as_deref().unwrap_or_default().to_owned();
            *summary.tool_input.entry(key).or_default() += delta;
        }
        // A chunk with something new beside its choices, which have been read.
        ResponseEvent::Other(_) | ResponseEvent::ServerModel(_) if wire == Wire::Chat => {}
        ResponseEvent::Other(other) => summary.others.push(other.raw.get().to_owned()),
        other => panic!("{other:?}"),
    }
}

/// Where the `.sse` files of a wire are; `None` when no folder of recordings is named.
fn recordings(wire: &str) -> Option<Vec<PathBuf>> {
    let Some(folder) = env::var_os("RESPONSES_RECORDINGS") else {
        assert_ne!(
            env::var("RESPONSES_RECORDINGS_REQUIRED").as_deref(),
            Ok("1"),
            "RESPONSES_RECORDINGS_REQUIRED is set, and RESPONSES_RECORDINGS names no folder"
        );
        println!(
            "SKIPPED: no recorded streams were read. Set RESPONSES_RECORDINGS to a folder that holds {wire}/*.sse."
        );
        return None;
    };
    let folder = Path::new(&folder).join(wire);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sse"));
    files.sort();
    assert!(!files.is_empty(), "{}: no .sse file", folder.display());
    Some(files)
}

fn check(wire: Wire, folder: &str, plainly_read: fn(&[Payload]) -> Summary) {
    let (mut events, mut bytes, mut text, mut items) = (0, 0, 0, 0);
    let Some(files) = recordings(folder) else {
        return;
    };
    for file in &files {
        let stream = fs::read(file).unwrap();
        let payloads = payloads(std::str::from_utf8(&stream).unwrap());
        let expected = plainly_read(&payloads);
        for chunk_bytes in [stream.len(), 7, 1] {
            let decoded = decode(wire, &stream, chunk_bytes);
            let at = file.file_name().unwrap().display();
            assert_eq!(decoded, expected, "{at} in chunks of {chunk_bytes}");
        }
        events += payloads.len();
        bytes += stream.len();
        text += expected.text.len();
        items += expected.items_done.len();
    }
    println!(
        "{folder}: {} streams, {events} events, {bytes} bytes, {text} bytes of text, {items} items agree",
        files.len()
    );
}

#[test]
fn recorded_responses_decode_to_what_a_plain_reading_finds() {
    check(Wire::Responses, "responses", plain::read_responses);
}

#[test]
fn recorded_chat_completions_decode_to_what_a_plain_reading_finds() {
    check(Wire::Chat, "chat", plain::read_chat);
}
