//! How a request is accepted.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use actix::{Context, Handler};
use http::{HeaderMap, Method};
use smallvec::SmallVec;
use tokio::time::Instant;
use tracing::Span;

use super::{
    attempts::Attempts,
    requests::{LazyInfo, Request, State},
    state::StreamSupervisor,
};
use crate::{
    actors::{
        Observer, SubmitRequest, Submitted, SubscribeError, Subscriber, SubscriptionId,
        attempt::{
            counts::Counts,
            spec::{KeptResponse, RequestSpec, ResumeFrom, StreamOptions},
        },
        audience::{Audience, listener::Listener},
        observing::Watch,
    },
    protocol::{
        Id, Prompt, ResponseEvent,
        error::{ApiError, ErrorKind, Phase},
    },
    provider::{Accept, Provider, TurnState},
    retry::RetryPolicy,
    telemetry::{self, Content},
};

/// How much of a label is kept: enough for a name and two ids, and not much for each of many requests.
const MAX_LABEL_CHARS: usize = 128;

impl StreamSupervisor {
    /// Refuses what comes after the shutdown has begun, or beyond the limit.
    fn check_open(&self) -> Result<(), ApiError> {
        if self.is_closing() {
            let message = "the runtime is shutting down";
            return Err(ApiError::new(ErrorKind::ShutDown, message).with_phase(Phase::Prepare));
        }
        let max_requests = self.config.max_requests;
        if self.live >= max_requests {
            let message = format!("{max_requests} requests live already (limit `max_requests`)");
            return Err(ApiError::new(ErrorKind::LocalLimit, message).with_phase(Phase::Prepare));
        }
        Ok(())
    }

    /// The policy of a request: its own, or else the supervisor's with what the provider says of attempts.
    fn retry_policy(&self, own: Option<RetryPolicy>, provider: &Provider) -> RetryPolicy {
        own.unwrap_or_else(|| {
            let mut policy = self.config.retry.clone();
            policy.max_attempts = provider.max_attempts.unwrap_or(policy.max_attempts);
            policy
        })
    }

    /// What all attempts at a request share, as its sender wants it; what is sent is yet to be filled in.
    pub(super) fn prepare(
        &self,
        provider: Option<Arc<Provider>>,
        headers: HeaderMap,
        retry: Option<RetryPolicy>,
        turn_state: Option<TurnState>,
    ) -> Result<RequestSpec, ApiError> {
        self.check_open()?;
        let provider = provider.unwrap_or_else(|| self.config.provider.clone());
        provider.check(&headers)?;
        let retry = self.retry_policy(retry, &provider);
        retry.backoff.validate()?;
        let total = provider.timeouts.total;
        let now = Instant::now();
        Ok(RequestSpec {
            id: self.next_id,
            origin: provider.origin().clone(),
            method: Method::POST,
            url: provider.request_url().clone(),
            accept: Accept::Json,
            model: String::new(),
            max_output_tokens: 0,
            headers,
            body: Mutex::default(),
            turn_state,
            max_attempts: retry.attempts(),
            retry,
            stream: StreamOptions::default(),
            kept: OnceLock::new(),
            stored: None,
            deadline: total.and_then(|total| now.checked_add(total)),
            accepted: now,
            thread: None,
            counts: Counts::default(),
            propagator: self.config.propagator.clone(),
            content: None,
            fallback: None,
            provider,
        })
    }

    /// The audience of a stream, with those who listen from the start.
    fn audience(
        &self,
        spec: &RequestSpec,
        subscribers: Vec<Subscriber>,
        live_only: bool,
    ) -> Result<(Box<Audience>, Vec<SubscriptionId>), ApiError> {
        let mut limits = self.config.audience;
        // What is recorded of an answer is read from the log.
        if live_only && self.config.captured_content_bytes == 0 {
            limits.log_events = 0;
        }
        let mut audience = Box::new(Audience::new(spec.id, limits));
        if spec.is_read_again() {
            audience.set_read_again();
        }
        let now = Instant::now();
        let subscriptions = subscribers
            .into_iter()
            .map(|subscriber| audience.subscribe(subscriber, now))
            .collect::<Result<_, _>>();
        // A request without events takes any cursor but one that is ahead.
        let subscriptions = subscriptions.map_err(|error: SubscribeError| {
            audience.cut_short(ResponseEvent::Cancelled);
            ApiError::misconfigured(error.to_string())
        })?;
        self.record(spec, &mut audience);
        Ok((audience, subscriptions))
    }

    /// Takes a request into the table, and starts its first attempt.
    pub(super) fn accept(
        &mut self,
        spec: RequestSpec,
        mut listener: Listener,
        span: Span,
        (label, observer): (Option<Id>, Option<Arc<dyn Observer>>),
        ctx: &mut Context<Self>,
    ) {
        let id = spec.id;
        self.next_id = id.next();
        let observers = [observer, self.config.observer.clone()];
        let observers: SmallVec<[_; 2]> = observers.into_iter().flatten().collect();
        let label = label.map(|label| match label.char_indices().nth(MAX_LABEL_CHARS) {
            Some((end, _)) => label[..end].into(),
            None => label,
        });
        let info = LazyInfo::new(label, listener.operation());
        if !observers.is_empty() {
            let info = info.get(&spec).clone();
            *listener.watch() = Some(Watch::new(info, observers, spec.accepted));
        }
        if let Listener::Audience(audience) = &listener {
            spec.counts.note_audience(audience.counts());
        }
        let request = Request {
            spec: Arc::new(spec),
            info,
            state: State::Changing,
            attempts: Attempts::default(),
            span,
            last_attempt: Span::none(),
            stopping: None,
            is_resuming: false,
            is_reading: false,
            refresh_auth: false,
            spared: Duration::ZERO,
        };
        self.requests.insert(id, Box::new(request));
        self.live += 1;
        self.start_attempt(id, listener, None, ctx);
    }
}

impl RequestSpec {
    /// Asks for a stream: of a new answer, of one that is there and gone on with, or of one that is read again.
    fn ask_for(&mut self, prompt: &Prompt, resumes: Option<ResumeFrom>) -> Result<(), ApiError> {
        self.accept = Accept::EventStream;
        self.max_output_tokens = prompt.options.max_output_tokens.unwrap_or_default();
        match resumes {
            _ if self.is_read_again() => self.method = Method::GET,
            None => {
                let Provider { wire, quirks, .. } = &*self.provider;
                self.body = wire.request_body(prompt, quirks)?.into();
                self.kept = KeptResponse::of(&prompt.options, *wire);
            }
            Some(from) => {
                let mut kept = KeptResponse::asked_with(&prompt.options);
                self.method = Method::GET;
                self.url = kept.url(&self.provider, &from.response_id, from.after)?;
                kept.from = Some(from);
                self.kept = Box::new(kept).into();
            }
        }
        Ok(())
    }
}

impl Handler<SubmitRequest> for StreamSupervisor {
    type Result = Result<Submitted, ApiError>;

    fn handle(&mut self, message: SubmitRequest, ctx: &mut Self::Context) -> Self::Result {
        let SubmitRequest {
            mut prompt,
            provider,
            fallbacks,
            headers,
            retry,
            turn_state,
            when_deserted,
            subscribers,
            label,
            observer,
            blocks,
            joined_deltas,
            warm_up,
            span: caller,
            thread,
            stored_as,
            resumes,
            reads,
            live_only,
        } = message;
        let mut spec = self.prepare(provider, headers, retry.clone(), turn_state)?;
        spec.thread = thread;
        let is_there = resumes.is_some() || reads.is_some();
        let is_background = prompt.options.background == Some(true) || is_there;
        if warm_up {
            let Provider {
                stream_transport,
                wire,
                ..
            } = *spec.provider;
            stream_transport.check_warm_up(wire, is_background)?;
        }
        spec.stored = self.stored_stream(stored_as, reads, blocks, ctx)?;
        spec.ask_for(&prompt, resumes)?;
        spec.stream = StreamOptions {
            limits: self.config.limits,
            when_deserted,
            has_blocks: blocks,
            joins_deltas: joined_deltas && spec.stored.is_none(),
            is_background,
            is_warm_up: warm_up,
        };
        self.add_fallbacks(&mut spec, &prompt, fallbacks, retry.as_ref())?;
        spec.model = prompt.options.model.take().unwrap_or_default();
        let request = spec.id;
        let (audience, subscriptions) = self.audience(&spec, subscribers, live_only)?;
        let listener = Listener::Audience(audience);
        let attributes = spec.attributes(listener.operation());
        let span = telemetry::request_span(&caller, &attributes, Some(&prompt));
        let limit = self.config.captured_content_bytes;
        if limit > 0 && !span.is_disabled() {
            spec.set_content(&Arc::new(Content::new(&prompt, limit)));
        }
        self.accept(spec, listener, span, (label, observer), ctx);
        Ok(Submitted {
            request,
            subscriptions,
        })
    }
}
