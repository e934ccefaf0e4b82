//! What a person sees: the program in a terminal.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use actix_responses::loopback::{Loopback, Reply};
use serde_json::{Value, json};

use crate::support::{Terminal, always, asking, completed, program, sse, text_delta};

fn reasoning(text: &str) -> Value {
    json!({"type": "response.reasoning_text.delta", "item_id": "r", "output_index": 0, "content_index": 0, "delta": text})
}

fn call(arguments: &str) -> Value {
    json!({"type": "response.output_item.done", "output_index": 3,
        "item": {"type": "function_call", "name": "f", "arguments": arguments, "call_id": "c"}})
}

/// The program, as it asks in a terminal that has colours.
fn asking_in_terminal(provider: &Loopback) -> Command {
    let mut command = program(&asking(&provider.base_url(), &[]));
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
    command
}

/// What is written in a terminal of a width, and what it shows at the end.
fn shown(columns: u16, events: &[Value], environment: &[(&str, &str)]) -> (String, Vec<String>) {
    let provider = always(Reply::sse(sse(&[events, &[completed()]].concat())));
    let mut command = asking_in_terminal(&provider);
    command.envs(environment.iter().copied());
    let (status, written, rows) = Terminal::new(columns).start(&mut command).finish();
    assert!(status.success(), "{rows:?}");
    (written, rows)
}

/// The same without the line that says what it cost.
fn answer(columns: u16, events: &[Value]) -> Vec<String> {
    let (_, mut rows) = shown(columns, events, &[]);
    let tokens = rows.pop();
    assert_eq!(tokens.as_deref(), Some("-- tokens: 1 in, 2 out --"));
    rows
}

/// Somebody else writes to the same terminal what the program gives them, and nothing of it is erased.
#[test]
fn an_answer_in_a_pipe_at_a_terminal_stays_there() {
    let events = ["one ", "two ", "three"].map(text_delta);
    // Longer than a status line stays as it is.
    let pace = Duration::from_millis(400);
    let stream = sse(&[&events[..], &[completed()]].concat());
    for (more, expected) in [("", "one two three"), ("--json", "\"delta\":\"three\"")] {
        let provider = always(Reply::sse(stream.clone()).with_pace(pace));
        let asking = asking_in_terminal(&provider);
        let mut shell = Command::new("sh");
        shell.args(["-c", "\"$@\" | cat", "sh"]);
        shell.arg(asking.get_program()).args(asking.get_args());
        shell.args((!more.is_empty()).then_some(more));
        for (name, value) in asking.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let (_, written, rows) = Terminal::new(200)
            .start(shell.stdin(Stdio::null()))
            .finish();
        assert!(rows.iter().any(|row| row.contains(expected)), "{rows:#?}");
        // What was waited for was told before, and not after.
        let (before, after) = written.split_once("one ").expect("the text");
        assert!(before.contains("waiting for the answer"), "{written:?}");
        assert!(!after.contains("\x1b[K"), "{written:?}");
    }
}

#[test]
fn a_status_line_is_drawn_between_lines_and_leaves_nothing() {
    let events = ["one\n", "two\n"].map(text_delta);
    let stream = sse(&[&events[..], &[completed()]].concat());
    let provider = always(Reply::sse(stream).with_pace(Duration::from_millis(400)));
    let mut command = asking_in_terminal(&provider);
    let (_, written, rows) = Terminal::new(80).start(&mut command).finish();
    assert_eq!(rows, ["one", "two", "-- tokens: 1 in, 2 out --"]);
    for said in ["waiting for the answer", "answering"] {
        assert!(written.contains(said), "{written:?}");
    }
}

#[test]
fn lines_are_wrapped_between_words_at_the_width_of_the_terminal() {
    let text = [
        "It is not ",
        "broken in",
        " the mid",
        "dle of words: the",
        " line ends\n- before",
        " one of them",
    ];
    let events = text.map(text_delta);
    assert_eq!(
        answer(26, &events),
        [
            "It is not broken in the",
            "middle of words: the line",
            "ends",
            "- before one of them"
        ]
    );
    assert_eq!(
        answer(80, &events),
        [
            "It is not broken in the middle of words: the line ends",
            "- before one of them"
        ]
    );
    // What is copied from there is one line: the terminal broke it.
    let code = [
        "```sh\n",
        "curl --head --silent http://localhost:8000\n",
        "```",
    ]
    .map(text_delta);
    assert_eq!(
        answer(26, &code),
        [
            "```sh",
            "curl --head --silent http:",
            "//localhost:8000",
            "```"
        ]
    );
}

#[test]
fn reasoning_and_complaints_are_wrapped_too() {
    let thought = reasoning("A longer thought than a line has room for.");
    let failed = json!({"type": "error", "code": "server_error", "message": "words of the server"});
    let provider = always(Reply::sse(sse(&[thought, failed])));
    let mut command = asking_in_terminal(&provider);
    let (status, _, rows) = Terminal::new(30).start(&mut command).finish();
    assert_eq!(status.code(), Some(1));
    assert_eq!(rows[..2], ["A longer thought than a line", "has room for."]);
    assert_eq!(
        rows[2..4],
        [
            "actix-responses: server_error:",
            "words of the server (phase"
        ]
    );
}

/// A word that is not whole is not kept from a person who waits.
#[test]
fn a_word_that_stalls_is_shown() {
    let stream = sse(&[text_delta("one tw"), completed()]);
    let provider = always(Reply::sse(stream).stall_after_events(1));
    let mut running = Terminal::new(80).start(&mut asking_in_terminal(&provider));
    running.until(|rows| rows.last().is_some_and(|row| row == "one tw"));
}

#[test]
fn what_would_change_the_terminal_is_shown_in_its_place() {
    let events = [
        text_delta("one\r"),
        text_delta("\ntwo\rthree \u{202e}abc\u{2066}\x1b[2J\r\n"),
        call("{\"a\":\"\u{202d}x\u{2069}\x1b]0;t\x07\"}"),
    ];
    let rows = answer(80, &events);
    let place = char::REPLACEMENT_CHARACTER;
    assert_eq!(rows[0], "one");
    assert_eq!(
        rows[1],
        format!("two{place}three {place}abc{place}{place}[2J")
    );
    assert_eq!(
        rows[2],
        format!("-- tool call: f({{\"a\":\"{place}x{place}{place}]0;t{place}\"}}) --")
    );
}

#[test]
fn a_pipe_gets_the_answer_byte_for_byte() {
    let text = "one\r\ntwo\u{202e}\x1b[2J ".to_owned() + &"word ".repeat(100);
    let provider = always(Reply::sse(sse(&[text_delta(&text), completed()])));
    let ran = crate::support::ask(&provider, &[]);
    assert_eq!(ran.stdout, text + "\n");
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_person_may_want_no_colours_and_a_terminal_may_know_none() {
    let thoughts = [reasoning("hm"), reasoning(", well")];
    let events = [
        &thoughts[..],
        &[
            text_delta("one"),
            reasoning("more"),
            call("{}"),
            text_delta("two"),
        ],
    ]
    .concat();
    let rows = [
        "hm, well",
        "",
        "one",
        "",
        "more",
        "-- tool call: f({}) --",
        "two",
        "-- tokens: 1 in, 2 out --",
    ];
    for (environment, has_colours, is_erased) in [
        (&[][..], true, true),
        (&[("NO_COLOR", "")], true, true),
        (&[("NO_COLOR", "1")], false, true),
        (&[("TERM", "dumb")], false, false),
    ] {
        let (written, seen) = shown(80, &events, environment);
        // Where both look alike, an empty line stands between what was thought and what is said.
        let expected = rows.iter().filter(|row| !has_colours || !row.is_empty());
        assert!(seen.iter().eq(expected), "{environment:?}: {seen:#?}");
        assert_eq!(written.contains("\x1b[2m"), has_colours, "{written:?}");
        assert_eq!(written.contains("\x1b[K"), is_erased, "{written:?}");
        assert!(is_erased || !written.contains('\x1b'), "{written:?}");
    }
}

#[test]
fn a_person_types_the_prompt_only_when_asked_to() {
    let provider = always(Reply::sse(sse(&[text_delta("one"), completed()])));
    for is_typed in [false, true] {
        let base_url = provider.base_url();
        let prompt = if is_typed { "-" } else { "hello" };
        let mut command = program(&["ask", "--base-url", &base_url, prompt]);
        let terminal = Terminal::new(80);
        let mut running = terminal.start_at_keyboard(&mut command);
        if is_typed {
            running.type_in("typed\n\x04");
        }
        let (status, _, rows) = running.finish();
        assert!(status.success(), "{rows:?}");
        assert!(rows.contains(&"one".to_owned()), "{rows:?}");
    }
    let asked = |request: usize| {
        provider.requests()[request].json().expect("JSON")["input"][0]["content"][0]["text"].clone()
    };
    assert_eq!((asked(0), asked(1)), (json!("hello"), json!("typed")));
}
