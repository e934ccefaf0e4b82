//! The supervisor's part in questions that have one answer: attempts and retries as for streams, without an audience.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use actix::{
    Addr, AsyncContext, Context, Handler, Message, MessageResult, Recipient, ResponseActFuture,
    SpawnHandle, WrapFuture,
};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use tokio::{sync::oneshot, time::Instant};

use super::{
    StopReason, StreamSupervisor,
    attempts::{Attempts, Verdict},
};
use crate::{
    actors::{
        AttemptNotice, Compact, ListModels, RequestId,
        attempt::{
            question::{
                AnswerLimit, AskEnded, AskLease, Asker, Question, StopAsking, said_instead,
            },
            spec::{Attempt, RequestSpec, StreamOptions},
        },
        messages::{Asked, Submit},
        workers::worker::StartAsking,
    },
    protocol::{
        CompactionOutput, ModelList,
        error::{ApiError, ErrorKind, Phase},
    },
    provider::{Accept, Provider, Timeouts, TurnState},
    retry::RetryPolicy,
    telemetry,
    wire::{
        Wire,
        responses::{CompactionStream, compaction_body},
    },
};

/// How many bytes a list of models may have. The longest there is, of some hundred models with their prices, has half a
/// megabyte.
const MAX_MODEL_LIST_BYTES: usize = 16 * 1024 * 1024;

/// Asks for a conversation to be compacted.
pub(crate) struct Compaction;

impl Question for Compaction {
    type Answer = CompactionOutput;

    const OPERATION: &'static str = "compact";
    const ANSWER: &'static str = "the answer to the compaction";

    fn head_limit(timeouts: &Timeouts) -> Duration {
        timeouts.compaction_head
    }

    type Reading = CompactionStream;

    fn reading(limit: AnswerLimit) -> CompactionStream {
        CompactionStream::new(limit.bytes)
    }

    fn is_whole(stream: &mut CompactionStream, body: &[u8]) -> bool {
        stream.has_ended(body)
    }

    fn read(
        stream: CompactionStream,
        _: StatusCode,
        _: &HeaderMap,
        body: &[u8],
    ) -> Result<CompactionOutput, ApiError> {
        stream.finish(body).unwrap_or_else(|| {
            let text = String::from_utf8_lossy(body);
            CompactionOutput::from_json(&text).map_err(|wrong| said_instead::<Self>(wrong, &text))
        })
    }

    fn record(span: &tracing::Span, answer: &CompactionOutput) {
        telemetry::record_answer(span, answer.id.as_deref(), answer.usage.as_ref(), "stop");
    }
}

/// Asks which models there are.
pub(crate) struct Listing;

impl Question for Listing {
    type Answer = ModelList;

    const OPERATION: &'static str = "list_models";
    const ANSWER: &'static str = "the list of models";

    fn head_limit(timeouts: &Timeouts) -> Duration {
        timeouts.response_head
    }

    type Reading = ();

    fn reading(_: AnswerLimit) {}

    fn read(
        (): (),
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<ModelList, ApiError> {
        let etag = headers
            .get(header::ETAG)
            .and_then(|etag| etag.to_str().ok());
        let etag = etag.map(str::to_owned);
        if status == StatusCode::NOT_MODIFIED {
            return Ok(ModelList::unchanged(etag));
        }
        let text = String::from_utf8_lossy(body);
        ModelList::from_json(&text, etag).map_err(|wrong| said_instead::<Self>(wrong, &text))
    }

    fn record(_: &tracing::Span, _: &ModelList) {}
}

/// The questions of one kind that have not been answered yet.
pub(crate) type Questions<Q> = HashMap<RequestId, OpenQuestion<Q>>;

/// A question that has not been answered yet.
pub(crate) struct OpenQuestion<Q: Question> {
    spec: Arc<RequestSpec>,
    limit: AnswerLimit,
    attempts: Attempts,
    state: State<Q>,
    answer: oneshot::Sender<Result<Q::Answer, ApiError>>,
}

enum State<Q: Question> {
    /// An attempt runs. Its end is waited for even when it was told to stop, since only then is known what it came to.
    Running {
        asker: Addr<Asker<Q>>,
        stopping: Option<StopReason>,
    },
    /// The next attempt is due later.
    Waiting {
        timer: SpawnHandle,
        /// Why the last one failed.
        error: Arc<ApiError>,
    },
}

impl<Q: Question> OpenQuestion<Q> {
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// An error means that nobody waits for the answer any more, as when its future was dropped.
    fn answer(self, answer: Result<Q::Answer, ApiError>) {
        let _ = self.answer.send(answer);
    }
}

/// A question whose answers the supervisor has a place for.
pub(crate) trait Kept: Question {
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
        let state = self.start_asker(&spec, limit, &mut attempts, false, ctx);
        let question = OpenQuestion::<Q> {
            spec,
            limit,
            attempts,
            state,
            answer,
        };
        Q::kept(self).insert(id, question);
        Ok(Asked {
            request: id,
            answer: answered,
        })
    }

    fn start_asker<Q: Kept>(
        &mut self,
        spec: &Arc<RequestSpec>,
        limit: AnswerLimit,
        attempts: &mut Attempts,
        refresh_auth: bool,
        ctx: &mut Context<Self>,
    ) -> State<Q> {
        let attempt = Attempt {
            spec: spec.clone(),
            number: attempts.begin(spec),
            refresh_auth,
        };
        let (address, mailbox) = actix::dev::channel::channel(ASKER_MAILBOX);
        let running = State::Running {
            asker: Addr::new(address),
            stopping: None,
        };
        let mut lease = AskLease::<Q>::new(ctx.address().recipient(), &attempt);
        if let Err(error) = self.breakers.admit(&spec.origin, self.epoch.elapsed()) {
            lease.set_result(Err(error));
            return running;
        }
        // Without a worker, the drop of the lease ends the attempt as lost.
        if let Some((worker, load)) = self.pool.choose() {
            #[expect(
                clippy::disallowed_methods,
                reason = "one message for each attempt, and it must arrive"
            )]
            worker.do_send(StartAsking {
                mailbox,
                attempt,
                lease,
                limit,
                load,
            });
        }
        running
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
        question.state = self.start_asker(&spec, question.limit, attempts, refresh_auth, ctx);
        Q::kept(self).insert(id, question);
    }

    /// Ends a question before its answer. Whether there was one to end.
    pub(crate) fn stop_question<Q: Kept>(
        &mut self,
        id: RequestId,
        reason: StopReason,
        ctx: &mut Context<Self>,
    ) -> bool {
        let Entry::Occupied(mut entry) = Q::kept(self).entry(id) else {
            return false;
        };
        match &mut entry.get_mut().state {
            State::Running { asker, stopping } => {
                if stopping.is_none() {
                    *stopping = Some(reason);
                    #[expect(
                        clippy::disallowed_methods,
                        reason = "at most one for each attempt, and it must arrive"
                    )]
                    asker.do_send(StopAsking);
                }
            }
            State::Waiting { timer, error } => {
                ctx.cancel_future(*timer);
                // A known error is not replaced by that of a shutdown.
                let error = match reason {
                    StopReason::ShutDown => ApiError::clone(error),
                    StopReason::Cancelled => reason.error(),
                };
                entry.remove().answer(Err(error));
            }
        }
        true
    }

    /// Ends some questions of a kind, in a shutdown.
    pub(crate) fn stop_questions<Q: Kept>(
        &mut self,
        which: fn(&OpenQuestion<Q>) -> bool,
        ctx: &mut Context<Self>,
    ) {
        let ids = Q::kept(self).iter().filter(|(_, question)| which(question));
        // In the order in which they came, so that a run can be repeated.
        let ids: BTreeSet<_> = ids.map(|(id, _)| *id).collect();
        for id in ids {
            self.stop_question::<Q>(id, StopReason::ShutDown, ctx);
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
        Box::pin(async { submitted?.await }.into_actor(self))
    }
}

impl Handler<ListModels> for StreamSupervisor {
    type Result = ResponseActFuture<Self, Result<ModelList, ApiError>>;

    fn handle(&mut self, message: ListModels, ctx: &mut Self::Context) -> Self::Result {
        let submitted = self.submit_listing(message, ctx);
        Box::pin(async { submitted?.await }.into_actor(self))
    }
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
        let Entry::Occupied(open) = Q::kept(self).entry(id) else {
            return;
        };
        if open.get().attempts.number() != attempt {
            return;
        }
        let mut question = open.remove();
        let (origin, error) = (&question.spec.origin, result.as_ref().err());
        self.breakers.record(origin, error, self.epoch.elapsed());
        let stopping = match question.state {
            State::Running { stopping, .. } => stopping,
            State::Waiting { .. } => None,
        };
        let answer = match (result, stopping) {
            (Ok(answer), _) => Ok(answer),
            (Err(error), Some(reason)) if error.kind() == ErrorKind::AttemptLost => {
                Err(reason.error())
            }
            (Err(_), Some(reason @ StopReason::Cancelled)) => Err(reason.error()),
            (Err(error), _) => {
                let attempts = &mut question.attempts;
                match attempts.judge(&question.spec, error, false, closing) {
                    Verdict::GiveUp(error) => Err(Arc::unwrap_or_clone(error)),
                    Verdict::RefreshAuth { .. } => return self.ask_again(id, question, true, ctx),
                    Verdict::Retry { error, delay } => {
                        let due = AskAgainDue::<Q> {
                            request: id,
                            question: std::marker::PhantomData,
                        };
                        let timer = ctx.notify_later(due, delay);
                        question.state = State::Waiting { timer, error };
                        Q::kept(self).insert(id, question);
                        return;
                    }
                }
            }
        };
        question.answer(answer);
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
            return;
        }
        self.ask_again(id, question, false, ctx);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use actix::Actor;
    use futures_core::future::LocalBoxFuture;

    use super::*;
    use crate::{
        actors::{CancelRequest, SupervisorConfig, Workers},
        transport::{
            Transport, TransportError, TransportFactory, TransportRequest, TransportResponse,
        },
    };

    /// Never answers.
    struct Silence;

    impl Transport for Silence {
        fn send(
            &self,
            _: TransportRequest,
        ) -> LocalBoxFuture<'static, Result<TransportResponse, TransportError>> {
            Box::pin(std::future::pending())
        }
    }

    impl TransportFactory for Silence {
        fn build(&self) -> Result<Rc<dyn Transport>, TransportError> {
            Ok(Rc::new(Self))
        }
    }

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
            let ended = AskEnded::<Listing> {
                request,
                attempt,
                result: Err(ApiError::attempt_lost()),
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
