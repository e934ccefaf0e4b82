//! Nodes that die, hang and come back, over a store that is slow, away, or loses what it had, with the clock paused; and the promises of
//! answers that outlive their node checked in each run.
//!
//! A seed is a plan (`plan.rs`), a run of it (`world.rs`) and the checks (`check.rs`). The recorder and the follower are those of the crate; the
//! nodes around them do what the relay does. Nothing is decided by chance outside of the plan, so a seed replays exactly:
//!
//! - `SIMULATION_SEED=17 cargo test --test nodes_simulation` plays one seed and prints its trace.
//! - `SIMULATION_SEEDS=20000 cargo test --test nodes_simulation` plays so many, from `SIMULATION_FIRST` on.

mod check;
mod heard;
mod plan;
mod process;
#[path = "../simulation/rng.rs"]
mod rng;
mod sabotage;
mod world;

use std::{
    collections::BTreeMap,
    env,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use self::{
    check::{Findings, check},
    plan::Plan,
    world::run,
};

/// How many seeds `cargo test` plays: some seconds.
const DEFAULT_SEEDS: u64 = 500;

fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

fn report(seed: u64) -> (Findings, String) {
    let plan = Plan::new(seed);
    let record = run(&plan, None, true);
    let findings = check(&plan, &record);
    let mut text = format!("seed {seed}: {plan:#?}\n");
    for line in &record.trace {
        text += &format!("  {line}\n");
    }
    for (name, detail) in &findings.broken {
        text += &format!("BROKEN {name}: {detail}\n");
    }
    text += &format!("SIMULATION_SEED={seed} cargo test --test nodes_simulation\n");
    (findings, text)
}

#[derive(Debug, Default)]
struct Totals {
    seeds: u64,
    writers: u64,
    take_overs: u64,
    checked: BTreeMap<&'static str, u64>,
    seen: BTreeMap<&'static str, u64>,
    /// How often, and the first seed.
    broken: BTreeMap<&'static str, (u64, u64)>,
}

fn play(seeds: std::ops::Range<u64>) -> Totals {
    let next = AtomicU64::new(seeds.start);
    let totals = Mutex::new(Totals::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(4) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        break;
                    }
                    let plan = Plan::new(seed);
                    let record = run(&plan, None, false);
                    let findings = check(&plan, &record);
                    let mut totals = totals.lock().expect("no check panics");
                    totals.seeds += 1;
                    totals.writers += record.writers.len() as u64;
                    let taken = record.writers.iter().filter(|writer| !writer.is_owner);
                    totals.take_overs += taken.count() as u64;
                    for (name, count) in findings.checked {
                        *totals.checked.entry(name).or_default() += count;
                    }
                    for (name, count) in findings.seen {
                        *totals.seen.entry(name).or_default() += count;
                    }
                    for (name, _) in findings.broken {
                        totals.broken.entry(name).or_insert((0, seed)).0 += 1;
                    }
                }
            });
        }
    });
    totals.into_inner().expect("no check panics")
}

#[test]
fn every_seed_keeps_the_promises() {
    if let Some(seed) = number("SIMULATION_SEED") {
        let (findings, text) = report(seed);
        println!("{text}");
        assert!(findings.broken.is_empty(), "seed {seed} breaks promises");
        return;
    }
    let first = number("SIMULATION_FIRST").unwrap_or(0);
    let count = number("SIMULATION_SEEDS").unwrap_or(DEFAULT_SEEDS);
    let totals = play(first..first + count);
    println!("{totals:#?}");
    for (_, seed) in totals.broken.values() {
        println!("{}", report(*seed).1);
    }
    assert!(totals.broken.is_empty(), "{:?}", totals.broken);
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..20 {
        let plan = Plan::new(seed);
        let [one, two] = [(); 2].map(|()| run(&plan, None, true).trace);
        // Take-overs are numbered over all runs of a process.
        let names = |trace: Vec<String>| -> Vec<String> {
            let lines = trace.into_iter();
            lines
                .map(|line| line.split('/').next().unwrap_or_default().to_owned())
                .collect()
        };
        assert_eq!(names(one), names(two), "seed {seed}");
    }
}
