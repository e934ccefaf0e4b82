//! The table of requests, and what each of them may be doing.

use std::{cell::OnceCell, mem, sync::Arc, time::Duration};

use actix::{Addr, Recipient, SpawnHandle};
use futures_util::future::AbortHandle;
use tokio::{sync::oneshot, time::Instant};
use tracing::Span;

use super::attempts::Attempts;
use crate::{
    actors::{
        RequestId, RequestInfo, RequestPhase, RequestStatus,
        attempt::{
            lease::Stop,
            spec::{Attempt, GET, HeadArrived, RequestSpec},
            stream::StreamActor,
        },
        audience::{Audience, listener::Listener},
    },
    protocol::{
        Id, ResponseEvent,
        error::{ApiError, ErrorKind},
    },
    telemetry,
};

pub(super) struct Request {
    pub(super) spec: Arc<RequestSpec>,
    pub(super) info: LazyInfo,
    pub(super) state: State,
    pub(super) attempts: Attempts,
    /// What covers it until its end, and what covered its last attempt: open for as long as another may follow from it.
    pub(super) span: Span,
    pub(super) last_attempt: Span,
    /// That the attempt which runs was told to stop. It may have ended just before.
    pub(super) stopping: Option<Box<Stopping>>,
    /// Whether the attempt that runs goes on with the response of the one before.
    pub(super) is_resuming: bool,
    /// Whether it reads a stored stream, and asks no server.
    pub(super) is_reading: bool,
    /// Whether the next attempt is to have another key.
    pub(super) refresh_auth: bool,
    /// How long its next attempt has been put off, because the endpoint is down or this machine has no thread for it.
    pub(super) spared: Duration,
}

/// What a request is, for those who look at it, made when the first one does.
pub(super) struct LazyInfo {
    label: Option<Id>,
    operation: &'static str,
    made: OnceCell<Arc<RequestInfo>>,
}

impl LazyInfo {
    pub(super) fn new(label: Option<Id>, operation: &'static str) -> Self {
        Self {
            label,
            operation,
            made: OnceCell::new(),
        }
    }

    /// It goes on at another provider.
    pub(super) fn forget(&mut self) {
        self.made.take();
    }

    pub(super) fn get(&self, spec: &RequestSpec) -> &Arc<RequestInfo> {
        self.made.get_or_init(|| {
            let (server_address, server_port) = spec.server();
            Arc::new(RequestInfo {
                id: spec.id,
                label: self.label.clone(),
                operation: self.operation,
                provider: spec.provider.name().into(),
                model: (&*spec.model).into(),
                server_address: server_address.into(),
                server_port,
                max_attempts: spec.max_attempts,
            })
        })
    }
}

/// An attempt was told to stop, and has not said yet how it ended.
pub(super) struct Stopping {
    pub(super) reason: StopReason,
    /// Who wants to know whether that came in time.
    pub(super) askers: Vec<oneshot::Sender<bool>>,
}

/// What a header map holds for each field beside its text: two entries and the counts of shared bytes.
const HEADER_BYTES: usize = 128;

/// What is held of a request in allocations too small to be looked at one by one: 386 bytes by the benchmark `retained`, and a fifth of it again.
const SMALL_BYTES: usize = 464;

/// How long an attempt is put off before that counts as one: as long as a breaker's pause may be by default.
const MAX_SPARED: Duration = Duration::from_secs(30);

/// Small, because nearly all requests run, and the table of them doubles when it is full.
pub(super) enum State {
    /// Between two of the others, within one call.
    Changing,
    /// An attempt runs and holds the listener.
    Running(Body),
    /// The next attempt is due later, or waits for the limiter.
    Waiting(Waiting),
    /// The end is published; the audience is kept for those who come late or lag behind.
    Ended {
        audience: Box<Audience>,
        /// What it counts for while it is kept.
        bytes: usize,
    },
}

const _: () = assert!(size_of::<State>() <= 32);

/// What is kept between two attempts.
pub(super) struct Waiting {
    pub(super) listener: Listener,
    pub(super) timer: SpawnHandle,
    /// Why the last one failed, if there was one.
    pub(super) error: Option<Arc<ApiError>>,
}

/// What runs the attempt.
pub(super) enum Body {
    Stream(Addr<StreamActor>),
    Question(AbortHandle),
}

/// Why a request is ended before its time. The first one counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    Cancelled,
    ShutDown,
}

impl Request {
    /// What is kept of it and its audience once it has ended, roughly.
    pub(super) fn kept_bytes(&self, audience: &Audience) -> usize {
        let headers = self.spec.headers.iter();
        let headers = headers.map(|(name, value)| HEADER_BYTES + name.as_str().len() + value.len());
        let texts = [self.spec.url.as_str().len(), self.spec.model.len()];
        let spec = size_of::<RequestSpec>() + texts.into_iter().chain(headers).sum::<usize>();
        let held = spec + self.attempts.bytes() + audience.bytes();
        // The map of requests has up to twice the places that are taken.
        let place = 2 * size_of::<(RequestId, Box<Self>)>();
        held + place + size_of::<Self>() + size_of::<Audience>() + SMALL_BYTES
    }

    /// How it is doing, as far as is known here.
    pub(super) fn status(&mut self) -> RequestStatus {
        let Self {
            spec, info, state, ..
        } = self;
        let here = state.audience();
        let usage = here.as_ref().and_then(|audience| audience.usage());
        let counts = here.map_or_else(|| spec.counts.audience(), |audience| audience.counts());
        RequestStatus {
            request: info.get(spec).clone(),
            phase: state.phase(),
            attempt: self.attempts.number(),
            age: spec.accepted.elapsed(),
            first_event: spec.counts.first_event(),
            events: counts.events,
            bytes: spec.counts.bytes(),
            usage,
            subscribers: counts.subscribers,
            lag: counts.lag,
            limited: None,
        }
    }

    /// How long to wait where an attempt can't be let through now. `None` when it has waited long enough, or can not.
    pub(super) fn spare(&mut self, refused: &ApiError) -> Option<Duration> {
        let wait = refused.details().retry_after?;
        let spared = self.spared.saturating_add(wait);
        let left = self
            .spec
            .deadline
            .map(|at| at.saturating_duration_since(Instant::now()));
        let may_wait = spared <= MAX_SPARED && left.is_none_or(|left| wait < left);
        may_wait.then(|| {
            self.spared = spared;
            wait
        })
    }

    /// Counts the next attempt and tells the observers of it. Who waits for the response's head is told by `on_head`.
    pub(super) fn next_attempt(
        &mut self,
        listener: &mut Listener,
        is_reading: bool,
        on_head: Option<Recipient<HeadArrived>>,
    ) -> Attempt {
        let resumes = match listener {
            Listener::Audience(audience) => audience.next_attempt(),
            Listener::Asker(_) => None,
        };
        self.is_resuming = resumes.is_some();
        self.is_reading = is_reading;
        let number = self.attempts.begin(&self.spec);
        if let Some(observers) = listener.watch() {
            observers.start(number, is_reading);
        }
        let mut attributes = self.spec.attributes(listener.operation());
        if let Some(url) = resumes.as_deref() {
            (attributes.method, attributes.url) = (&GET, url);
        }
        let span = telemetry::attempt_span(&self.span, number, &attributes);
        // Which is closed no sooner: of a closed one nobody knows any more.
        span.follows_from(&self.last_attempt);
        self.last_attempt = span.clone();
        Attempt {
            spec: self.spec.clone(),
            number,
            resumes,
            refresh_auth: mem::take(&mut self.refresh_auth),
            on_head,
            span,
            request_span: self.span.clone(),
        }
    }

    /// Ends the wait for the next attempt, if that is waited for. Another state follows at once.
    pub(super) fn take_waiting(&mut self) -> Option<Waiting> {
        match mem::replace(&mut self.state, State::Changing) {
            State::Waiting(waiting) => Some(waiting),
            other => {
                self.state = other;
                None
            }
        }
    }
}

impl State {
    /// The audience, if it is here.
    pub(super) fn audience(&mut self) -> Option<&mut Audience> {
        match self {
            Self::Waiting(Waiting {
                listener: Listener::Audience(audience),
                ..
            })
            | Self::Ended { audience, .. } => Some(audience),
            _ => None,
        }
    }

    /// Whether its end waits for a store.
    pub(super) fn holds_end(&self) -> bool {
        matches!(self, Self::Ended { audience, .. } if audience.holds_end())
    }

    pub(super) fn phase(&self) -> RequestPhase {
        match self {
            Self::Changing | Self::Running(_) => RequestPhase::Running,
            Self::Waiting(_) => RequestPhase::Waiting,
            Self::Ended { .. } => RequestPhase::Ended,
        }
    }
}

impl Body {
    #[expect(
        clippy::disallowed_methods,
        reason = "at most one for each attempt, and it must arrive"
    )]
    pub(super) fn stop(&self, end: ResponseEvent) {
        match self {
            Self::Stream(stream) => stream.do_send(Stop(end)),
            Self::Question(task) => task.abort(),
        }
    }
}

impl StopReason {
    pub(super) fn end(self) -> ResponseEvent {
        match self {
            Self::Cancelled => ResponseEvent::Cancelled,
            Self::ShutDown => {
                let error = ApiError::new(ErrorKind::ShutDown, "the runtime was shut down");
                ResponseEvent::Failed(Arc::new(error))
            }
        }
    }
}
