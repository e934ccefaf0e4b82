//! What must hold for any input. The fuzz targets call these, and so does `main.rs` beside this file, with chosen inputs.

use std::ops::ControlFlow;

use actix_responses::{
    ApiError, ErrorKind,
    protocol::{Prompt, RateLimitSnapshot, RawJson, ResponseEvent, ResponseItem},
    retry::RetryPolicy,
    sse::{DecodeError, SseDecoder, SseLimits},
    wire::{Quirks, StreamDecoder, Terminal, Wire},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

/// Limits that a small input can pass.
fn small() -> SseLimits {
    let mut limits = SseLimits::default();
    limits.max_line_bytes = 200;
    limits.max_event_bytes = 300;
    limits
}

/// The body in chunks whose sizes the first byte gives: 0 is the whole of it.
fn chunks(size: u8, body: &[u8]) -> Vec<&[u8]> {
    match size {
        0 => vec![body],
        1..=127 => body.chunks(size.into()).collect(),
        // Sizes that change, with empty chunks among them.
        _ => {
            let mut rest = body;
            let mut chunks = Vec::new();
            let mut size = usize::from(size);
            while !rest.is_empty() {
                size = (size * 7 + 3) % 23;
                let (chunk, after) = rest.split_at(size.min(rest.len()));
                chunks.push(chunk);
                rest = after;
            }
            chunks
        }
    }
}

#[derive(Debug, PartialEq)]
struct SseSeen {
    events: Vec<(Option<String>, String, String)>,
    end: Result<(), DecodeError>,
    comments: Option<u64>,
    last_event_id: Option<String>,
}

fn decode_sse(chunks: &[&[u8]], limits: SseLimits) -> (SseSeen, SseDecoder) {
    let mut decoder = SseDecoder::new(limits);
    let mut events = Vec::new();
    let mut push = |event: actix_responses::sse::SseEvent<'_>| {
        // What is not UTF-8 is replaced, by three bytes for one at most.
        assert!(
            event.data.len() <= 3 * limits.max_event_bytes,
            "an event over its limit"
        );
        let names = event
            .event
            .map_or(0, str::len)
            .max(event.last_event_id.len());
        assert!(names <= 3 * limits.max_line_bytes, "a name over its limit");
        events.push((
            event.event.map(str::to_owned),
            event.data.to_owned(),
            event.last_event_id.to_owned(),
        ));
        ControlFlow::Continue(())
    };
    let mut end = Ok(());
    for chunk in chunks {
        match decoder.feed(chunk, &mut push) {
            Ok(taken) => assert_eq!(taken, chunk.len()),
            Err(error) => {
                assert_eq!(
                    decoder.feed(b"data: x\n\n", &mut push),
                    Err(error),
                    "the first error is final"
                );
                end = Err(error);
                break;
            }
        }
    }
    if end.is_ok() {
        end = decoder.finish(&mut push);
    }
    // After an error the rest of a chunk may have been looked at or not.
    let comments = end.is_ok().then(|| decoder.comments());
    let last_event_id = end.is_ok().then(|| decoder.last_event_id().to_owned());
    (
        SseSeen {
            events,
            end,
            comments,
            last_event_id,
        },
        decoder,
    )
}

/// The chunking does not matter, limits hold, and nothing panics.
pub fn sse(input: &[u8]) {
    let Some((size, body)) = input.split_first() else {
        return;
    };
    for limits in [small(), SseLimits::default()] {
        let (whole, _) = decode_sse(&[body], limits);
        let (cut, _) = decode_sse(&chunks(*size, body), limits);
        assert_eq!(cut, whole);
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        let (bytewise, _) = decode_sse(&bytes, limits);
        assert_eq!(bytewise, whole);
    }
}

/// A decoder holds no more than its limits allow. `held` tells how much is allocated.
pub fn sse_memory(input: &[u8], held: impl Fn() -> isize) {
    let Some((size, body)) = input.split_first() else {
        return;
    };
    let chunks = chunks(*size, body);
    let before = held();
    let mut decoder = SseDecoder::new(small());
    for chunk in chunks {
        if decoder.feed(chunk, |_| ControlFlow::Continue(())).is_err() {
            break;
        }
        // A line, a joined line, the data, the type and two ids; a buffer may be twice as large as what it holds, and what
        // is not UTF-8 grows threefold in an id.
        let bound =
            2 * (2 * small().max_line_bytes + small().max_event_bytes + 7 * small().max_line_bytes);
        assert!(
            held() - before <= bound as isize,
            "{} bytes held",
            held() - before
        );
    }
}

fn decode(wire: Wire, chunks: &[&[u8]], limits: SseLimits) -> (Vec<ResponseEvent>, Terminal, u64) {
    let mut decoder = StreamDecoder::new(wire, limits.into());
    let mut events = Vec::new();
    let mut terminals = Vec::new();
    for chunk in chunks {
        terminals.extend(decoder.feed(chunk, &mut events));
        assert_eq!(decoder.is_ended(), !terminals.is_empty());
    }
    terminals.extend(decoder.end_of_stream(&mut events));
    assert_eq!(terminals.len(), 1, "exactly one end");
    let count = events.len();
    assert!(
        decoder.feed(b"data: {}\n\n", &mut events).is_none()
            && decoder.finish(&mut events).is_none()
    );
    assert_eq!(events.len(), count, "nothing after the end");
    assert!(
        events.iter().all(|event| !event.is_final()),
        "the end is returned, not pushed"
    );
    let events_read = decoder.events();
    (events, terminals.remove(0), events_read)
}

/// On either wire: the chunking does not matter, there is one end and nothing after it, errors say something, raw JSON is
/// JSON, and nothing panics.
pub fn stream(wire: Wire, input: &[u8]) {
    let Some((size, body)) = input.split_first() else {
        return;
    };
    for limits in [small(), SseLimits::default()] {
        let whole = decode(wire, &[body], limits);
        assert_eq!(decode(wire, &chunks(*size, body), limits), whole);
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(decode(wire, &bytes, limits), whole);
        let (events, terminal, _) = whole;
        for event in &events {
            event_is_sound(event);
        }
        if let Terminal::Failed(error) = &terminal {
            error_is_sound(error);
        }
        event_is_sound(&terminal.into());
    }
}

fn event_is_sound(event: &ResponseEvent) {
    let raw = match event {
        ResponseEvent::OutputItemAdded(item) | ResponseEvent::OutputItemDone(item) => {
            item_is_kept(item.raw().get());
            Some(item.raw())
        }
        ResponseEvent::Other(other) => Some(&other.raw),
        ResponseEvent::Created(created) => created.response.as_ref(),
        ResponseEvent::Completed(completed) => completed.response.as_ref(),
        ResponseEvent::Incomplete(incomplete) => incomplete.response.as_ref(),
        _ => None,
    };
    if let Some(raw) = raw {
        assert!(
            RawJson::parse(raw.get()).is_ok_and(|again| again == *raw),
            "no JSON: {raw}"
        );
    }
}

fn error_is_sound(error: &ApiError) {
    assert!(
        !error.message().is_empty(),
        "an error without a word: {error:?}"
    );
    assert!(!error.to_string().is_empty() && !error.report().is_empty());
    let json = serde_json::to_string(error).expect("an error is JSON");
    assert!(serde_json::from_str::<Value>(&json).is_ok());
    // Whatever a server writes, the policy waits no longer than it says.
    let policy = RetryPolicy::default();
    if let Some(delay) = policy.delay(error, 1) {
        assert!(
            !delay.is_zero() && delay <= policy.max_requested_delay,
            "{delay:?}"
        );
    }
}

/// Whether JSON is the same but for members that were null and are left out: where an item has a name for a member, null is
/// as good as nothing to it, and servers refuse some of them when they come back.
fn is_same_but_for_nulls(read: &Value, value: &Value) -> bool {
    match (read, value) {
        (Value::Object(read), Value::Object(value)) => {
            let is_kept = |(name, value): (&String, &Value)| match read.get(name) {
                Some(read) => is_same_but_for_nulls(read, value),
                None => value.is_null(),
            };
            read.keys().all(|name| value.contains_key(name)) && value.iter().all(is_kept)
        }
        (Value::Array(read), Value::Array(value)) => {
            let mut pairs = read.iter().zip(value);
            read.len() == value.len()
                && pairs.all(|(read, value)| is_same_but_for_nulls(read, value))
        }
        (read, value) => read == value,
    }
}

/// An item's JSON comes back as the same JSON but for nulls, and from then on byte for byte.
fn item_is_kept(text: &str) {
    let Ok(raw) = RawJson::parse(text) else {
        return;
    };
    // JSON that nests too deep, or has numbers beyond what there is, can't be compared.
    let Ok(value) = serde_json::from_str::<Value>(raw.get()) else {
        return;
    };
    let item = ResponseItem::from_raw(raw);
    let written = serde_json::to_string(&item).expect("an item is JSON");
    let read: Value = serde_json::from_str(&written).expect("what was written is JSON");
    let is_kept = is_same_but_for_nulls(&read, &value);
    assert!(is_kept, "the item has changed: {read} was {value}");
    let again = ResponseItem::from_raw(RawJson::parse(&written).expect("JSON"));
    assert_eq!(
        serde_json::to_string(&again).expect("an item is JSON"),
        written,
        "the second time it changes"
    );
}

/// The same for any text.
pub fn items(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    item_is_kept(text);
    if let Ok(item) = serde_json::from_str::<ResponseItem>(text) {
        // Accessors read what they can.
        let _ = (
            item.id().map(str::len),
            item.call_id().map(str::len),
            item.text(),
            item.item_type(),
        );
    }
}

/// A body as a client sent it: what is read of it goes out as it came but for what the runtime needs, and can be written over either wire
/// and as data.
pub fn bodies(input: &[u8]) {
    let Ok(prompt) = Prompt::from_body(input.to_vec()) else {
        return;
    };
    let quirks = Quirks::default();
    for wire in [Wire::Responses, Wire::Chat] {
        if let Ok(body) = wire.request_body(&prompt, &quirks) {
            let body = std::str::from_utf8(&body).expect("what is sent is text");
            RawJson::parse(body).expect("what is sent is JSON");
        }
    }
    let Ok(Value::Object(mut came)) = serde_json::from_slice(input) else {
        // It is deeper than parsers go.
        return;
    };
    let wire = match came.contains_key("messages") && !came.contains_key("input") {
        true => Wire::Chat,
        false => Wire::Responses,
    };
    let sent = wire.request_body(&prompt, &quirks).expect("a body again");
    let mut sent: Map<String, Value> = serde_json::from_slice(&sent).expect("JSON again");
    assert_eq!(sent.remove("stream"), Some(true.into()));
    came.remove("stream");
    if wire == Wire::Chat {
        came.remove("stream_options");
        sent.remove("stream_options");
    }
    assert_eq!(sent, came);
    // A member of Chat's that has the name of one of the Responses API has no place in data, and that is said.
    let data = match serde_json::to_string(&prompt) {
        Err(error) if wire == Wire::Chat => {
            assert!(error.to_string().contains("field of its own"), "{error}");
            return;
        }
        data => data.expect("data"),
    };
    let read: Prompt = serde_json::from_str(&data).expect("data is read again");
    assert_eq!(read, prompt, "{data}");
}

/// Headers from lines `name: value`, and the body behind an empty line.
fn response(input: &[u8]) -> (HeaderMap, &[u8]) {
    let split = input.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = match split {
        Some(at) => (&input[..at], &input[at + 2..]),
        None => (input, &[][..]),
    };
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n').take(100) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    (headers, body)
}

/// A refusal: its headers, its body and the hints in them.
pub fn errors(input: &[u8]) {
    let [high, low, rest @ ..] = input else {
        return;
    };
    let status = 400 + (u16::from(*high) << 8 | u16::from(*low)) % 200;
    let (headers, body) = response(rest);
    for snapshot in RateLimitSnapshot::from_headers(&headers) {
        let json = serde_json::to_string(&snapshot).expect("a snapshot is JSON");
        assert!(serde_json::from_str::<Value>(&json).is_ok());
    }
    for kind in [ErrorKind::RateLimited, ErrorKind::Overloaded] {
        error_is_sound(&ApiError::new(
            kind,
            format!("m{}", String::from_utf8_lossy(body)),
        ));
    }
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        let _ = RateLimitSnapshot::from_event(&value);
    }
    refusal(status, &headers, body);
}

#[cfg(fuzzing)]
fn refusal(status: u16, headers: &HeaderMap, body: &[u8]) {
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(800_000_000);
    let error = actix_responses::fuzzing::refusal(status, headers, body, now);
    assert_eq!(error.details().status, Some(status));
    error_is_sound(&error);
}

/// Without `--cfg fuzzing` there is no way to the function from here.
#[cfg(not(fuzzing))]
fn refusal(_: u16, _: &HeaderMap, _: &[u8]) {}
