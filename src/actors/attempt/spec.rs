//! What every attempt at a request needs.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread::ThreadId,
    time::SystemTime,
};

use actix::{Message, Recipient};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::Span;
use url::Url;

use super::{counts::Counts, ids::RequestId};
use crate::{
    protocol::{Id, RequestOptions, error::ApiError},
    provider::{Accept, Provider, StreamTransport, TurnState},
    retry::{RetryPolicy, Told},
    store::{StreamKey, StreamStore, recorder::RecorderSettings},
    telemetry::{Attributes, Content, Propagator},
    transport::Turn,
    wire::{ResumePoint, StreamLimits, Wire},
};

/// What all attempts at one provider share. It does not change once the request is accepted.
pub(crate) struct RequestSpec {
    pub(crate) id: RequestId,
    pub(crate) provider: Arc<Provider>,
    pub(crate) model: String,
    /// How many tokens the answer may have; 0 where nothing says it.
    pub(crate) max_output_tokens: u64,
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// Scheme, host and port: what a connection is good for.
    pub(crate) origin: Arc<str>,
    pub(crate) accept: Accept,
    pub(crate) headers: HeaderMap,
    /// As it is written; each attempt compresses it as its provider wants. Empty once no attempt can follow.
    pub(crate) body: Mutex<Bytes>,
    pub(crate) turn_state: Option<TurnState>,
    pub(crate) retry: RetryPolicy,
    pub(crate) stream: StreamOptions,
    /// Where the response is one that its server keeps and goes on with: how to ask for that. Of a stored stream that is read again the log
    /// says it.
    pub(crate) kept: OnceLock<Box<KeptResponse>>,
    /// The store that its stream is written to, or read from.
    pub(crate) stored: Option<Box<StoredStream>>,
    /// When [`Timeouts::total`](crate::provider::Timeouts) has passed.
    pub(crate) deadline: Option<Instant>,
    pub(crate) accepted: Instant,
    /// Where it was submitted.
    pub(crate) thread: Option<ThreadId>,
    pub(crate) counts: Counts,
    /// Who passes the trace on to the server.
    pub(crate) propagator: Option<Arc<dyn Propagator>>,
    /// What the request's span is to say of the prompt and the answer.
    pub(crate) content: Option<Arc<Content>>,
    /// How many attempts the request may have, at all its providers.
    pub(crate) max_attempts: u32,
    /// What is sent to the provider behind this one.
    pub(crate) fallback: Option<Arc<RequestSpec>>,
}

/// A response that its server keeps, and that runs on without its stream (`store` and `background`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeptResponse {
    /// What is asked for with its events, as its first request did.
    pub(crate) query: Vec<(Cow<'static, str>, String)>,
    /// Where its first attempt begins, if somebody else has asked for it.
    pub(crate) from: Option<ResumeFrom>,
}

/// A response that is there already, and the last of its events that is known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ResumeFrom {
    pub(crate) response_id: Id,
    pub(crate) after: Option<u64>,
}

impl KeptResponse {
    /// What is known of it before it has begun. `None` of a response that is not kept, or ends with its stream.
    pub(crate) fn of(options: &RequestOptions, wire: Wire) -> OnceLock<Box<Self>> {
        let is_kept = options.background == Some(true) && options.store != Some(false);
        match is_kept && wire == Wire::Responses {
            true => Box::new(Self::asked_with(options)).into(),
            false => OnceLock::new(),
        }
    }

    /// Its stream, with what these options ask for of its events.
    pub(crate) fn asked_with(options: &RequestOptions) -> Self {
        let mut query = vec![("stream".into(), "true".to_owned())];
        let include = options.include.iter().flatten();
        query.extend(include.map(|what| ("include[]".into(), what.clone())));
        let streaming = options.stream_options.as_ref();
        let is_plain = streaming.and_then(|it| it.get("include_obfuscation")?.as_bool());
        if let Some(is_plain) = is_plain {
            query.push(("include_obfuscation".into(), is_plain.to_string()));
        }
        Self { query, from: None }
    }

    /// Where its stream is, behind an event.
    pub(crate) fn url(
        &self,
        provider: &Provider,
        id: &str,
        after: Option<u64>,
    ) -> Result<Url, ApiError> {
        let after = after.map(|after| after.to_string());
        let query = self.query.iter().map(|(name, value)| (&**name, &**value));
        let after = after.as_deref().map(|after| ("starting_after", after));
        let query: Vec<_> = query.chain(after).collect();
        provider.response_url(id, "", &query)
    }
}

/// A stream in a store. Its writer has the name of the request, so that no two of a process are one.
pub(crate) struct StoredStream {
    pub(crate) store: Arc<dyn StreamStore>,
    pub(crate) key: StreamKey,
    pub(crate) settings: RecorderSettings,
    /// Whether it is there already.
    pub(crate) is_read_again: bool,
    /// Whether subscribers get the blocks that are written.
    pub(crate) delivers_blocks: bool,
    /// The supervisor, for those who cancel it in the store.
    pub(crate) cancel: Recipient<StopAsked>,
}

/// To the supervisor: somebody asks in the store that this request stops.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StopAsked(pub(crate) RequestId);

/// What only streams need.
#[derive(Clone, Copy, Default)]
pub(crate) struct StreamOptions {
    pub(crate) limits: StreamLimits,
    pub(crate) when_deserted: WhenDeserted,
    /// Whether what is delivered carries the blocks it was read from.
    pub(crate) has_blocks: bool,
    /// Whether deltas that were read together are one event.
    pub(crate) joins_deltas: bool,
    /// The response runs on without its stream (`background`), so that another attempt would be another response.
    pub(crate) is_background: bool,
    /// Nothing is to be generated, which only a WebSocket can be told.
    pub(crate) is_warm_up: bool,
}

/// One attempt at a request.
#[derive(Clone)]
pub(crate) struct Attempt {
    pub(crate) spec: Arc<RequestSpec>,
    /// The first is 1.
    pub(crate) number: u32,
    /// Where it goes on with the response of the one before, if it does.
    pub(crate) resumes: Option<Arc<Url>>,
    /// Whether it is to have another key than the one before.
    pub(crate) refresh_auth: bool,
    /// Who hears of the response's head at once, if somebody waits for that.
    pub(crate) on_head: Option<Recipient<HeadArrived>>,
    /// What covers it, and what covers the request.
    pub(crate) span: Span,
    pub(crate) request_span: Span,
}

/// To the supervisor: the endpoint of a request has answered.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct HeadArrived {
    pub(crate) request: RequestId,
    /// It is the head of an answer.
    pub(crate) is_good: bool,
    /// What it says of limits.
    pub(crate) told: Box<Told>,
}

/// How a response is gone on with.
pub(crate) static GET: Method = Method::GET;

impl Attempt {
    /// How, where and what it asks.
    pub(crate) fn asks(&self) -> (&Method, &Url, Bytes) {
        match &self.resumes {
            Some(url) => (&GET, url, Bytes::new()),
            None => (&self.spec.method, &self.spec.url, self.spec.body()),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "at most one for each attempt, and it must arrive"
    )]
    pub(crate) fn report_head(&self, status: StatusCode, headers: &HeaderMap, is_good: bool) {
        if let Some(on_head) = &self.on_head {
            let told = Told::from_head(status, headers, is_good, SystemTime::now());
            on_head.do_send(HeadArrived {
                request: self.spec.id,
                is_good,
                told: Box::new(told),
            });
        }
    }
}

impl RequestSpec {
    pub(crate) fn body(&self) -> Bytes {
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        body.clone()
    }

    /// What a WebSocket needs of it, if that is how it is to go: a new answer of the Responses API that lives with its stream.
    pub(super) fn socket_turn(&self) -> Option<Turn> {
        let may_fall_back = match self.provider.stream_transport {
            StreamTransport::Sse => return None,
            StreamTransport::WebSocket => false,
            StreamTransport::Auto => true,
        };
        let is_stream = self.accept == Accept::EventStream;
        let is_possible = self.provider.wire == Wire::Responses && !self.stream.is_background;
        (is_stream && is_possible).then(|| Turn {
            body: self.body(),
            is_warm_up: self.stream.is_warm_up,
            may_fall_back,
            max_message_bytes: self.stream.limits.sse.max_event_bytes,
        })
    }

    /// The stored stream that is read, of a request that asks for nothing new.
    pub(crate) fn read_again(&self) -> Option<&StoredStream> {
        self.stored.as_deref().filter(|stored| stored.is_read_again)
    }

    pub(crate) fn is_read_again(&self) -> bool {
        self.read_again().is_some()
    }

    /// Whether what is asked for anew is written to a store.
    pub(crate) fn is_recorded(&self) -> bool {
        self.stored.is_some() && !self.is_read_again()
    }

    /// No attempt follows: what it would send is let go.
    pub(crate) fn let_body_go(&self) {
        *self.body.lock().unwrap_or_else(PoisonError::into_inner) = Bytes::new();
        if let Some(next) = &self.fallback {
            next.let_body_go();
        }
    }

    /// Whether the request may be answered by another provider, or this is one of those.
    pub(crate) fn is_one_of_several(&self) -> bool {
        self.max_attempts > self.retry.attempts()
    }

    /// Sets what the request's span is to say, before anything is sent.
    pub(crate) fn set_content(&mut self, content: &Arc<Content>) {
        self.content = Some(content.clone());
        if let Some(next) = self.fallback.as_mut().and_then(Arc::get_mut) {
            next.set_content(content);
        }
    }

    /// Where the response goes on behind this point. `None` where it does not, and of an id that is none.
    pub(crate) fn resume_url(&self, point: &ResumePoint) -> Option<Url> {
        let kept = self.kept.get()?;
        let after = Some(point.sequence_number);
        let url = kept.url(&self.provider, &point.response_id, after);
        url.ok()
    }

    /// Host and port of the server.
    pub(crate) fn server(&self) -> (&str, u16) {
        (
            self.url.host_str().unwrap_or_default(),
            self.url.port_or_known_default().unwrap_or_default(),
        )
    }

    /// What spans say of it.
    pub(crate) fn attributes(&self, operation: &'static str) -> Attributes<'_> {
        Attributes {
            operation,
            provider: self.provider.name(),
            wire: self.provider.wire,
            model: &self.model,
            method: &self.method,
            url: &self.url,
            request: &self.id,
            is_one_of_several: self.is_one_of_several(),
        }
    }

    /// Adds to an error what it can't know itself.
    pub(crate) fn complete(&self, error: &mut ApiError, attempt: u32) {
        let details = error.details_mut();
        details.provider = Some(self.provider.name().to_owned());
        details.host = Some(self.provider.host());
        details.attempt = attempt;
        details.max_attempts = self.max_attempts;
    }
}

/// What happens to a request when its last subscriber has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenDeserted {
    /// It is cancelled, and its connection closed.
    #[default]
    Cancel,
    /// It is cancelled unless somebody subscribes within this time.
    Linger(std::time::Duration),
    /// It goes on, for those who subscribe later.
    KeepGoing,
}
