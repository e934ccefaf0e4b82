//! Tells the observers of a request what becomes of it.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use smallvec::SmallVec;
use tokio::time::Instant;

use super::{ChunkTimer, Milestone, Observer, RequestInfo, RequestNotice, RequestOutcome};
use crate::{
    protocol::{Id, ResponseEvent, TokenUsage, error::ApiError},
    store::StoreError,
    telemetry::model_in,
};

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
        let (outcome, response, usage) = match end {
            ResponseEvent::Completed(end) => {
                (RequestOutcome::Completed, &end.response, end.token_usage)
            }
            ResponseEvent::Incomplete(end) => {
                (RequestOutcome::Incomplete, &end.response, end.token_usage)
            }
            ResponseEvent::Failed(error) => {
                let (outcome, told) = (RequestOutcome::Failed(error.clone()), error.details());
                (outcome, &told.response, told.token_usage)
            }
            _ => (RequestOutcome::Cancelled, &None, usage),
        };
        let named = response.as_ref().and_then(model_in);
        self.end_with(outcome, usage, named.or(model));
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
