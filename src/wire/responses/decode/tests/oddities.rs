//! What servers get wrong in an event.

use super::*;
use crate::json::excerpt::EXCERPT_CHARS;

#[test]
fn what_cannot_be_read_is_counted_and_the_first_reason_kept() {
    for (data, reason) in [
        ("{", "not JSON: {"),
        ("hello", "not JSON: hello"),
        (r#"["a"]"#, r#"not JSON: ["a"]"#),
        (
            r#"{"type":"response.output_text.delta"}"#,
            r#"response.output_text.delta without a usable delta: {"type":"response.output_text.delta"}"#,
        ),
        (
            r#"{"type":"response.output_item.done","item":null}"#,
            r#"response.output_item.done without a usable item: {"type":"response.output_item.done","item":null}"#,
        ),
    ] {
        let decoded = decode(&[data, "{}", data]);
        assert_eq!(decoded.events, [], "{data}");
        assert_eq!(decoded.anomalies.malformed_events, 3, "{data}");
        assert_eq!(decoded.anomalies.first_malformed.as_deref(), Some(reason));
    }
}

#[test]
fn an_unreadable_event_is_quoted_to_a_bound() {
    let decoded = decode(&["é".repeat(1_000)]);
    let reason = decoded.anomalies.first_malformed.unwrap();
    assert!(reason.ends_with(&format!(": {}…", "é".repeat(EXCERPT_CHARS))));
}

#[test]
fn data_that_is_blank_is_no_event() {
    for data in ["", " ", "\t"] {
        let decoded = decode(&[data]);
        assert_eq!(
            (decoded.names(), decoded.anomalies.is_empty()),
            (vec![], true)
        );
    }
}

#[test]
fn a_delta_of_another_kind_is_counted_and_the_stream_goes_on() {
    for kind in [
        "response.output_text.delta",
        "response.refusal.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_text.delta",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.mcp_call_arguments.delta",
    ] {
        for delta in ["null", "7", "true", r#"{"text":"d"}"#, r#"["d"]"#] {
            let decoded = decode(&[
                format!(r#"{{"type":"{kind}","delta":{delta}}}"#),
                format!(r#"{{"type":"{kind}","delta":"d"}}"#),
            ]);
            assert_eq!(decoded.events.len(), 1, "{kind} {delta}");
            assert_eq!(decoded.anomalies.malformed_events, 1, "{kind} {delta}");
        }
    }
}

#[test]
fn fields_of_another_kind_read_as_absent() {
    for (fields, item_id, output_index, content_index) in [
        (
            r#""item_id":null,"output_index":null,"content_index":null"#,
            None,
            None,
            None,
        ),
        (
            r#""item_id":7,"output_index":"x","content_index":-1"#,
            None,
            None,
            None,
        ),
        (
            r#""item_id":{},"output_index":[0],"content_index":0.5"#,
            None,
            None,
            None,
        ),
        (
            r#""item_id":"i","output_index":"1","content_index":2.0"#,
            Some("i"),
            Some(1),
            Some(2),
        ),
        (r#""output_index":4294967296"#, None, None, None),
        (
            r#""item_id":"","sequence_number":null,"logprobs":null"#,
            Some(""),
            None,
            None,
        ),
    ] {
        let data = format!(r#"{{"type":"response.output_text.delta","delta":"d",{fields}}}"#);
        let expected = ResponseEvent::OutputTextDelta(TextDelta {
            delta: "d".into(),
            item_id: item_id.map(Into::into),
            output_index,
            content_index,
            logprobs: None,
        });
        assert_eq!(decode(&[&data]).only_event(), expected, "{data}");
    }
}

#[test]
fn of_a_repeated_field_the_last_counts() {
    let data =
        r#"{"type":"keepalive","delta":"a","type":"response.output_text.delta","delta":"b"}"#;
    match decode(&[data]).only_event() {
        ResponseEvent::OutputTextDelta(text) => assert_eq!(text.delta, "b"),
        other => panic!("{other:?}"),
    }
    let data =
        r#"{"type":"response.completed","response":{"id":"a"},"response":{"id":"b","id":"c"}}"#;
    assert_eq!(
        decode(&[data]).completed().response_id.as_deref(),
        Some("c")
    );
}

#[test]
fn half_a_surrogate_pair_waits_for_the_other_and_stays_in_raw_json() {
    let text = |part: u32, delta: &str| {
        format!(
            r#"{{"type":"response.output_text.delta","item_id":"m{part}","output_index":{part},"delta":"{delta}"}}"#
        )
    };
    let reasoning = |delta: &str| {
        format!(r#"{{"type":"response.reasoning_text.delta","output_index":7,"delta":"{delta}"}}"#)
    };
    let arguments = |delta: &str| {
        format!(
            r#"{{"type":"response.function_call_arguments.delta","output_index":8,"delta":"{delta}"}}"#
        )
    };
    let done = r#"{"type":"response.output_text.done","item_id":"m0","output_index":0,"text":"x"}"#;
    for (events, read) in [
        (vec![text(0, r"\ud83d")], "\u{fffd}"),
        (vec![text(0, r"a\ude00b")], "a\u{fffd}b"),
        (vec![text(0, r"\ud83d\ude00")], "😀"),
        (vec![text(0, r"\\ud83d")], r"\ud83d"),
        (vec![text(0, r"\ud83d\n")], "\u{fffd}\n"),
        (
            vec![text(0, r"ok \ud83d"), text(0, r"\ude00 up")],
            "ok 😀 up",
        ),
        (vec![reasoning(r"\ud83d"), reasoning(r"\ude00")], "😀"),
        (vec![arguments(r"{\ud83d"), arguments(r"\ude00}")], "{😀}"),
        (
            vec![text(0, r"\ud83d"), text(0, "a"), text(0, "b")],
            "\u{fffd}ab",
        ),
        (
            vec![text(0, r"\ud83d"), text(0, r"\ud83d\ude00")],
            "\u{fffd}😀",
        ),
        (
            vec![text(0, r"\ud83d"), text(0, ""), text(0, r"\ude00")],
            "😀",
        ),
        // Another part's delta does not come between them.
        (
            vec![text(0, r"\ud83d"), text(1, "b"), text(0, r"\ude00")],
            "b😀",
        ),
        (
            vec![text(0, r"\ud83d"), text(1, r"\ud83d"), text(1, r"\ude00")],
            "\u{fffd}😀",
        ),
        (
            vec![text(0, r"a\ud83d"), done.to_owned(), text(0, "b")],
            "a\u{fffd}b",
        ),
        (
            vec![
                text(0, "a"),
                text(0, "b"),
                text(0, r"\ud83d"),
                text(0, r"\ude00"),
                text(0, "c"),
            ],
            "ab😀c",
        ),
    ] {
        let mut body: String = events.iter().map(|data| framed(data)).collect();
        let found = Summary::of(&body);
        let all = [found.text, found.reasoning, found.input].concat();
        assert_eq!(all, read, "{events:?}");
        body.push_str(&framed(r#"{"type":"error","message":"m"}"#));
        let found = Summary::of(&body);
        assert_eq!(
            [found.text, found.reasoning, found.input].concat(),
            read,
            "{events:?}"
        );
    }
    let data = r#"{"type":"response.audio.transcript.delta","delta":"\ud83d"}"#;
    match decode(&[data]).only_event() {
        ResponseEvent::Other(other) => assert_eq!(other.raw.get(), data),
        other => panic!("{other:?}"),
    }
}

#[test]
fn gaps_and_repeats_of_the_sequence_number_are_counted() {
    for (numbers, gaps, repeats) in [
        (&["0", "1", "2"][..], 0, 0),
        (&["7", "8"], 0, 0),
        (&["0", "2", "3", "9"], 2, 0),
        (&["0", "0", "1"], 0, 1),
        (&["5", "0", "1"], 0, 1),
        (&["5", "3", "9"], 1, 1),
        (&["0", "null", "1"], 0, 0),
        (&["0", "\"1\"", "2.0", "true", "3"], 0, 0),
        (&["18446744073709551615", "18446744073709551615"], 0, 1),
    ] {
        for kind in ["response.output_text.delta", "keepalive"] {
            let events: Vec<_> = numbers
                .iter()
                .map(|n| format!(r#"{{"type":"{kind}","sequence_number":{n},"delta":"d"}}"#))
                .collect();
            let anomalies = decode(&events).anomalies;
            let counts = (anomalies.sequence_gaps, anomalies.sequence_repeats);
            assert_eq!(counts, (gaps, repeats), "{numbers:?}");
        }
    }
}

#[test]
fn anomalies_are_reported_with_the_end() {
    let odd = r#"{"type":"response.output_text.delta","sequence_number":4}"#;
    let first = r#"{"type":"keepalive","sequence_number":1}"#;
    for end in [
        "response.completed",
        "response.incomplete",
        "response.failed",
        "error",
    ] {
        let decoded = decode(&[
            first,
            odd,
            &format!(r#"{{"type":"{end}","sequence_number":5,"message":"m"}}"#),
        ]);
        let reported = match decoded.terminal.as_ref().unwrap() {
            Terminal::Completed(completed) => &completed.anomalies,
            Terminal::Incomplete(incomplete) => &incomplete.anomalies,
            Terminal::Failed(error) => &error.details().anomalies,
        };
        assert_eq!(
            (reported.malformed_events, reported.sequence_gaps),
            (1, 1),
            "{end}"
        );
        assert_eq!(reported, &decoded.anomalies);
    }
}

#[test]
fn deep_json_is_read() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let data = format!(r#"{{"type":"response.output_item.done","item":{{"deep":{deep}}}}}"#);
    assert!(matches!(
        Decoded::read([framed(&data).as_bytes()]).only_event(),
        ResponseEvent::OutputItemDone(_)
    ));
}
