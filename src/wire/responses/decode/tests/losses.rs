//! Events that could not be read, and calls that were never done: no such answer is whole, unless something later has it.

use super::*;

const CREATED: &str = r#"{"type":"response.created","response":{"id":"r"}}"#;
const MESSAGE: &str = r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"message","id":"m","content":[]}}"#;
const DELTA: &str =
    r#"{"type":"response.output_text.delta","item_id":"m","output_index":0,"delta":"Hel"}"#;
const CUT: &str = r#"{"type":"response.output_text.delta","item_id":"m","output_index":0,"del"#;
const CUT_CREATED: &str = r#"{"type":"response.in_progress","response":{"id":"r","inst"#;
const TEXT: &str =
    r#"{"type":"response.output_text.done","item_id":"m","output_index":0,"text":"Hello"}"#;
const DONE: &str = r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message","id":"m","content":[{"type":"output_text","text":"Hello"}]}}"#;
const CALL: &str = r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","id":"c","call_id":"c","name":"f","arguments":""}}"#;
const CALLED: &str = r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","id":"c","call_id":"c","name":"f","arguments":"{}"}}"#;
const SILENT: &str = r#"{"type":"response.completed","response":{"id":"r"}}"#;
const EMPTY: &str = r#"{"type":"response.completed","response":{"id":"r","output":[]}}"#;
const WHOLE: &str = r#"{"type":"response.completed","response":{"id":"r","output":[{"type":"message","id":"m","content":[{"type":"output_text","text":"Hello"}]}]}}"#;

fn end_of(events: &[&str]) -> String {
    let end = Summary::of_events(events).end;
    end.split_once(": ")
        .map_or(end.clone(), |(kind, _)| kind.to_owned())
}

#[test]
fn a_lost_piece_is_a_lost_answer_unless_something_has_it_whole() {
    let item = |cut: &'static str| vec![CREATED, cut, SILENT];
    for (events, end) in [
        (
            vec![CREATED, MESSAGE, DELTA, CUT, DONE, SILENT],
            "completed",
        ),
        (
            vec![CREATED, MESSAGE, DELTA, CUT, TEXT, SILENT],
            "completed",
        ),
        (vec![CREATED, MESSAGE, DELTA, CUT, WHOLE], "completed"),
        (vec![CREATED, CUT, WHOLE], "completed"),
        (vec![CREATED, DELTA, CUT, SILENT], "failed truncated"),
        (vec![CREATED, DELTA, CUT, EMPTY], "failed truncated"),
        (
            vec![CREATED, MESSAGE, DELTA, CUT, EMPTY],
            "failed truncated",
        ),
        (vec![CREATED, CUT, SILENT], "failed truncated"),
        (vec![CREATED, CUT, EMPTY], "failed truncated"),
        (
            vec![CREATED, MESSAGE, DELTA, "delta\":\"lo\"}", SILENT],
            "failed truncated",
        ),
        // A delta that is no text.
        (
            vec![
                DELTA,
                r#"{"type":"response.output_text.delta","item_id":"m","delta":{"text":"lo"}}"#,
                SILENT,
            ],
            "failed protocol",
        ),
        (
            vec![
                DELTA,
                r#"{"type":"response.output_text.delta","item_id":"m","delta":null}"#,
                SILENT,
            ],
            "completed",
        ),
        (vec![DELTA, r#"{"delta":"lo"}"#, SILENT], "failed protocol"),
        (vec![DELTA, "{}", SILENT], "completed"),
        // An item that was never announced.
        (
            item(r#"{"type":"response.output_item.done","item":{"type":"mess"#),
            "failed truncated",
        ),
        (
            vec![
                CREATED,
                MESSAGE,
                DELTA,
                DONE,
                r#"{"type":"response.output_item.done","output_index":1,"it"#,
                SILENT,
            ],
            "failed truncated",
        ),
        (
            vec![
                CREATED,
                r#"{"type":"response.output_item.done","item":null}"#,
                MESSAGE,
                DONE,
                SILENT,
            ],
            "failed protocol",
        ),
        (
            vec![
                CREATED,
                r#"{"type":"response.output_item.done","output_index":0,"it"#,
                WHOLE,
            ],
            "completed",
        ),
        (
            vec![
                CREATED,
                r#"{"type":"response.output_item.added","output_index":0,"it"#,
                DELTA,
                DONE,
                SILENT,
            ],
            "completed",
        ),
        // What begins behind a lost beginning would have a hole, whatever comes later; what comes whole has none.
        (
            vec![CREATED, MESSAGE, CUT, DELTA, DONE, WHOLE],
            "failed truncated",
        ),
        (vec![CREATED, MESSAGE, CUT, TEXT, WHOLE], "completed"),
        (vec![CREATED, MESSAGE, CUT, DONE, WHOLE], "completed"),
        (
            vec![CREATED, CUT_CREATED, MESSAGE, DELTA, WHOLE],
            "completed",
        ),
        (vec![CREATED, DELTA, CUT, DELTA, DONE, WHOLE], "completed"),
        // Nothing of the answer was in it.
        (
            vec![r#"{"type":"response.created","respo"#, DELTA, SILENT],
            "completed",
        ),
        (
            vec![CREATED, r#"{"type":"keepalive","#, DELTA, SILENT],
            "completed",
        ),
        (
            vec![CREATED, "ping", DELTA, "heartbeat", SILENT],
            "completed",
        ),
        (
            vec![CREATED, "some words", DELTA, "null", "7", SILENT],
            "completed",
        ),
    ] {
        assert_eq!(end_of(&events), end, "{events:#?}");
    }
    let said = Summary::of_events(&[CREATED, DELTA, CUT, SILENT]).end;
    assert!(
        said.contains("could not be read") && said.contains("\"del"),
        "{said}"
    );
}

/// Before anything is delivered the answer can be asked for again.
#[test]
fn nothing_is_delivered_behind_a_lost_beginning() {
    let summary = Summary::of_events(&[CREATED, MESSAGE, CUT, DELTA, DELTA, WHOLE]);
    assert!(
        summary
            .end
            .contains("the beginning of the answer could not be read: {"),
        "{}",
        summary.end
    );
    assert_eq!(summary.text, "");
}

#[test]
fn an_answer_with_an_open_call_is_never_whole() {
    let arguments = r#"{"type":"response.function_call_arguments.delta","item_id":"c","output_index":1,"delta":"{}"}"#;
    let arguments_done = r#"{"type":"response.function_call_arguments.done","item_id":"c","output_index":1,"arguments":"{}"}"#;
    let with_call = r#"{"type":"response.completed","response":{"id":"r","output":[{"type":"function_call","id":"c","call_id":"c","name":"f","arguments":"{}"}]}}"#;
    for (events, end) in [
        (vec![CREATED, CALL, SILENT], "failed truncated"),
        (vec![CREATED, CALL, EMPTY], "failed truncated"),
        (vec![CREATED, CALL, arguments, EMPTY], "failed truncated"),
        (vec![CREATED, arguments, EMPTY], "failed truncated"),
        (vec![CREATED, arguments_done, EMPTY], "failed truncated"),
        (vec![CREATED, DONE, CALL, WHOLE], "failed truncated"),
        (vec![CREATED, CALL, CALLED, EMPTY], "completed"),
        (vec![CREATED, CALL, arguments, CALLED, EMPTY], "completed"),
        (vec![CREATED, CALL, arguments_done, EMPTY], "completed"),
        (vec![CREATED, CALL, arguments, with_call], "completed"),
        (vec![CREATED, CALLED, EMPTY], "completed"),
        // An item that nobody acts on.
        (vec![CREATED, MESSAGE, DELTA, EMPTY], "completed"),
    ] {
        assert_eq!(end_of(&events), end, "{events:#?}");
    }
}

#[test]
fn an_empty_answer_is_whole_if_the_server_says_that_it_is_empty() {
    let numbered = |number: u64, data: &str| {
        data.replacen('{', &format!("{{\"sequence_number\":{number},"), 1)
    };
    assert_eq!(end_of(&[CREATED, EMPTY]), "completed");
    assert_eq!(end_of(&[CREATED, SILENT]), "completed");
    assert_eq!(
        end_of(&[&numbered(0, CREATED), &numbered(9, EMPTY)]),
        "completed"
    );
    assert_eq!(
        end_of(&[&numbered(0, CREATED), &numbered(9, SILENT)]),
        "failed truncated"
    );
}

#[test]
fn an_item_that_came_empty_holds_nothing_of_what_was_lost() {
    let message = |content: &str| {
        format!(
            r#"{{"type":"response.output_item.done","output_index":0,"item":{{"type":"message","id":"m","content":{content}}}}}"#
        )
    };
    let done = |item: &str, input: &str| {
        format!(
            r#"{{"type":"response.output_item.done","output_index":1,"item":{{"type":"{item}","id":"c","call_id":"c","name":"f","{input}":""}}}}"#
        )
    };
    let piece = |kind: &str, delta: &str| {
        format!(
            r#"{{"type":"response.{kind}.delta","item_id":"c","output_index":1,"delta":{delta}}}"#
        )
    };
    let arguments = "function_call_arguments";
    let function = [
        piece(arguments, r#""{\"path\":\"/tmp""#),
        piece(arguments, r#""\"}""#),
        done("function_call", "arguments"),
    ];
    let custom = [
        piece("custom_tool_call_input", "\"ab\""),
        piece("custom_tool_call_input", "\"ef\""),
        done("custom_tool_call", "input"),
    ];
    let text = [
        DELTA.to_owned(),
        DELTA.to_owned(),
        message(r#"[{"type":"output_text","text":""}]"#),
    ];
    let bare = [DELTA.to_owned(), DELTA.to_owned(), message("[]")];
    let whole = [DELTA.to_owned(), TEXT.to_owned(), message("[]")];
    let empty_call = r#"{"type":"response.completed","response":{"id":"r","output":[{"type":"function_call","id":"c","call_id":"c","name":"f","arguments":""}]}}"#;
    for (events, is_held) in [
        (&function, false),
        (&custom, false),
        (&text, false),
        (&bare, false),
        (&whole, true),
    ] {
        // A call without input is not held whole either.
        let ends = [SILENT, EMPTY, empty_call];
        for end in &ends[..if is_held { 2 } else { 3 }] {
            for lost in [
                CUT,
                r#"{"type":"response.output_text.delta","delta":["/x"]}"#,
            ] {
                let [first, second, done] = events;
                let events = [CREATED, first, lost, second, done, end];
                let end = end_of(&events);
                assert_eq!(end == "completed", is_held, "{end} {events:#?}");
                let failures = ["failed protocol", "failed truncated"];
                assert!(is_held || failures.contains(&&*end), "{end} {events:#?}");
            }
            let all = [CREATED, &events[0], &events[1], &events[2], end];
            let numbered = |at: usize, numbers: [u64; 5]| {
                all[at].replacen('{', &format!("{{\"sequence_number\":{},", numbers[at]), 1)
            };
            let gap = [0, 1, 2, 3, 4].map(|at| numbered(at, [0, 1, 3, 4, 5]));
            assert_eq!(
                end_of(&gap.each_ref().map(|e| &**e)) == "completed",
                is_held
            );
            let sound = [0, 1, 2, 3, 4].map(|at| numbered(at, [0, 1, 2, 3, 4]));
            assert_eq!(end_of(&sound.each_ref().map(|e| &**e)), "completed");
        }
    }
}
