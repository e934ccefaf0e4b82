//! What is measured, in rounds in which the peers follow each other.

use std::time::Duration;

use actix_responses::wire::Wire;
use serde_json::json;
use tokio::{net::TcpStream, time::sleep};

use crate::{
    client::{Asked, Open, stalled, to_end, whole},
    clock,
    litellm::Litellm,
    nginx::Nginx,
    process::{Process, cpu, resident},
    records, redis, relay, upstream,
};

pub const ROUNDS: usize = 5;
/// How long streams run before they are looked at, and then.
pub const WARM_UP: Duration = Duration::from_millis(300);
pub const WINDOW: Duration = Duration::from_millis(1_200);
/// 50 events a second.
pub const PACE: &str = "every 20000 1";
pub const GAP: Duration = Duration::from_millis(1);
/// How many connections ask for whole answers.
const CONNECTIONS: usize = 16;

/// Blocks and how they come: name, streams, model.
pub const LOADS: [(&str, usize, &str); 4] = [
    ("packet 1", 1, "every 1000 1"),
    ("packet 200", 200, "every 20000 1"),
    ("burst 1", 1, "every 1000 31"),
    ("burst 200", 200, "every 100000 31"),
];

pub async fn run(is_trial: bool) {
    let upstream = upstream::start();
    if is_trial {
        return try_once(&upstream).await;
    }
    starts(&upstream).await;
    memory(&upstream).await;
    growth(&upstream).await;
    let relay = relay::start(Wire::Responses, &upstream);
    let nginx = Nginx::start(upstream.address()).await;
    if nginx.is_none() {
        println!("relay: nginx is not measured here; benches/relay/nginx.sh brings it");
    }
    blocks(&relay, nginx.as_ref()).await;
    let unchanged = relay::start_with(Wire::Responses, "server", &upstream);
    wholes(&upstream, [&relay, &unchanged], nginx.as_ref()).await;
    drop(unchanged);
    for streams in [16, 64, 1_000] {
        latencies(&upstream, &relay, nginx.as_ref(), streams).await;
    }
    bridge(&upstream).await;
}

/// What litellm's proxy costs beside the relay: `benches/relay/litellm.sh` names it, and asks for this.
pub async fn litellm() {
    let upstream = upstream::start();
    let Some(litellm) = Litellm::start(upstream.address()).await else {
        return println!("litellm is not measured here; benches/relay/litellm.sh brings it");
    };
    let relay = relay::start(Wire::Responses, &upstream);
    // More than it can do would only measure how it falls behind.
    for (load, streams, model) in [LOADS[0], ("packet 20", 20, "every 100000 1")] {
        let of_relay = asked(&relay, model);
        let of_litellm = Asked {
            address: litellm.address,
            ..of_relay.clone()
        };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(steady(&of_relay, streams, relay.id(), WINDOW).await);
            theirs.push(steady(&of_litellm, streams, litellm.id(), WINDOW).await);
        }
        write(&format!("cpu litellm {load}"), &theirs);
        write(&format!("litellm {load}"), &over(&theirs, &ours));
    }
}

/// What answers cost that nodes share.
pub async fn redis(is_trial: bool) {
    let upstream = upstream::start();
    match is_trial {
        true => redis::try_once(&upstream).await,
        false => redis::run(&upstream).await,
    }
}

/// Only whether all of it works.
async fn try_once(upstream: &Process) {
    let short = Duration::from_millis(50);
    for wire in [Wire::Responses, Wire::Chat] {
        let relay = relay::start(wire, upstream);
        let responses = asked(&relay, "every 1000 1");
        assert!(steady(&responses, 2, relay.id(), short).await > 0.0);
        if wire == Wire::Responses {
            let answer = asked(&relay, "whole 1024");
            assert!(whole(&answer, 1, short, 1_024).await > 0);
            let relay = relay::start_with(wire, "server", upstream);
            let answer = asked(&relay, "whole 1024");
            assert!(whole(&answer, 1, short, 1_024).await > 0);
        }
    }
    if let Some(nginx) = Nginx::start(upstream.address()).await {
        let responses = Asked {
            address: nginx.address,
            ..asked(upstream, "every 1000 1")
        };
        assert!(steady(&responses, 2, nginx.id(), short).await > 0.0);
    }
}

pub fn asked(whom: &Process, model: &str) -> Asked {
    Asked {
        address: whom.address(),
        path: "responses",
        model: model.to_owned(),
    }
}

/// The CPU time of a proxy for each block while streams run, in nanoseconds.
pub async fn steady(asked: &Asked, streams: usize, proxy: u32, window: Duration) -> f64 {
    let open = Open::streams(asked, streams, GAP).await;
    sleep(WARM_UP).await;
    let (blocks, before) = (open.seen.blocks.get(), cpu(proxy));
    sleep(window).await;
    let (blocks, took) = (open.seen.blocks.get() - blocks, cpu(proxy) - before);
    took.as_nanos() as f64 / blocks.max(1) as f64
}

async fn blocks(relay: &Process, nginx: Option<&Nginx>) {
    for (load, streams, model) in LOADS {
        let of_relay = asked(relay, model);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(steady(&of_relay, streams, relay.id(), WINDOW).await);
            if let Some(nginx) = nginx {
                let of_nginx = Asked {
                    address: nginx.address,
                    ..of_relay.clone()
                };
                theirs.push(steady(&of_nginx, streams, nginx.id(), WINDOW).await);
            }
        }
        write(&format!("cpu relay {load}"), &ours);
        write(&format!("cpu nginx {load}"), &theirs);
        write(&format!("ratio {load}"), &over(&ours, &theirs));
    }
}

/// How many answers in one piece come through, of those that come without: made of a stream, and as the server writes them.
async fn wholes(upstream: &Process, relays: [&Process; 2], nginx: Option<&Nginx>) {
    let time = Duration::from_millis(700);
    for bytes in [1_024, 16_384] {
        let model = format!("whole {bytes}");
        let (mut directly, mut theirs) = (Vec::new(), Vec::new());
        let [mut ours, mut cost] = [[(); 2]; 2].map(|both| both.map(|()| Vec::new()));
        for _ in 0..ROUNDS {
            let direct = asked(upstream, &model);
            let count = async |asked: &Asked| whole(asked, CONNECTIONS, time, bytes).await as f64;
            directly.push(count(&direct).await);
            for (at, relay) in relays.into_iter().enumerate() {
                let before = cpu(relay.id());
                let answers = count(&asked(relay, &model)).await;
                let took = cpu(relay.id()) - before;
                cost[at].push(took.as_nanos() as f64 / answers);
                ours[at].push(answers);
            }
            if let Some(nginx) = nginx {
                let address = nginx.address;
                theirs.push(count(&Asked { address, ..direct }).await);
            }
        }
        for (at, how) in ["relay", "unchanged"].into_iter().enumerate() {
            write(&format!("share {how} {bytes}"), &over(&ours[at], &directly));
            write(&format!("cpu whole {how} {bytes}"), &cost[at]);
        }
        write(&format!("share nginx {bytes}"), &over(&theirs, &directly));
    }
}

/// What a proxy adds to the way of first and of later blocks.
async fn latencies(upstream: &Process, relay: &Process, nginx: Option<&Nginx>, streams: usize) {
    let mut whom = vec![("direct", upstream.address()), ("relay", relay.address())];
    whom.extend(nginx.map(|nginx| ("nginx", nginx.address)));
    let quantiles = [("p50", 0.5), ("p99", 0.99)];
    let mut waits = vec![[[(); 2]; 2].map(|kind| kind.map(|()| Vec::new())); whom.len()];
    for _ in 0..ROUNDS {
        for (waits, (_, address)) in waits.iter_mut().zip(&whom) {
            let asked = Asked {
                address: *address,
                ..asked(upstream, PACE)
            };
            let open = Open::streams(&asked, streams, GAP).await;
            sleep(WARM_UP).await;
            open.seen.later.borrow_mut().clear();
            sleep(WINDOW).await;
            let kinds = [open.seen.first.take(), open.seen.later.take()];
            for (waits, mut samples) in waits.iter_mut().zip(kinds) {
                samples.sort_by(f64::total_cmp);
                for (waits, (_, quantile)) in waits.iter_mut().zip(quantiles) {
                    let at = (samples.len().saturating_sub(1)) as f64 * quantile;
                    waits.extend(samples.get(at as usize));
                }
            }
        }
    }
    for (index, (who, _)) in whom.iter().enumerate() {
        for (kind, event) in ["first", "later"].into_iter().enumerate() {
            for (at, (quantile, _)) in quantiles.into_iter().enumerate() {
                let mut values = waits[index][kind][at].clone();
                if index > 0 {
                    let direct = &waits[0][kind][at];
                    values = values
                        .iter()
                        .zip(direct)
                        .map(|(one, other)| one - other)
                        .collect();
                }
                write(
                    &format!("added {who} {event} {streams} {quantile}"),
                    &values,
                );
            }
        }
    }
}

/// A stream of Chat for a client of Responses, beside the same for a client of Chat.
async fn bridge(upstream: &Process) {
    let relay = relay::start(Wire::Chat, upstream);
    for (load, streams, model) in [LOADS[1], LOADS[3]] {
        let bridged = asked(&relay, model);
        let plain = Asked {
            path: "chat/completions",
            ..bridged.clone()
        };
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            with.push(steady(&bridged, streams, relay.id(), WINDOW).await);
            without.push(steady(&plain, streams, relay.id(), WINDOW).await);
        }
        write(&format!("cpu bridged {load}"), &with);
        write(&format!("cpu unbridged {load}"), &without);
        write(&format!("bridge {load}"), &over(&with, &without));
    }
}

/// How long it takes to be ready, and what it needs before it is asked anything.
async fn starts(upstream: &Process) {
    let (mut times, mut idle) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = clock::monotonic();
        let relay = relay::start(Wire::Responses, upstream);
        // It listens when it has said its port, and a connection is taken.
        TcpStream::connect(relay.address())
            .await
            .expect("a connection");
        times.push((clock::monotonic() - before).as_nanos() as f64);
        sleep(WARM_UP).await;
        idle.push(resident(relay.id()) as f64);
    }
    write("start", &times);
    write("idle", &idle);
}

/// What open streams need on which nothing happens any more.
async fn memory(upstream: &Process) {
    let streams = 1_000;
    let relay = relay::start(Wire::Responses, upstream);
    let asked = asked(&relay, "every 3600000000 1");
    // What is made once, in each thread.
    drop(Open::streams(&asked, 20, GAP).await);
    sleep(WARM_UP).await;
    let before = resident(relay.id());
    let _open = Open::streams(&asked, streams, GAP).await;
    sleep(WINDOW).await;
    let more = resident(relay.id()).saturating_sub(before);
    write("memory of a stream", &[more as f64 / streams as f64]);
}

/// How what it costs grows, with streams and with the length of an answer.
async fn growth(upstream: &Process) {
    let kib = |bytes: u64, among: usize| bytes as f64 / 1024.0 / among as f64;
    for streams in [1, 10, 100, 1_000] {
        let relay = relay::start(Wire::Responses, upstream);
        // Few enough blocks that the processors have the time for the most streams.
        let asked = asked(&relay, "every 100000 1");
        drop(Open::streams(&asked, 20, GAP).await);
        sleep(WARM_UP).await;
        let before = resident(relay.id());
        let open = Open::streams(&asked, streams, GAP).await;
        sleep(WARM_UP).await;
        let (blocks, cpu_before) = (open.seen.blocks.get(), cpu(relay.id()));
        sleep(2 * WINDOW).await;
        let took = cpu(relay.id()) - cpu_before;
        let nanos = took.as_nanos() as f64 / (open.seen.blocks.get() - blocks).max(1) as f64;
        let memory = kib(resident(relay.id()).saturating_sub(before), streams);
        println!("relay: {streams} streams: {nanos:.0} ns a block, {memory:.1} KiB a stream");
        write(&format!("growth streams {streams} cpu"), &[nanos]);
        write(&format!("growth streams {streams} memory"), &[memory]);
    }
    for deltas in [1, 10, 100, 1_000, 10_000, 100_000] {
        let relay = relay::start(Wire::Responses, upstream);
        let asked = asked(&relay, &format!("deltas {deltas}"));
        for _ in 0..4 {
            assert_eq!(to_end(&asked).await, deltas as u64);
        }
        // No more than what is kept of one client's answers.
        let answers = (20_000 / deltas).clamp(1, 200);
        let (before, cpu_before) = (resident(relay.id()), cpu(relay.id()));
        for _ in 0..answers {
            to_end(&asked).await;
        }
        let took = cpu(relay.id()) - cpu_before;
        let nanos = took.as_nanos() as f64 / (answers * deltas) as f64;
        let memory = kib(resident(relay.id()).saturating_sub(before), answers);
        println!("relay: {deltas} deltas: {nanos:.0} ns a delta, {memory:.1} KiB an answer");
        write(&format!("growth deltas {deltas} cpu"), &[nanos]);
        write(&format!("growth deltas {deltas} memory"), &[memory]);
    }
    let streams = 20;
    let relay = relay::start(Wire::Responses, upstream);
    let asked = asked(&relay, LOADS[2].2);
    drop(Open::streams(&asked, 20, GAP).await);
    sleep(WARM_UP).await;
    let before = resident(relay.id());
    let _open = stalled(&asked, streams).await.expect("streams");
    // Until no more of them is read.
    sleep(4 * WINDOW).await;
    let memory = kib(resident(relay.id()).saturating_sub(before), streams);
    println!("relay: {memory:.0} KiB of a stream whose client does not read");
    write("memory of a stalled stream", &[memory]);
}

pub fn over(ones: &[f64], others: &[f64]) -> Vec<f64> {
    ones.iter()
        .zip(others)
        .map(|(one, other)| one / other)
        .collect()
}

pub fn write(name: &str, values: &[f64]) {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    if values.is_empty() {
        return;
    }
    let at = |quarters: usize| values[(values.len() - 1) * quarters / 4];
    let record = json!({"median": at(2), "lower": at(1), "upper": at(3)});
    records::write(&format!("relay {name}"), &record);
}
