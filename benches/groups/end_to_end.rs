//! `end_to_end`: a request over loopback HTTP to a server in another process, and its answer to the last event. Measured is
//! the client's CPU time; wall times are recorded beside it.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use actix::Actor;
use actix_responses::{
    Runtime,
    actors::{SubmitRequest, Subscriber, SupervisorConfig, Workers},
    protocol::Prompt,
    provider::Provider,
};
use actix_rt::{System, SystemRunner};
use criterion::{BenchmarkId, Criterion, Throughput};
use futures_util::future::join_all;
use serde_json::json;

use crate::{
    clients::{Answer, Client, Clients, Reader, settled},
    cpu::{CpuTime, threads_cpu},
    scripted::Scripted,
    support::{
        clock,
        inputs::{Delivery, Input},
        records,
        server::Server,
    },
};

/// How many streams run together in the larger runs.
const MANY: usize = 64;

pub fn run(criterion: &mut Criterion<CpuTime>, server: &Rc<Server>) {
    let input = Input::resp_text();
    let system = System::new();
    let clients = |workers| system.block_on(Clients::new(server.clone(), workers));
    let one_thread = clients(Workers::Current);
    use Client::{AsyncOpenai, AwcRaw, Ours, OursStream, ReqwestRaw, Upstream};
    for delivery in [Delivery::Event, Delivery::READS] {
        let script = format!("resp_text_{}", delivery.name());
        let mut measure = |client: Client, name: &str, clients: &Clients, streams: usize| {
            let load = format!("{}/{streams}", delivery.name());
            measure(criterion, name, &load, &input, streams, || {
                let asked = (0..streams).map(|_| clients.ask(client, &script));
                let answers = system.block_on(join_all(asked));
                answers
                    .iter()
                    .for_each(|answer| check(client, answer, &input));
            });
        };
        for client in [Ours, OursStream, AwcRaw, ReqwestRaw, Upstream, AsyncOpenai] {
            measure(client, client.name(), &one_thread, 1);
        }
        for client in [Ours, AwcRaw, ReqwestRaw, Upstream, AsyncOpenai] {
            // Where nothing is measured and the compiler did not optimise, many streams of others take half a minute.
            if matches!(client, Upstream | AsyncOpenai) && records::is_trial() {
                continue;
            }
            measure(client, client.name(), &one_thread, MANY);
        }
        for threads in [1, 2] {
            let clients = clients(Workers::Threads(threads));
            measure(Ours, &format!("ours_workers_{threads}"), &clients, MANY);
        }
    }
    workers_without_network(criterion, &system, &input);
}

/// Decoding and delivery of many streams on one or two workers, where no server takes part of the processors.
fn workers_without_network(
    criterion: &mut Criterion<CpuTime>,
    system: &SystemRunner,
    input: &Input,
) {
    let script = Scripted {
        chunks: Arc::from(input.chunks(Delivery::READS)),
        burst: 8,
    };
    for threads in [1, 2] {
        let runtime = system.block_on(async {
            let provider = Provider::new("none", "http://localhost").expect("a provider");
            let mut config = SupervisorConfig::new(provider);
            config.workers = Workers::Threads(threads);
            settled(Runtime::with_transport(config, script.clone()).expect("a runtime")).await
        });
        let name = format!("ours_workers_{threads}");
        measure(
            criterion,
            &name,
            &format!("memory/{MANY}"),
            input,
            MANY,
            || {
                system.block_on(async {
                    let mut answers = Vec::new();
                    for _ in 0..MANY {
                        let (reader, answer) = Reader::new();
                        let subscriber = Subscriber::deliveries(reader.start().recipient());
                        let request = SubmitRequest::new(Prompt::user("hello").with_model("bench"));
                        let sent = runtime
                            .supervisor()
                            .send(request.with_subscriber(subscriber))
                            .await;
                        sent.expect("a supervisor").expect("an accepted request");
                        answers.push(answer);
                    }
                    for answer in join_all(answers).await {
                        check(Client::Ours, &answer.expect("an answer"), input);
                    }
                });
            },
        );
    }
}

/// Criterion measures CPU time; the wall time of the same rounds is kept beside it, and the CPU time of the thread that was
/// busiest: it is what bounds the throughput where every thread has a processor.
fn measure(
    criterion: &mut Criterion<CpuTime>,
    name: &str,
    load: &str,
    input: &Input,
    streams: usize,
    mut work: impl FnMut(),
) {
    let events = input.events.len() * streams;
    let (walls, busiest) = (RefCell::default(), RefCell::default());
    let mut group = criterion.benchmark_group("end_to_end");
    group.throughput(Throughput::Elements(events as u64));
    if streams == MANY {
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(2));
    }
    group.bench_function(BenchmarkId::new(name, load), |bencher| {
        bencher.iter_custom(|rounds| {
            let threads = threads_cpu();
            let (wall, cpu) = (clock::monotonic(), clock::process_cpu());
            (0..rounds).for_each(|_| work());
            let (wall, cpu) = (clock::monotonic() - wall, clock::process_cpu() - cpu);
            let of_threads = threads_cpu()
                .into_iter()
                .map(|(id, time)| time - threads.get(&id).copied().unwrap_or_default());
            let keep = |samples: &RefCell<Vec<f64>>, time: Duration| {
                let time = time.as_nanos() as f64 / rounds as f64 / events as f64;
                samples.borrow_mut().push(time);
            };
            keep(&walls, wall);
            of_threads
                .max()
                .into_iter()
                .for_each(|time| keep(&busiest, time));
            cpu
        });
    });
    group.finish();
    for (what, samples) in [("wall", walls), ("busiest", busiest)] {
        let mut samples = samples.into_inner();
        if records::is_trial() || samples.is_empty() {
            continue;
        }
        samples.sort_by(f64::total_cmp);
        let at = |quantile: usize| samples[(samples.len() - 1) * quantile / 4];
        let record = json!({"median": at(2), "lower": at(1), "upper": at(3)});
        records::write(
            &format!("{what} end_to_end {name} {}", load.replace('/', "_")),
            &record,
        );
    }
}

fn check(client: Client, answer: &Answer, input: &Input) {
    let tally = answer.tally;
    if client.is_raw() {
        assert_eq!(tally.bytes, input.bytes.len(), "{}", client.name());
    } else {
        assert_eq!(
            (tally.deltas, tally.bytes),
            (input.deltas, input.text.len()),
            "{}",
            client.name()
        );
    }
}
