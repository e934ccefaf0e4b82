//! Requests that are paced by what the server says of its limits.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_responses::{
    ErrorKind, ResponseStream, Runtime,
    actors::{
        CancelRequest, Compact, GetStatus, Milestone, RequestId, RequestNotice, RequestPhase,
        RequestStatus, SubmitRequest, SupervisorConfig,
    },
    protocol::{CompactionInput, Prompt, ResponseItem},
    provider::{BearerAuth, Provider},
    retry::LimiterPolicy,
    testing,
};
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::support::{
    assert_elapsed, failure, names, prompt, settle, start_with, steady_retry,
    transport::{Exchange, ScriptedTransport},
};

/// An answer with the headers of a limit on requests.
fn limited(limit: u64, remaining: u64, reset: &str) -> Exchange {
    Exchange::answer("hello")
        .with_header("x-ratelimit-limit-requests", &limit.to_string())
        .with_header("x-ratelimit-remaining-requests", &remaining.to_string())
        .with_header("x-ratelimit-reset-requests", reset)
}

fn used_up(reset: &str) -> Exchange {
    limited(10, 0, reset)
}

fn refused(retry_after: &str) -> Exchange {
    Exchange::status(429).with_header("retry-after", retry_after)
}

fn paced(exchanges: impl IntoIterator<Item = Exchange>) -> (Runtime, ScriptedTransport) {
    paced_with(exchanges, |_, _| {})
}

/// One probe at a time, so that what is heard first is what the first exchange says.
fn paced_with(
    exchanges: impl IntoIterator<Item = Exchange>,
    change: impl FnOnce(&mut SupervisorConfig, &mut LimiterPolicy),
) -> (Runtime, ScriptedTransport) {
    start_with(exchanges, |config| {
        let mut policy = LimiterPolicy::default();
        policy.probes = 1;
        config.retry = steady_retry(5);
        change(config, &mut policy);
        config.limiter = Some(policy);
    })
}

async fn submit(runtime: &Runtime, prompt: Prompt) -> ResponseStream {
    runtime.stream(prompt).await.expect("an accepted request")
}

fn numbered(number: usize) -> Prompt {
    Prompt::user(format!("number {number}.")).with_model("test-model")
}

/// Which of the numbered prompts were sent, in order.
fn sent(transport: &ScriptedTransport) -> Vec<usize> {
    let requests = transport.requests();
    let number = |body: &[u8]| {
        let text = String::from_utf8_lossy(body).into_owned();
        let (_, rest) = text.split_once("number ")?;
        rest.split_once('.')?.0.parse().ok()
    };
    let numbers = requests.iter().map(|request| number(&request.body));
    numbers.map(|number| number.expect("a number")).collect()
}

async fn status(runtime: &Runtime, request: RequestId) -> RequestStatus {
    let status = runtime.supervisor().send(GetStatus { request }).await;
    status.unwrap().expect("a known request")
}

async fn is_completed(stream: ResponseStream) -> bool {
    let events: Vec<_> = stream.collect().await;
    names(&events).last() == Some(&"completed")
}

#[actix_rt::test]
async fn without_a_policy_all_are_sent_at_once() {
    let (runtime, transport) = start_with((0..50).map(|_| used_up("60s")), |_| {});
    let mut streams = Vec::new();
    for number in 0..50 {
        streams.push(submit(&runtime, numbered(number)).await);
    }
    settle().await;
    assert_eq!(transport.requests().len(), 50);
}

#[actix_rt::test]
async fn a_burst_goes_out_in_its_order_at_the_pace_that_the_server_tells() {
    // Five in each ten seconds.
    let exchanges = (0..20).map(|number| {
        let remaining = 4 - number % 5;
        let left = 10 - number % 5 * 2;
        limited(5, remaining, &format!("{left}s")).head_after(Duration::from_millis(10))
    });
    let (runtime, transport) = paced(exchanges);
    let before = Instant::now();
    let mut streams = Vec::new();
    for number in 0..20 {
        streams.push(submit(&runtime, numbered(number)).await);
    }
    let mut most = 0;
    // The last five are as many as may go at once.
    while transport.requests().len() < 15 {
        let sent = transport.requests().len();
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(transport.requests().len() - sent);
    }
    assert!(most <= 2, "{most} at once");
    for stream in streams {
        assert!(is_completed(stream).await);
    }
    assert!(before.elapsed() >= Duration::from_secs(30));
    assert_eq!(sent(&transport), (0..20).collect::<Vec<_>>());
}

#[actix_rt::test]
async fn who_waits_is_seen_in_the_status_and_told_to_observers() {
    let (runtime, _) = paced([used_up("20s"), used_up("20s")]);
    let first = submit(&runtime, prompt()).await;
    settle().await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = told.clone();
    let request = SubmitRequest::new(prompt()).with_observer(move |notice: &RequestNotice| {
        let milestone = match &notice.milestone {
            Milestone::Limited { about } => format!("limited {}", about.as_secs()),
            Milestone::Accepted => "accepted".to_owned(),
            Milestone::Started => format!("started {}", notice.age.as_secs()),
            _ => return,
        };
        telling.lock().unwrap().push(milestone);
    });
    let second = runtime.submit(request).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let seen = status(&runtime, second.request()).await;
    assert_eq!((seen.phase, seen.attempt), (RequestPhase::Limited, 0));
    let limited = seen.limited.expect("a wait");
    let seconds = |time: Duration| time.as_secs_f64().round();
    assert_eq!(seconds(limited.waited), 5.0);
    assert_eq!(seconds(limited.about), 15.0);
    let listed = runtime.requests().await;
    let phases: Vec<_> = listed.iter().map(|status| status.phase).collect();
    assert_eq!(phases, [RequestPhase::Ended, RequestPhase::Limited]);
    assert!(is_completed(first).await);
    assert!(is_completed(second).await);
    assert_eq!(
        *told.lock().unwrap(),
        ["accepted", "limited 20", "started 20"]
    );
}

#[actix_rt::test]
async fn a_refusal_holds_up_its_model_and_key_and_no_other() {
    let others = (0..3).map(|_| Exchange::answer("hello"));
    let (runtime, transport) = paced(
        [refused("30")]
            .into_iter()
            .chain(others)
            .chain([used_up("1s"), used_up("1s")]),
    );
    let before = Instant::now();
    let first = submit(&runtime, numbered(0)).await;
    settle().await;
    let second = submit(&runtime, numbered(1)).await;
    settle().await;
    let other_model = submit(&runtime, numbered(2).with_model("other-model")).await;
    let own_key = SubmitRequest::new(numbered(3)).with_header("authorization", "Bearer other");
    let own_key = runtime.submit(own_key.unwrap()).await.unwrap();
    let of_its_own = testing::config().provider;
    let of_its_own = Provider::clone(&of_its_own).with_auth(BearerAuth::new("own").unwrap());
    let other_auth = SubmitRequest::new(numbered(4)).with_provider(Arc::new(of_its_own));
    let other_auth = runtime.submit(other_auth).await.unwrap();
    for stream in [other_model, own_key, other_auth] {
        assert!(is_completed(stream).await);
    }
    assert_eq!(sent(&transport), [0, 2, 3, 4]);
    assert_elapsed(before, Duration::ZERO);
    // The one that was refused is tried again ahead of the one behind it.
    assert!(is_completed(first).await);
    assert_elapsed(before, Duration::from_secs(30));
    assert!(is_completed(second).await);
    assert_eq!(sent(&transport), [0, 2, 3, 4, 0, 1]);
}

#[actix_rt::test]
async fn questions_wait_in_the_same_queue() {
    let output = r#"{"output":[{"type":"compaction","encrypted_content":"x"}]}"#;
    let compaction = Exchange::status(200)
        .with_header("content-type", "application/json")
        .chunk(output);
    let (runtime, transport) = paced([used_up("5s"), compaction, used_up("1s")]);
    assert!(is_completed(submit(&runtime, prompt()).await).await);
    let before = Instant::now();
    let items = vec![ResponseItem::user_text("hello")];
    let compact = Compact::new(CompactionInput::new("test-model", items));
    let compacted = runtime.compact(compact);
    let behind = async {
        settle().await;
        is_completed(submit(&runtime, prompt()).await).await
    };
    let (compacted, behind) = futures_util::future::join(compacted, behind).await;
    assert!(compacted.is_ok() && behind, "{compacted:?}");
    assert_elapsed(before, Duration::from_secs(5));
    assert_eq!(transport.requests()[1].url.path(), "/v1/responses/compact");
}

#[actix_rt::test]
async fn who_waits_can_be_cancelled_and_left_alone_and_holds_up_nobody() {
    let (runtime, transport) = paced([used_up("60s"), limited(10, 9, "60s")]);
    assert!(is_completed(submit(&runtime, numbered(0)).await).await);
    let before = Instant::now();
    let cancelled = submit(&runtime, numbered(1)).await;
    let deserted = submit(&runtime, numbered(2)).await;
    let question = runtime.compact(Compact::new(CompactionInput::new(
        "test-model",
        vec![ResponseItem::user_text("number 3.")],
    )));
    let mut question = Box::pin(question);
    let polled = poll_fn(|cx| std::task::Poll::Ready(question.as_mut().poll(cx))).await;
    assert!(polled.is_pending());
    settle().await;
    let last = submit(&runtime, numbered(4)).await;
    let request = cancelled.request();
    let was_live = runtime.supervisor().send(CancelRequest { request }).await;
    assert!(was_live.unwrap());
    let events: Vec<_> = cancelled.collect().await;
    assert_eq!(names(&events), ["cancelled"]);
    drop((deserted, question));
    assert!(is_completed(last).await);
    assert_elapsed(before, Duration::from_secs(60));
    assert_eq!(sent(&transport), [0, 4]);
    let listed = runtime.requests().await;
    assert!(
        listed
            .iter()
            .all(|status| status.phase == RequestPhase::Ended)
    );
}

#[actix_rt::test]
async fn a_shutdown_ends_all_who_wait_and_sends_none_of_them() {
    let (runtime, transport) = paced([used_up("60s"), refused("50"), refused("50")]);
    assert!(is_completed(submit(&runtime, numbered(0)).await).await);
    let mut streams = Vec::new();
    for number in 1..4 {
        streams.push(submit(&runtime, numbered(number)).await);
    }
    // Two of them have been refused, and wait with that.
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(sent(&transport), [0, 1, 2]);
    let before = Instant::now();
    runtime.shutdown(Duration::from_secs(5)).await;
    assert_elapsed(before, Duration::ZERO);
    let expected = [
        ErrorKind::RateLimited,
        ErrorKind::RateLimited,
        ErrorKind::ShutDown,
    ];
    for (stream, expected) in streams.into_iter().zip(expected) {
        let events: Vec<_> = stream.collect().await;
        assert_eq!(failure(&events).kind(), expected);
    }
    assert_eq!(sent(&transport), [0, 1, 2]);
}

#[actix_rt::test]
async fn the_wait_is_bounded_and_the_error_says_what_to_do() {
    // A wait that is too long is known beforehand, or found out.
    let silent = Exchange::silence();
    for (exchange, expected) in [(refused("100"), 0), (silent, 60)] {
        let (runtime, transport) = paced_with([exchange], |_, policy| {
            policy.max_wait = Duration::from_secs(60);
        });
        let _first = submit(&runtime, prompt()).await;
        settle().await;
        let before = Instant::now();
        let events: Vec<_> = submit(&runtime, prompt()).await.collect().await;
        assert_elapsed(before, Duration::from_secs(expected));
        let error = failure(&events);
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        for text in ["test-model", "`max_wait`", "60s", "wait longer"] {
            assert!(error.message().contains(text), "{error}");
        }
        let waits = expected == 0;
        assert_eq!(error.details().retry_after.is_some(), waits, "{error}");
        assert_eq!(transport.requests().len(), 1);
    }
}

#[actix_rt::test]
async fn the_total_timeout_counts_before_the_limiter_too() {
    let mut hurried = None;
    let (runtime, transport) = paced_with([Exchange::silence()], |config, _| {
        // A clone has the same key.
        let mut provider = Provider::clone(&config.provider);
        provider.timeouts.total = Some(Duration::from_secs(9));
        hurried = Some(Arc::new(provider));
    });
    let _first = submit(&runtime, prompt()).await;
    settle().await;
    let before = Instant::now();
    let request = SubmitRequest::new(prompt()).with_provider(hurried.expect("a provider"));
    let events: Vec<_> = runtime.submit(request).await.unwrap().collect().await;
    assert_eq!(failure(&events).kind(), ErrorKind::TotalTimeout);
    assert_elapsed(before, Duration::from_secs(9));
    assert_eq!(transport.requests().len(), 1);
}

/// What failed for a known reason does not end with a wait.
#[actix_rt::test]
async fn a_known_error_outlives_the_wait_for_another_attempt() {
    let (runtime, transport) = paced_with([Exchange::status(503), refused("90")], |_, policy| {
        policy.max_wait = Duration::from_secs(60);
    });
    let first = submit(&runtime, numbered(0)).await;
    settle().await;
    let _second = submit(&runtime, numbered(1)).await;
    let events: Vec<_> = first.collect().await;
    assert_eq!(sent(&transport), [0, 1]);
    let error = failure(&events);
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert_eq!(error.details().attempts.len(), 1);
}

#[actix_rt::test]
async fn tokens_are_counted_by_the_body_and_what_may_come() {
    let tokens = |remaining: &str| {
        Exchange::answer("hello")
            .with_header("x-ratelimit-limit-tokens", "1000")
            .with_header("x-ratelimit-remaining-tokens", remaining)
            .with_header("x-ratelimit-reset-tokens", "30s")
    };
    let (runtime, transport) = paced([tokens("600"), tokens("100"), tokens("0")]);
    assert!(is_completed(submit(&runtime, numbered(0)).await).await);
    let before = Instant::now();
    // Some 30 tokens are in the body.
    let small = numbered(1).with_max_output_tokens(500);
    assert!(is_completed(submit(&runtime, small).await).await);
    assert_elapsed(before, Duration::ZERO);
    let large = numbered(2).with_max_output_tokens(50_000);
    assert!(is_completed(submit(&runtime, large).await).await);
    assert_elapsed(before, Duration::from_secs(30));
    assert_eq!(sent(&transport), [0, 1, 2]);
}

#[actix_rt::test]
async fn another_provider_is_asked_where_the_wait_is_too_long() {
    let exchanges = [refused("100"), Exchange::answer("hello")];
    let (runtime, transport) = paced_with(exchanges, |_, policy| {
        policy.max_wait = Duration::from_secs(60);
    });
    let _first = submit(&runtime, prompt()).await;
    settle().await;
    let other = Provider::new("other", "http://other.test/v1").unwrap();
    let request = SubmitRequest::new(prompt()).with_fallback(other);
    let before = Instant::now();
    assert!(is_completed(runtime.submit(request).await.unwrap()).await);
    assert_elapsed(before, Duration::ZERO);
    assert_eq!(transport.requests()[1].url.host_str(), Some("other.test"));
}
