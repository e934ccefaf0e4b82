//! Recorded streams of real servers, relayed by the relay's own HTTP: to clients of the same dialect byte for byte, to those of the
//! other with the same answer.
//!
//! `RESPONSES_RECORDINGS` names their folder; see `tests/recordings`. Without it these tests say that they looked at nothing.

use std::{env, fs, path::Path};

use actix_responses::{
    Runtime,
    loopback::{Chunks, Loopback, LoopbackOptions, Reply, Script},
    protocol::{ResponseAccumulator, ResponseEvent},
    provider::Provider,
    relay::{Relay, RelayConfig, RouteTable},
    wire::{StreamDecoder, StreamLimits, Wire},
};
use serde_json::{Value, json};

use self::plain::{Summary, payloads, read_chat, read_responses};
use crate::support::{RunningRelay, header, post, unchunked};

#[path = "../recordings/plain.rs"]
#[allow(dead_code, reason = "a part of it is needed here")]
mod plain;

/// The recordings with more or fewer than one terminal event: which they have, and what follows the first of them, or the last block
/// where there is none, at the client.
const ODD: [(&str, &[&str], &[&str]); 5] = [
    (
        "azure-reasoning-encrypted-content.1.sse",
        &["response.completed"; 4],
        &[],
    ),
    (
        "openai-error.1.sse",
        &["error", "response.failed"],
        &["response.failed"],
    ),
    (
        "openai-parallel-tool-call-wrapper.1.sse",
        &[],
        &["response.failed"],
    ),
    (
        "openai-reasoning-encrypted-content.1.sse",
        &["response.completed"; 4],
        &[],
    ),
    ("openai-shell-tool.1.sse", &["response.completed"; 2], &[]),
];

/// What is expected of a recording: its bytes up to and with the first terminal event, without the blocks that have no data.
fn expected(wire: Wire, stream: &str) -> String {
    let mut expected = String::new();
    for block in stream.split_inclusive("\n\n") {
        let data = block.lines().filter_map(|line| line.strip_prefix("data:"));
        let data: String = data.collect();
        if data.trim().is_empty() {
            continue;
        }
        expected.push_str(block);
        let event: Value = serde_json::from_str(&data).unwrap_or_default();
        let is_end = match wire {
            Wire::Chat => data.trim() == "[DONE]" || event.get("error").is_some(),
            _ => matches!(
                event["type"].as_str(),
                Some("response.completed" | "response.incomplete" | "response.failed" | "error")
            ),
        };
        if is_end {
            break;
        }
    }
    if !expected.is_empty() && !expected.ends_with("\n\n") {
        expected.truncate(expected.trim_end().len());
        expected.push_str("\n\n");
    }
    expected
}

/// The kinds of the terminal events of a recording.
fn terminals(stream: &str) -> Vec<String> {
    let blocks = stream.lines().filter_map(|line| line.strip_prefix("data:"));
    let events = blocks.filter_map(|data| serde_json::from_str::<Value>(data).ok());
    let kinds = events.filter_map(|event| event["type"].as_str().map(str::to_owned));
    let ends = [
        "response.completed",
        "response.incomplete",
        "response.failed",
        "error",
    ];
    kinds.filter(|kind| ends.contains(&&**kind)).collect()
}

/// The recordings of a wire by their names, in order.
fn recordings(wire: Wire) -> Vec<(String, String)> {
    let Some(folder) = env::var_os("RESPONSES_RECORDINGS") else {
        println!("SKIPPED: no recorded streams were relayed. Set RESPONSES_RECORDINGS.");
        return Vec::new();
    };
    let below = match wire {
        Wire::Chat => "chat",
        _ => "responses",
    };
    let entries = fs::read_dir(Path::new(&folder).join(below)).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sse"));
    files.sort();
    assert!(!files.is_empty());
    let read = |file: &std::path::PathBuf| {
        let name = file.file_name().unwrap().display().to_string();
        (name, fs::read_to_string(file).unwrap())
    };
    files.iter().map(read).collect()
}

/// A relay that asks one server, once, on this wire.
fn relay_to(upstream: Loopback, base_url: &str, wire: Wire) -> RunningRelay {
    let provider = Provider::new("recorded", base_url).unwrap();
    let provider = provider.with_wire(wire).with_max_attempts(1);
    let runtime = Runtime::start(provider.clone()).unwrap();
    let relay = Relay::new(
        runtime,
        RouteTable::single(provider),
        RelayConfig::default(),
    );
    RunningRelay::serving(upstream, relay)
}

/// One in front of a server that answers so, one request after the other.
fn relay_of(wire: Wire, replies: Vec<Reply>) -> RunningRelay {
    let options = LoopbackOptions::default().with_script(Script::new(replies));
    let upstream = Loopback::start(options).unwrap();
    let base_url = upstream.base_url();
    relay_to(upstream, &base_url, wire)
}

/// The body of a stream, whose last chunk came.
async fn streamed(relay: &RunningRelay, wire: Wire) -> String {
    let (path, body) = match wire {
        Wire::Chat => (
            "/v1/chat/completions",
            json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true,
                "stream_options": {"include_usage": true}}),
        ),
        _ => (
            "/v1/responses",
            json!({"model": "m", "input": "hi", "stream": true, "store": false}),
        ),
    };
    let (status, head, body) = post(relay, path, "", &body.to_string()).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(header(&head, "transfer-encoding"), Some("chunked"));
    unchunked(&body).expect("a last chunk")
}

/// The kinds of the events of a stream.
fn kinds(stream: &str) -> Vec<String> {
    let events = payloads(stream).into_iter();
    let events = events.map(|(_, data)| serde_json::from_str::<Value>(&data).unwrap());
    events
        .map(|event| event["type"].as_str().unwrap_or_default().to_owned())
        .collect()
}

async fn are_relayed(wire: Wire) {
    let recordings = recordings(wire);
    let seven = Chunks::Bytes(7.try_into().unwrap());
    let replies = recordings.iter().flat_map(|(_, stream)| {
        [Chunks::Whole, seven].map(|chunks| Reply::sse(stream.clone()).with_chunks(chunks))
    });
    let relay = relay_of(wire, replies.collect());
    let mut odd = Vec::new();
    for (name, stream) in &recordings {
        let ends = terminals(stream);
        let is_odd = wire == Wire::Responses && ends.len() != 1;
        let expected = expected(wire, stream);
        for _ in 0..2 {
            let body = streamed(&relay, wire).await;
            let (came, goes) = (expected.as_bytes(), body.as_bytes());
            let same = came.iter().zip(goes).take_while(|(a, b)| a == b).count();
            let [came, goes] = [came, goes].map(|all| all[same..].escape_ascii().to_string());
            assert!(
                body.starts_with(&expected),
                "{name}: from {same} on {goes:.300} is not {came:.300}"
            );
            let more = kinds(&body[expected.len()..]);
            match ODD.iter().find(|(odd, ..)| odd == name) {
                Some((_, has, follows)) => {
                    assert_eq!(ends, *has, "{name}");
                    assert_eq!(more, *follows, "{name}");
                }
                None => assert_eq!(more, [""; 0], "{name}"),
            }
        }
        if is_odd {
            odd.push(&**name);
        }
    }
    if wire == Wire::Responses && !recordings.is_empty() {
        assert_eq!(odd, ODD.map(|(name, ..)| name));
    }
    println!("{} streams are the same byte for byte", recordings.len());
}

#[actix_rt::test]
async fn every_recorded_response_is_relayed_byte_for_byte_up_to_and_with_the_first_terminal_event()
{
    are_relayed(Wire::Responses).await;
}

#[actix_rt::test]
async fn every_recorded_chat_completion_is_relayed_byte_for_byte_up_to_and_with_its_end() {
    are_relayed(Wire::Chat).await;
}

/// What an answer amounts to on either wire.
#[derive(Debug, PartialEq)]
struct Gist {
    text: String,
    refusal: String,
    reasoning: String,
    /// The id, the name and the input of each call of the client's tools.
    calls: Vec<[String; 3]>,
    end: String,
    usage: Option<[u64; 5]>,
}

/// What a plain reading finds.
fn read(summary: Summary) -> Gist {
    let call = |item: &Value| {
        let input = match item["type"].as_str()? {
            "function_call" => "arguments",
            "custom_tool_call" => "input",
            _ => return None,
        };
        Some(["call_id", "name", input].map(|name| item[name].as_str().unwrap().to_owned()))
    };
    Gist {
        calls: summary.items_done.iter().filter_map(call).collect(),
        text: summary.text,
        refusal: summary.refusal,
        reasoning: summary.reasoning_summary + &summary.reasoning_content,
        end: summary.end,
        usage: summary.usage,
    }
}

/// What the runtime finds.
fn accumulated(wire: Wire, stream: &str) -> Gist {
    let mut decoder = StreamDecoder::new(wire, StreamLimits::default());
    let mut events = Vec::new();
    let end = decoder.feed(stream.as_bytes(), &mut events);
    let end = end.or_else(|| decoder.end_of_stream(&mut events));
    events.extend(end.map(ResponseEvent::from));
    let mut answer = ResponseAccumulator::default();
    for event in &events {
        answer.push(event).unwrap();
    }
    let calls = answer.tool_calls().into_iter().map(|call| {
        let [id, name] = [call.call_id, call.name].map(|text| text.unwrap_or_default().to_owned());
        [id, name, call.input.to_string()]
    });
    let usage = answer.token_usage().map(|usage| {
        [
            usage.input_tokens,
            usage.cached_input_tokens,
            usage.output_tokens,
            usage.reasoning_output_tokens,
            usage.total_tokens,
        ]
    });
    Gist {
        calls: calls.collect(),
        text: answer.text(),
        refusal: answer.refusal(),
        reasoning: answer.reasoning(),
        end: match answer.end() {
            Some(ResponseEvent::Completed(_)) => "completed".to_owned(),
            Some(ResponseEvent::Incomplete(end)) => format!("incomplete: {}", end.reason),
            Some(ResponseEvent::Failed(error)) => format!("failed: {}", error.message()),
            other => panic!("{other:?}"),
        },
        usage,
    }
}

#[actix_rt::test]
async fn the_bridge_over_every_recorded_chat_stream_gives_the_answer_of_an_independent_reading_and_back()
 {
    let recordings = recordings(Wire::Chat);
    let replies = recordings.iter().flat_map(|(_, stream)| {
        let reply = Reply::sse(stream.clone()).with_chunk_bytes(7);
        [reply.clone(), reply]
    });
    let relay = relay_of(Wire::Chat, replies.collect());
    // One in front of the other: its clients speak the dialect of the server behind both.
    let base_url = format!("http://{}/v1", relay.address);
    let nobody = Loopback::start(LoopbackOptions::default()).unwrap();
    let back = relay_to(nobody, &base_url, Wire::Responses);
    for (name, stream) in &recordings {
        let expected = read(read_chat(&payloads(stream)));
        let body = streamed(&relay, Wire::Responses).await;
        assert_eq!(accumulated(Wire::Responses, &body), expected, "{name}");
        assert_eq!(read(read_responses(&payloads(&body))), expected, "{name}");
        let body = streamed(&back, Wire::Chat).await;
        assert_eq!(accumulated(Wire::Chat, &body), expected, "{name}, back");
        assert_eq!(read(read_chat(&payloads(&body))), expected, "{name}, back");
    }
}

#[actix_rt::test]
async fn the_bridge_over_every_recorded_response_gives_a_chat_client_the_answer_of_an_independent_reading()
 {
    let recordings = recordings(Wire::Responses);
    let replies = recordings
        .iter()
        .map(|(_, stream)| Reply::sse(stream.clone()).with_chunk_bytes(7));
    let relay = relay_of(Wire::Responses, replies.collect());
    for (name, stream) in &recordings {
        let summary = read_responses(&payloads(stream));
        let messages = summary.items_done.iter().map(|item| &item["content"]);
        let parts = messages.filter_map(Value::as_array).flatten();
        let text: String = parts.filter_map(|part| part["text"].as_str()).collect();
        let mut expected = read(summary);
        // Some of its deltas are missing. Its items have the whole text.
        if name == "openai-phase.1.sse" {
            expected.text = text;
        }
        let body = streamed(&relay, Wire::Chat).await;
        let mut came = accumulated(Wire::Chat, &body);
        // How our own words call that.
        if came.end == "failed: the stream ended before its terminal event" {
            came.end = "truncated".to_owned();
        }
        assert_eq!(came, expected, "{name}");
    }
}
