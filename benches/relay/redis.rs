//! What answers cost that several nodes share in Redis, beside answers in memory.

use std::{env, fs, net::SocketAddr, path::PathBuf};

use actix_responses::wire::Wire;
use tokio::time::sleep;

use crate::{
    client::{Open, to_end},
    measures::{GAP, LOADS, PACE, ROUNDS, WARM_UP, WINDOW, asked, over, steady, write},
    process::{Process, cpu, free_address, listens, resident},
    relay,
};

/// How many streams are followed at another node.
const FOLLOWED: usize = 100;

/// Answers that ended and can be read again, and deltas of each.
const KEPT: usize = 1_000;
const DELTAS: usize = 100;

/// A Redis of its own, which ends with this value.
pub struct Redis {
    shell: Process,
    address: SocketAddr,
}

impl Redis {
    /// Starts it, where it is installed.
    pub async fn start() -> Option<Self> {
        let program = program()?;
        let address = free_address();
        let folder = env::temp_dir().join(format!("bench-redis-{}", address.port()));
        fs::create_dir_all(&folder).expect("a folder");
        let mut command = Process::kept(&program);
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(["--port", &address.port().to_string()]);
        let shell = Process::start(command.arg("--dir").arg(&folder)).with_folder(folder);
        listens(address).await;
        Some(Self { shell, address })
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}

fn program() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut installed = env::split_paths(&path).map(|folder| folder.join("redis-server"));
    installed.find(|program| program.is_file())
}

pub async fn run(upstream: &Process) {
    let Some(redis) = Redis::start().await else {
        return println!("relay: redis is not measured here: redis-server is not installed");
    };
    blocks(upstream, &redis).await;
    followed(upstream, &redis).await;
    drop(redis);
    kept(upstream).await;
}

/// Only whether all of it works.
pub async fn try_once(upstream: &Process) {
    if let Some(redis) = Redis::start().await {
        follow(upstream, &redis, 2).await;
    }
}

/// CPU for each block, of the relay and of Redis.
async fn blocks(upstream: &Process, redis: &Redis) {
    let memory = relay::start(Wire::Responses, upstream);
    let shared = relay::start_on(&redis.url(), upstream);
    for (load, streams, model) in [LOADS[1], LOADS[3]] {
        let [mut ours, mut theirs, mut engine] = [(); 3].map(|()| Vec::new());
        for _ in 0..ROUNDS {
            theirs.push(steady(&asked(&memory, model), streams, memory.id(), WINDOW).await);
            let asked = asked(&shared, model);
            let open = Open::streams(&asked, streams, GAP).await;
            sleep(WARM_UP).await;
            let spent =
                || [cpu(shared.id()), cpu(redis.shell.said)].map(|time| time.as_nanos() as f64);
            let (seen, began) = (open.seen.blocks.get(), spent());
            sleep(WINDOW).await;
            let blocks = (open.seen.blocks.get() - seen).max(1) as f64;
            let [relay, redis] = spent();
            ours.push((relay - began[0]) / blocks);
            engine.push((redis - began[1]) / blocks);
        }
        write(&format!("redis cpu {load}"), &ours);
        write(&format!("redis cpu of the engine {load}"), &engine);
        write(&format!("redis over memory {load}"), &over(&ours, &theirs));
    }
}

/// What a reader at another node waits for a block, from its writing at the server; and one at the same node.
async fn followed(upstream: &Process, redis: &Redis) {
    let quantiles = [("p50", 0.5), ("p99", 0.99)];
    let [mut here, mut there] = [(); 2].map(|()| [Vec::new(), Vec::new()]);
    for _ in 0..ROUNDS {
        for (waits, seen) in [&mut here, &mut there]
            .into_iter()
            .zip(follow(upstream, redis, FOLLOWED).await)
        {
            for (waits, (_, quantile)) in waits.iter_mut().zip(quantiles) {
                let at = (seen.len().saturating_sub(1)) as f64 * quantile;
                waits.extend(seen.get(at as usize));
            }
        }
    }
    for (who, waits) in [("here", here), ("elsewhere", there)] {
        for (waits, (quantile, _)) in waits.iter().zip(quantiles) {
            write(&format!("redis read {who} {FOLLOWED} {quantile}"), waits);
        }
    }
}

/// How long blocks were on their way to this node's readers and to another's, in nanoseconds, the shortest first.
async fn follow(upstream: &Process, redis: &Redis, streams: usize) -> [Vec<f64>; 2] {
    let [owner, other] = [(); 2].map(|()| relay::start_on(&redis.url(), upstream));
    let both = Open::followed(&asked(&owner, PACE), streams, GAP, other.address()).await;
    sleep(WARM_UP).await;
    let before = both.each_ref().map(|open| open.seen.blocks.get());
    both.iter()
        .for_each(|open| open.seen.later.borrow_mut().clear());
    sleep(WINDOW).await;
    let [own, followed] = [0, 1].map(|at| both[at].seen.blocks.get() - before[at]);
    assert!(
        followed * 10 > own * 9,
        "{followed} blocks elsewhere of {own}"
    );
    both.each_ref().map(|open| {
        let mut waits = open.seen.later.take();
        waits.sort_by(f64::total_cmp);
        waits
    })
}

/// Memory of answers that have ended: of the node and of Redis, and of a node that keeps them in memory.
async fn kept(upstream: &Process) {
    let redis = Redis::start().await.expect("Redis once more");
    let memory = relay::start(Wire::Responses, upstream);
    let shared = relay::start_on(&redis.url(), upstream);
    let engine = || resident(redis.shell.said);
    let mut each = Vec::new();
    for relay in [&memory, &shared] {
        let asked = asked(relay, &format!("deltas {DELTAS}"));
        to_end(&asked).await;
        sleep(WARM_UP).await;
        let before = [resident(relay.id()), engine()];
        for _ in 0..KEPT {
            assert_eq!(to_end(&asked).await, DELTAS as u64);
        }
        sleep(WARM_UP).await;
        let after = [resident(relay.id()), engine()];
        each.push([0, 1].map(|at| after[at].saturating_sub(before[at]) as f64 / KEPT as f64));
    }
    write("redis kept in memory", &[each[0][0]]);
    write("redis kept at the node", &[each[1][0]]);
    write("redis kept by the engine", &[each[1][1]]);
}
