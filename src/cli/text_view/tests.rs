use actix_responses::{
    protocol::{Completed, Incomplete, RawJson},
    wire::{StreamDecoder, Wire},
};
use serde_json::json;

use super::{words::MAX_CALL_CHARS, *};

const BOTH: Terminals = Terminals {
    stdout: true,
    stderr: true,
    has_reader: false,
    is_styled: true,
    can_erase: true,
};

/// The events of a stream of such data.
fn events(data: &[&str]) -> Vec<ResponseEvent> {
    let body: String = data
        .iter()
        .map(|data| format!("data: {data}\n\n"))
        .collect();
    let mut events = Vec::new();
    let mut decoder = StreamDecoder::new(Wire::Responses, Default::default());
    let terminal = decoder.feed(body.as_bytes(), &mut events);
    events.extend(terminal.map(ResponseEvent::from));
    events
}

fn shown(terminals: Terminals, data: &[&str]) -> Page {
    let mut view = TextView::new(terminals, Secrets::new(["sk-secret".to_owned()]), None);
    let mut page = Page::default();
    for event in events(data) {
        view.render(&event, &mut page);
    }
    page
}

const TEXT: &str = r#"{"type":"response.output_text.delta","item_id":"m1","output_index":1,"content_index":0,"delta":"one"}"#;
const OTHER_TEXT: &str = r#"{"type":"response.output_text.delta","item_id":"m2","output_index":2,"content_index":0,"delta":"two\n"}"#;
const REFUSAL: &str = r#"{"type":"response.refusal.delta","item_id":"m1","output_index":1,"content_index":1,"delta":", no"}"#;
const REASONING: &str = r#"{"type":"response.reasoning_text.delta","item_id":"r","output_index":0,"content_index":0,"delta":"hm\u001b"}"#;
const CALL: &str = r#"{"type":"response.output_item.done","output_index":3,"item":{"type":"function_call","name":"f","arguments":"{\n}","call_id":"c"}}"#;
const MESSAGE: &str = r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"message","id":"m1","role":"assistant","content":[{"type":"output_text","text":"one"}]}}"#;
const COMPLETED: &str = r#"{"type":"response.completed","response":{"id":"r","usage":{"input_tokens":3,"output_tokens":2}}}"#;

#[test]
fn stdout_is_the_text_of_the_answer_alone() {
    for (data, text) in [
        (vec![TEXT, TEXT, COMPLETED], "oneone\n"),
        (vec![TEXT, REFUSAL, MESSAGE, COMPLETED], "one, no\n"),
        (vec![TEXT, OTHER_TEXT, COMPLETED], "one\ntwo\n"),
        (vec![REASONING, COMPLETED], ""),
        (vec![MESSAGE, COMPLETED], "one\n"),
    ] {
        let page = shown(Terminals::default(), &data);
        assert_eq!(page.on(Target::Stdout), text, "{data:?}");
        assert_eq!(page.on(Target::Stderr), "", "{data:?}");
    }
    let page = shown(Terminals::default(), &[TEXT, CALL, COMPLETED]);
    assert_eq!(page.on(Target::Stdout), "one\n");
    assert_eq!(page.on(Target::Stderr), "-- tool call: f({ }) --\n");
}

#[test]
fn a_terminal_shows_reasoning_calls_and_tokens_on_lines_of_their_own() {
    let data = [REASONING, TEXT, CALL, TEXT, REASONING, TEXT, COMPLETED];
    let stderr_alone = Terminals {
        stdout: false,
        ..BOTH
    };
    let page = shown(stderr_alone, &data);
    let reasoning = "\x1b[2mhm\u{FFFD}\x1b[0m\n";
    let call = "\x1b[2m-- tool call: f({ }) --\x1b[0m\n";
    let tokens = "\x1b[2m-- tokens: 3 in, 2 out --\x1b[0m\n";
    let expected = format!("{reasoning}{call}{reasoning}{tokens}");
    assert_eq!(page.on(Target::Stderr), expected);
    assert_eq!(page.on(Target::Stdout), "oneoneone\n");

    let page = shown(BOTH, &data);
    let expected = format!("{reasoning}{call}{reasoning}{tokens}");
    assert_eq!(page.on(Target::Stderr), expected);
    assert_eq!(page.on(Target::Stdout), "one\none\none\n");
}

#[test]
fn what_is_said_beside_a_pipe_begins_a_line() {
    let pipe = Terminals {
        stdout: false,
        has_reader: true,
        ..BOTH
    };
    let tokens = "\x1b[2m-- tokens: 3 in, 2 out --\x1b[0m\n";
    let page = shown(pipe, &[TEXT, COMPLETED]);
    assert_eq!(page.on(Target::Stderr), format!("\n{tokens}"));
    let page = shown(pipe, &[COMPLETED]);
    assert_eq!(page.on(Target::Stderr), tokens);
    let page = shown(
        pipe,
        &[TEXT, r#"{"type":"response.completed","response":{}}"#],
    );
    assert_eq!(page.on(Target::Stderr), "");
}

#[test]
fn the_end_leaves_the_cursor_at_the_start_of_a_line() {
    let without_usage = r#"{"type":"response.completed","response":{}}"#;
    for data in [
        [TEXT, REASONING, without_usage],
        [REASONING, CALL, without_usage],
    ] {
        let mut view = TextView::new(BOTH, Secrets::default(), None);
        for event in events(&data) {
            view.render(&event, &mut Page::default());
        }
        assert_eq!(view.cursor, Cursor::LineStart, "{data:?}");
    }
    let mut view = TextView::new(BOTH, Secrets::default(), None);
    let mut page = Page::default();
    view.render(&events(&[REASONING])[0], &mut page);
    view.render(&ResponseEvent::Cancelled, &mut page);
    assert!(page.on(Target::Stderr).ends_with("\x1b[0m\n"), "{page:?}");
}

#[test]
fn a_key_that_the_server_repeats_is_hidden() {
    let failed = r#"{"type":"error","message":"wrong key sk-secret","code":"server_error"}"#;
    let page = shown(Terminals::default(), &[TEXT, failed]);
    let complaint = page.on(Target::Stderr);
    assert!(complaint.contains("wrong key [redacted]"), "{complaint}");
    assert_eq!(page.on(Target::Stdout), "one\n");
}

#[test]
fn a_long_call_is_cut() {
    let arguments = "é".repeat(1_000);
    let call =
        json!({"type": "function_call", "name": "f", "arguments": arguments, "call_id": "c"});
    let item = OutputItem::new(None, RawJson::from(call));
    let line = call_line(item.item()).unwrap();
    assert_eq!(
        line.chars().count(),
        "tool call: ".len() + MAX_CALL_CHARS + 1
    );
}

/// A delta of a message's text.
fn piece(index: Option<u32>, id: &str, text: &str) -> String {
    json!({"type": "response.output_text.delta", "item_id": id, "output_index": index, "delta": text})
        .to_string()
}

/// A message that begins (`added`) or ends (`done`).
fn message(event: &str, index: Option<u32>, id: &str, text: &str) -> String {
    json!({"type": format!("response.output_item.{event}"), "output_index": index, "item": {"type": "message",
        "id": id, "role": "assistant", "content": [{"type": "output_text", "text": text}]}})
    .to_string()
}

#[test]
fn lines_are_those_of_messages_whatever_their_ids() {
    for (of, data, text) in [
        (
            "another id in each event",
            vec![
                message("added", Some(0), "a", ""),
                piece(Some(0), "b", "one"),
                piece(Some(0), "c", "two"),
                message("done", Some(0), "d", "onetwo"),
                message("added", Some(1), "e", ""),
                piece(Some(1), "f", "three"),
            ],
            "onetwo\nthree\n",
        ),
        (
            "another id in each event, no places",
            vec![
                message("added", None, "a", ""),
                piece(None, "b", "one"),
                piece(None, "c", "two"),
                message("done", None, "d", "onetwo"),
                message("added", None, "e", ""),
                piece(None, "f", "three"),
                message("done", None, "g", "three"),
            ],
            "onetwo\nthree\n",
        ),
        (
            "the same, never announced",
            vec![
                piece(None, "b", "one"),
                piece(None, "c", "two"),
                message("done", None, "d", "onetwo"),
                piece(None, "e", "three"),
            ],
            "onetwo\nthree\n",
        ),
        (
            "one place for all messages",
            vec![
                message("added", Some(0), "a", ""),
                piece(Some(0), "a", "one"),
                message("done", Some(0), "a", "one"),
                message("added", Some(0), "b", ""),
                piece(Some(0), "b", "two"),
                message("done", Some(0), "b", "two"),
            ],
            "one\ntwo\n",
        ),
        (
            "more after it was done",
            vec![
                piece(Some(0), "a", "one"),
                message("done", Some(0), "a", "one"),
                piece(Some(0), "b", "two"),
                message("done", Some(0), "c", "onetwo"),
            ],
            "onetwo\n",
        ),
        (
            "whole messages without places",
            vec![
                message("done", None, "a", "one"),
                message("done", None, "b", "two"),
            ],
            "one\ntwo\n",
        ),
        (
            "two by turns",
            vec![
                piece(Some(0), "a", "one"),
                piece(Some(1), "b", "two"),
                piece(Some(0), "a", "three"),
                message("done", Some(1), "b", "two"),
                message("done", Some(0), "a", "onethree"),
            ],
            "one\ntwo\nthree\n",
        ),
    ] {
        let data: Vec<_> = data.iter().map(String::as_str).chain([COMPLETED]).collect();
        let page = shown(Terminals::default(), &data);
        assert_eq!(page.on(Target::Stdout), text, "{of}");
        assert_eq!(page.on(Target::Stderr), "", "{of}");
    }
}

#[test]
fn what_is_missing_of_a_message_is_printed_or_complained_of() {
    let refused = json!({"type": "response.output_item.done", "output_index": 0, "item": {"type": "message", "id": "a",
        "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}})
    .to_string();
    for (data, text, has_hole) in [
        (
            vec![
                piece(Some(0), "a", "one"),
                message("done", Some(0), "a", "onetwo"),
            ],
            "onetwo\n",
            false,
        ),
        (
            vec![
                piece(Some(0), "a", "one"),
                piece(Some(0), "a", "three"),
                message("done", Some(0), "a", "onetwothree"),
            ],
            "onethree\n",
            true,
        ),
        (
            vec![
                piece(Some(0), "a", "two"),
                message("done", Some(0), "a", "onetwo"),
            ],
            "two\n",
            true,
        ),
        (
            vec![
                piece(Some(0), "a", "one \n"),
                message("done", Some(0), "a", "one"),
            ],
            "one \n",
            false,
        ),
        (
            vec![
                piece(Some(0), "a", "one"),
                message("done", Some(0), "a", ""),
            ],
            "one\n",
            false,
        ),
        (vec![refused.clone()], "no\n", false),
        (
            vec![piece(Some(0), "a", "one, "), refused],
            "one, no\n",
            false,
        ),
    ] {
        let data: Vec<_> = data.iter().map(String::as_str).chain([COMPLETED]).collect();
        let page = shown(Terminals::default(), &data);
        assert_eq!(page.on(Target::Stdout), text, "{data:?}");
        let hole = "actix-responses: a part of the answer was lost on its way: the text above has a hole\n";
        let complaint = if has_hole { hole } else { "" };
        assert_eq!(page.on(Target::Stderr), complaint, "{data:?}");
    }
}

/// What is said of an end.
fn said_of(end: ResponseEvent) -> String {
    let mut page = Page::default();
    TextView::new(Terminals::default(), Secrets::default(), None).render(&end, &mut page);
    page.on(Target::Stderr)
}

#[test]
fn an_incomplete_answer_says_why_in_the_servers_words_too() {
    for (reason, finish_reason, native, said) in [
        (
            "max_output_tokens",
            None,
            None,
            "stopped early: max_output_tokens. To try: raise --max-output-tokens.\n",
        ),
        (
            "max_output_tokens",
            Some("length"),
            Some("MAX_TOKENS"),
            "max_output_tokens (server says: length, MAX_TOKENS). To try: raise",
        ),
        (
            "content_filter",
            Some("content_filter"),
            Some("SAFETY"),
            "stopped early: content_filter (server says: SAFETY).\n",
        ),
        (
            "content_filter",
            Some("SAFETY"),
            Some("SAFETY"),
            "content_filter (server says: SAFETY).\n",
        ),
        (
            "napping",
            Some("napping"),
            Some(""),
            "stopped early: napping.\n",
        ),
        (
            "no_finish_reason",
            None,
            None,
            "the answer is incomplete: the server never said how it ended, so",
        ),
    ] {
        let mut incomplete = Incomplete::default();
        incomplete.reason = reason.into();
        incomplete.finish_reason = finish_reason.map(Into::into);
        incomplete.native_finish_reason = native.map(Into::into);
        let complaint = said_of(ResponseEvent::Incomplete(incomplete.into()));
        assert!(complaint.contains(said), "{complaint}");
    }
}

#[test]
fn what_was_odd_is_said_in_words() {
    let mut completed = Completed::default();
    completed.anomalies.no_finish_reason = true;
    let complaint = said_of(ResponseEvent::Completed(completed.clone().into()));
    let never = "actix-responses: the server never said how the answer ended";
    assert!(complaint.starts_with(never), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    completed.anomalies.sequence_gaps = 1;
    let complaint = said_of(ResponseEvent::Completed(completed.into()));
    assert!(
        complaint.contains("odd: 0 malformed, 1 sequence gaps"),
        "{complaint}"
    );
    assert!(
        complaint.contains("\nactix-responses: the server never said"),
        "{complaint}"
    );
}

#[test]
fn a_failed_answer_says_the_servers_words_and_what_it_cost() {
    let failed = r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"Upstream gave up."},
        "usage":{"input_tokens":7,"cache_write_tokens":5,"cached_tokens":1,"output_tokens":2}}}"#
        .replace('\n', "");
    let complaint = shown(BOTH, &[&failed]).on(Target::Stderr);
    for words in [
        "Upstream gave up.",
        "tokens: 7 in (1 cached, 5 written to the cache), 2 out --",
    ] {
        assert!(complaint.contains(words), "{complaint}");
    }
}

#[test]
fn of_the_words_for_an_end_only_new_ones_are_told() {
    let words = [Some("error".into()), Some("MALFORMED".into())];
    let told = |known: &str| own_words([&words[0], &words[1]], |word| known.contains(word));
    assert_eq!(told("").as_deref(), Some("error, MALFORMED"));
    assert_eq!(told("an error").as_deref(), Some("MALFORMED"));
    assert_eq!(told("error: MALFORMED"), None);
    assert_eq!(own_words([&None, &None], |_| false), None);
}
