//! What answers cost that several nodes share in Redis, beside answers in memory.

use std::{env, fmt::Write as _, fs, net::SocketAddr, path::PathBuf, time::Duration};

use actix_responses::wire::Wire;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::sleep,
};

use crate::{
    client::{Open, to_end},
    clock,
    measures::{GAP, LOADS, PACE, ROUNDS, WARM_UP, WINDOW, asked, over, steady, write},
    process::{Process, cpu, free_address, listens, resident},
    relay,
};

/// How many streams are followed at another node.
const FOLLOWED: usize = 100;

/// Answers that ended and can be read again, and deltas of each. Twice as many are less than what a node keeps in memory.
const KEPT: usize = 900;
const DELTAS: usize = 100;

/// The blocks of an answer before its deltas; one stands behind them.
const BEGIN: usize = 4;

/// A node holds an answer for 2 s after its end, to write it again if Redis lost it; and its runtime what it knows of a request for 30 s.
const HELD: Duration = Duration::from_secs(33);

/// How long what was relayed may take to Redis, on a machine that has other work.
const PATIENCE: Duration = Duration::from_secs(10);

/// Says how many blocks lie there, of all answers.
const BLOCKS: &str = "local blocks = 0
for _, log in ipairs(redis.call('KEYS', '{responses}:log:*')) do blocks = blocks + redis.call('XLEN', log) end
return blocks";

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

    /// Waits until it has so many blocks. A node that gave answers up would cost less.
    async fn has(&self, blocks: u64) {
        let until = clock::monotonic() + PATIENCE;
        loop {
            let had = self.blocks().await;
            if had >= blocks {
                return;
            }
            assert!(
                clock::monotonic() < until,
                "{had} blocks in Redis of {blocks} that were relayed"
            );
            sleep(WARM_UP).await;
        }
    }

    /// How many blocks it has.
    async fn blocks(&self) -> u64 {
        let mut command = "*3\r\n".to_owned();
        for word in ["EVAL", BLOCKS, "0"] {
            let _ = write!(command, "${}\r\n{word}\r\n", word.len());
        }
        let asked = async {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.write_all(command.as_bytes()).await?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).await?;
            std::io::Result::Ok(line)
        };
        let line = asked.await.expect("what Redis says");
        let count = line.strip_prefix(':').map(str::trim);
        count.and_then(|count| count.parse().ok()).expect(&line)
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
        redis.has(1).await;
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
            let stored = redis.blocks().await;
            let open = Open::streams(&asked, streams, GAP).await;
            sleep(WARM_UP).await;
            let spent =
                || [cpu(shared.id()), cpu(redis.shell.said)].map(|time| time.as_nanos() as f64);
            let (seen, began) = (open.seen.blocks.get(), spent());
            sleep(WINDOW).await;
            let blocks = (open.seen.blocks.get() - seen).max(1) as f64;
            let now = spent();
            ours.push((now[0] - began[0]) / blocks);
            engine.push((now[1] - began[1]) / blocks);
            let all = open.seen.clone();
            drop(open);
            let begun = (streams * BEGIN) as u64;
            redis.has(stored + begun + all.blocks.get()).await;
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
        let some = async || {
            for _ in 0..KEPT {
                assert_eq!(to_end(&asked).await, DELTAS as u64);
            }
            sleep(HELD).await;
            [resident(relay.id()), engine()]
        };
        // What is held for a while makes room for what is held of the next ones.
        let before = some().await;
        let after = some().await;
        each.push([0, 1].map(|at| after[at].saturating_sub(before[at]) as f64 / KEPT as f64));
    }
    redis.has(2 * (KEPT * (BEGIN + DELTAS + 1)) as u64).await;
    write("redis kept in memory", &[each[0][0]]);
    write("redis kept at the node", &[each[1][0]]);
    write("redis kept by the engine", &[each[1][1]]);
}
