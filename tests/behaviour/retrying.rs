//! What is tried again, how soon, and what the subscriber sees of it.

use std::time::Duration;

use actix_responses::{
    ErrorKind, Runtime,
    actors::{SubmitRequest, SupervisorConfig},
    protocol::ResponseEvent,
    provider::Provider,
    retry::RetryAfterOutput,
    transport::TransportErrorKind,
    wire::Wire,
};
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::support::{
    assert_elapsed, collect,
    events::*,
    failure, names, prompt, provider, start, start_with, steady_retry, text,
    transport::{Exchange, Misfortune, ScriptedTransport},
};

fn refused() -> Exchange {
    Exchange::error(
        TransportErrorKind::Connect,
        "connection refused by 127.0.0.1:9",
    )
}

#[actix_rt::test]
async fn a_failure_before_any_output_is_retried_in_silence() {
    for (first, name) in [
        (refused(), "refused"),
        (Exchange::status(503), "503"),
        (Exchange::status(500), "500"),
        (Exchange::status(429), "429"),
        (Exchange::status(408), "408"),
        (Exchange::stream(""), "empty"),
        (Exchange::stream(created()), "cut after created"),
        (
            Exchange::stream(created() + &in_progress()).broken(),
            "broken",
        ),
        (
            Exchange::stream(failed("rate_limit_exceeded", "slow")),
            "in-band rate limit",
        ),
        (
            Exchange::stream(failed("server_is_overloaded", "busy")),
            "in-band overload",
        ),
        (Exchange::stream("").panicking(), "panicked"),
    ] {
        let second = Exchange::stream(answer());
        let (runtime, transport) = start_with([first, second], |c| c.retry = steady_retry(5));
        let before = Instant::now();
        let events = collect(&runtime).await;
        let seen: Vec<_> = names(&events)
            .into_iter()
            .filter(|n| *n != "other")
            .collect();
        assert_eq!(seen, ANSWER, "{name}");
        assert_eq!(text(&events), "Hello", "{name}");
        assert_elapsed(before, Duration::from_millis(100));
        assert_eq!(transport.requests().len(), 2, "{name}");
    }
}

/// A first piece that broke on its way: whatever follows, what is streamed would have a hole.
#[actix_rt::test]
async fn a_broken_beginning_is_retried_in_silence_and_a_broken_middle_is_not() {
    let responses = [
        created() + &item_added(),
        "data: {\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"del\n\n".to_owned(),
        delta("lo") + &item_done("Hello") + &completed(),
    ];
    let chunk = |delta: &str, end: &str| {
        format!("data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{delta}{end}}}]}}\n\n")
    };
    let content = |text: &str| chunk(&format!("{{\"content\":\"{text}\"}}"), "");
    let end = chunk("{}", ",\"finish_reason\":\"stop\"") + "data: [DONE]\n\n";
    let chat = [
        chunk("{\"role\":\"assistant\",\"content\":\"\"}", ""),
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"con\n\n".to_owned(),
        content("lo") + &end,
    ];
    for (wire, [start, broken, rest], begun, whole) in [
        (Wire::Responses, responses, delta("Hel"), answer()),
        (
            Wire::Chat,
            chat,
            content("Hel"),
            content("Hel") + &content("lo") + &end,
        ),
    ] {
        let asked = async |first: String| {
            let exchanges = [Exchange::stream(first), Exchange::stream(whole.clone())];
            let (runtime, transport) = start_with(exchanges, |config| {
                config.retry = steady_retry(5);
                provider(config, |provider| provider.wire = wire);
            });
            let events = collect(&runtime).await;
            (events, transport.requests().len())
        };
        let (events, requests) = asked(start.clone() + &broken + &rest).await;
        assert_eq!((&*text(&events), requests), ("Hello", 2), "{wire:?}");
        assert_eq!(names(&events).last(), Some(&"completed"), "{wire:?}");
        let (events, requests) = asked(start + &begun + &broken + &rest).await;
        assert_eq!((&*text(&events), requests), ("Hello", 1), "{wire:?}");
        // The Responses API says the whole again.
        let expected = match wire == Wire::Chat {
            true => "truncated",
            false => "completed",
        };
        assert_eq!(names(&events).last(), Some(&expected), "{wire:?}");
    }
}

#[actix_rt::test]
async fn a_retried_created_with_another_id_is_told() {
    let other = answer().replace("resp_1", "resp_2");
    let (runtime, _) = start([Exchange::stream(created()), Exchange::stream(other)]);
    let events = collect(&runtime).await;
    assert_eq!(names(&events)[..2], ["created", "created"]);
    // Their heads are equal, and that of the second is not delivered again.
    let Ok(ResponseEvent::Created(created)) = &events[2] else {
        panic!("{events:?}")
    };
    assert_eq!(created.response_id.as_deref(), Some("resp_2"));
}

#[actix_rt::test]
async fn the_budget_includes_the_first_attempt_and_the_error_names_them_all() {
    let exchanges = [refused(), Exchange::status(503), refused()];
    let (runtime, transport) = start_with(exchanges, |c| c.retry = steady_retry(3));
    let before = Instant::now();
    let events = collect(&runtime).await;
    let error = failure(&events);
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert_elapsed(before, Duration::from_millis(100 + 200));
    assert_eq!(transport.requests().len(), 3);
    let details = error.details();
    assert_eq!((details.attempt, details.max_attempts), (3, 3));
    let kinds: Vec<_> = details.attempts.iter().map(|a| a.kind).collect();
    assert_eq!(
        kinds,
        [
            ErrorKind::Connect,
            ErrorKind::Overloaded,
            ErrorKind::Connect
        ]
    );
    let report = error.report();
    for part in [
        "attempt 3 of 3",
        "scripted.test",
        "connection refused",
        "To try",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
}

#[actix_rt::test]
async fn the_time_that_a_server_names_is_waited() {
    for (header, value, millis) in [
        ("retry-after", "7", 7_000),
        ("retry-after-ms", "1250", 1_250),
    ] {
        let first = Exchange::status(429).with_header(header, value);
        let (runtime, _) = start([first, Exchange::stream(answer())]);
        let before = Instant::now();
        assert_eq!(names(&collect(&runtime).await), ANSWER);
        assert_elapsed(before, Duration::from_millis(millis));
    }
    let told = failed(
        "rate_limit_exceeded",
        "Rate limit reached. Please try again in 1m1.5s.",
    );
    let (runtime, _) = start([Exchange::stream(told), Exchange::stream(answer())]);
    let before = Instant::now();
    assert_eq!(names(&collect(&runtime).await), ANSWER);
    assert_elapsed(before, Duration::from_millis(61_500));
}

#[actix_rt::test]
async fn a_time_beyond_the_longest_is_reported_instead_of_waited() {
    let (runtime, transport) = start([Exchange::status(429).with_header("retry-after", "3600")]);
    let before = Instant::now();
    let events = collect(&runtime).await;
    let error = failure(&events);
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert_eq!(error.details().retry_after, Some(Duration::from_secs(3600)));
    assert_elapsed(before, Duration::ZERO);
    assert_eq!(transport.requests().len(), 1);
}

#[actix_rt::test]
async fn the_time_that_a_body_names_is_waited_and_headers_outrank_it() {
    let google = r#"[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"m","details":[{"retryDelay":"34s"}]}}]"#;
    for (header, millis) in [(None, 34_000), (Some(("retry-after", "2")), 2_000)] {
        let mut first = Exchange::status(429).chunk(google);
        if let Some((name, value)) = header {
            first = first.with_header(name, value);
        }
        let (runtime, _) = start([first, Exchange::stream(answer())]);
        let before = Instant::now();
        assert_eq!(names(&collect(&runtime).await), ANSWER);
        assert_elapsed(before, Duration::from_millis(millis));
    }
}

#[actix_rt::test]
async fn the_limits_of_a_refused_request_are_delivered_and_in_its_error() {
    let refused = || {
        Exchange::status(429)
            .with_header("x-codex-primary-used-percent", "100")
            .with_header("x-ratelimit-remaining-requests", "0")
    };
    let (runtime, _) = start_with([refused(), refused()], |c| c.retry = steady_retry(2));
    let events = collect(&runtime).await;
    // Those of the second attempt are the same, and not delivered again.
    assert_eq!(names(&events)[..2], ["rate_limits"; 2], "{events:?}");
    assert_eq!(events.len(), 3);
    let limits = failure(&events).details().rate_limits.as_ref();
    let first = limits.expect("the limits");
    assert_eq!(first.limit_id.as_deref(), Some("codex"));
    let Ok(ResponseEvent::RateLimits(delivered)) = &events[0] else {
        panic!("{events:?}")
    };
    assert_eq!(**delivered, *first);
}

#[actix_rt::test]
async fn what_can_not_help_is_not_retried() {
    for status in [400, 401, 403, 404, 413, 422] {
        let (runtime, transport) = start([Exchange::status(status), Exchange::stream(answer())]);
        let events = collect(&runtime).await;
        assert_eq!(failure(&events).details().status, Some(status));
        assert_eq!(transport.requests().len(), 1, "{status}");
    }
    for code in [
        "context_length_exceeded",
        "insufficient_quota",
        "usage_not_included",
        "invalid_prompt",
        "cyber_policy",
        "data_residency_mismatch",
        "invalid_encrypted_content",
        "misalignment_policy_violation",
    ] {
        let (runtime, transport) = start([
            Exchange::stream(failed(code, "no")),
            Exchange::stream(answer()),
        ]);
        let events = collect(&runtime).await;
        assert_eq!(failure(&events).details().code.as_deref(), Some(code));
        assert_eq!(transport.requests().len(), 1, "{code}");
    }
    let quota = Exchange::status(429)
        .chunk(r#"{"error":{"code":"insufficient_quota","message":"no credit"}}"#);
    let (runtime, transport) = start([quota, Exchange::stream(answer())]);
    assert_eq!(
        failure(&collect(&runtime).await).kind(),
        ErrorKind::QuotaExceeded
    );
    assert_eq!(transport.requests().len(), 1);
}

#[actix_rt::test]
async fn after_output_the_default_is_to_fail_and_say_so() {
    let cut = Exchange::stream(created() + &item_added() + &delta("Hel"));
    let (runtime, transport) = start([cut, Exchange::stream(answer())]);
    let events = collect(&runtime).await;
    assert_eq!(
        names(&events),
        [
            "created",
            "output_item_added",
            "output_text_delta",
            "truncated"
        ]
    );
    assert!(failure(&events).details().output_delivered);
    assert_eq!(transport.requests().len(), 1);
}

#[actix_rt::test]
async fn after_output_a_restart_is_announced_and_starts_over() {
    let cut = Exchange::stream(created() + &item_added() + &delta("Hex"));
    let (runtime, transport) = start_with([cut, Exchange::stream(answer())], |config| {
        config.retry = steady_retry(2);
        config.retry.after_output = RetryAfterOutput::Restart;
    });
    let events = collect(&runtime).await;
    let mut expected = vec![
        "created",
        "output_item_added",
        "output_text_delta",
        "restarted",
    ];
    expected.extend(ANSWER);
    assert_eq!(names(&events), expected);
    assert_eq!(text(&events), "Hello");
    let Ok(ResponseEvent::Restarted(restarted)) = &events[4] else {
        panic!("{events:?}")
    };
    assert_eq!(
        (restarted.attempt, restarted.delay),
        (2, Duration::from_millis(100))
    );
    assert_eq!(restarted.error.kind(), ErrorKind::Truncated);
    assert_eq!(transport.requests().len(), 2);
}

#[actix_rt::test]
async fn a_cut_at_any_byte_with_a_restart_gives_the_right_text() {
    let whole = answer();
    for cut in 0..whole.len() - 2 {
        let body = whole.as_bytes()[..cut].to_vec();
        let (runtime, _) = start_with(
            [Exchange::stream(body), Exchange::stream(whole.clone())],
            |config| {
                config.retry = steady_retry(2);
                config.retry.after_output = RetryAfterOutput::Restart;
            },
        );
        let events = collect(&runtime).await;
        assert_eq!(text(&events), "Hello", "cut at {cut}");
        let after = names(&events);
        let restart = after.iter().position(|name| *name == "restarted");
        assert_eq!(
            after[restart.map_or(0, |at| at + 1)..],
            ANSWER,
            "cut at {cut}"
        );
    }
}

#[actix_rt::test]
async fn an_error_of_the_server_is_kept_when_the_connection_breaks_after_it() {
    let body = Exchange::stream(created() + &failed("invalid_prompt", "the real reason")).broken();
    let (runtime, _) = start([body]);
    assert_eq!(
        failure(&collect(&runtime).await).message(),
        "the real reason"
    );
}

#[actix_rt::test]
async fn the_total_timeout_bounds_all_attempts_together() {
    let exchanges = (0..5).map(|_| Exchange::silence());
    let (runtime, transport) = start_with(exchanges, |config| {
        config.retry = steady_retry(5);
        provider(config, |p| {
            p.timeouts.response_head = Duration::from_secs(10);
            p.timeouts.total = Some(Duration::from_secs(25));
        });
    });
    let before = Instant::now();
    let events = collect(&runtime).await;
    assert_eq!(failure(&events).kind(), ErrorKind::TotalTimeout);
    assert_elapsed(before, Duration::from_secs(25));
    assert_eq!(transport.requests().len(), 3);
}

#[actix_rt::test]
async fn a_redirect_to_elsewhere_or_by_another_method_is_an_error_and_is_not_followed() {
    for (status, to) in [
        (307, "https://elsewhere.test/v1?key=hunter2"),
        (308, "http://host.test:1/v1#hunter2"),
        (302, "/v2/responses?key=hunter2"),
        (303, "/v2/responses"),
    ] {
        let (runtime, transport) = start([Exchange::status(status).with_header("location", to)]);
        let events = collect(&runtime).await;
        let error = failure(&events);
        let place = to.split(['?', '#']).next().unwrap();
        assert!(error.message().contains(place), "{error}");
        assert!(!error.message().contains("hunter2"), "{error}");
        assert_eq!(transport.requests().len(), 1);
    }
}

#[actix_rt::test]
async fn a_redirect_within_the_server_is_followed_and_is_no_attempt() {
    let to = |place: &'static str| Exchange::status(308).with_header("location", place);
    let exchanges = [to("/v2/responses"), to("./"), Exchange::stream(answer())];
    let (runtime, transport) = start_with(exchanges, |config| config.retry.max_attempts = 1);
    assert_eq!(names(&collect(&runtime).await), ANSWER);
    let requests = transport.requests();
    let path = |url: &str| url.splitn(4, '/').last().unwrap().to_owned();
    let paths: Vec<_> = requests
        .iter()
        .map(|request| path(request.url.as_str()))
        .collect();
    assert_eq!(paths, ["v1/responses", "v2/responses", "v2/"]);
    let bodies = requests.iter().map(|request| &request.body);
    assert!(bodies.into_iter().all(|body| *body == requests[0].body));
    assert!(
        requests
            .iter()
            .all(|request| request.headers == requests[0].headers)
    );

    // Round and round.
    let exchanges = (0..9).map(|_| to("/v1/responses"));
    let (runtime, transport) = start_with(exchanges, |config| config.retry.max_attempts = 1);
    let events = collect(&runtime).await;
    assert_eq!(failure(&events).kind(), ErrorKind::UnexpectedStatus);
    assert_eq!(transport.requests().len(), 4);
}

#[actix_rt::test]
async fn a_path_that_the_base_url_has_twice_is_hinted_at() {
    for (base_url, said) in [
        ("http://host.test/v1/responses", Some("/responses already")),
        (
            "http://host.test/v1/chat/completions/",
            Some("/chat/completions already"),
        ),
        ("http://host.test/v1", None),
    ] {
        let (runtime, _) = start_with([Exchange::status(404)], |config| {
            config.provider = Provider::new("test", base_url).unwrap().into();
        });
        let events = collect(&runtime).await;
        let error = failure(&events);
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let is_hinted = said.map(|said| error.message().contains(said));
        let is_right = is_hinted.unwrap_or(!error.message().contains("already"));
        assert!(is_right, "{error}");
    }
}

/// It goes on without its stream, and another `POST` would be another response that is paid for.
#[actix_rt::test]
async fn a_background_response_that_was_accepted_is_not_posted_again() {
    let accepted = || [created(), in_progress()].concat();
    let restart = RetryAfterOutput::Restart;
    for (cut, kind) in [
        (Exchange::stream(accepted()), ErrorKind::Truncated),
        (Exchange::stream(accepted()).broken(), ErrorKind::Connection),
        (
            Exchange::stream(accepted()).held_open(),
            ErrorKind::IdleTimeout,
        ),
        (
            Exchange::stream(accepted()).panicking(),
            ErrorKind::AttemptLost,
        ),
    ] {
        for (background, after_output, requests) in [
            (Some(true), RetryAfterOutput::Fail, 1),
            (Some(true), restart, 2),
            (Some(false), RetryAfterOutput::Fail, 2),
            (None, RetryAfterOutput::Fail, 2),
        ] {
            let exchanges = [cut.clone(), Exchange::stream(answer())];
            let (runtime, transport) = start_with(exchanges, |config| {
                config.retry = steady_retry(3);
                config.retry.after_output = after_output;
                config.retry.resume_window = Some(Duration::ZERO);
            });
            let mut prompt = prompt();
            prompt.options.background = background;
            let stream = runtime.stream(prompt).await.unwrap();
            let events: Vec<_> = stream.collect().await;
            assert_eq!(
                transport.requests().len(),
                requests,
                "{kind} {background:?}"
            );
            if requests > 1 {
                assert_eq!(text(&events), "Hello");
                assert!(!names(&events).contains(&"restarted"), "nothing was void");
                continue;
            }
            let error = failure(&events);
            assert_eq!(error.kind(), kind);
            let details = error.details();
            assert_eq!((details.attempt, details.output_delivered), (1, false));
            if kind != ErrorKind::AttemptLost {
                assert_eq!(details.response_id.as_deref(), Some("resp_1"), "{kind}");
                assert_eq!(details.sequence_number, Some(1), "{kind}");
            }
        }
    }
}

#[actix_rt::test]
async fn a_background_response_that_was_not_accepted_is_posted_again() {
    for first in [
        Exchange::status(503),
        Exchange::error(TransportErrorKind::Connect, "refused"),
        Exchange::stream(""),
        Exchange::stream(": a keepalive\n\n"),
    ] {
        let exchanges = [first, Exchange::stream(answer())];
        let (runtime, transport) = start_with(exchanges, |c| c.retry = steady_retry(3));
        let mut prompt = prompt();
        prompt.options.background = Some(true);
        let stream = runtime.stream(prompt).await.unwrap();
        assert_eq!(text(&stream.collect::<Vec<_>>().await), "Hello");
        assert_eq!(transport.requests().len(), 2);
    }
}

#[actix_rt::test]
async fn a_backoff_that_makes_no_sense_is_refused_before_anything_is_sent() {
    let (runtime, transport) = start([Exchange::stream(answer())]);
    let mut retry = steady_retry(2);
    retry.backoff.base = Duration::ZERO;
    let request = SubmitRequest::new(prompt()).with_retry(retry.clone());
    let refused = runtime.submit(request).await.expect_err("a refusal");
    assert_eq!(refused.kind(), ErrorKind::InvalidConfiguration);
    assert!(
        refused.message().contains("base delay is zero"),
        "{refused}"
    );
    assert!(transport.requests().is_empty());

    let provider = Provider::new("scripted", "http://scripted.test/v1").unwrap();
    let mut config = SupervisorConfig::new(provider);
    config.retry = retry;
    let refused = Runtime::with_transport(config, ScriptedTransport::new([])).err();
    assert_eq!(
        refused.map(|error| error.kind()),
        Some(ErrorKind::InvalidConfiguration)
    );
}
