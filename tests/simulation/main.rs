//! Random schedules of faults over a scripted transport with the clock paused, and the promises checked in each.
//!
//! A seed is a plan (`plan.rs`), a run of it (`run.rs`) and the checks (`check.rs`). Nothing is decided by chance outside of the
//! plan, so a seed replays exactly:
//!
//! - `SIMULATION_SEED=17 cargo test --test simulation` plays one seed and prints its trace.
//! - `SIMULATION_SEEDS=20000 cargo test --release --test simulation` plays so many, from `SIMULATION_FIRST` on.

mod background;
mod bodies;
mod check;
mod listeners;
mod plan;
mod regressions;
mod rng;
mod run;
mod sabotage;
mod transport;
mod world;

use std::{
    collections::BTreeMap,
    env,
    sync::{
        Mutex, Once,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use self::{check::check, plan::Plan, run::run, transport::SCRIPTED_PANIC, world::Record};

/// How many seeds `cargo test` plays: some seconds.
const DEFAULT_SEEDS: u64 = 300;

fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {value}")),
    )
}

/// Keeps the panics of the plans out of the output.
fn hide_scripted_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let payload = info.payload();
            let text = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            if text != Some(SCRIPTED_PANIC) {
                print(info);
            }
        }));
    });
}

/// What was broken and how it came to that.
fn report(record: &Record, broken: &[(&'static str, String)]) -> String {
    let mut text = String::new();
    for (name, detail) in broken {
        text += &format!("  {name}: {detail}\n");
    }
    text += "the trace:\n";
    for line in &record.trace {
        text += &format!("  {line}\n");
    }
    text
}

fn replay(seed: u64, record: &Record, broken: &[(&'static str, String)]) -> String {
    let report = report(record, broken);
    format!(
        "seed {seed} breaks:\n{report}replay it with SIMULATION_SEED={seed} cargo test --test simulation\n"
    )
}

#[derive(Default)]
struct Totals {
    seeds: u64,
    requests: u64,
    questions: u64,
    attempts: u64,
    listeners: u64,
    events: u64,
    faults: BTreeMap<&'static str, u64>,
    checked: BTreeMap<&'static str, u64>,
    broken: BTreeMap<&'static str, u64>,
    reports: Vec<String>,
}

impl Totals {
    fn add(&mut self, seed: u64, plan: &Plan, record: &Record) {
        self.seeds += 1;
        self.requests += plan.requests.len() as u64;
        self.questions += plan.questions.len() as u64;
        self.listeners += record.listeners.len() as u64;
        for request in &record.requests {
            self.attempts += request.attempts.len() as u64;
        }
        for listener in &record.listeners {
            self.events += listener.seen.len() as u64;
        }
        for fault in &record.faults {
            *self.faults.entry(fault.name()).or_default() += 1;
        }
        let findings = check(plan, record);
        for (name, count) in findings.checked {
            *self.checked.entry(name).or_default() += count;
        }
        // One report for each promise, of the seed that showed it first.
        let is_new = |(name, _): &(&'static str, String)| !self.broken.contains_key(name);
        if findings.broken.iter().any(is_new) {
            self.reports.push(replay(seed, record, &findings.broken));
        }
        for (name, _) in &findings.broken {
            *self.broken.entry(name).or_default() += 1;
        }
    }

    fn print(&self) {
        println!(
            "{} seeds, {} requests, {} questions, {} attempts, {} listeners, {} events received",
            self.seeds, self.requests, self.questions, self.attempts, self.listeners, self.events
        );
        println!("faults: {:?}", self.faults);
        println!(
            "checks ({} in all): {:#?}",
            self.checked.values().sum::<u64>(),
            self.checked
        );
        println!("violations: {:?}", self.broken);
    }
}

/// Plays seeds on as many threads as there are processors; a watchman ends the process if one of them hangs.
fn play(seeds: std::ops::Range<u64>) -> Totals {
    let next = AtomicU64::new(seeds.start);
    let totals = Mutex::new(Totals::default());
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(4);
    let under_way: Vec<AtomicU64> = (0..threads).map(|_| AtomicU64::new(u64::MAX)).collect();
    let (done, watched) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let under_way = &under_way;
        scope.spawn(move || watch(under_way, &watched));
        for seed_of_thread in under_way {
            let (next, totals, done) = (&next, &totals, done.clone());
            let seeds = seeds.clone();
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        break;
                    }
                    seed_of_thread.store(seed, Ordering::Relaxed);
                    let plan = Plan::new(seed);
                    let record = run(&plan);
                    totals
                        .lock()
                        .expect("no check panics")
                        .add(seed, &plan, &record);
                }
                seed_of_thread.store(u64::MAX, Ordering::Relaxed);
                drop(done);
            });
        }
        drop(done);
    });
    totals.into_inner().expect("no check panics")
}

/// A seed takes milliseconds; one that is still the same after this has a loop in which no time passes.
const HANG: Duration = Duration::from_secs(60);

fn watch(under_way: &[AtomicU64], done: &std::sync::mpsc::Receiver<()>) {
    let now = || {
        under_way
            .iter()
            .map(|seed| seed.load(Ordering::Relaxed))
            .collect::<Vec<_>>()
    };
    let mut before = Vec::new();
    while done.recv_timeout(HANG) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
        let seeds = now();
        for (seed, earlier) in seeds.iter().zip(&before) {
            if seed == earlier && *seed != u64::MAX {
                eprintln!(
                    "seed {seed} hangs; replay it with SIMULATION_SEED={seed} cargo test --test simulation"
                );
                std::process::exit(1);
            }
        }
        before = seeds;
    }
}

#[test]
fn every_seed_keeps_the_promises() {
    hide_scripted_panics();
    if let Some(seed) = number("SIMULATION_SEED") {
        let plan = Plan::new(seed);
        println!("{plan:#?}");
        let record = run(&plan);
        let broken = check(&plan, &record).broken;
        println!("{}", replay(seed, &record, &broken));
        assert!(
            broken.is_empty(),
            "seed {seed} breaks {} promises",
            broken.len()
        );
        return;
    }
    let first = number("SIMULATION_FIRST").unwrap_or(0);
    let count = number("SIMULATION_SEEDS").unwrap_or(DEFAULT_SEEDS);
    let totals = play(first..first + count);
    totals.print();
    for report in &totals.reports {
        println!("{report}");
    }
    assert!(
        totals.broken.is_empty(),
        "broken promises: {:?}",
        totals.broken
    );
}

#[test]
fn a_seed_replays_exactly() {
    hide_scripted_panics();
    for seed in 0..40 {
        let plan = Plan::new(seed);
        let (one, two) = (run(&plan), run(&plan));
        assert_eq!(one.trace, two.trace, "seed {seed}");
        for (one, two) in one.listeners.iter().zip(&two.listeners) {
            let seen = |listener: &world::ListenerRecord| {
                let seen = listener.seen.iter();
                seen.map(|seen| (seen.at, seen.sequence, seen.event.name()))
                    .collect::<Vec<_>>()
            };
            assert_eq!(seen(one), seen(two), "seed {seed}");
        }
    }
}
