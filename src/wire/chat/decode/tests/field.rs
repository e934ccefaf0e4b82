//! What servers and gateways really send: bodies, decoded whole, in pieces of 7 bytes and of one.

use proptest::prelude::*;

use super::*;
use crate::wire::{StreamDecoder, Wire};

mod calls;
mod frames;

/// What a body amounts to for who reads typed events.
#[derive(Debug, Default, PartialEq)]
struct Read {
    text: String,
    reasoning: String,
    /// Call id, name, arguments and status of each call that is done.
    calls: Vec<[String; 4]>,
    /// The arguments as their deltas add up, by item.
    streamed: std::collections::BTreeMap<u32, String>,
    items: Vec<Value>,
    others: Vec<String>,
    models: Vec<String>,
    end: Option<ResponseEvent>,
}

impl Read {
    fn end(&self) -> String {
        match self.end.as_ref().expect("an end") {
            ResponseEvent::Completed(end) if end.anomalies.no_finish_reason => {
                "completed without a reason".to_owned()
            }
            ResponseEvent::Completed(_) => "completed".to_owned(),
            ResponseEvent::Incomplete(end) => format!("incomplete {}", end.reason),
            ResponseEvent::Failed(error) => format!("failed {}", error.kind()),
            other => panic!("{other:?}"),
        }
    }

    fn message(&self) -> &str {
        match &self.end {
            Some(ResponseEvent::Failed(error)) => error.message(),
            other => panic!("{other:?}"),
        }
    }

    fn names_and_arguments(&self) -> Vec<(&str, &str)> {
        let calls = self.calls.iter();
        calls
            .map(|[_, name, arguments, _]| (&**name, &**arguments))
            .collect()
    }
}

fn read_in(body: &[u8], chunk_bytes: usize, quirks: &ChatQuirks) -> Read {
    let mut decoder =
        StreamDecoder::new(Wire::Chat, StreamLimits::default()).with_chat_quirks(quirks);
    let mut events = Vec::new();
    let mut feed = |chunk| decoder.feed(chunk, &mut events);
    let terminal = body.chunks(chunk_bytes).find_map(&mut feed);
    let terminal = terminal.or_else(|| decoder.end_of_stream(&mut events));
    let mut read = Read {
        end: terminal.map(Into::into),
        ..Read::default()
    };
    for event in events {
        match event {
            ResponseEvent::OutputTextDelta(text) => read.text += &text.delta,
            ResponseEvent::ReasoningContentDelta(text) => read.reasoning += &text.delta,
            ResponseEvent::ToolCallInputDelta(input) => {
                *read
                    .streamed
                    .entry(input.output_index.unwrap())
                    .or_default() += &input.delta;
            }
            ResponseEvent::OutputItemDone(done) => {
                let item = done.raw().to_value();
                if item["type"]
                    .as_str()
                    .is_some_and(|kind| kind.ends_with("call"))
                {
                    let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
                    let call = ["call_id", "name", "arguments", "status"].map(text);
                    let streamed = read.streamed.get(&done.output_index().unwrap());
                    assert_eq!(
                        streamed.map_or("", String::as_str),
                        call[2],
                        "deltas and item"
                    );
                    read.calls.push(call);
                }
                read.items.push(item);
            }
            ResponseEvent::Other(other) => read.others.push(other.raw.get().to_owned()),
            ResponseEvent::ServerModel(model) => read.models.push(model.to_string()),
            _ => {}
        }
    }
    read
}

fn read(body: &str) -> Read {
    read_with(body, &ChatQuirks::default())
}

fn read_with(body: &str, quirks: &ChatQuirks) -> Read {
    let whole = read_in(body.as_bytes(), body.len().max(1), quirks);
    for chunk_bytes in [7, 1] {
        let read = read_in(body.as_bytes(), chunk_bytes, quirks);
        assert_eq!(read, whole, "by {chunk_bytes}: {body}");
    }
    whole
}

fn framed<T: AsRef<str>>(events: &[T]) -> String {
    let events = events.iter();
    events
        .map(|data| format!("data: {}\n\n", data.as_ref()))
        .collect()
}

fn text(text: &str) -> String {
    delta(json!({"content": text}))
}

fn call(piece: Value) -> String {
    delta(json!({"tool_calls": [piece]}))
}

fn usage() -> String {
    json!({"id": "c", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
        .to_string()
}

const DONE: &str = "[DONE]";

#[test]
fn an_unknown_or_bad_reason_is_no_success_and_stands_in_the_end() {
    let body = |reason: &str, native: &str| {
        let end = json!({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": reason, "native_finish_reason": native}]});
        framed(&[text("a"), end.to_string(), DONE.to_owned()])
    };
    for (reason, native, end) in [
        ("sensitive", "", "incomplete content_filter"),
        ("MAX_TOKENS", "", "incomplete max_output_tokens"),
        ("brand_new", "", "incomplete brand_new"),
        ("network_error", "", "failed server_error"),
        ("stop", "RECITATION", "incomplete content_filter"),
        ("tool_calls", "STOP", "completed"),
    ] {
        let read = read(&body(reason, native));
        assert_eq!(read.end(), end, "{reason}");
        let words = match read.end.unwrap() {
            ResponseEvent::Completed(end) => {
                (end.finish_reason.clone(), end.native_finish_reason.clone())
            }
            ResponseEvent::Incomplete(end) => {
                (end.finish_reason.clone(), end.native_finish_reason.clone())
            }
            ResponseEvent::Failed(error) => {
                let details = error.details();
                (
                    details.finish_reason.clone(),
                    details.native_finish_reason.clone(),
                )
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(words.0.as_deref(), Some(reason));
        assert_eq!(
            words.1.as_deref(),
            Some(native).filter(|word| !word.is_empty())
        );
    }
}

#[test]
fn what_comes_behind_a_finish_reason_belongs_to_the_answer() {
    let stopped = |text: &str| choice(0, json!({"content": text}), Some("stop"));
    let call = |index: u32| {
        choice(
            0,
            json!({"tool_calls": [{"index": index, "id": format!("call_{index}"), "function": {"name": "f", "arguments": "{\"n\":1}"}}]}),
            Some("tool_calls"),
        )
    };
    // `stop` in every chunk.
    let every = read(&framed(&[
        stopped("a"),
        stopped("b"),
        stopped("c"),
        usage(),
        DONE.to_owned(),
    ]));
    assert_eq!((every.text.as_str(), every.items.len()), ("abc", 1));
    assert_eq!(every.end(), "completed");
    // A reason behind each call.
    let calls = read(&framed(&[call(0), call(1), call(2)]));
    assert_eq!(calls.calls.len(), 3);
    assert_eq!(calls.end(), "completed");
    // The worst of several counts, whichever comes first.
    for reasons in [["stop", "length"], ["length", "stop"]] {
        let read = read(&framed(&[
            text("a"),
            end(reasons[0]),
            end(reasons[1]),
            DONE.to_owned(),
        ]));
        assert_eq!(read.end(), "incomplete max_output_tokens", "{reasons:?}");
    }
    // An error behind an end that was none.
    let failed = read(&framed(&[
        stopped("a"),
        r#"{"error":{"message":"boom"}}"#.to_owned(),
    ]));
    assert_eq!(
        (failed.end().as_str(), failed.message()),
        ("failed server_error", "boom")
    );
}

#[test]
fn usage_behind_the_end_ends_the_stream_at_once() {
    let mut decoder = StreamDecoder::new(Wire::Chat, StreamLimits::default());
    let mut out = Vec::new();
    let body = framed(&[text("a"), end("stop")]);
    assert_eq!(decoder.feed(body.as_bytes(), &mut out), None);
    assert!(decoder.is_finishing());
    let went_on = decoder.went_on();
    assert_eq!(decoder.feed(b": ping\n\ndata: {}\n\n", &mut out), None);
    assert_eq!(decoder.went_on(), went_on);
    assert_eq!(
        decoder.feed(framed(&[text("b")]).as_bytes(), &mut out),
        None
    );
    assert!(decoder.went_on() > went_on);
    let terminal = decoder.feed(framed(&[usage()]).as_bytes(), &mut out);
    assert!(matches!(terminal, Some(Terminal::Completed(_))));
    // Usage in every chunk of an answer that names its end in every chunk ends nothing.
    let chunk = |text: &str| {
        json!({"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}})
            .to_string()
    };
    let read = read(&framed(&[chunk(""), chunk("a"), chunk(""), chunk("b")]));
    assert_eq!(
        (read.text.as_str(), read.end().as_str()),
        ("ab", "completed")
    );
}

#[test]
fn an_end_without_a_reason_says_what_is_known() {
    let whole = || {
        call(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{\"n\":1}"}}))
    };
    let open =
        || call(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{\"n\":"}}));
    let bare = || call(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}));
    let done = || DONE.to_owned();
    let broken = || r#"{"id":"c","choices":[{"index":0,"delta":{"content":"lo"#.to_owned();
    for (events, expected) in [
        (vec![done()], "failed truncated"),
        (vec![usage(), done()], "failed truncated"),
        (
            vec![delta(json!({"role": "assistant"})), done()],
            "failed truncated",
        ),
        (vec![text("a"), done()], "incomplete no_finish_reason"),
        (vec![whole(), done()], "incomplete no_finish_reason"),
        (vec![text("a"), open(), done()], "failed truncated"),
        (vec![text("a"), bare(), done()], "failed truncated"),
        (vec![text("a"), open(), usage(), done()], "failed truncated"),
        (
            vec![text("a"), usage(), done()],
            "completed without a reason",
        ),
        (vec![whole(), usage(), done()], "completed without a reason"),
        (
            vec![text("a"), broken(), usage(), done()],
            "failed protocol",
        ),
        (vec![text("a")], "failed truncated"),
        (vec![text("a"), usage()], "failed truncated"),
        // The server says that it is whole, and it is not.
        (
            vec![open(), end("tool_calls"), done()],
            "incomplete incomplete_tool_call",
        ),
        (vec![bare(), end("tool_calls"), done()], "completed"),
        (vec![end("stop"), done()], "completed"),
        (
            vec![
                choice(0, json!({"content": "a"}), Some("stop")),
                choice(1, json!({"content": "b"}), None),
                done(),
            ],
            "incomplete no_finish_reason",
        ),
    ] {
        let read = read(&framed(&events));
        assert_eq!(read.end(), expected, "{events:?}");
        let is_completed = expected.starts_with("completed");
        assert!(
            read.items.iter().all(|item| !item
                .get("status")
                .is_some_and(|status| status == "completed")
                || is_completed
                || expected.contains("no_finish_reason")),
            "{read:?}"
        );
    }
    let quirks = ChatQuirks {
        omits_finish_reason: true,
        ..ChatQuirks::default()
    };
    for (events, expected) in [
        (vec![text("a"), done()], "completed without a reason"),
        (vec![text("a"), open(), done()], "failed truncated"),
        (vec![text("a")], "failed truncated"),
        (vec![done()], "failed truncated"),
    ] {
        let read = read_with(&framed(&events), &quirks);
        assert_eq!(read.end(), expected, "{events:?}");
    }
}

#[test]
fn a_piece_of_the_answer_that_cannot_be_read_is_missed() {
    let broken = |data: &str| data.to_owned();
    let done = || DONE.to_owned();
    for (events, expected) in [
        (
            vec![
                text("a"),
                broken(r#"{"choices":[{"delta":{"content":"b"#),
                text("c"),
                end("stop"),
                done(),
            ],
            "failed protocol",
        ),
        (
            vec![
                text("a"),
                broken(r#"tent":"b"},"finish_reason":null}]}"#),
                text("c"),
                end("stop"),
                done(),
            ],
            "failed protocol",
        ),
        (
            vec![
                broken(r#"{"choices":[{"delta":{"content":"b"#),
                text("c"),
                end("stop"),
                done(),
            ],
            "failed protocol",
        ),
        (
            vec![text("a"), broken("garbage"), text("c"), end("stop"), done()],
            "failed protocol",
        ),
        (
            vec![
                text("a"),
                broken(r#"{"choices":[{"delta"#),
                end("stop"),
                done(),
            ],
            "failed protocol",
        ),
        (
            vec![
                text("a"),
                end("stop"),
                broken(r#"{"choices":[],"usage":{"#),
                done(),
            ],
            "completed",
        ),
        (
            vec![
                text("a"),
                end("stop"),
                broken(r#"{"choices":[{"delta"#),
                text("b"),
                done(),
            ],
            "failed protocol",
        ),
        (
            vec![text("a"), broken("ping"), text("b"), end("stop"), done()],
            "completed",
        ),
        (
            vec![broken("connected"), text("b"), end("stop"), done()],
            "completed",
        ),
    ] {
        let read = read(&framed(&events));
        assert_eq!(read.end(), expected, "{events:?}");
    }
    // Arguments that would change their meaning and still be JSON.
    let piece = |text: &str| call(json!({"index": 0, "function": {"arguments": text}}));
    let first = call(
        json!({"index": 0, "id": "a", "function": {"name": "rm", "arguments": "{\"path\":\"/tmp"}}),
    );
    let read = read(&framed(&[
        first,
        broken(r#"{"id":"c","choices":[{"index":0,"delta":{"tool_ca"#),
        piece("\"}"),
        end("tool_calls"),
        done(),
    ]));
    assert_eq!(read.end(), "failed protocol");
    assert_eq!(read.calls, [[""; 4]; 0]);
}

#[test]
fn errors_are_read_wherever_they_stand() {
    let one = r#"{"error":{"message":"out of memory","type":"server_error"}}"#;
    let pretty =
        "{\n  \"error\": {\n    \"message\": \"out of memory\",\n    \"code\": 500\n  }\n}";
    let first = framed(&[text("a")]);
    for body in [
        one.to_owned(),
        format!("{one}\n"),
        format!("{one}\n\ndata: [DONE]\n\n"),
        format!("{one}data: [DONE]\n\n"),
        pretty.to_owned(),
        format!("{pretty}\n\ndata: [DONE]\n\n"),
        format!("{first}{one}\n\n"),
        format!("{first}{pretty}\ndata: [DONE]\n\n"),
        format!("{first}{one}\ndata: [DONE]\n\n"),
        format!("data: {}\n{one}\n\n", text("a")),
        format!("error: {one}\n\ndata: [DONE]\n\n"),
        format!("error: out of memory\n\n{first}"),
        format!("{first}error: out of memory\n"),
        format!("event: error\ndata: {one}\n\n"),
        "event: error\ndata: out of memory\n\n".to_owned(),
        "event: error\ndata: \"out of memory\"\n\n".to_owned(),
        format!(
            "{first}event: error\ndata: {{\"object\":\"chat.completion.chunk\",\"message\":\"out of memory\"}}\n\n"
        ),
        format!("data: {}{one}\n\n", text("a")),
        format!("data: {}\ndata: {one}\n\n", text("a")),
        format!(
            "event: a\ndata: {}\nevent: error\ndata: {one}\n\n",
            text("a")
        ),
        format!("data: data: {one}\n\n"),
        "data: out of memory\n\ndata: [DONE]\n\n".to_owned(),
        "out of memory\n".to_owned(),
        "upstream: out of memory\n\n".to_owned(),
        format!("{first}data: out of memory\n\ndata: [DONE]\n\n"),
        "[{\"error\":{\"message\":\"out of memory\"}}]".to_owned(),
        // Beside choices, or with none of them.
        "data: {\"choices\":[],\"code\":1301,\"msg\":\"out of memory\"}\n\n".to_owned(),
        "data: {\"object\":\"error\",\"choices\":[],\"message\":\"out of memory\",\"code\":500}\n\n".to_owned(),
        "data: {\"choices\":[{\"delta\":{\"error\":{\"message\":\"out of memory\"}}}]}\n\n".to_owned(),
        format!("{first}data: {{\"choices\":[{{\"delta\":{{}}}}],\"error_message\":\"out of memory\"}}\n\n"),
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"error\"}],\"message\":\"out of memory\"}\n\ndata: [DONE]\n\n".to_owned(),
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":{\"type\":\"abort\",\"message\":\"out of memory\"}}]}\n\ndata: [DONE]\n\n".to_owned(),
        // Words alone, in an answer that does not come.
        "data: {\"message\":\"out of memory\"}\n\n".to_owned(),
        "{\"message\":\"out of memory\",\"request_id\":\"r\"}".to_owned(),
        "data: {\"type\":\"about:blank\",\"title\":\"out of memory\",\"status\":502}\n\n".to_owned(),
        "data: out of memory\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n".to_owned(),
        // Pretty-printed behind one field.
        format!("data: {pretty}\n\n"),
        format!("{first}data: {pretty}\n\ndata: [DONE]\n\n"),
        format!("  data: {one}\n\n"),
    ] {
        let read = read(&body);
        assert!(read.end().starts_with("failed"), "{body}: {}", read.end());
        assert!(
            read.message().contains("out of memory"),
            "{body}: {}",
            read.message()
        );
    }
    for body in [
        "event: error\ndata: null\n\n",
        "event: error\ndata: 42\n\n",
        "event: error\ndata:\n\n",
        "event: error\ndata: {}\n\n",
    ] {
        assert_eq!(read(body).end(), "failed server_error", "{body}");
    }
}

#[test]
fn an_error_keeps_what_was_known() {
    let body = framed(&[
        text("a"),
        r#"{"id":"c","error":{"message":"m"},"usage":{"prompt_tokens":3,"completion_tokens":4}}"#
            .to_owned(),
    ]);
    let Some(ResponseEvent::Failed(error)) = read(&body).end else {
        panic!()
    };
    let details = error.details();
    assert_eq!(details.response_id.as_deref(), Some("c"));
    assert_eq!(details.token_usage.map(|usage| usage.total_tokens), Some(7));
    assert!(details.usage.is_some());
}

#[test]
fn what_has_a_place_in_an_item_is_kept_there() {
    let signed = call(
        json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "SIG"}}}),
    );
    let read = read(&framed(&[
        delta(
            json!({"reasoning": "h", "reasoning_details": [{"type": "reasoning.text", "text": "h", "index": 0}]}),
        ),
        delta(
            json!({"reasoning": "m", "reasoning_details": [{"type": "reasoning.text", "text": "m", "index": 0, "signature": "R"}]}),
        ),
        delta(json!({"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "T"}]})),
        choice_with(
            json!({"content": "Hi"}),
            json!({"content": [{"token": "Hi", "logprob": -1}], "refusal": null}),
        ),
        choice_with(
            json!({"refusal": "No"}),
            json!({"content": null, "refusal": [{"token": "No", "logprob": -2}]}),
        ),
        delta(
            json!({"annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}]}),
        ),
        delta(json!({"audio": {"id": "au", "data": "QQ"}})),
        delta(json!({"audio": {"data": "==", "transcript": "x"}})),
        delta(json!({"images": [{"type": "image_url", "image_url": {"url": "data:"}}]})),
        signed,
        end("tool_calls"),
        DONE.to_owned(),
    ]));
    let [reasoning, message, call] = &*read.items else {
        panic!("{:?}", read.items)
    };
    assert_eq!(
        reasoning["reasoning_details"],
        json!([{"type": "reasoning.text", "text": "hm", "index": 0, "signature": "R"}])
    );
    assert_eq!(
        reasoning["thinking_blocks"],
        json!([{"type": "thinking", "thinking": "", "signature": "T"}])
    );
    assert_eq!(
        message["content"][0]["annotations"],
        json!([{"type": "url_citation", "url": "u", "title": "t"}])
    );
    assert_eq!(
        message["content"][0]["logprobs"],
        json!([{"token": "Hi", "logprob": -1}])
    );
    assert_eq!(
        message["content"][1]["logprobs"],
        json!([{"token": "No", "logprob": -2}])
    );
    assert_eq!(
        message["audio"],
        json!({"id": "au", "data": "QQ==", "transcript": "x"})
    );
    assert_eq!(message["images"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        call["extra_content"],
        json!({"google": {"thought_signature": "SIG"}})
    );
    // Sound and pictures come as they are, too.
    assert_eq!(read.others.len(), 3);
    assert_eq!(read.end(), "completed");
}

fn choice_with(delta: Value, logprobs: Value) -> String {
    json!({"id": "c", "choices": [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": null}]}).to_string()
}

#[test]
fn text_is_read_in_every_place_that_servers_have_for_it() {
    let choice = |choice: Value| json!({"id": "c", "choices": [choice]}).to_string();
    let message = |text: &str| choice(json!({"index": 0, "message": {"content": text}}));
    for events in [
        vec![message("Hel"), message("lo")],
        vec![message("Hel"), message("Hello")],
        vec![text("Hel"), message("Hello")],
        vec![text("Hello"), message("Hello")],
        vec![
            choice(json!({"index": 0, "text": "Hel"})),
            choice(json!({"index": 0, "text": "lo"})),
        ],
        vec![choice(json!({"index": 0, "delta": "Hello"}))],
        vec![
            json!({"id": "c", "choices": {"index": 0, "delta": {"content": "Hello"}}}).to_string(),
        ],
        vec![format!("[{},{}]", text("Hel"), text("lo"))],
        vec![delta(
            json!({"content": [{"type": "text", "text": {"value": "Hello"}}]}),
        )],
    ] {
        let body = framed(&[&events[..], &[end("stop"), DONE.to_owned()]].concat());
        let read = read(&body);
        assert_eq!(
            (read.text.as_str(), read.end().as_str()),
            ("Hello", "completed"),
            "{events:?}"
        );
    }
    let numbers = read(&framed(&[
        text("It is "),
        delta(json!({"content": 42})),
        text("."),
        end("stop"),
    ]));
    assert_eq!(numbers.text, "It is 42.");
    // What a part holds beside its text is in the chunk as it came.
    for part in [
        json!({"type": "text", "text": "a", "annotations": [{"url": "u"}]}),
        json!({"type": "reference", "reference_ids": ["src-77"], "text": "a"}),
        json!({"type": "image_url", "image_url": {"url": "u"}}),
        json!({"type": "redacted_thinking", "data": "d"}),
    ] {
        let read = read(&framed(&[
            text("x"),
            delta(json!({"content": [part]})),
            end("stop"),
        ]));
        assert_eq!(read.others.len(), 1, "{part}");
    }
}

#[test]
fn what_has_no_form_arrives_once() {
    let chunk = |text: &str, extra: Value| {
        let mut chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]});
        chunk
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        chunk.to_string()
    };
    for extra in [
        json!({"service_tier": "default"}),
        json!({"system_fingerprint": "fp"}),
        json!({"provider": "P"}),
        json!({"citations": ["https://a"], "search_results": [{"url": "https://a"}]}),
        json!({"prompt_filter_results": [{"prompt_index": 0}]}),
    ] {
        let body = framed(&[
            chunk("a", extra.clone()),
            chunk("b", extra.clone()),
            chunk("c", extra.clone()),
            end("stop"),
            DONE.to_owned(),
        ]);
        let read = read(&body);
        assert_eq!(
            (read.others.len(), read.text.as_str()),
            (1, "abc"),
            "{extra}"
        );
        let other: Value = serde_json::from_str(&read.others[0]).unwrap();
        for (name, value) in extra.as_object().unwrap() {
            assert_eq!(&other[name], value);
        }
        assert_eq!(read.models, ["m"]);
    }
    // What changes in every chunk comes a few times, and its last value at the end.
    let events: Vec<_> = (0..50)
        .map(|n| chunk("x", json!({"timings": {"n": n}})))
        .chain([end("stop")])
        .collect();
    let read = read(&framed(&events));
    assert!(read.others.len() < 12, "{}", read.others.len());
    assert!(read.others.last().unwrap().contains("\"n\":49"));
}

#[test]
fn usage_keeps_what_has_no_field() {
    let usage =
        r#"{"prompt_tokens":1,"completion_tokens":2,"cost":0.25,"cost_details":{"x":1e-7}}"#;
    let body = framed(&[
        text("a"),
        end("stop"),
        format!(r#"{{"id":"c","choices":[],"usage":{usage}}}"#),
    ]);
    let Some(ResponseEvent::Completed(end)) = read(&body).end else {
        panic!()
    };
    assert_eq!(end.usage.as_ref().map(RawJson::get), Some(usage));
}

#[test]
fn the_other_wire_is_named() {
    for body in [
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n",
        "{\"id\":\"r\",\"object\":\"response\",\"status\":\"completed\",\"output\":[]}",
    ] {
        let read = read(body);
        assert_eq!(read.end(), "failed protocol");
        assert!(
            read.message().contains("Responses API"),
            "{}",
            read.message()
        );
    }
}

#[test]
fn halves_of_a_character_in_two_deltas_are_one() {
    let content = |field: &str, text: &str| {
        format!(r#"{{"id":"c","choices":[{{"index":0,"delta":{{"{field}":"{text}"}}}}]}}"#)
    };
    let input = |text: &str| {
        format!(
            r#"{{"id":"c","choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":0,"id":"a","function":{{"name":"f","arguments":"{text}"}}}}]}}}}]}}"#
        )
    };
    for (first, second, expected) in [
        (r"ok \ud83d", r"\ude00 up", "ok 😀 up"),
        (r"\ud83d", r"x", "\u{fffd}x"),
        (r"a\ud83d", "", "a\u{fffd}"),
    ] {
        let read = read(&framed(&[
            content("content", "-"),
            content("content", first),
            content("content", second),
            end("stop"),
        ]));
        assert_eq!(read.text, format!("-{expected}"));
        assert_eq!(read.items[0]["content"][0]["text"], format!("-{expected}"));
    }
    let read = read(&framed(&[
        input(r#"{\"a\":\"\ud83d"#),
        input(r#"\ude00\"}"#),
        end("tool_calls"),
    ]));
    assert_eq!(read.names_and_arguments(), [("f", r#"{"a":"😀"}"#)]);
}

/// The events of an answer with everything that matters in it.
fn valid_events() -> Vec<String> {
    vec![
        delta(json!({"role": "assistant", "content": ""})),
        delta(json!({"reasoning_content": "hm"})),
        text("Hel"),
        text("lo"),
        call(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}})),
        call(json!({"index": 0, "function": {"arguments": "{\"n\":"}})),
        call(json!({"index": 0, "function": {"arguments": "[1,2]}"}})),
        call(json!({"index": 1, "id": "b", "function": {"name": "g", "arguments": "{\"m\":{}}"}})),
        end("tool_calls"),
        usage(),
        DONE.to_owned(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// Whatever is cut, glued, repeated or lost: no success with a call that is open, no two values in a call's arguments, and
    /// no empty success that the server did not say.
    #[test]
    fn no_damage_makes_a_success_that_is_none(
        changes in proptest::collection::vec((0usize..11, 0u8..6, any::<proptest::sample::Index>()), 0..4),
    ) {
        let mut events = valid_events();
        let mut glue = Vec::new();
        for (at, change, index) in &changes {
            let at = (*at).min(events.len() - 1);
            match change {
                0 => { events.remove(at); }
                1 => { let event = events[at].clone(); events.insert(at, event); }
                2 => { let end = index.index(events[at].len() + 1); let end = (0..=end).rev().find(|end| events[at].is_char_boundary(*end)).unwrap(); events[at].truncate(end); }
                3 => { events.truncate(at + 1); }
                4 => { let other = index.index(events.len()); events.swap(at, other); }
                _ => glue.push(at),
            }
            if events.is_empty() {
                return Ok(());
            }
        }
        let body: String = events.iter().enumerate().map(|(at, event)| {
            let between = if glue.contains(&at) { "\n" } else { "\n\n" };
            format!("data: {event}{between}")
        }).collect();
        let read = read_in(body.as_bytes(), body.len(), &ChatQuirks::default());
        let is_completed = matches!(read.end, Some(ResponseEvent::Completed(_)));
        for [_, _, arguments, status] in &read.calls {
            let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(arguments).into_iter().collect();
            prop_assert!(values.as_ref().map_or(1, Vec::len) <= 1, "{arguments} of {body}");
            if is_completed {
                // What is missing in the middle nobody can see, where the server says that it is whole.
                let is_open = values.as_ref().is_err_and(serde_json::Error::is_eof);
                prop_assert!(status == "completed" && (arguments.is_empty() || !is_open), "{arguments} of {body}");
            }
        }
        if is_completed && read.items.is_empty() {
            prop_assert!(events.iter().any(|event| event.contains("\"finish_reason\":\"tool_calls\"")), "{body}");
        }
    }
}
