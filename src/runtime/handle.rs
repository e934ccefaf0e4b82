//! What all handles of one runtime share: the way to its supervisor, and the thread that it runs on if that is its own.

use std::{
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use actix::{Addr, System};
use actix_rt::Arbiter;
use tokio::{runtime::Builder, sync::oneshot};

use crate::{
    actors::{LendArbiter, Shutdown, StreamSupervisor, SupervisorConfig},
    protocol::error::{ApiError, ErrorKind, Phase},
    transport::{Transport, TransportError, TransportFactory, lacking},
};

pub(super) struct Handle {
    supervisor: Addr<StreamSupervisor>,
    factory: Arc<dyn TransportFactory>,
    thread: Mutex<Option<OwnThread>>,
}

/// A thread with a system of its own, which ends when the supervisor does.
struct OwnThread {
    ended: oneshot::Receiver<()>,
    thread: JoinHandle<()>,
}

impl Handle {
    /// Starts a supervisor on the arbiter that this thread belongs to.
    pub(super) fn start(
        config: SupervisorConfig,
        factory: impl TransportFactory,
    ) -> Result<Self, ApiError> {
        let factory: Arc<dyn TransportFactory> = Arc::new(factory);
        let supervisor = StreamSupervisor::new(config, factory.clone())?;
        let arbiter = System::try_current().and(Arbiter::try_current());
        let started = arbiter.and_then(|arbiter| supervisor.start_on(&arbiter));
        let supervisor = started.ok_or_else(|| {
            ApiError::misconfigured(
                "no actix System runs on this thread: call it within one, or use `Runtime::spawn`, which brings its own",
            )
        })?;
        Ok(Self {
            supervisor,
            factory,
            thread: Mutex::default(),
        })
    }

    /// Starts a supervisor on a thread of its own, with a system of its own.
    pub(super) fn spawn(
        config: SupervisorConfig,
        factory: impl TransportFactory,
    ) -> Result<Self, ApiError> {
        let factory: Arc<dyn TransportFactory> = Arc::new(factory);
        let supervisor = StreamSupervisor::new(config, factory.clone())?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| no_thread(&error))?;
        let (address, running) = supervisor.prepared();
        let (end, ended) = oneshot::channel();
        let run = move || {
            let system = System::with_tokio_rt(|| runtime);
            system.block_on(running());
            // The workers' threads end by themselves, as those of a system do that is dropped.
            drop(system);
            // Nobody may be waiting.
            let _ = end.send(());
        };
        let thread = thread::Builder::new().name("actix-responses".to_owned());
        let thread = thread.spawn(run).map_err(|error| no_thread(&error))?;
        Ok(Self {
            supervisor: address,
            factory,
            thread: Mutex::new(Some(OwnThread { ended, thread })),
        })
    }

    pub(super) fn supervisor(&self) -> &Addr<StreamSupervisor> {
        &self.supervisor
    }

    pub(super) fn transport(&self) -> Result<Rc<dyn Transport>, TransportError> {
        self.factory.build()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "one message for each arbiter, and it must arrive"
    )]
    pub(super) fn lend(&self, arbiter: LendArbiter) {
        self.supervisor.do_send(arbiter);
    }

    pub(super) async fn shutdown(&self, grace: Duration) {
        // An error means that the supervisor ended first, which is what was waited for.
        let _ = self.supervisor.send(Shutdown { grace }).await;
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(OwnThread { ended, thread }) = thread {
            // An error means that it panicked, and has ended all the same.
            let _ = ended.await;
            let _ = thread.join();
        }
    }
}

fn no_thread(error: &std::io::Error) -> ApiError {
    let reason = lacking(error, None).unwrap_or_else(|| error.to_string());
    let message = format!("no thread for the runtime could be started: {reason}");
    ApiError::new(ErrorKind::LocalLimit, message).with_phase(Phase::Prepare)
}

/// The last one shuts the supervisor down, and does not wait for that.
impl Drop for Handle {
    #[expect(
        clippy::disallowed_methods,
        reason = "one message for each runtime, and it must arrive"
    )]
    fn drop(&mut self) {
        self.supervisor.do_send(Shutdown {
            grace: Duration::ZERO,
        });
    }
}
