//! The supervisor's part in questions that have one answer: attempts and retries as for streams, without an audience.

use std::{collections::HashMap, sync::Arc, time::Duration};

use actix::{
    Addr, AsyncContext, Context, Handler, Message, MessageResult, Recipient, ResponseActFuture,
    SpawnHandle, WrapFuture,
};
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use tokio::{sync::oneshot, time::Instant};

use super::{
    AttemptNotice, Compact, ListModels, RequestId, TurnState,
    asker::{AnswerLimit, AskEnded, AskLease, Asker, Question, StopAsking},
    attempts::{Attempts, Verdict},
    messages::{Asked, Submit},
    request::{RequestSpec, StreamOptions},
    supervisor::StreamSupervisor,
    worker::StartAsking,
};
use crate::{
    error::{ApiError, ErrorKind, Phase},
    protocol::{CompactionOutput, ModelList},
    provider::{Accept, Provider, Timeouts},
    retry::RetryPolicy,
    telemetry,
    wire::{Wire, responses::compaction_body},
};

/// How many bytes a list of models may have. The longest there is, of some hundred models with their prices, has half a
/// megabyte.
const MAX_MODEL_LIST_BYTES: usize = 16 * 1024 * 1024;

/// Asks for a conversation to be compacted.
pub(super) struct Compaction;

impl Question for Compaction {
    type Answer = CompactionOutput;

    const OPERATION: &'static str = "compact";
    const ANSWER: &'static str = "the answer to the compaction";

    fn head_limit(timeouts: &Timeouts) -> Duration {
        timeouts.compaction_head
    }

    fn read(_: &HeaderMap, body: &str) -> Result<CompactionOutput, ApiError> {
        CompactionOutput::from_json(body)
    }

    fn record(span: &tracing::Span, answer: &CompactionOutput) {
        telemetry::record_answer(span, answer.id.as_deref(), answer.usage.as_ref(), "stop");
    }
}

/// Asks which models there are.
pub(super) struct Listing;

impl Question for Listing {
    type Answer = ModelList;

    const OPERATION: &'static str = "list_models";
    const ANSWER: &'static str = "the list of models";

    fn head_limit(timeouts: &Timeouts) -> Duration {
        timeouts.response_head
    }

    fn read(headers: &HeaderMap, body: &str) -> Result<ModelList, ApiError> {
        let etag = headers
            .get(header::ETAG)
            .and_then(|etag| etag.to_str().ok());
        ModelList::from_json(body, etag.map(str::to_owned))
    }

    fn record(_: &tracing::Span, _: &ModelList) {}
}

/// The questions of one kind that have not been answered yet.
pub(super) type Questions<Q> = HashMap<RequestId, OpenQuestion<Q>>;

/// A question that has not been answered yet.
pub(super) struct OpenQuestion<Q: Question> {
    spec: Arc<RequestSpec>,
    limit: AnswerLimit,
    attempts: Attempts,
    state: State<Q>,
    answer: oneshot::Sender<Result<Q::Answer, ApiError>>,
}

enum State<Q: Question> {
    Running(Addr<Asker<Q>>),
    Waiting(SpawnHandle),
}

/// A question whose answers the supervisor has a place for.
pub(super) trait Kept: Question {
    fn kept(supervisor: &mut StreamSupervisor) -> &mut Questions<Self>;
}

impl Kept for Compaction {
    fn kept(supervisor: &mut StreamSupervisor) -> &mut Questions<Self> {
        &mut supervisor.compactions
    }
}

impl Kept for Listing {
    fn kept(supervisor: &mut StreamSupervisor) -> &mut Questions<Self> {
        &mut supervisor.listings
    }
}

/// To itself: the wait before the next attempt at a question is over.
struct AskAgainDue<Q> {
    request: RequestId,
    question: std::marker::PhantomData<fn() -> Q>,
}

impl<Q> Message for AskAgainDue<Q> {
    type Result = ();
}

/// What questions of all kinds have in common.
struct Inquiry {
    provider: Option<Arc<Provider>>,
    headers: HeaderMap,
    retry: Option<RetryPolicy>,
    turn_state: Option<TurnState>,
    observer: Option<Recipient<AttemptNotice>>,
}

/// What is sent for a question.
struct Outgoing {
    method: Method,
    path: &'static str,
    model: String,
    body: Bytes,
    limit: AnswerLimit,
}

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
            observer,
        } = message;
        let limit = AnswerLimit {
            name: "max_compaction_bytes",
            bytes: self.config.max_compaction_bytes,
        };
        let inquiry = Inquiry {
            provider,
            headers,
            retry,
            turn_state,
            observer,
        };
        self.submit_question::<Compaction>(inquiry, ctx, |provider| {
            if provider.wire != Wire::Responses {
                let message = "compaction is part of the Responses API, and this provider speaks another wire";
                let error = ApiError::new(ErrorKind::InvalidConfiguration, message);
                return Err(error.with_phase(Phase::Prepare));
            }
            Ok(Outgoing {
                method: Method::POST,
                path: "responses/compact",
                body: compaction_body(&input, provider.quirks.responses)?,
                model: input.model.unwrap_or_default(),
                limit,
            })
        })
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
            observer,
        } = message;
        let inquiry = Inquiry {
            provider,
            headers,
            retry,
            turn_state: None,
            observer,
        };
        self.submit_question::<Listing>(inquiry, ctx, |_| {
            Ok(Outgoing {
                method: Method::GET,
                path: "models",
                model: String::new(),
                body: Bytes::new(),
                limit: AnswerLimit {
                    name: "MAX_MODEL_LIST_BYTES",
                    bytes: MAX_MODEL_LIST_BYTES,
                },
            })
        })
    }

    fn submit_question<Q: Kept>(
        &mut self,
        inquiry: Inquiry,
        ctx: &mut Context<Self>,
        outgoing: impl FnOnce(&Provider) -> Result<Outgoing, ApiError>,
    ) -> Result<Asked<Q::Answer>, ApiError> {
        self.check_open()?;
        let Inquiry {
            provider,
            headers,
            retry,
            turn_state,
            observer,
        } = inquiry;
        let provider = provider.unwrap_or_else(|| self.config.provider.clone());
        provider.check(&headers)?;
        let Outgoing {
            method,
            path,
            model,
            body,
            limit,
        } = outgoing(&provider)?;
        let id = self.next_request_id();
        let spec = Arc::new(RequestSpec {
            id,
            origin: provider.origin().clone(),
            method,
            url: provider.url_for(path, &[]),
            accept: Accept::Json,
            model,
            headers,
            body,
            turn_state,
            retry: self.retry_policy(retry, &provider),
            stream: StreamOptions::default(),
            deadline: provider.timeouts.total.map(|total| Instant::now() + total),
            provider,
        });
        let (answer, answered) = oneshot::channel();
        let mut attempts = Attempts::new(observer);
        let asker = self.start_asker(&spec, limit, &mut attempts, false, ctx);
        let question = OpenQuestion::<Q> {
            spec,
            limit,
            attempts,
            state: State::Running(asker),
            answer,
        };
        Q::kept(self).insert(id, question);
        Ok((id, answered))
    }

    fn start_asker<Q: Kept>(
        &mut self,
        spec: &Arc<RequestSpec>,
        limit: AnswerLimit,
        attempts: &mut Attempts,
        refresh_auth: bool,
        ctx: &mut Context<Self>,
    ) -> Addr<Asker<Q>> {
        let attempt = attempts.begin(spec);
        let (address, mailbox) = actix::dev::channel::channel(ASKER_MAILBOX);
        let mut lease = AskLease::<Q>::new(ctx.address().recipient(), spec.id, attempt);
        if let Err(error) = self.breakers.admit(&spec.origin) {
            lease.set_result(Err(error));
            return Addr::new(address);
        }
        // Without a worker, the drop of the lease ends the attempt as lost.
        if let Some((worker, load)) = self.pool.choose() {
            #[expect(
                clippy::disallowed_methods,
                reason = "one message for each attempt, and it must arrive"
            )]
            worker.do_send(StartAsking {
                mailbox,
                spec: spec.clone(),
                lease,
                refresh_auth,
                limit,
                load,
            });
        }
        Addr::new(address)
    }

    /// Starts the next attempt at a question that is kept.
    fn ask_again<Q: Kept>(
        &mut self,
        id: RequestId,
        mut question: OpenQuestion<Q>,
        refresh_auth: bool,
        ctx: &mut Context<Self>,
    ) {
        let spec = question.spec.clone();
        let attempts = &mut question.attempts;
        let asker = self.start_asker(&spec, question.limit, attempts, refresh_auth, ctx);
        question.state = State::Running(asker);
        Q::kept(self).insert(id, question);
    }

    /// Ends a question without an answer but an error. Whether there was one.
    pub(super) fn stop_question<Q: Kept>(
        &mut self,
        id: RequestId,
        error: ApiError,
        ctx: &mut Context<Self>,
    ) -> bool {
        let Some(question) = Q::kept(self).remove(&id) else {
            return false;
        };
        match question.state {
            #[expect(
                clippy::disallowed_methods,
                reason = "at most one for each attempt, and it must arrive"
            )]
            State::Running(asker) => asker.do_send(StopAsking),
            State::Waiting(timer) => {
                ctx.cancel_future(timer);
            }
        }
        // An error means that nobody waits for the answer, as when its future was dropped.
        let _ = question.answer.send(Err(error));
        true
    }

    /// Ends all questions of a kind, in a shutdown.
    pub(super) fn stop_questions<Q: Kept>(&mut self, why: &'static str, ctx: &mut Context<Self>) {
        let ids: Vec<_> = Q::kept(self).keys().copied().collect();
        for id in ids {
            self.stop_question::<Q>(id, ApiError::new(ErrorKind::ShutDown, why), ctx);
        }
    }
}

/// Messages that an asker's mailbox holds: a stop, at most.
const ASKER_MAILBOX: usize = 1;

impl Handler<Submit<Compact>> for StreamSupervisor {
    type Result = MessageResult<Submit<Compact>>;

    fn handle(
        &mut self,
        Submit(compact): Submit<Compact>,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        MessageResult(self.submit_compaction(compact, ctx))
    }
}

impl Handler<Submit<ListModels>> for StreamSupervisor {
    type Result = MessageResult<Submit<ListModels>>;

    fn handle(
        &mut self,
        Submit(list): Submit<ListModels>,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        MessageResult(self.submit_listing(list, ctx))
    }
}

impl Handler<Compact> for StreamSupervisor {
    type Result = ResponseActFuture<Self, Result<CompactionOutput, ApiError>>;

    fn handle(&mut self, message: Compact, ctx: &mut Self::Context) -> Self::Result {
        let submitted = self.submit_compaction(message, ctx);
        Box::pin(answer(submitted).into_actor(self))
    }
}

impl Handler<ListModels> for StreamSupervisor {
    type Result = ResponseActFuture<Self, Result<ModelList, ApiError>>;

    fn handle(&mut self, message: ListModels, ctx: &mut Self::Context) -> Self::Result {
        let submitted = self.submit_listing(message, ctx);
        Box::pin(answer(submitted).into_actor(self))
    }
}

async fn answer<T>(submitted: Result<Asked<T>, ApiError>) -> Result<T, ApiError> {
    let (_, answer) = submitted?;
    let stopped = || ApiError::new(ErrorKind::ShutDown, "the runtime has stopped");
    answer.await.unwrap_or_else(|_| Err(stopped()))
}

impl<Q: Kept> Handler<AskEnded<Q>> for StreamSupervisor {
    type Result = ();

    fn handle(&mut self, message: AskEnded<Q>, ctx: &mut Self::Context) {
        let AskEnded {
            request: id,
            attempt,
            result,
        } = message;
        let closing = self.is_closing();
        let running = Q::kept(self).remove(&id);
        let Some(mut question) = running.filter(|question| question.attempts.number() == attempt)
        else {
            return self.close_if_idle(ctx);
        };
        self.breakers
            .record(&question.spec.origin, result.as_ref().err());
        let answer = match result {
            Ok(answer) => Ok(answer),
            Err(error) => {
                let attempts = &mut question.attempts;
                match attempts.judge(&question.spec, error, false, closing) {
                    Verdict::GiveUp(error) => Err(Arc::unwrap_or_clone(error)),
                    Verdict::RefreshAuth { .. } => return self.ask_again(id, question, true, ctx),
                    Verdict::Retry { delay, .. } => {
                        let due = AskAgainDue::<Q> {
                            request: id,
                            question: std::marker::PhantomData,
                        };
                        question.state = State::Waiting(ctx.notify_later(due, delay));
                        Q::kept(self).insert(id, question);
                        return;
                    }
                }
            }
        };
        // An error means that nobody waits for the answer any more.
        let _ = question.answer.send(answer);
        self.close_if_idle(ctx);
    }
}

impl<Q: Kept> Handler<AskAgainDue<Q>> for StreamSupervisor {
    type Result = ();

    fn handle(&mut self, AskAgainDue { request: id, .. }: AskAgainDue<Q>, ctx: &mut Self::Context) {
        let Some(question) = Q::kept(self).remove(&id) else {
            return;
        };
        if question.answer.is_closed() {
            return self.close_if_idle(ctx);
        }
        self.ask_again(id, question, false, ctx);
    }
}
