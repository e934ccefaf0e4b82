//! The supervisor's part in compactions: attempts and retries as for streams, without an audience.

use std::sync::Arc;

use actix::{
    Addr, AsyncContext, Context, Handler, Message, ResponseActFuture, SpawnHandle, WrapFuture,
};
use tokio::{sync::oneshot, time::Instant};

use super::{
    Compact, RequestId,
    attempts::{Attempts, Verdict},
    compactor::{CompactionEnded, CompactionLease, Compactor, StopCompaction},
    messages::SubmitCompaction,
    request::{RequestSpec, StreamOptions},
    supervisor::StreamSupervisor,
    worker::StartCompaction,
};
use crate::{
    error::{ApiError, ErrorKind, Phase},
    protocol::CompactionOutput,
    provider::Accept,
    wire::{Wire, responses::compaction_body},
};

/// A compaction that has not been answered yet.
pub(super) struct Compaction {
    spec: Arc<RequestSpec>,
    attempts: Attempts,
    state: State,
    answer: oneshot::Sender<Result<CompactionOutput, ApiError>>,
}

enum State {
    Running(Addr<Compactor>),
    Waiting(SpawnHandle),
}

/// To itself: the wait before the next attempt is over.
struct CompactionRetryDue(RequestId);

impl Message for CompactionRetryDue {
    type Result = ();
}

impl StreamSupervisor {
    fn submit_compaction(
        &mut self,
        message: Compact,
        ctx: &mut Context<Self>,
    ) -> Result<
        (
            RequestId,
            oneshot::Receiver<Result<CompactionOutput, ApiError>>,
        ),
        ApiError,
    > {
        self.check_open()?;
        let Compact {
            input,
            provider,
            headers,
            retry,
            observer,
        } = message;
        let provider = provider.unwrap_or_else(|| self.config.provider.clone());
        provider.timeouts.validate()?;
        if provider.wire != Wire::Responses {
            let message =
                "compaction is part of the Responses API, and this provider speaks another wire";
            return Err(
                ApiError::new(ErrorKind::InvalidConfiguration, message).with_phase(Phase::Prepare)
            );
        }
        let body = compaction_body(&input, provider.quirks.responses)?;
        let id = self.next_request_id();
        let spec = Arc::new(RequestSpec {
            id,
            origin: provider.base_url().origin().ascii_serialization(),
            url: provider.url_for("responses/compact", &[]),
            accept: Accept::Json,
            model: input.model.unwrap_or_default(),
            headers,
            body,
            retry: retry.unwrap_or_else(|| self.config.retry.clone()),
            stream: StreamOptions::default(),
            deadline: provider.timeouts.total.map(|total| Instant::now() + total),
            provider,
        });
        let (answer, answered) = oneshot::channel();
        let mut attempts = Attempts::new(observer);
        let compactor = self.start_compactor(&spec, &mut attempts, false, ctx);
        let state = State::Running(compactor);
        self.compactions.insert(
            id,
            Compaction {
                spec,
                attempts,
                state,
                answer,
            },
        );
        Ok((id, answered))
    }

    fn start_compactor(
        &mut self,
        spec: &Arc<RequestSpec>,
        attempts: &mut Attempts,
        refresh_auth: bool,
        ctx: &mut Context<Self>,
    ) -> Addr<Compactor> {
        let attempt = attempts.begin(spec);
        let (address, mailbox) = actix::dev::channel::channel(COMPACTOR_MAILBOX);
        let mut lease = CompactionLease::new(ctx.address().recipient(), spec.id, attempt);
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
            worker.do_send(StartCompaction {
                mailbox,
                spec: spec.clone(),
                lease,
                refresh_auth,
                max_bytes: self.config.max_compaction_bytes,
                load,
            });
        }
        Addr::new(address)
    }

    /// Ends a compaction without an answer but an error. Whether there was one.
    pub(super) fn stop_compaction(
        &mut self,
        id: RequestId,
        error: ApiError,
        ctx: &mut Context<Self>,
    ) -> bool {
        let Some(compaction) = self.compactions.remove(&id) else {
            return false;
        };
        match compaction.state {
            #[expect(
                clippy::disallowed_methods,
                reason = "at most one for each attempt, and it must arrive"
            )]
            State::Running(compactor) => compactor.do_send(StopCompaction),
            State::Waiting(timer) => {
                ctx.cancel_future(timer);
            }
        }
        // An error means that nobody waits for the answer, as when its future was dropped.
        let _ = compaction.answer.send(Err(error));
        true
    }
}

/// Messages that a compactor's mailbox holds: a stop, at most.
const COMPACTOR_MAILBOX: usize = 1;

impl Handler<SubmitCompaction> for StreamSupervisor {
    type Result = actix::MessageResult<SubmitCompaction>;

    fn handle(
        &mut self,
        SubmitCompaction(compact): SubmitCompaction,
        ctx: &mut Self::Context,
    ) -> Self::Result {
        actix::MessageResult(self.submit_compaction(compact, ctx))
    }
}

impl Handler<Compact> for StreamSupervisor {
    type Result = ResponseActFuture<Self, Result<CompactionOutput, ApiError>>;

    fn handle(&mut self, message: Compact, ctx: &mut Self::Context) -> Self::Result {
        let submitted = self.submit_compaction(message, ctx);
        let answered = async move {
            let (_, answer) = submitted?;
            answer.await.unwrap_or_else(|_| {
                Err(ApiError::new(
                    ErrorKind::ShutDown,
                    "the runtime has stopped",
                ))
            })
        };
        Box::pin(answered.into_actor(self))
    }
}

impl Handler<CompactionEnded> for StreamSupervisor {
    type Result = ();

    fn handle(&mut self, message: CompactionEnded, ctx: &mut Self::Context) {
        let CompactionEnded {
            request: id,
            attempt,
            result,
        } = message;
        let closing = self.is_closing();
        let running = self.compactions.remove(&id);
        let Some(mut compaction) =
            running.filter(|compaction| compaction.attempts.number() == attempt)
        else {
            return self.close_if_idle(ctx);
        };
        self.breakers
            .record(&compaction.spec.origin, result.as_ref().err());
        let answer = match result {
            Ok(output) => Ok(output),
            Err(error) => match compaction
                .attempts
                .judge(&compaction.spec, error, false, closing)
            {
                Verdict::GiveUp(error) => Err(Arc::unwrap_or_clone(error)),
                Verdict::RefreshAuth { .. } => {
                    let spec = compaction.spec.clone();
                    let compactor =
                        self.start_compactor(&spec, &mut compaction.attempts, true, ctx);
                    compaction.state = State::Running(compactor);
                    self.compactions.insert(id, compaction);
                    return;
                }
                Verdict::Retry { delay, .. } => {
                    compaction.state =
                        State::Waiting(ctx.notify_later(CompactionRetryDue(id), delay));
                    self.compactions.insert(id, compaction);
                    return;
                }
            },
        };
        // An error means that nobody waits for the answer any more.
        let _ = compaction.answer.send(answer);
        self.close_if_idle(ctx);
    }
}

impl Handler<CompactionRetryDue> for StreamSupervisor {
    type Result = ();

    fn handle(&mut self, CompactionRetryDue(id): CompactionRetryDue, ctx: &mut Self::Context) {
        let Some(mut compaction) = self.compactions.remove(&id) else {
            return;
        };
        if compaction.answer.is_closed() {
            return self.close_if_idle(ctx);
        }
        let spec = compaction.spec.clone();
        let compactor = self.start_compactor(&spec, &mut compaction.attempts, false, ctx);
        compaction.state = State::Running(compactor);
        self.compactions.insert(id, compaction);
    }
}
