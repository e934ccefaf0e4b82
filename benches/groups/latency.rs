//! `first_event`: from the submission to the first event, on a connection of the pool. `completion`: from the terminal event,
//! as the server sends it and holds the connection open, to the final delivery and to the server's seeing the end of the
//! connection.

use std::{rc::Rc, time::Duration};

use actix_responses::actors::Workers;
use actix_rt::{System, SystemRunner};
use criterion::{BenchmarkId, Criterion};
use tokio::time::sleep;

use crate::{
    clients::{Client, Clients},
    support::{clock, server::Server},
};

pub fn run(criterion: &mut Criterion, server: &Rc<Server>) {
    let system = System::new();
    let clients = system.block_on(Clients::new(server.clone(), Workers::Current));
    first_event(criterion, &system, &clients);
    completion(criterion, &system, &clients);
}

/// Sums what one of so many rounds takes.
fn rounds(system: &SystemRunner, count: u64, round: impl AsyncFn() -> Duration) -> Duration {
    system.block_on(async {
        let mut sum = Duration::ZERO;
        for _ in 0..count {
            sum += round().await;
        }
        sum
    })
}

fn first_event(criterion: &mut Criterion, system: &SystemRunner, clients: &Clients) {
    use Client::{AsyncOpenai, AwcRaw, Ours, OursStream, Upstream};

    let mut group = criterion.benchmark_group("first_event");
    for (pace, script) in [("paced", "pausing"), ("full_speed", "resp_text_event")] {
        for client in [Ours, OursStream, AwcRaw, Upstream, AsyncOpenai] {
            group.bench_function(BenchmarkId::new(client.name(), pace), |bencher| {
                bencher.iter_custom(|count| {
                    rounds(system, count, async || {
                        let submitted = clock::monotonic();
                        let answer = clients.ask(client, script).await;
                        assert!(answer.tally.bytes > 0);
                        answer.first - submitted
                    })
                });
            });
        }
    }
    group.finish();
}

fn completion(criterion: &mut Criterion, system: &SystemRunner, clients: &Clients) {
    use Client::{AsyncOpenai, Ours, OursWithoutDrain, Upstream};

    let mut group = criterion.benchmark_group("completion");
    group.sample_size(10);
    for client in [Ours, Upstream, AsyncOpenai] {
        group.bench_function(BenchmarkId::new(client.name(), "delivery"), |bencher| {
            bencher.iter_custom(|count| {
                rounds(system, count, async || {
                    let answer = clients.ask(client, "held_open").await;
                    let stats = clients.server.stats().await;
                    // The server's stamp is of before it writes, so it is the earlier one.
                    answer.last - stats.terminal
                })
            });
        });
    }
    for client in [Ours, OursWithoutDrain, Upstream, AsyncOpenai] {
        group.bench_function(BenchmarkId::new(client.name(), "fin"), |bencher| {
            bencher.iter_custom(|count| {
                rounds(system, count, async || {
                    clients.ask(client, "held_open").await;
                    loop {
                        let stats = clients.server.stats().await;
                        if !stats.fin.is_zero() {
                            return stats.fin - stats.terminal;
                        }
                        sleep(Duration::from_millis(1)).await;
                    }
                })
            });
        });
    }
    group.finish();
}
