//! The message that asks for an answer.

use std::{
    sync::Arc,
    thread::{self, ThreadId},
};

use actix::Message;
use http::HeaderMap;
use tracing::Span;

use super::{common::with_request_fields, fallback::Fallback};
use crate::{
    actors::{
        RequestId, Subscriber, SubscriptionId, WhenDeserted, attempt::spec::ResumeFrom,
        observing::Observer,
    },
    protocol::{Id, Prompt, error::ApiError},
    provider::{Provider, TurnState},
    retry::RetryPolicy,
    store::StreamKey,
};

/// Asks for an answer. The reply comes when the request is accepted, before anything is sent.
///
/// Every accepted request gives every subscriber exactly one final event. The reply is an error, and nothing is sent, when the
/// request can't be made as it is.
#[derive(Clone, Message)]
#[rtype(result = "Result<Submitted, ApiError>")]
#[non_exhaustive]
pub struct SubmitRequest {
    /// What is asked.
    pub prompt: Prompt,
    /// Where it goes, instead of the supervisor's provider.
    pub provider: Option<Arc<Provider>>,
    /// Who is asked when that provider failed for good before any output, in this order. Default none.
    pub fallbacks: Vec<Fallback>,
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
    /// What it is called in notices and lists; more than 128 characters are cut.
    pub label: Option<Id>,
    /// Who is told what becomes of it.
    pub observer: Option<Arc<dyn Observer>>,
    /// Whether deliveries carry the blocks that their events were read from: [`Delivery::blocks`](crate::actors::Delivery::blocks).
    pub blocks: bool,
    /// Whether deltas that were read together come as one: see [`with_joined_deltas`](Self::with_joined_deltas).
    pub joined_deltas: bool,
    /// Whether nobody subscribes later: then what all have taken is kept no longer, but for the newest delivery.
    pub live_only: bool,
    /// Whether nothing is to be generated yet: the server gets ready for this conversation, and the same prompt without this, or one that
    /// goes on from it, is answered sooner. The end is `completed`, without output. Only a WebSocket can be told so
    /// ([`StreamTransport`](crate::provider::StreamTransport)): where there is none the request fails, and nothing is posted.
    pub warm_up: bool,
    /// The span that the request's is a child of: the one in which this was made, or none with [`Span::none`]. It is held until the request is
    /// accepted.
    pub span: Span,
    /// Where it was made: it runs there if that thread's arbiter [was lent](crate::Runtime::lend_arbiter).
    pub(crate) thread: Option<ThreadId>,
    /// Under which name its stream is written to the supervisor's [store](crate::actors::SupervisorConfig::store). Default none: it is not.
    /// Unlike [`with_stored_as`](Self::with_stored_as), it leaves [`when_deserted`](Self::when_deserted) as it is.
    pub stored_as: Option<StreamKey>,
    /// The response that is gone on with, in place of a new one.
    pub(crate) resumes: Option<ResumeFrom>,
    /// The stream that is read again, in place of both.
    pub(crate) reads: Option<StreamKey>,
}

impl SubmitRequest {
    /// A request with the supervisor's own provider and policy, and no subscriber yet.
    pub fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            provider: None,
            fallbacks: Vec::new(),
            headers: HeaderMap::new(),
            retry: None,
            turn_state: None,
            when_deserted: WhenDeserted::default(),
            subscribers: Vec::new(),
            label: None,
            observer: None,
            blocks: false,
            joined_deltas: false,
            live_only: false,
            warm_up: false,
            span: Span::current(),
            thread: Some(thread::current().id()),
            stored_as: None,
            resumes: None,
            reads: None,
        }
    }

    /// Goes on with a response that its server keeps and that was asked for in the background and as a stream, by its id: behind the
    /// event with this `sequence_number`, or from its first on. For a program that has been started anew, or another one; the attempts
    /// of one request go on by themselves ([`RetryPolicy::resume_window`]). Nothing is posted: where the server does not go on, the
    /// request fails.
    ///
    /// Behind an event, texts that had begun before come from there on, and their items come whole when they are done, as does the
    /// response object at the end; items that were done before do not come. Of `prompt`, `include` and `stream_options` are asked for.
    pub fn resume(response_id: impl Into<Id>, after: Option<u64>) -> Self {
        Self {
            resumes: Some(ResumeFrom {
                response_id: response_id.into(),
                after,
            }),
            ..Self::new(Prompt::default())
        }
    }

    /// Reads a stream again that [`with_stored_as`](Self::with_stored_as) has stored, in this process or another: from its first event to
    /// its end, and live where it is still written. No answer is begun by it. The subscribers get the events that the first ones got, with
    /// the same numbers, so that one that comes back goes on with [`Cursor::From`](crate::actors::Cursor::From) and the number that it had come to.
    ///
    /// Where whoever wrote it is gone before the end, one reader takes its place, for all: an answer that its server keeps (`background`,
    /// `store`) is gone on with there, behind the last event that is stored, by the provider of this request, if that has the name of the
    /// first; it needs `with_blocks`, headers and retries as any other. Of every other answer, and where that server does not go on with it, the end
    /// is [`ErrorKind::NodeLost`](crate::ErrorKind); that the server can't be reached is an end as of any request. Who took its place goes on until
    /// the end, also when nobody listens any more. A stream is read once: an attempt that fails at that is not repeated.
    ///
    /// The events are equal to the first ones but for what an event's JSON leaves out, of those that were read from no block of the server's:
    /// the head, what came before another attempt, and an error. To cancel the request stops the writer, wherever it is; to leave it does not.
    /// [`Cursor::Live`](crate::actors::Cursor::Live) is the first event, since nothing has been read when the request is accepted.
    ///
    /// No server is asked by reading, so observers and spans hear nothing of that but that it failed and its end, and no cost:
    /// [`Started`](crate::actors::Milestone::Started), [`FirstEvent`](crate::actors::Milestone::FirstEvent) and [`Answered`](crate::actors::Milestone::Answered) are of an
    /// answer that is gone on with.
    pub fn stored(stream: StreamKey) -> Self {
        Self {
            reads: Some(stream),
            ..Self::new(Prompt::default())
        }
    }

    /// Adds a subscriber.
    #[must_use]
    pub fn with_subscriber(mut self, subscriber: Subscriber) -> Self {
        self.subscribers.push(subscriber);
        self
    }

    /// Adds a provider that is asked when those before it failed for good before any output; at most [`Fallback::MAX`]. [`Fallback`] says
    /// which failures those are, and what it is sent.
    #[must_use]
    pub fn with_fallback(mut self, fallback: impl Into<Fallback>) -> Self {
        self.fallbacks.push(fallback.into());
        self
    }

    /// Has deliveries carry the blocks that their events were read from: [`Delivery::blocks`](crate::actors::Delivery::blocks).
    #[must_use]
    pub fn with_blocks(mut self) -> Self {
        self.blocks = true;
        self
    }

    /// Gives deltas that go to the same text and were read together as one event, with the text of all of them: for who passes on the
    /// [`blocks`](Self::with_blocks), and looks at other events alone. How many are one is chance.
    ///
    /// Of no effect without blocks, nor on a stream that is stored: the events of that keep their numbers.
    #[must_use]
    pub fn with_joined_deltas(mut self) -> Self {
        self.joined_deltas = true;
        self
    }

    /// Keeps nothing for those who would subscribe later: what all subscribers have taken is let go at once, but for the newest
    /// delivery. A subscriber that comes all the same gets
    /// [`SubscribeError::CursorExpired`](crate::actors::SubscribeError), unless it begins at what comes next. Of no effect where content is
    /// [captured](crate::actors::SupervisorConfig::captured_content_bytes).
    #[must_use]
    pub fn with_live_only(mut self) -> Self {
        self.live_only = true;
        self
    }

    /// Has its stream written to the supervisor's [store](crate::actors::SupervisorConfig::store) while it runs, under a name that was never used before, and
    /// lets it go on when its last subscriber has left: [`when_deserted`](Self::when_deserted) may be set to something else behind this. See
    /// [`stored`](Self::stored) for how it is read again.
    ///
    /// What is delivered does not wait for the store, but for the end: that is there first, unless the store does not answer within 100 ms.
    /// A store that is away gets what is missing when it is back. Observers hear of that, and of what is not stored any more
    /// ([`Milestone::NotStored`](crate::actors::Milestone::NotStored)). What the server sends is stored, and what was asked; no header that was sent, and no
    /// key of the provider's. What the prompt and its tools hold is stored as it is, a key for a tool's server, too.
    ///
    /// Of an attempt that goes on with an answer comes no [`Head`](crate::protocol::ResponseEvent::Head), nor what that says: the numbers of the
    /// events are then those that another process comes to.
    #[must_use]
    pub fn with_stored_as(mut self, stream: StreamKey) -> Self {
        self.stored_as = Some(stream);
        self.when_deserted = WhenDeserted::KeepGoing;
        self
    }
}

with_request_fields!(SubmitRequest {
    model: prompt.options.model,
    fallbacks: fallbacks,
    when_deserted: when_deserted,
    subscribers: subscribers
});
with_fields!(some of SubmitRequest {
    with_turn_state(turn_state: TurnState => Some(turn_state)),
    with_when_deserted(when_deserted: WhenDeserted),
    with_warm_up(warm_up: bool),
});

/// An accepted request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Submitted {
    /// Names it from now on.
    pub request: RequestId,
    /// The subscriptions of its subscribers, in their order.
    pub subscriptions: Vec<SubscriptionId>,
}
