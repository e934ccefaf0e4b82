//! Event streams, byte by byte: fixtures at every split, the cases browsers are tested with, and
//! the standard's algorithm written down naively to compare with.
//!
//! There is one deliberate deviation from the WHATWG standard. What the end of a stream leaves
//! without an empty line is handed over, where a browser discards it; the cases that show it say
//! so.

use std::ops::ControlFlow;
use std::time::Duration;

use actix_responses::sse::{SseDecoder, SseEvent, SseLimits};
use proptest::prelude::*;

/// An event that outlives the call it was handed over in: type, data, last event ID.
type Event = (Option<String>, String, String);

#[derive(Debug, Default, PartialEq)]
struct Decoded {
    events: Vec<Event>,
    last_event_id: String,
    retry: Option<Duration>,
    comments: u64,
}

fn event(event: Option<&str>, data: &str, last_event_id: &str) -> Event {
    (
        event.map(str::to_owned),
        data.to_owned(),
        last_event_id.to_owned(),
    )
}

fn message(data: &str) -> Event {
    event(None, data, "")
}

fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let mut decoder = SseDecoder::new(SseLimits::default());
    let mut events = Vec::new();
    let mut push = |seen: SseEvent<'_>| {
        events.push(event(seen.event, seen.data, seen.last_event_id));
        ControlFlow::Continue(())
    };
    for chunk in chunks {
        let taken = decoder.feed(chunk, &mut push).unwrap();
        assert_eq!(taken, chunk.len());
    }
    decoder.finish(&mut push).unwrap();
    Decoded {
        events,
        last_event_id: decoder.last_event_id().to_owned(),
        retry: decoder.retry(),
        comments: decoder.comments(),
    }
}

/// Decodes `body` whole, cut once or twice at every byte, and in pieces of each size, and checks
/// that all of them say the same.
fn decode_at_every_split(name: &str, body: &[u8]) -> Decoded {
    let whole = decode([body]);
    for first in 0..=body.len() {
        let (head, rest) = body.split_at(first);
        assert_eq!(decode([head, rest]), whole, "{name} cut at {first}");
        for second in 0..=rest.len().min(12) {
            let (middle, tail) = rest.split_at(second);
            let split = decode([head, middle, tail]);
            assert_eq!(split, whole, "{name} cut at {first} and {second} on");
        }
    }
    for size in 1..=body.len() {
        let pieces = decode(body.chunks(size));
        assert_eq!(pieces, whole, "{name} in pieces of {size}");
    }
    whole
}

#[test]
fn fixtures_decode_alike_at_every_split() {
    macro_rules! fixture {
        ($name:literal) => {
            (
                $name,
                include_bytes!(concat!("fixtures/", $name)).as_slice(),
            )
        };
    }
    let greetings = || vec![event(Some("greeting"), "hello", ""), message("again")];
    let table = [
        (fixture!("line_feeds.sse"), greetings()),
        (fixture!("carriage_returns.sse"), greetings()),
        (fixture!("carriage_return_line_feeds.sse"), greetings()),
        (
            fixture!("mixed_line_ends.sse"),
            vec![
                event(Some("greeting"), "hello", ""),
                message("1\n2\n3"),
                message("again"),
            ],
        ),
        (
            fixture!("byte_order_mark.sse"),
            vec![message("1"), message("\u{feff}3")],
        ),
        (
            fixture!("multi_line_data.sse"),
            vec![message("one\n\n\n two"), message(""), message("\n")],
        ),
        (
            fixture!("comments.sse"),
            vec![event(Some("answer"), "yes", "")],
        ),
        (
            fixture!("event_ids.sse"),
            vec![
                event(None, "a", "1"),
                event(None, "b", "1"),
                event(None, "c", "2"),
                event(None, "d", ""),
                event(None, "e", "3"),
            ],
        ),
        (
            fixture!("multibyte_characters.sse"),
            vec![
                event(Some("été"), "€ 😀 日本語", "ü"),
                event(None, "é\n👨\u{200d}👩\u{200d}👧", "ü"),
            ],
        ),
        (
            fixture!("invalid_utf8.sse"),
            vec![
                message(
                    "lone \u{fffd} overlong \u{fffd}\u{fffd} \u{fffd}\u{fffd}\u{fffd} \
                     surrogate \u{fffd}\u{fffd}\u{fffd} \
                     large \u{fffd}\u{fffd}\u{fffd}\u{fffd} bad \u{fffd}",
                ),
                message("cut \u{fffd}\ncut \u{fffd}"),
                event(Some("\u{fffd}"), "€", ""),
            ],
        ),
        (
            // Deviation: a browser sees only the first.
            fixture!("no_final_empty_line.sse"),
            vec![message("1"), event(Some("last"), "{\"a\":\n2}", "9")],
        ),
        (
            // Deviation: a browser sees only the first.
            fixture!("no_final_line_end.sse"),
            vec![message("1"), event(Some("last"), "2", "")],
        ),
        (
            fixture!("text_deltas.sse"),
            vec![
                event(
                    Some("response.created"),
                    r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","status":"in_progress"}}"#,
                    "",
                ),
                event(
                    Some("response.output_text.delta"),
                    r#"{"type":"response.output_text.delta","sequence_number":1,"item_id":"msg_1","delta":"Grüß"}"#,
                    "",
                ),
                event(
                    Some("response.output_text.delta"),
                    r#"{"type":"response.output_text.delta","sequence_number":2,"item_id":"msg_1","delta":" 👋\r\n"}"#,
                    "",
                ),
                event(
                    Some("response.completed"),
                    r#"{"type":"response.completed","sequence_number":3,"response":{"id":"resp_1","status":"completed"}}"#,
                    "",
                ),
                message("[DONE]"),
            ],
        ),
    ];
    for ((name, body), events) in table {
        let decoded = decode_at_every_split(name, body);
        assert_eq!(decoded.events, events, "{name}");
        let naive = decode_by_the_letter(body);
        assert_eq!(decoded, naive, "{name}");
    }
}

/// The inputs with which web-platform-tests checks the parser of a browser's `EventSource`
/// (its folder `eventsource`), and what they must give.
#[test]
fn cases_of_the_web_platform_tests_hold() {
    let long = "x".repeat(2 * 1024);
    let comment_fest =
        format!("data:1\r:\0\n:\r\ndata:2\n:{long}\rdata:3\n:data:fail\r:{long}\ndata:4\n\n\n");
    let table: &[(&str, &[u8], &[Event])] = &[
        (
            "event-data",
            b"data:msg\ndata: msg\n\n:\nfalsefield:msg\n\nfalsefield:msg\nData:data\n\ndata\n\ndata:end\n\n",
            &[message("msg\nmsg"), message(""), message("end")],
        ),
        (
            "format-bom",
            b"\xEF\xBB\xBFdata:1\n\n\xEF\xBB\xBFdata:2\n\ndata:3\n\n",
            &[message("1"), message("3")],
        ),
        (
            "format-bom-2",
            b"\xEF\xBB\xBF\xEF\xBB\xBFdata:1\n\ndata:2\n\ndata:3\n\n",
            &[message("2"), message("3")],
        ),
        (
            "format-comments",
            comment_fest.as_bytes(),
            &[message("1\n2\n3\n4")],
        ),
        (
            // Deviation: the second is for a browser an event that never ended.
            "format-data-before-final-empty-line",
            b"retry:1000\ndata:test1\n\nid:test\ndata:test2",
            &[message("test1"), event(None, "test2", "test")],
        ),
        (
            "format-field-data",
            b"data:\n\ndata\ndata\n\ndata:test\n\n",
            &[message(""), message("\n"), message("test")],
        ),
        (
            "format-field-event",
            b"event:test\ndata:x\n\ndata:x\n\n",
            &[event(Some("test"), "x", ""), message("x")],
        ),
        (
            "format-field-event-empty",
            b"event: \ndata:data\n\n",
            &[message("data")],
        ),
        (
            "format-field-id",
            "id:…\ndata:hello\n\n".as_bytes(),
            &[event(None, "hello", "…")],
        ),
        (
            "format-field-id-2",
            "id:…\ndata:hello\n\ndata:…\n\ndata:…\n\n".as_bytes(),
            &[
                event(None, "hello", "…"),
                event(None, "…", "…"),
                event(None, "…", "…"),
            ],
        ),
        (
            "format-field-id-3, persists",
            b"id: 1\ndata: 1\n\ndata:2\n\nid: 2\ndata:3\n\ndata:4\n\n",
            &[event(None, "1", "1"), event(None, "2", "1"), event(None, "3", "2"), event(None, "4", "2")],
        ),
        (
            "format-field-id-3, resets",
            b"id: 1\ndata: 1\n\nid:\ndata:2\n\ndata:3\n\n",
            &[event(None, "1", "1"), event(None, "2", ""), event(None, "3", "")],
        ),
        (
            "format-field-id-3, resets without colon",
            b"id: 1\ndata: 1\n\nid\ndata:2\n\ndata:3\n\n",
            &[event(None, "1", "1"), event(None, "2", ""), event(None, "3", "")],
        ),
        (
            "format-field-id-null",
            b"id:\0\0\ndata:hello\n\n",
            &[message("hello")],
        ),
        (
            "format-field-parsing",
            b"data:\0\ndata:  2\rData:1\ndata\0:2\ndata:1\r\0data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n",
            &[message("\0\n 2\n1\n3\n\n4")],
        ),
        (
            "format-field-retry-empty",
            b"retry\ndata:test\n\n",
            &[message("test")],
        ),
        (
            "format-field-unknown",
            b"data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n",
            &[message("test\n\ntest")],
        ),
        (
            "format-leading-space",
            b"data:\ttest\rdata: \ndata:test\n\n",
            &[message("\ttest\n\ntest")],
        ),
        (
            "format-newlines",
            b"data:test\r\ndata\ndata:test\r\n\r",
            &[message("test\n\ntest")],
        ),
        ("format-null-character", b"data:\0\n\n\n\n", &[message("\0")]),
        (
            "format-utf-8",
            "data:ok…\n\n".as_bytes(),
            &[message("ok…")],
        ),
    ];
    for (name, body, events) in table {
        assert_eq!(decode([*body]).events, *events, "{name}");
        assert_eq!(decode(body.chunks(1)).events, *events, "{name} bytewise");
        assert_eq!(decode(body.chunks(7)).events, *events, "{name} by seven");
    }
}

#[test]
fn last_valid_retry_counts() {
    let table: &[(&str, Option<u64>)] = &[
        ("data: x\n\n", None),
        ("retry: 03000\ndata: x\n\n", Some(3_000)),
        ("retry: 3000\n\nretry: 1000x\n\n", Some(3_000)),
        ("retry: 1000\nretry\ndata: x\n\n", Some(1_000)),
        ("retry: 1000\nretry: 2000\n", Some(2_000)),
    ];
    for (body, milliseconds) in table {
        let decoded = decode_at_every_split(body, body.as_bytes());
        assert_eq!(
            decoded.retry,
            milliseconds.map(Duration::from_millis),
            "{body:?}"
        );
    }
}

#[test]
fn blocks_without_data_give_no_event() {
    let table: &[&[u8]] = &[
        b"",
        b"\n\n\r\n\r\r",
        b"\xEF\xBB\xBF",
        b"\xEF\xBB",
        b"\xEF\xBB\xBF\n\n",
        b": only a comment\n\n",
        b"event: reset\n\n",
        b"event: reset\nid: 1\nretry: 1\n\n",
        b"event: unfinished",
        b"{\"error\": \"not an event stream\"}\n",
    ];
    for body in table {
        let decoded = decode_at_every_split("no event", body);
        assert_eq!(decoded.events, [], "{}", body.escape_ascii());
    }
}

#[test]
fn event_type_does_not_leak_into_the_next_event() {
    let body = b"event: a\n\ndata: 1\n\nevent: b\nevent\ndata: 2\n\nevent: c\nevent: d\ndata: 3\n\ndata: 4\n\n";
    let events = [
        message("1"),
        message("2"),
        event(Some("d"), "3", ""),
        message("4"),
    ];
    assert_eq!(decode_at_every_split("types", body).events, events);
}

#[test]
fn id_takes_effect_when_its_block_ends() {
    let table = [
        ("id: 1\n\n", "1"), // also without data
        ("id: 1\n", ""),
        ("id: 1\n\nid: 2", "1"),
        ("id: 1\ndata: x", "1"), // deviation: a browser has none
    ];
    for (body, last_event_id) in table {
        let decoded = decode_at_every_split(body, body.as_bytes());
        assert_eq!(decoded.last_event_id, last_event_id, "{body:?}");
    }
}

#[test]
fn carriage_return_at_the_end_of_a_chunk_hands_over_at_once() {
    let mut decoder = SseDecoder::new(SseLimits::default());
    let mut count = 0;
    for (chunk, expected) in [
        ("data: 1\r\n\r", 1),
        ("\ndata: 2\r", 1),
        ("\r", 2),
        ("\n", 2),
    ] {
        decoder
            .feed(chunk.as_bytes(), |_| {
                count += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(count, expected, "{chunk:?}");
    }
}

/// Section 9.2.6 as it reads: decode everything, split everything, then interpret line by line. The
/// end of the stream is ours.
fn decode_by_the_letter(body: &[u8]) -> Decoded {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let text = String::from_utf8_lossy(body)
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    let (lines, unterminated) = match text.rsplit_once('\n') {
        Some((lines, rest)) => (lines.split('\n').collect(), rest),
        None => (Vec::new(), &text[..]),
    };

    let mut decoded = Decoded::default();
    let mut event_type = String::new();
    let mut data = String::new();
    let mut id = String::new();
    // The end of the stream ends the last line, and then the last block if that has data.
    let unterminated = (!unterminated.is_empty()).then_some(unterminated);
    for line in lines.into_iter().chain(unterminated) {
        interpret(line, &mut decoded, &mut event_type, &mut data, &mut id);
    }
    if !data.is_empty() {
        interpret("", &mut decoded, &mut event_type, &mut data, &mut id);
    }
    decoded
}

fn interpret(
    line: &str,
    decoded: &mut Decoded,
    event_type: &mut String,
    data: &mut String,
    id: &mut String,
) {
    if line.is_empty() {
        decoded.last_event_id.clone_from(id);
        if !data.is_empty() {
            data.pop();
            let kind = (!event_type.is_empty()).then_some(event_type.as_str());
            decoded.events.push(event(kind, data, id));
        }
        event_type.clear();
        data.clear();
        return;
    }
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    let value = value.strip_prefix(' ').unwrap_or(value);
    match name {
        "" => decoded.comments += 1,
        "event" => value.clone_into(event_type),
        "data" => *data += &format!("{value}\n"),
        "id" if !value.contains('\0') => value.clone_into(id),
        "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
            let milliseconds = value.parse().unwrap_or(u64::MAX);
            decoded.retry = Some(Duration::from_millis(milliseconds));
        }
        _ => {}
    }
}

/// Bytes that mean something to a decoder more often than random ones do.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            &b"\n"[..], b"\r", b"\r\n", b":", b" ", b"data", b"data: ", b"event: ", b"id: ", b"retry: ",
            b"7", b"\0", b"x", b"\xEF\xBB\xBF", "é".as_bytes(), "😀".as_bytes(), b"\xE2\x82", b"\xC0\xAF",
        ]).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Cuts `body` into pieces of these sizes and what remains.
fn cut<'a>(body: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = body;
    let mut chunks = Vec::new();
    for size in sizes {
        let (chunk, after) = rest.split_at(rest.len().min(*size));
        chunks.push(chunk);
        rest = after;
    }
    chunks.push(rest);
    chunks
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_at_any_chunking_decode_as_the_standard_says(
        body in stream(),
        sizes in prop::collection::vec(0usize..9, 1..20),
    ) {
        let expected = decode_by_the_letter(&body);
        prop_assert_eq!(&decode([&body[..]]), &expected);
        prop_assert_eq!(&decode(body.chunks(1)), &expected);
        prop_assert_eq!(&decode(cut(&body, &sizes)), &expected);
    }

    #[test]
    fn breaking_at_each_event_and_feeding_the_rest_loses_nothing(
        body in stream(),
        sizes in prop::collection::vec(0usize..30, 1..10),
    ) {
        let mut decoder = SseDecoder::new(SseLimits::default());
        let mut events = Vec::new();
        for mut chunk in cut(&body, &sizes) {
            while !chunk.is_empty() {
                let before = events.len();
                let taken = decoder
                    .feed(chunk, |seen| {
                        events.push(event(seen.event, seen.data, seen.last_event_id));
                        ControlFlow::Break(())
                    })
                    .unwrap();
                prop_assert!(events.len() == before + 1 || taken == chunk.len());
                chunk = &chunk[taken..];
            }
        }
        decoder
            .finish(|seen| {
                events.push(event(seen.event, seen.data, seen.last_event_id));
                ControlFlow::Continue(())
            })
            .unwrap();
        prop_assert_eq!(events, decode([&body[..]]).events);
    }

    #[test]
    fn limits_end_a_stream_at_the_same_event_at_any_chunking(
        body in stream(),
        sizes in prop::collection::vec(0usize..9, 1..20),
        max_line_bytes in 0usize..30,
        max_event_bytes in 0usize..10,
    ) {
        let decode = |chunks: Vec<&[u8]>| {
            let mut limits = SseLimits::default();
            limits.max_line_bytes = max_line_bytes;
            limits.max_event_bytes = max_event_bytes;
            let mut decoder = SseDecoder::new(limits);
            let mut data = Vec::new();
            let mut push = |seen: SseEvent<'_>| {
                data.push(seen.data.to_owned());
                ControlFlow::Continue(())
            };
            for chunk in chunks {
                let _ = decoder.feed(chunk, &mut push);
            }
            let ended = decoder.finish(&mut push);
            (data, ended)
        };
        let whole = decode(vec![&body]);
        prop_assert_eq!(&decode(body.chunks(1).collect()), &whole);
        prop_assert_eq!(&decode(cut(&body, &sizes)), &whole);
    }
}
