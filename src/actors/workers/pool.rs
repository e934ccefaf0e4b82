//! The arbiters that attempts run on.

use std::{
    sync::Arc,
    thread::{self, ThreadId},
    time::Duration,
};

use actix::{Actor, Addr};
use actix_rt::{Arbiter, ArbiterHandle};

use super::{
    load::{Load, LoadShare},
    worker::Worker,
};
use crate::{
    protocol::error::{ApiError, ErrorKind, Phase},
    transport::{RefusedOrigins, TransportFactory, lacking},
};

/// Which arbiters, and so which threads, streams run on. Each has a connection pool of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workers {
    /// One new arbiter for each processor that the process may use.
    #[default]
    PerProcessor,
    /// This many new arbiters; 0 is read as 1.
    Threads(usize),
    /// The arbiter that the supervisor itself runs on: for programs of one thread, and for tests that pause the clock.
    Current,
}

/// How long a request waits before it asks again for a thread that this machine could not start.
const LOCAL_PAUSE: Duration = Duration::from_millis(200);

pub(crate) struct WorkerPool {
    factory: Arc<dyn TransportFactory>,
    refused: RefusedOrigins,
    /// How many threads there are to be.
    threads: usize,
    slots: Vec<WorkerSlot>,
    lent: Vec<LentSlot>,
}

struct WorkerSlot {
    address: Addr<Worker>,
    /// Absent for the supervisor's own arbiter.
    arbiter: Option<Arbiter>,
    load: Load,
}

/// A worker on an arbiter of the program's, for the requests of its thread.
struct LentSlot {
    address: Addr<Worker>,
    thread: ThreadId,
}

/// A worker that was chosen.
#[derive(Clone, Copy)]
pub(crate) enum Choice {
    Own(usize),
    Lent(usize),
}

impl WorkerPool {
    pub(crate) fn new(factory: Arc<dyn TransportFactory>) -> Self {
        Self {
            factory,
            refused: RefusedOrigins::default(),
            threads: 0,
            slots: Vec::new(),
            lent: Vec::new(),
        }
    }

    /// Has the requests of a thread run on its arbiter, which is this one.
    pub(crate) fn lend(&mut self, arbiter: &ArbiterHandle, thread: ThreadId) {
        self.lent.retain(|slot| slot.address.connected());
        let is_own = thread == thread::current().id()
            && self.slots.iter().any(|slot| slot.arbiter.is_none());
        if !is_own && self.lent.iter().all(|slot| slot.thread != thread) {
            let address = start_worker(&self.factory, &self.refused, Some(arbiter));
            self.lent.push(LentSlot { address, thread });
        }
    }

    /// Starts the workers, unless they run; in an actix `System`. Threads that this machine can't have now are tried again when
    /// a request needs one.
    pub(crate) fn start(&mut self, workers: Workers) {
        self.threads = match workers {
            Workers::Current if self.slots.is_empty() => return self.slots.push(self.slot(None)),
            Workers::Current => return,
            Workers::Threads(threads) => threads.max(1),
            Workers::PerProcessor => std::thread::available_parallelism().map_or(1, usize::from),
        };
        while self.slots.len() < self.threads {
            if let Err(error) = self.start_thread() {
                return tracing::warn!(%error, started = self.slots.len(), "fewer workers than configured");
            }
        }
    }

    fn start_thread(&mut self) -> Result<(), ApiError> {
        let arbiter = new_arbiter()?;
        self.slots.push(self.slot(Some(arbiter)));
        Ok(())
    }

    /// A new worker, on the supervisor's own arbiter or on another.
    fn slot(&self, arbiter: Option<Arbiter>) -> WorkerSlot {
        WorkerSlot {
            address: start_worker(
                &self.factory,
                &self.refused,
                arbiter.as_ref().map(Arbiter::handle).as_ref(),
            ),
            arbiter,
            load: Load::default(),
        }
    }

    /// The worker of the thread that the request came from, if that one was lent. Else the one with the least to do; of equal ones the
    /// first, so that requests that follow each other share its connections. One that is gone is replaced, on its thread if that still runs.
    pub(crate) fn choose(
        &mut self,
        thread: Option<ThreadId>,
    ) -> Result<(Choice, LoadShare), ApiError> {
        let lent = self
            .lent
            .iter()
            .position(|slot| Some(slot.thread) == thread);
        if let Some(choice) = lent.filter(|choice| self.lent[*choice].address.connected()) {
            return Ok((Choice::Lent(choice), Load::default().share()));
        }
        if self.slots.len() < self.threads
            && let Err(error) = self.start_thread()
            && self.slots.is_empty()
        {
            return Err(error);
        }
        let choice = (0..self.slots.len()).min_by_key(|index| self.slots[*index].load.get());
        let choice = choice.ok_or_else(ApiError::stopped)?;
        let slot = &mut self.slots[choice];
        if !slot.address.connected() {
            tracing::warn!(worker = choice, "a worker is gone; starting another");
            if let Some(arbiter) = &mut slot.arbiter
                && !arbiter.spawn_fn(|| ())
            {
                *arbiter = new_arbiter()?;
                slot.load = Load::default();
            }
            let handle = slot.arbiter.as_ref().map(Arbiter::handle);
            slot.address = start_worker(&self.factory, &self.refused, handle.as_ref());
        }
        Ok((Choice::Own(choice), slot.load.share()))
    }

    /// The worker that was chosen just now.
    pub(crate) fn worker(&self, choice: Choice) -> &Addr<Worker> {
        match choice {
            Choice::Own(choice) => &self.slots[choice].address,
            Choice::Lent(choice) => &self.lent[choice].address,
        }
    }

    /// Ends the arbiters that were started. Those that were lent go on.
    pub(crate) fn stop(&mut self) {
        self.threads = 0;
        self.lent.clear();
        for slot in self.slots.drain(..) {
            if let Some(arbiter) = slot.arbiter {
                arbiter.stop();
            }
        }
    }
}

/// They end with their owner, also where that was dropped with its system. Whoever listens to a stream of theirs gets an end.
impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.stop();
    }
}

fn start_worker(
    factory: &Arc<dyn TransportFactory>,
    refused: &RefusedOrigins,
    arbiter: Option<&ArbiterHandle>,
) -> Addr<Worker> {
    let (factory, refused) = (factory.clone(), refused.clone());
    match arbiter {
        Some(arbiter) => Worker::start_in_arbiter(arbiter, |_| Worker::new(factory, refused)),
        None => Worker::new(factory, refused).start(),
    }
}

fn new_arbiter() -> Result<Arbiter, ApiError> {
    Arbiter::try_new().map_err(|error| {
        let reason = lacking(&error, None).unwrap_or_else(|| error.to_string());
        let message = format!("no thread for streams could be started: {reason}");
        let mut error = ApiError::new(ErrorKind::LocalLimit, message)
            .with_phase(Phase::Prepare)
            .with_source(error);
        error.details_mut().retry_after = Some(LOCAL_PAUSE);
        error
    })
}
