//! What becomes of requests, for those who watch.

use std::{
    fmt, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use actix::{Message, Recipient, dev::SendError};
use serde::Deserialize;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::RequestId;
use crate::{
    protocol::{Id, RawJson, ResponseEvent, TokenUsage, error::ApiError},
    store::StoreError,
};

#[cfg(feature = "metrics")]
mod metrics;

#[cfg(feature = "metrics")]
pub use self::metrics::MetricsObserver;

/// Hears what becomes of requests: of one ([`SubmitRequest::with_observer`](super::SubmitRequest::with_observer)), or of all of a
/// runtime ([`SupervisorConfig::observer`](super::SupervisorConfig)).
///
/// A closure is one, and so is the `Recipient` of an actor. It is called where things happen, on the threads of the runtime, and must
/// return soon. One that panics is called again the next time.
///
/// ```
/// use actix_responses::actors::{Milestone, RequestNotice, SubmitRequest};
/// # use actix_responses::protocol::Prompt;
///
/// let request = SubmitRequest::new(Prompt::user("hello"))
///     .with_label("greeting")
///     .with_observer(|notice: &RequestNotice| {
///         if let Milestone::Ended { outcome, .. } = &notice.milestone {
///             println!("{} ended after {:?}: {outcome:?}", notice.request.id, notice.age);
///         }
///     });
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Something became of a request. The notices of one request come one after the other, in the order of what they tell.
    fn on_notice(&self, notice: &RequestNotice);

    /// What is to hear of every further event of a stream, whose first has just come. Nothing by default, and then nothing is
    /// measured.
    fn chunk_timer(&self, request: &RequestInfo) -> Option<ChunkTimer> {
        let _ = request;
        None
    }
}

/// Is told of events of a stream that came together: how long after those before them, and how many. It is called for each read of a
/// stream, so it should do little. One that panics is not called any more.
pub type ChunkTimer = Box<dyn FnMut(Duration, u64) + Send>;

impl<F: Fn(&RequestNotice) + Send + Sync + 'static> Observer for F {
    fn on_notice(&self, notice: &RequestNotice) {
        self(notice);
    }
}

/// A full mailbox loses a notice, but never the end of a request, which goes round the mailbox's bound.
impl Observer for Recipient<RequestNotice> {
    #[expect(
        clippy::disallowed_methods,
        reason = "one message for each request, and it must arrive"
    )]
    fn on_notice(&self, notice: &RequestNotice) {
        if let Err(SendError::Full(notice)) = self.try_send(notice.clone())
            && matches!(notice.milestone, Milestone::Ended { .. })
        {
            self.do_send(notice);
        }
    }
}

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// What a request is, as far as it does not change but by a [`Fallback`](super::Fallback): then it names the provider that is asked, its host and
/// its model.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestInfo {
    /// Names it.
    pub id: RequestId,
    /// What its sender calls it; at most 128 characters.
    pub label: Option<Id>,
    /// `chat`, `compact`, `list_models`, `retrieve_response`, `cancel_response`, `delete_response` or `list_input_items`.
    pub operation: &'static str,
    /// The name of its provider.
    pub provider: Id,
    /// The model that was asked for; empty when none was named.
    pub model: Id,
    /// The host that is asked.
    pub server_address: Id,
    /// And the port.
    pub server_port: u16,
    /// How many attempts it may have.
    pub max_attempts: u32,
}

/// What became of a request, for observers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestNotice {
    /// Which.
    pub request: Arc<RequestInfo>,
    /// The attempt that runs, or ran last; the first is 1, and 0 is before it.
    pub attempt: u32,
    /// How long ago the request was accepted.
    pub age: Duration,
    /// What.
    pub milestone: Milestone,
}

impl Message for RequestNotice {
    type Result = ();
}

/// What can become of a request. Of each request [`Accepted`](Self::Accepted) comes first, once, and [`Ended`](Self::Ended) last, once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Milestone {
    /// It is accepted.
    Accepted,
    /// Its next attempt waits for the limiter.
    Limited {
        /// When it starts, in so long, as far as can be told; zero while the server has said nothing.
        about: Duration,
    },
    /// An attempt starts.
    Started,
    /// The head of a response has come, whatever its status.
    Head {
        /// The status.
        status: u16,
        /// The server's id of the request.
        request_id: Option<Id>,
        /// How long after the start of the attempt.
        elapsed: Duration,
    },
    /// The first event of a stream has come. Of a question none does.
    FirstEvent {
        /// How long after the start of the attempt.
        elapsed: Duration,
    },
    /// The attempt brought the answer, which may be incomplete.
    Answered {
        /// What it cost, when the server said so.
        usage: Option<TokenUsage>,
        /// The model that answered, when the server said so.
        model: Option<Id>,
        /// How long after the start of the attempt.
        elapsed: Duration,
    },
    /// The attempt failed.
    Failed {
        /// Why.
        error: Arc<ApiError>,
        /// When the next starts; `None` when there is none.
        retry_in: Option<Duration>,
        /// Whether that goes on with the response of this one, where its stream broke:
        /// [`RetryPolicy::resume_window`](crate::retry::RetryPolicy::resume_window).
        resumes: bool,
        /// How long after the start of the attempt.
        elapsed: Duration,
    },
    /// What comes is not in the store, of a request that is [stored](super::SubmitRequest::with_stored_as). Its subscribers do not notice.
    NotStored {
        /// Whether it stays so. Else the store does not answer, and what is missing is written when it does.
        is_over: bool,
        /// What the store says. `None` where it says nothing, and where another process has the stream.
        error: Option<StoreError>,
    },
    /// The next provider of the request is asked from now on ([`Fallback`](super::Fallback)), whom this notice and those behind it name.
    FellBack {
        /// What the request was until now.
        from: Arc<RequestInfo>,
    },
    /// The request has ended.
    Ended {
        /// How.
        outcome: RequestOutcome,
        /// What the last attempt cost, when the server said so; of one that was cancelled, as far as it had said it.
        usage: Option<TokenUsage>,
        /// The model that answered, when the server said so.
        model: Option<Id>,
    },
}

/// How a request ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RequestOutcome {
    /// With the whole answer.
    Completed,
    /// With an answer that the server cut short.
    Incomplete,
    /// With an error.
    Failed(Arc<ApiError>),
    /// It was cancelled, or nobody was left who listened.
    Cancelled,
}

/// The observers of one request. It goes with the request's listener, so that there is one end, and nothing after it.
pub(crate) struct Watch {
    request: Arc<RequestInfo>,
    observers: SmallVec<[Arc<dyn Observer>; 2]>,
    accepted: Instant,
    /// The number of the attempt that runs or ran last, and when it started.
    attempt: u32,
    started: Instant,
    /// Whether that reads a stored stream: what is told of an answer's coming and cost is told by whoever asked for it.
    is_reading: bool,
    is_over: bool,
}

impl Watch {
    pub(crate) fn new(
        request: Arc<RequestInfo>,
        observers: SmallVec<[Arc<dyn Observer>; 2]>,
        accepted: Instant,
    ) -> Box<Self> {
        let watch = Self {
            request,
            observers,
            accepted,
            attempt: 0,
            started: accepted,
            is_reading: false,
            is_over: false,
        };
        watch.tell(Milestone::Accepted);
        Box::new(watch)
    }

    pub(crate) fn start(&mut self, attempt: u32, is_reading: bool) {
        (self.attempt, self.started) = (attempt, Instant::now());
        self.is_reading = is_reading;
        if !is_reading {
            self.tell(Milestone::Started);
        }
    }

    pub(crate) fn on_limited(&self, about: Duration) {
        self.tell(Milestone::Limited { about });
    }

    pub(crate) fn on_head(&self, status: u16, request_id: Option<&str>, at: Instant) {
        self.tell(Milestone::Head {
            status,
            request_id: request_id.map(Id::from),
            elapsed: at.saturating_duration_since(self.started),
        });
    }

    /// An attempt failed before its answer began. Whether there was a head says `head_at`, when it came.
    pub(crate) fn on_refusal(&self, error: &ApiError, head_at: Option<Instant>) {
        let details = error.details();
        if let (Some(status), Some(at)) = (details.status, head_at) {
            self.on_head(status, details.request_id.as_deref(), at);
        }
    }

    /// The first event of a stream has come. What wants to hear of the others is given back.
    pub(crate) fn on_first_event(&self, now: Instant) -> Vec<ChunkTimer> {
        if self.is_reading {
            return Vec::new();
        }
        let elapsed = now.saturating_duration_since(self.started);
        self.tell(Milestone::FirstEvent { elapsed });
        let timers = self.observers.iter();
        let timer = |observer: &Arc<dyn Observer>| {
            guarded(|| observer.chunk_timer(&self.request)).flatten()
        };
        timers.filter_map(timer).collect()
    }

    pub(crate) fn on_failure(
        &self,
        error: &Arc<ApiError>,
        retry_in: Option<Duration>,
        resumes: bool,
    ) {
        let mut error = error.clone();
        if self.is_reading {
            // Whoever wrote it was told what it cost.
            Arc::make_mut(&mut error).details_mut().token_usage = None;
        }
        self.tell(Milestone::Failed {
            error,
            retry_in,
            resumes: resumes && retry_in.is_some(),
            elapsed: self.started.elapsed(),
        });
    }

    pub(crate) fn on_not_stored(&self, is_over: bool, error: Option<StoreError>) {
        self.tell(Milestone::NotStored { is_over, error });
    }

    /// Another provider is asked.
    pub(crate) fn fall_back(&mut self, to: Arc<RequestInfo>) {
        let from = mem::replace(&mut self.request, to);
        self.tell(Milestone::FellBack { from });
    }

    /// The request has ended with this event. `model` and `usage` are what was said of them before.
    pub(crate) fn end(self, end: &ResponseEvent, model: Option<Id>, usage: Option<TokenUsage>) {
        let in_response = |response: &Option<RawJson>| response.as_ref().and_then(model_in);
        match end {
            ResponseEvent::Completed(end) => {
                let model = in_response(&end.response).or(model);
                self.end_with(RequestOutcome::Completed, end.token_usage, model);
            }
            ResponseEvent::Incomplete(end) => {
                let model = in_response(&end.response).or(model);
                self.end_with(RequestOutcome::Incomplete, end.token_usage, model);
            }
            ResponseEvent::Failed(error) => {
                let details = error.details();
                let model = in_response(&details.response).or(model);
                let outcome = RequestOutcome::Failed(error.clone());
                self.end_with(outcome, details.token_usage, model);
            }
            _ => self.end_with(RequestOutcome::Cancelled, usage, model),
        }
    }

    pub(crate) fn end_with(
        mut self,
        outcome: RequestOutcome,
        usage: Option<TokenUsage>,
        model: Option<Id>,
    ) {
        let usage = usage.filter(|_| !self.is_reading);
        let is_answer = matches!(
            outcome,
            RequestOutcome::Completed | RequestOutcome::Incomplete
        );
        if is_answer && !self.is_reading {
            self.tell(Milestone::Answered {
                usage,
                model: model.clone(),
                elapsed: self.started.elapsed(),
            });
        }
        self.is_over = true;
        self.tell(Milestone::Ended {
            outcome,
            usage,
            model,
        });
    }

    fn tell(&self, milestone: Milestone) {
        let notice = RequestNotice {
            request: self.request.clone(),
            attempt: self.attempt,
            age: self.accepted.elapsed(),
            milestone,
        };
        for observer in &self.observers {
            guarded(|| observer.on_notice(&notice));
        }
    }
}

/// Whoever loses it, there is an end.
impl Drop for Watch {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let error = ApiError::request_lost();
        self.tell(Milestone::Ended {
            outcome: RequestOutcome::Failed(Arc::new(error)),
            usage: None,
            model: None,
        });
    }
}

/// Calls a program's code, which may panic. `None` when it has.
fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(call));
    if result.is_err() {
        tracing::error!("an observer panicked");
    }
    result.ok()
}

/// The model that a response object names.
pub(crate) fn model_in(response: &RawJson) -> Option<Id> {
    #[derive(Deserialize)]
    struct Response {
        model: Option<Id>,
    }
    let response: Response = serde_json::from_str(response.get()).ok()?;
    response.model.filter(|model| !model.is_empty())
}

/// Times what comes after the first event of a stream.
pub(crate) struct ChunkTimes {
    timers: Vec<ChunkTimer>,
    last: Instant,
    events: u64,
}

impl ChunkTimes {
    /// `None` when nobody wants to hear.
    pub(crate) fn new(timers: Vec<ChunkTimer>, now: Instant) -> Option<Box<Self>> {
        let times = Self {
            timers,
            last: now,
            events: 1,
        };
        (!times.timers.is_empty()).then(|| Box::new(times))
    }

    /// So many events have come until now.
    pub(crate) fn on_events(&mut self, events: u64, now: Instant) {
        let count = events.saturating_sub(self.events);
        if count == 0 {
            return;
        }
        let elapsed = now.saturating_duration_since(self.last);
        (self.events, self.last) = (events, now);
        self.timers
            .retain_mut(|timer| guarded(|| timer(elapsed, count)).is_some());
    }
}
