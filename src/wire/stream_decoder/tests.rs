use super::*;
use crate::protocol::error::ErrorKind;

fn choice(index: u32, delta: &str, finish_reason: &str) -> String {
    format!(
        "data: {{\"id\":\"c\",\"choices\":[{{\"index\":{index},\"delta\":{delta},\"finish_reason\":{finish_reason}}}]}}\n\n"
    )
}

fn says(index: u32) -> String {
    choice(index, r#"{"content":"x"}"#, "null")
}

fn stops(index: u32) -> String {
    choice(index, "{}", "\"stop\"")
}

const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// Feeds events one by one, and says after each whether the stream is reading, finishing or ended.
fn phases(events: &[String]) -> Vec<&'static str> {
    let mut decoder = StreamDecoder::new(Wire::Chat, StreamLimits::default());
    let mut out = Vec::new();
    let phase = |event: &String| {
        let terminal = decoder.feed(event.as_bytes(), &mut out);
        assert_eq!(terminal.is_some(), decoder.is_ended());
        match (decoder.is_finishing(), decoder.is_ended()) {
            (false, false) => "reading",
            (true, false) => "finishing",
            (false, true) => "ended",
            (true, true) => panic!("both finishing and ended"),
        }
    };
    events.iter().map(phase).collect()
}

#[test]
fn a_chat_stream_finishes_when_every_choice_seen_has() {
    for (events, expected) in [
        (
            vec![says(0), stops(0), DONE.to_owned()],
            vec!["reading", "finishing", "ended"],
        ),
        (
            vec![says(0), stops(0), USAGE.to_owned()],
            vec!["reading", "finishing", "ended"],
        ),
        (
            vec![says(0), says(1), stops(0), says(1), stops(1)],
            vec!["reading", "reading", "reading", "reading", "finishing"],
        ),
        // Choice 1 begins when choice 0 is over already.
        (
            vec![
                says(0),
                stops(0),
                says(1),
                says(1),
                stops(1),
                USAGE.to_owned(),
            ],
            vec![
                "reading",
                "finishing",
                "reading",
                "reading",
                "finishing",
                "ended",
            ],
        ),
        (
            vec![
                stops(0),
                ": comment\n\n".to_owned(),
                says(0),
                USAGE.to_owned(),
            ],
            vec!["finishing", "finishing", "finishing", "ended"],
        ),
        (
            vec![USAGE.to_owned(), says(0), stops(0)],
            vec!["reading", "reading", "finishing"],
        ),
    ] {
        assert_eq!(phases(&events), expected, "{events:?}");
    }
}

#[test]
fn the_end_of_a_finishing_stream_is_its_completion_however_it_comes() {
    type End = fn(&mut StreamDecoder, &mut Vec<ResponseEvent>) -> Option<Terminal>;
    let ends: [End; 3] = [
        StreamDecoder::finish,
        StreamDecoder::end_of_stream,
        |decoder, out| decoder.feed(DONE.as_bytes(), out),
    ];
    for end in ends {
        let mut decoder = StreamDecoder::new(Wire::Chat, StreamLimits::default());
        let mut out = Vec::new();
        decoder.feed((says(0) + &stops(0)).as_bytes(), &mut out);
        assert!(decoder.is_finishing());
        let terminal = end(&mut decoder, &mut out);
        assert!(matches!(terminal, Some(Terminal::Completed(_))));
        assert!(!decoder.is_finishing() && decoder.is_ended());
        assert_eq!(decoder.end_of_stream(&mut out), None);
    }
}

#[test]
fn a_choice_that_is_reopened_and_cut_is_truncated() {
    let mut decoder = StreamDecoder::new(Wire::Chat, StreamLimits::default());
    let mut out = Vec::new();
    decoder.feed((says(0) + &stops(0) + &says(1)).as_bytes(), &mut out);
    let Some(Terminal::Failed(error)) = decoder.end_of_stream(&mut out) else {
        panic!("not failed");
    };
    assert_eq!(error.kind(), ErrorKind::Truncated);
}

/// What an answer ends with when it has more than 10 bytes or 3 parts.
fn end_of_large(events: &[String]) -> (ErrorKind, String) {
    let limits = StreamLimits {
        max_answer_bytes: 10,
        max_answer_parts: 3,
        ..StreamLimits::default()
    };
    let mut decoder = StreamDecoder::new(Wire::Chat, limits);
    let mut out = Vec::new();
    let mut ends = events
        .iter()
        .filter_map(|event| decoder.feed(event.as_bytes(), &mut out));
    let end = ends.next();
    assert_eq!(ends.next(), None);
    match end {
        Some(Terminal::Failed(error)) => (error.kind(), error.message().to_owned()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chat_answer_that_passes_a_limit_ends_and_names_it() {
    let delta = |delta: &str| choice(0, delta, "null");
    let call = |index: u32, arguments: &str| {
        delta(&format!(
            r#"{{"tool_calls":[{{"index":{index},"function":{{"name":"f","arguments":"{arguments}"}}}}]}}"#
        ))
    };
    let indexes: Vec<_> = (0..100_000).map(|i| format!("{{\"index\":{i}}}")).collect();
    let many = indexes.join(",");
    let calls = many.replace('}', ",\"function\":{\"name\":\"f\"}}");
    for (events, limit) in [
        (
            vec![delta(r#"{"content":"01234567890"}"#)],
            "max_answer_bytes",
        ),
        // Each of these repeats the one before, which is read by comparing bytes.
        (vec![delta(r#"{"content":"0"}"#); 11], "max_answer_bytes"),
        (
            vec![delta(r#"{"reasoning":"0123"}"#); 3],
            "max_answer_bytes",
        ),
        (vec![delta(r#"{"refusal":"0123"}"#); 3], "max_answer_bytes"),
        (vec![call(0, "01234"), call(0, "56789")], "max_answer_bytes"),
        (vec![says(0), says(1)], "max_answer_parts"),
        (
            vec![call(0, ""), call(1, ""), call(2, "")],
            "max_answer_parts",
        ),
        (
            vec![format!("data: {{\"choices\":[{many}]}}\n\n")],
            "max_answer_parts",
        ),
        (
            vec![delta(&format!(r#"{{"tool_calls":[{calls}]}}"#))],
            "max_answer_parts",
        ),
    ] {
        let (kind, message) = end_of_large(&events);
        assert_eq!(kind, ErrorKind::TooLarge);
        assert!(
            message.contains(&format!("StreamLimits::{limit} ")),
            "{message}"
        );
    }
}

/// What is left of the word was taken for words of the server.
#[test]
fn a_stream_that_was_cut_in_a_fields_name_is_truncated() {
    for wire in [Wire::Responses, Wire::Chat] {
        for cut in ["d", "dat", "data", "eve", ": ok\n\nda", "data: {}\n\nev"] {
            let mut decoder = StreamDecoder::new(wire, StreamLimits::default());
            let mut events = Vec::new();
            assert_eq!(decoder.feed(cut.as_bytes(), &mut events), None);
            match decoder.end_of_stream(&mut events) {
                Some(Terminal::Failed(error)) => {
                    assert_eq!(error.kind(), ErrorKind::Truncated, "{cut}: {error}");
                }
                end => panic!("{cut}: {end:?}"),
            }
        }
    }
}

#[test]
fn nothing_of_an_answer_is_in_the_debug_text() {
    let mut decoder = StreamDecoder::new(Wire::Chat, StreamLimits::default());
    let chunk = br#"data: {"choices":[{"index":0,"delta":{"content":"private"}}]}"#;
    decoder.feed(chunk, &mut Vec::new());
    decoder.feed(b"\n\ndata: private", &mut Vec::new());
    assert_eq!(
        format!("{decoder:?}"),
        "StreamDecoder { wire: Chat, events: 1, is_finishing: false, is_ended: false, .. }"
    );
}
