//! Compactions, answers in one piece and lists of models: questions that have one answer.

use std::sync::Arc;

use actix::{Context, Handler, Message, MessageResult, ResponseActFuture, WrapFuture};
use http::{HeaderMap, Method, StatusCode, header};
use tokio::sync::oneshot;
use tracing::Span;

use super::state::StreamSupervisor;
use crate::{
    actors::{
        AboutResponse, CancelResponse, Compact, DeleteResponse, InOnePiece, ListInputItems,
        ListModels, Observer, Retrieve, SubmitRequest,
        attempt::spec::RequestSpec,
        audience::listener::{Asker, Listener, MayStream, Question},
        messages::{Answer, Asked, OneKind, Submit},
    },
    protocol::{CompactionOutput, Id, ModelList, WholeAnswer, error::ApiError},
    provider::Provider,
    telemetry,
    wire::{Wire, whole::read_whole},
};

/// How many bytes a list of models may have. The longest there is, of some hundred models with their prices, has half a
/// megabyte.
const MAX_MODEL_LIST_BYTES: usize = 16 * 1024 * 1024;

impl StreamSupervisor {
    fn submit_compaction(
        &mut self,
        message: Compact,
        ctx: &mut Context<Self>,
    ) -> Result<Asked<CompactionOutput>, ApiError> {
        let Compact {
            input,
            provider,
            headers,
            retry,
            turn_state,
            label,
            observer,
            span,
        } = message;
        let mut spec = self.prepare(provider, headers, retry, turn_state)?;
        let Provider { wire, quirks, .. } = &*spec.provider;
        spec.body = wire.compaction_body(&input, quirks)?.into();
        spec.url = spec.provider.url_for("responses/compact", &[]);
        spec.model = input.model.unwrap_or_default();
        let question = Question {
            operation: "compact",
            answer: "the answer to the compaction",
            head_limit: spec.provider.timeouts.compaction_head,
            limit: ("max_compaction_bytes", self.config.max_compaction_bytes),
            whole_limit: None,
            may_stream: MayStream::Compaction,
            read: read_compaction,
        };
        Ok(self.ask(question, spec, span, (label, observer), ctx))
    }

    fn submit_listing(
        &mut self,
        message: ListModels,
        ctx: &mut Context<Self>,
    ) -> Result<Asked<ModelList>, ApiError> {
        let ListModels {
            provider,
            headers,
            retry,
            label,
            observer,
            span,
        } = message;
        let mut spec = self.prepare(provider, headers, retry, None)?;
        spec.method = Method::GET;
        spec.url = spec.provider.url_for("models", &[]);
        let question = Question {
            operation: "list_models",
            answer: "the list of models",
            head_limit: spec.provider.timeouts.response_head,
            limit: ("MAX_MODEL_LIST_BYTES", MAX_MODEL_LIST_BYTES),
            whole_limit: None,
            may_stream: MayStream::No,
            read: read_models,
        };
        Ok(self.ask(question, spec, span, (label, observer), ctx))
    }

    fn submit_in_one_piece(
        &mut self,
        message: SubmitRequest,
        ctx: &mut Context<Self>,
    ) -> Result<Asked<WholeAnswer>, ApiError> {
        let SubmitRequest {
            prompt,
            provider,
            fallbacks,
            headers,
            retry,
            turn_state,
            label,
            observer,
            span,
            thread,
            resumes,
            reads,
            stored_as,
            ..
        } = message;
        if stored_as.is_some() {
            let message = "an answer in one piece is no stream: it can't be stored as one";
            return Err(ApiError::misconfigured(message));
        }
        if resumes.is_some() || reads.is_some() {
            let message =
                "a response that is there already is retrieved, not asked for in one piece";
            return Err(ApiError::misconfigured(message));
        }
        if !fallbacks.is_empty() {
            let message = "an answer in one piece is asked of one provider: it has no fallbacks";
            return Err(ApiError::misconfigured(message));
        }
        let mut spec = self.prepare(provider, headers, retry, turn_state)?;
        spec.thread = thread;
        let Provider { wire, quirks, .. } = &*spec.provider;
        let wire = *wire;
        spec.body = wire.one_piece_body(&prompt, quirks)?.into();
        spec.max_output_tokens = prompt.options.max_output_tokens.unwrap_or_default();
        spec.model = prompt.options.model.unwrap_or_default();
        let whole_limit = spec.provider.timeouts.whole_answer;
        let question = Question {
            operation: "chat",
            answer: "the answer",
            head_limit: whole_limit,
            limit: (
                "StreamLimits::max_answer_bytes",
                self.config.limits.max_answer_bytes,
            ),
            whole_limit: Some(whole_limit),
            may_stream: MayStream::Answer(wire),
            read: match wire {
                Wire::Responses => {
                    |_, _, body| read_whole(Wire::Responses, body).map(Answer::Whole)
                }
                Wire::Chat => |_, _, body| read_whole(Wire::Chat, body).map(Answer::Whole),
            },
        };
        Ok(self.ask(question, spec, span, (label, observer), ctx))
    }

    /// Takes a question into the table, and starts its first attempt.
    pub(super) fn ask<T: OneKind>(
        &mut self,
        question: Question,
        spec: RequestSpec,
        caller: Span,
        watched: (Option<Id>, Option<Arc<dyn Observer>>),
        ctx: &mut Context<Self>,
    ) -> Asked<T> {
        let (answer, answered) = oneshot::channel();
        let request = spec.id;
        let asker = Listener::Asker(Box::new(Asker {
            question,
            answer,
            watch: None,
        }));
        let span = telemetry::request_span(&caller, &spec.attributes(asker.operation()), None);
        self.accept(spec, asker, span, watched, ctx);
        Asked {
            request,
            answer: answered,
            take: T::of,
        }
    }
}

fn read_compaction(_: StatusCode, _: &HeaderMap, body: &str) -> Result<Answer, ApiError> {
    CompactionOutput::from_json(body).map(Answer::Compaction)
}

fn read_models(status: StatusCode, headers: &HeaderMap, body: &str) -> Result<Answer, ApiError> {
    let etag = headers
        .get(header::ETAG)
        .and_then(|etag| etag.to_str().ok());
    let etag = etag.map(str::to_owned);
    let list = match status {
        StatusCode::NOT_MODIFIED => ModelList::unchanged(etag),
        _ => ModelList::from_json(body, etag)?,
    };
    Ok(Answer::Models(list))
}

impl Handler<InOnePiece> for StreamSupervisor {
    type Result = MessageResult<InOnePiece>;

    fn handle(&mut self, InOnePiece(request): InOnePiece, ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.submit_in_one_piece(request, ctx))
    }
}

/// Takes questions of some kinds: in two steps, or in one.
macro_rules! answers {
    ($($question:ty => $submit:ident,)+) => {$(
        impl Handler<Submit<$question>> for StreamSupervisor {
            type Result = MessageResult<Submit<$question>>;

            fn handle(
                &mut self,
                Submit(question): Submit<$question>,
                ctx: &mut Self::Context,
            ) -> Self::Result {
                MessageResult(self.$submit(question, ctx))
            }
        }

        impl Handler<$question> for StreamSupervisor {
            type Result = ResponseActFuture<Self, <$question as Message>::Result>;

            fn handle(&mut self, question: $question, ctx: &mut Self::Context) -> Self::Result {
                let submitted = self.$submit(question, ctx);
                Box::pin(async { submitted?.await }.into_actor(self))
            }
        }
    )+};
}

answers! {
    Compact => submit_compaction,
    ListModels => submit_listing,
    AboutResponse<Retrieve> => submit_about,
    AboutResponse<CancelResponse> => submit_about,
    AboutResponse<DeleteResponse> => submit_about,
    AboutResponse<ListInputItems> => submit_about,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix::Actor;

    use super::*;
    use crate::{
        actors::{
            CancelRequest, SupervisorConfig, Workers,
            attempt::lease::{AttemptEnded, Outcome},
        },
        provider::Provider,
        transport::silence::Silence,
    };

    #[actix_rt::test]
    async fn the_report_of_another_attempt_does_not_end_a_question() {
        let provider = Provider::new("test", "http://host/v1").expect("a provider");
        let mut config = SupervisorConfig::new(provider);
        config.workers = Workers::Current;
        let supervisor = StreamSupervisor::new(config, Silence)
            .expect("a valid configuration")
            .start();
        let asked = supervisor.send(Submit(ListModels::new())).await;
        let mut asked = asked.expect("a supervisor").expect("an accepted question");
        let request = asked.request();
        for attempt in [0, 2] {
            let (answer, _) = oneshot::channel();
            let question = Question {
                operation: "",
                answer: "",
                head_limit: Duration::ZERO,
                limit: ("", 0),
                whole_limit: None,
                may_stream: MayStream::No,
                read: read_models,
            };
            let ended = AttemptEnded {
                request,
                attempt,
                outcome: Outcome::Lost,
                can_refresh: false,
                listener: Listener::Asker(Box::new(Asker {
                    question,
                    answer,
                    watch: None,
                })),
            };
            supervisor.send(ended).await.expect("a supervisor");
        }
        assert!(asked.answer.try_recv().is_err(), "it was answered");
        let cancelled = supervisor.send(CancelRequest { request }).await;
        assert_eq!(cancelled, Ok(true), "it is not known any more");
        let error = asked.await.expect_err("no answer");
        assert_eq!(error.message(), "the request was cancelled");
    }
}
