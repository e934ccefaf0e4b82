//! What one seed has done so far: written by everything that takes part, read by the checks.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::Addr;
use actix_responses::{
    ErrorKind,
    actors::{CancelRequest, RequestId, StreamSupervisor, SubscribeError, SubscriptionId},
    protocol::ResponseEvent,
};
use tokio::{sync::Notify, time::Instant};

use crate::plan::{Fault, LimiterPlan, ListenerPlan, Plan, Signal, When};

pub(crate) struct World {
    started: Instant,
    record: Mutex<Record>,
    supervisor: Mutex<Option<Addr<StreamSupervisor>>>,
    changed: Notify,
    released: AtomicBool,
    dropped: AtomicBool,
    /// Actors of the simulation, and readers of streams, that have not ended.
    pub(crate) actors: AtomicUsize,
    /// Transports that have not been dropped: each belongs to a worker.
    pub(crate) transports: AtomicUsize,
}

/// Everything that the checks look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) trace: Vec<String>,
    /// Of requests, and then of questions.
    pub(crate) requests: Vec<RequestRecord>,
    pub(crate) listeners: Vec<ListenerRecord>,
    pub(crate) questions: Vec<QuestionRecord>,
    /// What all observers heard of waits for a limiter, in order.
    pub(crate) pacing: Vec<Paced>,
    /// Gates that a server closed, and from when until when.
    pub(crate) closings: Vec<(usize, Duration, Duration)>,
    /// For each gate, the window that the server counts, and how many it has counted.
    counted: [(u128, u64); 3],
    pub(crate) faults: Vec<Fault>,
    /// When a shutdown began, or the runtime was dropped.
    pub(crate) closed_at: Option<Duration>,
    /// Whether the end that the plan gives the runtime came in time.
    pub(crate) shutdown_took: Option<Duration>,
    /// What was still there when nothing should have been.
    pub(crate) leftovers: Vec<String>,
    pub(crate) took: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Paced {
    pub(crate) at: Duration,
    pub(crate) request: usize,
    /// `accepted`, `limited`, `started` or how it ended.
    pub(crate) what: &'static str,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct RequestRecord {
    pub(crate) id: Option<RequestId>,
    pub(crate) refused: Option<ErrorKind>,
    pub(crate) attempts: Vec<AttemptRecord>,
    pub(crate) notices: Vec<(Duration, Notice)>,
    /// What the observer of all requests heard, each with the number of its attempt.
    pub(crate) heard: Vec<(u32, &'static str)>,
    /// Cancels that were accepted, by the time of the reply.
    pub(crate) cancelled_at: Vec<Duration>,
    /// Requests and bodies that are open now, and when the last was closed.
    pub(crate) open: usize,
    pub(crate) closed_at: Duration,
    signals: Vec<(Signal, Duration)>,
}

/// What became of a question, besides its attempts.
#[derive(Clone, Debug, Default)]
pub(crate) struct QuestionRecord {
    /// It was put, and not refused.
    pub(crate) is_asked: bool,
    /// What it says, by its text, or its error.
    pub(crate) answers: Vec<(Duration, Result<String, ErrorKind>)>,
    /// Its future was dropped.
    pub(crate) left_at: Option<Duration>,
}

impl QuestionRecord {
    pub(crate) fn is_open(&self) -> bool {
        self.is_asked && self.answers.is_empty() && self.left_at.is_none()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct AttemptRecord {
    pub(crate) sent_at: Duration,
    /// It went to the fallback.
    pub(crate) is_elsewhere: bool,
    /// When its exchange was over.
    pub(crate) closed_at: Option<Duration>,
    pub(crate) events_yielded: u64,
    pub(crate) largest_chunk_events: u64,
    pub(crate) terminal_at: Option<Duration>,
}

#[derive(Clone, Debug)]
pub(crate) enum Notice {
    Started {
        attempt: u32,
        max_attempts: u32,
    },
    Failed {
        kind: ErrorKind,
        retry_after: Option<Duration>,
        output_delivered: bool,
        retry_in: Option<Duration>,
    },
    FellBack,
}

#[derive(Clone, Debug)]
pub(crate) struct ListenerRecord {
    pub(crate) request: usize,
    pub(crate) plan: ListenerPlan,
    pub(crate) subscription: Option<SubscriptionId>,
    pub(crate) refused: Option<SubscribeError>,
    /// When it was accepted.
    pub(crate) joined_at: Option<Duration>,
    /// It left of its own accord, so an end need not come.
    pub(crate) left_at: Option<Duration>,
    /// Its actor is gone.
    pub(crate) died_at: Option<Duration>,
    /// An `Unsubscribe` that found nothing: the end had come.
    pub(crate) left_too_late: bool,
    pub(crate) seen: Vec<Seen>,
    /// The most that was read ahead of it, in events, and the bound of that.
    pub(crate) read_ahead: Option<(u64, u64)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Duration,
    /// Absent for those who take single events.
    pub(crate) sequence: Option<u64>,
    pub(crate) event: ResponseEvent,
}

impl ListenerRecord {
    pub(crate) fn ends(&self) -> usize {
        self.seen
            .iter()
            .filter(|seen| seen.event.is_final())
            .count()
    }
}

impl World {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut record = Record::default();
        for (request, plan) in plan.requests.iter().enumerate() {
            record.requests.push(RequestRecord::default());
            record
                .listeners
                .extend(plan.listeners.iter().map(|plan| ListenerRecord {
                    request,
                    plan: plan.clone(),
                    subscription: None,
                    refused: None,
                    joined_at: None,
                    left_at: None,
                    died_at: None,
                    left_too_late: false,
                    seen: Vec::new(),
                    read_ahead: None,
                }));
        }
        for _ in &plan.questions {
            record.requests.push(RequestRecord::default());
            record.questions.push(QuestionRecord::default());
        }
        Self {
            started: Instant::now(),
            record: Mutex::new(record),
            supervisor: Mutex::new(None),
            changed: Notify::new(),
            released: AtomicBool::new(false),
            dropped: AtomicBool::new(false),
            actors: AtomicUsize::new(0),
            transports: AtomicUsize::new(0),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        // A scripted panic may come while it is held; what it holds is whole all the same.
        self.record
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The server of a gate counts a request: what is left then, and for how many milliseconds.
    pub(crate) fn count(&self, gate: usize, limiter: &LimiterPlan) -> (u64, u128) {
        let (now, length) = (self.now().as_millis(), limiter.window.as_millis());
        let window = now / length;
        let mut record = self.record();
        let counted = &mut record.counted[gate];
        if counted.0 != window {
            *counted = (window, 0);
        }
        counted.1 += 1;
        let left = limiter.limit.saturating_sub(counted.1);
        (left, (window + 1) * length - now)
    }

    pub(crate) fn note(&self, what: fmt::Arguments<'_>) {
        let line = format!("{:>7} ms  {what}", self.now().as_millis());
        self.record().trace.push(line);
    }

    pub(crate) fn signal(&self, request: usize, signal: Signal) {
        let now = self.now();
        self.record().requests[request].signals.push((signal, now));
        self.changed.notify_waiters();
    }

    /// Waits for a moment; for ever, if it never comes.
    pub(crate) async fn wait_for(&self, request: usize, when: When) {
        match when {
            When::At(at) => tokio::time::sleep_until(self.started + at).await,
            When::After(signal, delay) => {
                let at = self.until(|record| {
                    let signals = &record.requests[request].signals;
                    signals
                        .iter()
                        .find(|(seen, _)| *seen == signal)
                        .map(|(_, at)| *at)
                });
                tokio::time::sleep_until(self.started + at.await + delay).await;
            }
        }
    }

    /// Waits until the request is known to the supervisor.
    pub(crate) async fn id_of(&self, request: usize) -> RequestId {
        self.until(|record| record.requests[request].id).await
    }

    async fn until<T>(&self, found: impl Fn(&Record) -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            if let Some(found) = found(&self.record()) {
                return found;
            }
            changed.await;
        }
    }

    pub(crate) fn changed(&self) {
        self.changed.notify_waiters();
    }

    /// Waits until those who are stuck may go on.
    pub(crate) async fn release(&self) {
        while !self.released.load(Ordering::SeqCst) {
            self.changed.notified().await;
        }
    }

    /// Waits until the streams are to be dropped.
    pub(crate) async fn dropped(&self) {
        while !self.dropped.load(Ordering::SeqCst) {
            self.changed.notified().await;
        }
    }

    pub(crate) fn drop_streams(&self) {
        self.dropped.store(true, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    pub(crate) fn release_all(&self) {
        self.released.store(true, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    pub(crate) fn set_supervisor(&self, supervisor: Option<Addr<StreamSupervisor>>) {
        *self.supervisor.lock().expect("nobody panics with it") = supervisor;
    }

    pub(crate) fn supervisor(&self) -> Option<Addr<StreamSupervisor>> {
        self.supervisor
            .lock()
            .expect("nobody panics with it")
            .clone()
    }

    /// Cancels a request from within the body that it reads.
    pub(crate) fn cancel_from_body(&self, request: usize) {
        let id = self.record().requests[request].id;
        if let (Some(id), Some(supervisor)) = (id, self.supervisor()) {
            self.note(format_args!("request {request}: cancelled from its body"));
            // Its mailbox is never full: the simulation waits for its replies.
            let _ = supervisor.try_send(CancelRequest { request: id });
        }
    }

    /// An event has reached a listener.
    pub(crate) fn saw(&self, listener: usize, sequence: Option<u64>, event: &ResponseEvent) {
        let at = self.now();
        let what = match event {
            ResponseEvent::Failed(error) => format!("failed: {}", error.kind()),
            other => other.name().to_owned(),
        };
        let mut record = self.record();
        let request = record.listeners[listener].request;
        if !event.is_delta() {
            let number = sequence.map_or("-".to_owned(), |sequence| sequence.to_string());
            let line = format!(
                "{:>7} ms  request {request}: listener {listener} gets {number} {what}",
                at.as_millis()
            );
            record.trace.push(line);
        }
        let event = event.clone();
        record.listeners[listener].seen.push(Seen {
            at,
            sequence,
            event,
        });
    }
}
