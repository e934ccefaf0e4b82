//! Questions with one answer: the messages that ask for a compaction or a list of models.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use actix::Message;
use http::HeaderMap;
use tokio::sync::oneshot;
use tracing::Span;

use super::{common::with_request_fields, submit::SubmitRequest};
use crate::{
    actors::{RequestId, observing::Observer},
    protocol::{
        CompactionInput, CompactionOutput, DeletedResponse, Id, InputItemList, ModelList,
        ResponseHead, StoredResponse, TokenUsage, WholeAnswer, error::ApiError,
    },
    provider::{Provider, TurnState},
    retry::RetryPolicy,
    telemetry::model_in,
};

/// Asks for a conversation to be compacted. The reply is the compacted conversation, or what went wrong after all attempts.
/// Dropping the reply's future does not end the compaction; [`Runtime::compact`](crate::Runtime::compact) does that.
#[derive(Clone, Message)]
#[rtype(result = "Result<CompactionOutput, ApiError>")]
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
    /// What it is called in notices and lists; more than 128 characters are cut.
    pub label: Option<Id>,
    /// Who is told what becomes of it.
    pub observer: Option<Arc<dyn Observer>>,
    /// The span that the request's is a child of: the one in which this was made, or none with [`Span::none`]. It is held until the request is
    /// accepted.
    pub span: Span,
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
            label: None,
            observer: None,
            span: Span::current(),
        }
    }
}

with_request_fields!(Compact { model: input.model });
with_fields!(some of Compact {
    with_turn_state(turn_state: TurnState => Some(turn_state)),
});

impl From<CompactionInput> for Compact {
    fn from(input: CompactionInput) -> Self {
        Self::new(input)
    }
}

/// Asks a server which models it has. Dropping the reply's future does not end the request;
/// [`Runtime::list_models`](crate::Runtime::list_models) does that.
///
/// With the header `if-none-match` in `headers`, and the etag of a list that is known in it, a server that has no other answers
/// that ([`ModelList::not_modified`]).
#[derive(Clone, Message)]
#[rtype(result = "Result<ModelList, ApiError>")]
#[non_exhaustive]
pub struct ListModels {
    /// Where it goes, instead of the supervisor's provider.
    pub provider: Option<Arc<Provider>>,
    /// Headers of this request alone; they replace the provider's of the same name.
    pub headers: HeaderMap,
    /// When it is tried again, instead of the supervisor's policy.
    pub retry: Option<RetryPolicy>,
    /// What it is called in notices and lists; more than 128 characters are cut.
    pub label: Option<Id>,
    /// Who is told what becomes of it.
    pub observer: Option<Arc<dyn Observer>>,
    /// The span that the request's is a child of: the one in which this was made, or none with [`Span::none`]. It is held until the request is
    /// accepted.
    pub span: Span,
}

impl ListModels {
    /// Asks the supervisor's own provider, with its own policy.
    pub fn new() -> Self {
        Self {
            provider: None,
            headers: HeaderMap::new(),
            retry: None,
            label: None,
            observer: None,
            span: Span::current(),
        }
    }
}

with_request_fields!(ListModels {});

impl Default for ListModels {
    fn default() -> Self {
        Self::new()
    }
}

/// Asks for an answer in one piece: the request goes out without `stream`, and what the server writes comes back as it is, unless it is
/// no answer: a body that was cut, that is an error or no JSON, or a response that failed. Such an attempt is followed by another as the
/// policy says. The reply comes when the request is accepted, before anything is sent.
///
/// Nothing of the answer is known before all of it is, so of the request `subscribers`, `when_deserted` and `blocks` count for nothing.
/// [`Timeouts::whole_answer`](crate::provider::Timeouts) bounds each attempt, [`StreamLimits::max_answer_bytes`](crate::wire::StreamLimits) the body.
/// One with a [`Fallback`](super::Fallback) is refused. Of its texts nothing is recorded with its span.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Asked<WholeAnswer>, ApiError>")]
pub struct InOnePiece(pub SubmitRequest);

/// Asks a [`Compact`], a [`ListModels`] or an [`AboutResponse`](super::AboutResponse) in two steps: the reply comes when the question is accepted, before anything is sent,
/// and names it, so that it can be cancelled.
#[derive(Clone, Debug)]
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
    pub(in crate::actors) request: RequestId,
    pub(in crate::actors) answer: oneshot::Receiver<Result<Answer, ApiError>>,
    /// Takes it out of those of all kinds.
    pub(in crate::actors) take: fn(Answer) -> Option<T>,
}

/// What is the answer to questions of one kind.
pub(crate) trait OneKind: Sized {
    /// Takes it out of those of all kinds.
    fn of(answer: Answer) -> Option<Self>;
}

macro_rules! answers {
    ($($kind:ident($answer:ty),)+) => {
        /// The answer to a question of any kind.
        #[derive(Debug)]
        pub(crate) enum Answer {
            $($kind($answer),)+
        }

        $(impl OneKind for $answer {
            fn of(answer: Answer) -> Option<Self> {
                match answer {
                    Answer::$kind(answer) => Some(answer),
                    _ => None,
                }
            }
        })+
    };
}

answers! {
    Compaction(CompactionOutput),
    Models(ModelList),
    Whole(WholeAnswer),
    Stored(StoredResponse),
    Deleted(DeletedResponse),
    InputItems(InputItemList),
}

impl Answer {
    /// Keeps the head that it came with, and which attempt brought it.
    pub(crate) fn set_head(&mut self, head: Arc<ResponseHead>, attempt: u32) {
        match self {
            Self::Compaction(output) => output.head = Some(head),
            Self::Models(list) => list.head = Some(head),
            Self::Whole(whole) => (whole.head, whole.attempt) = (Some(head), attempt),
            Self::Stored(stored) => stored.head = Some(head),
            Self::Deleted(deleted) => deleted.head = Some(head),
            Self::InputItems(list) => list.head = Some(head),
        }
    }

    /// What it cost, and the model that it names.
    pub(crate) fn told(&self) -> (Option<TokenUsage>, Option<Id>) {
        match self {
            Self::Compaction(output) => (output.usage, model_in(&output.raw)),
            // What it cost to make a response was told when it was made.
            _ => (None, None),
        }
    }
}

impl<T> Asked<T> {
    /// Names the question, for [`CancelRequest`](super::CancelRequest).
    pub fn request(&self) -> RequestId {
        self.request
    }
}

impl<T> fmt::Debug for Asked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked")
            .field("request", &self.request)
            .finish_non_exhaustive()
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
