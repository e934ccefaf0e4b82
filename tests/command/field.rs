//! What servers really send, over a socket: how often they are asked, what is printed, and how it ends.

use actix_responses::loopback::Reply;
use serde_json::{Value, json};

use crate::support::{Ran, always, ask, sse};

fn chat(delta: Value, finish_reason: Option<&str>) -> Value {
    json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})
}

fn text(text: &str) -> Value {
    chat(json!({"content": text}), None)
}

fn usage() -> Value {
    json!({"id": "c", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.5}})
}

const DONE: &str = "data: [DONE]\n\n";

fn completion() -> Value {
    json!({"id": "c", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": "The answer."}}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
}

fn response() -> Value {
    json!({"id": "r", "object": "response", "status": "completed", "model": "m", "output": [
        {"id": "m", "type": "message", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "The answer.", "annotations": []}]}],
        "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}})
}

/// A body under no content type at all.
fn untyped(body: &str) -> Reply {
    let length = body.len();
    Reply::sse("").garbage(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    ))
}

/// Asks on a wire, and checks that one request was made.
fn once(wire: &str, reply: Reply, more: &[&str]) -> Ran {
    let provider = always(reply);
    let ran = ask(&provider, &[&["--wire", wire][..], more].concat());
    assert_eq!(provider.request_count(), 1, "{ran:?}");
    ran
}

#[test]
fn an_answer_as_json_is_an_answer_and_is_asked_for_once() {
    for (wire, answer) in [("chat", completion()), ("responses", response())] {
        let line = answer.to_string();
        let pretty = serde_json::to_string_pretty(&answer).unwrap();
        for reply in [
            Reply::json(answer.clone()),
            Reply::text(line.clone()),
            Reply::text(pretty.clone()),
            Reply::sse(line.clone()),
            Reply::sse(format!("{pretty}\n\n{DONE}")),
            Reply::sse(format!("data: {line}\n\n")),
            untyped(&line),
        ] {
            let ran = once(wire, reply.clone(), &[]);
            assert_eq!(
                (ran.stdout.as_str(), ran.status),
                ("The answer.\n", Some(0)),
                "{wire} {reply:?}: {ran:?}"
            );
            let end = once(wire, reply, &["--json"]).end();
            assert_eq!(end["type"], "completed");
            assert_eq!(end["token_usage"]["total_tokens"], 3);
        }
    }
}

#[test]
fn an_error_is_told_in_the_servers_words_wherever_it_stands() {
    let words = "model failed to load: out of memory";
    let error = json!({"error": {"message": words, "type": "invalid_request_error"}});
    let pretty = serde_json::to_string_pretty(&error).unwrap();
    for wire in ["chat", "responses"] {
        for reply in [
            Reply::json(error.clone()),
            Reply::text(error.to_string()),
            Reply::sse(error.to_string()),
            Reply::sse(format!("{pretty}\n\n{DONE}")),
            Reply::sse(format!("data: {error}\n\n")),
            Reply::sse(format!("error: {error}\n\n{DONE}")),
            Reply::sse(format!("event: error\ndata: {error}\n\n")),
            untyped(&error.to_string()),
        ] {
            let ran = once(wire, reply.clone(), &[]);
            assert_eq!((ran.stdout.as_str(), ran.status), ("", Some(1)), "{ran:?}");
            assert!(ran.stderr.contains(words), "{wire} {reply:?}: {ran:?}");
        }
    }
}

#[test]
fn the_rest_of_an_answer_behind_its_finish_reason_is_waited_for() {
    // Slower than the wait that there was once.
    let pace = std::time::Duration::from_millis(300);
    let stopped = |text: &str| chat(json!({"content": text}), Some("stop"));
    let stream = sse(&[stopped("one "), stopped("two "), stopped("three"), usage()]);
    let ran = once("chat", Reply::sse(stream.clone()).with_pace(pace), &[]);
    assert_eq!(
        (ran.stdout.as_str(), ran.status),
        ("one two three\n", Some(0)),
        "{ran:?}"
    );
    let reply = Reply::sse(stream).with_pace(pace).hold_open();
    let end = once("chat", reply, &["--json"]).end();
    assert_eq!(end["usage"]["cost"], 0.5);
    assert_eq!(
        (end["finish_reason"].as_str(), end["type"].as_str()),
        (Some("stop"), Some("completed"))
    );
    // Nothing more comes, and the connection stays open.
    let silent = sse(&[text("one"), chat(json!({}), Some("stop"))]);
    let ran = once(
        "chat",
        Reply::sse(silent).hold_open(),
        &["--trailer-timeout=50ms"],
    );
    assert_eq!(
        (ran.stdout.as_str(), ran.status),
        ("one\n", Some(0)),
        "{ran:?}"
    );
}

#[test]
fn what_is_no_success_says_what_it_is() {
    let broken = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"con\n\n";
    let end = |reason: &str| sse(&[text("half"), chat(json!({}), Some(reason))]) + DONE;
    for (body, words) in [
        (end("network_error"), "network_error"),
        (end("MAX_TOKENS"), "max_output_tokens"),
        (end("SAFETY"), "content_filter (server says: SAFETY)"),
        (end("odd_word"), "odd_word"),
        (sse(&[text("half")]) + DONE, "never said how it ended"),
        (
            sse(&[text("half")])
                + broken
                + &sse(&[text("rest"), chat(json!({}), Some("stop"))])
                + DONE,
            "could not be read",
        ),
        (
            sse(&[text("half")]) + "upstream timed out\n\n" + DONE,
            "upstream timed out",
        ),
    ] {
        let ran = once("chat", Reply::sse(body.clone()), &[]);
        assert_eq!(ran.status, Some(1), "{body}: {ran:?}");
        assert!(ran.stdout.starts_with("half"), "{ran:?}");
        assert!(ran.stderr.contains(words), "{body}: {ran:?}");
    }
}

/// A piece that is not JSON was lost: what it held may be the difference between `/tmp` and `/tmp/old`.
#[test]
fn a_piece_that_could_not_be_read_is_made_good_or_told_and_never_passed_over() {
    let broken = "data: {\"id\": \"c\", \"choices\": [{\"index\": 0, \"delta\": {\"con\n\n";
    let arguments = |arguments: &str| {
        json!({"tool_calls": [{"index": 0, "id": "t", "type": "function",
            "function": {"name": "rm", "arguments": arguments}}]})
    };
    let call = sse(&[chat(arguments("{\"path\":\"/tmp"), None)])
        + broken
        + &sse(&[
            chat(arguments("\"}"), None),
            chat(json!({}), Some("tool_calls")),
        ])
        + DONE;
    let words = sse(&[text("one ")])
        + broken
        + &sse(&[text("three"), chat(json!({}), Some("stop"))])
        + DONE;
    for body in [call, words] {
        let ran = once("chat", Reply::sse(body.clone()), &[]);
        assert_eq!(ran.status, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("could not be read"), "{ran:?}");
        let end = once("chat", Reply::sse(body), &["--json"]).end();
        assert_eq!(end["type"], "failed", "{end}");
    }

    let delta = |text: &str| json!({"type": "response.output_text.delta", "output_index": 0, "item_id": "m", "delta": text});
    let of_call = |text: &str| json!({"type": "response.function_call_arguments.delta", "output_index": 0, "item_id": "f", "delta": text});
    let message = json!({"id": "m", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "one two three"}]});
    let call = json!({"id": "f", "type": "function_call", "name": "rm", "call_id": "t", "arguments": "{\"path\":\"/tmp/old\"}"});
    let added = |item: &Value| json!({"type": "response.output_item.added", "output_index": 0, "item": item});
    let done = |item: &Value| json!({"type": "response.output_item.done", "output_index": 0, "item": item});
    let completed = |item: &Value| json!({"type": "response.completed", "response": {"id": "r", "output": [item]}});
    let mut open_call = call.clone();
    open_call["arguments"] = "".into();
    for (before, after, item, stdout) in [
        // The rest of a text is printed; what is missing before it is told.
        (vec![delta("one ")], vec![], &message, "one two three\n"),
        (
            vec![delta("one ")],
            vec![delta("three")],
            &message,
            "one three\n",
        ),
        (
            vec![added(&open_call), of_call("{\"path\":\"/tmp")],
            vec![of_call("\"}")],
            &call,
            "",
        ),
    ] {
        for whole in [vec![done(item), completed(item)], vec![completed(item)]] {
            let body = sse(&before) + broken + &sse(&after) + &sse(&whole);
            let ran = once("responses", Reply::sse(body.clone()), &[]);
            assert_eq!(
                (ran.stdout.as_str(), ran.status),
                (stdout, Some(0)),
                "{body}"
            );
            let has_hole = stdout == "one three\n";
            assert_eq!(
                ran.stderr.contains("the text above has a hole"),
                has_hole,
                "{ran:?}"
            );
            assert!(ran.stderr.contains("1 malformed"), "{ran:?}");
            let ran = once("responses", Reply::sse(body), &["--json"]);
            let is_whole = |event: &Value| {
                event["type"] == "output_item_done"
                    && ["arguments", "content"]
                        .iter()
                        .all(|name| event["item"].get(name) == item.get(name))
            };
            assert!(ran.events().iter().any(is_whole), "{ran:?}");
        }
        // Nothing that holds the whole comes after it.
        let body = sse(&before) + broken + &sse(&after);
        let end = json!({"type": "response.completed", "response": {"id": "r"}});
        let ran = once("responses", Reply::sse(body + &sse(&[end])), &[]);
        assert_eq!(ran.status, Some(1), "{ran:?}");
    }
}

#[test]
fn what_is_no_output_does_not_keep_a_request_from_being_tried_again() {
    let reasoning = json!({"type": "response.output_item.added", "output_index": 0,
        "item": {"id": "rs", "type": "reasoning", "summary": [], "content": []}});
    let created =
        json!({"type": "response.created", "response": {"id": "r", "status": "in_progress"}});
    let delta = json!({"type": "response.output_text.delta", "output_index": 1, "item_id": "m", "delta": "x"});
    for (event, requests) in [
        (json!({"type": "ping"}), 2),
        (json!({"type": "keepalive"}), 2),
        (json!({"type": "response.keep_alive"}), 2),
        (json!({"type": "codex.something"}), 2),
        (json!({}), 2),
        (json!({"type": "response.brand_new"}), 2),
        (reasoning, 2),
        (delta, 1),
    ] {
        let provider = always(Reply::sse(sse(&[created.clone(), event.clone()])));
        let ran = ask(&provider, &["--max-attempts=2"]);
        assert_eq!(ran.status, Some(1), "{ran:?}");
        assert_eq!(provider.request_count(), requests, "{event}: {ran:?}");
    }
}
