//! Recorded streams, and what deliveries carry of them: the same bytes.
//!
//! `RESPONSES_RECORDINGS` names their folder; see `tests/recordings`. Without it these tests say that they looked at nothing.

use std::{env, fs, path::Path};

use actix_responses::{
    Runtime,
    actors::SubmitRequest,
    loopback::{Chunks, Loopback, LoopbackOptions, Reply, Script},
    protocol::{Prompt, ResponseEvent},
    provider::Provider,
    wire::Wire,
};

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
        let event: serde_json::Value = serde_json::from_str(&data).unwrap_or_default();
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

/// What ends as a failure: with the server's error, and cut.
const FAILED: [&str; 2] = [
    "openai-error.1.sse",
    "openai-parallel-tool-call-wrapper.1.sse",
];

/// How many terminal events a recording has.
fn terminals(stream: &str) -> Vec<String> {
    let blocks = stream.lines().filter_map(|line| line.strip_prefix("data:"));
    let events = blocks.filter_map(|data| serde_json::from_str::<serde_json::Value>(data).ok());
    let kinds = events.filter_map(|event| event["type"].as_str().map(str::to_owned));
    let ends = [
        "response.completed",
        "response.incomplete",
        "response.failed",
        "error",
    ];
    kinds.filter(|kind| ends.contains(&&**kind)).collect()
}

async fn relayed(wire: Wire, stream: &[u8], chunks: Chunks) -> (Vec<u8>, ResponseEvent) {
    let reply = Reply::sse(stream.to_vec())
        .with_chunks(chunks)
        .with_pace(std::time::Duration::ZERO);
    let mut options = LoopbackOptions::default();
    options.script = Script::always(reply);
    let upstream = Loopback::start(options).unwrap();
    let mut provider = Provider::new("loopback", &upstream.base_url()).unwrap();
    provider.wire = wire;
    let runtime = Runtime::start(provider).unwrap();
    let request = SubmitRequest::new(Prompt::user("hi").with_model("m")).with_blocks();
    let mut stream = runtime.submit(request).await.unwrap();
    let (mut bytes, mut last) = (Vec::new(), None);
    while let Some(delivery) = stream.next_delivery().await {
        for run in delivery.block_runs() {
            bytes.extend_from_slice(&run.bytes);
        }
        last = delivery.events().last().cloned();
    }
    (bytes, last.expect("an end"))
}

async fn check(wire: Wire, folder: &str, odd_ones: &[(&str, usize)]) {
    let Some(recordings) = env::var_os("RESPONSES_RECORDINGS") else {
        println!("SKIPPED: no recorded streams were relayed. Set RESPONSES_RECORDINGS.");
        return;
    };
    let folder = Path::new(&recordings).join(folder);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sse"));
    files.sort();
    assert!(!files.is_empty());
    let mut odd = Vec::new();
    for file in &files {
        let stream = fs::read(file).unwrap();
        let text = std::str::from_utf8(&stream).unwrap();
        let name = file.file_name().unwrap().display().to_string();
        for chunks in [Chunks::Whole, Chunks::Bytes(7.try_into().unwrap())] {
            let (bytes, end) = relayed(wire, &stream, chunks).await;
            let bytes = String::from_utf8(bytes).unwrap();
            let expected = expected(wire, text);
            let equal = bytes
                .bytes()
                .zip(expected.bytes())
                .take_while(|(a, b)| a == b);
            let at = equal.count();
            let (length, wanted) = (bytes.len(), expected.len());
            assert!(
                bytes == expected,
                "{name} {chunks:?}: {end:?} at {at}: {length}, {wanted}"
            );
            assert_eq!(
                matches!(end, ResponseEvent::Failed(_)),
                FAILED.contains(&&*name),
                "{name}: {end:?}"
            );
        }
        let ends = terminals(text);
        if wire == Wire::Responses && ends.len() != 1 {
            println!("{name}: {ends:?}");
            odd.push((name, ends.len()));
        }
    }
    let odd: Vec<_> = odd.iter().map(|(name, ends)| (&**name, *ends)).collect();
    assert_eq!(odd, odd_ones, "what has not one terminal event");
    println!("{} streams are the same byte for byte", files.len());
}

#[actix_rt::test]
async fn recorded_responses_are_relayed_byte_for_byte_up_to_the_first_terminal_event() {
    // Of those with several, the first one counts, `error` too; that without one is cut, and fails behind its last block.
    let odd_ones = [
        ("azure-reasoning-encrypted-content.1.sse", 4),
        ("openai-error.1.sse", 2),
        ("openai-parallel-tool-call-wrapper.1.sse", 0),
        ("openai-reasoning-encrypted-content.1.sse", 4),
        ("openai-shell-tool.1.sse", 2),
    ];
    check(Wire::Responses, "responses", &odd_ones).await;
}

#[actix_rt::test]
async fn recorded_chat_completions_are_relayed_byte_for_byte() {
    check(Wire::Chat, "chat", &[]).await;
}
