//! Whole bodies, however they are framed and cut.

use proptest::prelude::*;

use super::*;

const BODY: [(&str, &str); 6] = [
    (
        "response.created",
        r#"{"type":"response.created","sequence_number":0,"response":{"id":"r"}}"#,
    ),
    (
        "response.output_text.delta",
        r#"{"type":"response.output_text.delta","sequence_number":1,"item_id":"m","delta":"Grüße, 世界 😀"}"#,
    ),
    (
        "response.output_text.delta",
        r#"{"type":"response.output_text.delta","sequence_number":2,"item_id":"m","delta":"\n\"x\""}"#,
    ),
    ("keepalive", r#"{"type":"keepalive","sequence_number":3}"#),
    (
        "response.output_item.done",
        r#"{"type":"response.output_item.done","sequence_number":4,"item":{"text":"ü"}}"#,
    ),
    (
        "response.completed",
        r#"{"type":"response.completed","sequence_number":5,"response":{"id":"r"}}"#,
    ),
];

fn body(frame: impl Fn(&str, &str) -> String) -> String {
    BODY.iter()
        .map(|(event, data)| frame(event, data))
        .collect()
}

#[test]
fn framing_makes_no_difference() {
    let expected = decode_body(&body(|_, data| framed(data)));
    assert_eq!(expected.events.len(), 5);
    assert!(expected.completed().anomalies.is_empty());
    type Frame = fn(event: &str, data: &str) -> String;
    let frames: [(&str, Frame); 8] = [
        ("event lines", |event, data| {
            format!("event: {event}\ndata: {data}\n\n")
        }),
        ("event lines after", |event, data| {
            format!("data: {data}\nevent: {event}\n\n")
        }),
        ("no space", |event, data| {
            format!("event:{event}\ndata:{data}\n\n")
        }),
        ("CRLF", |event, data| {
            format!("event: {event}\r\ndata: {data}\r\n\r\n")
        }),
        ("CR", |event, data| {
            format!("event: {event}\rdata: {data}\r\r")
        }),
        ("comments, ids and blank lines", |event, data| {
            format!(": ping\n\nid: 7\nretry: 10\nevent: {event}\n: within\ndata: {data}\n\n\n\n")
        }),
        ("data in lines", |event, data| {
            format!(
                "event: {event}\ndata: {}\n\n",
                data.replace(",\"delta", "\ndata: ,\"delta")
            )
        }),
        ("white space around", |_, data| {
            format!("data:   {data} \t\n\n")
        }),
    ];
    for (what, frame) in frames {
        assert_eq!(decode_body(&body(frame)), expected, "{what}");
    }
    let marked = format!("\u{feff}{}", body(|_, data| framed(data)));
    assert_eq!(decode_body(&marked), expected, "a byte order mark");
}

#[test]
fn bytes_that_are_not_utf_8_are_replaced() {
    let mut body = framed(r#"{"type":"response.output_text.delta","delta":"a?b"}"#).into_bytes();
    let at = body.iter().position(|byte| *byte == b'?').unwrap();
    body[at] = 0xff;
    let twice = [&body[..], &body[..]].concat();
    for size in [twice.len(), 7, 1] {
        let decoded = Decoded::read(twice.chunks(size));
        assert_eq!(decoded.events.len(), 2);
        for event in &decoded.events {
            assert!(
                matches!(event, ResponseEvent::OutputTextDelta(text) if text.delta == "a\u{fffd}b")
            );
        }
    }
}

#[test]
fn an_event_of_ten_mebibytes_is_read() {
    let text = "x".repeat(10 * 1024 * 1024);
    let body = framed(&format!(
        r#"{{"type":"response.output_text.delta","delta":"{text}"}}"#
    ));
    for size in [body.len(), 65_537] {
        match Decoded::read(body.as_bytes().chunks(size)).only_event() {
            ResponseEvent::OutputTextDelta(delta) => assert!(delta.delta == *text),
            other => panic!("{}", other.name()),
        }
    }
}

#[test]
fn an_event_above_the_limit_ends_the_stream_and_says_which() {
    let limits = SseLimits {
        max_line_bytes: 100,
        max_event_bytes: 100,
    };
    let delta = |text: &str| {
        framed(&format!(
            r#"{{"type":"response.output_text.delta","delta":"{text}"}}"#
        ))
    };
    let body = format!("{0}{0}{0}{1}{0}", delta("a"), delta(&"x".repeat(100)));
    for size in [body.len(), 7, 1] {
        let mut decoder = StreamDecoder::new(Wire::Responses, limits.into());
        let mut events = Vec::new();
        let terminal = body
            .as_bytes()
            .chunks(size)
            .find_map(|chunk| decoder.feed(chunk, &mut events));
        let Some(Terminal::Failed(error)) = terminal else {
            panic!("{terminal:?}");
        };
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(
            error.message().contains("max_line_bytes"),
            "{}",
            error.message()
        );
        assert_eq!((events.len(), decoder.is_ended()), (3, true));
        assert_eq!(decoder.feed(b"data: {}\n\n", &mut events), None);
    }
}

#[test]
fn a_response_that_has_ended_is_not_waited_with() {
    let mut decoder = StreamDecoder::new(Wire::Responses, StreamLimits::default());
    let mut events = Vec::new();
    for (_, data) in BODY {
        decoder.feed(framed(data).as_bytes(), &mut events);
        assert!(!decoder.is_finishing());
    }
    assert!(decoder.is_ended());
    assert_eq!(decoder.events(), 6);
}

/// Reads a body to its end of stream.
fn read_to_end(body: &str) -> (Vec<ResponseEvent>, Terminal) {
    let mut decoder = StreamDecoder::new(Wire::Responses, StreamLimits::default());
    let mut events = Vec::new();
    let terminal = decoder.feed(body.as_bytes(), &mut events);
    let at_end = decoder.end_of_stream(&mut events);
    assert!(decoder.is_ended());
    assert_eq!(decoder.finish(&mut events), None);
    (events, terminal.xor(at_end).expect("one end"))
}

#[test]
fn the_last_event_counts_also_without_its_blank_line() {
    for tail in ["", "\n", "\r\n", "\n\n"] {
        let body = format!(
            "{}data: {{\"type\":\"response.completed\",\"response\":{{\"id\":\"r\"}}}}{tail}",
            framed(r#"{"type":"response.output_text.delta","delta":"d"}"#),
        );
        let (events, terminal) = read_to_end(&body);
        assert_eq!(events.len(), 1, "{tail:?}");
        assert!(
            matches!(terminal, Terminal::Completed(_)),
            "{tail:?}: {terminal:?}"
        );
    }
}

#[test]
fn a_stream_that_just_ends_is_truncated() {
    let delta = framed(r#"{"type":"response.output_text.delta","delta":"d"}"#);
    for (body, malformed) in [
        (String::new(), 0),
        (delta.clone(), 0),
        (format!("{delta}: comment\n\n"), 0),
        (format!("{delta}data: {{\"type\":\"response.compl"), 1),
    ] {
        let (_, terminal) = read_to_end(&body);
        let Terminal::Failed(error) = terminal else {
            panic!("{body}: {terminal:?}");
        };
        assert_eq!(error.kind(), ErrorKind::Truncated, "{body}");
        assert_eq!(
            error.details().anomalies.malformed_events,
            malformed,
            "{body}"
        );
    }
}

proptest! {
    /// Text arrives as it was sent, whatever it holds and wherever the body is cut.
    #[test]
    fn any_text_arrives_whole(texts in proptest::collection::vec(".{0,40}", 1..20), cut in 1usize..400) {
        let body: String = texts
            .iter()
            .zip(0..)
            .map(|(text, n): (&String, u32)| {
                let delta = serde_json::to_string(text).unwrap();
                format!("event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"delta\":{delta},\"sequence_number\":{n}}}\n\n")
            })
            .collect();
        let decoded = Decoded::read(body.as_bytes().chunks(cut));
        prop_assert!(decoded.anomalies.is_empty());
        let read: Vec<_> = decoded.events.iter().map(|event| match event {
            ResponseEvent::OutputTextDelta(text) => text.delta.as_str(),
            other => panic!("{other:?}"),
        }).collect();
        prop_assert_eq!(read, texts);
    }
}
