//! What is left of an answer that has no good end.

use std::time::Duration;

use actix_responses::{
    ErrorKind,
    actors::{Cursor, Milestone, RequestNotice, SubmitRequest},
    protocol::{Response, ResponseAccumulator, ResponseEvent},
    retry::RetryAfterOutput,
    wire::{StreamDecoder, StreamLimits, Wire},
};
use serde_json::{Value, json};

use crate::support::{
    events::*, prompt, provider, settle, start, start_with, steady_retry, transport::Exchange,
};

fn call_added(id: &str) -> String {
    event(
        json!({"type": "response.output_item.added", "output_index": 1, "item": {"type": "function_call", "id": id,
        "call_id": format!("call_{id}"), "name": "weather", "arguments": ""}}),
    )
}

fn call_delta(id: &str, delta: &str) -> String {
    event(
        json!({"type": "response.function_call_arguments.delta", "item_id": id, "output_index": 1, "delta": delta}),
    )
}

fn call_done(id: &str, arguments: &str) -> String {
    event(
        json!({"type": "response.output_item.done", "output_index": 1, "item": {"type": "function_call", "id": id,
        "call_id": format!("call_{id}"), "name": "weather", "arguments": arguments, "status": "completed"}}),
    )
}

/// A message that is done, and a call that is open.
fn half() -> String {
    [
        created(),
        item_added(),
        delta("Hel"),
        delta("lo"),
        item_done("Hello"),
        call_added("a"),
        call_delta("a", r#"{"city":"#),
    ]
    .concat()
}

/// What [`half`] leaves behind, whatever cut it.
#[track_caller]
fn assert_half(partial: &ResponseAccumulator) {
    assert_eq!(partial.text(), "Hello");
    assert_eq!(partial.items().len(), 1);
    assert_eq!(partial.open_items().len(), 1);
    let calls = partial.tool_calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        (&*calls[0].input, calls[0].is_done, calls[0].call_id),
        (r#"{"city":"#, false, Some("call_a"))
    );
    assert_eq!(partial.token_usage(), None);
    assert_eq!(partial.response_id(), Some("resp_1"));
}

fn chunk(delta: Value, usage: Option<u32>) -> String {
    let mut chunk = json!({"id": "chatcmpl-1", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
    if let Some(output) = usage {
        chunk["usage"] =
            json!({"prompt_tokens": 7, "completion_tokens": output, "total_tokens": 7 + output});
    }
    format!("data: {chunk}\n\n")
}

#[actix_rt::test]
async fn a_cut_an_error_and_silence_leave_what_had_come() {
    let reset = Exchange::stream(half()).broken();
    let failed = half() + &failed("invalid_prompt", "no");
    let exchanges = [
        Exchange::stream(half()),
        reset,
        Exchange::stream(failed),
        Exchange::stream(half()).held_open(),
    ];
    let (runtime, _) = start_with(exchanges, |config| {
        config.retry = steady_retry(1);
        provider(config, |it| it.timeouts.idle = Duration::from_secs(9));
    });
    for kind in [
        ErrorKind::Truncated,
        ErrorKind::Connection,
        ErrorKind::InvalidRequest,
        ErrorKind::IdleTimeout,
    ] {
        let error = runtime.respond(prompt()).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_half(error.partial_response().expect("what had come"));
    }
}

#[actix_rt::test]
async fn a_cancel_does_not_overtake_what_is_gathered() {
    let (runtime, _) = start([
        Exchange::stream(half()).held_open(),
        Exchange::stream(half()).held_open(),
    ]);
    // All of it lies in the queue, and nobody has taken anything yet.
    let stream = runtime.stream(prompt()).await.unwrap();
    settle().await;
    assert!(runtime.cancel(stream.request()).await);
    let error = stream.accumulate().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(error.details().output_delivered);
    assert_half(error.partial_response().expect("what had come"));
    // Who keeps the end alone has it from the log.
    let mut stream = runtime.stream(prompt()).await.unwrap();
    settle().await;
    let request = stream.request();
    assert!(runtime.cancel(request).await);
    let delivery = stream.next_delivery().await.expect("an end");
    assert!(matches!(delivery.events(), [ResponseEvent::Cancelled]));
    let again = runtime.subscribe(request, Cursor::Start).await.unwrap();
    let error = again.accumulate().await.unwrap_err();
    assert_half(error.partial_response().expect("what the log has"));
}

#[actix_rt::test]
async fn a_shutdown_leaves_what_had_come_and_says_where_it_was() {
    let (runtime, _) = start([Exchange::stream(half())
        .with_header("x-request-id", "req_7")
        .held_open()]);
    let stream = runtime.stream(prompt()).await.unwrap();
    settle().await;
    let down = runtime.shutdown(Duration::from_secs(1));
    let (error, ()) = tokio::join!(stream.accumulate(), down);
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShutDown);
    assert_half(error.partial_response().expect("what had come"));
    let details = error.details();
    assert_eq!(details.provider.as_deref(), Some("scripted"));
    assert_eq!((details.attempt, details.output_delivered), (1, true));
    assert_eq!(details.request_id.as_deref(), Some("req_7"));
}

#[actix_rt::test]
async fn who_loses_patience_keeps_what_had_come() {
    let rest = [
        call_delta("a", r#""Bern"}"#),
        call_done("a", r#"{"city":"Bern"}"#),
        completed(),
    ];
    let (runtime, transport) = start([
        Exchange::stream(half())
            .wait(Duration::from_secs(60))
            .chunk(rest.concat()),
        Exchange::stream(half()).held_open(),
    ]);
    let mut stream = runtime.stream(prompt()).await.unwrap();
    let mut gathered = ResponseAccumulator::default();
    let waiting = tokio::time::timeout(Duration::from_secs(1), stream.gather(&mut gathered));
    waiting.await.unwrap_err();
    assert_half(&gathered);
    // And goes on where it was, if it wants to.
    stream.gather(&mut gathered).await.unwrap();
    let response = Response::try_from(gathered).unwrap();
    assert_eq!(response.function_calls()[0].arguments, r#"{"city":"Bern"}"#);
    let mut stream = runtime.stream(prompt()).await.unwrap();
    let mut gathered = ResponseAccumulator::default();
    let waiting = tokio::time::timeout(Duration::from_secs(1), stream.gather(&mut gathered));
    waiting.await.unwrap_err();
    drop(stream);
    settle().await;
    assert_eq!(transport.open_requests(), 0);
    assert_half(&gathered);
}

#[actix_rt::test]
async fn what_a_restart_voids_is_not_in_it() {
    let exchanges = [
        Exchange::stream(half()),
        Exchange::stream(created() + &item_added() + &delta("An")),
    ];
    let (runtime, _) = start_with(exchanges, |config| {
        config.retry = steady_retry(2);
        config.retry.after_output = RetryAfterOutput::Restart;
    });
    let error = runtime.respond(prompt()).await.unwrap_err();
    let partial = error.partial_response().expect("what had come");
    assert_eq!(partial.text(), "An");
    assert!(partial.tool_calls().is_empty() && partial.items().is_empty());
}

#[actix_rt::test]
async fn the_usage_is_what_the_server_had_said_and_unknown_otherwise() {
    let body = chunk(json!({"content": "a"}), Some(1)) + &chunk(json!({"content": "b"}), Some(2));
    let silent = chunk(json!({"content": "a"}), None);
    let exchanges = [
        Exchange::stream(body.clone()).held_open(),
        Exchange::stream(body.clone()),
        Exchange::stream(body.clone()).held_open(),
        Exchange::stream(silent).held_open(),
        Exchange::stream(body).held_open(),
    ];
    let (runtime, _) = start_with(exchanges, |config| {
        config.retry = steady_retry(1);
        provider(config, |it| it.wire = Wire::Chat);
    });
    let output = |usage: Option<actix_responses::protocol::TokenUsage>| {
        usage.map(|usage| (usage.input_tokens, usage.output_tokens))
    };
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let request = SubmitRequest::new(prompt()).with_observer(move |notice: &RequestNotice| {
        if let Milestone::Ended { usage, .. } = notice.milestone {
            told.send(usage).expect("the test listens");
        }
    });
    let stream = runtime.submit(request).await.unwrap();
    let request = stream.request();
    settle().await;
    let (error, _) = tokio::join!(stream.accumulate(), runtime.cancel(request));
    let error = error.unwrap_err();
    let partial = error.partial_response().unwrap();
    let status = runtime.status(request).await.unwrap();
    assert_eq!(output(partial.token_usage()), Some((7, 2)));
    assert_eq!(output(error.details().token_usage), Some((7, 2)));
    assert_eq!(output(status.usage), Some((7, 2)), "cancelled");
    assert_eq!(output(heard.recv().await.unwrap()), Some((7, 2)));
    let error = runtime.respond(prompt()).await.unwrap_err();
    let usage = error.partial_response().unwrap().token_usage();
    assert_eq!(output(usage), Some((7, 2)), "cut");
    // Nobody listens any more: it is known all the same.
    let stream = runtime.stream(prompt()).await.unwrap();
    let request = stream.request();
    settle().await;
    drop(stream);
    settle().await;
    let status = runtime.status(request).await.unwrap();
    assert_eq!(output(status.usage), Some((7, 2)), "deserted");
    let stream = runtime.stream(prompt()).await.unwrap();
    let request = stream.request();
    settle().await;
    let (error, _) = tokio::join!(stream.accumulate(), runtime.cancel(request));
    let error = error.unwrap_err();
    assert_eq!(error.partial_response().unwrap().text(), "a");
    assert_eq!(error.details().token_usage, None);
    let stream = runtime.stream(prompt()).await.unwrap();
    settle().await;
    let down = runtime.shutdown(Duration::ZERO);
    let (error, ()) = tokio::join!(stream.accumulate(), down);
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShutDown);
    assert_eq!(output(error.details().token_usage), Some((7, 2)));
}

#[actix_rt::test]
async fn a_call_that_the_server_cut_short_is_none_to_carry_out() {
    let cut = event(
        json!({"type": "response.output_item.done", "output_index": 1, "item": {"type": "function_call", "id": "a",
        "call_id": "call_a", "name": "weather", "arguments": "{\"city\":", "status": "incomplete"}}),
    );
    let whole = call_done("b", "{}").replace("\"output_index\":1", "\"output_index\":0");
    let body = created() + &whole + &call_added("a") + &cut + &incomplete("max_output_tokens");
    let (runtime, _) = start([Exchange::stream(body)]);
    let response = runtime.respond(prompt()).await.unwrap();
    let calls = response.function_calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].call_id, "call_b");
    assert_eq!(response.items().len(), 2);
    let error = response.completed().unwrap_err();
    let partial = error.partial_response().unwrap();
    let is_done: Vec<_> = partial.tool_calls().iter().map(|it| it.is_done).collect();
    assert_eq!(is_done, [true, false]);
}

/// What a body says up to a byte.
fn gathered(wire: Wire, body: &[u8]) -> ResponseAccumulator {
    let mut decoder = StreamDecoder::new(wire, StreamLimits::default());
    let (mut events, mut gathered) = (Vec::new(), ResponseAccumulator::default());
    let end = decoder.feed(body, &mut events);
    let end = end.or_else(|| decoder.end_of_stream(&mut events));
    events.extend(end.map(ResponseEvent::from));
    for event in &events {
        gathered.push(event).expect("a short answer");
    }
    gathered
}

#[test]
fn wherever_a_stream_is_cut_what_is_left_is_the_beginning_of_the_whole() {
    let reasoning = |kind: &str, value: Value| {
        let mut value = value;
        value["type"] = json!(kind);
        value["item_id"] = json!("rs_1");
        value["output_index"] = json!(0);
        event(value)
    };
    let tools = [
        created(),
        reasoning(
            "response.output_item.added",
            json!({"item": {"type": "reasoning", "id": "rs_1", "summary": []}}),
        ),
        reasoning(
            "response.reasoning_summary_text.delta",
            json!({"summary_index": 0, "delta": "hm \u{1F914}"}),
        ),
        reasoning(
            "response.output_item.done",
            json!({"item": {"type": "reasoning", "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "hm \u{1F914}"}], "encrypted_content": "x"}}),
        ),
        call_added("a"),
        call_delta("a", r#"{"city":"#),
        call_delta("a", r#""Zürich"}"#),
        call_done("a", r#"{"city":"Zürich"}"#),
        completed(),
    ];
    let custom = |kind: &str, value: Value| {
        let mut value = value;
        value["type"] = json!(kind);
        value["output_index"] = json!(1);
        event(value)
    };
    let freeform = [
        created(),
        item_added(),
        delta("a\\\"b"),
        item_done("a\\\"b"),
        custom(
            "response.output_item.added",
            json!({"item": {"type": "custom_tool_call", "id": "c", "call_id": "call_c",
            "name": "sh", "input": ""}}),
        ),
        custom(
            "response.custom_tool_call_input.delta",
            json!({"item_id": "c", "delta": "ls \n"}),
        ),
        custom(
            "response.output_item.done",
            json!({"item": {"type": "custom_tool_call", "id": "c", "call_id": "call_c",
            "name": "sh", "input": "ls \n-l"}}),
        ),
        incomplete("max_output_tokens"),
    ];
    let piece = |index: u32, id: Value, name: Value, arguments: &str| {
        chunk(
            json!({"tool_calls": [{"index": index, "id": id, "type": "function",
            "function": {"name": name, "arguments": arguments}}]}),
            Some(index + 3),
        )
    };
    let finish = |reason: &str| {
        format!(
            "data: {}\n\n",
            json!({"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        )
    };
    let end = "data: {\"id\":\"chatcmpl-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":9,\"total_tokens\":16}}\n\ndata: [DONE]\n\n";
    let chat = [
        chunk(json!({"role": "assistant", "content": ""}), None),
        chunk(json!({"reasoning_content": "so"}), None),
        chunk(json!({"content": "Grüezi "}), None),
        chunk(json!({"content": "mitenand"}), Some(2)),
        piece(0, json!("call_1"), json!("f"), "{\"a\""),
        piece(0, Value::Null, Value::Null, ":1}"),
        piece(1, json!("call_2"), json!("g"), "{}"),
        finish("tool_calls"),
        end.to_owned(),
    ];
    let short = [
        chunk(json!({"content": "one "}), None),
        chunk(json!({"content": "two"}), None),
        finish("length"),
        "data: [DONE]\n\n".to_owned(),
    ];
    for (wire, body) in [
        (Wire::Responses, answer()),
        (Wire::Responses, tools.concat()),
        (Wire::Responses, freeform.concat()),
        (Wire::Chat, chat.concat()),
        (Wire::Chat, short.concat()),
    ] {
        let whole = gathered(wire, body.as_bytes());
        assert!(!whole.text().is_empty() || !whole.tool_calls().is_empty());
        let (items, calls) = (whole.items(), whole.tool_calls());
        let first_usage = body.find("\"usage\":{").unwrap_or(body.len());
        for cut in 0..body.len() {
            let part = gathered(wire, &body.as_bytes()[..cut]);
            let at = || format!("{wire:?}, cut at {cut}: {part:?}");
            assert!(whole.text().starts_with(&part.text()), "{}", at());
            assert!(whole.reasoning().starts_with(&part.reasoning()), "{}", at());
            let done = part.items();
            assert!(
                done.iter().all(|item| items.contains(item)) && done.len() <= items.len(),
                "{}",
                at()
            );
            for call in part.tool_calls() {
                let same = calls.iter().find(|other| other.call_id == call.call_id);
                let same = same.unwrap_or_else(|| panic!("{}", at()));
                assert!(same.input.starts_with(&*call.input), "{}", at());
                assert_eq!(same.name, call.name, "{}", at());
                // One that is to be carried out is whole.
                assert!(!call.is_done || (same == &call), "{}", at());
            }
            let known = part.token_usage();
            assert!(cut > first_usage || known.is_none(), "{}", at());
            let id = part.response_id();
            assert!(id.is_none() || id == whole.response_id(), "{}", at());
            let is_whole = matches!(part.end(), Some(ResponseEvent::Completed(_)));
            assert!(!is_whole || part.text() == whole.text(), "{}", at());
        }
    }
}
