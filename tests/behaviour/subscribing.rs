//! Several listeners, late ones, slow ones and broken ones.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_responses::{
    ErrorKind, Runtime,
    actors::{
        Cursor, DeliveryPolicy, GetStatus, RequestId, Shutdown, SubmitRequest, Subscribe,
        SubscribeError, Subscriber, WhenDeserted,
    },
    protocol::ResponseEvent,
    testing::Recorder,
};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::support::{
    collect,
    events::*,
    failure, names, prompt, provider,
    recorder::{Seen, panicking_at},
    settle, start, start_with, steady_retry, text,
    transport::{Exchange, Misfortune},
};

fn recorder(recorder: Recorder) -> (Subscriber, Recorder) {
    (recorder.subscriber(), recorder)
}

fn deltas(count: usize) -> (String, String) {
    let body = (0..count)
        .map(|n| delta(&format!("{n} ")))
        .collect::<String>();
    let text = (0..count).map(|n| format!("{n} ")).collect();
    (
        created() + &item_added() + &body + &item_done("x") + &completed(),
        text,
    )
}

#[actix_rt::test]
async fn latecomers_see_the_same_sequence_whenever_they_join() {
    let mut exchange = Exchange::stream(created());
    for n in 0..10 {
        exchange = exchange
            .wait(Duration::from_secs(1))
            .chunk(delta(&format!("{n} ")));
    }
    let (runtime, _) = start([exchange.chunk(completed())]);
    let (first, first_seen) = recorder(Recorder::start());
    let submitted = runtime
        .supervisor()
        .send(SubmitRequest::new(prompt()).with_subscriber(first))
        .await
        .unwrap()
        .unwrap();
    let request = submitted.request;
    let mut joined = Vec::new();
    for _ in 0..15 {
        let (subscriber, seen) = recorder(Recorder::start());
        runtime
            .supervisor()
            .send(Subscribe {
                request,
                subscriber,
            })
            .await
            .unwrap()
            .unwrap();
        joined.push(seen);
        tokio::time::sleep(Duration::from_millis(900)).await;
    }
    assert_eq!(first_seen.events().len(), 13);
    assert_eq!(first_seen.ends(), 1);
    for seen in joined {
        assert_eq!(seen.sequenced(), first_seen.sequenced());
    }
}

#[actix_rt::test]
async fn a_cursor_resumes_without_gap_or_repeat() {
    let (body, _) = deltas(50);
    let (runtime, _) = start([Exchange::stream(body)]);
    let mut stream = runtime.stream(prompt()).await.unwrap();
    let all = stream.by_ref().collect::<Vec<_>>().await;
    for from in 0..all.len() as u64 {
        let rest = runtime
            .subscribe(stream.request(), Cursor::From(from))
            .await
            .unwrap();
        assert_eq!(
            rest.collect::<Vec<_>>().await,
            all[from as usize..],
            "from {from}"
        );
    }
    let live = runtime
        .subscribe(stream.request(), Cursor::Live)
        .await
        .unwrap();
    assert_eq!(
        live.collect::<Vec<_>>().await,
        all[all.len() - 1..],
        "the end is still told"
    );
    let ahead = runtime
        .subscribe(stream.request(), Cursor::From(99))
        .await
        .err();
    assert!(matches!(
        ahead,
        Some(SubscribeError::CursorAhead { wanted: 99, .. })
    ));
}

#[actix_rt::test]
async fn a_cursor_that_has_fallen_off_the_log_says_so() {
    for live_only in [false, true] {
        let mut exchange = Exchange::stream(created());
        for n in 0..50 {
            exchange = exchange
                .wait(Duration::from_millis(1))
                .chunk(delta(&n.to_string()));
        }
        let exchange = exchange.chunk(completed());
        let (runtime, _) = start_with([exchange], |config| {
            if !live_only {
                config.audience.log_events = 10;
            }
        });
        let mut request = SubmitRequest::new(prompt());
        request.live_only = live_only;
        let mut stream = runtime.submit(request).await.unwrap();
        let mut deltas = 0;
        while let Some(event) = stream.next().await {
            deltas += usize::from(event.unwrap().is_delta());
        }
        assert_eq!(deltas, 50);
        let Err(error) = runtime.subscribe(stream.request(), Cursor::Start).await else {
            panic!("it should be gone")
        };
        let SubscribeError::CursorExpired {
            wanted: 0, oldest, ..
        } = error
        else {
            panic!("{error}")
        };
        assert!(oldest > 30, "{error}");
        let late = runtime.subscribe(stream.request(), Cursor::From(oldest));
        assert!(late.await.is_ok());
    }
}

#[actix_rt::test]
async fn a_runtime_that_was_shut_down_knows_no_request_and_says_so() {
    let (runtime, _) = start([Exchange::stream(answer())]);
    let mut stream = runtime.stream(prompt()).await.unwrap();
    while stream.next().await.is_some() {}
    let () = runtime
        .supervisor()
        .send(Shutdown {
            grace: Duration::ZERO,
        })
        .await
        .unwrap();
    let gone = runtime.subscribe(stream.request(), Cursor::Start).await;
    assert_eq!(gone.err(), Some(SubscribeError::ShutDown));
}

#[actix_rt::test]
async fn an_ended_request_is_kept_for_a_while_and_no_longer() {
    let (runtime, _) = start([Exchange::stream(answer())]);
    let mut stream = runtime.stream(prompt()).await.unwrap();
    while stream.next().await.is_some() {}
    let request = stream.request();
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert!(runtime.subscribe(request, Cursor::Start).await.is_ok());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let gone = runtime.subscribe(request, Cursor::Start).await.err();
    assert_eq!(gone, Some(SubscribeError::UnknownRequest { request }));
}

#[actix_rt::test]
async fn a_subscriber_of_single_events_gets_the_end_too() {
    let (runtime, _) = start([Exchange::stream(answer())]);
    let seen = Recorder::start();
    let subscriber = seen.event_subscriber();
    runtime
        .supervisor()
        .send(SubmitRequest::new(prompt()).with_subscriber(subscriber))
        .await
        .unwrap()
        .unwrap();
    settle().await;
    assert_eq!(seen.names()[1..], ANSWER);
}

#[actix_rt::test]
async fn a_burst_beyond_a_mailbox_arrives_whole() {
    let (body, text) = deltas(3000);
    for size in [50, 1460, 100_000_000] {
        let (runtime, _) = start([Exchange::status(200).chunks(body.as_bytes(), size)]);
        let (whole, whole_seen) = recorder(Recorder::slow(Duration::from_millis(1)));
        let single_seen = Recorder::start();
        let request = SubmitRequest::new(prompt())
            .with_subscriber(whole)
            .with_subscriber(single_seen.event_subscriber());
        runtime.supervisor().send(request).await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_secs(25)).await;
        for seen in [whole_seen, single_seen] {
            assert_eq!(seen.text(), text, "chunks of {size}");
            assert!(seen.is_consecutive_from(0));
            assert_eq!(seen.ends(), 1);
        }
    }
}

#[actix_rt::test]
async fn a_subscriber_that_takes_nothing_for_too_long_lags_and_others_go_on() {
    let (body, text) = deltas(3000);
    let exchange = Exchange::status(200).chunks(body.as_bytes(), 300);
    let (runtime, _) = start_with([exchange], |c| c.audience.lag_events = 100);
    let policy = DeliveryPolicy::Wait {
        max_wait: Duration::from_secs(5),
    };
    let (stuck, stuck_seen) = recorder(Recorder::slow(Duration::from_secs(600)));
    let (quick, quick_seen) = recorder(Recorder::start());
    let request = SubmitRequest::new(prompt())
        .with_subscriber(stuck.with_policy(policy))
        .with_subscriber(quick);
    runtime.supervisor().send(request).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(quick_seen.ends(), 0, "the stuck one is waited for");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(quick_seen.text(), text);
    assert_eq!(quick_seen.ends(), 1);
    tokio::time::sleep(Duration::from_secs(600 * 30)).await;
    let last = stuck_seen.events().pop();
    let Some(ResponseEvent::Failed(error)) = last else {
        panic!("{last:?}")
    };
    assert_eq!(error.kind(), ErrorKind::Lagged);
    assert_eq!(stuck_seen.ends(), 1);
}

#[actix_rt::test]
async fn dropped_deltas_never_take_items_or_the_end_along() {
    let (body, text) = deltas(3000);
    let (runtime, transport) = start([Exchange::status(200).chunks(body.as_bytes(), 300)]);
    let (slow, seen) = recorder(Recorder::slow(Duration::from_millis(10)));
    let request =
        SubmitRequest::new(prompt()).with_subscriber(slow.with_policy(DeliveryPolicy::DropDeltas));
    runtime.supervisor().send(request).await.unwrap().unwrap();
    settle().await;
    assert_eq!(transport.open_requests(), 0, "the stream was not held up");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let names = seen.names();
    assert!(seen.text().len() < text.len(), "some deltas were dropped");
    for kept in [
        "created",
        "output_item_added",
        "output_item_done",
        "completed",
    ] {
        assert_eq!(
            names.iter().filter(|name| **name == kept).count(),
            1,
            "{kept}"
        );
    }
    let sequences: Vec<_> = seen
        .sequenced()
        .iter()
        .map(|(sequence, _)| *sequence)
        .collect();
    assert!(
        sequences.windows(2).all(|pair| pair[0] < pair[1]),
        "in order"
    );
}

#[actix_rt::test]
async fn a_disconnecting_subscription_ends_as_soon_as_the_mailbox_is_full() {
    let (body, _) = deltas(3000);
    let (runtime, transport) = start([Exchange::status(200).chunks(body.as_bytes(), 300)]);
    let (slow, seen) = recorder(Recorder::slow(Duration::from_millis(10)));
    let (quick, quick_seen) = recorder(Recorder::start());
    let request = SubmitRequest::new(prompt())
        .with_subscriber(slow.with_policy(DeliveryPolicy::Disconnect))
        .with_subscriber(quick);
    runtime.supervisor().send(request).await.unwrap().unwrap();
    settle().await;
    assert_eq!(transport.open_requests(), 0);
    assert_eq!(quick_seen.ends(), 1);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(seen.names().last(), Some(&"failed"));
    assert_eq!(seen.ends(), 1);
}

#[actix_rt::test]
async fn a_panic_in_one_subscriber_is_nothing_to_the_others() {
    let (body, text) = deltas(100);
    let (runtime, _) = start([Exchange::status(200).chunks(body.as_bytes(), 300)]);
    let bad = panicking_at(10);
    let (good, seen) = recorder(Recorder::start());
    let request = SubmitRequest::new(prompt())
        .with_subscriber(bad)
        .with_subscriber(good);
    runtime.supervisor().send(request).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(seen.text(), text);
    assert_eq!(seen.ends(), 1);
}

#[actix_rt::test]
async fn a_panic_in_the_stream_actor_gives_everybody_one_end() {
    let output = created() + &item_added() + &delta("a");
    let (runtime, _) = start_with(
        [Exchange::stream(output)
            .wait(Duration::from_secs(1))
            .panicking()],
        |c| {
            c.retry = steady_retry(3);
        },
    );
    let (one, one_seen) = recorder(Recorder::start());
    let (two, two_seen) = recorder(Recorder::start());
    let request = SubmitRequest::new(prompt())
        .with_subscriber(one)
        .with_subscriber(two);
    runtime.supervisor().send(request).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    for seen in [one_seen, two_seen] {
        assert_eq!(
            seen.names(),
            [
                "head",
                "created",
                "output_item_added",
                "output_text_delta",
                "failed"
            ]
        );
        let Some(ResponseEvent::Failed(error)) = seen.events().pop() else {
            panic!()
        };
        assert_eq!(error.kind(), ErrorKind::AttemptLost);
    }
    // The arbiter lives on.
    let (runtime, _) = start([Exchange::stream(answer())]);
    assert_eq!(names(&collect(&runtime).await), ANSWER);
}

#[actix_rt::test]
async fn a_stuck_subscriber_does_not_keep_an_ended_request_for_ever() {
    let (body, _) = deltas(3000);
    let (runtime, _) = start([Exchange::status(200).chunks(body.as_bytes(), 300)]);
    let (stuck, seen) = recorder(Recorder::slow(Duration::from_secs(500)));
    let request =
        SubmitRequest::new(prompt()).with_subscriber(stuck.with_policy(DeliveryPolicy::DropDeltas));
    let request = runtime
        .supervisor()
        .send(request)
        .await
        .unwrap()
        .unwrap()
        .request;
    tokio::time::sleep(Duration::from_secs(35)).await;
    let gone = runtime.subscribe(request, Cursor::Start).await.err();
    assert_eq!(gone, Some(SubscribeError::UnknownRequest { request }));
    tokio::time::sleep(Duration::from_secs(500 * 30)).await;
    assert_eq!(seen.ends(), 1);
    let last = seen.events().pop();
    let Some(ResponseEvent::Failed(error)) = last else {
        panic!("{last:?}")
    };
    assert_eq!(error.kind(), ErrorKind::Lagged);
}

#[actix_rt::test]
async fn for_ever_is_a_time_like_any_other() {
    let (runtime, _) = start_with(
        [Exchange::status(503), Exchange::stream(answer())],
        |config| {
            config.retain = Duration::MAX;
            config.breaker.pause = Duration::MAX;
            config.breaker.max_pause = Duration::MAX;
            config.retry.backoff.cap = Duration::MAX;
            provider(config, |p| {
                p.timeouts.connect = Duration::MAX;
                p.timeouts.response_head = Duration::MAX;
                p.timeouts.idle = Duration::MAX;
                p.timeouts.trailer = Duration::MAX;
                p.timeouts.first_event = Some(Duration::MAX);
                p.timeouts.progress = Some(Duration::MAX);
                p.timeouts.total = Some(Duration::MAX);
            });
        },
    );
    let (subscriber, seen) = recorder(Recorder::start());
    let mut request = SubmitRequest::new(prompt());
    request.when_deserted = WhenDeserted::Linger(Duration::MAX);
    let policy = DeliveryPolicy::Wait {
        max_wait: Duration::MAX,
    };
    request.subscribers = vec![subscriber.with_policy(policy)];
    runtime.supervisor().send(request).await.unwrap().unwrap();
    while seen.ends() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(seen.names()[1..], ANSWER);
    runtime.shutdown(Duration::MAX).await;
}

async fn is_kept(runtime: &Runtime, request: RequestId) -> bool {
    let status = runtime.supervisor().send(GetStatus { request }).await;
    status.unwrap().is_some()
}

#[actix_rt::test]
async fn what_is_kept_of_ended_requests_is_counted_with_their_headers() {
    let exchanges = (0..100).map(|_| Exchange::stream(answer()));
    let (runtime, _) = start_with(exchanges, |config| config.retain_bytes = 1024 * 1024);
    let mut requests = Vec::new();
    for _ in 0..100 {
        let value = HeaderValue::from_str(&"v".repeat(32 * 1024)).unwrap();
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-big"), value)]);
        let request = SubmitRequest::new(prompt()).with_headers(headers);
        let stream = runtime.submit(request).await.unwrap();
        requests.push(stream.request());
        assert_eq!(names(&stream.collect::<Vec<_>>().await), ANSWER);
    }
    settle().await;
    let mut kept = 0;
    for request in requests {
        kept += usize::from(is_kept(&runtime, request).await);
    }
    assert!((20..=32).contains(&kept), "{kept}");
}

#[actix_rt::test]
async fn what_is_kept_of_ended_requests_is_counted_with_what_holds_their_events() {
    const EVENTS: usize = 100;
    const BOUND: usize = 1024 * 1024;
    // What lies beside an event that came alone: the request's name, numbers, counts and its place.
    const BESIDE: usize = 64;
    let exchanges = (0..200).map(|_| {
        let mut exchange = Exchange::stream(created());
        for _ in 0..EVENTS {
            exchange = exchange.wait(Duration::from_millis(1)).chunk(delta("x"));
        }
        exchange.chunk(completed())
    });
    let (runtime, _) = start_with(exchanges, |config| config.retain_bytes = BOUND);
    let mut requests = Vec::new();
    for _ in 0..200 {
        let stream = runtime.submit(SubmitRequest::new(prompt())).await.unwrap();
        requests.push(stream.request());
        let events: Vec<_> = stream.collect().await;
        assert!(events.len() >= EVENTS);
    }
    settle().await;
    let mut kept = 0;
    for request in requests {
        kept += usize::from(is_kept(&runtime, request).await);
    }
    let least = kept * EVENTS * (size_of::<ResponseEvent>() + BESIDE);
    assert!((BOUND / 2..=BOUND).contains(&least), "{kept} hold {least}");
}

/// Whatever way it listens, not sixteen of them wait for it.
#[actix_rt::test]
async fn large_events_are_read_one_by_one_for_a_subscriber_that_takes_none() {
    let large = || delta(&"x".repeat(1024 * 1024));
    for kind in ["deliveries", "events", "stream"] {
        let read = Arc::new(AtomicUsize::new(0));
        let mut exchange = Exchange::stream(created());
        for _ in 0..20 {
            let count = read.clone();
            exchange = exchange.chunk(large()).then(move || {
                count.fetch_add(1, Ordering::SeqCst);
            });
        }
        let (runtime, _) = start([exchange.chunk(completed())]);
        let pace = Duration::from_secs(9);
        let mut request = SubmitRequest::new(prompt());
        let seen = Recorder::slow(pace);
        match kind {
            "deliveries" => request = request.with_subscriber(seen.subscriber()),
            "events" => request = request.with_subscriber(seen.event_subscriber()),
            _ => {}
        }
        let stream = match kind {
            "stream" => Some(runtime.submit(request).await.unwrap()),
            _ => {
                runtime.supervisor().send(request).await.unwrap().unwrap();
                None
            }
        };
        settle().await;
        let ahead = read.load(Ordering::SeqCst);
        assert!((1..=3).contains(&ahead), "{kind}: {ahead} of them");
        match stream {
            Some(stream) => assert_eq!(text(&stream.collect::<Vec<_>>().await).len(), 20 << 20),
            None => {
                while seen.ends() == 0 {
                    tokio::time::sleep(pace).await;
                }
                assert_eq!(seen.text().len(), 20 << 20, "{kind}");
            }
        }
        assert_eq!(read.load(Ordering::SeqCst), 20);
    }
}

/// A runtime that answers with more than a queue holds, in as many deliveries, and the text of that.
fn answering_in_pieces() -> (Runtime, String) {
    let mut exchange = Exchange::stream(created() + &item_added());
    let mut text = String::new();
    for number in 0..100 {
        let piece = format!("{number} ");
        exchange = exchange.chunk(delta(&piece)).wait(Duration::from_millis(1));
        text.push_str(&piece);
    }
    let exchange = exchange.chunk(completed());
    let (runtime, _) = start_with([exchange], |config| config.audience.lag_events = 20);
    (runtime, text)
}

#[actix_rt::test]
async fn a_stream_that_nobody_shares_may_rest_for_most_of_an_hour() {
    let (runtime, expected) = answering_in_pieces();
    let stream = runtime.stream(prompt()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(59 * 60)).await;
    let events: Vec<_> = stream.collect().await;
    assert_eq!(text(&events), expected);
    assert_eq!(names(&events).last(), Some(&"completed"));
}

#[actix_rt::test]
async fn a_stream_that_rested_too_long_gives_what_was_queued_before_its_error() {
    for (is_shared, rest) in [(false, 61 * 60), (true, 31)] {
        let (runtime, expected) = answering_in_pieces();
        let (other, seen) = recorder(Recorder::start());
        let mut request = SubmitRequest::new(prompt());
        if is_shared {
            request = request.with_subscriber(other);
        }
        let stream = runtime.submit(request).await.unwrap();
        tokio::time::sleep(Duration::from_secs(rest)).await;
        let events: Vec<_> = stream.collect().await;
        assert_eq!(failure(&events).kind(), ErrorKind::Lagged);
        let got = text(&events);
        assert!(got.len() > 20 && expected.starts_with(&got), "{got}");
        if is_shared {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(seen.text(), expected);
        }
    }
}

/// Its patience with the others begins when they come.
#[actix_rt::test]
async fn a_stream_that_rests_is_waited_for_as_others_are_when_somebody_joins() {
    let (runtime, expected) = answering_in_pieces();
    let stream = runtime.stream(prompt()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let (other, seen) = recorder(Recorder::start());
    let join = Subscribe {
        request: stream.request(),
        subscriber: other,
    };
    runtime.supervisor().send(join).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(seen.ends(), 0);
    let events: Vec<_> = stream.collect().await;
    assert_eq!(text(&events), expected);
}
