//! What programs say to the supervisor.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix::{Message, Recipient};
use http::HeaderMap;
use tokio::sync::oneshot;

use super::{RequestId, Subscriber, SubscriptionId, WhenDeserted};
use crate::{
    protocol::{CompactionInput, CompactionOutput, ModelList, Prompt, error::ApiError},
    provider::{Provider, TurnState},
    retry::RetryPolicy,
};

/// Asks for an answer. The reply comes when the request is accepted, before anything is sent.
///
/// Every accepted request gives every subscriber exactly one final event. The reply is an error, and nothing is sent, when the
/// request can't be made as it is.
#[non_exhaustive]
pub struct SubmitRequest {
    /// What is asked.
    pub prompt: Prompt,
    /// Where it goes, instead of the supervisor's provider.
    pub provider: Option<Arc<Provider>>,
    /// Headers of this request alone; they replace the provider's of the same name.
    pub headers: HeaderMap,
    /// When it is tried again, instead of the supervisor's policy.
    pub retry: Option<RetryPolicy>,
    /// The state of the turn that it belongs to.
    pub turn_state: Option<TurnState>,
    /// What happens when its last subscriber has left.
    pub when_deserted: WhenDeserted,
    /// Who listens from the start. Without any, the request runs for those who subscribe later.
    pub subscribers: Vec<Subscriber>,
    /// Who is told of each attempt's start and failure.
    pub observer: Option<Recipient<AttemptNotice>>,
}

impl SubmitRequest {
    /// A request with the supervisor's own provider and policy, and no subscriber yet.
    pub fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            provider: None,
            headers: HeaderMap::new(),
            retry: None,
            turn_state: None,
            when_deserted: WhenDeserted::default(),
            subscribers: Vec::new(),
            observer: None,
        }
    }

    /// Adds a subscriber.
    #[must_use]
    pub fn with_subscriber(mut self, subscriber: Subscriber) -> Self {
        self.subscribers.push(subscriber);
        self
    }

    /// Sets where the request goes.
    #[must_use]
    pub fn with_provider(mut self, provider: Arc<Provider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Sets headers of this request alone.
    #[must_use]
    pub fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    /// Sets when it is tried again.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Sets the turn that it belongs to.
    #[must_use]
    pub fn with_turn_state(mut self, turn_state: TurnState) -> Self {
        self.turn_state = Some(turn_state);
        self
    }

    /// Sets what happens when the last subscriber has left.
    #[must_use]
    pub fn with_when_deserted(mut self, when_deserted: WhenDeserted) -> Self {
        self.when_deserted = when_deserted;
        self
    }

    /// Sets who is told of each attempt.
    #[must_use]
    pub fn with_observer(mut self, observer: Recipient<AttemptNotice>) -> Self {
        self.observer = Some(observer);
        self
    }
}

impl Message for SubmitRequest {
    type Result = Result<Submitted, ApiError>;
}

/// An accepted request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Submitted {
    /// Names it from now on.
    pub request: RequestId,
    /// The subscriptions of its subscribers, in their order.
    pub subscriptions: Vec<SubscriptionId>,
}

/// Adds a subscriber to a request that runs, or that ended a short while ago. It receives what its cursor asks for from the
/// log, then goes on live, without gap or repeat.
pub struct Subscribe {
    /// Which request.
    pub request: RequestId,
    /// Who, and from where on.
    pub subscriber: Subscriber,
}

impl Message for Subscribe {
    type Result = Result<SubscriptionId, SubscribeError>;
}

/// Why there is no subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// No such request, or it ended so long ago that nothing of it is kept.
    #[error("{request} is not known, or ended too long ago")]
    UnknownRequest {
        /// Which.
        request: RequestId,
    },
    /// The log does not reach back to the cursor any more.
    #[error("{request} has event {wanted} no more; its log begins at {oldest}")]
    CursorExpired {
        /// Which.
        request: RequestId,
        /// The cursor.
        wanted: u64,
        /// The oldest sequence number that is left.
        oldest: u64,
    },
    /// The cursor lies beyond the events so far, or beyond the end.
    #[error("{request} has no event {wanted} yet or ever; its next would be {next}")]
    CursorAhead {
        /// Which.
        request: RequestId,
        /// The cursor.
        wanted: u64,
        /// The sequence number of the next event.
        next: u64,
    },
    /// The supervisor has ended, and its requests with it.
    #[error("the runtime was shut down")]
    ShutDown,
}

/// Ends a subscription. No event follows, not even a final one. The reply says whether there was one.
#[derive(Clone, Copy, Debug)]
pub struct Unsubscribe {
    /// Which request.
    pub request: RequestId,
    /// Which of its subscriptions.
    pub subscription: SubscriptionId,
}

impl Message for Unsubscribe {
    type Result = bool;
}

/// Cancels a request: its connection is closed, events that are not yet in a mailbox are skipped, and every subscriber gets
/// [`Cancelled`](crate::protocol::ResponseEvent::Cancelled) — or the end that was already on its way. A question gets an error
/// that says so, or the answer that was on its way. The reply comes when the request has ended, and says whether it was cancelled.
#[derive(Clone, Copy, Debug)]
pub struct CancelRequest {
    /// Which request.
    pub request: RequestId,
}

impl Message for CancelRequest {
    type Result = bool;
}

/// Asks how a request is doing. `None` when it is not known.
#[derive(Clone, Copy, Debug)]
pub struct GetStatus {
    /// Which request.
    pub request: RequestId,
}

impl Message for GetStatus {
    type Result = Option<RequestStatus>;
}

/// How a request is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestStatus {
    /// Which request.
    pub request: RequestId,
    /// What it is doing.
    pub phase: RequestPhase,
    /// The attempt that runs, or ran last; the first is 1.
    pub attempt: u32,
    /// How many it may have.
    pub max_attempts: u32,
    /// How many subscriptions it has.
    pub subscribers: usize,
    /// How many events it has published.
    pub events: u64,
}

/// What a request is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestPhase {
    /// An attempt runs.
    Running,
    /// An attempt failed, and the next is waited for.
    Waiting,
    /// Its end is published.
    Ended,
}

/// What became of an attempt, for observers. Notices inform: one that finds a full mailbox is dropped.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AttemptNotice {
    /// An attempt starts.
    Started {
        /// Whose.
        request: RequestId,
        /// Which; the first is 1.
        attempt: u32,
        /// How many the request may have.
        max_attempts: u32,
    },
    /// An attempt failed.
    Failed {
        /// Whose.
        request: RequestId,
        /// Why.
        error: Arc<ApiError>,
        /// When the next starts; `None` when there is none.
        retry_in: Option<Duration>,
    },
}

impl Message for AttemptNotice {
    type Result = ();
}

/// Ends the supervisor: no request is accepted any more, those that run get `grace` to end, then they fail with
/// [`ErrorKind::ShutDown`](crate::ErrorKind). Failed attempts are not repeated: a request that waits for its next attempt ends at
/// once, with the error of the last. The reply comes when all have ended.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    /// How long running requests may go on.
    pub grace: Duration,
}

impl Message for Shutdown {
    type Result = ();
}

/// Asks for a conversation to be compacted. The reply is the compacted conversation, or what went wrong after all attempts.
/// Dropping the reply's future does not end the compaction; [`Runtime::compact`](crate::Runtime::compact) does that.
#[non_exhaustive]
pub struct Compact {
    /// What is compacted.
    pub input: CompactionInput,
    /// Where it goes, instead of the supervisor's provider.
    pub provider: Option<Arc<Provider>>,
    /// Headers of this request alone; they replace the provider's of the same name.
    pub headers: HeaderMap,
    /// When it is tried again, instead of the supervisor's policy.
    pub retry: Option<RetryPolicy>,
    /// The state of the turn that it belongs to.
    pub turn_state: Option<TurnState>,
    /// Who is told of each attempt's start and failure.
    pub observer: Option<Recipient<AttemptNotice>>,
}

impl Compact {
    /// A compaction with the supervisor's own provider and policy.
    pub fn new(input: CompactionInput) -> Self {
        Self {
            input,
            provider: None,
            headers: HeaderMap::new(),
            retry: None,
            turn_state: None,
            observer: None,
        }
    }

    /// Sets where it goes.
    #[must_use]
    pub fn with_provider(mut self, provider: Arc<Provider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Sets headers of this request alone.
    #[must_use]
    pub fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    /// Sets when it is tried again.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Sets the turn that it belongs to.
    #[must_use]
    pub fn with_turn_state(mut self, turn_state: TurnState) -> Self {
        self.turn_state = Some(turn_state);
        self
    }

    /// Sets who is told of each attempt.
    #[must_use]
    pub fn with_observer(mut self, observer: Recipient<AttemptNotice>) -> Self {
        self.observer = Some(observer);
        self
    }
}

impl From<CompactionInput> for Compact {
    fn from(input: CompactionInput) -> Self {
        Self::new(input)
    }
}

impl Message for Compact {
    type Result = Result<CompactionOutput, ApiError>;
}

/// Asks a server which models it has. Dropping the reply's future does not end the request;
/// [`Runtime::list_models`](crate::Runtime::list_models) does that.
///
/// With the header `if-none-match` in `headers`, and the etag of a list that is known in it, a server that has no other answers
/// that ([`ModelList::not_modified`]).
#[derive(Default)]
#[non_exhaustive]
pub struct ListModels {
    /// Where it goes, instead of the supervisor's provider.
    pub provider: Option<Arc<Provider>>,
    /// Headers of this request alone; they replace the provider's of the same name.
    pub headers: HeaderMap,
    /// When it is tried again, instead of the supervisor's policy.
    pub retry: Option<RetryPolicy>,
    /// Who is told of each attempt's start and failure.
    pub observer: Option<Recipient<AttemptNotice>>,
}

impl ListModels {
    /// Asks the supervisor's own provider, with its own policy.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets where it goes.
    #[must_use]
    pub fn with_provider(mut self, provider: Arc<Provider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Sets headers of this request alone.
    #[must_use]
    pub fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    /// Sets when it is tried again.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Sets who is told of each attempt.
    #[must_use]
    pub fn with_observer(mut self, observer: Recipient<AttemptNotice>) -> Self {
        self.observer = Some(observer);
        self
    }
}

impl Message for ListModels {
    type Result = Result<ModelList, ApiError>;
}

/// Asks a [`Compact`] or a [`ListModels`] in two steps: the reply comes when the question is accepted, before anything is sent,
/// and names it, so that it can be cancelled.
pub struct Submit<M>(pub M);

impl Message for Submit<Compact> {
    type Result = Result<Asked<CompactionOutput>, ApiError>;
}

impl Message for Submit<ListModels> {
    type Result = Result<Asked<ModelList>, ApiError>;
}

/// An accepted question. As a future it gives the answer, exactly one, or what went wrong after all attempts.
///
/// Dropping it does not cancel the question, but no attempt follows the one that runs.
#[must_use = "its answer comes when it is awaited"]
pub struct Asked<T> {
    pub(super) request: RequestId,
    pub(super) answer: oneshot::Receiver<Result<Answer, ApiError>>,
    /// Takes it out of those of all kinds.
    pub(super) take: fn(Answer) -> Option<T>,
}

/// The answer to a question of any kind.
#[derive(Debug)]
pub(crate) enum Answer {
    Compaction(CompactionOutput),
    Models(ModelList),
}

impl<T> Asked<T> {
    /// Names the question, for [`CancelRequest`].
    pub fn request(&self) -> RequestId {
        self.request
    }
}

impl<T> Future for Asked<T> {
    type Output = Result<T, ApiError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.answer).poll(cx));
        let answer = answer.unwrap_or_else(|_| Err(ApiError::stopped()));
        Poll::Ready(answer.and_then(|answer| (self.take)(answer).ok_or_else(ApiError::stopped)))
    }
}
