//! From bytes to one end.

use std::time::Duration;

use actix_responses::{ErrorKind, Phase, protocol::ResponseEvent, provider::BearerAuth};
use futures_util::StreamExt;

use crate::support::{
    assert_elapsed, collect, events::*, failure, is_head, names, prompt, provider, settle, start,
    start_with, steady_retry, text, transport::Exchange,
};

#[actix_rt::test]
async fn an_answer_arrives_whole_and_ends_once() {
    let (runtime, transport) = start([Exchange::stream(answer())]);
    let events = collect(&runtime).await;
    assert_eq!(names(&events), ANSWER);
    assert_eq!(text(&events), "Hello");
    let Some(Ok(ResponseEvent::Completed(completed))) = events.last() else {
        panic!("{events:?}")
    };
    assert_eq!(completed.response_id.as_deref(), Some("resp_1"));
    let usage = completed.token_usage.expect("usage");
    assert_eq!(
        (
            usage.input_tokens,
            usage.cached_input_tokens,
            usage.output_tokens
        ),
        (3, 1, 2)
    );
    settle().await;
    assert_eq!(transport.open_requests(), 0);
}

#[actix_rt::test]
async fn the_first_event_reaches_a_stream_before_the_rest_is_read() {
    let exchange = Exchange::status(200)
        .with_header("content-type", "text/event-stream")
        .chunks(answer().as_bytes(), 64);
    let (runtime, transport) = start([exchange]);
    let mut stream = runtime.stream(prompt()).await.unwrap();
    let head = stream.next().await.unwrap().unwrap();
    assert!(is_head(&head), "{head:?}");
    let first = stream.next().await;
    assert!(
        matches!(first, Some(Ok(ResponseEvent::Created(_)))),
        "{first:?}"
    );
    assert_eq!(transport.open_requests(), 1);
    assert_eq!(stream.collect::<Vec<_>>().await.len(), ANSWER.len() - 1);
}

#[actix_rt::test]
async fn chunking_changes_nothing() {
    for size in [1, 2, 7, 64, 1460] {
        let exchange = Exchange::status(200)
            .with_header("content-type", "text/event-stream")
            .chunks(answer().as_bytes(), size);
        let (runtime, _) = start([exchange]);
        let events = collect(&runtime).await;
        assert_eq!(names(&events), ANSWER, "chunks of {size}");
        assert_eq!(text(&events), "Hello");
    }
}

#[actix_rt::test]
async fn every_terminal_event_ends_at_once_though_the_connection_stays_open() {
    let error =
        event(serde_json::json!({"type": "error", "code": "invalid_prompt", "message": "no"}));
    for (terminal, name) in [
        (completed(), "completed"),
        (incomplete("max_output_tokens"), "incomplete"),
        (failed("invalid_prompt", "no"), "invalid_request"),
        (error, "invalid_request"),
    ] {
        let (runtime, transport) = start([Exchange::stream(created() + &terminal).held_open()]);
        let before = tokio::time::Instant::now();
        let events = collect(&runtime).await;
        assert_eq!(names(&events), ["created", name]);
        assert_elapsed(before, Duration::ZERO);
        // The connection is given its short while to end, then closed.
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(transport.open_requests(), 0, "{name}");
    }
}

#[actix_rt::test]
async fn what_follows_the_terminal_event_is_not_read() {
    let late = completed() + &delta("late") + &failed("server_error", "late") + &completed();
    let (runtime, _) = start([Exchange::stream(created() + &late)]);
    assert_eq!(names(&collect(&runtime).await), ["created", "completed"]);
}

#[actix_rt::test]
async fn the_first_terminal_event_counts() {
    let body = created() + &failed("invalid_prompt", "first") + &completed();
    let (runtime, _) = start([Exchange::stream(body)]);
    let events = collect(&runtime).await;
    assert_eq!(names(&events), ["created", "invalid_request"]);
    assert_eq!(failure(&events).message(), "first");
}

#[actix_rt::test]
async fn a_cut_at_any_byte_is_a_failure_and_loses_or_repeats_nothing() {
    let whole = answer();
    let terminal_at = whole
        .find("event: response.completed")
        .expect("a terminal event");
    // A terminal event whose JSON is whole counts, also without its blank line.
    let json_whole_at = whole.len() - 2;
    for cut in 0..json_whole_at {
        let body = whole.as_bytes()[..cut].to_vec();
        let (runtime, _) = start_with([Exchange::stream(body)], |config| {
            config.retry.max_attempts = 1;
        });
        let events = collect(&runtime).await;
        let error = failure(&events);
        let expected = match cut {
            0 => ErrorKind::UnexpectedStatus,
            _ => ErrorKind::Truncated,
        };
        assert_eq!(error.kind(), expected, "cut at {cut}");
        assert_eq!(error.details().phase, Some(Phase::Body));
        let seen = names(&events[..events.len() - 1]);
        assert_eq!(seen, ANSWER[..seen.len()], "cut at {cut}");
        // Not yet at the start of the item, which is empty.
        assert_eq!(
            error.details().output_delivered,
            seen.len() > 2,
            "cut at {cut}"
        );
        if cut >= terminal_at {
            assert_eq!(seen.len(), ANSWER.len() - 1, "cut at {cut}");
        }
    }
    for cut in json_whole_at..=whole.len() {
        let (runtime, _) = start([Exchange::stream(whole.as_bytes()[..cut].to_vec())]);
        assert_eq!(names(&collect(&runtime).await), ANSWER, "cut at {cut}");
    }
}

#[actix_rt::test]
async fn unknown_events_pass_through_byte_for_byte() {
    let odd = "data: {\"type\":\"response.new_thing\", \"x\" : 1.0 }\n\n";
    let body = format!(
        "{}{odd}: comment\n\ndata: {{\"type\":\"keepalive\"}}\n\n{}",
        created(),
        completed()
    );
    let (runtime, _) = start([Exchange::stream(body)]);
    let events = collect(&runtime).await;
    assert_eq!(names(&events), ["created", "other", "other", "completed"]);
    let Ok(ResponseEvent::Other(other)) = &events[2] else {
        panic!("{events:?}")
    };
    assert_eq!(&*other.event, "response.new_thing");
    assert_eq!(
        other.raw.get(),
        "{\"type\":\"response.new_thing\", \"x\" : 1.0 }"
    );
}

#[actix_rt::test]
async fn malformed_events_are_left_out_counted_and_reported_with_the_end() {
    // What was in them is held whole by the item.
    let body = created()
        + "data: {nonsense\n\ndata: {\"no\":\"type\"}\n\n"
        + &item_done("a")
        + &completed();
    let (runtime, _) = start([Exchange::stream(body)]);
    let events = collect(&runtime).await;
    let Some(Ok(ResponseEvent::Completed(completed))) = events.last() else {
        panic!("{events:?}")
    };
    assert_eq!(completed.anomalies.malformed_events, 2);
    assert!(
        completed
            .anomalies
            .first_malformed
            .as_deref()
            .unwrap()
            .contains("nonsense")
    );
}

#[actix_rt::test]
async fn idle_timeout_counts_any_byte_and_ends_a_silent_stream() {
    let body = Exchange::stream(created() + &delta("a"))
        .wait(Duration::from_secs(200))
        .chunk(": comment\n\n")
        .wait(Duration::from_secs(200))
        .chunk(": comment\n\n")
        .held_open();
    let (runtime, transport) = start([body]);
    let before = tokio::time::Instant::now();
    let events = collect(&runtime).await;
    let error = failure(&events);
    assert_eq!(error.kind(), ErrorKind::IdleTimeout);
    assert_elapsed(before, Duration::from_secs(700));
    assert!(error.report().contains("300s"), "{}", error.report());
    assert_eq!(transport.open_requests(), 0);
}

#[actix_rt::test]
async fn progress_timeout_ends_a_stream_that_only_keeps_alive() {
    let signs_of_life = [
        ": ping\n\n",
        "event: ping\ndata: {}\n\n",
        "event: keepalive\ndata: {\"type\":\"keepalive\",\"sequence_number\":4}\n\n",
        "data: {\"type\":\"response.keep_alive\"}\n\n",
        "data: {\"type\":\"codex.rate_limits\"}\n\n",
        &in_progress(),
        &delta(""),
        "data: \n\n",
    ];
    for sign in signs_of_life {
        let mut exchange = Exchange::stream(created());
        for _ in 0..20 {
            exchange = exchange
                .wait(Duration::from_secs(10))
                .chunk(sign.to_owned());
        }
        let (runtime, _) = start_with([exchange.held_open()], |config| {
            config.retry.max_attempts = 1;
            provider(config, |p| {
                p.timeouts.progress = Some(Duration::from_secs(60))
            });
        });
        let before = tokio::time::Instant::now();
        let events = collect(&runtime).await;
        assert_eq!(
            failure(&events).kind(),
            ErrorKind::ProgressTimeout,
            "{sign}"
        );
        assert_elapsed(before, Duration::from_secs(60));
    }
}

#[actix_rt::test]
async fn the_first_event_is_one_that_begins_the_answer() {
    let mut exchange = Exchange::stream("event: ping\ndata: {}\n\n");
    for _ in 0..20 {
        exchange = exchange.wait(Duration::from_secs(10)).chunk(in_progress());
    }
    let (runtime, _) = start_with([exchange.held_open()], |config| {
        config.retry.max_attempts = 1;
        provider(config, |p| {
            p.timeouts.first_event = Some(Duration::from_secs(60))
        });
    });
    let before = tokio::time::Instant::now();
    let events = collect(&runtime).await;
    assert_eq!(failure(&events).kind(), ErrorKind::FirstEventTimeout);
    assert_elapsed(before, Duration::from_secs(60));
}

#[actix_rt::test]
async fn what_a_tool_of_the_server_does_is_progress() {
    let searching =
        r#"data: {"type":"response.web_search_call.searching","item_id":"ws_1","output_index":0}"#;
    let mut exchange = Exchange::stream(created());
    for _ in 0..6 {
        let chunk = format!("{searching}\n\n");
        exchange = exchange.wait(Duration::from_secs(50)).chunk(chunk);
    }
    let (runtime, _) = start_with([exchange.chunk(completed())], |config| {
        provider(config, |p| {
            p.timeouts.progress = Some(Duration::from_secs(60))
        });
    });
    assert_eq!(names(&collect(&runtime).await).last(), Some(&"completed"));
}

#[actix_rt::test]
async fn each_other_timer_ends_what_it_watches() {
    let stalled = || Exchange::stream(": hello\n\n").held_open();
    for (exchange, kind, seconds) in [
        (Exchange::silence(), ErrorKind::ResponseHeadTimeout, 7),
        (
            Exchange::stream(answer()).head_after(Duration::from_secs(8)),
            ErrorKind::ResponseHeadTimeout,
            7,
        ),
        (stalled(), ErrorKind::FirstEventTimeout, 5),
        (
            Exchange::stream(created() + &delta("a")).held_open(),
            ErrorKind::TotalTimeout,
            9,
        ),
    ] {
        let (runtime, transport) = start_with([exchange], |config| {
            config.retry.max_attempts = 1;
            provider(config, |p| {
                p.timeouts.response_head = Duration::from_secs(7);
                p.timeouts.first_event = Some(Duration::from_secs(5));
                p.timeouts.total = Some(Duration::from_secs(9));
            });
        });
        let before = tokio::time::Instant::now();
        let events = collect(&runtime).await;
        assert_eq!(failure(&events).kind(), kind);
        assert_elapsed(before, Duration::from_secs(seconds));
        assert_eq!(transport.open_requests(), 0, "{kind}");
    }
}

#[actix_rt::test]
async fn headers_become_events_before_the_first_of_the_stream() {
    let exchange = Exchange::stream(answer())
        .with_header("openai-model", "m-1")
        .with_header("x-codex-primary-used-percent", "12.5")
        .with_header("x-models-etag", " abc ")
        .with_header("x-reasoning-included", "1");
    let (runtime, _) = start([exchange]);
    let events = collect(&runtime).await;
    assert!(is_head(events[0].as_ref().unwrap()));
    let seen = names(&events);
    assert_eq!(
        seen[..5],
        [
            "server_model",
            "rate_limits",
            "models_etag",
            "server_reasoning_included",
            "created"
        ]
    );
    let (runtime, _) = start([Exchange::stream(answer())]);
    assert_eq!(
        names(&collect(&runtime).await),
        ANSWER,
        "no headers, no such events"
    );
}

#[actix_rt::test]
async fn a_body_that_is_no_event_stream_is_named() {
    let html = Exchange::status(200)
        .with_header("content-type", "text/html")
        .chunk("<html><head><title>Sign in</title></head></html>");
    let (runtime, transport) = start([html]);
    let events = collect(&runtime).await;
    let error = failure(&events);
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(
        error.message().contains("text/html") && error.message().contains("Sign in"),
        "{error}"
    );
    assert_eq!(transport.requests().len(), 1);
}

#[actix_rt::test]
async fn an_event_stream_with_another_content_type_is_read_all_the_same() {
    let exchange = Exchange::status(200)
        .with_header("content-type", "text/plain")
        .chunk(answer());
    let (runtime, _) = start([exchange]);
    assert_eq!(names(&collect(&runtime).await), ANSWER);
}

#[actix_rt::test]
async fn a_stream_that_is_not_polled_pauses_the_reading_and_loses_nothing() {
    let deltas: String = (0..5000).map(|n| delta(&format!("{n},"))).collect();
    let body = created() + &item_added() + &deltas + &completed();
    let exchange = Exchange::status(200)
        .with_header("content-type", "text/event-stream")
        .chunks(body.as_bytes(), 300);
    let (runtime, transport) = start([exchange]);
    let mut stream = runtime.stream(prompt()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(transport.open_requests(), 1, "the reading has paused");
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        events.push(event);
    }
    assert_eq!(
        text(&events),
        (0..5000).map(|n| format!("{n},")).collect::<String>()
    );
    assert_eq!(names(&events).last(), Some(&"completed"));
}

#[actix_rt::test]
async fn the_request_id_of_an_answer_is_in_its_start_and_its_end() {
    let exchange = Exchange::stream(answer()).with_header("x-request-id", "req_7");
    let (runtime, _) = start([exchange]);
    let events = collect(&runtime).await;
    let ids = events.iter().filter_map(|event| match event {
        Ok(ResponseEvent::Created(created)) => created.request_id.as_deref(),
        Ok(ResponseEvent::Completed(completed)) => completed.request_id.as_deref(),
        _ => None,
    });
    assert_eq!(ids.collect::<Vec<_>>(), ["req_7", "req_7"]);
}

#[actix_rt::test]
async fn a_body_that_is_nearly_json_is_named_as_no_event_stream() {
    let exchange = Exchange::status(200)
        .with_header("content-type", "application/json")
        .chunk("{malformed json: <<<chaos>>>");
    let (runtime, transport) = start([exchange]);
    let events = collect(&runtime).await;
    let error = failure(&events);
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.message().contains("no event stream"), "{error}");
    assert_eq!(transport.requests().len(), 1);
}

#[actix_rt::test]
async fn a_success_without_a_body_names_its_status() {
    for (status, said, sent) in [
        (204, "204 No Content", 1),
        (205, "205 Reset Content", 1),
        (200, "200 OK", 2),
    ] {
        let exchanges = (0..2).map(|_| Exchange::status(status));
        let (runtime, transport) = start_with(exchanges, |config| {
            config.retry = steady_retry(2);
        });
        let events = collect(&runtime).await;
        let error = failure(&events);
        assert_eq!(error.kind(), ErrorKind::UnexpectedStatus);
        let expected = format!("the server answered {said} with an empty body");
        assert_eq!(error.message(), expected);
        assert_eq!(transport.requests().len(), sent, "{status}");
    }
}

#[actix_rt::test]
async fn a_body_is_judged_by_its_beginning_and_not_by_its_label() {
    let page = "<!DOCTYPE html><html><head><title>Sign in to WiFi</title></head></html>";
    let xml = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>";
    let json = "{\n  \"error\": {\n    \"message\": \"no such model\",\n    \"type\": \"invalid_request_error\"\n  }\n}";
    for (body, said) in [
        (page, "Sign in to WiFi"),
        (xml, "AccessDenied"),
        (json, "no such model"),
        ("\u{feff}<html><title>Portal</title></html>", "Portal"),
        ("\r\n\r\n  <HTML><TITLE>Late</TITLE></HTML>", "Late"),
        (
            "[{\"error\":{\"message\":\"in a list\",\"type\":\"invalid_request_error\"}}]",
            "in a list",
        ),
    ] {
        for label in [Some("text/event-stream"), Some("text/html"), None] {
            let answer = || {
                let exchange = Exchange::status(200).chunk(body);
                match label {
                    Some(label) => exchange.with_header("content-type", label),
                    None => exchange,
                }
            };
            let (runtime, transport) = start_with([answer(), answer()], |config| {
                config.retry = steady_retry(2);
            });
            let events = collect(&runtime).await;
            let error = failure(&events);
            assert!(error.message().contains(said), "{label:?}: {error}");
            assert_eq!(transport.requests().len(), 1, "{label:?}: {error}");
        }
    }
}

#[actix_rt::test]
async fn the_head_comes_first_with_what_concerns_an_answer_and_no_secret() {
    let exchange = Exchange::stream(answer())
        .with_header("x-request-id", "req_7")
        .with_header("openai-processing-ms", "12")
        .with_header("x-ratelimit-remaining-tokens", "149984")
        .with_header("cf-ray", "9f-ZRH")
        .with_header("x-echo", "you sent sk-0123456789")
        .with_header("x-codex-turn-state", "sealed")
        .with_header("set-cookie", "session=hunter2")
        .with_header("connection", "keep-alive")
        .with_header("content-length", "99");
    let (runtime, _) = start_with([exchange.clone(), exchange], |config| {
        provider(config, |p| {
            p.auth = std::sync::Arc::new(BearerAuth::new("sk-0123456789").unwrap())
        });
    });
    let events = collect(&runtime).await;
    let Ok(ResponseEvent::Head(head)) = &events[0] else {
        panic!("{events:?}")
    };
    assert_eq!(
        (head.status.as_u16(), head.request_id.as_deref()),
        (200, Some("req_7"))
    );
    for (name, expected) in [
        ("openai-processing-ms", Some("12")),
        ("x-ratelimit-remaining-tokens", Some("149984")),
        ("CF-Ray", Some("9f-ZRH")),
        ("x-echo", Some("you sent [redacted]")),
        ("x-codex-turn-state", Some("sealed")),
        ("set-cookie", None),
        ("connection", None),
        ("content-length", None),
    ] {
        assert_eq!(head.header(name), expected, "{name}");
    }
    let printed = format!(
        "{head:?} {}",
        serde_json::to_string(&events[0].as_ref().unwrap()).unwrap()
    );
    for secret in ["sealed", "hunter2", "sk-0123456789"] {
        assert!(!printed.contains(secret), "{printed}");
    }
    let event = events[0].as_ref().unwrap();
    assert!(!event.is_output() && !event.is_final() && !event.is_delta());
    let response = runtime.respond(prompt()).await.unwrap();
    assert_eq!(response.head(), Some(&**head));
}

#[actix_rt::test]
async fn each_attempts_head_is_told_and_that_of_a_refusal_is_in_its_error() {
    let cut = |id| Exchange::stream(created()).with_header("x-request-id", id);
    let refused = Exchange::status(503)
        .with_header("x-request-id", "req_2")
        .with_header("retry-after-ms", "1");
    let exchanges = [cut("req_1"), refused.clone(), cut("req_3"), refused];
    let (runtime, _) = start_with(exchanges, |config| config.retry = steady_retry(4));
    let events = collect(&runtime).await;
    let heads = events.iter().filter_map(|event| match event {
        Ok(ResponseEvent::Head(head)) => head.request_id.as_deref(),
        _ => None,
    });
    assert_eq!(heads.collect::<Vec<_>>(), ["req_1", "req_3"]);
    let head = failure(&events).details().head.as_ref().unwrap();
    assert_eq!(
        (head.status.as_u16(), head.header("retry-after-ms")),
        (503, Some("1"))
    );
}
