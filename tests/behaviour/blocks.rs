//! The blocks that deliveries carry beside their events.

use std::time::Duration;

use actix::{Actor, Context, Handler};
use actix_responses::{
    ResponseStream, Runtime,
    actors::{Cursor, Delivery, DeliveryPolicy, SubmitRequest, Subscribe, Subscriber},
    bytes::Bytes,
    protocol::ResponseEvent,
    retry::RetryAfterOutput,
};
use tokio::sync::mpsc;

use crate::support::{
    events::*,
    prompt, provider, settle, start, start_with, steady_retry,
    transport::{Exchange, ScriptedTransport},
};

/// The blocks as a text for each attempt, in the order in which they came.
fn add(delivery: &Delivery, blocks: &mut Vec<(u32, String)>) {
    for block in delivery.blocks() {
        assert!(block.event < delivery.events().len());
        let text = std::str::from_utf8(&block.bytes).unwrap();
        match blocks.last_mut() {
            Some((attempt, blocks)) if *attempt == block.attempt => blocks.push_str(text),
            _ => blocks.push((block.attempt, text.to_owned())),
        }
    }
    let runs: Vec<u8> = delivery
        .runs_of_blocks()
        .flat_map(|(bytes, _, ends)| {
            assert_eq!(ends.last(), Some(bytes.len()));
            bytes.to_vec()
        })
        .collect();
    let single: Vec<u8> = delivery
        .blocks()
        .flat_map(|block| block.bytes.to_vec())
        .collect();
    assert_eq!(runs, single);
}

async fn collect(stream: &mut ResponseStream) -> (Vec<(u32, String)>, Vec<ResponseEvent>) {
    let (mut blocks, mut events) = (Vec::new(), Vec::new());
    while let Some(delivery) = stream.next_delivery().await {
        assert_eq!(delivery.first_sequence(), events.len() as u64);
        assert_eq!(delivery.next_sequence(), stream.next_sequence());
        add(&delivery, &mut blocks);
        events.extend_from_slice(delivery.events());
    }
    assert!(events.last().is_some_and(ResponseEvent::is_final));
    (blocks, events)
}

async fn ask(
    (runtime, _): &(Runtime, ScriptedTransport),
) -> (Vec<(u32, String)>, Vec<ResponseEvent>) {
    let request = SubmitRequest::new(prompt()).with_blocks();
    collect(&mut runtime.submit(request).await.unwrap()).await
}

#[actix_rt::test]
async fn without_with_blocks_there_are_none() {
    let (runtime, _) = start([Exchange::stream(answer())]);
    let mut stream = runtime.stream(prompt()).await.unwrap();
    assert_eq!(collect(&mut stream).await.0, []);
}

#[actix_rt::test]
async fn the_terminal_block_comes_with_the_final_delivery() {
    let runtime = start([Exchange::stream(answer() + &delta("late"))]);
    let request = SubmitRequest::new(prompt()).with_blocks();
    let mut stream = runtime.0.submit(request).await.unwrap();
    let mut last = None;
    let mut blocks = Vec::new();
    while let Some(delivery) = stream.next_delivery().await {
        add(&delivery, &mut blocks);
        last = Some(delivery);
    }
    assert_eq!(blocks, [(1, answer())]);
    let last = last.unwrap();
    let block = last.blocks().last().unwrap();
    assert_eq!(block.bytes, completed());
    assert!(last.events()[block.event].is_final());
}

#[actix_rt::test]
async fn a_servers_own_failure_comes_with_the_end_where_no_attempt_follows() {
    let body = created() + &delta("a") + &failed("invalid_prompt", "no");
    let (blocks, events) = ask(&start([Exchange::stream(body.clone())])).await;
    assert_eq!(blocks, [(1, body)]);
    assert!(matches!(events.last(), Some(ResponseEvent::Failed(_))));
}

#[actix_rt::test]
async fn a_failed_attempts_blocks_are_not_delivered_but_those_of_its_delivered_events() {
    let first = created() + "data: words\n\n" + &failed("server_is_overloaded", "busy");
    let second = answer().replace("resp_1", "resp_2");
    let exchanges = [Exchange::stream(first), Exchange::stream(second.clone())];
    let (blocks, _) = ask(&start_with(exchanges, |c| c.retry = steady_retry(2))).await;
    assert_eq!(blocks, [(1, created()), (2, second)]);
}

#[actix_rt::test]
async fn a_new_attempts_preamble_comes_whole_also_where_its_events_are_equal() {
    let first = Exchange::stream(created() + &in_progress()).broken();
    let exchanges = [first, Exchange::stream(answer())];
    let (blocks, _) = ask(&start_with(exchanges, |c| c.retry = steady_retry(2))).await;
    assert_eq!(blocks, [(1, created() + &in_progress()), (2, answer())]);
}

#[actix_rt::test]
async fn an_end_of_ours_has_no_block_of_an_attempt_before() {
    let exchanges = [
        Exchange::stream(created() + &failed("server_is_overloaded", "busy")),
        Exchange::stream(""),
    ];
    let (blocks, _) = ask(&start_with(exchanges, |c| c.retry = steady_retry(2))).await;
    assert_eq!(blocks, [(1, created())]);
}

#[actix_rt::test]
async fn after_restarted_blocks_are_those_of_the_new_attempt() {
    let exchanges = [
        Exchange::stream(created() + &delta("a")).broken(),
        Exchange::stream(answer()),
    ];
    let runtime = start_with(exchanges, |c| {
        c.retry = steady_retry(2);
        c.retry.after_output = RetryAfterOutput::Restart;
    });
    let (blocks, events) = ask(&runtime).await;
    assert_eq!(blocks, [(1, created() + &delta("a")), (2, answer())]);
    let restarted = events.iter();
    let mut restarted = restarted.filter(|e| matches!(e, ResponseEvent::Restarted(_)));
    assert!(restarted.next().is_some());
}

#[actix_rt::test]
async fn blocks_without_an_event_ride_with_the_next_or_the_end() {
    let words = "data: words\n\n";
    let exchange = Exchange::stream(created())
        .wait(Duration::from_secs(1))
        .chunk(words)
        .wait(Duration::from_secs(1))
        .chunk(delta("a"))
        .wait(Duration::from_secs(1))
        .chunk(words)
        .wait(Duration::from_secs(1))
        .chunk(completed());
    let (blocks, _) = ask(&start([exchange])).await;
    let all = created() + words + &delta("a") + words + &completed();
    assert_eq!(blocks, [(1, all)]);
}

#[actix_rt::test]
async fn a_latecomer_gets_the_blocks_of_its_events_from_any_cursor_on() {
    let mut exchange = Exchange::stream(created());
    let mut all = vec![created()];
    for n in 0..300 {
        let text = format!("data: words {n}\n\n") + &delta(&n.to_string());
        exchange = exchange.wait(Duration::from_millis(1)).chunk(text.clone());
        all.push(text);
    }
    all.push(completed());
    let (runtime, _) = start([exchange.chunk(completed())]);
    let request = SubmitRequest::new(prompt()).with_blocks();
    let mut stream = runtime.submit(request).await.unwrap();
    let id = stream.request();
    let (blocks, events) = collect(&mut stream).await;
    assert_eq!(blocks, [(1, all.concat())]);
    // Before the answer stands its head.
    let head = events.len() - all.len();
    for from in [0, head, head + 1, head + 7, head + 280, events.len() - 1] {
        let (subscriber, mut seen) = Taker::start(DeliveryPolicy::default());
        let subscriber = subscriber.with_cursor(Cursor::From(from as u64));
        let subscribe = Subscribe {
            request: id,
            subscriber,
        };
        runtime.supervisor().send(subscribe).await.unwrap().unwrap();
        let mut blocks = Vec::new();
        while let Some(delivery) = seen.recv().await {
            add(&delivery, &mut blocks);
            if delivery.is_final() {
                break;
            }
        }
        let rest = all[from.saturating_sub(head)..].concat();
        assert_eq!(blocks, [(1, rest)], "from {from}");
    }
}

#[actix_rt::test]
async fn the_logs_bound_counts_blocks() {
    let block = format!("data: {}\n\n", "x".repeat(10_000));
    let mut exchange = Exchange::stream(created());
    for n in 0..20 {
        exchange = exchange
            .wait(Duration::from_secs(1))
            .chunk(block.clone() + &delta(&n.to_string()));
    }
    for (has_blocks, is_kept) in [(false, true), (true, false)] {
        let exchange = exchange.clone().chunk(completed());
        let (runtime, _) = start_with([exchange], |c| c.audience.log_bytes = 100_000);
        let mut request = SubmitRequest::new(prompt());
        request.blocks = has_blocks;
        let mut stream = runtime.submit(request).await.unwrap();
        let id = stream.request();
        collect(&mut stream).await;
        let (subscriber, _seen) = Taker::start(DeliveryPolicy::default());
        let subscribe = Subscribe {
            request: id,
            subscriber,
        };
        let joined = runtime.supervisor().send(subscribe).await.unwrap();
        assert_eq!(joined.is_ok(), is_kept);
    }
}

#[actix_rt::test]
async fn a_block_and_those_that_wait_have_the_limit_of_an_event() {
    for body in [": c\n".repeat(80), "data: [1]\n\n".repeat(20)] {
        // The head is delivered before, alone.
        let exchange = Exchange::stream("")
            .wait(Duration::from_secs(1))
            .chunk(body);
        let (runtime, _) = start_with([exchange], |c| {
            (c.limits.sse.max_line_bytes, c.limits.sse.max_event_bytes) = (100, 150);
            provider(c, |_| {});
            c.retry = steady_retry(1);
        });
        let request = SubmitRequest::new(prompt()).with_blocks();
        let (_, events) = collect(&mut runtime.submit(request).await.unwrap()).await;
        let Some(ResponseEvent::Failed(error)) = events.last() else {
            panic!("{events:?}")
        };
        assert_eq!(error.kind(), actix_responses::ErrorKind::TooLarge);
    }
}

#[actix_rt::test]
async fn next_delivery_goes_on_where_the_stream_was_read_event_by_event() {
    use futures_util::StreamExt;
    let (runtime, _) = start([Exchange::stream(answer())]);
    let mut stream = runtime.stream(prompt()).await.unwrap();
    let mut count = 0;
    for _ in 0..3 {
        stream.next().await.unwrap().unwrap();
        count += 1;
    }
    while let Some(delivery) = stream.next_delivery().await {
        assert_eq!(delivery.first_sequence(), count);
        count = delivery.next_sequence();
    }
    assert!(stream.next().await.is_none());
    assert!(stream.next_delivery().await.is_none());
}

/// A subscriber that hands on what it gets.
struct Taker(mpsc::UnboundedSender<Delivery>);

impl Taker {
    fn start(policy: DeliveryPolicy) -> (Subscriber, mpsc::UnboundedReceiver<Delivery>) {
        let (sender, seen) = mpsc::unbounded_channel();
        let subscriber = Subscriber::deliveries(Actor::start(Self(sender)).recipient());
        (subscriber.with_policy(policy), seen)
    }
}

impl Actor for Taker {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Taker {
    type Result = ();

    fn handle(&mut self, delivery: Delivery, _: &mut Self::Context) {
        let _ = self.0.send(delivery);
    }
}

#[actix_rt::test]
async fn what_is_kept_of_a_live_answer_holds_no_chunk() {
    let chunk = Bytes::from(answer());
    let (runtime, _) = start([Exchange::stream(chunk.clone())]);
    let request = SubmitRequest::new(prompt()).with_blocks().with_live_only();
    let mut stream = runtime.submit(request).await.unwrap();
    let request = stream.request();
    let mut given = Vec::new();
    while let Some(delivery) = stream.next_delivery().await {
        given.extend(delivery.blocks().flat_map(|block| block.bytes.to_vec()));
    }
    assert_eq!(given, chunk);
    settle().await;
    // What came last is there for who comes late, by itself.
    let late = runtime.subscribe(request, Cursor::Live).await;
    let last = late.unwrap().next_delivery().await.expect("the end");
    assert!(last.is_final());
    let last: Vec<_> = last.blocks().map(|block| block.bytes).collect();
    assert!(
        !last.is_empty() && given.ends_with(&last.concat()),
        "{last:?}"
    );
    assert!(chunk.is_unique());
}
