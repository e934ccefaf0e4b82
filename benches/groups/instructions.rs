//! `instructions`: how many instructions each event costs, counted by valgrind's callgrind. Unlike a time it does not depend
//! on what else the machine does. What the kernel does is not in it.
//!
//! This program runs itself under valgrind with few and with more rounds of the same work; the difference is without what is
//! done once. The listing of each run stays in the target folder, for `callgrind_annotate`.

use std::{
    collections::HashMap,
    env, fs,
    process::{Command, Stdio},
    rc::Rc,
};

use actix_responses::actors::Workers;
use actix_rt::System;
use serde_json::{Value, json};

use crate::{
    bodies,
    clients::{Client, Clients},
    deliver,
    support::{
        bodies::BODIES,
        decoders::{Decoder, Tally},
        inputs::{Delivery, Input},
        records,
        server::Server,
        target,
    },
};

/// Set for the process whose instructions are counted: what it is to do.
const WORK: &str = "ACTIX_RESPONSES_BENCH_WORK";

const DELIVERIES: [Delivery; 4] = [
    Delivery::Event,
    Delivery::PACKETS,
    Delivery::READS,
    Delivery::Whole,
];

const FEW_ROUNDS: u64 = 1;
const MORE_ROUNDS: u64 = 4;

/// Does the work of a counted process, if this is one.
pub fn work_if_asked() -> bool {
    let Ok(work) = env::var(WORK) else {
        return false;
    };
    let words: Vec<_> = work.split(' ').collect();
    let [group, who, input, delivery, rounds] = words[..] else {
        panic!("no such work: {work}");
    };
    let rounds: u64 = rounds.parse().expect("a number of rounds");
    match group {
        "body" => {
            let work = bodies::Work::new(who, input);
            (0..rounds).for_each(|_| work.once());
        }
        "deliver" => {
            let [subscribers, burst] =
                [input, delivery].map(|number| number.parse().expect("a number"));
            deliver::work(who, subscribers, burst, rounds);
        }
        "decode" => {
            let decoder = Decoder::ALL
                .into_iter()
                .find(|decoder| decoder.name() == who);
            let input = input_named(input);
            let delivery = DELIVERIES
                .into_iter()
                .find(|known| known.name() == delivery);
            let chunks = input.chunks(delivery.expect("a delivery"));
            for _ in 0..rounds {
                decoder
                    .expect("a decoder")
                    .decode::<Tally>(input.wire, &chunks);
            }
        }
        _ => {
            let client = [Client::Ours, Client::AwcRaw]
                .into_iter()
                .find(|client| client.name() == who);
            let script = match group {
                "lifecycle" => input.to_owned(),
                _ => format!("{input}_{delivery}"),
            };
            let system = System::new();
            system.block_on(async {
                let clients = Clients::new(Rc::new(Server::start()), Workers::Current).await;
                for _ in 0..rounds {
                    clients.ask(client.expect("a client"), &script).await;
                }
            });
        }
    }
    true
}

fn input_named(name: &str) -> Input {
    let all = [
        Input::resp_text,
        Input::resp_reason_fn,
        Input::chat,
        Input::small,
    ];
    let mut inputs = all.into_iter().map(|make| make());
    inputs.find(|input| input.name == name).expect("an input")
}

pub fn run() {
    if !records::is_wanted("instructions") || records::is_trial() {
        return;
    }
    if Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        println!("instructions: left out, because valgrind is not installed");
        return;
    }
    let alone = [
        Decoder::Ours,
        Decoder::Upstream,
        Decoder::AsyncOpenai,
        Decoder::SseCoreSerde,
        Decoder::LineScan,
    ];
    for delivery in [Delivery::Event, Delivery::PACKETS] {
        alone
            .iter()
            .for_each(|decoder| count("decode", decoder.name(), "resp_text", delivery));
        for input in ["resp_reason_fn", "chat"] {
            count("decode", "ours", input, delivery);
        }
    }
    for delivery in [Delivery::READS, Delivery::Whole] {
        count("decode", "ours", "resp_text", delivery);
    }
    for delivery in [Delivery::Event, Delivery::READS] {
        for client in [Client::Ours, Client::AwcRaw] {
            count("end_to_end", client.name(), "resp_text", delivery);
        }
    }
    for client in [Client::Ours, Client::AwcRaw] {
        count("lifecycle", client.name(), "small", Delivery::Event);
    }
    for body in BODIES {
        for way in bodies::WAYS {
            let work = format!("body {way} {body} -");
            record(
                &work,
                &json!({ "per_body": per_round(&work, Cache::Left).instructions }),
            );
        }
    }
    let events = Input::resp_text().events.len() as f64;
    for burst in [64, 4, 1] {
        for way in ["ours", "broadcast"] {
            let work = format!("deliver {way} 100 {burst}");
            let cost = per_round(&work, Cache::Simulated);
            record(
                &work,
                &json!({
                    "per_event": cost.instructions / events,
                    "first_level_misses_per_event": cost.first_level_misses / events,
                    "last_level_misses_per_event": cost.last_level_misses / events,
                }),
            );
        }
    }
}

fn count(group: &str, who: &str, input: &str, delivery: Delivery) {
    let events = input_named(input).events.len() as f64;
    let work = format!("{group} {who} {input} {}", delivery.name());
    let per_event = per_round(&work, Cache::Left).instructions / events;
    record(&work, &json!({ "per_event": per_event }));
}

fn record(work: &str, cost: &Value) {
    records::write(
        &format!("instructions {}", work.trim_end_matches(" -")),
        cost,
    );
}

/// Whether callgrind models a cache: two levels of this machine's sizes.
#[derive(Clone, Copy, PartialEq)]
enum Cache {
    Left,
    Simulated,
}

/// What a round costs.
struct Cost {
    instructions: f64,
    first_level_misses: f64,
    last_level_misses: f64,
}

fn per_round(work: &str, cache: Cache) -> Cost {
    let [few, more] = [FEW_ROUNDS, MORE_ROUNDS].map(|rounds| callgrind(work, rounds, cache));
    let of = |names: &[&str]| {
        let sum = |totals: &HashMap<String, u64>| -> f64 {
            names
                .iter()
                .map(|name| totals.get(*name).copied().unwrap_or(0) as f64)
                .sum()
        };
        (sum(&more) - sum(&few)) / (MORE_ROUNDS - FEW_ROUNDS) as f64
    };
    Cost {
        instructions: of(&["Ir"]),
        first_level_misses: of(&["I1mr", "D1mr", "D1mw"]),
        last_level_misses: of(&["ILmr", "DLmr", "DLmw"]),
    }
}

/// The totals of a run, by callgrind's names.
fn callgrind(work: &str, rounds: u64, cache: Cache) -> HashMap<String, u64> {
    let folder = target::target_folder().join("callgrind");
    fs::create_dir_all(&folder).expect("a folder for listings");
    let listing = folder.join(format!("{}.{rounds}", work.replace(' ', ".")));
    let simulated = match cache {
        Cache::Left => "no",
        Cache::Simulated => "yes",
    };
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--trace-children=no"])
        .arg(format!("--cache-sim={simulated}"))
        .arg(format!("--callgrind-out-file={}", listing.display()))
        .arg(env::current_exe().expect("the program's path"))
        .env(WORK, format!("{work} {rounds}"))
        .output()
        .expect("valgrind");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{work}: {messages}");
    let listed = fs::read_to_string(listing).expect("a listing");
    let line = |name: &str| listed.lines().find_map(|line| line.strip_prefix(name));
    let names = line("events: ")
        .expect("names of counts")
        .split_whitespace();
    let totals = line("summary: ")
        .or_else(|| line("totals: "))
        .expect("counts");
    let totals = totals
        .split_whitespace()
        .map(|count| count.parse().expect("a count"));
    names.map(str::to_owned).zip(totals).collect()
}
