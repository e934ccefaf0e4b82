//! What becomes of a stream whose process is gone, however it had stood.

use actix_responses::actors::{GetStatus, SupervisorConfig};
use tokio::{runtime::Handle, time::timeout};

use super::*;

/// What the server says of this part of its answer, in one chunk.
fn said(range: std::ops::Range<usize>) -> String {
    as_deltas(3).drain(range).map(event).collect()
}

/// The same behind what it says of itself and of limits.
fn with_words(exchange: Exchange) -> Exchange {
    exchange
        .with_header("openai-model", "another")
        .with_header("x-ratelimit-limit-requests", "10")
        .with_header("x-ratelimit-remaining-requests", "0")
}

async fn uncut() -> Events {
    let plain = Process::start(&memory(), [part(0..EVENTS)]);
    let stream = plain.runtime.stream(background()).await.unwrap();
    without_heads(stream.collect().await)
}

#[actix_rt::test]
async fn who_was_ahead_of_the_store_gets_each_event_once() {
    // The store has the first four events, and no others.
    let sudden = || part(0..4).wait(Duration::from_millis(60)).chunk(said(4..6));
    let limited = || with_words(Exchange::status(429)).with_header("retry-after", "1");
    let rest = || with_words(part(4..EVENTS));
    let cases: Vec<(&str, Vec<Exchange>, Vec<Exchange>)> = vec![
        ("plain", vec![sudden()], vec![rest()]),
        ("limited", vec![sudden()], vec![limited(), rest()]),
        ("cut again", vec![sudden()], vec![part(4..5), rest()]),
        (
            "it went on",
            vec![part(0..4), with_words(part(4..6))],
            vec![rest()],
        ),
        (
            "it went on late",
            vec![part(0..4), limited(), with_words(part(4..6))],
            vec![rest()],
        ),
    ];
    let uncut = uncut().await;
    for (name, mut first, second) in cases {
        let last = first.pop().map(Exchange::held_open);
        let store = memory();
        let first = Process::start(&store, first.into_iter().chain(last));
        let mut stream = first.runtime.submit(stored(background())).await.unwrap();
        let mut events = take(&mut stream, 6).await;
        let cursor = Cursor::From(stream.next_sequence());
        first.kill();
        drop(stream);
        let second = Process::start(&store, second);
        events.extend(read(&second, cursor).await);
        assert_eq!(without_heads(events), uncut, "{name}");
        let third = Process::start(&store, []);
        let again = read(&third, Cursor::Start).await;
        assert_eq!(without_heads(again), uncut, "{name}");
    }
}

#[actix_rt::test]
async fn what_its_server_does_not_go_on_with_has_one_end_and_is_not_read_a_second_time() {
    for after_output in [RetryAfterOutput::Fail, RetryAfterOutput::Restart] {
        let store = memory();
        let change = |config: &mut SupervisorConfig| config.retry.after_output = after_output;
        let first = Process::start_with(&store, [part(0..5).held_open()], change);
        let mut stream = first.runtime.submit(stored(background())).await.unwrap();
        take(&mut stream, 5).await;
        sleep(Duration::from_millis(50)).await;
        first.kill();
        drop(stream);
        let refused = Exchange::status(404).chunk(r#"{"error":{"message":"nobody knows it"}}"#);
        let second = Process::start_with(&store, [refused], change);
        let read_to_the_end = timeout(Duration::from_secs(60), read(&second, Cursor::Start));
        let one = read_to_the_end.await.expect("an end");
        assert_eq!(failure(&one).kind(), ErrorKind::NodeLost, "{one:?}");
        assert_eq!(failure(&one).details().status, Some(404));
        assert!(failure(&one).message().contains("nobody knows it"));
        assert_eq!(text(&one), "xx");
        assert_eq!(second.asked().len(), 1);
        assert_eq!(info(&store).await.end, Some(StreamEnd::Failed));
        let third = Process::start_with(&store, [], change);
        assert_eq!(written(&read(&third, Cursor::Start).await), written(&one));
    }
}

#[actix_rt::test]
async fn a_reader_that_panics_is_not_begun_anew() {
    let store = memory();
    let first = Process::start(&store, [part(0..EVENTS)]);
    let stream = first.runtime.submit(stored(background())).await.unwrap();
    let _: Events = stream.collect().await;
    let second = Process::start(&store, []);
    second.way.panic();
    let read = timeout(Duration::from_secs(600), read(&second, Cursor::Start));
    let read = read.await.expect("an end");
    assert_eq!(names(&read), ["attempt_lost"]);
}

#[actix_rt::test]
async fn what_comes_together_with_the_place_of_its_writer_is_written_once() {
    for has_blocks in [false, true] {
        let store = memory();
        let first = Process::start(&store, [part(0..5).held_open()]);
        let mut stream = first.runtime.submit(stored(background())).await.unwrap();
        take(&mut stream, 5).await;
        sleep(Duration::from_millis(50)).await;
        first.kill();
        drop(stream);
        let second = Process::start(&store, [part(5..EVENTS)]);
        second.way.lag();
        let request = match has_blocks {
            true => SubmitRequest::stored(key()).with_blocks(),
            false => SubmitRequest::stored(key()),
        };
        let stream = second.runtime.submit(request).await.unwrap();
        let events: Events = stream.collect().await;
        let uncut = uncut().await;
        assert_eq!(without_heads(events), uncut);
        assert_eq!(second.asked().len(), 1);
        let third = Process::start(&store, []);
        let again = read(&third, Cursor::Start).await;
        assert_eq!(without_heads(again), uncut);
    }
}

#[actix_rt::test]
async fn a_stream_is_read_again_as_its_own_provider_means_it() {
    let told = ["Hel", "lo"];
    let without_end = [&chat(&told)[..2].concat(), "data: [DONE]\n\n"].concat();
    let of_chat = |config: &mut SupervisorConfig| provider(config, |it| it.wire = Wire::Chat);
    let lenient = |config: &mut SupervisorConfig| {
        provider(config, |it| {
            it.wire = Wire::Chat;
            it.quirks.omits_finish_reason = true;
        });
    };
    let plain = |_: &mut SupervisorConfig| {};
    type Change<'a> = &'a dyn Fn(&mut SupervisorConfig);
    let cases: [(Exchange, Change<'_>, Change<'_>); 5] = [
        (Exchange::stream(without_end.clone()), &lenient, &of_chat),
        (Exchange::stream(without_end.clone()), &of_chat, &lenient),
        (Exchange::stream(without_end), &lenient, &plain),
        (Exchange::stream(chat(&told).concat()), &of_chat, &plain),
        (part(0..EVENTS), &plain, &of_chat),
    ];
    for (number, (exchange, theirs, ours)) in cases.into_iter().enumerate() {
        let store = memory();
        let first = Process::start_with(&store, [exchange], theirs);
        let request = stored(prompt()).with_blocks();
        let live = deliveries(first.runtime.submit(request).await.unwrap()).await;
        let second = Process::start_with(&store, [], ours);
        let request = SubmitRequest::stored(key()).with_blocks();
        let again = deliveries(second.runtime.submit(request).await.unwrap()).await;
        assert_eq!(again, live, "{number}");
    }
}

/// The events of a stream, and its blocks.
async fn deliveries(mut stream: ResponseStream) -> (Vec<ResponseEvent>, Vec<String>) {
    let (mut events, mut blocks) = (Vec::new(), Vec::new());
    while let Some(delivery) = stream.next_delivery().await {
        events.extend(delivery.events().to_vec());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        blocks.extend(delivery.blocks().map(|block| text(&block.bytes)));
    }
    (events, blocks)
}

#[actix_rt::test]
async fn a_short_answer_that_is_not_stored_is_told_of() {
    for state in ["open", "slow", "gone", "shut"] {
        let store = memory();
        let (told, observer) = told();
        let process = Process::start(&store, [part(0..EVENTS)]);
        match state {
            "slow" => process.way.slow(),
            "gone" => process.way.vanish(),
            "shut" => process.way.shut(),
            _ => {}
        }
        let started = Instant::now();
        let request = stored(prompt()).with_observer(observer);
        let stream = process.runtime.submit(request).await.unwrap();
        let live: Events = stream.collect().await;
        assert_eq!(text(&live), "xxx", "{state}");
        assert!(started.elapsed() <= Duration::from_millis(110), "{state}");
        let told = told.lock().unwrap();
        let is_missing = matches!(state, "gone" | "shut");
        assert_eq!(told.len(), usize::from(is_missing), "{state}: {told:?}");
        assert!(told.iter().all(|told| *told == (false, None)), "{told:?}");
    }
}

#[actix_rt::test]
async fn nothing_of_what_wrote_a_stream_is_left_when_it_is_stored() {
    let store = memory();
    let process = Process::start(&store, (0..10).map(|_| part(0..EVENTS)));
    let tasks = || Handle::current().metrics().num_alive_tasks();
    settle().await;
    let before = tasks();
    for number in 0..10 {
        let id = format!("stream_{number}");
        let request = SubmitRequest::new(prompt()).with_stored_as(StreamKey { id, ..key() });
        let stream = process.runtime.submit(request).await.unwrap();
        let _: Events = stream.collect().await;
    }
    // For as long as it looks whether the store keeps what it has; the requests are kept for longer.
    sleep(Duration::from_secs(20)).await;
    settle().await;
    assert_eq!(tasks(), before);
}

#[actix_rt::test]
async fn an_end_that_waits_for_its_store_is_counted_with_what_is_kept() {
    const COUNT: usize = 20;
    let large = || {
        let mut events = as_deltas(3);
        events[EVENTS - 1]["response"]["metadata"] = json!({"note": "x".repeat(200 * 1024)});
        Exchange::stream(events.drain(..).map(event).collect::<String>())
    };
    for state in ["open", "gone"] {
        let exchanges = (0..COUNT).map(|_| large());
        let store = memory();
        let process = Process::start_with(&store, exchanges, |config| {
            config.retain_bytes = 1024 * 1024
        });
        if state == "gone" {
            process.way.vanish();
        }
        let mut requests = Vec::new();
        for number in 0..COUNT {
            let id = format!("stream_{number}");
            let request = SubmitRequest::new(prompt()).with_stored_as(StreamKey { id, ..key() });
            let stream = process.runtime.submit(request).await.unwrap();
            requests.push(stream.request());
            let _: Events = stream.collect().await;
        }
        sleep(Duration::from_secs(1)).await;
        let mut kept = 0;
        for request in requests {
            let status = process.runtime.supervisor().send(GetStatus { request });
            kept += usize::from(status.await.unwrap().is_some());
        }
        assert!((2..=5).contains(&kept), "{state}: {kept}");
    }
}

/// What observers are told, in short.
fn milestones() -> (
    Arc<Mutex<Vec<String>>>,
    impl Fn(&RequestNotice) + Send + Sync + 'static,
) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let observer = {
        let told = told.clone();
        move |notice: &RequestNotice| {
            let name = match &notice.milestone {
                Milestone::Answered { usage, .. } => format!("answered {}", usage.is_some()),
                Milestone::Ended { usage, .. } => format!("ended {}", usage.is_some()),
                other => {
                    let shown = format!("{other:?}");
                    let end = shown.find([' ', '(', '{']).unwrap_or(shown.len());
                    shown[..end].to_lowercase()
                }
            };
            told.lock().unwrap().push(name);
        }
    };
    (told, observer)
}

#[actix_rt::test]
async fn to_read_a_stream_is_no_answer_and_costs_nothing() {
    let with_usage = |range: std::ops::Range<usize>| {
        let mut events = as_deltas(3);
        events[EVENTS - 1]["response"]["usage"] =
            json!({"input_tokens": 1, "output_tokens": 2, "total_tokens": 3});
        Exchange::stream(events.drain(range).map(event).collect::<String>())
    };
    let server = [
        "started",
        "head",
        "firstevent",
        "answered true",
        "ended true",
    ];
    for cut in [EVENTS, 5] {
        let store = memory();
        let exchange = match cut {
            EVENTS => with_usage(0..EVENTS),
            cut => with_usage(0..cut).held_open(),
        };
        let first = Process::start(&store, [exchange]);
        let mut stream = first.runtime.submit(stored(background())).await.unwrap();
        take(&mut stream, cut).await;
        sleep(Duration::from_millis(50)).await;
        first.kill();
        drop(stream);
        let second = Process::start(&store, [with_usage(5..EVENTS)]);
        let (told, observer) = milestones();
        let request = SubmitRequest::stored(key()).with_observer(observer);
        let stream = second.runtime.submit(request).await.unwrap();
        let read: Events = stream.collect().await;
        let Some(Ok(ResponseEvent::Completed(end))) = read.last() else {
            panic!("{read:?}")
        };
        assert!(end.token_usage.is_some());
        let expected = match cut {
            EVENTS => vec!["accepted", "ended false"],
            _ => [&["accepted", "failed"], &server[..]].concat(),
        };
        assert_eq!(*told.lock().unwrap(), expected, "{cut}");
    }
}
