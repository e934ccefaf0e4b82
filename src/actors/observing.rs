//! What becomes of requests, for those who watch.

use std::{fmt, sync::Arc, time::Duration};

use actix::{Message, Recipient, dev::SendError};

use super::RequestId;
use crate::{
    protocol::{Id, TokenUsage, error::ApiError},
    store::StoreError,
};

#[cfg(feature = "metrics")]
mod metrics;
mod watch;

#[cfg(feature = "metrics")]
pub use self::metrics::MetricsObserver;
pub(crate) use self::watch::{ChunkTimes, Watch};

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
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
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
