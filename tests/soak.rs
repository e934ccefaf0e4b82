//! Many streams at once, again and again: every subscription ends once, and sockets and memory return to where they were.
//!
//! `SOAK_STREAMS` says how many, and `SOAK_SECONDS` for how long rounds are repeated; `tests/soak.sh` sets both. The server
//! is a process of its own, because each side of ten thousand connections needs as many descriptors.

use std::{cell::Cell, env, fs, future::Future, rc::Rc, time::Duration};

use actix::prelude::*;
use actix_responses::{
    Runtime,
    actors::{
        CancelRequest, Delivery, DeliveryPolicy, SubmitRequest, Subscriber, SupervisorConfig,
        Workers,
    },
    loopback::{Action, LoopbackOptions, Position, Reply, Script},
    protocol::{Prompt, ResponseEvent},
    provider::{Provider, Timeouts},
};
use serde_json::json;
use tokio::{sync::Notify, time::Instant};

use self::support::{ServerProcess, sse};

#[path = "support/mod.rs"]
mod support;

/// Longer than a round takes on a busy machine, besides what grows with the streams.
const PATIENCE: Duration = Duration::from_secs(60);
/// What an open stream may cost, the peak of a round divided by its streams. A connection's buffers in awc alone are 16 KiB.
const MAX_BYTES_PER_STREAM: u64 = 64 * 1024;
/// What the allocator may keep from one round to the next without its being a leak.
const MEMORY_SLACK: u64 = 16 * 1024 * 1024;
/// Descriptors that are no connections: the event loops' and the pipes to the server.
const DESCRIPTOR_SLACK: usize = 16;
/// Text deltas of an answer that come at once, after all streams are open.
const DELTAS: usize = 100;
/// How long a slow reader takes for each event. With a mailbox of one message it lags behind the socket.
const SLOW_READ: Duration = Duration::from_millis(2);

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Who listens to a stream.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    /// Takes its time for each event.
    Slow,
    /// Takes what comes.
    Fast,
    /// Takes what comes, and is cancelled when all are open.
    Cancelled,
    /// Stops when all are open, without a word.
    Dying,
}

impl Role {
    fn of(index: usize) -> Self {
        match index % 10 {
            0..5 => Self::Slow,
            5..8 => Self::Fast,
            8 => Self::Cancelled,
            _ => Self::Dying,
        }
    }
}

/// What has happened to the streams of a round. All of it on one thread.
#[derive(Default)]
struct Tally {
    open: Cell<usize>,
    peak: Cell<usize>,
    completed: Cell<usize>,
    cancelled: Cell<usize>,
    died: Cell<usize>,
    otherwise: Cell<usize>,
    twice: Cell<usize>,
    changed: Notify,
}

impl Tally {
    fn add(&self, counter: &Cell<usize>) {
        counter.set(counter.get() + 1);
        self.changed.notify_waiters();
    }

    fn opened(&self) {
        self.add(&self.open);
        self.peak.set(self.peak.get().max(self.open.get()));
    }

    fn ended(&self, event: &ResponseEvent) {
        match event {
            ResponseEvent::Completed(_) => self.add(&self.completed),
            ResponseEvent::Cancelled => self.add(&self.cancelled),
            other => {
                eprintln!("an end that nobody expected: {other:?}");
                self.add(&self.otherwise);
            }
        }
        self.open.set(self.open.get() - 1);
    }

    fn over(&self) -> usize {
        self.completed.get() + self.cancelled.get() + self.died.get() + self.otherwise.get()
    }

    async fn until(&self, what: &str, patience: Duration, is_so: impl Fn(&Self) -> bool) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if is_so(self) {
                    break;
                }
                changed.await;
            }
        };
        within(what, patience, waiting).await;
    }
}

async fn within<T>(what: &str, patience: Duration, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(patience, future)
        .await
        .unwrap_or_else(|_| panic!("not within {patience:?}: {what}"))
}

/// Listens to one stream.
struct Listener {
    role: Role,
    tally: Rc<Tally>,
    has_begun: bool,
    has_ended: bool,
}

impl Listener {
    fn see(&mut self, event: &ResponseEvent) {
        if self.has_ended {
            self.tally.add(&self.tally.twice);
        } else if event.is_final() {
            self.has_ended = true;
            self.tally.ended(event);
        } else if !self.has_begun && matches!(event, ResponseEvent::OutputTextDelta(_)) {
            self.has_begun = true;
            self.tally.opened();
        }
    }
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if self.role == Role::Slow {
            ctx.set_mailbox_capacity(1);
        }
    }
}

impl Handler<Delivery> for Listener {
    type Result = ();

    fn handle(&mut self, delivery: Delivery, _: &mut Context<Self>) {
        for event in delivery.events() {
            self.see(event);
        }
    }
}

impl Handler<ResponseEvent> for Listener {
    type Result = ();

    fn handle(&mut self, event: ResponseEvent, ctx: &mut Context<Self>) {
        self.see(&event);
        ctx.wait(tokio::time::sleep(SLOW_READ).into_actor(self));
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Die;

impl Handler<Die> for Listener {
    type Result = ();

    fn handle(&mut self, _: Die, ctx: &mut Context<Self>) {
        assert!(!self.has_ended, "it was to die before its end");
        self.tally.add(&self.tally.died);
        self.tally.open.set(self.tally.open.get() - 1);
        ctx.stop();
    }
}

/// Nothing is done with it: when it is answered, all that came before has been seen.
#[derive(Message)]
#[rtype(result = "()")]
struct Settle;

impl Handler<Settle> for Listener {
    type Result = ();

    fn handle(&mut self, _: Settle, _: &mut Context<Self>) {}
}

/// Every answer begins, rests for so long, and goes on with many deltas at once.
fn answers(streams: usize, rest: Duration) -> LoopbackOptions {
    let delta = json!({"type": "response.output_text.delta", "item_id": "m", "output_index": 0,
        "content_index": 0, "delta": "some words and then some more of them "});
    let mut events = vec![
        json!({"type": "response.created", "response": {"id": "r"}}),
        delta.clone(),
    ];
    events.extend(std::iter::repeat_n(delta, DELTAS));
    events.push(json!({"type": "response.completed", "response": {"id": "r"}}));
    let mut options = LoopbackOptions::default();
    options.script = Script::always(
        Reply::sse(sse(&events)).with_fault(Position::Events(2), Action::Stall(rest)),
    );
    options.max_connections = streams + 100;
    options
}

/// What a process holds, as Linux tells it. Elsewhere nothing is known, and nothing of it is checked.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    memory: u64,
    peak_memory: u64,
    descriptors: usize,
}

impl Held {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            number.map_or(0, |number| number.parse::<u64>().expect("kilobytes") * 1024)
        };
        Self {
            memory: bytes("VmRSS:"),
            peak_memory: bytes("VmHWM:"),
            descriptors: fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        }
    }

    /// The same, and the peak of memory is counted anew.
    fn from_here() -> Self {
        // Where it can't be done the peak is that of the whole run, which is the stricter figure.
        let _ = fs::write("/proc/self/clear_refs", "5");
        Self::now()
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1024.0 / 1024.0)
}

/// Opens so many streams, has each do what its role says, and waits for all of them.
async fn round(runtime: &Runtime, streams: usize, patience: Duration) -> (usize, Duration) {
    let tally = Rc::new(Tally::default());
    let begun = Instant::now();
    let (mut to_cancel, mut to_die, mut listeners) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..streams {
        let listener = Listener {
            role: Role::of(index),
            tally: Rc::clone(&tally),
            has_begun: false,
            has_ended: false,
        };
        let role = listener.role;
        let listener = listener.start();
        let subscriber = match role {
            Role::Slow => Subscriber::events(listener.clone().recipient()),
            _ => Subscriber::deliveries(listener.clone().recipient()),
        };
        let max_wait = patience;
        let subscriber = subscriber.with_policy(DeliveryPolicy::Wait { max_wait });
        let prompt = Prompt::user("hello").with_model("soak");
        let request = SubmitRequest::new(prompt).with_subscriber(subscriber);
        let submitted = runtime.supervisor().send(request).await;
        let request = submitted.expect("a supervisor").expect("a request").request;
        match role {
            Role::Cancelled => to_cancel.push(request),
            Role::Dying => to_die.push(listener.clone()),
            Role::Slow | Role::Fast => {}
        }
        listeners.push(listener);
    }
    let expected = (to_cancel.len(), to_die.len());
    let all_open = |tally: &Tally| tally.open.get() + tally.over() == streams;
    tally.until("every stream opens", patience, all_open).await;
    let opening = begun.elapsed();
    for request in to_cancel {
        let cancelled = runtime.supervisor().send(CancelRequest { request }).await;
        assert!(cancelled.expect("a supervisor"), "{request} had ended");
    }
    for listener in to_die {
        listener.send(Die).await.expect("a listener");
    }
    let all_over = |tally: &Tally| tally.over() == streams;
    tally.until("every stream ends", patience, all_over).await;
    for listener in listeners {
        // What was sent after an end is in the mailbox before this. Those that died answer with an error.
        let _ = listener.send(Settle).await;
    }
    assert_eq!(tally.otherwise.get(), 0);
    assert_eq!((tally.cancelled.get(), tally.died.get()), expected);
    assert_eq!(
        tally.completed.get(),
        streams - expected.0 - expected.1,
        "each stream that was left alone completes"
    );
    assert_eq!((tally.twice.get(), tally.open.get()), (0, 0));
    (tally.peak.get(), opening)
}

#[actix_rt::test]
async fn many_streams_end_once_and_leave_nothing_behind() {
    let streams = setting("SOAK_STREAMS", 300) as usize;
    let duration = Duration::from_secs(setting("SOAK_SECONDS", 0));
    // All streams are open before the first goes on.
    let rest = Duration::from_secs(1) + Duration::from_millis(2) * streams as u32;
    let patience = PATIENCE + 4 * rest;
    let name = "many_streams_end_once_and_leave_nothing_behind";
    let server = ServerProcess::start(name, answers(streams, rest));
    let before = Held::from_here();

    let mut timeouts = Timeouts::default();
    // Ten thousand connections at once fill the queue of any server.
    timeouts.connect = patience;
    let provider = Provider::new("soak", &server.base_url)
        .expect("a URL")
        .with_timeouts(timeouts);
    let mut config = SupervisorConfig::new(provider);
    config.workers = Workers::Threads(2);
    config.audience.lag_events = 16;
    config.retain = Duration::ZERO;
    let runtime = Runtime::with_config(config).expect("a configuration");

    let begun = Instant::now();
    let mut after_first = None;
    for number in 1.. {
        let start = Held::from_here();
        let (peak, opening) = round(&runtime, streams, patience).await;
        let end = Held::now();
        let base = start.memory.min(before.memory);
        let per_stream = end.peak_memory.saturating_sub(base) / streams as u64;
        println!(
            "round {number}: {streams} streams, {peak} open at once after {opening:.1?}; memory {} before, {} at its peak \
             ({:.1} KiB a stream), {} after; descriptors {} before, {} after",
            megabytes(base),
            megabytes(end.peak_memory),
            per_stream as f64 / 1024.0,
            megabytes(end.memory),
            start.descriptors,
            end.descriptors,
        );
        assert!(
            peak * 10 >= streams * 9,
            "only {peak} were open at once: the machine is too slow for so many"
        );
        // Small rounds are mostly what a program needs before its first stream.
        assert!(
            per_stream * streams as u64 <= MAX_BYTES_PER_STREAM * streams as u64 + MEMORY_SLACK,
            "{per_stream} bytes a stream"
        );
        assert!(end.descriptors <= before.descriptors + streams + DESCRIPTOR_SLACK);
        let first: Held = *after_first.get_or_insert(end);
        assert!(
            end.memory <= first.memory + first.memory / 4 + MEMORY_SLACK,
            "memory grows: {first:?}, then {end:?}"
        );
        if number >= 2 && begun.elapsed() >= duration {
            break;
        }
    }

    within(
        "the runtime shuts down",
        patience,
        runtime.shutdown(Duration::from_secs(1)),
    )
    .await;
    drop(runtime);
    let descriptors_return = async {
        // Arbiters end in threads that nobody can wait for.
        while Held::now().descriptors > before.descriptors {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("every descriptor is closed", PATIENCE, descriptors_return).await;
    let after = Held::now();
    println!(
        "all over: memory {} before, {} after; descriptors {} before, {} after",
        megabytes(before.memory),
        megabytes(after.memory),
        before.descriptors,
        after.descriptors,
    );
}
