//! `Worker`: one for each arbiter that runs streams.
//!
//! Started by the supervisor. Receives [`StartAttempt`] and starts a [`StreamActor`] or the task of a question on its own
//! arbiter, which shares its transport and so its connections. Sends its streams a `SweepDue` once a second and
//! `SweepsOver` at its end. Ends soon after the supervisor has dropped it.

use std::{rc::Rc, sync::Arc};

use actix::{
    Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, WeakAddr,
    dev::channel::AddressReceiver,
};
use futures_util::future::{AbortRegistration, Abortable};

use super::load::LoadShare;
use crate::{
    actors::attempt::{
        alarm::{SWEEP_INTERVAL, SweepDue, SweepsOver},
        lease::Lease,
        question,
        spec::Attempt,
        stream::StreamActor,
    },
    protocol::error::ApiError,
    telemetry,
    transport::{Pooled, RefusedOrigins, TransportFactory},
};

/// From the supervisor: one attempt at a request. The way to it exists already, so that the supervisor can use it at once.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StartAttempt {
    pub(crate) orders: Orders,
    pub(crate) attempt: Attempt,
    pub(crate) lease: Lease,
    pub(crate) load: LoadShare,
}

/// How the attempt, which is of this kind, hears the supervisor.
pub(crate) enum Orders {
    Stream(AddressReceiver<StreamActor>),
    Question(AbortRegistration),
}

pub(crate) struct Worker {
    factory: Arc<dyn TransportFactory>,
    refused: RefusedOrigins,
    transport: Option<Rc<Pooled>>,
    streams: Vec<WeakAddr<StreamActor>>,
}

impl Worker {
    /// `refused` is what all workers of a runtime know together.
    pub(crate) fn new(factory: Arc<dyn TransportFactory>, refused: RefusedOrigins) -> Self {
        Self {
            factory,
            refused,
            transport: None,
            streams: Vec::new(),
        }
    }

    /// The arbiter's transport, made at its first use.
    fn transport(&mut self) -> Result<Rc<Pooled>, ApiError> {
        if let Some(transport) = &self.transport {
            return Ok(transport.clone());
        }
        let transport = Rc::new(Pooled::new(self.factory.build()?, self.refused.clone()));
        self.transport = Some(transport.clone());
        Ok(transport)
    }
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // A system that is dropped before its first turn starts its actors in the drop, where there is no timer.
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        ctx.run_interval(SWEEP_INTERVAL, |worker, ctx| {
            if !ctx.connected() {
                return ctx.stop();
            }
            worker.streams.retain(|stream| {
                let Some(stream) = stream.upgrade() else {
                    return false;
                };
                // A full mailbox means that the stream is busy, and will be swept the next time.
                let _ = stream.try_send(SweepDue);
                true
            });
        });
    }
}

/// However it ends, its streams go on, and watch their deadlines themselves from now on.
impl Drop for Worker {
    #[expect(
        clippy::disallowed_methods,
        reason = "one message for each attempt, and it must arrive"
    )]
    fn drop(&mut self) {
        for stream in self.streams.iter().filter_map(WeakAddr::upgrade) {
            stream.do_send(SweepsOver);
        }
    }
}

impl Handler<StartAttempt> for Worker {
    type Result = ();

    fn handle(&mut self, message: StartAttempt, _: &mut Self::Context) {
        let StartAttempt {
            orders,
            attempt,
            mut lease,
            load,
        } = message;
        let transport = match self.transport() {
            Ok(transport) => transport,
            Err(error) => {
                telemetry::record_error(&attempt.span, &error);
                return lease.fail(error, &attempt.spec);
            }
        };
        match orders {
            Orders::Stream(mailbox) => {
                let actor = StreamActor::new(attempt, lease, transport, load);
                let stream: Addr<_> = Context::with_receiver(mailbox).run(actor);
                self.streams.push(stream.downgrade());
            }
            Orders::Question(aborted) => {
                // It is large, and moved several times on its way into the arbiter.
                let question = Box::pin(question::run(attempt, lease, transport, load));
                actix_rt::spawn(Abortable::new(question, aborted));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Mutex, OnceLock},
        time::Duration,
    };

    use http::{HeaderMap, Method};
    use tokio::{sync::mpsc, time::Instant};

    use super::*;
    use crate::{
        actors::{
            AudienceLimits, RequestId,
            attempt::{
                counts::Counts,
                lease::{AttemptEnded, Outcome},
                spec::{RequestSpec, StreamOptions},
            },
            audience::{Audience, listener::Listener},
            workers::load::Load,
        },
        protocol::error::ErrorKind,
        provider::{Accept, Provider},
        retry::RetryPolicy,
        transport::silence::Silence,
    };

    /// Receives what the supervisor would.
    struct Reports(mpsc::UnboundedSender<Outcome>);

    impl Actor for Reports {
        type Context = Context<Self>;
    }

    impl Handler<AttemptEnded> for Reports {
        type Result = ();

        fn handle(&mut self, message: AttemptEnded, _: &mut Self::Context) {
            self.0.send(message.outcome).expect("a test that waits");
        }
    }

    fn spec() -> RequestSpec {
        let provider = Provider::new("test", "http://host/v1").expect("a provider");
        RequestSpec {
            id: RequestId::from(1),
            model: String::new(),
            max_output_tokens: 0,
            method: Method::POST,
            url: provider.url_for("responses", &[]),
            origin: provider.origin().clone(),
            accept: Accept::EventStream,
            headers: HeaderMap::new(),
            body: Mutex::default(),
            turn_state: None,
            retry: RetryPolicy::default(),
            stream: StreamOptions::default(),
            kept: OnceLock::new(),
            stored: None,
            deadline: None,
            accepted: Instant::now(),
            thread: None,
            counts: Counts::default(),
            propagator: None,
            content: None,
            max_attempts: 5,
            fallback: None,
            provider: Arc::new(provider),
        }
    }

    #[actix_rt::test]
    async fn a_silent_stream_ends_at_its_deadline_with_a_worker_and_without() {
        tokio::time::pause();
        for worker_stays in [true, false] {
            let (report, mut reports) = mpsc::unbounded_channel();
            let reporter = Arc::new(Reports(report).start().recipient());
            let audience = Audience::new(RequestId::from(1), AudienceLimits::default());
            let (_address, mailbox) = actix::dev::channel::channel(1);
            let spec = Arc::new(spec());
            let begun = Instant::now();
            let mut worker =
                Some(Worker::new(Arc::new(Silence), RefusedOrigins::default()).start());
            let attempt = Attempt {
                spec: spec.clone(),
                number: 1,
                resumes: None,
                refresh_auth: false,
                on_head: None,
                span: tracing::Span::none(),
                request_span: tracing::Span::none(),
            };
            let started = worker.as_ref().expect("a worker").send(StartAttempt {
                orders: Orders::Stream(mailbox),
                lease: Lease::new(reporter, &attempt, Listener::Audience(Box::new(audience))),
                attempt,
                load: Load::default().share(),
            });
            started.await.expect("a worker");
            worker.take_if(|_| !worker_stays);
            let report = tokio::time::timeout(Duration::from_secs(3600), reports.recv()).await;
            let Ok(Some(Outcome::Failed(error))) = report else {
                panic!("no failure");
            };
            assert_eq!(error.kind(), ErrorKind::IdleTimeout);
            let late = begun.elapsed() - spec.provider.timeouts.idle;
            assert!(late <= Duration::from_millis(2), "{late:?} too late");
        }
    }
}
