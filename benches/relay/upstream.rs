//! The server behind the proxies: this program again, in a process of its own. A request's `model` says what it gets, or its `input`.
//!
//! `every MICROSECONDS COUNT` is a stream without an end, with so many blocks in each write; `deltas COUNT` a stream with so many, as fast as
//! it goes; `whole BYTES` an answer whose JSON has so
//! many bytes, as a stream too where one is asked for.

use std::{
    env,
    fmt::Write as _,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{LocalSet, spawn_local},
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    clock,
    process::{Process, end_with_parent},
};

/// Set for the process that serves.
const SERVES: &str = "ACTIX_RESPONSES_BENCH_RELAYED";

/// Begins the text of each delta; digits follow. Nothing else in a stream has it.
pub const MARK: u8 = b'@';
/// How many digits: when the block was written, in nanoseconds by [`clock::monotonic`].
pub const DIGITS: usize = 20;

/// How long a block of a stream is, as those of OpenAI's servers are.
const BLOCK: usize = 264;

pub fn start() -> Process {
    Process::again(SERVES, "1")
}

pub fn serve_if_asked() -> bool {
    if env::var_os(SERVES).is_none() {
        return false;
    }
    end_with_parent();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    LocalSet::new().block_on(&runtime.expect("a runtime"), serve());
    true
}

async fn serve() {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(any).expect("a port");
    let listener: TcpListener = socket.listen(4_096).expect("a listener");
    println!("{}", listener.local_addr().expect("an address").port());
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        // A client that goes away in the middle is none of our business.
        spawn_local(async move { _ = converse(stream).await });
    }
}

/// What is asked for.
struct Request {
    is_chat: bool,
    streams: bool,
    model: String,
}

async fn converse(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(1_024);
    // An answer is made once for a connection: making it is no part of what is compared.
    let mut kept = (String::new(), Vec::new());
    while let Some(request) = read_request(&mut stream, &mut buffer).await? {
        let words: Vec<_> = request.model.split(' ').collect();
        match words[..] {
            ["every", microseconds, count] => {
                let period = microseconds.parse().map_err(io::Error::other)?;
                let count = count.parse().map_err(io::Error::other)?;
                let period = Duration::from_micros(period);
                return endless(stream, &request, period, count).await;
            }
            ["deltas", count] => {
                let count = count.parse().map_err(io::Error::other)?;
                finite(&mut stream, &request, count).await?;
            }
            ["whole", bytes] => {
                let name = format!("{} {}", request.model, request.streams);
                if kept.0 != name {
                    let bytes = bytes.parse().map_err(io::Error::other)?;
                    kept = (name, whole(bytes, request.streams));
                }
                stream.write_all(&kept.1).await?;
            }
            _ => return Err(io::Error::other("no such model")),
        }
    }
    Ok(())
}

const SSE: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

async fn endless(
    mut stream: TcpStream,
    request: &Request,
    period: Duration,
    count: usize,
) -> io::Result<()> {
    let mut sequence = 0;
    let mut text = String::new();
    if !request.is_chat {
        begin(&mut text, &mut sequence, &request.model);
    }
    delta(&mut text, &mut sequence, request);
    stream.write_all(SSE.as_bytes()).await?;
    stream.write_all(chunk(&text).as_bytes()).await?;
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        text.clear();
        for _ in 0..count {
            delta(&mut text, &mut sequence, request);
        }
        stream.write_all(chunk(&text).as_bytes()).await?;
    }
}

/// How many deltas a finite stream has in each write: 8 KiB.
const TOGETHER: usize = 31;

async fn finite(stream: &mut TcpStream, request: &Request, count: usize) -> io::Result<()> {
    let (mut text, mut sequence) = (String::new(), 0);
    begin(&mut text, &mut sequence, &request.model);
    stream.write_all(SSE.as_bytes()).await?;
    stream.write_all(chunk(&text).as_bytes()).await?;
    let mut left = count;
    while left > 0 {
        text.clear();
        for _ in 0..left.min(TOGETHER) {
            delta(&mut text, &mut sequence, request);
        }
        left = left.saturating_sub(TOGETHER);
        stream.write_all(chunk(&text).as_bytes()).await?;
    }
    text.clear();
    let usage = json!({
        "input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": count,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 10 + count,
    });
    let response = response(&request.model, "completed", json!([]), usage);
    let object = json!({ "response": response });
    event(&mut text, &mut sequence, "response.completed", object);
    let end = chunk(&text) + "0\r\n\r\n";
    stream.write_all(end.as_bytes()).await
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn event(text: &mut String, sequence: &mut u64, kind: &str, members: Value) {
    let mut event = json!({"type": kind, "sequence_number": *sequence});
    *sequence += 1;
    let members: serde_json::Map<_, _> = members.as_object().cloned().unwrap_or_default();
    event.as_object_mut().expect("an object").extend(members);
    let _ = write!(text, "event: {kind}\ndata: {event}\n\n");
}

fn response(model: &str, status: &str, output: Value, usage: Value) -> Value {
    json!({
        "id": "resp_0123456789abcdef0123456789abcdef", "object": "response", "created_at": 1_750_000_000,
        "status": status, "background": false, "error": null, "incomplete_details": null, "instructions": null,
        "max_output_tokens": null, "model": model, "output": output, "parallel_tool_calls": true,
        "previous_response_id": null, "reasoning": {"effort": null, "summary": null}, "store": true,
        "temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [],
        "top_p": 1.0, "truncation": "disabled", "usage": usage, "user": null, "metadata": {},
    })
}

const ITEM: &str = "msg_0123456789abcdef0123456789abcdef";

fn begin(text: &mut String, sequence: &mut u64, model: &str) {
    let response = response(model, "in_progress", json!([]), Value::Null);
    let object = json!({ "response": response });
    event(text, sequence, "response.created", object.clone());
    event(text, sequence, "response.in_progress", object);
    let item = json!({"id": ITEM, "type": "message", "status": "in_progress", "content": [], "role": "assistant"});
    let added = json!({"output_index": 0, "item": item});
    event(text, sequence, "response.output_item.added", added);
    let part = json!({"type": "output_text", "annotations": [], "logprobs": [], "text": ""});
    let added = json!({"item_id": ITEM, "output_index": 0, "content_index": 0, "part": part});
    event(text, sequence, "response.content_part.added", added);
}

/// A block with the time at which it is written.
fn delta(text: &mut String, sequence: &mut u64, request: &Request) {
    let start = text.len();
    let now = clock::monotonic().as_nanos();
    let mark = char::from(MARK);
    let _ = match request.is_chat {
        true => write!(
            text,
            "data: {{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1750000000,\"model\":\"bench\",\
             \"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{mark}{now:0DIGITS$}\"}},\"finish_reason\":null}}],\"obfuscation\":\""
        ),
        false => write!(
            text,
            "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"sequence_number\":{sequence},\
             \"item_id\":\"{ITEM}\",\"output_index\":0,\"content_index\":0,\"delta\":\"{mark}{now:0DIGITS$}\",\"logprobs\":[],\
             \"obfuscation\":\""
        ),
    };
    *sequence += 1;
    for _ in text.len() - start..BLOCK - "\"}\n\n".len() {
        text.push('x');
    }
    text.push_str("\"}\n\n");
}

/// An answer of so many bytes of JSON, with its head; as a stream its text comes in pieces of 256 bytes.
fn whole(bytes: usize, streams: bool) -> Vec<u8> {
    let usage = json!({
        "input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 30,
    });
    let object = |text: &str| {
        let part = json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text});
        let item = json!({"id": ITEM, "type": "message", "status": "completed", "content": [part], "role": "assistant"});
        let response = response("bench", "completed", json!([item]), usage.clone());
        (part, item, response)
    };
    let without = object("").2.to_string().len();
    let said = "word ".repeat(bytes / 5 + 1);
    let said = &said[..bytes.saturating_sub(without)];
    let (part, item, response) = object(said);
    if !streams {
        let json = response.to_string();
        let length = json.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        return (head + &json).into_bytes();
    }
    let (mut text, mut sequence) = (String::new(), 0);
    begin(&mut text, &mut sequence, "bench");
    let at = |more: Value| {
        let mut members = json!({"item_id": ITEM, "output_index": 0, "content_index": 0});
        let more = more.as_object().cloned().unwrap_or_default();
        members.as_object_mut().expect("an object").extend(more);
        members
    };
    for piece in said.as_bytes().chunks(256) {
        let piece = String::from_utf8_lossy(piece);
        let members = at(json!({"delta": piece, "logprobs": []}));
        let kind = "response.output_text.delta";
        event(&mut text, &mut sequence, kind, members);
    }
    for (kind, members) in [
        (
            "response.output_text.done",
            at(json!({"text": said, "logprobs": []})),
        ),
        ("response.content_part.done", at(json!({ "part": part }))),
        (
            "response.output_item.done",
            json!({"output_index": 0, "item": item}),
        ),
        ("response.completed", json!({ "response": response })),
    ] {
        event(&mut text, &mut sequence, kind, members);
    }
    format!("{SSE}{}0\r\n\r\n", chunk(&text)).into_bytes()
}

/// Reads a request; `None` when the client has closed.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Request>> {
    loop {
        if let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let mut lines = head.lines();
            let length = lines.find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |length| length.trim().parse().expect("a length"));
            if buffer.len() >= end + 4 + length {
                let body: Value = serde_json::from_slice(&buffer[end + 4..end + 4 + length])?;
                buffer.drain(..end + 4 + length);
                return Ok(Some(Request {
                    is_chat: head.starts_with("post /v1/chat/"),
                    streams: body["stream"] == true,
                    // litellm streams of models that it knows alone, so that it is given a name of its own.
                    model: ["model", "input"]
                        .iter()
                        .filter_map(|member| body[member].as_str())
                        .find(|text| text.contains(' '))
                        .unwrap_or_default()
                        .to_owned(),
                }));
            }
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}
