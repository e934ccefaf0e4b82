//! How a request is accepted.

use std::sync::Arc;

use actix::Handler;
use bytes::Bytes;
use http::Method;
use tokio::time::Instant;

use super::{
    StreamSupervisor,
    attempts::Attempts,
    requests::{Request, State},
};
use crate::{
    actors::{
        RequestId, SubmitRequest, Submitted, SubscribeError,
        attempt::spec::{RequestSpec, StreamOptions},
        audience::Audience,
    },
    protocol::{
        Prompt, ResponseEvent,
        error::{ApiError, ErrorKind, Phase},
    },
    provider::{Accept, Provider},
    retry::RetryPolicy,
    wire::{self, Wire},
};

impl StreamSupervisor {
    /// Refuses what comes after the shutdown has begun, or beyond the limit.
    pub(crate) fn check_open(&self) -> Result<(), ApiError> {
        if self.is_closing() {
            let message = "the runtime is shutting down";
            return Err(ApiError::new(ErrorKind::ShutDown, message).with_phase(Phase::Prepare));
        }
        let max_requests = self.config.max_requests;
        if self.live + self.compactions.len() + self.listings.len() >= max_requests {
            let message = format!("{max_requests} requests live already (limit `max_requests`)");
            return Err(ApiError::new(ErrorKind::Overloaded, message).with_phase(Phase::Prepare));
        }
        Ok(())
    }

    /// The policy of a request: its own, or else the supervisor's with what the provider says of attempts.
    pub(crate) fn retry_policy(
        &self,
        own: Option<RetryPolicy>,
        provider: &Provider,
    ) -> RetryPolicy {
        own.unwrap_or_else(|| {
            let mut policy = self.config.retry.clone();
            policy.max_attempts = provider.max_attempts.unwrap_or(policy.max_attempts);
            policy
        })
    }

    pub(crate) fn next_request_id(&mut self) -> RequestId {
        let id = RequestId(self.next_id);
        self.next_id += 1;
        id
    }
}

impl Handler<SubmitRequest> for StreamSupervisor {
    type Result = Result<Submitted, ApiError>;

    fn handle(&mut self, message: SubmitRequest, ctx: &mut Self::Context) -> Self::Result {
        let SubmitRequest {
            prompt,
            provider,
            headers,
            retry,
            turn_state,
            when_deserted,
            subscribers,
            observer,
        } = message;
        self.check_open()?;
        let provider = provider.unwrap_or_else(|| self.config.provider.clone());
        provider.check(&headers)?;
        let body = request_body(&prompt, &provider)?;
        let id = self.next_request_id();
        let now = Instant::now();
        let spec = RequestSpec {
            id,
            origin: provider.origin().clone(),
            method: Method::POST,
            url: provider.request_url().clone(),
            accept: Accept::EventStream,
            model: prompt.options.model.unwrap_or_default(),
            headers,
            body,
            turn_state,
            retry: self.retry_policy(retry, &provider),
            stream: StreamOptions {
                limits: self.config.limits,
                when_deserted,
                is_background: prompt.options.background == Some(true),
            },
            deadline: provider.timeouts.total.map(|total| now + total),
            provider,
        };
        let mut audience = Box::new(Audience::new(id, self.config.audience));
        let subscriptions = subscribers
            .into_iter()
            .map(|subscriber| audience.subscribe(subscriber, now))
            .collect::<Result<_, _>>();
        // A request without events takes any cursor but one that is ahead.
        let subscriptions = subscriptions.map_err(|error: SubscribeError| {
            audience.cut_short(ResponseEvent::Cancelled);
            ApiError::new(ErrorKind::InvalidConfiguration, error.to_string())
                .with_phase(Phase::Prepare)
        })?;
        let request = Request {
            spec: Arc::new(spec),
            state: State::Changing,
            attempts: Attempts::new(observer),
            stopping: None,
        };
        self.requests.insert(id, request);
        self.live += 1;
        self.start_attempt(id, audience, false, ctx);
        Ok(Submitted {
            request: id,
            subscriptions,
        })
    }
}

fn request_body(prompt: &Prompt, provider: &Provider) -> Result<Bytes, ApiError> {
    match provider.wire {
        Wire::Responses => wire::responses::request_body(prompt, provider.quirks.responses),
        Wire::Chat => wire::chat::request_body(prompt, &provider.quirks.chat),
    }
}
