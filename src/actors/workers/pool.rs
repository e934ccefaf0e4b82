//! The arbiters that attempts run on.

use std::sync::Arc;

use actix::{Actor, Addr};
use actix_rt::Arbiter;

use super::{
    load::{Load, LoadShare},
    worker::Worker,
};
use crate::transport::TransportFactory;

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

pub(crate) struct WorkerPool {
    factory: Arc<dyn TransportFactory>,
    slots: Vec<WorkerSlot>,
}

struct WorkerSlot {
    address: Addr<Worker>,
    /// Absent for the supervisor's own arbiter.
    arbiter: Option<Arbiter>,
    load: Load,
}

impl WorkerPool {
    pub(crate) fn new(factory: Arc<dyn TransportFactory>) -> Self {
        Self {
            factory,
            slots: Vec::new(),
        }
    }

    /// Starts the workers; in an actix `System`.
    pub(crate) fn start(&mut self, workers: Workers) {
        let threads = match workers {
            Workers::Current => return self.slots.push(self.slot(None)),
            Workers::Threads(threads) => threads.max(1),
            Workers::PerProcessor => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let slots = (0..threads).map(|_| self.slot(Some(Arbiter::new())));
        self.slots = slots.collect();
    }

    /// A new worker, on the supervisor's own arbiter or on another.
    fn slot(&self, arbiter: Option<Arbiter>) -> WorkerSlot {
        let factory = self.factory.clone();
        let address = match &arbiter {
            Some(arbiter) => Worker::start_in_arbiter(&arbiter.handle(), |_| Worker::new(factory)),
            None => Worker::new(factory).start(),
        };
        WorkerSlot {
            address,
            arbiter,
            load: Load::default(),
        }
    }

    /// The worker with the least to do; of equal ones the first, so that requests that follow each other share its
    /// connections. One whose arbiter is gone is replaced. `None` before the start and after the stop.
    pub(crate) fn choose(&mut self) -> Option<(&Addr<Worker>, LoadShare)> {
        let choice = (0..self.slots.len()).min_by_key(|index| self.slots[*index].load.get())?;
        let slot = &self.slots[choice];
        if slot.arbiter.is_some() && !slot.address.connected() {
            tracing::warn!(
                worker = choice,
                "a worker's arbiter is gone; starting another"
            );
            self.slots[choice] = self.slot(Some(Arbiter::new()));
        }
        let slot = &self.slots[choice];
        Some((&slot.address, slot.load.share()))
    }

    /// Ends the arbiters that were started.
    pub(crate) fn stop(&mut self) {
        for slot in self.slots.drain(..) {
            if let Some(arbiter) = slot.arbiter {
                arbiter.stop();
            }
        }
    }
}
