//! `deliver`: a stream actor to its subscribers, against tokio's channels, on one thread. Measured is CPU time.
//!
//! Everybody decodes the same chunks with `StreamDecoder`; the difference is how the events travel. A burst is how many
//! events are ready together: 1 is the slow stream, where each event travels alone.

use std::{future::poll_fn, mem, sync::Arc, task::Poll};

use actix::Actor;
use actix_responses::{
    Runtime,
    actors::{SubmitRequest, Subscriber, SupervisorConfig, Workers},
    protocol::{Prompt, ResponseEvent},
    provider::Provider,
    wire::{StreamDecoder, StreamLimits},
};
use actix_rt::System;
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use futures_util::future::join_all;
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinHandle,
};

use crate::{
    clients::{Reader, settled},
    cpu::CpuTime,
    scripted::Scripted,
    support::{
        decoders::{Tally, our_event},
        inputs::{Delivery, Input},
    },
};

/// How many events a channel holds: more than the largest burst.
const CHANNEL_EVENTS: usize = 1_024;

#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// The runtime, to actors.
    Ours,
    /// One `tokio::sync::broadcast`.
    Broadcast,
    /// A `tokio::sync::mpsc` for each subscriber.
    Mpsc,
}

const WAYS: [(Way, &str); 3] = [
    (Way::Ours, "ours"),
    (Way::Broadcast, "broadcast"),
    (Way::Mpsc, "mpsc"),
];

/// The same for a process whose instructions are counted.
pub fn work(name: &str, subscribers: usize, burst: usize, rounds: u64) {
    let (way, _) = WAYS
        .into_iter()
        .find(|(_, known)| *known == name)
        .expect("a way");
    let chunks = Input::resp_text().chunks(Delivery::Event).into();
    let script = Scripted { chunks, burst };
    System::new().block_on(async {
        let runtime = runtime_of(&script).await;
        for _ in 0..rounds {
            send(way, &runtime, &script, subscribers).await;
        }
    });
}

async fn runtime_of(script: &Scripted) -> Runtime {
    let provider = Provider::new("none", "http://localhost").expect("a provider");
    let mut config = SupervisorConfig::new(provider);
    config.workers = Workers::Current;
    settled(Runtime::with_transport(config, script.clone()).expect("a runtime")).await
}

async fn send(way: Way, runtime: &Runtime, script: &Scripted, subscribers: usize) -> Vec<Tally> {
    match way {
        Way::Ours => ours(runtime, subscribers).await,
        Way::Broadcast => broadcast_to(script, subscribers).await,
        Way::Mpsc => mpsc_to(script, subscribers).await,
    }
}

pub fn run(criterion: &mut Criterion<CpuTime>) {
    let input = Input::resp_text();
    let chunks: Arc<[Bytes]> = input.chunks(Delivery::Event).into();
    let system = System::new();
    let mut group = criterion.benchmark_group("deliver");
    group.throughput(Throughput::Elements(input.events.len() as u64));
    for subscribers in [1, 10, 100] {
        for burst in [1, 4, 64] {
            let script = Scripted {
                chunks: chunks.clone(),
                burst,
            };
            let runtime = system.block_on(runtime_of(&script));
            for (way, name) in WAYS {
                let id = BenchmarkId::new(name, format!("{subscribers}/burst_{burst}"));
                group.bench_function(id, |bencher| {
                    bencher.iter(|| {
                        let tallies = system.block_on(send(way, &runtime, &script, subscribers));
                        let expected = Tally {
                            deltas: input.deltas,
                            bytes: input.text.len(),
                        };
                        assert!(
                            tallies.iter().all(|tally| *tally == expected),
                            "{name}: {tallies:?}"
                        );
                        assert_eq!(tallies.len(), subscribers);
                    });
                });
            }
        }
    }
    group.finish();
}

async fn ours(runtime: &Runtime, subscribers: usize) -> Vec<Tally> {
    let mut request = SubmitRequest::new(Prompt::user("hello").with_model("bench"));
    let mut answers = Vec::new();
    for _ in 0..subscribers {
        let (reader, answer) = Reader::new();
        request = request.with_subscriber(Subscriber::deliveries(reader.start().recipient()));
        answers.push(answer);
    }
    let submitted = runtime.supervisor().send(request).await;
    submitted
        .expect("a supervisor")
        .expect("an accepted request");
    let answers = join_all(answers).await.into_iter();
    answers
        .map(|answer| answer.expect("an answer").tally)
        .collect()
}

/// Decodes, and hands each event on; between bursts others have their turn. To be run as a task, as the stream actor is:
/// what `block_on` polls itself gets its turn after 61 tasks, when 39 of 100 subscribers have not had theirs.
async fn produce(script: Scripted, mut send: impl AsyncFnMut(Arc<ResponseEvent>)) {
    let mut decoder = StreamDecoder::new(Default::default(), StreamLimits::default());
    let mut events = Vec::new();
    for burst in script.chunks.chunks(script.burst) {
        for chunk in burst {
            let end = decoder.feed(chunk, &mut events);
            for event in events.drain(..).chain(end.map(ResponseEvent::from)) {
                send(Arc::new(event)).await;
            }
        }
        let mut waited = false;
        poll_fn(|cx| {
            if mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            // As the script's body does: behind whoever was woken.
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

async fn joined(tasks: Vec<JoinHandle<Tally>>) -> Vec<Tally> {
    let tallies = join_all(tasks).await.into_iter();
    tallies.map(|tally| tally.expect("no panic")).collect()
}

async fn broadcast_to(script: &Scripted, subscribers: usize) -> Vec<Tally> {
    let (sender, _) = broadcast::channel::<Arc<ResponseEvent>>(CHANNEL_EVENTS);
    let tasks = (0..subscribers).map(|_| {
        let mut events = sender.subscribe();
        actix_rt::spawn(async move {
            let mut tally = Tally::default();
            while let Ok(event) = events.recv().await {
                our_event(&event, &mut tally);
            }
            tally
        })
    });
    let tasks = tasks.collect();
    let producer = produce(script.clone(), async move |event| {
        assert!(sender.send(event).is_ok());
    });
    actix_rt::spawn(producer);
    joined(tasks).await
}

async fn mpsc_to(script: &Scripted, subscribers: usize) -> Vec<Tally> {
    let (senders, tasks): (Vec<_>, Vec<_>) = (0..subscribers)
        .map(|_| {
            let (sender, mut events) = mpsc::channel::<Arc<ResponseEvent>>(CHANNEL_EVENTS);
            let task = actix_rt::spawn(async move {
                let mut tally = Tally::default();
                while let Some(event) = events.recv().await {
                    our_event(&event, &mut tally);
                }
                tally
            });
            (sender, task)
        })
        .unzip();
    let producer = produce(script.clone(), async move |event| {
        for sender in &senders {
            assert!(sender.send(event.clone()).await.is_ok());
        }
    });
    actix_rt::spawn(producer);
    joined(tasks).await
}
