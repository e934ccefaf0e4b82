//! `allocations` for each event and of bodies, and what is held: by an open stream on which nothing happens (`idle`), by a body that
//! is sent again (`body`), by requests that have ended (`retained`), by an event as large as it may be (`large_event`); and
//! how both and the CPU time grow (`growth`).
//!
//! An allocator that counts does no harm to what is timed here. Each case of what is held runs in a process of its own.

mod bodies;
mod growth;
mod held;
mod large_events;
mod retained;
#[path = "../groups/scripted.rs"]
mod scripted;
#[path = "../support/mod.rs"]
mod support;

use std::{
    alloc::System as SystemAllocator,
    env,
    process::{Command, Stdio},
    rc::Rc,
    time::Duration,
};

use actix::{Actor, Context, Handler};
use actix_responses::{
    Runtime,
    actors::{Delivery as ActorDelivery, SubmitRequest, Subscriber, SupervisorConfig, Workers},
    protocol::Prompt,
    provider::Provider,
};
use actix_rt::System;
use futures_util::StreamExt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::time::sleep;

use self::{
    held::{heap_bytes, resident_bytes},
    support::{
        clock,
        decoders::{Decoder, Tally},
        inputs::{Delivery, Input},
        records,
        server::{Server, serve_if_asked},
    },
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<SystemAllocator> = &INSTRUMENTED_SYSTEM;

/// Set for the process of one case: its group, and which it is.
const CASE: &str = "ACTIX_RESPONSES_BENCH_CASE";

/// How long nothing happens while the CPU time is measured.
const SILENCE: Duration = Duration::from_secs(4);

/// Open files beside those of the streams.
const OTHER_FILES: u64 = 100;

fn main() {
    if serve_if_asked() {
        return;
    }
    if let Ok(case) = env::var(CASE) {
        return run_case(&case);
    }
    if records::is_wanted("allocations") {
        count_allocations();
        bodies::count();
    }
    if records::is_trial() {
        return;
    }
    let mut cases = Vec::new();
    for streams in [1_000, 10_000] {
        cases.extend(["awc", "ours", "reqwest"].map(|who| format!("idle {who} {streams}")));
    }
    cases.push("body sent_and_retried".to_owned());
    cases.extend(["small", "resp_text"].map(|input| format!("retained {input}")));
    cases.extend(large_events::SHAPES.map(|(shape, ..)| format!("large_event {shape}")));
    for (what, counts) in growth::CASES {
        cases.extend(counts.iter().map(|count| format!("growth {what}_{count}")));
    }
    for case in cases {
        if case.split(' ').next().is_some_and(records::is_wanted) {
            in_a_process_of_its_own(&case);
        }
    }
}

fn count_allocations() {
    let deliveries = [
        Delivery::Event,
        Delivery::PACKETS,
        Delivery::READS,
        Delivery::Whole,
    ];
    for input in [Input::resp_text(), Input::resp_reason_fn(), Input::chat()] {
        Decoder::ALL
            .iter()
            .for_each(|decoder| decoder.check(&input));
        for delivery in deliveries {
            let chunks = input.chunks(delivery);
            for decoder in Decoder::ALL {
                // Once before, for what is made once and kept.
                let before: Tally = decoder.decode(input.wire, &chunks);
                let region = Region::new(ALLOCATOR);
                let tally: Tally = decoder.decode(input.wire, &chunks);
                let change = region.change();
                assert_eq!(before, tally);
                let count = change.allocations + change.reallocations;
                let per_event = count as f64 / input.events.len() as f64;
                let name = format!(
                    "allocations {} {} {}",
                    decoder.name(),
                    input.name,
                    delivery.name()
                );
                records::write(&name, &json!({ "per_event": per_event }));
            }
        }
    }
}

fn in_a_process_of_its_own(case: &str) {
    let output = Command::new(env::current_exe().expect("the program's path"))
        .env(CASE, case)
        // glibc else keeps what a large text has left, and its next use would not be seen.
        .env("MALLOC_MMAP_THRESHOLD_", "131072")
        .stderr(Stdio::inherit())
        .output()
        .expect("a process");
    let output = String::from_utf8_lossy(&output.stdout);
    match serde_json::from_str::<Value>(output.trim()) {
        Ok(record) => records::write(case, &record),
        Err(_) => println!("{case}: left out: {}", output.trim()),
    }
}

fn run_case(case: &str) {
    let (group, which) = case.split_once(' ').expect("a case");
    let record = match group {
        "body" => System::new().block_on(bodies::sent_and_retried()),
        "retained" => System::new().block_on(retained::run(which)),
        "growth" => System::new().block_on(growth::run(which)),
        "large_event" => large_events::run(which),
        _ => return run_idle_case(which),
    };
    println!("{record}");
}

fn run_idle_case(case: &str) {
    let (who, streams) = case.split_once(' ').expect("a case");
    let streams: u64 = streams.parse().expect("a number of streams");
    let needed = streams + OTHER_FILES;
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if maximum.is_some_and(|maximum| maximum < needed) {
        println!("it needs {needed} open files, and the limit is {maximum:?}");
        return;
    }
    // The server, a child, inherits the limit.
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(needed),
            maximum,
        },
    )
    .expect("a limit within bounds");
    let system = System::new();
    let record = system.block_on(async {
        match who {
            "awc" => hold(streams, async |url| open_awc(url, streams).await).await,
            "reqwest" => hold(streams, async |url| open_reqwest(url, streams).await).await,
            _ => hold(streams, async |url| open_ours(url, streams).await).await,
        }
    });
    println!("{record}");
}

/// Opens streams and looks at what they cost. `open` returns when they are about to be open, with what keeps them open.
async fn hold<T>(streams: u64, open: impl AsyncFn(&str) -> T) -> Value {
    let server = Rc::new(Server::start());
    let (heap, pages) = (heap_bytes(), resident_bytes());
    let kept = open(&server.base_url("idle")).await;
    let mut opened = 0;
    while opened < streams {
        sleep(Duration::from_millis(20)).await;
        opened = server.stats().await.requests;
    }
    // What opening leaves to be done.
    sleep(Duration::from_secs(1)).await;
    let per_stream = |before: usize, after: usize| (after as f64 - before as f64) / streams as f64;
    let heap = per_stream(heap, heap_bytes());
    let resident = per_stream(pages, resident_bytes());
    let cpu = clock::process_cpu();
    sleep(SILENCE).await;
    let cpu = (clock::process_cpu() - cpu).as_secs_f64() / SILENCE.as_secs_f64();
    drop(kept);
    json!({
        "heap_bytes": heap,
        "resident_bytes": resident,
        "cpu_us_per_second": cpu * 1e6 / streams as f64,
    })
}

async fn open_awc(url: &str, streams: u64) {
    let connector = awc::Connector::new().limit(0);
    let client = awc::Client::builder()
        .connector(connector)
        .disable_timeout()
        .finish();
    let url = format!("{url}/responses");
    for _ in 0..streams {
        let request = client.post(url.as_str()).send_body("{}");
        let mut response = request.await.expect("an answer");
        actix_rt::spawn(async move { while response.next().await.is_some() {} });
    }
}

async fn open_reqwest(url: &str, streams: u64) {
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client");
    let url = format!("{url}/responses");
    for _ in 0..streams {
        let request = client.post(url.as_str()).body("{}").send();
        let mut response = request.await.expect("an answer");
        actix_rt::spawn(async move { while let Ok(Some(_)) = response.chunk().await {} });
    }
}

/// One actor subscribes to all, so that what is counted is the runtime's alone.
struct Nobody;

impl Actor for Nobody {
    type Context = Context<Self>;
}

impl Handler<ActorDelivery> for Nobody {
    type Result = ();

    fn handle(&mut self, _: ActorDelivery, _: &mut Context<Self>) {}
}

async fn open_ours(url: &str, streams: u64) -> Runtime {
    let mut config = SupervisorConfig::new(Provider::new("bench", url).expect("a provider"));
    config.workers = Workers::Current;
    let runtime = Runtime::with_config(config).expect("a runtime");
    let nobody = Nobody.start();
    for _ in 0..streams {
        let subscriber = Subscriber::deliveries(nobody.clone().recipient());
        let request = SubmitRequest::new(Prompt::user("hello").with_model("bench"));
        let submitted = runtime
            .supervisor()
            .send(request.with_subscriber(subscriber))
            .await;
        submitted
            .expect("a supervisor")
            .expect("an accepted request");
    }
    runtime
}
