use super::*;

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
    let mut decoder = StreamDecoder::new(Wire::Chat, SseLimits::default());
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
        let mut decoder = StreamDecoder::new(Wire::Chat, SseLimits::default());
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
    let mut decoder = StreamDecoder::new(Wire::Chat, SseLimits::default());
    let mut out = Vec::new();
    decoder.feed((says(0) + &stops(0) + &says(1)).as_bytes(), &mut out);
    let Some(Terminal::Failed(error)) = decoder.end_of_stream(&mut out) else {
        panic!("not failed");
    };
    assert_eq!(error.kind(), ErrorKind::Truncated);
}
