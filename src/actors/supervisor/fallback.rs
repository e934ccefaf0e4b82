//! The providers behind the first one of a request: what each is sent, and when the next is asked.

use std::{sync::Arc, time::Duration};

use actix::Context;
use tokio::time::Instant;

use super::{requests::Request, state::StreamSupervisor};
use crate::{
    actors::{
        Fallback, RequestId,
        attempt::spec::{KeptResponse, RequestSpec},
        audience::listener::Listener,
    },
    protocol::{
        Prompt,
        error::{ApiError, ErrorKind},
    },
    provider::Provider,
    retry::{RetryDecision, RetryPolicy},
    wire::{ItemIds, Quirks},
};

impl StreamSupervisor {
    /// Puts the fallbacks of a request behind its first provider, each with its own body. `own` is the request's policy.
    pub(super) fn add_fallbacks(
        &self,
        first: &mut RequestSpec,
        prompt: &Prompt,
        fallbacks: Vec<Fallback>,
        own: Option<&RetryPolicy>,
    ) -> Result<(), ApiError> {
        if fallbacks.is_empty() {
            return Ok(());
        }
        if fallbacks.len() > Fallback::MAX {
            let message = format!("{} fallbacks (limit `Fallback::MAX`)", fallbacks.len());
            return Err(ApiError::misconfigured(message));
        }
        let is_kept = first.kept.get().is_some_and(|kept| kept.from.is_some());
        if is_kept || first.is_read_again() {
            let message =
                "a response that its server keeps is resumed there: no fallback can be asked";
            return Err(ApiError::misconfigured(message));
        }
        let mut prompt = prompt.for_another_server()?;
        let named = prompt.options.model.take();
        let specs = fallbacks.into_iter().map(|mut fallback| {
            fallback.retry = fallback.retry.or_else(|| own.cloned());
            prompt.options.model = fallback.model.take().or_else(|| named.clone());
            self.prepare_fallback(first, &prompt, fallback)
        });
        let specs = specs.collect::<Result<Vec<_>, _>>()?;
        let others = specs.iter().map(|spec| spec.retry.attempts());
        let attempts = first.retry.attempts() + others.sum::<u32>();
        if attempts > RetryPolicy::MAX_ATTEMPTS {
            let message = format!(
                "the providers of a request have {attempts} attempts together (limit `RetryPolicy::MAX_ATTEMPTS`)"
            );
            return Err(ApiError::misconfigured(message));
        }
        first.max_attempts = attempts;
        for mut spec in specs.into_iter().rev() {
            spec.max_attempts = attempts;
            spec.fallback = first.fallback.take();
            first.fallback = Some(Arc::new(spec));
        }
        Ok(())
    }

    /// What is sent to another provider than the first, which has this prompt.
    fn prepare_fallback(
        &self,
        first: &RequestSpec,
        prompt: &Prompt,
        fallback: Fallback,
    ) -> Result<RequestSpec, ApiError> {
        let Fallback {
            provider,
            headers,
            retry,
            ..
        } = fallback;
        let mut spec = self.prepare(Some(provider), headers, retry, None)?;
        let Provider { wire, quirks, .. } = &*spec.provider;
        let has_blocks = first.stream.has_blocks || first.is_recorded();
        if has_blocks && *wire != first.provider.wire {
            let message = "the blocks of one stream can't come from providers of two wires";
            return Err(ApiError::misconfigured(message));
        }
        let quirks = Quirks {
            item_ids: ItemIds::Never,
            ..quirks.clone()
        };
        let written = wire.request_body(prompt, &quirks).map_err(|error| {
            let name = spec.provider.name();
            ApiError::misconfigured(format!("the fallback {name}: {}", error.message()))
        })?;
        // Mostly it is the same, and then it is held once.
        let body = first.body();
        spec.body = match written == body {
            true => body.into(),
            false => written.into(),
        };
        spec.kept = KeptResponse::of(&prompt.options, *wire);
        spec.model = prompt.options.model.clone().unwrap_or_default();
        spec.max_output_tokens = first.max_output_tokens;
        spec.accept = first.accept;
        spec.stream = first.stream;
        spec.thread = first.thread;
        spec.accepted = first.accepted;
        spec.deadline = [first.deadline, spec.deadline].into_iter().flatten().min();
        Ok(spec)
    }

    /// Goes on with the next provider, at once.
    pub(super) fn fall_back(
        &mut self,
        id: RequestId,
        mut listener: Listener,
        next: Arc<RequestSpec>,
        error: Arc<ApiError>,
        ctx: &mut Context<Self>,
    ) {
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        tracing::debug!(request = %id, provider = next.provider.name(), "falling back");
        next.counts.go_on_from(&request.spec.counts);
        request.spec = next;
        request.attempts.move_on();
        request.info.forget();
        request.spared = Duration::ZERO;
        if let Listener::Audience(audience) = &mut listener {
            audience.forget_model();
        }
        if let Some(observers) = listener.watch() {
            observers.fall_back(request.info.get(&request.spec).clone());
        }
        self.start_attempt(id, listener, Some(error), ctx);
    }
}

impl Request {
    /// Whether something of an answer is there that another provider could not go on with.
    fn has_answer(&self, listener: &Listener) -> bool {
        let Listener::Audience(audience) = listener else {
            return false;
        };
        // A background response that the server has accepted goes on, and is paid for, whatever became of its stream.
        let runs_on = self.spec.stream.is_background && audience.accepted_at().is_some();
        audience.output_delivered() || audience.resumption.is_some() || runs_on
    }

    /// Who is asked next, where an attempt failed so. An endpoint that is down is not waited for.
    pub(super) fn next_provider(
        &self,
        error: &ApiError,
        decision: RetryDecision,
        listener: &Listener,
    ) -> Option<Arc<RequestSpec>> {
        let next = self.spec.fallback.as_ref()?;
        let is_over = decision == RetryDecision::GiveUp || error.kind() == ErrorKind::Unavailable;
        let is_late = next.deadline.is_some_and(|at| at <= Instant::now());
        let is_free = is_over && !is_late && !self.has_answer(listener);
        (is_free && Fallback::can_help(error)).then(|| next.clone())
    }

    /// Whether an attempt that may not be sent now fails at once, because another provider is asked.
    pub(super) fn goes_elsewhere(&self, refused: &ApiError, listener: &Listener) -> bool {
        let next = self.next_provider(refused, RetryDecision::RetryAfter(Duration::ZERO), listener);
        next.is_some()
    }
}
