//! `lifecycle`: a small request from its submission to its end, on a connection of the pool and on a new one.

use std::rc::Rc;

use actix_responses::actors::Workers;
use actix_rt::System;
use criterion::{BenchmarkId, Criterion};
use serde_json::json;

use crate::{
    clients::{Client, Clients},
    support::{inputs::Input, records, server::Server},
};

/// How many requests follow each other where it is counted which of them found a connection.
const FOLLOWING: u64 = 200;

pub fn run(criterion: &mut Criterion, server: &Rc<Server>) {
    use Client::{AsyncOpenai, AwcRaw, Ours, Upstream};

    let input = Input::small();
    let system = System::new();
    let clients = system.block_on(Clients::new(server.clone(), Workers::Current));
    let mut group = criterion.benchmark_group("lifecycle");
    for (connection, script) in [("pooled", "small"), ("new", "small_close")] {
        for client in [Ours, AwcRaw, Upstream, AsyncOpenai] {
            group.bench_function(BenchmarkId::new(client.name(), connection), |bencher| {
                bencher.iter(|| {
                    let answer = system.block_on(clients.ask(client, script));
                    let expected = if client.is_raw() {
                        input.bytes.len()
                    } else {
                        input.text.len()
                    };
                    assert_eq!(answer.tally.bytes, expected, "{}", client.name());
                });
            });
        }
    }
    group.finish();
    if records::is_wanted("lifecycle") && !records::is_trial() {
        for client in [Ours, Upstream, AsyncOpenai] {
            let reused = system.block_on(count_reused(&clients, client));
            records::write(&format!("reused lifecycle {}", client.name()), &reused);
        }
    }
}

async fn count_reused(clients: &Clients, client: Client) -> serde_json::Value {
    clients.ask(client, "small").await;
    let before = clients.server.stats().await;
    for _ in 0..FOLLOWING {
        clients.ask(client, "small").await;
    }
    let after = clients.server.stats().await;
    assert_eq!(after.requests - before.requests, FOLLOWING);
    let opened = after.accepted - before.accepted;
    json!({"requests": FOLLOWING, "reused": FOLLOWING.saturating_sub(opened)})
}
